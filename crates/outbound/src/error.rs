//! Why links cannot be used.

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
    /// Whom the node trusts cannot be told.
    #[error(transparent)]
    Trust(#[from] plexspaces_trust::Error),
}

impl Error {
    pub(crate) fn link(link: &str, field: &'static str, message: impl Into<String>) -> Self {
        Self::Link { link: link.to_owned(), field, message: message.into() }
    }

    /// The code under which a client sees it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Link { .. } => Code::InvalidConfig,
            Self::Trust(error) => error.code(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.code(), error.to_string());
        match error {
            Error::Link { link, field, .. } => failure.with_field(format!("service_links.{link}.{field}")),
            Error::Trust(_) => failure,
        }
    }
}
