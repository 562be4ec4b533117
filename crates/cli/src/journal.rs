//! `workflow`, `journal` and `replay`: runs, and what durable actors were told, did and were.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use plexspaces_client::{Order, v1};
use serde_json::Value;

use crate::args::{Journal, Remote, Workflow};
use crate::table::print_table;
use crate::target::{actor, connect, print_json};

pub(crate) async fn workflow(remote: &Remote, command: &Workflow) -> anyhow::Result<()> {
    let (order, which) = match command {
        Workflow::Start { workflow, input, run_timeout } => return start(remote, workflow, input, *run_timeout).await,
        Workflow::List { namespace, actor_type, status, limit } => {
            let request = v1::ListWorkflowsRequest {
                tenant_id: remote.tenant.clone(),
                namespace: namespace.clone(),
                actor_type: actor_type.clone(),
                status: status.clone(),
                ..v1::ListWorkflowsRequest::default()
            };
            return list_runs(remote, request, *limit).await;
        }
        Workflow::Show { workflow } => {
            let run = connect(remote).await?.workflow(named(remote, workflow)?).await?;
            return print_run(remote, &run);
        }
        Workflow::Pause { workflow } => (Order::Pause, workflow),
        Workflow::Resume { workflow } => (Order::Resume, workflow),
        Workflow::Cancel { workflow } => (Order::Cancel, workflow),
        Workflow::Terminate { workflow } => (Order::Terminate, workflow),
    };
    let client = connect(remote).await?;
    let request = named(remote, which)?;
    client.order_workflow(order, request.clone()).await?;
    print_run(remote, &client.workflow(request).await?)
}

async fn start(remote: &Remote, which: &str, input: &str, run_timeout: Option<Duration>) -> anyhow::Result<()> {
    let input: Value = serde_json::from_str(input).with_context(|| format!("the input {input:?} is not JSON"))?;
    let (namespace, actor_type, id) = actor(which);
    let request = v1::StartWorkflowRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        workflow_id: id.unwrap_or_default().to_owned(),
        input: Some(plexspaces_client::from_value(input)),
        run_timeout_ms: run_timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        client_token: None,
    };
    print_run(remote, &connect(remote).await?.start_workflow(request).await?)
}

fn named(remote: &Remote, which: &str) -> anyhow::Result<v1::GetWorkflowRequest> {
    let (namespace, actor_type, id) = actor(which);
    let id = id.with_context(|| format!("expected NAMESPACE/TYPE/ID, found {which:?}"))?;
    Ok(v1::GetWorkflowRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        workflow_id: id.to_owned(),
    })
}

async fn list_runs(remote: &Remote, request: v1::ListWorkflowsRequest, limit: usize) -> anyhow::Result<()> {
    let workflows = connect(remote).await?.workflow_list(request, limit).await?;
    if remote.json {
        return print_json("plexspaces.v1.ListWorkflowsResponse", &v1::ListWorkflowsResponse { workflows, next_page_token: None });
    }
    if workflows.is_empty() {
        outln!("no workflow was run");
        return Ok(());
    }
    let mut rows = vec![["WORKFLOW", "STATUS", "STEPS", "LAST STEP", "CODE"].map(str::to_owned).to_vec()];
    rows.extend(workflows.iter().map(|run| {
        let failed = run.failure.clone().filter(|_| run.status() == v1::workflow::Status::Failed);
        let last = failed.or_else(|| run.last_step.clone()).unwrap_or_default();
        vec![run.actor_id.clone(), status_name(run), run.step_count.to_string(), last, code(run)]
    }));
    print_table(&rows)?;
    Ok(())
}

fn status_name(run: &v1::Workflow) -> String {
    let status = run.status().as_str_name();
    status.strip_prefix("STATUS_").unwrap_or(status).to_ascii_lowercase()
}

/// The version of the code that the run began with.
fn code(run: &v1::Workflow) -> String {
    let code = run.code.clone().unwrap_or_default();
    if run.pinned { format!("{code} (pinned)") } else { code }
}

fn print_run(remote: &Remote, run: &v1::Workflow) -> anyhow::Result<()> {
    if remote.json {
        return print_json("plexspaces.v1.Workflow", run);
    }
    outln!("{} {}", run.actor_id, status_name(run));
    if run.code.is_some() {
        outln!("code {}", code(run));
    }
    if let Some(deadline) = run.deadline_at.as_ref().filter(|_| run.ended_at.is_none()) {
        outln!("deadline {deadline}");
    }
    if let Some(step) = &run.last_step {
        outln!("step {}: {step}", run.step_count);
    }
    if let Some(failure) = &run.failure {
        outln!("failure: {failure}");
    }
    if let Some(result) = run.result.clone() {
        outln!("result: {}", plexspaces_client::to_value(result).map_err(anyhow::Error::msg)?);
    }
    Ok(())
}

