//! Where the bytes of large objects are: the trait by which they leave the node.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use plexspaces_types::Failure;

/// Bytes that come in pieces.
pub type Content = BoxStream<'static, Result<Bytes, Failure>>;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub size: u64,
    /// Of all of them.
    pub sha256: [u8; 32],
}

/// Objects under keys that the node chooses. An object is written once and never changed.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Writes an object; when it returns, the object is as durable as the backend makes it. Content of more than `limit` bytes is
    /// `payload_too_large`. What fails leaves nothing behind, as far as the backend allows. The media type is for those who read it by a URL.
    async fn write(&self, key: &str, content_type: &str, content: Content, limit: u64) -> Result<Written, Failure>;

    /// Reads a part of an object. Where it is the whole of one, its SHA-256 can be given: bytes that are others are `storage_failed` before
    /// the last of them are given.
    async fn read(&self, key: &str, range: Range<u64>, sha256: Option<[u8; 32]>) -> Result<Content, Failure>;

    /// Removes an object; one that is not there is no error.
    async fn remove(&self, key: &str) -> Result<(), Failure>;

    /// A URL by which somebody without credentials can read an object as something of this media type, for so long; `None` where there are
    /// no such URLs.
    async fn url(&self, key: &str, content_type: &str, life: Duration) -> Result<Option<String>, Failure>;

    /// The keys of the objects that were written at least so long ago. Those of one directory come together.
    fn list(&self, age: Duration) -> BoxStream<'_, Result<String, Failure>>;
}
