//! Credentials reach the service and nobody else; and what is counted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use plexspaces_actor::{HttpRequest, Outbound as _};
use plexspaces_outbound::{Auth, Config, Link, Links, SecretsConfig};
use plexspaces_types::Code;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::{Server, open_with, outgoing, request};

const SECRET: &str = "s3cret-of-acme";

fn with_secret(directory: &std::path::Path, link: Link) -> Result<Links, plexspaces_outbound::Error> {
    std::fs::create_dir_all(directory.join("acme")).unwrap();
    std::fs::write(directory.join("acme/llm-key"), format!("{SECRET}\n")).unwrap();
    open_with(Config { secrets: SecretsConfig { dir: Some(directory.to_owned()), env_prefix: None }, ca_file: None }, &[link])
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_credential_reaches_the_service_and_neither_the_actor_nor_the_log() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(lines.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (url, server) = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let bearer = Link { auth: Some(Auth::Bearer { secret: "llm-key".into() }), ..Link::new("api", &url) };
    let links = with_secret(directory.path(), bearer.clone()).unwrap();
    let response = links.fetch("api", outgoing(request("GET", "/"))).await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].headers["authorization"], format!("Bearer {SECRET}"));
    assert!(!format!("{response:?}").contains(SECRET));
    let forged = HttpRequest { headers: vec![("Authorization".into(), "Bearer mine".into())], ..request("GET", "/") };
    let refused = links.fetch("api", outgoing(forged)).await.unwrap_err();
    assert_eq!(refused.code, Code::PermissionDenied);
    assert!(!refused.message.contains(SECRET));
    let auth = Some(Auth::ApiKey { header: "X-Api-Key".into(), secret: "llm-key".into() });
    let links = with_secret(directory.path(), Link { auth, ..bearer }).unwrap();
    links.fetch("api", outgoing(request("GET", "/"))).await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[1].headers["x-api-key"], SECRET);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a request over a service link") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_secret_that_the_node_does_not_have_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let link = Link { auth: Some(Auth::Bearer { secret: "other".into() }), ..Link::new("api", "http://x") };
    let error = with_secret(directory.path(), link).err().unwrap();
    assert_eq!(error.code(), Code::InvalidConfig);
    let failure = plexspaces_types::Failure::from(error);
    assert_eq!(failure.field.as_deref(), Some("service_links.api.auth.bearer_secret"));
    assert!(failure.message.contains("\"other\", which the node does not have; looked for the file acme/other"), "{failure}");
}

#[test]
fn requests_retries_and_the_circuit_are_counted_for_each_link() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (url, server) = Server::start().await;
            server.failures.store(3, std::sync::atomic::Ordering::SeqCst);
            let mut link = Link::new("api", &url);
            link.retry.backoff = plexspaces_outbound::Backoff::None;
            link.circuit.failures = 3;
            let links = open_with(Config::default(), &[link]).unwrap();
            assert_eq!(links.fetch("api", outgoing(request("GET", "/fail"))).await.unwrap().status, 500);
            assert_eq!(links.fetch("api", outgoing(request("GET", "/fail"))).await.unwrap_err().code, Code::Unavailable);
            let labels = r#"namespace="shop",app="agents",link="api""#;
            let text = handle.render();
            for line in [
                format!("plexspaces_service_link_requests_total{{{labels},outcome=\"5xx\"}} 1"),
                format!("plexspaces_service_link_requests_total{{{labels},outcome=\"unavailable\"}} 1"),
                format!("plexspaces_service_link_retries_total{{{labels}}} 2"),
                format!("plexspaces_service_link_circuit{{{labels}}} 2"),
                format!("plexspaces_service_link_request_seconds_count{{{labels}}} 2"),
            ] {
                assert!(text.contains(&line), "{line} is not in\n{text}");
            }
            drop(links);
            assert!(handle.render().contains(&format!("plexspaces_service_link_circuit{{{labels}}} 0")));
        });
    });
}
