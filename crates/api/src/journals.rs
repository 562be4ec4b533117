//! The histories of durable actors, and workflows.

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plexspaces_actor::journal::{Entry, Outcome, Recorded};
use plexspaces_actor::{Moment, Run, RunFilter, RunStatus, Target};
use plexspaces_proto::v1::journal_service_server::JournalService;
use plexspaces_proto::v1::workflow::Status as State;
use plexspaces_proto::v1::workflow_service_server::WorkflowService;
use plexspaces_proto::{json, v1};
use plexspaces_types::{Failure, Name, Payload, RequestContext};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use crate::actors::{DEFAULT_TIMEOUT, about, caller};
use crate::applications::timestamp;
use crate::auth::{self, Caller};
use crate::error::status;
use crate::facets::target;
use crate::page::{self, List};
use crate::services::Api;
use crate::transcode::{HttpStatus, check_key};

#[tonic::async_trait]
impl JournalService for Api {
    async fn list_turns(&self, request: Request<v1::ListTurnsRequest>) -> Result<Response<v1::ListTurnsResponse>, Status> {
        let caller = caller(&request)?;
        self.turns(&caller, &request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_state(&self, request: Request<v1::GetStateRequest>) -> Result<Response<v1::GetStateResponse>, Status> {
        let caller = caller(&request)?;
        self.state(&caller, &request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn fork_actor(&self, request: Request<v1::ForkActorRequest>) -> Result<Response<v1::ForkActorResponse>, Status> {
        let caller = caller(&request)?;
        self.fork(&caller, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn export_journal(&self, request: Request<v1::ExportJournalRequest>) -> Result<Response<v1::ExportJournalResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = context(&caller, &request.tenant_id, &request.namespace).map_err(status)?;
        let target = target(&request.actor_type, &request.actor_id).map_err(status)?;
        let exported = self.0.services.runtime.export(&ctx, target).await.map_err(status)?;
        let document = serde_json::to_string(&exported).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::ExportJournalResponse { document }))
    }
}

impl Api {
    async fn turns(&self, caller: &Caller, request: &v1::ListTurnsRequest) -> Result<v1::ListTurnsResponse, Failure> {
        let ctx = context(caller, &request.tenant_id, &request.namespace)?;
        let target = target(&request.actor_type, &request.actor_id)?;
        let limit = page::size(request.page_size)?;
        let filter = format!("{}/{}/{}", ctx.namespace, request.actor_type, request.actor_id);
        let list = List { name: "turns", tenant: &ctx.tenant, filter: &filter };
        let after = self.0.pages.open(list, &request.page_token)?.and_then(|turn| turn.parse().ok()).unwrap_or(0);
        let (turns, more) = self.0.services.runtime.history(&ctx, target, after, limit).await?;
        let next_page_token = match turns.last() {
            Some(last) if more => Some(self.0.pages.seal(list, last.turn.to_string())?),
            _ => None,
        };
        Ok(v1::ListTurnsResponse { turns: turns.into_iter().map(recorded).collect(), next_page_token })
    }

    async fn state(&self, caller: &Caller, request: &v1::GetStateRequest) -> Result<v1::GetStateResponse, Failure> {
        let ctx = context(caller, &request.tenant_id, &request.namespace)?;
        let target = target(&request.actor_type, &request.actor_id)?;
        let moment = match (request.turn, &request.state_at) {
            (Some(_), Some(_)) => return Err(Failure::invalid("state_at", "expected turn or state_at, found both")),
            (Some(turn), None) => Moment::Turn(turn),
            (None, Some(time)) => Moment::Time(milliseconds(time)?),
            (None, None) => Moment::Last,
        };
        let runtime = &self.0.services.runtime;
        let (turn, state) = runtime.state_at(&ctx, target, moment).await?;
        let state = shown(&state);
        let changes = match request.since {
            None => None,
            Some(since) => {
                let (_, before) = runtime.state_at(&ctx, target, Moment::Turn(since)).await?;
                let patch = json_patch::diff(&shown(&before), &state);
                Some(json::from_value(serde_json::to_value(patch).unwrap_or_default()))
            }
        };
        Ok(v1::GetStateResponse { turn, state: Some(json::from_value(state)), changes })
    }

    async fn fork(&self, caller: &Caller, request: v1::ForkActorRequest) -> Result<v1::ForkActorResponse, Failure> {
        let ctx = context(caller, &request.tenant_id, &request.namespace)?;
        let target = target(&request.actor_type, &request.actor_id)?;
        let moment = request.turn.map_or(Moment::Last, Moment::Turn);
        let entry = request.entry.and_then(|entry| usize::try_from(entry).ok());
        let payload = request.payload.map(given).transpose()?;
        let runtime = &self.0.services.runtime;
        let fork = runtime.fork(&ctx, target, moment, entry, payload, &request.new_actor_id).await;
        let made = Target { key: Some(&request.new_actor_id), ..target };
        let fork = fork.map_err(|failure| about(failure, "actors", &ctx, made))?;
        Ok(v1::ForkActorResponse { actor_id: fork.to_string() })
    }

    async fn order(&self, caller: &Caller, scope: (&str, &str), workflow: (&str, &str), order: &str) -> Result<(), Failure> {
        let ctx = context(caller, scope.0, scope.1)?;
        let target = target(workflow.0, workflow.1)?;
        let ordered = self.0.services.runtime.order_workflow(&ctx, target, order).await;
        ordered.map_err(|failure| about(failure, "workflows", &ctx, target))
    }

    async fn runs(&self, request: &v1::ListWorkflowsRequest) -> Result<v1::ListWorkflowsResponse, Failure> {
        let tenant = auth::name("tenant_id", &request.tenant_id)?;
        let limit = page::size(request.page_size)?;
        let name = |field: &'static str, given: &Option<String>| given.as_deref().map(|given| auth::name(field, given)).transpose();
        let wanted = RunFilter {
            namespace: name("namespace", &request.namespace)?,
            actor_type: name("actor_type", &request.actor_type)?,
            status: request.status.as_deref().map(wanted_status).transpose()?,
        };
        if wanted.actor_type.is_some() && wanted.namespace.is_none() {
            return Err(Failure::invalid("namespace", "a type needs a namespace"));
        }
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        let filter = format!("namespace={} type={} status={}", text(&request.namespace), text(&request.actor_type), text(&request.status));
        let list = List { name: "workflows", tenant: &tenant, filter: &filter };
        let after = self.0.pages.open(list, &request.page_token)?;
        let (found, last) = self.0.services.runtime.workflows(&tenant, &wanted, after.as_deref(), limit).await?;
        let next_page_token = last.map(|last| self.0.pages.seal(list, last)).transpose()?;
        Ok(v1::ListWorkflowsResponse { workflows: found.into_iter().map(workflow).collect(), next_page_token })
    }

    async fn run(&self, ctx: &RequestContext, target: Target<'_>) -> Result<v1::Workflow, Failure> {
        self.0.services.runtime.workflow(ctx, target).await.map(workflow)
    }
}

#[tonic::async_trait]
impl WorkflowService for Api {
    async fn start_workflow(&self, request: Request<v1::StartWorkflowRequest>) -> Result<Response<v1::Workflow>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = context(&caller, &request.tenant_id, &request.namespace).map_err(status)?;
        if let Some(token) = &request.client_token {
            check_key("client_token", token.as_bytes()).map_err(status)?;
        }
        let of_token = |token: &String| format!("{:x}", Sha256::digest(token)).split_at(32).0.to_owned();
        let generated = request.client_token.as_ref().map_or_else(|| caller.trace.trace_id_text(), of_token);
        let id = if request.workflow_id.is_empty() { &generated } else { &request.workflow_id };
        let target = target(&request.actor_type, id).map_err(status)?;
        let input = request.input.map_or_else(|| Ok(Payload::empty()), given).map_err(status)?;
        let started = self.0.services.runtime.start_workflow(&ctx, target, input, request.run_timeout_ms).await;
        started.map_err(|failure| status(about(failure, "workflows", &ctx, target)))?;
        let mut response = self.run(&ctx, target).await.map(Response::new).map_err(status)?;
        response.extensions_mut().insert(HttpStatus(StatusCode::ACCEPTED));
        Ok(response)
    }

    async fn get_workflow(&self, request: Request<v1::GetWorkflowRequest>) -> Result<Response<v1::Workflow>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = context(&caller, &request.tenant_id, &request.namespace).map_err(status)?;
        let target = target(&request.actor_type, &request.workflow_id).map_err(status)?;
        self.run(&ctx, target).await.map(Response::new).map_err(status)
    }

    async fn list_workflows(&self, request: Request<v1::ListWorkflowsRequest>) -> Result<Response<v1::ListWorkflowsResponse>, Status> {
        self.runs(&request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn pause_workflow(&self, request: Request<v1::PauseWorkflowRequest>) -> Result<Response<v1::PauseWorkflowResponse>, Status> {
        let caller = caller(&request)?;
        let v1::PauseWorkflowRequest { tenant_id, namespace, actor_type, workflow_id } = request.into_inner();
        self.order(&caller, (&tenant_id, &namespace), (&actor_type, &workflow_id), "pause").await.map_err(status)?;
        Ok(Response::new(v1::PauseWorkflowResponse {}))
    }

    async fn resume_workflow(&self, request: Request<v1::ResumeWorkflowRequest>) -> Result<Response<v1::ResumeWorkflowResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ResumeWorkflowRequest { tenant_id, namespace, actor_type, workflow_id } = request.into_inner();
        self.order(&caller, (&tenant_id, &namespace), (&actor_type, &workflow_id), "resume").await.map_err(status)?;
        Ok(Response::new(v1::ResumeWorkflowResponse {}))
    }

    async fn cancel_workflow(&self, request: Request<v1::CancelWorkflowRequest>) -> Result<Response<v1::CancelWorkflowResponse>, Status> {
        let caller = caller(&request)?;
        let v1::CancelWorkflowRequest { tenant_id, namespace, actor_type, workflow_id } = request.into_inner();
        self.order(&caller, (&tenant_id, &namespace), (&actor_type, &workflow_id), "cancel").await.map_err(status)?;
        Ok(Response::new(v1::CancelWorkflowResponse {}))
    }

    async fn terminate_workflow(
        &self,
        request: Request<v1::TerminateWorkflowRequest>,
    ) -> Result<Response<v1::TerminateWorkflowResponse>, Status> {
        let caller = caller(&request)?;
        let v1::TerminateWorkflowRequest { tenant_id, namespace, actor_type, workflow_id } = request.into_inner();
        self.order(&caller, (&tenant_id, &namespace), (&actor_type, &workflow_id), "terminate").await.map_err(status)?;
        Ok(Response::new(v1::TerminateWorkflowResponse {}))
    }
}

fn context(caller: &Caller, tenant: &str, namespace: &str) -> Result<RequestContext, Failure> {
    Ok(caller.context(tenant, namespace)?.with_deadline(std::time::Instant::now() + DEFAULT_TIMEOUT))
}

fn wanted_status(text: &str) -> Result<RunStatus, Failure> {
    Ok(match text {
        "running" => RunStatus::Running,
        "paused" => RunStatus::Paused,
        "completed" => RunStatus::Completed,
        "failed" => RunStatus::Failed,
        "cancelled" => RunStatus::Cancelled,
        "terminated" => RunStatus::Terminated,
        "timed_out" => RunStatus::TimedOut,
        other => {
            let known = "running, paused, completed, failed, cancelled, terminated or timed_out";
            return Err(Failure::invalid("status", format!("expected {known}, found {other:?}")));
        }
    })
}

/// What stands as it is in one segment of a path, where a colon would begin a custom method.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn workflow(run: Run) -> v1::Workflow {
    let state = match run.status {
        RunStatus::None => State::None,
        RunStatus::Running => State::Running,
        RunStatus::Paused => State::Paused,
        RunStatus::Completed => State::Completed,
        RunStatus::Failed => State::Failed,
        RunStatus::Cancelled => State::Cancelled,
        RunStatus::Terminated => State::Terminated,
        RunStatus::TimedOut => State::TimedOut,
    };
    let id = &run.id;
    let other = |name: &Name, key: &str| if *name == Name::default_scope() { String::new() } else { format!("&{key}={name}") };
    let scope = format!("{}{}", other(&id.namespace, "namespace"), other(&id.tenant, "tenant_id"));
    let key = utf8_percent_encode(id.key.as_str(), SEGMENT);
    let link = |verb: &str| format!("/api/v1/workflows/{key}{verb}?actor_type={}{scope}", id.actor_type);
    v1::Workflow {
        self_link: link(""),
        cancel_link: run.is_under_way().then(|| link(":cancel")),
        actor_id: id.to_string(),
        workflow_id: id.key.to_string(),
        status: state.into(),
        started_at: run.started_ms.map(timestamp),
        ended_at: run.ended_ms.map(timestamp),
        deadline_at: run.deadline_ms.map(timestamp),
        result: run.result.as_ref().map(shown).map(json::from_value),
        failure: run.failure,
        last_step: run.last_step,
        step_count: run.steps,
        code: (run.code != 0).then(|| format!("{:016x}", run.code)),
        pinned: run.pinned,
    }
}

fn recorded(turn: Recorded) -> v1::RecordedTurn {
    let begin = turn.begin().filter(|begin| begin.seed != plexspaces_actor::journal::NO_CODE).cloned();
    let end = turn.end().cloned();
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let entries =
        turn.entries.iter().filter(|entry| !matches!(entry, Entry::Base(_))).enumerate().filter_map(|(index, entry)| match entry {
            Entry::Step(step) => Some(v1::RecordedEntry {
                entry: number(index),
                what: step.call.clone(),
                happened_at: Some(timestamp(step.at_ms)),
                result: step.result.as_ref().ok().filter(|result| !result.is_empty()).map(shown).map(json::from_value),
                failure: step.result.as_ref().err().map(|refusal| format!("{}: {}", refusal.code, refusal.message)),
            }),
            Entry::Signal(signal) => Some(v1::RecordedEntry {
                entry: number(index),
                what: format!("signal {}", signal.operation),
                happened_at: Some(timestamp(signal.at_ms)),
                result: Some(json::from_value(shown(&signal.payload))),
                failure: None,
            }),
            Entry::Base(_) | Entry::Begin(_) | Entry::End(_) => None,
        });
    v1::RecordedTurn {
        turn: turn.turn,
        entries: entries.collect(),
        started_at: turn.begin().map(|begin| timestamp(begin.at_ms)),
        ended_at: end.as_ref().map(|end| timestamp(end.at_ms)),
        failure: end.as_ref().and_then(|end| match &end.outcome {
            Outcome::Failed(refusal) => Some(format!("{}: {}", refusal.code, refusal.message)),
            Outcome::Done { .. } => None,
        }),
        state_kept: end.as_ref().is_some_and(|end| end.state.is_some()),
        payload: begin.as_ref().map(|begin| json::from_value(shown(&begin.payload))),
        sender: begin.as_ref().and_then(|begin| begin.sender.clone()),
        operation: begin.map(|begin| begin.operation),
    }
}

/// A payload for people: bytes that are no JSON are named by their number.
fn shown(payload: &Payload) -> Value {
    serde_json::from_slice(payload.as_bytes()).unwrap_or_else(|_| Value::String(format!("{} bytes", payload.len())))
}

fn given(value: prost_types::Value) -> Result<Payload, Failure> {
    json::to_value(value).map(|value| Payload::from_value(&value)).map_err(|error| Failure::invalid("payload", error))
}

fn milliseconds(time: &prost_types::Timestamp) -> Result<u64, Failure> {
    let wrong = || Failure::invalid("state_at", "expected a time after 1970");
    let seconds = u64::try_from(time.seconds).map_err(|_| wrong())?;
    let nanos = u64::try_from(time.nanos).map_err(|_| wrong())?;
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}
