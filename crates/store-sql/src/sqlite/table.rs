//! The one table, its statements and its checksums.
//!
//! A row carries two CRC-32 in one number: of its partition and key, and of these with the value. The first is there to check a row
//! without reading its value.
//!
//! A key that is not found is believed only if the rows on both sides of its place are undamaged. A search that a damaged key misleads
//! ends beside that key, so a flipped bit in a row can hide neither it nor another. What this does not see is a pointer between pages
//! that was changed to lead to another sound page: rows can then seem absent, and only the check of the whole file finds it.

use bytes::Bytes;
use crc32fast::Hasher;
use plexspaces_store::{Error, Page, Range};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row};

use super::config::LIMITS;
use super::fault::Place;

/// The table. `sum` stands before `value`, so that reading it does not read the value.
pub(super) const SCHEMA: &str = "CREATE TABLE entries (partition BLOB NOT NULL, key BLOB NOT NULL, sum INTEGER NOT NULL, \
     value BLOB NOT NULL, PRIMARY KEY (partition, key)) WITHOUT ROWID";

const GET: &str = "SELECT sum, value FROM entries WHERE partition = ?1 AND key = ?2";
const SCAN: &str = "SELECT key, sum, value FROM entries WHERE partition = ?1 AND key >= ?2 ORDER BY key";
const SCAN_TO: &str = "SELECT key, sum, value FROM entries WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key";
// SQLite reads whatever a row is asked for, so the neighbours, whose values may be large, are not asked for them.
const BEFORE: &str = "SELECT partition, key, sum FROM entries WHERE (partition, key) < (?1, ?2) \
     ORDER BY partition DESC, key DESC LIMIT 1";
const FROM: &str = "SELECT partition, key, sum FROM entries WHERE (partition, key) >= (?1, ?2) ORDER BY partition, key LIMIT 1";
const PUT: &str = "REPLACE INTO entries (partition, key, sum, value) VALUES (?1, ?2, ?3, ?4)";
const DELETE: &str = "DELETE FROM entries WHERE partition = ?1 AND key = ?2";

/// The statements that read. Only what every reader needs is at hand; the connection keeps the others.
pub(super) struct Read<'c> {
    place: &'c Place,
    connection: &'c Connection,
    get: CachedStatement<'c>,
}

impl<'c> Read<'c> {
    pub(super) fn new(place: &'c Place, connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self { place, connection, get: prepare(place, connection, GET)? })
    }

    /// What `with` makes of the key's value.
    pub(super) fn get<T>(&mut self, partition: &[u8], key: &[u8], with: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let place = self.place;
        let mut rows = self.get.query((partition, key)).map_err(|error| place.fault(&error))?;
        if let Some(row) = rows.next().map_err(|error| place.fault(&error))? {
            let sum = Sum::of(partition, key);
            return Ok(Some(with(value(place, key, &sum, row.get_ref(0), row.get_ref(1))?)));
        }
        drop(rows);
        neighbour(place, self.connection, BEFORE, partition, key, |_, _| ())?;
        neighbour(place, self.connection, FROM, partition, key, |_, _| ())?;
        Ok(None)
    }

    /// A page of a range.
    pub(super) fn scan(&self, partition: &[u8], range: &Range, limit: usize) -> Result<Page, Error> {
        let place = self.place;
        let limit = limit.min(LIMITS.page_entries);
        neighbour(place, self.connection, BEFORE, partition, &range.start, |_, _| ())?;
        let (mut page, mut bytes) = (Page::default(), 0);
        // Where the page goes on.
        let mut next = range.clone();
        let mut statement = prepare(place, self.connection, if range.end.is_some() { SCAN_TO } else { SCAN })?;
        let rows = match &range.end {
            Some(end) => statement.query((partition, range.start.as_ref(), end.as_ref())),
            None => statement.query((partition, range.start.as_ref())),
        };
        let mut rows = rows.map_err(|error| place.fault(&error))?;
        while page.entries.len() < limit
            && let Some(row) = rows.next().map_err(|error| place.fault(&error))?
        {
            let key = blob(place, row.get_ref(0))?;
            let value = value(place, key, &Sum::of(partition, key), row.get_ref(1), row.get_ref(2))?;
            // A pointer that leads back makes rows come twice or out of order.
            if page.entries.last().is_some_and(|(last, _)| last.as_ref() >= key) {
                return Err(place.damaged(&format!("the key {:?} is out of order", Bytes::copy_from_slice(key))));
            }
            bytes += key.len() + value.len();
            if bytes > LIMITS.page_bytes && !page.entries.is_empty() {
                page.more = true;
                return Ok(page);
            }
            next = next.after(key);
            page.entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        }
        // If the rows were not read to their end, they hold the state that they are of, and this sees the same.
        let follows = |found: &[u8], key: &[u8]| found == partition && range.contains(key);
        let more = neighbour(place, self.connection, FROM, partition, &next.start, follows)?;
        page.more = page.entries.len() == limit && more == Some(true);
        Ok(page)
    }
}

/// A statement, which is made once for a connection.
fn prepare<'c>(place: &Place, connection: &'c Connection, text: &str) -> Result<CachedStatement<'c>, Error> {
    connection.prepare_cached(text).map_err(|error| place.fault(&error))
}

/// Checks a row beside a place; `with` sees its partition and key.
fn neighbour<T>(
    place: &Place,
    connection: &Connection,
    text: &str,
    partition: &[u8],
    key: &[u8],
    with: impl FnOnce(&[u8], &[u8]) -> T,
) -> Result<Option<T>, Error> {
    let mut statement = prepare(place, connection, text)?;
    let mut rows = statement.query((partition, key)).map_err(|error| place.fault(&error))?;
    let Some(row) = rows.next().map_err(|error| place.fault(&error))? else { return Ok(None) };
    let (partition, key) = checked_key(place, row)?;
    Ok(Some(with(partition, key)))
}

