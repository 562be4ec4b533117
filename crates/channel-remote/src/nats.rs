//! NATS JetStream.
//!
//! A channel has up to four streams, made when they are needed. Their configuration can be changed at the server and is left alone then.
//!
//! | stream | subjects | holds |
//! | --- | --- | --- |
//! | `PLEXQ_…` | `ready.ID`, `later.ID`, `dead.NUMBER` | the queue: a work queue with the consumers `workers` and `later` |
//! | `PLEXT_…` | `topic` | the topic |
//! | `PLEXP_…` | `NAME` | the place of each subscriber |
//! | `PLEXR_…` | `ACTOR` | what each durable actor has received last |
//!
//! Each message of the queue has a subject of its own, of which the server keeps one message only: so one that waits already is not sent
//! again, and one that was given out by another node is found by its id.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_coord::channels::From;
use plexspaces_trust::Trust;
use plexspaces_types::{ActorId, Code, Failure, Payload};

use crate::backend::{Backend, Status, answer};
use crate::message::Message;
use crate::{PATIENCE_SECS, masked};

mod names;
mod queue;
mod room;
mod topic;

use queue::Hand;
use room::Room;

/// How long one wait at the server takes at most, so that one that was lost with its connection is taken up again.
const SLICE: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECS);

/// Streams of which it is remembered that they are there.
const MAX_KNOWN: usize = 10_000;

/// How a server is reached.
#[derive(Clone)]
pub struct NatsConfig {
    /// `nats://user:password@host:port` or `nats://token@host:port`. With `tls` in place of `nats` connections are encrypted, or there are none;
    /// the server's certificate is checked, name included.
    pub url: String,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// A file with the user's JWT and the seed of its key, as `nsc` makes it.
    pub credentials_file: Option<PathBuf>,
}

impl NatsConfig {
    /// A server that asks for what the URL holds, whose certificate, if it has one, is of an authority that the system trusts.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None, credentials_file: None }
    }

    /// Refuses what cannot be. Files are not looked at.
    pub fn check(&self) -> Result<(), Failure> {
        self.address().map(drop)
    }

    fn unusable() -> Failure {
        let expected = "expected nats://user:password@host:port, or tls:// for encrypted connections";
        Failure::invalid("channels.nats.url", format!("channels.nats.url cannot be read, {expected}"))
    }

    fn address(&self) -> Result<ServerAddr, Failure> {
        masked(&self.url).ok_or_else(Self::unusable)?;
        let address: ServerAddr = self.url.parse().map_err(|_| Self::unusable())?;
        if !["nats", "tls"].contains(&address.scheme()) {
            return Err(Self::unusable());
        }
        if self.ca_file.is_some() && !address.tls_required() {
            return Err(Failure::invalid("channels.nats.ca_file", "channels.nats.ca_file is for a URL that begins with tls://"));
        }
        if self.credentials_file.is_some() && address.username().is_some() {
            let message = "channels.nats.credentials_file and a user or token in channels.nats.url contradict one another";
            return Err(Failure::invalid("channels.nats.credentials_file", message));
        }
        Ok(address)
    }

    /// Who connects, and whom the client trusts.
    fn options(&self, address: &ServerAddr) -> Result<ConnectOptions, Failure> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| Self::unusable());
        // A server may demand encryption of which its address says nothing.
        let trust = Trust::with(self.ca_file.as_deref())?;
        let options = ConnectOptions::new().tls_client_config(trust.tls).require_tls(address.tls_required());
        let options = match (address.username(), address.password()) {
            (Some(user), Some(password)) => options.user_and_password(plain(user)?, plain(password)?),
            (Some(token), None) => options.token(plain(token)?),
            (None, _) => options,
        };
        let Some(path) = &self.credentials_file else { return Ok(options) };
        let wrong = |why: &str| {
            let message = format!("channels.nats.credentials_file: {} {why}", path.display());
            Failure::invalid("channels.nats.credentials_file", message)
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        // What the library says of it may quote it.
        let expected = "holds no credentials, expected a user's JWT and the seed of its key as nsc writes them";
        options.credentials(&text).map_err(|_| wrong(expected))
    }
}

