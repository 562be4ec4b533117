//! Shared pairs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Node, beside, eventually};

async fn get(node: &Node, key: &str) -> Value {
    node.ask("get", json!({"key": key})).await["value"].clone()
}

#[tokio::test]
async fn pairs_are_kept_over_a_restart_until_they_are_deleted() {
    let node = Node::new("kv");
    assert_eq!(get(&node, "a").await, Value::Null);
    node.ask("put", json!({"key": "a", "value": "1"})).await;
    node.ask("put", json!({"key": "b", "value": ""})).await;
    let node = node.restart();
    assert_eq!((get(&node, "a").await, get(&node, "b").await), (json!("1"), json!("")));
    assert_eq!(node.ask("delete", json!({"key": "a"})).await, json!({"deleted": true}));
    assert_eq!(node.ask("delete", json!({"key": "a"})).await, json!({"deleted": false}));
    assert_eq!(get(&node.restart(), "a").await, Value::Null);
}

#[tokio::test]
async fn a_pair_with_a_time_to_live_goes() {
    let node = Node::new("kv");
    node.ask("put", json!({"key": "a", "value": "1", "ttl_ms": 2000})).await;
    assert_eq!(get(&node, "a").await, json!("1"));
    eventually("it is gone", async || get(&node, "a").await.is_null()).await;
    node.ask("put", json!({"key": "a", "value": "2", "ttl_ms": 20})).await;
    node.ask("put", json!({"key": "a", "value": "3"})).await;
    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    assert_eq!(get(&node, "a").await, json!("3"), "a later put has no end");
}

#[tokio::test]
async fn a_compare_and_set_swaps_what_is_expected() {
    let node = Arc::new(Node::new("kv"));
    assert_eq!(node.ask("cas", json!({"key": "n", "expected": null, "value": "0"})).await["swapped"], json!(true));
    let refused = node.ask("cas", json!({"key": "n", "expected": null, "value": "9"})).await;
    assert_eq!((refused["swapped"].clone(), refused["value"].clone()), (json!(false), json!("0")));
    let counters = (0..4).map(|_| {
        let node = node.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let now = get(&node, "n").await.as_str().unwrap().to_owned();
                    let next = (now.parse::<u32>().unwrap() + 1).to_string();
                    if node.ask("cas", json!({"key": "n", "expected": now, "value": next})).await["swapped"] == json!(true) {
                        break;
                    }
                }
            }
        })
    });
    for counter in counters.collect::<Vec<_>>() {
        counter.await.unwrap();
    }
    assert_eq!(get(&node, "n").await, json!("100"));
}

#[tokio::test]
async fn pairs_are_listed_by_prefix_in_pages() {
    let node = Node::new("kv");
    for number in 0..25 {
        node.ask("put", json!({"key": format!("p/{number:02}"), "value": number.to_string()})).await;
    }
    node.ask("put", json!({"key": "q", "value": "x"})).await;
    let (mut keys, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = node.ask("list", json!({"prefix": "p/", "limit": 10, "after": after})).await;
        keys.extend(page["pairs"].as_array().unwrap().iter().map(|pair| pair["key"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(keys, (0..25).map(|number| format!("p/{number:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_watches_is_told_of_every_change() {
    let node = Arc::new(Node::new("kv"));
    let now = node.ask("watch", json!({"prefix": "w/"})).await["version"].clone();
    let watching = beside(&node, "watch", json!({"prefix": "w/", "after": now, "timeout_ms": 60_000}));
    node.ask("put", json!({"key": "other", "value": "x"})).await;
    node.ask("put", json!({"key": "w/a", "value": "1"})).await;
    let told = watching.await.unwrap();
    assert_eq!((told["changes"][0]["key"].clone(), told["changes"][0]["value"].clone()), (json!("w/a"), json!("1")));
    node.ask("put", json!({"key": "w/b", "value": "2"})).await;
    node.ask("delete", json!({"key": "w/a"})).await;
    let told = node.ask("watch", json!({"prefix": "w/", "after": told["version"]})).await;
    let seen: Vec<_> = told["changes"].as_array().unwrap().iter().map(|change| (change["key"].clone(), change["value"].clone())).collect();
    assert_eq!(seen, [(json!("w/a"), Value::Null), (json!("w/b"), json!("2"))]);
    let late = node.ask("watch", json!({"prefix": "w/", "after": told["version"], "timeout_ms": 20})).await;
    assert_eq!(late["changes"], json!([]));
}

#[tokio::test]
async fn who_watches_from_too_long_ago_is_given_all_there_is() {
    let node = Node::new("kv");
    node.ask("put", json!({"key": "a", "value": "1"})).await;
    let before = node.ask("watch", json!({})).await["version"].clone();
    node.ask("put", json!({"key": "b", "value": "2"})).await;
    node.ask("delete", json!({"key": "b"})).await;
    let node = node.restart();
    let told = node.ask("watch", json!({"after": before})).await;
    assert_eq!((told["reset"].clone(), told["changes"].as_array().unwrap().len()), (json!(true), 1));
    assert_eq!(node.ask("watch", json!({"after": told["version"]})).await["reset"], json!(false));
}
