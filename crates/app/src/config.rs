//! `app-config.toml`: what an application is called, which actors it starts, and what they may use.

use std::collections::BTreeMap;

use plexspaces_actor::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};

use crate::links::ServiceLink;
use crate::strict::{ConfigError, parse};
use crate::units::{ByteSize, Duration};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// What the application is called.
    #[serde(default)]
    pub app: App,
    /// The actors that run from the start, and how their failures are answered.
    pub supervisor: Option<Supervisor>,
    /// Limits of all actors of the application.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What differs for single actor types, by type name.
    #[serde(default)]
    pub types: BTreeMap<String, TypeConfig>,
    /// Where channels of its namespace are kept, by the channel's name: `store` for the node itself, or a broker that the node's configuration
    /// has. All applications of a namespace that name a channel must say the same; channels that none names are where the node's
    /// configuration says.
    #[serde(default)]
    pub channels: BTreeMap<String, String>,
    /// Where its actors may send HTTP requests.
    #[serde(default)]
    pub service_links: Vec<ServiceLink>,
}

/// `[app]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// The application's name.
    pub name: Option<String>,
    /// The namespace that its actors live in; the application's name unless given.
    pub namespace: Option<String>,
    /// The version shown in lists; the beginning of the component's digest unless given.
    pub version: Option<String>,
}

/// `[supervisor]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// Its name in the tree; `root` unless given.
    pub id: Option<String>,
    /// What a failure restarts.
    #[serde(default)]
    pub strategy: Strategy,
    /// Restarts within the window that are normal; with more the supervisor gives up: its own supervisor restarts it, and at the root the
    /// whole tree comes back later and the application is shown as degraded. 5 unless given.
    pub max_restarts: Option<u32>,
    /// The window in seconds; 60 unless given.
    pub max_restart_window_secs: Option<u64>,
    /// The same as `max_restart_window_secs`.
    pub max_restart_window_seconds: Option<u64>,
    /// The window as a duration.
    pub max_restart_window: Option<Duration>,
    /// The actors that run from the start and further supervisors, in start order.
    #[serde(default)]
    pub children: Vec<Child>,
}

/// What a failure restarts, as in Erlang/OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Only the child that failed.
    #[default]
    OneForOne,
    /// The child that failed and those that were started after it.
    RestForOne,
    /// All children.
    OneForAll,
}

/// One entry of `[[supervisor.children]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// The actor's name and key.
    pub id: Option<String>,
    /// The same as `id`.
    pub name: Option<String>,
    /// The actor's type, or the name of the whole module when `role` names the type. `supervisor` makes the child a supervisor.
    #[serde(rename = "type")]
    pub actor_type: Option<String>,
    /// The same as `type`.
    #[serde(rename = "actor_type")]
    pub actor_type_long: Option<String>,
    /// Which of the component's types it is.
    pub role: Option<String>,
    /// Must be the behavior that the code has.
    pub behavior_kind: Option<BehaviorKind>,
    /// Handed to the actor's `init` as `config["args"]`.
    #[serde(default, deserialize_with = "as_json")]
    pub args: Map<String, Value>,
    /// Facets; one of the same type in the code is overridden.
    #[serde(default)]
    pub facets: Vec<Facet>,
    /// When the child is restarted.
    #[serde(default)]
    pub restart: Restart,
    /// How long the actor may go on with its present message when it is to stop; then it is killed. 5s unless given.
    pub shutdown_timeout: Option<Duration>,
    /// Limits of this actor.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The siblings that are started before it and stopped after it.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Stands for so many actors that differ in their names alone: `<name>-1` and so on.
    pub count: Option<Count>,
    /// Of a supervisor: what a failure restarts.
    pub strategy: Option<Strategy>,
    /// Of a supervisor: as in `[supervisor]`.
    pub max_restarts: Option<u32>,
    /// Of a supervisor: as in `[supervisor]`.
    pub max_restart_window_secs: Option<u64>,
    /// Of a supervisor: as in `[supervisor]`.
    pub max_restart_window_seconds: Option<u64>,
    /// Of a supervisor: as in `[supervisor]`.
    pub max_restart_window: Option<Duration>,
    /// Of a supervisor: its children, in start order.
    #[serde(default)]
    pub children: Vec<Child>,
}

/// A table as JSON, whose dates are texts.
fn as_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    fn value(from: toml::Value) -> Result<Value, String> {
        Ok(match from {
            toml::Value::String(text) => text.into(),
            toml::Value::Integer(number) => number.into(),
            toml::Value::Float(number) => {
                serde_json::Number::from_f64(number).ok_or_else(|| format!("{number} is no number of JSON"))?.into()
            }
            toml::Value::Boolean(truth) => truth.into(),
            toml::Value::Datetime(date) => date.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(value).collect::<Result<Vec<_>, _>>()?.into(),
            toml::Value::Table(table) => members(table)?.into(),
        })
    }
    fn members(table: toml::Table) -> Result<Map<String, Value>, String> {
        table.into_iter().map(|(key, from)| Ok((key, value(from)?))).collect()
    }
    members(toml::Table::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// How many actors a child stands for, 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count(#[schemars(range(min = 1, max = 1000))] pub u16);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = i64::deserialize(deserializer)?;
        let count = u16::try_from(given).ok().filter(|count| (1..=1000).contains(count));
        count.map(Self).ok_or_else(|| D::Error::custom(format!("count is {given}, expected 1 to 1000")))
    }
}

