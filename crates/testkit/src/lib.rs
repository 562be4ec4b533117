//! What tests and benchmarks need and nothing else does: tiny guest components, guests built from the examples, the sizes of the store's
//! groups.

mod groups;
pub mod guests;
pub mod python;

pub use groups::GroupSizes;
