//! Channels: a queue, whose messages go to one consumer each, and a topic, whose messages go to each subscriber.
//!
//! | row | value |
//! | --- | --- |
//! | `q` number | a message of the queue |
//! | `d` number | a dead letter of the queue |
//! | `t` number | a message of the topic |
//! | `s` name | the place of a subscriber: the number of the last message that it was given |
//! | `v` | up to which number those of the topic are reserved |

use plexspaces_actor::{Effects, Nature, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Code, Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

mod queue;
mod topic;

use queue::Queue;
use topic::Topic;

use crate::request::{List, arguments, check_key, expiry, reply, unknown, unreadable, until};

/// Channels. There is one service for each, named as the channel.
pub const TYPE: SystemType = SystemType { name: "channels", many: true, make: |name| Box::new(Channel::new(name)), nature };

/// Bytes of one message's payload.
const MAX_BYTES: usize = 1 << 20;

/// For how long a message that was received is hidden from others, unless the request says otherwise.
const VISIBILITY_MS: u64 = 30_000;

struct Channel {
    name: String,
    queue: Queue,
    topic: Topic,
}

/// A message as it is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Message {
    id: String,
    msg_type: String,
    /// JSON text.
    payload: String,
    /// Milliseconds since the Unix epoch when it came.
    at_ms: u64,
    delivery_count: u32,
    /// Until when nobody is given it.
    hidden_until_ms: Option<u64>,
}

impl Message {
    /// What a consumer shows to say that it means this delivery of the message and not a later one. It holds as long as the message is hidden
    /// for that consumer.
    fn receipt(&self) -> Option<String> {
        self.hidden_until_ms.filter(|_| self.delivery_count > 0).map(|until_ms| format!("{}-{until_ms}", self.delivery_count))
    }

    /// As a consumer of the queue is given it.
    fn given(&self, channel: &str) -> Value {
        let mut given = self.shown(channel);
        if let (Value::Object(members), Some(receipt)) = (&mut given, self.receipt()) {
            members.insert("receipt".to_owned(), receipt.into());
        }
        given
    }

    fn shown(&self, channel: &str) -> Value {
        let payload: Value = serde_json::from_str(&self.payload).unwrap_or_default();
        json!({
            "msg_id": self.id,
            "msg_type": self.msg_type,
            "payload": payload,
            "channel": channel,
            "timestamp": self.at_ms,
            "delivery_count": self.delivery_count,
        })
    }
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
    timeout_ms: u64,
    #[serde(default)]
    visibility_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    msg_id: String,
    #[serde(default)]
    receipt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nack {
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

/// Where a new subscriber begins.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    Earliest,
    Latest,
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
struct Redrive {
    #[serde(default)]
    msg_ids: Option<Vec<String>>,
}

fn nature(operation: &str, payload: &Payload) -> Result<Nature, Failure> {
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
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("a payload of {bytes} bytes is larger than the limit of {MAX_BYTES} bytes");
    Err(Failure::new(Code::PayloadTooLarge, message).with_field("payload"))
}

impl Channel {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), queue: Queue::default(), topic: Topic::default() }
    }
}

