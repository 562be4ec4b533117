//! No acknowledged deposit is lost or counted twice, however often the node is killed in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;
use support::{Http, Node};
use tokio::sync::watch;

const CLIENTS: u64 = 50;
const ACCOUNTS: u64 = 20;
const DEPOSITS: u64 = 1000;
const KILLS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn deposits_count_once_though_the_node_is_killed_ten_times() {
    let data = tempfile::tempdir().unwrap();
    let first = Node::start(data.path());
    first.deploy_example("bank_account");
    let (sender, url) = watch::channel(first.url.clone());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(deposit(client, url.clone(), acknowledged.clone()))).collect();

    let mut node = first;
    for kill in 1..=KILLS {
        // Each kill comes when another part of the deposits has been acknowledged, so that all of them hit a node under load.
        while acknowledged.load(Ordering::SeqCst) < kill * DEPOSITS / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.kill();
        node = Node::start(data.path());
        sender.send(node.url.clone()).unwrap();
    }
    let mut ledger = vec![0; ACCOUNTS as usize];
    for client in clients {
        for (account, amount) in client.await.unwrap() {
            ledger[account as usize] += amount;
        }
    }
    assert_eq!(acknowledged.load(Ordering::SeqCst), DEPOSITS);
    let http = Http::new();
    let mut transactions = 0;
    for (account, expected) in ledger.iter().enumerate() {
        let reply = http.ask(&node, &format!("bank/bank_account?actor_id=account-{account}"), json!({"op": "replay"})).await;
        assert_eq!(reply.body, json!({"balance": expected, "replayed": expected, "consistent": true}), "account {account}");
        let reply = http.ask(&node, &format!("bank/bank_account?actor_id=account-{account}"), json!({"op": "get"})).await;
        transactions += reply.body["transaction_count"].as_u64().unwrap();
    }
    assert_eq!(transactions, DEPOSITS);
}

/// Makes its share of the deposits, each repeated under its key until it is acknowledged; returns what was acknowledged.
async fn deposit(client: u64, url: watch::Receiver<String>, acknowledged: Arc<AtomicU64>) -> Vec<(u64, u64)> {
    let http = Http::new();
    let mut made = Vec::new();
    for number in 0..DEPOSITS / CLIENTS {
        let (account, amount) = ((client * 7 + number) % ACCOUNTS, client + number + 1);
        let key = format!("deposit-{client:04}-{number:08}");
        let body = json!({"op": "deposit", "amount": amount}).to_string();
        loop {
            let target = format!("{}/api/v1/actors/bank/bank_account?actor_id=account-{account}&invocation=call", *url.borrow());
            match http.send(Method::POST, &target, &[("idempotency-key", &key)], body.clone()).await {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => assert!(answer.status >= 500, "{}: {}", answer.status, answer.body),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        made.push((account, amount));
    }
    made
}
