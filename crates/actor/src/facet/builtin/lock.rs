//! `lock`: what several actors may not do at the same time.

use std::time::Duration;

use async_trait::async_trait;
use plexspaces_types::{Code, Failure, Payload};
use serde_json::{Map, Value, json};

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, Turn};

const TTL: Duration = Duration::from_secs(30);
const WAIT: Duration = Duration::from_secs(5);

struct Lock {
    key: String,
    /// The operations that need it; all when empty.
    operations: Vec<String>,
    ttl: Duration,
    wait: Duration,
    /// Under which version it is held.
    held: Option<Value>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    let mut settings = FacetSettings::new(config);
    let key: String = settings.required("key")?;
    let operations = settings.optional("operations")?.unwrap_or_default();
    let ttl = settings.duration("ttl")?.unwrap_or(TTL);
    let wait = settings.duration("wait")?.unwrap_or(WAIT);
    settings.finish()?;
    if key.is_empty() {
        return Err("key is empty".to_owned());
    }
    Ok(Box::new(Lock { key, operations, ttl, wait, held: None }))
}

async fn ask(turn: &mut Turn, operation: &str, arguments: Value) -> Result<Value, Failure> {
    let reply = turn.service("locks", "default", operation, Payload::from_value(&arguments)).await?;
    let unreadable = |error| Failure::new(Code::Internal, format!("the service of locks gave no answer: {error}"));
    serde_json::from_slice(reply.as_bytes()).map_err(unreadable)
}

#[async_trait]
impl Facet for Lock {
    fn name(&self) -> &str {
        "lock"
    }

    fn priority(&self) -> u32 {
        50
    }

    async fn before(&mut self, call: &Call<'_>, turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        if !self.operations.is_empty() && !self.operations.iter().any(|operation| operation == call.operation) {
            return Ok(InterceptResult::Continue);
        }
        // The actor is the holder: after a failure it has the lock again at once, and others have it when the lease is over.
        let holder = turn.actor_id().to_string();
        let arguments = json!({"key": self.key, "holder": holder, "ttl_ms": millis(self.ttl), "timeout_ms": millis(self.wait)});
        let lock = ask(turn, "acquire", arguments).await?;
        match lock.get("version").filter(|version| version.is_string()) {
            Some(version) => self.held = Some(version.clone()),
            None => {
                let holder = lock.get("holder").and_then(Value::as_str).unwrap_or_default();
                let message = format!("the lock {:?} is held by {holder}", self.key);
                return Err(Failure::new(Code::Overloaded, message).into());
            }
        }
        Ok(InterceptResult::Continue)
    }

    async fn after(&mut self, _: &Call<'_>, _: &[u8], turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        if let Some(version) = self.held.take() {
            ask(turn, "release", json!({"key": self.key, "version": version})).await?;
        }
        Ok(InterceptResult::Continue)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
