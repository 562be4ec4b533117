//! A large object on its way, in parts. Unless it arrives as a whole its parts are removed, whatever ends it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{Attributes, Error, MultipartUpload, ObjectStore, PutPayload, Result};

use crate::kept::lacks_bucket;

/// Parts under way at the same time.
const AT_ONCE: usize = 2;

/// How long parts that are under way are waited for before all are removed.
const PATIENCE: Duration = Duration::from_secs(30);

/// After which times it is tried again to remove the parts of what has failed, while the store does not answer.
const AGAIN: [Duration; 5] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

pub(crate) struct Upload {
    key: Path,
    upload: Option<Box<dyn MultipartUpload>>,
    parts: FuturesUnordered<object_store::UploadPart>,
}

impl Upload {
    pub(crate) async fn begin(objects: &Arc<dyn ObjectStore>, key: Path, attributes: Attributes) -> Result<Self> {
        let objects = Arc::clone(objects);
        // A task, because whoever goes away meanwhile would leave an upload that nobody knows. Its result is dropped then.
        let begun = tokio::spawn(async move {
            let upload = objects.put_multipart_opts(&key, attributes.into()).await?;
            Ok(Self { key, upload: Some(upload), parts: FuturesUnordered::new() })
        });
        let ended = |error| Error::Generic { store: "upload", source: Box::new(error) };
        begun.await.map_err(ended)?
    }

    /// Sends a part; returns when another may be sent.
    pub(crate) async fn put(&mut self, part: PutPayload) -> Result<()> {
        if let Some(upload) = &mut self.upload {
            self.parts.push(upload.put_part(part));
        }
        self.wait(AT_ONCE - 1).await
    }

    /// Goes on with the parts that are under way, and ends only when one of them fails.
    pub(crate) async fn failed(&mut self) -> Error {
        loop {
            match self.parts.next().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => std::future::pending().await,
            }
        }
    }

    /// Makes an object of the parts.
    pub(crate) async fn complete(mut self) -> Result<()> {
        let sent = self.wait(0).await;
        let Some(mut upload) = self.upload.take() else { return sent };
        let completed = match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if completed.is_err() {
            self.upload = Some(upload);
            self.abort().await;
        }
        completed
    }

    /// Removes the parts.
    pub(crate) async fn abort(mut self) {
        settle(&mut self.parts).await;
        let Some(mut upload) = self.upload.take() else { return };
        if remove(&mut *upload).await.is_err() {
            // Dropping this tries again.
            self.upload = Some(upload);
        }
    }

    /// Waits until at most so many parts are under way.
    async fn wait(&mut self, under_way: usize) -> Result<()> {
        while self.parts.len() > under_way {
            self.parts.next().await.transpose()?;
        }
        Ok(())
    }
}

/// Waits until no part is under way: one that came after the others were removed would stay.
async fn settle(parts: &mut FuturesUnordered<object_store::UploadPart>) {
    let all = async { while parts.next().await.is_some() {} };
    let _ = tokio::time::timeout(PATIENCE, all).await;
    parts.clear();
}

/// Removes the parts. That they are not there is no error: an attempt before may have had no answer.
async fn remove(upload: &mut dyn MultipartUpload) -> Result<()> {
    let aborted = upload.abort().await;
    aborted.or_else(|error| if matches!(error, Error::NotFound { .. }) && !lacks_bucket(&error) { Ok(()) } else { Err(error) })
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (key, mut parts) = (std::mem::take(&mut self.key), std::mem::take(&mut self.parts));
        runtime.spawn(async move {
            settle(&mut parts).await;
            let mut again = AGAIN.iter();
            while let Err(error) = remove(&mut *upload).await {
                let Some(pause) = again.next() else {
                    tracing::warn!(%key, %error, "the parts of an object that was not written could not be removed");
                    return;
                };
                tokio::time::sleep(*pause).await;
            }
        });
    }
}