impl SystemActor for Channel {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.split_first() {
            Some((kind @ (b'q' | b'd'), number)) => self.queue.load(*kind, number, value),
            Some((kind @ (b't' | b's' | b'v'), key)) => self.topic.load(*kind, key, value),
            _ => Err(unreadable("row of a channel")),
        }
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let now_ms = effects.now_ms();
        match request.operation {
            "send" => {
                let send: Send = arguments(request.payload)?;
                check(&send)?;
                let delay_ms = send.delay_ms.unwrap_or(0);
                let message = message(send, now_ms);
                let id = message.id.clone();
                self.queue.send(message, delay_ms, &self.name, effects)?;
                reply(&json!({"msg_id": id}))
            }
            "receive" => {
                let Receive { timeout_ms, visibility_ms } = arguments(request.payload)?;
                let visibility_ms = visibility_ms.unwrap_or(VISIBILITY_MS);
                expiry(now_ms, "visibility_ms", Some(visibility_ms))?;
                let until_ms = until(now_ms, timeout_ms)?;
                match self.queue.receive(visibility_ms, effects) {
                    Some(message) => reply(&json!({"message": message.given(&self.name)})),
                    None if timeout_ms == 0 => reply(&json!({"message": null})),
                    None => {
                        self.queue.wait(request.ticket, until_ms, visibility_ms);
                        Ok(None)
                    }
                }
            }
            "ack" => {
                let Ack { msg_id, receipt } = arguments(request.payload)?;
                self.queue.ack(&msg_id, receipt.as_deref(), effects)?;
                Ok(Some(Payload::empty()))
            }
            "nack" => {
                let Nack { msg_id, receipt, requeue } = arguments(request.payload)?;
                self.queue.nack(&msg_id, receipt.as_deref(), requeue, &self.name, effects)?;
                Ok(Some(Payload::empty()))
            }
            "publish" => {
                let send: Send = arguments(request.payload)?;
                check(&send)?;
                if send.delay_ms.is_some() {
                    return Err(Failure::invalid("delay_ms", "only what is sent to the queue can be delayed"));
                }
                let message = message(send, now_ms);
                let id = message.id.clone();
                self.topic.publish(message, &self.name, effects);
                reply(&json!({"msg_id": id}))
            }
            "subscribe" => {
                let Subscribe { subscriber, from } = arguments(request.payload)?;
                self.topic.subscribe(&named(subscriber, request)?, from, effects)?;
                Ok(Some(Payload::empty()))
            }
            "next" => {
                let NextMessage { subscriber, timeout_ms } = arguments(request.payload)?;
                let (subscriber, until_ms) = (named(subscriber, request)?, until(now_ms, timeout_ms)?);
                match self.topic.next(&subscriber, effects)? {
                    Some(message) => reply(&json!({"message": message.shown(&self.name)})),
                    None if timeout_ms == 0 => reply(&json!({"message": null})),
                    None => {
                        self.topic.wait_as(request.ticket, until_ms, subscriber);
                        Ok(None)
                    }
                }
            }
            "tail" => {
                let Tail { after, limit, timeout_ms } = arguments(request.payload)?;
                let until_ms = until(now_ms, timeout_ms)?;
                let after = after.unwrap_or_else(|| self.topic.last_number());
                let (messages, next) = self.topic.tail(after, limit, &self.name)?;
                if messages.is_empty() && timeout_ms > 0 {
                    self.topic.wait_after(request.ticket, until_ms, after);
                    return Ok(None);
                }
                reply(&json!({"messages": messages, "next": next}))
            }
            "unsubscribe" => {
                let Subscribe { subscriber, .. } = arguments(request.payload)?;
                self.topic.unsubscribe(&named(subscriber, request)?, effects);
                Ok(Some(Payload::empty()))
            }
            "status" => {
                let mut status = self.queue.status();
                status.extend(self.topic.status());
                reply(&status)
            }
            "dead_letters" => {
                let list: List = arguments(request.payload)?;
                let (messages, next) = self.queue.dead_letters(&list, &self.name)?;
                reply(&json!({"messages": messages, "next": next}))
            }
            "redrive" => {
                let Redrive { msg_ids } = arguments(request.payload)?;
                let redriven = self.queue.redrive(msg_ids.as_deref(), &self.name, effects);
                reply(&json!({"redriven": redriven}))
            }
            other => Err(unknown("channels", other)),
        }
    }

    fn due_ms(&self) -> Option<u64> {
        [self.queue.due_ms(), self.topic.due_ms()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        self.queue.tick(&self.name, effects);
        self.topic.tick(effects);
    }
}

fn message(send: Send, now_ms: u64) -> Message {
    let Send { payload, msg_type, msg_id, .. } = send;
    Message {
        id: msg_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
        msg_type,
        payload: payload.get().to_owned(),
        at_ms: now_ms,
        delivery_count: 0,
        hidden_until_ms: None,
    }
}

/// The name of a subscriber: given, or that of the actor that asks.
fn named(subscriber: Option<String>, request: &SystemRequest<'_>) -> Result<String, Failure> {
    let name = subscriber.filter(|name| !name.is_empty()).or_else(|| request.sender.map(ToString::to_string));
    let name = name.ok_or_else(|| Failure::invalid("subscriber", "a request from outside must name the subscriber"))?;
    check_key("subscriber", &name)?;
    Ok(name)
}
