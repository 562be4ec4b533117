//! The node: puts the store, the engine, the actors and the interface together, and takes them apart again in order.
//!
//! Nothing here decides anything about actors, messages or storage; it only composes.

mod blobs;
mod bring_up;
mod config;
mod error;
#[cfg(test)]
mod fuzz;
mod lock;
mod node;
mod probe;
mod replay;
mod store;
mod telemetry;

pub use config::{
    ApiConfig, BrokerUrl, ChannelBackend, ChannelsConfig, ClusterSecret, Config, LogConfig, LogFormat, NatsConfig, NodeConfig, RedisConfig,
    SecurityConfig, ServiceLinksConfig, StoreBackend, StoreConfig, StoreDurability, StoreUrl, UdpConfig, WasmConfig, resolve,
};
pub use error::Error;
pub use node::{Addresses, Node};
pub use plexspaces_actor::FacetRegistry;
pub use replay::replay;
pub use telemetry::{Telemetry, init as init_telemetry};
/// The allocator for programs that are a node: threads that hand messages to one another free what others allocated, which it makes cheap.
pub use tikv_jemallocator::Jemalloc as Allocator;
