//! The records of an actor's partition, and their encoding.
//!
//! | key | value |
//! | --- | --- |
//! | `a` | the epoch: which activation may write |
//! | `b` | the anchor: the turn from whose state recovery begins, and the oldest turn of the history |
//! | `c/` time, idempotency key | nothing; says when a stored answer may go |
//! | `d/` idempotency key | a stored answer |
//! | `j` turn, number | a part of a turn's journal, with the state after it where that was taken |
//! | `k/` key | one of the actor's private key-value pairs |
//! | `n/` sender | the number of the sender's last message that was applied |
//! | `o/` number | a message that has not arrived yet |
//! | `p` | what a workflow shows of itself while it runs |
//! | `r/` name | a reminder |
//!
//! The first three sort first, so that two scans recover an actor: these, and the journal from the anchor on.

use bytes::{BufMut, Bytes, BytesMut};
use plexspaces_types::Payload;
use sha2::{Digest, Sha256};

/// How long the answer to an idempotency key is kept: 24 hours, in milliseconds.
pub const RETENTION_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) const EPOCH: &[u8] = b"a";
pub(crate) const ANCHOR: &[u8] = b"b";
/// The key of what a workflow shows of itself.
pub const PUBLISHED: &[u8] = b"p";
const EXPIRY: &[u8] = b"c/";
const ANSWER: &[u8] = b"d/";
const KEY_VALUE: &[u8] = b"k/";

/// The first byte of each record, so that a later layout is refused and not misread.
pub const LAYOUT: u8 = 3;

/// A record that is not what its key says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {record} of this actor cannot be read: expected layout {LAYOUT}, found {found}")]
pub struct Error {
    pub(crate) record: &'static str,
    pub(crate) found: String,
}

/// The key under which the answer to an idempotency key is kept.
#[must_use]
pub fn answer_key(idempotency_key: &str) -> Bytes {
    [ANSWER, idempotency_key.as_bytes()].concat().into()
}

/// The key of one of the actor's private pairs.
#[must_use]
pub fn key_value_key(key: &str) -> Bytes {
    key_value_prefix(key)
}

/// What all private pairs whose keys begin with `prefix` begin with; the rest of a record's key is the pair's.
#[must_use]
pub fn key_value_prefix(prefix: &str) -> Bytes {
    [KEY_VALUE, prefix.as_bytes()].concat().into()
}

pub(crate) fn expiry_key(expires_ms: u64, idempotency_key: &str) -> Bytes {
    [EXPIRY, &expires_ms.to_be_bytes(), idempotency_key.as_bytes()].concat().into()
}

/// When the answer that an expiry key stands for may go, and its idempotency key.
pub(crate) fn parse_expiry_key(key: &[u8]) -> Option<(u64, &str)> {
    let (time, idempotency_key) = key.strip_prefix(EXPIRY)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), std::str::from_utf8(idempotency_key).ok()?))
}

/// What tells one request from another that uses the same idempotency key.
#[must_use]
pub fn fingerprint(operation: &str, payload: &Payload) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((operation.len() as u64).to_be_bytes());
    hash.update(operation);
    hash.update([payload_kind(payload)]);
    hash.update(payload.as_bytes());
    hash.finalize().into()
}

/// The stored answer to one idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the request that was answered.
    pub fingerprint: [u8; 32],
    /// Milliseconds since the Unix epoch from which it counts as gone.
    pub expires_ms: u64,
    /// Whether it is a failure; the reply says which.
    pub failed: bool,
    /// What was answered.
    pub reply: Payload,
}

impl Answer {
    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(43 + self.reply.len());
        out.put_u8(LAYOUT);
        out.put_slice(&self.fingerprint);
        out.put_u64(self.expires_ms);
        out.put_u8(u8::from(self.failed));
        put_payload(&mut out, &self.reply);
        out.freeze()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || {
            let rest = body(value)?;
            let (fingerprint, rest) = rest.split_first_chunk::<32>()?;
            let (expires, rest) = rest.split_first_chunk::<8>()?;
            let (failed, rest) = rest.split_first()?;
            let (expires_ms, failed) = (u64::from_be_bytes(*expires), *failed != 0);
            Some(Self { fingerprint: *fingerprint, expires_ms, failed, reply: payload(rest)? })
        };
        parse().ok_or_else(|| unreadable("stored answer", value))
    }
}

