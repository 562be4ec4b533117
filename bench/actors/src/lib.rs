//! Nothing: the crate is its benchmark.
