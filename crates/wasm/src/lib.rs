//! Runs actors that are WebAssembly components: compiling, caching, limits, and the host's side of `wit/`.
//!
//! [`Engine::load`] makes a [`Component`] out of the bytes of one; a component is a [`plexspaces_actor::Factory`], and its instances live
//! as long as their actors. This is the only crate that knows wasmtime. It does not decide when an actor is made, restarted, or
//! replaced, and it never waits longer than its caller: the time limit of a turn is the caller's.

mod bindings;
mod cache;
mod component;
mod config;
mod engine;
mod error;
mod fault;
mod host;
mod instance;
mod limiter;
mod ready;
mod validate;

pub use component::{Component, code_of};
pub use config::Config;
pub use engine::Engine;
pub use error::Error;
