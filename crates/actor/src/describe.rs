//! What a component says of itself, as `docs/components.md` lays it down.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Everything in one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What made the component.
    pub sdk: Sdk,
    /// The actor types that it holds.
    pub actors: Vec<TypeInfo>,
}

/// What made a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdk {
    /// The guest's language, in lower case.
    pub language: String,
    /// The SDK's version.
    pub version: String,
}

/// One actor type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeInfo {
    /// The name that `init` takes.
    #[serde(rename = "type")]
    pub name: String,
    /// Other names that a configuration may use.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The name in the source.
    #[serde(default)]
    pub class: String,
    /// How the type handles messages.
    pub behavior: Behavior,
    /// Of a finite state machine: its states.
    #[serde(default)]
    pub states: Vec<String>,
    /// Of a finite state machine: the state that it begins in.
    #[serde(default)]
    pub initial: Option<String>,
    /// For people.
    #[serde(default)]
    pub doc: String,
    /// What the code asks for.
    #[serde(default)]
    pub facets: Vec<FacetUse>,
    /// Its operations, sorted by name.
    pub handlers: Vec<HandlerInfo>,
}

/// How a type handles messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// Request and reply.
    GenServer,
    /// Events, which nobody waits for.
    GenEvent,
    /// A finite state machine.
    GenFSM,
    /// One long run with signals and queries.
    Workflow,
}

impl Behavior {
    /// Its name in descriptions and configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GenServer => "GenServer",
            Self::GenEvent => "GenEvent",
            Self::GenFSM => "GenFSM",
            Self::Workflow => "Workflow",
        }
    }
}

/// A facet by name, with its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FacetUse {
    /// The facet's registered name.
    #[serde(rename = "type")]
    pub name: String,
    /// Its configuration; the keys depend on the facet.
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// One operation of a type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandlerInfo {
    /// The operation; `*` takes what no other handler takes.
    pub operation: String,
    /// Whether it answers.
    pub kind: HandlerKind,
    /// For people.
    #[serde(default)]
    pub doc: String,
    /// A JSON Schema of the payload.
    #[serde(default)]
    pub parameters: Value,
}

/// Whether an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandlerKind {
    /// It answers.
    Call,
    /// It does not.
    Cast,
    /// The run of a workflow.
    Run,
    /// It takes effect on a workflow's run.
    Signal,
    /// It reads a workflow's state and changes nothing.
    Query,
}
