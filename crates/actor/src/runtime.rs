//! The way in: finds the actor that a message is for, brings it to life, and waits for its answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use metrics::{Gauge, gauge};
use parking_lot::{Mutex, RwLock};
use plexspaces_store::Store;
use plexspaces_types::{ActorId, Clock, Code, Failure, Key, Message, MessageKind, Name, Payload, RequestContext};
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{self, Body, Place};
use crate::broker::{Brokers, Selections};
use crate::cell::{Cell, Control, Envelope, Receipt};
use crate::dead_letters::{DeadLetter, DeadLetters};
use crate::directory::Directory;
use crate::facet::attach::Attachments;
use crate::guardian;
use crate::guardian::chronicle::Retention;
use crate::inbox::{Order, RUN};
use crate::links::Links;
use crate::mailbox::{Sent, Standing};
use crate::registry::{Kind, Life, Registry};
use crate::supervision::Exit;
use crate::system;
use crate::system::cell::Systems;
use crate::timers::{Fire, Fired, Timers};
use crate::{Application, Behavior, FacetRegistry, SystemType};

mod address;
pub(crate) mod blobs;
mod brokers;
pub(crate) mod census;
mod channels;
mod facets;
pub(crate) mod history;
pub(crate) mod inspect;
mod lives;
pub(crate) mod pressure;
mod queries;
pub(crate) mod reminders;
mod services;
mod upgrades;
pub(crate) mod workflows;

pub use address::Address;
use pressure::Budget;

const SHARDS: usize = 64;

/// How long a durable tell from outside waits for its commit when its sender set no deadline.
const DURABLE_TELL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it takes until it is tried again to keep a message as a dead letter.
pub(crate) const BURIED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many actors keep their states at the same time.
const KEPT_AT_ONCE: u32 = 64;

/// How long a sender waits for an actor that is closed until it looks again.
const MAKES_WAY: Duration = Duration::from_millis(50);

/// How often a node that ends looks whether anybody is still at work.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// A turn that waits and can be cut off.
pub(crate) struct Waiting(Runtime);

