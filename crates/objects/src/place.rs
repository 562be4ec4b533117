//! Where a bucket is, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

use plexspaces_types::{Code, Failure};

/// A bucket of an object store. Credentials are none of it: they come from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `s3://bucket/prefix`
    pub url: String,
    /// Where the store is, if not where Amazon is: `https://host:port`, or `http://` for a closed network.
    pub endpoint: Option<String>,
    /// The region; that of the environment, else `us-east-1`.
    pub region: Option<String>,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long the store may take to answer one request, and for each piece of an answer.
    pub timeout: Duration,
}

/// What a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "there is nobody to ask"))]
pub(crate) struct Bucket<'a> {
    pub(crate) name: &'a str,
    /// Before all keys; without a `/` at either end.
    pub(crate) prefix: &'a str,
}

impl Place {
    /// Fails where it cannot be a place.
    pub fn check(&self) -> Result<(), Failure> {
        self.bucket().map(drop)
    }

    /// What its URL means, and whether its endpoint is one.
    pub(crate) fn bucket(&self) -> Result<Bucket<'_>, Failure> {
        if !cfg!(feature = "s3") {
            return Err(wrong("blobs.url", "this program was built without the feature `s3`"));
        }
        if let Some(endpoint) = &self.endpoint {
            let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', '?', '#']) && host.is_ascii();
            if !host.is_some_and(|host| is_host(host.trim_end_matches('/'))) {
                return Err(wrong("blobs.endpoint", "expected https://host:port or http://host:port and nothing more"));
            }
        }
        let expected = "expected s3://bucket or s3://bucket/prefix; credentials come from the environment";
        let rest = self.url.strip_prefix("s3://").ok_or_else(|| wrong("blobs.url", expected))?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if !(3..=63).contains(&name.len()) || !name.bytes().all(is_name) {
            return Err(wrong("blobs.url", expected));
        }
        let prefix = prefix.trim_matches('/');
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !prefix.is_empty() && !prefix.split('/').all(|part| is_part(part) && part != "." && part != "..") {
            let message = "the parts of the prefix in s3://bucket/prefix are letters, digits, '.', '_' and '-'";
            return Err(wrong("blobs.url", message));
        }
        Ok(Bucket { name, prefix })
    }
}

/// The value is not shown: who writes credentials where they do not belong should not find them in a log.
pub(crate) fn wrong(key: &str, message: &str) -> Failure {
    Failure::new(Code::InvalidConfig, format!("{key} cannot be used: {message}"))
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use super::*;

    fn place(url: &str, endpoint: Option<&str>) -> Place {
        Place { url: url.to_owned(), endpoint: endpoint.map(str::to_owned), region: None, ca_file: None, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        for (url, name, prefix) in
            [("s3://abc", "abc", ""), ("s3://abc/", "abc", ""), ("s3://a.b-c/x/Y_1/", "a.b-c", "x/Y_1"), ("s3://abc//x", "abc", "x")]
        {
            assert_eq!(place(url, Some("http://127.0.0.1:9000/")).bucket(), Ok(Bucket { name, prefix }), "{url}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_and_not_repeated() {
        for url in [
            "abc",
            "http://abc",
            "s3://",
            "s3://ab",
            "s3://key:s3cret@abc",
            "s3://Abc",
            "s3://abc/x//y",
            "s3://abc/../y",
            "s3://abc/s3cret?",
        ] {
            let failure = place(url, None).bucket().unwrap_err();
            assert!(failure.message.starts_with("blobs.url") && !failure.message.contains("cret"), "{url}: {}", failure.message);
        }
        for endpoint in ["abc", "ftp://abc", "http://", "http://key:s3cret@abc", "https://abc/x"] {
            let failure = place("s3://abc", Some(endpoint)).bucket().unwrap_err();
            assert!(failure.message.starts_with("blobs.endpoint") && !failure.message.contains("cret"), "{endpoint}");
        }
    }
}
