//! What a tuple space promises.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_store::{Memory, Partition, Range};
use plexspaces_types::{ActorId, Clock, Name};
use serde_json::{Value, json};

use crate::support::{self, Node};

async fn write(node: &Node, tuple: Value) {
    node.ask("write", json!({"tuple": tuple})).await;
}

async fn read(node: &Node, pattern: Value) -> Value {
    node.ask("read", json!({"pattern": pattern})).await["tuple"].clone()
}

async fn take(node: &Node, pattern: Value) -> Value {
    node.ask("take", json!({"pattern": pattern})).await["tuple"].clone()
}

#[tokio::test]
async fn a_tuple_is_read_by_what_it_holds_and_taken_once() {
    let node = Node::new("tuples");
    write(&node, json!(["order", 1, {"items": ["a", "b"]}])).await;
    write(&node, json!(["order", 2.0, null])).await;
    write(&node, json!(["order"])).await;
    assert_eq!(read(&node, json!(["order", null, null])).await, json!(["order", 1, {"items": ["a", "b"]}]));
    assert_eq!(read(&node, json!(["order", 2, null])).await, json!(["order", 2.0, null]));
    assert_eq!(read(&node, json!([null, null, {"items": ["a", "b"]}])).await, json!(["order", 1, {"items": ["a", "b"]}]));
    assert_eq!(read(&node, json!(["order", null])).await, Value::Null);
    assert_eq!(take(&node, json!(["order", null, null])).await, json!(["order", 1, {"items": ["a", "b"]}]));
    assert_eq!(take(&node, json!(["order", 1, null])).await, Value::Null);
    assert_eq!(node.ask("count", json!({"pattern": ["order", null, null]})).await, json!({"count": 1}));
}

#[tokio::test]
async fn the_oldest_of_several_matches_is_given_first() {
    let node = Node::new("tuples");
    for number in 0..20 {
        write(&node, json!(["job", number])).await;
    }
    for number in 0..20 {
        assert_eq!(take(&node, json!(["job", null])).await, json!(["job", number]));
    }
}

#[tokio::test]
async fn buckets_are_ranges_of_rows_and_tuples_keep_one_order_over_all_of_them() {
    let node = Node::new("tuples");
    let all: Vec<Value> = (0..60).map(|number| (["red", "green", "blue"][number % 3], number)).map(|tuple| json!(tuple)).collect();
    for tuple in &all {
        write(&node, tuple.clone()).await;
    }
    let partition = Partition::actor(&ActorId::parse(&Name::default_scope(), "default/plexspaces.tuples/default").unwrap());
    let rows = node.store.scan(&partition, Range::all(), 1000).await.unwrap().entries;
    let buckets: Vec<_> = rows.iter().filter_map(|(key, _)| key.strip_prefix(b"xt".as_slice()).filter(|place| place.len() == 10)).collect();
    let mut together: Vec<&[u8]> = buckets.iter().map(|place| &place[..2]).collect();
    assert_eq!(together.len(), 60, "{rows:?}");
    together.dedup();
    assert_eq!(together.len(), 3, "each color lies in one place");
    let node = node.restart();
    assert_eq!(node.ask("read_all", json!({"pattern": [null, null]})).await["tuples"], json!(all));
    assert_eq!(take(&node, json!([null, null])).await, json!(["red", 0]));
    let node = node.restart();
    assert_eq!(read(&node, json!([null, null])).await, json!(["green", 1]), "what was taken is gone from its bucket");
}

