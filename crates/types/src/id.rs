//! Who an actor is. An identity never contains a place.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?}: {why}")]
pub struct InvalidName {
    what: &'static str,
    found: String,
    why: &'static str,
}

/// The name of a tenant, a namespace, an application or an actor type: 1 to 128 characters of `A-Z a-z 0-9 _ - .`, beginning with a
/// letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name; `what` says in the error what it names.
    pub fn new(what: &'static str, name: &str) -> Result<Self, InvalidName> {
        let why = if name.is_empty() {
            "is empty"
        } else if name.len() > 128 {
            "is longer than 128 characters"
        } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            "must begin with a letter, a digit or '_'"
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            "may hold only letters, digits, '_', '-' and '.'"
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidName { what, found: excerpt(name), why })
    }

    /// The tenant and the namespace of those who name none.
    #[must_use]
    pub fn default_scope() -> Self {
        Self("default".into())
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new("name", &name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// What tells one actor of a type from another: 1 to 256 bytes without control characters and without `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks a key.
    pub fn new(key: &str) -> Result<Self, InvalidName> {
        let why = if key.is_empty() {
            "is empty"
        } else if key.len() > 256 {
            "is longer than 256 bytes"
        } else if key.contains('/') {
            "must not contain '/'"
        } else if key.chars().any(char::is_control) {
            "must not contain control characters"
        } else {
            return Ok(Self(key.into()));
        };
        Err(InvalidName { what: "actor key", found: excerpt(key), why })
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Name> for Key {
    fn from(name: &Name) -> Self {
        Self(name.0.clone())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An actor's identity; clones are cheap. It prints as `namespace/type/key`: the tenant is never shown, since nobody may name another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(Arc<Identity>);

/// The parts of an [`ActorId`].
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Who owns the actor.
    pub tenant: Name,
    /// Where in the tenant it lives.
    pub namespace: Name,
    /// What it is.
    pub actor_type: Name,
    /// Which one of its type it is; a type's name for its default instance.
    pub key: Key,
}

impl ActorId {
    /// The actor with this key of a type in a tenant's namespace.
    #[must_use]
    pub fn new(tenant: Name, namespace: Name, actor_type: Name, key: Key) -> Self {
        Self(Arc::new(Identity { tenant, namespace, actor_type, key }))
    }

    /// Reads a printed identity of an actor of this tenant; `None` unless it is one.
    #[must_use]
    pub fn parse(tenant: &Name, printed: &str) -> Option<Self> {
        let mut parts = printed.splitn(3, '/');
        let namespace = Name::new("namespace", parts.next()?).ok()?;
        let actor_type = Name::new("actor type", parts.next()?).ok()?;
        Some(Self::new(tenant.clone(), namespace, actor_type, Key::new(parts.next()?).ok()?))
    }
}

impl std::ops::Deref for ActorId {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorId({self})")
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.actor_type, self.key)
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_would_break_a_path_or_a_partition() {
        for bad in ["", "a b", "a/b", "a:b", "-a", ".a", "ä", &"x".repeat(129)] {
            assert!(Name::new("namespace", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "_a", "tenant-acme", "v1.2", "9"] {
            assert_eq!(Name::new("namespace", good).map(String::from), Ok(good.to_owned()));
        }
    }

    #[test]
    fn an_error_names_what_and_why() {
        let error = Name::new("namespace", "a b").map_err(|e| e.to_string());
        assert_eq!(error, Err("namespace \"a b\": may hold only letters, digits, '_', '-' and '.'".to_owned()));
        assert!(Key::new("alice@example.com").is_ok());
        assert!(Key::new("a/b").is_err() && Key::new("a\n").is_err() && Key::new("").is_err());
    }
}
