//! The connection: adds the token to every request and counts what was sent of a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

/// How much is sent between two reports.
const PIECE: usize = 64 << 10;

/// Is told how many bytes were sent so far.
pub(crate) type Progress = Arc<dyn Fn(u64) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) channel: Channel,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) progress: Option<Progress>,
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = tonic::transport::channel::ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(progress) = &self.progress {
            let progress = progress.clone();
            request = request.map(|body| Body::new(Counted { body, left: Bytes::new(), sent: 0, progress }));
        }
        self.channel.call(request)
    }
}

/// A body in pieces, so that the connection takes one when it has sent the one before.
struct Counted {
    body: Body,
    left: Bytes,
    sent: u64,
    progress: Progress,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.left.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.left = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let length = self.left.len().min(PIECE);
        let piece = self.left.split_to(length);
        self.sent += u64::try_from(length).unwrap_or(0);
        (self.progress)(self.sent);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
