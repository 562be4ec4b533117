//! The topic of a channel at JetStream. The place of a subscriber is a message of a stream of its own, which is written only where nobody else
//! has written it since it was read: it moves exactly as `next` answers.

use std::time::{Duration, Instant};

use async_nats::header;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, RawMessageErrorKind, Republish, State, Stream};
use async_nats::{HeaderMap, Subscriber};
use futures::StreamExt as _;
use plexspaces_coord::channels::{From, MAX_PUBLISHED, MAX_SUBSCRIBERS, RETENTION_MS};
use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};

use super::names::{stream, subject, token};
use super::{Nats, SLICE};
use crate::DUPLICATE_WINDOW_SECS;
use crate::backend::PAGE_BYTES;
use crate::message::Message;

const TOPIC: &str = "topic";

/// Where the server says that a message is in the topic.
const STORED: &str = "stored";

/// The place of a subscriber.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    /// The number of the last message that it was given.
    pub(super) position: u64,
    /// Under which key it was given.
    #[serde(default)]
    key: Option<String>,
}

impl Nats {
    async fn topic(&self, channel: &ActorId) -> Result<(String, Stream<()>), Failure> {
        let name = stream('T', channel);
        let config = || Config {
            name: name.clone(),
            subjects: vec![subject(&name, TOPIC)],
            discard: DiscardPolicy::Old,
            max_messages: i64::try_from(MAX_PUBLISHED).unwrap_or(i64::MAX),
            max_age: Duration::from_millis(RETENTION_MS),
            duplicate_window: Duration::from_secs(DUPLICATE_WINDOW_SECS),
            republish: Some(Republish { source: subject(&name, TOPIC), destination: subject(&name, STORED), headers_only: true }),
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        if self.ensure(config, &name).await? {
            self.now_known(&name);
        }
        let handle = self.0.jetstream.get_stream_no_info(&name).await.map_err(|error| self.unavailable(error))?;
        Ok((name, handle))
    }

    async fn places(&self, channel: &ActorId) -> Result<(String, Stream<()>), Failure> {
        let name = stream('P', channel);
        let config = || Config {
            name: name.clone(),
            subjects: vec![subject(&name, "*")],
            discard: DiscardPolicy::New,
            max_messages: i64::try_from(MAX_SUBSCRIBERS).unwrap_or(i64::MAX),
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

    pub(super) async fn put_into_topic(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        let (name, _) = self.topic(channel).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, format!("s:{}", token(&message.msg_id)));
        self.put(&name, subject(&name, TOPIC), headers, message.encode()?.into()).await.map(drop)
    }

    /// The place of a subscriber with the number of its record, 0 where there is none.
    pub(super) async fn place_of(&self, channel: &ActorId, subscriber: &str) -> Result<(Option<Place>, u64), Failure> {
        let (name, handle) = self.places(channel).await?;
        match handle.get_last_raw_message_by_subject(&subject(&name, &token(subscriber))).await {
            Ok(record) => {
                let unreadable = |_| Failure::new(Code::StorageFailed, "the place of a subscriber cannot be read");
                Ok((Some(serde_json::from_slice(&record.payload).map_err(unreadable)?), record.sequence))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok((None, 0)),
            Err(error) => Err(self.lost(&name, error)),
        }
    }

    /// Writes a place where nobody has written it since; false where somebody has.
    async fn put_place(&self, channel: &ActorId, subscriber: &str, place: &Place, since: u64) -> Result<bool, Failure> {
        let (name, _) = self.places(channel).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, since.to_string());
        let body = serde_json::to_vec(place).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        match self.put(&name, subject(&name, &token(subscriber)), headers, body.into()).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code == Code::Conflict => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The place of a subscriber, which is made if there is none.
    pub(super) async fn take_place(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(u64, Option<String>, u64), Failure> {
        loop {
            if let (Some(place), record) = self.place_of(channel, subscriber).await? {
                return Ok((place.position, place.key, record));
            }
            let position = match from {
                From::Earliest => 0,
                From::Latest => self.last_position(channel).await?,
            };
            self.put_place(channel, subscriber, &Place { position, key: None }, 0).await?;
        }
    }

    pub(super) async fn move_place(&self, channel: &ActorId, subscriber: &str, from: u64, to: u64) -> Result<(), Failure> {
        let (place, record) = self.place_of(channel, subscriber).await?;
        if place.is_some_and(|place| place.position == from) {
            self.put_place(channel, subscriber, &Place { position: to, key: None }, record).await?;
        }
        Ok(())
    }

    pub(super) async fn give_up_place(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
        let (name, handle) = self.places(channel).await?;
        let purged = handle.purge().filter(subject(&name, &token(subscriber))).await;
        purged.map(drop).map_err(|error| self.lost(&name, error))
    }

    /// How many messages come after a position: those without gaps, or all that are kept where it is before them.
    pub(super) async fn after(&self, channel: &ActorId, position: u64) -> Result<u64, Failure> {
        let state = self.state_of(&stream('T', channel)).await?;
        Ok(state.map_or(0, |state| state.last_sequence.saturating_sub(position).min(state.messages)))
    }

    async fn last_position(&self, channel: &ActorId) -> Result<u64, Failure> {
        let (name, handle) = self.topic(channel).await?;
        let info = handle.get_info().await.map_err(|error| self.lost(&name, error))?;
        Ok(info.state.last_sequence)
    }

    /// The first message at a position or after it.
    async fn read(&self, name: &str, handle: &Stream<()>, position: u64) -> Result<Option<(u64, Message)>, Failure> {
        match handle.direct_get_next_for_subject(subject(name, TOPIC), Some(position)).await {
            Ok(found) => Ok(Some((found.sequence, Message::decode(&found.payload, 1)?))),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.lost(name, error)),
        }
    }

    pub(super) async fn next_for(
        &self,
        channel: &ActorId,
        subscriber: &str,
        key: Option<&str>,
        until: Instant,
    ) -> Result<Option<Message>, Failure> {
        let (name, handle) = self.topic(channel).await?;
        let mut news = None;
        loop {
            let (position, last_key, record) = self.take_place(channel, subscriber, From::Earliest).await?;
            // Asked again, since its answer was lost: the place has moved already.
            let is_again = key.is_some() && last_key.as_deref() == key;
            let wanted = if is_again { position } else { position.saturating_add(1) };
            match self.read(&name, &handle, wanted).await? {
                Some((found, message)) if is_again && found == position => return Ok(Some(message)),
                Some((found, message)) => {
                    let place = Place { position: found, key: key.map(str::to_owned) };
                    if self.put_place(channel, subscriber, &place, record).await? {
                        return Ok(Some(message));
                    }
                }
                None if !self.news(&name, &mut news, until).await? => return Ok(None),
                None => {}
            }
        }
    }

    pub(super) async fn read_topic(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        let (name, handle) = self.topic(channel).await?;
        let mut next = match after {
            Some(after) => after,
            None => self.last_position(channel).await?,
        };
        let (mut messages, mut bytes, mut news) = (Vec::new(), 0, None);
        loop {
            while messages.len() < limit
                && bytes < PAGE_BYTES
                && let Some((position, message)) = self.read(&name, &handle, next.saturating_add(1)).await?
            {
                next = position;
                bytes += message.size();
                messages.push((position, message));
            }
            if !messages.is_empty() || !self.news(&name, &mut news, until).await? {
                return Ok((messages, next));
            }
        }
    }

    /// Waits until there may be something new in a topic; false when the time is over. The first time it begins to listen, and something may
    /// have come before that.
    async fn news(&self, name: &str, news: &mut Option<Subscriber>, until: Instant) -> Result<bool, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.connected()?;
        match news {
            None => *news = Some(self.0.client.subscribe(subject(name, STORED)).await.map_err(|error| self.unavailable(error))?),
            Some(news) => drop(tokio::time::timeout(left.min(SLICE), news.next()).await),
        }
        Ok(true)
    }

    /// How many messages a stream has; none where there is no such stream.
    pub(super) async fn messages_of(&self, name: &str) -> Result<Option<u64>, Failure> {
        Ok(self.state_of(name).await?.map(|state| state.messages))
    }

    async fn state_of(&self, name: &str) -> Result<Option<State>, Failure> {
        match self.0.jetstream.get_stream(name).await {
            Ok(handle) => Ok(Some(handle.cached_info().state.clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
                _ => Err(self.unavailable(error)),
            },
        }
    }

    pub(super) async fn topic_status(&self, channel: &ActorId) -> Result<(u64, u64), Failure> {
        let published = self.messages_of(&stream('T', channel)).await?.unwrap_or(0);
        let subscribers = self.messages_of(&stream('P', channel)).await?.unwrap_or(0);
        Ok((published, subscribers))
    }
}
