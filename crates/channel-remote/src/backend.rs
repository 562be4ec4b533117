//! What a backend does, and how the operations of a channel reach it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::BrokerRequest;
pub(crate) use plexspaces_coord::channels::PAGE_BYTES;
use plexspaces_coord::channels::{From, Operation, no_groups};
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde::Serialize;
use serde_json::json;

use crate::groups;
use crate::message::{Message, Shown};

/// How much there is in a channel.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Status {
    pub(crate) ready: u64,
    pub(crate) delayed: u64,
    pub(crate) in_flight: u64,
    pub(crate) dead: u64,
    pub(crate) published: u64,
    pub(crate) subscribers: u64,
}

/// A broker's client. What returns without an error is acknowledged by the broker. Waits end at `until`.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    async fn send(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure>;

    /// The next message of the queue. `asked` is the actor that asks and its name for this request, where it has one.
    async fn receive(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure>;

    /// Whether messages have receipts, by which they can be settled.
    fn gives_receipts(&self) -> bool {
        false
    }

    /// Whether channels have topics, with subscribers and groups of consumers.
    fn has_topics(&self) -> bool {
        true
    }

    async fn ack(&self, channel: &ActorId, msg_id: &str, receipt: Option<&str>) -> Result<(), Failure>;

    async fn nack(&self, channel: &ActorId, msg_id: &str, receipt: Option<&str>, requeue: bool) -> Result<(), Failure>;

    async fn publish(&self, channel: &ActorId, message: &Message) -> Result<(), Failure>;

    async fn subscribe(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(), Failure>;

    /// The next message for a subscriber; asked again under the same key before anything else, the same one.
    async fn next(&self, channel: &ActorId, subscriber: &str, key: Option<&str>, until: Instant) -> Result<Option<Message>, Failure>;

    async fn unsubscribe(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure>;

    /// The position of a subscriber, if there is such a one.
    async fn place(&self, channel: &ActorId, subscriber: &str) -> Result<Option<u64>, Failure>;

    /// Moves a subscriber from one position to a later one, if it is still there.
    async fn advance(&self, channel: &ActorId, subscriber: &str, from: u64, to: u64) -> Result<(), Failure>;

    /// How many messages of the topic come after a position.
    async fn behind(&self, channel: &ActorId, position: u64) -> Result<u64, Failure>;

    /// Removes a queue with everything that is known of it.
    async fn drop_queue(&self, channel: &ActorId) -> Result<(), Failure>;

    /// Messages of the topic with their positions, and the position to go on from.
    async fn tail(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<(u64, Message)>, u64), Failure>;

    async fn status(&self, channel: &ActorId) -> Result<Status, Failure>;

    /// Dead letters with their numbers, which rise, and whether there are more.
    async fn dead_letters(&self, channel: &ActorId, after: Option<u64>, limit: usize) -> Result<(Vec<(u64, Message)>, bool), Failure>;

    async fn redrive(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure>;
}

/// Carries out one request.
pub(crate) async fn answer(backend: &dyn Backend, id: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
    let BrokerRequest { operation, payload, sender, idempotency_key: key } = request;
    let channel = id.key.as_str();
    let after = |timeout_ms| Instant::now() + Duration::from_millis(timeout_ms);
    let operation = Operation::read(operation, payload, sender)?;
    let group = operation.group().map(str::to_owned);
    if group.is_some() && !backend.has_topics() {
        return Err(no_groups(channel));
    }
    let (group, queue) = match &group {
        Some(group) => (Some(group.as_str()), &groups::queue_of(id, group)?),
        None => (None, id),
    };
    let reply = match operation {
        Operation::Send { message, delay_ms } => {
            let message = Message::new(message, sender, key);
            backend.send(id, &message, Duration::from_millis(delay_ms)).await?;
            json!({"msg_id": message.msg_id})
        }
        Operation::Publish { message } => {
            let message = Message::new(message, sender, key);
            backend.publish(id, &message).await?;
            json!({"msg_id": message.msg_id})
        }
        Operation::Receive { timeout_ms, visibility_ms, .. } => {
            let (visibility, until, asked) = (Duration::from_millis(visibility_ms), after(timeout_ms), sender.zip(key));
            let message = match group {
                Some(group) => groups::receive(backend, id, group, visibility, until, asked).await?,
                None => backend.receive(id, visibility, until, asked).await?,
            };
            return one(message.as_ref(), channel);
        }
        Operation::Ack { receipt: Some(_), .. } | Operation::Nack { receipt: Some(_), .. } if !backend.gives_receipts() => {
            return Err(Failure::invalid("receipt", format!("a message of the channel {channel:?} has no receipt, its broker keeps none")));
        }
        Operation::Ack { msg_id, receipt, .. } => {
            let settled = backend.ack(queue, &msg_id, receipt.as_deref()).await;
            return groups::settled(backend, id, group, settled).await.map(|()| Payload::empty());
        }
        Operation::Nack { msg_id, receipt, requeue, .. } => {
            let settled = backend.nack(queue, &msg_id, receipt.as_deref(), requeue).await;
            return groups::settled(backend, id, group, settled).await.map(|()| Payload::empty());
        }
        Operation::Subscribe { subscriber, from } => return backend.subscribe(id, &subscriber, from).await.map(|()| Payload::empty()),
        Operation::Unsubscribe { subscriber } => return groups::leave(backend, id, &subscriber).await.map(|()| Payload::empty()),
        Operation::Next { subscriber, timeout_ms } => {
            return one(backend.next(id, &subscriber, key, after(timeout_ms)).await?.as_ref(), channel);
        }
        Operation::Tail { after: position, limit, timeout_ms } => {
            let (messages, next) = backend.tail(id, position, limit, after(timeout_ms)).await?;
            return tail(&messages, next, channel);
        }
        Operation::Status { .. } => match group {
            Some(group) => json!(groups::status(backend, id, group).await?),
            None => json!(backend.status(id).await?),
        },
        Operation::DeadLetters { after, limit, .. } => {
            let (messages, more) = backend.dead_letters(queue, after, limit).await?;
            let next = messages.last().filter(|_| more).map(|(number, _)| number.to_string());
            return text(&Page { messages: messages.iter().map(|(_, message)| message.shown(channel)).collect(), next });
        }
        Operation::Redrive { msg_ids, .. } => json!({"redriven": backend.redrive(queue, msg_ids.as_deref()).await?}),
    };
    Ok(Payload::from_value(&reply))
}

#[derive(Serialize)]
struct One<'a> {
    message: Option<Shown<'a>>,
}

#[derive(Serialize)]
struct Page<'a, N> {
    messages: Vec<Shown<'a>>,
    next: N,
}

/// The reply with one message or none.
pub(crate) fn one(message: Option<&Message>, channel: &str) -> Result<Payload, Failure> {
    text(&One { message: message.map(|message| message.shown(channel)) })
}

/// The reply with messages of a topic.
pub(crate) fn tail(messages: &[(u64, Message)], next: u64, channel: &str) -> Result<Payload, Failure> {
    let placed = messages.iter().map(|(position, message)| message.shown(channel).at(*position));
    text(&Page { messages: placed.collect(), next })
}

fn text(reply: &impl Serialize) -> Result<Payload, Failure> {
    let unwritable = |error| Failure::new(Code::Internal, format!("a reply could not be written: {error}"));
    serde_json::to_string(reply).map(Payload::Json).map_err(unwritable)
}
