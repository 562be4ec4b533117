//! Workflows that a workflow starts.

use std::collections::HashMap;
use std::time::Duration;

use plexspaces_actor::{LogLevel, Turn};
use plexspaces_types::{Code, Failure, Payload};
use serde_json::Value;

use crate::workflow::{FOREVER, after};
use crate::{ActorContext, ActorId, Message};

/// Starts a run under its id.
const START: &str = "workflow_start";
/// What whoever has started a run hears of its end.
const ENDED: &str = "workflow_signal:__ENDED__";
const CANCEL: &str = "workflow_cancel";

/// How many signals are kept that nobody has taken. Beyond that the oldest are dropped.
const MOST_SIGNALS: usize = 10_000;

/// What a run has heard, and knows of those that it has started.
#[derive(Default)]
pub(crate) struct Course {
    /// Those that have not ended, in the order in which they were started.
    open: Vec<String>,
    /// By its identity, what became of one that has ended.
    ended: HashMap<String, Value>,
    /// What others have sent and the code has not taken.
    signals: Vec<Message>,
}

impl Course {
    /// Takes what came during the last wait.
    pub(crate) fn hear(&mut self, turn: &mut Turn) {
        for (operation, payload) in turn.take_signals() {
            if operation == ENDED {
                self.told(serde_json::from_slice(&payload).unwrap_or_default());
            } else {
                self.signals.push(Message::with_payload(operation, payload).spelled_out());
            }
        }
        let many = self.signals.len().saturating_sub(MOST_SIGNALS);
        if many > 0 {
            self.signals.drain(..many);
            turn.log(LogLevel::Warn, &format!("{many} signals were dropped: {MOST_SIGNALS} more wait that nobody takes"));
        }
    }

    /// The first signal of a name, or of any.
    pub(crate) fn take_signal(&mut self, name: Option<&str>) -> Option<Message> {
        let place = self.signals.iter().position(|signal| name.is_none() || signal.signal_name() == name)?;
        Some(self.signals.remove(place))
    }

    pub(crate) fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    pub(crate) fn take_signals(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.signals)
    }

    /// The runs that are to be cancelled with this one.
    pub(crate) fn take_open(&mut self) -> Vec<String> {
        std::mem::take(&mut self.open)
    }

    fn told(&mut self, told: Value) {
        let Some(id) = told.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
        if told.get("ended") == Some(&Value::Bool(true)) {
            self.open.retain(|open| *open != id);
            self.ended.insert(id, told);
        } else if !self.open.contains(&id) {
            self.open.push(id);
        }
    }
}

/// A run that [`ActorContext::start_workflow`] has started. It goes on by itself; when the run that has started it is cancelled, it is
/// cancelled too.
#[derive(Clone, Debug)]
pub struct Child {
    id: String,
}

impl Child {
    /// Who it is: `namespace/type/key`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the run's end, be it after days, and gives its result: a durable workflow leaves memory meanwhile. An error is what the run
    /// failed with, `conflict` when it was cancelled, `deadline_exceeded` when it was timed out or `timeout` has passed, and `cancelled` when this run is
    /// cancelled. Only a workflow hears of the end of what it has started.
    pub async fn result(&self, ctx: &ActorContext, timeout: Option<Duration>) -> Result<Value, Failure> {
        let mut turn = ctx.hold().await;
        if !turn.hears_signals() {
            let message = "the result of a run is for workflows: other actors do not hear of the end of what they have started";
            return Err(Failure::new(Code::Conflict, message));
        }
        let mut until_ms = after(&turn, timeout.unwrap_or(FOREVER));
        loop {
            if let Some(told) = ctx.course.lock().ended.get(&self.id) {
                return outcome(told);
            }
            let slept = ctx.slept(&mut turn, until_ms).await?;
            match (slept, timeout) {
                (true, Some(limit)) if !ctx.course.lock().ended.contains_key(&self.id) => {
                    let message = format!("the run of {} did not end in {limit:?}; it goes on", self.id);
                    return Err(Failure::new(Code::DeadlineExceeded, message));
                }
                (true, _) => until_ms = after(&turn, FOREVER),
                (false, _) => {}
            }
        }
    }

    /// Cancels the run: its next wait ends with `cancelled`, and it can undo what it did. Nothing happens to one that has ended.
    pub async fn cancel(&self, ctx: &ActorContext) -> Result<(), Failure> {
        ctx.hold().await.tell(&self.id, CANCEL, Payload::empty()).await
    }
}

impl ActorContext {
    /// Starts a run of a durable workflow of a registered type under an id, and returns when it is certain to be carried out, at most after
    /// `timeout`. The same id with the same input is the same run for 24 hours, whoever starts it and also through crashes; with another
    /// input it is a `conflict`. [`Child::result`] waits for its end.
    pub async fn start_workflow(&self, actor_type: &str, workflow_id: &str, input: &Value, timeout: Duration) -> Result<Child, Failure> {
        self.start(actor_type, workflow_id, input, START, timeout).await
    }

    /// The same with a deadline: when the run is not done `run_timeout` after its start, its present or next wait ends with `timed_out`. A run
    /// is to be done when the one that has started it is to be done, whatever is said here.
    pub async fn start_workflow_within(
        &self,
        actor_type: &str,
        workflow_id: &str,
        input: &Value,
        run_timeout: Duration,
        timeout: Duration,
    ) -> Result<Child, Failure> {
        let operation = format!("{START}:{}", run_timeout.as_millis());
        self.start(actor_type, workflow_id, input, &operation, timeout).await
    }

    async fn start(
        &self,
        actor_type: &str,
        workflow_id: &str,
        input: &Value,
        operation: &str,
        timeout: Duration,
    ) -> Result<Child, Failure> {
        let id = ActorId::from(format!("{actor_type}/{workflow_id}"));
        let address = self.look_up((&id).into())?;
        let mut turn = self.hold().await;
        let reply = turn.ask_at(&address, operation, Payload::from_value(input), timeout).await;
        let reply = self.unless_cancelled(&mut turn, reply).await?;
        let unknown = |_| Failure::new(Code::Internal, format!("what {id} answered to its start cannot be read"));
        let begun: Value = serde_json::from_slice(&reply).map_err(unknown)?;
        self.course.lock().told(begun);
        Ok(Child { id: address.id().to_string() })
    }

    /// A wait's result. When this run is cancelled, so are those that it has started and that have not ended.
    pub(crate) async fn unless_cancelled<T>(&self, turn: &mut Turn, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.as_ref().is_err_and(|failure| failure.code.ends_run()) {
            let open = self.course.lock().take_open();
            for id in &open {
                turn.tell(id, CANCEL, Payload::empty()).await?;
            }
            if !open.is_empty() {
                // What a run that ends with an error has sent since its last wait does not leave.
                turn.sleep_until(0).await?;
            }
        }
        result
    }
}

fn outcome(told: &Value) -> Result<Value, Failure> {
    let Some(error) = told.get("error") else { return Ok(told.get("result").cloned().unwrap_or_default()) };
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    Err(Failure::new(text("code").parse().unwrap_or(Code::Internal), text("message")))
}