impl std::fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("NatsConfig");
        shown.field("url", &masked(&self.url)).field("ca_file", &self.ca_file);
        shown.field("credentials_file", &self.credentials_file).finish()
    }
}

/// A client of NATS. Clones are the same.
#[derive(Clone)]
pub struct Nats(Arc<Inner>);

struct Inner {
    client: Client,
    jetstream: Context,
    /// The address without its password.
    place: String,
    /// Why there was no connection when one was last tried.
    trouble: Arc<Mutex<Option<String>>>,
    /// Streams that are there.
    known: Mutex<HashSet<String>>,
    /// One makes a queue at a time.
    making: tokio::sync::Mutex<()>,
    /// How much room there is, by stream.
    rooms: Mutex<HashMap<String, Room>>,
    /// What this node has given out, by stream and id.
    hands: Mutex<HashMap<(String, String), Hand>>,
    /// Whose delayed messages this node looks after, and until when.
    tended: Mutex<HashMap<String, Instant>>,
}

/// What became of a message that was put into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// It is there, or was there before: the server knows its id.
    There,
    /// It is not there, since its subject has a message already.
    Another,
}

impl Nats {
    /// A client that connects by itself, now or when the server is there, and again whenever the connection is lost.
    pub async fn open(config: &NatsConfig) -> Result<Self, Failure> {
        let address = config.address()?;
        let options = config.options(&address)?;
        let place = masked(&config.url).unwrap_or_default();
        let trouble = Arc::<Mutex<Option<String>>>::default();
        let heard = trouble.clone();
        let options = options
            .name("plexspaces")
            .retry_on_initial_connect()
            .request_timeout(Some(PATIENCE))
            // It is asked for a server before each attempt. That is where it tells what became of the last one.
            .reconnect_to_server_callback(move |servers, _| {
                *heard.lock() = servers.into_iter().filter_map(|server| server.last_error).next_back();
                std::future::ready(None)
            });
        let client = options.connect(address).await.map_err(|_| NatsConfig::unusable())?;
        let jetstream = jetstream::context::ContextBuilder::new().timeout(PATIENCE).build(client.clone());
        let (known, making, rooms, hands, tended) = Default::default();
        Ok(Self(Arc::new(Inner { client, jetstream, place, trouble, known, making, rooms, hands, tended })))
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Code::Unavailable, format!("the message broker NATS ({}) does not answer: {why}", self.0.place))
    }

    /// An error of the server about a stream, which may have been removed.
    fn lost(&self, stream: &str, why: impl std::fmt::Display) -> Failure {
        self.0.known.lock().remove(stream);
        self.unavailable(why)
    }

    /// Fails at once where there is no connection.
    fn connected(&self) -> Result<(), Failure> {
        match self.0.client.connection_state() {
            State::Connected => Ok(()),
            _ => {
                let why = self.0.trouble.lock().clone();
                Err(self
                    .unavailable(why.map_or_else(|| "there is no connection".to_owned(), |why| format!("there is no connection: {why}"))))
            }
        }
    }

    /// Makes a stream if it is not there.
    async fn ensure(&self, config: impl FnOnce() -> jetstream::stream::Config, name: &str) -> Result<bool, Failure> {
        self.connected()?;
        if self.0.known.lock().contains(name) {
            return Ok(false);
        }
        let made = self.0.jetstream.get_or_create_stream(config()).await;
        made.map(|_| true).map_err(|error| self.unavailable(error))
    }

    fn now_known(&self, name: &str) {
        let mut known = self.0.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned());
    }

    /// What the server may take at once.
    fn check_size(&self, message: &[u8]) -> Result<(), Failure> {
        // Headers and subject go with it.
        const BESIDE: usize = 4096;
        let limit = self.0.client.max_payload().saturating_sub(BESIDE);
        if message.len() <= limit {
            return Ok(());
        }
        let text = format!("a message of {} bytes is larger than what NATS ({}) takes, {limit} bytes", message.len(), self.0.place);
        Err(Failure::new(Code::PayloadTooLarge, text).with_field("payload"))
    }

    /// Puts a message into a stream.
    async fn put(&self, stream: &str, subject: String, headers: HeaderMap, body: Bytes) -> Result<Put, Failure> {
        self.check_size(&body)?;
        let failed = |error: PublishError| self.refused(stream, &error);
        let sent = self.0.jetstream.publish_with_headers(subject, headers, body).await;
        let acknowledged = match sent {
            Ok(sent) => sent.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(_) => Ok(Put::There),
            Err(error) if description(&error).contains("per subject exceeded") => Ok(Put::Another),
            Err(error) => Err(failed(error)),
        }
    }

    fn refused(&self, stream: &str, error: &PublishError) -> Failure {
        let description = description(error);
        match server_error(error).map(jetstream::Error::error_code) {
            Some(ErrorCode::STREAM_STORE_FAILED) if description.contains("maximum") => {
                Failure::new(Code::Overloaded, format!("the channel is full at NATS ({}): {description}", self.0.place))
            }
            _ if matches!(error.kind(), PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId) => {
                Failure::new(Code::Conflict, description)
            }
            _ => self.lost(stream, description),
        }
    }
}

