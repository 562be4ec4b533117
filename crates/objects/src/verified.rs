//! Content that must have a hash: who reads it is not given its end unless it has.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_actor::Content;
use plexspaces_types::{Code, Failure};
use sha2::{Digest as _, Sha256};

struct State {
    content: Content,
    hash: Sha256,
    /// The latest piece, which is held until it is known not to be the last one of something else.
    held: Option<Bytes>,
    is_over: bool,
}

/// The content itself, but that it fails before its last piece if all of it does not have this SHA-256.
pub(crate) fn verified(content: Content, expected: [u8; 32]) -> Content {
    let state = State { content, hash: Sha256::new(), held: None, is_over: false };
    let pieces = stream::try_unfold(state, move |mut state| async move {
        while !state.is_over {
            let Some(piece) = state.content.try_next().await? else {
                state.is_over = true;
                if state.hash.finalize_reset().as_slice() != expected {
                    let message = "the bytes of the blob are not those that were written";
                    return Err(Failure::new(Code::StorageFailed, message));
                }
                break;
            };
            state.hash.update(&piece);
            if let Some(before) = state.held.replace(piece) {
                return Ok(Some((before, state)));
            }
        }
        Ok(state.held.take().map(|last| (last, state)))
    });
    pieces.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: &[&'static str], expected: &str) -> (Vec<Bytes>, Option<Failure>) {
        let content = stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>()).boxed();
        let mut content = verified(content, Sha256::digest(expected).into());
        let (mut given, mut failed) = (Vec::new(), None);
        while let Some(piece) = content.next().await {
            match piece {
                Ok(piece) => given.push(piece),
                Err(failure) => failed = Some(failure),
            }
        }
        (given, failed)
    }

    #[tokio::test]
    async fn the_end_of_what_was_not_written_is_not_given() {
        assert_eq!(read(&["ab", "cd", "e"], "abcde").await, (vec!["ab".into(), "cd".into(), "e".into()], None));
        assert_eq!(read(&["abcde"], "abcde").await.0.len(), 1);
        for wrong in [&["ab", "cd", "x"][..], &["ab", "cd"], &["abcdef"]] {
            let (given, failed) = read(wrong, "abcde").await;
            assert_eq!(given.len(), wrong.len() - 1, "{wrong:?}");
            assert_eq!(failed.unwrap().code, Code::StorageFailed);
        }
    }
}
