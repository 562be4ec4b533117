//! `event_emitter`: tells another actor what this one has handled.

use std::collections::HashSet;

use async_trait::async_trait;
use plexspaces_types::Payload;
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, LogLevel, Turn};

struct EventEmitter {
    target: String,
    event: String,
    /// `None` for all.
    operations: Option<HashSet<String>>,
    with_payload: bool,
    with_reply: bool,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let target: String = settings.required("target")?;
    let event = settings.optional("event")?.unwrap_or_else(|| "event".to_owned());
    let operations = settings.optional("operations")?;
    let with_payload = settings.optional("payload")?.unwrap_or(false);
    let with_reply = settings.optional("reply")?.unwrap_or(false);
    settings.finish()?;
    if target.is_empty() {
        return Err("target is empty, expected the name of an actor".to_owned());
    }
    Ok(Box::new(EventEmitter { target, event, operations, with_payload, with_reply }))
}

/// Bytes as a part of a JSON document: what they say, or as text.
fn embedded(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

#[async_trait]
impl Facet for EventEmitter {
    fn name(&self) -> &str {
        "event_emitter"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn after(&mut self, call: &Call<'_>, reply: &[u8], turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        let wanted = self.operations.as_ref().is_none_or(|operations| operations.contains(call.operation));
        if turn.only_looks() {
            return Ok(InterceptResult::Continue);
        }
        // An event about an event would have no end where emitters form a circle.
        if !wanted || call.operation == self.event {
            return Ok(InterceptResult::Continue);
        }
        let mut event = Map::new();
        event.insert("actor".to_owned(), turn.actor_id().to_string().into());
        event.insert("operation".to_owned(), call.operation.into());
        event.insert("at_ms".to_owned(), turn.now_ms().into());
        if self.with_payload {
            event.insert("payload".to_owned(), embedded(call.message.payload.as_bytes()));
        }
        if self.with_reply {
            event.insert("reply".to_owned(), embedded(reply));
        }
        // Who handles messages does not depend on who hears of it.
        if let Err(failure) = turn.tell(&self.target, &self.event, Payload::from_value(&Value::Object(event))).await {
            turn.log(LogLevel::Warn, &format!("the event_emitter could not tell {:?}: {failure}", self.target));
        }
        Ok(InterceptResult::Continue)
    }
}
