//! Serves a router on a socket: HTTP/1.1 and HTTP/2 on one port, with time limits and a graceful end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::ServeConfig;

/// How long to wait after the system refused to hand out a connection, which it does when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown`: then nothing more is accepted, and requests in progress have [`ServeConfig::grace`] to finish.
/// Whether all of them did is returned. Dropping the future closes every connection at once.
pub async fn serve(listener: TcpListener, router: axum::Router, config: ServeConfig, shutdown: CancellationToken) -> bool {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(config.idle_timeout / 2).keep_alive_timeout(config.header_timeout);
    let builder = Arc::new(builder);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, builder.clone(), router.clone(), config.clone(), shutdown.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let finished = tokio::time::timeout(config.grace, drained).await.is_ok();
    if !finished {
        tracing::warn!(connections = connections.len(), "requests did not finish in time and were cut off");
    }
    finished
}

async fn connection(
    stream: TcpStream,
    builder: Arc<Builder<TokioExecutor>>,
    router: axum::Router,
    config: ServeConfig,
    shutdown: CancellationToken,
) {
    // Without it small responses wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request: Request<Incoming>| {
        let guard = activity.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(config.budget.clone());
        request.extensions_mut().insert(guard.clone());
        let answered = router.clone().call(request);
        async move { answered.await.map(|response| response.map(|body| Tracked { body, _guard: guard })) }
    });
    let mut connection = Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut stopped = pin!(shutdown.cancelled());
    let mut idle = tokio::time::interval(config.idle_timeout);
    idle.tick().await;
    let (mut seen, mut closing) = (0, false);
    loop {
        tokio::select! {
            _ = connection.as_mut() => break,
            () = stopped.as_mut(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = idle.tick() => {
                let begun = activity.begun.load(Ordering::Relaxed);
                if activity.running.load(Ordering::Relaxed) == 0 && begun == seen {
                    if closing {
                        return;
                    }
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                seen = begun;
            }
        }
    }
    // Who has hung up waits for nothing any more, and a connection that has failed still holds what it was asked for.
    drop(connection);
    // What it was upgraded to goes on without it.
    activity.ended().await;
}

/// The requests of one connection.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    running: AtomicUsize,
    ended: Notify,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Held {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Held(Arc::new(Running(self.clone())))
    }

    /// Waits until no request runs.
    async fn ended(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Whoever has it works on a request, whose connection is not over before.
#[derive(Clone)]
pub(crate) struct Held(#[expect(dead_code, reason = "its end is what matters")] Arc<Running>);

/// One request, until its response is sent.
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

struct Tracked {
    body: Body,
    _guard: Held,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
