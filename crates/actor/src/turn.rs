//! One turn of one actor: what its code can reach while it handles a message, and what it leaves to be committed.

use std::time::Duration;

use plexspaces_types::{ActorId, Failure, Payload};

/// The host's side of a turn. It is handed to the code and taken back with the effects in it; dropping it drops them.
pub struct Turn {
    id: ActorId,
}

/// How important a line of an actor's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For debugging.
    Debug,
    /// What happens normally.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

impl Turn {
    /// A turn without a node behind it: its actor is alone and its keys are in memory. For tests and measurements of engines.
    #[must_use]
    pub fn detached(id: ActorId) -> Self {
        Self { id }
    }

    /// The actor whose turn it is.
    #[must_use]
    pub fn actor_id(&self) -> &ActorId {
        &self.id
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        0
    }

    /// Asks another actor and waits for the reply.
    pub async fn ask(&mut self, target: &str, operation: &str, payload: Payload, timeout: Duration) -> Result<Payload, Failure> {
        let _ = (target, operation, timeout);
        Ok(payload)
    }

    /// Sends to another actor without waiting for the outcome.
    pub async fn tell(&mut self, target: &str, operation: &str, payload: Payload) -> Result<(), Failure> {
        let _ = (target, operation, payload);
        Ok(())
    }

    /// The value of one of the actor's own keys.
    pub async fn kv_get(&mut self, key: &str) -> Result<Option<String>, Failure> {
        let _ = key;
        Ok(None)
    }

    /// Sets one of the actor's own keys.
    pub async fn kv_put(&mut self, key: &str, value: String, ttl: Option<Duration>) -> Result<(), Failure> {
        let _ = (key, value, ttl);
        Ok(())
    }

    /// Removes one of the actor's own keys; true when it was there.
    pub async fn kv_delete(&mut self, key: &str) -> Result<bool, Failure> {
        let _ = key;
        Ok(false)
    }

    /// Sets a key if its value is `expected`; true when it was set.
    pub async fn kv_compare_and_set(&mut self, key: &str, expected: Option<&str>, value: String) -> Result<bool, Failure> {
        let _ = (key, expected, value);
        Ok(false)
    }

    /// The actor's keys that begin with `prefix`, after `after`, in byte order, at most `limit`.
    pub async fn kv_list(&mut self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, Failure> {
        let _ = (prefix, after, limit);
        Ok(Vec::new())
    }

    /// Writes a line to the node's log.
    pub fn log(&self, level: LogLevel, message: &str) {
        let _ = (level, message);
    }
}
