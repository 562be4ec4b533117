//! How a durable actor's turns last, and how an actor is brought back: its state, the turns since, and the one that was under way.

use std::sync::atomic::Ordering;

use plexspaces_durable::journal::{self, Begin, End, Entry, Recorded, Refusal};
use plexspaces_durable::{Activation, Changes, Outcome, Outgoing, Past, Reminder, Tenure, decode_heard, heard_key, heard_range, sender_of};
use plexspaces_store::{Batch, Partition};

use super::*;
use crate::children::{self, START};
use crate::runtime::BURIED_AGAIN_AFTER;
use crate::runtime::reminders::announcements;
use crate::runtime::workflows::{deadline, is_run, listing};
use crate::trace;
use crate::turn::log::{Held, Log};

/// Records of old turns that one commit removes.
const STALE_AT_ONCE: usize = 256;

/// How long a message that the store kept from being handled waits for its second try.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Messages that have not arrived and are read at once.
const OUTGOING_AT_ONCE: usize = 500;

/// Messages that have arrived and are removed in one commit.
const ARRIVED_AT_ONCE: usize = 1000;

/// Senders that are forgotten in one commit.
const SENDERS_AT_ONCE: usize = 1000;

/// What a commit may hold beside what its turn wrote and sent: its journal, its answer, what is old and removed with it.
const BESIDE_THE_TURN: usize = 512;

/// An actor that was not used for so long rests.
const RESTS_MS: u64 = 30_000;

impl Actor {
    /// What is known of a durable actor.
    pub(super) async fn recover(&mut self) -> Result<(Activation, Past), Failure> {
        self.runtime.recall(&self.cell.id, self.body.profile.keeping).await
    }

