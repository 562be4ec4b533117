//! Attributes where they have nothing to do.
use plexspaces_sdk::{ActorContext, BehaviorError, Message, Value, gen_server_actor, handler, plexspaces_handlers};

#[gen_server_actor]
struct Counter;

#[plexspaces_handlers]
impl Default for Counter {
    fn default() -> Self {
        Self
    }
}

#[plexspaces_handlers]
impl Counter {
    fn new() -> Self {
        Self
    }
}

#[plexspaces_handlers]
struct NoBlock;

#[handler("alone")]
async fn alone(_ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
    Ok(Value::Null)
}

#[gen_server_actor]
enum NoStruct {}

#[gen_server_actor(durabel)]
struct Misspelt;

fn main() {}
