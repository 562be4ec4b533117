//! Lives and ends of actors: spawn, stop, watches, links, idle actors, timers, dead letters.

use super::*;
use crate::cell::Signal;
use crate::links::Tied;
use crate::mailbox::Standing;
use crate::system::cell::Poke;
use serde_json::json;

/// Ends of others that an actor may have to hear of when it ties itself to one more. With its ties that bounds what can wait for it.
const MAX_UNHEARD: usize = 100_000;

/// How long a spawned actor's `init` may take when its parent has no deadline.
const SPAWN_TIMEOUT: Duration = Duration::from_secs(30);

impl Runtime {
    /// Starts an actor under a name and returns its identity when its `init` has run. An empty name gives it one of its own.
    pub async fn spawn(
        &self,
        ctx: &RequestContext,
        application: &Name,
        actor_type: &str,
        name: &str,
        args: Map<String, Value>,
    ) -> Result<ActorId, Failure> {
        let kind = self.0.registry.type_of(&ctx.tenant, &ctx.namespace, application, actor_type)?;
        let named = if name.is_empty() { Key::new(&format!("{actor_type}-{:016x}", rand::random::<u64>())) } else { Key::new(name) };
        let key = named.map_err(|error| Failure::invalid("name", error.to_string()))?;
        let id = ActorId::new(ctx.tenant.clone(), ctx.namespace.clone(), kind.name.clone(), key.clone());
        let lives = || Failure::new(Code::Conflict, format!("the actor {id} lives already")).with_field("name");
        if kind.seat(&key).is_some() {
            return Err(lives());
        }
        let (answer, started) = oneshot::channel();
        loop {
            // Of many who spawn it at once one has made it.
            let (cell, made) = self.find_or_make(&id, Cause::Spawn(&args))?;
            if made {
                self.control(&cell, Control::Spawn(answer));
                break;
            }
            if !cell.mailbox.has_ended() {
                return Err(lives());
            }
            self.remove(&cell);
        }
        let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + SPAWN_TIMEOUT);
        let late = || Failure::new(Code::DeadlineExceeded, format!("{id} did not start before the deadline"));
        let ended = || Failure::new(Code::Unavailable, format!("{id} ended while it started"));
        tokio::time::timeout_at(deadline.into(), started).await.map_err(|_| late())?.map_err(|_| ended())??;
        Ok(id)
    }

    /// Ends an actor after its present message; false when it is not in memory, unless it was spawned. A child comes back if its restart kind says
    /// so, a virtual actor with its next message, and one that was spawned when it is spawned again.
    pub fn stop_actor(&self, ctx: &RequestContext, target: Target<'_>) -> Result<bool, Failure> {
        Ok(self.stop(&self.admit(ctx, target)?, Exit::Shutdown))
    }

    /// The same at once, the actor's present message included.
    pub fn kill_actor(&self, ctx: &RequestContext, target: Target<'_>) -> Result<bool, Failure> {
        Ok(self.kill(&self.admit(ctx, target)?))
    }

    /// Ends an actor after its present message; true when it lived.
    pub(crate) fn stop(&self, id: &ActorId, exit: Exit) -> bool {
        let lives = self.known(id).is_some_and(|cell| self.control(&cell, Control::Stop(exit.clone())));
        lives || self.end_outside_memory(id, &exit)
    }

    /// A spawned actor that has left memory lives, and can be ended there; false when there is no such.
    fn end_outside_memory(&self, id: &ActorId, exit: &Exit) -> bool {
        let ended = self.0.registry.kind(id).is_some_and(|kind| kind.ends(&id.key));
        if ended {
            self.announce(id, exit);
        }
        ended
    }

    /// Ends an actor at once, its present message included; true when it lived.
    pub(crate) fn kill(&self, id: &ActorId) -> bool {
        let Some(cell) = self.known(id) else { return self.end_outside_memory(id, &Exit::Kill) };
        if let Some(body) = cell.mailbox.kill() {
            self.run(cell, body);
        }
        true
    }

    /// Watches an actor for another.
    pub(crate) fn monitor(&self, watcher: &ActorId, target: &ActorId) -> Result<String, Failure> {
        if !self.exists(target) {
            return self.monitor_nobody(watcher, &target.to_string());
        }
        self.can_hear(watcher)?;
        match self.0.links.monitor(watcher, target, || self.exists(target)) {
            Tied::Yes(reference) => Ok(reference),
            Tied::Gone(reference) => {
                self.signal(watcher, down(&reference, None, &target.to_string(), "noproc"));
                Ok(reference)
            }
            Tied::TooMany => Err(Failure::new(Code::Overloaded, format!("{watcher} watches too many actors"))),
        }
    }

    /// What watching nobody leads to.
    pub(crate) fn monitor_nobody(&self, watcher: &ActorId, target: &str) -> Result<String, Failure> {
        self.can_hear(watcher)?;
        let reference = self.0.links.reference();
        self.signal(watcher, down(&reference, None, target, "noproc"));
        Ok(reference)
    }

    /// Refuses an actor that would tie itself to others faster than it hears of their ends.
    fn can_hear(&self, id: &ActorId) -> Result<(), Failure> {
        let unheard = self.known(id).map_or(0, |cell| cell.mailbox.urgent());
        let message = || format!("{id} has to hear of {unheard} ends of others before it can be tied to more");
        if unheard < MAX_UNHEARD { Ok(()) } else { Err(Failure::new(Code::Overloaded, message())) }
    }

    pub(crate) fn link(&self, one: &ActorId, other: &ActorId) -> Result<(), Failure> {
        self.can_hear(one)?;
        self.can_hear(other)?;
        let tied = if self.exists(other) { self.0.links.link(one, other, || self.exists(other)) } else { Tied::Gone(()) };
        match tied {
            Tied::Yes(()) => {}
            Tied::Gone(()) => self.tell_exit(one, &other.to_string(), &Exit::Error("noproc".to_owned())),
            Tied::TooMany => return Err(Failure::new(Code::Overloaded, format!("{one} or {other} has too many links"))),
        }
        Ok(())
    }

    /// Tells an actor that a peer has ended.
    pub(crate) fn tell_exit(&self, to: &ActorId, peer: &str, exit: &Exit) {
        self.signal(to, exited(None, peer, exit));
    }

    /// Tells all that want to hear it that an incarnation is over.
    pub(crate) fn announce(&self, id: &ActorId, exit: &Exit) {
        let mourners = self.0.links.ended(id);
        if mourners.watchers.is_empty() && mourners.peers.is_empty() {
            return;
        }
        let (printed, reason) = (id.to_string(), exit.to_string());
        for (reference, watcher) in mourners.watchers {
            // A service knows an actor by its name, which outlives an incarnation.
            if system::type_of(&watcher).is_some() && self.comes_back(id, exit) {
                self.keep_watching(&watcher, id);
            } else {
                self.signal(&watcher, down(&reference, Some(id.clone()), &printed, &reason));
            }
        }
        if !exit.is_normal() {
            for peer in mourners.peers {
                self.signal(&peer, exited(Some(id.clone()), &printed, exit));
            }
        }
    }

    /// Whether an actor that has ended so lives again by itself. Of the end of a child that its supervisor does not start again is told once more
    /// when that is certain.
    fn comes_back(&self, id: &ActorId, exit: &Exit) -> bool {
        let Some(kind) = self.0.registry.kind(id) else { return false };
        match kind.seat(&id.key) {
            Some(seat) => !seat.has_ended(),
            None => !kind.needs_spawn(&id.key) && matches!(exit, Exit::Error(_)),
        }
    }

    fn signal(&self, to: &ActorId, signal: Signal) {
        if system::type_of(to).is_some() {
            return self.tell_system_of_end(to, signal.from);
        }
        // Nobody is there to hear it when its application is gone.
        let _ = self.order(to, Control::Signal(Box::new(signal)));
    }

    /// Whether a message to the actor would find it or bring it to life.
    pub(super) fn exists(&self, id: &ActorId) -> bool {
        let Some(kind) = self.0.registry.kind(id) else { return false };
        match kind.seat(&id.key) {
            Some(seat) => !seat.has_ended(),
            None => !kind.needs_spawn(&id.key) || self.known(id).is_some(),
        }
    }

    /// Looks after a time whether an actor is idle, unless that is going to happen anyway.
    pub(crate) fn watch_idle(&self, cell: &Arc<Cell>, after: Duration) {
        if cell.idle_look.lock().is_none() {
            self.0.timers.idle(cell, after);
        }
    }

    /// Begins to wait for timers.
    pub(super) fn tick(&self) {
        if self.0.ticking.swap(true, Ordering::AcqRel) {
            return;
        }
        let runtime = self.clone();
        self.spawn_background(async move {
            loop {
                let fire = std::future::poll_fn(|context| runtime.0.timers.poll_due(context, |fired| runtime.put(fired))).await;
                runtime.fire(fire).await;
            }
        });
        self.spawn_background(self.clone().watch_reminders());
        self.spawn_background(self.clone().make_room());
    }

    async fn fire(&self, fire: Fire) {
        // A node that ends begins nothing new, but a service still answers those who wait in it. Reminders are stored, and come in the next
        // start of the node.
        let is_for_service = matches!(fire, Fire::System(_));
        if self.0.draining.load(Ordering::SeqCst) && !is_for_service {
            return;
        }
        match fire {
            Fire::Idle { cell, after } => {
                let Some(cell) = cell.upgrade() else { return };
                let idle = self.age_ms(crate::now()).saturating_sub(cell.counters.used_ms.load(Ordering::Relaxed));
                let is_working = cell.mailbox.standing().0 == Standing::Working;
                let left = if is_working { after } else { after.saturating_sub(Duration::from_millis(idle)) };
                if left.is_zero() {
                    self.control(&cell, Control::Passivate);
                } else {
                    self.watch_idle(&cell, left.max(Duration::from_millis(1)));
                }
            }
            Fire::System(cell) => {
                if let Some(cell) = cell.upgrade() {
                    self.poke(&cell, Poke::Tick);
                }
            }
            Fire::Reminder(due) => self.fire_reminder(due).await,
        }
    }

    /// Puts the message of a timer into its actor's mailbox.
    fn put(&self, fired: Fired<'_>) {
        let Fired { cell, name, operation, payload, periodic } = fired;
        if self.0.draining.load(Ordering::SeqCst) {
            return;
        }
        let (sender, operation, payload) = (Some(cell.id.clone()), operation.to_owned(), payload.clone());
        let message = Message { operation, kind: MessageKind::Cast, payload, sender, idempotency_key: None };
        let ctx = RequestContext::external(cell.id.tenant.clone(), cell.id.namespace.clone(), "timer");
        match cell.mailbox.try_send(envelope(ctx, message, None)) {
            Sent::Run(body) => self.run(cell.clone(), body),
            Sent::Full(_) if periodic => {
                tracing::warn!(actor_id = %cell.id, tenant = %cell.id.tenant, timer = name, "the mailbox was full when a timer fired, which comes again");
            }
            Sent::Full(envelope) => {
                let (runtime, id) = (self.clone(), cell.id.clone());
                let failure = Failure::new(Code::Overloaded, format!("the mailbox of {id} was full when the timer {name:?} fired"));
                self.spawn_background(async move { runtime.bury(&id, *envelope, &failure).await });
            }
            Sent::Queued | Sent::Closed(_) => {}
        }
    }

    /// The tree of an application failed too often.
    pub(crate) fn degrade(&self, tenant: &Name, namespace: &Name, application: &Name, until: Instant) {
        let left = until.saturating_duration_since(crate::now());
        let until_ms = self.0.config.clock.now_ms().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        self.0.registry.degrade(tenant, namespace, application, until_ms);
    }

    /// The dead letters of a namespace after the one with the name `after`, oldest first, at most `limit`; and whether there are more.
    pub async fn dead_letters(&self, ctx: &RequestContext, after: Option<&str>, limit: usize) -> Result<(Vec<DeadLetter>, bool), Failure> {
        self.0.dead_letters.list(&ctx.tenant, &ctx.namespace, after, limit).await
    }

    /// One dead letter.
    pub async fn dead_letter(&self, ctx: &RequestContext, id: &str) -> Result<DeadLetter, Failure> {
        self.0.dead_letters.get(&ctx.tenant, &ctx.namespace, id).await
    }

    /// Sends a dead letter again and, when it is in the mailbox, removes it.
    pub async fn redrive(&self, ctx: &RequestContext, id: &str) -> Result<(), Failure> {
        let letter = self.dead_letter(ctx, id).await?;
        let target = letter.target(&ctx.tenant, &ctx.namespace)?;
        self.tell_actor(ctx.clone(), &target, letter.message(), None).await?;
        self.discard(ctx, id).await
    }

    /// Removes a dead letter.
    pub async fn discard(&self, ctx: &RequestContext, id: &str) -> Result<(), Failure> {
        self.0.dead_letters.remove(&ctx.tenant, &ctx.namespace, id).await
    }
}

fn down(reference: &str, from: Option<ActorId>, printed: &str, reason: &str) -> Signal {
    let payload = json!({"monitor_ref": reference, "down_from": printed, "down_reason": reason});
    Signal { operation: "__DOWN__", from, payload: Payload::from_value(&payload), fatal: None }
}

fn exited(from: Option<ActorId>, printed: &str, exit: &Exit) -> Signal {
    let payload = json!({"exit_from": printed, "exit_reason": exit.to_string()});
    Signal { operation: "__EXIT__", from, payload: Payload::from_value(&payload), fatal: Some(exit.clone()) }
}
