//! A table of DynamoDB, in which each key of a partition is an item.
//!
//! A partition has a head beside its entries, with its version. A commit is one transaction of the service, which requires that version and
//! makes the next. What a transaction does not hold is written before it, as parts that it names; what is read is of one state if the version was
//! the same before and after. So batches and values are larger than transactions and items of the service, pages are of one state though its
//! queries are not, and partitions may be of any size.
//!
//! Invariant: every commit requires the version that it was judged on, so that what was judged still holds when it is written.
//! Invariant: while a head names a commit that is not carried out, nothing is read or committed before it is.
//! Invariant: after an outcome was reported as unknown nothing of its partition is read or written before another version stands in its way.
//! Invariant: parts never change. They are removed when the version has passed with which they could come into use, and no entry names them.

mod client;
mod commit;
mod config;
mod fault;
mod handle;
mod head;
mod item;
mod known;
mod marker;
mod place;
mod read;
mod sweep;
mod table;

pub use config::Config;
pub use handle::DynamoDb;
pub use plexspaces_aws::{Credentials, Token};
