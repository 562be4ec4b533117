//! The HTTP client of the node, which all links share: connections, certificates, and one attempt.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use plexspaces_actor::HttpResponse;
use plexspaces_trust::Trust;

use crate::{Error, SecretsConfig};

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How long the way to one address of a host is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// What links need of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where credentials come from.
    pub secrets: SecretsConfig,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Opens links. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub(crate) secrets: SecretsConfig,
    /// Whether any authority is trusted; without one no encrypted link works.
    pub(crate) has_roots: bool,
}

/// Why an attempt has no response.
pub(crate) enum Trouble {
    /// There was no connection, so that the service saw nothing.
    NotSent(String),
    /// The connection broke; what the service did is not known.
    Lost(String),
    /// The body is larger than it may be.
    TooLarge,
}

impl Client {
    /// Reads the certificates; nothing is connected yet.
    pub fn new(config: Config) -> Result<Self, Error> {
        crate::meters::describe();
        let Trust { tls, has_roots } = Trust::with(config.ca_file.as_deref())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { http, secrets: config.secrets, has_roots })
    }

    /// Sends a request once and reads at most `limit` bytes of the response's body.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>, limit: usize) -> Result<HttpResponse, Trouble> {
        let broken = |error: hyper_util::client::legacy::Error| {
            let text = innermost(&error);
            if error.is_connect() { Trouble::NotSent(text) } else { Trouble::Lost(text) }
        };
        let (parts, body) = self.http.request(request).await.map_err(broken)?.into_parts();
        let announced = http_body::Body::size_hint(&body).lower();
        if announced > limit as u64 {
            return Err(Trouble::TooLarge);
        }
        let body = Limited::new(body, limit)
            .collect()
            .await
            .map_err(|error| if error.is::<LengthLimitError>() { Trouble::TooLarge } else { Trouble::Lost(innermost(&*error)) })?;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Ok(HttpResponse { status: parts.status.as_u16(), headers, body: body.to_bytes() })
    }
}

/// The cause that says most: the outer ones only say that there is one.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
