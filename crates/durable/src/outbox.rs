//! Messages between durable actors: kept by the sender until they have arrived, applied by the receiver once.
//!
//! A sender numbers its messages upwards and delivers them in that order. A receiver keeps the last number of each sender that it has
//! applied: what is not above it has come before.

use bytes::{BufMut, Bytes, BytesMut};
use plexspaces_store::Range;
use plexspaces_types::Payload;
use serde::{Deserialize, Serialize};

use crate::record::{self, Error, LAYOUT};

const OUTBOX: &[u8] = b"o/";
const HEARD: &[u8] = b"n/";
/// No identity holds a control character.
const BESIDE: char = '\u{1}';

/// Messages of one turn that numbers tell apart.
const PER_TURN: u64 = 1 << 20;

/// A message that a turn has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Its number among the sender's.
    pub number: u64,
    /// The receiver's printed identity.
    pub target: String,
    /// The operation.
    pub operation: String,
    /// The arguments.
    pub payload: Payload,
}

impl Outgoing {
    /// The number of the `index`th message of a turn.
    #[must_use]
    pub fn number(turn: u64, index: u64) -> u64 {
        turn.saturating_mul(PER_TURN).saturating_add(index)
    }

    /// The number of the message by which whoever started a turn hears of its end: the last of the turn.
    #[must_use]
    pub fn last_number(turn: u64) -> u64 {
        Self::number(turn, PER_TURN - 1)
    }

    /// Where the message with a number is, until it has arrived.
    #[must_use]
    pub fn key(number: u64) -> Bytes {
        key(number)
    }

    /// Where the messages that have not arrived are.
    #[must_use]
    pub fn range() -> Range {
        Range::prefix(OUTBOX)
    }

    /// Where the messages with numbers up to this one are.
    #[must_use]
    pub fn up_to(number: u64) -> Range {
        Range { start: key(0), end: Some(key(number.saturating_add(1))) }
    }

    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![LAYOUT]).unwrap_or_default().into()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || postcard::from_bytes(record::body(value)?).ok();
        parse().ok_or_else(|| record::unreadable("outbox", value))
    }
}

pub(crate) fn key(number: u64) -> Bytes {
    [OUTBOX, &number.to_be_bytes()].concat().into()
}

/// The key of the last number of a sender.
#[must_use]
pub fn heard_key(sender: &str) -> Bytes {
    [HEARD, sender.as_bytes()].concat().into()
}

/// Where the last numbers of all senders are.
#[must_use]
pub fn heard_range() -> Range {
    Range::prefix(HEARD)
}

/// Whose number a key is for.
#[must_use]
pub fn sender_of(key: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(key.strip_prefix(HEARD)?).ok()?;
    Some(name.strip_suffix(BESIDE).unwrap_or(name))
}

/// The name under which a sender is known by messages that overtake its others: they have numbers of the same row in another order.
#[must_use]
pub fn beside(sender: &str) -> String {
    format!("{sender}{BESIDE}")
}

/// The record of the last number of a sender.
#[must_use]
pub fn encode_heard(number: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(LAYOUT);
    out.put_u64(number);
    out.freeze()
}

/// Reads the last number of a sender.
pub fn decode_heard(value: &Bytes) -> Result<u64, Error> {
    let parse = || Some(u64::from_be_bytes(record::body(value)?.try_into().ok()?));
    parse().ok_or_else(|| record::unreadable("number of a sender", value))
}
