//! Which requests a system actor has answered before, so that each is applied once.
//!
//! An actor makes one request after the other, so its last answer is enough; a request from outside is remembered by its idempotency key.
//! Both are for a day.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use plexspaces_durable::{Answer, RETENTION_MS, answer_key, decode_heard, fingerprint, heard_key};
use plexspaces_store::Write;
use plexspaces_types::{Code, Failure, Message, Payload};

use super::senders::Senders;

/// Keys from outside that one actor remembers, and bytes of the answers to them.
const MAX_KEYS: usize = 100_000;
const MAX_BYTES: usize = 256 << 20;

/// How many expired answers one round removes.
const FORGET_AT_ONCE: usize = 64;

/// What an actor was answered is known for this long from when the service is brought to life, however old it is: a turn that was cut off by
/// the end of a node goes on with the next one, and asks again.
const RESUMED_MS: u64 = 120_000;

const LAST: &[u8] = b"q/";

#[derive(Default)]
pub(super) struct Seen {
    /// By its printed identity, each sender's last request that was answered.
    last: HashMap<String, Last>,
    by_key: HashMap<String, Answer>,
    /// Of the answers in `by_key`.
    bytes: usize,
    /// When to look whether an answer is over; it may be a newer one then.
    expiring: BTreeSet<(u64, Whose)>,
}

struct Last {
    key: String,
    answer: Answer,
    /// The ticket of the request in this activation, else 0.
    ticket: u64,
}

/// Whose answer.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Key(String),
    Sender(String),
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
    /// Takes one of its rows or of those of senders; false when the row is another's.
    pub(super) fn load(&mut self, senders: &mut Senders, key: &[u8], value: &Bytes, now_ms: u64) -> Result<bool, Failure> {
        let unreadable = |_| Failure::new(Code::StorageFailed, "a stored answer cannot be read");
        let text = |prefix: &[u8]| key.strip_prefix(prefix).map(|rest| String::from_utf8_lossy(rest).into_owned());
        if let Some(sender) = text(LAST) {
            let (key, answer) = decode_last(value)?;
            let look_ms = answer.expires_ms.max(now_ms.saturating_add(RESUMED_MS));
            self.expiring.insert((look_ms, Whose::Sender(sender.clone())));
            self.last.insert(sender, Last { key, answer, ticket: 0 });
        } else if let Some(key) = text(&answer_key("")) {
            self.insert(key, Answer::decode(value).map_err(unreadable)?);
        } else if let Some(sender) = text(&heard_key("")) {
            senders.load(sender, decode_heard(value).map_err(unreadable)?, now_ms);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn insert(&mut self, key: String, answer: Answer) {
        self.expiring.insert((answer.expires_ms, Whose::Key(key.clone())));
        self.bytes = self.bytes.saturating_add(answer.reply.len());
        if let Some(before) = self.by_key.insert(key, answer) {
            self.bytes = self.bytes.saturating_sub(before.reply.len());
        }
    }

    /// The answer that the request was given before.
    pub(super) fn answer(&self, keyed: &Keyed, now_ms: u64) -> Option<Result<Payload, Failure>> {
        let answer = match &keyed.sender {
            Some(sender) => self.last.get(sender).filter(|last| last.key == keyed.key).map(|last| &last.answer),
            None => self.by_key.get(&keyed.key).filter(|answer| now_ms < answer.expires_ms),
        }?;
        Some(if answer.fingerprint == keyed.fingerprint { Ok(answer.reply.clone()) } else { Err(keyed.used_for_another()) })
    }

    /// Whether another key from outside can be remembered.
    pub(super) fn has_room(&self, keyed: &Keyed) -> Result<(), Failure> {
        if keyed.sender.is_none() && (self.by_key.len() >= MAX_KEYS || self.bytes >= MAX_BYTES) {
            let message = format!("{MAX_KEYS} idempotency keys were used here within a day, or the answers to them are {MAX_BYTES} bytes");
            return Err(Failure::new(Code::Overloaded, message));
        }
        Ok(())
    }

    /// Remembers the answer to the request that had a ticket; nothing is to be written where a later one of its sender was answered before:
    /// that was of a turn which has ended meanwhile.
    pub(super) fn remember(&mut self, keyed: &Keyed, ticket: u64, reply: &Payload, now_ms: u64) -> Option<Write> {
        let expires_ms = now_ms.saturating_add(RETENTION_MS);
        let answer = Answer { fingerprint: keyed.fingerprint, expires_ms, failed: false, reply: reply.clone() };
        let Some(sender) = &keyed.sender else {
            let write = Write::Put { key: answer_key(&keyed.key), value: answer.encode() };
            self.insert(keyed.key.clone(), answer);
            return Some(write);
        };
        let value = encode_last(&keyed.key, &answer);
        let last = Last { key: keyed.key.clone(), answer, ticket };
        match self.last.get_mut(sender) {
            Some(known) if known.ticket > ticket => return None,
            Some(known) => *known = last,
            None => {
                self.expiring.insert((expires_ms, Whose::Sender(sender.clone())));
                self.last.insert(sender.clone(), last);
            }
        }
        Some(Write::Put { key: last_key(sender), value })
    }

    /// When there may be something to forget.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.expiring.first().map(|(look_ms, _)| *look_ms)
    }

    /// Forgets some of what is over.
    pub(super) fn forget(&mut self, now_ms: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        while writes.len() < FORGET_AT_ONCE && self.expiring.first().is_some_and(|(look_ms, _)| *look_ms <= now_ms) {
            let Some((_, whose)) = self.expiring.pop_first() else { break };
            let expires_ms = match &whose {
                Whose::Key(key) => self.by_key.get(key).map(|answer| answer.expires_ms),
                Whose::Sender(sender) => self.last.get(sender).map(|last| last.answer.expires_ms),
            };
            match (expires_ms, whose) {
                (None, _) => {}
                (Some(later), whose) if later > now_ms => drop(self.expiring.insert((later, whose))),
                (Some(_), Whose::Key(key)) => {
                    let answer = self.by_key.remove(&key);
                    self.bytes = self.bytes.saturating_sub(answer.map_or(0, |answer| answer.reply.len()));
                    writes.push(Write::Delete { key: answer_key(&key) });
                }
                (Some(_), Whose::Sender(sender)) => {
                    self.last.remove(&sender);
                    writes.push(Write::Delete { key: last_key(&sender) });
                }
            }
        }
        writes
    }
}

