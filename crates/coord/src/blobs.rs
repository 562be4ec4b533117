//! The names of a namespace's blobs. The bytes are elsewhere, in objects that never change.
//!
//! | row | value |
//! | --- | --- |
//! | `b` name | what the name stands for |

use std::collections::{BTreeMap, HashSet};

use plexspaces_actor::{Effects, Nature, SystemActor, SystemRequest, SystemType, check_blob_name, check_blob_type};
use plexspaces_types::{Code, Condition, Failure, Payload};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::request::{List, arguments, decode, encode, reply, row_key, text, unknown, unreadable};

/// The names of blobs. There is one service in each namespace, named `default`; only the node itself asks it.
pub const TYPE: SystemType = SystemType { name: "blobs", many: false, knows_actors: false, make: |_| Box::<Blobs>::default(), nature };

/// Blobs of one namespace.
const MAX_BLOBS: usize = 10_000_000;

#[derive(Default)]
struct Blobs {
    blobs: BTreeMap<String, Blob>,
    bytes: u64,
    /// The numbers of the objects that names stand for.
    objects: HashSet<u128>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Blob {
    object: String,
    size: u64,
    sha256: String,
    content_type: String,
    created_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    name: String,
    object: String,
    size: u64,
    sha256: String,
    content_type: String,
    quota_bytes: u64,
    #[serde(default)]
    if_match: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    name: String,
    #[serde(default)]
    if_match: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unnamed {
    objects: Vec<String>,
}

/// A guest that could name objects could name those of others.
fn nature(_: &str, _: &Payload) -> Result<Nature, Failure> {
    Err(Failure::new(Code::PermissionDenied, "blobs are read and written by functions of their own"))
}

impl SystemActor for Blobs {
    fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let Some((b'b', name)) = key.split_first() else { return Err(unreadable("row of blobs")) };
        let blob: Blob = decode("blob", value)?;
        self.bytes = self.bytes.saturating_add(blob.size);
        self.objects.extend(number(&blob.object));
        self.blobs.insert(text("blob", name)?, blob);
        Ok(())
    }

    fn handle(&mut self, request: &SystemRequest<'_>, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        match request.operation {
            "put" => {
                let put: Put = arguments(request.payload)?;
                self.put(put, effects)
            }
            "get" => {
                let Named { name } = arguments(request.payload)?;
                reply(&json!({"blob": self.blobs.get(&name).map(|blob| shown(&name, blob))}))
            }
            "delete" => {
                let Delete { name, if_match } = arguments(request.payload)?;
                self.meets(if_match.as_ref(), &name)?;
                let deleted = self.blobs.remove(&name);
                if let Some(blob) = &deleted {
                    self.bytes = self.bytes.saturating_sub(blob.size);
                    if let Some(number) = number(&blob.object) {
                        self.objects.remove(&number);
                    }
                    effects.delete(&row_key(b'b', name.as_bytes()));
                }
                reply(&json!({"deleted": deleted.map(|blob| blob.object)}))
            }
            "list" => {
                let list: List = arguments(request.payload)?;
                let (page, next) = list.page(&self.blobs, |_| true, |blob| blob.content_type.len())?;
                let blobs: Vec<_> = page.into_iter().map(|(name, blob)| shown(name, blob)).collect();
                reply(&json!({"blobs": blobs, "next": next}))
            }
            "unnamed" => {
                let Unnamed { mut objects } = arguments(request.payload)?;
                objects.retain(|object| number(object).is_some_and(|number| !self.objects.contains(&number)));
                reply(&json!({"unnamed": objects}))
            }
            other => Err(unknown("blobs", other)),
        }
    }
}

impl Blobs {
    fn meets(&self, condition: Option<&Condition>, name: &str) -> Result<(), Failure> {
        let Some(condition) = condition else { return Ok(()) };
        condition.check(&format!("blobs/{name}"), self.blobs.get(name).map(|blob| blob.sha256.as_str()))
    }

    fn put(&mut self, put: Put, effects: &mut Effects<'_>) -> Result<Option<Payload>, Failure> {
        let Put { name, object, size, sha256, content_type, quota_bytes, if_match } = put;
        check_blob_name(&name)?;
        check_blob_type(&content_type)?;
        self.meets(if_match.as_ref(), &name)?;
        let before = self.blobs.get(&name);
        let bytes = self.bytes.saturating_sub(before.map_or(0, |blob| blob.size)).saturating_add(size);
        if bytes > quota_bytes {
            let message = format!("with this blob the namespace would have {bytes} bytes of blobs, the quota is {quota_bytes}");
            return Err(Failure::new(Code::QuotaExceeded, message).with_field("content"));
        }
        if before.is_none() && self.blobs.len() >= MAX_BLOBS {
            let message = format!("the namespace has {MAX_BLOBS} blobs already, which is the most");
            return Err(Failure::new(Code::QuotaExceeded, message).with_field("name"));
        }
        let blob = Blob { object, size, sha256, content_type, created_ms: effects.now_ms() };
        effects.put(&row_key(b'b', name.as_bytes()), encode(&blob));
        self.bytes = bytes;
        self.objects.extend(number(&blob.object));
        let shown = shown(&name, &blob);
        let replaced = self.blobs.insert(name, blob).map(|blob| blob.object);
        if let Some(number) = replaced.as_deref().and_then(number) {
            self.objects.remove(&number);
        }
        reply(&json!({"blob": shown, "replaced": replaced}))
    }
}

/// The random number with which the key of every object ends.
fn number(object: &str) -> Option<u128> {
    u128::from_str_radix(object.get(object.len().checked_sub(32)?..)?, 16).ok()
}

fn shown(name: &str, blob: &Blob) -> Value {
    json!({
        "name": name,
        "object": blob.object,
        "size": blob.size,
        "sha256": blob.sha256,
        "content_type": blob.content_type,
        "created_ms": blob.created_ms,
    })
}
