//! The facets of code, of a configuration, and of single actors.

use plexspaces_testkit::guests;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

/// Deploys a component whose only type `counter` declares these facets, with this configuration.
async fn deploy(node: &Node, declared: Value, configured: &str) -> Answer {
    let mut description: Value = serde_json::from_str(&guests::description("counter")).unwrap();
    description["actors"][0]["facets"] = declared;
    let wasm = guests::described(&description.to_string());
    let config = format!("[app]\nname = \"app\"\nnamespace = \"default\"\n[types.counter]\nfacets = [{configured}]\n");
    node.form("/api/v1/deploy", &[("wasm", &wasm), ("config", config.as_bytes())]).await
}

async fn facets(node: &Node) -> Value {
    node.get("/api/v1/facets/default/counter").await.json()["facets"].clone()
}

#[tokio::test]
async fn facets_of_the_configuration_stand_over_those_of_the_code() {
    let node = Node::start().await;
    let declared =
        json!([{"type": "metrics", "config": {"max_operations": 5}}, {"type": "CachingFacet", "config": {"operations": ["get"]}}]);
    let configured = r#"{ type = "caching", priority = 75, config = { operations = ["list"], ttl = "10m" } }, { type = "tracing" }"#;
    assert_eq!(deploy(&node, declared, configured).await.status, 201);
    let expected = json!([
        {"type": "tracing", "priority": 750, "config": {}},
        {"type": "metrics", "priority": 700, "config": {"max_operations": 5}},
        {"type": "caching", "priority": 75, "config": {"operations": ["list"], "ttl": "10m"}},
    ]);
    assert_eq!(facets(&node).await, expected);
}

#[tokio::test]
async fn a_facet_that_cannot_be_is_refused_when_it_is_deployed() {
    let node = Node::start().await;
    for (declared, configured, part) in [
        (json!([{"type": "durabilty", "config": {}}]), "", "unknown facet \"durabilty\", expected one of authentication,"),
        (json!([{"type": "durabilty", "config": {}}]), "", "did you mean `durability`?"),
        (json!([]), r#"{ type = "mobility" }"#, "unknown facet \"mobility\""),
        (json!([]), r#"{ type = "metrics" }, { type = "MetricsFacet" }"#, "the facet metrics is given twice"),
        (json!([]), r#"{ type = "durability", config = { checkpoint_interval = 0 } }"#, "facet durability: checkpoint_interval is 0"),
        (json!([]), r#"{ type = "durability", config = { interval = 3 } }"#, "facet durability: unknown key \"interval\""),
        (json!([]), r#"{ type = "virtual_actor", config = { idle_timeout = "soon" } }"#, "facet virtual_actor: idle_timeout is \"soon\""),
        (json!([]), r#"{ type = "virtual_actor", config = { activation_strategy = "lasy" } }"#, "expected `lazy` or `eager`"),
        (json!([]), r#"{ type = "virtual_actor", config = { labels = { gpu = 1 } } }"#, "facet virtual_actor: labels is"),
        (json!([{"type": "http_client", "config": {"links": ["api"]}}]), "", "unknown service link \"api\"; the application has none"),
        (json!([]), r#"{ type = "reminder" }"#, "needs the facet durability too"),
        (json!([]), r#"{ type = "metrics", prio = 3 }"#, "did you mean `priority`?"),
    ] {
        let refused = deploy(&node, declared, configured).await;
        assert_eq!(refused.reason(), "invalid_config", "{part}");
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(node.get("/api/v1/applications/app").await.status, 404);
}

#[tokio::test]
async fn the_facets_of_one_actor_are_shown_attached_and_detached() {
    let node = Node::start().await;
    let path = |rest: &str| format!("/api/v1/facets/default/mirror{rest}");
    let put = async |rest: &str, body: &str| node.send("PUT", &path(rest), &[], body.to_owned()).await;
    let rules = r#"{"priority": 940, "config": {"operations": {"secret": {"allow": ["nobody"]}}}}"#;
    let body = rules.replacen('{', r#"{"actor_id": "x", "#, 1);
    assert_eq!(put("/authorization?actor_id=y", &body).await.field(), "actor_id", "the query and the body name different ones");
    assert_eq!(put("/authorization?actor_id=x", rules).await.json(), json!({"replaced": false}));
    assert_eq!(put("/authorization", &body).await.json(), json!({"replaced": true}));
    let shown = node.get(&path("?actor_id=x")).await.json();
    let expected = json!({"type": "authorization", "priority": 940, "config": {"operations": {"secret": {"allow": ["nobody"]}}}});
    assert_eq!(shown, json!({"facets": [expected]}));
    let ask =
        async |key: &str| node.post(&format!("/api/v1/actors/default/mirror?invocation=call&msg_type=secret&actor_id={key}"), "{}").await;
    assert_eq!((ask("x").await.reason().as_str(), ask("y").await.status.as_u16()), ("permission_denied", 200));

    assert_eq!(put("/authorisation", &body).await.reason(), "invalid_config");
    assert_eq!(put("/metrics", r#"{"config": {"max_operations": 9007199254740993}}"#).await.field(), "config");
    assert_eq!(put("/metrics", r#"{"config": {"max": 1}}"#).await.reason(), "invalid_config");
    assert_eq!(put("/durability", "{}").await.reason(), "invalid_config");
    assert_eq!(node.send("PUT", "/api/v1/facets/default/nobody/metrics", &[], "{}").await.reason(), "not_found");
    assert_eq!(node.get(&path("")).await.json(), json!({"facets": []}));

    let detach = async || node.send("DELETE", &path("/authorization?actor_id=x"), &[], "").await;
    let detached = detach().await;
    assert_eq!((detached.status.as_u16(), detached.json()), (200, json!({})));
    assert_eq!(detach().await.reason(), "not_found");
    assert_eq!(ask("x").await.status, 200);
}
