//! The queue of a channel at JetStream.

use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, Info, PullConsumer, pull};
use async_nats::jetstream::context::DeleteStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::{HeaderMap, Request, StatusCode, Subject, header};
use futures::{FutureExt as _, StreamExt as _};
use plexspaces_coord::channels::{MAX_DELIVERIES, MAX_QUEUED};
use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::names::{stream, subject, token};
use super::room::MAX_FREE;
use super::{Nats, PATIENCE, Put, SLICE};
use crate::DUPLICATE_WINDOW_SECS;
use crate::backend::{PAGE_BYTES, Status};
use crate::message::{Message, now_ms};

/// The consumers of the queue.
const WORKERS: &str = "workers";
const LATER: &str = "later";

/// When a message is given out again whose node says nothing more of it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How often the server is told that a message is still in hand.
const IN_HAND: Duration = Duration::from_secs(10);

/// The longest time for which a message can be hidden: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// After how long without an answer the server is asked whether it is there.
const SILENCE: Duration = Duration::from_millis(500);

/// Pulls that may wait at the server for one queue.
const MAX_WAITING: i64 = 10_000;

/// For how long delayed messages of a channel are looked after when nobody receives from it any more.
const TENDED: Duration = Duration::from_secs(60);

/// Delayed messages that are looked at together.
const AT_ONCE: usize = 100;

/// When a delayed message is due, in milliseconds since the Unix epoch.
const DUE: &str = "Plexspaces-Due";

/// How often a dead letter was given out, as far as the node that buried it knew.
const DELIVERED: &str = "Plexspaces-Delivered";

/// A message that this node has given out.
pub(super) struct Hand {
    reply: Subject,
    number: u64,
    delivered: u64,
    /// What tells this hand from a later one.
    serial: u128,
    timer: AbortHandle,
}

/// What a durable actor has received last: under which key, and by what it is settled.
#[derive(Serialize, Deserialize)]
struct Received {
    key: String,
    reply: String,
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl Nats {
    async fn queue(&self, channel: &ActorId) -> Result<(String, Stream<()>), Failure> {
        let name = stream('Q', channel);
        let config = || Config {
            name: name.clone(),
            subjects: ["ready.*", "later.*", "dead.*"].map(|rest| subject(&name, rest)).to_vec(),
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_messages: i64::try_from(MAX_QUEUED).unwrap_or(i64::MAX).saturating_add_unsigned(MAX_FREE),
            max_messages_per_subject: 1,
            duplicate_window: Duration::from_secs(DUPLICATE_WINDOW_SECS),
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        self.connected()?;
        // Who makes a consumer beside another is told that it is there before it answers anybody.
        let is_known = self.0.known.lock().contains(&name);
        let late = |_| self.unavailable("its queues are not made in time");
        let _turn = if is_known { None } else { Some(tokio::time::timeout(PATIENCE, self.0.making.lock()).await.map_err(late)?) };
        if self.ensure(config, &name).await? {
            for (consumer, filter) in [(WORKERS, "ready.*"), (LATER, "later.*")] {
                let config = pull::Config {
                    durable_name: Some(consumer.to_owned()),
                    filter_subject: subject(&name, filter),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: ACK_WAIT,
                    max_deliver: -1,
                    max_ack_pending: i64::try_from(MAX_QUEUED).unwrap_or(i64::MAX),
                    max_waiting: MAX_WAITING,
                    ..pull::Config::default()
                };
                self.0.jetstream.create_consumer_on_stream(config, name.as_str()).await.map_err(|error| self.unavailable(error))?;
            }
            self.now_known(&name);
        }
        let handle = self.0.jetstream.get_stream_no_info(&name).await.map_err(|error| self.unavailable(error))?;
        Ok((name, handle))
    }

    /// Removes the streams of a queue, and what this node has in hand of it.
    pub(super) async fn remove_queue(&self, channel: &ActorId) -> Result<(), Failure> {
        self.connected()?;
        for name in ['Q', 'R'].map(|kind| stream(kind, channel)) {
            self.0.known.lock().remove(&name);
            self.0.rooms.lock().remove(&name);
            self.0.hands.lock().retain(|(of, _), _| *of != name);
            match self.0.jetstream.delete_stream(&name).await {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), DeleteStreamErrorKind::JetStream(error) if error.code() == 404) => {}
                Err(error) => return Err(self.unavailable(error)),
            }
        }
        Ok(())
    }

