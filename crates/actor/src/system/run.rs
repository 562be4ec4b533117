//! How a system actor works: in rounds of all that waits, each with one commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_durable::Tenure;
use plexspaces_store::{Batch, Partition, Range};
use plexspaces_types::{ActorId, Code, Failure, MessageKind, Payload};

use super::cell::{Body, Open, Poke, SystemCell};
use super::seen::{Keyed, Seen};
use super::senders::{Senders, quiet_since};
use super::{Effects, ROWS, SystemActor, SystemRequest};
use crate::Runtime;
use crate::actor::{settle_down, tries, untaken};
use crate::cell::Envelope;
use crate::mailbox::{Next, Work};
use crate::trace;

/// One that nobody has used for this long leaves memory.
const IDLE: Duration = Duration::from_secs(300);

/// Requests that may wait inside one.
const MAX_OPEN: usize = 100_000;

/// Rows that are read at once when one comes to life.
const PAGE: usize = 1000;

pub(crate) struct Live {
    actor: Box<dyn SystemActor>,
    id: ActorId,
    tenure: Tenure,
    seen: Seen,
    senders: Senders,
    open: HashMap<u64, Open>,
    /// The tickets of open requests that have a key.
    keyed: HashMap<Keyed, u64>,
    last_ticket: u64,
    used: Instant,
    /// When the wheel will look, in milliseconds since the Unix epoch.
    armed_ms: Option<u64>,
    /// It has handled nothing yet.
    is_fresh: bool,
}

/// Messages whose answers are ready as soon as the round is committed.
type Ready = Vec<(Box<Envelope>, Result<Payload, Failure>)>;

/// Works until nothing waits.
pub(crate) async fn run(runtime: Runtime, cell: Arc<SystemCell>, body: Box<Body>) {
    trace::in_turns(work(runtime, cell, body)).await;
}

async fn work(runtime: Runtime, cell: Arc<SystemCell>, mut body: Box<Body>) {
    loop {
        let Next::Do(taken, first) = cell.mailbox.next(body) else { return };
        body = taken;
        // Others may be in its round: the line that tells what has befallen them names the one that came first.
        trace::work_for(if let Work::Message(envelope) = &first { Some(envelope.ctx.trace) } else { None });
        if let (Work::Control(Poke::Tick), Some(live)) = (&first, body.live.as_mut())
            && live.is_idle()
            && cell.mailbox.len() == 0
        {
            if let Err(failure) = live.forget_senders(&runtime, &cell).await {
                tracing::warn!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "the numbers of senders are kept on");
                body.live = None;
            }
            if cell.mailbox.end_if_empty() {
                // When it comes back it watches anew.
                runtime.links().ended(&cell.id);
                return runtime.systems().remove(&cell);
            }
        }
        if body.live.is_none() {
            match load(&runtime, &cell).await {
                Ok(live) => body.live = Some(live),
                Err(failure) => {
                    tracing::error!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "a system actor could not be brought to life");
                    // Who asks is told now, also where others before wait for the store.
                    let all = std::iter::once(first).chain(std::iter::from_fn(|| cell.mailbox.take()));
                    let all: Vec<_> =
                        all.filter_map(|work| if let Work::Message(envelope) = work { Some(envelope) } else { None }).collect();
                    let times = undone(&runtime, &cell, all.into_iter(), &failure).await;
                    settle_down(&failure, times).await;
                    continue;
                }
            }
        }
        let Some(live) = body.live.as_mut() else { continue };
        match live.round(&runtime, &cell, first).await {
            Ok(()) => live.look_at_senders(&runtime, &cell).await,
            Err((failure, times)) => {
                tracing::error!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "a system actor could not commit and is read anew");
                for (_, open) in live.open.drain() {
                    let lost = Failure::new(Code::Unavailable, format!("{} was interrupted; ask again", cell.id));
                    open.envelope.answer(Err(lost.clone()));
                    open.repeats.into_iter().for_each(|repeat| repeat.answer(Err(lost.clone())));
                }
                body.live = None;
                settle_down(&failure, times).await;
            }
        }
        if cell.mailbox.len() > 0 {
            // Who began this in the task of an asker lets the asker go on.
            tokio::task::yield_now().await;
        }
    }
}

/// Messages that the store kept from being handled: whoever asked is told; what nobody waits for is tried again, in its order. How often that
/// was tried, at the most.
async fn undone(
    runtime: &Runtime,
    cell: &SystemCell,
    messages: impl DoubleEndedIterator<Item = Box<Envelope>> + Send,
    failure: &Failure,
) -> u8 {
    // While the store is away there can be no dead letter either, and a later message of the sender would stand for this one too.
    let is_away = matches!(failure.code, Code::Unavailable | Code::StorageFull) && !runtime.is_draining();
    let mut times = 0;
    for mut envelope in messages.rev() {
        envelope.failures = envelope.failures.saturating_add(1);
        let waits = envelope.receipt.is_some() && is_away;
        if envelope.reply.is_none() && (waits || envelope.failures < tries(failure)) {
            times = times.max(envelope.failures);
            cell.mailbox.put_back(envelope);
        } else {
            give(runtime, &cell.id, envelope, Err(failure.clone())).await;
        }
    }
    times
}

