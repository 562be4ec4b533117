//! Every flag, once: parsing, help and completions come from here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, FromArgMatches as _, Parser, Subcommand};

mod blob;
mod services;

pub(crate) use blob::{Blob, Range};
pub(crate) use services::{Channel, Group, Kv, Lock, Once, Registry, Subscriber, Ts};

/// An application server for durable, supervised, sandboxed actors.
#[derive(Debug, Parser)]
#[command(name = "plexspaces", version, propagate_version = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which node, and how to print.
#[derive(Args, Clone, Debug)]
pub(crate) struct Remote {
    /// The node's address
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "PLEXSPACES_NODE",
        default_value = "http://127.0.0.1:8094",
        help_heading = "Node"
    )]
    pub(crate) node: String,
    /// The token that the node wants
    #[arg(long, global = true, env = "PLEXSPACES_TOKEN", hide_env_values = true, help_heading = "Node")]
    pub(crate) token: Option<String>,
    /// The tenant to act for
    #[arg(long, global = true, default_value = "default", env = "PLEXSPACES_TENANT", help_heading = "Node")]
    pub(crate) tenant: String,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Node")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node
    Start(Start),
    /// Build, run and watch an actor: one command while you write it
    Dev(Dev),
    /// Make a WebAssembly component of a source file
    Build(Build),
    /// Deploy an application, or replace it by a new version
    Deploy(Deploy),
    /// Stop an application; what its durable actors stored stays
    Undeploy(Undeploy),
    /// List the applications
    List(List),
    /// Show what the node is and whether it is well
    Status,
    /// Send a message to an actor
    Invoke(Invoke),
    /// Show the node's log
    Logs(Logs),
    /// Show the busiest actors
    Top(Top),
    /// Show an application's supervision tree
    Tree(Tree),
    /// Show what happened in an application's supervision tree
    History(History),
    /// Show, send again and discard messages that could not be handled
    DeadLetters {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: DeadLetters,
    },
    /// Show, attach and detach the facets of one actor
    Facets {
        #[command(subcommand)]
        command: Facets,
    },
    /// Start workflows and look after them
    Workflow {
        #[command(subcommand)]
        command: Workflow,
    },
    /// Show what a durable actor was told, did and was; fork it; export its history
    Journal {
        #[command(subcommand)]
        command: Journal,
    },
    /// Run an exported history again with a component, and say where it does something else
    Replay {
        /// What `journal export` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The component
        #[arg(long, value_name = "FILE")]
        wasm: PathBuf,
    },
    /// Write, read and take tuples
    Ts {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Ts,
    },
    /// Send, receive, publish and subscribe
    Channel {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Channel,
    },
    /// List process groups, change them, send to their members
    Group {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Group,
    },
    /// Acquire and release locks
    Lock {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Lock,
    },
    /// Show, change and watch shared key-value pairs
    Kv {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Kv,
    },
    /// Write, read and list blobs
    Blob {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Blob,
    },
    /// Register names and look them up
    Registry {
        /// Whose
        #[arg(long, global = true, default_value = "default")]
        namespace: String,
        #[command(subcommand)]
        command: Registry,
    },
    /// Check and show configurations
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Start {
    /// A start with a configuration file and no flags, in this environment.
    pub(crate) fn of(file: &Path) -> Result<Self, clap::Error> {
        let start = Self::augment_args(clap::Command::new("start").no_binary_name(true));
        Self::from_arg_matches(&start.try_get_matches_from([OsStr::new("--config"), file.as_os_str()])?)
    }
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Start {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "PLEXSPACES_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The node's name
    #[arg(long, value_name = "NAME", env = "PLEXSPACES_NODE_ID")]
    pub(crate) node_id: Option<String>,
    /// Where requests to actors are taken [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT", env = "PLEXSPACES_LISTEN_ADDR", value_parser = plexspaces_node::resolve)]
    pub(crate) listen_addr: Option<SocketAddr>,
    /// Where operators come in [default: 127.0.0.1:8094]
    #[arg(long, value_name = "HOST:PORT", env = "PLEXSPACES_CONTROL_ADDR", value_parser = plexspaces_node::resolve)]
    pub(crate) control_addr: Option<SocketAddr>,
    /// Open no port but that of --listen-addr
    #[arg(long, conflicts_with = "control_addr")]
    pub(crate) no_default_ports: bool,
    /// Where everything is kept [default: ./plexspaces-data]
    #[arg(long, value_name = "DIR", env = "PLEXSPACES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the database is, for store.backend = "postgres" or "redis"
    #[arg(long, value_name = "URL", env = "PLEXSPACES_STORE_URL", hide_env_values = true)]
    pub(crate) store_url: Option<String>,
    /// The administrator's token
    #[arg(long, value_name = "TOKEN", env = "PLEXSPACES_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Dev {
    /// A source file, or a directory with one and possibly an app-config.toml
    pub(crate) path: PathBuf,
    /// Where requests to actors are taken
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = plexspaces_node::resolve)]
    pub(crate) listen_addr: SocketAddr,
    /// Where state is kept from one run to the next [default: .plexspaces beside the source]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Build {
    /// The source file
    pub(crate) file: PathBuf,
    /// Where to write the component [default: the source's name with .wasm]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Deploy {
    /// The component
    #[arg(long, value_name = "FILE")]
    pub(crate) wasm: PathBuf,
    /// The application's name
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// Its app-config.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where its actors are addressed
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// The name of the component's only actor type
    #[arg(long, value_name = "NAME")]
    pub(crate) actor_type: Option<String>,
    /// The version to show in lists
    #[arg(long, value_name = "VERSION")]
    pub(crate) app_version: Option<String>,
    /// What to do when runs under way would not go on as they began: `abort` refuses the deployment, `pin` lets them go on with the version
    /// that they began with, `replace` migrates them at their next checkpoint, where those stand that the new version does not fit. Without
    /// it, `abort`; runs that the new version fits migrate at their next checkpoint
    #[arg(long, value_name = "CHOICE", value_parser = ["abort", "pin", "replace"])]
    pub(crate) on_incompatible: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Undeploy {
    /// The application's name
    #[arg(long, value_name = "NAME")]
    pub(crate) app: String,
    /// Its namespace; needed only when several have an application of this name
    #[arg(long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only those of this namespace
    #[arg(long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Invoke {
    /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
    #[arg(value_name = "ACTOR")]
    pub(crate) actor: String,
    /// What to do
    pub(crate) operation: String,
    /// The arguments, a JSON object
    #[arg(default_value = "{}")]
    pub(crate) payload: String,
    /// Do not wait for a reply
    #[arg(long)]
    pub(crate) tell: bool,
    /// How long to wait, such as 500ms or 10s
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Apply the message once however often it is sent: 16 to 128 printable characters
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on with new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many old lines
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u32>,
    /// Only those of this application
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// Only those of this actor
    #[arg(long, value_name = "ID")]
    pub(crate) actor_id: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Top {
    /// What the busiest have most of
    #[arg(long, value_enum, default_value_t = TopOrder::TurnTime)]
    pub(crate) by: TopOrder,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) count: usize,
    /// Only those of this namespace
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// Only those of this type
    #[arg(long, value_name = "NAME")]
    pub(crate) actor_type: Option<String>,
    /// Look again every two seconds
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// By what the busiest actors are found.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum TopOrder {
    /// Time in turns
    TurnTime,
    /// Messages taken up
    Messages,
    /// Messages that wait
    Mailbox,
    /// Memory
    Memory,
    /// Failures
    Failures,
    /// All, by identity
    Id,
}

