//! What the engine promises, tried with guests made by hand.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guests/cache.rs"]
mod cache;
#[path = "guests/calls.rs"]
mod calls;
#[path = "guests/hostile.rs"]
mod hostile;
#[path = "guests/load.rs"]
mod load;
#[path = "guests/support.rs"]
mod support;
