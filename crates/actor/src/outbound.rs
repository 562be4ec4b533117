//! HTTP requests of actors: what one is, and the trait by which it leaves the node.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_types::Failure;

/// A request over a service link, as an actor makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path and query below the link's base URL; it begins with `/`.
    pub path: String,
    /// In the order in which they are sent. What the link sets cannot be set here.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Bytes,
    /// How long all of it may take, retries included; the link's own limits hold besides.
    pub timeout: Option<Duration>,
    /// The caller's name for this effect. Whoever gives one vouches that the other side applies it once, so that a request of any method
    /// may be sent again.
    pub idempotency_key: Option<String>,
}

/// What came back, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// 100 to 599.
    pub status: u16,
    /// Names in lower case, in the order in which they came; a name may be there several times.
    pub headers: Vec<(String, String)>,
    /// Whole.
    pub body: Bytes,
}

/// A request on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What the actor asked for.
    pub request: HttpRequest,
    /// Sent as `Idempotency-Key`, the same in all attempts: the actor's own, else one that was made for this call.
    pub idempotency_key: String,
    /// When nobody waits any more.
    pub deadline: Option<Instant>,
    /// The largest body that the actor may be given, in bytes.
    pub max_response: usize,
}

/// The service links of one application.
#[async_trait]
pub trait Outbound: Send + Sync + 'static {
    /// The names of the links, in order.
    fn links(&self) -> Vec<String>;

    /// Sends a request over the link of this name and waits for the response, whatever its status. An error means that there is no
    /// response; the request may have been applied all the same unless the error says that it was refused. Dropping the future gives the
    /// request up.
    async fn fetch(&self, link: &str, outgoing: Outgoing) -> Result<HttpResponse, Failure>;
}
