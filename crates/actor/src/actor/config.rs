//! What the code of an actor is told when it begins.

use plexspaces_types::ActorId;
use serde_json::json;

use crate::registry::Kind;
use crate::{Profile, Runtime};

/// What the guest's `init` is told.
pub(crate) fn guest_config(runtime: &Runtime, id: &ActorId, kind: &Kind, profile: &Profile) -> String {
    let mut args = kind.spawned_args(&id.key).unwrap_or_else(|| profile.args.clone());
    args.entry("role").or_insert_with(|| kind.guest_type.clone().into());
    json!({
        "actor_id": id.to_string(),
        "args": args,
        "role": kind.guest_type,
        "actor_type": kind.name.as_str(),
        "name": id.key.as_str(),
        "application": kind.application.name.as_str(),
        "namespace": id.namespace.as_str(),
        "tenant_id": id.tenant.as_str(),
        "node_id": runtime.config().node_id.as_str(),
        "behavior_kind": kind.behavior.name(),
        "labels": profile.labels,
    })
    .to_string()
}
