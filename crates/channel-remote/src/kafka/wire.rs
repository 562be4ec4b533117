//! One connection to a broker of Kafka: requests go out as they come, answers come back in their order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use kafka_protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use kafka_protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use kafka_protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes, encode_request_header_into_buffer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Login;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 128 << 20;

/// Requests that may wait to be written.
const QUEUE: usize = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request has reached nobody.
    Unsent(String),
    /// Nobody knows whether the request has been carried out.
    Lost(String),
    /// The broker refuses it with this number and words.
    Refused(i16, String),
}

impl Fault {
    pub(super) fn code(&self) -> Option<i16> {
        match self {
            Self::Refused(code, _) => Some(*code),
            _ => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsent(why) | Self::Lost(why) => f.write_str(why),
            Self::Refused(code, why) if why.is_empty() => match kafka_protocol::ResponseError::try_from_code(*code) {
                Some(error) => write!(f, "{error}"),
                None => write!(f, "error {code}"),
            },
            Self::Refused(_, why) => f.write_str(why),
        }
    }
}

type Waiting = Arc<Mutex<HashMap<i32, oneshot::Sender<Bytes>>>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection. It ends when it is dropped.
pub(super) struct Connection {
    requests: mpsc::Sender<Bytes>,
    waiting: Waiting,
    last_id: AtomicI32,
    is_closed: Arc<AtomicBool>,
    reader: tokio::task::AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Connection {
    /// Connects to `host:port` and logs in.
    pub(super) async fn open(address: &str, tls: Option<&TlsConnector>, login: Option<&Login>, patience: Duration) -> Result<Self, Fault> {
        let late = |_| Fault::Unsent(format!("no connection within {patience:?}"));
        tokio::time::timeout(patience, Self::dial(address, tls, login, patience)).await.map_err(late)?
    }

    async fn dial(address: &str, tls: Option<&TlsConnector>, login: Option<&Login>, patience: Duration) -> Result<Self, Fault> {
        let unsent = |error: std::io::Error| Fault::Unsent(format!("{address}: {error}"));
        let tcp = TcpStream::connect(address).await.map_err(unsent)?;
        tcp.set_nodelay(true).map_err(unsent)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(tls) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(host).map_err(|error| Fault::Unsent(format!("{address}: {error}")))?;
                Box::new(tls.connect(name, tcp).await.map_err(unsent)?)
            }
        };
        let (read, mut write) = tokio::io::split(stream);
        let (requests, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        let (waiting, is_closed) = (Waiting::default(), Arc::new(AtomicBool::new(false)));
        let end = (waiting.clone(), is_closed.clone());
        let writer = tokio::spawn(async move {
            while let Some(request) = queue.recv().await {
                if write.write_all(&request).await.is_err() || write.flush().await.is_err() {
                    return;
                }
            }
        });
        let reader = tokio::spawn(async move {
            let (waiting, is_closed) = end;
            let _ = receive(read, &waiting).await;
            is_closed.store(true, Ordering::SeqCst);
            waiting.lock().clear();
            writer.abort();
        });
        let this = Self { requests, waiting, last_id: AtomicI32::new(0), is_closed, reader: reader.abort_handle() };
        if let Some(login) = login {
            this.log_in(login, patience).await?;
        }
        Ok(this)
    }

    async fn log_in(&self, login: &Login, patience: Duration) -> Result<(), Fault> {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let answer: SaslHandshakeResponse = self.call(ApiKey::SaslHandshake, 1, &handshake, patience).await?;
        if answer.error_code != 0 {
            let known: Vec<&str> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
            return Err(Fault::Refused(answer.error_code, format!("it takes no password as it is, but {}", known.join(", "))));
        }
        let token = Bytes::from(format!("\0{}\0{}", login.user, login.password));
        let authenticate = SaslAuthenticateRequest::default().with_auth_bytes(token);
        let answer: SaslAuthenticateResponse = self.call(ApiKey::SaslAuthenticate, 1, &authenticate, patience).await?;
        match answer.error_code {
            0 => Ok(()),
            code => Err(Fault::Refused(code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call<Q: Encodable + HeaderVersion, A: Decodable + HeaderVersion>(
        &self,
        key: ApiKey,
        version: i16,
        request: &Q,
        patience: Duration,
    ) -> Result<A, Fault> {
        let id = self.last_id.fetch_add(1, Ordering::SeqCst);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_static_str("plexspaces")));
        let mut body = BytesMut::new();
        encode_request_header_into_buffer(&mut body, &header).map_err(unwritable)?;
        request.encode(&mut body, version).map_err(unwritable)?;
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&body);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let _forget = Forget { waiting: &self.waiting, id };
        if self.is_closed() || self.requests.send(frame.freeze()).await.is_err() {
            return Err(Fault::Unsent("the connection has ended".to_owned()));
        }
        let mut answer = match tokio::time::timeout(patience, answer).await {
            Err(_) => return Err(Fault::Lost(format!("no answer within {patience:?}"))),
            Ok(Err(_)) => return Err(Fault::Lost("the connection has ended".to_owned())),
            Ok(Ok(answer)) => answer,
        };
        ResponseHeader::decode(&mut answer, A::header_version(version)).map_err(unreadable)?;
        A::decode(&mut answer, version).map_err(unreadable)
    }
}

fn unwritable(error: impl std::fmt::Display) -> Fault {
    Fault::Unsent(format!("a request cannot be written: {error}"))
}

fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::Lost(format!("an answer cannot be read: {error}"))
}

struct Forget<'a> {
    waiting: &'a Waiting,
    id: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

async fn receive(mut stream: impl AsyncRead + Unpin, waiting: &Waiting) -> std::io::Result<()> {
    loop {
        let length = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
        if !(4..=MAX_ANSWER).contains(&length) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        let id = answer.first_chunk::<4>().copied().map(i32::from_be_bytes).unwrap_or(-1);
        if let Some(sender) = waiting.lock().remove(&id) {
            let _ = sender.send(Bytes::from(answer));
        }
    }
}
