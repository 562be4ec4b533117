//! The topic of a channel: a log of what was published, and one of the places of its subscribers, which move where nobody has moved them since.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use plexspaces_coord::channels::{From, MAX_PUBLISHED, MAX_SUBSCRIBERS, RETENTION_MS};
use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};

use super::client::Entry;
use super::log::{Machine, Verdicts, entry, now_ms};
use super::{Channel, Kafka, SLICE};
use crate::DUPLICATE_WINDOW_SECS;
use crate::message::Message;

const WINDOW_MS: u64 = DUPLICATE_WINDOW_SECS * 1000;

/// Entries of the places' log beyond which old places are written again, and how many are at once.
const AGAIN_AT: i64 = 20_000;
const AGAIN_AT_ONCE: usize = 1000;

/// What was published, without the messages.
#[derive(Default)]
pub(super) struct Topic {
    /// Where messages are and when they came, the oldest first.
    messages: VecDeque<(i64, u64)>,
    sent: VecDeque<(u64, i64, String)>,
    lately: HashMap<String, i64>,
    verdicts: Verdicts,
}

impl Topic {
    /// Where the first message is that comes at an offset or after it.
    fn first(&self, from: i64) -> Option<i64> {
        self.from(from).next()
    }

    fn from(&self, from: i64) -> impl Iterator<Item = i64> {
        let at = self.messages.partition_point(|(offset, _)| *offset < from);
        self.messages.range(at..).map(|(offset, _)| *offset)
    }

    fn forget(&mut self) {
        let old = now_ms().saturating_sub(RETENTION_MS);
        while self.messages.len() > MAX_PUBLISHED || self.messages.front().is_some_and(|(_, at_ms)| *at_ms <= old) {
            self.messages.pop_front();
        }
    }
}

impl Machine for Topic {
    fn settings() -> Vec<(&'static str, String)> {
        let mut settings = super::kept_for_ever();
        settings.retain(|(name, _)| *name != "retention.ms");
        settings.push(("retention.ms", RETENTION_MS.to_string()));
        settings
    }

    fn apply(&mut self, entry: &Entry) {
        let Some(Message { msg_id: id, .. }) = entry.body.as_ref().and_then(|body| Message::decode(body, 0).ok()) else { return };
        while let Some((at_ms, offset, old)) = self.sent.front()
            && at_ms.saturating_add(WINDOW_MS) <= entry.at_ms
        {
            if self.lately.get(old) == Some(offset) {
                self.lately.remove(old);
            }
            self.sent.pop_front();
        }
        if let Some(cause) = self.lately.get(&id) {
            return self.verdicts.refuse(*cause, entry.offset);
        }
        self.lately.insert(id.clone(), entry.offset);
        self.sent.push_back((entry.at_ms, entry.offset, id));
        self.messages.push_back((entry.offset, entry.at_ms));
        self.forget();
    }

    fn low(&self, end: i64) -> i64 {
        let kept = self.messages.front().map_or(end, |(offset, _)| *offset);
        let lately = self.sent.front().map_or(end, |(_, offset, _)| *offset);
        self.verdicts.cut(kept.min(lately).min(end))
    }

    fn lost(&mut self, start: i64) {
        while self.messages.front().is_some_and(|(offset, _)| *offset < start) {
            self.messages.pop_front();
        }
        self.verdicts.lost(start);
    }

