//! What an actor's HTTP requests are by the time they leave it. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::{FacetSpec, HttpResponse, Moment, Outbound, Outgoing, Profile, Target};
use plexspaces_types::{Code, Failure};
use serde_json::json;
use support::{Lab, limits};

/// Answers each request and remembers it.
#[derive(Default)]
struct Recorder(Mutex<Vec<Outgoing>>);

#[async_trait]
impl Outbound for Recorder {
    fn links(&self) -> Vec<String> {
        vec!["api".to_owned(), "mail".to_owned()]
    }

    async fn fetch(&self, link: &str, outgoing: Outgoing) -> Result<HttpResponse, Failure> {
        if !self.links().iter().any(|known| known == link) {
            return Err(Failure::not_found("unknown service link"));
        }
        self.0.lock().unwrap().push(outgoing);
        Ok(HttpResponse { status: 201, headers: vec![("x-a".into(), "b".into())], body: "done".into() })
    }
}

async fn linked(profile: Profile) -> (Lab, Arc<Recorder>) {
    let mut lab = Lab::with(profile, Vec::new()).await;
    let recorder = Arc::new(Recorder::default());
    lab.application.outbound = Some(recorder.clone());
    lab.runtime.deploy(&lab.application).await.unwrap();
    (lab, recorder)
}

#[tokio::test]
async fn each_request_has_an_idempotency_key_its_actors_or_one_that_is_made() {
    let (lab, recorder) = linked(Profile::default()).await;
    for key in [json!(null), json!(null), json!("order-7")] {
        let reply = lab.ask("a", "fetch", json!({"link": "api", "key": key})).await.unwrap();
        assert_eq!(reply, json!({"status": 201, "body": "done"}));
    }
    let seen = recorder.0.lock().unwrap();
    let keys: Vec<&str> = seen.iter().map(|outgoing| outgoing.idempotency_key.as_str()).collect();
    assert!(keys[0].len() == 32 && keys[1].len() == 32 && keys[0] != keys[1], "{keys:?}");
    assert_eq!(keys[2], "order-7");
    assert_eq!(seen[0].request.idempotency_key, None, "who has no key of its own vouches for nothing");
}

#[tokio::test]
async fn the_requests_of_a_fork_are_its_own() {
    let (lab, recorder) = linked(Profile { durable: true, ..Profile::default() }).await;
    lab.ask("a", "fetch", json!({"link": "api"})).await.unwrap();
    // It begins the turn anew, with the seed of the first.
    lab.runtime.fork(&lab.ctx(), Target { name: "probe", key: Some("a") }, Moment::Turn(0), Some(0), None, "b").await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while recorder.0.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    let seen = recorder.0.lock().unwrap();
    assert_ne!(seen[0].idempotency_key, seen[1].idempotency_key);
}

#[tokio::test]
async fn a_request_over_a_link_ends_with_the_message_that_is_handled() {
    let (lab, recorder) = linked(Profile::default()).await;
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_secs(10);
    lab.ask("a", "fetch", json!({"link": "api"})).await.unwrap();
    lab.ask("a", "fetch", json!({"link": "api", "timeout": 100})).await.unwrap();
    lab.ask("a", "fetch", json!({"link": "api", "timeout": u64::MAX})).await.unwrap();
    let seen = recorder.0.lock().unwrap();
    let until: Vec<_> = seen.iter().map(|outgoing| outgoing.deadline.unwrap()).collect();
    assert!(until[0] >= deadline && until[1] < deadline && until[2] >= deadline);
}

#[tokio::test]
async fn what_cannot_leave_is_refused_before_it_does() {
    let (lab, recorder) = linked(limits(|limits| limits.payload_bytes = 100)).await;
    for (request, code) in [
        (json!({"link": "nobody"}), Code::NotFound),
        (json!({"link": "api", "body": 101}), Code::PayloadTooLarge),
        (json!({"link": "api", "key": ""}), Code::InvalidArgument),
        (json!({"link": "api", "key": "a b"}), Code::InvalidArgument),
        (json!({"link": "api", "key": "k".repeat(256)}), Code::InvalidArgument),
    ] {
        assert_eq!(lab.ask("a", "fetch", request.clone()).await.unwrap_err().code, code, "{request}");
    }
    assert!(recorder.0.lock().unwrap().is_empty());
    lab.ask("a", "fetch", json!({"link": "api"})).await.unwrap();
    assert_eq!(recorder.0.lock().unwrap()[0].max_response, 100);
}

#[tokio::test]
async fn an_application_without_links_reaches_nothing() {
    let lab = Lab::volatile().await;
    let failure = lab.ask("a", "fetch", json!({"link": "api"})).await.unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    assert!(failure.message.contains("the application lab has no [[service_links]]"), "{failure}");
}

#[tokio::test]
async fn an_actor_with_the_facet_http_client_uses_the_links_that_it_names() {
    let allowing = |links: serde_json::Value| FacetSpec::new("http_client", json!({"links": links}).as_object().unwrap().clone());
    for durable in [false, true] {
        let (mut lab, recorder) = linked(Profile { durable, ..Profile::default() }).await;
        for spec in &mut lab.application.types {
            spec.profile.facets = vec![allowing(json!(["mail"]))];
        }
        lab.runtime.deploy(&lab.application).await.unwrap();
        let fetch = async |link: &str| lab.ask("a", "fetch", json!({"link": link})).await.map(drop);
        fetch("mail").await.unwrap();
        let refused = fetch("api").await.unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (Code::PermissionDenied, Some("link")));
        assert!(refused.message.contains("\"api\"") && refused.message.contains("http_client"), "{refused}");
        assert_eq!(recorder.0.lock().unwrap().len(), 1);
        // What one actor is given while it lives stands over what was deployed; without the facet all links are its own.
        let a = Target { name: "probe", key: Some("a") };
        lab.runtime.attach_facet(&lab.ctx(), a, allowing(json!(["api"]))).await.unwrap();
        assert_eq!(fetch("mail").await.unwrap_err().code, Code::PermissionDenied);
        fetch("api").await.unwrap();
        lab.runtime.detach_facet(&lab.ctx(), a, "http_client").await.unwrap();
        fetch("mail").await.unwrap();
        lab.runtime.attach_facet(&lab.ctx(), a, FacetSpec::new("HttpClientFacet", serde_json::Map::new())).await.unwrap();
        fetch("api").await.unwrap();
        let unknown = lab.runtime.attach_facet(&lab.ctx(), a, allowing(json!(["mial"]))).await.unwrap_err();
        assert_eq!(unknown.code, Code::InvalidConfig);
        assert!(unknown.message.contains("unknown service link \"mial\"; the application has api, mail"), "{unknown}");
    }
}

#[tokio::test]
async fn a_link_that_the_application_does_not_have_is_refused_when_it_is_deployed() {
    let (mut lab, _) = linked(Profile::default()).await;
    let wrong = FacetSpec::new("http_client", json!({"links": ["nobody"]}).as_object().unwrap().clone());
    lab.application.types[0].profile.facets = vec![wrong];
    let refused = lab.runtime.deploy(&lab.application).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidConfig);
    assert!(refused.message.contains("unknown service link \"nobody\""), "{refused}");
    lab.application.outbound = None;
    let refused = lab.runtime.deploy(&lab.application).await.unwrap_err();
    assert!(refused.message.contains("the application has none"), "{refused}");
}
