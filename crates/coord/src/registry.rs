//! The registry of a namespace: names, what they stand for, and labels by which they are found.
//!
//! | row | value |
//! | --- | --- |
//! | `e` name | an entry |

use std::collections::{BTreeMap, BTreeSet};

use plexspaces_actor::{Effects, FORGET, Nature, SystemActor, SystemRequest, SystemType};
use plexspaces_types::{Code, Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::request::{
    Forget, List, arguments, check_document, check_key, decode, encode, expiry, reply, row_key, text, unknown, unreadable,
};

/// The registry. There is one in each namespace, named `default`.
pub const TYPE: SystemType = SystemType { name: "registry", many: false, knows_actors: true, make: |_| Box::<Registry>::default(), nature };

/// Entries in one namespace.
const MAX_ENTRIES: usize = 1_000_000;

/// Bytes of an entry's labels and metadata.
const MAX_BYTES: usize = 64 << 10;

/// Entries that one step removes because their time is over.
const EXPIRE_AT_ONCE: usize = 500;

#[derive(Default)]
struct Registry {
    entries: BTreeMap<String, Entry>,
    ends: BTreeSet<(u64, String)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    target: String,
    labels: BTreeMap<String, String>,
    /// JSON text.
    metadata: String,
    healthy: bool,
    expires_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    name: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    metadata: Option<Box<RawValue>>,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    name: String,
    #[serde(default)]
    ttl_ms: Option<u64>,
    #[serde(default)]
    healthy: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Find {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    healthy: Option<bool>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

fn nature(operation: &str, _: &Payload) -> Result<Nature, Failure> {
    match operation {
        "lookup" | "find" => Ok(Nature::Look),
        // Only the runtime asks for it.
        FORGET => Err(unknown("registries", operation)),
        _ => Ok(Nature::Change),
    }
}

impl SystemActor for Registry {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let Some((b'e', name)) = key.split_first() else { return Err(unreadable("row of the registry")) };
        let (name, entry): (_, Entry) = (text("entry", name)?, decode("entry", value)?);
        self.ends.extend(entry.expires_ms.map(|expires| (expires, name.clone())));
        self.entries.insert(name, entry);
        Ok(())
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let now_ms = effects.now_ms();
        match request.operation {
            "register" => {
                let register: Register = arguments(request.payload)?;
                self.register(register, request, effects)?;
                Ok(Some(Payload::empty()))
            }
            "renew" => {
                let Renew { name, ttl_ms, healthy } = arguments(request.payload)?;
                let expires_ms = expiry(now_ms, "ttl_ms", ttl_ms)?;
                let Some(entry) = self.live(&name, now_ms).cloned() else { return reply(&json!({"renewed": false})) };
                let entry = Entry { expires_ms: expires_ms.or(entry.expires_ms), healthy: healthy.unwrap_or(true), ..entry };
                self.put(name, entry, effects);
                reply(&json!({"renewed": true}))
            }
            "unregister" => {
                let Named { name } = arguments(request.payload)?;
                let unregistered = self.live(&name, now_ms).is_some();
                if unregistered {
                    self.remove(&name, effects);
                }
                reply(&json!({"unregistered": unregistered}))
            }
            "lookup" => {
                let Named { name } = arguments(request.payload)?;
                reply(&json!({"entry": self.live(&name, now_ms).map(|entry| shown(&name, entry))}))
            }
            "find" => {
                let Find { labels, healthy, after, limit } = arguments(request.payload)?;
                let list = List { prefix: String::new(), after, limit };
                let wanted = |entry: &Entry| {
                    is_live(entry, now_ms)
                        && healthy.is_none_or(|healthy| entry.healthy == healthy)
                        && labels.iter().all(|(label, value)| entry.labels.get(label) == Some(value))
                };
                let (page, next) = list.page(&self.entries, wanted, |entry| entry.metadata.len() + size_of_labels(&entry.labels))?;
                let entries: Vec<_> = page.into_iter().map(|(name, entry)| shown(name, entry)).collect();
                reply(&json!({"entries": entries, "next": next}))
            }
            FORGET => {
                let forget: Forget = arguments(request.payload)?;
                let is_gone = |entry: &Entry| forget.means(request, &entry.target);
                let gone: Vec<String> = self.entries.iter().filter(|(_, entry)| is_gone(entry)).map(|(name, _)| name.clone()).collect();
                for name in &gone {
                    if effects.is_full() {
                        return reply(&json!({"more": true}));
                    }
                    self.remove(name, effects);
                }
                reply(&json!({"more": false}))
            }
            other => Err(unknown("registries", other)),
        }
    }

    fn due_ms(&self) -> Option<u64> {
        self.ends.first().map(|(expires, _)| *expires)
    }

    fn tick(&mut self, effects: &mut Effects<'_>) {
        for _ in 0..EXPIRE_AT_ONCE {
            let over = self.ends.first().filter(|(expires, _)| *expires <= effects.now_ms()).cloned();
            let Some((_, name)) = over else { break };
            self.remove(&name, effects);
        }
    }
}

impl Registry {
    fn live(&self, name: &str, now_ms: u64) -> Option<&Entry> {
        self.entries.get(name).filter(|entry| is_live(entry, now_ms))
    }

    fn register(&mut self, register: Register, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<(), Failure> {
        let Register { name, target, labels, metadata, ttl_ms } = register;
        check_key("name", &name)?;
        let target = target.filter(|target| !target.is_empty()).or_else(|| request.sender.map(ToString::to_string));
        let target = target.ok_or_else(|| Failure::invalid("target", "a request from outside must name the target"))?;
        check_key("target", &target)?;
        if let Some(metadata) = &metadata {
            check_document("metadata", metadata)?;
        }
        let metadata = metadata.map_or_else(|| "null".to_owned(), |metadata| metadata.get().to_owned());
        let bytes = metadata.len() + size_of_labels(&labels);
        if bytes > MAX_BYTES {
            let message = format!("labels and metadata of {bytes} bytes are larger than the limit of {MAX_BYTES} bytes");
            return Err(Failure::new(Code::PayloadTooLarge, message).with_field("metadata"));
        }
        let now_ms = effects.now_ms();
        let expires_ms = expiry(now_ms, "ttl_ms", ttl_ms)?;
        match self.live(&name, now_ms) {
            Some(entry) if entry.target != target => {
                let message = format!("the name {name:?} stands for {}", entry.target);
                return Err(Failure::new(Code::Conflict, message).with_field("name"));
            }
            None if self.entries.len() >= MAX_ENTRIES => {
                return Err(Failure::new(Code::Overloaded, format!("the registry of the namespace has {MAX_ENTRIES} entries")));
            }
            _ => {}
        }
        self.put(name, Entry { target, labels, metadata, healthy: true, expires_ms }, effects);
        Ok(())
    }

    fn put(&mut self, name: String, entry: Entry, effects: &mut Effects<'_>) {
        effects.put(&row_key(b'e', name.as_bytes()), encode(&entry));
        self.forget_end(&name);
        self.ends.extend(entry.expires_ms.map(|expires| (expires, name.clone())));
        self.entries.insert(name, entry);
    }

    fn remove(&mut self, name: &str, effects: &mut Effects<'_>) {
        effects.delete(&row_key(b'e', name.as_bytes()));
        self.forget_end(name);
        self.entries.remove(name);
    }

    fn forget_end(&mut self, name: &str) {
        if let Some(expires) = self.entries.get(name).and_then(|entry| entry.expires_ms) {
            self.ends.remove(&(expires, name.to_owned()));
        }
    }
}

fn size_of_labels(labels: &BTreeMap<String, String>) -> usize {
    labels.iter().map(|(label, value)| label.len() + value.len()).sum()
}

fn is_live(entry: &Entry, now_ms: u64) -> bool {
    entry.expires_ms.is_none_or(|expires| now_ms < expires)
}

fn shown(name: &str, entry: &Entry) -> Value {
    let metadata: Value = serde_json::from_str(&entry.metadata).unwrap_or_default();
    json!({
        "name": name,
        "target": entry.target,
        "labels": entry.labels,
        "metadata": metadata,
        "healthy": entry.healthy,
        "expires_ms": entry.expires_ms,
    })
}
