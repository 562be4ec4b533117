//! Service links: HTTP requests of actors to the world outside, by name.
//!
//! An actor names a link and a path. Everything else (where it leads, what may be asked there, the credential, how often, how many at a
//! time, how long, whether again) is the link's, which belongs to one application. What is not here: redirects are not followed, there
//! are no cookies, no proxies, no caches and no streams, and nothing is decompressed.

mod circuit;
mod client;
mod error;
mod link;
mod links;
mod meters;
mod path;
mod retry;
mod route;
mod secrets;

pub use circuit::Config as CircuitConfig;
pub use client::{Client, Config};
pub use error::Error;
pub use link::{Auth, Link, METHODS, Rate};
pub use links::{Links, Owner};
pub use retry::{Backoff, Policy};
pub use secrets::SecretsConfig;
