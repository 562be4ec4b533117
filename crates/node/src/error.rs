//! Why a node does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use plexspaces_types::Failure;

/// What stands in the way of a node's start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] plexspaces_app::ConfigError),
    /// The configuration file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {} is in use by another node ({holder}): stop that node or choose another --data-dir", path.display())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] plexspaces_store::Error),
    /// What is stored was written by a version that writes otherwise.
    #[error(
        "what is stored here has layout {found}, this version reads and writes layout {}: start the version that has written it, or give \
         this one another data directory or database",
        plexspaces_actor::LAYOUT
    )]
    Layout {
        /// That of the store.
        found: String,
    },
    /// There is no place for blobs.
    #[error("{}", .0.message)]
    Blobs(Failure),
    /// The engine does not start.
    #[error("the wasm engine does not start: {0}")]
    Wasm(#[from] plexspaces_wasm::Error),
    /// The client of service links cannot be made.
    #[error("service links cannot be used: {0}")]
    Outbound(#[from] plexspaces_outbound::Error),
    /// The interface cannot be made.
    #[error("the interface does not start: {0}")]
    Api(#[from] plexspaces_api::Error),
    /// What was deployed cannot be read.
    #[error("cannot read what was deployed: {0}")]
    Applications(Failure),
    /// The log or the metrics cannot be set up.
    #[error("cannot set up {what}: {why}")]
    Telemetry {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => "; stop what uses the port or choose another with --listen-addr or --control-addr",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, choose a higher one",
        _ => "",
    }
}