fn last_key(sender: &str) -> Bytes {
    [LAST, sender.as_bytes()].concat().into()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sender: Option<&str>, key: &str) -> Keyed {
        Keyed { key: key.to_owned(), sender: sender.map(str::to_owned), fingerprint: [1; 32] }
    }

    fn reply(bytes: usize) -> Payload {
        Payload::Json(format!("\"{}\"", "x".repeat(bytes)))
    }

    #[test]
    fn the_answer_to_an_earlier_request_does_not_push_out_that_to_a_later_one() {
        let mut seen = Seen::default();
        let (killed, later) = (request(Some("n/t/k"), "killed"), request(Some("n/t/k"), "later"));
        assert!(seen.remember(&later, 7, &reply(1), 0).is_some());
        assert!(seen.remember(&killed, 3, &reply(2), 0).is_none());
        assert_eq!(seen.answer(&later, 0), Some(Ok(reply(1))));
        assert!(seen.remember(&request(Some("n/t/k"), "next"), 8, &reply(3), 0).is_some());
        assert_eq!(seen.answer(&later, 0), None);
    }

    #[test]
    fn an_answer_goes_a_day_after_the_last_one_and_not_before() {
        let mut seen = Seen::default();
        let (inside, outside) = (request(Some("n/t/k"), "a"), request(None, "a"));
        for now_ms in [0, 1000] {
            seen.remember(&inside, 1, &reply(1), now_ms);
            seen.remember(&outside, 1, &reply(1), now_ms);
        }
        assert!(seen.forget(RETENTION_MS).is_empty());
        assert!(seen.answer(&inside, RETENTION_MS).is_some() && seen.answer(&outside, RETENTION_MS).is_some());
        let gone = [Write::Delete { key: answer_key("a") }, Write::Delete { key: last_key("n/t/k") }];
        assert_eq!(seen.forget(RETENTION_MS + 1000), gone);
        assert_eq!((seen.due_ms(), seen.last.len(), seen.by_key.len(), seen.bytes), (None, 0, 0, 0));
    }

    #[test]
    fn answers_to_requests_from_outside_are_remembered_up_to_a_number_of_bytes() {
        let mut seen = Seen { bytes: MAX_BYTES, ..Seen::default() };
        assert_eq!(seen.has_room(&request(None, "a")).unwrap_err().code, Code::Overloaded);
        seen.has_room(&request(Some("n/t/k"), "a")).unwrap();
        seen.bytes -= 1;
        seen.has_room(&request(None, "a")).unwrap();
    }

    #[test]
    fn what_an_actor_was_answered_long_ago_is_known_for_a_while_after_the_start() {
        let (mut seen, mut senders) = (Seen::default(), Senders::default());
        let asked = request(Some("n/t/k"), "a");
        let Some(Write::Put { key, value }) = seen.remember(&asked, 1, &reply(1), 0) else { panic!("nothing is written") };
        let (mut seen, now_ms) = (Seen::default(), 10 * RETENTION_MS);
        assert!(seen.load(&mut senders, &key, &value, now_ms).unwrap());
        assert!(seen.forget(now_ms).is_empty());
        assert_eq!(seen.answer(&asked, now_ms), Some(Ok(reply(1))));
        assert_eq!(seen.forget(now_ms + RESUMED_MS).len(), 1);
    }
}
