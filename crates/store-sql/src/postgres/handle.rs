//! The store as its callers see it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool::Runtime;
use deadpool::managed::{Object, Pool};
use plexspaces_store::{Batch, Error, Lanes, Limits, Page, Partition, Range, Store};
use plexspaces_trust::Trust;
use tokio::time::timeout_at;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::commits::Shared;
use super::config::{Config, LIMITS, masked};
use super::connection::{Connector, Link, take};
use super::doubt::Doubt;
use super::fault::{Fault, Place};
use super::group::lock;

/// A database of PostgreSQL, 14 or newer. Commits of many callers share one transaction and one round trip.
///
/// Connections are made when they are needed, so that one that is down is [`Error::Unavailable`] until it is back. It belongs to the
/// runtime in which it is first used.
pub struct Postgres {
    shared: Arc<Shared>,
    lanes: Lanes<Shared>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("place", &self.shared.place.name()).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Opens the store without a look at the database. The first operation makes the table where there is none.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let parsed = config.parse()?;
        let place = Place::new(&masked(&config.url).unwrap_or_default());
        let connections = config.connections.max(2);
        let tls = match (parsed.get_ssl_mode(), &config.ca_file) {
            (SslMode::Require, ca_file) => {
                let trust = Trust::with(ca_file.as_deref()).map_err(|error| Error::Failed(error.to_string()))?;
                Some(MakeRustlsConnect::new(trust.tls))
            }
            (_, Some(_)) => return Err(Error::Failed("a ca_file is for a URL with sslmode=require".to_owned())),
            (_, None) => None,
        };
        let connector = Connector::new(parsed, tls, place.clone(), config.timeout);
        let pool = Pool::builder(connector).max_size(connections).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| Error::Failed(error.to_string()))?;
        let shared = Shared { place, pool, timeout: config.timeout, doubt: Doubt::default() };
        let shared = Arc::new(shared);
        // Few lanes make large groups; one alone would leave the server idle while an answer is on its way.
        let lanes = Lanes::new(&shared, (connections / 2).min(4), config.timeout);
        Ok(Self { shared, lanes })
    }

    /// Where it is, without the password.
    #[must_use]
    pub fn place(&self) -> &str {
        self.shared.place.name()
    }

    /// Reads, once more where the connection turns out to be gone.
    async fn read(&self, statement: impl Fn(&Link) -> &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let Shared { place, pool, timeout, doubt, .. } = &*self.shared;
        let deadline = self.shared.deadline();
        let mut again = true;
        loop {
            doubt.settle(place, pool, deadline).await?;
            let link = take(pool, deadline).await?;
            let Ok(answer) = timeout_at(deadline, link.client.query(statement(&link), parameters)).await else {
                // The answer that is still to come is nobody's.
                drop(Object::take(link));
                return Err(Error::Unavailable(place.late(*timeout)));
            };
            match answer.map_err(|error| place.fault(&error)) {
                Ok(rows) => return Ok(rows),
                Err(Fault::Lost(_) | Fault::Conflict(_)) if again => again = false,
                Err(Fault::Lost(what)) => return Err(Error::Unavailable(format!("the connection was lost: {what}"))),
                Err(Fault::Refused(error) | Fault::Conflict(error)) => return Err(error),
            }
        }
    }

    fn column(&self, row: &Row, index: usize) -> Result<Option<Bytes>, Error> {
        let bytes = row.try_get::<_, Option<&[u8]>>(index).map_err(|error| self.shared.place.failed(&error.to_string()))?;
        Ok(bytes.map(Bytes::copy_from_slice))
    }
}

#[async_trait]
impl Store for Postgres {
    fn backend(&self) -> &'static str {
        "postgres"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let rows = self.read(|link| &link.get, &[&partition.as_bytes(), &key]).await?;
        rows.first().map_or(Ok(None), |row| self.column(row, 0))
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Page::default());
        }
        let limit = limit.min(LIMITS.page_entries);
        let (partition, start) = (partition.as_bytes(), range.start.as_ref());
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
        let bytes = i64::try_from(LIMITS.page_bytes).unwrap_or(i64::MAX);
        let rows = match range.end.as_deref() {
            Some(end) => self.read(|link| &link.scan_to, &[&partition, &start, &wanted, &bytes, &end]).await?,
            None => self.read(|link| &link.scan, &[&partition, &start, &wanted, &bytes]).await?,
        };
        let mut page = Page::default();
        for row in &rows {
            let key = self.column(row, 0)?.unwrap_or_default();
            match self.column(row, 1)?.filter(|_| page.entries.len() < limit) {
                Some(value) => page.entries.push((key, value)),
                None => page.more = true,
            }
        }
        Ok(page)
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        LIMITS.check(&batch)?;
        let lane = self.lanes.lane(lock(&batch.partition).cast_unsigned());
        self.lanes.commit(lane, batch).await
    }
}
