//! What only buckets can do: to be away, slow, cut off or somebody else's, and to be read by links of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use plexspaces_actor::Objects as _;
use plexspaces_objects::{Kept, Place};
use plexspaces_testkit::servers::Bucket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::node::{Node, buckets, bytes, ctx, http_get, large, place, until, whole};

/// Does the same with each bucket at once, in tasks of their own: a server that is waited for holds nobody else up.
async fn with_each<F: Future<Output = ()> + Send + 'static>(what: impl Fn(Node) -> F) {
    let tasks: Vec<_> = buckets().map(Node::in_bucket).map(|node| tokio::spawn(what(node))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_that_is_away_is_unavailable_in_time_and_goes_on_by_itself() {
    with_each(goes_and_comes).await;
}

async fn goes_and_comes(mut node: Node) {
    node.put("a", "text").await;
    for held in [false, true] {
        let server = node.server();
        if held {
            server.hold(true).unwrap()
        } else {
            server.kill().unwrap()
        }
        let impatient = Place { timeout: Duration::from_millis(300), ..place(server) };
        let impatient = Kept::at(&impatient, server.environment().unwrap()).unwrap();
        let silent = format!("the store of blobs ({}) does not answer", server.name());
        let began = Instant::now();
        for size in [4, 18_000_000] {
            let failure = impatient.write("default/default/b", "", whole(vec![7; size]), 20 << 20).await.unwrap_err();
            assert_eq!((failure.code.name(), failure.message.as_str()), ("unavailable", silent.as_str()));
        }
        assert_eq!(impatient.read("default/default/b", 0..1, None).await.err().unwrap().code.name(), "unavailable");
        tokio::time::timeout(Duration::from_secs(30), impatient.away()).await.unwrap();
        assert_eq!(impatient.check().await.unwrap_err().code.name(), "unavailable");
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
        let server = node.server();
        if held {
            server.hold(false).unwrap()
        } else {
            server.again().unwrap()
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(failure) = node.kept.check().await {
            assert!(Instant::now() < deadline, "{}", failure.message);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"text");
        node.put("b", large()).await;
        assert!(node.get("b", 0, None).await.unwrap() == large());
        node.runtime.delete_blob(&ctx(), "b", None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_that_goes_in_the_middle_of_a_blob_keeps_the_old_one_and_no_parts() {
    with_each(goes_in_the_middle).await;
}

async fn goes_in_the_middle(mut node: Node) {
    node.put("a", "old").await;
    let (going, gone) = oneshot::channel::<()>();
    let (sending, sent) = oneshot::channel::<()>();
    // The second half comes when the server has gone.
    let first = stream::once(async { Ok(Bytes::from(vec![7; 9 << 20])) });
    let second = stream::once(async move {
        sending.send(()).unwrap();
        let _ = gone.await;
        Ok(Bytes::from(vec![7; 9 << 20]))
    });
    let runtime = node.runtime.clone();
    let writing = tokio::spawn(async move { runtime.put_blob(&ctx(), "a", "", first.chain(second).boxed(), None).await });
    sent.await.unwrap();
    node.server().kill().unwrap();
    // Nobody waits for it where the first half has failed already.
    let _ = going.send(());
    let failure = writing.await.unwrap().unwrap_err();
    assert_eq!(failure.code.name(), "unavailable", "{}", failure.message);
    node.server().again().unwrap();
    assert_eq!(node.get("a", 0, None).await.unwrap(), b"old");
    until(&format!("{} has one object and no parts", node.kept.name()), || node.backend.left() == (1, 0)).await;
}

#[tokio::test]
async fn wrong_credentials_and_a_wrong_bucket_are_told_and_not_shown() {
    for server in buckets() {
        let (name, noun) = (server.name(), if server.name() == "azure" { "container" } else { "bucket" });
        let wrong = || Kept::at(&place(&server), server.others_environment().unwrap()).unwrap();
        let failure = wrong().check().await.unwrap_err();
        let expected = format!("the store of blobs ({name}) refuses the credentials of the node");
        assert_eq!((failure.code.name(), failure.message), ("storage_failed", expected));
        let elsewhere = Place { url: format!("{}://another", server.scheme()), ..place(&server) };
        let elsewhere = || Kept::at(&elsewhere, server.environment().unwrap()).unwrap();
        let failure = elsewhere().check().await.unwrap_err();
        assert_eq!(failure.message, format!("the store of blobs ({name}) has no such {noun}"));
        for (kept, expected) in [(wrong(), "refuses".to_owned()), (elsewhere(), format!("no such {noun}"))] {
            for size in [4, 6_000_000] {
                let failure = kept.write("default/default/a", "", whole(vec![7; size]), 10 << 20).await.unwrap_err();
                assert!(failure.code.name() == "storage_failed" && failure.message.contains(&expected), "{name}: {}", failure.message);
            }
        }
        assert!(elsewhere().remove("default/default/a").await.is_err(), "{name}: what cannot be looked for is not removed");
    }
}

/// Encrypts the way to a server, with a certificate that it writes to a file: where the server is then.
async fn encrypted(endpoint: &str, ca_file: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(ca_file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (address, path) = endpoint.strip_prefix("http://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))).unwrap();
    let address = address.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(&address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    format!("https://localhost:{port}/{path}")
}

#[tokio::test]
async fn an_encrypted_store_must_have_a_certificate_that_the_node_trusts() {
    let directory = tempfile::tempdir().unwrap();
    for server in buckets() {
        let [ca_file, other] = ["ca.pem", "other.pem"].map(|name| directory.path().join(name));
        let endpoint = encrypted(&server.endpoint(), &ca_file).await;
        encrypted(&server.endpoint(), &other).await;
        let kept = |ca_file: &Path| {
            let place = Place { endpoint: Some(endpoint.clone()), ca_file: Some(ca_file.to_owned()), ..place(&server) };
            Kept::at(&place, server.environment().unwrap()).unwrap()
        };
        kept(&ca_file).check().await.unwrap();
        kept(&ca_file).write("t/n/a", "", whole("text"), 10).await.unwrap();
        assert_eq!(bytes(kept(&ca_file).read("t/n/a", 1..3, None).await.unwrap()).await.unwrap(), b"ex");
        let failure = kept(&other).check().await.unwrap_err();
        let expected =
            format!("the store of blobs ({}) cannot be reached: its certificate is not trusted, see blobs.ca_file", server.name());
        assert_eq!((failure.code.name(), failure.message), ("unavailable", expected));
    }
}

/// What the environment says does not turn encryption off.
#[tokio::test]
async fn a_request_that_is_not_encrypted_is_sent_only_where_the_configuration_says_so() {
    for server in buckets() {
        let endpoint = server.endpoint();
        let endpoint = endpoint.as_str();
        let more = match server {
            Bucket::S3(_) => [("AWS_ALLOW_HTTP", "true"), ("AWS_ENDPOINT_URL", endpoint)],
            Bucket::Gcs(_) => [("GOOGLE_ALLOW_HTTP", "true"), ("GOOGLE_BASE_URL", endpoint)],
            Bucket::Azure(_) => [("AZURE_ALLOW_HTTP", "true"), ("AZURE_STORAGE_ENDPOINT", endpoint)],
        };
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = server.environment().unwrap().into_iter().chain(more);
        let kept = Kept::at(&Place { endpoint: None, ..place(&server) }, environment).unwrap();
        assert_eq!(kept.check().await.unwrap_err().code.name(), "unavailable");
        assert!(kept.write("a", "", whole("text"), 10).await.is_err());
        assert_eq!(server.count().unwrap(), (0, 0));
    }
}

#[cfg(feature = "gcs")]
#[tokio::test]
async fn a_link_to_google_is_signed_for_googles_address_and_for_no_other() {
    const GOOGLE: &str = "storage.googleapis.com";
    let server = Bucket::gcs().unwrap();
    let kept = |endpoint| Kept::at(&Place { endpoint, ..place(&server) }, server.environment().unwrap()).unwrap();
    kept(Some(server.endpoint())).write("t/n/a", "text/plain", whole("text"), 10).await.unwrap();
    assert_eq!(kept(Some(server.endpoint())).url("t/n/a", "text/plain", Duration::from_mins(1)).await.unwrap(), None);
    let link = async |life| kept(None).url("t/n/a", "text/html; charset=utf-8", life).await.unwrap().unwrap();
    let url = link(Duration::from_mins(1)).await;
    assert!(url.starts_with(&format!("https://{GOOGLE}/blobs/a/prefix/t/n/a?")), "{url}");
    let here = |url: &str| url.replace(&format!("https://{GOOGLE}"), &server.endpoint());
    let (status, content_type, body) = http_get(&here(&url), Some(GOOGLE)).await;
    assert_eq!((status, content_type.as_str(), &body[..]), (200, "text/html; charset=utf-8", &b"text"[..]));
    assert_eq!(http_get(&here(&url), None).await.0, 403, "another host");
    for (part, other) in [("X-Goog-Expires=60", "X-Goog-Expires=61"), ("t/n/a", "t/n/b"), ("text%2Fhtml", "text%2Fplain")] {
        let tampered = url.replace(part, other);
        assert!(tampered != url, "{part} is not in {url}");
        assert_eq!(http_get(&here(&tampered), Some(GOOGLE)).await.0, 403, "{other}");
    }
    assert_eq!(http_get(&here(&link(Duration::ZERO).await), Some(GOOGLE)).await.0, 400, "it has expired");
    // Who has no key of its own has links through the node.
    let token = [("GOOGLE_BEARER_TOKEN".to_owned(), "t".to_owned())];
    let kept = Kept::at(&Place { endpoint: None, ..place(&server) }, token).unwrap();
    assert_eq!(kept.url("t/n/a", "", Duration::from_mins(1)).await.unwrap(), None);
}

#[cfg(any(feature = "gcs", feature = "azure"))]
fn refused(url: &str, endpoint: Option<&str>, environment: &[(&str, &str)]) -> Option<plexspaces_types::Failure> {
    let place =
        Place { url: url.to_owned(), endpoint: endpoint.map(str::to_owned), region: None, ca_file: None, timeout: Duration::from_secs(1) };
    Kept::at(&place, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).err()
}

#[cfg(feature = "gcs")]
#[test]
fn a_key_of_google_that_cannot_be_used_is_told_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = directory.path().join(format!("{}.json", name_of(text)));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let account = |kind: &str, key: &str| {
        format!(r#"{{"type": "{kind}", "private_key": "{key}", "private_key_id": "1", "client_email": "a@b", "refresh_token": "s3cret"}}"#)
    };
    let escaped = account("service_account", "-----BEGIN PRIVATE KEY-----\\\\ns3cret\\\\n-----END PRIVATE KEY-----");
    for (name, value, expected) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/s3cret".to_owned(), "the file that it names cannot be read: entity not found"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file("s3cret"), "expected credentials in JSON, found none (line 1, column 1)"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file(r#""s3cret""#), "its type is none that is known"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file(&account("s3cret", "")), "its type is none that is known"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file(&account("external_account", "")), "its type is \"external_account\", expected"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file(&account("authorized_user", "")), "it has no text \"client_id\""),
        ("GOOGLE_APPLICATION_CREDENTIALS", file(&escaped), "its \"private_key\" is no key of RSA in PEM"),
        ("GOOGLE_SERVICE_ACCOUNT", file(r#"{"private_key": "s3cret"}"#), "it has no text \"private_key_id\""),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", r#"{"private_key": ["s3cret"]}"#.to_owned(), "it has no text \"private_key\""),
    ] {
        let failure = refused("gs://abc", None, &[(name, &value)]).unwrap();
        assert_eq!(failure.code.name(), "invalid_config");
        assert!(failure.message.starts_with(&format!("{name} cannot be used: {expected}")), "{}", failure.message);
        assert!(!failure.message.contains("s3cret"), "{}", failure.message);
    }
}

/// What Google's tools have put into the directory of the user is looked at where nothing else is given.
#[cfg(feature = "gcs")]
#[test]
fn what_the_tools_of_google_have_kept_is_used_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("application_default_credentials.json"), r#"{"type": "authorized_user", "client_id": "s3cret"}"#)
        .unwrap();
    let home = ("HOME", home.path().to_str().unwrap());
    let failure = refused("gs://abc", None, &[home]).unwrap();
    let expected = "~/.config/gcloud/application_default_credentials.json cannot be used: it has no text \"client_secret\"";
    assert_eq!((failure.code.name(), failure.message.as_str()), ("invalid_config", expected));
    assert_eq!(refused("gs://abc", None, &[home, ("GOOGLE_BEARER_TOKEN", "t")]), None);
}

/// A name of a file for a text.
#[cfg(feature = "gcs")]
fn name_of(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(feature = "azure")]
#[test]
fn an_account_of_azure_that_cannot_be_used_is_told_and_not_shown() {
    let account = ("AZURE_STORAGE_ACCOUNT", "plexspaces");
    let key = ("AZURE_STORAGE_KEY", "czNjcmV0");
    let connection = ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=plexspaces;AccountKey=s3cret");
    for (endpoint, environment, expected) in [
        (None, &[key][..], "blobs.url cannot be used: the account is not known: set AZURE_STORAGE_ACCOUNT in the environment"),
        (None, &[connection], "blobs.url cannot be used: the account is not known: AZURE_STORAGE_CONNECTION_STRING is not read"),
        (None, &[("AZURE_STORAGE_ACCOUNT", "s3cret/")], "AZURE_STORAGE_ACCOUNT cannot be used: expected 3 to 24"),
        (None, &[account, ("AZURE_STORAGE_KEY", "s3cret!")], "AZURE_STORAGE_KEY cannot be used: it is not in Base64"),
        (None, &[account, key, ("AZURE_STORAGE_USE_EMULATOR", "true")], "AZURE_STORAGE_USE_EMULATOR cannot be used: where an emulator"),
        (Some("http://127.0.0.1:1/other"), &[account, key], "blobs.endpoint cannot be used: its path is not the name of the account"),
    ] {
        let failure = refused("az://abc", endpoint, environment).unwrap();
        assert_eq!(failure.code.name(), "invalid_config");
        assert!(failure.message.starts_with(expected) && !failure.message.contains("cret"), "{}", failure.message);
    }
    assert_eq!(refused("az://abc", Some("http://127.0.0.1:1/plexspaces"), &[account, key]), None);
}

#[cfg(feature = "azure")]
#[tokio::test]
async fn a_link_to_azure_is_signed_with_the_accounts_key_and_with_nothing_else() {
    let url = async |endpoint: Option<&str>, more: &[(&str, &str)]| {
        let pairs = [("AZURE_STORAGE_ACCOUNT", "plexspaces")].into_iter().chain(more.iter().copied());
        let place = Place {
            url: "az://abc/x".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            ca_file: None,
            timeout: Duration::from_secs(1),
        };
        let kept = Kept::at(&place, pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        kept.url("t/n/a", "text/plain", Duration::from_mins(1)).await.unwrap()
    };
    let key = ("AZURE_STORAGE_KEY", "czNjcmV0");
    let link = url(None, &[key]).await.unwrap();
    assert!(link.starts_with("https://plexspaces.blob.core.windows.net/abc/x/t/n/a?"), "{link}");
    assert!(link.contains("sp=r&") || link.ends_with("sp=r"), "{link}");
    assert!(link.contains("sig=") && link.contains("se=") && !link.contains("czNjcmV0"), "{link}");
    // The name that is signed holds the account, which the library finds in the host or in the path.
    assert!(url(Some("https://plexspaces.blob.example"), &[key]).await.is_some());
    assert!(url(Some("https://blobs.example/plexspaces"), &[key]).await.is_some());
    assert_eq!(url(Some("https://blobs.example"), &[key]).await, None);
    assert_eq!(url(None, &[("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=2")]).await, None);
    assert_eq!(url(None, &[("AZURE_STORAGE_TOKEN", "t"), key]).await, None);
}
