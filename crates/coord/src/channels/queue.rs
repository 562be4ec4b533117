//! A queue: each message goes to one consumer, in order, until it is acknowledged. A channel has one, and one more for each group of consumers
//! of its topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plexspaces_actor::Effects;
use plexspaces_types::{Code, Failure, Payload};
use serde_json::{Map, Value, json};

use super::groups::nothing;
use super::{MAX_DELIVERIES, MAX_QUEUED, Message};
use crate::request::{cut, decode, encode, number, row_key};
use crate::waiting::Waiting;

/// Dead letters that are kept; a message that would be one more stays in the queue.
const MAX_DEAD: usize = 100_000;

#[derive(Default)]
pub(super) struct Queue {
    /// What the keys of its rows begin with.
    rows: Vec<u8>,
    messages: BTreeMap<u64, Message>,
    ready: BTreeSet<u64>,
    /// What is delayed or in the hands of a consumer, by when that ends.
    hidden: BTreeSet<(u64, u64)>,
    by_id: HashMap<String, u64>,
    dead: BTreeMap<u64, Message>,
    last_number: u64,
    /// Consumers with the time for which they want what they are given.
    waiting: Waiting<u64>,
}

impl Queue {
    /// One whose rows are apart from those of others, with numbers above one.
    pub(super) fn at(rows: Vec<u8>, last_number: u64) -> Self {
        Self { rows, last_number, ..Self::default() }
    }

    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    fn row(&self, kind: u8, number: u64) -> Vec<u8> {
        [self.rows.as_slice(), &row_key(kind, &number.to_be_bytes())].concat()
    }

    /// The keys of all its rows.
    pub(super) fn all_rows(&self) -> Vec<Vec<u8>> {
        let (messages, dead) =
            (self.messages.keys().map(|number| self.row(b'q', *number)), self.dead.keys().map(|number| self.row(b'd', *number)));
        messages.chain(dead).collect()
    }

    /// Whether somebody waits for what is not there.
    pub(super) fn is_hungry(&self) -> bool {
        self.ready.is_empty() && self.waiting.next_end().is_some()
    }

    /// Whether there is nothing that can be given out now.
    pub(super) fn is_bare(&self) -> bool {
        self.ready.is_empty()
    }

