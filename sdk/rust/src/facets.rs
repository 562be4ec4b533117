//! The facets that every node has, with their configurations as types. `docs/facets.md` says what each does; none is needed twice: a
//! [`FacetSpec`] with the same name and configuration is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use plexspaces_actor::FacetSpec;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// How an actor is in memory: for [`crate::ActorRegistry::set_facets`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VirtualActorFacet {
    /// An actor that was idle so long leaves memory until its next message. Only a durable one has its state then.
    #[serde(serialize_with = "duration", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// What its `init` finds in its configuration under `labels`.
    pub labels: BTreeMap<String, String>,
}

/// How often the state of a durable actor is kept, and how long a run of a workflow may take: for [`crate::ActorRegistry::set_facets`] of a type that is `durable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DurabilityFacet {
    /// The turns from one kept state to the next; when the journal outweighs it if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_interval: Option<u64>,
    /// How many turns of the history are kept, 256 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<u64>,
    /// How long after its start a workflow's run is timed out; never if nothing is said.
    #[serde(serialize_with = "duration", skip_serializing_if = "Option::is_none")]
    pub run_timeout: Option<Duration>,
}

/// Only callers with a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuthenticationFacet {}

/// Who may do what. At least one field is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuthorizationFacet {
    /// Principals that may do what `operations` does not mention; `*` is everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Principals that may not, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
    /// The same for single operations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, Rule>,
}

/// Who may do one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Principals that may; `*` is everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Principals that may not, though allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
}

/// A line in the log for each message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoggingFacet {
    /// `debug`, `info`, `warn` or `error`; `info` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Whether payload and reply are printed.
    pub payload: bool,
    /// Names of fields whose values are not; needs `payload`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// Bytes of a payload that are printed, 1024 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
}

/// A span for each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TracingFacet {}

/// Counts and times of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetricsFacet {
    /// Operations that have series of their own, 100 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_operations: Option<u32>,
}

/// Replies of operations that only read, kept for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CachingFacet {
    /// Their names.
    pub operations: Vec<String>,
    /// After which time a reply is old, 60 s if nothing is said.
    #[serde(serialize_with = "duration", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Replies that are kept, 1000 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Whether every other operation makes the actor forget what is stored; it does if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalidate: Option<bool>,
}

/// Tells another actor what this one has handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventEmitterFacet {
    /// That actor.
    pub target: String,
    /// The operation of the event, `event` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Those that are told; all if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// Whether the event has the payload.
    pub payload: bool,
    /// Whether it has the reply.
    pub reply: bool,
}

/// Which service links the actor may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HttpClientFacet {
    /// Their names; all that there are if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<String>>,
}

/// Pairs of its own that an actor begins with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeyValueFacet {
    /// Each key that is absent is set when the actor comes to life.
    pub initial: Map<String, Value>,
}

/// Blobs that the actor's namespace begins with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlobStorageFacet {
    /// Each blob whose name is not taken is written when the actor comes to life.
    pub initial: Map<String, Value>,
}

/// A lock that is held while the handler runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LockFacet {
    /// Its key.
    pub key: String,
    /// The operations that need it; all if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// How long the lease lasts, 30 s if nothing is said.
    #[serde(serialize_with = "duration", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// How long a message waits for it, 5 s if nothing is said.
    #[serde(serialize_with = "duration", skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
}

/// Groups that the actor joins when it comes to life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessGroupFacet {
    /// Their names.
    pub groups: Vec<String>,
    /// The topics of which it is told; all if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
}

/// A name in the registry for the actor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegistryFacet {
    /// The name; the actor's key if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By which it is found.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Anything.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
}

/// Messages that the actor gets from itself while it is in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimerFacet {
    /// Each with `name`, `operation`, possibly `payload`, and one of `every`, `after` and `cron`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Value>,
}

/// The same, stored: they wake a durable actor and survive the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReminderFacet {
    /// Each with `name`, `operation`, possibly `payload`, and one of `every` and `cron`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Value>,
}

fn duration<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{}ms", time.unwrap_or_default().as_millis()))
}

fn spec(name: &str, facet: &impl Serialize) -> FacetSpec {
    let config = match serde_json::to_value(facet) {
        Ok(Value::Object(config)) => config,
        // These structs have nothing that JSON could not hold.
        _ => Map::new(),
    };
    FacetSpec::new(name, config)
}

macro_rules! facets {
    ($($facet:ident = $name:literal;)*) => {
        $(impl From<$facet> for FacetSpec {
            fn from(facet: $facet) -> Self {
                spec($name, &facet)
            }
        })*
    };
}

facets! {
    VirtualActorFacet = "virtual_actor";
    DurabilityFacet = "durability";
    AuthenticationFacet = "authentication";
    AuthorizationFacet = "authorization";
    LoggingFacet = "logging";
    TracingFacet = "tracing";
    MetricsFacet = "metrics";
    CachingFacet = "caching";
    EventEmitterFacet = "event_emitter";
    HttpClientFacet = "http_client";
    KeyValueFacet = "key_value";
    BlobStorageFacet = "blob";
    LockFacet = "lock";
    ProcessGroupFacet = "process_group";
    RegistryFacet = "registry";
    TimerFacet = "timer";
    ReminderFacet = "reminder";
}
