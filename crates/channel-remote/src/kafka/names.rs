//! Names of topics, which hold less than names of channels.

use plexspaces_types::ActorId;
use sha2::{Digest as _, Sha256};

use crate::message::hex;

/// Characters of a name; a longer one is cut and told apart by its digest.
const MAX_NAME: usize = 200;

/// A text in letters, digits and `-`, and `_` with two digits for what is none of them.
fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("_{byte:02X}"));
        }
    }
    token
}

/// One of a channel's topics.
pub(super) fn topic(prefix: &str, kind: &str, channel: &ActorId) -> String {
    let [tenant, namespace, name] = [channel.tenant.as_str(), channel.namespace.as_str(), channel.key.as_str()].map(token);
    let whole = format!("{prefix}.{kind}.{tenant}.{namespace}.{name}");
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let cut: String = whole.chars().take(MAX_NAME).collect();
    format!("{cut}..{}", hex(&Sha256::digest(whole)))
}

#[cfg(test)]
mod tests {
    use plexspaces_types::{Key, Name};

    use super::*;

    #[test]
    fn names_are_told_apart_whatever_they_hold() {
        let name = |key: &str| {
            let scope = Name::default_scope;
            let channel = ActorId::new(scope(), scope(), Name::new("type", "channels").unwrap(), Key::new(key).unwrap());
            topic("plex", "queue", &channel)
        };
        assert_eq!(name("tasks:pending_1-a"), "plex.queue.default.default.tasks_3Apending_5F1-a");
        assert_ne!(name("a.b"), name("a_2Eb"));
        let (one, other) = (name(&"é*".repeat(80)), name(&"é*".repeat(81)));
        assert!(one.len() <= 249 && one != other, "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{one}");
    }
}
