//! Where a workflow waits: for a time, for a signal, for the disk; and what it shows meanwhile.

use std::time::Duration;

use plexspaces_actor::Turn;
use plexspaces_types::{Code, Failure, Payload};
use serde::Serialize;
use serde_json::Value;

use crate::{ActorContext, Message};

/// For how long one wait without an end is.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const SIGNAL: &str = "workflow_signal";
const QUERY: &str = "workflow_query";

impl ActorContext {
    /// Waits so long; a durable actor waits on through failures and restarts of the node. True when the time is over, false when a signal to
    /// this workflow came first, which [`ActorContext::signals`] gives.
    pub async fn sleep(&self, time: Duration) -> Result<bool, Failure> {
        let mut turn = self.hold().await;
        let until_ms = after(&turn, time);
        loop {
            if self.course.lock().has_signals() {
                return Ok(false);
            }
            if self.slept(&mut turn, until_ms).await? {
                return Ok(true);
            }
        }
    }

    /// The signals that came to a workflow's run up to its last wait and were not taken yet, in their order.
    pub async fn signals(&self) -> Vec<Message> {
        let mut turn = self.hold().await;
        let mut course = self.course.lock();
        course.hear(&mut turn);
        course.take_signals()
    }

    /// The first signal that was not taken yet.
    pub(crate) async fn next_signal(&self) -> Option<Message> {
        let mut turn = self.hold().await;
        let mut course = self.course.lock();
        course.hear(&mut turn);
        course.take_signal(None)
    }

    /// Waits in a workflow for the signal `name`, or for any, and gives it; [`Message::signal_name`] says which it is. Each signal is given
    /// once, the oldest first, also one that came before. `None` when `timeout` has passed; without it, it takes as long as it takes. An
    /// error is `cancelled` when this run is cancelled.
    ///
    /// What nobody has taken when the run ends is handled then by its `#[signal_handler]`, whose error is the run's. Without one, or where the
    /// run itself has failed, the node's log says that it was dropped.
    pub async fn wait_for_signal(&self, name: Option<&str>, timeout: Option<Duration>) -> Result<Option<Message>, Failure> {
        let mut turn = self.hold().await;
        if !turn.hears_signals() {
            let message = "waiting for a signal is for workflows: signals come to a run, a signal handler or a handler of one";
            return Err(Failure::new(Code::Conflict, message));
        }
        let mut until_ms = after(&turn, timeout.unwrap_or(FOREVER));
        self.course.lock().hear(&mut turn);
        loop {
            if let Some(signal) = self.course.lock().take_signal(name) {
                return Ok(Some(signal));
            }
            if !self.slept(&mut turn, until_ms).await? {
                continue;
            }
            match timeout {
                Some(_) => return Ok(self.course.lock().take_signal(name)),
                None => until_ms = after(&turn, FOREVER),
            }
        }
    }

    /// Begins to make last what this handler has done so far. When that is on the disk its messages leave, queries see what was published,
    /// and it will not be done again after a crash. The code goes on meanwhile; whatever leaves the actor later waits for the disk.
    pub async fn checkpoint(&self) -> Result<(), Failure> {
        self.sleep_on(Duration::ZERO).await
    }

    /// What queries are to see of this workflow from its next wait on, until its run ends: its state, such as `self`.
    pub async fn publish(&self, state: &(impl Serialize + Sync)) -> Result<(), Failure> {
        let text = serde_json::to_string(state);
        let text = text.map_err(|error| Failure::invalid("state", format!("the state cannot be written as JSON: {error}")))?;
        self.hold().await.publish(Payload::Json(text))
    }

    /// Waits so long, whatever signals come; they are kept.
    pub(crate) async fn sleep_on(&self, time: Duration) -> Result<(), Failure> {
        let mut turn = self.hold().await;
        let until_ms = after(&turn, time);
        while !self.slept(&mut turn, until_ms).await? {}
        Ok(())
    }

    /// One wait until a time; false when a signal has ended it.
    pub(crate) async fn slept(&self, turn: &mut Turn, until_ms: u64) -> Result<bool, Failure> {
        let slept = turn.sleep_until(until_ms).await;
        let slept = self.unless_cancelled(turn, slept).await?;
        self.course.lock().hear(turn);
        Ok(slept)
    }
}

impl Message {
    /// Of a signal: its name.
    #[must_use]
    pub fn signal_name(&self) -> Option<&str> {
        self.msg_type.strip_prefix(SIGNAL)?.strip_prefix(':')
    }

    /// A signal or query that only its payload names, as if its type did.
    pub(crate) fn spelled_out(mut self) -> Self {
        let keys = match self.msg_type.as_str() {
            SIGNAL => ["signal", "name"],
            QUERY => ["query", "name"],
            _ => return self,
        };
        let Ok(Value::Object(mut payload)) = serde_json::from_slice(&self.payload) else { return self };
        for key in keys {
            if let Some(Value::String(name)) = payload.get(key) {
                self.msg_type = format!("{}:{name}", self.msg_type);
                payload.remove(key);
                self.payload = Payload::from_value(&Value::Object(payload));
                return self;
            }
        }
        self
    }
}

pub(crate) fn after(turn: &Turn, time: Duration) -> u64 {
    turn.now_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
