//! Requests to SQS: signed, sent, and answered.

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
use plexspaces_trust::Trust;
use plexspaces_types::{Code, Failure};
use serde_json::Value;

use super::{Config, PATIENCE};

/// The service in the headers of requests.
const TARGET: &str = "AmazonSQS";

/// An answer holds at most ten messages of 1 MiB, which may be longer as JSON text.
const ANSWER: usize = 64 << 20;

/// Why there is no answer.
pub(super) enum Fault {
    /// SQS refuses: the error's name, and what it says.
    Refused(String, String),
    /// Nobody knows whether it has happened.
    Away(String),
}

impl Fault {
    /// Whether the queue is not there.
    pub(super) fn is_no_queue(&self) -> bool {
        matches!(self, Self::Refused(name, _) if name.ends_with("QueueDoesNotExist") || name.ends_with("NonExistentQueue"))
    }
}

pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    region: String,
    identity: Identity,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let endpoint = config.endpoint();
        let wrong = || Failure::invalid("channels.sqs.endpoint", format!("the endpoint {endpoint:?} is not http(s)://host:port"));
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || uri.authority().is_none_or(|authority| authority.as_str().contains('@'))
            || uri.path() != "/"
            || uri.query().is_some()
        {
            return Err(wrong());
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(PATIENCE));
        let Trust { tls, .. } = Trust::with(None)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let keys = &config.keys;
        let identity = Identity::new(&keys.id, &keys.secret, keys.token.clone(), None, "plexspaces");
        Ok(Self { http, uri, region: config.region.clone(), identity })
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_owned()
    }

    /// Asks, and waits for as long as the request itself may wait at the service and a little more.
    pub(super) async fn ask(&self, action: &str, body: &Value, wait: Duration) -> Result<Value, Fault> {
        let patience = PATIENCE + wait;
        let late = |_| Fault::Away(format!("no answer within {patience:?}"));
        tokio::time::timeout(patience, self.once(action, body)).await.map_err(late)?
    }

    async fn once(&self, action: &str, body: &Value) -> Result<Value, Fault> {
        let request = self.signed(action, Bytes::from(body.to_string())).map_err(Fault::Away)?;
        let response = self.http.request(request).await.map_err(|error| Fault::Away(innermost(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map_err(|error| Fault::Away(innermost(&*error)))?.to_bytes();
        let answer: Option<Value> = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
        if parts.status.is_success() {
            return answer.ok_or_else(|| Fault::Away("the answer is no JSON".to_owned()));
        }
        let text = |name: &str| answer.as_ref().and_then(|answer| answer.get(name)).and_then(Value::as_str);
        let said = text("message").or_else(|| text("Message")).unwrap_or_default();
        match text("__type") {
            Some(name) => Err(Fault::Refused(name.rsplit('#').next().unwrap_or(name).to_owned(), said.to_owned())),
            None => Err(Fault::Refused(format!("HTTP status {}", parts.status.as_u16()), said.to_owned())),
        }
    }

    fn signed(&self, action: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let target = format!("{TARGET}.{action}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let identity = self.identity.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sqs")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signable = SignableRequest::new("POST", self.uri.to_string(), headers.into_iter(), SignableBody::Bytes(&body));
        let signed = signable.and_then(|signable| sign(signable, &parameters)).map_err(|error| error.to_string())?;
        let mut request = Request::post(&self.uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    /// A fault as a caller sees it. What an operator can put right is `unavailable` too: a message that waits is sent then.
    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let place = self.place();
        match fault {
            Fault::Refused(name, said) if said.contains("must be shorter") || name.ends_with("MessageTooLong") => {
                Failure::new(Code::PayloadTooLarge, format!("the message is larger than what SQS ({place}) takes: {said}"))
                    .with_field("payload")
            }
            Fault::Refused(name, said) if name.ends_with("OverLimit") => {
                Failure::new(Code::Overloaded, format!("SQS ({place}) lets no more be in hand for the channel: {said}"))
            }
            Fault::Refused(name, said) => {
                Failure::new(Code::Unavailable, format!("the message broker SQS ({place}) refuses: {name}: {said}"))
            }
            Fault::Away(why) => Failure::new(Code::Unavailable, format!("the message broker SQS ({place}) does not answer: {why}")),
        }
    }
}

/// The cause that says most.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
