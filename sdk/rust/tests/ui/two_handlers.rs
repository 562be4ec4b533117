//! Two handlers of one operation.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Counter {
    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("get")]
    async fn get_again(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }
}

fn main() {}
