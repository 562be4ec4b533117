//! Messages whose types are known by their descriptors only, as JSON and on the wire.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).map_err(|error| error.to_string()));

/// The contract's descriptors, or why they cannot be read.
pub fn pool() -> Result<&'static DescriptorPool, &'static str> {
    POOL.as_ref().map_err(String::as_str)
}

/// The message of a type that a JSON value stands for.
pub fn from_json(descriptor: MessageDescriptor, value: serde_json::Value) -> Result<DynamicMessage, serde_json::Error> {
    DynamicMessage::deserialize(descriptor, value)
}

/// Sends any message and receives those of one type.
pub struct DynamicCodec {
    received: MessageDescriptor,
}

impl DynamicCodec {
    /// A codec that receives messages of this type.
    #[must_use]
    pub fn new(received: MessageDescriptor) -> Self {
        Self { received }
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Sent;
    type Decoder = Received;

    fn encoder(&mut self) -> Sent {
        Sent
    }

    fn decoder(&mut self) -> Received {
        Received(self.received.clone())
    }
}

/// The sending half.
pub struct Sent;

impl Encoder for Sent {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

/// The receiving half.
pub struct Received(MessageDescriptor);

impl Decoder for Received {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
