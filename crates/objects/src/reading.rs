//! The bytes of a file, in pieces that are large enough for a disk, the next one read while the one before is used.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::task::JoinHandle;

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;

type Reading = JoinHandle<Result<(File, Bytes)>>;

/// A part of a file, which must be as long.
pub(crate) fn content(file: File, range: Range<u64>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let first = begin(file, range.clone());
    stream::try_unfold((first, range), |(reading, Range { start, end })| async move {
        let Some(reading) = reading else { return Ok(None) };
        let (file, piece) = reading.await.map_err(Error::other)??;
        let rest = start.saturating_add(piece.len() as u64)..end;
        Ok(Some((piece, (begin(file, rest.clone()), rest))))
    })
}

/// Begins to read the next piece, if there is one.
fn begin(mut file: File, range: Range<u64>) -> Option<Reading> {
    let size = usize::try_from((range.end.saturating_sub(range.start)).min(PIECE)).unwrap_or(0);
    if size == 0 {
        return None;
    }
    Some(tokio::task::spawn_blocking(move || {
        file.seek(SeekFrom::Start(range.start))?;
        let mut piece = vec![0; size];
        file.read_exact(&mut piece).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Error::new(ErrorKind::UnexpectedEof, "the file is shorter than what was written"),
            _ => error,
        })?;
        Ok((file, piece.into()))
    }))
}