#[tokio::test]
async fn conditions_narrow_a_pattern_and_wrong_ones_are_named() {
    let node = Node::new("tuples");
    for (name, value) in [("a", json!(1)), ("b", json!(2.5)), ("c", json!("text")), ("d", Value::Null), ("e", json!([1]))] {
        write(&node, json!([name, value])).await;
    }
    let names = async |condition: Value| {
        let found = node.ask("read_all", json!({"pattern": [null, condition]})).await;
        found["tuples"].as_array().unwrap().iter().map(|tuple| tuple[0].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names(json!({"$gt": 1})).await, "b");
    assert_eq!(names(json!({"$gte": 1, "$lt": 2.5})).await, "a");
    assert_eq!(names(json!({"$type": "number"})).await, "ab");
    assert_eq!(names(json!({"$type": "integer"})).await, "a");
    assert_eq!(names(json!({"$eq": null})).await, "d");
    assert_eq!(names(json!({"$ne": null})).await, "abce");
    assert_eq!(names(json!({"$in": [1.0, "text"]})).await, "ac");
    assert_eq!(names(json!({"$prefix": "te"})).await, "c");
    assert_eq!(names(json!([1])).await, "e");
    let (code, field, message) = node.refused("read", json!({"pattern": ["a", {"$above": 1}]})).await;
    assert_eq!((code, field.as_deref()), ("invalid_argument", Some("pattern[1]")));
    assert!(message.contains("$above") && message.contains("$gt"), "{message}");
    let (_, field, _) = node.refused("read", json!({"pattern": []})).await;
    assert_eq!(field.as_deref(), Some("pattern"));
    let (_, field, _) = node.refused("write", json!({"tuple": {"a": 1}})).await;
    assert_eq!(field.as_deref(), Some("tuple"));
    let (code, _, message) = node.refused("read", json!({"patern": ["a"]})).await;
    assert_eq!(code, "invalid_argument");
    assert!(message.contains("patern"), "{message}");
}

#[tokio::test]
async fn write_once_and_replace_are_one_step() {
    let node = Arc::new(Node::new("tuples"));
    let writers = (0..50).map(|number| {
        let node = node.clone();
        tokio::spawn(async move {
            node.ask("write_once", json!({"pattern": ["leader", null], "tuple": ["leader", number]})).await["written"].as_bool().unwrap()
        })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        written += usize::from(writer.await.unwrap());
    }
    assert_eq!(written, 1);
    let before = read(&node, json!(["leader", null])).await;
    let replaced = node.ask("replace", json!({"pattern": ["leader", null], "tuple": ["leader", "next"]})).await;
    assert_eq!(replaced["tuple"], before);
    assert_eq!(node.ask("read_all", json!({"pattern": ["leader", null]})).await["tuples"], json!([["leader", "next"]]));
    assert_eq!(node.ask("replace", json!({"pattern": ["none"], "tuple": ["some"]})).await["tuple"], Value::Null);
    assert_eq!(read(&node, json!(["some"])).await, Value::Null);
}

#[tokio::test]
async fn who_waits_is_given_what_comes() {
    let node = Arc::new(Node::new("tuples"));
    let waiting = |operation: &'static str| {
        let node = node.clone();
        tokio::spawn(async move { node.ask(operation, json!({"pattern": ["late", null], "timeout_ms": 60_000})).await["tuple"].clone() })
    };
    let (reader, taker) = (waiting("read"), waiting("take"));
    let other = waiting("take");
    // Both kinds are inside before the tuples come, or find them: the outcome is the same.
    write(&node, json!(["late", 1])).await;
    write(&node, json!(["late", 2])).await;
    let mut taken = vec![taker.await.unwrap(), other.await.unwrap()];
    taken.sort_by_key(|tuple| tuple[1].as_i64());
    assert_eq!(taken, [json!(["late", 1]), json!(["late", 2])]);
    write(&node, json!(["late", 3])).await;
    assert_eq!(reader.await.unwrap()[0], json!("late"));
}

#[tokio::test]
async fn a_wait_ends_in_time_with_nothing() {
    let node = Node::new("tuples");
    let began = std::time::Instant::now();
    assert_eq!(node.ask("take", json!({"pattern": ["never"], "timeout_ms": 50})).await, json!({"tuple": null}));
    assert!(began.elapsed() >= Duration::from_millis(50) && began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_waiter_that_has_gone_would_have_got_is_the_next_ones() {
    let node = Arc::new(Node::new("tuples"));
    let gone = {
        let node = node.clone();
        tokio::spawn(async move { node.ask("take", json!({"pattern": ["x"], "timeout_ms": 60_000})).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    gone.abort();
    let _ = gone.await;
    write(&node, json!(["x"])).await;
    assert_eq!(take(&node, json!(["x"])).await, json!(["x"]));
}

#[tokio::test]
async fn what_is_taken_for_a_time_comes_back_unless_it_is_confirmed() {
    let node = Node::new("tuples");
    write(&node, json!(["task", 1])).await;
    write(&node, json!(["task", 2])).await;
    let first = node.ask("take", json!({"pattern": ["task", null], "lease_ms": 60_000})).await;
    assert_eq!(first["tuple"], json!(["task", 1]));
    assert_eq!(read(&node, json!(["task", null])).await, json!(["task", 2]));
    node.ask("release", json!({"lease": first["lease"]})).await;
    assert_eq!(read(&node, json!(["task", null])).await, json!(["task", 1]), "it is as old as it was");
    let short = node.ask("take", json!({"pattern": ["task", 1], "lease_ms": 30})).await;
    let back = node.ask("take", json!({"pattern": ["task", 1], "timeout_ms": 60_000, "lease_ms": 60_000})).await;
    assert_eq!(back["tuple"], json!(["task", 1]));
    let (code, field, _) = node.refused("confirm", json!({"lease": short["lease"]})).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("lease")));
    let node = node.restart();
    assert_eq!(take(&node, json!(["task", 1])).await, Value::Null, "the lease outlives the node");
    node.ask("confirm", json!({"lease": back["lease"]})).await;
    assert_eq!(node.ask("count", json!({"pattern": ["task", null]})).await, json!({"count": 1}));
}

#[tokio::test]
async fn a_tuple_with_a_time_to_live_goes() {
    let node = Node::new("tuples");
    node.ask("write", json!({"tuple": ["brief"], "ttl_ms": 2000})).await;
    assert_eq!(read(&node, json!(["brief"])).await, json!(["brief"]));
    support::eventually("it is gone", async || read(&node, json!(["brief"])).await.is_null()).await;
    let (_, field, _) = node.refused("write", json!({"tuple": ["brief"], "ttl_ms": 0})).await;
    assert_eq!(field.as_deref(), Some("ttl_ms"));
}

#[tokio::test]
async fn tuples_outlive_the_node() {
    let node = Node::new("tuples");
    for number in 0..300 {
        write(&node, json!(["kept", number])).await;
    }
    assert_eq!(take(&node, json!(["kept", 7])).await, json!(["kept", 7]));
    let node = node.restart();
    assert_eq!(node.ask("count", json!({"pattern": ["kept", null]})).await, json!({"count": 299}));
    assert_eq!(take(&node, json!(["kept", null])).await, json!(["kept", 0]));
    write(&node, json!(["kept", "new"])).await;
    assert_eq!(read(&node, json!(["kept", null])).await, json!(["kept", 1]));
}

#[tokio::test]
async fn a_lease_that_ends_while_no_node_is_there_is_over_for_the_first_request() {
    let clock = Clock::manual(1_000_000);
    let node = Node::with_clock("tuples", Arc::new(Memory::default()), clock.clone());
    write(&node, json!(["task", 1])).await;
    let lent = node.ask("take", json!({"pattern": ["task", null], "lease_ms": 50})).await;
    clock.advance(60);
    let node = Node::with_clock("tuples", node.store, clock);
    let (code, _, _) = node.refused("confirm", json!({"lease": lent["lease"]})).await;
    assert_eq!(code, "conflict");
    assert_eq!(take(&node, json!(["task", null])).await, json!(["task", 1]));
}

#[tokio::test]
async fn all_matches_are_given_in_pages() {
    let node = Node::new("tuples");
    for number in 0..2500 {
        write(&node, json!(["many", number])).await;
    }
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = node.ask("read_all", json!({"pattern": ["many", null], "after": after})).await;
        seen.extend(page["tuples"].as_array().unwrap().iter().map(|tuple| tuple[1].as_u64().unwrap()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, (0..2500).collect::<Vec<_>>());
    let taken = node.ask("take_all", json!({"pattern": ["many", {"$lt": 10}]})).await;
    assert_eq!(taken["tuples"].as_array().unwrap().len(), 10);
    assert_eq!(node.ask("count", json!({"pattern": ["many", null]})).await, json!({"count": 2490}));
}

#[tokio::test]
async fn a_repeated_request_takes_one_tuple() {
    let node = Node::new("tuples");
    write(&node, json!(["one", 1])).await;
    write(&node, json!(["one", 2])).await;
    let arguments = json!({"pattern": ["one", null]});
    let first = node.keyed("take", arguments.clone(), Some("key-of-this-request")).await.unwrap();
    assert_eq!(node.keyed("take", arguments.clone(), Some("key-of-this-request")).await.unwrap(), first);
    let node = node.restart();
    assert_eq!(node.keyed("take", arguments, Some("key-of-this-request")).await.unwrap(), first);
    let other = node.keyed("take", json!({"pattern": ["two"]}), Some("key-of-this-request")).await.unwrap_err();
    assert_eq!(other.code.name(), "conflict");
    assert_eq!(node.ask("count", json!({"pattern": ["one", null]})).await, json!({"count": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tuple_is_taken_twice_and_none_is_lost() {
    let node = Arc::new(Node::new("tuples"));
    let takers = (0..8).map(|_| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let reply = node.ask("take", json!({"pattern": ["n", null], "timeout_ms": 60_000})).await;
                match reply["tuple"][1].as_i64().unwrap() {
                    -1 => return taken,
                    number => taken.push(number),
                }
            }
        })
    });
    let takers: Vec<_> = takers.collect();
    let writers = (0..4).map(|writer| {
        let node = node.clone();
        tokio::spawn(async move {
            for number in 0..250 {
                write(&node, json!(["n", writer * 250 + number])).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for _ in 0..8 {
        write(&node, json!(["n", -1])).await;
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_the_last_activation_of_a_space_writes() {
    let first = Node::new("tuples");
    write(&first, json!(["mine"])).await;
    let second = Node::over("tuples", first.store.clone());
    assert_eq!(take(&second, json!(["mine"])).await, json!(["mine"]));
    let (code, ..) = first.refused("take", json!({"pattern": ["mine"]})).await;
    assert_eq!(code, "fenced", "the first believes that the tuple is there, and may not take it");
    assert_eq!(read(&first, json!(["mine"])).await, Value::Null, "it has read the store anew");
}

#[tokio::test]
async fn nothing_of_an_earlier_activation_comes_after_what_a_later_one_has_read() {
    let first = Node::new("tuples");
    write(&first, json!(["mine"])).await;
    let second = Node::over("tuples", first.store.clone());
    assert_eq!(read(&second, json!(["mine"])).await, json!(["mine"]));
    let (code, ..) = first.refused("take", json!({"pattern": ["mine"]})).await;
    assert_eq!(code, "fenced");
    assert_eq!(take(&second, json!(["mine"])).await, json!(["mine"]), "what the second has only read is still there");
}

#[tokio::test]
async fn positions_rise_though_nothing_is_left_and_the_node_is_started_anew() {
    let node = Node::new("tuples");
    write(&node, json!(["a", 1])).await;
    let before = node.ask("read", json!({"pattern": ["a", null]})).await["position"].as_u64().unwrap();
    take(&node, json!(["a", null])).await;
    let node = node.restart();
    write(&node, json!(["a", 2])).await;
    let after = node.ask("read", json!({"pattern": ["a", null], "after": before})).await;
    assert_eq!(after["tuple"], json!(["a", 2]));
    assert!(after["position"].as_u64().unwrap() > before);
}

#[tokio::test]
async fn an_argument_that_is_missing_or_unknown_is_named() {
    let node = Node::new("tuples");
    assert_eq!(node.refused("write", json!({})).await.1.as_deref(), Some("tuple"));
    assert_eq!(node.refused("take", json!({"pattern": [1], "timeout": 5})).await.1.as_deref(), Some("timeout"));
}
