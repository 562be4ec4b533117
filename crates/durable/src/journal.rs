//! The journal: what a durable actor was told, what it did, and what came of it, turn by turn.
//!
//! A turn is one record under `j` unless it waits; each wait begins a new one. A record is a list of entries.

use bytes::Bytes;
use plexspaces_types::{ActorId, Code, Failure, Message, MessageKind, Payload};
use serde::{Deserialize, Serialize};

use crate::record::{self, Error, LAYOUT};

const JOURNAL: u8 = b'j';

/// About what an entry takes besides its payload.
const ENTRY: usize = 96;

/// The seed of a turn that the node made without running code: its record only holds a state.
pub const NO_CODE: u64 = 0;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The state from which an actor's first turn began, where that turn waits before there is another. It is of the code that began it.
    Base(Payload),
    /// A turn begins.
    Begin(Begin),
    /// The code called the host.
    Step(Step),
    /// A signal came while the turn waited.
    Signal(Signal),
    /// The turn is over.
    End(End),
}

/// The message that a turn handles, and what makes the turn repeatable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The version of the code that began it.
    #[serde(default)]
    pub code: u64,
    /// The turn's clock at its beginning, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What the turn's random numbers and ids come from.
    pub seed: u64,
    /// The message's operation.
    pub operation: String,
    /// Whether a reply is wanted.
    pub kind: MessageKind,
    /// The message's payload.
    pub payload: Payload,
    /// The printed identity of the sending actor.
    pub sender: Option<String>,
    /// The message's idempotency key.
    pub idempotency_key: Option<String>,
    /// The reminder that the message stands for, and when it was due.
    pub reminder: Option<(String, u64)>,
}

impl Begin {
    /// The message, for an actor of this tenant.
    #[must_use]
    pub fn message(&self, actor: &ActorId) -> Message {
        Message {
            operation: self.operation.clone(),
            kind: self.kind,
            payload: self.payload.clone(),
            sender: self.sender.as_deref().and_then(|sender| ActorId::parse(&actor.tenant, sender)),
            idempotency_key: self.idempotency_key.clone(),
        }
    }
}

/// A call of the host and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was called, for people: `ask shop/stock/main check`.
    pub call: String,
    /// Of the arguments that `call` does not show.
    pub arguments: u32,
    /// The turn's clock after it.
    pub at_ms: u64,
    /// What the code was given.
    pub result: Result<Payload, Refusal>,
}

/// A failure as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One of the codes.
    pub code: String,
    /// For people.
    pub message: String,
    /// The wrong field.
    pub field: Option<String>,
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Self {
        Self { code: failure.code.name().to_owned(), message: failure.message.clone(), field: failure.field.clone() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(refusal.code.parse().unwrap_or(Code::Internal), refusal.message);
        Self { field: refusal.field, ..failure }
    }
}

/// A message to a turn that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// When it came.
    pub at_ms: u64,
    /// Its operation.
    pub operation: String,
    /// Its payload.
    pub payload: Payload,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at_ms: u64,
    /// With what.
    pub outcome: Outcome,
    /// The state after it, where it was taken.
    pub state: Option<Payload>,
    /// The version of the code that ended it, whose state it is.
    #[serde(default)]
    pub code: u64,
}

/// With what a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A reply, of which the journal keeps a checksum.
    Done {
        /// The reply's checksum.
        reply: u32,
    },
    /// A failure: the turn was rolled back.
    Failed(Refusal),
}

/// One turn of an actor's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number, from 1.
    pub turn: u64,
    /// How many records it has.
    pub chunks: u32,
    /// What happened in it.
    pub entries: Vec<Entry>,
}

impl Recorded {
    /// What it began with.
    #[must_use]
    pub fn begin(&self) -> Option<&Begin> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Begin(begin) => Some(begin),
            _ => None,
        })
    }

    /// How it ended; `None` while it is under way.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match self.entries.last() {
            Some(Entry::End(end)) => Some(end),
            _ => None,
        }
    }

    /// The state from which it began, where it is kept here.
    #[must_use]
    pub fn base(&self) -> Option<&Payload> {
        match self.entries.first() {
            Some(Entry::Base(state)) => Some(state),
            _ => None,
        }
    }

    /// Puts the records of a journal, in their order, together to turns.
    pub fn collect(into: &mut Vec<Self>, records: &[(Bytes, Bytes)]) -> Result<(), Error> {
        for (key, value) in records {
            let Some((turn, chunk)) = parse_key(key) else { continue };
            let entries = decode(value)?;
            match into.last_mut().filter(|last| last.turn == turn) {
                Some(last) if last.chunks == chunk => {
                    last.entries.extend(entries);
                    last.chunks += 1;
                }
                None if chunk == 0 => into.push(Self { turn, chunks: 1, entries }),
                _ => return Err(Error { record: "journal", found: format!("record {chunk} of turn {turn} without the one before it") }),
            }
        }
        Ok(())
    }
}

/// A checksum of what a call shows of itself only in part.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

/// The key of a record of a turn.
#[must_use]
pub fn key(turn: u64, chunk: u32) -> Bytes {
    [&[JOURNAL][..], &turn.to_be_bytes(), &chunk.to_be_bytes()].concat().into()
}

/// The range of the records of the turns from `first` on, up to before `end`.
#[must_use]
pub fn range(first: u64, end: Option<u64>) -> plexspaces_store::Range {
    let end = end.map_or_else(|| Bytes::from(vec![JOURNAL + 1]), |end| key(end, 0));
    plexspaces_store::Range { start: key(first, 0), end: Some(end) }
}

/// The turn and the number of a record.
pub(crate) fn parse_key(key: &[u8]) -> Option<(u64, u32)> {
    let (turn, chunk) = key.strip_prefix(&[JOURNAL])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*turn), u32::from_be_bytes(chunk.try_into().ok()?)))
}

/// A record's value.
#[must_use]
pub fn encode(entries: &[Entry]) -> Bytes {
    let payloads = |entry: &Entry| match entry {
        Entry::Base(state) => state.len(),
        Entry::Begin(begin) => begin.payload.len(),
        Entry::Step(step) => step.result.as_ref().map_or(0, |result| result.len()),
        Entry::Signal(signal) => signal.payload.len(),
        Entry::End(end) => end.state.as_ref().map_or(0, |state| state.len()),
    };
    let mut out = Vec::with_capacity(entries.iter().map(|entry| ENTRY + payloads(entry)).sum::<usize>() + 1);
    out.push(LAYOUT);
    // Writing to memory what has no maps of unknown length cannot fail.
    postcard::to_extend(entries, out).unwrap_or_default().into()
}

/// Reads a record's value.
pub fn decode(value: &Bytes) -> Result<Vec<Entry>, Error> {
    let parse = || postcard::from_bytes(record::body(value)?).ok();
    parse().ok_or_else(|| record::unreadable("journal", value))
}
