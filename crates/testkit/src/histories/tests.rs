//! The checker finds what is wrong.

use serde_json::json;

use super::search as check;
use super::*;

/// A call from its beginning to its end, with a reply, or with none when its end is 0.
fn call(began: u64, ended: u64, operation: &str, arguments: Value, reply: Value) -> Call {
    let is_known = ended > 0;
    let end = if is_known { ended } else { u64::MAX };
    Call {
        client: "client".to_owned(),
        operation: operation.to_owned(),
        arguments,
        reply: is_known.then_some(Ok(reply)),
        certain: false,
        withdrawn: false,
        began,
        ended: end,
        node: None,
        from_ms: began,
        to_ms: end,
    }
}

fn put(began: u64, ended: u64, value: &str) -> Call {
    call(began, ended, "put", json!({"key": "k", "value": value}), json!({}))
}

fn get(began: u64, ended: u64, value: &str, version: u64) -> Call {
    call(began, ended, "get", json!({"key": "k"}), json!({"value": value, "version": version}))
}

#[test]
fn what_overlaps_may_have_happened_in_any_order() {
    check(&Pairs, &[put(1, 6, "a"), put(2, 5, "b"), get(7, 8, "a", 2)]).unwrap();
    check(&Pairs, &[put(1, 6, "a"), put(2, 5, "b"), get(7, 8, "b", 2)]).unwrap();
    check(&Pairs, &[put(1, 6, "a"), put(2, 5, "b"), get(3, 4, "b", 1), get(7, 8, "a", 2)]).unwrap();
}

#[test]
fn a_stale_read_is_refused() {
    let refusal = check(&Pairs, &[put(1, 2, "a"), put(3, 4, "b"), get(5, 6, "a", 1)]).unwrap_err();
    assert_eq!(refusal.next.iter().map(|call| call.began).collect::<Vec<_>>(), [5], "{refusal}");
}

#[test]
fn two_reads_do_not_go_back_in_time() {
    check(&Pairs, &[put(1, 2, "a"), put(3, 10, "b"), get(4, 5, "b", 2), get(6, 7, "a", 1)]).unwrap_err();
}

#[test]
fn a_version_that_is_given_twice_is_refused() {
    let put_elsewhere = call(3, 4, "put", json!({"key": "other", "value": "b"}), json!({}));
    let found = call(5, 6, "get", json!({"key": "other"}), json!({"value": "b", "version": 1}));
    check(&Pairs, &[put(1, 2, "a"), put_elsewhere, found]).unwrap_err();
}

#[test]
fn what_nobody_knows_of_may_happen_later_or_never_but_not_twice() {
    check(&Pairs, &[put(1, 2, "a"), put(3, 0, "b"), get(4, 5, "a", 1), get(6, 7, "b", 2)]).unwrap();
    check(&Pairs, &[put(1, 2, "a"), put(3, 0, "b"), get(4, 5, "a", 1)]).unwrap();
    check(&Pairs, &[put(3, 0, "b"), put(4, 5, "a"), get(6, 7, "b", 2), put(8, 9, "a"), get(10, 11, "b", 4)]).unwrap_err();
    check(&Pairs, &[get(1, 2, "b", 1), put(3, 0, "b")]).unwrap_err();
}

#[test]
fn what_happens_for_certain_cannot_be_left_out() {
    let mut late = put(1, 0, "b");
    late.certain = true;
    check(&Pairs, &[late.clone(), call(2, 3, "get", json!({"key": "k"}), json!({}))]).unwrap();
    let nothing = |began| {
        call(
            began,
            began + 1,
            "cas",
            json!({"key": "k", "expected": null, "value": "c"}),
            json!({"swapped": true, "value": "c", "version": 1}),
        )
    };
    check(&Pairs, &[late, nothing(2), get(4, 5, "c", 1)]).unwrap();
}

#[test]
fn a_tuple_that_is_taken_twice_is_refused() {
    let write = call(1, 2, "write", json!({"tuple": ["t", 1]}), json!({}));
    let take = |began, ended| call(began, ended, "take", json!({"pattern": ["t", null]}), json!({"tuple": ["t", 1]}));
    check(&Tuples::default(), &[write.clone(), take(3, 6)]).unwrap();
    check(&Tuples::default(), &[write.clone(), take(3, 6), take(4, 5)]).unwrap_err();
    check(&Tuples::default(), &[write, take(3, 0), take(4, 5)]).unwrap();
}

#[test]
fn a_tuple_that_is_lost_or_not_the_oldest_is_refused() {
    let write = |began, number| call(began, began + 1, "write", json!({"tuple": ["t", number]}), json!({}));
    let read = |began, number: Value| call(began, began + 1, "read", json!({"pattern": ["t", null]}), json!({"tuple": number}));
    check(&Tuples::default(), &[write(1, 1), read(3, Value::Null)]).unwrap_err();
    check(&Tuples::default(), &[write(1, 1), write(3, 2), read(5, json!(["t", 2]))]).unwrap_err();
    check(&Tuples::default(), &[write(1, 1), write(3, 2), read(5, json!(["t", 1]))]).unwrap();
}

