//! The database file: how it is made, recognised and refused.
//!
//! A file is made under another name and renamed when it is whole, so a file at the path is a store or it is refused: an empty one is
//! not a store that has just begun.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexspaces_store::Error;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::config::Config;
use super::fault::Place;
use super::{log, table};

/// `plex`, in the header of the file, where `file` and SQLite see it.
const APPLICATION: i32 = i32::from_be_bytes(*b"plex");
/// The version of the table. A newer one is refused; the first has no older.
const VERSION: i32 = 1;
/// How long to wait for another process, such as one that makes a backup.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of the log after which they are copied into the database: 16 MiB. Fewer copy a page that is often written more often.
const CHECKPOINT_PAGES: u32 = 4_096;
/// What is kept of the log's file after it grew for a large transaction.
const LOG_BYTES: u32 = 64 << 20;

/// Opens the store for writing, or makes it if there is none.
pub(super) fn open(place: &Place, config: &Config) -> Result<Connection, Error> {
    let path = place.path();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(place.foreign("it is a directory")),
        Ok(found) if found.len() == 0 => return Err(place.damaged("it is empty, where a store never is")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => create(place)?,
        Err(error) => return Err(place.io(&error)),
    }
    log::check(place, &beside(path, "-wal"))?;
    let connection = connect(place, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // SQLite does not look at the file before something is read.
    recognise(place, &connection)?;
    prepare(place, &connection)?;
    if config.verify {
        table::verify(place, &connection)?
    } else {
        table::verify_ends(place, &connection)?
    }
    // What is left of a transaction that was cut off must not be taken for a part of this log.
    match checkpoint(place, &connection) {
        // Without room the log stays as it is, and everything in it can be read.
        Err(Error::Full(found)) => tracing::warn!(found, "the log is kept as it was found"),
        done => done?,
    }
    Ok(connection)
}

/// Opens one more connection to a store that is open, to read.
pub(super) fn open_reader(place: &Place) -> Result<Connection, Error> {
    let connection = connect(place, place.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let pragmas = "PRAGMA query_only = 1; PRAGMA cache_size = -2048;";
    connection.execute_batch(pragmas).map_err(|error| place.fault(&error))?;
    Ok(connection)
}

/// Copies the log into the database, if nothing that reads prevents it.
pub(super) fn checkpoint(place: &Place, connection: &Connection) -> Result<(), Error> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(|error| place.fault(&error))
}

fn connect(place: &Place, path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| place.fault(&error))?;
    connection.busy_timeout(BUSY).map_err(|error| place.fault(&error))?;
    // Otherwise SQLite plans a statement with a range anew each time it is given another.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|error| place.fault(&error))?;
    Ok(connection)
}

fn create(place: &Place) -> Result<(), Error> {
    let log = beside(place.path(), "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(place.damaged(&format!("it is not there, but its log {} is", log.display())));
    }
    // What is left of an attempt that was interrupted holds nothing.
    let new = beside(place.path(), "-new");
    for path in [&new, &beside(&new, "-journal")] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(place.io(&error)),
            Ok(()) | Err(_) => {}
        }
    }
    let connection = connect(place, &new, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let schema = table::SCHEMA;
    let text = format!(
        "PRAGMA synchronous = FULL; BEGIN; {schema}; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT"
    );
    connection.execute_batch(&text).map_err(|error| place.fault(&error))?;
    connection.close().map_err(|(_, error)| place.fault(&error))?;
    let renamed = fs::rename(&new, place.path());
    // The new name is durable when the directory is.
    let directory = place.path().parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    renamed.and_then(|()| File::open(directory)?.sync_all()).map_err(|error| place.io(&error))
}

fn recognise(place: &Place, connection: &Connection) -> Result<(), Error> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = match number("application_id") {
        Ok(found) => found,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(place.foreign(&format!("expected a SQLite database, found a file that begins with {}", beginning(place.path()))));
        }
        Err(error) => return Err(place.fault(&error)),
    };
    if application != APPLICATION {
        let expected = format!("expected application id {APPLICATION:#x} in its header, found {application:#x}");
        return Err(place.foreign(&expected));
    }
    let version = number("user_version").map_err(|error| place.fault(&error))?;
    if version != VERSION {
        let path = place.path().display();
        return Err(Error::Corrupt(format!(
            "{path} is a store of version {version}, this plexspaces knows version {VERSION}; use the plexspaces that wrote it, or move \
             the file away"
        )));
    }
    let schema = "SELECT group_concat(sql, '; ') FROM sqlite_schema";
    let found = connection.query_row(schema, [], |row| row.get::<_, Option<String>>(0)).map_err(|error| place.fault(&error))?;
    match found {
        Some(found) if found == table::SCHEMA => Ok(()),
        found => Err(place.damaged(&format!("expected the table of version {VERSION}, found {:?}", found.unwrap_or_default()))),
    }
}

/// Sets how the connection works; none of this is kept in the file but the log mode.
fn prepare(place: &Place, connection: &Connection) -> Result<(), Error> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(|error| place.fault(&error))?;
    if mode != "wal" {
        let path = place.path().display();
        return Err(Error::Failed(format!("{path}: expected the journal mode wal, found {mode}; is it on a network file system?")));
    }
    let pragmas = format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = {LOG_BYTES}; \
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&pragmas).map_err(|error| place.fault(&error))
}

/// The first bytes of a file, for a message.
fn beginning(path: &Path) -> String {
    let mut first = Vec::new();
    match File::open(path).and_then(|file| file.take(16).read_to_end(&mut first)) {
        Ok(_) => format!("{:?}", String::from_utf8_lossy(&first)),
        Err(error) => format!("what cannot be read ({error})"),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
