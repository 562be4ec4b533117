//! The rules of supervision, one by one and all at once.

mod cost;
mod random;
mod rules;
mod world;
