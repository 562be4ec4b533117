//! Workflows as their operators see them: started under an id, looked at, told to pause or end.

use plexspaces_durable::journal::{self, Entry, Recorded};
use plexspaces_durable::{Answer, answer_key};
use plexspaces_store::{Batch, Partition, Range};

use super::*;
use crate::children::{DEADLINE, LATEST, START, TIMED_OUT, check_run_timeout, start_key};

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
    /// It was not done by its deadline, and has ended by itself.
    TimedOut,
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
    /// By when it is to be done.
    pub deadline_ms: Option<u64>,
    /// What it gave, while that is kept.
    pub result: Option<Payload>,
    /// Why it failed.
    pub failure: Option<String>,
    /// The last call of the host that it made.
    pub last_step: Option<String>,
    /// How many it made.
    pub steps: u64,
    /// The version of the code that it began with.
    pub code: u64,
    /// Whether it goes on with that though another is deployed.
    pub pinned: bool,
}

impl Run {
    /// Whether it has begun and not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.status, RunStatus::Running | RunStatus::Paused)
    }
}

/// Which workflows are listed.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only those of this namespace.
    pub namespace: Option<Name>,
    /// Only those of this type.
    pub actor_type: Option<Name>,
    /// Only those whose latest run stands like this.
    pub status: Option<RunStatus>,
}

/// Entries of the index that one list looks at: with a filter it may find little among them.
const LOOKED_AT: usize = 1000;

/// What makes sure that the runs of a workflow are found in lists.
pub(crate) fn listing(id: &ActorId) -> Batch {
    let mut batch = Batch::new(index());
    batch.put(index_key(id), bytes::Bytes::new());
    batch
}

impl Runtime {
    /// Starts a run under an id, which is the actor's key; returns when it is certain to be carried out. The same id and input again are the
    /// same run, for as long as its result is kept. With `run_timeout_ms` it is timed out when it is not done so long after its start.
    pub async fn start_workflow(
        &self,
        ctx: &RequestContext,
        target: Target<'_>,
        input: Payload,
        run_timeout_ms: Option<u64>,
    ) -> Result<ActorId, Failure> {
        let id = self.workflow_id(ctx, target)?;
        let run_timeout_ms = run_timeout_ms.map(check_run_timeout).transpose()?;
        let run_until_ms = run_timeout_ms.map(|time| self.0.config.clock.now_ms().saturating_add(time));
        let (operation, idempotency_key) = (START.to_owned(), Some(start_key(&id)));
        let message = Message { operation, kind: MessageKind::Call, payload: input, sender: None, idempotency_key };
        let deadline = ctx.deadline.unwrap_or_else(|| crate::now() + DURABLE_TELL_TIMEOUT);
        let ctx = RequestContext { run_until_ms, ..ctx.clone().with_deadline(deadline) };
        self.ask_actor(ctx, id.clone(), message).await?;
        Ok(id)
    }

    /// A workflow's latest run.
    pub async fn workflow(&self, ctx: &RequestContext, target: Target<'_>) -> Result<Run, Failure> {
        let id = self.workflow_id(ctx, target)?;
        self.latest_run(id).await
    }

    /// The durable workflows of a tenant that were ever run, after the one with the printed identity `after`, in order of namespace, type and
    /// key, at most `limit`; and after which the list goes on. There may be more though few were found.
    pub async fn workflows(
        &self,
        tenant: &Name,
        filter: &RunFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Run>, Option<String>), Failure> {
        let strange = || Failure::invalid("page_token", "the page token is not of this list");
        let after = after.map(|after| ActorId::parse(tenant, after).ok_or_else(strange)).transpose()?;
        let scope = [filter.namespace.as_ref(), filter.namespace.as_ref().and(filter.actor_type.as_ref())];
        let prefix: String = [Some(tenant)].into_iter().chain(scope).flatten().map(|name| format!("{name}\0")).collect();
        let whole = Range::prefix(prefix.as_bytes());
        let range = match &after {
            Some(after) => whole.after(&index_key(after)),
            None => whole,
        };
        let page = self.0.config.store.scan(&index(), range, LOOKED_AT).await?;
        let mut found = Vec::new();
        let mut last = None;
        for (place, (key, _)) in page.entries.iter().enumerate() {
            let Some(id) = parse_index_key(key) else { continue };
            last = Some(id.to_string());
            let run = self.latest_run(id).await?;
            // The entry is written before the run begins.
            if run.status != RunStatus::None && filter.status.is_none_or(|status| run.status == status) {
                found.push(run);
            }
            if found.len() >= limit {
                let more = page.more || place + 1 < page.entries.len();
                return Ok((found, last.filter(|_| more)));
            }
        }
        Ok((found, last.filter(|_| page.more)))
    }

    async fn latest_run(&self, id: ActorId) -> Result<Run, Failure> {
        let turns = self.recorded(&id, 0, None, None).await?;
        let latest = turns.iter().rev().find(|turn| turn.begin().is_some_and(is_run));
        let Some(latest) = latest else {
            let (status, code) = (RunStatus::None, 0);
            let (started_ms, ended_ms, deadline_ms, result, failure, last_step) = (None, None, None, None, None, None);
            return Ok(Run { id, status, started_ms, ended_ms, deadline_ms, result, failure, last_step, steps: 0, code, pinned: false });
        };
        let mut run = read(id, latest);
        if let Some(kind) = self.0.registry.kind(&run.id).filter(|_| run.ended_ms.is_none() && run.code != 0) {
            run.pinned =
                kind.factory.code() != run.code && kind.application.earlier.read().iter().any(|factory| factory.code() == run.code);
        }
        if run.ended_ms.is_some() && run.failure.is_none() {
            let key = latest.begin().and_then(|begin| begin.idempotency_key.as_deref()).unwrap_or(LATEST);
            let stored = self.0.config.store.get(&Partition::actor(&run.id), &answer_key(key)).await?;
            let answer = stored.map(|value| Answer::decode(&value)).transpose();
            run.result =
                answer.map_err(|error| history::unreadable(&run.id, &error))?.filter(|answer| !answer.failed).map(|answer| answer.reply);
        }
        Ok(run)
    }

