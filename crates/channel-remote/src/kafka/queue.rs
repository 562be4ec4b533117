//! What the log of a queue means: which messages wait, in whose hands they are and until when.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::client::Entry;
use super::log::{Machine, Verdicts, entry};
use crate::DUPLICATE_WINDOW_SECS;
use crate::backend::Status;
use crate::message::Message;

const WINDOW_MS: u64 = DUPLICATE_WINDOW_SECS * 1000;

/// Bytes of messages that are kept in memory, of each queue.
const KEPT_BYTES: usize = 8 << 20;

/// Entries that may come behind the oldest one that is needed until its message is written again, and how many are at once.
const CARRY_AT: i64 = 20_000;
const CARRY_AT_ONCE: usize = 200;

/// An entry of the log. Times are in milliseconds since the Unix epoch by the clock of the node that writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Command {
    /// A message. An entry without a command is one too.
    Send {
        /// When it may be given out; 0 for at once.
        #[serde(default)]
        due_ms: u64,
        /// Whether it is one that was done before.
        #[serde(default)]
        again: bool,
    },
    /// A message is given out, if nothing has become of it since its version and it is in nobody's hands.
    Claim {
        number: i64,
        version: i64,
        at_ms: u64,
        until_ms: u64,
        /// The actor that asks under a key, and the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<(String, String)>,
        /// Whether it is given to the same actor again, whose answer was lost.
        #[serde(default)]
        same: bool,
    },
    /// A message is done.
    Done { number: i64 },
    /// A message is given back.
    Back { number: i64 },
    /// The queue is given up: nothing is left of what was before.
    Clear,
    /// A message is written again, as it is, if nothing has become of it since its version.
    Carry { number: i64, version: i64, count: u32, hidden_until_ms: u64, asked: Option<(String, String)> },
}

struct Held {
    id: String,
    /// The entry that has the message, and the message if it is kept.
    at: i64,
    body: Option<Bytes>,
    /// The last entry that changed something about it.
    version: i64,
    /// How often it was given out.
    count: u32,
    /// Until when nobody is given it.
    hidden_until_ms: u64,
    asked: Option<(String, String)>,
}

/// A message that can be given out.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) number: i64,
    pub(super) version: i64,
    pub(super) id: String,
    pub(super) count: u32,
    pub(super) at: i64,
    pub(super) body: Option<Bytes>,
    /// Whether it is given to the same actor again.
    pub(super) same: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    messages: BTreeMap<i64, Held>,
    by_id: HashMap<String, i64>,
    /// What is hidden, by when that ends.
    hidden: BTreeSet<(u64, i64)>,
    ready: BTreeSet<i64>,
    /// Entries that have messages which are needed, with those messages.
    needed: BTreeMap<i64, i64>,
    /// What was sent lately, the oldest first: when and where.
    sent: VecDeque<(u64, i64, String)>,
    lately: HashMap<String, i64>,
    /// What actors were given last, under which key.
    received: HashMap<String, (String, i64)>,
    /// What is done, and where that is said.
    done: HashMap<i64, i64>,
    /// Where it is said that the queue was given up.
    cleared: Option<i64>,
    verdicts: Verdicts,
    kept: usize,
    /// What this node is about to give out.
    pub(super) claiming: HashSet<i64>,
}

impl Queue {
    /// What can be given out now: to somebody who asks again what he was given, else the oldest. Or when there may be something.
    pub(super) fn pick(&mut self, now_ms: u64, asked: Option<&(String, String)>) -> Result<Candidate, Option<u64>> {
        if let Some((sender, key)) = asked
            && let Some((last, number)) = self.received.get(sender)
            && last == key
            && let Some(held) = self.messages.get(number)
        {
            return Ok(candidate(*number, held, true));
        }
        while let Some((until_ms, number)) = self.hidden.first().copied().filter(|(until_ms, _)| *until_ms <= now_ms) {
            self.hidden.remove(&(until_ms, number));
            self.ready.insert(number);
        }
        match self
            .ready
            .iter()
            .find(|number| !self.claiming.contains(number))
            .and_then(|number| Some((*number, self.messages.get(number)?)))
        {
            Some((number, held)) => {
                self.claiming.insert(number);
                Ok(candidate(number, held, false))
            }
            None => Err(self.hidden.first().map(|(until_ms, _)| *until_ms)),
        }
    }

