//! Apache Kafka.
//!
//! A channel has up to four topics of one partition each, made when they are needed. Their configuration can be changed at the cluster and is
//! left alone then.
//!
//! | topic | holds |
//! | --- | --- |
//! | `PREFIX.queue.TENANT.NAMESPACE.CHANNEL` | messages of the queue, and what becomes of them |
//! | `PREFIX.dead.…` | dead letters, and what is put back |
//! | `PREFIX.topic.…` | what is published |
//! | `PREFIX.places.…` | the places of subscribers |
//!
//! Kafka keeps logs, and nothing that says of a single message that it is given out, for how long, or done. So that is in the log too: who
//! wants a message adds an entry that claims it, and reads whether another was first. All nodes read the same entries in the same order, and so
//! know the same of each message, without consumer groups and their rebalancing. What is not needed any more is removed from the log; a message
//! that stays in it for long is written again at its end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_coord::channels::{From, MAX_DELIVERIES, MAX_QUEUED};
use plexspaces_types::{ActorId, Code, Failure, Payload};

use crate::PATIENCE_SECS;
use crate::backend::{Backend, Status, answer};
use crate::message::Message;

mod batch;
mod client;
mod dead;
mod log;
mod names;
mod queue;
mod topic;
mod wire;

use client::Client;
use dead::{Dead, due_ms};
use log::{Log, now_ms};
use queue::{Candidate, Command, Queue};
use topic::{Places, Topic};

const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECS);

/// How long one wait takes at most until it is looked again whether something has come.
const SLICE: Duration = Duration::from_secs(5);

/// Channels whose logs are kept in memory, unless they are in use, and how long one without use is.
const MAX_CHANNELS: usize = 1000;
const IDLE: Duration = Duration::from_secs(60);

/// How a cluster is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Some of its brokers: `host:port`.
    pub bootstrap: Vec<String>,
    /// What the names of topics begin with: 1 to 32 letters, digits, `-` and `_`.
    pub prefix: String,
    /// How many replicas a topic has that is made; -1 for what the cluster says.
    pub replicas: i16,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Who asks, by SASL with the mechanism PLAIN.
    pub login: Option<Login>,
}

/// A user with a password.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// A user with a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// That of the environment, if there is one: `PLEXSPACES_KAFKA_USER` and `PLEXSPACES_KAFKA_PASSWORD`.
    pub fn from_env() -> Result<Option<Self>, Failure> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (value("PLEXSPACES_KAFKA_USER"), value("PLEXSPACES_KAFKA_PASSWORD")) {
            (Some(user), Some(password)) => Ok(Some(Self { user, password })),
            (None, None) => Ok(None),
            _ => {
                let message = "of PLEXSPACES_KAFKA_USER and PLEXSPACES_KAFKA_PASSWORD one is set, expected both or none";
                Err(Failure::invalid("channels.kafka", message))
            }
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The logs of a channel.
struct Channel {
    queue: Log<Queue>,
    dead: Log<Dead>,
    topic: Log<Topic>,
    places: Log<Places>,
}

/// A client of Kafka. Clones are the same.
#[derive(Clone)]
pub struct Kafka(Arc<Inner>);

struct Inner {
    client: Arc<Client>,
    prefix: String,
    channels: Mutex<HashMap<String, Arc<Channel>>>,
}

/// How a topic is made whose entries are removed when they are not needed any more, and not before.
fn kept_for_ever() -> Vec<(&'static str, String)> {
    let settings = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        // A payload of 1 MiB and what is around it.
        ("max.message.bytes", "1200000"),
        // What other programs have compressed is kept as this one can read it.
        ("compression.type", "uncompressed"),
    ];
    settings.map(|(name, value)| (name, value.to_owned())).into()
}

