//! What a turn asks of system actors.

use plexspaces_types::{ActorId, Code, Failure, Message, MessageKind, Payload, RequestContext};
use serde::Deserialize;
use serde_json::json;

use super::log::Known;
use super::{Turn, Whom};
use crate::Runtime;
use crate::system::{Nature, ONLY};

impl Turn {
    /// Asks a service of the node in the actor's namespace. In a durable actor a change happens once, however often the turn is run, and
    /// what has no result leaves when the turn has committed or waits.
    pub async fn service(&mut self, service: &str, name: &str, operation: &str, payload: Payload) -> Result<Payload, Failure> {
        self.check_size("payload", payload.len())?;
        let Some(runtime) = self.runtime.clone() else {
            return Err(Failure::not_found(format!("this actor runs without a node: there is no service {service:?}")));
        };
        let kind = runtime.systems().kind(service)?;
        let id = kind.identity(&self.id.tenant, &self.id.namespace, name)?;
        let nature = (kind.nature)(operation, &payload)?;
        let verb = if nature == Nature::Look { "look " } else { "" };
        let text = || format!("{verb}{service}.{operation} {name}");
        let call = match nature {
            Nature::Post => self.own_call(text, &[payload.as_bytes()])?,
            _ => self.call(text, &[payload.as_bytes()]).await?,
        };
        let call = match call {
            Known::Told(told) if nature == Nature::Post => return self.sent_before(told).map(|()| Payload::empty()),
            Known::Told(told) => return self.told_again(told).await.map(or_empty),
            Known::New(call) => call,
        };
        if nature == Nature::Post && self.log.is_some() {
            let posted = self.room_for_one_more().map(|()| {
                self.put_out(&id, operation, payload);
                Payload::empty()
            });
            return self.told_nothing(call, posted);
        }
        let (ctx, mut message) = self.request(operation, payload);
        if nature == Nature::Look {
            // What the turn has sent so far comes first, so that it finds what it has written itself.
            if !self.outgoing.is_empty() {
                self.suspend().await?;
            }
            message.idempotency_key = None;
            let result = runtime.ask_actor(ctx, id, message).await;
            self.told(call, result.as_ref().cloned());
            return result;
        }
        self.wait(call, runtime.ask_actor(ctx, id, message)).await
    }

    /// The actor that a target means: by its own names, else by one of the registry.
    pub(super) async fn look_up(&self, target: Whom<'_>) -> Result<(Runtime, ActorId), Failure> {
        let unknown = match self.resolve(target) {
            Err(failure) if failure.code == Code::NotFound => failure,
            resolved => return resolved,
        };
        let runtime = self.runtime.clone();
        let Some((runtime, kind)) = runtime.and_then(|runtime| runtime.systems().kind("registry").ok().map(|kind| (runtime, kind))) else {
            return Err(unknown);
        };
        let id = kind.identity(&self.id.tenant, &self.id.namespace, ONLY)?;
        self.catch_up().await?;
        let (ctx, mut message) = self.request("lookup", Payload::from_value(&json!({"name": target.name})));
        message.idempotency_key = None;
        let reply = runtime.ask_actor(ctx, id, message).await?;
        let found: Found = serde_json::from_slice(reply.as_bytes()).unwrap_or_default();
        // What it stands for is a name as any other, so that it leads to nothing that could not be named.
        found.entry.map_or(Err(unknown), |entry| self.resolve((&entry.target).into()))
    }

    /// A request to a service. The actors that wait for this one are no concern of a service: it asks nobody.
    fn request(&self, operation: &str, payload: Payload) -> (RequestContext, Message) {
        let ctx = RequestContext { namespace: self.id.namespace.clone(), ..self.ctx.clone() };
        let mut message = self.message(operation, payload, MessageKind::Call);
        message.idempotency_key = self.log.as_deref().map(|log| format!("{}#{}", self.id, log.call_id()));
        (ctx, message)
    }
}

/// What the registry says of a name.
#[derive(Default, Deserialize)]
struct Found {
    entry: Option<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    target: String,
}

/// A turn that only looks is told nothing of changes.
fn or_empty(told: Payload) -> Payload {
    if told.is_empty() { Payload::empty() } else { told }
}
