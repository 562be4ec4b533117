//! Channels: a queue, whose messages go to one consumer each, and a topic, whose messages go to each subscriber.
//!
//! | row | value |
//! | --- | --- |
//! | `q` number | a message of the queue |
//! | `d` number | a dead letter of the queue |
//! | `t` number | a message of the topic |
//! | `s` name | the place of a subscriber: the number of the last message that it was given |
//! | `v` | up to which number those of the topic are reserved |

use plexspaces_actor::{Effects, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod operation;
mod queue;
mod topic;

pub use operation::{From, Given, MAX_DELIVERIES, MAX_PUBLISHED, MAX_QUEUED, MAX_SUBSCRIBERS, Operation, RETENTION_MS, fresh_id, no_queue};
use queue::Queue;
use topic::Topic;

pub use crate::request::PAGE_BYTES;
use crate::request::{reply, unreadable, until};

/// Channels. There is one service for each, named as the channel.
pub const TYPE: SystemType =
    SystemType { name: "channels", many: true, make: |name| Box::new(Channel::new(name)), nature: operation::nature };

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

    fn bytes(&self) -> usize {
        self.id.len() + self.msg_type.len() + self.payload.len()
    }

    fn shown(&self, channel: &str) -> Value {
        // It was read when it was given to the channel.
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
        match Operation::read(request.operation, request.payload, request.sender)? {
            Operation::Send { message, delay_ms } => {
                let message = kept(message, now_ms);
                let id = message.id.clone();
                self.queue.send(message, delay_ms, &self.name, effects)?;
                reply(&json!({"msg_id": id}))
            }
            Operation::Receive { timeout_ms, visibility_ms } => match self.queue.receive(visibility_ms, effects) {
                Some(message) => reply(&json!({"message": message.given(&self.name)})),
                None if timeout_ms == 0 => reply(&json!({"message": null})),
                None => {
                    self.queue.wait(request.ticket, until(now_ms, timeout_ms)?, visibility_ms);
                    Ok(None)
                }
            },
            Operation::Ack { msg_id, receipt } => {
                self.queue.ack(&msg_id, receipt.as_deref(), effects)?;
                Ok(Some(Payload::empty()))
            }
            Operation::Nack { msg_id, receipt, requeue } => {
                self.queue.nack(&msg_id, receipt.as_deref(), requeue, &self.name, effects)?;
                Ok(Some(Payload::empty()))
            }
            Operation::Publish { message } => {
                let message = kept(message, now_ms);
                let id = message.id.clone();
                self.topic.publish(message, &self.name, effects);
                reply(&json!({"msg_id": id}))
            }
            Operation::Subscribe { subscriber, from } => {
                self.topic.subscribe(&subscriber, from, effects)?;
                Ok(Some(Payload::empty()))
            }
            Operation::Next { subscriber, timeout_ms } => match self.topic.next(&subscriber, effects)? {
                Some(message) => reply(&json!({"message": message.shown(&self.name)})),
                None if timeout_ms == 0 => reply(&json!({"message": null})),
                None => {
                    self.topic.wait_as(request.ticket, until(now_ms, timeout_ms)?, subscriber);
                    Ok(None)
                }
            },
            Operation::Tail { after, limit, timeout_ms } => {
                let after = after.unwrap_or_else(|| self.topic.last_number());
                let (messages, next) = self.topic.tail(after, limit, &self.name);
                if messages.is_empty() && timeout_ms > 0 {
                    self.topic.wait_after(request.ticket, until(now_ms, timeout_ms)?, after);
                    return Ok(None);
                }
                reply(&json!({"messages": messages, "next": next}))
            }
            Operation::Unsubscribe { subscriber } => {
                self.topic.unsubscribe(&subscriber, effects);
                Ok(Some(Payload::empty()))
            }
            Operation::Status => {
                let mut status = self.queue.status();
                status.extend(self.topic.status());
                reply(&status)
            }
            Operation::DeadLetters { after, limit } => {
                let (messages, next) = self.queue.dead_letters(after, limit, &self.name);
                reply(&json!({"messages": messages, "next": next}))
            }
            Operation::Redrive { msg_ids } => {
                let redriven = self.queue.redrive(msg_ids.as_deref(), &self.name, effects);
                reply(&json!({"redriven": redriven}))
            }
        }
    }

    fn due_ms(&self) -> Option<u64> {
        [self.queue.due_ms(), self.topic.due_ms()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        self.queue.tick(&self.name, effects);
        self.topic.tick(&self.name, effects);
    }
}

fn kept(message: Given, now_ms: u64) -> Message {
    let Given { payload, msg_type, msg_id } = message;
    Message {
        id: msg_id.unwrap_or_else(fresh_id),
        msg_type,
        payload: payload.get().to_owned(),
        at_ms: now_ms,
        delivery_count: 0,
        hidden_until_ms: None,
    }
}
