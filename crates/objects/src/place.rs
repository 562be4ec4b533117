//! Where a bucket is, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

use plexspaces_types::{Code, Failure};

/// A bucket of an object store. Credentials are none of it: they come from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`
    pub url: String,
    /// Where the store is, if not where its maker has it: `https://host:port`, or `http://` for a closed network. For Azure with the name of
    /// the account as its path, where that is not part of the host.
    pub endpoint: Option<String>,
    /// The region of S3; that of the environment, else `us-east-1`.
    pub region: Option<String>,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long the store may take to answer one request, and for each piece of an answer.
    pub timeout: Duration,
}

/// What keeps buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Kind {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// How it is called in messages, and the feature with which it is built.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Gcs => "gs://",
            Self::Azure => "az://",
        }
    }

    fn is_built(self) -> bool {
        match self {
            Self::S3 => cfg!(feature = "s3"),
            Self::Gcs => cfg!(feature = "gcs"),
            Self::Azure => cfg!(feature = "azure"),
        }
    }

    /// Whether a bucket can have this name.
    fn can_have(self, name: &str) -> bool {
        let is_inner = |byte: u8| match self {
            Self::S3 => matches!(byte, b'.' | b'-'),
            Self::Gcs => matches!(byte, b'.' | b'-' | b'_'),
            Self::Azure => byte == b'-',
        };
        // Names with dots may be longer where they are those of hosts.
        let longest = if self == Self::Gcs && name.contains('.') { 222 } else { 63 };
        let is_outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, last) = (name.as_bytes().first(), name.as_bytes().last());
        (3..=longest).contains(&name.len())
            && name.bytes().all(|byte| is_outer(byte) || is_inner(byte))
            && [first, last].into_iter().flatten().all(|byte| is_outer(*byte))
    }
}

/// What a URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "there is nobody to ask"))]
pub(crate) struct Bucket<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    /// Before all keys; without a `/` at either end.
    pub(crate) prefix: &'a str,
}

impl Place {
    /// Fails where it cannot be a place.
    pub fn check(&self) -> Result<(), Failure> {
        self.bucket().map(drop)
    }

    /// What its URL means, and whether the rest fits it.
    pub(crate) fn bucket(&self) -> Result<Bucket<'_>, Failure> {
        let expected = "expected s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; credentials come from the environment";
        let found = Kind::ALL.into_iter().find_map(|kind| Some((kind, self.url.strip_prefix(kind.scheme())?)));
        let (kind, rest) = found.ok_or_else(|| wrong("blobs.url", expected))?;
        if !kind.is_built() {
            return Err(wrong("blobs.url", &format!("this program was built without the feature `{}`", kind.name())));
        }
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(kind, endpoint)?;
        }
        if self.region.is_some() && kind != Kind::S3 {
            return Err(wrong("blobs.region", &format!("it is for s3://, not for {}", kind.scheme())));
        }
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !kind.can_have(name) {
            return Err(wrong("blobs.url", expected));
        }
        let prefix = prefix.trim_matches('/');
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !prefix.is_empty() && !prefix.split('/').all(|part| is_part(part) && part != "." && part != "..") {
            let message = format!("the parts of the prefix in {}bucket/prefix are letters, digits, '.', '_' and '-'", kind.scheme());
            return Err(wrong("blobs.url", &message));
        }
        Ok(Bucket { kind, name, prefix })
    }

    /// Its endpoint without a `/` at the end.
    #[cfg(feature = "remote")]
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'))
    }

    /// Whether requests go out unencrypted.
    #[cfg(feature = "remote")]
    pub(crate) fn is_plain(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

fn check_endpoint(kind: Kind, endpoint: &str) -> Result<(), Failure> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let rest = rest.map(|rest| rest.trim_end_matches('/'));
    let (host, path) = rest.map_or(("", ""), |rest| rest.split_once('/').unwrap_or((rest, "")));
    let is_host = !host.is_empty() && host.is_ascii() && !host.contains(['@', '?', '#', ' ']);
    let is_account = |path: &str| path.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_host && (path.is_empty() || (kind == Kind::Azure && is_account(path))) {
        return Ok(());
    }
    Err(wrong(
        "blobs.endpoint",
        match kind {
            Kind::Azure => "expected https://host:port, or https://host:port/account where the account is no part of the host",
            Kind::S3 | Kind::Gcs => "expected https://host:port or http://host:port and nothing more",
        },
    ))
}

/// The value is not shown: who writes credentials where they do not belong should not find them in a log.
pub(crate) fn wrong(key: &str, message: &str) -> Failure {
    Failure::new(Code::InvalidConfig, format!("{key} cannot be used: {message}"))
}

#[cfg(all(test, feature = "s3", feature = "gcs", feature = "azure"))]
mod tests {
    use super::*;

    fn place(url: &str, endpoint: Option<&str>) -> Place {
        Place { url: url.to_owned(), endpoint: endpoint.map(str::to_owned), region: None, ca_file: None, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        for (url, kind, name, prefix) in [
            ("s3://abc", Kind::S3, "abc", ""),
            ("s3://abc/", Kind::S3, "abc", ""),
            ("s3://a.b-c/x/Y_1/", Kind::S3, "a.b-c", "x/Y_1"),
            ("s3://abc//x", Kind::S3, "abc", "x"),
            ("gs://a_b.example/x", Kind::Gcs, "a_b.example", "x"),
            ("az://a-b/x", Kind::Azure, "a-b", "x"),
        ] {
            assert_eq!(place(url, Some("http://127.0.0.1:9000/")).bucket(), Ok(Bucket { kind, name, prefix }), "{url}");
        }
        place("az://abc", Some("http://127.0.0.1:9000/account1/")).check().unwrap();
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
            "s3://abc-",
            "s3://a_bc",
            "s3://abc/x//y",
            "s3://abc/../y",
            "s3://abc/s3cret?",
            "gcs://abc",
            "gs://-abc",
            "az://a.bc",
            "az://container@account.blob.core.windows.net",
        ] {
            let failure = place(url, None).bucket().unwrap_err();
            assert!(failure.message.starts_with("blobs.url") && !failure.message.contains("cret"), "{url}: {}", failure.message);
        }
        for endpoint in ["abc", "ftp://abc", "http://", "http://key:s3cret@abc", "https://abc/x"] {
            for url in ["s3://abc", "gs://abc"] {
                let failure = place(url, Some(endpoint)).bucket().unwrap_err();
                assert!(failure.message.starts_with("blobs.endpoint") && !failure.message.contains("cret"), "{endpoint}");
            }
        }
        for endpoint in ["https://abc/X", "https://abc/x/y", "https://abc/?sig=s3cret"] {
            let failure = place("az://abc", Some(endpoint)).bucket().unwrap_err();
            assert!(failure.message.starts_with("blobs.endpoint") && !failure.message.contains("cret"), "{endpoint}");
        }
        let failure = Place { region: Some("r".into()), ..place("gs://abc", None) }.bucket().unwrap_err();
        assert_eq!(failure.message, "blobs.region cannot be used: it is for s3://, not for gs://");
    }
}
