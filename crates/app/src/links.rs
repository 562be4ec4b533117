//! `[[service_links]]`: where an application's actors may send HTTP requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexspaces_actor::Outbound;
use plexspaces_outbound::{Auth, Backoff, Client, Link, Owner, Rate};
use plexspaces_types::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::strict::{ConfigError, Step, Wrong};
use crate::units::{ByteSize, Duration};

/// One entry of `[[service_links]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceLink {
    /// What actors call it.
    pub name: String,
    /// `http://` or `https://`, a host, possibly a port and a path. What an actor asks for is below it.
    pub base_url: String,
    /// How long one attempt may take, from the wait for a connection to the end of the body; 30 unless given.
    pub timeout_secs: Option<f64>,
    /// Whether and when a request is sent again.
    #[serde(default)]
    pub retry_policy: RetryPolicy,
    /// Sent with each request; actors cannot change them.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The credential, which actors never see.
    pub auth: Option<LinkAuth>,
    /// When requests are kept away from a service that fails.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// The methods that may be used; all unless given.
    pub allowed_methods: Option<Vec<String>>,
    /// The paths that may be asked for: `/v1/chat` itself, `/v1/*` everything below; all unless given.
    pub allowed_paths: Option<Vec<String>>,
    /// Requests under way at the same time; more wait. 64 unless given.
    pub max_concurrent: Option<u32>,
    /// How many requests there may be in a time; more are refused. No limit unless given.
    pub rate_limit: Option<RateLimit>,
    /// The largest body of a response; 16MiB unless given. The actor's limit of payloads holds besides.
    pub max_response: Option<ByteSize>,
}

/// `retry_policy` of a service link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// All attempts together; 3 unless given.
    pub max_attempts: Option<u32>,
    /// How the waits between attempts grow.
    #[serde(default)]
    pub backoff: LinkBackoff,
    /// The first wait; 200ms unless given.
    pub initial_delay: Option<Duration>,
    /// The longest wait; 10s unless given.
    pub max_delay: Option<Duration>,
    /// Sends requests again though the service may apply them twice: those with POST and PATCH that carry no idempotency key of the actor.
    #[serde(default, rename = "unsafe")]
    pub repeat_unsafe: bool,
}

/// How waits grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkBackoff {
    /// Each is twice as long as the one before.
    #[default]
    Exponential,
    /// All are as long as the first.
    Constant,
    /// There is none.
    None,
}

/// `auth` of a service link: `bearer_secret`, or `api_key_header` with `api_key_secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkAuth {
    /// The node's secret that is sent as `Authorization: Bearer`.
    pub bearer_secret: Option<String>,
    /// The header that carries `api_key_secret`.
    pub api_key_header: Option<String>,
    /// The node's secret that is sent in `api_key_header`.
    pub api_key_secret: Option<String>,
}

/// `circuit_breaker` of a service link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Failures in a row that open it: no connection, no response in time, a status of 500 and above. 5 unless given.
    pub failures: Option<u32>,
    /// How long requests are refused then; afterwards one is tried. 30s unless given.
    pub open_for: Option<Duration>,
}

/// `rate_limit` of a service link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests, each attempt counted.
    pub requests: u32,
    /// In which time; 1s unless given.
    pub per: Option<Duration>,
    /// How many of them at once, after a time without any; `requests` unless given.
    pub burst: Option<u32>,
}

