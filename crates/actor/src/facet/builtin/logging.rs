//! `logging`: a line in the node's log for each message.

use std::collections::HashSet;

use async_trait::async_trait;
use plexspaces_types::Failure;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, LogLevel, Turn};

const MAX_BYTES: usize = 1024;

/// What is printed in place of a hidden value.
const HIDDEN: &str = "[redacted]";

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

struct Logging {
    level: LogLevel,
    payload: bool,
    redact: HashSet<String>,
    max_bytes: usize,
    actor: String,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let level = match settings.optional("level")?.unwrap_or(Level::Info) {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    let payload = settings.optional("payload")?.unwrap_or(false);
    let redact = settings.optional::<Vec<String>>("redact")?.unwrap_or_default();
    let max_bytes = settings.count("max_bytes")?.unwrap_or(MAX_BYTES);
    settings.finish()?;
    if !redact.is_empty() && !payload {
        return Err("redact is given, but no payload is logged without payload = true".to_owned());
    }
    let redact = redact.iter().map(|name| name.to_lowercase()).collect();
    Ok(Box::new(Logging { level, payload, redact, max_bytes, actor: String::new() }))
}

impl Logging {
    /// A payload as it may be printed. What is no JSON may hide anything, so only its size is printed where something is to be hidden.
    fn printed(&self, bytes: &[u8]) -> String {
        if !self.payload {
            return String::new();
        }
        let mut text = match serde_json::from_slice::<Value>(bytes) {
            Ok(mut value) => {
                self.hide(&mut value);
                value.to_string()
            }
            Err(_) if self.redact.is_empty() => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => format!("{} bytes", bytes.len()),
        };
        if text.len() > self.max_bytes {
            text.truncate(text.floor_char_boundary(self.max_bytes));
            text.push('…');
        }
        format!(" {text}")
    }

    fn hide(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if self.redact.contains(&name.to_lowercase()) {
                        *value = HIDDEN.into();
                    } else {
                        self.hide(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            _ => {}
        }
    }
}

#[async_trait]
impl Facet for Logging {
    fn name(&self) -> &str {
        "logging"
    }

    fn priority(&self) -> u32 {
        800
    }

    async fn on_attach(&mut self, actor: &plexspaces_types::ActorId) -> Result<(), FacetError> {
        self.actor = actor.to_string();
        Ok(())
    }

    async fn before(&mut self, call: &Call<'_>, turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        let (operation, principal) = (call.operation, &turn.context().principal);
        turn.log(self.level, &format!("received {operation:?} from {principal:?}{}", self.printed(call.message.payload.as_bytes())));
        Ok(InterceptResult::Continue)
    }

    async fn after(&mut self, call: &Call<'_>, reply: &[u8], turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        turn.log(self.level, &format!("handled {:?}{}", call.operation, self.printed(reply)));
        Ok(InterceptResult::Continue)
    }

    async fn on_error(&mut self, method: &str, _payload: &[u8], failure: &Failure) {
        tracing::warn!(target: "plexspaces::guest", actor_id = self.actor, "failed {method:?}: {failure}");
    }
}
