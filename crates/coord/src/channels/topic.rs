//! The topic of a channel: a log of messages that each subscriber reads at its own pace.

use std::collections::BTreeMap;

use plexspaces_actor::Effects;
use plexspaces_types::{Code, Failure, Payload};
use serde_json::{Map, Value, json};

use super::{From, MAX_PUBLISHED, MAX_SUBSCRIBERS, Message, RETENTION_MS};
use crate::numbers::Numbers;
use crate::request::{cut, decode, encode, number, row_key, text};
use crate::waiting::Waiting;

/// Messages that one step removes because they are old.
const FORGET_AT_ONCE: usize = 500;

#[derive(Default)]
pub(super) struct Topic {
    messages: BTreeMap<u64, Message>,
    /// By name, the number of the last message that it was given.
    places: BTreeMap<String, u64>,
    numbers: Numbers,
    waiting: Waiting<Wish>,
    /// Some who wait are not told yet of what there is for them.
    is_behind: bool,
}

enum Wish {
    /// The next message of a subscriber.
    Next(String),
    /// What comes after a number.
    After(u64),
}

impl Topic {
    pub(super) fn load(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        if kind == b'v' {
            return self.numbers.load(value);
        }
        if kind == b's' {
            let place = number("place of a subscriber", value)?;
            self.places.insert(text("subscriber", key)?, place);
            return Ok(());
        }
        let (number, message): (_, Message) = (number("message", key)?, decode("message", value)?);
        self.messages.insert(number, message);
        Ok(())
    }

    pub(super) fn last_number(&self) -> u64 {
        self.numbers.last()
    }

    pub(super) fn publish(&mut self, message: Message, channel: &str, effects: &mut Effects<'_>) {
        let number = self.numbers.next(b"v", effects);
        effects.put(&row_key(b't', &number.to_be_bytes()), encode(&message));
        self.messages.insert(number, message);
        self.tell(channel, effects);
        while self.messages.len() > MAX_PUBLISHED {
            self.forget_oldest(effects);
        }
    }

    /// Tells those who wait what there is for them, as many as one step should. Of one who asks twice at the same time the first is told, so
    /// that each message is given once.
    fn tell(&mut self, channel: &str, effects: &mut Effects<'_>) {
        let mut shown = None;
        for ticket in self.waiting.all() {
            self.is_behind = effects.is_full();
            if self.is_behind {
                return;
            }
            let Some((until_ms, wish)) = self.waiting.remove(ticket).filter(|_| effects.is_awaited(ticket)) else { continue };
            let place = match &wish {
                // One that was given up meanwhile begins with what came last.
                Wish::Next(subscriber) => self.places.get(subscriber).copied().unwrap_or_else(|| self.numbers.last().saturating_sub(1)),
                Wish::After(after) => *after,
            };
            let Some((number, message)) = self.messages.range(place.saturating_add(1)..).next() else {
                self.waiting.add(ticket, until_ms, wish);
                continue;
            };
            // Most wait for the same message.
            let (number, message) = match shown.take() {
                Some((known, message)) if known == *number => (known, message),
                _ => (*number, message.shown(channel)),
            };
            match wish {
                Wish::Next(subscriber) => {
                    self.put_place(&subscriber, number, effects);
                    effects.answer(ticket, Ok(Payload::from_value(&json!({"message": message}))));
                }
                Wish::After(_) => {
                    let messages = [with_position(message.clone(), number)];
                    effects.show(ticket, Payload::from_value(&json!({"messages": messages, "next": number})));
                }
            }
            shown = Some((number, message));
        }
        self.is_behind = false;
    }

    fn forget_oldest(&mut self, effects: &mut Effects<'_>) {
        if let Some((number, _)) = self.messages.pop_first() {
            effects.delete(&row_key(b't', &number.to_be_bytes()));
        }
    }

    fn put_place(&mut self, subscriber: &str, number: u64, effects: &mut Effects<'_>) {
        effects.put(&row_key(b's', subscriber.as_bytes()), number.to_be_bytes().to_vec());
        self.places.insert(subscriber.to_owned(), number);
    }

