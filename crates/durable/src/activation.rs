//! One activation of one durable actor: what it knows of its partition, and the batches that its turns become.

use bytes::Bytes;
use plexspaces_store::{Batch, Partition, Range};
use plexspaces_types::Payload;

use crate::journal::{self, Entry, Recorded};
use crate::record::{self, ANCHOR, Anchor, Answer, EPOCH, Error, KeyValue, Published, RETENTION_MS};
use crate::{Outgoing, Past, Reminder, Tenure, outbox};

/// What a turn leaves behind, or a part of it that ends where the turn waits.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What is added to the turn's journal. The turn is over when the last is its end, which may hold the state.
    pub entries: Vec<Entry>,
    /// Private pairs that were set, or with `None` removed.
    pub key_values: Vec<(String, Option<KeyValue>)>,
    /// Reminders that were set, or with `None` removed.
    pub reminders: Vec<(String, Option<Reminder>)>,
    /// The answer to remember: its idempotency key, the request's fingerprint, the reply.
    pub answer: Option<(String, [u8; 32], Payload)>,
    /// Whether the answer is a failure.
    pub failed: bool,
    /// Whether the answer need not be kept for a turn that changes nothing: to handle the message again does no harm then.
    pub harmless: bool,
    /// Messages that are to leave with this commit.
    pub outgoing: Vec<Outgoing>,
    /// Messages of earlier commits that have arrived.
    pub arrived: Vec<u64>,
    /// The sender and the number of the message that the turn handles.
    pub heard: Option<(String, u64)>,
    /// Records of senders whose numbers need not be known any more.
    pub unheard: Vec<Bytes>,
    /// What a workflow shows of itself while it runs, and the version of the code whose state that is.
    pub published: Option<(u64, Payload)>,
    /// Answers whose time is over, as [`Activation::expired_range`] found them.
    pub forget: Vec<Bytes>,
    /// Records of old turns, as [`Activation::stale_range`] found them.
    pub stale: Vec<Bytes>,
    /// Whether the turn goes on while this is committed.
    pub beside: bool,
}

/// What becomes of a turn's changes.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing changed: there is nothing to commit.
    Unchanged,
    /// This batch must be committed; then [`Activation::committed`] is called.
    Commit(Batch),
}

/// How often the state is kept, and for how long what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The turns from one kept state to the next; `None` keeps one when the journal since the last outweighs it.
    pub interval: Option<u64>,
    /// How many turns of the history are kept.
    pub history: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { interval: None, history: 256 }
    }
}

/// What a turn weighs besides its journal: running it again takes time too.
const TURN_WEIGHT: usize = 512;

/// How far the first state that recovery reads may lie back: in turns, and in bytes.
const ANCHOR_TURNS: u64 = 64;
const ANCHOR_BYTES: usize = 256 << 10;

/// How many turns are removed from the history at once, and how many when there are more than that.
const STALE_AT_ONCE: u64 = 64;
const STALE_AT_MOST: u64 = 256;

/// A state up to this size is compared with the last one, so that a turn that changed nothing costs no commit.
const COMPARED_BYTES: usize = 16 << 10;

/// One activation's view of the actor's partition. Its commits carry the activation's epoch as a precondition: once another activation
/// has committed, none of this one's is applied any more.
///
/// It claims its epoch with its first commit, so that one that only reads writes nothing. Until then the activation before may commit. The
/// claim therefore requires that the journal still ends where this one has read it to its end, and that the anchor, which changes whenever
/// turns are removed, is as it was: then nothing has been done since.
#[derive(Debug)]
pub struct Activation {
    partition: Partition,
    keeping: Keeping,
    tenure: Tenure,
    /// The last turn that has a record.
    turn: u64,
    /// How many records the turn that is under way has; 0 between turns.
    chunks: u32,
    /// How many of them are certainly stored.
    stored_chunks: u32,
    /// From this turn on each turn has one record: what is to be removed need not be looked up.
    single_from: u64,
    /// A batch was made of which it is not known whether it is committed.
    in_doubt: bool,
    anchor: Anchor,
    /// The anchor's record as it was read.
    found_anchor: Option<Bytes>,
    /// What recovery would read besides the anchor's state.
    since_anchor: usize,
    /// The last kept state: its turn, its size, and itself while it is small.
    kept: Option<(u64, usize, Option<Payload>)>,
    /// What recovery would run again.
    weight: usize,
    /// The last turn that was done. Recovery runs it again unless a state is kept from it on.
    last_done: u64,
    oldest_answer_ms: Option<u64>,
}

