//! Which activation of an actor may write.

use bytes::Bytes;
use plexspaces_store::{Batch, Partition};

use crate::record::{self, EPOCH, Error};

/// One activation's claim to its partition: each of its batches requires the epoch that it found or has set. Once another activation has
/// claimed the partition, none of this one's is applied any more.
///
/// What an activation believes of its partition must be all that there is when it claims it, since the one before could commit until
/// then: either it claims first and reads after that, or its claim requires what it has read.
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

    /// Whether the next batch would take the partition from the activation before.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        self.stored.is_some() && !self.claimed
    }

    /// Whether no other activation has come since, by what is stored now.
    #[must_use]
    pub fn is_current(&self, stored: Option<&Bytes>) -> bool {
        stored.map(record::decode_epoch).transpose().is_ok_and(|stored| stored == self.stored)
    }

    /// The batch that takes the partition from the activation before; none where there was none, or when that is done.
    pub fn claim(&mut self, partition: &Partition) -> Option<Batch> {
        self.takes_over().then(|| {
            let mut batch = Batch::new(partition.clone());
            self.fence(&mut batch);
            batch
        })
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
