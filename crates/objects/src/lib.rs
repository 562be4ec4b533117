//! Where the bytes of blobs are: a directory of the node.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};
use plexspaces_actor::{Content, Objects, Written};
use plexspaces_types::{Code, Failure};
use sha2::{Digest as _, Sha256};

/// Content is written in pieces of this many bytes.
const PIECE: usize = 5 << 20;

/// Objects in a store of the library.
pub struct Kept(Arc<dyn ObjectStore>);

impl Kept {
    /// Files in a directory, which is made if it is not there. What was written is synced to the disk.
    pub fn in_directory(directory: &FilePath) -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::new(Code::InvalidConfig, format!("the directory {} for blobs cannot be used: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(|error| unusable(&error))?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(|error| unusable(&error))?;
        Ok(Self(Arc::new(files.with_fsync(true).with_automatic_cleanup(true))))
    }
}

#[async_trait]
impl Objects for Kept {
    async fn write(&self, key: &str, content: Content, limit: u64) -> Result<Written, Failure> {
        let key = path(key)?;
        let mut upload = self.0.put_multipart(&key).await.map_err(failed)?;
        let written = match copy(content, limit, &mut *upload).await {
            Ok(written) => upload.complete().await.map(|_| written).map_err(failed),
            Err(failure) => Err(failure),
        };
        if written.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%key, %error, "an object that was written half could not be removed");
        }
        written
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Content, Failure> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        Ok(self.0.get_opts(&path(key)?, options).await.map_err(failed)?.into_stream().map_err(failed).boxed())
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        let removed = self.0.delete(&path(key)?).await;
        removed.or_else(|error| if matches!(error, object_store::Error::NotFound { .. }) { Ok(()) } else { Err(failed(error)) })
    }
}

/// Writes content piece by piece, no faster than the store takes it.
async fn copy(mut content: Content, limit: u64, upload: &mut dyn MultipartUpload) -> Result<Written, Failure> {
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_u64, Vec::<Bytes>::new());
    let mut waiting = 0;
    while let Some(bytes) = content.try_next().await? {
        hash.update(&bytes);
        size += bytes.len() as u64;
        if size > limit {
            let message = format!("a blob has at most {limit} bytes, this one has more");
            return Err(Failure::new(Code::PayloadTooLarge, message).with_field("content"));
        }
        waiting += bytes.len();
        piece.push(bytes);
        if waiting >= PIECE {
            waiting = 0;
            upload.put_part(PutPayload::from_iter(piece.drain(..))).await.map_err(failed)?;
        }
    }
    if !piece.is_empty() {
        upload.put_part(PutPayload::from_iter(piece)).await.map_err(failed)?;
    }
    Ok(Written { size, sha256: hash.finalize().into() })
}

fn path(key: &str) -> Result<Path, Failure> {
    Path::parse(key).map_err(|error| Failure::new(Code::Internal, format!("an object's key is none: {error}")))
}

fn failed(error: object_store::Error) -> Failure {
    tracing::error!(%error, "the store of blobs failed");
    let is_full = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
    if is_full {
        return Failure::new(Code::StorageFull, "there is no room left for blobs");
    }
    Failure::new(Code::StorageFailed, "the store of blobs failed; the node's log has the details")
}
