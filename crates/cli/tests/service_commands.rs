//! What actors share, as operators and programs outside use it: the command line, the documented requests, the Python client.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::Method;
use serde_json::{Value, json};
use support::{Http, Node, PLEXSPACES, cli, failed, root, said, stderr, stdout};

#[test]
fn the_commands_for_shared_things_go_round() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let wasm = data.path().join("echo.wasm");
    std::fs::write(&wasm, plexspaces_testkit::guests::echo()).unwrap();
    said(&node.cli(&["deploy", "--app", "echo", "--wasm", wasm.to_str().unwrap()]));
    let run = |line: &str| {
        let arguments: Vec<&str> = line.split(' ').collect();
        node.cli(&arguments)
    };
    let json = |line: &str| -> Value { serde_json::from_str(&said(&run(&format!("{line} --json")))).unwrap() };

    assert_eq!(said(&run(r#"ts write ["job",1,1.5,null] --idempotency-key 0123456789abcdef"#)), "written");
    assert_eq!(said(&run(r#"ts write ["job",1,1.5,null] --idempotency-key 0123456789abcdef"#)), "written");
    assert_eq!(said(&run(r#"ts count ["job",null,null,null]"#)), "1");
    assert_eq!(said(&run(r#"ts read ["job",null,{"$gt":1},null]"#)), r#"["job",1,1.5,null]"#);
    assert_eq!(said(&run(r#"ts watch ["job",null,null,null] -n 1"#)), r#"["job",1,1.5,null]"#);
    assert_eq!(json(r#"ts read-all ["job",null,null,null]"#), json!({"tuples": [["job", 1, 1.5, null]]}));
    let taken = said(&run(r#"ts take ["job",null,null,null] --lease 10m"#));
    let lease = taken.lines().last().unwrap();
    assert_eq!(said(&run(&format!("ts release {lease}"))), "released");
    assert_eq!(said(&run(r#"ts take ["job",1,null,null] --wait 10s"#)), r#"["job",1,1.5,null]"#);
    assert_eq!(failed(&run(r#"ts take ["job",1,null,null]"#)), "error: no tuple matches");
    assert_eq!(said(&run(r#"ts write-once ["leader",null] ["leader","a"]"#)), "written");
    assert_eq!(failed(&run(r#"ts write-once ["leader",null] ["leader","b"]"#)), r#"error: there is a match: ["leader","a"]"#);
    assert_eq!(said(&run(r#"ts replace ["leader","a"] ["leader","c"]"#)), r#"["leader","a"]"#);
    assert_eq!(failed(&run(r#"ts replace ["leader","a"] ["leader","d"]"#)), "error: no tuple matches");
    said(&run(r#"ts write ["leader","e"]"#));
    assert_eq!(said(&run(r#"ts take-all ["leader",null] -n 1"#)), r#"["leader","c"]"#);
    assert_eq!(json(r#"ts take-all ["leader",null]"#)["tuples"], json!([["leader", "e"]]));
    assert_eq!(said(&run(r#"ts take-all ["leader",null]"#)), "");
    assert_eq!(run(r#"ts take-all ["leader",null] -n 0"#).status.code(), Some(2));
    assert!(failed(&run("ts write 7")).contains("is not a JSON array"));
    assert_eq!(run("ts write").status.code(), Some(2));

    assert_eq!(said(&run(r#"channel send jobs {"n":1} --msg-id m1 --type job"#)), "m1");
    let received = json("channel receive jobs --wait 1s");
    assert_eq!((&received["message"]["payload"], &received["message"]["delivery_count"]), (&json!({"n": 1}), &json!(1)));
    assert_eq!(failed(&run("channel receive jobs")), "error: no message waits");
    assert_eq!(said(&run("channel nack jobs m1 --dead")), "a dead letter");
    assert!(said(&run("channel dead-letters jobs")).contains("m1"));
    assert_eq!(said(&run("channel redrive jobs")), "sent again: 1");
    let receipt = json("channel receive jobs")["message"]["receipt"].as_str().unwrap().to_owned();
    assert!(failed(&run("channel ack jobs m1 --receipt 0-0")).contains("does not hold any more"));
    assert_eq!(said(&run(&format!("channel ack jobs m1 --receipt {receipt}"))), "acknowledged");
    assert_eq!(json("channel status jobs")["in_flight"], json!(0));
    assert_eq!(said(&run("channel publish news [1]")).len(), 32);
    assert_eq!(said(&run("channel subscribe news --after 0 -n 1")), "[1]");
    assert_eq!(said(&run("channel subscriber create news old")), "subscribed");
    assert_eq!(said(&run("channel subscriber create news new --from latest")), "subscribed");
    said(&run("channel publish news [2]"));
    let next = "channel subscriber next news old --idempotency-key 0123456789abcdef";
    assert_eq!([said(&run(next)), said(&run(next))], ["[1]", "[1]"], "one key is one step");
    assert_eq!(json("channel subscriber next news old --wait 1s")["message"]["payload"], json!([2]));
    assert_eq!(said(&run("channel subscriber next news new")), "[2]");
    assert_eq!(failed(&run("channel subscriber next news new")), "error: there is no next message");
    assert_eq!(said(&run("channel subscriber delete news new")), "forgotten");
    assert_eq!(json("channel status news")["subscribers"], json!(1));

    let first = json("channel receive news --group g")["message"].clone();
    assert_eq!(first["payload"], json!([1]));
    assert_eq!(json("channel receive news --group g --wait 1s")["message"]["payload"], json!([2]));
    assert_eq!(failed(&run("channel receive news --group g")), "error: no message waits");
    let id = first["msg_id"].as_str().unwrap();
    assert_eq!(said(&run(&format!("channel nack news {id} --group g --dead"))), "a dead letter");
    assert!(said(&run("channel dead-letters news --group g")).contains(id));
    assert_eq!(said(&run("channel dead-letters news")), "no dead letters");
    assert_eq!(said(&run("channel redrive news --group g")), "sent again: 1");
    assert_eq!(json("channel receive news --group g")["message"]["msg_id"], json!(id));
    assert_eq!(said(&run(&format!("channel ack news {id} --group g"))), "acknowledged");
    let status = json("channel status news --group g");
    assert_eq!((&status["in_flight"], &status["behind"], &status["subscribers"]), (&json!(1), &json!(0), &json!(2)));

    said(&run("channel send news 1"));
    let listed = json("channel list");
    let news = json!({"channel": "news", "kind": "both", "backend": "store", "depth": 1, "published": 2});
    let jobs = json!({"channel": "jobs", "kind": "queue", "backend": "store", "depth": 0, "published": 0});
    assert_eq!(listed["channels"], json!([jobs, news]));
    assert_eq!(json("channel list n")["channels"][0]["channel"], "news");
    assert_eq!(said(&run("channel list --namespace other")), "no channels");
    for (empty, items) in [
        ("list --namespace other", "applications"),
        ("channel list --namespace other", "channels"),
        ("kv list nothing", "pairs"),
        ("dead-letters list", "dead_letters"),
        ("workflow list", "workflows"),
        ("blob list nothing", "blobs"),
    ] {
        assert_eq!(json(empty), json!({items: []}), "{empty}");
    }

    assert_eq!(said(&run("group join all default/echo/bob --topic t")), "joined");
    assert_eq!(said(&run("group members all")), "default/echo/bob");
    assert_eq!(json("group list")["groups"], json!([{"group": "all", "members": 1}]));
    assert_eq!(said(&run("group publish all heard")), "sent");
    assert_eq!(said(&run("group leave all default/echo/bob")), "left");

    let version = said(&run("lock acquire l --holder me --ttl 10m"));
    assert_eq!(failed(&run("lock acquire l --holder you")), "error: the lock is held by me");
    assert!(said(&run("lock list")).contains("me") && said(&run("lock get l")).contains("me"));
    assert_eq!(said(&run(&format!("lock renew l {version} --ttl 1m"))), "renewed");
    assert_eq!(said(&run(&format!("lock release l {version}"))), "released");
    assert_eq!(failed(&run(&format!("lock release l {version}"))), "error: the lock is another's or free");
    assert!(failed(&run("lock get l")).contains("not_found"));
    let held = cli(&["--node", &node.url, "lock", "run", "l", "--", "sh", "-c", "echo $PLEXSPACES_LOCK_VERSION; exit 3"]);
    assert!(failed(&held).contains("exit status: 3"));
    assert_eq!(stdout(&held), "2\n");
    assert_eq!(said(&run("lock list")), "no lock is held");

    assert_eq!(said(&run("kv put a/b 1 --ttl 1h")), "set");
    assert_eq!(said(&run("kv get a/b")), "1");
    assert_eq!(failed(&run("kv cas a/b 2")), "error: the pair has another value: 1");
    assert_eq!(said(&run("kv cas a/b 2 --expected 1")), "set");
    assert_eq!(said(&run("kv watch a/ --after 0 -n 1")), "a/b = 2");
    assert_eq!(json("kv list a/"), json!({"pairs": [{"key": "a/b", "value": "2", "version": 2}]}));
    assert_eq!(said(&run("kv list --namespace other")), "no pairs");
    assert_eq!(said(&run("kv delete a/b")), "deleted");
    assert!(failed(&run("kv get a/b")).contains("not_found"));

    assert_eq!(said(&run(r#"registry register p default/p/1 --label floor=2 --metadata {"n":1} --ttl 1h"#)), "registered");
    assert_eq!(said(&run("registry lookup p")), "default/p/1");
    assert_eq!(json("registry find --label floor=2 --healthy")["entries"][0]["metadata"], json!({"n": 1}));
    assert_eq!(said(&run("registry find --label floor=3")), "no entries");
    assert_eq!(said(&run("registry renew p --unhealthy")), "renewed");
    assert_eq!(said(&run("registry find --label floor=2 --healthy")), "no entries");
    let before = json("registry lookup p")["entry"]["expires_at"].clone();
    assert_eq!(said(&run("registry renew p --ttl 9h")), "renewed");
    let after = json("registry lookup p")["entry"].clone();
    assert!(after["healthy"] == true && after["expires_at"].as_str() > before.as_str(), "{before} {after}");
    assert_eq!(said(&run("registry unregister p")), "unregistered");
    assert_eq!(failed(&run("registry renew p")), "error: there is no such entry");
}

#[test]
fn the_commands_for_blobs_go_round() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start_with(data.path(), &["--admin-token", "a-token-of-the-administrator"]);
    let run = |line: &str| {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--token", "a-token-of-the-administrator"]);
        node.cli(&arguments)
    };
    let json = |line: &str| -> Value { serde_json::from_str(&said(&run(&format!("{line} --json")))).unwrap() };
    let at = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(at("in"), &bytes).unwrap();

    assert_eq!(said(&run("blob list")), "no blobs");
    let put = said(&run(&format!("blob put models/a {} --type x/y", at("in"))));
    assert!(put.ends_with("  models/a") && put.len() == 64 + 2 + 8, "{put}");
    assert_eq!(said(&run(&format!("blob get models/a {}", at("out")))), "");
    assert!(std::fs::read(at("out")).unwrap() == bytes);
    let got = run("blob get models/a --range 5-13");
    assert_eq!((got.status.code(), &got.stdout[..]), (Some(0), &bytes[5..14]));
    let rest = json(&format!("blob get models/a {} --range 11999990-", at("out")));
    assert_eq!((&rest["bytes"], std::fs::read(at("out")).unwrap().len()), (&json!(10), 10));
    assert!(failed(&run("blob get models/a --json")).contains("needs a file"));
    assert_eq!(run("blob get models/a --range 9-1").status.code(), Some(2));
    let head = json("blob head models/a");
    assert_eq!((&head["size"], &head["content_type"]), (&json!(12_000_000), &json!("x/y")));
    assert!(said(&run("blob head models/a")).contains(&put[..64]));

    let mut piped = Command::new(PLEXSPACES);
    piped.args(["blob", "put", "piped", "--json", "--node", &node.url, "--token", "a-token-of-the-administrator"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), b"from a pipe").unwrap();
    let written: Value = serde_json::from_str(&said(&piped.wait_with_output().unwrap())).unwrap();
    assert_eq!((&written["size"], &written["content_type"]), (&json!(11), &json!("application/octet-stream")));
    assert_eq!(json("blob list p")["blobs"][0]["name"], json!("piped"));
    assert_eq!(said(&run("blob list")).lines().count(), 3);
    assert_eq!(said(&run("blob list --namespace other")), "no blobs");

    // Whoever has a link needs no token.
    let curl = |arguments: &[&str]| Command::new("curl").args(["-sS", "--fail-with-body"]).args(arguments).output().unwrap();
    let url = said(&run("blob presign piped --expires 1m"));
    assert_eq!(said(&curl(&[&url])), "from a pipe");
    assert!(!curl(&[&url.replace("piped", "models%2Fa")]).status.success());
    let url = json("blob presign linked --put")["url"].as_str().unwrap().to_owned();
    assert!(said(&curl(&["-X", "PUT", "--data-binary", "by a link", &url])).contains("\"size\":9"));
    assert_eq!(said(&run("blob get linked")), "by a link");

    assert!(failed(&run("blob put a /nowhere")).contains("cannot read /nowhere"));
    assert!(failed(&run(&format!("blob put a {}", data.path().display()))).contains("is a directory"));
    assert!(failed(&run(&format!("blob get none {}", at("none")))).contains("not_found"));
    assert!(!std::path::Path::new(&at("none")).exists());
    assert!(failed(&run("blob presign none")).contains("not_found"));
    assert_eq!(said(&run("blob delete piped")), "deleted");
    assert_eq!(said(&run("blob delete piped")), "there was none");
}

/// The commands of the page, each with what it should print.
fn documented(page: &str) -> Vec<(String, Option<String>)> {
    let (_, section) = page.split_once("## From outside").unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let mut commands: Vec<(String, Option<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("# ") {
            Some(printed) => commands.last_mut().unwrap().1 = Some(printed.to_owned()),
            None => commands.push((line.to_owned(), None)),
        }
    }
    commands
}

#[test]
fn the_documented_requests_do_what_the_page_says() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let page = std::fs::read_to_string(root().join("docs/services.md")).unwrap();
    let bin = Path::new(PLEXSPACES).parent().unwrap().to_str().unwrap();
    let commands = documented(&page);
    assert!(commands.len() > 10);
    for (command, expected) in commands {
        let command = command.replace("http://127.0.0.1:8080", &node.url).replace("curl ", "curl -sS --fail-with-body ");
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap())).env("PLEXSPACES_NODE", &node.url);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{command}: {}{}", stdout(&output), stderr(&output));
        if let Some(expected) = expected {
            assert_eq!(stdout(&output).trim_end(), expected, "{command}");
        }
    }
}

/// A Python program with the client that prints the messages of `news` as they come.
fn subscriber(node: &Node) -> (Child, BufReader<std::process::ChildStdout>) {
    let program = "\
import sys
from plexspaces.client import Client
news = Client(sys.argv[1]).channel_subscribe('news')
print('subscribed', flush=True)
while True:
    print(news.next(), flush=True)
";
    let mut python = Command::new("python3");
    python.args(["-c", program, &node.url]).env("PYTHONPATH", root().join("sdk/python/src")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill_and_a_subscriber_misses_nothing() {
    let data = tempfile::tempdir().unwrap();
    // The address is the same after the node is started again, so that the subscriber finds it.
    let address = format!("127.0.0.1:{}", plexspaces_testkit::servers::free_port().unwrap());
    let start = || {
        let mut command = Command::new(PLEXSPACES);
        command.args(["start", "--listen-addr", &address, "--no-default-ports", "--data-dir"]).arg(data.path());
        Node::spawn(command)
    };
    // A client that has no connection to the node that was killed.
    let send = async |node: &Node, method: Method, path: &str, body: Value| {
        let answer = Http::new().send(method, &format!("{}/api/v1{path}", node.url), &[], body.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let publish = async |node: &Node, number: u64| send(node, Method::POST, "/channels/news:publish", json!({"payload": number})).await;
    let node = start();
    let (mut python, mut lines) = subscriber(&node);
    let mut line = async || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    assert_eq!(line().await, "subscribed");
    publish(&node, 1).await;
    assert_eq!(line().await, "1");
    send(&node, Method::POST, "/tuples", json!({"tuple": ["kept", 1]})).await;
    send(&node, Method::PUT, "/kv/k", json!({"value": "v"})).await;
    send(&node, Method::PUT, "/registry/n", json!({"target": "t"})).await;
    let lock = send(&node, Method::POST, "/locks/l:acquire", json!({"ttl_ms": 600_000, "holder": "me"})).await;
    send(&node, Method::POST, "/channels/jobs/messages", json!({"payload": 1, "msg_id": "m"})).await;
    let key = json!({"pattern": ["kept", null], "client_token": "the-key-of-a-take"});
    assert_eq!(send(&node, Method::POST, "/tuples:take", key.clone()).await, json!({"tuple": ["kept", 1]}));
    node.kill();

    let node = start();
    publish(&node, 2).await;
    assert_eq!(line().await, "2");
    assert_eq!(send(&node, Method::POST, "/tuples:take", key).await, json!({"tuple": ["kept", 1]}), "the answer is there as well");
    assert_eq!(Http::new().get(&node, "/api/v1/kv/k").await.body["value"], json!("v"));
    assert_eq!(Http::new().get(&node, "/api/v1/registry/n").await.body["target"], json!("t"));
    assert_eq!(Http::new().get(&node, "/api/v1/locks/l").await.body["version"], lock["version"]);
    let received = send(&node, Method::POST, "/channels/jobs/messages:receive", json!({})).await;
    assert_eq!(received["message"]["msg_id"], json!("m"));
    python.kill().unwrap();
    python.wait().unwrap();
}

/// More than a message may have, in and out over HTTP, in parts, and there after SIGKILL.
#[tokio::test]
async fn blobs_go_through_in_pieces_and_outlive_the_node() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    let large = "0123456789".repeat(2_500_000);
    let url = |node: &Node, rest: &str| format!("{}/api/v1/blobs/{rest}", node.url);
    let text = [("content-type", "text/plain")];
    let put = http.send(Method::PUT, &url(&node, "models%2Fa"), &text, large.clone()).await.unwrap();
    assert_eq!(
        (put.status, put.body["name"].as_str(), put.body["size"].as_u64()),
        (200, Some("models/a"), Some(25_000_000)),
        "{:?}",
        put.body
    );
    assert!(put.body["created_at"].is_string() && put.body["sha256"].as_str().is_some_and(|hash| hash.len() == 64));
    node.kill();
    let node = Node::start(data.path());
    let got = http.get(&node, "/api/v1/blobs/models%2Fa").await;
    assert_eq!((got.status, got.headers["content-type"].to_str().unwrap()), (200, "text/plain"));
    assert_eq!(got.headers["etag"].to_str().unwrap().trim_matches('"'), put.body["sha256"].as_str().unwrap());
    assert_eq!(got.body.as_str().map_or_else(|| got.body.to_string().len(), str::len), large.len());
    let part = http.send(Method::GET, &url(&node, "models%2Fa"), &[("range", "bytes=10000005-10000014")], "").await.unwrap();
    assert_eq!((part.status, part.headers["content-range"].to_str().unwrap()), (206, "bytes 10000005-10000014/25000000"));
    assert_eq!(part.body.to_string(), "5678901234");
    let beyond = http.send(Method::GET, &url(&node, "models%2Fa"), &[("range", "bytes=25000000-")], "").await.unwrap();
    assert_eq!((beyond.status, beyond.headers["content-range"].to_str().unwrap()), (416, "bytes */25000000"));
    assert_eq!(beyond.body["field_violations"][0]["field"].as_str(), Some("Range"), "{:?}", beyond.body);
    let part = http.get(&node, "/api/v1/blobs/models%2Fa?offset=24999998&length=10").await;
    assert_eq!((part.status, part.body.to_string()), (200, "89".to_owned()));

    let other = http.get(&node, "/api/v1/blobs/models%2Fa?namespace=other").await;
    assert_eq!((other.status, other.body["reason"].as_str()), (404, Some("not_found")), "{:?}", other.body);
    let wrong = http.get(&node, "/api/v1/blobs/models%2Fa?ofset=1").await;
    assert_eq!((wrong.status, wrong.body["field_violations"][0]["field"].as_str()), (400, Some("ofset")), "{:?}", wrong.body);
    let info = http.get(&node, "/api/v1/blobs/models%2Fa/info").await;
    assert_eq!(info.body, put.body);
    for name in ["b", "c"] {
        http.send(Method::PUT, &url(&node, name), &[], name).await.unwrap();
    }
    let page = http.get(&node, "/api/v1/blobs?page_size=2").await.body;
    assert_eq!(page["blobs"].as_array().unwrap().len(), 2);
    let token = page["next_page_token"].as_str().unwrap();
    let page = http.get(&node, &format!("/api/v1/blobs?page_size=2&page_token={token}")).await.body;
    assert_eq!((page["blobs"][0]["name"].as_str(), page.get("next_page_token")), (Some("models/a"), None));
    let gone = http.send(Method::DELETE, &url(&node, "models%2Fa"), &[], "").await.unwrap();
    assert_eq!((gone.status, gone.body), (200, serde_json::json!({"deleted": true})));
    assert_eq!(http.get(&node, "/api/v1/blobs/models%2Fa").await.status, 404);
}
