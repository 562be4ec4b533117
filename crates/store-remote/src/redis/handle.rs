//! The store as its callers see it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_store::{Batch, Error, Lanes, Limits, Page, Partition, Range, Store};
use plexspaces_trust::Trust;
use redis::{RedisError, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::config::{Config, limits};
use super::connection::{Connector, Link};
use super::fault::{Fault, Place};
use super::lane::{Lane, Shared};
use super::scripts::{Keys, Script};

/// Reads under way at a time on one connection.
const READS: usize = 32;

/// A server of Redis, 7 or newer. Commits of many callers are one call of a script.
///
/// Connections are made when they are needed, so that one that is down is [`Error::Unavailable`] until it is back. It belongs to the
/// runtime in which it is first used.
pub struct Redis {
    shared: Arc<Shared>,
    lanes: Lanes<Shared>,
    readers: Vec<Mutex<Option<Link>>>,
    turn: AtomicUsize,
    reads: Semaphore,
    limits: Limits,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Opens the store without a look at the server. The first operation makes it where there is none.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let address = config.address()?;
        let keys = Keys::new(config.checked_prefix()?);
        let tls = match (address.encrypted, &config.ca_file) {
            (true, ca_file) => {
                let trust = Trust::with(ca_file.as_deref()).map_err(|error| Error::Failed(error.to_string()))?;
                Some(TlsConnector::from(Arc::new(trust.tls)))
            }
            (false, Some(_)) => return Err(Error::Failed("a ca_file is for a URL that begins with rediss".to_owned())),
            (false, None) => None,
        };
        let place = Place::new(&address.masked());
        let owner = uuid::Uuid::new_v4().simple().to_string();
        let [known, tried, lost] = [const { AtomicBool::new(false) }; 3];
        let connector =
            Connector { address, tls, place, keys, durability: config.durability, owner, known, tried, lost, made: AtomicU64::new(0) };
        let connections = config.connections.max(2);
        // Few lanes make large groups; one alone would leave the server idle while an answer is on its way.
        let lanes = (connections / 2).min(4);
        let readers = (lanes..connections).map(|_| Mutex::default()).collect::<Vec<_>>();
        let seats = (0..lanes).map(|_| Lane::default()).collect();
        let shared = Arc::new(Shared { connector, timeout: config.timeout, lanes: seats });
        let (turn, reads) = (AtomicUsize::new(0), Semaphore::new(READS * readers.len()));
        let lanes = Lanes::new(&shared, lanes, config.timeout);
        Ok(Self { shared, lanes, readers, turn, reads, limits: limits(config.durability) })
    }

    /// Where it is, without the password.
    #[must_use]
    pub fn place(&self) -> &str {
        self.shared.connector.place.name()
    }

    fn lane(&self, partition: &Partition) -> usize {
        let mut hasher = DefaultHasher::new();
        partition.hash(&mut hasher);
        // Any half of the hash is as good as the other.
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        self.lanes.lane(u32::from_le_bytes([a, b, c, d]))
    }

    /// Reads, once more where the connection turns out to be gone.
    async fn read<R>(&self, partition: &Partition, request: impl Fn(Link) -> R) -> Result<Value, Error>
    where
        R: Future<Output = Result<Value, RedisError>> + Send,
    {
        let Shared { connector, timeout, .. } = &*self.shared;
        let deadline = self.shared.deadline();
        self.shared.connector.intact()?;
        self.shared.settled(self.lane(partition), deadline).await?;
        let busy = || Error::Unavailable(format!("{} reads are under way and none ended in time", READS * self.readers.len()));
        let _turn = timeout_at(deadline, self.reads.acquire()).await.map_err(|_| busy())?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        let Some(reader) = self.readers.get(turn) else { return Err(busy()) };
        let mut again = true;
        loop {
            let link = self.link(reader, deadline).await?;
            let number = link.number;
            let fault = match timeout_at(deadline, request(link)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => connector.place.fault(&error),
                Err(_) => Fault::Lost(connector.place.late(*timeout)),
            };
            match fault {
                Fault::Refused(error) => return Err(error),
                Fault::Lost(what) => {
                    // Who has made another meanwhile keeps it.
                    let mut held = reader.lock().await;
                    if held.as_ref().is_some_and(|link| link.number == number) {
                        *held = None;
                    }
                    drop(held);
                    if !std::mem::replace(&mut again, false) || Instant::now() >= deadline {
                        return Err(Error::Unavailable(format!("the connection was lost: {what}")));
                    }
                }
            }
        }
    }

    async fn link(&self, reader: &Mutex<Option<Link>>, deadline: Instant) -> Result<Link, Error> {
        let late = || Error::Unavailable("a connection to the database was not made in time".to_owned());
        let mut held = timeout_at(deadline, reader.lock()).await.map_err(|_| late())?;
        if let Some(link) = &*held {
            return Ok(link.clone());
        }
        Ok(held.insert(self.shared.connector.connect(deadline).await?).clone())
    }
}

#[async_trait]
impl Store for Redis {
    fn backend(&self) -> &'static str {
        "redis"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let connector = &self.shared.connector;
        let mut command = redis::cmd("HGET");
        command.arg(connector.keys.values(partition)).arg(key);
        let command = Arc::new(command);
        let answer = self.read(partition, |link| {
            let command = command.clone();
            async move { link.send(&command).await }
        });
        Ok(connector.meant::<Option<Vec<u8>>>(answer.await?)?.map(Bytes::from))
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Page::default());
        }
        let connector = &self.shared.connector;
        let (values, order) = (connector.keys.values(partition), connector.keys.order(partition));
        let start = [b"[", range.start.as_ref()].concat();
        let end = range.end.map_or_else(|| b"+".to_vec(), |end| [b"(", end.as_ref()].concat());
        let (limit, bytes) = (limit.min(self.limits.page_entries), self.limits.page_bytes);
        let arguments = Arc::new((values, order, start, end));
        let answer = self.read(partition, |link| {
            let arguments = arguments.clone();
            async move {
                let (values, order, start, end) = &*arguments;
                link.run(Script::Scan, |command| {
                    command.arg(2).arg(values).arg(order).arg(start).arg(end).arg(limit).arg(bytes);
                })
                .await
            }
        });
        let (more, items): (u8, Vec<Option<Vec<u8>>>) = connector.meant(answer.await?)?;
        let mut page = Page { entries: Vec::with_capacity(items.len() / 2), more: more == 1 };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let (Some(key), Some(value)) = (key, value) else {
                return Err(connector.place.foreign("a partition lacks the value of a key"));
            };
            page.entries.push((key.into(), value.into()));
        }
        Ok(page)
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.limits.check(&batch)?;
        self.shared.connector.intact()?;
        self.lanes.commit(self.lane(&batch.partition), batch).await
    }
}
