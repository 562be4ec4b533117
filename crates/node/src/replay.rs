//! Runs a history again without a node.

use bytes::Bytes;
use plexspaces_actor::{Exported, Rerun, rerun};
use plexspaces_types::{Code, Failure};
use plexspaces_wasm::Engine;

/// Runs an exported history again with a component; fails where it does not do what it did.
pub async fn replay(document: &str, component: &[u8]) -> Result<Rerun, Failure> {
    let unreadable = |error: serde_json::Error| Failure::invalid("file", format!("expected what `journal export` writes: {error}"));
    let exported: Exported = serde_json::from_str(document).map_err(unreadable)?;
    let spec = exported.spec().map_err(|failure| failure.with_field("file"))?;
    let internal = |error: std::io::Error| Failure::new(Code::Internal, error.to_string());
    let cache = tempfile::tempdir().map_err(internal)?;
    let config = plexspaces_wasm::Config { instances: 4, ..plexspaces_wasm::Config::new(cache.path()) };
    let invalid = |error: plexspaces_wasm::Error| Failure::new(Code::InvalidComponent, error.to_string());
    let engine = Engine::new(config).map_err(invalid)?;
    let code = engine.load(Bytes::copy_from_slice(component)).await.map_err(invalid)?;
    rerun(&*code, &spec, exported.turns, true).await
}
