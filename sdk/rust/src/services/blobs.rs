//! Large objects of the namespace, by name.

use std::time::Duration;

use bytes::Bytes;
use plexspaces_actor::{BlobAccess, BlobInfo, Presigned};
use plexspaces_types::{Code, Failure};

use super::PAGE;
use crate::ActorContext;

/// The blobs of the actor's namespace. One that is read or written at once is no larger than a payload may be.
#[derive(Clone, Copy)]
pub struct Blobs<'a>(&'a ActorContext);

impl ActorContext {
    /// The blobs, of a node that keeps any: [`crate::NodeBuilder::blobs`].
    #[must_use]
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs(self)
    }
}

impl Blobs<'_> {
    /// Writes a blob, in the place of one of the same name if there is one.
    pub async fn put(&self, name: &str, content_type: &str, content: impl Into<Bytes>) -> Result<BlobInfo, Failure> {
        let content = content.into();
        let mut turn = self.0.hold().await;
        let put = turn.put_blob(name, content_type, content).await;
        self.0.unless_cancelled(&mut turn, put).await
    }

    /// The bytes of a blob, if there is one of this name.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, Failure> {
        self.get_part(name, 0, None).await
    }

    /// The bytes of a blob from `offset` on, at most `length`.
    pub async fn get_part(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Option<Bytes>, Failure> {
        let mut turn = self.0.hold().await;
        let got = turn.get_blob(name, offset, length).await;
        found(self.0.unless_cancelled(&mut turn, got).await.map(|(_, content)| content))
    }

    /// What a blob is, if there is one of this name.
    pub async fn head(&self, name: &str) -> Result<Option<BlobInfo>, Failure> {
        found(self.0.hold().await.blob(name).await)
    }

    /// Removes a blob; true when there was one.
    pub async fn delete(&self, name: &str) -> Result<bool, Failure> {
        let mut turn = self.0.hold().await;
        let deleted = turn.delete_blob(name).await;
        self.0.unless_cancelled(&mut turn, deleted).await
    }

    /// A URL by which somebody without credentials can read a blob or write it, for 1 s to 7 days. Whoever has the URL can use it.
    pub async fn presign(&self, name: &str, access: BlobAccess, life: Duration) -> Result<Presigned, Failure> {
        self.0.hold().await.presign_blob(name, access, life).await
    }

    /// The blobs whose names begin with `prefix`, in byte order of their names.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, Failure> {
        let mut all: Vec<BlobInfo> = Vec::new();
        loop {
            let after = all.last().map(|last| last.name.clone());
            let mut page = self.0.hold().await.list_blobs(prefix, after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            all.append(&mut page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

fn found<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        // A node without blobs is another matter.
        Err(failure) if failure.code == Code::NotFound && failure.field.as_deref() == Some("name") => Ok(None),
        Err(failure) => Err(failure),
    }
}
