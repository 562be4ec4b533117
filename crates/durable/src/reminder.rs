//! Reminders: messages of an actor to itself that survive the node.
//!
//! The truth about a reminder is the record in its actor's partition, which changes with the actor's turns. An entry in the node's index says
//! only that an actor may have something to do at a time. It is written before the record and removed after it, so that there may be one too
//! many and never one too few.

use bytes::{BufMut, Bytes, BytesMut};
use plexspaces_types::{ActorId, Key, Name, Payload};

use crate::record::{self, Error, LAYOUT};

const RECORD: &[u8] = b"r/";

/// One reminder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// When it is due, in milliseconds since the Unix epoch.
    pub due_ms: u64,
    /// When it is due again, as whoever made it writes schedules.
    pub schedule: String,
    /// The operation that the actor is sent.
    pub operation: String,
    /// Its arguments.
    pub payload: Payload,
}

impl Reminder {
    /// The key of a reminder's record in its actor's partition.
    #[must_use]
    pub fn key(name: &str) -> Bytes {
        [RECORD, name.as_bytes()].concat().into()
    }

    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32 + self.schedule.len() + self.operation.len() + self.payload.len());
        out.put_u8(LAYOUT);
        out.put_u64(self.due_ms);
        for text in [&self.schedule, &self.operation] {
            out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            out.put_slice(text.as_bytes());
        }
        record::put_payload(&mut out, &self.payload);
        out.freeze()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<Self, Error> {
        let parse = || {
            let (due, rest) = record::body(value)?.split_first_chunk::<8>()?;
            let (schedule, rest) = text(rest)?;
            let (operation, rest) = text(rest)?;
            Some(Self { due_ms: u64::from_be_bytes(*due), schedule, operation, payload: record::payload(rest)? })
        };
        parse().ok_or_else(|| record::unreadable("reminder", value))
    }
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// An entry of the index: an actor that may have something to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Due {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who.
    pub actor: ActorId,
    /// The reminder's name.
    pub name: String,
}

impl Due {
    /// Its key in the index; later entries have greater keys.
    #[must_use]
    pub fn key(&self) -> Bytes {
        let actor = &self.actor;
        let parts = [actor.tenant.as_str(), actor.namespace.as_str(), actor.actor_type.as_str(), actor.key.as_str(), &self.name];
        [&self.at_ms.to_be_bytes()[..], parts.join("\0").as_bytes()].concat().into()
    }

    /// Where the entries due after a time begin.
    #[must_use]
    pub fn after(time_ms: u64) -> Bytes {
        Bytes::copy_from_slice(&time_ms.saturating_add(1).to_be_bytes())
    }

    /// Reads a key of the index.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (time, rest) = key.split_first_chunk::<8>()?;
        let mut parts = std::str::from_utf8(rest).ok()?.splitn(5, '\0');
        let mut name = |what| Name::new(what, parts.next()?).ok();
        let (tenant, namespace, actor_type) = (name("tenant")?, name("namespace")?, name("actor type")?);
        let key = Key::new(parts.next()?).ok()?;
        Some(Self {
            at_ms: u64::from_be_bytes(*time),
            actor: ActorId::new(tenant, namespace, actor_type, key),
            name: parts.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(at_ms: u64) -> Due {
        let name = |text| Name::new("name", text).unwrap();
        Due { at_ms, actor: ActorId::new(name("t"), name("n"), name("a"), Key::new("k").unwrap()), name: "poll".into() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for payload in [Payload::empty(), Payload::Bytes(Bytes::from_static(b"\0\xff"))] {
            let reminder = Reminder { due_ms: 7, schedule: "every 5".into(), operation: "poll".into(), payload };
            assert_eq!(Reminder::decode(&reminder.encode()), Ok(reminder.clone()));
            let cut = reminder.encode().slice(..12);
            assert_eq!(
                Reminder::decode(&cut).unwrap_err().to_string(),
                "the reminder of this actor cannot be read: expected layout 3, found 12 bytes that do not fit it"
            );
        }
        assert_eq!(Due::parse(&due(9).key()), Some(due(9)));
        assert_eq!(Due::parse(b"nonsense"), None);
    }

    #[test]
    fn the_index_is_in_the_order_of_time() {
        assert!(due(255).key() < due(256).key());
        assert!(due(5).key() < Due::after(5) && Due::after(5) <= due(6).key());
    }
}
