//! A real server for all tests of this program, in which each has a table of its own, servers for those that end them, and a way to a server on
//! which requests and answers are lost, refused or held up.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexspaces_store::Partition;
use plexspaces_store_remote::DynamoDb;
use plexspaces_store_remote::dynamodb::{Config, Credentials};
use plexspaces_testkit::servers;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn shared() -> &'static servers::DynamoDb {
    static SERVER: OnceLock<servers::DynamoDb> = OnceLock::new();
    SERVER.get_or_init(|| servers::DynamoDb::start().unwrap())
}

/// A server of a test's own.
pub(crate) async fn server() -> servers::DynamoDb {
    tokio::task::spawn_blocking(|| servers::DynamoDb::start().unwrap()).await.unwrap()
}

pub(crate) fn config(url: String, table: &str) -> Config {
    Config { endpoint: Some(url), table: table.to_owned(), ..Config::new("eu-west-1", Credentials::new("plex", "s3cret", None)) }
}

pub(crate) struct Table {
    pub(crate) name: String,
}

impl Table {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self { name: format!("table{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(crate) fn config(&self) -> Config {
        config(shared().url(), &self.name)
    }

    /// A store with much time, also for a server that has much to do.
    pub(crate) fn store(&self) -> DynamoDb {
        DynamoDb::open(&Config { timeout: Duration::from_secs(60), ..self.config() }).unwrap()
    }
}

/// Sends a request besides those of the store. The server looks at the access key of a signature and at nothing else of it.
fn tell(operation: &str, body: &Value) -> Value {
    let address = shared().url().trim_start_matches("http://").to_owned();
    let mut connection = std::net::TcpStream::connect(&address).unwrap();
    let body = body.to_string();
    let credential = "AWS4-HMAC-SHA256 Credential=plex/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let head = format!(
        "POST / HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: DynamoDB_20120810.{operation}\r\nauthorization: {credential}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn binary(bytes: &[u8]) -> Value {
    json!({"B": STANDARD.encode(bytes)})
}

/// Makes a table with keys of this type.
pub(crate) fn make(table: &Table, of: &str) {
    let body = json!({
        "TableName": table.name, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": of}, {"AttributeName": "s", "AttributeType": of}],
        "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
    });
    tell("CreateTable", &body);
}

pub(crate) fn put(table: &Table, first: &[u8], second: &[u8]) {
    tell("PutItem", &json!({"TableName": table.name, "Item": {"p": binary(first), "s": binary(second)}}));
}

/// The second keys of a partition's items.
pub(crate) fn items(table: &Table, here: &Partition) -> Vec<Vec<u8>> {
    let body = json!({
        "TableName": table.name, "KeyConditionExpression": "p = :p", "ExpressionAttributeValues": {":p": binary(here.as_bytes())},
        "ProjectionExpression": "s", "ConsistentRead": true,
    });
    let (mut body, mut all) = (body, Vec::new());
    loop {
        let answer = tell("Query", &body);
        all.extend(answer["Items"].as_array().unwrap().iter().map(|item| STANDARD.decode(item["s"]["B"].as_str().unwrap()).unwrap()));
        if answer["LastEvaluatedKey"].is_null() {
            return all;
        }
        body["ExclusiveStartKey"] = answer["LastEvaluatedKey"].clone();
    }
}

/// Removes all items of a partition.
pub(crate) fn empty(table: &Table, here: &Partition) {
    for second in items(table, here) {
        tell("DeleteItem", &json!({"TableName": table.name, "Key": {"p": binary(here.as_bytes()), "s": binary(&second)}}));
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is answered.
    Through,
    /// It does not arrive.
    Lost,
    /// It arrives, and its answer does not.
    Unanswered,
    /// It is refused for now.
    Throttled,
    /// It is done, and the answer says that something went wrong.
    Failed,
    /// It arrives when [`Passage::release`] was called.
    Held,
}

type Choice = dyn Fn(u64, &str) -> Way + Send + Sync;

/// A way to a server on which something is decided for each request, by its number and its operation.
pub(crate) struct Passage {
    pub(crate) url: String,
    count: Arc<AtomicU64>,
    /// Held requests that have been answered.
    pub(crate) arrived: Arc<AtomicU64>,
    held: watch::Sender<bool>,
}

impl Passage {
    pub(crate) async fn to(url: &str, choice: impl Fn(u64, &str) -> Way + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let target = url.trim_start_matches("http://").to_owned();
        let (count, arrived, (held, watched)) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), watch::channel(true));
        let (choice, counted, came): (Arc<Choice>, _, _) = (Arc::new(choice), count.clone(), arrived.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, choice, counted, came) = (target.clone(), choice.clone(), counted.clone(), came.clone());
                let watched = watched.clone();
                tokio::spawn(async move {
                    let mut near = near;
                    while let Some((operation, request)) = request(&mut near).await {
                        let way = choice(counted.fetch_add(1, Ordering::SeqCst), &operation);
                        let Some(answer) = answer(way, &target, request, watched.clone(), &came).await else { break };
                        if near.write_all(&answer).await.is_err()
                            || answer.windows(17).any(|some| some.eq_ignore_ascii_case(b"connection: close"))
                        {
                            break;
                        }
                    }
                });
            }
        });
        Self { url: own, count, arrived, held }
    }

    /// Requests that have come.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }
}

/// The next request of a connection: its operation, and its bytes with the wish that the connection ends with the answer.
async fn request(near: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|some| some == b"\r\n\r\n") {
            break end;
        }
        if near.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let value = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length: usize = value("content-length")?.parse().ok()?;
    while bytes.len() < end + 4 + length {
        if near.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let operation = value("x-amz-target")?.rsplit('.').next()?.to_owned();
    let request = [head.as_bytes(), b"\r\nconnection: close\r\n\r\n", &bytes[end + 4..]].concat();
    Some((operation, request))
}

/// The bytes of the answer, or nothing where the connection ends instead.
async fn answer(way: Way, target: &str, request: Vec<u8>, mut held: watch::Receiver<bool>, arrived: &Arc<AtomicU64>) -> Option<Vec<u8>> {
    match way {
        Way::Through => forward(target, &request).await,
        Way::Lost => None,
        Way::Unanswered => {
            forward(target, &request).await;
            None
        }
        Way::Throttled => Some(said("400 Bad Request", "ThrottlingException")),
        Way::Failed => {
            forward(target, &request).await?;
            Some(said("500 Internal Server Error", "InternalServerError"))
        }
        Way::Held => {
            let (target, arrived) = (target.to_owned(), arrived.clone());
            // It arrives though nobody waits for it any more.
            let later = tokio::spawn(async move {
                held.wait_for(|held| !held).await.ok()?;
                let answer = forward(&target, &request).await;
                arrived.fetch_add(1, Ordering::SeqCst);
                answer
            });
            later.await.ok()?
        }
    }
}

async fn forward(target: &str, request: &[u8]) -> Option<Vec<u8>> {
    let mut far = TcpStream::connect(target).await.ok()?;
    far.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.ok()?;
    (!answer.is_empty()).then_some(answer)
}

fn said(status: &str, kind: &str) -> Vec<u8> {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "said by the test"}).to_string();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
