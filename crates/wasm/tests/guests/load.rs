//! What is a component that the node can run, and what is said of everything else.

use std::sync::Arc;

use plexspaces_actor::Factory;
use plexspaces_testkit::guests;
use plexspaces_types::Code;

use crate::support::Node;

async fn refusal(wasm: Vec<u8>) -> String {
    let error = Node::new().engine.load(wasm.into()).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidComponent, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_component_is_read_once_and_says_what_it_holds() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    assert_eq!(component.description().actors[0].name, "echo");
    assert_eq!(component.digest().len(), 64);
    assert!(Arc::ptr_eq(&component, &node.load(guests::echo()).await));
}

#[tokio::test]
async fn what_is_not_a_component_is_named() {
    assert_eq!(refusal(vec![]).await, "expected a WebAssembly component, found nothing (0 bytes)");
    assert_eq!(
        refusal(b"print('hello, world')\n".to_vec()).await,
        "expected a WebAssembly component, found 22 bytes that begin with \"print(\\'hello, wo\""
    );
    assert_eq!(
        refusal(guests::core_module()).await,
        "expected a WebAssembly component, found a core WebAssembly module; make a component of it, for example with `wasm-tools component new`"
    );
    assert!(refusal(b"(component)".to_vec()).await.contains("begin with \"(component)\""), "text is not compiled");
}

#[tokio::test]
async fn a_truncated_component_is_refused() {
    let mut wasm = guests::echo();
    wasm.truncate(wasm.len() / 2);
    assert!(refusal(wasm).await.starts_with("expected a valid WebAssembly component, found: "));
}

#[tokio::test]
async fn a_component_of_another_world_is_refused_by_name() {
    assert_eq!(
        refusal(guests::wrong_world()).await,
        "expected a component of the world plexspaces:actor/actor@0.1.0, found one that imports other:planet/api"
    );
    assert_eq!(refusal(guests::no_actor()).await, "expected the export plexspaces:actor/guest@0.1.0, found other:planet/run");
}

#[tokio::test]
async fn a_wrong_description_is_refused_precisely() {
    for (description, expected) in [
        ("hello", "expected value at line 1 column 1"),
        (r#"{"sdk":{"language":"x","version":"1"},"actors":[]}"#, "expected at least one actor type, found none"),
        (&guests::description("a").replace("GenServer", "GenThing"), "unknown variant `GenThing`, expected one of `GenServer`"),
        (&guests::description("a").replace("\"type\":\"a\"", "\"type\":\"a\",\"colour\":1"), "unknown field `colour`"),
        (&guests::description("a").replace("\"type\":\"a\"", "\"type\":\"a\",\"aliases\":[\"a\"]"), "found \"a\" twice"),
        (&guests::description("a").replace("\"type\":\"a\"", "\"type\":\"a\",\"aliases\":[\"\"]"), "actor type \"\": is empty"),
        (&guests::description("a b"), "actor type \"a b\": may hold only"),
    ] {
        let found = refusal(guests::described(description)).await;
        assert!(found.starts_with("the component's description is wrong: ") && found.contains(expected), "{description}: {found}");
    }
}

#[tokio::test]
async fn an_impossible_number_of_instances_is_refused() {
    for instances in [0, 1_000_000] {
        let config = plexspaces_wasm::Config { instances, ..plexspaces_wasm::Config::new(tempfile::tempdir().unwrap().path()) };
        let error = plexspaces_wasm::Engine::new(config).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Code::InvalidConfig);
        assert_eq!(error.to_string(), format!("instances must be a number of instances from 1 to 10000, found {instances}"));
    }
}
