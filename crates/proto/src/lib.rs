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

pub mod dynamic;
pub mod json;

pub use plexspaces::v1;

/// Every file of the contract with its imports and comments, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// A message as JSON as the interface sends it, with the names of the contract and with empty lists; `name` is the message's full name. `None` when there is no such message, or when
/// `message` is not one of it.
#[must_use]
pub fn to_json(name: &str, message: &impl prost::Message) -> Option<serde_json::Value> {
    let descriptor = dynamic::pool().ok()?.get_message_by_name(name)?;
    let message = prost_reflect::DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()?;
    serde_json::from_slice(&json::to_text(&message, json::Defaults::Written).ok()?).ok()
}
