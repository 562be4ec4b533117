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
use object_store::{Attribute, Attributes, GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt as _, PutPayload};
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
    #[cfg(feature = "remote")]
    pub(crate) links: Option<crate::remote::Links>,
    /// How it is called in messages.
    pub(crate) name: &'static str,
    /// Whether it is elsewhere, and may come and go while the node runs.
    pub(crate) is_remote: bool,
    /// Whether what gives the node its credentials is elsewhere too.
    pub(crate) are_credentials_elsewhere: bool,
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
            #[cfg(feature = "remote")]
            links: None,
            name: "files",
            is_remote: false,
            are_credentials_elsewhere: false,
            writes: writes(),
            away: Notify::new(),
        })
    }

    /// A bucket of an object store. Nothing is asked of it yet. Credentials and what else `place` leaves open are those of the environment
    /// whose names begin with `AWS_`, `GOOGLE_` or `AZURE_`.
    #[cfg(feature = "remote")]
    pub fn at(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Failure> {
        crate::remote::open(place, environment)
    }

    /// A bucket of an object store.
    #[cfg(not(feature = "remote"))]
    pub fn at(place: &Place, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Failure> {
        drop(environment);
        place.check()?;
        Err(Failure::new(Code::Internal, "a place that cannot be used was not refused"))
    }

    /// How it is called in messages: `files`, `s3`, `gcs` or `azure`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
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
            Err(_) => Err(self.silent(None)),
        }
    }

    /// Waits until it does not answer.
    pub async fn away(&self) {
        self.away.notified().await;
    }

    async fn copy(&self, key: Path, attributes: Attributes, content: Content, limit: u64) -> Result<Written, Failure> {
        let Ok(Ok(_writes)) = tokio::time::timeout(WAIT, self.writes.acquire()).await else {
            return Err(Failure::new(Code::Overloaded, format!("{WRITES} blobs are being written already")));
        };
        let size = if self.is_remote { BUCKET_PIECE.max(usize::try_from(limit.div_ceil(PIECES)).unwrap_or(usize::MAX)) } else { PIECE };
        let mut pieces = Pieces::new(content, limit);
        let first = pieces.next(size).await?;
        if pieces.is_over() {
            self.objects.put_opts(&key, first, attributes.into()).await.map_err(|error| self.failed(&error))?;
            return Ok(pieces.written());
        }
        let mut upload = Upload::begin(&self.objects, key, attributes).await.map_err(|error| self.failed(&error))?;
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
        let is_full = causes(error)
            .filter_map(|error| error.downcast_ref::<std::io::Error>())
            .any(|error| matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
        if is_full {
            return Failure::new(Code::StorageFull, "there is no room left for blobs");
        }
        let failed = |message: String| Failure::new(Code::StorageFailed, message);
        if lacks_bucket(error) {
            let noun = if self.name == "azure" { "container" } else { "bucket" };
            return failed(format!("the store of blobs ({}) has no such {noun}", self.name));
        }
        if error.to_string().contains("<Code>RequestTimeTooSkewed</Code>") {
            return failed(format!("the store of blobs ({}) has another time than the node: their clocks differ too much", self.name));
        }
        if is_refused(error) {
            return failed(format!("the store of blobs ({}) refuses the credentials of the node", self.name));
        }
        match error {
            object_store::Error::NotFound { .. } => failed("the bytes of the blob are not there any more".to_owned()),
            _ if self.is_remote && is_in_another_region(error) => {
                failed(format!("the store of blobs ({}) has the bucket in another region: set blobs.region", self.name))
            }
            object_store::Error::Generic { .. } if self.is_remote => match status(error) {
                None => self.silent(unreachable(error)),
                Some(status @ (408 | 429 | 500..)) => {
                    Failure::new(Code::Unavailable, format!("the store of blobs ({}) answers with status {status}", self.name))
                }
                Some(status) => {
                    failed(format!("the store of blobs ({}) refuses with status {status}; the node's log has the details", self.name))
                }
            },
            _ => failed("the store of blobs failed; the node's log has the details".to_owned()),
        }
    }

    fn silent(&self, why: Option<&str>) -> Failure {
        let other = if self.are_credentials_elsewhere { ", or what gives the node its credentials for it," } else { "" };
        let what = why.map_or_else(|| "does not answer".to_owned(), |why| format!("cannot be reached: {why}"));
        Failure::new(Code::Unavailable, format!("the store of blobs ({}){other} {what}", self.name))
    }
}

fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Why nobody was asked at all.
fn unreachable(error: &object_store::Error) -> Option<&'static str> {
    causes(error).find_map(|cause| match cause.to_string() {
        text if text.contains("invalid peer certificate") => Some("its certificate is not trusted, see blobs.ca_file"),
        text if text.contains("failed to lookup address") => Some("the name of its host is not known"),
        _ => None,
    })
}

