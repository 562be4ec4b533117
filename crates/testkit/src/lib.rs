//! What tests need and nothing else does: tiny guest components, and guests built from the examples. For tests only.

pub mod guests;
pub mod python;
