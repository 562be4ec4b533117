//! Why a service cannot be asked at all.

use plexspaces_types::Code;

/// What is wrong with the configuration or the environment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the environment is not there that is needed.
    #[error("the environment variable {0} is not set")]
    NotSet(&'static str),
    /// An endpoint is no place of a service.
    #[error("the endpoint {0:?} cannot be used, expected http://host:port or https://host:port")]
    Endpoint(String),
    /// Requests are to be encrypted, and there is nobody to trust.
    #[error("no authority is trusted: the system has none")]
    NoAuthority,
    /// Connections cannot be encrypted.
    #[error(transparent)]
    Trust(#[from] plexspaces_trust::Error),
}

impl Error {
    /// The code under which a client sees it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NotSet(_) | Self::Endpoint(_) | Self::NoAuthority => Code::InvalidConfig,
            Self::Trust(error) => error.code(),
        }
    }
}

/// An endpoint as it can be shown: somebody may have put credentials into it.
#[must_use]
pub fn shown(endpoint: &str) -> &str {
    if endpoint.contains('@') { "(hidden)" } else { endpoint }
}
