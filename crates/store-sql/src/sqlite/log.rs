//! The write-ahead log as the last user of the file has left it.
//!
//! SQLite reads a log up to the first frame that is not what was written, and takes what follows for a transaction that was cut off. That
//! is right where power was lost: at most the last transaction was not synced. Where a disk has damaged the log it would lose acknowledged
//! commits without a word. So the log is looked at before SQLite does: if two commits stand at or after the first wrong frame, the first of
//! them was synced, since the second was begun after it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use plexspaces_store::Error;

use super::fault::Place;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// What a log begins with; the last bit says in which order of bytes its checksums read.
const MAGIC: u32 = 0x377f_0682;

/// Refuses a log that has lost what was synced.
pub(super) fn check(place: &Place, path: &Path) -> Result<(), Error> {
    let log = match fs::read(path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(place.io(&error)),
    };
    match lost(&log) {
        Some(found) => Err(place.damaged(&format!("its log {}: {found}", path.display()))),
        None => Ok(()),
    }
}

/// What is wrong with a log, unless it ends as a loss of power may leave it.
fn lost(log: &[u8]) -> Option<String> {
    let (header, frames) = log.split_at_checked(HEADER)?;
    // The header is synced before the first frame is written.
    if frames.len() < FRAME {
        return None;
    }
    let Some(mut sum) = Sum::of(header) else { return Some("its header does not match its checksum".to_owned()) };
    let page = usize::try_from(number(header, 8)).unwrap_or(0);
    let salt = header.get(16..24)?;
    let (mut wrong, mut commits) = (None, 0);
    for (place, frame) in frames.chunks_exact(FRAME + page).enumerate() {
        let is_of_this_log = frame.get(8..16) == Some(salt);
        if wrong.is_none() {
            sum.add(frame.get(..8).unwrap_or_default());
            sum.add(frame.get(FRAME..).unwrap_or_default());
            if is_of_this_log && sum.is(frame, 16) {
                continue;
            }
            wrong = Some(place);
        }
        // The last frame of a transaction holds the size of the file after it.
        commits += usize::from(is_of_this_log && number(frame, 4) != 0);
        if commits > 1 {
            return wrong.map(|wrong| format!("frame {} is not what was written, and commits follow it", wrong + 1));
        }
    }
    None
}

/// A running checksum of a log.
struct Sum {
    is_big: bool,
    one: u32,
    other: u32,
}

impl Sum {
    /// That of a header, if it matches.
    fn of(header: &[u8]) -> Option<Self> {
        let magic = number(header, 0);
        let mut sum = Self { is_big: magic & 1 == 1, one: 0, other: 0 };
        sum.add(header.get(..24)?);
        (magic & !1 == MAGIC && sum.is(header, 24)).then_some(sum)
    }

    fn add(&mut self, bytes: &[u8]) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            let read = if self.is_big { u32::from_be_bytes } else { u32::from_le_bytes };
            self.one = self.one.wrapping_add(read([*a, *b, *c, *d])).wrapping_add(self.other);
            self.other = self.other.wrapping_add(read([*e, *f, *g, *h])).wrapping_add(self.one);
        }
    }

    /// Whether the two numbers at a place are this.
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        number(bytes, at) == self.one && number(bytes, at + 4) == self.other
    }
}

/// The number at a place, in the order of bytes of all of SQLite's numbers; 0 beyond the end.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of some transactions, as SQLite writes it.
    fn written(transactions: usize) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "page_size", 512).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute("CREATE TABLE t (v BLOB)", []).unwrap();
        for number in 0..transactions {
            connection.execute("INSERT INTO t VALUES (?1)", [vec![u8::try_from(number).unwrap(); 600]]).unwrap();
        }
        fs::read(path.with_extension("").with_file_name("db-wal")).unwrap()
    }

    #[test]
    fn fuzz_logs() {
        let logs = [written(1), written(4)];
        for log in &logs {
            assert_eq!(lost(log), None);
        }
        plexspaces_testkit::fuzz!(logs, |bytes: &Vec<u8>| {
            // Whatever is found is said in words, and a log that lacks its end is one that a loss of power leaves.
            let found = lost(bytes);
            assert!(found.is_none_or(|found| !found.is_empty()));
        });
        for end in 0..logs[1].len() {
            assert_eq!(lost(&logs[1][..end]), None, "cut off at {end}");
        }
    }
}
