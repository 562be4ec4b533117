//! Arguments of handler attributes that mean nothing.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Counter {
    #[handler("a", "broadcast")]
    async fn a(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler]
    async fn b(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("")]
    async fn c(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("d", "cast", "e")]
    async fn d(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }
}

fn main() {}