impl ServiceLink {
    fn link(&self) -> Result<Link, ConfigError> {
        let usual = Link::new(&self.name, &self.base_url);
        let wrong =
            |field: &str, message: &str| ConfigError::new("app-config.toml", format!("service link {:?}: {field} {message}", self.name));
        let timeout = match self.timeout_secs {
            None => usual.timeout,
            Some(seconds) => std::time::Duration::try_from_secs_f64(seconds)
                .map_err(|_| wrong("timeout_secs", &format!("is {seconds}, expected a number of seconds")))?,
        };
        let auth = match &self.auth {
            None => None,
            Some(LinkAuth { bearer_secret: Some(secret), api_key_header: None, api_key_secret: None }) => {
                Some(Auth::Bearer { secret: secret.clone() })
            }
            Some(LinkAuth { bearer_secret: None, api_key_header: Some(header), api_key_secret: Some(secret) }) => {
                Some(Auth::ApiKey { header: header.clone(), secret: secret.clone() })
            }
            Some(_) => return Err(wrong("auth", "has to be either bearer_secret, or api_key_header with api_key_secret")),
        };
        let retry = &self.retry_policy;
        Ok(Link {
            timeout,
            retry: plexspaces_outbound::Policy {
                max_attempts: retry.max_attempts.unwrap_or(usual.retry.max_attempts),
                backoff: match retry.backoff {
                    LinkBackoff::Exponential => Backoff::Exponential,
                    LinkBackoff::Constant => Backoff::Constant,
                    LinkBackoff::None => Backoff::None,
                },
                initial_delay: retry.initial_delay.map_or(usual.retry.initial_delay, |delay| delay.0),
                max_delay: retry.max_delay.map_or(usual.retry.max_delay, |delay| delay.0),
                repeat_unsafe: retry.repeat_unsafe,
            },
            headers: self.headers.clone(),
            auth,
            circuit: plexspaces_outbound::CircuitConfig {
                failures: self.circuit_breaker.failures.unwrap_or(usual.circuit.failures),
                open_for: self.circuit_breaker.open_for.map_or(usual.circuit.open_for, |time| time.0),
            },
            allowed_methods: self.allowed_methods.clone(),
            allowed_paths: self.allowed_paths.clone(),
            max_concurrent: self.max_concurrent.map_or(usual.max_concurrent, |requests| requests as usize),
            rate: self.rate_limit.map(|rate| Rate {
                requests: rate.requests,
                per: rate.per.map_or(std::time::Duration::from_secs(1), |per| per.0),
                burst: rate.burst,
            }),
            max_response: self.max_response.map_or(usual.max_response, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
            ..usual
        })
    }
}

/// Whether the links can be used on some node: their secrets are not looked for.
pub(crate) fn check(links: &[ServiceLink]) -> Result<(), Wrong> {
    let mut names = BTreeSet::new();
    for (index, link) in links.iter().enumerate() {
        let here = |message: String| Wrong::new(message).within(Step::Item(index)).within(Step::Key("service_links"));
        let usable = link.link().map_err(|error| here(error.message))?;
        usable.check().map_err(|error| here(error.to_string()))?;
        if !names.insert(&link.name) {
            return Err(here(format!("service link {:?}: name is given to two service links", link.name)));
        }
    }
    Ok(())
}

/// The links at work, with the node's secrets.
pub(crate) fn open(links: &[ServiceLink], client: &Client, owner: Owner<'_>) -> Result<Option<Arc<dyn Outbound>>, Failure> {
    if links.is_empty() {
        return Ok(None);
    }
    let links = links.iter().map(ServiceLink::link).collect::<Result<Vec<_>, _>>().map_err(crate::plan::config_failure)?;
    Ok(Some(Arc::new(client.open(owner, &links)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AppConfig;

    fn error(text: &str) -> String {
        AppConfig::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_of_a_link_reaches_it() {
        let text = r#"
            [[service_links]]
            name = "llm"
            base_url = "https://api.example.com/v1"
            timeout_secs = 12
            retry_policy = { max_attempts = 4, backoff = "constant", initial_delay = "1s", max_delay = "2s", unsafe = true }
            headers = { x-version = "2" }
            auth = { api_key_header = "x-api-key", api_key_secret = "llm-key" }
            circuit_breaker = { failures = 7, open_for = "5s" }
            allowed_methods = ["POST"]
            allowed_paths = ["/chat"]
            max_concurrent = 3
            rate_limit = { requests = 10, per = "1m", burst = 2 }
            max_response = "1MiB"
        "#;
        let config = AppConfig::parse(text).unwrap();
        let seconds = std::time::Duration::from_secs;
        let expected = Link {
            timeout: seconds(12),
            retry: plexspaces_outbound::Policy {
                max_attempts: 4,
                backoff: Backoff::Constant,
                initial_delay: seconds(1),
                max_delay: seconds(2),
                repeat_unsafe: true,
            },
            headers: [("x-version".to_owned(), "2".to_owned())].into(),
            auth: Some(Auth::ApiKey { header: "x-api-key".into(), secret: "llm-key".into() }),
            circuit: plexspaces_outbound::CircuitConfig { failures: 7, open_for: seconds(5) },
            allowed_methods: Some(vec!["POST".into()]),
            allowed_paths: Some(vec!["/chat".into()]),
            max_concurrent: 3,
            rate: Some(Rate { requests: 10, per: seconds(60), burst: Some(2) }),
            max_response: 1 << 20,
            ..Link::new("llm", "https://api.example.com/v1")
        };
        assert_eq!(config.service_links[0].link().unwrap(), expected);
    }

    #[test]
    fn wrong_links_are_refused_with_the_field() {
        let link = |rest: &str| format!("[[service_links]]\nname = \"llm\"\nbase_url = \"http://x\"\n{rest}\n");
        assert!(AppConfig::parse(&link("")).is_ok());
        assert!(error(&link("base_ulr = \"x\"")).contains("line 4: unknown field `base_ulr`"), "{}", error(&link("base_ulr = \"x\"")));
        assert!(error("[[service_links]]\nname = \"llm\"\n").contains("missing field `base_url`"));
        let nested = error(&link("retry_policy = { attempts = 3 }"));
        assert!(nested.contains("line 4: unknown field `attempts`") && nested.ends_with("did you mean `max_attempts`?"), "{nested}");
        assert!(error(&link("retry_policy = { backoff = \"linear\" }")).contains("unknown variant `linear`"));
        assert!(error(&link("timeout_secs = -1")).contains("service link \"llm\": timeout_secs is -1"));
        assert!(error(&link("timeout_secs = 0")).contains("timeout_secs is 0ns, expected 1ms to 1h"));
        assert!(error(&link("circuit_breaker = { open_for = 30 }")).contains("has no unit"));
        assert!(error(&link("auth = { bearer_secret = \"a\", api_key_header = \"b\" }")).contains("auth has to be either"));
        assert!(error(&link("auth = { api_key_header = \"b\" }")).contains("auth has to be either"));
        assert!(error(&link("allowed_paths = [\"v1\"]")).contains("allowed_paths has \"v1\""));
        assert!(error(&format!("{0}{0}", link(""))).contains("name is given to two"));
    }
}
