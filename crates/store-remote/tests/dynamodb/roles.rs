//! Keys of a role, which are told to the container or to the machine and end after a while.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use plexspaces_store::conformance::{partition, put};
use plexspaces_store::{Error, Store as _};
use plexspaces_store_remote::DynamoDb;
use plexspaces_store_remote::dynamodb::{Config, Credentials, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::Table;

/// Who tells of roles.
struct Teller {
    url: String,
    /// The heads of requests.
    heard: Arc<Mutex<Vec<String>>>,
    silent: Arc<AtomicBool>,
}

impl Teller {
    /// Tells of keys that are good for so long.
    async fn start(good_for: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heard, silent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, refuses) = (heard.clone(), silent.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"\r\n\r\n") && near.read_buf(&mut bytes).await.unwrap() > 0 {}
                let head = String::from_utf8(bytes).unwrap().to_lowercase();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().push(head);
                let until = humantime::format_rfc3339_seconds(SystemTime::now() + good_for);
                let body = match path.as_str() {
                    "/latest/api/token" => "t0ken".to_owned(),
                    "/latest/meta-data/iam/security-credentials/" => "role\n".to_owned(),
                    _ => format!(r#"{{"AccessKeyId":"plex","SecretAccessKey":"s3cret","Token":"session","Expiration":"{until}"}}"#),
                };
                let status = if refuses.load(Ordering::SeqCst) { "500 Internal Server Error" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                near.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, heard, silent }
    }

    fn heard(&self) -> usize {
        self.heard.lock().len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_role_are_asked_for_before_they_end() {
    let (table, here) = (Table::new(), partition("here"));
    let open = |credentials| DynamoDb::open(&Config { credentials, ..table.config() }).unwrap();

    let teller = Teller::start(Duration::from_secs(3600)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "0wn\n").unwrap();
    for token in [Token::Own("0wn".to_owned()), Token::File(file)] {
        let store = open(Credentials::container(format!("{}/v2/role", teller.url), Some(token)));
        put(&store, &here, "k", "v").await.unwrap();
        put(&store, &here, "k", "w").await.unwrap();
        let heard = std::mem::take(&mut *teller.heard.lock());
        assert!(heard.len() == 1 && heard[0].starts_with("get /v2/role ") && heard[0].contains("authorization: 0wn"), "{heard:?}");
    }
    let store = open(Credentials::machine(teller.url.clone()));
    put(&store, &here, "k", "v").await.unwrap();
    put(&store, &here, "k", "w").await.unwrap();
    let heard = std::mem::take(&mut *teller.heard.lock());
    assert!(heard.len() == 3 && heard[0].starts_with("put /latest/api/token "), "{heard:?}");
    assert!(heard[2].starts_with("get /latest/meta-data/iam/security-credentials/role ") && heard[2].contains(": t0ken"), "{heard:?}");

    // Those that end soon are asked for again, and used while nobody tells of others.
    let teller = Teller::start(Duration::from_secs(60)).await;
    let store = open(Credentials::container(teller.url.clone(), None));
    put(&store, &here, "k", "v").await.unwrap();
    let before = teller.heard();
    assert!(before > 1);
    teller.silent.store(true, Ordering::SeqCst);
    for n in 0..5 {
        put(&store, &here, "k", n.to_string()).await.unwrap();
    }
    assert_eq!(teller.heard(), before + 1);

    // There are none that are good.
    for url in [teller.url.as_str(), "http://127.0.0.1:1"] {
        let error = open(Credentials::machine(url)).get(&here, b"k").await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(text) if text.contains("no keys of a role")), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
