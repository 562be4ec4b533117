//! Who asks: access keys of the environment, or those of a role, which end after hours and are asked for anew.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Error;
use crate::client::{Http, innermost};

/// Where a container and a machine are told of their role.
const CONTAINER: &str = "http://169.254.170.2";
const MACHINE: &str = "http://169.254.169.254";
/// How long that may take, and after which time it is tried again where it failed and there are keys that are still good.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(20);
/// How long before their end keys are replaced.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// Bytes of an answer at most.
const ANSWER: usize = 64 << 10;

/// The keys of a user of AWS, or where they are found.
#[derive(Clone)]
pub struct Credentials(Source);

#[derive(Clone)]
enum Source {
    Own(Keys),
    Container { uri: String, token: Option<Token> },
    Machine { endpoint: String },
}

/// What a container is known by to who tells it of its role.
#[derive(Clone)]
pub enum Token {
    /// Itself.
    Own(String),
    /// The file that holds it, which may change.
    File(PathBuf),
}

#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    until: Option<SystemTime>,
}

impl Keys {
    /// Those that do not end.
    pub(crate) fn new(id: impl Into<String>, secret: impl Into<String>, token: Option<String>) -> Self {
        Self { id: id.into(), secret: secret.into(), token, until: None }
    }
}

impl Credentials {
    /// Those with an access key, its secret and possibly a session's token.
    pub fn new(id: impl Into<String>, secret: impl Into<String>, token: Option<String>) -> Self {
        Self(Source::Own(Keys::new(id, secret, token)))
    }

    /// Those of a container's role, which are told at a URI.
    pub fn container(uri: impl Into<String>, token: Option<Token>) -> Self {
        Self(Source::Container { uri: uri.into(), token })
    }

    /// Those of a machine's role, which are told at `http://host`.
    pub fn machine(endpoint: impl Into<String>) -> Self {
        Self(Source::Machine { endpoint: endpoint.into() })
    }

    /// Those that the environment says: `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and, for a session, `AWS_SESSION_TOKEN`; else the
    /// container's, if it says where they are told; else the machine's.
    pub fn from_env() -> Result<Self, Error> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(id) = value("AWS_ACCESS_KEY_ID") {
            let secret = value("AWS_SECRET_ACCESS_KEY").ok_or(Error::NotSet("AWS_SECRET_ACCESS_KEY"))?;
            return Ok(Self::new(id, secret, value("AWS_SESSION_TOKEN")));
        }
        if value("AWS_SECRET_ACCESS_KEY").is_some() {
            return Err(Error::NotSet("AWS_ACCESS_KEY_ID"));
        }
        let own = || value("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Token::Own);
        let token = value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| Token::File(path.into())).or_else(own);
        if let Some(path) = value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return Ok(Self::container(format!("{CONTAINER}{path}"), token));
        }
        if let Some(uri) = value("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            return Ok(Self::container(uri, token));
        }
        if value("AWS_EC2_METADATA_DISABLED").is_some_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
            return Err(Error::NotSet("AWS_ACCESS_KEY_ID"));
        }
        Ok(Self::machine(value("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| MACHINE.to_owned())))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        match &self.0 {
            Source::Own(keys) => shown.field("id", &keys.id),
            Source::Container { .. } => shown.field("of", &"the container's role"),
            Source::Machine { .. } => shown.field("of", &"the machine's role"),
        };
        shown.finish_non_exhaustive()
    }
}

/// Gives the keys that are good at present.
pub(crate) struct Keeper {
    source: Source,
    http: Http,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Option<Keys>,
    /// When they were last asked for in vain.
    failed: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(credentials: &Credentials, http: Http) -> Self {
        Self { source: credentials.0.clone(), http, held: Mutex::default() }
    }

    /// The keys, or why there are none by then.
    pub(crate) async fn keys(&self, deadline: Instant) -> Result<Keys, String> {
        if let Source::Own(keys) = &self.source {
            return Ok(keys.clone());
        }
        let none = |why: String| format!("AWS_ACCESS_KEY_ID is not set, and there are no keys of a role: {why}");
        let late = |_| none("others that ask for them had no answer in time".to_owned());
        let mut held = timeout_at(deadline, self.held.lock()).await.map_err(late)?;
        let now = SystemTime::now();
        let good_for = |keys: &Keys, time: Duration| keys.until.is_none_or(|until| until > now + time);
        let waits = held.failed.is_some_and(|failed| failed.elapsed() < PAUSE);
        if let Some(keys) = &held.keys
            && (good_for(keys, EARLY) || (waits && good_for(keys, Duration::ZERO)))
        {
            return Ok(keys.clone());
        }
        let patience = deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
        match timeout(patience, self.ask()).await.unwrap_or_else(|_| Err(format!("no answer within {patience:?}"))) {
            Ok(keys) => {
                *held = Held { keys: Some(keys.clone()), failed: None };
                Ok(keys)
            }
            Err(why) => {
                held.failed = Some(Instant::now());
                let left = held.keys.as_ref().filter(|keys| good_for(keys, Duration::ZERO));
                left.cloned().ok_or_else(|| none(why))
            }
        }
    }