/// Answers whoever asked; what nobody waits for and cannot be done is kept as a dead letter.
async fn give(runtime: &Runtime, id: &ActorId, envelope: Box<Envelope>, result: Result<Payload, Failure>) {
    match result {
        Err(failure) if envelope.reply.is_none() => runtime.bury(id, *envelope, &failure).await,
        result => envelope.answer(result),
    }
}

/// Takes over from the activation before, and reads the whole partition: from then on nobody else changes it.
async fn load(runtime: &Runtime, cell: &SystemCell) -> Result<Live, Failure> {
    let store = &cell.store;
    let partition = Partition::actor(&cell.id);
    let unreadable = |_| Failure::new(Code::StorageFailed, "the epoch of the service cannot be read");
    let mut tenure = Tenure::of(store.get(&partition, Tenure::KEY).await?.as_ref()).map_err(unreadable)?;
    if let Some(claim) = tenure.claim(&partition) {
        store.commit(claim).await.map_err(|error| untaken(&cell.id, error))?;
    }
    let mut actor = (cell.kind.make)(cell.id.key.as_str());
    let (mut seen, mut senders, now_ms) = (Seen::default(), Senders::default(), runtime.config().clock.now_ms());
    let mut range = Some(Range::all());
    while let Some(wanted) = range.take() {
        let page = store.scan(&partition, wanted.clone(), PAGE).await?;
        range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
        for (key, value) in &page.entries {
            if let Some(row) = key.strip_prefix(ROWS) {
                actor.load(row, value)?;
            } else if key != Tenure::KEY && !seen.load(&mut senders, key, value, now_ms)? {
                return Err(Failure::new(Code::StorageFailed, "a row of the service is not one that it has written"));
            }
        }
    }
    Ok(Live {
        actor,
        id: cell.id.clone(),
        tenure,
        seen,
        senders,
        open: HashMap::new(),
        keyed: HashMap::new(),
        last_ticket: 0,
        used: crate::now(),
        armed_ms: None,
        is_fresh: true,
    })
}

impl Live {
    fn is_idle(&self) -> bool {
        self.open.is_empty() && crate::now().duration_since(self.used) >= IDLE
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.actor.due_ms().is_some_and(|due| due <= now_ms)
    }

    /// Handles what waits, commits it, and answers. Where that fails it says how often what is tried again was tried, else 0.
    async fn round(&mut self, runtime: &Runtime, cell: &Arc<SystemCell>, first: Work<Box<Envelope>, Poke>) -> Result<(), (Failure, u8)> {
        let now_ms = runtime.config().clock.now_ms();
        let mut open = std::mem::take(&mut self.open);
        let mut effects = Effects::new(now_ms, &mut open);
        let mut ready = Ready::new();
        let mut heard = HashMap::new();
        let mut had_enough = false;
        if std::mem::take(&mut self.is_fresh) {
            self.actor.loaded(&mut effects);
            // What was over while it was not in memory is over for the first request too.
            if self.is_due(now_ms) {
                effects.begin_step();
                self.actor.tick(&mut effects);
                had_enough = effects.is_full();
            }
        }
        let mut next = Some(first);
        while let Some(work) = next.take() {
            match work {
                Work::Message(envelope) => {
                    self.senders.took_one();
                    self.receive(envelope, &mut effects, &mut ready, &mut heard);
                }
                Work::Control(Poke::Tick) => self.armed_ms = None,
                Work::Control(Poke::Ended(actor)) => {
                    effects.begin();
                    self.actor.ended(&actor, &mut effects);
                }
                Work::Killed | Work::Drained => {}
            }
            if !effects.is_full() {
                next = cell.mailbox.take();
            }
        }
        if !had_enough && self.is_due(now_ms) {
            effects.begin_step();
            self.actor.tick(&mut effects);
        }
        let Effects { mut writes, answers, tells, watches, .. } = effects;
        let had_answers = !answers.is_empty();
        for (ticket, result, changed) in answers {
            let Some(Open { envelope, keyed, repeats }) = open.remove(&ticket) else { continue };
            keyed.as_ref().map(|keyed| self.keyed.remove(keyed));
            if let (Some(keyed), Ok(reply), true) = (&keyed, &result, changed) {
                writes.extend(self.seen.remember(keyed, ticket, reply, now_ms));
            }
            ready.extend(repeats.into_iter().map(|repeat| (Box::new(repeat), result.clone())));
            ready.push((envelope, result));
        }
        self.open = open;
        // A message that changes nothing now might do so when it comes again.
        writes.extend(heard.iter().map(|(sender, number)| self.senders.hear(sender, *number, now_ms)));
        writes.extend(self.senders.forget());
        writes.extend(self.seen.forget(now_ms));
        if let Err(failure) = self.commit(cell, writes).await {
            let times = undone(runtime, cell, ready.into_iter().map(|(envelope, _)| envelope), &failure).await;
            return Err((failure, times));
        }
        for (envelope, result) in ready {
            give(runtime, &cell.id, envelope, result).await;
        }
        for (target, operation, payload) in tells {
            runtime.notify(&cell.id, &target, &operation, payload).await;
        }
        for (actor, patient) in watches {
            runtime.watch_for_system(cell, &actor, patient);
        }
        if had_answers {
            self.used = crate::now();
        }
        self.arm(runtime, cell, now_ms);
        Ok(())
    }

