//! What this node keeps, in memory, of the topics that somebody listens to here: their last messages and the places of subscribers.
//!
//! A place that falls behind what is kept has lost messages. They are counted.
//!
//! Nothing is taken twice. Where nodes share a secret, that holds also for who has listened to the network and sends again what was there: a message
//! whose id would not be known any more is refused by its time, be it from before the node's start or from before what is remembered.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use plexspaces_types::{Code, Failure};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::datagram::Refusal;
use crate::DUPLICATE_WINDOW_SECS;
use crate::backend::Status;
use crate::message::{Message, now_ms};

/// Messages that are kept of one channel.
pub(super) const MAX_KEPT: usize = 1024;

/// Bytes of the messages of all channels. Beyond it a channel keeps its last message only.
const MAX_BYTES: usize = 64 << 20;

/// Channels that are listened to.
const MAX_CHANNELS: usize = 1000;

/// Subscribers of all channels.
const MAX_SUBSCRIBERS: usize = 10_000;

/// Messages that are remembered, so that none is taken twice.
const MAX_KNOWN: usize = 100_000;

/// For how long one is, in milliseconds.
const WINDOW_MS: u64 = DUPLICATE_WINDOW_SECS * 1000;

/// Who has not asked for this long listens no more.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// How often it is looked who listens no more.
const SWEEP: Duration = Duration::from_secs(60);

/// All topics of this node.
pub(super) struct Hub(Mutex<Topics>);

struct Topics {
    by_name: HashMap<String, Topic>,
    subscribers: usize,
    bytes: usize,
    known: Known,
    swept: Instant,
}

/// What messages there were lately. Times are in milliseconds since the Unix epoch.
struct Known {
    /// The latest time that stands in a message with this id, and when the first one came.
    by_id: HashMap<[u8; 16], (u64, u64)>,
    /// The same by the time that stands in the message, the oldest first.
    by_time: BTreeSet<(u64, [u8; 16])>,
    /// Up to when messages of the network are refused, since it is not known which of them there were. None where the times that stand in messages
    /// say nothing, as anybody can write them.
    forgotten: Option<u64>,
}

struct Topic {
    /// The last messages with their sizes; their positions rise by one, and `last` is that of the last one.
    messages: VecDeque<(usize, Message)>,
    last: u64,
    places: HashMap<String, Place>,
    /// Messages that subscribers would have been given who have gone on or are gone.
    dropped: u64,
    /// When it was last listened to other than by subscribers.
    tailed: Instant,
    news: watch::Sender<()>,
}

/// How far a subscriber is.
struct Place {
    position: u64,
    /// What it was given last, under which key.
    given: Option<(String, Message)>,
    asked: Instant,
}

/// What there is for somebody who asks.
pub(super) enum Answer<T> {
    Here(T),
    /// Nothing yet; something may be there when this changes.
    Nothing(watch::Receiver<()>),
}

/// Messages with their positions, the position to go on from, and what changes when something may be there after it.
type Tail = (Vec<(u64, Message)>, u64, watch::Receiver<()>);

impl Hub {
    /// With sealed messages their times say when they were sent, and those from before now are not taken.
    pub(super) fn new(is_sealed: bool) -> Self {
        let known = Known::new(is_sealed.then(now_ms));
        let by_name = HashMap::new();
        Self(Mutex::new(Topics { by_name, subscribers: 0, bytes: 0, known, swept: Instant::now() }))
    }

    /// Takes a message that the network has brought for those who listen to it, once. It is known also where nobody listens yet: who comes later is
    /// not given it when it is sent again.
    pub(super) fn take(&self, name: &str, message: Message, size: usize) -> Result<(), Refusal> {
        let mut topics = self.0.lock();
        topics.sweep(Instant::now());
        if topics.known.learn(digest(name, &message.msg_id), message.timestamp, now_ms())? {
            topics.keep(name, message, size);
        }
        Ok(())
    }

