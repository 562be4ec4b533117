//! The registry: names of actors and of things outside, with labels by which they are found.

use std::collections::BTreeMap;
use std::time::Duration;

use plexspaces_types::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, ms};
use crate::ActorContext;

/// The registry of the actor's namespace. A name in it reaches its target, as any other name of an actor does.
#[derive(Clone, Copy)]
pub struct Registry<'a>(Service<'a>);

/// What is said of a name when it is registered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registering {
    /// What it stands for; this actor if nothing is said.
    pub target: Option<String>,
    /// By which it is found.
    pub labels: BTreeMap<String, String>,
    /// Anything.
    pub metadata: Value,
    /// For how long, unless it is renewed.
    pub ttl: Option<Duration>,
}

/// An entry of the registry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RegistryEntry {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub target: String,
    /// By which it is found.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What was given with it.
    #[serde(default)]
    pub metadata: Value,
    /// Whether its target is well, as far as it has said.
    pub healthy: bool,
    /// Milliseconds since the Unix epoch when it ends, if it does.
    #[serde(default)]
    pub expires_ms: Option<u64>,
}

impl ActorContext {
    /// The registry.
    #[must_use]
    pub fn registry(&self) -> Registry<'_> {
        Registry(Service::only(self, "registry"))
    }
}

impl Registry<'_> {
    /// Registers this actor, or what `registering` says, under a name; `conflict` when the name is another target's.
    pub async fn register(&self, name: &str, registering: Registering) -> Result<(), Failure> {
        let Registering { target, labels, metadata, ttl } = registering;
        let labels = (!labels.is_empty()).then_some(labels);
        let arguments = json!({"name": name, "target": target, "labels": labels, "metadata": metadata, "ttl_ms": ttl.map(ms)});
        self.0.ask("register", arguments).await.map(drop)
    }

    /// Begins an entry's time anew and says how its target is; false when there is no such entry.
    pub async fn renew(&self, name: &str, ttl: Option<Duration>, healthy: bool) -> Result<bool, Failure> {
        self.0.field("renew", json!({"name": name, "ttl_ms": ttl.map(ms), "healthy": healthy}), "renewed").await
    }

    /// Removes an entry; true when there was one.
    pub async fn unregister(&self, name: &str) -> Result<bool, Failure> {
        self.0.field("unregister", json!({"name": name}), "unregistered").await
    }

    /// The entry of a name.
    pub async fn lookup(&self, name: &str) -> Result<Option<RegistryEntry>, Failure> {
        self.0.field("lookup", json!({"name": name}), "entry").await
    }

    /// The entries that have all of these labels, and if `healthy` is given are so.
    pub async fn find(&self, labels: &BTreeMap<String, String>, healthy: Option<bool>) -> Result<Vec<RegistryEntry>, Failure> {
        self.0.pages("find", json!({"labels": labels, "healthy": healthy}), "entries", Value::Null).await
    }
}
