//! Where the bytes of blobs are: a directory of the node, or a bucket of an object store.
//!
//! Names, quotas and who may read what are not known here: objects have keys that the node chooses, and never change.

mod kept;
mod pieces;
mod place;
mod reading;
#[cfg(feature = "remote")]
mod remote;
mod upload;
mod verified;

pub use kept::Kept;
pub use place::Place;
