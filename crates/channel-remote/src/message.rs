//! A channel's message as it is at a broker: one JSON object, which other programs can read too.

use plexspaces_coord::channels::{Given, fresh_id};
use plexspaces_types::{ActorId, Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) msg_id: String,
    pub(crate) msg_type: String,
    payload: Box<RawValue>,
    /// Milliseconds since the Unix epoch when it was sent.
    pub(crate) timestamp: u64,
    /// How often it was given out; the broker counts it.
    #[serde(skip)]
    pub(crate) delivery_count: u64,
    /// The broker's word for one delivery of it, where it has such.
    #[serde(skip)]
    pub(crate) receipt: Option<String>,
}

impl Message {
    /// A message as it was given. One without an id that was asked for under a key has an id that follows from the key, so that it is the
    /// same when it is asked for again.
    pub(crate) fn new(given: Given, sender: Option<&ActorId>, key: Option<&str>) -> Self {
        let Given { msg_id, msg_type, payload } = given;
        let made = || match key {
            Some(key) => hex(&Sha256::digest(format!("{}\n{key}", sender.map(ToString::to_string).unwrap_or_default()))),
            None => fresh_id(),
        };
        Self { msg_id: msg_id.unwrap_or_else(made), msg_type, payload, timestamp: now_ms(), delivery_count: 0, receipt: None }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| Failure::new(Code::Internal, format!("a message could not be written: {error}")))
    }

    pub(crate) fn decode(bytes: &[u8], delivery_count: u64) -> Result<Self, Failure> {
        let unreadable = |error| Failure::new(Code::StorageFailed, format!("a message at the broker is not one of a channel: {error}"));
        let message: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        Ok(Self { delivery_count, ..message })
    }

    /// Bytes of its payload, of which it consists but for a little.
    pub(crate) fn size(&self) -> usize {
        self.payload.get().len()
    }

    /// As an operation's reply shows it.
    pub(crate) fn shown<'a>(&'a self, channel: &'a str) -> Shown<'a> {
        let Self { msg_id, msg_type, payload, timestamp, delivery_count, receipt } = self;
        let (timestamp, delivery_count, receipt) = (*timestamp, *delivery_count, receipt.as_deref());
        Shown { msg_id, msg_type, payload, channel, timestamp, delivery_count, receipt, position: None }
    }
}

/// A message as a reply shows it. Its payload is the JSON text that is at the broker, untouched: not every text that is JSON can be read into values
/// and written again, be it for a number that is too large or half a character, and what another program has sent is not to become something else.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    msg_id: &'a str,
    msg_type: &'a str,
    payload: &'a RawValue,
    channel: &'a str,
    timestamp: u64,
    delivery_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
}

impl Shown<'_> {
    /// The same at a place in a topic.
    pub(crate) fn at(self, position: u64) -> Self {
        Self { position: Some(position), ..self }
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// In hexadecimal, the first 16 bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_given_as_it_is_at_the_broker_or_refused() {
        let payload = format!(r#"[1e999, "\ud800", 12345678901234567890123.10, {}1{}]"#, "[".repeat(200), "]".repeat(200));
        let bytes = format!(r#"{{"msg_id":"m","msg_type":"","payload":{payload},"timestamp":7}}"#);
        let message = Message::decode(bytes.as_bytes(), 2).unwrap();
        let shown = serde_json::to_string(&message.shown("work")).unwrap();
        let expected = format!(r#"{{"msg_id":"m","msg_type":"","payload":{payload},"channel":"work","timestamp":7,"delivery_count":2}}"#);
        assert_eq!(shown, expected);
        assert_eq!(message.encode().unwrap(), bytes.as_bytes());
        for wrong in [bytes.replace("]]", "]"), bytes.replace(r#""msg_id":"m","#, ""), "else".to_owned()] {
            assert_eq!(Message::decode(wrong.as_bytes(), 1).unwrap_err().code, Code::StorageFailed, "{wrong}");
        }
    }

    #[test]
    fn fuzz_messages_at_a_broker() {
        let example = r#"{"msg_id":"m","msg_type":"job","payload":{"n":[1,2.5,null]},"timestamp":7}"#;
        plexspaces_testkit::fuzz!([example], |bytes: &Vec<u8>| {
            let Ok(message) = Message::decode(bytes, 3) else { return };
            let written = message.encode().unwrap();
            let again = Message::decode(&written, 3).unwrap();
            assert_eq!((&again.msg_id, &again.msg_type, again.timestamp), (&message.msg_id, &message.msg_type, message.timestamp));
            assert_eq!(again.payload.get(), message.payload.get(), "a payload is given as it is at the broker");
            serde_json::to_string(&message.shown("work").at(1)).unwrap();
        });
    }
}
