//! The components of deployed applications, as files named by their digests.

use std::io::{self, Write as _};
use std::path::PathBuf;

use bytes::Bytes;
use plexspaces_types::{Code, Failure};

pub(crate) struct ComponentFiles(PathBuf);

impl ComponentFiles {
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&directory).map_err(|error| failure("create the directory of components", &error))?;
        Ok(Self(directory))
    }

    /// Stores a component; it is on disk when this returns.
    pub(crate) async fn put(&self, digest: &str, wasm: Bytes) -> Result<(), Failure> {
        let (directory, path) = (self.0.clone(), self.path(digest));
        let write = move || {
            let mut file = tempfile::NamedTempFile::new_in(&directory)?;
            file.write_all(&wasm)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            // The name is on disk only when the directory is.
            std::fs::File::open(directory)?.sync_all()
        };
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| failure("store a component", &error))
    }

    pub(crate) async fn get(&self, digest: &str) -> Result<Bytes, Failure> {
        let read = tokio::fs::read(self.path(digest)).await;
        read.map(Bytes::from).map_err(|error| failure("read a stored component", &error))
    }

    /// A file that cannot be removed only takes up room.
    pub(crate) async fn remove(&self, digest: &str) {
        if let Err(error) = tokio::fs::remove_file(self.path(digest)).await {
            tracing::warn!(digest, %error, "a component that is no longer used could not be removed");
        }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{digest}.wasm"))
    }
}

fn failure(what: &str, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::StorageFull } else { Code::StorageFailed };
    Failure::new(code, format!("cannot {what}: {error}"))
}