    /// Takes a message of this node.
    pub(super) fn take_own(&self, name: &str, message: Message, size: usize) {
        let mut topics = self.0.lock();
        if topics.known.learn_own(digest(name, &message.msg_id), message.timestamp, now_ms()) {
            topics.keep(name, message, size);
        }
    }

    /// Makes a place for a subscriber who has none: it begins with what comes from now on.
    pub(super) fn subscribe(&self, name: &str, subscriber: &str) -> Result<(), Failure> {
        self.0.lock().place(name, subscriber).map(drop)
    }

    pub(super) fn unsubscribe(&self, name: &str, subscriber: &str) {
        let mut topics = self.0.lock();
        let Topics { by_name, subscribers, .. } = &mut *topics;
        let Some(topic) = by_name.get_mut(name) else { return };
        if let Some(place) = topic.places.remove(subscriber) {
            topic.dropped += topic.missed(&place);
            *subscribers -= 1;
        }
    }

    /// The next message of a subscriber; asked again under the same key before anything else, the same one.
    pub(super) fn next(&self, name: &str, subscriber: &str, key: Option<&str>) -> Result<Answer<Message>, Failure> {
        let mut topics = self.0.lock();
        let topic = topics.place(name, subscriber)?;
        let first = topic.first();
        let Some(place) = topic.places.get_mut(subscriber) else { return Ok(Answer::Nothing(topic.news.subscribe())) };
        if let (Some(key), Some((last, message))) = (key, &place.given)
            && key == last
        {
            return Ok(Answer::Here(message.clone()));
        }
        let wanted = place.position.saturating_add(1).max(first);
        let index = usize::try_from(wanted - first).unwrap_or(usize::MAX);
        let Some((_, message)) = topic.messages.get(index) else { return Ok(Answer::Nothing(topic.news.subscribe())) };
        topic.dropped += wanted - place.position - 1;
        place.position = wanted;
        place.given = key.map(|key| (key.to_owned(), message.clone()));
        Ok(Answer::Here(message.clone()))
    }

    /// What is kept after a position, with the positions, and the position to go on from.
    pub(super) fn tail(&self, name: &str, after: Option<u64>, limit: usize) -> Result<Tail, Failure> {
        let mut topics = self.0.lock();
        let topic = topics.topic(name)?;
        topic.tailed = Instant::now();
        let (first, last) = (topic.first(), topic.last);
        // A position from after the last one is one of another node, or of this one before its clock was set back.
        let from = after.filter(|after| *after <= last).unwrap_or(last).saturating_add(1).max(first);
        let skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        let messages = topic.messages.iter().skip(skipped).take(limit);
        let messages: Vec<_> = (from..).zip(messages.map(|(_, message)| message.clone())).collect();
        let next = messages.last().map_or(from - 1, |(position, _)| *position);
        Ok((messages, next, topic.news.subscribe()))
    }

    /// What there is of a topic, and how many messages its subscribers have lost.
    pub(super) fn status(&self, name: &str) -> (Status, u64) {
        let topics = self.0.lock();
        let Some(topic) = topics.by_name.get(name) else { return Default::default() };
        let [published, subscribers] = [topic.messages.len(), topic.places.len()].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let lost = topic.places.values().map(|place| topic.missed(place)).sum::<u64>();
        (Status { published, subscribers, ..Status::default() }, topic.dropped.saturating_add(lost))
    }
}

impl Known {
    /// Nothing is known of what was before a time.
    fn new(begin_ms: Option<u64>) -> Self {
        Self { by_id: HashMap::new(), by_time: BTreeSet::new(), forgotten: begin_ms.map(|begin_ms| begin_ms.saturating_sub(1)) }
    }

    /// Whether a message of the network was not known.
    fn learn(&mut self, id: [u8; 16], said_ms: u64, now_ms: u64) -> Result<bool, Refusal> {
        if self.forgotten.is_some_and(|forgotten| said_ms <= forgotten) {
            return Err(Refusal::Forgotten);
        }
        Ok(self.learn_own(id, said_ms, now_ms))
    }

