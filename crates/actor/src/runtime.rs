//! The way in: finds the actor that a message is for, brings it to life, and waits for its answer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Gauge, gauge};
use parking_lot::RwLock;
use plexspaces_store::Store;
use plexspaces_types::{ActorId, Clock, Code, Failure, Key, Message, MessageKind, Name, Payload, RequestContext};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor;
use crate::mailbox::{Address, Control, Envelope, SendError};
use crate::registry::{Kind, Registry};
use crate::{Application, ChildSpec};

const SHARDS: usize = 64;

/// How long a durable tell from outside waits for its commit when its sender set no deadline.
const DURABLE_TELL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a runtime is made of.
#[derive(Clone)]
pub struct Config {
    /// The node's name: a target that ends in `@` and this name is this node's.
    pub node_id: Name,
    /// Where durable actors keep their partitions.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Clock,
}

/// Whom a message from outside is for: a name in the namespace of its context (a type, a child, a role), and with a key that actor of the
/// name's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name.
    pub name: &'a str,
    /// Which actor of the type; `None` for the name's own.
    pub key: Option<&'a str>,
}

/// A message from outside.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do; may be empty when the payload says it.
    pub operation: String,
    /// The arguments.
    pub payload: Payload,
    /// The caller's name for this request: repeated, it gives the stored answer.
    pub idempotency_key: Option<String>,
}

/// The actors of this node. Clones are the same runtime.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    config: Config,
    registry: Registry,
    shards: Vec<RwLock<HashMap<ActorId, Address>>>,
    hasher: RandomState,
    draining: AtomicBool,
    /// Counts messages from their acceptance to their answer.
    messages: TaskTracker,
    actors: TaskTracker,
    stop: CancellationToken,
    live: Gauge,
}

