//! An HTTP server that does what a test says and remembers what it was asked; and short ways to ask it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use plexspaces_actor::{HttpRequest, HttpResponse, Outbound as _, Outgoing};
use plexspaces_outbound::{Backoff, Client, Config, Link, Links, Owner, Policy};
use plexspaces_types::{Failure, Name};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the server does; a path decides.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// `/fail` fails so many times more.
    pub(crate) failures: AtomicUsize,
    /// `/hold` answers when it gets one.
    pub(crate) gate: Option<Arc<Semaphore>>,
    pub(crate) at_once: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
}

impl Server {
    /// Its base URL and itself.
    pub(crate) async fn start() -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Self { gate: Some(Arc::new(Semaphore::new(0))), ..Self::default() });
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                tokio::spawn(
                    async move { hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await },
                );
            }
        });
        (url, server)
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, String> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let path = parts.uri.path_and_query().unwrap().to_string();
        let method = parts.method.to_string();
        self.seen.lock().unwrap().push(Seen { method, path: path.clone(), headers: parts.headers, body });
        let status = |status: u16| Response::builder().status(status);
        let full = |text: &str| Full::new(Bytes::from(text.to_owned()));
        let failing = |failing: u16| {
            let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            status(if fails { failing } else { 200 })
        };
        Ok(match parts.uri.path() {
            "/fail" => failing(500).body(full("tried")).unwrap(),
            "/later" => failing(503).header("retry-after", "3600").body(full("busy")).unwrap(),
            "/elsewhere" => status(302).header("location", "http://127.0.0.1:9/stolen").body(full("")).unwrap(),
            "/missing" => status(404).header("x-why", "gone").body(full("nothing here")).unwrap(),
            "/big" => status(200).body(Full::new(Bytes::from(vec![b'x'; 100_000]))).unwrap(),
            "/break" => return Err("the connection ends here".to_owned()),
            "/hold" => {
                let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_at_once.fetch_max(now, Ordering::SeqCst);
                self.gate.as_ref().unwrap().acquire().await.unwrap().forget();
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                status(200).body(full("held")).unwrap()
            }
            _ => status(200).header("x-served", "1").header("x-served", "2").body(full("fine")).unwrap(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn open_gate(&self, requests: usize) {
        self.gate.as_ref().unwrap().add_permits(requests);
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        while self.count() < count {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

pub(crate) fn open_with(config: Config, links: &[Link]) -> Result<Links, plexspaces_outbound::Error> {
    let (tenant, namespace, app) = (name("acme"), name("shop"), name("agents"));
    Client::new(config).unwrap().open(Owner { tenant: &tenant, namespace: &namespace, app: &app }, links)
}

/// One link, `api`, with quick retries.
pub(crate) fn link(url: &str, change: impl FnOnce(&mut Link)) -> Links {
    let mut link = Link::new("api", url);
    link.retry = Policy { backoff: Backoff::None, ..Policy::default() };
    change(&mut link);
    open_with(Config::default(), &[link]).unwrap()
}

pub(crate) fn request(method: &str, path: &str) -> HttpRequest {
    HttpRequest { method: method.into(), path: path.into(), ..HttpRequest::default() }
}

pub(crate) fn outgoing(request: HttpRequest) -> Outgoing {
    let idempotency_key = request.idempotency_key.clone().unwrap_or_else(|| "made".into());
    Outgoing { request, idempotency_key, deadline: Some(Instant::now() + Duration::from_secs(30)), max_response: 16 << 20 }
}

pub(crate) async fn fetch(links: &Links, method: &str, path: &str) -> Result<HttpResponse, Failure> {
    links.fetch("api", outgoing(request(method, path))).await
}

pub(crate) fn header<'a>(response: &'a HttpResponse, name: &str) -> Vec<&'a str> {
    response.headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str()).collect()
}