    /// Whether a message was not known.
    fn learn_own(&mut self, id: [u8; 16], said_ms: u64, now_ms: u64) -> bool {
        let said_ms = if self.forgotten.is_some() { said_ms } else { now_ms };
        let (mut latest_ms, mut since_ms) = (said_ms, now_ms);
        let before = self.by_id.get(&id).copied();
        let is_new = before.is_none_or(|(latest_ms, since_ms)| said_ms > latest_ms && now_ms >= since_ms.saturating_add(WINDOW_MS));
        if let Some((before_ms, first_ms)) = before {
            self.by_time.remove(&(before_ms, id));
            latest_ms = latest_ms.max(before_ms);
            since_ms = if is_new { since_ms } else { first_ms };
        }
        self.by_id.insert(id, (latest_ms, since_ms));
        self.by_time.insert((latest_ms, id));
        // Its clock may be behind by the window, and so it is known for the window in any case.
        while let Some((oldest_ms, old)) = self.by_time.first().copied()
            && (self.by_time.len() > MAX_KNOWN || oldest_ms.saturating_add(2 * WINDOW_MS) <= now_ms)
        {
            self.by_time.pop_first();
            self.by_id.remove(&old);
            self.forgotten = self.forgotten.map(|forgotten| forgotten.max(oldest_ms));
        }
        is_new
    }
}

impl Topics {
    /// Keeps a message where somebody listens.
    fn keep(&mut self, name: &str, message: Message, size: usize) {
        let Self { by_name, bytes, .. } = self;
        let Some(topic) = by_name.get_mut(name) else { return };
        topic.messages.push_back((size, message));
        topic.last += 1;
        *bytes += size;
        while topic.messages.len() > MAX_KEPT || (*bytes > MAX_BYTES && topic.messages.len() > 1) {
            let Some((size, _)) = topic.messages.pop_front() else { break };
            *bytes -= size;
        }
        topic.news.send_replace(());
    }

    /// A topic, which is listened to from now on.
    fn topic(&mut self, name: &str) -> Result<&mut Topic, Failure> {
        self.sweep(Instant::now());
        if !self.by_name.contains_key(name) && self.by_name.len() >= MAX_CHANNELS {
            return Err(Failure::new(Code::Overloaded, format!("{MAX_CHANNELS} channels on udp are listened to here")));
        }
        Ok(self.by_name.entry(name.to_owned()).or_insert_with(Topic::new))
    }

    /// A topic with a place of a subscriber.
    fn place(&mut self, name: &str, subscriber: &str) -> Result<&mut Topic, Failure> {
        let is_full = self.subscribers >= MAX_SUBSCRIBERS;
        let topic = self.topic(name)?;
        let (last, asked) = (topic.last, Instant::now());
        if let Some(place) = topic.places.get_mut(subscriber) {
            place.asked = asked;
        } else if is_full {
            return Err(Failure::new(Code::Overloaded, format!("the channels on udp have {MAX_SUBSCRIBERS} subscribers here")));
        } else {
            topic.places.insert(subscriber.to_owned(), Place { position: last, given: None, asked });
            self.subscribers += 1;
        }
        self.topic(name)
    }

    /// Forgets who listens no more.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let Self { by_name, subscribers, bytes, .. } = self;
        by_name.retain(|_, topic| {
            let before = topic.places.len();
            topic.places.retain(|_, place| now.duration_since(place.asked) < FORGOTTEN);
            *subscribers -= before - topic.places.len();
            let is_listened_to = !topic.places.is_empty() || now.duration_since(topic.tailed) < FORGOTTEN;
            if !is_listened_to {
                *bytes -= topic.messages.iter().map(|(size, _)| size).sum::<usize>();
            }
            is_listened_to
        });
    }
}

impl Topic {
    fn new() -> Self {
        // Positions of a later life of the topic are after those of an earlier one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2);
        let (messages, places) = Default::default();
        Self { messages, last, places, dropped: 0, tailed: Instant::now(), news: watch::Sender::new(()) }
    }