impl Activation {
    /// How many entries of [`Activation::recovery_range`] are needed.
    pub const RECOVERY: usize = 3;

    /// The range whose first entries recover an actor.
    #[must_use]
    pub fn recovery_range() -> Range {
        Range { start: Bytes::from_static(EPOCH), end: Some(Bytes::from_static(b"d")) }
    }

    /// Takes over an actor from the entries of its recovery range. Nothing is written before the first change.
    pub fn recover(partition: Partition, keeping: Keeping, entries: &[(Bytes, Bytes)]) -> Result<Self, Error> {
        let mut activation = Self {
            partition,
            keeping,
            tenure: Tenure::of(None)?,
            turn: 0,
            chunks: 0,
            stored_chunks: 0,
            single_from: u64::MAX,
            in_doubt: false,
            anchor: Anchor::default(),
            found_anchor: None,
            since_anchor: 0,
            kept: None,
            weight: 0,
            last_done: 0,
            oldest_answer_ms: None,
        };
        for (key, value) in entries {
            if key == EPOCH {
                activation.tenure = Tenure::of(Some(value))?;
            } else if key == ANCHOR {
                activation.anchor = Anchor::decode(value)?;
                activation.found_anchor = Some(value.clone());
            } else if let Some((expires, _)) = record::parse_expiry_key(key) {
                activation.oldest_answer_ms = activation.oldest_answer_ms.or(Some(expires));
            }
        }
        if !entries.is_empty() && !activation.tenure.has_predecessor() {
            return Err(Error { record: "epoch", found: "none beside other records".to_owned() });
        }
        Ok(activation)
    }

    /// The records of the journal that bring the actor back. An actor without an activation before has none: see [`Activation::recall`].
    #[must_use]
    pub fn journal_range(&self) -> Range {
        journal::range(self.anchor.turn, None)
    }

