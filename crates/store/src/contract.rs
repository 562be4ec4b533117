//! The contract itself.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;

use crate::{Error, Partition};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key's value.
    Put {
        /// The key, unique in its partition.
        key: Bytes,
        /// The value, possibly empty.
        value: Bytes,
    },
    /// Removes the key; removing what is not there is no error.
    Delete {
        /// The key.
        key: Bytes,
    },
}

/// What must hold for a batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key is not there.
    Absent {
        /// The key.
        key: Bytes,
    },
    /// The key has this value.
    Equals {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
}

/// Changes of one partition that happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition that all keys are in.
    pub partition: Partition,
    /// All must hold, judged against the state before any of the batch's writes.
    pub preconditions: Vec<Precondition>,
    /// Applied in order: the last write of a key wins.
    pub writes: Vec<Write>,
    /// Whether the caller has nothing else to do until it is committed, so that a store may do the work on the caller's thread.
    pub caller_waits: bool,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new(partition: Partition) -> Self {
        Self { partition, preconditions: Vec::new(), writes: Vec::new(), caller_waits: true }
    }

    /// The bytes of its keys and values, written and required.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items().map(|(key, value)| key + value).sum()
    }

    /// The lengths of each item's key and value.
    fn items(&self) -> impl Iterator<Item = (usize, usize)> {
        let written = self.writes.iter().map(|write| match write {
            Write::Put { key, value } => (key.len(), value.len()),
            Write::Delete { key } => (key.len(), 0),
        });
        let required = self.preconditions.iter().map(|precondition| match precondition {
            Precondition::Equals { key, value } => (key.len(), value.len()),
            Precondition::Absent { key } => (key.len(), 0),
        });
        written.chain(required)
    }

    /// Adds a put.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Adds the precondition that a key has a value, or with `None` that it is not there.
    pub fn require(&mut self, key: impl Into<Bytes>, value: Option<Bytes>) -> &mut Self {
        let key = key.into();
        self.preconditions.push(match value {
            Some(value) => Precondition::Equals { key, value },
            None => Precondition::Absent { key },
        });
        self
    }
}

/// A half-open range of keys in byte order. One whose end is not above its start holds no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub start: Bytes,
    /// The first key that is not in it; `None` for no end.
    pub end: Option<Bytes>,
}

impl Range {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// The keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        // The least key above all of them is the prefix with its last byte that can grow made one larger.
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                return Self { start: Bytes::copy_from_slice(prefix), end: Some(end.into()) };
            }
        }
        Self { start: Bytes::copy_from_slice(prefix), end: None }
    }

    /// The part of this range after `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        if next.as_slice() > self.start.as_ref() {
            self.start = next.into();
        }
        self
    }

    /// Whether the key is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

/// Part of a range, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether the range goes on after the last entry. A page may be shorter than asked for and have more: only this says.
    pub more: bool,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it ends with the process.
    Process,
    /// What the server is set up to survive, which the backend does not know.
    Server,
    /// The loss of power: it was synced to disk before the acknowledgement.
    Synced,
}

/// What a backend can hold. Exceeding one is [`Error::Limit`] before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Writes and preconditions in one batch.
    pub batch_items: usize,
    /// Bytes of one key.
    pub key_bytes: usize,
    /// Bytes of one value.
    pub value_bytes: usize,
    /// Keys and values of one batch together.
    pub batch_bytes: usize,
    /// Entries in one page of a scan; a larger limit asked for gives this many.
    pub page_entries: usize,
    /// Keys and values of one page together. A page ends before the entry that would exceed it, but holds at least one.
    pub page_bytes: usize,
    /// What an acknowledged commit survives.
    pub durability: Durability,
}

impl Limits {
    /// Checks a batch; backends call it before they write.
    pub fn check(&self, batch: &Batch) -> Result<(), Error> {
        let at_most = |what, limit, found| if found > limit { Err(Error::Limit { what, limit, found }) } else { Ok(()) };
        at_most("batch items", self.batch_items, batch.writes.len() + batch.preconditions.len())?;
        for (key, value) in batch.items() {
            at_most("key bytes", self.key_bytes, key)?;
            at_most("value bytes", self.value_bytes, value)?;
        }
        at_most("batch bytes", self.batch_bytes, batch.bytes())
    }
}

/// An ordered, transactional key-value store. Its handle is cheap to clone behind an `Arc` and may be used from any task.
///
/// Within one partition commits are linearizable: a `get` or `scan` that begins after a commit was acknowledged sees it, through any
/// handle. Commits of one partition whose futures were first polled one after the other are applied in that order, also when none was
/// awaited to its end before the next. Dropping a `commit` future does not undo it: it may still be applied. The key may be empty.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The backend's name, for logs.
    fn backend(&self) -> &'static str;

    /// What it can hold.
    fn limits(&self) -> &Limits;

    /// The key's value.
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// At most `limit` entries of the range in key order, from one consistent state. The next page is the scan of
    /// [`Range::after`] the last key; it may see later commits.
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error>;

    /// Applies a batch; returns when it is as durable as [`Limits::durability`] says.
    async fn commit(&self, batch: Batch) -> Result<(), Error>;

    /// Applies a batch after others, of other partitions, that require nothing. The batch is kept only when they are; they may be kept without it.
    /// A store that can apply them all at once does so.
    async fn commit_after(&self, first: Vec<Batch>, batch: Batch) -> Result<(), Error> {
        try_join_all(first.into_iter().map(|first| self.commit(first))).await?;
        self.commit(batch).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(Range::prefix(b"k/").end.as_deref(), Some(b"k0".as_slice()));
        assert_eq!(Range::prefix(&[1, 255]).end.as_deref(), Some([2].as_slice()));
        assert_eq!(Range::prefix(&[255, 255]).end, None);
        assert!(Range::prefix(&[255]).contains(&[255, 255, 255]));
        assert!(!Range::prefix(b"a").after(b"ab").contains(b"ab"));
        assert!(Range::prefix(b"a").after(b"ab").contains(b"ab\0"));
    }
}
