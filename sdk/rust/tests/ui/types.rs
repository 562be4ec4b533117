//! A handler with the right number of arguments, of which one has the wrong type.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Counter {
    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &str) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }
}

fn main() {}
