//! What can be configured.

use std::path::PathBuf;
use std::time::Duration;

use plexspaces_store::{Durability, Error, Limits};
use tokio_postgres::config::Host;

/// How a database is reached.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`. Everything is kept in the first schema of the `search_path`, which the URL can
    /// set: `?options=-csearch_path%3Dname`. With `?sslmode=require` connections are encrypted and the server's certificate is checked,
    /// name included; without it neither.
    pub url: String,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Connections at most, at least two. They are made when they are needed.
    pub connections: usize,
    /// How long an operation may take that finds a connection. What waits longer for one is refused, so that each operation ends
    /// within about twice this.
    pub timeout: Duration,
}

impl Config {
    /// The defaults: eight connections, ten seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None, connections: 8, timeout: Duration::from_secs(10) }
    }

    /// The URL's meaning. Errors do not quote it, since it holds a password.
    pub(super) fn parse(&self) -> Result<tokio_postgres::Config, Error> {
        parse(&self.url).ok_or_else(|| {
            let expected = "expected postgres://user:password@host:port/database";
            Error::Failed(format!("the URL of the database cannot be read: {expected}, with special characters percent-encoded"))
        })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &masked(&self.url))
            .field("ca_file", &self.ca_file)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Where a URL leads, without the password and without what cannot be read; `None` for what is not a URL of a database.
#[must_use]
pub fn masked(url: &str) -> Option<String> {
    let config = parse(url)?;
    let user = config.get_user().unwrap_or_default();
    let hidden = if config.get_password().is_some() { ":(hidden)" } else { "" };
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = config.get_ports().get(index).or(config.get_ports().first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    Some(format!("postgres://{user}{hidden}@{}/{}", hosts.join(","), config.get_dbname().unwrap_or(user)))
}

fn parse(url: &str) -> Option<tokio_postgres::Config> {
    let config: tokio_postgres::Config = url.parse().ok()?;
    let is_whole = !config.get_hosts().is_empty() && config.get_user().is_some();
    is_whole.then_some(config)
}

/// What the database holds. PostgreSQL itself ends at values of 1 GB; a transaction is kept to what a small server can hold in memory.
/// Partition and key are a row of the index, which holds 2,704 bytes; a partition's name has at most 650.
pub(super) const LIMITS: Limits = Limits {
    batch_items: 10_000,
    key_bytes: 2_000,
    value_bytes: 32 << 20,
    batch_bytes: 64 << 20,
    page_entries: 1_000,
    page_bytes: 16 << 20,
    durability: Durability::Synced,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let secret = "s3cret";
        for (url, shown) in [
            ("postgres://plex:s3cret@db.example:6432/state", Some("postgres://plex:(hidden)@db.example:6432/state")),
            ("postgresql://plex@db/state?password=s3cret", Some("postgres://plex:(hidden)@db:5432/state")),
            ("host=db user=plex password='s3cret' dbname=state", Some("postgres://plex:(hidden)@db:5432/state")),
            ("postgres://plex@a,b:1/state", Some("postgres://plex@a:5432,b:1/state")),
            ("postgres://plex:s3cret@db:port/state", None),
            ("mysql://plex:s3cret@db/state", None),
            ("s3cret", None),
        ] {
            assert_eq!(masked(url).as_deref(), shown, "{url}");
            let config = Config::new(url);
            assert!(!format!("{config:?}").contains(secret), "{config:?}");
            if let Err(error) = config.parse() {
                assert!(!error.to_string().contains(secret), "{error}");
            }
        }
    }

    #[test]
    fn fuzz_urls() {
        let examples = ["postgres://plex:s%33cret@a,b:6432/state?sslmode=require", "host=db user=plex password='s3 cret' dbname=state"];
        plexspaces_testkit::fuzz!(examples, |bytes: &Vec<u8>| {
            let url = String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(masked(&url).is_some(), Config::new(url).parse().is_ok());
        });
    }
}
