//! Messages as handlers see them and callers make them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plexspaces_types as types;
use plexspaces_types::{MessageKind, Payload};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ActorId, BehaviorError};

/// What is said of a message beside its payload.
pub type Headers = BTreeMap<String, String>;

/// One message, or the reply to one.
#[derive(Clone, Debug)]
pub struct Message {
    /// The body; it derefs to its bytes.
    pub payload: Payload,
    /// For `__DOWN__` and `__EXIT__` what the payload says; empty otherwise.
    pub headers: Headers,
    /// The operation: as the sender gave it, else `op` or `action` of the payload. Empty in a reply.
    pub msg_type: String,
    /// The actor that sent it; none for a sender outside.
    pub sender: Option<ActorId>,
    is_call: bool,
    idempotency_key: Option<String>,
}

/// A request: the payload is the whole value, and its `op` or `action` says what to do.
#[must_use]
pub fn call_message(value: Value) -> Message {
    let operation = named(&value);
    Message::with_payload(operation, Payload::from_value(&value))
}

/// A message without reply; otherwise as [`call_message`].
#[must_use]
pub fn cast_message(value: Value) -> Message {
    Message { is_call: false, ..call_message(value) }
}

impl Message {
    /// A message with an operation and any arguments that can be written as JSON.
    pub fn new(operation: impl Into<String>, arguments: &impl Serialize) -> Result<Self, BehaviorError> {
        Ok(Self::with_payload(operation, Payload::Json(serde_json::to_string(arguments)?)))
    }

    /// A message with an operation and bytes of any kind.
    #[must_use]
    pub fn from_bytes(operation: impl Into<String>, payload: impl Into<bytes::Bytes>) -> Self {
        Self::with_payload(operation, Payload::Bytes(payload.into()))
    }

    /// A message with an operation and a payload as it is.
    #[must_use]
    pub fn with_payload(operation: impl Into<String>, payload: Payload) -> Self {
        let msg_type = operation.into();
        Self { payload, headers: Headers::new(), msg_type, sender: None, is_call: true, idempotency_key: None }
    }

    /// Names the request: a repetition with the same key gets the stored answer.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Whether the sender waits for a reply.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.is_call
    }

    /// The payload as a value of the program's own.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BehaviorError> {
        Ok(serde_json::from_slice(&self.payload)?)
    }

    /// What an actor is handed.
    pub(crate) fn received(message: &types::Message) -> Self {
        let payload = message.payload.clone();
        let msg_type = if message.operation.is_empty() { operation(&payload) } else { message.operation.clone() };
        let headers = if msg_type.starts_with("__") { headers(&payload) } else { Headers::new() };
        Self {
            payload,
            headers,
            msg_type,
            sender: message.sender.clone().map(ActorId::from),
            is_call: message.kind == MessageKind::Call,
            idempotency_key: None,
        }
    }

    pub(crate) fn reply(payload: Payload) -> Self {
        Self::with_payload(String::new(), payload)
    }

    /// What the runtime carries.
    pub(crate) fn into_sent(self, kind: MessageKind) -> types::Message {
        let Self { payload, msg_type, idempotency_key, .. } = self;
        types::Message { operation: msg_type, kind, payload, sender: None, idempotency_key }
    }
}

/// What a payload says that is to be done.
fn operation(payload: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Routed<'a> {
        #[serde(borrow, default)]
        op: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        action: Option<Cow<'a, str>>,
    }
    match serde_json::from_slice::<Routed<'_>>(payload) {
        Ok(Routed { op, action }) => op.or(action).map(Cow::into_owned).unwrap_or_default(),
        // One of the two is no text, which says nothing of the other.
        Err(_) => serde_json::from_slice::<Value>(payload).map(|value| named(&value)).unwrap_or_default(),
    }
}

fn named(value: &Value) -> String {
    ["op", "action"].iter().find_map(|key| value.get(key).and_then(Value::as_str)).unwrap_or_default().to_owned()
}

fn headers(payload: &[u8]) -> Headers {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(payload).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    object.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_done_is_the_first_of_two_members_that_is_a_text() {
        for (payload, operation) in [
            (r#"{"op":"a","action":"b"}"#, "a"),
            (r#"{"action":"b"}"#, "b"),
            (r#"{"op":5,"action":"b"}"#, "b"),
            (r#"{"op":5}"#, ""),
            ("7", ""),
        ] {
            let message = types::Message {
                operation: String::new(),
                kind: MessageKind::Call,
                payload: Payload::Json(payload.into()),
                sender: None,
                idempotency_key: None,
            };
            assert_eq!(Message::received(&message).msg_type, operation, "{payload}");
        }
    }
}