    /// A message by its id, and how often it was given out.
    pub(super) fn find(&self, id: &str) -> Option<Candidate> {
        let number = self.by_id.get(id)?;
        self.messages.get(number).map(|held| candidate(*number, held, false))
    }

    /// Whether a claim had an effect.
    pub(super) fn was_accepted(&self, offset: i64) -> bool {
        self.verdicts.was_accepted(offset)
    }

    /// Whether a message may be sent: there is room, or it is there or came lately, as it is where an answer was lost, and takes none.
    pub(super) fn takes(&self, id: &str, most: usize) -> bool {
        self.messages.len() < most || self.by_id.contains_key(id) || self.lately.contains_key(id)
    }

    pub(super) fn status(&self, now_ms: u64) -> Status {
        let mut status = Status::default();
        for held in self.messages.values() {
            let count = match (held.hidden_until_ms > now_ms, held.count) {
                (true, 0) => &mut status.delayed,
                (true, _) => &mut status.in_flight,
                (false, _) => &mut status.ready,
            };
            *count += 1;
        }
        status
    }

    fn add(&mut self, number: i64, held: Held) {
        self.by_id.insert(held.id.clone(), number);
        self.needed.insert(held.at, number);
        self.show(number, held.hidden_until_ms);
        if let Some((sender, key)) = &held.asked {
            self.received.insert(sender.clone(), (key.clone(), number));
        }
        self.messages.insert(number, held);
    }

    fn show(&mut self, number: i64, hidden_until_ms: u64) {
        if hidden_until_ms == 0 {
            self.ready.insert(number);
        } else {
            self.hidden.insert((hidden_until_ms, number));
        }
    }

    /// Keeps a message in memory while there is room.
    fn keep(&mut self, body: Option<&Bytes>) -> Option<Bytes> {
        let body = body.filter(|body| self.kept + body.len() <= KEPT_BYTES)?.clone();
        self.kept += body.len();
        // The rest of what was read with it is not kept.
        Some(Bytes::copy_from_slice(&body))
    }

    fn remove(&mut self, number: i64) {
        let Some(held) = self.messages.remove(&number) else { return };
        self.by_id.remove(&held.id);
        self.needed.remove(&held.at);
        self.hidden.remove(&(held.hidden_until_ms, number));
        self.ready.remove(&number);
        self.kept -= held.body.map_or(0, |body| body.len());
        if let Some((sender, _)) = held.asked
            && self.received.get(&sender).is_some_and(|(_, last)| *last == number)
        {
            self.received.remove(&sender);
        }
    }

    fn send(&mut self, entry: &Entry, due_ms: u64, again: bool) {
        let Some(body) = &entry.body else { return };
        // What other programs have written and is no message has no meaning here.
        let Ok(Message { msg_id: id, .. }) = Message::decode(body, 0) else { return };
        while let Some((at_ms, offset, old)) = self.sent.front()
            && at_ms.saturating_add(WINDOW_MS) <= entry.at_ms
        {
            if self.lately.get(old) == Some(offset) {
                self.lately.remove(old);
            }
            self.sent.pop_front();
        }
        if let Some(held) = self.by_id.get(&id).and_then(|number| self.messages.get(number)) {
            return self.verdicts.refuse(held.at, entry.offset);
        }
        if let (Some(cause), false) = (self.lately.get(&id), again) {
            return self.verdicts.refuse(*cause, entry.offset);
        }
        self.lately.insert(id.clone(), entry.offset);
        self.sent.push_back((entry.at_ms, entry.offset, id.clone()));
        self.verdicts.accept(entry.offset);
        let body = self.keep(entry.body.as_ref());
        let (at, version) = (entry.offset, entry.offset);
        self.add(entry.offset, Held { id, at, body, version, count: 0, hidden_until_ms: due_ms, asked: None });
    }

