//! One activation of one durable actor: what it knows of its partition, and the batch that each turn becomes.

use bytes::Bytes;
use plexspaces_store::{Batch, Partition, Range};
use plexspaces_types::Payload;

use crate::Reminder;
use crate::record::{self, Answer, CHECKPOINT, Checkpoint, EPOCH, Error, KeyValue, RETENTION_MS};

/// What a turn leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The state after the turn.
    pub state: Option<Payload>,
    /// Private pairs that were set, or with `None` removed.
    pub key_values: Vec<(String, Option<KeyValue>)>,
    /// Reminders that were set, or with `None` removed.
    pub reminders: Vec<(String, Option<Reminder>)>,
    /// The answer to remember: its idempotency key, the request's fingerprint, the reply.
    pub answer: Option<(String, [u8; 32], Payload)>,
    /// Answers whose time is over, as [`Activation::expired_range`] found them.
    pub forget: Vec<Bytes>,
}

/// What becomes of a turn's changes.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing changed: there is nothing to commit.
    Unchanged,
    /// This batch must be committed; then [`Activation::committed`] is called.
    Commit(Batch),
}

/// One activation's view of the actor's partition. Its commits carry the activation's epoch as a precondition: once another activation
/// has committed, none of this one's is applied any more.
#[derive(Debug)]
pub struct Activation {
    partition: Partition,
    /// What is in the store: another activation's epoch before the first commit, this one's after it.
    stored_epoch: Option<u64>,
    claimed: bool,
    turn: u64,
    state: Option<Payload>,
    pending_state: Option<Payload>,
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
    pub fn recover(partition: Partition, entries: &[(Bytes, Bytes)]) -> Result<Self, Error> {
        let mut activation =
            Self { partition, stored_epoch: None, claimed: false, turn: 0, state: None, pending_state: None, oldest_answer_ms: None };
        for (key, value) in entries {
            if key == EPOCH {
                activation.stored_epoch = Some(record::decode_epoch(value)?);
            } else if key == CHECKPOINT {
                let checkpoint = Checkpoint::decode(value)?;
                activation.turn = checkpoint.turn;
                activation.state = Some(checkpoint.state);
            } else if let Some((expires, _)) = record::parse_expiry_key(key) {
                activation.oldest_answer_ms = activation.oldest_answer_ms.or(Some(expires));
            }
        }
        Ok(activation)
    }

    /// The last committed state; `None` for an actor that never changed.
    #[must_use]
    pub fn state(&self) -> Option<&Payload> {
        self.state.as_ref()
    }

    /// How many turns have changed the actor.
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

    /// Makes the batch of a turn. An activation whose batch failed must not be used again: what the store holds is then not what it
    /// believes.
    pub fn commit(&mut self, changes: Changes, now_ms: u64) -> Outcome {
        let Changes { state, key_values, reminders, answer, forget } = changes;
        let state = state.filter(|state| self.state.as_ref() != Some(state));
        if state.is_none() && key_values.is_empty() && reminders.is_empty() && answer.is_none() && forget.is_empty() {
            return Outcome::Unchanged;
        }
        let mut batch = Batch::new(self.partition.clone());
        batch.require(EPOCH, self.stored_epoch.map(record::encode_epoch));
        if !self.claimed {
            let epoch = self.stored_epoch.unwrap_or(0) + 1;
            batch.put(EPOCH, record::encode_epoch(epoch));
            self.stored_epoch = Some(epoch);
            self.claimed = true;
        }
        self.turn += 1;
        if let Some(state) = state {
            batch.put(CHECKPOINT, Checkpoint::encode(self.turn, &state));
            self.pending_state = Some(state);
        }
        for (key, value) in key_values {
            let key = record::key_value_key(&key);
            match value {
                Some(value) => batch.put(key, value.encode()),
                None => batch.delete(key),
            };
        }
        for (name, reminder) in reminders {
            let key = Reminder::key(&name);
            match reminder {
                Some(reminder) => batch.put(key, reminder.encode()),
                None => batch.delete(key),
            };
        }
        if !forget.is_empty() {
            // What is left is younger; the next look will find how much.
            self.oldest_answer_ms = Some(now_ms.saturating_add(1));
        }
        for key in forget {
            if let Some((_, idempotency_key)) = record::parse_expiry_key(&key) {
                batch.delete(record::answer_key(idempotency_key));
            }
            batch.delete(key);
        }
        if let Some((key, fingerprint, reply)) = answer {
            let expires_ms = now_ms.saturating_add(RETENTION_MS);
            batch.put(record::answer_key(&key), Answer { fingerprint, expires_ms, reply }.encode());
            batch.put(record::expiry_key(expires_ms, &key), Bytes::new());
            self.oldest_answer_ms = self.oldest_answer_ms.or(Some(expires_ms));
        }
        Outcome::Commit(batch)
    }

    /// The batch was committed.
    pub fn committed(&mut self) {
        if let Some(state) = self.pending_state.take() {
            self.state = Some(state);
        }
    }
}

#[cfg(test)]
mod tests;
