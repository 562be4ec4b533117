//! State machines whose declarations do not fit.
use plexspaces_sdk::fsm_actor;

#[fsm_actor(states = ["idle", "busy"], initial = "sleeping")]
struct Initial {
    fsm_state: String,
}

#[fsm_actor(states = ["idle", "idle"], initial = "idle")]
struct Twice {
    fsm_state: String,
}

#[fsm_actor]
struct Undeclared {
    fsm_state: String,
}

#[fsm_actor(states = ["idle"])]
struct NoInitial {
    fsm_state: String,
}

#[fsm_actor(states = ["idle"], initial = "idle")]
struct NoField;

#[fsm_actor(states = ["idle"], initial = "idle")]
struct WrongType {
    fsm_state: u8,
}

fn main() {}