pub(crate) async fn journal(remote: &Remote, command: &Journal) -> anyhow::Result<()> {
    match command {
        Journal::List { actor } => list(remote, actor).await,
        Journal::State { actor, turn, at, since } => {
            let request = v1::GetStateRequest { turn: *turn, state_at: *at, since: *since, ..whose_state(remote, actor) };
            state(remote, request).await
        }
        Journal::Diff { actor, from, to } => {
            let request = v1::GetStateRequest { turn: *to, ..whose_state(remote, actor) };
            outln!("{}", serde_json::to_string_pretty(&connect(remote).await?.diff(*from, request).await?)?);
            Ok(())
        }
        Journal::Fork { actor: whose, name, turn, entry, payload } => {
            let (namespace, actor_type, key) = actor(whose);
            let request = v1::ForkActorRequest {
                tenant_id: remote.tenant.clone(),
                namespace: namespace.to_owned(),
                actor_type: actor_type.to_owned(),
                actor_id: key.unwrap_or_default().to_owned(),
                new_actor_id: name.to_owned(),
                turn: *turn,
                entry: *entry,
                payload: payload.as_deref().map(document).transpose()?,
            };
            fork(remote, request).await
        }
        Journal::Export { actor } => export(remote, actor).await,
    }
}

async fn list(remote: &Remote, whose: &str) -> anyhow::Result<()> {
    let (namespace, actor_type, key) = actor(whose);
    let request = v1::ListTurnsRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
        ..v1::ListTurnsRequest::default()
    };
    let turns = connect(remote).await?.history(request, usize::MAX).await?;
    if remote.json {
        return print_json("plexspaces.v1.ListTurnsResponse", &v1::ListTurnsResponse { turns, next_page_token: None });
    }
    if turns.is_empty() {
        outln!("nothing has happened yet");
        return Ok(());
    }
    let mut rows = vec![["TURN", "ENTRY", "WHAT", "RESULT"].map(str::to_owned).to_vec()];
    for turn in turns {
        let ended = match (&turn.failure, &turn.ended_at) {
            (Some(failure), _) => failure.clone(),
            (None, Some(_)) => String::new(),
            (None, None) => "under way".to_owned(),
        };
        rows.push(vec![turn.turn.to_string(), String::new(), turn.operation.unwrap_or_else(|| "(the state was kept)".to_owned()), ended]);
        for entry in turn.entries {
            let result = entry.result.map(plexspaces_client::to_value).transpose().map_err(anyhow::Error::msg)?;
            let result = entry.failure.or_else(|| result.map(|result| result.to_string())).unwrap_or_default();
            rows.push(vec![String::new(), entry.entry.to_string(), entry.what, result]);
        }
    }
    print_table(&rows)?;
    Ok(())
}

fn whose_state(remote: &Remote, whose: &str) -> v1::GetStateRequest {
    let (namespace, actor_type, key) = actor(whose);
    v1::GetStateRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
        ..v1::GetStateRequest::default()
    }
}

fn document(text: &str) -> anyhow::Result<prost_types::Value> {
    let value: Value = serde_json::from_str(text).with_context(|| format!("the payload {text:?} is not JSON"))?;
    Ok(plexspaces_client::from_value(value))
}

fn pretty(value: prost_types::Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&plexspaces_client::to_value(value).map_err(anyhow::Error::msg)?)?)
}

async fn state(remote: &Remote, request: v1::GetStateRequest) -> anyhow::Result<()> {
    let shown = connect(remote).await?.state(request).await?;
    if remote.json {
        return print_json("plexspaces.v1.GetStateResponse", &shown);
    }
    outln!("after turn {}", shown.turn);
    for value in [shown.state, shown.changes].into_iter().flatten() {
        outln!("{}", pretty(value)?);
    }
    Ok(())
}

async fn fork(remote: &Remote, request: v1::ForkActorRequest) -> anyhow::Result<()> {
    let actor_id = connect(remote).await?.fork(request).await?;
    if remote.json {
        return print_json("plexspaces.v1.ForkActorResponse", &v1::ForkActorResponse { actor_id });
    }
    outln!("{actor_id}");
    Ok(())
}

async fn export(remote: &Remote, whose: &str) -> anyhow::Result<()> {
    let (namespace, actor_type, key) = actor(whose);
    let request = v1::ExportJournalRequest {
        tenant_id: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.unwrap_or_default().to_owned(),
    };
    outln!("{}", connect(remote).await?.export(request).await?);
    Ok(())
}

pub(crate) async fn replay(file: &Path, wasm: &Path) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let component = std::fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let again = plexspaces_node::replay(&document, &component).await?;
    outln!("{} turns were run again and did what they did before", again.turns);
    outln!("state: {}", String::from_utf8_lossy(again.state.as_bytes()));
    Ok(())
}