impl Waiting {
    /// Ready when the node ends.
    pub(crate) async fn stopped(&self) {
        self.0.0.stop.cancelled().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a runtime is made of.
#[derive(Clone)]
pub struct Config {
    /// The node's name: a target that ends in `@` and this name is this node's.
    pub node_id: Name,
    /// Where durable actors keep their partitions.
    pub store: Arc<dyn Store>,
    /// The wall clock.
    pub clock: Clock,
    /// How much the actors may take up together.
    pub budget: Budget,
    /// Bytes of memory that actors that have left are not using any more, and that are kept for those that come.
    pub kept_bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The facets that actors can have.
    pub facets: FacetRegistry,
    /// The services that there are beside applications.
    pub services: Vec<SystemType>,
    /// Where blobs are kept, if they are.
    pub blobs: Option<blobs::BlobStore>,
    /// The brokers that channels can be on.
    pub brokers: Brokers,
    /// How much of the histories of supervisors is kept.
    pub history: Retention,
}

impl Config {
    /// A node whose actors may take up what there is.
    #[must_use]
    pub fn new(node_id: Name, store: Arc<dyn Store>, clock: Clock) -> Self {
        let (budget, facets, brokers) = (Budget::default(), FacetRegistry::builtin(), Brokers::default());
        let history = Retention::default();
        Self { node_id, store, clock, budget, kept_bytes: Arc::new(|| 0), facets, services: Vec::new(), blobs: None, brokers, history }
    }
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
    cells: Directory<ActorId, Cell>,
    draining: AtomicBool,
    /// How many turns wait that can be cut off.
    waiting: AtomicUsize,
    /// The actors at work. An idle actor has no task.
    running: TaskTracker,
    background: TaskTracker,
    stop: CancellationToken,
    live: Gauge,
    born: Instant,
    links: Links,
    timers: Timers,
    /// Whether the task that waits for timers runs.
    ticking: AtomicBool,
    dead_letters: DeadLetters,
    reminders: reminders::Reminders,
    pressure: Arc<pressure::Pressure>,
    attachments: Attachments,
    systems: Systems,
    channels: Selections,
    listed: channels::Listed,
    posts: brokers::Posts,
    guardians: Mutex<HashMap<(Name, Name, Name), guardian::Handle>>,
    /// Types that were replaced, while actors of theirs still run.
    retired: Mutex<Vec<Weak<Kind>>>,
    earlier_ended: Arc<Notify>,
    /// An actor has left its place.
    removed: Notify,
    /// The chain of a message for which nobody waits.
    nobody: Arc<[ActorId]>,
}

impl Runtime {
    /// A runtime without applications.
    #[must_use]
    pub fn new(config: Config) -> Self {
        crate::meters::describe();
        Self(Arc::new(Inner {
            registry: Registry::default(),
            cells: Directory::new(SHARDS),
            draining: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            running: TaskTracker::new(),
            background: TaskTracker::new(),
            stop: CancellationToken::new(),
            live: gauge!("plexspaces_actors"),
            born: crate::now(),
            links: Links::default(),
            timers: Timers::new(config.clock.clone()),
            ticking: AtomicBool::new(false),
            dead_letters: DeadLetters::new(config.store.clone()),
            reminders: reminders::Reminders::default(),
            pressure: Arc::default(),
            attachments: Attachments::default(),
            systems: Systems::new(&config.services, config.store.clone()),
            channels: Selections::new(config.brokers.clone()),
            listed: channels::Listed::default(),
            posts: brokers::Posts::default(),
            guardians: Mutex::default(),
            retired: Mutex::default(),
            earlier_ended: Arc::default(),
            removed: Notify::new(),
            nobody: Arc::from([]),
            config,
        }))
    }

    /// Sends a request to an actor and waits for its reply until the context's deadline; without one, for ever. The reply of a durable
    /// actor means that its turn is committed.
    ///
    /// An idle actor begins in the caller's task: that of a warm one that waits for nothing ends there too. Who asks many at once does it
    /// in as many tasks.
    pub async fn ask(&self, ctx: &RequestContext, target: Target<'_>, request: Request) -> Result<Payload, Failure> {
        let id = self.admit(ctx, target)?;
        self.ask_from(Place::Asker, ctx.clone(), id, message(request, MessageKind::Call)).await
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
            let envelope = envelope(RequestContext { deadline: None, ..ctx.clone() }, message, None);
            self.deliver(&id, envelope, Wait::No).await
        }
    }

    /// Adds an application or replaces one of the same name. Its actors take their state into the new version before they handle
    /// another message. Returns when its children have run their `init`. When one fails in it, a new application is removed again; one that
    /// was replaced is the caller's to bring back.
    pub async fn deploy(&self, application: &Application) -> Result<(), Failure> {
        let (is_new, started) = self.install(application, false)?;
        let stopping = || Failure::new(Code::Unavailable, "the node is shutting down");
        let started = started.await.unwrap_or_else(|_| Err(stopping()));
        if started.is_err() && is_new {
            let left = self.undeploy(&application.tenant, &application.namespace, &application.name).await;
            if let Err(failure) = left {
                tracing::warn!(app = %application.name, tenant = %application.tenant, %failure, "names of actors that never were are left");
            }
        }
        started
    }

    /// Adds an application that was accepted earlier. Its children start on their own; one that fails is restarted.
    pub fn resume(&self, application: &Application) -> Result<(), Failure> {
        self.install(application, true).map(drop)
    }

    fn install(&self, application: &Application, resumed: bool) -> Result<(bool, oneshot::Receiver<Result<(), Failure>>), Failure> {
        self.tick();
        guardian::check(application)?;
        self.check_facets(application)?;
        self.0.channels.check(application)?;
        let registered = self.0.registry.register(application)?;
        let tree = guardian::seated(application, &registered.seats)?;
        let tree = if resumed { tree.resumed() } else { tree };
        self.0.channels.take(application);
        let key = (application.tenant.clone(), application.namespace.clone(), application.name.clone());
        if let Some(previous) = self.0.guardians.lock().remove(&key) {
            previous.abandon();
        }
        self.retire(&application.tenant, &application.namespace, &registered.retired);
        let (guardian, started) = guardian::start(self, application, tree);
        self.0.guardians.lock().insert(key, guardian);
        self.0.reminders.look();
        Ok((registered.retired.is_empty(), started))
    }

    /// Removes an application: its children end in the reverse of their start order; messages that its actors have accepted are handled,
    /// later ones find nobody. What durable actors stored stays; the history of its supervisors and the names under which its actors were found
    /// go. Where this fails, the application is gone and some of those are left.
    pub async fn undeploy(&self, tenant: &Name, namespace: &Name, application: &Name) -> Result<(), Failure> {
        let retired = self.0.registry.unregister(tenant, namespace, application);
        self.0.channels.forget(tenant, namespace, application);
        let guardian = self.0.guardians.lock().remove(&(tenant.clone(), namespace.clone(), application.clone()));
        if let Some(guardian) = guardian {
            guardian.stop().await;
        }
        let told = self.chronicle((tenant, namespace, application)).remove().await;
        self.retire(tenant, namespace, &retired);
        let gone = |id: &ActorId| retired.iter().any(|kind| kind.name == id.actor_type);
        self.0.attachments.forget(|id| id.tenant == *tenant && id.namespace == *namespace && gone(id));
        self.forget_types(tenant, namespace, &retired).await.and(told)
    }

    /// Whether an actor of the application failed too often of late.
    #[must_use]
    pub fn is_degraded(&self, tenant: &Name, namespace: &Name, application: &Name) -> bool {
        self.0.registry.is_degraded(tenant, namespace, application, self.0.config.clock.now_ms())
    }

    /// How many actors have a mailbox on this node.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.0.cells.len()
    }

