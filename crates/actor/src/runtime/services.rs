//! The way to system actors.

use serde_json::value::RawValue;

use super::channels::LIST;
use super::*;
use crate::broker::{Home, SERVICE};
use crate::registry::Kind;
use crate::system::cell::{Poke, SystemCell};
use crate::system::{FORGET, ONLY, in_memory, run};

/// How long after the start of a node an actor may take to be there.
const APPEARANCE: Duration = Duration::from_secs(60);

/// How long a service may take to forget names.
const FORGETTING: Duration = Duration::from_secs(10);

/// The service of process groups.
const GROUPS: &str = "groups";

/// An operation of a channel for the process group of its name.
#[derive(serde::Serialize)]
struct ForGroup<'a> {
    channel: &'a str,
    arguments: &'a RawValue,
}

/// What is asked of a channel that is a process group, as it is asked of the groups. Kept messages and requests with keys are known there as
/// any others, so each happens once.
fn for_group(channel: &ActorId, message: Message) -> Result<Message, Failure> {
    let Payload::Json(text) = &message.payload else { return Ok(message) };
    let unreadable = |error| Failure::new(Code::InvalidArgument, format!("expected a JSON object: {error}"));
    let given: &RawValue = serde_json::from_str(text).map_err(unreadable)?;
    let wrapped = serde_json::to_string(&ForGroup { channel: channel.key.as_str(), arguments: given });
    let payload = Payload::Json(wrapped.map_err(unreadable)?);
    Ok(Message { operation: format!("channel.{}", message.operation), payload, ..message })
}

