//! The program as its README describes it: a node of its own, an actor in Python, the facet around it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use plexspaces_client::{Client, Error, Invoke, Reply, v1};
use plexspaces_types::{Code, Payload};
use serde_json::{Value, json};

/// A node that ends with its test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn here() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).to_owned()
}

async fn start(data: &Path) -> (Node, Client) {
    let config = data.join("node.toml");
    let text = format!("[node]\nlisten_addr = \"127.0.0.1:0\"\ncontrol = false\ndata_dir = {:?}\n", data.join("data"));
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fraud_detection"));
    let mut child = command.arg(&config).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let node = Node(child);
    let ready = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ready on ").map(str::to_owned));
    (node, Client::connect(&ready.unwrap(), None).await.unwrap())
}

async fn deploy(client: &Client, config: &str) -> Result<(), Error> {
    let component = plexspaces_testkit::python::component(&here().join("../../../python/bank_account/bank_account.py")).unwrap();
    let wasm = std::fs::read(component).unwrap().into();
    let request = v1::DeployApplicationRequest { wasm, config: Some(config.to_owned()), ..Default::default() };
    client.deploy(request, |_, _| {}).await.map(drop)
}

async fn deposit(client: &Client, account: &str, amount: u64) -> Result<Value, Error> {
    let message = Invoke {
        tenant: String::new(),
        namespace: "bank".to_owned(),
        actor_type: "bank_account".to_owned(),
        actor_id: Some(account.to_owned()),
        operation: "deposit".to_owned(),
        payload: Payload::from_value(&json!({"amount": amount})),
        call: true,
        timeout: None,
        idempotency_key: None,
    };
    match client.invoke(message).await? {
        Reply::Payload(payload) => Ok(serde_json::from_slice(payload.as_bytes()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result.unwrap_err() {
        Error::Node { failure, .. } => (failure.code, failure.message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_facet_of_ones_own_is_registered_attached_by_configuration_and_changed_for_one_actor() {
    let data = tempfile::tempdir().unwrap();
    let (node, client) = start(data.path()).await;
    let config = std::fs::read_to_string(here().join("app-config.toml")).unwrap();
    let (code, message) = refused(deploy(&client, &config.replace("limit = 1000", "limt = 1000")).await);
    assert_eq!(code, Code::InvalidConfig);
    assert!(message.contains("facet fraud_detection: limit is missing; is \"limt\" meant to be it?"), "{message}");
    let (_, message) = refused(deploy(&client, &config.replace("fraud_detection", "fraud_detecton")).await);
    assert!(message.contains("unknown facet \"fraud_detecton\"") && message.ends_with("did you mean `fraud_detection`?"), "{message}");

    deploy(&client, &config).await.unwrap();
    assert_eq!(deposit(&client, "alice", 100).await.unwrap(), json!({"balance": 100}));
    assert_eq!(refused(deposit(&client, "alice", 5000).await), (Code::Rejected, "fraud_detected".to_owned()));

    let config = plexspaces_client::from_object(json!({"limit": 10000, "operations": ["deposit"]}).as_object().unwrap().clone());
    let request = v1::AttachFacetRequest {
        namespace: "bank".to_owned(),
        actor_type: "bank_account".to_owned(),
        actor_id: "alice".to_owned(),
        r#type: "fraud_detection".to_owned(),
        config: Some(config),
        ..Default::default()
    };
    assert!(client.attach_facet(request).await.unwrap(), "it replaces the one that was deployed");
    assert_eq!(deposit(&client, "alice", 5000).await.unwrap(), json!({"balance": 5100}));
    assert_eq!(refused(deposit(&client, "bob", 5000).await).1, "fraud_detected", "only alice has the higher limit");

    // What was deployed is there again with the node; what was attached ended with it.
    drop(node);
    let (_node, client) = start(data.path()).await;
    assert_eq!(refused(deposit(&client, "alice", 5000).await).1, "fraud_detected");
    assert_eq!(deposit(&client, "alice", 1).await.unwrap(), json!({"balance": 5101}));
}