/// The statements that write.
pub(super) struct Write<'c> {
    place: &'c Place,
    connection: &'c Connection,
    put: CachedStatement<'c>,
}

impl<'c> Write<'c> {
    pub(super) fn new(place: &'c Place, connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self { place, connection, put: prepare(place, connection, PUT)? })
    }

    pub(super) fn put(&mut self, partition: &[u8], key: &[u8], value: &[u8]) -> Result<(), Error> {
        let sum = Sum::of(partition, key).with(value);
        self.put.execute((partition, key, sum, value)).map_err(|error| self.place.fault(&error))?;
        Ok(())
    }

    pub(super) fn delete(&mut self, partition: &[u8], key: &[u8]) -> Result<(), Error> {
        prepare(self.place, self.connection, DELETE)?.execute((partition, key)).map_err(|error| self.place.fault(&error))?;
        Ok(())
    }
}

/// Reads every row, and lets SQLite check every page.
pub(super) fn verify(place: &Place, connection: &Connection) -> Result<(), Error> {
    let check = |row: &Row<'_>| row.get::<_, String>(0);
    let found = connection.query_row("PRAGMA integrity_check(1)", [], check).map_err(|error| place.fault(&error))?;
    if found != "ok" {
        return Err(place.damaged(&found));
    }
    let all = "SELECT partition, key, sum, value FROM entries";
    each(place, connection, all, |row| {
        let (partition, key) = checked_key(place, row)?;
        value(place, key, &Sum::of(partition, key), row.get_ref(2), row.get_ref(3)).map(drop)
    })
}

/// Reads the first and the last key, and with them the pages on the way there.
pub(super) fn verify_ends(place: &Place, connection: &Connection) -> Result<(), Error> {
    for order in ["partition, key", "partition DESC, key DESC"] {
        let end = format!("SELECT partition, key, sum FROM entries ORDER BY {order} LIMIT 1");
        each(place, connection, &end, |row| checked_key(place, row).map(drop))?;
    }
    Ok(())
}

fn each(place: &Place, connection: &Connection, text: &str, check: impl Fn(&Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let mut statement = connection.prepare(text).map_err(|error| place.fault(&error))?;
    let mut rows = statement.query([]).map_err(|error| place.fault(&error))?;
    while let Some(row) = rows.next().map_err(|error| place.fault(&error))? {
        check(row)?;
    }
    Ok(())
}

type Column<'r> = rusqlite::Result<ValueRef<'r>>;

/// The partition and key in the first columns, of which the third has the sum.
fn checked_key<'r>(place: &Place, row: &'r Row<'_>) -> Result<(&'r [u8], &'r [u8]), Error> {
    let (partition, key) = (blob(place, row.get_ref(0))?, blob(place, row.get_ref(1))?);
    match row.get_ref(2).map_err(|error| place.fault(&error))? {
        ValueRef::Integer(sum) if Sum::of(partition, key).is_in(sum) => Ok((partition, key)),
        _ => Err(place.damaged(&format!("the key {:?} does not match its checksum", Bytes::copy_from_slice(key)))),
    }
}

/// The value, if it is what was written under the key.
fn value<'r>(place: &Place, key: &[u8], sum: &Sum, found: Column<'r>, value: Column<'r>) -> Result<&'r [u8], Error> {
    let (found, value) = (found.map_err(|error| place.fault(&error))?, blob(place, value)?);
    if found == ValueRef::Integer(sum.with(value)) {
        Ok(value)
    } else {
        Err(place.damaged(&format!("the value of the key {:?} does not match its checksum", Bytes::copy_from_slice(key))))
    }
}

fn blob<'r>(place: &Place, column: Column<'r>) -> Result<&'r [u8], Error> {
    match column.map_err(|error| place.fault(&error))? {
        ValueRef::Blob(bytes) => Ok(bytes),
        other => Err(place.damaged(&format!("a column holds {} where bytes were written", other.data_type()))),
    }
}

/// The checksum of a partition and a key, to which a value is added.
#[derive(Clone)]
struct Sum(u32);

impl Sum {
    fn of(partition: &[u8], key: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        // The length tells where the one ends and the other begins.
        hasher.update(&u32::try_from(partition.len()).unwrap_or(u32::MAX).to_le_bytes());
        hasher.update(partition);
        hasher.update(key);
        Self(hasher.finalize())
    }

    /// The number in the row: the high half is this, the low half goes on over the value.
    fn with(&self, value: &[u8]) -> i64 {
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(value);
        (u64::from(self.0) << 32 | u64::from(hasher.finalize())).cast_signed()
    }

    fn is_in(&self, sum: i64) -> bool {
        sum.cast_unsigned() >> 32 == u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{StatementStatus, params_from_iter};

    use super::*;
    use crate::sqlite::file;

    #[test]
    fn a_statement_is_planned_once_whatever_it_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let config = crate::sqlite::Config::new(directory.path().join("store.db"));
        let place = Place::new(config.path.clone());
        let connection = file::open(&place, &config).unwrap();
        let all = [GET, SCAN, SCAN_TO, BEFORE, FROM, PUT, DELETE];
        for n in 0..3_u8 {
            for text in all {
                let mut statement = prepare(&place, &connection, text).unwrap();
                let values = vec![[n]; statement.parameter_count()];
                let mut rows = statement.query(params_from_iter(values)).unwrap();
                while rows.next().unwrap().is_some() {}
            }
        }
        for text in all {
            let again = prepare(&place, &connection, text).unwrap().get_status(StatementStatus::RePrepare);
            assert_eq!(again, 0, "{text}");
        }
    }
}