/// How an actor handles messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BehaviorKind {
    /// Request and reply.
    GenServer,
    /// Events, which nobody waits for.
    GenEvent,
    /// A finite state machine.
    #[serde(alias = "GenStateMachine")]
    GenFSM,
    /// One long run with signals and queries.
    Workflow,
}

/// When a child is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always, also when it has ended normally.
    #[default]
    Permanent,
    /// When it has failed.
    Transient,
    /// Never.
    Temporary,
}

/// A facet and its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facet {
    /// Its name, such as `durability`, `virtual_actor` or `metrics`.
    #[serde(rename = "type")]
    pub name: String,
    /// The facet's place among those that wrap the handling of a message: a higher one is farther outside. Without it the facet's own.
    /// `durability` and `virtual_actor` wrap nothing, so it decides nothing for them.
    pub priority: Option<u32>,
    /// Its configuration. `durability`: `checkpoint_interval`, `history`, `run_timeout`. `virtual_actor`: `idle_timeout`, `activation_strategy`. Those of the others are
    /// in `docs/facets.md`.
    #[serde(default, deserialize_with = "as_json")]
    pub config: Map<String, Value>,
}

/// `[types.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypeConfig {
    /// Facets; one of the same type in the code is overridden.
    #[serde(default)]
    pub facets: Vec<Facet>,
    /// Limits of the type's actors.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// What an actor may use. Going over a limit ends that turn and restarts that actor; nobody else notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Memory of one instance; 256MiB unless given.
    pub memory: Option<ByteSize>,
    /// CPU time of one turn; 10s unless given.
    pub turn_cpu: Option<Duration>,
    /// Time of one turn, waits included; 5m unless given.
    pub turn_time: Option<Duration>,
    /// Size of one message, reply, state or key-value value; 16MiB unless given.
    pub payload: Option<ByteSize>,
    /// Messages that may wait for one actor; 1024 unless given.
    pub mailbox: Option<u32>,
}

impl Child {
    /// The supervisor that it describes.
    pub(crate) fn supervisor(&self) -> Supervisor {
        Supervisor {
            id: None,
            strategy: self.strategy.unwrap_or_default(),
            max_restarts: self.max_restarts,
            max_restart_window_secs: self.max_restart_window_secs,
            max_restart_window_seconds: self.max_restart_window_seconds,
            max_restart_window: self.max_restart_window,
            children: self.children.clone(),
        }
    }
}

impl LimitsConfig {
    /// What no turn could be run with.
    pub fn check(&self) -> Result<(), String> {
        let is_zero = |duration: Option<Duration>| duration.is_some_and(|duration| duration.0.is_zero());
        let wrong = |key: &str, found: String, expected: &str| Err(format!("limits.{key} is {found}, expected {expected}"));
        match self {
            Self { memory: Some(size), .. } if !(1..=4 << 30).contains(&size.0) => {
                wrong("memory", size.to_string(), "at most 4GiB and more than 0")
            }
            Self { turn_cpu, .. } if is_zero(*turn_cpu) => wrong("turn_cpu", "0s".to_owned(), "more than that"),
            Self { turn_time, .. } if is_zero(*turn_time) => wrong("turn_time", "0s".to_owned(), "more than that"),
            Self { payload: Some(ByteSize(0)), .. } => wrong("payload", "0".to_owned(), "at least 1"),
            Self { mailbox: Some(0), .. } => wrong("mailbox", "0".to_owned(), "at least 1"),
            _ => Ok(()),
        }
    }

    /// These limits over others.
    #[must_use]
    pub fn over(self, limits: Limits) -> Limits {
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        Limits {
            memory_bytes: self.memory.map_or(limits.memory_bytes, bytes),
            turn_cpu: self.turn_cpu.map_or(limits.turn_cpu, |duration| duration.0),
            turn_time: self.turn_time.map_or(limits.turn_time, |duration| duration.0),
            payload_bytes: self.payload.map_or(limits.payload_bytes, bytes),
            mailbox: self.mailbox.map_or(limits.mailbox, |messages| messages as usize),
        }
    }
}

/// What the file is called in errors.
const FILE: &str = "app-config.toml";

impl AppConfig {
    /// Reads a file's text. What is wrong with any component and on any node is found here.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = parse(FILE, text).map_err(|error| ConfigError { message: not_supported(error.message), ..error })?;
        crate::check::check(&config).map_err(|wrong| wrong.in_text(FILE, text))?;
        Ok(config)
    }

    /// The JSON Schema of the file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).into()
    }
}

/// A key that a configuration may have elsewhere.
fn not_supported(message: String) -> String {
    if !message.starts_with("unknown field `resources`") {
        return message;
    }
    "`resources` is not supported by this version; what an actor may use is said by `limits`".to_owned()
}