    /// Refuses messages from outside, handles what was accepted, lets actors keep their states, then ends all of them. Returns whether all was
    /// handled within `grace`.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.running.close();
        let began = crate::now();
        let drained = tokio::time::timeout(grace, self.drained()).await.is_ok();
        // The next start may be with other code, which need not do what this one did.
        let left = grace.saturating_sub(crate::now().saturating_duration_since(began));
        if tokio::time::timeout(left, self.keep_states(self.unkept())).await.is_err() {
            tracing::warn!("not all actors have kept their states in time; their last turns will be run again");
        }
        let left = grace.saturating_sub(crate::now().saturating_duration_since(began));
        let guardians: Vec<_> = self.0.guardians.lock().values().cloned().collect();
        let _ = tokio::time::timeout(left, futures::future::join_all(guardians.iter().map(guardian::Handle::caught_up))).await;
        self.0.stop.cancel();
        self.0.background.close();
        let ended = tokio::time::timeout(Duration::from_secs(1), self.0.background.wait()).await.is_ok();
        let cells = self.0.cells.drain();
        self.0.live.decrement(cells.len() as f64);
        // Actors may hold addresses of one another: each lets go of what it has.
        for cell in &cells {
            drop(cell.mailbox.abandon());
        }
        self.0.timers.end();
        self.0.reminders.end();
        self.0.links.end();
        self.0.systems.clear();
        drained && ended
    }

    /// Ready when nobody is at work but those whose turns wait and will be taken up again.
    async fn drained(&self) {
        while self.0.running.len() > self.0.waiting.load(Ordering::SeqCst) {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// The actors in memory with turns that their last kept state does not know. One whose turn is under way keeps its state when that is over,
    /// which may be in days.
    pub(crate) fn unkept(&self) -> Vec<Arc<Cell>> {
        let mut found = Vec::new();
        self.0.cells.each(|cell| found.extend(cell.unkept.load(Ordering::Relaxed).then(|| cell.clone())));
        found.retain(|cell| cell.mailbox.standing().0 == Standing::Idle);
        found
    }

    /// Lets actors keep their states; returns when they have, as far as they can.
    pub(crate) async fn keep_states(&self, cells: Vec<Arc<Cell>>) {
        let permits = Arc::new(Semaphore::new(KEPT_AT_ONCE as usize));
        for cell in cells {
            // One that has ended gives its permit back.
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            self.control(&cell, Control::Keep(permit));
        }
        let _ = permits.acquire_many(KEPT_AT_ONCE).await;
    }

    /// A turn waits that can be cut off.
    pub(crate) fn waiting(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.clone())
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.0.timers
    }

    /// Milliseconds from the runtime's beginning to an instant.
    pub(crate) fn age_ms(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.0.born).as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn spawn_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.background.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
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
        self.ask_from(Place::Asker, ctx, id, message).await
    }

    async fn ask_from(&self, place: Place, ctx: RequestContext, id: ActorId, message: Message) -> Result<Payload, Failure> {
        let deadline = ctx.deadline;
        let (sender, receiver) = oneshot::channel();
        let asked = async {
            self.deliver(&id, envelope(ctx, message, Some(sender)), Wait::Yes(place)).await?;
            receiver.await.map_err(|_| Failure::new(Code::Unavailable, format!("the actor {id} stopped before it answered")))?
        };
        let Some(deadline) = deadline else { return asked.await };
        tokio::time::timeout_at(deadline.into(), asked).await.map_err(|_| late(&id))?
    }

    /// Hands a message from an actor to an actor.
    pub(crate) async fn tell_actor(
        &self,
        ctx: RequestContext,
        id: &ActorId,
        message: Message,
        receipt: Option<Box<Receipt>>,
    ) -> Result<(), Failure> {
        // An actor cannot make room in its own mailbox while it waits for it.
        let own = ctx.chain.last() == Some(id);
        let ctx = RequestContext { deadline: None, chain: Arc::from([]), ..ctx };
        let wait = if own { Wait::No } else { Wait::Yes(Place::Own) };
        let mut envelope = envelope(ctx, message, None);
        envelope.receipt = receipt;
        let sent = self.deliver(id, envelope, wait);
        let overloaded = || Failure::new(Code::Overloaded, format!("the mailbox of {id} stayed full"));
        tokio::time::timeout(Duration::from_secs(5), sent).await.map_err(|_| overloaded())?
    }

    /// Hands on what a committed turn sent. What cannot be delivered becomes a dead letter.
    pub(crate) async fn pass_on(
        &self,
        from: &ActorId,
        ctx: &RequestContext,
        target: &ActorId,
        message: Message,
        receipt: Option<Box<Receipt>>,
    ) {
        let chained = RequestContext { chain: Arc::from([from.clone()]), ..ctx.clone() };
        let (sender, number) = receipt.as_ref().map(|receipt| (receipt.sender.clone(), receipt.number)).unzip();
        if let Err(failure) = self.tell_actor(chained, target, message.clone(), receipt).await {
            let mut lost = envelope(ctx.clone(), message, None);
            lost.receipt = sender.zip(number).map(|(sender, number)| Box::new(Receipt { sender, number }));
            self.bury(target, *lost, &failure).await;
        }
    }

    /// Keeps a message that is given up. For one that its sender keeps that is tried until it works or the node ends: a later one must not be
    /// heard before it comes again.
    pub(crate) async fn bury(&self, id: &ActorId, envelope: Envelope, failure: &Failure) {
        let mut envelope = Box::new(envelope);
        while let Err(back) = self.try_bury(id, envelope, failure).await {
            envelope = back;
            let waiting = self.waiting();
            tokio::select! {
                () = waiting.stopped() => return,
                () = tokio::time::sleep(BURIED_AGAIN_AFTER) => {}
            }
        }
    }

    /// The same once: gives back what its sender keeps and of which the store has taken no letter.
    pub(crate) async fn try_bury(&self, id: &ActorId, envelope: Box<Envelope>, failure: &Failure) -> Result<(), Box<Envelope>> {
        let trace_id = envelope.ctx.trace.trace_id_text();
        let letter = DeadLetter::new(id, envelope.message.clone(), envelope.failures, failure, self.0.config.clock.now_ms());
        match self.0.dead_letters.add(&id.tenant, &id.namespace, &letter).await {
            Ok(()) => {
                tracing::warn!(actor_id = %id, tenant = %id.tenant, operation = letter.operation, trace_id, letter = letter.id, "a message was given up: {failure}");
                envelope.answer(Err(failure.clone()));
                Ok(())
            }
            Err(error) => {
                tracing::error!(actor_id = %id, tenant = %id.tenant, operation = letter.operation, trace_id, %error, "a dead letter could not be kept of a message that was given up: {failure}");
                if envelope.receipt.is_some() { Err(envelope) } else { Ok(()) }
            }
        }
    }

    /// What a message from outside that names no operation is for: the run of a workflow, or whatever the actor's wildcard handler takes. An
    /// actor that has neither refuses it.
    pub fn unnamed(&self, ctx: &RequestContext, target: Target<'_>) -> Result<&'static str, Failure> {
        let id = self.admit(ctx, target)?;
        let kind = self.0.registry.kind(&id).ok_or_else(|| gone(&id))?;
        if kind.behavior == Behavior::Workflow {
            return Ok(RUN);
        }
        if kind.handlers.contains("*") {
            return Ok("");
        }
        let mut known: Vec<&str> = kind.handlers.iter().map(String::as_str).collect();
        known.sort_unstable();
        let message = format!("the message names no operation, and {} takes none without; it has {}", id.actor_type, known.join(", "));
        Err(Failure::invalid("operation", message))
    }

    fn admit(&self, ctx: &RequestContext, target: Target<'_>) -> Result<ActorId, Failure> {
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(Failure::new(Code::Unavailable, "the node is shutting down"));
        }
        self.0.registry.resolve(&ctx.tenant, &ctx.namespace, target.name, target.key)
    }

    /// Puts a message into an actor's mailbox; one that has left memory is brought back.
    async fn deliver(&self, id: &ActorId, mut envelope: Box<Envelope>, wait: Wait) -> Result<(), Failure> {
        if system::type_of(id).is_some() {
            return self.deliver_to_system(id, envelope, wait).await;
        }
        loop {
            let cell = self.cell(id)?;
            if let Some(inbox) =
                cell.inbox.as_ref().filter(|_| envelope.reminder.is_none() && Order::of(&envelope.message.operation).is_some())
            {
                inbox.put(envelope).map_err(|_| Failure::new(Code::Overloaded, format!("the inbox of {id} is full")))?;
                if self.control(&cell, Control::Inbox) {
                    return Ok(());
                }
                // It ended meanwhile; its successor takes what came too late.
                let Some(left) = inbox.take() else { return Ok(()) };
                envelope = left;
                self.make_way(&cell).await;
                continue;
            }
            let sent = match wait {
                Wait::No => cell.mailbox.try_send(envelope),
                Wait::Yes(_) => cell.mailbox.send(envelope).await,
            };
            envelope = match sent {
                Sent::Queued => return Ok(()),
                Sent::Run(body) => {
                    match wait {
                        Wait::Yes(Place::Asker) => self.begin(cell, body),
                        Wait::Yes(Place::Own) | Wait::No => self.run(cell, body),
                    }
                    return Ok(());
                }
                Sent::Full(_) => {
                    let capacity = cell.mailbox.capacity();
                    let failure = Failure::new(Code::Overloaded, format!("the mailbox of {id} is full: {capacity} messages wait"));
                    return Err(failure);
                }
                Sent::Closed(envelope) => envelope,
            };
            self.make_way(&cell).await;
        }
    }

    /// Puts a control into the mailbox of an actor that is made if need be; of one that has just ended its successor gets it.
    pub(crate) fn order(&self, id: &ActorId, mut control: Control) -> Result<(), Failure> {
        loop {
            let cell = self.cell(id)?;
            control = match cell.mailbox.control(control) {
                Sent::Run(body) => {
                    self.run(cell, body);
                    return Ok(());
                }
                Sent::Closed(control) => control,
                Sent::Queued | Sent::Full(_) => return Ok(()),
            };
            self.remove(&cell);
        }
    }

    /// Puts a control into an actor's mailbox; false when the actor has ended.
    pub(crate) fn control(&self, cell: &Arc<Cell>, control: Control) -> bool {
        match cell.mailbox.control(control) {
            Sent::Run(body) => self.run(cell.clone(), body),
            Sent::Closed(_) => return false,
            Sent::Queued | Sent::Full(_) => {}
        }
        true
    }

    fn run(&self, cell: Arc<Cell>, body: Box<Body>) {
        self.0.running.spawn(actor::run(self.clone(), cell, body, Place::Own));
    }

    /// Lets the actor work in the caller's task until it waits for something; from there it goes on in its own, whether the caller waits
    /// or not.
    fn begin(&self, cell: Arc<Cell>, body: Box<Body>) {
        // One within another's would nest as deep as actors ask each other.
        let Some(_begun) = Begun::first() else { return self.run(cell, body) };
        let mut work = self.work(cell, body);
        // Its own task polls it again, and is woken then.
        if work.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending() {
            tokio::spawn(work);
        }
    }

    fn work(&self, cell: Arc<Cell>, body: Box<Body>) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(self.0.running.track_future(actor::run(self.clone(), cell, body, Place::Asker)))
    }

    /// The actor, if it is on this node now.
    pub(crate) fn known(&self, id: &ActorId) -> Option<Arc<Cell>> {
        self.0.cells.get(id).filter(|cell| !cell.mailbox.has_ended())
    }

    /// The actor, made if need be.
    pub(crate) fn cell(&self, id: &ActorId) -> Result<Arc<Cell>, Failure> {
        self.find_or_make(id, Cause::Message).map(|(cell, _)| cell)
    }

    /// The actor, and whether it was made for this.
    fn find_or_make(&self, id: &ActorId, cause: Cause<'_>) -> Result<(Arc<Cell>, bool), Failure> {
        if let Some(cell) = self.0.cells.get(id) {
            return Ok((cell, false));
        }
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let found = self.0.cells.get_or_make(id, || {
            // Whoever ends a child or retires a type for good says so before it looks for the actor, so one of the two sees the other.
            let seat = kind.seat(&id.key).cloned();
            let life = seat.as_ref().map_or(Life::Up, |seat| seat.life());
            if matches!(life, Life::Over | Life::Resting) {
                return Err(over(id, life));
            }
            if kind.retired.load(Ordering::SeqCst) || self.0.stop.is_cancelled() {
                return Err(Failure::new(Code::Unavailable, format!("the application of {id} is being replaced")));
            }
            let profile = kind.profile(&id.key).clone();
            match cause {
                Cause::Message if kind.needs_spawn(&id.key) => return Err(not_spawned(id)),
                Cause::Message => {}
                Cause::Spawn(args) => kind.spawns(&id.key, args),
            }
            let capacity = profile.limits.mailbox;
            let is_workflow = kind.behavior == Behavior::Workflow;
            let body = Body::new(kind.clone(), profile, seat);
            Ok(Cell::new(id.clone(), body, kind.metrics.clone(), capacity, life == Life::Down, is_workflow))
        });
        let (cell, made) = found?;
        if made {
            self.0.live.increment(1.0);
        }
        Ok((cell, made))
    }

    /// The actor has ended: its place is free.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) {
        if self.0.cells.remove(&cell.id, cell) {
            self.0.live.decrement(1.0);
            self.0.removed.notify_waiters();
        }
    }

    /// Lets a sender go on to an actor's successor. One that is closed is still at work, so the sender waits for it a moment.
    async fn make_way(&self, cell: &Arc<Cell>) {
        let mut removed = std::pin::pin!(self.0.removed.notified());
        removed.as_mut().enable();
        if cell.mailbox.has_ended() {
            self.remove(cell);
        } else {
            let _ = tokio::time::timeout(MAKES_WAY, removed).await;
        }
    }

    /// Ends the actors of types that are gone, and gives those of types that were replaced their new code.
    fn retire(&self, tenant: &Name, namespace: &Name, retired: &[Arc<Kind>]) {
        for kind in retired {
            kind.retired.store(true, Ordering::SeqCst);
            self.0.retired.lock().push(Arc::downgrade(kind));
        }
        let is_of =
            |id: &ActorId| id.tenant == *tenant && id.namespace == *namespace && retired.iter().any(|kind| kind.name == id.actor_type);
        let mut cells = Vec::new();
        self.0.cells.each(|cell| cells.extend(is_of(&cell.id).then(|| cell.clone())));
        for cell in cells {
            let kind = self.0.registry.kind(&cell.id);
            cell.replaced.store(kind.is_some(), Ordering::Relaxed);
            self.control(&cell, kind.map_or(Control::Drain, Control::Replace));
        }
        // Those that are not in memory have ended too when there is no such type any more.
        for id in self.0.links.actors(|id| is_of(id) && self.0.registry.kind(id).is_none()) {
            if self.known(&id).is_none() {
                self.announce(&id, &Exit::Shutdown);
            }
        }
    }
}

