//! The locks of the files that a model checker runs with its own.

pub(crate) use parking_lot::{Mutex, RwLock};
