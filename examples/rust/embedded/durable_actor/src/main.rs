//! A counter in a node that is part of the program.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::json;
use plexspaces_sdk::{ActorId, NodeBuilder, RequestContext, call_message, spawn_with_facets};
use plexspaces_sdk::{gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter {
    count: i32,
}

impl Counter {
    fn new() -> Self {
        Self { count: 0 }
    }
}

#[plexspaces_handlers]
impl Counter {
    #[handler("increment")]
    async fn increment(
        &mut self,
        _ctx: &plexspaces_sdk::ActorContext,
        msg: &plexspaces_sdk::Message,
    ) -> Result<serde_json::Value, plexspaces_sdk::BehaviorError> {
        let payload: serde_json::Value = serde_json::from_slice(&msg.payload)?;
        let amount = payload["amount"].as_i64().and_then(|amount| i32::try_from(amount).ok()).unwrap_or(1);
        self.count += amount;
        Ok(json!({"count": self.count}))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Arc::new(NodeBuilder::new("node1").build().await);
    let service_locator = node.service_locator();
    let node_clone = node.clone();
    let running = tokio::spawn(async move { node_clone.start().await });

    let ctx = RequestContext::new_without_auth("default".into(), "default".into());
    let actor_id = ActorId::from("counter@node1");
    let actor_ref = spawn_with_facets(&ctx, service_locator.clone(), actor_id, "default", Counter::new(), vec![]).await?;

    let request = call_message(json!({"action": "increment", "amount": 5}));
    let reply = actor_ref.ask(request, Duration::from_secs(5)).await?;
    let result: serde_json::Value = serde_json::from_slice(&reply.payload)?;
    println!("Count: {}", result["count"]);

    node.shutdown().await;
    running.await??;
    Ok(())
}
