//! Services that are reached in encrypted connections, and those that are not whom the client means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plexspaces_aws::{Client, Config, Credentials, Error, Fault};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A service with a certificate that vouches for itself.
struct Service {
    port: u16,
    certificate: PathBuf,
    _directory: TempDir,
}

impl Service {
    async fn start(name: &str) -> Self {
        let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("ca.pem");
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let settings = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().unwrap();
        let settings = settings.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let (acceptor, listener) = (TlsAcceptor::from(Arc::new(settings)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(mut near) = acceptor.accept(near).await else { continue };
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"\r\n\r\n") && near.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
                let _ = near.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
                let _ = near.shutdown().await;
            }
        });
        Self { port, certificate, _directory: directory }
    }
}

async fn ask(port: u16, ca_file: &Path) -> Result<u16, Fault> {
    let endpoint = format!("https://127.0.0.1:{port}");
    let config = Config {
        service: "sqs",
        interface: "AmazonSQS",
        region: "eu-west-1",
        endpoint: Some(&endpoint),
        credentials: &Credentials::new("plex", "s3cret", None),
        ca_file: Some(ca_file),
        connect_timeout: Duration::from_secs(5),
        answer_bytes: 1024,
    };
    let answer = Client::new(&config).unwrap().post("ListQueues", Bytes::new(), Duration::from_secs(10)).await;
    answer.map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_sent_something_when_its_certificate_is_trusted() {
    let (service, elsewhere) = (Service::start("127.0.0.1").await, Service::start("aws.example").await);
    assert_eq!(ask(service.port, &service.certificate).await, Ok(200));
    for (port, trusted) in [(service.port, &elsewhere), (elsewhere.port, &elsewhere)] {
        let fault = ask(port, &trusted.certificate).await.unwrap_err();
        assert!(matches!(&fault, Fault::Untrusted(text) if text.contains("invalid peer certificate")), "{fault:?}");
    }
    // One that does not encrypt.
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let answers = tokio::spawn(async move {
        let (mut near, _) = plain.accept().await.unwrap();
        near.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        near
    });
    let fault = ask(port, &service.certificate).await.unwrap_err();
    assert!(matches!(fault, Fault::Untrusted(_)), "{fault:?}");
    drop(answers.await.unwrap());
}

#[test]
fn certificates_that_cannot_be_read_are_told() {
    let credentials = Credentials::new("plex", "s3cret", None);
    let config = Config {
        service: "sqs",
        interface: "AmazonSQS",
        region: "eu-west-1",
        endpoint: None,
        credentials: &credentials,
        ca_file: Some(Path::new("/nowhere/ca.pem")),
        connect_timeout: Duration::from_secs(5),
        answer_bytes: 1024,
    };
    let error = Client::new(&config).err().unwrap();
    assert!(matches!(error, Error::Trust(_)) && error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
