//! Channels: a queue, whose messages go to one consumer each, and a topic, whose messages go to each subscriber.
//!
//! | row | value |
//! | --- | --- |
//! | `q` number | a message of the queue |
//! | `d` number | a dead letter of the queue |
//! | `t` number | a message of the topic |
//! | `g` length, group, `q` or `d`, number | the same of a group of consumers of the topic |
//! | `s` name | the place of a subscriber: the number of the last message that it was given |
//! | `v` | up to which number those of the topic are reserved |

use plexspaces_actor::{Effects, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod groups;
mod operation;
mod queue;
mod topic;

use groups::{Groups, nothing};
pub use operation::{
    From, Given, MAX_DELIVERIES, MAX_PUBLISHED, MAX_QUEUED, MAX_SUBSCRIBERS, Operation, RETENTION_MS, fresh_id, no_groups, no_queue,
};
use queue::Queue;
use topic::Topic;

pub use crate::request::PAGE_BYTES;
use crate::request::{reply, unreadable, until};

/// Channels. There is one service for each, named as the channel.
pub const TYPE: SystemType =
    SystemType { name: "channels", many: true, knows_actors: false, make: |name| Box::new(Channel::new(name)), nature: operation::nature };

struct Channel {
    name: String,
    queue: Queue,
    topic: Topic,
    groups: Groups,
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
        Self { name: name.to_owned(), queue: Queue::default(), topic: Topic::default(), groups: Groups::default() }
    }
}

impl Channel {
    /// The queue of a group, or the channel's.
    fn queue_of(&mut self, group: Option<&str>) -> Option<&mut Queue> {
        match group {
            Some(group) => self.groups.known(group),
            None => Some(&mut self.queue),
        }
    }
}

impl SystemActor for Channel {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key.split_first() {
            Some((kind @ (b'q' | b'd'), number)) => self.queue.load(*kind, number, value),
            Some((b'g', key)) => self.groups.load(key, value),
            Some((kind @ (b't' | b's' | b'v'), key)) => self.topic.load(*kind, key, value),
            _ => Err(unreadable("row of a channel")),
        }
    }

    fn loaded(&mut self, _effects: &mut Effects<'_>) {
        self.groups.loaded(&self.topic);
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
            Operation::Receive { group, timeout_ms, visibility_ms } => {
                let until_ms = until(now_ms, timeout_ms)?;
                let message = match &group {
                    Some(group) => self.groups.receive(group, visibility_ms, &mut self.topic, &self.name, effects)?,
                    None => self.queue.receive(visibility_ms, effects),
                };
                match (message, group) {
                    (Some(message), _) => return reply(&json!({"message": message.given(&self.name)})),
                    (None, _) if timeout_ms == 0 => return Ok(Some(nothing())),
                    (None, Some(group)) => self.groups.wait(&group, request.ticket, until_ms, visibility_ms, &self.topic),
                    (None, None) => self.queue.wait(request.ticket, until_ms, visibility_ms),
                }
                Ok(None)
            }
            // A group for which nobody has received has no message that could be settled.
            Operation::Ack { group, msg_id, receipt } => {
                self.queue_of(group.as_deref()).map(|queue| queue.ack(&msg_id, receipt.as_deref(), effects)).transpose()?;
                // There may be room for the next.
                self.groups.serve(&mut self.topic, &self.name, effects);
                Ok(Some(Payload::empty()))
            }
            Operation::Nack { group, msg_id, receipt, requeue } => {
                let name = self.name.clone();
                let queue = self.queue_of(group.as_deref());
                queue.map(|queue| queue.nack(&msg_id, receipt.as_deref(), requeue, &name, effects)).transpose()?;
                Ok(Some(Payload::empty()))
            }
            Operation::Publish { message } => {
                let message = kept(message, now_ms);
                let id = message.id.clone();
                self.topic.publish(message, &self.name, effects);
                self.groups.serve(&mut self.topic, &self.name, effects);
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
                for ticket in self.groups.leave(&subscriber) {
                    effects.show(ticket, nothing());
                }
                Ok(Some(Payload::empty()))
            }
            Operation::Status { group } => {
                let none = Queue::default();
                let mut status = self.queue_of(group.as_deref()).map_or_else(|| none.status(), |queue| queue.status());
                status.extend(self.topic.status());
                status.extend(group.map(|group| ("behind".to_owned(), json!(self.topic.behind(&group)))));
                reply(&status)
            }
            Operation::DeadLetters { group, after, limit } => {
                let name = self.name.clone();
                let page = self.queue_of(group.as_deref()).map(|queue| queue.dead_letters(after, limit, &name));
                let (messages, next) = page.unwrap_or_default();
                reply(&json!({"messages": messages, "next": next}))
            }
            Operation::Redrive { group, msg_ids } => {
                let name = self.name.clone();
                let redriven = self.queue_of(group.as_deref()).map(|queue| queue.redrive(msg_ids.as_deref(), &name, effects));
                reply(&json!({"redriven": redriven.unwrap_or_default()}))
            }
        }
    }

    fn due_ms(&self) -> Option<u64> {
        [self.queue.due_ms(), self.topic.due_ms(), self.groups.due_ms()].into_iter().flatten().min()
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        self.queue.tick(&self.name, effects);
        self.topic.tick(&self.name, effects);
        self.groups.tick(&mut self.topic, &self.name, effects);
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
