//! Request bodies with a limit: what is too large is refused as early as it is known, never held in memory.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use plexspaces_types::{Code, Failure};

/// How long the rest of a refused body is read.
const LINGER: Duration = Duration::from_secs(2);

/// A request's body.
pub(crate) struct Limited {
    body: Option<Body>,
    limit: usize,
    left: usize,
    idle: Duration,
}

impl Limited {
    /// A body that may stand still for `idle`. Nothing of it is taken before [`Self::admit`].
    pub(crate) fn new(body: Body, idle: Duration) -> Self {
        Self { body: Some(body), limit: 0, left: 0, idle }
    }

    /// Takes at most `limit` bytes; fails when more are declared.
    pub(crate) fn admit(&mut self, limit: usize, headers: &HeaderMap) -> Result<(), Failure> {
        (self.limit, self.left) = (limit, limit);
        let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match declared {
            Some(declared) if declared > u64::try_from(limit).unwrap_or(u64::MAX) => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    /// Whether nothing was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(body) = &mut self.body else { return Ok(None) };
            let frame = tokio::time::timeout(self.idle, body.frame()).await;
            let stalled = || Failure::invalid("body", format!("the body stood still for {} s", self.idle.as_secs()));
            let Some(frame) = frame.map_err(|_| stalled())? else {
                self.body = None;
                return Ok(None);
            };
            let frame = frame.map_err(|_| Failure::invalid("body", "the body ended before it was complete"))?;
            let Ok(data) = frame.into_data() else { continue };
            let Some(left) = self.left.checked_sub(data.len()) else { return Err(self.too_large()) };
            self.left = left;
            return Ok(Some(data));
        }
    }

    /// All of it.
    pub(crate) async fn read(mut self) -> Result<Bytes, Failure> {
        if self.is_empty() {
            return Ok(Bytes::new());
        }
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        if self.is_empty() {
            return Ok(first);
        }
        let Some(second) = self.next().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Its pieces.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, Failure>> {
        futures::stream::try_unfold(self, |mut body| async move { Ok(body.next().await?.map(|piece| (piece, body))) })
    }

    fn too_large(&self) -> Failure {
        Failure::new(Code::PayloadTooLarge, format!("the body is larger than {} bytes", self.limit))
    }
}

impl Drop for Limited {
    /// Whoever is still sending would not see the answer if the connection broke now.
    fn drop(&mut self) {
        if let Some(mut rest) = self.body.take()
            && !http_body::Body::is_end_stream(&rest)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = rest.frame().await {} }));
        }
    }
}
