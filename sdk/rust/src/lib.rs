//! Actors in Rust, in a node that is part of your program.
//!
//! An actor is a struct with a behaviour and an `impl` block with handlers. It lives on a [`Node`] that listens nowhere and so collides
//! with nothing; what reaches it is an [`ActorRef`].
//!
//! ```
//! use std::time::Duration;
//! use plexspaces_sdk::{
//!     ActorContext, ActorId, BehaviorError, Message, NodeBuilder, RequestContext, call_message, gen_server_actor, handler, json,
//!     plexspaces_handlers, spawn_with_facets,
//! };
//!
//! #[gen_server_actor]
//! struct Counter {
//!     count: i64,
//! }
//!
//! #[plexspaces_handlers]
//! impl Counter {
//!     #[handler("increment")]
//!     async fn increment(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<serde_json::Value, BehaviorError> {
//!         let request: serde_json::Value = serde_json::from_slice(&msg.payload)?;
//!         self.count += request["amount"].as_i64().unwrap_or(1);
//!         Ok(json!({"count": self.count}))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = NodeBuilder::new("node1").build().await;
//! let ctx = RequestContext::new_without_auth("acme".into(), "default".into());
//! let id = ActorId::from("counter@node1");
//! let counter = spawn_with_facets(&ctx, node.service_locator(), id, "default", Counter { count: 0 }, vec![]).await?;
//! let reply = counter.ask(call_message(json!({"action": "increment", "amount": 5})), Duration::from_secs(5)).await?;
//! assert_eq!(serde_json::from_slice::<serde_json::Value>(&reply.payload)?, json!({"count": 5}));
//! # Ok(())
//! # }
//! ```
//!
//! What this crate does not do: it runs no WebAssembly, opens no port and knows no other node.

mod actor;
mod actor_ref;
mod child;
mod context;
mod error;
mod facets;
mod history;
mod id;
mod locator;
mod message;
mod native;
mod node;
mod registry;
mod request_context;
mod retry;
mod saga;
mod services;
mod spawn;
mod supervisor;
mod workflow;

#[doc(hidden)]
pub mod __private;

pub use crate::{history::History, retry::RetryPolicy, saga::Saga};
pub use actor::{Actor, ActorKind, GenEventBehavior, GenFSMBehavior, GenServerBehavior, Operation, WorkflowBehavior};
pub use actor_ref::ActorRef;
pub use child::Child;
pub use context::{ActorContext, Recipient};
pub use error::BehaviorError;
pub use facets::{
    AuthenticationFacet, AuthorizationFacet, BlobStorageFacet, CachingFacet, DurabilityFacet, EventEmitterFacet, HttpClientFacet,
    KeyValueFacet, LockFacet, LoggingFacet, MetricsFacet, ProcessGroupFacet, RegistryFacet, ReminderFacet, Rule, TimerFacet, TracingFacet,
    VirtualActorFacet,
};
pub use id::ActorId;
pub use locator::ServiceLocator;
pub use message::{Headers, Message, call_message, cast_message};
pub use node::{Node, NodeBuilder};
pub use plexspaces_actor::supervision::{Restart, State as ChildState, Strategy};
pub use plexspaces_actor::{
    Behavior, BlobAccess, BlobInfo, Exported, HandlerKind, HttpRequest, HttpResponse, Level, LogLevel, Moment, Objects, Outbound, Outgoing,
    Presigned, Rerun, Schedule, SupervisionEvent, journal::Recorded,
};
pub use plexspaces_core::{Facet, FacetError, FacetRegistry, FacetSettings, FacetSpec, InterceptResult};
pub use plexspaces_sdk_macros::{
    event_actor, fsm_actor, gen_server_actor, handler, init_handler, plexspaces_handlers, query_handler, run_handler, signal_handler,
    workflow_actor,
};
pub use plexspaces_types::{Code, Failure, Payload};
pub use registry::ActorRegistry;
pub use request_context::RequestContext;
pub use serde_json::{Value, json};
pub use services::channels::{Channel, ChannelMessage, Sending, Start, Subscriber};
pub use services::kv::{KvChange, KvChanges, SharedKv};
pub use services::names::{Registering, Registry, RegistryEntry};
pub use services::{blobs::Blobs, election::Election, groups::ProcessGroups, locks::Lock, locks::Locks, tuples::TupleSpace};
pub use spawn::spawn_with_facets;
pub use supervisor::{RunningSupervisor, Supervised, Supervisor, SupervisorChild};
