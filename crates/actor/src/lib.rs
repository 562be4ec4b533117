//! Actors: bounded mailboxes, the turn loop, lifecycle, supervision.
//!
//! This crate knows no guest language, no wire format and no database. Code enters through [`Factory`], messages through [`Runtime`],
//! and what a turn leaves behind goes to a [`plexspaces_store::Store`].

mod actor;
mod answers;
mod application;
mod broker;
mod cell;
mod children;
mod code;
mod dead_letters;
mod describe;
mod directory;
mod facet;
mod factory;
mod guardian;
mod inbox;
mod links;
#[cfg(test)]
#[path = "links/tests.rs"]
mod links_tests;
mod mailbox;
mod meters;
mod objects;
mod outbound;
mod registry;
mod restarts;
mod runtime;
mod signed;
mod spawned;
pub mod supervision;
mod sync;
mod system;
mod timers;
mod trace;
mod turn;

pub use application::{Application, Child, ChildSpec, Profile, SupervisorSpec, TypeSpec};
pub use broker::{Broker, BrokerRequest, Brokers};
pub use code::MIGRATE;
pub use dead_letters::DeadLetter;
pub use describe::{Behavior, Description, FacetUse, HandlerInfo, HandlerKind, Sdk, TypeInfo};
pub use facet::{Call, Facet, FacetError, FacetFactory, FacetRegistry, FacetSettings, FacetSpec, InterceptResult, check_service_links};
pub use factory::{Factory, Fault, Instance, Limits, Reply, Spec};
pub use guardian::chronicle::{Retention, SupervisionEvent};
pub use mailbox::Standing;
pub use objects::{Content, Objects, Written};
pub use outbound::{HttpRequest, HttpResponse, Outbound, Outgoing};
pub use plexspaces_durable::{LAYOUT, journal};
pub use runtime::blobs::{BlobInfo, BlobStore, Presigned, check_blob_name, check_blob_type};
pub use runtime::census::Census;
pub use runtime::history::{Exported, Moment, Rerun, rerun};
pub use runtime::inspect::{ActorFilter, ActorInfo, ActorOrder, Level};
pub use runtime::pressure::Budget;
pub use runtime::workflows::{Run, RunFilter, RunStatus};
pub use runtime::{Address, Config, Request, Runtime, Target};
pub use signed::{BlobAccess, BlobKeys, BlobLink};
pub use system::{Effects, FORGET, Nature, ONLY, RESERVED, SystemActor, SystemRequest, SystemType};
pub use timers::Schedule;
pub use trace::{current_trace, in_this_trace, to_the_end, traced};
pub use turn::{LogLevel, Turn, Whom};

/// The monotonic time of the runtime's timers, so that deadlines and timers agree also where a test pauses time.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
