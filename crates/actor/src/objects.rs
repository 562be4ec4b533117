//! Where the bytes of large objects are: the trait by which they leave the node.

use std::ops::Range;

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
    /// `payload_too_large`. What fails leaves nothing behind, as far as the backend allows.
    async fn write(&self, key: &str, content: Content, limit: u64) -> Result<Written, Failure>;

    /// Reads a part of an object.
    async fn read(&self, key: &str, range: Range<u64>) -> Result<Content, Failure>;

    /// Removes an object; one that is not there is no error.
    async fn remove(&self, key: &str) -> Result<(), Failure>;
}
