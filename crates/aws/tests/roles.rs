//! Keys of a role, which are told to the container or to the machine and end after a while.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_aws::{Answer, Client, Config, Credentials, Fault, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Who tells of roles, and is the service that is asked with their keys.
struct Teller {
    url: String,
    /// The heads of requests for keys.
    heard: Arc<Mutex<Vec<String>>>,
    /// The heads of requests to the service.
    signed: Arc<Mutex<Vec<String>>>,
    silent: Arc<AtomicBool>,
}

impl Teller {
    /// Tells of keys that are good for so long.
    async fn start(good_for: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { url, heard: Arc::default(), signed: Arc::default(), silent: Arc::default() };
        let (heard, signed, silent) = (this.heard.clone(), this.signed.clone(), this.silent.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"\r\n\r\n") && near.read_buf(&mut bytes).await.unwrap() > 0 {}
                let head = String::from_utf8(bytes).unwrap().to_lowercase();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let is_service = head.starts_with("post ");
                let log = if is_service { &signed } else { &heard };
                log.lock().push(head);
                let until = humantime::format_rfc3339_seconds(SystemTime::now() + good_for);
                let body = match path.as_str() {
                    "/" if is_service => "{}".to_owned(),
                    "/latest/api/token" => "t0ken".to_owned(),
                    "/latest/meta-data/iam/security-credentials/" => "role\n".to_owned(),
                    _ => format!(r#"{{"AccessKeyId":"plex","SecretAccessKey":"s3cret","Token":"session","Expiration":"{until}"}}"#),
                };
                let is_refused = !is_service && silent.load(Ordering::SeqCst);
                let status = if is_refused { "500 Internal Server Error" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                near.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        this
    }

    /// A client of the service.
    fn client(&self, credentials: &Credentials) -> Client {
        let config = Config {
            service: "dynamodb",
            interface: "DynamoDB_20120810",
            region: "eu-west-1",
            endpoint: Some(&self.url),
            credentials,
            ca_file: None,
            connect_timeout: Duration::from_secs(3),
            answer_bytes: 1024,
        };
        Client::new(&config).unwrap()
    }

    fn heard(&self) -> usize {
        self.heard.lock().len()
    }
}

async fn ask(client: &Client, patience: Duration) -> Result<Answer, Fault> {
    client.post("ListTables", Bytes::new(), patience).await
}

async fn is_answered(client: &Client) {
    assert_eq!(ask(client, Duration::from_secs(10)).await.map(|answer| answer.status), Ok(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_role_are_asked_for_before_they_end() {
    let teller = Teller::start(Duration::from_secs(3600)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "0wn\n").unwrap();
    for token in [Token::Own("0wn".to_owned()), Token::File(file)] {
        let client = teller.client(&Credentials::container(format!("{}/v2/role", teller.url), Some(token)));
        is_answered(&client).await;
        is_answered(&client).await;
        let heard = std::mem::take(&mut *teller.heard.lock());
        assert!(heard.len() == 1 && heard[0].starts_with("get /v2/role ") && heard[0].contains("authorization: 0wn"), "{heard:?}");
    }
    let client = teller.client(&Credentials::machine(teller.url.clone()));
    is_answered(&client).await;
    is_answered(&client).await;
    let heard = std::mem::take(&mut *teller.heard.lock());
    assert!(heard.len() == 3 && heard[0].starts_with("put /latest/api/token "), "{heard:?}");
    assert!(heard[2].starts_with("get /latest/meta-data/iam/security-credentials/role ") && heard[2].contains(": t0ken"), "{heard:?}");
    let signed = std::mem::take(&mut *teller.signed.lock());
    let is_signed = |head: &String| head.contains("credential=plex/") && head.contains("x-amz-security-token: session");
    assert!(signed.len() == 6 && signed.iter().all(is_signed), "{signed:?}");

    // Those that end soon are asked for again, and used while nobody tells of others.
    let teller = Teller::start(Duration::from_secs(60)).await;
    let client = teller.client(&Credentials::container(teller.url.clone(), None));
    is_answered(&client).await;
    is_answered(&client).await;
    assert_eq!(teller.heard(), 2);
    teller.silent.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        is_answered(&client).await;
    }
    assert_eq!(teller.heard(), 3);

    // There are none that are good.
    for url in [teller.url.as_str(), "http://127.0.0.1:1"] {
        let client = teller.client(&Credentials::container(format!("{url}/s3cret"), None));
        let fault = ask(&client, Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(&fault, Fault::NoKeys(text) if text.contains("no keys of a role: 127.0.0.1:")), "{fault:?}");
        assert!(!format!("{fault:?}").contains("s3cret"), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_tells_of_are_waited_for_as_long_as_the_request_may_take() {
    let (teller, nobody) = (Teller::start(Duration::from_secs(3600)).await, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let client = teller.client(&Credentials::machine(format!("http://{}", nobody.local_addr().unwrap())));
    let began = std::time::Instant::now();
    let (one, other) = tokio::join!(ask(&client, Duration::from_millis(100)), ask(&client, Duration::from_millis(50)));
    for fault in [one.unwrap_err(), other.unwrap_err()] {
        assert!(matches!(&fault, Fault::NoKeys(text) if text.contains("in time") || text.contains("no answer within")), "{fault:?}");
    }
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(teller.signed.lock().is_empty());
}
