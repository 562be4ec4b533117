//! Channels: queues, whose messages go to one consumer each, and topics, whose messages go to each subscriber.

use std::collections::BTreeMap;
use std::time::Duration;

use plexspaces_types::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, ms, wait};
use crate::{ActorContext, Message};

/// A channel of the actor's namespace. A queue's messages are delivered at least once, in order.
#[derive(Clone, Copy)]
pub struct Channel<'a>(Service<'a>);

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChannelMessage {
    /// What tells it from others.
    pub msg_id: String,
    /// What it is.
    #[serde(default)]
    pub msg_type: String,
    /// Its body.
    #[serde(default)]
    pub payload: Value,
    /// The channel's name.
    pub channel: String,
    /// Milliseconds since the Unix epoch when it was sent.
    pub timestamp: u64,
    /// How often it was given out.
    #[serde(default)]
    pub delivery_count: u64,
    /// What tells this delivery of it from others, where the channel's place knows that.
    #[serde(default)]
    pub receipt: Option<String>,
}

/// How a message is sent, beside what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// One that waits in the queue under this id is not sent again. Made if it is not given.
    pub msg_id: Option<String>,
    /// How long it is not given out.
    pub delay: Option<Duration>,
}

/// From where a new subscriber is given messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// From the oldest that is kept.
    #[default]
    Earliest,
    /// From now on.
    Latest,
}

/// A place in a channel's topic. It lasts: whoever subscribes again goes on where it was.
#[derive(Clone)]
pub struct Subscriber<'a> {
    service: Service<'a>,
    subscriber: Option<String>,
}

impl ActorContext {
    /// A channel.
    #[must_use]
    pub fn channel<'a>(&'a self, name: &'a str) -> Channel<'a> {
        Channel(Service { ctx: self, service: "channels", name })
    }
}

impl<'a> Channel<'a> {
    /// Puts a message into the queue and gives its id. `overloaded` when the queue is full; not in a durable actor, where it leaves with the
    /// turn.
    pub async fn send(&self, message: Message) -> Result<String, Failure> {
        self.send_with(message, Sending::default()).await
    }

    /// The same, later or under an id.
    pub async fn send_with(&self, message: Message, sending: Sending) -> Result<String, Failure> {
        self.put("send", message, sending).await
    }

    /// Takes the next message of the queue, or `None` when none has come in `timeout`. Unless it is acknowledged within `visibility`, 30 s if
    /// nothing is said, it is given out again.
    pub async fn receive(&self, timeout: Duration, visibility: Option<Duration>) -> Result<Option<ChannelMessage>, Failure> {
        self.0.field("receive", json!({"timeout_ms": wait(timeout), "visibility_ms": visibility.map(ms)}), "message").await
    }

    /// The message is done: it will not be given out again. `conflict` once its time is over, where the message has a receipt: then it may be
    /// another's.
    pub async fn ack(&self, message: &ChannelMessage) -> Result<(), Failure> {
        self.0.ask("ack", json!({"msg_id": message.msg_id, "receipt": message.receipt})).await.map(drop)
    }

    /// The message is not done: it is given out again at once, or else becomes a dead letter of the channel.
    pub async fn nack(&self, message: &ChannelMessage, requeue: bool) -> Result<(), Failure> {
        self.0.ask("nack", json!({"msg_id": message.msg_id, "receipt": message.receipt, "requeue": requeue})).await.map(drop)
    }

    /// How much there is: `ready`, `delayed`, `in_flight` and `dead` in the queue, `published` and `subscribers` of the topic.
    pub async fn status(&self) -> Result<BTreeMap<String, u64>, Failure> {
        self.0.read("status", Some(self.0.ask("status", json!({})).await?))
    }

    /// Sends a message to all who subscribe, and gives its id.
    pub async fn publish(&self, message: Message) -> Result<String, Failure> {
        self.put("publish", message, Sending::default()).await
    }

    /// Subscribes this actor. One that has subscribed before goes on where it was.
    pub async fn subscribe(&self, start: Start) -> Result<Subscriber<'a>, Failure> {
        self.subscribe_at(None, start).await
    }

    /// The same for a place with a name, which is not this actor's own.
    pub async fn subscribe_as(&self, subscriber: &str, start: Start) -> Result<Subscriber<'a>, Failure> {
        self.subscribe_at(Some(subscriber.to_owned()), start).await
    }

    async fn subscribe_at(&self, subscriber: Option<String>, start: Start) -> Result<Subscriber<'a>, Failure> {
        let from = match start {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        };
        self.0.ask("subscribe", json!({"subscriber": subscriber, "from": from})).await?;
        Ok(Subscriber { service: self.0, subscriber })
    }

    async fn put(&self, operation: &str, message: Message, sending: Sending) -> Result<String, Failure> {
        let payload: Value = if message.payload.is_empty() {
            json!({})
        } else {
            let invalid = |error| Failure::invalid("payload", format!("the payload is not JSON: {error}"));
            serde_json::from_slice(&message.payload).map_err(invalid)?
        };
        // Made here: the request of a durable actor leaves with its turn, and has no reply.
        let msg_id = match sending.msg_id {
            Some(given) => given,
            None => self.0.ctx.fresh_id().await,
        };
        let msg_type = Some(message.msg_type).filter(|msg_type| !msg_type.is_empty());
        let payload = if payload.is_null() { json!({}) } else { payload };
        let arguments = json!({"payload": payload, "msg_type": msg_type, "msg_id": msg_id, "delay_ms": sending.delay.map(ms)});
        self.0.ask(operation, arguments).await?;
        Ok(msg_id)
    }
}

impl Subscriber<'_> {
    /// The next message, or `None` when none has come in `timeout`.
    pub async fn next(&self, timeout: Duration) -> Result<Option<ChannelMessage>, Failure> {
        self.service.field("next", json!({"subscriber": self.subscriber, "timeout_ms": wait(timeout)}), "message").await
    }

    /// The next message, or `None` when none has come in `timeout`. Unless it is acknowledged within `visibility`, 30 s if nothing is said, it
    /// is given out again: to this consumer or to another that receives at the same place. Actors that subscribe under one name are a group,
    /// which shares the messages. For channels in the store or in memory.
    pub async fn receive(&self, timeout: Duration, visibility: Option<Duration>) -> Result<Option<ChannelMessage>, Failure> {
        let arguments = json!({"group": self.group(), "timeout_ms": wait(timeout), "visibility_ms": visibility.map(ms)});
        self.service.field("receive", arguments, "message").await
    }

    /// A message of [`Subscriber::receive`] is done. `conflict` once its time is over: then it may be another's.
    pub async fn ack(&self, message: &ChannelMessage) -> Result<(), Failure> {
        let arguments = json!({"group": self.group(), "msg_id": message.msg_id, "receipt": message.receipt});
        self.service.ask("ack", arguments).await.map(drop)
    }

    /// A message of [`Subscriber::receive`] is not done: it is given out again at once, or else becomes a dead letter of the group.
    pub async fn nack(&self, message: &ChannelMessage, requeue: bool) -> Result<(), Failure> {
        let arguments = json!({"group": self.group(), "msg_id": message.msg_id, "receipt": message.receipt, "requeue": requeue});
        self.service.ask("nack", arguments).await.map(drop)
    }

    fn group(&self) -> String {
        self.subscriber.clone().unwrap_or_else(|| self.service.ctx.self_id().to_string())
    }

    /// Gives up the place.
    pub async fn unsubscribe(&self) -> Result<(), Failure> {
        self.service.ask("unsubscribe", json!({"subscriber": self.subscriber})).await.map(drop)
    }
}
