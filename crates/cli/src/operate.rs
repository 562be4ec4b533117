//! Commands for operators: top, tree, history, dead-letters.

use std::time::Duration;

use plexspaces_client::{Client, v1};

use crate::args::Remote;
use crate::args::{DeadLetters, History, Top, TopOrder, Tree};
use crate::table::print_table;
use crate::target::{connect, print_json};

/// How often `top --watch` looks again.
const PERIOD: Duration = Duration::from_secs(2);

pub(crate) async fn top(remote: &Remote, top: &Top) -> anyhow::Result<()> {
    let client = connect(remote).await?;
    loop {
        let request = v1::ListActorsRequest {
            tenant_id: remote.tenant.clone(),
            namespace: top.namespace.clone(),
            actor_type: top.actor_type.clone(),
            order: order(top.by).into(),
            ..v1::ListActorsRequest::default()
        };
        let actors = client.actors(request, top.count).await?;
        if top.watch {
            // Clears the terminal and goes to its first line.
            crate::out::write(b"\x1b[2J\x1b[H")?;
        }
        if remote.json {
            print_json("plexspaces.v1.ListActorsResponse", &v1::ListActorsResponse { actors, next_page_token: None })?;
        } else {
            print_table(&actor_rows(&actors))?;
        }
        if !top.watch {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        }
    }
}

fn order(by: TopOrder) -> v1::ActorOrder {
    match by {
        TopOrder::Id => v1::ActorOrder::Unspecified,
        TopOrder::TurnTime => v1::ActorOrder::TurnTime,
        TopOrder::Messages => v1::ActorOrder::Messages,
        TopOrder::Mailbox => v1::ActorOrder::Mailbox,
        TopOrder::Memory => v1::ActorOrder::Memory,
        TopOrder::Failures => v1::ActorOrder::Failures,
    }
}

fn actor_rows(actors: &[v1::Actor]) -> Vec<Vec<String>> {
    let heads = ["ACTOR", "APP", "STATE", "MAILBOX", "MESSAGES", "FAILURES", "STARTS", "TURN TIME", "MEMORY"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(actors.iter().map(|actor| {
        let state = actor.state().as_str_name().trim_start_matches("STATE_").to_ascii_lowercase();
        vec![
            actor.actor_id.clone(),
            actor.app.clone(),
            state,
            actor.mailbox_depth.to_string(),
            actor.message_count.to_string(),
            actor.failure_count.to_string(),
            actor.start_count.to_string(),
            format!("{:.3} s", actor.turn_seconds),
            format!("{} KiB", actor.memory_bytes / 1024),
        ]
    }));
    rows
}

pub(crate) async fn tree(remote: &Remote, tree: &Tree) -> anyhow::Result<()> {
    let client = connect(remote).await?;
    let mut levels = Vec::new();
    // Supervisors whose children are still to be shown, each with what stands before its lines; the next one to show is the last.
    let mut rest = vec![(String::new(), None::<(String, v1::SupervisionNode)>)];
    while let Some((path, place)) = rest.pop() {
        if let Some((indent, node)) = &place
            && !remote.json
        {
            outln!("{indent}{}", describe(node));
        }
        let is_supervisor = place.as_ref().is_none_or(|(_, node)| node.strategy.is_some());
        if !is_supervisor {
            continue;
        }
        let level = level(&client, remote, tree, &path).await?;
        let indent = match &place {
            Some((indent, _)) => format!("{indent}  "),
            None => {
                if let Some(root) = level.supervisor.as_ref().filter(|_| !remote.json) {
                    outln!("{}", describe(root));
                }
                "  ".to_owned()
            }
        };
        rest.extend(level.children.iter().rev().map(|child| (child.path.clone(), Some((indent.clone(), child.clone())))));
        levels.push(level);
    }
    if remote.json {
        let json: Vec<_> =
            levels.iter().filter_map(|level| plexspaces_client::to_json("plexspaces.v1.ListSupervisionNodesResponse", level)).collect();
        outln!("{}", serde_json::to_string_pretty(&json)?);
    }
    Ok(())
}

async fn level(client: &Client, remote: &Remote, tree: &Tree, path: &str) -> anyhow::Result<v1::ListSupervisionNodesResponse> {
    let request = v1::ListSupervisionNodesRequest {
        tenant_id: remote.tenant.clone(),
        app: tree.app.clone(),
        namespace: tree.namespace.clone(),
        path: path.to_owned(),
        ..v1::ListSupervisionNodesRequest::default()
    };
    Ok(client.supervision(request).await?)
}

fn describe(node: &v1::SupervisionNode) -> String {
    let name = node.path.rsplit('/').next().unwrap_or_default();
    let mut line = format!("{name}  {}", node.state);
    match (&node.strategy, &node.actor_id) {
        (Some(strategy), _) => {
            let (most, window) = (node.max_restarts.unwrap_or_default(), node.window_seconds.unwrap_or_default());
            line.push_str(&format!("  {strategy}, at most {most} restarts in {window} s"));
        }
        (None, Some(actor)) => line.push_str(&format!("  {actor}  {}", node.restart)),
        (None, None) => {}
    }
    if node.restart_count > 0 {
        line.push_str(&format!("  restarted {} times", node.restart_count));
    }
    line
}

pub(crate) async fn history(remote: &Remote, history: &History) -> anyhow::Result<()> {
    let request = v1::ListSupervisionEventsRequest {
        tenant_id: remote.tenant.clone(),
        app: history.app.clone(),
        namespace: history.namespace.clone(),
        ..v1::ListSupervisionEventsRequest::default()
    };
    let events = connect(remote).await?.supervision_events(request).await?;
    if remote.json {
        let all = v1::ListSupervisionEventsResponse { events, next_page_token: None };
        return print_json("plexspaces.v1.ListSupervisionEventsResponse", &all);
    }
    for event in &events {
        let time = event.happened_at.as_ref().map(ToString::to_string).unwrap_or_default();
        outln!("{time}  {}  {}", event.path, event.what);
    }
    Ok(())
}

pub(crate) async fn dead_letters(remote: &Remote, namespace: &str, command: &DeadLetters) -> anyhow::Result<()> {
    let client = connect(remote).await?;
    match command {
        DeadLetters::List { count } => {
            let dead_letters = client.dead_letters(&remote.tenant, namespace, *count).await?;
            if remote.json {
                let all = v1::ListDeadLettersResponse { dead_letters, next_page_token: None };
                return print_json("plexspaces.v1.ListDeadLettersResponse", &all);
            }
            if dead_letters.is_empty() {
                outln!("no dead letters");
                return Ok(());
            }
            let mut rows = vec![["ID", "ACTOR", "OPERATION", "ATTEMPTS", "REASON"].map(str::to_owned).to_vec()];
            rows.extend(dead_letters.into_iter().map(|letter| {
                let reason = format!("{}: {}", letter.reason, letter.message);
                vec![letter.id, letter.actor_id, letter.operation, letter.attempts.to_string(), reason]
            }));
            print_table(&rows)?;
        }
        DeadLetters::Show { id } => {
            print_json("plexspaces.v1.DeadLetter", &client.dead_letter(&remote.tenant, namespace, id).await?)?;
        }
        DeadLetters::Redrive { id } => {
            client.redrive(&remote.tenant, namespace, id).await?;
            outln!("sent again");
        }
        DeadLetters::Discard { id } => {
            client.discard(&remote.tenant, namespace, id).await?;
            outln!("discarded");
        }
    }
    Ok(())
}
