//! A way to one actor for those who send to it often.

use super::*;

/// How long a tell waits for room in a mailbox.
const PATIENCE: Duration = Duration::from_secs(5);

/// A known actor of this node, with its mailbox at hand: sending through it looks nothing up. It stays good when the actor leaves memory
/// and comes back.
pub struct Address {
    runtime: Runtime,
    id: ActorId,
    durable: bool,
    /// The mailbox where the last message went; perhaps one that has ended.
    cell: RwLock<Option<Arc<Cell>>>,
}

/// What became of a message that was put into a mailbox.
enum Offered {
    /// It is there.
    Taken,
    /// It is there, and the actor is to be run.
    Run(Arc<Cell>, Box<Body>),
    /// There was no room, or no actor.
    Rejected(Box<Envelope>),
}

impl Clone for Address {
    fn clone(&self) -> Self {
        Self { runtime: self.runtime.clone(), id: self.id.clone(), durable: self.durable, cell: RwLock::new(self.cell.read().clone()) }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.id).finish()
    }
}

impl Runtime {
    /// The way to the actor that a target means: `namespace/type/key`, `type/key` or a name, each possibly with `@node`.
    pub fn address(&self, ctx: &RequestContext, target: &str) -> Result<Address, Failure> {
        self.address_of(&self.resolve(ctx, target)?)
    }

    /// The way to an actor, whether it lives or not.
    pub fn address_of(&self, id: &ActorId) -> Result<Address, Failure> {
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let durable = kind.profile(&id.key).durable;
        Ok(Address { runtime: self.clone(), id: id.clone(), durable, cell: RwLock::new(self.known(id)) })
    }
}

impl Address {
    /// Whose address it is.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.id
    }

    /// Whether the actor is in memory.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.runtime.known(&self.id).is_some()
    }

    /// Asks the actor and waits for its reply until the context's deadline; without one, for ever. Who asks from outside works for an idle
    /// actor until that waits, as in [`Runtime::ask`].
    pub async fn ask(&self, ctx: RequestContext, message: Message) -> Result<Payload, Failure> {
        let deadline = ctx.deadline;
        let (sender, receiver) = oneshot::channel();
        let from_outside = ctx.chain.is_empty();
        let offered = self.offer(envelope(ctx, message, Some(sender)))?;
        let asked = async {
            match offered {
                Offered::Taken => {}
                Offered::Run(cell, body) if from_outside => self.runtime.begin(cell, body),
                Offered::Run(cell, body) => self.runtime.run(cell, body),
                Offered::Rejected(envelope) => self.insist(envelope).await?,
            }
            receiver.await.map_err(|_| Failure::new(Code::Unavailable, format!("the actor {} stopped before it answered", self.id)))?
        };
        let Some(deadline) = deadline else { return asked.await };
        tokio::time::timeout_at(deadline.into(), asked).await.map_err(|_| late(&self.id))?
    }

    /// Sends without waiting for a reply: it returns when the message is in the mailbox, for which it waits a few seconds if there is no
    /// room; for a durable actor when the turn is committed.
    pub async fn tell(&self, ctx: RequestContext, message: Message) -> Result<(), Failure> {
        if self.durable && ctx.chain.is_empty() {
            let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + DURABLE_TELL_TIMEOUT);
            return Box::pin(self.ask(ctx.with_deadline(deadline), message)).await.map(drop);
        }
        // An actor cannot make room in its own mailbox while it waits for it.
        let own = ctx.chain.last() == Some(&self.id);
        let ctx = RequestContext { deadline: None, chain: self.runtime.0.nobody.clone(), ..ctx };
        let envelope = match self.offer(envelope(ctx, message, None))? {
            Offered::Taken => return Ok(()),
            Offered::Run(cell, body) => {
                self.runtime.run(cell, body);
                return Ok(());
            }
            Offered::Rejected(envelope) => envelope,
        };
        if own {
            return self.runtime.deliver(&self.id, envelope, Wait::No).await;
        }
        let overloaded = |_| Failure::new(Code::Overloaded, format!("the mailbox of {} stayed full", self.id));
        tokio::time::timeout(PATIENCE, Box::pin(self.insist(envelope))).await.map_err(overloaded)?
    }

    /// Ends the actor after its present message; true when it lived.
    pub fn stop(&self) -> bool {
        self.runtime.stop(&self.id, Exit::Shutdown)
    }

    /// Ends the actor at once, its present message included; true when it lived.
    pub fn kill(&self) -> bool {
        self.runtime.kill(&self.id)
    }

    /// Puts the message into the mailbox that is at hand, or gives it back.
    fn offer(&self, envelope: Box<Envelope>) -> Result<Offered, Failure> {
        if self.runtime.0.draining.load(Ordering::Relaxed) && envelope.message.sender.is_none() {
            return Err(Failure::new(Code::Unavailable, "the node is shutting down"));
        }
        let known = self.cell.read();
        let Some(cell) = known.as_ref() else { return Ok(Offered::Rejected(envelope)) };
        Ok(match cell.mailbox.try_send(envelope) {
            Sent::Queued => Offered::Taken,
            Sent::Run(body) => Offered::Run(cell.clone(), body),
            Sent::Full(envelope) | Sent::Closed(envelope) => Offered::Rejected(envelope),
        })
    }

    /// Waits for room, or looks for the mailbox anew.
    async fn insist(&self, envelope: Box<Envelope>) -> Result<(), Failure> {
        let delivered = self.runtime.deliver(&self.id, envelope, Wait::Yes(Place::Own)).await;
        let current = self.runtime.known(&self.id);
        let known = self.cell.read().clone();
        if current.as_ref().map(Arc::as_ptr) != known.as_ref().map(Arc::as_ptr) {
            *self.cell.write() = current;
        }
        delivered
    }
}
