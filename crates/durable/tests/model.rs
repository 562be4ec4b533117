//! The core against a model that knows nothing of journals: an actor's programs, cut off, run again, fenced and checked, over a plain map.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "model/plain.rs"]
mod plain;
#[path = "model/records.rs"]
mod records;

use std::collections::BTreeMap;

use bytes::Bytes;
use plain::{Course, Do, From, Message, Model, Part};
use plexspaces_durable::journal::{self, Entry, Recorded, Refusal, Signal, Step};
use plexspaces_durable::{
    Activation, Answer, Changes, Divergence, Keeping, Outcome, Outgoing, PUBLISHED, Past, Published, RETENTION_MS, Reminder, Replay,
    answer_key, decode_heard, heard_key, key_value_key, key_value_prefix,
};
use plexspaces_store::{Batch, Precondition, Range, Write};
use plexspaces_types::Payload;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use records::{
    begin, call_key, checksum, end, fingerprint, json, message_of, number, outgoing, pair, partition, reminder, stored_pair, told_in,
};

#[derive(Clone, Debug)]
enum Op {
    /// A message; with a cut, its nth commit is the last, before or after it reached the disk.
    Handle { steps: Vec<Do>, fails: bool, from: (u8, u8), cut: Option<(usize, bool)> },
    /// Many small turns.
    Bulk(u8),
    /// The node is gone, and another comes.
    Crash,
    /// Another activation handles a message while this one believes that it is the only one. With `true` the other comes first, and this one
    /// has read what there is before the other handles the message.
    Rival(Vec<Do>, bool),
    /// So many of the messages that were sent have arrived.
    Arrived(usize),
    /// A day passes.
    Later,
    /// The code does something else at its nth call.
    Diverge(usize, Other),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Call,
    Arguments,
    Reply,
    /// It ends there.
    End,
}

/// Why a turn did not come to its end.
enum Cut {
    /// The node is gone, or another activation has taken over.
    Off,
    Diverged(Divergence),
    /// The journal ends there, and so does what is wanted.
    Reached,
}

impl std::convert::From<Divergence> for Cut {
    fn from(divergence: Divergence) -> Self {
        Self::Diverged(divergence)
    }
}

struct Live {
    activation: Activation,
    state: i64,
}

struct World {
    disk: BTreeMap<Bytes, Bytes>,
    keeping: Keeping,
    now_ms: u64,
    /// How often somebody outside was asked: no answer is like another.
    asked: i64,
    messages: u64,
    live: Option<Live>,
    /// Commits until the node is gone, and whether the last is on the disk.
    cut: Option<(usize, bool)>,
    /// Another activation has committed since this one came.
    succeeded: bool,
    sent_to: BTreeMap<u8, u64>,
    model: Model,
}

/// A turn while its code runs.
struct Turn<'a> {
    message: &'a Message,
    number: u64,
    replay: Option<Replay>,
    other: Option<(usize, Other)>,
    /// Whether it goes no further than its journal.
    only_again: bool,
    calls: usize,
    entries: Vec<Entry>,
    told: Vec<i64>,
    pairs: BTreeMap<u8, Option<i8>>,
    part: Part,
    sent: u64,
}

impl Turn<'_> {
    fn is_again(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| !replay.is_over())
    }

    /// A call of the host: what its code was given before, or nothing when it is new; and the signals that came before that.
    fn call(&mut self, call: &str) -> Result<Option<Payload>, Cut> {
        let other = self.other.filter(|(at, _)| *at == self.calls).map(|(_, other)| other);
        self.calls += 1;
        let text = if other == Some(Other::Call) { format!("other {call}") } else { call.to_owned() };
        let Some(replay) = &mut self.replay else { return Ok(None) };
        let step = replay.step(&text, u32::from(other == Some(Other::Arguments)))?;
        for signal in replay.take_signals() {
            self.told.push(number(&signal.payload));
        }
        match step {
            None if self.only_again => Err(Cut::Reached),
            step => Ok(step.map(|step| step.result.unwrap())),
        }
    }

    fn did(&mut self, call: &str, result: i64) {
        let (call, result) = (call.to_owned(), Ok(json(result)));
        self.entries.push(Entry::Step(Step { call, arguments: 0, at_ms: 0, result }));
    }
}

