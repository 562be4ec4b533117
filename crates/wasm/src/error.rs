//! Why an engine does not start or a component cannot be loaded.

use std::path::PathBuf;

use plexspaces_types::{Code, Failure};

/// What went wrong while starting the engine or loading a component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range.
    #[error("{key} must be {expected}, found {found}")]
    InvalidConfig {
        /// The setting.
        key: &'static str,
        /// What would do.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The engine's memory cannot be reserved.
    #[error("cannot reserve the room for {instances} instances: {detail}")]
    Reserve {
        /// How many were asked for.
        instances: u32,
        /// The system's words.
        detail: String,
    },
    /// The directory of compiled components cannot be used.
    #[error("cannot use the directory of compiled components {}: {source}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The bytes are something else.
    #[error("expected a WebAssembly component, found {found}")]
    NotAComponent {
        /// What they are.
        found: String,
    },
    /// The compiler refused the component.
    #[error("expected a valid WebAssembly component, found: {detail}")]
    Malformed {
        /// The compiler's words.
        detail: String,
    },
    /// The component wants what no guest is given.
    #[error("expected a component of the world plexspaces:actor/actor@0.1.0, found one that imports {}", names.join(", "))]
    UnknownImports {
        /// The imports that nothing provides.
        names: Vec<String>,
    },
    /// The component does not export an actor.
    #[error("expected the export {expected}, found {found}")]
    MissingExport {
        /// The interface.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// The component has the right names with other signatures.
    #[error("expected a component of the world plexspaces:actor/actor@0.1.0, found another signature: {detail}")]
    OtherWorld {
        /// Which.
        detail: String,
    },
    /// `describe` did not end well.
    #[error("the component cannot describe itself: {0}")]
    Describe(Failure),
    /// `describe` ended well, but what it says does not make sense.
    #[error("the component's description is wrong: {detail}")]
    InvalidDescription {
        /// What was expected and what was found.
        detail: String,
    },
    /// The node has a fault.
    #[error("the engine failed: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl Error {
    /// The code under which a client sees it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidConfig { .. } | Self::Reserve { .. } => Code::InvalidConfig,
            Self::Cache { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Code::StorageFull,
            Self::Cache { .. } => Code::StorageFailed,
            Self::Describe(failure) if failure.code == Code::Overloaded => Code::Overloaded,
            Self::NotAComponent { .. }
            | Self::Malformed { .. }
            | Self::UnknownImports { .. }
            | Self::MissingExport { .. }
            | Self::OtherWorld { .. }
            | Self::Describe(_)
            | Self::InvalidDescription { .. } => Code::InvalidComponent,
            Self::Internal { .. } => Code::Internal,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}