#[derive(Args, Debug)]
pub(crate) struct Tree {
    /// The application's name
    pub(crate) app: String,
    /// Its namespace; needed only when several have an application of this name
    #[arg(long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct History {
    /// The application's name
    pub(crate) app: String,
    /// Its namespace; needed only when several have an application of this name
    #[arg(long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// List them, oldest first
    List {
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        count: usize,
    },
    /// Show one
    Show {
        /// Its id
        id: String,
    },
    /// Send one to its actor again
    Redrive {
        /// Its id
        id: String,
    },
    /// Remove one
    Discard {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Facets {
    /// Show them, outermost first
    List {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
    },
    /// Give the actor a facet, or another configuration of one that it has, until the node ends
    Attach {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// The facet
        #[arg(value_name = "FACET")]
        name: String,
        /// Its configuration, a JSON object
        #[arg(default_value = "{}")]
        config: String,
        /// Its place: a higher one is farther outside [default: the facet's own]
        #[arg(long, value_name = "N")]
        priority: Option<u32>,
    },
    /// Take a facet from the actor until the node ends
    Detach {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// The facet
        #[arg(value_name = "FACET")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workflow {
    /// Start a run; the same id and input again are the same run
    Start {
        /// TYPE or NAMESPACE/TYPE, with /ID unless it is to be generated
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
        /// What the run is given, as JSON
        #[arg(default_value = "{}")]
        input: String,
        /// How long it may take, such as 30m or 7d: when it is not done by then it is told to clean up and end
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        run_timeout: Option<Duration>,
    },
    /// List the workflows that were ever run, with the latest run of each
    List {
        /// Only those of this namespace
        #[arg(long)]
        namespace: Option<String>,
        /// Only those of this type
        #[arg(long, value_name = "TYPE", requires = "namespace")]
        actor_type: Option<String>,
        /// Only those whose latest run stands like this
        #[arg(long, value_parser = ["running", "paused", "completed", "failed", "cancelled", "terminated", "timed_out"])]
        status: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Show the latest run
    Show {
        /// NAMESPACE/TYPE/ID
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
    },
    /// Let the run stand still at its next wait
    Pause {
        /// NAMESPACE/TYPE/ID
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
    },
    /// Let a paused run go on
    Resume {
        /// NAMESPACE/TYPE/ID
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
    },
    /// Let the run clean up and end
    Cancel {
        /// NAMESPACE/TYPE/ID
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
    },
    /// End the run where it is
    Terminate {
        /// NAMESPACE/TYPE/ID
        #[arg(value_name = "WORKFLOW")]
        workflow: String,
    },
}

/// A time, as people or programs write it.
fn moment(text: &str) -> Result<prost_types::Timestamp, String> {
    if let Ok(ms) = text.parse::<u64>() {
        let seconds = i64::try_from(ms / 1000).map_err(|error| error.to_string())?;
        return Ok(prost_types::Timestamp { seconds, nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default() });
    }
    let wrong = |_| format!("{text:?} is no time, expected one such as 2026-01-31T12:00:00Z, or milliseconds since 1970");
    text.parse().map_err(wrong)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Journal {
    /// List the actor's turns, oldest first
    List {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
    },
    /// Show the actor's state, now, after a turn or at a time
    State {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// After this turn
        #[arg(long, value_name = "N")]
        turn: Option<u64>,
        /// At this time: RFC 3339, or milliseconds since 1970
        #[arg(long, value_name = "TIME", conflicts_with = "turn", value_parser = moment)]
        at: Option<prost_types::Timestamp>,
        /// Show also what has changed since this turn, as a JSON Patch
        #[arg(long, value_name = "N")]
        since: Option<u64>,
    },
    /// Show what has changed from one turn to another, as a JSON Patch
    Diff {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// Since this turn; 0 is before the first
        #[arg(value_name = "FROM")]
        from: u64,
        /// Until this turn [default: the last]
        #[arg(value_name = "TO")]
        to: Option<u64>,
    },
    /// Make a new actor with the state of this one
    Fork {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// The new actor's key
        #[arg(value_name = "KEY")]
        name: String,
        /// The state after this turn [default: the last]
        #[arg(long, value_name = "N")]
        turn: Option<u64>,
        /// Begin in the middle of the turn that follows, after this entry of it
        #[arg(long, value_name = "N")]
        entry: Option<u32>,
        /// What that turn is given instead of its payload
        #[arg(long, value_name = "JSON", requires = "entry")]
        payload: Option<String>,
    },
    /// Print the document that `plexspaces replay` reads
    Export {
        /// TYPE, NAMESPACE/TYPE or NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file
    Check {
        /// The file; one named app-config.toml is checked as an application's
        file: PathBuf,
        /// Check it as an application's configuration
        #[arg(long)]
        app: bool,
    },
    /// Print the whole configuration of a node, defaults included
    Dump(Start),
    /// Print the JSON Schema of the configuration file
    Schema {
        /// That of app-config.toml
        #[arg(long)]
        app: bool,
    },
}