/// The library says what a store has answered in words only.
pub(crate) fn lacks_bucket(error: &object_store::Error) -> bool {
    let text = error.to_string();
    ["<Code>NoSuchBucket</Code>", "<Code>ContainerNotFound</Code>", "The specified container does not exist"]
        .iter()
        .any(|code| text.contains(code))
}

fn is_refused(error: &object_store::Error) -> bool {
    let is_refused = matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    is_refused || matches!(status(error), Some(401 | 403))
}

fn is_in_another_region(error: &object_store::Error) -> bool {
    let text = error.to_string();
    ["without LOCATION", "<Code>PermanentRedirect</Code>", "<Code>AuthorizationHeaderMalformed</Code>"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The status of an answer, or that of a part of one.
fn status(error: &object_store::Error) -> Option<u16> {
    let text = error.to_string();
    ["status code: ", "(code: "].iter().find_map(|before| text.split_once(before)?.1.get(..3)?.parse().ok())
}

/// With what an object is kept for those who read it by a link. What would not arrive as it was sent is left out.
fn attributes(content_type: &str) -> Attributes {
    let mut attributes = Attributes::new();
    if !content_type.is_empty() && content_type.trim() == content_type && !content_type.contains("  ") {
        attributes.insert(Attribute::ContentType, content_type.to_owned().into());
    }
    attributes
}

#[async_trait]
impl Objects for Kept {
    async fn write(&self, key: &str, content_type: &str, content: Content, limit: u64) -> Result<Written, Failure> {
        let attributes = if self.is_remote { attributes(content_type) } else { Attributes::new() };
        let written = tokio::time::timeout(LONGEST_WRITE, self.copy(self.path(key)?, attributes, content, limit)).await;
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
        let is_gone = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. }) && !lacks_bucket(error);
        removed.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(self.failed(&error)) })
    }

    async fn url(&self, key: &str, content_type: &str, life: Duration) -> Result<Option<String>, Failure> {
        #[cfg(feature = "remote")]
        if let Some(links) = &self.links {
            return links.url(&self.path(key)?, content_type, life).await.map_err(|error| self.failed(&error));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_has_answered_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept { name: "s3", is_remote: true, ..Kept::in_directory(directory.path()).unwrap() };
        let answered = |status: &str| format!("Error performing GET http://h/b in 1s - Server returned non-2xx status code: {status}");
        let told = |kept: &Kept, text: &str| kept.failure(&object_store::Error::Generic { store: "S3", source: text.into() });
        for (text, code, expected) in [
            (answered("503 Service Unavailable: "), Code::Unavailable, "answers with status 503"),
            (answered("429 Too Many Requests: "), Code::Unavailable, "answers with status 429"),
            (answered("400 Bad Request: no"), Code::StorageFailed, "refuses with status 400; the node's log has the details"),
            (answered("401 Unauthorized: "), Code::StorageFailed, "refuses the credentials of the node"),
            (answered("404 Not Found: <Code>NoSuchBucket</Code>"), Code::StorageFailed, "has no such bucket"),
            (
                answered("403 Forbidden: <Code>RequestTimeTooSkewed</Code>"),
                Code::StorageFailed,
                "has another time than the node: their clocks differ too much",
            ),
            (
                answered("400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>"),
                Code::StorageFailed,
                "has the bucket in another region: set blobs.region",
            ),
            (
                "Received redirect without LOCATION, this normally indicates an incorrectly configured region".to_owned(),
                Code::StorageFailed,
                "has the bucket in another region: set blobs.region",
            ),
            (
                "Bulk delete request failed for key k: Forbidden (code: 403)".to_owned(),
                Code::StorageFailed,
                "refuses the credentials of the node",
            ),
            ("HTTP error: error sending request".to_owned(), Code::Unavailable, "does not answer"),
        ] {
            let failure = told(&kept, &text);
            assert_eq!((failure.code, failure.message), (code, format!("the store of blobs (s3) {expected}")), "{text}");
        }
        let kept = Kept { are_credentials_elsewhere: true, name: "gcs", ..kept };
        let expected = "the store of blobs (gcs), or what gives the node its credentials for it, does not answer";
        assert_eq!(told(&kept, "HTTP error: error sending request").message, expected);
    }

    #[test]
    fn an_object_is_kept_with_a_media_type_that_arrives_as_it_was_sent() {
        for (given, is_kept) in [("text/plain; charset=utf-8", true), ("", false), (" a/b", false), ("a/b ", false), ("a/b;  c", false)] {
            assert_eq!(attributes(given).get(&Attribute::ContentType).is_some(), is_kept, "{given:?}");
        }
    }
}