    /// Those who wait, who are to be told that there is nothing.
    pub(super) fn dismiss(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting).all()
    }

    pub(super) fn load(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let (number, message): (_, Message) = (number("message", key)?, decode("message", value)?);
        self.last_number = self.last_number.max(number);
        if kind == b'd' {
            self.dead.insert(number, message);
            return Ok(());
        }
        match message.hidden_until_ms {
            Some(until_ms) => drop(self.hidden.insert((until_ms, number))),
            None => drop(self.ready.insert(number)),
        }
        self.by_id.insert(message.id.clone(), number);
        self.messages.insert(number, message);
        Ok(())
    }

    /// Adds a message; one that is there already is not added again.
    pub(super) fn send(&mut self, mut message: Message, delay_ms: u64, channel: &str, effects: &mut Effects<'_>) -> Result<(), Failure> {
        if self.by_id.contains_key(&message.id) {
            return Ok(());
        }
        self.has_room(channel)?;
        self.last_number += 1;
        let number = self.last_number;
        self.by_id.insert(message.id.clone(), number);
        if delay_ms > 0 {
            let until_ms = effects.now_ms().saturating_add(delay_ms);
            message.hidden_until_ms = Some(until_ms);
            effects.put(&self.row(b'q', number), encode(&message));
            self.hidden.insert((until_ms, number));
            self.messages.insert(number, message);
            return Ok(());
        }
        effects.put(&self.row(b'q', number), encode(&message));
        self.messages.insert(number, message);
        self.ready.insert(number);
        self.serve(channel, effects);
        Ok(())
    }

    /// Fails if it holds as much as it may.
    pub(super) fn has_room(&self, channel: &str) -> Result<(), Failure> {
        if self.messages.len() < MAX_QUEUED {
            return Ok(());
        }
        Err(Failure::new(Code::Overloaded, format!("the queue of channel {channel:?} is full: {MAX_QUEUED} messages wait")))
    }

    /// Gives what is ready to those who wait.
    fn serve(&mut self, channel: &str, effects: &mut Effects<'_>) {
        while !self.ready.is_empty() {
            let Some((ticket, visibility_ms)) = self.waiting.first(|ticket, _| effects.is_awaited(ticket)) else { return };
            let message = self.receive(visibility_ms, effects);
            let shown = message.map(|message| message.given(channel));
            effects.answer(ticket, Ok(Payload::from_value(&json!({"message": shown}))));
        }
    }

    /// The next message, hidden from others for a time.
    pub(super) fn receive(&mut self, visibility_ms: u64, effects: &mut Effects<'_>) -> Option<Message> {
        let number = self.ready.pop_first()?;
        let message = self.messages.get_mut(&number)?;
        message.delivery_count += 1;
        let until_ms = effects.now_ms().saturating_add(visibility_ms);
        message.hidden_until_ms = Some(until_ms);
        self.hidden.insert((until_ms, number));
        let message = message.clone();
        effects.put(&self.row(b'q', number), encode(&message));
        Some(message)
    }

    pub(super) fn wait(&mut self, ticket: u64, until_ms: u64, visibility_ms: u64) {
        self.waiting.add(ticket, until_ms, visibility_ms);
    }

    /// A message is done. One that is not there any more was done before.
    pub(super) fn ack(&mut self, id: &str, receipt: Option<&str>, effects: &mut Effects<'_>) -> Result<(), Failure> {
        if let Some(number) = self.by_id.get(id).copied() {
            self.in_hand(number, id, receipt)?;
            effects.delete(&self.row(b'q', number));
            self.forget(number);
        }
        Ok(())
    }

    /// A message could not be done: it is given out again, or is a dead letter.
    pub(super) fn nack(
        &mut self,
        id: &str,
        receipt: Option<&str>,
        requeue: bool,
        channel: &str,
        effects: &mut Effects<'_>,
    ) -> Result<(), Failure> {
        let Some(number) = self.by_id.get(id).copied() else { return Ok(()) };
        self.in_hand(number, id, receipt)?;
        self.give_back(number, requeue, effects);
        self.serve(channel, effects);
        Ok(())
    }

    /// Fails unless somebody was given the message; with a receipt, unless whoever got that one still has it.
    fn in_hand(&self, number: u64, id: &str, receipt: Option<&str>) -> Result<(), Failure> {
        let Some(message) = self.messages.get(&number).filter(|message| message.delivery_count > 0) else {
            return Err(Failure::new(Code::Conflict, format!("the message {id:?} was not given to anybody yet")).with_field("msg_id"));
        };
        if receipt.is_none() || receipt == message.receipt().as_deref() {
            return Ok(());
        }
        let message = format!("the receipt of the message {id:?} does not hold any more: its time is over, or the message was given back");
        Err(Failure::new(Code::Conflict, message).with_field("receipt"))
    }

    fn give_back(&mut self, number: u64, requeue: bool, effects: &mut Effects<'_>) {
        let Some(message) = self.messages.get_mut(&number) else { return };
        if let Some(until_ms) = message.hidden_until_ms.take() {
            self.hidden.remove(&(until_ms, number));
        }
        let is_dead = !requeue || message.delivery_count >= MAX_DELIVERIES;
        let message = message.clone();
        if !is_dead || self.dead.len() >= MAX_DEAD {
            effects.put(&self.row(b'q', number), encode(&message));
            self.ready.insert(number);
            return;
        }
        effects.delete(&self.row(b'q', number));
        effects.put(&self.row(b'd', number), encode(&message));
        self.forget(number);
        self.dead.insert(number, message);
    }

    fn forget(&mut self, number: u64) {
        let Some(message) = self.messages.remove(&number) else { return };
        self.ready.remove(&number);
        if let Some(until_ms) = message.hidden_until_ms {
            self.hidden.remove(&(until_ms, number));
        }
        self.by_id.remove(&message.id);
    }

    pub(super) fn dead_letters(&self, after: Option<u64>, limit: usize, channel: &str) -> (Vec<Value>, Option<String>) {
        let all = self.dead.range(after.map_or(0, |after| after.saturating_add(1))..);
        let (page, more) = cut(all, limit, |(_, message)| message.bytes());
        let next = page.last().filter(|_| more).map(|(number, _)| number.to_string());
        (page.into_iter().map(|(_, message)| message.shown(channel)).collect(), next)
    }

    /// Puts dead letters into the queue again, as if they had never been given out: one at least, and no more than one step should do.
    pub(super) fn redrive(&mut self, ids: Option<&[String]>, channel: &str, effects: &mut Effects<'_>) -> usize {
        // One that waits already is not sent again.
        let is_free = |queue: &Self, message: &Message| !queue.by_id.contains_key(&message.id);
        let is_wanted = |message: &Message| ids.is_none_or(|ids| ids.contains(&message.id)) && is_free(self, message);
        let room = MAX_QUEUED.saturating_sub(self.messages.len()).min(REDRIVE_AT_ONCE);
        let numbers: Vec<u64> = self.dead.iter().filter(|(_, message)| is_wanted(message)).map(|(number, _)| *number).take(room).collect();
        let mut redriven = 0;
        for number in &numbers {
            if redriven > 0 && effects.is_full() {
                break;
            }
            if !self.dead.get(number).is_some_and(|message| is_free(self, message)) {
                continue;
            }
            let Some(mut message) = self.dead.remove(number) else { continue };
            redriven += 1;
            message.delivery_count = 0;
            message.hidden_until_ms = None;
            effects.delete(&self.row(b'd', *number));
            effects.put(&self.row(b'q', *number), encode(&message));
            self.by_id.insert(message.id.clone(), *number);
            self.messages.insert(*number, message);
            self.ready.insert(*number);
        }
        self.serve(channel, effects);
        redriven
    }

    pub(super) fn status(&self) -> Map<String, Value> {
        let in_flight =
            self.hidden.iter().filter(|(_, number)| self.messages.get(number).is_some_and(|message| message.delivery_count > 0)).count();
        let delayed = self.hidden.len() - in_flight;
        [("ready", self.ready.len()), ("delayed", delayed), ("in_flight", in_flight), ("dead", self.dead.len())]
            .map(|(name, count)| (name.to_owned(), json!(count)))
            .into_iter()
            .collect()
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        [self.hidden.first().map(|(until_ms, _)| *until_ms), self.waiting.next_end()].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, channel: &str, effects: &mut Effects<'_>) {
        let now_ms = effects.now_ms();
        for _ in 0..SHOW_AT_ONCE {
            let over = self.hidden.first().filter(|(until_ms, _)| *until_ms <= now_ms && !effects.is_full());
            let Some((_, number)) = over.copied() else { break };
            self.give_back(number, true, effects);
        }
        self.serve(channel, effects);
        while let Some((ticket, _)) = self.waiting.over(now_ms) {
            effects.show(ticket, nothing());
        }
    }
}

/// Messages that one step puts back into the queue.
const SHOW_AT_ONCE: usize = 500;
const REDRIVE_AT_ONCE: usize = 1000;