    async fn commit(&mut self, cell: &SystemCell, writes: Vec<plexspaces_store::Write>) -> Result<(), Failure> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(Partition::actor(&cell.id));
        self.tenure.fence(&mut batch);
        batch.writes.extend(writes);
        cell.store.commit(batch).await.map_err(|error| untaken(&cell.id, error))
    }

    /// Looks now and then which senders keep no message any more. The next commit forgets them.
    async fn look_at_senders(&mut self, runtime: &Runtime, cell: &SystemCell) {
        if self.senders.wants_a_look()
            && let Err(failure) = self.senders.look(runtime, cell, quiet_since(runtime.config().clock.now_ms())).await
        {
            tracing::warn!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "the numbers of senders are kept on");
        }
    }

    /// The same before it leaves memory, and forgets them at once.
    async fn forget_senders(&mut self, runtime: &Runtime, cell: &SystemCell) -> Result<(), Failure> {
        self.senders.look(runtime, cell, u64::MAX).await?;
        let writes = self.senders.forget();
        self.commit(cell, writes).await
    }

    fn receive(&mut self, envelope: Box<Envelope>, effects: &mut Effects<'_>, ready: &mut Ready, heard: &mut HashMap<ActorId, u64>) {
        if envelope.reply.as_ref().is_some_and(tokio::sync::oneshot::Sender::is_closed) {
            return;
        }
        if envelope.ctx.deadline.is_some_and(|deadline| deadline <= crate::now()) {
            let failure = Failure::new(Code::DeadlineExceeded, "the deadline passed before the request was looked at");
            return ready.push((envelope, Err(failure)));
        }
        if let Some(receipt) = &envelope.receipt {
            let (sender, number) = (receipt.sender.id.clone(), receipt.number);
            let in_round = heard.get(&sender).is_some_and(|last| number <= *last);
            if in_round || self.senders.has_heard(&sender, number) {
                return ready.push((envelope, Ok(Payload::empty())));
            }
            heard.insert(sender, number);
            effects.others += 1;
        }
        let keyed = Keyed::of(&envelope.message);
        if let Some(keyed) = &keyed {
            if let Some(answer) = self.seen.answer(keyed, effects.now_ms) {
                return ready.push((envelope, answer));
            }
            if let Err(failure) = self.seen.has_room(keyed) {
                return ready.push((envelope, Err(failure)));
            }
            if let Some(open) = self.keyed.get(keyed).and_then(|ticket| effects.open.get_mut(ticket)) {
                if open.keyed.as_ref().is_some_and(|first| first.fingerprint == keyed.fingerprint) {
                    open.repeats.push(*envelope);
                } else {
                    ready.push((envelope, Err(keyed.used_for_another())));
                }
                return;
            }
        }
        if effects.open.len() >= MAX_OPEN {
            let failure = Failure::new(Code::Overloaded, format!("{MAX_OPEN} requests wait already"));
            return ready.push((envelope, Err(failure)));
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        if let Some(keyed) = &keyed {
            self.keyed.insert(keyed.clone(), ticket);
        }
        effects.begin();
        let request = SystemRequest {
            ticket,
            operation: &envelope.message.operation,
            payload: &envelope.message.payload,
            tenant: &self.id.tenant,
            namespace: &self.id.namespace,
            sender: envelope.message.sender.as_ref(),
        };
        let outcome = self.actor.handle(&request, effects);
        let waits = envelope.message.kind == MessageKind::Call && matches!(outcome, Ok(None));
        effects.open.insert(ticket, Open { envelope, keyed, repeats: Vec::new() });
        if !waits {
            effects.answer(ticket, outcome.map(|reply| reply.unwrap_or_else(Payload::empty)));
        }
    }

    /// Makes the wheel look again when something is due, or at the latest when it may be idle.
    fn arm(&mut self, runtime: &Runtime, cell: &Arc<SystemCell>, now_ms: u64) {
        let idle_ms = now_ms.saturating_add(u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX));
        let due = [self.actor.due_ms(), self.seen.due_ms()].into_iter().flatten().min();
        let wanted = due.map_or(idle_ms, |due| due.min(idle_ms));
        if self.armed_ms.is_none_or(|armed| wanted < armed) {
            self.armed_ms = Some(wanted);
            runtime.timers().tick_system(cell, Duration::from_millis(wanted.saturating_sub(now_ms).max(1)));
        }
    }
}
