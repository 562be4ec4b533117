//! The interface over real sockets, with the real runtime behind it.

mod applications;
mod auth;
mod connections;
mod errors;
mod invoke;
mod support;
mod system;
