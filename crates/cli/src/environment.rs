//! Which variables of the environment a node reads. One that is misspelt must not leave it open.

use anyhow::bail;
use clap::{Command, CommandFactory as _};
use plexspaces_node::ChannelsConfig;

use crate::args::Cli;

const PREFIX: &str = "PLEXSPACES_";

/// Lets everybody in.
pub(crate) const DISABLE_AUTH: &str = "PLEXSPACES_DISABLE_AUTH";

/// Read where they are used.
const OTHERS: [&str; 4] = [DISABLE_AUTH, "PLEXSPACES_KAFKA_USER", "PLEXSPACES_KAFKA_PASSWORD", "PLEXSPACES_LOCK_VERSION"];

/// Those of benchmarks and tests, which start nodes.
const OF_TESTS: [&str; 8] = ["BENCH_", "SOAK", "SEED", "HISTORIES", "HISTORY", "SLEEPERS", "CRASH_TEST_", "SERVICES_STORE"];

/// What other versions have, by a part of its name, and what there is here.
const NOT_SUPPORTED: [(&str, &str); 8] = [
    ("JWT", "a node knows one credential, the administrator's token: PLEXSPACES_ADMIN_TOKEN"),
    ("TLS", "a node serves HTTP without encryption; put a proxy before it that ends TLS"),
    ("CLUSTER", "nodes form no cluster; channels.udp.cluster_name of the configuration file is for channels"),
    ("SEED_NODES", "nodes form no cluster"),
    ("LABELS", "nodes have no labels"),
    ("HTTP_PORT", "the address is PLEXSPACES_LISTEN_ADDR"),
    ("GRPC_PORT", "HTTP and gRPC share the address PLEXSPACES_LISTEN_ADDR"),
    ("REQUIRE_AUTH", "it is security.require_auth of the configuration file"),
];

/// Refuses variables of this program that nothing reads. Those that begin with `secrets` are secrets of service links.
pub(crate) fn check(secrets: &str) -> anyhow::Result<()> {
    let mut known: Vec<String> = ChannelsConfig::ENVIRONMENT.iter().chain(&OTHERS).map(|name| (*name).to_owned()).collect();
    variables(&Cli::command(), &mut known);
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let is_secret = !secrets.is_empty() && name.starts_with(secrets);
        let Some(own) = name.strip_prefix(PREFIX) else { continue };
        if is_secret || known.iter().any(|known| *known == name) || is_service(own, &value) {
            continue;
        }
        if let Some((_, instead)) = NOT_SUPPORTED.iter().find(|(part, _)| own.contains(part)) {
            bail!("{name} is not supported by this version: {instead}");
        }
        if OF_TESTS.iter().any(|of| own.starts_with(of)) {
            continue;
        }
        let suggestion = plexspaces_types::suggestion(&name, known.iter().map(String::as_str));
        bail!("{name} is no variable of a node{suggestion}");
    }
    Ok(())
}

/// Those of the flags of a command and of those below it.
fn variables(command: &Command, known: &mut Vec<String>) {
    known.extend(command.get_arguments().filter_map(|argument| argument.get_env()).map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|command| variables(command, known));
}

/// Kubernetes gives such variables to every container of a namespace that has a service named `plexspaces`.
fn is_service(own: &str, value: &str) -> bool {
    let is_port = own.split_once("PORT_").is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()));
    own.contains("SERVICE_HOST") || own.contains("SERVICE_PORT") || is_port || (own.ends_with("PORT") && value.contains("://"))
}
