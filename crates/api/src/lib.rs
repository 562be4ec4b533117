//! The node's interface to the outside: gRPC, the same over plain HTTP, authentication, limits, errors.
//!
//! Every route comes from the descriptors of `proto/`: [`router`] transcodes HTTP requests into the messages that gRPC carries and calls
//! the same code. There is no route of its own here, but those of gRPC's standard services, no business rule and no task that outlives a
//! connection.

mod actors;
mod applications;
mod auth;
mod blobs;
mod body;
mod config;
mod dead_letters;
mod error;
mod facets;
mod front;
mod inspection;
mod invoke;
mod journals;
mod logbook;
mod methods;
mod openapi;
mod operations;
mod page;
mod routes;
mod rules;
mod serve;
mod services;
mod socket;
mod standard;
mod system;
mod transcode;

pub use config::{AuthConfig, Budget, Config, Limits, ServeConfig};
pub use front::{Error, router};
pub use logbook::{LogBook, LogEntry, LogFilter};
pub use openapi::document as openapi;
pub use serve::serve;
pub use services::{Check, NodeInfo, Probe, Readiness, Services, State};