    /// Goes on with the present code, once nothing is left to be done with the earlier version that a turn began with.
    pub(super) async fn move_on(&mut self, ctx: &RequestContext) -> Result<(), Unfinished> {
        if self.body.pending.is_some() || self.body.live.as_ref().is_none_or(|live| live.present) {
            return Ok(());
        }
        self.keep_state().await;
        let is_kept = |held: Held| {
            let journal = held.lock();
            !journal.is_in_doubt() && !journal.has_unkept_turns()
        };
        if !self.held().is_some_and(is_kept) {
            self.drop_code();
            return Err(Unfinished::Undone(Failure::new(Code::Unavailable, "a state could not be kept for the present version")));
        }
        self.drop_code();
        tracing::info!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, "what an earlier version had to do is done");
        self.runtime.earlier_ended().notify_one();
        Box::pin(self.activate(ctx)).await
    }

    /// Runs the turns again that the kept state does not know.
    pub(super) async fn rerun(&mut self, turns: Vec<Recorded>) -> Result<(), Unfinished> {
        for recorded in turns {
            let Some(begin) = recorded.begin() else { continue };
            let (message, number) = (begin.message(&self.cell.id), recorded.turn);
            let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "replay");
            let Some(held) = self.held() else { return Ok(()) };
            let turn = self.new_turn(ctx.clone()).journaled(Log::again(&held, recorded));
            let (_, turn) = self.run_turn(turn, &message, false).await?;
            if let Some(mut log) = turn.into_effects().log {
                log.finish().map_err(|failure| self.diverged(number, failure, true))?;
            }
        }
        Ok(())
    }

    /// Goes on with the turn that was under way when the actor last left memory.
    pub(super) async fn resume(&mut self) -> Result<(), Unfinished> {
        let Some(recorded) = self.body.pending.take() else { return Ok(()) };
        let (Some(begin), Some(held)) = (recorded.begin().cloned(), self.held()) else { return Ok(()) };
        let (message, number) = (begin.message(&self.cell.id), recorded.turn);
        let wakes = self.wakes_of(&recorded);
        tracing::debug!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, turn = number, "a turn goes on");
        let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "journal");
        trace::work_for(Some(ctx.trace));
        let turn = self.new_turn(ctx.clone()).journaled(Log::again(&held, *recorded)).begun_by(&message);
        let want_state = held.lock().wants_state() || self.body.live.as_ref().is_some_and(|live| !live.present);
        let ended = self.run_turn(turn, &message, want_state).await;
        if ended.is_err() {
            self.forget_wakes(&held, &wakes).await;
        }
        if let Err(Unfinished::Ended(failure, _)) = &ended
            && self.nobody_hears(&begin, &message)
        {
            let lost = Envelope { failures: 1, ..Envelope::new(ctx.clone(), message.clone()) };
            self.runtime.bury(&self.cell.id, lost, failure).await;
        }
        let (reply, turn) = ended?;
        let keyed = message.idempotency_key.as_deref().map(|key| (key, fingerprint(&message.operation, &message.payload)));
        let mut effects = turn.into_effects();
        if let Some((name, due_ms)) = &begin.reminder {
            self.reschedule(name, *due_ms, &mut effects).await?;
        }
        effects.outgoing.extend(self.report(&message, Ok(&reply.payload)));
        let said = if message.kind == MessageKind::Call || self.cell.inbox.is_some() { reply.payload } else { Payload::empty() };
        let keyed = keyed.or_else(|| self.is_kept_run(&message).then_some((LATEST, [0; 32])));
        let answer = keyed.map(|(key, fingerprint)| (key.to_owned(), fingerprint, said));
        self.settle(effects, reply.state, answer, &ctx).await?;
        self.forget_wakes(&held, &wakes).await;
        self.body.kind.metrics.handled.increment(1);
        self.move_on(&ctx).await
    }

    /// The entries of the index with which a run may have left memory, until it is resumed or timed out.
    fn wakes_of(&self, recorded: &Recorded) -> Vec<Due> {
        let is_pause = |entry: &Entry| matches!(entry, Entry::Signal(signal) if Order::of(&signal.operation) == Some(Order::Pause));
        let stands = recorded.entries.iter().any(is_pause).then(|| self.runtime.stands(&self.cell.id));
        let deadline = deadline(recorded).map(|at_ms| Due { at_ms, ..self.runtime.stands(&self.cell.id) });
        stands.into_iter().chain(deadline).collect()
    }

    /// Removes such entries when the run is over. While it is not, other code may have to know of it.
    async fn forget_wakes(&mut self, held: &Held, wakes: &[Due]) {
        let is_over = !held.lock().has_begun();
        for due in wakes.iter().filter(|_| is_over) {
            self.runtime.disarm(due).await;
        }
    }

    /// Says when a reminder is due again that a resumed turn has handled.
    async fn reschedule(&mut self, name: &str, due_ms: u64, effects: &mut Effects) -> Result<(), Unfinished> {
        let config = self.runtime.config();
        let stored = config.store.get(&Partition::actor(&self.cell.id), &Reminder::key(name)).await;
        let stored = stored.map_err(|error| Unfinished::Undone(error.into()))?.map(|value| Reminder::decode(&value)).transpose();
        let stored = stored.map_err(|error| Unfinished::Undone(unreadable(&self.cell, &error)))?;
        if let Some(reminder) = stored.filter(|reminder| reminder.due_ms == due_ms)
            && !effects.reminders.iter().any(|(changed, _)| changed == name)
        {
            effects.reminders.push((name.to_owned(), self.next_time(&reminder)));
        }
        Ok(())
    }

    pub(super) fn held(&self) -> Option<Held> {
        self.body.live.as_ref().and_then(|live| live.activation.clone())
    }

    /// Makes what a turn of a durable actor did last.
    pub(super) async fn commit_turn(
        &mut self,
        effects: &mut Effects,
        state: Option<Payload>,
        answer: Option<(String, [u8; 32], Payload)>,
        harmless: bool,
    ) -> Result<(), Unfinished> {
        let Some(held) = self.held() else { return Err(Unfinished::Refused(internal("the actor has no instance"))) };
        let mut entries = Vec::new();
        let code = held.lock().code();
        if let Some(log) = effects.log.as_deref_mut() {
            let finished = log.finish();
            let number = held.lock().current_turn();
            let reply = finished.map_err(|failure| self.diverged(number, failure, true))?;
            entries = log.take_entries();
            let outcome = journal::Outcome::Done { reply };
            entries.push(Entry::End(End { at_ms: self.runtime.config().clock.now_ms(), outcome, state, code }));
        } else if let Some(state) = state {
            // What `init` wrote belongs to the state that it made.
            let at_ms = self.runtime.config().clock.now_ms();
            let begin = Begin { seed: journal::NO_CODE, code, ..begin(&system_message("init"), None, at_ms) };
            let outcome = journal::Outcome::Done { reply: 0 };
            entries = vec![Entry::Begin(begin), Entry::End(End { at_ms, outcome, state: Some(state), code })];
        }
        let changes = Changes {
            entries,
            key_values: std::mem::take(&mut effects.key_values),
            reminders: std::mem::take(&mut effects.reminders),
            answer,
            harmless,
            outgoing: effects.outgoing.clone(),
            heard: effects.heard.take(),
            ..Changes::default()
        };
        self.runtime.commit(&self.cell, &held, changes).await.map_err(|failure| {
            // What is in memory is now ahead of what is stored.
            self.drop_code();
            let begun = held.lock().has_begun();
            tracing::error!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "a turn could not be committed");
            if begun { Unfinished::Refused(failure) } else { Unfinished::Undone(failure) }
        })
    }

    /// Keeps the state of an actor whose last turns are in its journal only, so that whoever brings it back need not run them again.
    pub(super) async fn keep_state(&mut self) {
        let Some(held) = self.held() else { return };
        if self.body.pending.is_some() || !held.lock().has_unkept_turns() {
            return;
        }
        let Some(live) = self.body.live.as_mut() else { return };
        let Ok(Ok(state)) = guard(&self.cell, self.body.profile.limits.turn_time, live.instance.snapshot()).await else { return };
        let (at_ms, code) = (self.runtime.config().clock.now_ms(), held.lock().code());
        let entries = vec![
            Entry::Begin(Begin { seed: journal::NO_CODE, code, ..begin(&system_message("keep"), None, at_ms) }),
            Entry::End(End { at_ms, outcome: journal::Outcome::Done { reply: 0 }, state: Some(state), code }),
        ];
        if let Err(failure) = self.runtime.commit(&self.cell, &held, Changes { entries, ..Changes::default() }).await {
            tracing::warn!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "a state could not be kept; its turns will be run again");
        }
    }

    /// Keeps its state before others go on with it, so that nobody needs to see to it any more.
    pub(super) async fn keep(&mut self) {
        self.keep_state().await;
        let Some(held) = self.held() else { return };
        if held.lock().is_in_doubt() {
            return self.drop_code();
        }
        let is_watched = self.cell.watched_until.load(Ordering::Relaxed) > 0;
        if is_watched
            && self.body.pending.is_none()
            && !self.cell.unkept.load(Ordering::Relaxed)
            && let Err(failure) = self.runtime.unwatch(&self.cell).await
        {
            tracing::debug!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "an actor is looked after though it need not be");
        }
    }

    /// Whether it does not live because its code did not do what its journal says. What it was sent was not handled.
    pub(super) fn stands_still(&self, failure: &Failure) -> bool {
        failure.code == Code::NonDeterministic && self.body.live.is_none()
    }

    /// Writes down that a turn failed, so that it is not taken up again.
    pub(super) async fn note_failure(&mut self, message: &Message, failure: &Failure) {
        let Some(held) = self.held() else { return };
        let report = self.report(message, Err(failure));
        let (in_doubt, has_begun, code) = {
            let journal = held.lock();
            (journal.is_in_doubt(), journal.has_begun(), journal.code())
        };
        if in_doubt {
            return;
        }
        let at_ms = self.runtime.config().clock.now_ms();
        let end = Entry::End(End { at_ms, outcome: journal::Outcome::Failed(Refusal::from(failure)), state: None, code });
        let entries = if has_begun { vec![end] } else { vec![Entry::Begin(Begin { code, ..begin(message, None, at_ms) }), end] };
        // A run that was started under its id is not begun anew.
        let key = message.idempotency_key.clone().filter(|_| message.operation == START);
        let answer = key.map(|key| (key, fingerprint(&message.operation, &message.payload), children::keep(failure)));
        let outgoing: Vec<Outgoing> = report.into_iter().collect();
        let changes = Changes { entries, answer, failed: true, outgoing: outgoing.clone(), ..Changes::default() };
        match self.runtime.commit(&self.cell, &held, changes).await {
            Ok(()) => {
                self.noted = has_begun;
                let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "outbox");
                self.runtime.send_out(&self.cell, &ctx, outgoing).await;
            }
            Err(failure) => {
                tracing::error!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "a turn's failure could not be written down");
                self.drop_code();
            }
        }
    }

    /// What the workflow that started this run hears of its end.
    pub(super) fn report(&self, message: &Message, outcome: Result<&Payload, &Failure>) -> Option<Outgoing> {
        let parent = self.parent(message)?;
        let turn = self.held()?.lock().current_turn();
        let (number, operation) = (Outgoing::last_number(turn), children::ENDED.to_owned());
        let payload = children::ended(&self.cell.id, outcome);
        Some(Outgoing { number, target: parent.to_string(), operation, payload })
    }

    /// The workflow that has started the run of this message.
    pub(super) fn parent<'a>(&self, message: &'a Message) -> Option<&'a ActorId> {
        message.sender.as_ref().filter(|parent| message.operation == START && self.runtime.is_workflow(parent))
    }

    /// Whether nobody learns that a turn has failed which went on after a crash: no reminder that comes again, nobody who asks again, no
    /// parent.
    fn nobody_hears(&self, begin: &Begin, message: &Message) -> bool {
        let asks_again = message.idempotency_key.as_ref().is_some_and(|key| key.contains('#'));
        let is_left = message.kind == MessageKind::Cast || (self.cell.inbox.is_some() && !asks_again);
        begin.reminder.is_none() && is_left && self.parent(message).is_none()
    }

    /// The code does not do what its journal says. The history stays as it is, and so does the actor: out of memory.
    /// The same where the store did not take what the code did: a turn that has begun goes on from its journal.
    pub(super) fn diverged(&mut self, turn: u64, failure: Failure, begun: bool) -> Unfinished {
        self.drop_code();
        if failure.code == Code::NonDeterministic {
            tracing::error!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, turn, "{}", failure.message);
            let message = format!("{}: {}", self.cell.id, failure.message);
            return Unfinished::Refused(Failure { message, ..failure });
        }
        if begun { Unfinished::Refused(failure) } else { Unfinished::Undone(failure) }
    }

    /// A message that the store kept from being handled: whoever asked is told; what nobody waits for is tried again, and then kept as a dead
    /// letter. It is not known whether an earlier activation or another one has handled it: that is looked up each time.
    pub(super) async fn undone(&mut self, mut envelope: Box<Envelope>, failure: &Failure) {
        if envelope.reply.is_some() {
            return envelope.answer(Err(failure.clone()));
        }
        envelope.undone += 1;
        // It may have been handled, and nothing would tell when it comes again.
        let is_unsure = failure.code == Code::StorageFailed && envelope.receipt.is_none() && envelope.reminder.is_none();
        if envelope.undone < tries(failure) && !is_unsure && !self.cell.mailbox.has_ended() {
            settle_down(failure, envelope.undone).await;
            return self.cell.mailbox.put_back(envelope);
        }
        self.leave_undone(envelope, failure).await;
    }

    /// What the store has kept too often from being handled.
    pub(super) async fn leave_undone(&mut self, envelope: Box<Envelope>, failure: &Failure) {
        // The node's index has a reminder, and brings it again.
        if envelope.reminder.is_none() {
            self.bury(envelope, failure).await;
        }
    }

    /// Keeps a message that is given up. One that its sender keeps is held here until that has worked: were it let go, a later one would be
    /// heard before it comes again.
    pub(super) async fn bury(&mut self, mut envelope: Box<Envelope>, failure: &Failure) {
        while let Err(back) = self.runtime.try_bury(&self.cell.id, envelope, failure).await {
            envelope = back;
            let (waiting, mailbox) = (self.runtime.waiting(), &self.cell.mailbox);
            tokio::select! {
                () = waiting.stopped() => return,
                () = std::future::poll_fn(|context| mailbox.poll_urgent(context)) => return mailbox.put_back(envelope),
                () = tokio::time::sleep(BURIED_AGAIN_AFTER) => {}
            }
        }
    }

    /// Forgets what it knows of its senders, as far as that is safe.
    pub(super) async fn forget(&mut self) {
        if let Err(failure) = Box::pin(self.forget_senders()).await {
            tracing::warn!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "the numbers of senders are kept on");
            if self.held().is_some_and(|held| held.lock().is_in_doubt()) {
                self.drop_code();
            }
        }
    }

    /// Forgets the numbers of senders that keep no message for this actor any more: none of theirs can come a second time.
    pub(super) async fn forget_senders(&mut self) -> Result<(), Failure> {
        let Some(held) = self.held().filter(|held| !held.lock().has_begun()) else { return Ok(()) };
        self.past().heard = 0;
        // Whoever has messages of this actor forgets its number when it keeps none of them any more.
        self.runtime.remove_arrived(&self.cell, &held).await?;
        let store = self.runtime.config().store.clone();
        let (partition, own) = (Partition::actor(&self.cell.id), self.cell.id.to_string());
        let mut unheard = Vec::new();
        let mut range = Some(heard_range());
        while let Some(wanted) = range.take() {
            let page = store.scan(&partition, wanted.clone(), OUTGOING_AT_ONCE).await?;
            range = page.entries.last().filter(|_| page.more && unheard.len() < SENDERS_AT_ONCE).map(|(last, _)| wanted.after(last));
            for (key, value) in page.entries {
                let last = decode_heard(&value).map_err(|error| unreadable(&self.cell, &error))?;
                let Some(sender) = sender_of(&key).and_then(|sender| ActorId::parse(&self.cell.id.tenant, sender)) else { continue };
                let kept = store.scan(&Partition::actor(&sender), Outgoing::up_to(last), OUTGOING_AT_ONCE).await?;
                let is_for_this = |value| Outgoing::decode(value).map_or(true, |outgoing| outgoing.target == own);
                if !kept.more && !kept.entries.iter().any(|(_, value)| is_for_this(value)) {
                    unheard.push(key);
                }
            }
        }
        // A message is removed by its sender after it was delivered: a second copy of it would be here by now.
        let waits = self.cell.mailbox.len() > 0 || self.cell.inbox.as_ref().is_some_and(|inbox| !inbox.is_empty());
        if waits || unheard.is_empty() {
            return Ok(());
        }
        self.runtime.commit(&self.cell, &held, Changes { unheard, ..Changes::default() }).await
    }

    /// Sends again what had not arrived when the actor last left memory.
    pub(super) async fn send_again(&mut self) -> Result<(), Failure> {
        let Some(held) = self.held().filter(|held| !held.lock().is_first()) else { return Ok(()) };
        let store = self.runtime.config().store.clone();
        let partition = Partition::actor(&self.cell.id);
        let mut range = Some(Outgoing::range());
        while let Some(wanted) = range.take() {
            let page = store.scan(&partition, wanted.clone(), OUTGOING_AT_ONCE).await?;
            if !page.entries.is_empty() && self.runtime.claim(&self.cell, &held).await? {
                // What the activation before has delivered until then is not sent again: its receiver may have forgotten that it had it.
                range = Some(wanted);
                continue;
            }
            range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
            let outgoing: Result<Vec<Outgoing>, _> = page.entries.iter().map(|(_, value)| Outgoing::decode(value)).collect();
            let ctx = RequestContext::external(self.cell.id.tenant.clone(), self.cell.id.namespace.clone(), "outbox");
            self.runtime.send_out(&self.cell, &ctx, outgoing.map_err(|error| unreadable(&self.cell, &error))?).await;
        }
        Ok(())
    }

    /// Sees to what a turn may have left undone: messages that have not arrived, a turn that was under way.
    pub(super) async fn look_after(&mut self, due: &Due) -> Fate {
        if self.is_down() {
            // Its supervisor starts it, others before it; then it is looked after.
            let put_off = &mut self.past().put_off;
            if !put_off.contains(due) {
                put_off.push(due.clone());
            }
            return Fate::Stays;
        }
        if due.name == LOOK_AFTER && self.cell.parked.load(Ordering::Relaxed) {
            // It was due before the turn left memory. Another entry says when that goes on, and nothing else is left undone.
            self.runtime.reminded(due).await;
            return self.leave_memory();
        }
        if let Some(held) = self.held() {
            // One that another activation has succeeded does not know what is left undone.
            let stored = self.runtime.config().store.get(&Partition::actor(&self.cell.id), Tenure::KEY).await;
            if !stored.is_ok_and(|stored| held.lock().is_current(stored.as_ref())) {
                self.drop_code();
            }
        }
        let is_woken = self.body.live.is_none();
        if let Err(Unfinished::Ended(_, exit)) = self.bring_to_life().await {
            return self.end_if_up(exit);
        }
        let fate = self.go_on().await;
        if let Some(held) = self.held() {
            if let Err(failure) = self.runtime.remove_arrived(&self.cell, &held).await {
                tracing::warn!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "messages that have arrived are kept on");
                self.drop_code();
            }
            // One that is in use keeps its state when that is due.
            let rested_ms = self.runtime.age_ms(crate::now()).saturating_sub(self.cell.counters.used_ms.load(Ordering::Relaxed));
            if is_woken || rested_ms >= RESTS_MS {
                self.keep_state().await;
            }
            if self.held().is_some_and(|held| held.lock().is_in_doubt()) {
                self.drop_code();
            }
        }
        let stays = matches!(fate, Fate::Stays);
        if stays && self.body.live.is_none() {
            // A turn that could not go on is looked after again, at the latest when there is other code for it.
            return fate;
        }
        match self.runtime.watch_on(&self.cell, due).await {
            Ok(is_undone) => {
                self.runtime.reminded(due).await;
                if stays && is_woken && !is_undone && self.cell.evictable.load(Ordering::Relaxed) {
                    // It came for this only.
                    return Box::pin(self.passivate()).await;
                }
            }
            Err(failure) => {
                tracing::warn!(actor_id = %self.cell.id, tenant = %self.cell.id.tenant, %failure, "what an actor may have left undone is looked after later");
            }
        }
        fate
    }

    /// Goes on with the turn that was under way, if there is one.
    pub(super) async fn go_on(&mut self) -> Fate {
        if self.body.pending.is_none() {
            return Fate::Stays;
        }
        match self.resume().await {
            Err(Unfinished::Ended(_, exit)) => self.end_if_up(exit),
            Err(Unfinished::Parked) => self.park(),
            Ok(()) | Err(Unfinished::Refused(_) | Unfinished::Undone(_)) => Fate::Stays,
        }
    }

    /// Leaves memory in the middle of a turn. Its journal has what it takes to go on.
    pub(super) fn park(&mut self) -> Fate {
        self.drop_code();
        self.leave_memory()
    }
}

