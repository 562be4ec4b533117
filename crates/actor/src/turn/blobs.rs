//! Blobs, as an actor's code reads and writes them: whole, or in parts that are no larger than a payload.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_types::{Code, Failure, Payload, RequestContext};

use super::Turn;
use super::log::{self, Known};
use crate::{BlobAccess, BlobInfo, Presigned, Runtime};

impl Turn {
    /// Writes a blob of the actor's namespace.
    pub async fn put_blob(&mut self, name: &str, content_type: &str, content: Bytes) -> Result<BlobInfo, Failure> {
        self.check_size("content", content.len())?;
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("put_blob {name} {content_type}"), &[&content]).await? {
            Known::Told(told) => return self.told_again(told).await.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let put = async { runtime.put_blob(&ctx, name, content_type, stream::once(async { Ok(content) }).boxed(), None).await };
        let put = async { put.await.map(|info| log::json(&info)) };
        self.wait(call, put).await.and_then(|told| log::read(&told))
    }

    /// Reads a blob from `offset` on, at most `length` bytes.
    pub async fn get_blob(&mut self, name: &str, offset: u64, length: Option<u64>) -> Result<(BlobInfo, Bytes), Failure> {
        let limit = self.limits.payload_bytes;
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("look get_blob {name} from {offset} {length:?}"), &[]).await? {
            Known::Told(told) => return self.told_again(told).await.and_then(|told| read(&told)),
            Known::New(call) => call,
        };
        let get = async {
            let (info, range, content) = runtime.get_blob(&ctx, name, offset, length).await?;
            let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            if size > limit {
                let message = format!("{size} bytes of the blob {name:?} are more than the limit of {limit} bytes; read it in parts");
                return Err(Failure::new(Code::PayloadTooLarge, message).with_field("length"));
            }
            let whole = content.try_fold(BytesMut::with_capacity(size), async |mut whole, piece| {
                whole.extend_from_slice(&piece);
                Ok(whole)
            });
            Ok(log::json(&(info, Payload::Bytes(whole.await?.freeze()))))
        };
        self.wait(call, get).await.and_then(|told| read(&told))
    }

    /// What a name stands for.
    pub async fn blob(&mut self, name: &str) -> Result<BlobInfo, Failure> {
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("look blob {name}"), &[]).await? {
            Known::Told(told) => return told.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let found = runtime.blob(&ctx, name).await;
        self.told(call, found.as_ref().map(log::json));
        found
    }

    /// A URL by which somebody without credentials can read a blob, or write it, for so long. In a durable actor that is run again it is the
    /// same, so that it may have expired.
    pub async fn presign_blob(&mut self, name: &str, access: BlobAccess, life: Duration) -> Result<Presigned, Failure> {
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("look presign_blob {name} {} {}", access.method(), life.as_secs()), &[]).await? {
            Known::Told(told) => return told.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let presigned = runtime.presign_blob(&ctx, name, access, life).await;
        self.told(call, presigned.as_ref().map(log::json));
        presigned
    }

    /// Removes a blob; false when there was none.
    pub async fn delete_blob(&mut self, name: &str) -> Result<bool, Failure> {
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("delete_blob {name}"), &[]).await? {
            Known::Told(told) => return self.told_again(told).await.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let deleted = async { runtime.delete_blob(&ctx, name, None).await.map(|deleted| log::json(&deleted)) };
        self.wait(call, deleted).await.and_then(|told| log::read(&told))
    }

    /// The blobs whose names begin with `prefix`, after the name `after`, at most `limit`.
    pub async fn list_blobs(&mut self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobInfo>, Failure> {
        let (runtime, ctx) = self.blobs()?;
        let call = match self.call(|| format!("look list_blobs {prefix} after {} at most {limit}", after.unwrap_or_default()), &[]).await? {
            Known::Told(told) => return told.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let found = runtime.list_blobs(&ctx, prefix, after, limit).await.map(|(blobs, _)| blobs);
        self.told(call, found.as_ref().map(log::json));
        found
    }

    fn blobs(&self) -> Result<(Runtime, RequestContext), Failure> {
        let runtime = self.runtime.clone().ok_or_else(|| Failure::not_found("this actor runs without a node: there are no blobs"))?;
        Ok((runtime, RequestContext { namespace: self.id.namespace.clone(), ..self.ctx.clone() }))
    }
}

fn read(told: &Payload) -> Result<(BlobInfo, Bytes), Failure> {
    let (info, content): (BlobInfo, Payload) = log::read(told)?;
    let content = match content {
        Payload::Bytes(bytes) => bytes,
        Payload::Json(text) => text.into(),
    };
    Ok((info, content))
}
