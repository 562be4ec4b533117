//! One connection, and how it is made.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use plexspaces_store::{Batch, Error, Partition};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::config::Durability;
use super::fault::{Fault, Place};
use super::scripts::{self, Held, Keys, Script, TEXTS, VERSION};
use super::server::{Info, SETTINGS, check_durability};

/// Keys at which one step looks for some of the store's.
const STEP: usize = 10_000;

/// A connection that knows its scripts. Requests of many callers go over it one after the other without waiting.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// Tells it from others.
    pub(super) number: u64,
    scripts: [String; 3],
    driver: Arc<Driver>,
}

/// The task that reads and writes, which ends with the last copy of its connection.
struct Driver {
    task: AbortHandle,
    ended: watch::Receiver<()>,
}

impl Driver {
    fn spawn(driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let (runs, ended) = watch::channel(());
        let task = tokio::spawn(async move {
            driver.await;
            drop(runs);
        });
        Self { task: task.abort_handle(), ended }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Sends a command and waits for its answer. An error with a code is the server's answer; any other means that the connection is gone.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        let mut ended = self.driver.ended.clone();
        // What is handed over in the moment in which the task ends is never answered, since the queue between the two keeps it.
        tokio::select! {
            biased;
            answer = connection.send_packed_command(command) => answer.and_then(Value::extract_error),
            _ = ended.changed() => Err(std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the connection has ended").into()),
        }
    }

    /// Runs a script.
    pub(super) async fn run(&self, script: Script, arguments: impl FnOnce(&mut Cmd)) -> Result<Value, RedisError> {
        let mut command = redis::cmd("EVALSHA");
        let [commit, settle, scan] = &self.scripts;
        command.arg(match script {
            Script::Commit => commit,
            Script::Settle => settle,
            Script::Scan => scan,
        });
        arguments(&mut command);
        match self.send(&command).await {
            // A server forgets scripts when it is told to. One that it does not know has done nothing.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                for text in TEXTS {
                    self.send(redis::cmd("SCRIPT").arg("LOAD").arg(text)).await?;
                }
                self.send(&command).await
            }
            answer => answer,
        }
    }
}

/// Makes connections.
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) tls: Option<TlsConnector>,
    pub(super) place: Place,
    pub(super) keys: Keys,
    pub(super) durability: Durability,
    /// The name of this handle among all that use the store.
    pub(super) owner: String,
    /// It is known to be a store.
    pub(super) known: AtomicBool,
    /// It is known that the user may do all that is needed.
    pub(super) tried: AtomicBool,
    /// The server has lost what it had acknowledged.
    pub(super) lost: AtomicBool,
    pub(super) made: AtomicU64,
}

