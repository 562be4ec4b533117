//! An object store that Google Cloud Storage's clients take for it.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{S3, Server};

/// Google Cloud Storage's XML API in front of [`S3`], with one service account and the bucket `blobs`. The emulators that there are know
/// neither uploads in parts nor credentials.
pub struct Gcs {
    s3: S3,
    front: Server,
}

impl Gcs {
    /// The bucket.
    pub const BUCKET: &'static str = S3::BUCKET;

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut this = Self { s3: S3::start()?, front: Server::new("gcs")? };
        fs::write(this.front.path().join("gcs.mjs"), include_str!("gcs.mjs"))?;
        this.front_again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.front.port)
    }

    /// The file with the key of the service account.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.front.path().join("service-account.json")
    }

    /// A file with a key that it does not know.
    #[must_use]
    pub fn other_key(&self) -> PathBuf {
        self.front.path().join("other-account.json")
    }

    /// The directory of the bucket. Each object is a file in it, under its key.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.s3.bucket()
    }

    /// How many objects there are, and how many parts of those that are not complete.
    pub fn count(&self) -> Result<(usize, usize)> {
        self.s3.count()
    }

    /// Starts it after [`Gcs::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        self.s3.again()?;
        self.front_again()
    }

    fn front_again(&mut self) -> Result<()> {
        let backend = self.s3.port().to_string();
        let command = |server: &Server| {
            let (script, directory) = (server.path().join("gcs.mjs"), server.path().display().to_string());
            let port = server.port.to_string();
            Ok(["node", &script.display().to_string(), &port, &backend, S3::KEY, S3::SECRET, &directory].map(str::to_owned).into())
        };
        self.front.start("TERM", command, |server| super::s3::is_healthy(server.port))
    }

    /// Stops it: connections are ended, and what was written is kept.
    pub fn stop(&mut self) {
        self.front.stop();
        self.s3.stop();
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.front.kill("KILL")?;
        self.s3.kill()
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.front.hold(held)
    }
}
