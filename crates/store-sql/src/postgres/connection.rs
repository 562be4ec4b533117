//! One connection, and how the pool makes one.

use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Pool, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts};
use plexspaces_store::Error;
use tokio::time::Instant;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, NoTls, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Place};
use super::schema;

/// The oldest server that can be told to end a connection and to wait for its end.
const OLDEST: i32 = 140_000;

/// A connection in the hands of one operation.
pub(super) type Taken = deadpool::managed::Object<Connector>;

/// A connection that knows its statements.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) backend: Backend,
    pub(super) get: Statement,
    pub(super) scan: Statement,
    pub(super) scan_to: Statement,
    pub(super) commit: Statement,
}

/// The server's side of a connection. A number is used again; with the time of its start it is unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) pid: i32,
    pub(super) started: String,
}

/// Makes connections.
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    place: Place,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(mut config: tokio_postgres::Config, tls: Option<MakeRustlsConnect>, place: Place, timeout: Duration) -> Self {
        if config.get_application_name().is_none() {
            config.application_name("plexspaces");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(timeout);
        }
        // What the other side has not taken by then is lost with the connection, which would otherwise stay for as long as the system likes.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(timeout);
        }
        Self { config, tls, place, timeout }
    }

    async fn connect<T>(&self, tls: T) -> Result<Client, Error>
    where
        T: MakeTlsConnect<Socket, Stream: Send + 'static, TlsConnect: Send> + Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = self.config.connect(tls).await.map_err(|error| self.place.unreachable(&error))?;
        // It ends with the client, or with the server's side.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the database ended");
            }
        });
        Ok(client)
    }

    /// Finds out what the server is and prepares the connection.
    async fn prepare(&self, client: Client) -> Result<Link, Error> {
        // The server gives up before the client does: then it is known that nothing was kept.
        let limit = (self.timeout * 4 / 5).as_millis().max(1);
        let session = format!("{}; SET statement_timeout = {limit}", schema::SESSION);
        let failed = |error: tokio_postgres::Error| match self.place.fault(&error) {
            Fault::Conflict(error) | Fault::Refused(error) => error,
            Fault::Lost(what) => Error::Unavailable(format!("a new connection was lost: {what}")),
        };
        client.batch_execute(&session).await.map_err(failed)?;
        let mut row = client.query_one(schema::RECOGNISE, &[]).await.map_err(failed)?;
        if self.column(&row, 5)? && self.column::<Option<String>>(&row, 6)?.is_none() {
            // Another node may have made the table meanwhile: a name is seen before what is said of it.
            client.batch_execute(&schema::made()).await.map_err(failed)?;
            row = client.query_one(schema::RECOGNISE, &[]).await.map_err(failed)?;
        }
        let backend = Backend { pid: self.column(&row, 0)?, started: self.column(&row, 1)? };
        let version: i32 = self.column(&row, 2)?;
        if version < OLDEST {
            return Err(self.place.failed(&format!("expected PostgreSQL 14 or newer, found {}", version / 10_000)));
        }
        if self.column::<String>(&row, 3)? == "off" {
            return Err(self.place.failed("it runs with fsync = off, so that nothing acknowledged would survive a loss of power"));
        }
        if self.column::<String>(&row, 4)? == "off" {
            client.batch_execute("SET synchronous_commit = on").await.map_err(failed)?;
        }
        let (has_table, has_function): (bool, bool) = (self.column(&row, 5)?, self.column(&row, 7)?);
        match self.column::<Option<String>>(&row, 6)? {
            Some(found) if found != schema::VERSION => {
                return Err(self.place.foreign(&format!("its table plexspaces_entries is {found:?}")));
            }
            None if has_table => return Err(self.place.foreign("its table plexspaces_entries is of something else")),
            Some(_) if has_function => {}
            _ => {
                client.batch_execute(&schema::create()).await.map_err(failed)?;
                tracing::info!(store = self.place.name(), "the table of the store was made");
            }
        }
        let (scan, scan_to) = (schema::scan(false), schema::scan(true));
        let prepared =
            tokio::try_join!(client.prepare(schema::GET), client.prepare(&scan), client.prepare(&scan_to), client.prepare(schema::COMMIT));
        let (get, scan, scan_to, commit) = prepared.map_err(failed)?;
        Ok(Link { client, backend, get, scan, scan_to, commit })
    }

    fn column<'r, T: tokio_postgres::types::FromSql<'r>>(&self, row: &'r Row, index: usize) -> Result<T, Error> {
        row.try_get(index).map_err(|error| self.place.failed(&format!("an answer has another form than expected: {error}")))
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = Error;

    async fn create(&self) -> Result<Link, Error> {
        let client = match self.tls.clone() {
            Some(tls) => self.connect(tls).await?,
            None => self.connect(NoTls).await?,
        };
        self.prepare(client).await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Error> {
        if link.client.is_closed() { Err(RecycleError::message("the connection has ended")) } else { Ok(()) }
    }
}

/// A connection that is free before the deadline.
pub(super) async fn take(pool: &Pool<Connector>, deadline: Instant) -> Result<Taken, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A lone zero would mean to try without waiting, also where a connection is being made.
    let left = Some(left.max(Duration::from_millis(1)));
    pool.timeout_get(&Timeouts { wait: left, create: left, recycle: left }).await.map_err(|error| match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(TimeoutType::Wait) => {
            let size = pool.status().max_size;
            Error::Unavailable(format!("all {size} connections to the database are in use and none became free in time"))
        }
        PoolError::Timeout(_) => Error::Unavailable("a connection to the database was not made in time".to_owned()),
        PoolError::Closed => Error::Unavailable("the store is closed".to_owned()),
        other @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => Error::Failed(other.to_string()),
    })
}