impl Runtime {
    /// A runtime without applications.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            registry: Registry::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            draining: AtomicBool::new(false),
            messages: TaskTracker::new(),
            actors: TaskTracker::new(),
            stop: CancellationToken::new(),
            live: gauge!("plexspaces_actors"),
        }))
    }

    /// Sends a request to an actor and waits for its reply until the context's deadline; without one, for ever. The reply of a durable
    /// actor means that its turn is committed.
    pub async fn ask(&self, ctx: &RequestContext, target: Target<'_>, request: Request) -> Result<Payload, Failure> {
        let id = self.admit(ctx, target)?;
        self.ask_actor(ctx.clone(), id, message(request, MessageKind::Call)).await
    }

    /// Sends a message to an actor without waiting for a reply. It returns when the message is in the mailbox; for a durable actor when
    /// the turn is committed. A full mailbox is `overloaded`.
    pub async fn tell(&self, ctx: &RequestContext, target: Target<'_>, request: Request) -> Result<(), Failure> {
        let id = self.admit(ctx, target)?;
        let kind = self.0.registry.kind(&id).ok_or_else(|| gone(&id))?;
        let message = message(request, MessageKind::Cast);
        if kind.profile(&id.key).durable {
            let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + DURABLE_TELL_TIMEOUT);
            self.ask_actor(ctx.clone().with_deadline(deadline), id, message).await.map(drop)
        } else {
            let envelope = self.envelope(RequestContext { deadline: None, ..ctx.clone() }, message, None);
            self.deliver(&id, envelope, Wait::No).await
        }
    }

    /// Adds an application or replaces one of the same name. Its actors take their state into the new version before they handle
    /// another message. Returns when its children have run their `init`. When one fails in it, a new application is removed again; one that
    /// was replaced is the caller's to bring back.
    pub async fn deploy(&self, application: &Application) -> Result<(), Failure> {
        let retired = self.0.registry.register(application)?;
        let is_new = retired.is_empty();
        self.retire(&application.tenant, &application.namespace, &retired).await;
        let started = self.start_children(application).await;
        if started.is_err() && is_new {
            self.undeploy(&application.tenant, &application.namespace, &application.name).await;
        }
        started
    }

    /// Adds an application that was accepted earlier. Its children start on their own; one that fails is restarted.
    pub fn resume(&self, application: &Application) -> Result<(), Failure> {
        self.0.registry.register(application)?;
        let (runtime, application) = (self.clone(), application.clone());
        self.0.actors.spawn(async move {
            let _ = runtime.start_children(&application).await;
        });
        Ok(())
    }

    /// Removes an application: messages that its actors have accepted are handled, later ones find nobody. What durable actors stored
    /// stays.
    pub async fn undeploy(&self, tenant: &Name, namespace: &Name, application: &Name) {
        let retired = self.0.registry.unregister(tenant, namespace, application);
        self.retire(tenant, namespace, &retired).await;
    }

    /// Whether an actor of the application failed too often of late.
    #[must_use]
    pub fn is_degraded(&self, tenant: &Name, namespace: &Name, application: &Name) -> bool {
        self.0.registry.is_degraded(tenant, namespace, application, self.0.config.clock.now_ms())
    }

    /// How many actors have a mailbox on this node.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Refuses messages from outside, handles what was accepted, then ends all actors. Returns whether all was handled within `grace`.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.messages.close();
        let drained = tokio::time::timeout(grace, self.0.messages.wait()).await.is_ok();
        self.0.stop.cancel();
        self.0.actors.close();
        let ended = tokio::time::timeout(Duration::from_secs(1), self.0.actors.wait()).await.is_ok();
        drained && ended
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn stopped(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// The actor that a target text of an actor means: `namespace/type/key`, `type/key` or a name, each possibly with `@node`.
    pub(crate) fn resolve(&self, ctx: &RequestContext, target: &str) -> Result<ActorId, Failure> {
        let node = self.0.config.node_id.as_str();
        let target = target.strip_suffix(node).and_then(|rest| rest.strip_suffix('@')).unwrap_or(target);
        let mut parts = target.splitn(3, '/');
        let (namespace, name, key) = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            (name, None, _) => (ctx.namespace.clone(), name, None),
            (name, Some(key), None) => (ctx.namespace.clone(), name, Some(key)),
            (namespace, Some(name), Some(key)) => {
                let namespace = Name::new("namespace", namespace).map_err(|error| Failure::invalid("target", error.to_string()))?;
                (namespace, name, Some(key))
            }
        };
        self.0.registry.resolve(&ctx.tenant, &namespace, name, key)
    }

    /// Asks an actor by its identity.
    pub(crate) async fn ask_actor(&self, ctx: RequestContext, id: ActorId, message: Message) -> Result<Payload, Failure> {
        let deadline = ctx.deadline;
        let (sender, receiver) = oneshot::channel();
        let asked = async {
            self.deliver(&id, self.envelope(ctx, message, Some(sender)), Wait::Yes).await?;
            receiver.await.map_err(|_| Failure::new(Code::Unavailable, format!("the actor {id} stopped before it answered")))?
        };
        let Some(deadline) = deadline else { return asked.await };
        let late =
            || Failure::new(Code::DeadlineExceeded, format!("{id} did not answer before the deadline; the operation may have happened"));
        tokio::time::timeout_at(deadline.into(), asked).await.map_err(|_| late())?
    }

    /// Hands a message from an actor to an actor.
    pub(crate) async fn tell_actor(&self, ctx: RequestContext, id: &ActorId, message: Message) -> Result<(), Failure> {
        // An actor cannot make room in its own mailbox while it waits for it.
        let own = ctx.chain.last() == Some(id);
        let ctx = RequestContext { deadline: None, chain: Arc::from([]), ..ctx };
        let wait = if own { Wait::No } else { Wait::Yes };
        let sent = self.deliver(id, self.envelope(ctx, message, None), wait);
        let overloaded = || Failure::new(Code::Overloaded, format!("the mailbox of {id} stayed full"));
        tokio::time::timeout(Duration::from_secs(5), sent).await.map_err(|_| overloaded())?
    }

    pub(crate) fn remove(&self, id: &ActorId) {
        self.shard(id).write().remove(id);
        self.0.live.decrement(1.0);
    }

    fn admit(&self, ctx: &RequestContext, target: Target<'_>) -> Result<ActorId, Failure> {
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(Failure::new(Code::Unavailable, "the node is shutting down"));
        }
        self.0.registry.resolve(&ctx.tenant, &ctx.namespace, target.name, target.key)
    }

    fn envelope(&self, ctx: RequestContext, message: Message, reply: Option<oneshot::Sender<Result<Payload, Failure>>>) -> Box<Envelope> {
        Box::new(Envelope { ctx, message, reply, _accepted: self.0.messages.token() })
    }

    /// Puts a message into an actor's mailbox; an actor that is just leaving memory is waited for and then brought back.
    async fn deliver(&self, id: &ActorId, mut envelope: Box<Envelope>, wait: Wait) -> Result<(), Failure> {
        loop {
            let address = self.address(id)?;
            let sent = match wait {
                Wait::Yes => address.send(envelope).await,
                Wait::No => address.try_send(envelope),
            };
            envelope = match sent {
                Ok(()) => return Ok(()),
                Err(SendError::Full { capacity }) => {
                    return Err(Failure::new(Code::Overloaded, format!("the mailbox of {id} is full: {capacity} messages wait")));
                }
                Err(SendError::Closed(envelope)) => envelope,
            };
            address.ended().await;
        }
    }

    fn address(&self, id: &ActorId) -> Result<Address, Failure> {
        let shard = self.shard(id);
        if let Some(address) = shard.read().get(id) {
            return Ok(address.clone());
        }
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let mut actors = shard.write();
        if let Some(address) = actors.get(id) {
            return Ok(address.clone());
        }
        // Whoever retires a type does it before it looks at the shards, so one of the two sees the other.
        if kind.retired.load(Ordering::SeqCst) || self.0.stop.is_cancelled() {
            return Err(Failure::new(Code::Unavailable, format!("the application of {id} is being replaced")));
        }
        let (address, mailbox) = Address::new(kind.profile(&id.key).limits.mailbox);
        actors.insert(id.clone(), address.clone());
        self.0.live.increment(1.0);
        self.0.actors.spawn(actor::run(self.clone(), id.clone(), kind, mailbox));
        Ok(address)
    }

    fn shard(&self, id: &ActorId) -> &RwLock<HashMap<ActorId, Address>> {
        let hash = usize::try_from(self.0.hasher.hash_one(id) % SHARDS as u64).unwrap_or(0);
        // `SHARDS` shards were made, so the index is always in range.
        #[allow(clippy::indexing_slicing)]
        &self.0.shards[hash]
    }

    /// Ends the actors of types that are gone, and gives those of types that were replaced their new code.
    async fn retire(&self, tenant: &Name, namespace: &Name, retired: &[Arc<Kind>]) {
        for kind in retired {
            kind.retired.store(true, Ordering::SeqCst);
        }
        let is_of =
            |id: &ActorId| id.tenant == *tenant && id.namespace == *namespace && retired.iter().any(|kind| kind.name == id.actor_type);
        for shard in &self.0.shards {
            let actors: Vec<_> =
                shard.read().iter().filter(|(id, _)| is_of(id)).map(|(id, address)| (id.clone(), address.clone())).collect();
            for (id, address) in actors {
                let control = self.0.registry.kind(&id).map_or(Control::Stop, Control::Replace);
                address.control(control).await;
            }
        }
    }

    /// Starts the children in their order and waits for each.
    async fn start_children(&self, application: &Application) -> Result<(), Failure> {
        for ChildSpec { key, actor_type, .. } in &application.children {
            let id = ActorId {
                tenant: application.tenant.clone(),
                namespace: application.namespace.clone(),
                actor_type: actor_type.clone(),
                key: Key::clone(key),
            };
            let (sender, receiver) = oneshot::channel();
            self.address(&id)?.control(Control::Start(sender)).await;
            let stopped = || Failure::new(Code::Unavailable, "the node is shutting down");
            receiver.await.map_err(|_| stopped())?.map_err(|failure| Failure {
                message: format!("child {:?} did not start: {}", key.as_str(), failure.message),
                ..failure
            })?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Wait {
    Yes,
    No,
}

fn message(request: Request, kind: MessageKind) -> Message {
    let Request { operation, payload, idempotency_key } = request;
    Message { operation, kind, payload, sender: String::new(), idempotency_key }
}

fn gone(id: &ActorId) -> Failure {
    Failure::not_found(format!("unknown actor {id}: its application was undeployed"))
}
