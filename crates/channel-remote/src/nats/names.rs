//! Names of streams and subjects, which may hold less than names of channels and messages.

use plexspaces_types::ActorId;
use sha2::{Digest as _, Sha256};

use crate::message::hex;

/// Bytes of one part of a name; a longer one is cut and told apart by its digest.
const MAX_PART: usize = 160;

/// A text in letters, digits and `-`, and `=` for what is none of them.
pub(super) fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            token.push_str(&format!("={byte:02X}"));
        }
    }
    if token.len() > MAX_PART {
        token.truncate(MAX_PART - 34);
        token.push_str("==");
        token.push_str(&hex(&Sha256::digest(text)));
    }
    token
}

/// The name of one of a channel's streams.
pub(super) fn stream(kind: char, channel: &ActorId) -> String {
    let place = format!("{}_{}_{}", token(channel.tenant.as_str()), token(channel.namespace.as_str()), token(channel.key.as_str()));
    if place.len() <= 240 {
        return format!("PLEX{kind}_{place}");
    }
    let cut: String = place.chars().take(200).collect();
    format!("PLEX{kind}_{cut}=={}", hex(&Sha256::digest(place)))
}

/// A subject of a stream.
pub(super) fn subject(stream: &str, rest: &str) -> String {
    format!("plexspaces.{stream}.{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_whatever_they_hold() {
        assert_eq!(token("tasks:pending_1-a"), "tasks=3Apending=5F1-a");
        assert_ne!(token("a.b"), token("a=2Eb"));
        let (one, other) = (token(&"é*>".repeat(200)), token(&"é*>".repeat(201)));
        assert!(one.len() <= MAX_PART && one != other, "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'=' || byte == b'-'));
    }
}