impl Kafka {
    /// A client, which connects when it is needed. To be made inside a runtime.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let prefix = config.prefix.clone();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(is_plain) {
            let message = format!("channels.kafka.prefix is {prefix:?}, expected 1 to 32 letters, digits, '-' and '_'");
            return Err(Failure::invalid("channels.kafka.prefix", message));
        }
        Ok(Self(Arc::new(Inner { client: Arc::new(Client::new(config)?), prefix, channels: Mutex::default() })))
    }

    fn channel(&self, id: &ActorId) -> Arc<Channel> {
        let name = |kind| names::topic(&self.0.prefix, kind, id);
        let mut channels = self.0.channels.lock();
        let key = name("queue");
        if let Some(channel) = channels.get(&key) {
            return channel.clone();
        }
        if channels.len() >= MAX_CHANNELS {
            let is_used = |channel: &Channel| {
                let idle = [channel.queue.idle(), channel.dead.idle(), channel.topic.idle(), channel.places.idle()];
                idle.iter().any(|idle| *idle < IDLE)
            };
            channels.retain(|_, channel| Arc::strong_count(channel) > 1 || is_used(channel));
        }
        let client = &self.0.client;
        let channel = Arc::new(Channel {
            queue: Log::new(client.clone(), key.clone()),
            dead: Log::new(client.clone(), name("dead")),
            topic: Log::new(client.clone(), name("topic")),
            places: Log::new(client.clone(), name("places")),
        });
        channels.insert(key, channel.clone());
        channel
    }

    /// The message that can be given out, from memory or from the log.
    async fn body(&self, channel: &Channel, found: &Candidate) -> Result<Bytes, Failure> {
        if let Some(body) = &found.body {
            return Ok(body.clone());
        }
        let gone = || Failure::new(Code::StorageFailed, format!("the message {:?} is not in its topic at Kafka any more", found.id));
        channel.queue.body(found.at).await?.ok_or_else(gone)
    }

    async fn take_from_queue(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(String, String)>,
    ) -> Result<Option<Message>, Failure> {
        let channel = self.channel(channel);
        loop {
            let (pick, end) = channel.queue.fresh(|queue, end| (queue.pick(now_ms(), asked.as_ref()), end)).await?;
            match pick {
                Ok(found) => {
                    let _claiming = Claiming { channel: &channel, number: found.number };
                    if let Some(message) = self.give_out(&channel, &found, visibility, asked.as_ref()).await? {
                        return Ok(Some(message));
                    }
                }
                Err(due_ms) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let wait = due_ms.map_or(SLICE, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms()).max(1)));
                    channel.queue.news(end, wait.min(left).min(SLICE)).await?;
                }
            }
        }
    }

    /// Claims a message; `None` where another was first, or it was given out too often.
    async fn give_out(
        &self,
        channel: &Channel,
        found: &Candidate,
        visibility: Duration,
        asked: Option<&(String, String)>,
    ) -> Result<Option<Message>, Failure> {
        if !found.same && found.count >= MAX_DELIVERIES {
            match self.bury(channel, found, u64::from(found.count)).await {
                // There is no room for dead letters, so it stays in the queue.
                Err(failure) if failure.code == Code::Overloaded => {}
                buried => return buried.map(|()| None),
            }
        }
        let body = self.body(channel, found).await?;
        let at_ms = now_ms();
        let until_ms = at_ms.saturating_add(u64::try_from(visibility.as_millis()).unwrap_or(u64::MAX));
        let Candidate { number, version, same, .. } = *found;
        let claim = Command::Claim { number, version, at_ms, until_ms, asked: asked.cloned(), same };
        let is_ours = channel.queue.append(&claim, None, |queue, offset| queue.was_accepted(offset)).await?;
        let count = u64::from(found.count).saturating_add(u64::from(!same));
        if is_ours { Message::decode(&body, count).map(Some) } else { Ok(None) }
    }

    async fn settle(&self, channel: &ActorId, msg_id: &str, is_done: bool, requeue: bool) -> Result<(), Failure> {
        let channel = self.channel(channel);
        let Some(found) = channel.queue.look(false, |queue, _| queue.find(msg_id)).await?.flatten() else { return Ok(()) };
        if found.count == 0 {
            let message = format!("the message {msg_id:?} was not given to anybody yet");
            return Err(Failure::new(Code::Conflict, message).with_field("msg_id"));
        }
        let number = found.number;
        if is_done {
            return channel.queue.append(&Command::Done { number }, None, |_, _| ()).await;
        }
        if !requeue || found.count >= MAX_DELIVERIES {
            match self.bury(&channel, &found, u64::from(found.count)).await {
                Err(failure) if failure.code == Code::Overloaded => {}
                buried => return buried,
            }
        }
        channel.queue.append(&Command::Back { number }, None, |_, _| ()).await
    }
}