fn server_error(error: &PublishError) -> Option<&jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn description(error: &PublishError) -> String {
    server_error(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[async_trait]
impl Broker for Nats {
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        answer(self, channel, request).await
    }
}

#[async_trait]
impl Backend for Nats {
    async fn send(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        self.put_into_queue(channel, message, delay).await
    }

    async fn receive(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        self.take_under_key(channel, visibility, until, asked).await
    }

    async fn ack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>) -> Result<(), Failure> {
        self.done(channel, msg_id).await
    }

    async fn nack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>, requeue: bool) -> Result<(), Failure> {
        self.not_done(channel, msg_id, requeue).await
    }

    async fn publish(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        self.put_into_topic(channel, message).await
    }

    async fn subscribe(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(), Failure> {
        self.take_place(channel, subscriber, from).await.map(drop)
    }

    async fn next(&self, channel: &ActorId, subscriber: &str, key: Option<&str>, until: Instant) -> Result<Option<Message>, Failure> {
        self.next_for(channel, subscriber, key, until).await
    }

    async fn unsubscribe(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
        self.give_up_place(channel, subscriber).await
    }

    async fn place(&self, channel: &ActorId, subscriber: &str) -> Result<Option<u64>, Failure> {
        Ok(self.place_of(channel, subscriber).await?.0.map(|place| place.position))
    }

    async fn advance(&self, channel: &ActorId, subscriber: &str, from: u64, to: u64) -> Result<(), Failure> {
        self.move_place(channel, subscriber, from, to).await
    }

    async fn behind(&self, channel: &ActorId, position: u64) -> Result<u64, Failure> {
        self.after(channel, position).await
    }

    async fn drop_queue(&self, channel: &ActorId) -> Result<(), Failure> {
        self.remove_queue(channel).await
    }

    async fn tail(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        self.read_topic(channel, after, limit, until).await
    }

    async fn status(&self, channel: &ActorId) -> Result<Status, Failure> {
        self.connected()?;
        let mut status = self.queue_status(channel).await?;
        (status.published, status.subscribers) = self.topic_status(channel).await?;
        Ok(status)
    }

    async fn dead_letters(&self, channel: &ActorId, after: Option<u64>, limit: usize) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        self.list_dead(channel, after, limit).await
    }

    async fn redrive(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        self.bring_back(channel, msg_ids).await
    }
}
