//! Why links cannot be used.

use std::path::PathBuf;

use plexspaces_types::{Code, Failure};

/// What is wrong with links or with what they need of the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of a link.
    #[error("service link {link:?}: {field} {message}")]
    Link {
        /// The link's name.
        link: String,
        /// The field, as in `app-config.toml`.
        field: &'static str,
        /// What was expected and what was found.
        message: String,
    },
    /// The authorities that the node trusts cannot be read.
    #[error("cannot read the certificates of {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The cryptography refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Error {
    pub(crate) fn link(link: &str, field: &'static str, message: impl Into<String>) -> Self {
        Self::Link { link: link.to_owned(), field, message: message.into() }
    }

    /// The code under which a client sees it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Link { .. } | Self::Certificates { .. } => Code::InvalidConfig,
            Self::Tls(_) => Code::Internal,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.code(), error.to_string());
        match error {
            Error::Link { link, field, .. } => failure.with_field(format!("service_links.{link}.{field}")),
            Error::Certificates { .. } | Error::Tls(_) => failure,
        }
    }
}
