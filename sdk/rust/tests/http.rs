//! A native actor that sends HTTP requests over a service link.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use plexspaces_outbound::{Client, Config, Link, Owner};
use plexspaces_sdk::{
    ActorContext, ActorId, BehaviorError, Code, HttpRequest, Message, NodeBuilder, RequestContext, call_message, gen_server_actor, handler,
    json, plexspaces_handlers, spawn_with_facets,
};
use plexspaces_types::Name;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[gen_server_actor]
struct Agent {}

#[plexspaces_handlers]
impl Agent {
    #[handler("fetch")]
    async fn fetch(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let asked: Value = serde_json::from_slice(&msg.payload)?;
        let request = HttpRequest { method: "GET".into(), path: "/weather".into(), ..HttpRequest::default() };
        let response = ctx.http_fetch(asked["link"].as_str().unwrap_or_default(), request).await?;
        Ok(json!({"status": response.status, "body": String::from_utf8_lossy(&response.body)}))
    }
}

#[tokio::test]
async fn a_native_actor_sends_requests_over_a_service_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsunny").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let scope = Name::default_scope();
    let owner = Owner { tenant: &scope, namespace: &scope, app: &scope };
    let links = Client::new(Config::default()).unwrap().open(owner, &[Link::new("weather", url)]).unwrap();
    let node = NodeBuilder::new("node1").service_links(Arc::new(links)).build().await;
    let ctx = RequestContext::new_without_auth("acme".into(), "default".into());
    let agent = spawn_with_facets(&ctx, node.service_locator(), ActorId::from("agent@node1"), "default", Agent {}, vec![]).await.unwrap();
    let ask = async |link: &str| agent.ask(call_message(json!({"action": "fetch", "link": link})), Duration::from_secs(10)).await;
    let reply: Value = serde_json::from_slice(&ask("weather").await.unwrap().payload).unwrap();
    assert_eq!(reply, json!({"status": 200, "body": "sunny"}));
    let head = served.await.unwrap();
    assert!(head.starts_with("GET /weather HTTP/1.1\r\n") && head.contains("idempotency-key: "), "{head}");
    assert_eq!(ask("nobody").await.unwrap_err().code, Code::NotFound);
    assert!(node.shutdown().await);
}
