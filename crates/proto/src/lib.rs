//! The node's wire contract as Rust: messages, gRPC servers and clients, and the descriptors that the HTTP interface is made from.
//!
//! Everything in `gen/` is generated from `proto/` by `cargo xtask gen`. Nothing here does I/O.

/// The part of `google.api` that the contract uses.
pub mod google {
    /// HTTP rules and bodies.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    pub mod api {
        include!("gen/google.api.rs");
    }
}

mod plexspaces {
    /// The contract's first version.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!("gen/plexspaces.v1.rs");
    }
}

pub use plexspaces::v1;

/// Every file of the contract with its imports and comments, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
