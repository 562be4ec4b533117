//! Requests to services of AWS that speak JSON: who asks, the signature, and a client that sends a request once.
//!
//! What a refusal means, and whether a request may be sent again, is known to the crates of the services alone. Credentials are those of the
//! environment or of a role; there are no profiles and no web identities. Buckets are not asked here: their requests are no JSON.

mod client;
mod credentials;
mod error;
mod signature;

pub use client::{Answer, Client, Config, Fault, Refusal};
pub use credentials::{Credentials, Token};
pub use error::{Error, shown};
