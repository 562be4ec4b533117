//! The operations of a channel as they are asked for: their arguments, read and checked. Whatever keeps a channel reads them here.

use plexspaces_actor::Nature;
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::request::{arguments, check_document, check_key, expiry, page_limit, unknown, until};

/// Bytes of one message's payload.
const MAX_BYTES: usize = 1 << 20;

/// For how long a message that was received is hidden from others, unless the request says otherwise.
const VISIBILITY_MS: u64 = 30_000;

/// How often a message is given out before it is a dead letter.
pub const MAX_DELIVERIES: u32 = 10;

/// Messages in one queue.
pub const MAX_QUEUED: usize = 100_000;

/// Messages that a topic keeps, and for how long in milliseconds.
pub const MAX_PUBLISHED: usize = 10_000;
/// See [`MAX_PUBLISHED`].
pub const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Subscribers of one topic.
pub const MAX_SUBSCRIBERS: usize = 100_000;

/// What is asked of a channel. Times are in milliseconds.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A message for the queue.
    Send {
        /// The message.
        message: Given,
        /// After what time it is given out at the earliest.
        delay_ms: u64,
    },
    /// The next message of the queue, or of the topic for a group of consumers.
    Receive {
        /// The group; the queue without it.
        group: Option<String>,
        /// How long to wait for one.
        timeout_ms: u64,
        /// For how long it is hidden from others, at least 1.
        visibility_ms: u64,
    },
    /// A message is done.
    Ack {
        /// For which group; in the queue without it.
        group: Option<String>,
        /// Which.
        msg_id: String,
        /// Which delivery of it; any without it.
        receipt: Option<String>,
    },
    /// A message is not done.
    Nack {
        /// For which group; in the queue without it.
        group: Option<String>,
        /// Which.
        msg_id: String,
        /// Which delivery of it; any without it.
        receipt: Option<String>,
        /// Whether it is given out again.
        requeue: bool,
    },
    /// A message for the topic.
    Publish {
        /// The message.
        message: Given,
    },
    /// A place in the topic.
    Subscribe {
        /// Whose.
        subscriber: String,
        /// Where a new one begins.
        from: From,
    },
    /// The next message of the topic.
    Next {
        /// For whom.
        subscriber: String,
        /// How long to wait for one.
        timeout_ms: u64,
    },
    /// A place in the topic is given up.
    Unsubscribe {
        /// Whose.
        subscriber: String,
    },
    /// What the topic has after a position.
    Tail {
        /// The position; without it from now on.
        after: Option<u64>,
        /// How many messages, 1 to 1000.
        limit: usize,
        /// How long to wait for the first.
        timeout_ms: u64,
    },
    /// How much there is.
    Status {
        /// For which group; of the channel without it.
        group: Option<String>,
    },
    /// A page of the dead letters.
    DeadLetters {
        /// Of which group; of the queue without it.
        group: Option<String>,
        /// The number of the last one of the page before.
        after: Option<u64>,
        /// How many, 1 to 1000.
        limit: usize,
    },
    /// Dead letters are given out again.
    Redrive {
        /// To which group; in the queue without it.
        group: Option<String>,
        /// Which; all without it.
        msg_ids: Option<Vec<String>>,
    },
}

/// A message as it is given to a channel.
#[derive(Clone, Debug)]
pub struct Given {
    /// The sender's id for it.
    pub msg_id: Option<String>,
    /// What kind of message it is; may be empty.
    pub msg_type: String,
    /// JSON text, which any reader of JSON can read.
    pub payload: Box<RawValue>,
}

