//! What can be configured.

use std::path::PathBuf;
use std::time::Duration;

use plexspaces_store::{Durability as Promise, Error, Limits};

use super::address::{Address, masked};

/// How a server is reached.
#[derive(Clone)]
pub struct Config {
    /// `redis://user:password@host:port/number`, or `rediss` for encrypted connections, for which the server's certificate is checked, name
    /// included. User, password, port and number can be left out.
    pub url: String,
    /// What the name of each key begins with, followed by a colon: letters, digits, `_`, `.` and `-`, 64 at most.
    pub prefix: String,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Connections at most, at least two. They are made when they are needed.
    pub connections: usize,
    /// How long an operation may take that finds a connection. What waits longer for one is refused, so that each operation ends
    /// within about twice this.
    pub timeout: Duration,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: a server that does not sync each change to its file before it answers is refused.
    #[default]
    Synced,
    /// What the server is set up to survive, which is not looked at.
    Server,
}

impl Config {
    /// The defaults: keys that begin with `plexspaces:`, eight connections, ten seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "plexspaces".to_owned(),
            ca_file: None,
            durability: Durability::Synced,
            connections: 8,
            timeout: Duration::from_secs(10),
        }
    }

    /// The URL's meaning. Errors do not quote it, since it holds a password.
    pub(super) fn address(&self) -> Result<Address, Error> {
        Address::parse(&self.url).ok_or_else(|| {
            let expected = "expected redis://user:password@host:port/number";
            Error::Failed(format!("the URL of the database cannot be read: {expected}, with special characters percent-encoded"))
        })
    }

    /// The prefix, if it can be one.
    pub(super) fn checked_prefix(&self) -> Result<&str, Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&self.prefix.len()) && self.prefix.bytes().all(fits) {
            return Ok(&self.prefix);
        }
        let expected = "expected 1 to 64 letters, digits, `_`, `.` and `-`";
        Err(Error::Failed(format!("the prefix of the store's keys is {:?}, {expected}", self.prefix)))
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &masked(&self.url))
            .field("prefix", &self.prefix)
            .field("ca_file", &self.ca_file)
            .field("durability", &self.durability)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What the server holds. Redis itself ends at values of 512 MB; a call of a script is kept to what a small server can hold in memory, and
/// does in the time that others can wait for it.
pub(super) const fn limits(durability: Durability) -> Limits {
    Limits {
        batch_items: 10_000,
        key_bytes: 4_096,
        value_bytes: 32 << 20,
        batch_bytes: 64 << 20,
        page_entries: 1_000,
        page_bytes: 16 << 20,
        durability: match durability {
            Durability::Synced => Promise::Synced,
            Durability::Server => Promise::Server,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for url in ["redis://plex:s3cret@db", "redis://s3cret@db", "s3cret"] {
            let config = Config::new(url);
            assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
            if let Err(error) = config.address() {
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
    }

    #[test]
    fn a_prefix_that_would_be_a_pattern_is_refused() {
        for (prefix, fits) in [("plexspaces", true), ("a.b_c-1", true), ("", false), ("a*", false), ("a:b", false), ("a{b}", false)] {
            let config = Config { prefix: prefix.to_owned(), ..Config::new("redis://db") };
            assert_eq!(config.checked_prefix().is_ok(), fits, "{prefix}");
        }
    }
}
