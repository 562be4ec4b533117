//! Commands that ask a node: list, status, invoke, logs.

use anyhow::Context as _;
use futures::StreamExt as _;
use plexspaces_app::Duration;
use plexspaces_client::{Invoke as Message, Logs as LogRequest, Reply, v1};
use plexspaces_types::Payload;

use crate::args::{Invoke, List, Logs, Remote};
use crate::table::print_table;
use crate::target::{actor, connect, print_json};

pub(crate) async fn list(remote: &Remote, list: &List) -> anyhow::Result<()> {
    let applications = connect(remote).await?.list(&remote.tenant, list.namespace.as_deref()).await?;
    if remote.json {
        let all = v1::ListApplicationsResponse { applications, next_page_token: None };
        return print_json("plexspaces.v1.ListApplicationsResponse", &all);
    }
    if applications.is_empty() {
        outln!("nothing is deployed");
        return Ok(());
    }
    let rows = applications.iter().map(|application| {
        let types: Vec<&str> = application.types.iter().map(|kind| kind.name.as_str()).collect();
        let v1::Application { namespace, app, version, .. } = application.clone();
        vec![namespace, app, version, status_name(application), types.join(", ")]
    });
    let heads = ["NAMESPACE", "APP", "VERSION", "STATUS", "TYPES"].map(str::to_owned).to_vec();
    print_table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>())?;
    for application in &applications {
        for earlier in &application.earlier_versions {
            let v1::EarlierVersion { version, digest, actor_ids } = earlier;
            outln!("\n{}/{} goes on with {version} (digest {digest}) for:", application.namespace, application.app);
            for id in actor_ids {
                outln!("  {id}");
            }
        }
    }
    Ok(())
}

fn status_name(application: &v1::Application) -> String {
    let name = application.status().as_str_name();
    let name = name.strip_prefix("APPLICATION_STATUS_").unwrap_or(name).to_ascii_lowercase();
    match &application.status_reason {
        Some(reason) => format!("{name}: {reason}"),
        None => name,
    }
}

pub(crate) async fn status(remote: &Remote) -> anyhow::Result<()> {
    let client = connect(remote).await?;
    let info = client.info().await?;
    let health = client.deep_health().await;
    if remote.json {
        print_json("plexspaces.v1.GetInfoResponse", &info)?;
    } else {
        outln!("node {} (plexspaces {})", info.node_id, info.version);
        outln!("applications {}, actors {}", info.application_count, info.actor_count);
    }
    let health = health.context("the node is not well")?;
    if !remote.json {
        for check in &health.checks {
            outln!("{} ok ({:.1} ms)", check.name, check.duration_ms);
        }
        for warning in &health.warnings {
            outln!("warning: {warning}");
        }
    }
    Ok(())
}

pub(crate) async fn invoke(remote: &Remote, invoke: &Invoke) -> anyhow::Result<()> {
    let (namespace, actor_type, key) = actor(&invoke.actor);
    serde_json::from_str::<serde_json::Value>(&invoke.payload).with_context(|| format!("the payload {:?} is not JSON", invoke.payload))?;
    let timeout = invoke.timeout.as_deref().map(Duration::parse).transpose().map_err(anyhow::Error::msg)?;
    let message = Message {
        tenant: remote.tenant.clone(),
        namespace: namespace.to_owned(),
        actor_type: actor_type.to_owned(),
        actor_id: key.map(str::to_owned),
        operation: invoke.operation.clone(),
        payload: Payload::Json(invoke.payload.clone()),
        call: !invoke.tell,
        timeout: timeout.map(|timeout| timeout.0),
        idempotency_key: invoke.idempotency_key.clone(),
    };
    match connect(remote).await?.invoke(message).await? {
        Reply::Payload(Payload::Json(json)) => outln!("{json}"),
        Reply::Payload(Payload::Bytes(bytes)) => crate::out::write(&bytes)?,
        Reply::Accepted { message_id } => outln!("{}", serde_json::json!({"status": "accepted", "message_id": message_id})),
    }
    Ok(())
}

pub(crate) async fn logs(remote: &Remote, logs: &Logs) -> anyhow::Result<()> {
    let request = LogRequest {
        tenant: remote.tenant.clone(),
        app: logs.app.clone(),
        actor_id: logs.actor_id.clone(),
        lines: logs.lines,
        follow: logs.follow,
    };
    let entries = connect(remote).await?.logs(request).await?;
    let mut entries = std::pin::pin!(entries);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if remote.json {
            let json = plexspaces_client::to_json("plexspaces.v1.LogEntry", &entry);
            outln!("{}", json.unwrap_or_default());
        } else {
            outln!("{}", log_line(&entry));
        }
    }
    Ok(())
}

fn log_line(entry: &v1::LogEntry) -> String {
    let level = entry.level().as_str_name();
    let level = level.rsplit('_').next().unwrap_or(level);
    let who = entry.actor_id.as_deref().unwrap_or(&entry.source);
    let mut line = format!("{} {level:5} {who}: {}", time(entry), entry.message);
    for (key, value) in &entry.fields {
        line.push_str(&format!(" {key}={value}"));
    }
    line
}

fn time(entry: &v1::LogEntry) -> String {
    entry.timestamp.as_ref().map(ToString::to_string).unwrap_or_default()
}
