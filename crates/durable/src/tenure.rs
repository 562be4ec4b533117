//! Which activation of an actor may write.

use bytes::Bytes;
use plexspaces_store::Batch;

use crate::record::{self, EPOCH, Error};

/// One activation's claim to its partition: each of its batches requires the epoch that it found or has set. Once another activation has
/// committed, none of this one's is applied any more.
#[derive(Debug)]
pub struct Tenure {
    /// What is in the store: another activation's epoch before the first commit, this one's after it.
    stored: Option<u64>,
    claimed: bool,
}

impl Tenure {
    /// The key of the epoch in every partition that has one.
    pub const KEY: &[u8] = EPOCH;

    /// Takes over from the stored epoch. Nothing is written before the first batch.
    pub fn of(stored: Option<&Bytes>) -> Result<Self, Error> {
        Ok(Self { stored: stored.map(record::decode_epoch).transpose()?, claimed: false })
    }

    /// Whether there was an activation before.
    #[must_use]
    pub fn has_predecessor(&self) -> bool {
        self.stored.is_some()
    }

    /// Puts the claim into a batch. One whose batch failed must not be used again.
    pub fn fence(&mut self, batch: &mut Batch) {
        batch.require(EPOCH, self.stored.map(record::encode_epoch));
        if !self.claimed {
            let epoch = self.stored.unwrap_or(0) + 1;
            batch.put(EPOCH, record::encode_epoch(epoch));
            self.stored = Some(epoch);
            self.claimed = true;
        }
    }
}
