//! Names of actors as programs write them.

use std::fmt;
use std::sync::Arc;

use plexspaces_types as types;

/// An actor's name, such as `counter@node1`, `worker/7` or `orders/worker/7`: a key, possibly with its type and namespace before it and a
/// node behind it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ActorId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Text(Arc<str>),
    Known(types::ActorId),
}

impl ActorId {
    /// The identity, if it is known which actor is meant.
    pub(crate) fn known(&self) -> Option<&types::ActorId> {
        match &self.0 {
            Repr::Known(id) => Some(id),
            Repr::Text(_) => None,
        }
    }
}

impl From<&str> for ActorId {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for ActorId {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<types::ActorId> for ActorId {
    fn from(id: types::ActorId) -> Self {
        Self(Repr::Known(id))
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Text(text) => f.write_str(text),
            Repr::Known(id) => id.fmt(f),
        }
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorId({self})")
    }
}
