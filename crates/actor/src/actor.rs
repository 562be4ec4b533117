//! The life of one actor: how it takes one message at a time out of its mailbox, and what becomes of it when one fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use plexspaces_durable::journal::Recorded;
use plexspaces_durable::{Answer, Due, Reminder, answer_key, beside, fingerprint};
use plexspaces_store::Partition;
use plexspaces_types::{ActorId, Code, Failure, Message, MessageKind, Payload, RequestContext, TraceContext};

use crate::answers::Answers;
use crate::cell::{Cell, Control, Envelope, Receipt, Signal};
use crate::children::{self, LATEST, START};
use crate::code;
use crate::facet::pipeline::Pipeline;
use crate::inbox::{Order, Verdict};
use crate::mailbox::{Next, Work};
use crate::registry::{Kind, Seat};
use crate::restarts::Restarts;
use crate::runtime::pressure::Room;
use crate::runtime::workflows::names_run;
use crate::supervision::Exit;
use crate::timers::Schedule;
use crate::trace;
use crate::turn::log::{Held, Journal, Log, caught_up};
use crate::turn::{Effects, Looking};
use crate::{Fault, Instance, Profile, Reply, Runtime, Spec, Turn};

mod changes;
mod config;
mod cuts;
mod durability;
mod ends;
mod facets;
mod inbox;
mod reminders;

pub(crate) use config::guest_config;
use cuts::{Cut, Unfinished, guard};
use durability::begin;
pub(crate) use durability::{LOOK_AFTER, WAKE, settle_down, tries, untaken};

/// A failed actor that comes back later than this answers instead of letting its callers wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many expired answers one turn removes.
const FORGET_AT_ONCE: usize = 64;

/// Messages of durable actors after which their numbers are looked through.
const FORGET_SENDERS_AFTER: u32 = 1024;

/// Steps after which an actor lets others run.
const STEPS_IN_A_ROW: u32 = 64;

/// How often a message that nobody waits for is tried.
pub(crate) const ATTEMPTS: u8 = 3;

/// What an actor is between its turns.
pub(crate) struct Body {
    kind: Arc<Kind>,
    profile: Arc<Profile>,
    /// Its place under a supervisor; none for an actor that its first message brings to life.
    seat: Option<Arc<Seat>>,
    live: Option<Live>,
    /// Whether its last incarnation has ended, and the next is a restart.
    has_ended: bool,
    /// The turn that was under way when the actor came to life.
    pending: Option<Box<Recorded>>,
    past: Option<Box<Past>>,
}

/// An actor's code in memory; with durability, also its view of its partition.
struct Live {
    instance: Box<dyn Instance>,
    activation: Option<Held>,
    facets: Option<Box<Pipeline>>,
    /// Whether its code is the application's present version.
    present: bool,
    /// Given back when all of this has gone.
    _room: Room,
}

/// What most actors have none of.
#[derive(Default)]
struct Past {
    /// The state of an actor that is not durable, on its way from one instance to the next, and the version of the code whose it is.
    carried: Option<(u64, Payload)>,
    /// Answers of an actor that is not durable: they live as long as its state.
    answers: Answers,
    restarts: Restarts,
    /// Messages of durable actors since their numbers were last looked through.
    heard: u32,
    /// What it is looked after for when its supervisor has started it.
    put_off: Vec<Due>,
}

impl Body {
    pub(crate) fn new(kind: Arc<Kind>, profile: Arc<Profile>, seat: Option<Arc<Seat>>) -> Box<Self> {
        Box::new(Self { kind, profile, seat, live: None, has_ended: false, pending: None, past: None })
    }
}

/// An actor at work.
struct Actor {
    runtime: Runtime,
    cell: Arc<Cell>,
    body: Box<Body>,
    /// When its last turn ended, if nothing has taken time since then.
    ended: Option<Instant>,
    /// Whether the turn that has just failed had begun, and its failure is written down.
    noted: bool,
    /// It ends, and its supervisor's order to start is for its successor.
    succeeded: bool,
}

/// Whether an actor has still a place in the node.
enum Fate {
    Stays,
    /// It has ended with this reason; none when it only leaves memory.
    Leaves(Option<Exit>),
}