    /// Changes what is known of a message, and says whether there is such a message.
    fn change(&mut self, number: i64, offset: i64, change: impl FnOnce(&mut Held) -> bool) {
        let Some(held) = self.messages.get_mut(&number) else { return };
        let before = held.hidden_until_ms;
        if !change(held) {
            return;
        }
        held.version = offset;
        let after = held.hidden_until_ms;
        self.verdicts.accept(offset);
        self.hidden.remove(&(before, number));
        self.ready.remove(&number);
        self.show(number, after);
    }

    fn carry(&mut self, entry: &Entry, command: Command) {
        let Command::Carry { number, version, count, hidden_until_ms, asked } = command else { return };
        let Some(message) = entry.body.as_ref().and_then(|body| Message::decode(body, 0).ok()) else { return };
        let (offset, at) = (entry.offset, entry.offset);
        match self.messages.get_mut(&number) {
            Some(held) if held.version == version => {
                self.needed.remove(&held.at);
                (held.at, held.version) = (at, offset);
                self.needed.insert(at, number);
                self.verdicts.accept(offset);
            }
            // Who begins to read after the message must not find this.
            Some(held) => self.verdicts.refuse(held.at, offset),
            None => {
                // It is done, or the log was begun to be read where nothing was needed of it but this.
                if let Some(done) = self.done.get(&number).copied().or(self.cleared.filter(|cleared| number < *cleared)) {
                    return self.verdicts.refuse(done, offset);
                }
                if let Some(other) = self.by_id.get(&message.msg_id).and_then(|number| self.messages.get(number)) {
                    return self.verdicts.refuse(other.at, offset);
                }
                let body = self.keep(entry.body.as_ref());
                self.add(number, Held { id: message.msg_id, at, body, version: offset, count, hidden_until_ms, asked });
            }
        }
    }
}

impl Machine for Queue {
    fn settings() -> Vec<(&'static str, String)> {
        super::kept_for_ever()
    }

    fn apply(&mut self, entry: &Entry) {
        let send = Command::Send { due_ms: 0, again: false };
        let command = entry.command.as_ref().map_or(Some(send), |command| serde_json::from_slice(command).ok());
        let offset = entry.offset;
        match command {
            Some(Command::Send { due_ms, again }) => self.send(entry, due_ms, again),
            Some(Command::Claim { number, version, at_ms, until_ms, asked, same }) => {
                let before = self.messages.get(&number).and_then(|held| held.asked.clone());
                let may = |held: &Held| match same {
                    true => held.asked.is_some() && held.asked == asked,
                    false => held.version == version && held.hidden_until_ms <= at_ms,
                };
                self.change(number, offset, |held| {
                    let is_given = may(held);
                    if is_given {
                        held.count = held.count.saturating_add(u32::from(!same));
                        held.hidden_until_ms = until_ms;
                        held.asked.clone_from(&asked);
                    }
                    is_given
                });
                if self.verdicts.was_accepted(offset) {
                    if let Some((sender, _)) = before
                        && self.received.get(&sender).is_some_and(|(_, last)| *last == number)
                    {
                        self.received.remove(&sender);
                    }
                    if let Some((sender, key)) = asked {
                        self.received.insert(sender, (key, number));
                    }
                }
            }
            Some(Command::Back { number }) => self.change(number, offset, |held| {
                let was_given = held.count > 0;
                if was_given {
                    held.hidden_until_ms = 0;
                }
                was_given
            }),
            Some(Command::Done { number }) => {
                self.done.insert(number, offset);
                self.remove(number);
            }
            Some(Command::Clear) => {
                let verdicts = std::mem::take(&mut self.verdicts);
                *self = Self { cleared: Some(offset), verdicts, ..Self::default() };
                // What was on its way to be written again may still come after it.
                self.sent.push_back((entry.at_ms, offset, String::new()));
            }
            Some(carry @ Command::Carry { .. }) => self.carry(entry, carry),
            None => {}
        }
    }

