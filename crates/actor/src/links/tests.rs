//! The table of watches and links, apart from its file, which a model checker compiles too.

use plexspaces_types::{ActorId, Key, Name};

use crate::links::{Links, Mourners, Tied};

fn id(key: &str) -> ActorId {
    let name = |text| Name::new("name", text).unwrap();
    ActorId::new(name("t"), name("n"), name("a"), Key::new(key).unwrap())
}

fn watch(links: &Links, watcher: &ActorId, target: &ActorId) -> String {
    match links.monitor(watcher, target, || true) {
        Tied::Yes(reference) => reference,
        other => panic!("no watch: {other:?}"),
    }
}

#[test]
fn who_ties_itself_to_one_that_has_ended_learns_it_and_leaves_nothing() {
    let links = Links::default();
    assert!(matches!(links.monitor(&id("w"), &id("x"), || false), Tied::Gone(_)));
    assert_eq!(links.link(&id("w"), &id("x"), || false), Tied::Gone(()));
    assert_eq!(links.len(), 0);
}

#[test]
fn who_was_told_between_its_tie_and_its_look_is_not_told_twice() {
    let links = Links::default();
    let ends = || {
        links.ended(&id("x"));
        false
    };
    assert!(matches!(links.monitor(&id("w"), &id("x"), ends), Tied::Yes(_)));
    assert_eq!((links.link(&id("w"), &id("x"), ends), links.len()), (Tied::Yes(()), 0));
}

#[test]
fn a_service_watches_an_actor_once_however_often_it_is_told_to() {
    let links = Links::default();
    for _ in 0..3 {
        assert!(links.monitor_for_system(&id("s"), &id("x"), || true));
    }
    assert_eq!(links.ended(&id("x")).watchers.len(), 1);
    assert!(!links.monitor_for_system(&id("s"), &id("x"), || false));
    assert_eq!(links.len(), 0);
}

#[test]
fn an_end_is_told_to_watchers_in_their_order_and_to_peers() {
    let links = Links::default();
    let first = watch(&links, &id("w"), &id("x"));
    let second = watch(&links, &id("v"), &id("x"));
    assert_eq!(links.link(&id("x"), &id("p"), || true), Tied::Yes(()));
    assert_eq!(links.link(&id("p"), &id("x"), || true), Tied::Yes(()));
    let told = links.ended(&id("x"));
    assert_eq!(told, Mourners { watchers: vec![(first, id("w")), (second, id("v"))], peers: vec![id("p")] });
    assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
}

#[test]
fn what_was_taken_back_is_not_told_and_taking_back_twice_does_nothing() {
    let links = Links::default();
    let watch = watch(&links, &id("w"), &id("x"));
    links.link(&id("x"), &id("p"), || true);
    for _ in 0..2 {
        links.demonitor(&id("w"), &watch);
        links.unlink(&id("p"), &id("x"));
    }
    links.demonitor(&id("w"), "nonsense");
    assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
}

#[test]
fn nobody_takes_back_anothers_watch() {
    let links = Links::default();
    let watch = watch(&links, &id("w"), &id("x"));
    links.demonitor(&id("v"), &watch);
    assert_eq!(links.ended(&id("x")).watchers, [(watch, id("w"))]);
}

#[test]
fn a_watcher_that_has_ended_hears_nothing() {
    let links = Links::default();
    watch(&links, &id("w"), &id("x"));
    links.ended(&id("w"));
    assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
}