/// Whose task an actor works in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its own.
    Own,
    /// At first that of who asked, who is not to wait for the work of others.
    Asker,
}

/// Works until nothing waits or the actor has ended.
pub(crate) async fn run(runtime: Runtime, cell: Arc<Cell>, body: Box<Body>, place: Place) {
    trace::in_turns(work(runtime, cell, body, place)).await;
}

async fn work(runtime: Runtime, cell: Arc<Cell>, body: Box<Body>, place: Place) {
    let mut actor = Actor { runtime, cell, body, ended: None, noted: false, succeeded: false };
    let mut steps = if place == Place::Asker { STEPS_IN_A_ROW - 1 } else { 0 };
    loop {
        let work = match actor.cell.mailbox.next(actor.body) {
            Next::Do(body, work) => {
                actor.body = body;
                work
            }
            Next::Idle => return,
            Next::Gone(_) => return,
        };
        let fate = match work {
            Work::Message(envelope) => {
                trace::work_for(Some(envelope.ctx.trace));
                actor.receive(envelope).await
            }
            Work::Control(control) => {
                trace::work_for(None);
                let fate = Box::pin(actor.control(control)).await;
                actor.ended = None;
                fate
            }
            Work::Killed => actor.killed(),
            Work::Drained => actor.drained(),
        };
        if let Fate::Leaves(exit) = fate {
            return Box::pin(actor.leave(exit.as_ref())).await;
        }
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(STEPS_IN_A_ROW) && actor.cell.mailbox.len() > 0 {
            tokio::task::yield_now().await;
            actor.ended = None;
        }
    }
}

impl Actor {
    fn past(&mut self) -> &mut Past {
        self.body.past.get_or_insert_default()
    }

    async fn control(&mut self, control: Control) -> Fate {
        match control {
            // It is of an application that was removed; its name has been given to a child of another.
            Control::Start if self.cell.mailbox.is_closed() => self.succeeded = true,
            Control::Start => return self.start().await,
            Control::Spawn(answer) => return self.spawned(answer).await,
            Control::Stop(exit) => return self.end_if_up(exit),
            Control::Drain if self.body.live.is_none() => return self.drained(),
            Control::Drain => self.cell.mailbox.close(),
            Control::Rest(seat) => return self.rest(&seat).await,
            Control::Replace(kind) => return self.replace(kind).await,
            Control::Facets(revision) => return self.revise_facets(*revision).await,
            Control::Passivate => return self.passivate().await,
            Control::Keep(permit) => {
                self.keep().await;
                drop(permit);
            }
            Control::Signal(signal) => return self.signal(*signal).await,
            Control::Inbox => return self.take_inbox().await,
            Control::LookAfter(due) => return self.look_after(&due).await,
        }
        Fate::Stays
    }

