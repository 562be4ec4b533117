//! Half an actor: a struct without handlers, handlers without a behaviour, a durable struct that cannot be written down.
use plexspaces_sdk::{ActorId, NodeBuilder, RequestContext, spawn_with_facets};
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Silent;

struct Plain;

#[plexspaces_handlers]
impl Plain {
    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }
}

#[gen_server_actor(durable)]
struct Unwritable;

#[tokio::main]
async fn main() {
    let ctx = RequestContext::new_without_auth("a".into(), "b".into());
    let locator = NodeBuilder::new("node1").build().await.service_locator();
    let _ = spawn_with_facets(&ctx, locator, ActorId::from("silent"), "b", Silent, vec![]).await;
}
