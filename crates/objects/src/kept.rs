//! Objects in a store of the library.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
#[cfg(feature = "s3")]
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt as _, PutPayload};
use plexspaces_actor::{Content, Objects, Written};
use plexspaces_types::{Code, Failure};
use tokio::sync::{Notify, Semaphore};

use crate::pieces::Pieces;
use crate::upload::Upload;
use crate::verified::verified;
use crate::{Place, reading};

/// Content is written in pieces of this many bytes; what is no larger goes at once. A bucket takes no smaller ones.
const PIECE: usize = 1 << 20;
const BUCKET_PIECE: usize = 5 << 20;

/// Pieces that a bucket takes of one object; for what may be larger than so many of them, they are larger.
const PIECES: u64 = 10_000;

/// Objects that are written at the same time, so that their pieces have room in memory; and how long others wait.
const WRITES: usize = 128;
const WAIT: Duration = Duration::from_secs(30);

/// How long writing one object may take. What is swept must be older than that.
const LONGEST_WRITE: Duration = Duration::from_hours(12);

/// How long it may take to see whether the store answers.
const LOOK: Duration = Duration::from_secs(10);

/// Objects in a directory or in a bucket.
pub struct Kept {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// What all keys begin with.
    pub(crate) prefix: Path,
    #[cfg(feature = "s3")]
    pub(crate) signer: Option<Arc<dyn Signer>>,
    /// How it is called in messages.
    pub(crate) name: &'static str,
    /// Whether it is elsewhere, and may come and go while the node runs.
    pub(crate) is_remote: bool,
    pub(crate) writes: Semaphore,
    /// Told when it did not answer.
    pub(crate) away: Notify,
}

/// Room for what is written at the same time.
pub(crate) fn writes() -> Semaphore {
    Semaphore::new(WRITES)
}

