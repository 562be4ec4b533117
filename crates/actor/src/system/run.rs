//! How a system actor works: in rounds of all that waits, each with one commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_durable::Tenure;
use plexspaces_store::{Batch, Partition, Range};
use plexspaces_types::{ActorId, Code, Failure, MessageKind, Name, Payload};

use super::cell::{Body, Open, Poke, SystemCell};
use super::seen::{Keyed, Seen};
use super::{Effects, ROWS, SystemActor, SystemRequest};
use crate::Runtime;
use crate::actor::{tries, untaken};
use crate::cell::Envelope;
use crate::mailbox::{Next, Work};

/// One that nobody has used for this long leaves memory.
const IDLE: Duration = Duration::from_secs(300);

/// Requests that may wait inside one.
const MAX_OPEN: usize = 100_000;

/// Rows that are read at once when one comes to life.
const PAGE: usize = 1000;

pub(crate) struct Live {
    actor: Box<dyn SystemActor>,
    tenant: Name,
    tenure: Tenure,
    seen: Seen,
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
pub(crate) async fn run(runtime: Runtime, cell: Arc<SystemCell>, mut body: Box<Body>) {
    loop {
        let Next::Do(taken, first) = cell.mailbox.next(body) else { return };
        body = taken;
        if body.live.is_none() {
            match load(&runtime, &cell).await {
                Ok(live) => body.live = Some(live),
                Err(failure) => {
                    tracing::error!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "a system actor could not be brought to life");
                    if let Work::Message(envelope) = first {
                        undone(&runtime, &cell, envelope, &failure).await;
                    }
                    continue;
                }
            }
        }
        let Some(live) = body.live.as_mut() else { continue };
        if let Work::Control(Poke::Tick) = &first
            && live.is_idle()
            && cell.mailbox.end_if_empty()
        {
            // When it comes back it watches anew.
            runtime.links().ended(&cell.id);
            return runtime.systems().remove(&cell);
        }
        if let Err(failure) = live.round(&runtime, &cell, first).await {
            tracing::error!(actor_id = %cell.id, tenant = %cell.id.tenant, %failure, "a system actor could not commit and is read anew");
            for (_, open) in live.open.drain() {
                let lost = Failure::new(Code::Unavailable, format!("{} was interrupted; ask again", cell.id));
                open.envelope.answer(Err(lost.clone()));
                open.repeats.into_iter().for_each(|repeat| repeat.answer(Err(lost.clone())));
            }
            body.live = None;
        }
        if cell.mailbox.len() > 0 {
            // Who began this in the task of an asker lets the asker go on.
            tokio::task::yield_now().await;
        }
    }
}

/// A message that the store kept from being handled: whoever asked is told; what nobody waits for is tried again.
async fn undone(runtime: &Runtime, cell: &SystemCell, mut envelope: Box<Envelope>, failure: &Failure) {
    envelope.failures += 1;
    if envelope.reply.is_none() && envelope.failures < tries(failure) {
        return cell.mailbox.put_back(envelope);
    }
    give(runtime, &cell.id, envelope, Err(failure.clone())).await;
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
    let store = &runtime.config().store;
    let partition = Partition::actor(&cell.id);
    let unreadable = |_| Failure::new(Code::StorageFailed, "the epoch of the service cannot be read");
    let mut tenure = Tenure::of(store.get(&partition, Tenure::KEY).await?.as_ref()).map_err(unreadable)?;
    if let Some(claim) = tenure.claim(&partition) {
        store.commit(claim).await.map_err(|error| untaken(&cell.id, error))?;
    }
    let (mut actor, mut seen) = ((cell.kind.make)(cell.id.key.as_str()), Seen::default());
    let mut range = Some(Range::all());
    while let Some(wanted) = range.take() {
        let page = store.scan(&partition, wanted.clone(), PAGE).await?;
        range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
        for (key, value) in &page.entries {
            if let Some(row) = key.strip_prefix(ROWS) {
                actor.load(row, value)?;
            } else if key != Tenure::KEY && !seen.load(key, value)? {
                return Err(Failure::new(Code::StorageFailed, "a row of the service is not one that it has written"));
            }
        }
    }
    Ok(Live {
        actor,
        tenant: cell.id.tenant.clone(),
        tenure,
        seen,
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

    /// Handles what waits, commits it, and answers.
    async fn round(&mut self, runtime: &Runtime, cell: &Arc<SystemCell>, first: Work<Box<Envelope>, Poke>) -> Result<(), Failure> {
        let now_ms = runtime.config().clock.now_ms();
        let mut open = std::mem::take(&mut self.open);
        let mut effects = Effects::new(now_ms, &mut open);
        let mut ready = Ready::new();
        let mut heard = HashMap::new();
        if std::mem::take(&mut self.is_fresh) {
            self.actor.loaded(&mut effects);
            // What was over while it was not in memory is over for the first request too.
            if self.actor.due_ms().is_some_and(|due| due <= now_ms) {
                effects.begin();
                self.actor.tick(&mut effects);
            }
        }
        let mut next = Some(first);
        while let Some(work) = next.take() {
            match work {
                Work::Message(envelope) => self.receive(envelope, &mut effects, &mut ready, &mut heard),
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
        if self.actor.due_ms().is_some_and(|due| due <= now_ms) {
            effects.begin();
            self.actor.tick(&mut effects);
        }
        let Effects { mut writes, answers, tells, watches, .. } = effects;
        let had_answers = !answers.is_empty();
        for (ticket, result, changed) in answers {
            let Some(Open { envelope, keyed, repeats }) = open.remove(&ticket) else { continue };
            keyed.as_ref().map(|keyed| self.keyed.remove(keyed));
            if let (Some(keyed), Ok(reply), true) = (&keyed, &result, changed) {
                writes.push(self.seen.remember(keyed, reply, now_ms));
            }
            ready.extend(repeats.into_iter().map(|repeat| (Box::new(repeat), result.clone())));
            ready.push((envelope, result));
        }
        self.open = open;
        // A message that changes nothing now might do so when it comes again.
        let is_unchanged = writes.is_empty() && heard.is_empty();
        let committed = if is_unchanged { Ok(()) } else { self.commit(runtime, cell, writes, heard, now_ms).await };
        if let Err(failure) = committed {
            // The last one first, so that they are tried again in their order.
            for (envelope, _) in ready.into_iter().rev() {
                undone(runtime, cell, envelope, &failure).await;
            }
            return Err(failure);
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

    async fn commit(
        &mut self,
        runtime: &Runtime,
        cell: &SystemCell,
        mut writes: Vec<plexspaces_store::Write>,
        heard: HashMap<ActorId, u64>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        writes.extend(heard.iter().map(|(sender, number)| self.seen.hear(sender, *number)));
        writes.extend(self.seen.forget(now_ms));
        let mut batch = Batch::new(Partition::actor(&cell.id));
        self.tenure.fence(&mut batch);
        batch.writes.append(&mut writes);
        runtime.config().store.commit(batch).await.map_err(|error| untaken(&cell.id, error))
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
            if in_round || self.seen.has_heard(&sender, number) {
                return ready.push((envelope, Ok(Payload::empty())));
            }
            heard.insert(sender, number);
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
            tenant: &self.tenant,
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
        let wanted = self.actor.due_ms().map_or(idle_ms, |due| due.min(idle_ms));
        if self.armed_ms.is_none_or(|armed| wanted < armed) {
            self.armed_ms = Some(wanted);
            runtime.timers().tick_system(cell, Duration::from_millis(wanted.saturating_sub(now_ms).max(1)));
        }
    }
}
