//! A client of one service: a request is signed and sent once, and has an answer or not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use plexspaces_trust::Trust;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::credentials::{Credentials, Keeper};
use crate::error::{Error, shown};
use crate::signature::{Scope, signed};

pub(crate) type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Which service is asked, and how.
pub struct Config<'a> {
    /// Its name in signatures and addresses, such as `dynamodb`.
    pub service: &'static str,
    /// What the names of its operations begin with, such as `DynamoDB_20120810`.
    pub interface: &'static str,
    /// The region, such as `eu-west-1`.
    pub region: &'a str,
    /// Where the service is, if it is not that of the region: `http://host:port` or `https://host:port`.
    pub endpoint: Option<&'a str>,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<&'a Path>,
    /// How long the way to one address is tried.
    pub connect_timeout: Duration,
    /// Bytes of an answer at most.
    pub answer_bytes: usize,
}

/// A client, which connects when it is needed and keeps its connections.
pub struct Client {
    http: Http,
    uri: Uri,
    service: &'static str,
    interface: &'static str,
    region: String,
    keeper: Keeper,
    answer_bytes: usize,
}

/// What a service has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The text of JSON.
    pub body: Bytes,
}

/// What an answer says that is no success.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The error's name, without the namespace that may stand before it; empty where there is none.
    pub kind: String,
    /// What the service says, which may be nothing.
    pub message: String,
    /// The whole of it; null where it is no JSON.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There are no keys to sign with. Nothing was sent.
    NoKeys(String),
    /// The request cannot be signed. Nothing was sent.
    Unsigned(String),
    /// There is no connection. Nothing was sent.
    Unreachable(String),
    /// There is no encrypted connection, or not with whom it should be. Nothing was sent.
    Untrusted(String),
    /// There was no answer, or not all of it. Nobody knows whether it has happened.
    Lost(String),
}

impl Client {
    /// A client. Nothing is asked yet.
    pub fn new(config: &Config<'_>) -> Result<Self, Error> {
        let of_region = || format!("https://{}.{}.amazonaws.com", config.service, config.region);
        let endpoint = config.endpoint.map_or_else(of_region, str::to_owned);
        let uri = place(&endpoint).ok_or_else(|| Error::Endpoint(shown(&endpoint).to_owned()))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let Trust { tls, has_roots } = Trust::with(config.ca_file)?;
        if uri.scheme_str() == Some("https") && !has_roots {
            return Err(Error::NoAuthority);
        }
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let http: Http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let keeper = Keeper::new(config.credentials, http.clone());
        let Config { service, interface, answer_bytes, .. } = *config;
        Ok(Self { http, uri, service, interface, region: config.region.to_owned(), keeper, answer_bytes })
    }

    /// Where it is: `https://host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_owned()
    }

    /// Asks once. The time begins with the keys, which may have to be asked for.
    ///
    /// Who stops waiting for the answer does not know whether the request was sent.
    pub async fn post(&self, operation: &str, body: Bytes, patience: Duration) -> Result<Answer, Fault> {
        let deadline = Instant::now() + patience;
        let keys = self.keeper.keys(deadline).await.map_err(Fault::NoKeys)?;
        let target = format!("{}.{operation}", self.interface);
        let scope = Scope { service: self.service, region: &self.region, time: SystemTime::now() };
        let request = signed(&self.uri, &target, body, &keys, &scope).map_err(Fault::Unsigned)?;
        let late = |_| Fault::Lost(format!("no answer within {patience:?}"));
        timeout_at(deadline, self.send(request)).await.map_err(late)?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let lost = |error: &(dyn std::error::Error + 'static)| Fault::Lost(innermost(error));
        let unanswered = |error: hyper_util::client::legacy::Error| if error.is_connect() { unreachable(&error) } else { lost(&error) };
        let (parts, body) = self.http.request(request).await.map_err(unanswered)?.into_parts();
        let body = Limited::new(body, self.answer_bytes).collect().await.map_err(|error| lost(&*error))?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), body })
    }
}

impl Answer {
    /// Whether it was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Why it was not.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
        let message = if text("message").is_empty() { text("Message") } else { text("message") }.to_owned();
        Refusal { kind, message, body }
    }
}

/// The address of an endpoint, which has a host and no more than that and a port.
fn place(endpoint: &str) -> Option<Uri> {
    let uri: Uri = endpoint.parse().ok()?;
    let is_place = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    let is_more = uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || !matches!(uri.path(), "" | "/");
    (is_place && !is_more && uri.query().is_none()).then_some(uri)
}

/// There is no connection. One that is not trusted does not get better by waiting.
fn unreachable(error: &hyper_util::client::legacy::Error) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        cause = match error.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::InvalidData => return Fault::Untrusted(io.to_string()),
            // The error that it holds is not its source.
            Some(io) => io.get_ref().map(|held| held as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    Fault::Unreachable(innermost(error))
}

/// The cause that says most.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: Option<&str>) -> Result<Client, Error> {
        let credentials = Credentials::new("plex", "s3cret", None);
        Client::new(&Config {
            service: "sqs",
            interface: "AmazonSQS",
            region: "eu-west-1",
            endpoint,
            credentials: &credentials,
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            answer_bytes: 1024,
        })
    }

    #[test]
    fn endpoints_have_a_host_and_a_port_and_no_more() {
        for endpoint in ["ftp://here", "here:8000", "http://", "https://plex:s3cret@here", "https://here/path", "http://here?s=1", "a b"] {
            let error = client(Some(endpoint)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("expected http://host:port") && !error.contains("s3cret"), "{endpoint}: {error}");
        }
        for endpoint in ["http://127.0.0.1:9324", "http://127.0.0.1:9324/"] {
            assert_eq!(client(Some(endpoint)).unwrap().endpoint(), "http://127.0.0.1:9324");
        }
        assert_eq!(place("https://sqs.eu-west-1.amazonaws.com").unwrap().host(), Some("sqs.eu-west-1.amazonaws.com"));
    }

    #[test]
    fn what_a_refusal_says_is_read() {
        let refusal = |body: &'static str| Answer { status: 400, body: Bytes::from_static(body.as_bytes()) }.refusal();
        let said = refusal(r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"there is none"}"#);
        assert_eq!((said.kind.as_str(), said.message.as_str()), ("QueueDoesNotExist", "there is none"));
        let said = refusal(r#"{"__type":"AccessDeniedException","Message":"not yours"}"#);
        assert_eq!((said.kind.as_str(), said.message.as_str()), ("AccessDeniedException", "not yours"));
        let said = refusal("<html>");
        assert_eq!((said.kind.as_str(), said.message.as_str(), said.body), ("", "", Value::Null));
    }
}
