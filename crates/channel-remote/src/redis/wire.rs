//! The connection to the server: made when it is needed, and again when it was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plexspaces_trust::Trust;
use plexspaces_types::{Code, Failure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushKind, RedisConnectionInfo, RedisError, ServerErrorKind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wakes::Wakes;
use super::{PATIENCE, RedisConfig};
use crate::masked;

/// The way to a server.
pub(super) struct Wire {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    settings: RedisConnectionInfo,
    /// The address without its password.
    pub(super) place: String,
    wakes: Arc<Wakes>,
    live: Mutex<Option<Link>>,
    /// One makes a connection at a time.
    making: tokio::sync::Mutex<()>,
}

/// A connection. Requests of many callers go over it one after the other without waiting.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// It is lost, or has not answered in time: the next request is for another one.
    is_gone: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }
}

impl Wire {
    pub(super) fn new(config: &RedisConfig, wakes: Arc<Wakes>) -> Result<Self, Failure> {
        let (info, host, port) = config.address()?;
        let place = masked(&config.url).unwrap_or_default();
        let tls = match config.is_encrypted() {
            true => Some(TlsConnector::from(Arc::new(Trust::with(config.ca_file.as_deref())?.tls))),
            false => None,
        };
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { host, port, tls, settings, place, wakes, live: Mutex::default(), making: tokio::sync::Mutex::default() })
    }

    /// A connection that is not known to be lost.
    pub(super) async fn link(&self) -> Result<Link, Failure> {
        if let Some(link) = self.known() {
            return Ok(link);
        }
        let made = tokio::time::timeout(PATIENCE, async {
            let _turn = self.making.lock().await;
            // Somebody else may have made it meanwhile.
            match self.known() {
                Some(link) => Ok(link),
                None => self.make().await,
            }
        });
        made.await.unwrap_or_else(|_| Err(self.unavailable("no connection was made in time")))
    }

    pub(super) fn known(&self) -> Option<Link> {
        self.live.lock().clone().filter(|link| !link.is_gone())
    }

    async fn make(&self) -> Result<Link, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| self.unavailable(error))?;
        stream.set_nodelay(true).map_err(|error| self.unavailable(error))?;
        let link = match &self.tls {
            None => self.begin(stream).await?,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| self.unavailable(error))?;
                self.begin(tls.connect(name, stream).await.map_err(|error| self.unavailable(error))?).await?
            }
        };
        let names = self.wakes.names();
        if !names.is_empty() {
            link.connection().subscribe(names).await.map_err(|error| self.failed(&link, &error))?;
        }
        *self.live.lock() = Some(link.clone());
        Ok(link)
    }

    async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Link, Failure> {
        let is_gone = Arc::<AtomicBool>::default();
        let (wakes, lost) = (self.wakes.clone(), is_gone.clone());
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(PATIENCE)).set_push_sender(
            move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection {
                    lost.store(true, Ordering::Release);
                }
                wakes.hear(&push);
                Ok::<_, redis::aio::SendError>(())
            },
        );
        let made = MultiplexedConnection::new_with_config(&self.settings, stream, config).await;
        let (connection, driver) = made.map_err(|error| self.unavailable(error))?;
        // It ends with the last copy of the connection.
        tokio::spawn(driver);
        Ok(Link { connection, is_gone })
    }

    /// What an error means. A connection that has failed is not used again.
    pub(super) fn failed(&self, link: &Link, error: &RedisError) -> Failure {
        if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
            link.is_gone.store(true, Ordering::Release);
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ResponseError) if error.to_string().contains("OOM") => {
                Failure::new(Code::StorageFull, format!("the message broker Redis ({}) has no memory left", self.place))
            }
            _ => self.unavailable(error),
        }
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Code::Unavailable, format!("the message broker Redis ({}) does not answer: {why}", self.place))
    }
}
