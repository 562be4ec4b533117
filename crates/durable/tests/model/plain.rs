//! What an actor is when all is written down in one piece.
#![allow(missing_docs, unreachable_pub)]

use std::collections::BTreeMap;

use plexspaces_durable::RETENTION_MS;
use serde::{Deserialize, Serialize};

/// What an actor's code does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Do {
    Add(i8),
    Put(u8, i8),
    Drop(u8),
    /// Adds what is under a key.
    Get(u8),
    Tell(i8),
    /// Asks somebody outside, and adds the answer.
    Wait,
    /// The same, and a signal comes meanwhile.
    Hear(i8),
    Checkpoint,
    Remind(u8, u8),
    Forget(u8),
    Publish,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: u64,
    pub steps: Vec<Do>,
    pub fails: bool,
    pub from: From,
}

/// Who sends again what was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    Nobody,
    /// Somebody outside, under an idempotency key.
    Key(u8),
    /// A durable actor, under a number.
    Sender(u8, u64),
}

/// What the actor is when all is written down in one piece.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub state: i64,
    pub pairs: BTreeMap<u8, i8>,
    pub reminders: BTreeMap<u8, u8>,
    pub outbox: BTreeMap<u64, i8>,
    pub last_sent: u64,
    pub published: Option<i64>,
    /// The turn that is under way has published something.
    pub shows: bool,
    pub heard: BTreeMap<u8, u64>,
    /// By key: the message, the reply, when it is forgotten.
    pub answers: BTreeMap<u8, (u64, i64, u64)>,
    /// The turn that is under way: its message, and what its code was told that is on the disk.
    pub pending: Option<(Message, Vec<i64>)>,
}

/// What one commit does besides what its turn does to the state.
#[derive(Clone, Default)]
pub struct Part {
    pub reminders: BTreeMap<u8, Option<u8>>,
    pub sent: Vec<(u64, i8)>,
    pub published: Option<i64>,
    pub heard: Option<(u8, u64)>,
    pub arrived: Vec<u64>,
}

/// How a turn goes on with a commit.
pub enum Course {
    Beside,
    UnderWay(Message, Vec<i64>),
    Done(Message, Vec<i64>),
    Failed,
}

impl Model {
    pub fn commit(&mut self, part: Part, course: Course, now_ms: u64) {
        for (name, due) in part.reminders {
            match due {
                Some(due) => self.reminders.insert(name, due),
                None => self.reminders.remove(&name),
            };
        }
        for (number, what) in part.sent {
            assert!(number > self.last_sent, "numbers only grow");
            self.last_sent = number;
            self.outbox.insert(number, what);
        }
        for number in part.arrived {
            self.outbox.remove(&number);
        }
        self.shows = match course {
            Course::UnderWay(..) => self.shows || part.published.is_some(),
            Course::Beside => self.shows,
            Course::Done(..) | Course::Failed => false,
        };
        self.published = part.published.or(self.published);
        self.heard.extend(part.heard);
        match course {
            Course::Beside => {}
            Course::UnderWay(message, told) => self.pending = Some((message, told)),
            Course::Failed => self.pending = None,
            Course::Done(message, told) => {
                self.pending = None;
                let (state, pairs) = evaluate(self.state, &self.pairs, &message.steps, &told);
                (self.state, self.pairs) = (state, pairs);
                if let From::Key(key) = message.from {
                    self.answers.insert(key, (message.id, state, now_ms + RETENTION_MS));
                }
            }
        }
    }
}

/// What steps make of a state, with these answers from outside.
pub fn evaluate(mut state: i64, pairs: &BTreeMap<u8, i8>, steps: &[Do], told: &[i64]) -> (i64, BTreeMap<u8, i8>) {
    let (mut pairs, mut told) = (pairs.clone(), told.iter());
    for step in steps {
        match *step {
            Do::Add(n) => state += i64::from(n),
            Do::Put(key, value) => drop(pairs.insert(key, value)),
            Do::Drop(key) => drop(pairs.remove(&key)),
            Do::Get(key) => state += pairs.get(&key).copied().map_or(0, i64::from),
            Do::Wait => state += told.next().unwrap(),
            Do::Hear(_) => state += told.next().unwrap() + told.next().unwrap(),
            Do::Tell(_) | Do::Checkpoint | Do::Remind(..) | Do::Forget(_) | Do::Publish => {}
        }
    }
    assert_eq!(told.next(), None);
    (state, pairs)
}
