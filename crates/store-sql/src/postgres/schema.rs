//! What stands in the database: one table, and the function that commits.
//!
//! A function, because a commit is then one request: it takes the locks, judges the preconditions and writes, and the end of the
//! request is the end of the transaction. Its statements are few and each is a look at the index.

/// The table's comment, by which it is recognised.
pub(super) const VERSION: &str = "plexspaces store, version 1";

/// The first number of each lock: `plex`. The second is the partition's.
pub(super) const LOCKS: i32 = i32::from_be_bytes(*b"plex");

/// What a new connection sets. Each statement is a look at the index, which the planner does not know while the table is young; the
/// function reads what other transactions have committed since it began to wait for its locks, which is this isolation level.
pub(super) const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; \
     SET client_min_messages = warning";

/// What a new connection asks: who it is, and what it has met.
pub(super) const RECOGNISE: &str = "SELECT pg_backend_pid(), \
     (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), \
     current_setting('server_version_num')::int4, current_setting('fsync'), current_setting('synchronous_commit'), \
     to_regclass('plexspaces_entries') IS NOT NULL, obj_description(to_regclass('plexspaces_entries'), 'pg_class'), \
     to_regproc('plexspaces_commit_1') IS NOT NULL";

/// Makes what is not there. It takes a lock, since two nodes may come to a new database at once.
pub(super) fn create() -> String {
    format!(
        "BEGIN; SELECT pg_advisory_xact_lock({LOCKS}, 0); \
         CREATE TABLE IF NOT EXISTS plexspaces_entries \
         (partition bytea NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (partition, key)); \
         COMMENT ON TABLE plexspaces_entries IS '{VERSION}'; {COMMIT_FUNCTION}; COMMIT"
    )
}

/// Waits until nobody makes it any more.
pub(super) fn made() -> String {
    format!("SELECT pg_advisory_xact_lock({LOCKS}, 0)")
}

/// Each item is a precondition, whose place in its batch is not negative, or a write; a value that is null means that there is none.
/// Items of a batch follow one another, preconditions first. The answer has for each batch the place of the first precondition that
/// did not hold, or -1.
const COMMIT_FUNCTION: &str = r"
CREATE OR REPLACE FUNCTION plexspaces_commit_1(
    locks int4[], batches int4, batch_of int4[], place_of int4[], partition_of bytea[], key_of bytea[], value_of bytea[]
) RETURNS int4[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wanted int4;
    item record;
    present bytea;
    failed int4[] := array_fill(-1, ARRAY[batches]);
BEGIN
    FOREACH wanted IN ARRAY locks LOOP
        PERFORM pg_advisory_xact_lock(1886152056, wanted);
    END LOOP;
    FOR item IN
        SELECT * FROM unnest(batch_of, place_of, partition_of, key_of, value_of) AS items (batch, place, partition, key, value)
    LOOP
        CONTINUE WHEN failed[item.batch] >= 0;
        IF item.place >= 0 THEN
            SELECT e.value INTO present FROM plexspaces_entries e WHERE e.partition = item.partition AND e.key = item.key;
            IF present IS DISTINCT FROM item.value THEN
                failed[item.batch] := item.place;
            END IF;
        ELSIF item.value IS NULL THEN
            DELETE FROM plexspaces_entries e WHERE e.partition = item.partition AND e.key = item.key;
        ELSE
            INSERT INTO plexspaces_entries VALUES (item.partition, item.key, item.value)
                ON CONFLICT (partition, key) DO UPDATE SET value = EXCLUDED.value;
        END IF;
    END LOOP;
    RETURN failed;
END $$";

pub(super) const COMMIT: &str = "SELECT plexspaces_commit_1($1, $2, $3, $4, $5, $6, $7)";

pub(super) const GET: &str = "SELECT value FROM plexspaces_entries WHERE partition = $1 AND key = $2";

/// A page of a range and the entry after it. The value of what is not in the page any more is null, so that it is not sent.
pub(super) fn scan(has_end: bool) -> String {
    let end = if has_end { "AND key < $5" } else { "" };
    format!(
        "SELECT key, CASE WHEN nth <= $3::int8 AND (nth = 1 OR total <= $4::int8) THEN value END FROM \
         (SELECT key, value, row_number() OVER ordered AS nth, sum(length(key) + length(value)) OVER ordered AS total FROM \
         (SELECT key, value FROM plexspaces_entries WHERE partition = $1 AND key >= $2 {end} ORDER BY key LIMIT $3::int8 + 1) AS page \
         WINDOW ordered AS (ORDER BY key ROWS UNBOUNDED PRECEDING)) AS numbered \
         WHERE nth <= 2 OR total - length(key) - length(value) <= $4::int8 ORDER BY key"
    )
}

/// Ends a connection that was lost, and says whether it is gone; nothing when it was gone already.
pub(super) const TERMINATE: &str =
    "SELECT bool_and(pg_terminate_backend(pid, $3)) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_takes_the_locks_that_creating_takes() {
        assert!(COMMIT_FUNCTION.contains(&format!("pg_advisory_xact_lock({LOCKS}, wanted)")));
    }
}
