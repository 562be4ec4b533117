//! Requests to the service: signed, sent, and sent again where that may help.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Identity;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use plexspaces_store::Error;
use plexspaces_trust::Trust;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::Config;
use super::credentials::{Keeper, Keys};
use super::fault::{Fault, Place};

/// The service and the version of its interface.
const TARGET: &str = "DynamoDB_20120810";
/// An answer has at most 16 MB of items, whose bytes are in base64.
const ANSWER: usize = 32 << 20;
/// How long is waited before a request is sent again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long an answer is waited for at least before the request is sent again, where there is time.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub(super) struct Client {
    http: Http,
    uri: Uri,
    region: String,
    keeper: Keeper,
    turns: Semaphore,
    pub(super) place: Place,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let endpoint = config.endpoint.clone().unwrap_or_else(|| format!("https://dynamodb.{}.amazonaws.com", config.region));
        // It is not quoted: somebody may have put credentials into it.
        let unusable = || Error::Failed("the endpoint cannot be used, expected http://host:port or https://host:port".to_owned());
        let uri: Uri = endpoint.parse().map_err(|_| unusable())?;
        let is_place = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
        let is_more = uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || !matches!(uri.path(), "" | "/");
        if !is_place || is_more || uri.query().is_some() {
            return Err(unusable());
        }
        let place = Place::new(&format!("dynamodb://{}/{}", config.region, config.table));
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Where nobody answers is known before a request counts as sent.
        tcp.set_connect_timeout(Some(config.timeout / 3));
        let trust = Trust::with(config.ca_file.as_deref()).map_err(|error| Error::Failed(error.to_string()))?;
        if uri.scheme_str() == Some("https") && !trust.has_roots {
            return Err(Error::Failed("no authority is trusted: the system has none, and there is no ca_file".to_owned()));
        }
        let connector = HttpsConnectorBuilder::new().with_tls_config(trust.tls).https_or_http().enable_http1().wrap_connector(tcp);
        let http: Http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let keeper = Keeper::new(&config.credentials, http.clone());
        let turns = Semaphore::new(config.connections.max(1));
        Ok(Self { http, uri, region: config.region.clone(), keeper, turns, place })
    }

    /// Asks until there is an answer or the time is over, or there is nobody to ask. A request must mean the same however often it is sent.
    pub(super) async fn ask(&self, operation: &str, body: &Value, deadline: Instant) -> Result<Value, Fault> {
        let body = Bytes::from(body.to_string());
        let (mut pause, mut was_sent) = (PAUSES.0, false);
        loop {
            let fault = match self.once(operation, &body, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Passing { what, sent }) => {
                    was_sent |= sent;
                    Fault::Passing { what, sent: was_sent }
                }
                Err(Fault::Unreachable(what)) if was_sent => Fault::Passing { what, sent: true },
                // It may have met itself.
                Err(Fault::Condition { .. }) => return Err(Fault::Condition { again: was_sent }),
                // What is refused now may have been done when it was sent before.
                Err(Fault::Refused(error)) if was_sent => return Err(Fault::Passing { what: error.to_string(), sent: true }),
                Err(Fault::NoTable) if was_sent => return Err(Fault::Passing { what: "the table is gone".to_owned(), sent: true }),
                Err(fault) => return Err(fault),
            };
            let jittered = jittered(pause);
            if Instant::now() + jittered >= deadline {
                return Err(fault);
            }
            sleep(jittered).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The same where nothing but an answer is expected.
    pub(super) async fn answer(&self, operation: &str, body: &Value, deadline: Instant) -> Result<Value, Error> {
        self.ask(operation, body, deadline).await.map_err(|fault| fault.into_error(&self.place))
    }

    async fn once(&self, operation: &str, body: &Bytes, deadline: Instant) -> Result<Value, Fault> {
        let busy = |what: &str| Fault::Passing { what: what.to_owned(), sent: false };
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy("too many requests are under way"))?.map_err(|_| busy("the store is closed"))?;
        let keys = self.keeper.keys().await.map_err(Fault::Unreachable)?;
        // An answer that does not come leaves time for another.
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = (left / 2).max(PATIENCE).min(left);
        let late = |_| Fault::Passing { what: format!("the database did not answer within {patience:?}"), sent: true };
        timeout(patience, self.send(keys, operation, body)).await.map_err(late)?
    }

    async fn send(&self, keys: Keys, operation: &str, body: &Bytes) -> Result<Value, Fault> {
        let request = self.signed(keys, operation, body).map_err(|what| Fault::Refused(self.place.failed(&what)))?;
        let lost = |error: &(dyn std::error::Error + 'static)| Fault::Passing { what: innermost(error), sent: true };
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(self.unreachable(&error)),
            Err(error) => return Err(lost(&error)),
        };
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map_err(|error| lost(&*error))?.to_bytes();
        if !parts.status.is_success() {
            return Err(self.place.fault(parts.status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|error| lost(&error))
    }

    /// There is no connection, which may not get better by waiting.
    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Fault {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>().filter(|io| io.kind() == std::io::ErrorKind::InvalidData) {
                return Fault::Refused(self.place.failed(&format!("no encrypted connection: {io}")));
            }
            cause = error.source();
        }
        Fault::Unreachable(innermost(error))
    }

    fn signed(&self, keys: Keys, operation: &str, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
        let target = format!("{TARGET}.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let mut request = Request::post(&self.uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body.clone())).map_err(|error| error.to_string())?;
        let identity = Identity::new(keys.id, keys.secret, keys.token, None, "plexspaces").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("dynamodb")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signable = SignableRequest::new("POST", self.uri.to_string(), headers.into_iter(), SignableBody::Bytes(body));
        let signed = signable.and_then(|signable| sign(signable, &parameters)).map_err(|error| error.to_string())?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// About this long: what failed together shall not come back together.
fn jittered(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    pause / 2 + pause * (nanos / 1_000 % 1_000) / 1_000
}

/// The cause that says most.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
