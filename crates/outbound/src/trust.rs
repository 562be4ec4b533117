//! Whom the node trusts when it connects to others: the authorities of the system, and those of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// Settings for encrypted connections that trust the system's authorities and those whose certificates, in PEM, are in a file; and whether
/// there is any such authority.
pub fn trust(ca_file: Option<&Path>) -> Result<(ClientConfig, bool), Error> {
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
    Ok((tls, has_roots))
}
