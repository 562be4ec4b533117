//! Amazon SQS.
//!
//! A channel has up to three queues, made when they are needed. Their configuration can be changed at the service and is left alone then.
//!
//! | queue | kind | holds |
//! | --- | --- | --- |
//! | `PREFIX-CHANNEL-DIGEST-q.fifo` | FIFO | the queue |
//! | `PREFIX-CHANNEL-DIGEST-d.fifo` | FIFO | dead letters |
//! | `PREFIX-CHANNEL-DIGEST-l` | standard | delayed messages, which a FIFO queue cannot hold |
//!
//! A FIFO queue knows the ids of what was sent to it in the last five minutes, and a repeated request for a message. It gives out the messages
//! of one group one after the other: each waits until the one before it is done. So each message is a group of its own, and many are in hand at
//! the same time; what the service keeps of their order it does not promise. Where the order is more than that, all are of one group.
//!
//! A message is settled by the receipt of its delivery, which the node that gave it out remembers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use plexspaces_actor::{Broker, BrokerRequest};
use plexspaces_aws::shown;
pub use plexspaces_aws::{Credentials, Token};
use plexspaces_coord::channels::From;
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde_json::{Value, json};

use crate::PATIENCE_SECS;
use crate::backend::{Backend, Status, answer};
use crate::message::Message;

mod client;
mod dead;
mod hands;
mod later;
mod names;
mod queue;

use client::{Client, Fault};
use hands::Hands;
use names::Kind;
use queue::Verdict;

const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECS);

/// How long one wait at the service takes at most, so that one that was lost with its connection is taken up again.
const SLICE: Duration = Duration::from_secs(8);

/// Queues of which it is remembered where they are.
const MAX_KNOWN: usize = 10_000;

/// For how long SQS keeps a message, in seconds: as long as it can.
const RETENTION_SECS: u64 = 14 * 24 * 60 * 60;

/// How a channel's queues are reached.
#[derive(Clone)]
pub struct Config {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// Where the service is, if it is not that of the region: `http://host:port` or `https://host:port`.
    pub endpoint: Option<String>,
    /// What the names of queues begin with: 1 to 15 letters, digits, `-` and `_`.
    pub prefix: String,
    /// Whether each message of a channel waits until the one before it is done.
    pub ordered: bool,
    /// Who asks.
    pub credentials: Credentials,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { region, endpoint, prefix, ordered, credentials } = self;
        let endpoint = endpoint.as_deref().map(shown);
        f.debug_struct("Config")
            .field("region", region)
            .field("endpoint", &endpoint)
            .field("prefix", prefix)
            .field("ordered", ordered)
            .field("credentials", credentials)
            .finish()
    }
}

/// A client of SQS. Clones are the same.
#[derive(Clone)]
pub struct Sqs(Arc<Inner>);

struct Inner {
    client: Client,
    prefix: String,
    ordered: bool,
    /// Where queues are, by name.
    known: Mutex<HashMap<String, String>>,
    /// Queues are made one at a time.
    making: tokio::sync::Mutex<()>,
    /// What this node has given out, by queue and id.
    hands: Mutex<Hands>,
    /// What was done lately, by queue and id, the oldest first.
    settled: Mutex<VecDeque<(Instant, (String, String))>>,
    /// Whose delayed messages this node looks after, and until when.
    tended: Mutex<HashMap<String, Instant>>,
    /// Dead letters are read by one request at a time, which hides them from others.
    reading: tokio::sync::Mutex<()>,
}