    /// The position of the oldest message that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.last.saturating_add(1).saturating_sub(u64::try_from(self.messages.len()).unwrap_or(u64::MAX))
    }

    /// How many messages are gone that a subscriber would have been given.
    fn missed(&self, place: &Place) -> u64 {
        self.first().saturating_sub(place.position.saturating_add(1))
    }
}

fn digest(name: &str, msg_id: &str) -> [u8; 16] {
    let whole = Sha256::digest(format!("{name}\n{msg_id}"));
    let mut half = [0; 16];
    half.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    half
}

#[cfg(test)]
mod tests {
    use plexspaces_coord::channels::Given;
    use serde_json::value::to_raw_value;

    use super::*;

    fn message(number: usize) -> Message {
        let given = Given { msg_id: Some(format!("m{number}")), msg_type: String::new(), payload: to_raw_value(&number).unwrap() };
        Message::new(given, None, None)
    }

    fn next(hub: &Hub, subscriber: &str) -> Option<String> {
        match hub.next("news", subscriber, None).unwrap() {
            Answer::Here(message) => Some(message.msg_id),
            Answer::Nothing(_) => None,
        }
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_messages_and_they_are_counted() {
        let hub = Hub::new(false);
        hub.take_own("news", message(0), 1);
        for subscriber in ["slow", "fast", "gone"] {
            hub.subscribe("news", subscriber).unwrap();
        }
        // The network brings it back.
        hub.take("news", message(0), 1).unwrap();
        for number in 1..=MAX_KEPT + 5 {
            hub.take("news", message(number), 1).unwrap();
            assert_eq!(next(&hub, "fast"), Some(format!("m{number}")));
        }
        let count = |hub: &Hub| (hub.status("news").0.published, hub.status("news").0.subscribers, hub.status("news").1);
        assert_eq!(count(&hub), (1024, 3, 10));
        assert_eq!((next(&hub, "slow"), next(&hub, "fast")), (Some("m6".to_owned()), None));
        hub.unsubscribe("news", "gone");
        assert_eq!(count(&hub), (1024, 2, 10), "what was lost stays counted");
        assert_eq!(next(&hub, "slow"), Some("m7".to_owned()));
        assert_eq!(hub.status("else").1, 0);
    }

    #[test]
    fn what_is_kept_of_all_channels_is_bounded() {
        let hub = Hub::new(false);
        for name in ["news", "more"] {
            hub.subscribe(name, "s").unwrap();
            for number in 0..100 {
                hub.take(name, message(number), 1 << 20).unwrap();
            }
        }
        assert_eq!((hub.status("news").0.published, hub.status("more").0.published), (64, 1));
        assert_eq!((hub.status("news").1, hub.status("more").1), (36, 99));
        for number in 2..MAX_CHANNELS {
            hub.subscribe(&number.to_string(), "s").unwrap();
        }
        assert_eq!(hub.subscribe("another", "s").unwrap_err().code, Code::Overloaded);
        for number in MAX_CHANNELS..MAX_SUBSCRIBERS {
            hub.subscribe("news", &number.to_string()).unwrap();
        }
        assert_eq!(hub.subscribe("news", "another").unwrap_err().code, Code::Overloaded);
        hub.subscribe("news", "s").unwrap();
    }

    #[test]
    fn a_message_is_taken_once_within_its_window() {
        let begin = 1_000_000_000;
        // Without a secret the time that stands in it says nothing.
        let mut known = Known::new(None);
        assert_eq!(known.learn([1; 16], 7, begin), Ok(true));
        assert_eq!(known.learn([1; 16], 8, begin + WINDOW_MS - 1), Ok(false));
        assert_eq!(known.learn([1; 16], 7, begin + WINDOW_MS), Ok(true));
        assert_eq!((known.by_id.len(), known.by_time.len()), (1, 1));
        assert_eq!(known.learn([2; 16], 7, begin + 3 * WINDOW_MS), Ok(true));
        assert_eq!((known.by_id.len(), known.by_time.len()), (1, 1), "what is old is forgotten");
    }

    #[test]
    fn a_sealed_message_is_taken_once_whenever_it_is_sent_again() {
        let begin = 1_000_000_000;
        let mut known = Known::new(Some(begin));
        assert_eq!(known.learn([1; 16], begin - 1, begin), Err(Refusal::Forgotten), "an earlier life of the node may have had it");
        // The clock of who has sent it is ahead by as much as it may be, so its seal holds for twice that.
        assert_eq!(known.learn([1; 16], begin + WINDOW_MS, begin), Ok(true));
        for after in [0, WINDOW_MS - 1, WINDOW_MS, 2 * WINDOW_MS] {
            assert_eq!(known.learn([1; 16], begin + WINDOW_MS, begin + after), Ok(false), "{after}");
        }
        // Another one under the same id is another message then, and is itself taken once.
        assert_eq!(known.learn([1; 16], begin + 2 * WINDOW_MS, begin + 2 * WINDOW_MS), Ok(true));
        assert_eq!(known.learn([1; 16], begin + 2 * WINDOW_MS, begin + 3 * WINDOW_MS), Ok(false));
        assert_eq!(known.learn([2; 16], begin + 5 * WINDOW_MS, begin + 5 * WINDOW_MS), Ok(true));
        assert_eq!(known.by_id.len(), 1);
        assert_eq!(
            known.learn([1; 16], begin + 2 * WINDOW_MS, begin + WINDOW_MS),
            Err(Refusal::Forgotten),
            "also when the clock is set back"
        );
    }

    #[test]
    fn what_is_remembered_of_sealed_messages_is_bounded_and_what_is_not_is_refused() {
        let begin = 1_000_000_000;
        let mut known = Known::new(Some(begin));
        let id = |number: u64| digest("news", &number.to_string());
        let many = u64::try_from(MAX_KNOWN).unwrap() + 10;
        for number in 0..many {
            assert_eq!(known.learn(id(number), begin + number / 2, begin), Ok(true));
        }
        assert_eq!((known.by_id.len(), known.by_time.len()), (MAX_KNOWN, MAX_KNOWN));
        for number in 0..many {
            assert_ne!(known.learn(id(number), begin + number / 2, begin), Ok(true), "{number}");
        }
        assert_eq!(known.learn(id(many), begin + 4, begin), Err(Refusal::Forgotten));
        assert_eq!(known.learn(id(many), begin + 6, begin), Ok(true));
        assert!(known.learn_own(id(many + 1), begin, begin), "what this node sends is no matter of the network");
    }

    #[test]
    fn what_came_while_nobody_listened_is_not_taken_when_it_is_sent_again() {
        let hub = Hub::new(true);
        let mut early = message(0);
        early.timestamp -= 1000;
        assert_eq!(hub.take("news", early, 1), Err(Refusal::Forgotten));
        let there = message(1);
        hub.take("news", there.clone(), 1).unwrap();
        hub.subscribe("news", "s").unwrap();
        hub.take("news", there, 1).unwrap();
        hub.take("news", message(2), 1).unwrap();
        assert_eq!((next(&hub, "s"), next(&hub, "s")), (Some("m2".to_owned()), None));
    }

    #[test]
    fn who_does_not_ask_for_an_hour_is_forgotten() {
        let hub = Hub::new(false);
        hub.subscribe("news", "s").unwrap();
        hub.take("news", message(1), 7).unwrap();
        let mut topics = hub.0.into_inner();
        topics.sweep(Instant::now() + Duration::from_secs(59 * 60));
        assert_eq!((topics.subscribers, topics.bytes, topics.by_name.len()), (1, 7, 1));
        topics.sweep(Instant::now() + Duration::from_secs(61 * 60));
        assert_eq!((topics.subscribers, topics.bytes, topics.by_name.len()), (0, 0, 0));
    }
}
