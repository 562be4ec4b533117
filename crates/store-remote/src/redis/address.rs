//! Where a server is.

use percent_encoding::percent_decode_str;

/// The meaning of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encrypted: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Address {
    /// Reads `redis://user:password@host:port/number`, with `rediss` for encrypted connections; `None` for anything else.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = redis::parse_redis_url(url)?;
        let encrypted = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().ok()?,
        };
        // The brackets around an IPv6 address belong to the URL.
        let host = url.host_str().filter(|host| !host.is_empty())?.trim_matches(['[', ']']).to_owned();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let user = if url.username().is_empty() { None } else { Some(decoded(url.username())?) };
        let password = match url.password() {
            Some(password) => Some(decoded(password)?),
            None => None,
        };
        // A user without a password would be taken for a password by some clients and for nothing by others.
        if user.is_some() && password.is_none() {
            return None;
        }
        Some(Self { host, port: url.port().unwrap_or(6379), encrypted, user, password, database })
    }

    /// The URL without the password.
    pub(super) fn masked(&self) -> String {
        let scheme = if self.encrypted { "rediss" } else { "redis" };
        let who = match (&self.user, &self.password) {
            (user, Some(_)) => format!("{}:(hidden)@", user.as_deref().unwrap_or_default()),
            _ => String::new(),
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{who}{host}:{}/{}", self.port, self.database)
    }
}

/// Where a URL leads, without the password; `None` for what is not a URL of a server.
#[must_use]
pub fn masked(url: &str) -> Option<String> {
    Address::parse(url).map(|address| address.masked())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://:s3cret@db.example", Some("redis://:(hidden)@db.example:6379/0")),
            ("redis://plex:s3cret@db:7000/3", Some("redis://plex:(hidden)@db:7000/3")),
            ("rediss://plex:s%33cret@[::1]:7000/", Some("rediss://plex:(hidden)@[::1]:7000/0")),
            ("redis://db", Some("redis://db:6379/0")),
            ("redis://s3cret@db", None),
            ("redis://:s3cret@db/none", None),
            ("redis://:s3cret@db?protocol=resp3", None),
            ("rediss://:s3cret@db/#insecure", None),
            ("unix:///tmp/s3cret", None),
            ("postgres://plex:s3cret@db/state", None),
            ("s3cret", None),
        ] {
            assert_eq!(masked(url).as_deref(), shown, "{url}");
        }
        assert_eq!(Address::parse("redis://:s%33cret@db").unwrap().password.as_deref(), Some("s3cret"));
    }

    #[test]
    fn fuzz_urls() {
        plexspaces_testkit::fuzz!(["redis://plex:s%33cret@db:7000/3", "rediss://:s3cret@[::1]/"], |bytes: &Vec<u8>| {
            let Some(address) = Address::parse(&String::from_utf8_lossy(bytes)) else { return };
            let secret = "a secret that no URL of the examples holds".to_owned();
            let hidden = Address { password: Some(secret.clone()), ..address };
            assert!(!hidden.host.is_empty() && !hidden.masked().contains(&secret));
        });
    }
}