    async fn receive(&mut self, mut envelope: Box<Envelope>) -> Fate {
        if envelope.reply.as_ref().is_some_and(tokio::sync::oneshot::Sender::is_closed) {
            return Fate::Stays;
        }
        // Of messages that wait one begins when the other ends: one look at the clock does for both.
        let mut started = self.ended.take().unwrap_or_else(crate::now);
        if envelope.ctx.deadline.is_some_and(|deadline| deadline <= started) {
            let failure = Failure::new(Code::DeadlineExceeded, format!("the deadline passed before {} could start", self.cell.id));
            envelope.answer(Err(failure));
            return Fate::Stays;
        }
        if let Some(wait) = self.body.past.as_ref().and_then(|past| past.restarts.wait(started)) {
            if wait > PATIENCE && envelope.reply.is_some() {
                let failure = Failure::new(Code::Unavailable, format!("{} failed too often and restarts later", self.cell.id));
                envelope.answer(Err(failure.with_retry_after(wait)));
                return Fate::Stays;
            }
            let mailbox = &self.cell.mailbox;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = std::future::poll_fn(|context| mailbox.poll_urgent(context)) => {
                    mailbox.put_back(envelope);
                    return Fate::Stays;
                }
            }
            started = crate::now();
        }
        let result = self.turn(&mut envelope).await;
        self.count_turn(started);
        let fate = match result {
            Ok(reply) => {
                let was_run = self.is_kept_run(&envelope.message);
                envelope.answer(Ok(reply));
                if was_run && self.cell.evictable.load(Ordering::Relaxed) {
                    // Of a run that is over only what is stored is needed, for the most part.
                    self.runtime.control(&self.cell, Control::Passivate);
                }
                Fate::Stays
            }
            Err(Unfinished::Refused(failure)) => {
                self.body.kind.metrics.rejected.increment(1);
                if self.stands_still(&failure) && envelope.reply.is_none() {
                    Box::pin(self.leave_undone(envelope, &failure)).await;
                } else {
                    envelope.answer(Err(failure));
                }
                Fate::Stays
            }
            Err(Unfinished::Undone(failure)) => {
                Box::pin(self.undone(envelope, &failure)).await;
                Fate::Stays
            }
            Err(Unfinished::Ended(failure, exit)) => {
                self.ended = None;
                envelope.failures += 1;
                envelope.noted = std::mem::take(&mut self.noted);
                // Whoever kills an actor wants to be rid of its message too. A workflow's run has been seen by others: it is not done anew.
                let is_run = self.cell.inbox.is_some() && Order::is_run(&envelope.message.operation);
                let reported = self.parent(&envelope.message).is_some();
                let again = exit != Exit::Kill && !is_run;
                let fate = self.end(exit);
                if !reported || envelope.reply.is_some() {
                    self.give_up(envelope, failure, again).await;
                }
                fate
            }
            Err(Unfinished::Parked) => return self.park(),
        };
        if self.body.past.as_ref().is_some_and(|past| past.heard >= FORGET_SENDERS_AFTER) && self.cell.mailbox.len() == 0 {
            self.forget().await;
            self.ended = None;
        }
        if self.body.live.as_ref().is_some_and(|live| live.instance.wants_replacement()) {
            self.ended = None;
            return Box::pin(self.replace_grown()).await;
        }
        fate
    }

    /// A message whose turn failed: whoever asked is told; what nobody waits for is tried again, and then kept as a dead letter.
    async fn give_up(&mut self, envelope: Box<Envelope>, failure: Failure, again: bool) {
        if envelope.reply.is_some() {
            return envelope.answer(Err(failure));
        }
        if again && !self.cell.mailbox.has_ended() && (envelope.failures < ATTEMPTS || envelope.reminder.is_some()) {
            return self.cell.mailbox.put_back(envelope);
        }
        self.bury(envelope, &failure).await;
    }

    fn count_turn(&mut self, started: Instant) {
        let ended = crate::now();
        self.ended = Some(ended);
        let took = ended.duration_since(started);
        let counters = &self.cell.counters;
        let nanos = counters.turn_nanos.load(Ordering::Relaxed).saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        counters.turn_nanos.store(nanos, Ordering::Relaxed);
        counters.handled.store(counters.handled.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        counters.used_ms.store(self.runtime.age_ms(ended), Ordering::Relaxed);
        if let Some(live) = &self.body.live {
            counters.memory_bytes.store(live.instance.memory_bytes(), Ordering::Relaxed);
        }
        self.body.kind.metrics.turn_seconds.record(took);
    }

    /// One turn: the message is handled, what it changed is committed, what it sent leaves, and only then is there a reply.
    async fn turn(&mut self, envelope: &mut Envelope) -> Result<Payload, Unfinished> {
        if self.body.live.is_none() {
            Box::pin(self.activate(&envelope.ctx)).await?;
        }
        if self.body.pending.is_some() {
            Box::pin(self.resume()).await.map_err(Unfinished::of_the_turn_before)?;
        }
        if let Some(due) = &envelope.reminder {
            return Box::pin(self.remind(due, envelope)).await;
        }
        if self.cell.inbox.is_some() && matches!(Order::of(&envelope.message.operation), Some(Order::Query)) {
            return Box::pin(self.look(envelope)).await;
        }
        let heard = match &envelope.receipt {
            Some(receipt) if self.body.profile.durable => {
                let (sender, number) = (receipt.sender.id.to_string(), receipt.number);
                let overtakes = self.cell.inbox.is_some() && Order::of(&envelope.message.operation).is_some();
                let sender = if overtakes { beside(&sender) } else { sender };
                // One whose turn had begun was heard where that first waited.
                if !envelope.noted && Box::pin(self.runtime.has_heard(&self.cell.id, &sender, number)).await.map_err(Unfinished::Undone)? {
                    return Ok(Payload::empty());
                }
                if envelope.undone > 0 && !Box::pin(self.runtime.is_kept(receipt)).await.map_err(Unfinished::Undone)? {
                    return Ok(Payload::empty());
                }
                Some((sender, number))
            }
            _ => None,
        };
        // An actor that is not durable does not remember requests of actors, of which it may get one twice, but runs by their ids.
        let is_remembered = self.body.profile.durable || envelope.message.sender.is_none() || envelope.message.operation == START;
        let keyed = envelope.message.idempotency_key.clone().filter(|_| is_remembered);
        let keyed = keyed.map(|key| (key, fingerprint(&envelope.message.operation, &envelope.message.payload)));
        if let Some((key, fingerprint)) = &keyed
            && let Some(stored) = Box::pin(self.stored_answer(key)).await.map_err(Unfinished::Undone)?
        {
            if let Some(facets) = self.body.live.as_mut().and_then(|live| live.facets.as_mut()) {
                let (message, ctx) = (&*children::told(&envelope.message), &envelope.ctx);
                let admitted = guard(&self.cell, self.body.profile.limits.turn_time, facets.admit(message, ctx)).await;
                admitted.map_err(|cut| self.unfinished(cut, ctx.trace))?.map_err(Unfinished::Refused)?;
            }
            let is_same = stored.fingerprint == *fingerprint;
            return match given(stored, key, fingerprint) {
                given if is_same && envelope.message.operation == START => Ok(children::ended(&self.cell.id, given.as_ref())),
                given => given.map_err(Unfinished::Refused),
            };
        }
        let counts = heard.is_some();
        let turn = self.start_turn(envelope, None, heard).await?;
        let (message, ctx) = (&envelope.message, &envelope.ctx);
        // With its state kept, the actor can leave memory when its run is over.
        let want_state = self.wants_state() || self.is_kept_run(message);
        let (reply, turn) = self.run_turn(turn, message, want_state).await?;
        let state = reply.state;
        // A workflow's result is kept also where nobody waits for it.
        let reply = if message.kind == MessageKind::Call || self.cell.inbox.is_some() { reply.payload } else { Payload::empty() };
        let mut effects = turn.into_effects();
        effects.outgoing.extend(self.report(message, Ok(&reply)));
        if state.is_some() || keyed.is_some() || !effects.is_empty() {
            let answer = keyed.map(|(key, fingerprint)| (key, fingerprint, reply.clone()));
            let answer = answer.or_else(|| self.is_kept_run(message).then(|| (LATEST.to_owned(), [0; 32], reply.clone())));
            Box::pin(self.settle(effects, state, answer, ctx)).await?;
        }
        if counts {
            self.past().heard += 1;
        }
        self.body.kind.metrics.handled.increment(1);
        // Where there is no journal, whoever starts a run waits for its end.
        let is_start = message.operation == START && self.cell.inbox.is_some();
        Ok(if is_start { children::ended(&self.cell.id, Ok(&reply)) } else { reply })
    }

    fn new_turn(&self, ctx: RequestContext) -> Turn {
        Turn::new(&self.runtime, &self.cell, &self.body.kind, ctx, &self.body.profile)
    }

    /// Whether a message is the run of a durable workflow.
    fn is_kept_run(&self, message: &Message) -> bool {
        self.body.profile.durable && self.cell.inbox.is_some() && names_run(&message.operation)
    }

    /// By when the run of a message is to be done, as its actor's type says, when it begins at a time.
    fn run_until(&self, message: &Message, at_ms: u64) -> Option<u64> {
        let run_timeout = self.body.profile.run_timeout.filter(|_| self.cell.inbox.is_some() && names_run(&message.operation))?;
        Some(at_ms.saturating_add(millis(run_timeout)))
    }

    fn wants_state(&self) -> bool {
        self.body.live.as_ref().and_then(|live| live.activation.as_ref()).is_some_and(|held| held.lock().wants_state())
    }

    /// A turn for a message. The run of a workflow for which nobody waits is accepted before it has begun.
    async fn start_turn(
        &mut self,
        envelope: &mut Envelope,
        reminder: Option<(String, u64)>,
        heard: Option<(String, u64)>,
    ) -> Result<Turn, Unfinished> {
        let mut ctx = envelope.ctx.clone();
        let is_workflow = self.cell.inbox.is_some();
        let waits = envelope.message.kind == MessageKind::Call && envelope.message.operation != START;
        let awaited = ctx.deadline.filter(|_| waits);
        if is_workflow {
            // A run may go on when its caller has stopped waiting.
            ctx.deadline = None;
        }
        let is_start = is_workflow && envelope.message.operation == START;
        let run_until_ms = ctx.run_until_ms.take().filter(|_| is_start);
        let at_ms = self.runtime.config().clock.now_ms();
        let deadline_ms = self.run_until(&envelope.message, at_ms).into_iter().chain(run_until_ms).min();
        let due_by = |turn: Turn| match deadline_ms {
            Some(deadline_ms) => turn.due_by(deadline_ms),
            None => turn,
        };
        let turn = self.new_turn(ctx);
        let turn = if is_workflow { turn.begun_by(&envelope.message) } else { turn };
        let Some(held) = self.held() else {
            let from_outside = is_start && envelope.message.sender.is_none();
            if let Some(reply) = envelope.reply.take_if(|_| from_outside) {
                let _ = reply.send(Ok(children::started(&self.cell.id)));
            }
            return Ok(due_by(turn));
        };
        let base = if held.lock().is_new() { Some(Box::pin(self.snapshot(envelope.ctx.trace)).await?) } else { None };
        let log = Log::begin(&held, base, begin(&envelope.message, reminder, at_ms));
        let mut turn = due_by(turn.journaled(log)).awaited(awaited).heard(heard);
        let nobody_waits = envelope.message.kind == MessageKind::Cast && Order::is_run(&envelope.message.operation);
        if is_start || (is_workflow && nobody_waits) {
            turn.suspend().await.map_err(|failure| self.diverged(0, failure, false))?;
            if let Some(reply) = envelope.reply.take() {
                let _ = reply.send(Ok(if is_start { children::started(&self.cell.id) } else { Payload::empty() }));
            }
            if let Some(receipt) = envelope.receipt.take() {
                receipt.sign();
            }
        }
        Ok(turn)
    }

    async fn snapshot(&mut self, trace: TraceContext) -> Result<Payload, Unfinished> {
        let snapshot = self.take_state().await;
        snapshot.map_err(|cut| self.unfinished(cut, trace))
    }

    /// The state of the code at present. A panic, a kill or too much time end that as they end a turn.
    async fn take_state(&mut self) -> Result<Payload, Cut> {
        let no_instance = || Cut::Fault(Fault::Rejected(internal("the actor has no instance")));
        let live = self.body.live.as_mut().ok_or_else(no_instance)?;
        let state = guard(&self.cell, self.body.profile.limits.turn_time, live.instance.snapshot()).await;
        state.and_then(|state| state.map_err(Cut::Fault))
    }

    /// Lets the code answer a query between runs. It changes nothing, so that nothing of it is written down.
    async fn look(&mut self, envelope: &Envelope) -> Result<Payload, Unfinished> {
        let ctx = &envelope.ctx;
        let app = &self.body.kind.application.name;
        let turn = Turn::looking(&self.runtime, &self.cell.id, app, ctx.clone(), &self.body.profile, Looking::Query);
        let answered = self.handle(turn, &envelope.message, false).await;
        let (reply, _) = answered.map_err(|cut| self.unfinished(cut, ctx.trace))?;
        self.body.kind.metrics.handled.increment(1);
        Ok(reply.payload)
    }

    /// Lets the code and the facets around it handle a message.
    async fn handle(&mut self, turn: Turn, message: &Message, want_state: bool) -> Result<(Reply, Turn), Cut> {
        let no_instance = || Cut::Fault(Fault::Rejected(internal("the actor has no instance")));
        let live = self.body.live.as_mut().ok_or_else(no_instance)?;
        let told = children::told(message);
        // Facets stand around the code: what the journal has is what the code was given.
        let handled = match live.facets.as_deref_mut() {
            Some(facets) if !turn.is_again() => Box::pin(facets.handle(&mut *live.instance, &told, turn, want_state)),
            _ => live.instance.handle(&told, turn, want_state),
        };
        let outcome = guard(&self.cell, self.body.profile.limits.turn_time, handled).await;
        outcome.and_then(|outcome| outcome.map_err(Cut::Fault))
    }

    /// Lets the code handle a message; a kill, a time-out or a panic ends it half-way.
    async fn run_turn(&mut self, turn: Turn, message: &Message, want_state: bool) -> Result<(Reply, Turn), Unfinished> {
        let trace = turn.context().trace;
        let mut outcome = self.handle(turn, message, want_state).await;
        if let Ok((_, turn)) = &mut outcome {
            turn.take_back();
        }
        // One that is to end does not wait for the disk.
        let held = self.held().filter(|_| !matches!(outcome, Err(Cut::Killed | Cut::Verdict(_))));
        if let Some(held) = &held
            && let Err(failure) = caught_up(held).await
        {
            let (begun, number) = {
                let journal = held.lock();
                (journal.has_begun(), journal.current_turn())
            };
            return Err(self.diverged(number, failure, begun));
        }
        let cut = match outcome {
            Ok((reply, mut turn)) => {
                turn.code_replied(&reply.payload);
                return Ok((reply, turn));
            }
            Err(Cut::Verdict(Verdict::Parked)) => return Err(Unfinished::Parked),
            Err(cut) => cut,
        };
        if let Some(held) = self.held() {
            let failure = cut.failure(&self.cell.id);
            let (begun, doubt, number) = {
                let mut journal = held.lock();
                (journal.has_begun(), journal.doubt(&failure), journal.current_turn())
            };
            if let Some(doubt) = doubt {
                return Err(self.diverged(number, doubt, begun));
            }
            if begun || !matches!(cut, Cut::Fault(Fault::Rejected(_))) {
                Box::pin(self.note_failure(message, &failure)).await;
            }
        }
        Err(self.unfinished(cut, trace))
    }

    /// Handles what happened to another actor.
    async fn signal(&mut self, signal: Signal) -> Fate {
        let handlers = &self.body.kind.handlers;
        let handled = handlers.contains(signal.operation) || handlers.contains("*");
        if !handled {
            return match signal.fatal {
                Some(exit) => self.end_if_up(exit),
                None => Fate::Stays,
            };
        }
        let message = Message {
            operation: signal.operation.to_owned(),
            kind: MessageKind::Cast,
            payload: signal.payload,
            sender: signal.from,
            idempotency_key: None,
        };
        let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "system");
        let envelope = Box::new(Envelope::new(ctx, message));
        if self.is_down() {
            // Its next incarnation hears it; it is no reason to begin that.
            self.cell.mailbox.put_back(envelope);
            return Fate::Stays;
        }
        self.receive(envelope).await
    }

    /// Makes what a turn did last: the commit first, then its messages and timers.
    async fn settle(
        &mut self,
        mut effects: Effects,
        state: Option<Payload>,
        answer: Option<(String, [u8; 32], Payload)>,
        ctx: &RequestContext,
    ) -> Result<(), Unfinished> {
        if self.held().is_some() {
            let from_an_actor = answer.as_ref().is_some_and(|(key, ..)| key.contains('#'));
            self.commit_turn(&mut effects, state, answer, from_an_actor).await?;
        } else if let Some((key, fingerprint, reply)) = answer {
            let now = self.runtime.config().clock.now_ms();
            self.past().answers.insert(key, fingerprint, reply, now);
        }
        for change in effects.timers {
            self.runtime.timers().apply(&self.cell, change);
        }
        for (target, message) in effects.tells {
            self.runtime.pass_on(&self.cell.id, ctx, &target, message, None).await;
        }
        if !effects.outgoing.is_empty() {
            self.runtime.send_out(&self.cell, ctx, effects.outgoing).await;
        }
        Ok(())
    }

    async fn stored_answer(&mut self, key: &str) -> Result<Option<Answer>, Failure> {
        if self.body.profile.durable {
            return self.runtime.stored_answer(&self.cell.id, key).await;
        }
        let now = self.runtime.config().clock.now_ms();
        Ok(self.body.past.as_ref().and_then(|past| past.answers.get(key, now)))
    }

    async fn spawned(&mut self, answer: tokio::sync::oneshot::Sender<Result<(), Failure>>) -> Fate {
        match self.bring_to_life().await {
            Ok(()) => {
                let _ = answer.send(Ok(()));
                Fate::Stays
            }
            // What never lived leaves nothing behind.
            Err(Unfinished::Parked) => Fate::Stays,
            Err(Unfinished::Refused(failure) | Unfinished::Undone(failure) | Unfinished::Ended(failure, _)) => {
                self.body.kind.failed_to_spawn(&self.cell.id.key);
                let _ = answer.send(Err(failure));
                Fate::Leaves(Some(Exit::Shutdown))
            }
        }
    }

    /// Its supervisor starts it.
    async fn start(&mut self) -> Fate {
        match self.bring_to_life().await {
            Ok(()) => {
                self.cell.mailbox.hold(false);
                if let Some(seat) = &self.body.seat {
                    seat.started();
                }
                if self.cell.inbox.as_ref().is_some_and(|inbox| !inbox.is_empty()) {
                    self.runtime.control(&self.cell, Control::Inbox);
                }
                for due in self.body.past.as_mut().map(|past| std::mem::take(&mut past.put_off)).unwrap_or_default() {
                    self.runtime.control(&self.cell, Control::LookAfter(Box::new(due)));
                }
                Fate::Stays
            }
            Err(Unfinished::Refused(failure) | Unfinished::Undone(failure)) => self.end(Exit::Error(failure.message)),
            Err(Unfinished::Ended(_, exit)) => self.end(exit),
            Err(Unfinished::Parked) => Fate::Stays,
        }
    }

    async fn bring_to_life(&mut self) -> Result<(), Unfinished> {
        let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "supervisor");
        if self.body.live.is_some() { Ok(()) } else { self.activate(&ctx).await }
    }

    /// Makes an instance: `init` first, then the state.
    async fn activate(&mut self, ctx: &RequestContext) -> Result<(), Unfinished> {
        let ctx = RequestContext { deadline: None, ..ctx.clone() };
        let room = self.runtime.room().await;
        let recovered = if self.body.profile.durable { Some(self.recover().await.map_err(Unfinished::Undone)?) } else { None };
        let (activation, history) = recovered.unzip();
        let code::Version { factory, guest_type, present } = self.body.kind.version(history.as_ref());
        let activation = activation.map(|activation| Journal::new(activation, factory.code()));
        let carried = self.body.past.as_mut().and_then(|past| past.carried.take());
        let config = if factory.reads_config(&self.cell.id) {
            guest_config(&self.runtime, &self.cell.id, &self.body.kind, &self.body.profile)
        } else {
            String::new()
        };
        let spec = Spec { id: self.cell.id.clone(), guest_type, config, limits: self.body.profile.limits };
        let turn = Turn::new(&self.runtime, &self.cell, &self.body.kind, ctx.clone(), &self.body.profile);
        let state = history.as_ref().and_then(|history| history.state.as_ref().map(|state| (history.state_code, state)));
        let state = state.or(carried.as_ref().map(|(code, state)| (*code, state)));
        let made = async {
            let brought = factory.facets(&spec.id);
            let (mut instance, mut turn) = factory.create(&spec, turn).await?;
            if let Some((code, state)) = state {
                code::restore(&*factory, &spec, &mut *instance, state, code).await?;
            }
            let facets = facets::around(&self.runtime, &spec.id, &self.body.profile, brought, &mut turn).await.map_err(Fault::Rejected)?;
            Ok((instance, facets, turn))
        };
        let made = guard(&self.cell, self.body.profile.limits.turn_time, made).await;
        let made = made.and_then(|made| made.map_err(Cut::Fault));
        let (instance, facets, turn) = made.map_err(|cut| self.unfinished(cut, ctx.trace))?;
        let unkept = activation.as_ref().is_some_and(|held| held.lock().has_unkept_turns());
        self.cell.unkept.store(unkept, Ordering::Relaxed);
        let live = self.body.live.insert(Live { instance, activation, facets, present, _room: room });
        let profile = &self.body.profile;
        let may_leave = (profile.durable || profile.idle_timeout.is_some()) && !profile.eager && !profile.temporary;
        self.cell.evictable.store(may_leave, Ordering::Relaxed);
        self.cell.counters.used_ms.store(self.runtime.age_ms(crate::now()), Ordering::Relaxed);
        self.cell.parked.store(false, Ordering::Relaxed);
        self.cell.counters.starts.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.body.has_ended) {
            self.body.kind.metrics.restarts.increment(1);
        }
        self.cell.counters.memory_bytes.store(live.instance.memory_bytes(), Ordering::Relaxed);
        if let Some(idle) = self.body.profile.idle_timeout.filter(|_| !self.body.profile.temporary) {
            self.runtime.watch_idle(&self.cell, idle);
        }
        let effects = turn.into_effects();
        if let Some(history) = history {
            self.body.pending = history.pending.map(Box::new);
            self.rerun(history.turns).await?;
            self.send_again().await.map_err(|failure| self.diverged(0, failure, false))?;
        }
        self.settle_beginning(effects, &ctx).await?;
        self.move_on(&ctx).await
    }

    /// Makes last what was done besides messages.
    async fn settle_beginning(&mut self, effects: Effects, ctx: &RequestContext) -> Result<(), Unfinished> {
        let Some(live) = self.body.live.as_ref().filter(|_| !effects.is_empty()) else { return Ok(()) };
        // What `init` wrote may belong to what it put into the state.
        let keeps = live.activation.is_some() && self.body.pending.is_none();
        let state = if keeps { Some(self.snapshot(ctx.trace).await?) } else { None };
        self.settle(effects, state, None, ctx).await
    }

    fn drop_code(&mut self) {
        if self.body.live.take().is_some() {
            self.cell.evictable.store(false, Ordering::Relaxed);
            self.cell.counters.memory_bytes.store(0, Ordering::Relaxed);
            self.body.pending = None;
        }
    }

    /// Notes what ended a turn: refused messages change nothing, anything else costs the instance.
    fn unfinished(&mut self, cut: Cut, trace: TraceContext) -> Unfinished {
        let id = &self.cell.id.clone();
        let failure = cut.failure(id);
        let details = match cut {
            Cut::Fault(Fault::Rejected(failure)) => return Unfinished::Refused(failure),
            Cut::Fault(Fault::Crashed { .. }) if failure.code.ends_run() => {
                // It was to end, and has.
                self.drop_code();
                return Unfinished::Refused(failure);
            }
            Cut::Fault(Fault::Crashed { trace, .. }) => trace,
            Cut::Killed => {
                self.drop_code();
                return Unfinished::Ended(failure, Exit::Kill);
            }
            Cut::Verdict(_) => {
                // It has ended as it was told to: nothing has failed.
                self.drop_code();
                return Unfinished::Refused(failure);
            }
            Cut::Late(_) | Cut::Panicked(_) => String::new(),
        };
        self.drop_code();
        self.body.kind.metrics.crashed.increment(1);
        let app = &self.body.kind.application.name;
        tracing::error!(actor_id = %id, tenant = %id.tenant, %app, trace_id = %trace.trace_id_text(), code = %failure.code, trace = details, "{}", failure.message);
        let exit = Exit::Error(failure.message.clone());
        Unfinished::Ended(failure, exit)
    }
}

fn due(actor: &ActorId, name: &str, reminder: Option<&Reminder>) -> Option<Due> {
    reminder.map(|reminder| Due { at_ms: reminder.due_ms, actor: actor.clone(), name: name.to_owned() })
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What was answered to a request of this name, if it was this request.
pub(crate) fn given(stored: Answer, key: &str, fingerprint: &[u8; 32]) -> Result<Payload, Failure> {
    if stored.fingerprint != *fingerprint {
        return Err(used_for_another(key));
    }
    if stored.failed { Err(children::kept(&stored.reply)) } else { Ok(stored.reply) }
}

fn used_for_another(key: &str) -> Failure {
    let message = format!("the idempotency key {key:?} was used for another request");
    Failure::new(Code::Conflict, message).with_field("Idempotency-Key")
}

fn unreadable(cell: &Cell, error: &plexspaces_durable::Error) -> Failure {
    tracing::error!(actor_id = %cell.id, %error, "a stored record is unreadable");
    Failure::new(Code::StorageFailed, format!("what is stored of {} cannot be read; the node's log has the details", cell.id))
}

fn internal(message: &str) -> Failure {
    Failure::new(Code::Internal, message)
}