    fn again(&self, _: i64) -> Vec<(Option<i64>, Entry)> {
        Vec::new()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Step {
    /// A subscriber was given what is before a position, if it stood there before; without that if it is new.
    Move {
        subscriber: String,
        from: Option<u64>,
        to: u64,
        /// Under which key the message was given.
        key: Option<String>,
    },
    /// A subscriber is gone.
    Leave { subscriber: String },
}

#[derive(Clone)]
struct Place {
    /// The first offset that it was not given yet.
    position: u64,
    key: Option<String>,
    /// The entry that says so.
    said: i64,
}

#[derive(Default)]
pub(super) struct Places {
    places: HashMap<String, Place>,
    /// Whose places are said where.
    said: BTreeMap<i64, String>,
    /// Those who have left, and where that is said.
    left: HashMap<String, i64>,
    verdicts: Verdicts,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

impl Machine for Places {
    fn settings() -> Vec<(&'static str, String)> {
        super::kept_for_ever()
    }

    fn apply(&mut self, entry: &Entry) {
        match entry.command.as_ref().and_then(|command| serde_json::from_slice(command).ok()) {
            Some(Step::Move { subscriber, from, to, key }) => {
                let cause = match (self.places.get(&subscriber), from) {
                    (Some(place), Some(from)) if place.position == from => None,
                    (Some(place), _) => Some(place.said),
                    (None, Some(_)) => self.left.get(&subscriber).copied(),
                    (None, None) => None,
                };
                if let Some(cause) = cause {
                    return self.verdicts.refuse(cause, entry.offset);
                }
                self.left.remove(&subscriber);
                self.verdicts.accept(entry.offset);
                self.said.insert(entry.offset, subscriber.clone());
                if let Some(before) = self.places.insert(subscriber, Place { position: to, key, said: entry.offset }) {
                    self.said.remove(&before.said);
                }
            }
            Some(Step::Leave { subscriber }) => {
                if let Some(before) = self.places.remove(&subscriber) {
                    self.said.remove(&before.said);
                }
                self.left.insert(subscriber, entry.offset);
            }
            None => {}
        }
    }

    fn low(&self, end: i64) -> i64 {
        self.verdicts.cut(self.said.first_key_value().map_or(end, |(offset, _)| *offset))
    }

    fn lost(&mut self, start: i64) {
        self.places.retain(|_, place| place.said >= start);
        self.said.retain(|said, _| *said >= start);
        self.left.retain(|_, said| *said >= start);
        self.verdicts.lost(start);
    }

    fn again(&self, end: i64) -> Vec<(Option<i64>, Entry)> {
        let much = i64::try_from(self.places.len()).unwrap_or(i64::MAX).saturating_mul(4).max(AGAIN_AT);
        let oldest = self.said.iter().take_while(|(said, _)| end.saturating_sub(**said) >= much).take(AGAIN_AT_ONCE);
        oldest
            .filter_map(|(_, subscriber)| {
                let Place { position, key, .. } = self.places.get(subscriber)?.clone();
                let step = Step::Move { subscriber: subscriber.clone(), from: Some(position), to: position, key };
                Some((None, entry(&step, None).ok()?))
            })
            .collect()
    }
}

fn offset(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// What is shown of an offset: a position is that of a message and the place from which to go on behind it.
fn position(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0).saturating_add(1)
}

impl Kafka {
    pub(super) async fn put_into_topic(&self, channel: &ActorId, message: &Message) -> Result<(), Failure> {
        let channel = self.channel(channel);
        channel.topic.fresh(|_, _| ()).await?;
        channel.topic.append(&serde_json::json!({"do": "publish"}), Some(message.encode()?.into()), |_, _| ()).await
    }

    async fn place(&self, channel: &Channel, subscriber: &str) -> Result<Option<Place>, Failure> {
        let (place, count) = channel.places.fresh(|places, _| (places.places.get(subscriber).cloned(), places.len())).await?;
        if place.is_none() && count >= MAX_SUBSCRIBERS {
            return Err(Failure::new(Code::Overloaded, format!("the topic has {MAX_SUBSCRIBERS} subscribers at Kafka")));
        }
        Ok(place)
    }

    /// Moves a place, if nobody has moved it; false where somebody has.
    pub(super) async fn put_place(
        &self,
        channel: &Channel,
        subscriber: &str,
        from: Option<u64>,
        to: u64,
        key: Option<&str>,
    ) -> Result<bool, Failure> {
        let step = Step::Move { subscriber: subscriber.to_owned(), from, to, key: key.map(str::to_owned) };
        channel.places.append(&step, None, |places, offset| places.verdicts.was_accepted(offset)).await
    }

    pub(super) async fn take_place(&self, channel: &ActorId, subscriber: &str, from: From) -> Result<(), Failure> {
        let channel = self.channel(channel);
        if self.place(&channel, subscriber).await?.is_some() {
            return Ok(());
        }
        let to = match from {
            From::Earliest => 0,
            From::Latest => channel.topic.fresh(|_, end| u64::try_from(end).unwrap_or(0)).await?,
        };
        // Where it has no effect another was first.
        self.put_place(&channel, subscriber, None, to, None).await.map(drop)
    }

    pub(super) async fn position_of(&self, channel: &ActorId, subscriber: &str) -> Result<Option<u64>, Failure> {
        let place = self.channel(channel).places.look(false, |places, _| places.places.get(subscriber).map(|place| place.position)).await?;
        Ok(place.flatten())
    }

    /// How many messages come after a position.
    pub(super) async fn after(&self, channel: &ActorId, position: u64) -> Result<u64, Failure> {
        let count = self.channel(channel).topic.look(false, |topic, _| topic.from(offset(position)).count()).await?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(u64::MAX))
    }

    pub(super) async fn give_up_place(&self, channel: &ActorId, subscriber: &str) -> Result<(), Failure> {
        let channel = self.channel(channel);
        if channel.places.look(false, |places, _| places.places.contains_key(subscriber)).await? != Some(true) {
            return Ok(());
        }
        channel.places.append(&Step::Leave { subscriber: subscriber.to_owned() }, None, |_, _| ()).await
    }

    async fn message(&self, channel: &Channel, offset: i64) -> Result<Option<Message>, Failure> {
        channel.topic.body(offset).await?.map(|body| Message::decode(&body, 1)).transpose()
    }

    pub(super) async fn next_for(
        &self,
        channel: &ActorId,
        subscriber: &str,
        key: Option<&str>,
        until: Instant,
    ) -> Result<Option<Message>, Failure> {
        let channel = self.channel(channel);
        loop {
            let place = self.place(&channel, subscriber).await?;
            if let Some(place) = place.as_ref().filter(|place| key.is_some() && place.key.as_deref() == key)
                && let Some(message) = self.message(&channel, offset(place.position).saturating_sub(1)).await?
            {
                // Asked again, since its answer was lost: the place has moved already.
                return Ok(Some(message));
            }
            let (from, start) = (place.as_ref().map(|place| place.position), place.map_or(0, |place| offset(place.position)));
            let (found, end) = channel.topic.fresh(|topic, end| (topic.first(start), end)).await?;
            if let Some(found) = found {
                // First the message, so that a place does not move where it cannot be read.
                let message = self.message(&channel, found).await?;
                let has_moved = self.put_place(&channel, subscriber, from, position(found), key).await?;
                match message {
                    Some(message) if has_moved => return Ok(Some(message)),
                    _ => continue,
                }
            }
            if from.is_none() {
                self.put_place(&channel, subscriber, None, 0, None).await?;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            channel.topic.news(end, left.min(SLICE)).await?;
        }
    }

    pub(super) async fn read_topic(
        &self,
        channel: &ActorId,
        after: Option<u64>,
        limit: usize,
        until: Instant,
    ) -> Result<(Vec<(u64, Message)>, u64), Failure> {
        let channel = self.channel(channel);
        let mut next = after;
        loop {
            let (found, end): (Vec<i64>, i64) = {
                let from = |topic: &mut Topic, end| {
                    let from = next.map_or(end, offset);
                    (topic.from(from).take(limit).collect(), end)
                };
                channel.topic.fresh(from).await?
            };
            let mut messages = Vec::new();
            for (at, body) in channel.topic.bodies(&found).await?.0 {
                messages.push((position(at), Message::decode(&body, 1)?));
            }
            let from = *next.get_or_insert(u64::try_from(end).unwrap_or(0));
            let left = until.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                let next = messages.last().map_or(from, |(position, _)| *position);
                return Ok((messages, next));
            }
            channel.topic.news(end, left.min(SLICE)).await?;
        }
    }

    pub(super) async fn topic_status(&self, channel: &Channel) -> Result<(u64, u64), Failure> {
        let count = |count: Option<usize>| u64::try_from(count.unwrap_or(0)).unwrap_or(u64::MAX);
        let published = channel.topic.look(false, |topic, _| {
            topic.forget();
            topic.messages.len()
        });
        let subscribers = channel.places.look(false, |places, _| places.len());
        Ok((count(published.await?), count(subscribers.await?)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn read<M: Machine>(entries: &[Entry], from: i64) -> M {
        let mut machine = M::default();
        entries.iter().filter(|entry| entry.offset >= from).for_each(|entry| machine.apply(entry));
        machine
    }

    #[test]
    fn places_are_the_same_for_who_reads_a_log_that_was_cut() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut entries, mut places, mut start): (Vec<Entry>, Places, i64) = (Vec::new(), Places::default(), 0);
            // What somebody wants to write who has looked some time ago.
            let mut stale: Vec<Entry> = Vec::new();
            for _ in 0..300 {
                let subscriber = format!("s{}", random.random_range(0..5));
                let from = places.places.get(&subscriber).map(|place| place.position);
                let step = Step::Move { subscriber: subscriber.clone(), from, to: from.unwrap_or(0) + 1, key: None };
                let mut written = Vec::new();
                match random.random_range(0..7) {
                    0 => stale.push(entry(&step, None).unwrap()),
                    1 => stale.extend(places.again(i64::MAX).into_iter().map(|(_, entry)| entry)),
                    2 => written.push(entry(&Step::Leave { subscriber }, None).unwrap()),
                    3 if !stale.is_empty() => written.push(stale.swap_remove(random.random_range(0..stale.len()))),
                    _ => written.push(entry(&step, None).unwrap()),
                }
                for entry in written {
                    let entry = Entry { offset: i64::try_from(entries.len()).unwrap(), ..entry };
                    places.apply(&entry);
                    entries.push(entry);
                }
                if random.random_range(0..6) == 0 {
                    start = places.low(i64::try_from(entries.len()).unwrap()).max(start);
                    places.lost(start);
                }
                let shown = |places: &Places| {
                    let mut shown: Vec<_> = places.places.iter().map(|(name, place)| (name.clone(), place.position, place.said)).collect();
                    shown.sort();
                    shown
                };
                assert_eq!(shown(&read(&entries, start)), shown(&places), "seed {seed}, cut at {start}");
            }
            assert!(start > 0, "seed {seed}");
        }
    }

    #[test]
    fn what_was_published_lately_is_published_once() {
        let now = now_ms();
        let published = |offset, at_ms, id: &str| {
            let body = format!(r#"{{"msg_id":"{id}","msg_type":"","payload":1,"timestamp":1}}"#);
            Entry { offset, at_ms, command: None, body: Some(Bytes::from(body)) }
        };
        let mut entries = vec![published(0, now, "a"), published(1, now + 1, "a"), published(2, now + 2, "b")];
        entries.push(published(3, now + WINDOW_MS, "a"));
        entries.push(Entry { offset: 4, at_ms: now, command: None, body: Some(Bytes::from("no message")) });
        let topic: Topic = read(&entries, 0);
        assert_eq!(topic.from(0).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((topic.first(1), topic.first(3), topic.first(4)), (Some(2), Some(3), None));
        assert_eq!(topic.low(5), 0);
        let old: Topic = read(&[published(0, now - RETENTION_MS - 1, "a"), published(1, now, "b")], 0);
        assert_eq!(old.from(0).collect::<Vec<_>>(), [1]);
    }
}