/// The entry by which the node's index knows that this actor may leave something undone; none while it does.
fn watch(cell: &Cell, now: u64) -> Option<Due> {
    let is_due = cell.watched_until.load(Ordering::Relaxed) <= now;
    is_due.then(|| Due { at_ms: now.saturating_add(WATCH_MS), actor: cell.id.clone(), name: LOOK_AFTER.to_owned() })
}

/// Lets a commit remove messages that have arrived, as far as it has room for them beside what it is for.
fn take_arrived(cell: &Cell, changes: &mut Changes, batch_items: usize) {
    let turn = changes.outgoing.len() + changes.key_values.len() + changes.reminders.len() + changes.unheard.len();
    let room = batch_items.saturating_sub(turn + BESIDE_THE_TURN).clamp(1, ARRIVED_AT_ONCE);
    let mut arrived = cell.arrived.lock();
    let taken = arrived.len().min(room);
    changes.arrived.extend(arrived.drain(..taken));
}

/// Why a commit of an actor was not taken.
pub(crate) fn untaken(id: &ActorId, error: plexspaces_store::Error) -> Failure {
    match error {
        plexspaces_store::Error::Precondition { .. } => {
            Failure::new(Code::Fenced, format!("another activation of {id} has taken over; repeat the request, which goes to a newer one"))
        }
        other => other.into(),
    }
}