    async fn ask(&self) -> Result<Keys, String> {
        let answer = match &self.source {
            Source::Own(keys) => return Ok(keys.clone()),
            Source::Container { uri, token } => {
                let token = match token {
                    None => None,
                    Some(Token::Own(token)) => Some(token.clone()),
                    Some(Token::File(path)) => {
                        let read = tokio::fs::read_to_string(path).await;
                        Some(read.map_err(|error| format!("the file of the container's token cannot be read: {error}"))?.trim().to_owned())
                    }
                };
                let header = token.as_deref().map(|token| ("authorization", token));
                self.fetch(Method::GET, uri, "keys", header).await?
            }
            Source::Machine { endpoint } => {
                let endpoint = endpoint.trim_end_matches('/');
                let time = Some(("x-aws-ec2-metadata-token-ttl-seconds", "300"));
                let token = self.fetch(Method::PUT, &format!("{endpoint}/latest/api/token"), "a token", time).await?;
                let header = Some(("x-aws-ec2-metadata-token", text(&token)?));
                let roles = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
                let found = self.fetch(Method::GET, &roles, "the machine's role", header).await?;
                let role = text(&found)?.lines().next().filter(|role| !role.is_empty()).ok_or("the machine has none")?;
                self.fetch(Method::GET, &format!("{roles}{role}"), "keys", header).await?
            }
        };
        // What cannot be read is not told: it may hold a secret.
        read(&answer).ok_or_else(|| "the answer holds no keys".to_owned())
    }

    /// Asks who tells of roles. Whoever has the path of a container's address gets its keys, so that it is not told.
    async fn fetch(&self, method: Method, uri: &str, what: &str, header: Option<(&str, &str)>) -> Result<Bytes, String> {
        let uri: Uri = uri.parse().map_err(|_| format!("{what} cannot be asked for: the address is no URI"))?;
        let place = uri.authority().and_then(|authority| authority.as_str().rsplit('@').next()).unwrap_or_default().to_owned();
        let failed = |why: String| format!("{place} was asked for {what}: {why}");
        let mut request = Request::builder().method(method).uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|_| failed("the token does not fit into a header".to_owned()))?;
        let response = self.http.request(request).await.map_err(|error| failed(innermost(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(failed(format!("status {status}")));
        }
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        Ok(body.map_err(|error| failed(innermost(&*error)))?.to_bytes())
    }
}

fn text(bytes: &Bytes) -> Result<&str, String> {
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| "an answer is no text".to_owned())
}

fn read(answer: &[u8]) -> Option<Keys> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let text = |name: &str| answer.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let until = match text("Expiration") {
        Some(time) => Some(humantime::parse_rfc3339_weak(&time).ok()?),
        None => None,
    };
    Some(Keys { id: text("AccessKeyId")?, secret: text("SecretAccessKey")?, token: text("Token"), until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_role_are_read() {
        let good = r#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"s3cret","Token":"t","Expiration":"2026-11-21T22:00:00Z"}"#;
        let keys = read(good.as_bytes()).unwrap();
        let hour = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_298_400);
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref(), keys.until), ("id", "s3cret", Some("t"), Some(hour)));
        assert!(read(br#"{"AccessKeyId":"id","SecretAccessKey":"s"}"#).is_some_and(|keys| keys.until.is_none()));
        for bad in ["", "[]", r#"{"AccessKeyId":"id"}"#, r#"{"AccessKeyId":"id","SecretAccessKey":"s","Expiration":"soon"}"#] {
            assert!(read(bad.as_bytes()).is_none(), "{bad}");
        }
        for credentials in [Credentials::new("id", "s3cret", Some("s3cret".to_owned())), Credentials::container("http://s3cret", None)] {
            assert!(!format!("{credentials:?}").contains("s3cret"), "{credentials:?}");
        }
    }

    #[test]
    fn fuzz_answers_of_roles() {
        let good = r#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"s3cret","Token":"t","Expiration":"2026-11-21T22:00:00Z"}"#;
        plexspaces_testkit::fuzz!([good], |bytes: &Vec<u8>| {
            if let Some(keys) = read(bytes) {
                assert!(!keys.id.is_empty() && !keys.secret.is_empty());
            }
        });
    }
}
