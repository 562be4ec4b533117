//! Workflows as their operators see them: started under an id, looked at, told to pause or end.

use plexspaces_durable::journal::{self, Entry, Recorded};
use plexspaces_durable::{Answer, answer_key};
use plexspaces_store::Partition;

use super::*;

/// The operation that starts a run.
const RUN: &str = "workflow_run";

/// How a workflow's latest run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It was never run.
    None,
    /// It is under way.
    Running,
    /// It stands still.
    Paused,
    /// It has ended with a result.
    Completed,
    /// It has failed.
    Failed,
    /// It was cancelled, and has ended by itself.
    Cancelled,
    /// It was terminated.
    Terminated,
}

/// A workflow's latest run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its actor.
    pub id: ActorId,
    /// How it stands.
    pub status: RunStatus,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// What it gave, while that is kept.
    pub result: Option<Payload>,
    /// Why it failed.
    pub failure: Option<String>,
    /// The last call of the host that it made.
    pub last_step: Option<String>,
    /// How many it made.
    pub steps: u64,
}

impl Runtime {
    /// Starts a run under an id, which is the actor's key; returns when it is certain to be carried out. The same id and input again are the
    /// same run, for as long as its result is kept.
    pub async fn start_workflow(&self, ctx: &RequestContext, target: Target<'_>, input: Payload) -> Result<ActorId, Failure> {
        let id = self.workflow_id(ctx, target)?;
        let idempotency_key = Some(start_key(&id));
        self.tell(ctx, target, Request { operation: RUN.to_owned(), payload: input, idempotency_key }).await?;
        Ok(id)
    }

    /// A workflow's latest run.
    pub async fn workflow(&self, ctx: &RequestContext, target: Target<'_>) -> Result<Run, Failure> {
        let id = self.workflow_id(ctx, target)?;
        let (turns, _) = self.recorded(&id, 0, None, None).await?;
        let latest = turns.iter().rev().find(|turn| turn.begin().is_some_and(is_run));
        let Some(latest) = latest else {
            return Ok(Run {
                status: RunStatus::None,
                started_ms: None,
                ended_ms: None,
                result: None,
                failure: None,
                last_step: None,
                steps: 0,
                id,
            });
        };
        let mut run = read(id, latest);
        if let Some(key) = latest.begin().and_then(|begin| begin.idempotency_key.as_deref()).filter(|_| run.ended_ms.is_some()) {
            let stored = self.0.config.store.get(&Partition::actor(&run.id), &answer_key(key)).await?;
            let answer = stored.map(|value| Answer::decode(&value)).transpose();
            run.result = answer.map_err(|error| history::unreadable(&run.id, &error))?.map(|answer| answer.reply);
        }
        Ok(run)
    }

    /// Tells a run to `pause`, `resume`, `cancel` or `terminate`; returns when that is certain to be followed.
    pub async fn order_workflow(&self, ctx: &RequestContext, target: Target<'_>, order: &str) -> Result<(), Failure> {
        self.workflow_id(ctx, target)?;
        let request = Request { operation: format!("workflow_{order}"), payload: Payload::empty(), idempotency_key: None };
        self.ask(ctx, target, request).await.map(drop)
    }

    fn workflow_id(&self, ctx: &RequestContext, target: Target<'_>) -> Result<ActorId, Failure> {
        let id = self.admit(ctx, target)?;
        let kind = self.0.registry.kind(&id).ok_or_else(|| gone(&id))?;
        match kind.behavior {
            Behavior::Workflow => Ok(id),
            other => Err(Failure::invalid("actor_type", format!("{} is a {}, expected a Workflow", id.actor_type, other.name()))),
        }
    }
}

fn start_key(id: &ActorId) -> String {
    format!("workflow:{}", id.key)
}

/// What is no signal, query or order, and not the node's own doing.
fn is_run(begin: &journal::Begin) -> bool {
    begin.seed != journal::NO_CODE && Order::of(&begin.operation).is_none()
}

fn read(id: ActorId, turn: &Recorded) -> Run {
    let (mut paused, mut cancelled, mut steps, mut last_step) = (false, false, 0, None);
    for entry in &turn.entries {
        match entry {
            Entry::Step(step) => {
                steps += 1;
                last_step = Some(step.call.clone());
            }
            Entry::Signal(signal) => match Order::of(&signal.operation) {
                Some(Order::Pause) => paused = true,
                Some(Order::Resume) => paused = false,
                Some(Order::Cancel) => (paused, cancelled) = (false, true),
                _ => {}
            },
            Entry::Base(_) | Entry::Begin(_) | Entry::End(_) => {}
        }
    }
    let end = turn.end();
    let failure = end.and_then(|end| match &end.outcome {
        journal::Outcome::Failed(refusal) => Some(refusal),
        journal::Outcome::Done { .. } => None,
    });
    let status = match (end, failure) {
        (None, _) if paused => RunStatus::Paused,
        (None, _) => RunStatus::Running,
        (Some(_), Some(refusal)) if refusal.code == Code::Cancelled.name() => RunStatus::Terminated,
        (Some(_), Some(_)) => RunStatus::Failed,
        (Some(_), None) if cancelled => RunStatus::Cancelled,
        (Some(_), None) => RunStatus::Completed,
    };
    Run {
        id,
        status,
        started_ms: turn.begin().map(|begin| begin.at_ms),
        ended_ms: end.map(|end| end.at_ms),
        result: None,
        failure: failure.map(|refusal| refusal.message.clone()),
        last_step,
        steps,
    }
}
