//! Runs a history again without a node.

use bytes::Bytes;
use plexspaces_actor::{Exported, Limits, Rerun, Spec, rerun};
use plexspaces_types::{ActorId, Code, Failure};
use plexspaces_wasm::Engine;

/// Runs an exported history again with a component; fails where it does not do what it did.
pub async fn replay(document: &str, component: &[u8]) -> Result<Rerun, Failure> {
    let unreadable = |error: serde_json::Error| Failure::invalid("file", format!("expected what `journal export` writes: {error}"));
    let exported: Exported = serde_json::from_str(document).map_err(unreadable)?;
    if exported.format != Exported::FORMAT {
        let message = format!("expected a document of format {}, found format {}", Exported::FORMAT, exported.format);
        return Err(Failure::invalid("file", message));
    }
    let broken = || Failure::invalid("file", format!("{:?} is no actor", exported.actor));
    let id = ActorId::parse(&exported.tenant, &exported.actor).ok_or_else(broken)?;
    let internal = |error: std::io::Error| Failure::new(Code::Internal, error.to_string());
    let cache = tempfile::tempdir().map_err(internal)?;
    let config = plexspaces_wasm::Config { instances: 4, ..plexspaces_wasm::Config::new(cache.path()) };
    let invalid = |error: plexspaces_wasm::Error| Failure::new(Code::InvalidComponent, error.to_string());
    let engine = Engine::new(config).map_err(invalid)?;
    let code = engine.load(Bytes::copy_from_slice(component)).await.map_err(invalid)?;
    let spec = Spec { id, guest_type: exported.guest_type, config: exported.config, limits: Limits::default() };
    rerun(&*code, &spec, exported.turns, true).await
}
