//! Buckets of Amazon S3 and of what speaks its protocol, over the node's own HTTP client.

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
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use plexspaces_trust::Trust;
use plexspaces_types::Failure;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::Kept;
use crate::kept::writes;
use crate::place::{Place, wrong};

/// How long the way to the store is tried.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How a request is repeated that did not arrive, or that the store was too busy for.
fn retry() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(10) }
}

pub(crate) fn open(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Kept, Failure> {
    let bucket = place.bucket()?;
    let prefix = Path::parse(bucket.prefix).map_err(|error| wrong("blobs.url", &error.to_string()))?;
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        if name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(bucket.name)
        .with_allow_http(place.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_retry(retry())
        .with_http_connector(Connector::new(place)?);
    if let Some(endpoint) = &place.endpoint {
        // Stands over both of the environment.
        builder = builder.with_endpoint(endpoint).with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = &place.region {
        builder = builder.with_region(region);
    }
    let s3 = Arc::new(builder.build().map_err(|error| wrong("[blobs]", &error.to_string()))?);
    Ok(Kept { objects: s3.clone(), prefix, signer: Some(s3), name: "s3", is_remote: true, writes: writes(), away: Notify::new() })
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