    fn low(&self, end: i64) -> i64 {
        let needed = self.needed.first_key_value().map_or(end, |(at, _)| *at);
        let lately = self.sent.front().map_or(end, |(_, offset, _)| *offset);
        self.verdicts.cut(needed.min(lately).min(end))
    }

    fn lost(&mut self, start: i64) {
        let gone: Vec<i64> = self.needed.range(..start).map(|(_, number)| *number).collect();
        for number in gone {
            self.remove(number);
        }
        self.done.retain(|_, offset| *offset >= start);
        self.cleared = self.cleared.filter(|offset| *offset >= start);
        self.verdicts.lost(start);
    }

    fn again(&self, end: i64) -> Vec<(Option<i64>, Entry)> {
        let much = i64::try_from(self.messages.len()).unwrap_or(i64::MAX).saturating_mul(4).max(CARRY_AT);
        let oldest = self.needed.iter().take_while(|(at, _)| end.saturating_sub(**at) >= much).take(CARRY_AT_ONCE);
        oldest
            .filter_map(|(at, number)| {
                let Held { version, count, hidden_until_ms, asked, .. } = self.messages.get(number)?;
                let (version, count, hidden_until_ms, asked) = (*version, *count, *hidden_until_ms, asked.clone());
                let carry = Command::Carry { number: *number, version, count, hidden_until_ms, asked };
                Some((Some(*at), entry(&carry, None).ok()?))
            })
            .collect()
    }
}

fn candidate(number: i64, held: &Held, same: bool) -> Candidate {
    let Held { id, at, body, version, count, .. } = held;
    Candidate { number, version: *version, id: id.clone(), count: *count, at: *at, body: body.clone(), same }
}

#[cfg(test)]
mod tests {
    use plexspaces_coord::channels::Given;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// A log, and those who read it.
    #[derive(Default)]
    struct World {
        entries: Vec<Entry>,
        now_ms: u64,
    }

    impl World {
        fn write(&mut self, command: &Command, id: Option<&str>) -> i64 {
            let body = id.map(|id| {
                let payload = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
                let given = Given { msg_id: Some(id.to_owned()), msg_type: String::new(), payload };
                Bytes::from(Message::new(given, None, None).encode().unwrap())
            });
            let offset = i64::try_from(self.entries.len()).unwrap();
            self.entries.push(Entry { offset, at_ms: self.now_ms, ..entry(command, body).unwrap() });
            offset
        }

        fn read(&self, queue: &mut Queue, from: i64) {
            self.entries.iter().filter(|entry| entry.offset >= from).for_each(|entry| queue.apply(entry));
        }

        fn from(&self, start: i64) -> Queue {
            let mut queue = Queue::default();
            self.read(&mut queue, start);
            queue
        }
    }

    fn send() -> Command {
        Command::Send { due_ms: 0, again: false }
    }

    fn claim(candidate: &Candidate, at_ms: u64, until_ms: u64) -> Command {
        let (number, version, same) = (candidate.number, candidate.version, candidate.same);
        Command::Claim { number, version, at_ms, until_ms, asked: None, same }
    }

    fn shown(queue: &Queue) -> Vec<(i64, String, u32, u64)> {
        let held = queue.messages.iter();
        held.map(|(number, held)| (*number, held.id.clone(), held.count, held.hidden_until_ms)).collect()
    }

    #[test]
    fn of_two_who_claim_a_message_the_first_has_it() {
        let mut world = World { now_ms: 1000, ..World::default() };
        world.write(&send(), Some("a"));
        world.write(&send(), Some("b"));
        let (mut one, mut other) = (world.from(0), world.from(0));
        let (first, second) = (one.pick(1000, None).unwrap(), other.pick(1000, None).unwrap());
        assert_eq!((first.number, second.number), (0, 0));
        let (won, lost) = (world.write(&claim(&first, 1000, 2000), None), world.write(&claim(&second, 1000, 5000), None));
        world.read(&mut one, 2);
        world.read(&mut other, 2);
        for queue in [&one, &other] {
            assert!(queue.was_accepted(won) && !queue.was_accepted(lost));
            assert_eq!(shown(queue), [(0, "a".to_owned(), 1, 2000), (1, "b".to_owned(), 0, 0)]);
        }
        one.claiming.clear();
        assert_eq!(one.pick(1000, None).unwrap().number, 1);
        assert_eq!(one.pick(1000, None).unwrap_err(), Some(2000));
        assert_eq!(one.pick(2000, None).unwrap().number, 0);
    }

