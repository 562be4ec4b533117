//! An object store that speaks the protocol of Amazon S3.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Server, answers_http, go};

/// VersityGW, which keeps objects as files and checks signatures, with one user and the bucket `blobs`.
pub struct S3 {
    server: Server,
    program: PathBuf,
}

impl S3 {
    /// The user.
    pub const KEY: &'static str = "AKPLEX0123456789";

    /// The user's secret.
    pub const SECRET: &'static str = "s3cret-of-the-object-store";

    /// The bucket.
    pub const BUCKET: &'static str = "blobs";

    /// Makes a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let program = go::program("github.com/versity/versitygw/cmd/versitygw", "v1.8.0")?;
        let mut this = Self { server: Server::new("versitygw")?, program };
        fs::create_dir_all(this.bucket())?;
        fs::create_dir_all(this.server.path().join("attributes"))?;
        this.again()?;
        Ok(this)
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.server.port
    }

    /// The directory of the bucket. Each object is a file in it, under its key.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.server.path().join("buckets").join(Self::BUCKET)
    }

    /// How many objects there are, and how many parts of those that are not complete.
    pub fn count(&self) -> Result<(usize, usize)> {
        fn count(directory: &Path, found: &mut (usize, usize), in_parts: bool) -> Result<()> {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                let in_parts = in_parts || path.ends_with(".sgwtmp");
                match (path.is_dir(), in_parts) {
                    (true, _) => count(&path, found, in_parts)?,
                    (false, true) => found.1 += 1,
                    (false, false) => found.0 += 1,
                }
            }
            Ok(())
        }
        let mut found = (0, 0);
        count(&self.bucket(), &mut found, false)?;
        Ok(found)
    }

    /// Starts it after [`S3::stop`], at the same address.
    pub fn again(&mut self) -> Result<()> {
        let program = self.program.display().to_string();
        let command = |server: &Server| {
            let (attributes, buckets) = (server.path().join("attributes"), server.path().join("buckets"));
            Ok([
                &program,
                "--access",
                Self::KEY,
                "--secret",
                Self::SECRET,
                "--port",
                &format!("127.0.0.1:{}", server.port),
                "--health",
                "/health",
                "posix",
                "--sidecar",
                &attributes.display().to_string(),
                &buckets.display().to_string(),
            ]
            .map(str::to_owned)
            .into())
        };
        self.server.start("TERM", command, |server| is_healthy(server.port))
    }

    /// Stops it: connections are ended, and what was written is kept.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill("KILL")
    }

    /// Holds it, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        self.server.hold(held)
    }
}

/// Whether a server, or a front of it, says that it can be used.
pub(super) fn is_healthy(port: u16) -> bool {
    answers_http(port, "/health", "HTTP/1.1 200").unwrap_or(false)
}
