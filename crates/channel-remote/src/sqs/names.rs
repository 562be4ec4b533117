//! Names of queues, which hold less than names of channels.

use plexspaces_types::ActorId;
use sha2::{Digest as _, Sha256};

use crate::message::hex;

/// Characters of a channel's name that are shown in those of its queues.
const SHOWN: usize = 24;

/// One of a channel's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is given out.
    Queue,
    /// Dead letters.
    Dead,
    /// What is delayed.
    Later,
}

impl Kind {
    pub(super) fn is_fifo(self) -> bool {
        self != Self::Later
    }
}

/// At most 80 characters, for a prefix of at most 15.
pub(super) fn queue(prefix: &str, channel: &ActorId, kind: Kind) -> String {
    let whole = format!("{}/{}/{}", channel.tenant, channel.namespace, channel.key);
    let plain = |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    let shown: String = channel.key.as_str().chars().take(SHOWN).map(plain).collect();
    let end = match kind {
        Kind::Queue => "q.fifo",
        Kind::Dead => "d.fifo",
        Kind::Later => "l",
    };
    format!("{prefix}-{shown}-{}-{end}", digest(&[&whole]))
}

/// A text that SQS takes as an identifier, whatever the parts hold.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use plexspaces_types::{Key, Name};

    use super::*;

    #[test]
    fn names_are_told_apart_whatever_they_hold() {
        let name = |key: &str, kind| {
            let scope = Name::default_scope;
            let channel = ActorId::new(scope(), scope(), Name::new("type", "channels").unwrap(), Key::new(key).unwrap());
            queue("fifteen-letters", &channel, kind)
        };
        assert!(name("tasks:pending", Kind::Queue).starts_with("fifteen-letters-tasks_pending-"));
        assert_ne!(name("tasks:pending", Kind::Queue), name("tasks.pending", Kind::Queue));
        for kind in [Kind::Queue, Kind::Dead, Kind::Later] {
            let name = name(&"Ü*".repeat(80), kind);
            assert!(name.len() <= 80, "{name}");
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            assert!(name.trim_end_matches(".fifo").bytes().all(is_plain), "{name}");
        }
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
    }
}