impl Kept {
    /// Files in a directory, which is made if it is not there. What was written is synced to the disk.
    pub fn in_directory(directory: &FilePath) -> Result<Self, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::new(Code::InvalidConfig, format!("the directory {} for blobs cannot be used: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(|error| unusable(&error))?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(|error| unusable(&error))?;
        Ok(Self {
            objects: Arc::new(files.with_fsync(true).with_automatic_cleanup(true)),
            prefix: Path::default(),
            #[cfg(feature = "s3")]
            signer: None,
            name: "files",
            is_remote: false,
            writes: writes(),
            away: Notify::new(),
        })
    }

    /// A bucket of an object store. Nothing is asked of it yet. Credentials and what else `place` leaves open are those of the environment
    /// whose names begin with `AWS_`.
    #[cfg(feature = "s3")]
    pub fn at(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Failure> {
        crate::remote::open(place, environment)
    }

    /// A bucket of an object store.
    #[cfg(not(feature = "s3"))]
    pub fn at(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Failure> {
        drop(environment);
        place.check()?;
        Err(Failure::new(Code::Internal, "a place that cannot be used was not refused"))
    }

    /// Whether it is elsewhere, and may come and go while the node runs.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Whether it answers, and the bucket is there.
    pub async fn check(&self) -> Result<(), Failure> {
        match tokio::time::timeout(LOOK, self.objects.get(&self.path("probe")?)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if matches!(error, object_store::Error::NotFound { .. }) && !lacks_bucket(&error) => Ok(()),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Waits until it does not answer.
    pub async fn away(&self) {
        self.away.notified().await;
    }

    async fn copy(&self, key: Path, content: Content, limit: u64) -> Result<Written, Failure> {
        let Ok(Ok(_writes)) = tokio::time::timeout(WAIT, self.writes.acquire()).await else {
            return Err(Failure::new(Code::Overloaded, format!("{WRITES} blobs are being written already")));
        };
        let size = if self.is_remote { BUCKET_PIECE.max(usize::try_from(limit.div_ceil(PIECES)).unwrap_or(usize::MAX)) } else { PIECE };
        let mut pieces = Pieces::new(content, limit);
        let first = pieces.next(size).await?;
        if pieces.is_over() {
            self.objects.put(&key, first).await.map_err(|error| self.failed(&error))?;
            return Ok(pieces.written());
        }
        let mut upload = Upload::begin(&self.objects, key).await.map_err(|error| self.failed(&error))?;
        match self.parts(&mut upload, first, &mut pieces, size).await {
            Ok(()) => upload.complete().await.map_err(|error| self.failed(&error))?,
            Err(failure) => {
                upload.abort().await;
                return Err(failure);
            }
        }
        Ok(pieces.written())
    }

    /// Sends pieces, no faster than the store takes them.
    async fn parts(&self, upload: &mut Upload, first: PutPayload, pieces: &mut Pieces, size: usize) -> Result<(), Failure> {
        let mut piece = first;
        loop {
            if piece.content_length() > 0 {
                upload.put(piece).await.map_err(|error| self.failed(&error))?;
            }
            if pieces.is_over() {
                return Ok(());
            }
            piece = tokio::select! {
                next = pieces.next(size) => next?,
                error = upload.failed() => return Err(self.failed(&error)),
            };
        }
    }

    pub(crate) fn path(&self, key: &str) -> Result<Path, Failure> {
        let unusable = |error| Failure::new(Code::Internal, format!("an object's key is none: {error}"));
        let key = Path::parse(key).map_err(unusable)?;
        Ok(Path::from_iter(self.prefix.parts().chain(key.parts())))
    }

    /// What a client is told of an error; what the operator needs to know is in the log.
    pub(crate) fn failed(&self, error: &object_store::Error) -> Failure {
        tracing::error!(%error, "the store of blobs failed");
        let failure = self.failure(error);
        if failure.code == Code::Unavailable {
            self.away.notify_one();
        }
        failure
    }

    fn failure(&self, error: &object_store::Error) -> Failure {
        let is_full = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
            .filter_map(|error| error.downcast_ref::<std::io::Error>())
            .any(|error| matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
        if is_full {
            return Failure::new(Code::StorageFull, "there is no room left for blobs");
        }
        if lacks_bucket(error) {
            return Failure::new(Code::StorageFailed, format!("the store of blobs ({}) has no such bucket", self.name));
        }
        if is_refused(error) {
            return Failure::new(Code::StorageFailed, format!("the store of blobs ({}) refuses the credentials of the node", self.name));
        }
        match error {
            object_store::Error::NotFound { .. } => Failure::new(Code::StorageFailed, "the bytes of the blob are not there any more"),
            object_store::Error::Generic { .. } if self.is_remote => self.silent(),
            _ => Failure::new(Code::StorageFailed, "the store of blobs failed; the node's log has the details"),
        }
    }

    fn silent(&self) -> Failure {
        Failure::new(Code::Unavailable, format!("the store of blobs ({}) does not answer", self.name))
    }
}

/// The library says what a store has answered in words only.
fn lacks_bucket(error: &object_store::Error) -> bool {
    error.to_string().contains("<Code>NoSuchBucket</Code>")
}

fn is_refused(error: &object_store::Error) -> bool {
    let is_refused = matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    is_refused || ["status code: 401", "status code: 403"].iter().any(|status| error.to_string().contains(status))
}

#[async_trait]
impl Objects for Kept {
    async fn write(&self, key: &str, content: Content, limit: u64) -> Result<Written, Failure> {
        let written = tokio::time::timeout(LONGEST_WRITE, self.copy(self.path(key)?, content, limit)).await;
        let late = || Failure::new(Code::DeadlineExceeded, format!("writing a blob took more than {} h", LONGEST_WRITE.as_secs() / 3600));
        written.unwrap_or_else(|_| Err(late()))
    }

    async fn read(&self, key: &str, range: Range<u64>, sha256: Option<[u8; 32]>) -> Result<Content, Failure> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let got = self.objects.get_opts(&self.path(key)?, options).await.map_err(|error| self.failed(&error))?;
        let (name, is_remote) = (self.name, self.is_remote);
        let broken = move |error: &dyn std::error::Error| {
            tracing::error!(%error, "the store of blobs failed");
            let code = if is_remote { Code::Unavailable } else { Code::StorageFailed };
            Failure::new(code, format!("the store of blobs ({name}) failed in the middle of a blob"))
        };
        let content = match got.payload {
            GetResultPayload::File(file, _) => reading::content(file, got.range).map_err(move |error| broken(&error)).boxed(),
            GetResultPayload::Stream(content) => content.map_err(move |error| broken(&error)).boxed(),
        };
        Ok(match sha256 {
            Some(expected) => verified(content, expected),
            None => content,
        })
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        let removed = self.objects.delete(&self.path(key)?).await;
        removed.or_else(|error| if matches!(error, object_store::Error::NotFound { .. }) { Ok(()) } else { Err(self.failed(&error)) })
    }

    async fn url(&self, key: &str, content_type: &str, life: Duration) -> Result<Option<String>, Failure> {
        #[cfg(feature = "s3")]
        if let Some(signer) = &self.signer {
            let options = SignedUrlOptions::new().with_query([("response-content-type", content_type)]);
            let url = signer.signed_url_opts(Method::GET, &self.path(key)?, life, &options).await.map_err(|error| self.failed(&error))?;
            return Ok(Some(url.into()));
        }
        let _ = (key, content_type, life);
        Ok(None)
    }

    fn list(&self, age: Duration) -> BoxStream<'_, Result<String, Failure>> {
        let prefix = Some(&self.prefix).filter(|prefix| prefix.parts().next().is_some());
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let objects = self.objects.list(prefix).map_err(|error| self.failed(&error));
        let keys = objects.try_filter_map(move |object| {
            let is_old = SystemTime::from(object.last_modified) <= before;
            let key = object.location.prefix_match(&self.prefix).map(|parts| Path::from_iter(parts).to_string());
            futures::future::ready(Ok(key.filter(|_| is_old)))
        });
        keys.boxed()
    }
}
