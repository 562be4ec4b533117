//! A bucket of one service or another.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Azure, Gcs, S3};

/// A bucket, with a server of its own.
pub enum Bucket {
    /// Of what speaks the protocol of Amazon S3.
    S3(S3),
    /// Of what speaks that of Google Cloud Storage.
    Gcs(Gcs),
    /// Of Azure's emulator.
    Azure(Azure),
}

impl Bucket {
    /// One of S3.
    pub fn s3() -> Result<Self> {
        S3::start().map(Self::S3)
    }

    /// One of Google Cloud Storage.
    pub fn gcs() -> Result<Self> {
        Gcs::start().map(Self::Gcs)
    }

    /// One of Azure.
    pub fn azure() -> Result<Self> {
        Azure::start().map(Self::Azure)
    }

    /// How the node calls the service.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gcs",
            Self::Azure(_) => "azure",
        }
    }

    /// The scheme of the node's URLs for such buckets.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gs",
            Self::Azure(_) => "az",
        }
    }

    /// The node's URL for it.
    #[must_use]
    pub fn url(&self) -> String {
        let name = match self {
            Self::S3(_) => S3::BUCKET,
            Self::Gcs(_) => Gcs::BUCKET,
            Self::Azure(_) => Azure::CONTAINER,
        };
        format!("{}://{name}", self.scheme())
    }

    /// Where the service is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self {
            Self::S3(server) => server.endpoint(),
            Self::Gcs(server) => server.endpoint(),
            Self::Azure(server) => server.endpoint(),
        }
    }

    /// What the environment of a node must say.
    pub fn environment(&self) -> Result<Vec<(String, String)>> {
        match self {
            Self::S3(_) => Ok(pairs([("AWS_ACCESS_KEY_ID", S3::KEY), ("AWS_SECRET_ACCESS_KEY", S3::SECRET)])),
            Self::Gcs(server) => of_file(&server.key()),
            Self::Azure(_) => Ok(pairs([("AZURE_STORAGE_ACCOUNT", Azure::ACCOUNT), ("AZURE_STORAGE_KEY", Azure::KEY)])),
        }
    }

    /// The same with credentials that are refused.
    pub fn others_environment(&self) -> Result<Vec<(String, String)>> {
        match self {
            Self::S3(_) => Ok(pairs([("AWS_ACCESS_KEY_ID", S3::KEY), ("AWS_SECRET_ACCESS_KEY", "wr0ng")])),
            Self::Gcs(server) => of_file(&server.other_key()),
            Self::Azure(_) => Ok(pairs([("AZURE_STORAGE_ACCOUNT", Azure::ACCOUNT), ("AZURE_STORAGE_KEY", "d3IwbmcwMDAwMDAwMDAwMDAwMDA=")])),
        }
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::S3(server) => server.bucket(),
            Self::Gcs(server) => server.bucket(),
            Self::Azure(server) => server.directory(),
        }
    }

    /// How many objects there are, and how many parts of those that are not complete. Azure collects such parts itself, a week later.
    pub fn count(&self) -> Result<(usize, usize)> {
        match self {
            Self::S3(server) => server.count(),
            Self::Gcs(server) => server.count(),
            Self::Azure(server) => Ok((server.count()?, 0)),
        }
    }

    /// Starts the server again, at the same address.
    pub fn again(&mut self) -> Result<()> {
        match self {
            Self::S3(server) => server.again(),
            Self::Gcs(server) => server.again(),
            Self::Azure(server) => server.again(),
        }
    }

    /// Stops the server: connections are ended, and what was written is kept.
    pub fn stop(&mut self) {
        match self {
            Self::S3(server) => server.stop(),
            Self::Gcs(server) => server.stop(),
            Self::Azure(server) => server.stop(),
        }
    }

    /// Kills the server without a warning. Azurite is stopped: it writes what it knows every five seconds only, which the service does before
    /// it answers.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::S3(server) => server.kill(),
            Self::Gcs(server) => server.kill(),
            Self::Azure(server) => {
                server.stop();
                Ok(())
            }
        }
    }

    /// Holds the server, so that it keeps its connections and answers nothing, or lets it go on.
    pub fn hold(&self, held: bool) -> Result<()> {
        match self {
            Self::S3(server) => server.hold(held),
            Self::Gcs(server) => server.hold(held),
            Self::Azure(server) => server.hold(held),
        }
    }
}

fn of_file(path: &std::path::Path) -> Result<Vec<(String, String)>> {
    Ok(pairs([("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().context("the path of the key is text")?)]))
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
