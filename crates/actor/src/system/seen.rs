//! Which requests a system actor has answered before, so that each is applied once.
//!
//! An actor makes one request after the other, so its last answer is enough; a request from outside is remembered for a day by its
//! idempotency key.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use plexspaces_durable::{Answer, RETENTION_MS, answer_key, decode_heard, encode_heard, fingerprint, heard_key};
use plexspaces_store::Write;
use plexspaces_types::{ActorId, Code, Failure, Message, Payload};

/// Keys from outside that one actor remembers.
const MAX_KEYS: usize = 100_000;

/// How many expired answers one round removes.
const FORGET_AT_ONCE: usize = 64;

const LAST: &[u8] = b"q/";

#[derive(Default)]
pub(super) struct Seen {
    /// By its printed identity, each sender's last request that was answered.
    last: HashMap<String, (String, Answer)>,
    by_key: HashMap<String, Answer>,
    expiring: BTreeSet<(u64, String)>,
    heard: HashMap<String, u64>,
}

/// A request that is known by a key: that and the sender tell it from others.
#[derive(Clone)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) sender: Option<String>,
    pub(super) fingerprint: [u8; 32],
}

impl Keyed {
    pub(super) fn of(message: &Message) -> Option<Self> {
        let key = message.idempotency_key.clone()?;
        let sender = message.sender.as_ref().map(ToString::to_string);
        Some(Self { key, sender, fingerprint: fingerprint(&message.operation, &message.payload) })
    }

    pub(super) fn used_for_another(&self) -> Failure {
        let message = format!("the idempotency key {:?} was used for another request", self.key);
        Failure::new(Code::Conflict, message).with_field("idempotency_key")
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.sender == other.sender
    }
}

impl Eq for Keyed {}

impl Hash for Keyed {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.key, &self.sender).hash(hasher);
    }
}

impl Seen {
    /// Takes one of its rows; false when the row is another's.
    pub(super) fn load(&mut self, key: &[u8], value: &Bytes) -> Result<bool, Failure> {
        let unreadable = |_| Failure::new(Code::StorageFailed, "a stored answer cannot be read");
        let text = |prefix: &[u8]| key.strip_prefix(prefix).map(|rest| String::from_utf8_lossy(rest).into_owned());
        if let Some(sender) = text(LAST) {
            let (key, answer) = decode_last(value)?;
            self.last.insert(sender, (key, answer));
        } else if let Some(key) = text(&answer_key("")) {
            let answer = Answer::decode(value).map_err(unreadable)?;
            self.expiring.insert((answer.expires_ms, key.clone()));
            self.by_key.insert(key, answer);
        } else if let Some(sender) = text(&heard_key("")) {
            self.heard.insert(sender, decode_heard(value).map_err(unreadable)?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The answer that the request was given before.
    pub(super) fn answer(&self, keyed: &Keyed, now_ms: u64) -> Option<Result<Payload, Failure>> {
        let answer = match &keyed.sender {
            Some(sender) => self.last.get(sender).filter(|(key, _)| *key == keyed.key).map(|(_, answer)| answer),
            None => self.by_key.get(&keyed.key).filter(|answer| now_ms < answer.expires_ms),
        }?;
        Some(if answer.fingerprint == keyed.fingerprint { Ok(answer.reply.clone()) } else { Err(keyed.used_for_another()) })
    }

    /// Whether another key from outside can be remembered.
    pub(super) fn has_room(&self, keyed: &Keyed) -> Result<(), Failure> {
        if keyed.sender.is_none() && self.by_key.len() >= MAX_KEYS {
            return Err(Failure::new(Code::Overloaded, format!("{MAX_KEYS} idempotency keys were used here within a day")));
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, keyed: &Keyed, reply: &Payload, now_ms: u64) -> Write {
        let answer =
            Answer { fingerprint: keyed.fingerprint, expires_ms: now_ms.saturating_add(RETENTION_MS), failed: false, reply: reply.clone() };
        match &keyed.sender {
            Some(sender) => {
                let write = Write::Put { key: [LAST, sender.as_bytes()].concat().into(), value: encode_last(&keyed.key, &answer) };
                self.last.insert(sender.clone(), (keyed.key.clone(), answer));
                write
            }
            None => {
                let write = Write::Put { key: answer_key(&keyed.key), value: answer.encode() };
                self.expiring.insert((answer.expires_ms, keyed.key.clone()));
                self.by_key.insert(keyed.key.clone(), answer);
                write
            }
        }
    }

    /// Whether a kept message of a durable actor was applied before.
    pub(super) fn has_heard(&self, sender: &ActorId, number: u64) -> bool {
        self.heard.get(&sender.to_string()).is_some_and(|last| number <= *last)
    }

    pub(super) fn hear(&mut self, sender: &ActorId, number: u64) -> Write {
        let sender = sender.to_string();
        let write = Write::Put { key: heard_key(&sender), value: encode_heard(number) };
        self.heard.insert(sender, number);
        write
    }

    /// Forgets some of what is over.
    pub(super) fn forget(&mut self, now_ms: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        while writes.len() < FORGET_AT_ONCE && self.expiring.first().is_some_and(|(expires_ms, _)| *expires_ms <= now_ms) {
            let Some((_, key)) = self.expiring.pop_first() else { break };
            self.by_key.remove(&key);
            writes.push(Write::Delete { key: answer_key(&key) });
        }
        writes
    }
}

fn encode_last(key: &str, answer: &Answer) -> Bytes {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
    [length.as_slice(), key.as_bytes(), &answer.encode()].concat().into()
}

fn decode_last(value: &Bytes) -> Result<(String, Answer), Failure> {
    let parse = || {
        let (length, rest) = value.split_first_chunk::<4>()?;
        let (key, answer) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        Some((String::from_utf8(key.to_vec()).ok()?, Answer::decode(&Bytes::copy_from_slice(answer)).ok()?))
    };
    parse().ok_or_else(|| Failure::new(Code::StorageFailed, "an actor's last answer cannot be read"))
}
