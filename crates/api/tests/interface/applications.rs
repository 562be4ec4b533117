//! Deploying, undeploying and listing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use plexspaces_app::Deploy;
use plexspaces_client::v1;
use plexspaces_testkit::guests;
use plexspaces_types::{Code, Name};
use serde_json::json;

use crate::support::Node;

#[tokio::test]
async fn a_form_deploys_in_any_order_and_a_second_one_replaces() {
    let node = Node::start().await;
    let wasm = guests::echo();
    let parts: [(&str, &[u8]); 3] = [("namespace", b"prod"), ("wasm", &wasm), ("actor_type", b"counter")];
    let first = node.form("/api/v1/deploy", &parts).await;
    assert_eq!(first.status, 201, "{first:?}");
    let body = first.json();
    assert_eq!(
        (&body["tenant_id"], &body["namespace"], &body["app"], &body["actor_type"], &body["status"]),
        (&json!("default"), &json!("prod"), &json!("counter"), &json!("counter"), &json!("APPLICATION_STATUS_RUNNING"))
    );
    assert_eq!(body["deployed_at"], "2023-11-14T22:13:20.123Z");
    assert_eq!(body["digest"].as_str().map(str::len), Some(64));
    assert_eq!(body["types"][0]["handlers"][0]["kind"], "KIND_CALL");
    assert!(body["actor_ids"].is_array() && body.get("status_reason").is_none());

    let second = node.form("/api/v1/deploy", &[parts[1], parts[2], parts[0]]).await;
    assert_eq!(second.status, 200, "{second:?}");
    let invoked = node.post("/api/v1/actors/prod/counter/invoke?msg_type=x", r#"{"a":1}"#).await;
    assert_eq!(invoked.body, r#"{"a":1}"#);

    let shown = node.get("/api/v1/applications/counter").await;
    assert_eq!(shown.json()["namespace"], "prod");
    assert_eq!(node.get("/api/v1/applications/counter?namespace=other").await.status, 404);
    let gone = node.send("DELETE", "/api/v1/applications/counter?namespace=prod", &[], "").await;
    assert_eq!((gone.status.as_u16(), gone.json()), (200, json!({})));
    assert_eq!(node.get("/api/v1/applications/counter").await.status, 404);
    assert_eq!(node.get("/api/v1/actors/prod/counter").await.status, 404);
}

#[tokio::test]
async fn children_start_after_what_they_depend_on() {
    let node = Node::start().await;
    let config = "[supervisor]\nchildren = [{ id = 'gate', depends_on = ['w'] },\n { id = 'w', count = 2, depends_on = ['store'] },\n { id = 'store' }]";
    let deployed = node.deploy(&[("app", "shop"), ("config", config)]).await;
    assert_eq!(deployed.status, 201, "{deployed:?}");
    let tree = node.get("/api/v1/applications/shop/supervision").await.json();
    let paths: Vec<_> = tree["children"].as_array().unwrap().iter().map(|child| child["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["root/store", "root/w-1", "root/w-2", "root/gate"], "{tree}");
    let events = node.get("/api/v1/applications/shop/supervision/events").await.json();
    assert_eq!((&events["events"][0]["path"], &events["events"][0]["what"]), (&json!("root"), &json!("started")), "{events}");
    assert_eq!(node.post("/api/v1/actors/shop/w-2/invoke", r#"{"a":1}"#).await.body, r#"{"a":1}"#);

    let circle = config.replace("{ id = 'store' }", "{ id = 'store', depends_on = ['gate'] }");
    let refused = node.deploy(&[("app", "shop"), ("config", &circle)]).await;
    assert_eq!((refused.reason().as_str(), refused.field().as_str()), ("invalid_config", "config"));
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    let expected = "line 2: the children depend on each other in a circle: \"gate\" needs \"w\" needs \"store\" needs \"gate\"";
    assert!(message.ends_with(expected), "{message}");
}

#[tokio::test]
async fn names_tokens_and_json_are_understood() {
    let node = Node::start().await;
    let token = ("client_token", "0123456789abcdef");
    let first = node.deploy(&[("name", "a"), token]).await;
    assert_eq!(first.status, 201);
    // Repeated, it is answered as it was, whatever has become of the application since, and not carried out again.
    for removed in [false, true] {
        let changed = match removed {
            false => node.deploy(&[("name", "a"), ("version", "9")]).await,
            true => node.send("DELETE", "/api/v1/applications/a", &[], "").await,
        };
        assert_eq!(changed.status, 200);
        let again = node.deploy(&[("name", "a"), token]).await;
        assert_eq!((again.status, again.body), (first.status, first.body.clone()));
    }
    assert_eq!(node.get("/api/v1/applications/a").await.status, 404);
    assert_eq!(node.deploy(&[("name", "a")]).await.status, 201);
    assert_eq!(node.deploy(&[("name", "b"), token]).await.reason(), "conflict");
    assert_eq!(node.deploy(&[("name", "a"), ("app", "a"), ("version", "2")]).await.json()["version"], "2");
    assert_eq!(node.deploy(&[("name", "a"), ("app", "b")]).await.field(), "app");

    let wasm = base64::engine::general_purpose::STANDARD.encode(guests::echo());
    let body = json!({ "app": "c", "wasm": wasm, "tenant_id": "acme" }).to_string();
    let key = [("idempotency-key", "fedcba9876543210")];
    let deployed = node.send("POST", "/api/v1/deploy", &key, body.clone()).await;
    assert_eq!((deployed.status.as_u16(), &deployed.json()["tenant_id"]), (201, &json!("acme")));
    assert_eq!(node.send("POST", "/api/v1/deploy", &key, body).await.status, 201);
    assert_eq!(node.get("/api/v1/applications/c").await.status, 404);
    assert_eq!(node.get("/api/v1/applications/c?tenant_id=acme").await.status, 200);

    let invalid = node.form("/api/v1/deploy", &[("wasm", b"not a component")]).await;
    assert_eq!((invalid.reason().as_str(), invalid.field().as_str()), ("invalid_component", "wasm"));
}

#[tokio::test]
async fn pages_hold_everything_once_and_their_tokens_serve_only_their_list() {
    let node = Node::start().await;
    let tenant = Name::default_scope();
    for (namespace, app) in [("b", "1"), ("a", "2"), ("a", "1"), ("c", "1"), ("b", "2")] {
        let wasm = guests::described(&guests::description(&format!("type{app}")));
        let parts: [(&str, &[u8]); 3] = [("namespace", namespace.as_bytes()), ("app", app.as_bytes()), ("wasm", &wasm)];
        let deployed = node.form("/api/v1/deploy", &parts).await;
        assert_eq!(deployed.status, 201, "{deployed:?}");
    }
    assert_eq!(node.services.applications.list(&tenant, None, None, 10).await.unwrap().0.len(), 5);
    let mut found = Vec::new();
    let mut token = String::new();
    let mut tokens = Vec::new();
    loop {
        let page = node.get(&format!("/api/v1/applications?page_size=2&page_token={token}")).await.json();
        for application in page["applications"].as_array().unwrap() {
            found.push(format!("{}/{}", application["namespace"].as_str().unwrap(), application["app"].as_str().unwrap()));
        }
        let Some(next) = page.get("next_page_token") else { break };
        token = next.as_str().unwrap().to_owned();
        tokens.push(token.clone());
    }
    assert_eq!(found, ["a/1", "a/2", "b/1", "b/2", "c/1"]);
    assert_eq!(tokens.len(), 2);

    let page = async |rest: String| node.get(&format!("/api/v1/applications?{rest}")).await;
    let first = &tokens[0];
    assert_eq!(page(format!("page_token={first}&page_size=1")).await.json()["applications"][0]["namespace"], "b");
    assert_eq!(page(format!("page_token={first}&tenant_id=acme")).await.reason(), "permission_denied");
    assert_eq!(page(format!("page_token={first}&namespace=a")).await.reason(), "invalid_argument");
    assert_eq!(page(format!("page_token=A{first}")).await.field(), "page_token");
    node.clock.advance(24 * 60 * 60 * 1000 + 1);
    let expired = page(format!("page_token={first}")).await;
    assert!(expired.json()["message"].as_str().unwrap().contains("expired"));

    let listed = node.client().await.list("", Some("a")).await.unwrap();
    assert_eq!(listed.iter().map(|application| application.app.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn the_client_deploys_with_progress() {
    let node = Node::start().await;
    let client = node.client().await;
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = reports.clone();
    let wasm = Bytes::from(vec![0; 1 << 20]);
    let request = v1::DeployApplicationRequest { wasm, ..v1::DeployApplicationRequest::default() };
    let refused = client.deploy(request, move |sent, total| seen.lock().unwrap().push((sent, total))).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidComponent);
    let reports = reports.lock().unwrap().clone();
    assert!(reports.len() >= 16 && reports.is_sorted(), "{reports:?}");
    assert!(reports.last().is_some_and(|(sent, total)| sent == total && *total > 1 << 20), "{reports:?}");

    let request =
        v1::DeployApplicationRequest { wasm: guests::echo().into(), app: Some("a".to_owned()), ..v1::DeployApplicationRequest::default() };
    let deployed = client.deploy(request, |_, _| {}).await.unwrap();
    assert!(deployed.created && deployed.application.is_some());
    assert_eq!(client.get("", None, "a").await.unwrap().app, "a");
    client.undeploy("", None, "a").await.unwrap();
    assert_eq!(client.undeploy("", None, "a").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_deployment_whose_client_hangs_up_is_done_to_its_end() {
    let node = Node::start().await;
    let applications = &node.services.applications;
    let tenant = Name::default_scope();
    let request = Deploy { app: Some("shop".to_owned()), wasm: guests::echo().into(), ..Deploy::default() };
    let is_there = async |wanted: bool| {
        while node.get("/api/v1/applications/shop").await.status.is_success() != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut deploying = Box::pin(applications.deploy(&tenant, request));
    assert!(futures::poll!(&mut deploying).is_pending());
    drop(deploying);
    tokio::time::timeout(Duration::from_secs(60), is_there(true)).await.unwrap();
    let mut undeploying = Box::pin(applications.undeploy(&tenant, None, "shop", None));
    assert!(futures::poll!(&mut undeploying).is_pending());
    drop(undeploying);
    tokio::time::timeout(Duration::from_secs(60), is_there(false)).await.unwrap();
}