/// How often a message that nobody waits for is tried which the store kept from being handled. Where other activations go ahead again and again,
/// nothing has failed.
pub(crate) fn tries(failure: &Failure) -> u8 {
    if failure.code == Code::Fenced { 100 } else { ATTEMPTS }
}

/// Lets a store that fails come to itself, and another activation go ahead.
pub(crate) async fn settle_down(failure: &Failure, times: u8) {
    let pause = if failure.code == Code::Fenced { Duration::from_millis(1) } else { AGAIN_AFTER };
    tokio::time::sleep(pause * u32::from(times.min(20))).await;
}

/// What the journal has of a message.
pub(super) fn begin(message: &Message, reminder: Option<(String, u64)>, at_ms: u64) -> Begin {
    Begin {
        code: 0,
        at_ms,
        seed: rand::random::<u64>() | 1,
        operation: message.operation.clone(),
        kind: message.kind,
        payload: message.payload.clone(),
        sender: message.sender.as_ref().map(ToString::to_string),
        idempotency_key: message.idempotency_key.clone(),
        reminder,
    }
}

pub(super) fn system_message(operation: &str) -> Message {
    Message { operation: operation.to_owned(), kind: MessageKind::Cast, payload: Payload::empty(), sender: None, idempotency_key: None }
}