/// A message that this node is about to give out, which it offers to nobody else.
struct Claiming<'a> {
    channel: &'a Arc<Channel>,
    number: i64,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        let (channel, number) = (self.channel.clone(), self.number);
        let offer = move |queue: &mut Queue| {
            queue.claiming.remove(&number);
        };
        if !channel.queue.try_peek(offer) {
            tokio::spawn(async move { channel.queue.peek(offer).await });
        }
    }
}

#[async_trait]
impl Broker for Kafka {
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        answer(self, channel, request).await
    }
}

#[async_trait]
impl Backend for Kafka {
    async fn send(&self, id: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        let channel = self.channel(id);
        if !channel.queue.fresh(|queue, _| queue.takes(&message.msg_id, MAX_QUEUED)).await? {
            let text = format!("the queue of channel {:?} is full at Kafka: {MAX_QUEUED} messages wait", id.key.as_str());
            return Err(Failure::new(Code::Overloaded, text));
        }
        let send = Command::Send { due_ms: due_ms(delay), again: false };
        channel.queue.append(&send, Some(message.encode()?.into()), |_, _| ()).await
    }

    async fn receive(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        let asked = asked.map(|(sender, key)| (sender.to_string(), key.to_owned()));
        self.take_from_queue(channel, visibility, until, asked).await
    }

    async fn ack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>) -> Result<(), Failure> {
        self.settle(channel, msg_id, true, false).await
    }

    async fn nack(&self, channel: &ActorId, msg_id: &str, _: Option<&str>, requeue: bool) -> Result<(), Failure> {
        self.settle(channel, msg_id, false, requeue).await
    }

    async fn publish(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        self.put_into_topic(channel, message).await
    }

    async fn subscribe(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(), Failure> {
        self.take_place(channel, subscriber, from).await
    }

    async fn next(&self, channel: &ActorId, subscriber: &str, key: Option<&str>, until: Instant) -> Result<Option<Message>, Failure> {
        self.next_for(channel, subscriber, key, until).await
    }

    async fn unsubscribe(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
        self.give_up_place(channel, subscriber).await
    }

    async fn place(&self, channel: &ActorId, subscriber: &str) -> Result<Option<u64>, Failure> {
        self.position_of(channel, subscriber).await
    }

    async fn advance(&self, channel: &ActorId, subscriber: &str, from: u64, to: u64) -> Result<(), Failure> {
        self.put_place(&self.channel(channel), subscriber, Some(from), to, None).await.map(drop)
    }

    async fn behind(&self, channel: &ActorId, position: u64) -> Result<u64, Failure> {
        self.after(channel, position).await
    }

    async fn drop_queue(&self, channel: &ActorId) -> Result<(), Failure> {
        let channel = self.channel(channel);
        if channel.queue.look(false, |_, _| ()).await?.is_some() {
            channel.queue.append(&Command::Clear, None, |_, _| ()).await?;
        }
        self.clear_dead(&channel).await
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
        let channel = self.channel(channel);
        let mut status = channel.queue.look(false, |queue, _| queue.status(now_ms())).await?.unwrap_or_default();
        let dead = channel.dead.look(false, |dead, _| dead.len()).await?.unwrap_or(0);
        status.dead = u64::try_from(dead).unwrap_or(u64::MAX);
        (status.published, status.subscribers) = self.topic_status(&channel).await?;
        Ok(status)
    }

    async fn dead_letters(&self, channel: &ActorId, after: Option<u64>, limit: usize) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        self.list_dead(channel, after, limit).await
    }

    async fn redrive(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        self.bring_back(channel, msg_ids).await
    }
}