impl Runtime {
    /// Asks a service of the node: one of the system actors of a kind, in the namespace of the context. It waits until the context's
    /// deadline; without one, for ever.
    pub async fn ask_service(&self, ctx: &RequestContext, service: &str, name: &str, request: Request) -> Result<Payload, Failure> {
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(Failure::new(Code::Unavailable, "the node is shutting down"));
        }
        if service == SERVICE && request.operation == LIST {
            return self.list_channels(ctx, &request.payload).await;
        }
        let kind = self.0.systems.kind(service)?;
        let id = kind.identity(&ctx.tenant, &ctx.namespace, name)?;
        // It refuses what is not for everybody.
        (kind.nature)(&request.operation, &request.payload)?;
        self.ask_from(Place::Asker, ctx.clone(), id, message(request, MessageKind::Call)).await
    }

    /// Has the services of a namespace forget the names of actors whose types are gone.
    pub(super) async fn forget_types(&self, tenant: &Name, namespace: &Name, retired: &[Arc<Kind>]) -> Result<(), Failure> {
        // Where the node ends, the next one has them again.
        if retired.is_empty() || self.is_draining() {
            return Ok(());
        }
        let types: Vec<&str> = retired.iter().map(|kind| kind.name.as_str()).collect();
        let payload = Payload::from_value(&serde_json::json!({"types": types}));
        let ctx = RequestContext::external(tenant.clone(), namespace.clone(), "undeploy");
        for kind in self.0.systems.that_know_actors() {
            let id = kind.identity(tenant, namespace, ONLY)?;
            loop {
                let request = Request { operation: FORGET.to_owned(), payload: payload.clone(), idempotency_key: None };
                let ctx = ctx.clone().with_deadline(crate::now() + FORGETTING);
                let reply = self.ask_from(Place::Asker, ctx, id.clone(), message(request, MessageKind::Call)).await?;
                let reply: serde_json::Value = serde_json::from_slice(reply.as_bytes()).unwrap_or_default();
                if reply.get("more") != Some(&serde_json::Value::Bool(true)) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the node is ending.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn systems(&self) -> &Systems {
        &self.0.systems
    }

    pub(super) async fn deliver_to_system(&self, id: &ActorId, mut envelope: Box<Envelope>, wait: Wait) -> Result<(), Failure> {
        self.list_channel(id, &envelope.message.operation).await?;
        match self.0.channels.home_of(id) {
            Home::Node => self.deliver_to_cell(id, envelope, wait).await,
            Home::Memory => self.deliver_to_cell(&in_memory(id)?, envelope, wait).await,
            Home::Broker(broker) => self.deliver_to_broker(broker, id, envelope, wait).await,
            Home::Group => {
                let groups = self.0.systems.kind(GROUPS)?.identity(&id.tenant, &id.namespace, ONLY)?;
                envelope.message = for_group(id, envelope.message)?;
                self.deliver_to_cell(&groups, envelope, wait).await
            }
        }
    }

    async fn deliver_to_cell(&self, id: &ActorId, mut envelope: Box<Envelope>, wait: Wait) -> Result<(), Failure> {
        self.tick();
        loop {
            let cell = self.0.systems.cell(id)?;
            let sent = match wait {
                Wait::No => cell.mailbox.try_send(envelope),
                Wait::Yes(_) => cell.mailbox.send(envelope).await,
            };
            envelope = match sent {
                Sent::Queued => return Ok(()),
                Sent::Run(body) => {
                    let mut work = self.system_work(cell, body);
                    if !matches!(wait, Wait::Yes(Place::Asker)) || futures::poll!(work.as_mut()).is_pending() {
                        tokio::spawn(work);
                    }
                    return Ok(());
                }
                Sent::Full(_) => {
                    let capacity = cell.mailbox.capacity();
                    return Err(Failure::new(Code::Overloaded, format!("the mailbox of {id} is full: {capacity} messages wait")));
                }
                Sent::Closed(envelope) => envelope,
            };
            self.0.systems.remove(&cell);
        }
    }

    fn system_work(&self, cell: Arc<SystemCell>, body: Box<system::cell::Body>) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(self.0.running.track_future(run(self.clone(), cell, body)))
    }

    pub(super) fn poke(&self, cell: &Arc<SystemCell>, poke: Poke) {
        if let Sent::Run(body) = cell.mailbox.control(poke) {
            tokio::spawn(self.system_work(cell.clone(), body));
        }
    }

    pub(super) fn tell_system_of_end(&self, to: &ActorId, ended: Option<ActorId>) {
        // One that has left memory looks for itself who is still there when it comes back.
        if let Some((cell, ended)) = self.0.systems.known(to).zip(ended) {
            self.poke(&cell, Poke::Ended(ended));
        }
    }

    /// Goes on telling a system actor of an actor that has ended and comes back.
    pub(super) fn keep_watching(&self, system: &ActorId, actor: &ActorId) {
        if let Some(cell) = self.0.systems.known(system) {
            self.watch_for_system(&cell, actor, false);
        }
    }

    /// Tells a system actor when an actor has ended. One that is given time need not be there yet.
    pub(crate) fn watch_for_system(&self, cell: &Arc<SystemCell>, actor: &ActorId, patient: bool) {
        if self.exists(actor) && self.0.links.monitor_for_system(&cell.id, actor, || self.exists(actor)) {
            return;
        }
        if !patient {
            return self.poke(cell, Poke::Ended(actor.clone()));
        }
        let (runtime, cell, actor) = (self.clone(), Arc::downgrade(cell), actor.clone());
        self.spawn_background(async move {
            tokio::time::sleep(APPEARANCE).await;
            if let Some(cell) = cell.upgrade() {
                runtime.watch_for_system(&cell, &actor, false);
            }
        });
    }

    /// Sends a message of a system actor. One for which there is no room or no receiver becomes a dead letter.
    pub(crate) async fn notify(&self, from: &ActorId, target: &ActorId, operation: &str, payload: Payload) {
        let ctx = RequestContext::external(from.tenant.clone(), from.namespace.clone(), "service");
        let message = Message {
            operation: operation.to_owned(),
            kind: MessageKind::Cast,
            payload,
            sender: Some(from.clone()),
            idempotency_key: None,
        };
        if let Err(failure) = self.deliver(target, envelope(ctx.clone(), message.clone(), None), Wait::No).await {
            self.bury(target, *envelope(ctx, message, None), &failure).await;
        }
    }
}
