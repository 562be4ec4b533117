//! Buckets elsewhere, over the node's own HTTP client.

#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(feature = "s3")]
mod s3;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use plexspaces_trust::Trust;
use plexspaces_types::Failure;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::Kept;
use crate::kept::writes;
use crate::place::{Bucket, Kind, Place, wrong};

/// How long the way to the store is tried.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How a request is repeated that did not arrive, or that the store was too busy for.
fn retry() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(10) }
}

/// What the environment says.
type Environment = Vec<(String, String)>;

pub(crate) fn open(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Kept, Failure> {
    let bucket = place.bucket()?;
    // In one order, so that of two variables that mean the same it is always the same one that counts.
    let environment = environment.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect::<Environment>();
    match bucket.kind {
        #[cfg(feature = "s3")]
        Kind::S3 => s3::open(place, &bucket, environment),
        #[cfg(feature = "gcs")]
        Kind::Gcs => gcs::open(place, &bucket, environment),
        #[cfg(feature = "azure")]
        Kind::Azure => azure::open(place, &bucket, environment),
        #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
        _ => Err(Failure::new(plexspaces_types::Code::Internal, "a place that cannot be used was not refused")),
    }
}

fn kept(bucket: &Bucket<'_>, objects: Arc<dyn ObjectStore>, links: Option<Links>, are_elsewhere: bool) -> Result<Kept, Failure> {
    let prefix = Path::parse(bucket.prefix).map_err(|error| wrong("blobs.url", &error.to_string()))?;
    let (name, writes) = (bucket.kind.name(), writes());
    Ok(Kept { objects, prefix, links, name, is_remote: true, are_credentials_elsewhere: are_elsewhere, writes, away: Notify::new() })
}

/// Makes URLs by which somebody without credentials reads objects of a bucket.
pub(crate) struct Links {
    signer: Arc<dyn Signer>,
    /// Whether a URL says as what an object is read; else it is read as what it was written as.
    with_type: bool,
    /// The host for which a signature is good, where it is for no other.
    host: Option<&'static str>,
}

impl Links {
    /// None where the signature would not be good.
    pub(crate) async fn url(&self, path: &Path, content_type: &str, life: Duration) -> object_store::Result<Option<String>> {
        let mut options = SignedUrlOptions::default();
        if self.with_type && !content_type.is_empty() {
            options = options.with_query([("response-content-type", content_type)]);
        }
        let url = self.signer.signed_url_opts(Method::GET, path, life, &options).await?;
        let is_good = self.host.is_none_or(|host| url.host_str() == Some(host));
        Ok(is_good.then(|| url.into()))
    }
}

/// Makes the library's clients, which share their connections.
struct Connector(Service);

#[derive(Clone)]
struct Service {
    http: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    timeout: Duration,
    allows_http: bool,
}

impl Connector {
    fn new(place: &Place) -> Result<Self, Failure> {
        let Trust { tls, .. } = Trust::with(place.ca_file.as_deref())?;
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self(Service { http, timeout: place.timeout, allows_http: false }))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        Ok(HttpClient::new(Service { allows_http, ..self.0.clone() }))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.allows_http && request.uri().scheme_str() != Some("https") {
            let refused = std::io::Error::other("a request that is not encrypted is sent only where blobs.endpoint says http://");
            return Err(HttpError::new(HttpErrorKind::Unknown, refused));
        }
        let answered = tokio::time::timeout(self.timeout, self.http.request(request)).await;
        let answered = answered.map_err(|_| late())?;
        let (parts, body) = answered.map_err(|error| HttpError::new(kind(&error), error))?.into_parts();
        let body = Timed { body, timeout: self.timeout, late: Box::pin(tokio::time::sleep(self.timeout)) };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// What became of a request that was not answered.
fn kind(error: &hyper_util::client::legacy::Error) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
    if source.is_some_and(hyper::Error::is_canceled) { HttpErrorKind::Request } else { HttpErrorKind::Interrupted }
}

fn late() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// An answer whose pieces come in time.
struct Timed {
    body: Incoming,
    timeout: Duration,
    late: Pin<Box<Sleep>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.late.as_mut().reset(Instant::now() + this.timeout);
                Poll::Ready(frame.map(|frame| frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))))
            }
            Poll::Pending => this.late.as_mut().poll(cx).map(|()| Some(Err(late()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}
