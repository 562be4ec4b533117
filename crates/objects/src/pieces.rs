//! Content in pieces of one size, counted and hashed on its way.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::PutPayload;
use plexspaces_actor::{Content, Written};
use plexspaces_types::{Code, Failure};
use sha2::{Digest as _, Sha256};

/// What comes in less than so many bytes at once is put together, up to so many: each part costs memory of its own, and holds what it is a
/// part of.
const SMALL: usize = 8 << 10;
const TOGETHER: usize = 64 << 10;

pub(crate) struct Pieces {
    content: Content,
    /// What has come and is not given yet.
    rest: Bytes,
    is_over: bool,
    hash: Sha256,
    size: u64,
    limit: u64,
}

impl Pieces {
    pub(crate) fn new(content: Content, limit: u64) -> Self {
        Self { content, rest: Bytes::new(), is_over: false, hash: Sha256::new(), size: 0, limit }
    }

    /// The next piece: of `size` bytes, or the last one, which has fewer. Bytes are not copied, unless few come at once.
    pub(crate) async fn next(&mut self, size: usize) -> Result<PutPayload, Failure> {
        let (mut piece, mut small, mut missing) = (Vec::new(), BytesMut::new(), size);
        while missing > 0 {
            if self.rest.is_empty() {
                let Some(bytes) = self.content.try_next().await? else {
                    self.is_over = true;
                    break;
                };
                self.take(bytes)?;
            }
            let part = self.rest.split_to(missing.min(self.rest.remaining()));
            missing -= part.len();
            let is_small = part.len() < SMALL;
            if is_small {
                small.extend_from_slice(&part);
            }
            if small.len() >= TOGETHER || !(is_small || small.is_empty()) {
                piece.push(small.split().freeze());
            }
            if !is_small {
                piece.push(part);
            }
        }
        if !small.is_empty() {
            piece.push(small.freeze());
        }
        Ok(PutPayload::from_iter(piece))
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.limit {
            let message = format!("a blob has at most {} bytes, this one has more", self.limit);
            return Err(Failure::new(Code::PayloadTooLarge, message).with_field("content"));
        }
        self.hash.update(&bytes);
        self.rest = bytes;
        Ok(())
    }

    /// Whether there is nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What they were.
    pub(crate) fn written(self) -> Written {
        Written { size: self.size, sha256: self.hash.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn pieces_are_what_has_come_in_few_parts_however_it_comes() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251).to_le_bytes()[0]).collect();
        for sizes in [&[1][..], &[7], &[SMALL - 1], &[SMALL], &[100_000], &[1, SMALL, 1], &[20_000, 1, 1, 1]] {
            let (mut rest, mut parts) = (&bytes[..], Vec::new());
            for size in sizes.iter().cycle() {
                let (part, further) = rest.split_at((*size).min(rest.len()));
                parts.push(Ok(Bytes::copy_from_slice(part)));
                rest = further;
                if rest.is_empty() {
                    break;
                }
            }
            let mut pieces = Pieces::new(stream::iter(parts).boxed(), 300_000);
            let mut all = Vec::new();
            while !pieces.is_over() {
                let piece = pieces.next(130_000).await.unwrap();
                assert!(piece.iter().count() <= 2 * 130_000 / SMALL + 2, "{sizes:?}: {} parts", piece.iter().count());
                assert!(piece.content_length() == 130_000 || pieces.is_over());
                piece.iter().for_each(|part| all.extend_from_slice(part));
            }
            assert!(all == bytes, "{sizes:?}");
            assert_eq!(pieces.written(), Written { size: 300_000, sha256: Sha256::digest(&bytes).into() });
        }
    }
}
