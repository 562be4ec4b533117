//! A link as it is configured, and what may stand in it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::circuit;
use crate::retry::Policy;
use crate::route::Route;
use crate::secrets::{Secret, check_name};
use crate::{Backoff, Error};

/// The methods that a request may have.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Everything about one link but the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What actors call it.
    pub name: String,
    /// `http://` or `https://`, a host, possibly a port and a path; what an actor asks for is below it.
    pub base_url: String,
    /// How long one attempt may take, from the wait for a connection to the end of the body.
    pub timeout: Duration,
    /// Whether and when a request is sent again.
    pub retry: Policy,
    /// Sent with each request; an actor cannot change them.
    pub headers: BTreeMap<String, String>,
    /// The credential.
    pub auth: Option<Auth>,
    /// When requests are kept away from a service that fails.
    pub circuit: circuit::Config,
    /// The methods that may be used; `None` for all of [`METHODS`].
    pub allowed_methods: Option<Vec<String>>,
    /// The paths that may be asked for: `/v1/chat` itself, `/v1/*` everything below; `None` for all.
    pub allowed_paths: Option<Vec<String>>,
    /// Requests under way at the same time; more wait.
    pub max_concurrent: usize,
    /// How many requests there may be in a time; more are refused.
    pub rate: Option<Rate>,
    /// The largest body of a response in bytes.
    pub max_response: usize,
}

/// How a request says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer` and the secret.
    Bearer {
        /// Its name.
        secret: String,
    },
    /// The secret in a header.
    ApiKey {
        /// The header.
        header: String,
        /// Its name.
        secret: String,
    },
}

/// So many requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In which time.
    pub per: Duration,
    /// How many of them at once, after a time without any; `requests` unless given.
    pub burst: Option<u32>,
}

impl Link {
    /// A link with the usual settings.
    #[must_use]
    pub fn new(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base_url: base_url.into(),
            timeout: Duration::from_secs(30),
            retry: Policy::default(),
            headers: BTreeMap::new(),
            auth: None,
            circuit: circuit::Config::default(),
            allowed_methods: None,
            allowed_paths: None,
            max_concurrent: 64,
            rate: None,
            max_response: 16 << 20,
        }
    }

    /// Whether everything in it can be used; the secret is not looked for.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |field, message: String| Err(Error::link(&self.name, field, message));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return wrong("name", "must have 1 to 64 letters, digits, '_', '-' and '.'".to_owned());
        }
        let (least, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
        let mut times = vec![("timeout_secs", self.timeout), ("circuit_breaker.open_for", self.circuit.open_for)];
        if self.retry.backoff != Backoff::None {
            times.extend([("retry_policy.initial_delay", self.retry.initial_delay), ("retry_policy.max_delay", self.retry.max_delay)]);
        }
        times.extend(self.rate.map(|rate| ("rate_limit.per", rate.per)));
        if let Some((field, found)) = times.into_iter().find(|(_, time)| !(least..=hour).contains(time)) {
            return wrong(field, format!("is {found:?}, expected 1ms to 1h"));
        }
        if self.retry.backoff != Backoff::None && self.retry.initial_delay > self.retry.max_delay {
            return wrong("retry_policy.initial_delay", format!("is longer than max_delay, {:?}", self.retry.max_delay));
        }
        let numbers = [
            ("retry_policy.max_attempts", u64::from(self.retry.max_attempts), 20),
            ("circuit_breaker.failures", u64::from(self.circuit.failures), u64::from(u32::MAX)),
            ("max_concurrent", self.max_concurrent as u64, 100_000),
            ("max_response", self.max_response as u64, u64::MAX),
            ("rate_limit.requests", self.rate.map_or(1, |rate| u64::from(rate.requests)), u64::from(u32::MAX)),
            ("rate_limit.burst", self.rate.and_then(|rate| rate.burst).map_or(1, u64::from), u64::from(u32::MAX)),
        ];
        if let Some((field, found, most)) = numbers.into_iter().find(|(_, number, most)| !(1..=*most).contains(number)) {
            return wrong(field, format!("is {found}, expected 1 to {most}"));
        }
        if let Some((field, secret)) = self.secret() {
            check_name(secret).or_else(|message| wrong(field, message))?;
        }
        Route::new(self, None).map(drop)
    }

    /// The field that names its secret, and the name.
    pub(crate) fn secret(&self) -> Option<(&'static str, &str)> {
        self.auth.as_ref().map(|auth| match auth {
            Auth::Bearer { secret } => ("auth.bearer_secret", secret.as_str()),
            Auth::ApiKey { secret, .. } => ("auth.api_key_secret", secret.as_str()),
        })
    }

    /// Where its requests go, with the credential in them.
    pub(crate) fn route(&self, secret: Option<&Secret>) -> Result<Route, Error> {
        Route::new(self, secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Link)) -> String {
        let mut link = Link::new("llm", "https://api.example.com/v1");
        assert!(link.check().is_ok());
        change(&mut link);
        link.check().unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        assert!(refused(|link| link.name = "a b".into()).contains("name must have"));
        assert_eq!(refused(|link| link.timeout = Duration::ZERO), "service link \"llm\": timeout_secs is 0ns, expected 1ms to 1h");
        assert!(refused(|link| link.retry.max_attempts = 0).contains("retry_policy.max_attempts is 0, expected 1 to 20"));
        assert!(refused(|link| link.retry.initial_delay = Duration::from_secs(11)).contains("initial_delay is longer than max_delay"));
        assert!(refused(|link| link.circuit.failures = 0).contains("circuit_breaker.failures"));
        assert!(refused(|link| link.max_concurrent = 0).contains("max_concurrent"));
        assert!(refused(|link| link.max_response = 0).contains("max_response"));
        let rate = |requests, burst| Some(Rate { requests, per: Duration::from_secs(1), burst });
        assert!(refused(|link| link.rate = rate(0, None)).contains("rate_limit.requests"));
        assert!(refused(|link| link.rate = rate(1, Some(0))).contains("rate_limit.burst"));
        assert!(refused(|link| link.auth = Some(Auth::Bearer { secret: "../x".into() })).contains("auth.bearer_secret must name"));
        let key = |header: &str| Some(Auth::ApiKey { header: header.into(), secret: "x".into() });
        assert!(refused(|link| link.auth = key("a b")).contains("auth.api_key_header"));
        assert!(refused(|link| link.auth = key("Host")).contains("auth.api_key_header"));
        assert!(refused(|link| link.headers = [("x".into(), "a\nb".into())].into()).contains("headers"));
        assert!(refused(|link| link.headers = [("Content-Type".into(), "x".into())].into()).contains("headers"));
        assert!(refused(|link| link.allowed_methods = Some(vec!["FETCH".into()])).contains("allowed_methods has \"FETCH\""));
        assert!(refused(|link| link.allowed_methods = Some(vec![])).contains("allowed_methods is empty"));
        assert!(refused(|link| link.allowed_paths = Some(vec!["v1".into()])).contains("allowed_paths has \"v1\""));
        assert!(refused(|link| link.allowed_paths = Some(vec![])).contains("allowed_paths is empty"));
        for bad in ["", "api.example.com", "ftp://x", "https://user:pw@x", "https://x?q", "https://x/#f", "https://x/a/../b", "https://"] {
            assert!(refused(|link| link.base_url = bad.into()).contains("base_url"), "{bad}");
        }
    }
}
