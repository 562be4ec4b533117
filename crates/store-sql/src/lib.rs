//! The store contract on SQL databases: SQLite, which is embedded and the default, and PostgreSQL.
//!
//! A backend holds rows of partition, key and value and nothing that knows what they mean. There are no queries besides those of the
//! contract, no migrations of what is stored in values, and no lock on the data directory: that is the node's.

pub mod postgres;
pub mod sqlite;

pub use postgres::Postgres;
pub use sqlite::Sqlite;
