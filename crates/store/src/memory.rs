//! The backend that keeps everything in memory: for tests, and for nodes whose state may end with them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::{Batch, Durability, Error, Limits, Page, Partition, Precondition, Range, Store, Write};

/// A store in memory. Clones share one state, which ends with the last of them.
///
/// It keeps the values that it is given: a small slice of a large buffer keeps that buffer.
#[derive(Clone, Debug)]
pub struct Memory {
    limits: Limits,
    partitions: Arc<RwLock<HashMap<Partition, Entries>>>,
}

type Entries = BTreeMap<Key, Bytes>;

/// Short keys lie in the nodes of the tree: looking one up among many is a matter of how much memory is touched.
type Key = SmallVec<[u8; 24]>;

impl Memory {
    /// The limits of [`Memory::new`]: those of the embedded database, so that what passes here passes there.
    pub const LIMITS: Limits = Limits {
        batch_items: 10_000,
        key_bytes: 4 << 10,
        value_bytes: 64 << 20,
        batch_bytes: 128 << 20,
        page_entries: 1_000,
        page_bytes: 16 << 20,
        durability: Durability::Process,
    };

    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Self::LIMITS)
    }

    /// An empty store with other limits, to see how a caller behaves at them.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let limits = Limits { durability: Durability::Process, ..limits };
        Self { limits, partitions: Arc::default() }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    fn backend(&self) -> &'static str {
        "memory"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.partitions.read().get(partition).and_then(|entries| entries.get(key)).cloned())
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        // `BTreeMap::range` panics on a range that is the wrong way round.
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Page::default());
        }
        let limit = limit.min(self.limits.page_entries);
        let mut page = Page::default();
        let mut bytes = 0;
        let partitions = self.partitions.read();
        let Some(entries) = partitions.get(partition) else { return Ok(page) };
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in entries.range::<[u8], _>((Bound::Included(range.start.as_ref()), end)) {
            bytes += key.len() + value.len();
            if page.entries.len() == limit || (bytes > self.limits.page_bytes && !page.entries.is_empty()) {
                page.more = true;
                break;
            }
            page.entries.push((Bytes::copy_from_slice(key), value.clone()));
        }
        Ok(page)
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.limits.check(&batch)?;
        let mut partitions = self.partitions.write();
        let present = partitions.get(&batch.partition);
        for (index, precondition) in batch.preconditions.iter().enumerate() {
            let holds = match precondition {
                Precondition::Absent { key } => present.is_none_or(|entries| !entries.contains_key::<[u8]>(key)),
                Precondition::Equals { key, value } => present.is_some_and(|entries| entries.get::<[u8]>(key) == Some(value)),
            };
            if !holds {
                return Err(Error::Precondition { index });
            }
        }
        if batch.writes.is_empty() {
            return Ok(());
        }
        let entries = partitions.entry(batch.partition.clone()).or_default();
        for write in batch.writes {
            match write {
                Write::Put { key, value } => entries.insert(Key::from_slice(&key), value),
                Write::Delete { key } => entries.remove::<[u8]>(&key),
            };
        }
        if entries.is_empty() {
            partitions.remove(&batch.partition);
        }
        Ok(())
    }
}
