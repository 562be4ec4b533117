//! Content in pieces of one size, counted and hashed on its way.

use bytes::{Buf as _, Bytes};
use futures::TryStreamExt as _;
use object_store::PutPayload;
use plexspaces_actor::{Content, Written};
use plexspaces_types::{Code, Failure};
use sha2::{Digest as _, Sha256};

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

    /// The next piece: of `size` bytes, or the last one, which has fewer. The bytes themselves are not copied.
    pub(crate) async fn next(&mut self, size: usize) -> Result<PutPayload, Failure> {
        let (mut piece, mut missing) = (Vec::new(), size);
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
            piece.push(part);
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
