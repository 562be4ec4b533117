//! One live actor: its store, its memory, its calls.

use async_trait::async_trait;
use plexspaces_actor::{Fault, Instance, Reply, Turn};
use plexspaces_types::{Code, Failure, Message, MessageKind, Payload};
use wasmtime::Store;

use crate::bindings::Actor;
use crate::bindings::exports::plexspaces::actor::guest;
use crate::bindings::plexspaces::actor::types::PayloadParam;
use crate::component::lost_turn;
use crate::fault;
use crate::host::Host;
use crate::ready::Made;

/// An instance of a component. It is usable until a call fails other than by [`Fault::Rejected`], or is dropped half-way.
pub(crate) struct Guest {
    pub(crate) store: Store<Host>,
    pub(crate) actor: Actor,
    pub(crate) usable: bool,
    /// Bytes of memory beyond which the instance should be replaced.
    replace_at: usize,
    replace_at_least: usize,
}

impl Guest {
    /// An actor's instance, which the gauge of instances counts until it is dropped.
    pub(crate) fn new(Made { store, actor }: Made, replace_at_least: usize) -> Self {
        metrics::gauge!("plexspaces_wasm_instances").increment(1.0);
        Self { store, actor, usable: true, replace_at: usize::MAX, replace_at_least }
    }

    /// Lets the guest run: `turn` serves its host calls, its CPU time begins at nothing. [`Guest::end`] must follow.
    pub(crate) fn begin(&mut self, turn: Option<Turn>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.usable, false) {
            return Err(Fault::Crashed {
                failure: Failure::new(Code::Internal, "the instance was used again after it had failed or was cancelled"),
                trace: String::new(),
            });
        }
        self.store.data_mut().begin(turn);
        self.store.set_epoch_deadline(1);
        Ok(())
    }

    /// The guest's answer, checked, with the turn. The instance is usable again unless it crashed.
    pub(crate) fn end<T>(
        &mut self,
        result: wasmtime::Result<Result<T, guest::Failure>>,
        check: impl FnOnce(&T, &Host) -> Result<(), Fault>,
    ) -> Result<(T, Option<Turn>), Fault> {
        let turn = self.store.data_mut().end();
        let answer = match result {
            Ok(Ok(value)) => check(&value, self.store.data()).map(|()| value),
            Ok(Err(failure)) => Err(fault::of_guest(failure)),
            Err(error) => Err(fault::of_call(&error)),
        };
        self.usable = !matches!(answer, Err(Fault::Crashed { .. }));
        answer.map(|value| (value, turn))
    }

    /// Takes the present size as the one to which later growth is compared.
    pub(crate) fn settle(&mut self) {
        self.replace_at = self.replace_at_least.max(self.store.data().memory.bytes().saturating_mul(2));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        metrics::gauge!("plexspaces_wasm_instances").decrement(1.0);
    }
}

fn lower(payload: &Payload) -> PayloadParam<'_> {
    match payload {
        Payload::Json(text) => PayloadParam::Json(text),
        Payload::Bytes(bytes) => PayloadParam::Bytes(bytes),
    }
}

impl From<guest::Reply> for Reply {
    fn from(reply: guest::Reply) -> Self {
        Self { payload: reply.payload.into(), state: reply.state.map(Payload::from) }
    }
}

#[async_trait]
impl Instance for Guest {
    async fn handle(&mut self, message: &Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        self.begin(Some(turn))?;
        let sender = message.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let lowered = guest::Message {
            operation: &message.operation,
            kind: match message.kind {
                MessageKind::Call => guest::MessageKind::Call,
                MessageKind::Cast => guest::MessageKind::Cast,
            },
            payload: lower(&message.payload),
            sender: &sender,
        };
        let result = self.actor.plexspaces_actor_guest().call_handle(&mut self.store, lowered, want_state).await;
        let result = result.map(|answer| answer.map(Reply::from));
        let check = |reply: &Reply, host: &Host| {
            fault::check("reply", &reply.payload, host.limits().payload_bytes)?;
            reply.state.as_ref().map_or(Ok(()), |state| fault::check("snapshot", state, host.limits().payload_bytes))
        };
        match self.end(result, check)? {
            (reply, Some(turn)) => Ok((reply, turn)),
            (_, None) => Err(Fault::Crashed { failure: lost_turn(), trace: String::new() }),
        }
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        self.begin(None)?;
        let result = self.actor.plexspaces_actor_guest().call_snapshot(&mut self.store).await;
        let result = result.map(|answer| answer.map(Payload::from));
        let (state, _) = self.end(result, |state, host| fault::check("snapshot", state, host.limits().payload_bytes))?;
        Ok(state)
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.begin(None)?;
        let result = self.actor.plexspaces_actor_guest().call_restore(&mut self.store, lower(state)).await;
        self.end(result, |(), _| Ok(()))?;
        self.settle();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    fn wants_replacement(&self) -> bool {
        self.memory_bytes() > self.replace_at
    }
}
