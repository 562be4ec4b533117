//! The way to one actor.

use std::time::{Duration, Instant};

use plexspaces_actor::Address;
use plexspaces_types as types;
use plexspaces_types::{Failure, MessageKind};

use crate::{ActorId, Message};

/// The way to one actor; clones are cheap. It stays good when the actor is restarted.
#[derive(Clone, Debug)]
pub struct ActorRef {
    address: Address,
    ctx: types::RequestContext,
}

impl ActorRef {
    pub(crate) fn new(address: Address, ctx: types::RequestContext) -> Self {
        Self { address, ctx }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.address.id().clone().into()
    }

    /// Asks and waits for the reply, at most so long. A handler's error is this call's error. An idle actor begins in the caller's task, until
    /// its handler waits: who asks many that are to work side by side asks in as many tasks.
    pub async fn ask(&self, message: Message, timeout: Duration) -> Result<Message, Failure> {
        let ctx = self.ctx.clone();
        // A time that no clock shows is no deadline.
        let ctx = match Instant::now().checked_add(timeout) {
            Some(deadline) => ctx.with_deadline(deadline),
            None => ctx,
        };
        Ok(Message::reply(self.address.ask(ctx, message.into_sent(MessageKind::Call)).await?))
    }

    /// Sends without waiting for a reply. It returns when the message is in the mailbox, and waits a few seconds for room there.
    pub async fn tell(&self, message: Message) -> Result<(), Failure> {
        self.address.tell(self.ctx.clone(), message.into_sent(MessageKind::Cast)).await
    }

    /// Ends the actor after its present message; true when it lived.
    pub fn stop(&self) -> bool {
        self.address.stop()
    }

    /// Ends the actor at once, its present message included; true when it lived.
    pub fn kill(&self) -> bool {
        self.address.kill()
    }

    /// Whether the actor is in memory.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.address.is_live()
    }
}