impl Connector {
    /// A connection to a server that can hold a store, and to a store.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Link, Error> {
        let late = || Error::Unavailable("a connection to the database was not made in time".to_owned());
        timeout_at(deadline, self.make()).await.map_err(|_| late())?
    }

    async fn make(&self) -> Result<Link, Error> {
        let unreachable = |error: std::io::Error| self.place.unreachable(&error);
        let Address { host, port, .. } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else { return self.begin(stream).await };
        let name = ServerName::try_from(host.clone()).map_err(|error| self.place.failed(&error.to_string()))?;
        self.begin(tls.connect(name, stream).await.map_err(unreachable)?).await
    }

    async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Link, Error> {
        // Deadlines are those of operations.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let made = MultiplexedConnection::new_with_config(&settings, stream, config).await;
        let (connection, driver) = made.map_err(|error| self.refused(&error))?;
        let driver = Arc::new(Driver::spawn(driver));
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut link = Link { connection, number, scripts: Default::default(), driver };
        self.enter(&link).await?;
        self.judge(&link).await?;
        let mut scripts: [String; 3] = Default::default();
        for (script, text) in scripts.iter_mut().zip(TEXTS) {
            *script = self.ask(&link, redis::cmd("SCRIPT").arg("LOAD").arg(text)).await?;
        }
        link.scripts = scripts;
        // Another connection may make the store between the two looks.
        let was_known = self.known.load(Ordering::Acquire);
        if !self.is_marked(&link).await? {
            if was_known {
                return Err(self.has_lost("the store"));
            }
            self.mark(&link).await?;
        }
        self.known.store(true, Ordering::Release);
        if !self.tried.load(Ordering::Acquire) {
            match self.try_all(&link).await {
                Ok(()) => self.tried.store(true, Ordering::Release),
                // It is found out another time; what is there can be read meanwhile.
                Err(Error::Full(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(link)
    }

    async fn enter(&self, link: &Link) -> Result<(), Error> {
        let Address { user, password, database, .. } = &self.address;
        if let Some(password) = password {
            let mut auth = redis::cmd("AUTH");
            user.iter().for_each(|user| {
                auth.arg(user);
            });
            let _: Value = self.ask(link, auth.arg(password)).await?;
        }
        if *database != 0 {
            let _: Value = self.ask(link, redis::cmd("SELECT").arg(*database)).await?;
        }
        Ok(())
    }

    /// Finds out what the server is.
    async fn judge(&self, link: &Link) -> Result<(), Error> {
        let text: String = self.ask(link, &redis::cmd("INFO")).await?;
        Info::parse(&text).check(&self.place)?;
        let settings = match self.durability {
            Durability::Server => None,
            Durability::Synced => match link.send(redis::cmd("CONFIG").arg("GET").arg(&SETTINGS[..])).await {
                Ok(value) => Some(self.meant::<HashMap<String, String>>(value)?),
                Err(error) if error.code().is_some() => None,
                Err(error) => return Err(self.refused(&error)),
            },
        };
        check_durability(&self.place, self.durability, settings.as_ref())
    }

    async fn is_marked(&self, link: &Link) -> Result<bool, Error> {
        match self.ask::<Option<Vec<u8>>>(link, redis::cmd("GET").arg(self.keys.marker())).await? {
            Some(found) if found == VERSION.as_bytes() => Ok(true),
            Some(found) => Err(self.place.foreign(&format!("its key {} is {:?}", self.keys.marker(), String::from_utf8_lossy(&found)))),
            None => Ok(false),
        }
    }

    /// An error when the server has lost what it had acknowledged: what the node believes of it is wrong.
    pub(super) fn intact(&self) -> Result<(), Error> {
        if !self.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let remedy = "start the node again to go on with what is there";
        Err(Error::Failed(format!("{}: it has lost changes that it had acknowledged; {remedy}", self.place.name())))
    }

    /// The server has lost something, which is not forgotten.
    pub(super) fn has_lost(&self, what: &str) -> Error {
        self.lost.store(true, Ordering::Release);
        tracing::error!(store = self.place.name(), what, "the database has lost what it had acknowledged");
        self.intact().err().unwrap_or_else(|| Error::Failed(what.to_owned()))
    }

    /// Makes a store where there is nothing.
    async fn mark(&self, link: &Link) -> Result<(), Error> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.pattern()).arg("COUNT").arg(STEP);
            let (next, found): (u64, Vec<Vec<u8>>) = self.ask(link, &scan).await?;
            // Lanes of nodes are left where a store was removed.
            if let Some(key) = found.iter().find(|key| !self.keys.is_lane(key)) {
                // Another node may have been first.
                if self.is_marked(link).await? {
                    return Ok(());
                }
                return Err(self.place.foreign(&format!("it holds the key {:?}", String::from_utf8_lossy(key))));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let _: Value = self.ask(link, redis::cmd("SET").arg(self.keys.marker()).arg(VERSION).arg("NX")).await?;
        if self.is_marked(link).await? {
            tracing::info!(store = self.place.name(), "the store was made");
            return Ok(());
        }
        Err(self.place.failed("it does not keep what is set"))
    }

    /// Does once what every group may have to do, so that what the user may not do is known before something is done by half.
    async fn try_all(&self, link: &Link) -> Result<(), Error> {
        let place = format!("probe-{}-{}", self.owner, link.number);
        let (lane, place) = (self.keys.lane(&self.owner, &place), Partition::node(&place));
        let (mut refused, mut put, mut delete) = (Batch::new(place.clone()), Batch::new(place.clone()), Batch::new(place.clone()));
        refused.require("k", Some("v".into())).put("k", "v");
        put.require("k", None).put("k", "v");
        delete.require("k", Some("v".into())).delete("k");
        let failed = |error: RedisError| self.refused(&error);
        let settle = link.run(Script::Settle, |command| {
            command.arg(1).arg(&lane).arg(0).arg(1).arg(scripts::LANE_SECONDS);
        });
        settle.await.map_err(failed)?;
        let commit = async |number: u64, batches: &[&Batch]| {
            let answer = link.run(Script::Commit, |command| scripts::commit(command, &self.keys, &lane, number - 1, number, batches));
            self.held(answer.await.map_err(failed)?)
        };
        let first = commit(2, &[&refused, &put]).await?;
        let scan = link.run(Script::Scan, |command| {
            command.arg(2).arg(self.keys.values(&place)).arg(self.keys.order(&place)).arg("-").arg("+").arg(1).arg(1);
        });
        scan.await.map_err(failed)?;
        let second = commit(3, &[&delete]).await?;
        if first != Some(Held { number: 2, unmet: vec![(0, 0)] }) || second != Some(Held { number: 3, unmet: vec![] }) {
            return Err(self.place.failed("an answer has another form than expected"));
        }
        let _: Value = self.ask(link, redis::cmd("DEL").arg(lane)).await?;
        Ok(())
    }

    /// What a script says that a lane's key holds.
    pub(super) fn held(&self, answer: Value) -> Result<Option<Held>, Error> {
        let Some(text) = self.meant::<Option<Vec<u8>>>(answer)? else { return Ok(None) };
        Held::parse(&text).map(Some).ok_or_else(|| self.place.foreign("the key of a lane holds something else"))
    }

    pub(super) fn meant<T: redis::FromRedisValue>(&self, value: Value) -> Result<T, Error> {
        redis::from_redis_value(value).map_err(|error| self.place.failed(&format!("an answer has another form than expected: {error}")))
    }

    async fn ask<T: redis::FromRedisValue>(&self, link: &Link, command: &Cmd) -> Result<T, Error> {
        self.meant(link.send(command).await.map_err(|error| self.refused(&error))?)
    }

    fn refused(&self, error: &RedisError) -> Error {
        match self.place.fault(error) {
            Fault::Refused(error) => error,
            Fault::Lost(what) => Error::Unavailable(format!("a new connection was lost: {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_nobody_answers_any_more_ends_with_its_connection() {
        let (here, _server) = tokio::io::duplex(64);
        let (connection, driver) = MultiplexedConnection::new_with_config(
            &RedisConnectionInfo::default().set_skip_set_lib_name(),
            here,
            AsyncConnectionConfig::new().set_response_timeout(None),
        )
        .await
        .unwrap();
        // It ends and leaves what is in its queue.
        let driver = Arc::new(Driver::spawn(async move {
            tokio::task::yield_now().await;
            std::mem::forget(driver);
        }));
        let link = Link { connection, number: 0, scripts: Default::default(), driver };
        let answer = tokio::time::timeout(std::time::Duration::from_secs(60), link.send(&redis::cmd("PING"))).await;
        assert!(answer.expect("it is not waited for").is_err_and(|error| error.code().is_none()));
    }
}
