//! A handler that keeps what cannot be sent over a wait.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Counter {
    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        let local = std::rc::Rc::new(1);
        std::future::ready(()).await;
        Ok(Value::from(*local))
    }
}

fn main() {}