    /// Whether the actor has never committed.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.tenure.has_predecessor()
    }

    /// Takes the records of the journal's range, and says what must be run again. A journal of which something is missing is an error.
    pub fn recall(&mut self, records: &[(Bytes, Bytes)]) -> Result<Past, Error> {
        self.since_anchor = records.iter().map(|(_, value)| value.len()).sum();
        let mut history = Vec::new();
        Recorded::collect(&mut history, records)?;
        self.check_whole(&history)?;
        if let Some(last) = history.last() {
            self.turn = last.turn;
            self.chunks = if last.end().is_some() { 0 } else { last.chunks };
            self.stored_chunks = self.chunks;
        }
        let last_of_many = history.iter().rev().find(|recorded| recorded.chunks > 1).map(|recorded| recorded.turn + 1);
        self.single_from = last_of_many.or_else(|| history.first().map(|recorded| recorded.turn)).unwrap_or(0);
        let kept = history.iter().rev().find_map(|recorded| {
            let state = recorded.end().and_then(|end| end.state.as_ref());
            state.map(|state| (recorded.turn, state)).or_else(|| recorded.base().map(|base| (recorded.turn - 1, base)))
        });
        if let Some((turn, state)) = kept {
            self.keep(turn, state);
        }
        let past = Past::of(history);
        self.weight = past.turns.len() * TURN_WEIGHT;
        self.last_done = past.turns.last().map_or(0, |last| last.turn);
        Ok(past)
    }

    /// Whether the journal begins where the anchor says and has no gap. Its end is where it ends.
    fn check_whole(&self, history: &[Recorded]) -> Result<(), Error> {
        let missing = |found: String| Err(Error { record: "journal", found });
        if self.is_first() && !history.is_empty() {
            return missing("turns of an actor that has no epoch".to_owned());
        }
        let (first, begins) = (self.anchor.turn.max(1), history.first().map(|turn| turn.turn));
        if begins.map_or(self.anchor.turn > 0, |begins| begins != first) {
            return missing(format!("no turn {first}, with which it begins"));
        }
        if self.anchor.turn > 0 && history.first().and_then(Recorded::end).is_none_or(|end| end.state.is_none()) {
            return missing(format!("no state in turn {first}, with which it begins"));
        }
        match history.windows(2).find(|pair| matches!(pair, [one, next] if next.turn != one.turn + 1)) {
            Some([one, next]) => missing(format!("turn {} after turn {}", next.turn, one.turn)),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, turn: u64, state: &Payload) {
        self.kept = Some((turn, state.len(), (state.len() <= COMPARED_BYTES).then(|| state.clone())));
        self.weight = 0;
    }

    /// Whether the next turn should give its state.
    #[must_use]
    pub fn wants_state(&self) -> bool {
        let Some((turn, size, _)) = &self.kept else { return true };
        match self.keeping.interval {
            Some(interval) => self.turn + 1 >= turn + interval,
            None => self.weight + TURN_WEIGHT >= *size,
        }
    }

    /// Whether there are turns that the last kept state does not know.
    #[must_use]
    pub fn has_unkept_turns(&self) -> bool {
        !self.in_doubt && self.leaves_unkept_turns()
    }

    /// The same when the batch that was made last is committed.
    #[must_use]
    pub fn leaves_unkept_turns(&self) -> bool {
        self.chunks == 0 && self.last_done > self.kept.as_ref().map_or(0, |(turn, ..)| *turn)
    }

    /// Whether no state of the actor was ever kept.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.kept.is_none()
    }

    /// The number of the turn that is under way, or of the next one.
    #[must_use]
    pub fn current_turn(&self) -> u64 {
        if self.chunks == 0 { self.turn + 1 } else { self.turn }
    }

    /// Whether a part of the turn that is under way is committed.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.stored_chunks > 0
    }

    /// How many turns the history has.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The actor's partition.
    #[must_use]
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The range of answers that may be forgotten at this time; `None` while there are none.
    #[must_use]
    pub fn expired_range(&self, now_ms: u64) -> Option<Range> {
        self.oldest_answer_ms.filter(|oldest| *oldest <= now_ms)?;
        let end = record::expiry_key(now_ms.saturating_add(1), "");
        Some(Range { start: record::expiry_key(0, ""), end: Some(end) })
    }

    /// The range of the records of turns that the history need not hold any more; `None` while there are few, and where the activation
    /// knows them without looking.
    #[must_use]
    pub fn stale_range(&self) -> Option<Range> {
        let end = self.stale_end()?;
        (self.anchor.oldest < self.single_from).then(|| journal::range(0, Some(end)))
    }

    /// The first turn that the history must hold, when there are many before it.
    fn stale_end(&self) -> Option<u64> {
        let end = self.turn.saturating_sub(self.keeping.history).min(self.anchor.turn);
        (end >= self.anchor.oldest + STALE_AT_ONCE).then_some(end)
    }

    /// Makes the batch of a turn or of a part of it. An activation whose batch failed must not be used again: what the store holds is
    /// then not what it believes.
    pub fn commit(&mut self, mut changes: Changes, now_ms: u64) -> Outcome {
        if self.changes_nothing(&mut changes) {
            return Outcome::Unchanged;
        }
        let mut batch = Batch::new(self.partition.clone());
        batch.caller_waits = !changes.beside;
        self.fence(&mut batch);
        let before_anchor = self.anchor;
        if !changes.entries.is_empty() {
            self.write_journal(&mut batch, &mut changes.entries);
        }
        for (key, value) in changes.key_values {
            let key = record::key_value_key(&key);
            match value {
                Some(value) => batch.put(key, value.encode()),
                None => batch.delete(key),
            };
        }
        for (name, reminder) in changes.reminders {
            let key = Reminder::key(&name);
            match reminder {
                Some(reminder) => batch.put(key, reminder.encode()),
                None => batch.delete(key),
            };
        }
        for outgoing in changes.outgoing {
            batch.put(outbox::key(outgoing.number), outgoing.encode());
        }
        for number in changes.arrived {
            batch.delete(outbox::key(number));
        }
        if let Some((sender, number)) = changes.heard {
            batch.put(outbox::heard_key(&sender), outbox::encode_heard(number));
        }
        for key in changes.unheard {
            batch.delete(key);
        }
        if let Some((code, state)) = changes.published {
            batch.put(record::PUBLISHED, Published { turn: self.turn, code, state }.encode());
        }
        if !changes.forget.is_empty() {
            // What is left is younger; the next look will find how much.
            self.oldest_answer_ms = Some(now_ms.saturating_add(1));
        }
        for key in changes.forget {
            if let Some((_, idempotency_key)) = record::parse_expiry_key(&key) {
                batch.delete(record::answer_key(idempotency_key));
            }
            batch.delete(key);
        }
        for key in changes.stale {
            // The last may have more records than were found.
            if let Some((turn, _)) = journal::parse_key(&key) {
                self.anchor.oldest = self.anchor.oldest.max(turn);
            }
            batch.delete(key);
        }
        if self.anchor.oldest >= self.single_from
            && let Some(end) = self.stale_end()
        {
            let end = end.min(self.anchor.oldest + STALE_AT_MOST);
            for turn in self.anchor.oldest..end {
                batch.delete(journal::key(turn, 0));
            }
            self.anchor.oldest = end;
        }
        if let Some((key, fingerprint, reply)) = changes.answer {
            let expires_ms = now_ms.saturating_add(RETENTION_MS);
            batch.put(record::answer_key(&key), Answer { fingerprint, expires_ms, failed: changes.failed, reply }.encode());
            batch.put(record::expiry_key(expires_ms, &key), Bytes::new());
            self.oldest_answer_ms = self.oldest_answer_ms.or(Some(expires_ms));
        }
        if self.anchor != before_anchor {
            batch.put(ANCHOR, self.anchor.encode());
        }
        self.in_doubt = true;
        Outcome::Commit(batch)
    }

    /// The batch that takes the actor from the activation before, for one that acts on what it has read before it has something to commit.
    /// None when that is done, and where there was none before. [`Activation::committed`] is called after it as after others.
    pub fn claim(&mut self) -> Option<Batch> {
        self.tenure.takes_over().then(|| {
            let mut batch = Batch::new(self.partition.clone());
            self.fence(&mut batch);
            self.in_doubt = true;
            batch
        })
    }

    /// Whether no other activation has come since, by the epoch that is stored now.
    #[must_use]
    pub fn is_current(&self, stored: Option<&Bytes>) -> bool {
        self.tenure.is_current(stored)
    }

    fn fence(&mut self, batch: &mut Batch) {
        let takes_over = self.tenure.takes_over();
        self.tenure.fence(batch);
        if takes_over {
            batch.require(ANCHOR, self.found_anchor.take());
            let (turn, chunk) = if self.chunks == 0 { (self.turn + 1, 0) } else { (self.turn, self.chunks) };
            batch.require(journal::key(turn, chunk), None);
        }
    }

    /// The batch is committed.
    pub fn committed(&mut self) {
        self.in_doubt = false;
        self.stored_chunks = self.chunks;
    }

    /// Whether it is not known what of the last batch the store holds.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether a whole turn left everything as it was. A state that is the last kept one is dropped.
    fn changes_nothing(&self, changes: &mut Changes) -> bool {
        let mut ended_as_it_was = false;
        if let Some(Entry::End(end)) = changes.entries.last_mut() {
            match (&end.state, &self.kept) {
                (Some(state), Some((turn, _, Some(kept)))) if *turn == self.turn && state == kept => {
                    ended_as_it_was = self.chunks == 0 && matches!(end.outcome, journal::Outcome::Done { .. });
                }
                _ => {}
            }
        }
        let Changes {
            entries,
            key_values,
            reminders,
            answer,
            failed: _,
            harmless,
            outgoing,
            arrived,
            heard: _,
            unheard,
            published,
            forget,
            stale,
            beside: _,
        } = changes;
        (ended_as_it_was || entries.is_empty())
            && key_values.is_empty()
            && reminders.is_empty()
            && (answer.is_none() || *harmless)
            && outgoing.is_empty()
            && arrived.is_empty()
            && unheard.is_empty()
            && published.is_none()
            && forget.is_empty()
            && stale.is_empty()
    }

    fn write_journal(&mut self, batch: &mut Batch, entries: &mut Vec<Entry>) {
        if self.chunks == 0 {
            self.turn += 1;
        }
        let end = match entries.last() {
            Some(Entry::End(end)) => Some(end.state.clone()),
            _ => None,
        };
        if let Some(Entry::End(journal::End { outcome: journal::Outcome::Done { .. }, .. })) = entries.last() {
            self.last_done = self.turn;
        }
        if let Some(Some(_)) = &end {
            entries.retain(|entry| !matches!(entry, Entry::Base(_)));
        }
        if let Some(Entry::Base(base)) = entries.first() {
            let base = base.clone();
            self.keep(self.turn - 1, &base);
        }
        let value = journal::encode(entries);
        self.since_anchor += value.len();
        self.weight += value.len();
        batch.put(journal::key(self.turn, self.chunks), value);
        self.chunks += 1;
        let Some(state) = end else { return };
        if self.chunks > 1 {
            self.single_from = self.turn + 1;
        }
        self.chunks = 0;
        self.weight += TURN_WEIGHT;
        let Some(state) = state else { return };
        self.keep(self.turn, &state);
        let far = self.turn - self.anchor.turn >= ANCHOR_TURNS || self.since_anchor - state.len() >= ANCHOR_BYTES.max(state.len());
        if far {
            self.anchor.turn = self.turn;
            self.since_anchor = state.len();
        }
    }
}

#[cfg(test)]
mod tests;
