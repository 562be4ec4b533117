//! Whom the node trusts when it connects to others: the authorities of the system, and those of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexspaces_types::{Code, Failure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authorities of a file cannot be read.
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
    /// The code under which a client sees it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Certificates { .. } => Code::InvalidConfig,
            Self::Tls(_) => Code::Internal,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Settings for encrypted connections.
pub struct Trust {
    /// They trust the system's authorities and those of the file.
    pub tls: ClientConfig,
    /// Whether there is any authority.
    pub has_roots: bool,
}

impl Trust {
    /// Trusts the system's authorities and those whose certificates, in PEM, are in a file.
    pub fn with(ca_file: Option<&Path>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_file {
            let unreadable = |why: String| Error::Certificates { path: path.to_owned(), why };
            let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let found = found.map_err(|error| unreadable(error.to_string()))?;
            if found.is_empty() {
                return Err(unreadable("it holds none".to_owned()));
            }
            for certificate in found {
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        let has_roots = !roots.is_empty();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls, has_roots })
    }
}