impl World {
    fn new(keeping: Keeping) -> Self {
        Self {
            disk: BTreeMap::new(),
            keeping,
            now_ms: 1000,
            asked: 0,
            messages: 0,
            live: None,
            cut: None,
            succeeded: false,
            sent_to: BTreeMap::new(),
            model: Model::default(),
        }
    }

    fn scan(&self, range: &Range) -> Vec<(Bytes, Bytes)> {
        let from = self.disk.range(range.start.clone()..);
        from.take_while(|(key, _)| range.contains(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn keys(&self, range: &Range) -> Vec<Bytes> {
        self.scan(range).into_iter().map(|(key, _)| key).collect()
    }

    fn recall(&self) -> (Activation, Past) {
        let mut head = self.scan(&Activation::recovery_range());
        head.truncate(Activation::RECOVERY);
        let mut activation = Activation::recover(partition(), self.keeping, &head).unwrap();
        let past = activation.recall(&self.scan(&activation.journal_range())).unwrap();
        (activation, past)
    }

    /// False when the batch's conditions do not hold.
    fn apply(&mut self, batch: Batch) -> bool {
        let holds = batch.preconditions.iter().all(|precondition| match precondition {
            Precondition::Absent { key } => !self.disk.contains_key(key),
            Precondition::Equals { key, value } => self.disk.get(key) == Some(value),
        });
        for write in batch.writes.into_iter().filter(|_| holds) {
            match write {
                Write::Put { key, value } => self.disk.insert(key, value),
                Write::Delete { key } => self.disk.remove(&key),
            };
        }
        holds
    }

    /// Commits as the runner does: with what may go. True when there was something to commit.
    fn commit(&mut self, mut changes: Changes, part: Part, course: Course) -> Result<bool, Cut> {
        let activation = &self.live.as_ref().unwrap().activation;
        let (expired, stale) = (activation.expired_range(self.now_ms), activation.stale_range());
        changes.forget = expired.map(|range| self.keys(&range)).unwrap_or_default();
        changes.stale = stale.map(|range| self.keys(&range)).unwrap_or_default();
        changes.outgoing = part.sent.iter().map(|(number, what)| outgoing(*number, *what)).collect();
        changes.reminders = part.reminders.iter().map(|(name, due)| (name.to_string(), due.map(reminder))).collect();
        changes.published = part.published.map(|state| (7, json(state)));
        changes.heard = part.heard.map(|(sender, number)| (sender.to_string(), number));
        changes.arrived.clone_from(&part.arrived);
        let now_ms = self.now_ms;
        let Outcome::Commit(batch) = self.live.as_mut().unwrap().activation.commit(changes, now_ms) else { return Ok(false) };
        let last = match &mut self.cut {
            Some((left, after)) => {
                *left -= 1;
                (*left == 0).then_some(*after)
            }
            None => None,
        };
        if last == Some(false) {
            return self.gone();
        }
        if !self.apply(batch) {
            assert!(self.succeeded, "nobody else has committed");
            return self.gone();
        }
        assert!(!self.succeeded, "another activation has taken over");
        self.model.commit(part, course, now_ms);
        if last == Some(true) {
            return self.gone();
        }
        self.live.as_mut().unwrap().activation.committed();
        Ok(true)
    }

    fn gone(&mut self) -> Result<bool, Cut> {
        (self.live, self.cut, self.succeeded) = (None, None, false);
        Err(Cut::Off)
    }

    /// Commits what a turn has done so far.
    fn suspend(&mut self, turn: &mut Turn<'_>, beside: bool) -> Result<(), Cut> {
        let has_begun = self.live.as_ref().unwrap().activation.has_begun();
        let part = std::mem::take(&mut turn.part);
        if turn.entries.is_empty() && part.published.is_none() && has_begun {
            return Ok(());
        }
        let changes = Changes { entries: std::mem::take(&mut turn.entries), beside, ..Changes::default() };
        self.commit(changes, part, Course::UnderWay(turn.message.clone(), turn.told.clone())).map(drop)
    }

    /// The code: it knows what it is told, and nothing else.
    fn code(&mut self, turn: &mut Turn<'_>, mut state: i64) -> Result<i64, Cut> {
        for step in &turn.message.steps {
            let calls = !matches!(step, Do::Add(_) | Do::Publish);
            if calls && turn.other == Some((turn.calls, Other::End)) {
                return Ok(state);
            }
            let call = format!("{step:?}");
            match *step {
                Do::Add(n) => state += i64::from(n),
                Do::Publish => turn.part.published = (!turn.is_again()).then_some(state).or(turn.part.published),
                Do::Put(..) | Do::Drop(_) => {
                    if turn.call(&call)?.is_none() {
                        turn.did(&call, 0);
                    }
                    let (key, value) = if let Do::Put(key, value) = *step { (key, Some(value)) } else { (call_key(*step), None) };
                    turn.pairs.insert(key, value);
                }
                Do::Get(key) => {
                    let told = turn.call(&call)?.map(|told| number(&told));
                    state += told.unwrap_or_else(|| {
                        let stored = || self.disk.get(&key_value_key(&key.to_string())).map(pair);
                        let value = turn.pairs.get(&key).copied().unwrap_or_else(stored).map_or(0, i64::from);
                        turn.did(&call, value);
                        value
                    });
                }
                Do::Tell(what) => {
                    let is_new = turn.call(&call)?.is_none();
                    turn.sent += 1;
                    if is_new {
                        turn.part.sent.push((Outgoing::number(turn.number, turn.sent), what));
                        turn.did(&call, 0);
                    }
                }
                Do::Remind(..) | Do::Forget(_) => {
                    if turn.call(&call)?.is_none() {
                        let (name, due) = if let Do::Remind(name, due) = *step { (name, Some(due)) } else { (call_key(*step), None) };
                        turn.part.reminders.insert(name, due);
                        turn.did(&call, 0);
                    }
                }
                Do::Checkpoint => {
                    if turn.call(&call)?.is_none() {
                        turn.did(&call, 0);
                        self.suspend(turn, true)?;
                    }
                }
                Do::Wait | Do::Hear(_) => state += self.wait(turn, *step, &call)?,
            }
        }
        Ok(state)
    }

    fn wait(&mut self, turn: &mut Turn<'_>, step: Do, call: &str) -> Result<i64, Cut> {
        let before: usize = turn.told.len();
        if let Some(told) = turn.call(call)? {
            turn.told.push(number(&told));
        } else {
            self.suspend(turn, false)?;
            if let Do::Hear(n) = step {
                // Where the journal ended with the signal, it came before.
                if turn.told.len() == before {
                    let signal = Signal { at_ms: 0, operation: "s".to_owned(), payload: json(i64::from(n)) };
                    turn.entries.push(Entry::Signal(signal));
                    turn.told.push(i64::from(n));
                    self.suspend(turn, false)?;
                }
            }
            self.asked += 1000;
            turn.did(call, self.asked);
            turn.told.push(self.asked);
            self.suspend(turn, false)?;
        }
        Ok(turn.told[before..].iter().sum())
    }

    /// One turn, or the rest of one.
    fn turn(&mut self, message: &Message, recorded: Option<Recorded>) -> Result<i64, Cut> {
        let live = self.live.as_ref().unwrap();
        let (before, number, is_pending) = (live.state, live.activation.current_turn(), recorded.is_some());
        let (wants_state, is_new) = (live.activation.wants_state(), live.activation.is_new());
        let mut turn = turn(message, number, recorded.map(Replay::of));
        if !is_pending {
            turn.entries.extend(is_new.then(|| Entry::Base(json(before))));
            turn.entries.push(begin(message));
            if let From::Sender(sender, number) = message.from {
                turn.part.heard = Some((sender, number));
            }
        }
        let state = self.code(&mut turn, before)?;
        if message.fails {
            let has_begun = self.live.as_ref().unwrap().activation.has_begun();
            let failed = journal::Outcome::Failed(Refusal { code: "handler_failed".into(), message: "no".into(), field: None });
            let entries = (!has_begun).then(|| begin(message)).into_iter().chain([end(failed, None)]).collect();
            self.commit(Changes { entries, ..Changes::default() }, Part::default(), Course::Failed)?;
            return Ok(before);
        }
        if let Some(replay) = &mut turn.replay {
            replay.finish(checksum(state))?;
        }
        turn.entries.push(end(journal::Outcome::Done { reply: checksum(state) }, wants_state.then_some(state)));
        let answer = match message.from {
            From::Key(key) => Some((key.to_string(), fingerprint(message.id), json(state))),
            _ => None,
        };
        let key_values = turn.pairs.iter().map(|(key, value)| (key.to_string(), value.map(stored_pair))).collect();
        let changes = Changes { entries: std::mem::take(&mut turn.entries), key_values, answer, ..Changes::default() };
        let (part, told) = (std::mem::take(&mut turn.part), std::mem::take(&mut turn.told));
        if !self.commit(changes, part, Course::Done(message.clone(), told))? {
            assert_eq!(state, before, "what was not committed has changed nothing");
            assert!(!matches!(message.from, From::Key(_)), "an answer is kept also where nothing else is");
        }
        self.live.as_mut().unwrap().state = state;
        Ok(state)
    }

    /// An actor as it comes back: from the state that was kept, through the turns since, to the end of the one that was under way.
    fn live(&mut self) -> Result<(), Cut> {
        if self.live.is_some() {
            return Ok(());
        }
        let (activation, past) = self.recall();
        let mut state = past.state.as_ref().map_or(0, number);
        for recorded in past.turns {
            state = self.again(recorded, state, None)?;
        }
        assert_eq!(state, self.model.state, "the state is that of all turns that are done");
        let pending = past.pending.as_ref().map(|recorded| (message_of(recorded), told_in(recorded)));
        assert_eq!(pending, self.model.pending, "the turn that is under way was told what it was told");
        self.live = Some(Live { activation, state });
        match past.pending {
            Some(recorded) => self.turn(&message_of(&recorded), Some(recorded)).map(drop),
            None => Ok(()),
        }
    }

    /// Runs a turn again as far as its journal goes; gives the state after it.
    fn again(&mut self, recorded: Recorded, state: i64, other: Option<(usize, Other)>) -> Result<i64, Cut> {
        let message = message_of(&recorded);
        let mut turn = Turn { other, only_again: true, ..turn(&message, recorded.turn, Some(Replay::of(recorded))) };
        let after = self.code(&mut turn, state)?;
        let reply = checksum(after) + u32::from(other.is_some_and(|(_, other)| other == Other::Reply));
        turn.replay.as_mut().unwrap().finish(reply)?;
        Ok(after)
    }

    /// Sends a message as long as whoever sends it does not know that it was handled.
    fn deliver(&mut self, message: &Message) {
        loop {
            if self.live().is_ok() {
                match message.from {
                    From::Key(key) => {
                        let stored = self.disk.get(&answer_key(&key.to_string())).map(|value| Answer::decode(value).unwrap());
                        if let Some(stored) = stored.filter(|answer| self.now_ms < answer.expires_ms) {
                            let (id, reply, _) = self.model.answers[&key];
                            assert_eq!((stored.fingerprint, number(&stored.reply)), (fingerprint(id), reply));
                            return;
                        }
                    }
                    From::Sender(sender, number) if self.heard(sender) >= number => return,
                    _ => {}
                }
                match self.turn(message, None) {
                    Ok(_) => return,
                    Err(Cut::Off) => {}
                    Err(Cut::Diverged(divergence)) => panic!("{divergence}"),
                    Err(Cut::Reached) => unreachable!(),
                }
            }
            if message.from == From::Nobody {
                return;
            }
        }
    }

    fn heard(&self, sender: u8) -> u64 {
        self.disk.get(&heard_key(&sender.to_string())).map_or(0, |value| decode_heard(value).unwrap())
    }

    fn message(&mut self, steps: Vec<Do>, fails: bool, (kind, who): (u8, u8)) -> Message {
        self.messages += 1;
        let from = match kind % 3 {
            0 => From::Nobody,
            1 => From::Key(who),
            _ => {
                let number = self.sent_to.entry(who).or_default();
                *number += 1;
                From::Sender(who, *number)
            }
        };
        Message { id: self.messages, steps, fails, from }
    }

    fn apply_op(&mut self, op: Op) {
        match op {
            Op::Handle { steps, fails, from, cut } => {
                let message = self.message(steps, fails, from);
                self.cut = cut;
                self.deliver(&message);
                self.cut = None;
            }
            Op::Bulk(turns) => {
                for n in 0..turns {
                    let message = self.message(vec![Do::Add(n as i8)], false, (0, 0));
                    self.deliver(&message);
                }
            }
            Op::Crash => drop(self.gone()),
            Op::Rival(steps, true) => {
                if self.live().is_ok() && !self.succeeded {
                    let (state, stored, successor) = (self.model.state, self.disk.clone(), self.recall().0);
                    let message = self.message(steps, false, (2, 200));
                    self.deliver(&message);
                    self.live = Some(Live { activation: successor, state });
                    self.succeeded = self.disk != stored;
                }
            }
            Op::Rival(steps, false) => {
                drop(self.live());
                let (before, stored) = (self.live.take(), self.disk.clone());
                let already = std::mem::take(&mut self.succeeded);
                let message = self.message(steps, false, (2, 200));
                self.deliver(&message);
                self.live = before;
                self.succeeded = (already || self.disk != stored) && self.live.is_some();
            }
            Op::Arrived(count) => {
                drop(self.live());
                let arrived: Vec<u64> = self.model.outbox.keys().take(count).copied().collect();
                if self.live.is_some() {
                    drop(self.commit(Changes::default(), Part { arrived, ..Part::default() }, Course::Beside));
                }
            }
            Op::Later => self.now_ms += RETENTION_MS + 1,
            Op::Diverge(at, other) => self.diverge(at, other),
        }
    }

    /// Other code is told from the code that wrote the journal, at the first place where it does something else and nowhere before.
    fn diverge(&mut self, at: usize, other: Other) {
        let (_, past) = self.recall();
        let mut state = past.state.as_ref().map_or(0, number);
        for recorded in past.turns.into_iter().chain(past.pending) {
            let steps: Vec<usize> = (0..recorded.entries.len()).filter(|n| matches!(recorded.entries[*n], Entry::Step(_))).collect();
            let expected = match other {
                Other::Reply => recorded.end().map(|_| recorded.entries.len() - 1),
                _ => steps.get(at).copied(),
            };
            let (turn, entry) = (recorded.turn, expected.map(|position| recorded.entries[position].clone()));
            match (self.again(recorded, state, Some((at, other))), expected) {
                (Ok(after), None) => state = after,
                (Err(Cut::Reached), None) => return,
                (Err(Cut::Diverged(found)), Some(position)) => {
                    let Some(entry) = entry else { unreachable!() };
                    let (journal, code) = match (entry, other) {
                        (Entry::Step(step), Other::Call) => (step.call.clone(), format!("other {}", step.call)),
                        (Entry::Step(step), Other::Arguments) => (step.call.clone(), format!("{} with other arguments", step.call)),
                        (Entry::Step(step), _) => (step.call, "its end".to_owned()),
                        _ => ("its end".to_owned(), "another reply".to_owned()),
                    };
                    assert_eq!(found, Divergence { turn, position, journal, code });
                    return;
                }
                (found, expected) => panic!("turn {turn}: {:?}, expected a difference at {expected:?}", found.err().map(|_| "cut")),
            }
        }
    }

    /// The disk has what the model has.
    fn check(&self) {
        let model = &self.model;
        let name = |key: &Bytes, prefix: usize| std::str::from_utf8(&key[prefix..]).unwrap().parse::<u8>().unwrap();
        let pairs: BTreeMap<u8, i8> =
            self.scan(&Range::prefix(&key_value_prefix(""))).iter().map(|(key, value)| (name(key, 2), pair(value))).collect();
        assert_eq!(pairs, model.pairs);
        let reminders = self.scan(&Range::prefix(b"r/"));
        let reminders = reminders.iter().map(|(key, value)| (name(key, 2), Reminder::decode(value).unwrap().due_ms as u8));
        assert_eq!(reminders.collect::<BTreeMap<_, _>>(), model.reminders);
        let outbox = self.scan(&Outgoing::range()).into_iter().map(|(_, value)| Outgoing::decode(&value).unwrap());
        assert_eq!(outbox.map(|sent| (sent.number, number(&sent.payload) as i8)).collect::<BTreeMap<_, _>>(), model.outbox);
        for (sender, number) in &model.heard {
            assert_eq!(self.heard(*sender), *number);
        }
        for (key, (id, reply, _)) in model.answers.iter().filter(|(_, (_, _, expires_ms))| self.now_ms < *expires_ms) {
            let stored = Answer::decode(&self.disk[&answer_key(&key.to_string())]).unwrap();
            assert_eq!((stored.fingerprint, number(&stored.reply)), (fingerprint(*id), *reply));
        }
        let published = self.disk.get(PUBLISHED).map(|value| Published::decode(value).unwrap());
        assert_eq!(published.as_ref().map(|published| number(&published.state)), model.published);
        if let Some(live) = self.live.as_ref().filter(|_| !self.succeeded && model.pending.is_none()) {
            assert_eq!(live.state, model.state);
        }
        let mut history = Vec::new();
        Recorded::collect(&mut history, &self.scan(&journal::range(0, None))).unwrap();
        assert!(history.windows(2).all(|pair| pair[0].turn + 1 == pair[1].turn), "the history has no gap");
        if let (Some(first), Some(last)) = (history.first(), history.last()) {
            assert!(first.turn == 1 || last.turn - first.turn >= self.keeping.history, "the history is as long as it is to be");
            let shown = published.filter(|_| model.shows);
            assert!(shown.is_none_or(|shown| shown.turn == last.turn), "what a turn that is under way shows is known to be its own");
        }
    }
}

fn turn(message: &Message, number: u64, replay: Option<Replay>) -> Turn<'_> {
    Turn {
        message,
        number,
        replay,
        other: None,
        only_again: false,
        calls: 0,
        entries: Vec::new(),
        told: Vec::new(),
        pairs: BTreeMap::new(),
        part: Part::default(),
        sent: 0,
    }
}

fn step() -> impl Strategy<Value = Do> {
    prop_oneof![
        3 => any::<i8>().prop_map(Do::Add),
        2 => (0..4u8, any::<i8>()).prop_map(|(key, value)| Do::Put(key, value)),
        1 => (0..4u8).prop_map(Do::Drop),
        1 => (0..4u8).prop_map(Do::Get),
        2 => any::<i8>().prop_map(Do::Tell),
        3 => Just(Do::Wait),
        1 => any::<i8>().prop_map(Do::Hear),
        1 => Just(Do::Checkpoint),
        1 => (0..3u8, any::<u8>()).prop_map(|(name, due)| Do::Remind(name, due)),
        1 => (0..3u8).prop_map(Do::Forget),
        1 => Just(Do::Publish),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let cut = option::weighted(0.4, (1..6usize, any::<bool>()));
    prop_oneof![
        24 => (vec(step(), 0..6), prop::bool::weighted(0.1), (any::<u8>(), 0..3u8), cut)
            .prop_map(|(steps, fails, from, cut)| Op::Handle { steps, fails, from, cut }),
        1 => (60..160u8).prop_map(Op::Bulk),
        3 => Just(Op::Crash),
        3 => (vec(step(), 0..4), any::<bool>()).prop_map(|(steps, reads)| Op::Rival(steps, reads)),
        2 => (0..4usize).prop_map(Op::Arrived),
        1 => Just(Op::Later),
        3 => (0..5usize, prop_oneof![Just(Other::Call), Just(Other::Arguments), Just(Other::Reply), Just(Other::End)])
            .prop_map(|(at, other)| Op::Diverge(at, other)),
    ]
}

fn keeping() -> impl Strategy<Value = Keeping> {
    (option::of(prop_oneof![3 => 1..5u64, 1 => 60..120u64]), 1..80u64).prop_map(|(interval, history)| Keeping { interval, history })
}

#[test]
fn an_actor_that_is_cut_off_and_run_again_is_what_the_model_is() {
    let config =
        ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), failure_persistence: None, ..ProptestConfig::default() };
    let told = TestRunner::new(config).run(&(keeping(), vec(op(), 1..13)), |(keeping, ops)| {
        let mut world = World::new(keeping);
        for op in ops {
            world.apply_op(op);
            world.check();
        }
        drop(world.gone());
        while world.live().is_err() {}
        world.check();
        prop_assert!(world.model.pending.is_none());
        Ok(())
    });
    if let Err(failure) = told {
        panic!("{failure}");
    }
}