impl Sqs {
    /// A client, which connects when it is needed.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let prefix = config.prefix.clone();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=15).contains(&prefix.len()) || !prefix.bytes().all(is_plain) {
            let message = format!("channels.sqs.prefix is {prefix:?}, expected 1 to 15 letters, digits, '-' and '_'");
            return Err(Failure::invalid("channels.sqs.prefix", message));
        }
        Ok(Self(Arc::new(Inner {
            client: Client::new(config)?,
            prefix,
            ordered: config.ordered,
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            hands: Mutex::default(),
            settled: Mutex::default(),
            tended: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        })))
    }

    fn name(&self, channel: &ActorId, kind: Kind) -> String {
        names::queue(&self.0.prefix, channel, kind)
    }

    fn failure(&self, fault: &Fault) -> Failure {
        self.0.client.failure(fault)
    }

    /// Asks for something that has to do with a queue, which may have been removed.
    async fn ask(&self, name: &str, action: &str, body: &Value, wait: Duration) -> Result<Value, Fault> {
        let answer = self.0.client.ask(action, body, wait).await;
        if let Err(fault) = &answer
            && fault.is_no_queue()
        {
            self.0.known.lock().remove(name);
        }
        answer
    }

    /// Where a queue is; none where there is no such queue.
    async fn find(&self, name: &str) -> Result<Option<String>, Failure> {
        if let Some(url) = self.0.known.lock().get(name) {
            return Ok(Some(url.clone()));
        }
        match self.0.client.ask("GetQueueUrl", &json!({"QueueName": name}), Duration::ZERO).await {
            Ok(answer) => self.now_known(name, &answer).map(Some),
            Err(fault) if fault.is_no_queue() => Ok(None),
            Err(fault) => Err(self.failure(&fault)),
        }
    }

    /// Where a queue is, which is made if it is not there.
    async fn make(&self, name: &str, kind: Kind) -> Result<String, Failure> {
        if let Some(url) = self.find(name).await? {
            return Ok(url);
        }
        let _one_at_a_time = self.0.making.lock().await;
        if let Some(url) = self.find(name).await? {
            return Ok(url);
        }
        let mut attributes = json!({"MessageRetentionPeriod": RETENTION_SECS.to_string()});
        if let (true, Value::Object(attributes)) = (kind.is_fifo(), &mut attributes) {
            attributes.insert("FifoQueue".to_owned(), "true".into());
            if !self.0.ordered {
                attributes.insert("DeduplicationScope".to_owned(), "messageGroup".into());
                attributes.insert("FifoThroughputLimit".to_owned(), "perMessageGroupId".into());
            }
        }
        let body = json!({"QueueName": name, "Attributes": attributes});
        match self.0.client.ask("CreateQueue", &body, Duration::ZERO).await {
            Ok(answer) => self.now_known(name, &answer),
            // Another node may have been first.
            Err(fault) => match self.find(name).await {
                Ok(Some(url)) => Ok(url),
                _ => Err(self.failure(&fault)),
            },
        }
    }

    fn now_known(&self, name: &str, answer: &Value) -> Result<String, Failure> {
        let nowhere = || self.failure(&Fault::Away("it does not say where the queue is".to_owned()));
        let url = answer.get("QueueUrl").and_then(Value::as_str).ok_or_else(nowhere)?.to_owned();
        let mut known = self.0.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned(), url.clone());
        Ok(url)
    }

    /// How many messages a queue has: ready, delayed and in flight.
    async fn counts(&self, name: &str) -> Result<[u64; 3], Failure> {
        let Some(url) = self.find(name).await? else { return Ok([0; 3]) };
        let names = ["", "Delayed", "NotVisible"].map(|which| format!("ApproximateNumberOfMessages{which}"));
        let body = json!({"QueueUrl": url, "AttributeNames": names});
        let answer = match self.ask(name, "GetQueueAttributes", &body, Duration::ZERO).await {
            Err(fault) if fault.is_no_queue() => return Ok([0; 3]),
            answer => answer.map_err(|fault| self.failure(&fault))?,
        };
        let attributes = answer.get("Attributes");
        Ok(names.map(|name| attributes.and_then(|all| all.get(&name)).and_then(number).unwrap_or(0)))
    }
}

/// A number, which SQS gives as a text.
fn number(value: &Value) -> Option<u64> {
    value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64())
}

/// What SQS does not have.
fn no_topic<T>() -> Result<T, Failure> {
    let message = "a channel at SQS is a queue: it has no topic, so nothing can be published to it or subscribed at it";
    Err(Failure::new(Code::UnknownOperation, message))
}

#[async_trait]
impl Broker for Sqs {
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        answer(self, channel, request).await
    }
}

#[async_trait]
impl Backend for Sqs {
    fn gives_receipts(&self) -> bool {
        true
    }

    fn has_topics(&self) -> bool {
        false
    }

    async fn send(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        if delay.is_zero() { self.put_into_queue(channel, message).await } else { self.put_off(channel, message, delay).await }
    }

    async fn receive(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        self.take_from_queue(channel, visibility, until, asked).await
    }

    async fn ack(&self, channel: &ActorId, msg_id: &str, receipt: Option<&str>) -> Result<(), Failure> {
        self.settle(channel, msg_id, receipt, Verdict::Done).await
    }

    async fn nack(&self, channel: &ActorId, msg_id: &str, receipt: Option<&str>, requeue: bool) -> Result<(), Failure> {
        self.settle(channel, msg_id, receipt, if requeue { Verdict::Again } else { Verdict::Dead }).await
    }

    async fn publish(&self, _: &ActorId, _: &Message) -> Result<(), Failure> {
        no_topic()
    }

    async fn subscribe(&self, _: &ActorId, _: &str, _: From) -> Result<(), Failure> {
        no_topic()
    }

    async fn next(&self, _: &ActorId, _: &str, _: Option<&str>, _: Instant) -> Result<Option<Message>, Failure> {
        no_topic()
    }

    async fn unsubscribe(&self, _: &ActorId, _: &str) -> Result<(), Failure> {
        no_topic()
    }

    async fn place(&self, _: &ActorId, _: &str) -> Result<Option<u64>, Failure> {
        no_topic()
    }

    async fn advance(&self, _: &ActorId, _: &str, _: u64, _: u64) -> Result<(), Failure> {
        no_topic()
    }

    async fn behind(&self, _: &ActorId, _: u64) -> Result<u64, Failure> {
        no_topic()
    }

    async fn drop_queue(&self, _: &ActorId) -> Result<(), Failure> {
        no_topic()
    }

    async fn tail(&self, _: &ActorId, _: Option<u64>, _: usize, _: Instant) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        no_topic()
    }

    async fn status(&self, channel: &ActorId) -> Result<Status, Failure> {
        let [queue, dead, later] = [Kind::Queue, Kind::Dead, Kind::Later].map(|kind| self.name(channel, kind));
        let (queue, dead, later) = tokio::try_join!(self.counts(&queue), self.counts(&dead), self.counts(&later))?;
        let [ready, _, in_flight] = queue;
        let (dead, delayed) = (dead.iter().sum(), later.iter().sum());
        Ok(Status { ready, delayed, in_flight, dead, published: 0, subscribers: 0 })
    }

    async fn dead_letters(&self, channel: &ActorId, after: Option<u64>, limit: usize) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        self.list_dead(channel, after, limit).await
    }

    async fn redrive(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        self.bring_back(channel, msg_ids).await
    }
}