/// Where a new subscriber begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// With the oldest message that is kept.
    #[default]
    Earliest,
    /// With what comes from now on.
    Latest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    payload: Box<RawValue>,
    #[serde(default)]
    msg_type: String,
    #[serde(default)]
    msg_id: Option<String>,
    #[serde(default)]
    delay_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receive {
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    timeout_ms: u64,
    #[serde(default)]
    visibility_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    #[serde(default)]
    group: Option<String>,
    msg_id: String,
    #[serde(default)]
    receipt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nack {
    #[serde(default)]
    group: Option<String>,
    msg_id: String,
    #[serde(default)]
    receipt: Option<String>,
    #[serde(default = "yes")]
    requeue: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(default)]
    subscriber: Option<String>,
    #[serde(default)]
    from: From,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NextMessage {
    #[serde(default)]
    subscriber: Option<String>,
    #[serde(default)]
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(default)]
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetters {
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive {
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    msg_ids: Option<Vec<String>>,
}

pub(super) fn nature(operation: &str, payload: &Payload) -> Result<Nature, Failure> {
    Ok(match operation {
        "send" | "publish" => {
            let send: Send = arguments(payload)?;
            check(&send)?;
            // Without an id of its own, the sender needs the reply to learn the message's.
            if send.msg_id.is_some() { Nature::Post } else { Nature::Change }
        }
        "ack" => arguments::<Ack>(payload).map(|_| Nature::Post)?,
        "nack" => arguments::<Nack>(payload).map(|_| Nature::Post)?,
        "unsubscribe" => arguments::<Subscribe>(payload).map(|_| Nature::Post)?,
        "status" | "dead_letters" => Nature::Look,
        "tail" if arguments::<Tail>(payload)?.timeout_ms == 0 => Nature::Look,
        _ => Nature::Change,
    })
}

fn check(send: &Send) -> Result<(), Failure> {
    if let Some(id) = &send.msg_id {
        check_key("msg_id", id)?;
    }
    expiry(0, "delay_ms", send.delay_ms.filter(|delay| *delay > 0))?;
    let bytes = send.payload.get().len();
    if bytes > MAX_BYTES {
        let message = format!("a payload of {bytes} bytes is larger than the limit of {MAX_BYTES} bytes");
        return Err(Failure::new(Code::PayloadTooLarge, message).with_field("payload"));
    }
    check_document("payload", &send.payload)
}

impl Operation {
    /// The group of consumers that it is for.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Receive { group, .. }
            | Self::Ack { group, .. }
            | Self::Nack { group, .. }
            | Self::Status { group }
            | Self::DeadLetters { group, .. }
            | Self::Redrive { group, .. } => group.as_deref(),
            _ => None,
        }
    }

    /// Reads an operation's arguments. A subscriber that is not named is the actor that asks.
    pub fn read(operation: &str, payload: &Payload, sender: Option<&ActorId>) -> Result<Self, Failure> {
        let named = |subscriber| named(subscriber, sender);
        Ok(match operation {
            "send" => {
                let (message, delay_ms) = given(payload)?;
                Self::Send { message, delay_ms: delay_ms.unwrap_or(0) }
            }
            "publish" => {
                let (message, delay_ms) = given(payload)?;
                if delay_ms.is_some() {
                    return Err(Failure::invalid("delay_ms", "only what is sent to the queue can be delayed"));
                }
                Self::Publish { message }
            }
            "receive" => {
                let Receive { group, timeout_ms, visibility_ms } = arguments(payload)?;
                let visibility_ms = visibility_ms.unwrap_or(VISIBILITY_MS);
                expiry(0, "visibility_ms", Some(visibility_ms))?;
                until(0, timeout_ms)?;
                Self::Receive { group: of_group(group)?, timeout_ms, visibility_ms }
            }
            "ack" => {
                let Ack { group, msg_id, receipt } = arguments(payload)?;
                Self::Ack { group: of_group(group)?, msg_id, receipt }
            }
            "nack" => {
                let Nack { group, msg_id, receipt, requeue } = arguments(payload)?;
                Self::Nack { group: of_group(group)?, msg_id, receipt, requeue }
            }
            "subscribe" => {
                let Subscribe { subscriber, from } = arguments(payload)?;
                Self::Subscribe { subscriber: named(subscriber)?, from }
            }
            "next" => {
                let NextMessage { subscriber, timeout_ms } = arguments(payload)?;
                until(0, timeout_ms)?;
                Self::Next { subscriber: named(subscriber)?, timeout_ms }
            }
            "unsubscribe" => {
                let Subscribe { subscriber, .. } = arguments(payload)?;
                Self::Unsubscribe { subscriber: named(subscriber)? }
            }
            "tail" => {
                let Tail { after, limit, timeout_ms } = arguments(payload)?;
                until(0, timeout_ms)?;
                Self::Tail { after, limit: page_limit(limit)?, timeout_ms }
            }
            "status" => {
                let Status { group } = arguments(payload)?;
                Self::Status { group: of_group(group)? }
            }
            "dead_letters" => {
                let DeadLetters { group, after, limit } = arguments(payload)?;
                let after = after.as_deref().map(str::parse::<u64>).transpose();
                let after = after.map_err(|_| Failure::invalid("after", "after is not the `next` of a page"))?;
                Self::DeadLetters { group: of_group(group)?, after, limit: page_limit(limit)? }
            }
            "redrive" => {
                let Redrive { group, msg_ids } = arguments(payload)?;
                Self::Redrive { group: of_group(group)?, msg_ids }
            }
            other => return Err(unknown("channels", other)),
        })
    }
}

/// An id for a message that was given none.
#[must_use]
pub fn fresh_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The refusal of an operation on the queue of a channel that is where there are topics only.
#[must_use]
pub fn no_queue(channel: &str, place: &str, operation: &str) -> Failure {
    let message = format!(
        "the channel {channel:?} is {place}, which has no queue: {operation} needs a channel in the store or on a broker such as nats; here \
         there are publish and subscribe"
    );
    Failure::invalid("channel", message)
}

/// The refusal of a group of consumers of a channel whose place knows none.
#[must_use]
pub fn no_groups(channel: &str) -> Failure {
    let message = format!(
        "the channel {channel:?} has no groups of consumers where it is: they need a topic that is kept, as in the store, in memory and at \
         Kafka, NATS and Redis"
    );
    Failure::invalid("group", message)
}

/// The name of a group, which is that of a subscriber; an empty one is none.
fn of_group(group: Option<String>) -> Result<Option<String>, Failure> {
    let group = group.filter(|name| !name.is_empty());
    group.iter().try_for_each(|name| check_key("group", name))?;
    Ok(group)
}

fn given(payload: &Payload) -> Result<(Given, Option<u64>), Failure> {
    let send: Send = arguments(payload)?;
    check(&send)?;
    let Send { payload, msg_type, msg_id, delay_ms } = send;
    Ok((Given { msg_id, msg_type, payload }, delay_ms))
}

/// The name of a subscriber: given, or that of the actor that asks.
fn named(subscriber: Option<String>, sender: Option<&ActorId>) -> Result<String, Failure> {
    let name = subscriber.filter(|name| !name.is_empty()).or_else(|| sender.map(ToString::to_string));
    let name = name.ok_or_else(|| Failure::invalid("subscriber", "a request from outside must name the subscriber"))?;
    check_key("subscriber", &name)?;
    Ok(name)
}