impl Runtime {
    /// Commits what a turn changed, or a part of it.
    pub(crate) async fn commit(&self, cell: &Arc<Cell>, held: &Held, mut changes: Changes) -> Result<(), Failure> {
        let config = self.config();
        let now = config.clock.now_ms();
        let (partition, expired, stale) = {
            let activation = held.lock();
            if activation.is_in_doubt() {
                return Err(Failure::new(Code::Unavailable, format!("a commit of {} failed; repeat the request", cell.id)));
            }
            (activation.partition().clone(), activation.expired_range(now), activation.stale_range())
        };
        if let Some(range) = expired {
            let page = config.store.scan(&partition, range, FORGET_AT_ONCE).await?;
            changes.forget = page.entries.into_iter().map(|(key, _)| key).collect();
        }
        if let Some(range) = stale {
            let page = config.store.scan(&partition, range, STALE_AT_ONCE).await?;
            changes.stale = page.entries.into_iter().map(|(key, _)| key).collect();
        }
        let mut due: Vec<Due> = changes.reminders.iter().filter_map(|(name, reminder)| due(&cell.id, name, reminder.as_ref())).collect();
        let under_way = changes.entries.last().is_some_and(|entry| !matches!(entry, Entry::End(_)));
        let sends = !changes.outgoing.is_empty();
        let begins_run = changes.entries.iter().any(|entry| matches!(entry, Entry::Begin(begin) if is_run(begin)));
        take_arrived(cell, &mut changes, config.store.limits().batch_items);
        let (outcome, unkept) = {
            let mut journal = held.lock();
            let outcome = journal.commit(changes, now);
            (outcome, journal.leaves_unkept_turns())
        };
        let Outcome::Commit(batch) = outcome else { return Ok(()) };
        let watch = if under_way || sends || unkept { watch(cell, now) } else { None };
        let watched_until = watch.as_ref().map(|watch| watch.at_ms);
        due.extend(watch);
        // The indexes first: an entry too many is found to be one, a missing one would not be missed.
        let mut first: Vec<Batch> = announcements(&due).collect();
        first.extend((begins_run && cell.inbox.is_some()).then(|| listing(&cell.id)));
        let kept = config.store.commit_after(first, batch).await;
        // Also what a failed commit may have left in the indexes is looked after.
        self.arm(due);
        kept.map_err(|error| untaken(&cell.id, error))?;
        held.lock().committed();
        cell.unkept.store(unkept, Ordering::Relaxed);
        if let Some(until) = watched_until {
            cell.watched_until.store(until, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes what has arrived of an actor's messages.
    async fn remove_arrived(&self, cell: &Arc<Cell>, held: &Held) -> Result<(), Failure> {
        while !cell.arrived.lock().is_empty() {
            self.commit(cell, held, Changes::default()).await?;
        }
        Ok(())
    }

    /// Takes an actor from the activation before; false when that is done.
    pub(crate) async fn claim(&self, cell: &Arc<Cell>, held: &Held) -> Result<bool, Failure> {
        let claim = held.lock().claim();
        let Some(batch) = claim else { return Ok(false) };
        self.config().store.commit(batch).await.map_err(|error| untaken(&cell.id, error))?;
        held.lock().committed();
        Ok(true)
    }

    /// Whether a message of a durable actor has been applied before.
    pub(crate) async fn has_heard(&self, id: &ActorId, sender: &str, number: u64) -> Result<bool, Failure> {
        let last = self.config().store.get(&Partition::actor(id), &heard_key(sender)).await?;
        let last = last.map(|value| decode_heard(&value)).transpose().map_err(|error| crate::runtime::history::unreadable(id, &error))?;
        Ok(last.is_some_and(|last| number <= last))
    }

    /// The answer to a request with this name, while it is kept.
    pub(crate) async fn stored_answer(&self, id: &ActorId, key: &str) -> Result<Option<Answer>, Failure> {
        let stored = self.config().store.get(&Partition::actor(id), &answer_key(key)).await?;
        let stored = stored.map(|value| Answer::decode(&value)).transpose();
        let stored = stored.map_err(|error| crate::runtime::history::unreadable(id, &error))?;
        let now = self.config().clock.now_ms();
        Ok(stored.filter(|answer| now < answer.expires_ms))
    }

    /// Whether a message's sender still keeps it. One that it does not has arrived in another way, which may be forgotten already.
    pub(crate) async fn is_kept(&self, receipt: &Receipt) -> Result<bool, Failure> {
        let sender = Partition::actor(&receipt.sender.id);
        Ok(self.config().store.get(&sender, &Outgoing::key(receipt.number)).await?.is_some())
    }

    /// Lets a turn that leaves memory go on at a time.
    pub(crate) async fn wake_at(&self, cell: &Arc<Cell>, at_ms: u64) -> Result<(), Failure> {
        let due = Due { at_ms, actor: cell.id.clone(), name: WAKE.to_owned() };
        self.announce_reminders(std::slice::from_ref(&due)).await?;
        self.arm(vec![due]);
        Ok(())
    }

    /// The entry of a turn that goes on at no known time: it says only that there is one.
    pub(crate) fn stands(&self, id: &ActorId) -> Due {
        Due { at_ms: u64::MAX, actor: id.clone(), name: WAKE.to_owned() }
    }

    /// Before a turn leaves memory: it need not be looked after unless a message of its actor has not arrived.
    pub(crate) async fn leave_alone(&self, cell: &Arc<Cell>, held: &Held) -> Result<(), Failure> {
        self.remove_arrived(cell, held).await?;
        if self.unwatch(cell).await? {
            cell.parked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// An actor need not be looked after any more unless a message of it has not arrived; whether that is so.
    async fn unwatch(&self, cell: &Cell) -> Result<bool, Failure> {
        let is_alone = !self.keeps_messages(&cell.id).await?;
        if is_alone {
            let at_ms = cell.watched_until.swap(0, Ordering::Relaxed);
            self.disarm(&Due { at_ms, actor: cell.id.clone(), name: LOOK_AFTER.to_owned() }).await;
        }
        Ok(is_alone)
    }

    /// Whether messages of an actor have not arrived.
    async fn keeps_messages(&self, id: &ActorId) -> Result<bool, Failure> {
        Ok(!self.config().store.scan(&Partition::actor(id), Outgoing::range(), 1).await?.entries.is_empty())
    }

    /// Lets an actor be looked after again when it leaves something undone after this time; whether it does.
    async fn watch_on(&self, cell: &Cell, due: &Due) -> Result<bool, Failure> {
        let is_undone = self.keeps_messages(&cell.id).await? || cell.unkept.load(Ordering::Relaxed);
        let (now, until) = (self.config().clock.now_ms(), cell.watched_until.load(Ordering::Relaxed));
        let is_last = until <= now || (due.name == LOOK_AFTER && due.at_ms == until);
        if !is_last {
            return Ok(is_undone);
        }
        let mut next = 0;
        if is_undone {
            // Another entry than this one, though the clock may have been set back.
            let this = if due.name == LOOK_AFTER { due.at_ms } else { 0 };
            next = now.saturating_add(WATCH_MS).max(this.saturating_add(1));
            let due = Due { at_ms: next, actor: cell.id.clone(), name: LOOK_AFTER.to_owned() };
            self.announce_reminders(std::slice::from_ref(&due)).await?;
            self.arm(vec![due]);
        }
        cell.watched_until.store(next, Ordering::Relaxed);
        Ok(is_undone)
    }

    /// Delivers what a durable actor has committed to send.
    pub(crate) async fn send_out(&self, cell: &Arc<Cell>, ctx: &RequestContext, outgoing: Vec<Outgoing>) {
        for Outgoing { number, target, operation, payload } in outgoing {
            let Some(target) = ActorId::parse(&cell.id.tenant, &target) else { continue };
            let sender = Some(cell.id.clone());
            let message = Message { operation, kind: MessageKind::Cast, payload, sender, idempotency_key: None };
            let receipt = Box::new(Receipt { sender: cell.clone(), number });
            self.pass_on(&cell.id, ctx, &target, message, Some(receipt)).await;
        }
    }
}

/// The name of the entry in the node's index under which an actor is looked after. No reminder has it: theirs hold no control characters.
pub(crate) const LOOK_AFTER: &str = "\u{1}look-after";

/// The name of the entry for a turn that goes on at a known time.
pub(crate) const WAKE: &str = "\u{1}wake";

/// For how long one entry of the index holds.
const WATCH_MS: u64 = 60_000;
