//! What becomes of a channel at SQS that refuses some requests and leaves others without an answer: a stand-in does as a test says.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Place, eventually};

/// A status and what is said with it; without it the connection ends.
type Reply = Option<(u16, Value)>;

/// What is done on a request: told are its action, the queue and all that it holds.
type Script = dyn Fn(&str, &str, &Value) -> Reply + Send + Sync;

/// A stand-in for SQS, in which all queues are there and empty unless the script says otherwise.
async fn stand_in(script: impl Fn(&str, &str, &Value) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script: Arc<Script> = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, script.clone()));
        }
    });
    url
}

async fn serve(mut connection: TcpStream, script: Arc<Script>) -> Option<()> {
    let mut bytes = Vec::new();
    let (action, body) = loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(request) = read(&bytes) {
            break request;
        }
    };
    let queue = body["QueueUrl"].as_str().unwrap_or_default();
    let (status, reply) = match action.as_str() {
        "GetQueueUrl" => (200, json!({"QueueUrl": body["QueueName"]})),
        _ => script(&action, queue, &body)?,
    };
    if action == "ReceiveMessage" && reply["Messages"].is_null() {
        // As it waits for what may come.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = reply.to_string();
    let answer = format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    connection.write_all(answer.as_bytes()).await.ok()
}

/// The action and the body of a request that is there whole.
fn read(bytes: &[u8]) -> Option<(String, Value)> {
    let (head, body) = std::str::from_utf8(bytes).ok()?.split_once("\r\n\r\n")?;
    let action = head.lines().find_map(|line| line.strip_prefix("x-amz-target: AmazonSQS."))?;
    Some((action.to_owned(), serde_json::from_str(body).ok()?))
}

/// A message as SQS gives it.
fn given(id: &str, body: &str, due_ms: u64) -> Value {
    json!({
        "Body": body,
        "ReceiptHandle": format!("receipt of {id}"),
        "MessageId": id,
        "Attributes": {"ApproximateReceiveCount": "1", "SequenceNumber": "1"},
        "MessageAttributes": {"Due": {"DataType": "Number", "StringValue": due_ms.to_string()}},
    })
}

fn message(id: &str) -> String {
    json!({"msg_id": id, "msg_type": "", "payload": 1, "timestamp": 1}).to_string()
}

fn refusal(name: &str) -> Reply {
    Some((400, json!({"__type": format!("com.amazonaws.sqs#{name}"), "message": "so it is"})))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_sqs_refuses_is_not_done_though_one_before_it_was_not_answered() {
    let (received, removed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let url = stand_in(move |action, queue, _| match action {
        "ReceiveMessage" if queue.ends_with("-q.fifo") && received.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some((200, json!({"Messages": [given("m", &message("m"), 0)]})))
        }
        "DeleteMessage" => match removed.fetch_add(1, Ordering::SeqCst) {
            0 => None,
            1 => refusal("ThrottlingException"),
            2 => refusal("AccessDeniedException"),
            3 => Some((503, json!({}))),
            _ => refusal("ReceiptHandleIsInvalid"),
        },
        _ => Some((200, json!({}))),
    })
    .await;
    let node = Place::at_sqs(&url, "work").node().await;
    assert_eq!(node.receive().await["msg_id"], json!("m"));
    for why in ["does not answer", "ThrottlingException", "AccessDeniedException", "503"] {
        let (code, _, text) = node.refused("ack", json!({"msg_id": "m"})).await;
        assert_eq!(code, "unavailable", "{text}");
        assert!(text.contains(why), "{text}");
    }
    // That the receipt does not hold any more says that the first request has removed it.
    node.ask("ack", json!({"msg_id": "m"})).await;
    node.ask("ack", json!({"msg_id": "m"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_that_cannot_be_moved_at_sqs_holds_no_other_up() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let far_ms = u64::try_from((now + Duration::from_secs(3 * 24 * 60 * 60)).as_millis()).unwrap();
    let asked = Arc::new(Mutex::new(Vec::<(String, Value)>::new()));
    let heard = asked.clone();
    let received = AtomicUsize::new(0);
    let url = stand_in(move |action, queue, body| {
        heard.lock().push((action.to_owned(), body.clone()));
        match action {
            "ReceiveMessage" if queue.ends_with("-l") && received.fetch_add(1, Ordering::SeqCst) == 0 => {
                let all = [given("odd", "no message", 1), given("bad", &message("bad"), 2), given("good", &message("good"), 3)];
                let far = [given("far", &message("far"), far_ms), given("farther", &message("farther"), far_ms + 1)];
                Some((200, json!({"Messages": all.into_iter().chain(far).collect::<Vec<_>>()})))
            }
            "SendMessage" if body.to_string().contains("bad") => refusal("InvalidMessageContents"),
            "ChangeMessageVisibility" if body.to_string().contains("of far\"") => refusal("InvalidParameterValue"),
            _ => Some((200, json!({}))),
        }
    })
    .await;
    let node = Place::at_sqs(&url, "work").node().await;
    assert_eq!(node.poll().await, Value::Null);
    let all = |action: &str, field: &str| -> Vec<Value> {
        asked.lock().iter().filter(|(asked, _)| asked == action).map(|(_, body)| body[field].clone()).collect()
    };
    eventually("all were looked at", async || all("ChangeMessageVisibility", "ReceiptHandle").len() == 2).await;
    assert_eq!(all("ChangeMessageVisibility", "ReceiptHandle"), [json!("receipt of far"), json!("receipt of farther")]);
    assert_eq!(all("DeleteMessage", "ReceiptHandle"), [json!("receipt of good")]);
    // SQS counts its twelve hours from when it gave the message, and refuses more.
    let hidden = all("ChangeMessageVisibility", "VisibilityTimeout");
    assert!(hidden.iter().all(|secs| (40_000..43_200 - 30).contains(&secs.as_u64().unwrap())), "{hidden:?}");
}
