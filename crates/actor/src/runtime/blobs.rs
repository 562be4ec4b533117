//! Blobs: names for large objects. What a name stands for is kept by the service `blobs` of the namespace, the bytes in an object of their
//! own that never changes, so that a name stands for all of the old bytes or for all of the new ones.

use futures::{StreamExt as _, stream};
use plexspaces_types::ErrorType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::ONLY;
use crate::objects::{Content, Objects};

/// The service that knows the names.
pub(crate) const SERVICE: &str = "blobs";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// Its name in the namespace.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of the bytes, in hexadecimal digits.
    pub sha256: String,
    /// The media type that its writer gave.
    pub content_type: String,
    /// Milliseconds since the Unix epoch when it was written.
    pub created_ms: u64,
}

/// An entry of the service, with where the bytes are.
#[derive(Deserialize)]
struct Entry {
    object: String,
    #[serde(flatten)]
    info: BlobInfo,
}

#[derive(Deserialize)]
struct Named {
    blob: BlobInfo,
    /// The object for which the name stood before.
    replaced: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    blob: Option<Entry>,
}

#[derive(Deserialize)]
struct Removed {
    /// The object for which the name stood.
    deleted: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    blobs: Vec<BlobInfo>,
    next: Option<String>,
}

/// Where blobs are kept, and how much.
#[derive(Clone)]
pub struct BlobStore {
    /// The bytes.
    pub objects: Arc<dyn Objects>,
    /// Bytes of one blob.
    pub max_bytes: u64,
    /// Bytes of all blobs of a namespace.
    pub quota_bytes: u64,
}

impl Runtime {
    /// Writes a blob, in the place of one of the same name if there is one. It is there when this returns.
    pub async fn put_blob(&self, ctx: &RequestContext, name: &str, content_type: &str, content: Content) -> Result<BlobInfo, Failure> {
        let store = self.blobs()?;
        let object = format!("{}/{}/{:032x}", ctx.tenant, ctx.namespace, rand::random::<u128>());
        let written = store.objects.write(&object, content, store.max_bytes).await?;
        let sha256: String = written.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = json!({
            "name": name,
            "object": object,
            "size": written.size,
            "sha256": sha256,
            "content_type": content_type,
            "quota_bytes": store.quota_bytes,
        });
        let named = self.ask_blobs::<Named>(ctx, "put", &entry).await;
        let Named { blob, replaced } = match named {
            Ok(named) => named,
            Err(failure) => {
                // Where it is not known whether the name stands for the object now, the object stays.
                if matches!(failure.code.error_type(), ErrorType::Validation | ErrorType::Throttling | ErrorType::ServiceQuotaExceeded) {
                    self.remove_object(&store, &object).await;
                }
                return Err(failure);
            }
        };
        if let Some(replaced) = replaced {
            self.remove_object(&store, &replaced).await;
        }
        Ok(blob)
    }

    /// What a name stands for.
    pub async fn blob(&self, ctx: &RequestContext, name: &str) -> Result<BlobInfo, Failure> {
        self.entry(ctx, name).await.map(|entry| entry.info)
    }

    /// Reads a blob from `offset` on, at most `length` bytes: what it is, which bytes follow, and they.
    pub async fn get_blob(
        &self,
        ctx: &RequestContext,
        name: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(BlobInfo, std::ops::Range<u64>, Content), Failure> {
        let store = self.blobs()?;
        let Entry { object, info } = self.entry(ctx, name).await?;
        if offset > info.size {
            let message = format!("the blob {name:?} has {} bytes, asked for from {offset} on", info.size);
            return Err(Failure::invalid("offset", message));
        }
        let end = length.map_or(info.size, |length| offset.saturating_add(length).min(info.size));
        let content = if offset == end { stream::empty().boxed() } else { store.objects.read(&object, offset..end).await? };
        Ok((info, offset..end, content))
    }

    /// Removes a blob; false when there was none.
    pub async fn delete_blob(&self, ctx: &RequestContext, name: &str) -> Result<bool, Failure> {
        let store = self.blobs()?;
        let Removed { deleted } = self.ask_blobs(ctx, "delete", &json!({"name": name})).await?;
        let Some(object) = deleted else { return Ok(false) };
        self.remove_object(&store, &object).await;
        Ok(true)
    }

    /// The blobs whose names begin with `prefix`, after the name `after`, at most `limit` (1 to 1000); and whether there are more.
    pub async fn list_blobs(
        &self,
        ctx: &RequestContext,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<BlobInfo>, bool), Failure> {
        self.blobs()?;
        let page: Page = self.ask_blobs(ctx, "list", &json!({"prefix": prefix, "after": after, "limit": limit})).await?;
        Ok((page.blobs, page.next.is_some()))
    }

    fn blobs(&self) -> Result<BlobStore, Failure> {
        self.config().blobs.clone().ok_or_else(|| Failure::not_found("this node keeps no blobs"))
    }

    async fn entry(&self, ctx: &RequestContext, name: &str) -> Result<Entry, Failure> {
        self.blobs()?;
        let Found { blob } = self.ask_blobs(ctx, "get", &json!({"name": name})).await?;
        blob.ok_or_else(|| Failure::not_found(format!("there is no blob {name:?} in namespace {}", ctx.namespace)).with_field("name"))
    }

    async fn ask_blobs<T: DeserializeOwned>(&self, ctx: &RequestContext, operation: &str, arguments: &Value) -> Result<T, Failure> {
        let id = self.0.systems.kind(SERVICE)?.identity(&ctx.tenant, &ctx.namespace, ONLY)?;
        let request = Request { operation: operation.to_owned(), payload: Payload::from_value(arguments), idempotency_key: None };
        let reply = self.ask_from(Place::Asker, ctx.clone(), id, message(request, MessageKind::Call)).await?;
        let unreadable = |error| Failure::new(Code::Internal, format!("the service of blobs gave no entry: {error}"));
        serde_json::from_slice(reply.as_bytes()).map_err(unreadable)
    }

    /// An object that stays behind costs room and nothing else.
    async fn remove_object(&self, store: &BlobStore, object: &str) {
        if let Err(failure) = store.objects.remove(object).await {
            tracing::warn!(object, %failure, "an object that no blob stands for any more could not be removed");
        }
    }
}