    pub(super) async fn put_into_queue(&self, channel: &ActorId, message: &Message, delay: Duration) -> Result<(), Failure> {
        let (name, handle) = self.queue(channel).await?;
        let id = token(&message.msg_id);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, format!("s:{id}"));
        let has_room = self.has_room(&name, &handle).await?;
        if !has_room {
            // What no message of the stream is: the server takes only what it knows, as it does where an answer was lost.
            headers.insert(header::NATS_EXPECTED_LAST_MESSAGE_ID, "none");
        }
        let kind = if delay.is_zero() { "ready" } else { "later" };
        if !delay.is_zero() {
            headers.insert(DUE, now_ms().saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).to_string());
        }
        match self.put(&name, subject(&name, &format!("{kind}.{id}")), headers, message.encode()?.into()).await {
            Err(failure) if !has_room && failure.code == Code::Conflict => {
                if self.waits(&name, &handle, &id).await? {
                    return Ok(());
                }
                let text = format!("the queue of channel {:?} is full at NATS ({})", channel.key.as_str(), self.0.place);
                Err(Failure::new(Code::Overloaded, text))
            }
            put => put.map(drop),
        }
    }

    async fn received(&self, channel: &ActorId) -> Result<(String, Stream<()>), Failure> {
        let name = stream('R', channel);
        let config = || Config {
            name: name.clone(),
            subjects: vec![subject(&name, "*")],
            max_messages_per_subject: 1,
            num_replicas: 1,
            ..Config::default()
        };
        if self.ensure(config, &name).await? {
            self.now_known(&name);
        }
        let handle = self.0.jetstream.get_stream_no_info(&name).await.map_err(|error| self.unavailable(error))?;
        Ok((name, handle))
    }

    /// An actor that asks again under the same key is given what it was given, as long as that is not settled.
    pub(super) async fn take_under_key(
        &self,
        channel: &ActorId,
        visibility: Duration,
        until: Instant,
        asked: Option<(&ActorId, &str)>,
    ) -> Result<Option<Message>, Failure> {
        let Some((sender, key)) = asked else { return self.take_from_queue(channel, visibility, until).await };
        let (name, handle) = self.received(channel).await?;
        let place = subject(&name, &token(&sender.to_string()));
        match handle.get_last_raw_message_by_subject(&place).await {
            Ok(record) => {
                let last: Option<Received> = serde_json::from_slice(&record.payload).ok();
                if let Some(last) = last.filter(|last| last.key == key)
                    && let Some(message) = self.take_again(channel, &last, visibility).await?
                {
                    return Ok(Some(message));
                }
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(self.lost(&name, error)),
        }
        let Some(message) = self.take_from_queue(channel, visibility, until).await? else { return Ok(None) };
        let reply = self.0.hands.lock().get(&(stream('Q', channel), message.msg_id.clone())).map(|hand| hand.reply.to_string());
        if let Some(reply) = reply {
            let record = serde_json::to_vec(&Received { key: key.to_owned(), reply });
            let record = record.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
            self.put(&name, place, HeaderMap::new(), record.into()).await?;
        }
        Ok(Some(message))
    }

    async fn take_again(&self, channel: &ActorId, last: &Received, visibility: Duration) -> Result<Option<Message>, Failure> {
        let (name, handle) = self.queue(channel).await?;
        let Some((number, delivered)) = numbers(&last.reply) else { return Ok(None) };
        match handle.get_raw_message(number).await {
            Ok(found) => {
                let message = Message::decode(&found.payload, delivered)?;
                self.hold(&name, &message, last.reply.as_str().into(), number, visibility, Instant::now());
                Ok(Some(message))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.lost(&name, error)),
        }
    }

    async fn take_from_queue(&self, channel: &ActorId, visibility: Duration, until: Instant) -> Result<Option<Message>, Failure> {
        let (name, handle) = self.queue(channel).await?;
        self.tend(&name);
        let mut pulled = self.pull(&name, &handle, Duration::ZERO).await?;
        loop {
            if let Some(message) = pulled.take() {
                let begun = Instant::now();
                let Some(given) = self.give_out(&name, &handle, message, visibility, begun).await? else {
                    pulled = self.pull(&name, &handle, Duration::ZERO).await?;
                    continue;
                };
                return Ok(Some(given));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            pulled = self.pull(&name, &handle, left.min(SLICE)).await?;
            self.tend(&name);
        }
    }

    /// A message that comes within a time, or that is there now where the time is none.
    ///
    /// A message comes under its own subject, so a request of the client does not find it; the subscription ends with the future, and with it
    /// the wait at the server. Servers (2.9) forget to answer one of two who ask in the same moment without waiting, and one whose time ends as
    /// a message comes back; where there is silence, it is seen whether the server and the queue are there.
    async fn pull(&self, name: &str, handle: &Stream<()>, wait: Duration) -> Result<Option<async_nats::Message>, Failure> {
        self.connected()?;
        let client = &self.0.client;
        let body = match wait.as_nanos() {
            0 => r#"{"batch":1,"no_wait":true}"#.to_owned(),
            wait => format!(r#"{{"batch":1,"expires":{wait}}}"#),
        };
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| self.unavailable(error))?;
        let asked = client.publish_with_reply(format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{WORKERS}"), inbox, body.into()).await;
        asked.map_err(|error| self.unavailable(error))?;
        let answer = match tokio::time::timeout(wait + SILENCE, answers.next()).await {
            Ok(answer) => answer,
            Err(_) => {
                handle.consumer_info(WORKERS).await.map_err(|error| self.lost(name, error))?;
                answers.next().now_or_never().flatten()
            }
        };
        let Some(message) = answer else { return Ok(None) };
        match message.status {
            None | Some(StatusCode::OK) => Ok(Some(message)),
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => Ok(None),
            Some(status) => Err(self.pull_refused(name, format!("{status} {}", message.description.unwrap_or_default()))),
        }
    }

    fn pull_refused(&self, name: &str, why: String) -> Failure {
        if why.contains("Exceeded") {
            return Failure::new(Code::Overloaded, format!("NATS ({}) lets no more wait for the channel: {why}", self.0.place));
        }
        self.lost(name, why)
    }

    /// Takes a pulled message in hand; `None` for one that was given out too often.
    async fn give_out(
        &self,
        name: &str,
        handle: &Stream<()>,
        pulled: async_nats::Message,
        visibility: Duration,
        begun: Instant,
    ) -> Result<Option<Message>, Failure> {
        let Some(reply) = pulled.reply.clone() else { return Ok(None) };
        let Some((number, delivered)) = numbers(&reply) else { return Ok(None) };
        if delivered > u64::from(MAX_DELIVERIES) {
            match self.bury(name, handle, number, Some((&reply, delivered - 1))).await {
                // There is no room for dead letters, so it stays in the queue.
                Err(failure) if failure.code == Code::Overloaded => {}
                buried => return buried.map(|()| None),
            }
        }
        let message = Message::decode(&pulled.payload, delivered)?;
        self.hold(name, &message, reply, number, visibility, begun);
        Ok(Some(message))
    }

    fn hold(&self, name: &str, message: &Message, reply: Subject, number: u64, visibility: Duration, begun: Instant) {
        let (serial, delivered) = (rand::random(), message.delivery_count);
        let key = (name.to_owned(), message.msg_id.clone());
        let until = begun.checked_add(visibility).unwrap_or(begun + LONGEST);
        // Under the lock, so that the timer finds the hand.
        let mut hands = self.0.hands.lock();
        let timer = tokio::spawn(self.clone().keep(key.clone(), reply.clone(), serial, until)).abort_handle();
        hands.insert(key, Hand { reply, number, delivered, serial, timer });
    }

    /// Sees to it that a message comes back when its time is over, and not before.
    async fn keep(self, key: (String, String), reply: Subject, serial: u128, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left <= IN_HAND {
                tokio::time::sleep(left).await;
                break;
            }
            tokio::time::sleep(IN_HAND).await;
            let _ = self.0.client.publish(reply.clone(), AckKind::Progress.into()).await;
        }
        let hand = {
            let mut hands = self.0.hands.lock();
            if hands.get(&key).is_none_or(|hand| hand.serial != serial) {
                return;
            }
            hands.remove(&key)
        };
        // What drops the hand ends this task, so it comes last.
        let _ = self.0.client.publish(reply, AckKind::Nak(None).into()).await;
        drop(hand);
    }

    fn take_hand(&self, name: &str, msg_id: &str) -> Option<Hand> {
        self.0.hands.lock().remove(&(name.to_owned(), msg_id.to_owned()))
    }

    /// Tells the server what became of a message, and waits until it has heard it.
    async fn settle(&self, name: &str, reply: &Subject, kind: AckKind) -> Result<(), Failure> {
        self.connected()?;
        let request = Request::new().payload(kind.into()).timeout(Some(PATIENCE));
        let heard = self.0.client.send_request(reply.clone(), request).await;
        heard.map(drop).map_err(|error| self.lost(name, error))
    }

    pub(super) async fn done(&self, channel: &ActorId, msg_id: &str) -> Result<(), Failure> {
        let name = stream('Q', channel);
        if let Some(hand) = self.take_hand(&name, msg_id) {
            return self.settle(&name, &hand.reply, AckKind::Ack).await;
        }
        let (name, handle) = self.queue(channel).await?;
        match self.given_out(&name, &handle, msg_id).await? {
            Some(number) => self.remove(&name, &handle, number).await,
            None => Ok(()),
        }
    }

    pub(super) async fn not_done(&self, channel: &ActorId, msg_id: &str, requeue: bool) -> Result<(), Failure> {
        let (name, handle) = self.queue(channel).await?;
        let hand = self.take_hand(&name, msg_id);
        let number = match &hand {
            Some(hand) => Some(hand.number),
            None => self.given_out(&name, &handle, msg_id).await?,
        };
        let Some(number) = number else { return Ok(()) };
        let known = hand.as_ref().map(|hand| (&hand.reply, hand.delivered));
        if !requeue || known.is_some_and(|(_, delivered)| delivered >= u64::from(MAX_DELIVERIES)) {
            return self.bury(&name, &handle, number, known).await;
        }
        match known {
            Some((reply, _)) => self.settle(&name, reply, AckKind::Nak(None)).await,
            // Another node has given it out, or this one before it was started anew: it comes back when the server misses it.
            None => Ok(()),
        }
    }

    /// The number of a message that waits for its acknowledgement though this node has not given it out; none for one that is not there.
    async fn given_out(&self, name: &str, handle: &Stream<()>, msg_id: &str) -> Result<Option<u64>, Failure> {
        let number = match handle.get_last_raw_message_by_subject(&subject(name, &format!("ready.{}", token(msg_id)))).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(self.lost(name, error)),
        };
        let info = self.look_at(name, handle, WORKERS).await?;
        if number <= info.delivered.stream_sequence {
            return Ok(Some(number));
        }
        Err(Failure::new(Code::Conflict, format!("the message {msg_id:?} was not given to anybody yet")).with_field("msg_id"))
    }

    async fn look_at(&self, name: &str, handle: &Stream<()>, consumer: &str) -> Result<Info, Failure> {
        handle.consumer_info(consumer).await.map_err(|error| self.lost(name, error))
    }

    async fn remove(&self, name: &str, handle: &Stream<()>, number: u64) -> Result<(), Failure> {
        match handle.delete_message(number).await {
            Ok(_) => Ok(()),
            // Somebody else was first.
            Err(error) if error.to_string().contains("no message found") => Ok(()),
            Err(error) => Err(self.lost(name, error)),
        }
    }

    /// Makes a dead letter of a message of the queue, which was given out under a reply so many times, if that is known.
    async fn bury(&self, name: &str, handle: &Stream<()>, number: u64, known: Option<(&Subject, u64)>) -> Result<(), Failure> {
        match handle.get_raw_message(number).await {
            Ok(message) => {
                let dead = subject(name, &format!("dead.{number}"));
                let mut headers = HeaderMap::new();
                headers.insert(DELIVERED, known.map_or(1, |(_, delivered)| delivered).to_string());
                self.put(name, dead, headers, message.payload).await?;
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
            Err(error) => return Err(self.lost(name, error)),
        }
        match known {
            Some((reply, _)) => self.settle(name, reply, AckKind::Ack).await,
            None => self.remove(name, handle, number).await,
        }
    }

    /// Moves delayed messages of a channel into its queue when they are due, as long as somebody receives from it here.
    fn tend(&self, name: &str) {
        let mut tended = self.0.tended.lock();
        if tended.insert(name.to_owned(), Instant::now() + TENDED).is_none() {
            tokio::spawn(self.clone().look_after(name.to_owned()));
        }
    }

    async fn look_after(self, name: String) {
        loop {
            if let Err(failure) = self.look_once(&name).await {
                tracing::debug!(stream = name, %failure, "delayed messages could not be looked after");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut tended = self.0.tended.lock();
            if tended.get(&name).is_none_or(|until| *until <= Instant::now()) {
                tended.remove(&name);
                return;
            }
        }
    }

    async fn look_once(&self, name: &str) -> Result<(), Failure> {
        self.connected()?;
        let consumer = self.0.jetstream.get_consumer_from_stream(LATER, name).await;
        let consumer: PullConsumer = consumer.map_err(|error| self.lost(name, error))?;
        let mut messages =
            consumer.batch().max_messages(AT_ONCE).expires(SLICE).messages().await.map_err(|error| self.unavailable(error))?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| self.unavailable(error))?;
            let due = message.headers.as_ref().and_then(|headers| headers.get(DUE)).and_then(|due| due.as_str().parse::<u64>().ok());
            let Some(reply) = &message.reply else { continue };
            let left = due.unwrap_or(0).saturating_sub(now_ms());
            if left > 0 {
                self.settle(name, reply, AckKind::Nak(Some(Duration::from_millis(left)))).await?;
                continue;
            }
            let Some((number, _)) = numbers(reply) else { continue };
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_MESSAGE_ID, format!("l:{number}"));
            let id = message.subject.as_str().rsplit('.').next().unwrap_or_default();
            self.put(name, subject(name, &format!("ready.{id}")), headers, message.payload.clone()).await?;
            self.settle(name, reply, AckKind::Ack).await?;
        }
        Ok(())
    }

    pub(super) async fn queue_status(&self, channel: &ActorId) -> Result<Status, Failure> {
        let name = stream('Q', channel);
        let Some(messages) = self.messages_of(&name).await? else { return Ok(Status::default()) };
        let (_, handle) = self.queue(channel).await?;
        let (workers, later) = (self.look_at(&name, &handle, WORKERS).await?, self.look_at(&name, &handle, LATER).await?);
        let in_flight = u64::try_from(workers.num_ack_pending).unwrap_or(u64::MAX);
        let delayed = later.num_pending.saturating_add(u64::try_from(later.num_ack_pending).unwrap_or(u64::MAX));
        let ready = workers.num_pending;
        let dead = messages.saturating_sub(ready).saturating_sub(in_flight).saturating_sub(delayed);
        Ok(Status { ready, delayed, in_flight, dead, ..Status::default() })
    }

    pub(super) async fn list_dead(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, Message)>, bool), Failure> {
        let (name, handle) = self.queue(channel).await?;
        let (mut found, mut bytes, mut from) = (Vec::new(), 0, after.map_or(1, |after| after.saturating_add(1)));
        loop {
            let message = match handle.raw_message_builder().sequence(from).next_by_subject(subject(&name, "dead.*")).send().await {
                Ok(message) => message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok((found, false)),
                Err(error) => return Err(self.lost(&name, error)),
            };
            if found.len() >= limit || bytes >= PAGE_BYTES {
                return Ok((found, true));
            }
            from = message.sequence.saturating_add(1);
            let delivered = message.headers.get(DELIVERED).and_then(|count| count.as_str().parse().ok()).unwrap_or(1);
            bytes += message.payload.len();
            found.push((message.sequence, Message::decode(&message.payload, delivered)?));
        }
    }

    pub(super) async fn bring_back(&self, channel: &ActorId, msg_ids: Option<&[String]>) -> Result<usize, Failure> {
        let (name, handle) = self.queue(channel).await?;
        let (mut redriven, mut after) = (0, None);
        loop {
            let (page, more) = self.list_dead(channel, after, AT_ONCE).await?;
            for (number, message) in &page {
                after = Some(*number);
                if msg_ids.is_some_and(|ids| !ids.contains(&message.msg_id)) {
                    continue;
                }
                let mut headers = HeaderMap::new();
                headers.insert(header::NATS_MESSAGE_ID, format!("r:{number}"));
                let ready = subject(&name, &format!("ready.{}", token(&message.msg_id)));
                // One whose message waits already stays a dead letter.
                if self.put(&name, ready, headers, message.encode()?.into()).await? == Put::Another {
                    continue;
                }
                self.remove(&name, &handle, *number).await?;
                redriven += 1;
            }
            if !more || redriven >= REDRIVE_AT_ONCE {
                return Ok(redriven);
            }
        }
    }
}

/// Dead letters that one request puts back into the queue.
const REDRIVE_AT_ONCE: usize = 1000;

/// The number of a message in its stream and how often it was given out, from the subject of its acknowledgement.
fn numbers(reply: &str) -> Option<(u64, u64)> {
    let parts: Vec<&str> = reply.split('.').collect();
    // Servers of accounts and domains put both before the stream's name.
    let skipped = if parts.len() >= 11 { 4 } else { 2 };
    let (delivered, number) = (parts.get(skipped + 2)?.parse().ok()?, parts.get(skipped + 3)?.parse().ok()?);
    Some((number, delivered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_acknowledgements_are_read() {
        assert_eq!(numbers("$JS.ACK.stream.workers.3.17.20.1668000000.4"), Some((17, 3)));
        assert_eq!(numbers("$JS.ACK.domain.account.stream.workers.3.17.20.1668000000.4"), Some((17, 3)));
        assert_eq!(numbers("else"), None);
    }
}