/// One of the actor's private pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Milliseconds since the Unix epoch from which it counts as gone; `None` for never.
    pub expires_ms: Option<u64>,
    /// What was put.
    pub value: String,
}

impl KeyValue {
    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(9 + self.value.len());
        out.put_u8(LAYOUT);
        out.put_u64(self.expires_ms.unwrap_or(0));
        out.put_slice(self.value.as_bytes());
        out.freeze()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || {
            let (expires, rest) = body(value)?.split_first_chunk::<8>()?;
            let expires = u64::from_be_bytes(*expires);
            Some(Self { expires_ms: (expires != 0).then_some(expires), value: String::from_utf8(rest.to_vec()).ok()? })
        };
        parse().ok_or_else(|| unreadable("key-value pair", value))
    }

    /// Whether it still counts at this time.
    #[must_use]
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

/// Where recovery begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// The turn whose record holds a state; 0 for the beginning.
    pub(crate) turn: u64,
    /// Turns before this one are removed.
    pub(crate) oldest: u64,
}

impl Anchor {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(17);
        out.put_u8(LAYOUT);
        out.put_u64(self.turn);
        out.put_u64(self.oldest);
        out.freeze()
    }

    pub(crate) fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || {
            let (turn, rest) = body(value)?.split_first_chunk::<8>()?;
            Some(Self { turn: u64::from_be_bytes(*turn), oldest: u64::from_be_bytes(rest.try_into().ok()?) })
        };
        parse().ok_or_else(|| unreadable("anchor", value))
    }
}

/// What a workflow shows of itself while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The turn in which it does.
    pub turn: u64,
    /// The version of the code whose state it is.
    pub code: u64,
    /// The state.
    pub state: Payload,
}

impl Published {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(18 + self.state.len());
        out.put_u8(LAYOUT);
        out.put_u64(self.turn);
        out.put_u64(self.code);
        put_payload(&mut out, &self.state);
        out.freeze()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || {
            let (turn, rest) = body(value)?.split_first_chunk::<8>()?;
            let (code, rest) = rest.split_first_chunk::<8>()?;
            Some(Self { turn: u64::from_be_bytes(*turn), code: u64::from_be_bytes(*code), state: payload(rest)? })
        };
        parse().ok_or_else(|| unreadable("published state", value))
    }
}

pub(crate) fn encode_epoch(epoch: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(LAYOUT);
    out.put_u64(epoch);
    out.freeze()
}

pub(crate) fn decode_epoch(value: &Bytes) -> Result<u64, Error> {
    let parse = || Some(u64::from_be_bytes(body(value)?.try_into().ok()?));
    parse().ok_or_else(|| unreadable("epoch", value))
}

pub(crate) fn body(value: &Bytes) -> Option<&[u8]> {
    value.strip_prefix(&[LAYOUT])
}

pub(crate) fn unreadable(record: &'static str, value: &Bytes) -> Error {
    let found = match value.first() {
        Some(&LAYOUT) => format!("{} bytes that do not fit it", value.len()),
        Some(layout) => format!("layout {layout}"),
        None => "nothing".to_owned(),
    };
    Error { record, found }
}

fn payload_kind(payload: &Payload) -> u8 {
    match payload {
        Payload::Json(_) => 0,
        Payload::Bytes(_) => 1,
    }
}

pub(crate) fn put_payload(out: &mut BytesMut, payload: &Payload) {
    out.put_u8(payload_kind(payload));
    out.put_slice(payload.as_bytes());
}

pub(crate) fn payload(bytes: &[u8]) -> Option<Payload> {
    match bytes.split_first()? {
        (0, text) => Some(Payload::Json(String::from_utf8(text.to_vec()).ok()?)),
        (1, bytes) => Some(Payload::Bytes(Bytes::copy_from_slice(bytes))),
        _ => None,
    }
}