    /// Tells a run to `pause`, `resume`, `cancel` or `terminate`; returns when that is certain to be followed. A run that has ended so may be told
    /// again.
    pub async fn order_workflow(&self, ctx: &RequestContext, target: Target<'_>, order: &str) -> Result<(), Failure> {
        let id = self.workflow_id(ctx, target)?;
        let durable = self.0.registry.kind(&id).is_some_and(|kind| kind.profile(&id.key).durable);
        // A run that is over, or was never begun, is no reason to bring its actor to life.
        if durable && self.known(&id).is_none() {
            let run = self.latest_run(id.clone()).await?;
            if !run.is_under_way() {
                return ordered(&run, order);
            }
        }
        let request = Request { operation: format!("workflow_{order}"), payload: Payload::empty(), idempotency_key: None };
        match self.ask(ctx, target, request).await {
            Err(failure) if durable && failure.code == Code::Conflict => match self.latest_run(id).await? {
                run if run.is_under_way() => Err(failure),
                run => ordered(&run, order),
            },
            answer => answer.map(drop),
        }
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

/// What an order comes to for a run that does not hear it.
fn ordered(run: &Run, order: &str) -> Result<(), Failure> {
    match (order, run.status) {
        ("cancel", RunStatus::Cancelled) | ("terminate", RunStatus::Terminated) => Ok(()),
        (_, RunStatus::None) => Err(Failure::not_found(format!("there is no run of {}", run.id))),
        _ => Err(Failure::new(Code::Conflict, format!("there is no run of {} to {order}: the last one is over", run.id))),
    }
}

/// The index of all workflows that were ever run. What became of them is in their journals.
fn index() -> Partition {
    Partition::node("workflows")
}

fn index_key(id: &ActorId) -> Vec<u8> {
    [id.tenant.as_str(), id.namespace.as_str(), id.actor_type.as_str(), id.key.as_str()].join("\0").into_bytes()
}

fn parse_index_key(key: &[u8]) -> Option<ActorId> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(4, '\0');
    let mut name = |what| Name::new(what, parts.next()?).ok();
    let (tenant, namespace, actor_type) = (name("tenant")?, name("namespace")?, name("actor type")?);
    Some(ActorId::new(tenant, namespace, actor_type, Key::new(parts.next()?).ok()?))
}

/// Whether a turn is a run, under any of its names.
pub(crate) fn is_run(begin: &journal::Begin) -> bool {
    begin.seed != journal::NO_CODE && names_run(&begin.operation)
}

/// Whether an operation is one of a run's names.
pub(crate) fn names_run(operation: &str) -> bool {
    [RUN, START, "run", "start"].contains(&operation)
}

/// By when a run is to be done.
pub(crate) fn deadline(turn: &Recorded) -> Option<u64> {
    let said = turn.entries.iter().find_map(|entry| match entry {
        Entry::Signal(signal) if signal.operation == DEADLINE => Some(&signal.payload),
        _ => None,
    });
    serde_json::from_slice(said?.as_bytes()).ok()
}

fn read(id: ActorId, turn: &Recorded) -> Run {
    let (mut paused, mut told, mut terminated, mut steps, mut last_step) = (false, None, false, 0, None);
    for entry in &turn.entries {
        match entry {
            Entry::Step(step) => {
                steps += 1;
                last_step = Some(step.call.clone());
            }
            Entry::Signal(signal) => match (signal.operation.as_str(), Order::of(&signal.operation)) {
                (TIMED_OUT, _) => (paused, told) = (false, Some(Code::TimedOut)),
                (_, Some(Order::Pause)) => paused = true,
                (_, Some(Order::Resume)) => paused = false,
                (_, Some(Order::Cancel)) => (paused, told) = (false, Some(Code::Cancelled)),
                (_, Some(Order::Terminate)) => terminated = true,
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
    // Whether it lets out what it was told or returns something when it has cleaned up is its own affair.
    let news = failure.map_or(told, |refusal| refusal.code.parse().ok());
    let status = match (end, news) {
        (None, _) if paused => RunStatus::Paused,
        (None, _) => RunStatus::Running,
        (Some(_), _) if terminated => RunStatus::Terminated,
        (Some(_), Some(Code::TimedOut)) => RunStatus::TimedOut,
        (Some(_), Some(Code::Cancelled)) => RunStatus::Cancelled,
        (Some(_), _) if failure.is_some() => RunStatus::Failed,
        (Some(_), _) => RunStatus::Completed,
    };
    Run {
        id,
        status,
        started_ms: turn.begin().map(|begin| begin.at_ms),
        ended_ms: end.map(|end| end.at_ms),
        deadline_ms: deadline(turn),
        result: None,
        failure: failure.map(|refusal| refusal.message.clone()),
        last_step,
        steps,
        code: turn.begin().map_or(0, |begin| begin.code),
        pinned: false,
    }
}
