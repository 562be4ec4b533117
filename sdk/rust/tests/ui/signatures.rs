//! Signatures that are none of a handler's; each is reported.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};
use plexspaces_sdk::init_handler;

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Counter {
    #[handler("no_self")]
    async fn no_self(_ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("by_value")]
    async fn by_value(self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("few")]
    async fn few(&mut self, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(Value::Null)
    }

    #[handler("no_result")]
    async fn no_result(&mut self, _ctx: &ActorContext, _msg: &Message) {}

    #[init_handler]
    async fn init(&mut self) -> Result<(), BehaviorError> {
        Ok(())
    }
}

fn main() {}