#[test]
fn any_lease_that_may_be_over_may_be_what_was_counted_or_taken() {
    let write = |began, kind: &str| call(began, began + 1, "write", json!({"tuple": [kind]}), json!({}));
    let lend = |began: u64, kind: &str| {
        let lease_ms = if kind == "c" { 1000 } else { 100 };
        let reply = json!({"tuple": [kind], "lease": kind});
        call(began, began + 1, "take", json!({"pattern": [kind], "lease_ms": lease_ms}), reply)
    };
    let lent = [write(1, "a"), write(3, "b"), write(5, "c"), lend(7, "a"), lend(9, "b"), lend(11, "c")];
    let with = |rest: &[Call]| check(&Tuples { late_ms: 2000 }, &[&lent[..], rest].concat());
    let count = |began, kind: Value, count: u64| call(began, began + 1, "count", json!({"pattern": [kind]}), json!({"count": count}));
    with(&[count(200, json!("b"), 1), count(202, json!("a"), 0)]).unwrap();
    with(&[count(200, Value::Null, 2)]).unwrap();
    with(&[count(200, Value::Null, 3)]).unwrap_err();
    with(&[count(5000, Value::Null, 0)]).unwrap_err();
    with(&[call(1100, 0, "take_all", json!({"pattern": [null]}), json!({})), count(5000, Value::Null, 0)]).unwrap();
}

#[test]
fn a_lease_that_ends_too_early_is_refused() {
    let write = call(1, 2, "write", json!({"tuple": ["t"]}), json!({}));
    let lend = call(3, 4, "take", json!({"pattern": ["t"], "lease_ms": 100}), json!({"tuple": ["t"], "lease": "l"}));
    let take = |began| call(began, began + 1, "take", json!({"pattern": ["t"]}), json!({"tuple": ["t"]}));
    check(&Tuples::default(), &[write.clone(), lend.clone(), take(50)]).unwrap_err();
    check(&Tuples::default(), &[write, lend, take(103)]).unwrap();
}

#[test]
fn two_holders_of_a_lock_and_versions_that_do_not_grow_are_refused() {
    let acquire = |began, holder: &str, version: &str| {
        let reply = json!({"version": version, "holder": holder, "expires_ms": 1000});
        call(began, began + 1, "acquire", json!({"key": "k", "holder": holder, "ttl_ms": 900}), reply)
    };
    let release =
        |began, version: &str| call(began, began + 1, "release", json!({"key": "k", "version": version}), json!({"released": true}));
    let locks = Locks::default();
    check(&locks, &[acquire(1, "a", "1"), acquire(3, "b", "2")]).unwrap_err();
    check(&locks, &[acquire(1, "a", "1"), release(3, "1"), acquire(5, "b", "1")]).unwrap_err();
    check(&locks, &[acquire(1, "a", "1"), release(3, "1"), acquire(5, "b", "2")]).unwrap();
    check(&locks, &[acquire(1, "a", "1"), acquire(1001, "b", "2")]).unwrap();
}

#[test]
fn a_queue_that_changes_the_order_loses_or_repeats_is_refused() {
    let send = |began, id: &str| call(began, began + 1, "send", json!({"msg_id": id, "payload": 1}), json!({"msg_id": id}));
    let receive = |began, id: &str, count: u32| {
        let reply = json!({"message": {"msg_id": id, "delivery_count": count}});
        call(began, began + 1, "receive", json!({"visibility_ms": 100}), reply)
    };
    let none = |began| call(began, began + 1, "receive", json!({"visibility_ms": 100}), json!({"message": null}));
    let ack = |began, id: &str| call(began, began + 1, "ack", json!({"msg_id": id}), json!({}));
    let sent = [send(1, "a"), send(3, "b")];
    let with = |rest: &[Call]| check(&Queue::default(), &[&sent[..], rest].concat());
    with(&[receive(5, "a", 1), receive(7, "b", 1), none(9)]).unwrap();
    with(&[receive(5, "b", 1)]).unwrap_err();
    with(&[receive(5, "a", 1), none(7)]).unwrap_err();
    with(&[receive(5, "a", 1), receive(7, "a", 2)]).unwrap_err();
    with(&[receive(5, "a", 1), ack(7, "a"), receive(200, "a", 2)]).unwrap_err();
    // Given out again it comes before what was sent after it.
    with(&[receive(5, "a", 1), receive(200, "a", 2), receive(202, "b", 1)]).unwrap();
    // At a broker also after it, and an id that is done is known for a while.
    let with = |rest: &[Call]| check(&Queue { is_at_broker: true, ..Queue::default() }, &[&sent[..], rest].concat());
    with(&[receive(5, "a", 1), receive(200, "b", 1), receive(202, "a", 2)]).unwrap();
    with(&[receive(5, "a", 1), ack(7, "a"), send(9, "a"), receive(11, "b", 1), none(13)]).unwrap();
    with(&[receive(5, "b", 1)]).unwrap_err();
    with(&[receive(5, "a", 1), receive(7, "a", 2)]).unwrap_err();
    with(&[receive(5, "a", 1), receive(200, "a", 1)]).unwrap_err();
}

