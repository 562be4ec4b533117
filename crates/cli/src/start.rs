//! `plexspaces start`: a node in the foreground, until a signal.

use std::env::VarError;
use std::io::Write as _;

use anyhow::Context as _;
use plexspaces_node::{Addresses, ChannelsConfig, Config, FacetRegistry, Node, StoreUrl, init_telemetry};
use plexspaces_types::Name;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::Start;
use crate::environment;

/// The configuration file with the flags and the environment over it.
pub(crate) fn configuration(start: &Start) -> anyhow::Result<Config> {
    let mut config = match &start.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if let Some(id) = &start.node_id {
        config.node.id = Name::new("node id", id)?;
    }
    config.node.listen_addr = start.listen_addr.or(config.node.listen_addr);
    config.node.control_addr = start.control_addr.or(config.node.control_addr);
    config.node.control &= !start.no_default_ports;
    if let Some(directory) = &start.data_dir {
        config.node.data_dir.clone_from(directory);
    }
    config.store.url = start.store_url.clone().map(StoreUrl).or(config.store.url);
    config.security.admin_token = start.admin_token.clone().or(config.security.admin_token);
    for variable in ChannelsConfig::ENVIRONMENT {
        match std::env::var(variable) {
            Ok(value) => config.channels.take(variable, value)?,
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => anyhow::bail!("{variable} is no text"),
        }
    }
    environment::check(&config.service_links.secrets_env_prefix)?;
    // The variable stands over the file, also over a token in it.
    let disable_auth = disable_auth()?;
    config.security.disable_auth &= disable_auth.is_none();
    // What flags and environment made of it must hold as well.
    config.check("the configuration")?;
    config.security.disable_auth |= disable_auth == Some(true);
    Ok(config)
}

fn disable_auth() -> anyhow::Result<Option<bool>> {
    let Some(value) = std::env::var_os(environment::DISABLE_AUTH) else { return Ok(None) };
    match value.to_string_lossy().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(Some(true)),
        "" | "0" | "false" | "no" | "off" => Ok(Some(false)),
        _ => anyhow::bail!("{} is {value:?}, expected 1 or 0", environment::DISABLE_AUTH),
    }
}

pub(crate) async fn run(start: &Start) -> anyhow::Result<()> {
    let config = configuration(start)?;
    let telemetry = init_telemetry(&config.log)?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let node = Node::start(&config, FacetRegistry::builtin(), &telemetry, shutdown).await?;
    if !node.is_ready() {
        wait_line(node.addresses());
    }
    let (addresses, started) = (node.addresses().clone(), node.started());
    let announced = tokio::spawn(async move {
        if started.await {
            announce(&addresses);
        }
    });
    let finished = node.run().await;
    announced.abort();
    if finished { Ok(()) } else { anyhow::bail!("not everything that was under way was finished before the node stopped") }
}

/// Cancels at the first SIGTERM or SIGINT; a second one ends the process at once.
pub(crate) fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                std::process::exit(1);
            }
            shutdown.cancel();
        }
    });
    Ok(())
}

/// For people, who would wait for the other line.
fn wait_line(addresses: &Addresses) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "plexspaces waits for its store; meanwhile only its health can be asked on http://{}", addresses.data);
    let _ = out.flush();
}

/// For people and for programs that wait for this line.
fn announce(addresses: &Addresses) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "plexspaces is ready on http://{}", addresses.data);
    if let Some(control) = addresses.control {
        let _ = writeln!(out, "control is on http://{control}");
    }
    if let Some(token) = &addresses.made_token {
        let _ =
            writeln!(out, "\nNo credentials are configured and this node can be reached from outside, so it made a token for this run:");
        let _ = writeln!(out, "\n    export PLEXSPACES_TOKEN={token}");
        let _ = writeln!(out, "    curl -H 'Authorization: Bearer {token}' http://{}/api/v1/applications\n", addresses.data);
    }
    let _ = out.flush();
}
