//! Which crate may depend on which. A new edge is a decision, so it is made here and in ARCHITECTURE.md.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::root;

/// Each crate with the workspace crates that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("trust", &["types"]),
    ("aws", &["types", "trust"]),
    ("proto", &["types"]),
    ("store", &["types"]),
    ("store-sql", &["types", "store", "trust"]),
    ("store-remote", &["types", "store", "trust", "aws"]),
    ("durable", &["types", "store"]),
    ("actor", &["types", "store", "durable"]),
    ("coord", &["types", "actor"]),
    ("channel-remote", &["types", "trust", "aws", "actor", "coord"]),
    ("wasm", &["types", "actor"]),
    ("outbound", &["types", "trust", "actor"]),
    ("objects", &["types", "trust", "actor"]),
    ("app", &["types", "store", "actor", "wasm", "outbound"]),
    ("api", &["types", "proto", "actor", "app"]),
    ("client", &["types", "proto"]),
    (
        "node",
        &["types", "store", "store-sql", "store-remote", "actor", "coord", "channel-remote", "wasm", "objects", "outbound", "app", "api"],
    ),
    ("cli", &["types", "app", "client", "node"]),
    ("testkit", &[]),
    ("bench-actors", &[]),
    ("core", &["actor"]),
    ("sdk_macros", &[]),
    ("sdk", &["types", "store", "actor", "coord", "core", "sdk_macros"]),
];

/// Libraries that only some crates may know.
const RESTRICTED: &[(&str, &[&str])] = &[
    ("wasmtime", &["wasm"]),
    ("wasmtime-wasi", &["wasm"]),
    ("rusqlite", &["store-sql"]),
    ("async-nats", &["channel-remote"]),
    ("aws-credential-types", &["aws"]),
    ("aws-sigv4", &["aws"]),
    ("kafka-protocol", &["channel-remote"]),
    ("socket2", &["channel-remote"]),
    ("object_store", &["objects"]),
    ("tokio-postgres", &["store-sql"]),
    ("deadpool", &["store-sql"]),
    ("redis", &["store-remote", "channel-remote"]),
    ("rustls", &["trust", "store-remote", "channel-remote"]),
    ("tonic", &["proto", "api", "client"]),
    ("tonic-health", &["api"]),
    ("tonic-reflection", &["api"]),
];

pub(crate) fn run() -> Result<()> {
    let output = Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root()?).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let wrong = violations(&metadata);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

fn violations(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in list(metadata, "packages") {
        let Some(name) = text(package, "name").and_then(own) else { continue };
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("crate {name} is not in the table of xtask/src/edges.rs"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            // Tests may use what they need; nobody ships them.
            if text(dependency, "kind").is_some() {
                continue;
            }
            let Some(target) = text(dependency, "name") else { continue };
            if own(target).is_some_and(|own| !allowed.contains(&own)) {
                wrong.push(format!("{name} depends on {target}; allowed are: {}", allowed.join(", ")));
            }
            if let Some((_, may)) = RESTRICTED.iter().find(|(library, _)| *library == target)
                && !may.contains(&name)
            {
                wrong.push(format!("{name} depends on {target}, which only {} may know", may.join(", ")));
            }
        }
    }
    wrong
}

/// A crate of ours without its prefix. Programs import the crates of the SDK, whose names are therefore written as in a path.
fn own(name: &str) -> Option<&str> {
    name.strip_prefix("plexspaces-").or_else(|| name.strip_prefix("plexspaces_"))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Value)]) -> Value {
        let dependencies: Vec<Value> = dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        json!({"packages": [{"name": name, "dependencies": dependencies}]})
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_named() {
        let found = violations(&package("plexspaces-actor", &[("plexspaces-wasm", Value::Null)]));
        assert_eq!(found, ["actor depends on plexspaces-wasm; allowed are: types, store, durable"]);
        let found = violations(&package("plexspaces-app", &[("wasmtime", Value::Null)]));
        assert_eq!(found, ["app depends on wasmtime, which only wasm may know"]);
    }

    #[test]
    fn tests_may_use_anything() {
        assert!(violations(&package("plexspaces-actor", &[("plexspaces-wasm", json!("dev"))])).is_empty());
    }
}
