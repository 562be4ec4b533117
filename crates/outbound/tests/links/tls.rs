//! Encrypted services: trusted by a certificate that the node was given, refused without.

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use plexspaces_actor::Outbound as _;
use plexspaces_outbound::{Config, Link, SecretsConfig};
use plexspaces_types::Code;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{Server, open_with, outgoing, request};

#[tokio::test]
async fn an_encrypted_service_must_have_a_certificate_that_the_node_trusts() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = Arc::new(Server::default());
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), accepting.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| server.clone().answer(request));
                let _ =
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let link = Link { retry: plexspaces_outbound::Policy { max_attempts: 1, ..Default::default() }, ..Link::new("api", &url) };
    let trusting = Config { secrets: SecretsConfig::default(), ca_file: Some(ca_file.clone()) };
    let response = open_with(trusting, std::slice::from_ref(&link)).unwrap().fetch("api", outgoing(request("GET", "/"))).await.unwrap();
    assert_eq!((response.status, response.body.as_ref()), (200, &b"fine"[..]));
    // Another certificate of the same name, so that something is trusted.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, other.cert.pem()).unwrap();
    let distrusting = Config { secrets: SecretsConfig::default(), ca_file: Some(ca_file) };
    let failure = open_with(distrusting, &[link]).unwrap().fetch("api", outgoing(request("POST", "/"))).await.unwrap_err();
    assert!(failure.code == Code::Unavailable && failure.message.contains("certificate"), "{failure}");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, "nothing").unwrap();
    let config = Config { secrets: SecretsConfig::default(), ca_file: Some(ca_file.clone()) };
    let said = plexspaces_outbound::Client::new(config).err().unwrap().to_string();
    assert!(said.contains("ca.pem") && said.contains("it holds none"), "{said}");
}
