//! How partitions are named. Each begins with its tenant, so that a query without one cannot be written.

use bytes::Bytes;
use plexspaces_types::{ActorId, Name};

/// The unit of atomicity and of order: a batch touches one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Bytes);

impl Partition {
    /// The partition of one actor.
    #[must_use]
    pub fn actor(id: &ActorId) -> Self {
        Self::join(&[id.tenant.as_str(), id.namespace.as_str(), "actor", id.actor_type.as_str(), id.key.as_str()])
    }

    /// A partition for what belongs to a tenant as a whole.
    #[must_use]
    pub fn tenant(tenant: &Name, concern: &str) -> Self {
        Self::join(&[tenant.as_str(), "", concern])
    }

    /// A partition for what belongs to a namespace as a whole.
    #[must_use]
    pub fn namespace(tenant: &Name, namespace: &Name, concern: &str) -> Self {
        Self::join(&[tenant.as_str(), namespace.as_str(), concern])
    }

    /// A partition of the node itself. No tenant has an empty name.
    #[must_use]
    pub fn node(concern: &str) -> Self {
        Self::join(&["", "", concern])
    }

    /// The bytes under which a backend keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Names and keys hold no control characters, so a zero byte separates them without escapes and keeps their order.
    fn join(parts: &[&str]) -> Self {
        Self(parts.join("\0").into_bytes().into())
    }
}