#[test]
fn a_subscriber_that_misses_a_message_or_has_it_twice_is_refused() {
    let publish = |began, id: &str| call(began, began + 1, "publish", json!({"msg_id": id}), json!({"msg_id": id}));
    let next = |began, id: &str| call(began, began + 1, "next", json!({"subscriber": "s"}), json!({"message": {"msg_id": id}}));
    let published = [publish(1, "a"), publish(3, "b")];
    let with = |rest: &[Call]| check(&Topic, &[&published[..], rest].concat());
    with(&[next(5, "a"), next(7, "b")]).unwrap();
    with(&[next(5, "b")]).unwrap_err();
    with(&[next(5, "a"), next(7, "a")]).unwrap_err();
}

#[test]
fn what_nobody_knows_of_is_put_off_and_the_search_comes_to_an_end() {
    let send = |began, id: &str| call(began, began + 1, "send", json!({"msg_id": id, "payload": 1}), json!({"msg_id": id}));
    let receive = |began, id: &str| {
        let reply = json!({"message": {"msg_id": id, "delivery_count": 1}});
        call(began, began + 1, "receive", json!({"visibility_ms": 100}), reply)
    };
    let unknown = (7..10).map(|began| call(began, 0, "receive", json!({"visibility_ms": 100}), json!({})));
    let lost = (10..18).map(|began| call(began, 0, "send", json!({"msg_id": "lost", "payload": 1}), json!({})));
    let begun: Vec<Call> = [send(1, "a"), send(3, "b"), send(5, "c")].into_iter().chain(unknown).chain(lost).collect();
    let with = |rest: &[Call]| check(&Queue::default(), &[&begun[..], rest].concat());
    with(&[receive(20, "a"), receive(22, "b"), receive(24, "c")]).unwrap();
    with(&[receive(20, "c")]).unwrap();
    // Somebody has had the first two, and they come back as what they are.
    assert!(with(&[receive(20, "c"), receive(22, "a")]).unwrap_err().is_certain());
}

#[test]
fn what_no_history_may_show_is_found_without_a_search() {
    let refused = |workload: &Workload, calls: &[Call]| Judged::default().add("test", workload, calls, 0).unwrap_err();
    let send = |began, id: &str| call(began, began + 1, "send", json!({"msg_id": id}), json!({"msg_id": id}));
    let receive = |began, id: &str| call(began, began + 1, "receive", json!({}), json!({"message": {"msg_id": id, "delivery_count": 1}}));
    let given = [send(1, "a"), send(3, "b"), receive(5, "b"), receive(7, "a")];
    assert_eq!(refused(&workload::CHANNEL, &given), "b was given out before a, which was sent before it");
    assert_eq!(refused(&workload::CHANNEL, &given[..3]), "{\"msg_id\":\"a\"} is lost");
    let take = |began| call(began, began + 1, "take", json!({"pattern": ["t"]}), json!({"tuple": ["t"]}));
    let write = |began| call(began, began + 1, "write", json!({"tuple": ["t"]}), Value::Null);
    assert_eq!(
        refused(&workload::TUPLES, &[write(1), take(3), take(5)]),
        "[\"t\"] was taken 2 times, which is more often than it was written (1)"
    );
    promises::tuples(&[write(1), write(3), take(5), take(7)]).unwrap();
    let acquire = |began, holder: &str, version: &str| {
        let reply = json!({"version": version, "holder": holder});
        call(began, began + 1, "acquire", json!({"key": "k", "holder": holder}), reply)
    };
    assert_eq!(refused(&workload::LOCKS, &[acquire(1, "a", "1"), acquire(3, "b", "1")]), "a of k and b of k hold version 1");
    assert_eq!(refused(&workload::LOCKS, &[acquire(1, "a", "2"), acquire(3, "b", "1")]), "k was given with version 2, and then with 1");
    let cas = |began, key: &str| call(began, began + 1, "cas", json!({"key": key}), json!({"swapped": true, "version": 1}));
    assert_eq!(refused(&workload::PAIRS, &[cas(1, "a"), cas(3, "b")]), "{\"key\":\"a\"} and {\"key\":\"b\"} have one version");
}

#[test]
fn what_changes_nothing_yet_may_change_something_later() {
    let send = |began, ended, id: &str| call(began, ended, "send", json!({"msg_id": id, "payload": 1}), json!({"msg_id": id}));
    let receive = |began, id: &str| {
        let reply = json!({"message": {"msg_id": id, "delivery_count": 1}});
        call(began, began + 1, "receive", json!({"visibility_ms": 100}), reply)
    };
    let ack = |began, ended, id: &str| call(began, ended, "ack", json!({"msg_id": id}), json!({}));
    // The second time it is sent when it is done.
    let again = [send(1, 2, "a"), receive(3, "a"), send(4, 5, "b"), ack(6, 9, "a"), send(7, 8, "a"), receive(10, "b"), receive(12, "a")];
    check(&Queue::default(), &again).unwrap();
}