    /// Makes a subscriber; one that is there keeps its place.
    pub(super) fn subscribe(&mut self, subscriber: &str, from: From, effects: &mut Effects<'_>) -> Result<u64, Failure> {
        if let Some(place) = self.places.get(subscriber) {
            return Ok(*place);
        }
        if self.places.len() >= MAX_SUBSCRIBERS {
            return Err(Failure::new(Code::Overloaded, format!("the topic has {MAX_SUBSCRIBERS} subscribers")));
        }
        let place = match from {
            From::Earliest => self.messages.first_key_value().map_or(self.numbers.last(), |(number, _)| number - 1),
            From::Latest => self.numbers.last(),
        };
        self.put_place(subscriber, place, effects);
        Ok(place)
    }

    pub(super) fn unsubscribe(&mut self, subscriber: &str, effects: &mut Effects<'_>) {
        if self.places.remove(subscriber).is_some() {
            effects.delete(&row_key(b's', subscriber.as_bytes()));
        }
    }

    pub(super) fn has_subscriber(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether there is something that a subscriber has not been given yet.
    pub(super) fn has_more(&self, subscriber: &str) -> bool {
        let place = self.places.get(subscriber).copied().unwrap_or_default();
        self.messages.range(place.saturating_add(1)..).next().is_some()
    }

    /// How many messages a subscriber has not been given yet.
    pub(super) fn behind(&self, subscriber: &str) -> usize {
        let place = self.places.get(subscriber).copied().unwrap_or_default();
        self.messages.range(place.saturating_add(1)..).count()
    }

    /// What a subscriber has not been given yet.
    pub(super) fn next(&mut self, subscriber: &str, effects: &mut Effects<'_>) -> Result<Option<Message>, Failure> {
        let place = self.subscribe(subscriber, From::Earliest, effects)?;
        let next = self.messages.range(place.saturating_add(1)..).next().map(|(number, message)| (*number, message.clone()));
        let Some((number, message)) = next else { return Ok(None) };
        self.put_place(subscriber, number, effects);
        Ok(Some(message))
    }

    /// What came after a number, and the number to go on from.
    pub(super) fn tail(&self, after: u64, limit: usize, channel: &str) -> (Vec<Value>, u64) {
        let (page, _) = cut(self.messages.range(after.saturating_add(1)..), limit, |(_, message)| message.bytes());
        let next = page.last().map_or(after, |(number, _)| **number);
        (page.into_iter().map(|(number, message)| with_position(message.shown(channel), *number)).collect(), next)
    }

    pub(super) fn wait_as(&mut self, ticket: u64, until_ms: u64, subscriber: String) {
        self.waiting.add(ticket, until_ms, Wish::Next(subscriber));
    }

    pub(super) fn wait_after(&mut self, ticket: u64, until_ms: u64, after: u64) {
        self.waiting.add(ticket, until_ms, Wish::After(after));
    }

    pub(super) fn status(&self) -> Map<String, Value> {
        let counts = [("published", self.messages.len()), ("subscribers", self.places.len())];
        counts.map(|(name, count)| (name.to_owned(), json!(count))).into_iter().collect()
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        let oldest = self.messages.first_key_value().map(|(_, message)| message.at_ms.saturating_add(RETENTION_MS));
        [oldest, self.waiting.next_end(), self.is_behind.then_some(0)].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, channel: &str, effects: &mut Effects<'_>) {
        let now_ms = effects.now_ms();
        if self.is_behind {
            self.tell(channel, effects);
        }
        for _ in 0..FORGET_AT_ONCE {
            let is_old = self.messages.first_key_value().is_some_and(|(_, message)| message.at_ms.saturating_add(RETENTION_MS) <= now_ms);
            if !is_old {
                break;
            }
            self.forget_oldest(effects);
        }
        while let Some((ticket, wish)) = self.waiting.over(now_ms) {
            let answer = match wish {
                Wish::Next(_) => json!({"message": null}),
                Wish::After(after) => json!({"messages": [], "next": after}),
            };
            effects.show(ticket, Payload::from_value(&answer));
        }
    }
}

fn with_position(mut message: Value, number: u64) -> Value {
    if let Value::Object(members) = &mut message {
        members.insert("position".to_owned(), json!(number));
    }
    message
}