    #[test]
    fn what_was_sent_lately_is_dropped_and_what_comes_again_is_not() {
        let mut world = World { now_ms: 1000, ..World::default() };
        for at_ms in [1000, 2000, 1000 + WINDOW_MS] {
            world.now_ms = at_ms;
            world.write(&send(), Some("a"));
            let number = i64::try_from(world.entries.len()).unwrap() - 1;
            world.write(&Command::Done { number }, None);
        }
        world.write(&Command::Send { due_ms: 0, again: true }, Some("a"));
        let mut queue = world.from(0);
        assert_eq!(queue.find("a").unwrap().number, 6);
        assert!(queue.was_accepted(0) && !queue.was_accepted(2) && queue.was_accepted(4));
        assert_eq!(queue.pick(0, None).unwrap().count, 0);
    }

    #[test]
    fn what_is_sent_again_needs_no_room() {
        let mut world = World { now_ms: 1000, ..World::default() };
        for id in ["done", "waits"] {
            world.write(&send(), Some(id));
        }
        world.write(&Command::Done { number: 0 }, None);
        let queue = world.from(0);
        assert_eq!(["done", "waits", "another"].map(|id| queue.takes(id, 1)), [true, true, false]);
        assert!(queue.takes("another", 2));
    }

    #[test]
    fn who_reads_a_log_that_was_cut_finds_what_all_find() {
        let mut cut = 0;
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut world, mut queue) = (World { now_ms: 1000, ..World::default() }, Queue::default());
            let (mut read, mut start, mut stale) = (0, 0, Vec::new());
            for _ in 0..200 {
                world.now_ms += random.random_range(0..WINDOW_MS / 20);
                let end = i64::try_from(world.entries.len()).unwrap();
                let some = |queue: &Queue, random: &mut StdRng| {
                    let all: Vec<i64> = queue.messages.keys().copied().collect();
                    (!all.is_empty()).then(|| all[random.random_range(0..all.len())])
                };
                match random.random_range(0..41) / 5 {
                    0 | 1 => {
                        world.write(&send(), Some(&format!("m{}", random.random_range(0..30))));
                    }
                    2 | 3 => {
                        if let Ok(candidate) = queue.pick(world.now_ms, None) {
                            world.write(&claim(&candidate, world.now_ms, world.now_ms + random.random_range(1..WINDOW_MS)), None);
                        }
                    }
                    what @ (4 | 5) => {
                        if let Some(number) = some(&queue, &mut random) {
                            world.write(&if what == 4 { Command::Done { number } } else { Command::Back { number } }, None);
                        }
                    }
                    6 => stale.extend(queue.again(i64::MAX)),
                    8 => {
                        world.write(&Command::Clear, None);
                    }
                    // What is carried may come late, when the message has changed or is gone.
                    _ => {
                        for (at, carried) in stale.drain(..) {
                            let body = world.entries[usize::try_from(at.unwrap()).unwrap()].body.clone();
                            let offset = i64::try_from(world.entries.len()).unwrap();
                            world.entries.push(Entry { offset, at_ms: world.now_ms, body, ..carried });
                        }
                    }
                }
                world.read(&mut queue, read);
                read = i64::try_from(world.entries.len()).unwrap();
                queue.claiming.clear();
                if random.random_range(0..5) == 0 {
                    start = queue.low(read).max(start);
                    queue.lost(start);
                }
                assert_eq!(shown(&world.from(start)), shown(&queue), "seed {seed}, {end}, cut at {start}");
            }
            cut += usize::from(start > 0);
        }
        assert!(cut > 200, "{cut}");
    }
}
