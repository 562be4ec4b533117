//! The attributes of `plexspaces_sdk`, which exports all of them and documents them in its README.
//!
//! An actor is a struct with one of the behaviours ([`gen_server_actor`], [`event_actor`], [`fsm_actor`], [`workflow_actor`]) and one `impl`
//! block with [`macro@plexspaces_handlers`], whose methods say what they handle. Neither asks anything of the struct's fields.

use proc_macro::TokenStream;

mod handlers;
mod marks;
mod structs;

/// Makes a struct an actor that answers requests. `durable` keeps its state across restarts; the struct is `Serialize` and
/// `DeserializeOwned` then. `name = ".."` names its type, which is otherwise the struct's name.
#[proc_macro_attribute]
pub fn gen_server_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    structs::expand(structs::Kind::Server, arguments.into(), item.into()).into()
}

/// Makes a struct an actor for events, which nobody waits for: its handlers are casts unless they say `"call"`. One that says neither still
/// answers whoever asks it. Arguments as of [`gen_server_actor`].
#[proc_macro_attribute]
pub fn event_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    structs::expand(structs::Kind::Event, arguments.into(), item.into()).into()
}

/// Makes a struct a finite state machine: `states = ["..", ".."]` and `initial = ".."`. Its field `fsm_state: String` holds the state; a
/// handler that leaves an undeclared state there fails, and the state is as it was before. The operation `fsm_state` answers
/// `{"state", "states"}` unless it has a handler of its own.
#[proc_macro_attribute]
pub fn fsm_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    structs::expand(structs::Kind::Fsm, arguments.into(), item.into()).into()
}

/// Makes a struct a workflow: a `#[run_handler]`, with signals and queries. Arguments as of [`gen_server_actor`].
#[proc_macro_attribute]
pub fn workflow_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    structs::expand(structs::Kind::Workflow, arguments.into(), item.into()).into()
}

/// Collects the handlers of an `impl` block into the actor's dispatcher.
#[proc_macro_attribute]
pub fn plexspaces_handlers(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handlers::expand(arguments.into(), item.into()).into()
}

/// Handles the operation of this name; `#[handler("*")]` whatever no other handler takes. `#[handler("name", "cast")]` answers nothing.
/// Without a kind it is a call, in an [`macro@event_actor`] a cast that answers whoever asks.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::leave("handler", arguments.into(), item.into()).into()
}

/// Runs whenever the actor is made, before any message, with its configuration.
#[proc_macro_attribute]
pub fn init_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::leave("init_handler", arguments.into(), item.into()).into()
}

/// The run of a workflow: the operation `workflow_run`, also `run` and `start`.
#[proc_macro_attribute]
pub fn run_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::leave("run_handler", arguments.into(), item.into()).into()
}

/// Takes a signal of a workflow: the operation `workflow_signal:NAME`.
#[proc_macro_attribute]
pub fn signal_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::leave("signal_handler", arguments.into(), item.into()).into()
}

/// Answers a query of a workflow: the operation `workflow_query:NAME`.
#[proc_macro_attribute]
pub fn query_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::leave("query_handler", arguments.into(), item.into()).into()
}