thread_local! {
    static HAS_BEGUN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// An actor works in the task of who asked it, on this thread.
struct Begun;

impl Begun {
    /// `None` where one does already.
    fn first() -> Option<Self> {
        if HAS_BEGUN.replace(true) { None } else { Some(Self) }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        HAS_BEGUN.set(false);
    }
}

/// Why an actor is looked for.
#[derive(Clone, Copy)]
enum Cause<'a> {
    Message,
    /// With the arguments of its `init`.
    Spawn(&'a Map<String, Value>),
}

#[derive(Clone, Copy)]
enum Wait {
    /// For room; an idle actor then begins there.
    Yes(Place),
    No,
}

fn envelope(ctx: RequestContext, message: Message, reply: Option<oneshot::Sender<Result<Payload, Failure>>>) -> Box<Envelope> {
    Box::new(Envelope { reply, ..Envelope::new(ctx, message) })
}

fn message(request: Request, kind: MessageKind) -> Message {
    let Request { operation, payload, idempotency_key } = request;
    Message { operation, kind, payload, sender: None, idempotency_key }
}

fn late(id: &ActorId) -> Failure {
    Failure::new(Code::DeadlineExceeded, format!("{id} did not answer before the deadline; the operation may have happened"))
}

/// A child that has ended, and that nothing starts by itself.
pub(crate) fn over(id: &ActorId, life: Life) -> Failure {
    Failure::not_found(match life {
        Life::Resting => format!("the actor {id} has ended; its supervisor starts it again only together with others"),
        Life::Down | Life::Up | Life::Over => format!("the actor {id} has ended and its supervisor does not restart it"),
    })
}

/// An actor that lives from its spawn to its end.
pub(crate) fn not_spawned(id: &ActorId) -> Failure {
    Failure::not_found(format!("the actor {id} does not live: it has ended or was never spawned"))
}

fn gone(id: &ActorId) -> Failure {
    Failure::not_found(format!("unknown actor {id}: its application was undeployed"))
}
