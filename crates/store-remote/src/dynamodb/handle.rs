//! The store as its callers see it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use plexspaces_store::{Batch, Commit, Error, Lanes, Limits, Outcome, Page, Partition, Range, Store, Writer};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::client::Client;
use super::config::{Config, LIMITS};
use super::place::Places;
use super::table::Table;

/// Lanes. Only commits of one partition gain by going together, so there are enough that others seldom wait for them.
const LANES: usize = 256;

/// A table of DynamoDB, which is made where there is none.
///
/// Nothing is connected before the first operation, so that one that is down is [`Error::Unavailable`] until it is back. It belongs to
/// the runtime in which it is first used.
pub struct DynamoDb {
    shared: Arc<Shared>,
    lanes: Lanes<Shared>,
}

/// What the operations of a store share.
pub(super) struct Shared {
    /// Itself, for what goes on when an operation is answered.
    pub(super) own: Weak<Self>,
    pub(super) table: Table,
    pub(super) timeout: Duration,
    pub(super) places: Places,
    /// The table is known to be a store.
    known: OnceCell<()>,
    /// The table has lost what it had acknowledged.
    lost: AtomicBool,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDb").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl DynamoDb {
    /// Opens the store without a look at the table.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let table = Table { client: Client::new(config)?, name: config.table.clone() };
        let (timeout, known, lost) = (config.timeout, OnceCell::new(), AtomicBool::new(false));
        let shared = |own: &Weak<Shared>| Shared { own: own.clone(), table, timeout, places: Places::default(), known, lost };
        let shared = Arc::new_cyclic(shared);
        let lanes = Lanes::new(&shared, LANES, config.timeout);
        Ok(Self { shared, lanes })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &str {
        self.shared.table.client.place.name()
    }
}

impl Shared {
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// What is needed before anything else.
    pub(super) async fn begin(&self, deadline: Instant) -> Result<(), Error> {
        self.intact()?;
        let late = |_| Error::Unavailable("the database did not answer in time".to_owned());
        timeout_at(deadline, self.known.get_or_try_init(|| self.table.recognise(deadline))).await.map_err(late)?.map(drop)
    }

    /// An error when the table has lost what it had acknowledged: what the node believes of it is wrong.
    fn intact(&self) -> Result<(), Error> {
        if !self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let remedy = "start the node again to go on with what is there";
        Err(Error::Failed(format!("{}: it has lost changes that it had acknowledged; {remedy}", self.table.client.place.name())))
    }

    /// The table has lost something, which is not forgotten.
    pub(super) fn has_lost(&self, what: &str) -> Error {
        self.lost.store(true, Ordering::Release);
        tracing::error!(store = self.table.client.place.name(), what, "the table has lost what it had acknowledged");
        self.intact().err().unwrap_or_else(|| Error::Failed(what.to_owned()))
    }
}

#[async_trait]
impl Writer for Shared {
    async fn write(&self, _lane: usize, group: &[Commit]) -> Vec<Outcome> {
        let mut partitions: HashMap<&Partition, Vec<usize>> = HashMap::new();
        for (number, commit) in group.iter().enumerate() {
            partitions.entry(&commit.batch.partition).or_default().push(number);
        }
        let partitions: Vec<_> = partitions.into_iter().collect();
        let oldest = group.iter().map(|commit| commit.since).min().unwrap_or_else(Instant::now);
        let of = |numbers: &[usize]| numbers.iter().filter_map(|number| group.get(*number)).map(|commit| &commit.batch).collect::<Vec<_>>();
        let batches: Vec<(&Partition, Vec<&Batch>)> = partitions.iter().map(|(here, numbers)| (*here, of(numbers))).collect();
        let commits: Vec<_> = batches.iter().map(|(here, batches)| self.commit(here, batches, oldest)).collect();
        let mut all = vec![None; group.len()];
        for ((_, numbers), outcomes) in partitions.iter().zip(join_all(commits).await) {
            for (number, outcome) in numbers.iter().zip(outcomes) {
                if let Some(slot) = all.get_mut(*number) {
                    *slot = Some(outcome);
                }
            }
        }
        let none = || Err(Error::Unknown("a commit has no outcome".to_owned()));
        all.into_iter().map(|outcome| outcome.unwrap_or_else(none)).collect()
    }
}

#[async_trait]
impl Store for DynamoDb {
    fn backend(&self) -> &'static str {
        "dynamodb"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.shared.get(partition, key).await
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.shared.scan(partition, &range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        LIMITS.check(&batch)?;
        self.shared.intact()?;
        let mut hasher = DefaultHasher::new();
        batch.partition.hash(&mut hasher);
        // Any half of the hash is as good as the other.
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        self.lanes.commit(self.lanes.lane(u32::from_le_bytes([a, b, c, d])), batch).await
    }
}
