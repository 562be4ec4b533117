//! Blobs: names for large objects. What a name stands for is kept by the service `blobs` of the namespace, the bytes in an object of their
//! own that never changes, so that a name stands for all of the old bytes or for all of the new ones.

use std::sync::OnceLock;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_types::{Condition, ErrorType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::ONLY;
use crate::objects::{Content, Objects};
use crate::signed::{BlobAccess, BlobKeys, BlobLink, from_hex};

/// For how long a link can be used at most.
const LONGEST_LINK: Duration = Duration::from_hours(7 * 24);

/// Bytes of a name.
const MAX_NAME_BYTES: usize = 512;

/// Refuses what cannot be the name of a blob.
pub fn check_blob_name(name: &str) -> Result<(), Failure> {
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
        let message = format!("the name of a blob has 1 to {MAX_NAME_BYTES} bytes, this one has {}", name.len());
        return Err(Failure::invalid("name", message));
    }
    if name.starts_with('/') || name.chars().any(char::is_control) {
        return Err(Failure::invalid("name", "the name of a blob begins with no '/' and has no control characters"));
    }
    if matches!(name, "." | "..") {
        return Err(Failure::invalid("name", "the name of a blob is not '.' or '..', which mean something else in a URL"));
    }
    Ok(())
}

/// Bytes of a media type.
const MAX_TYPE_BYTES: usize = 256;

/// Refuses what cannot be a media type.
pub fn check_blob_type(content_type: &str) -> Result<(), Failure> {
    if content_type.len() > MAX_TYPE_BYTES || !content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let message = format!("a media type has at most {MAX_TYPE_BYTES} printable ASCII characters");
        return Err(Failure::invalid("content_type", message));
    }
    Ok(())
}

/// How often a name may come to stand for something else while somebody tries to read what it stands for.
const MAX_CHANGES: u32 = 10;

/// Objects of which a sweep asks at once.
const SWEPT_AT_ONCE: usize = 500;

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

#[derive(Deserialize)]
struct Unnamed {
    unnamed: Vec<String>,
}

/// Where blobs are kept, and how much.
#[derive(Clone)]
pub struct BlobStore {
    /// The bytes.
    pub objects: Arc<dyn Objects>,
    /// What is kept with the names, once it is known.
    pub keys: Arc<OnceLock<BlobKeys>>,
    /// Under which URL clients reach the node, without a `/` at its end; empty where that is not known.
    pub url: Arc<str>,
    /// Bytes of one blob.
    pub max_bytes: u64,
    /// Bytes of all blobs of a namespace.
    pub quota_bytes: u64,
}

/// A URL that somebody without credentials can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presigned {
    /// It.
    pub url: String,
    /// Milliseconds since the Unix epoch until when it can be used.
    pub expires_ms: u64,
}

impl Runtime {
    /// Writes a blob, in the place of one of the same name if there is one. It is there when this returns. Under a condition, whose version is
    /// the SHA-256, nothing is written unless that is met.
    pub async fn put_blob(
        &self,
        ctx: &RequestContext,
        name: &str,
        content_type: &str,
        content: Content,
        condition: Option<&Condition>,
    ) -> Result<BlobInfo, Failure> {
        let store = self.blobs()?;
        check_blob_name(name)?;
        check_blob_type(content_type)?;
        let object = format!("{}/{}/{:016x}{:032x}", ctx.tenant, ctx.namespace, store.keys()?.mark, rand::random::<u128>());
        let written = store.objects.write(&object, content_type, content, store.max_bytes).await?;
        let sha256: String = written.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = json!({
            "name": name,
            "object": object,
            "size": written.size,
            "sha256": sha256,
            "content_type": content_type,
            "quota_bytes": store.quota_bytes,
            "if_match": condition,
        });
        let named = self.ask_blobs::<Named>(ctx, "put", &entry).await;
        let Named { blob, replaced } = match named {
            Ok(named) => named,
            Err(failure) => {
                // Where it is not known whether the name stands for the object now, the object stays.
                let refused =
                    matches!(failure.code.error_type(), ErrorType::Validation | ErrorType::Throttling | ErrorType::ServiceQuotaExceeded);
                if refused || failure.code == Code::Conflict {
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
        self.get_blob_part(ctx, name, |_| (offset, length)).await
    }

    /// The same of a part, as offset and length, that depends on the blob's size.
    pub async fn get_blob_part(
        &self,
        ctx: &RequestContext,
        name: &str,
        part: impl Fn(u64) -> (u64, Option<u64>) + Send,
    ) -> Result<(BlobInfo, std::ops::Range<u64>, Content), Failure> {
        let store = self.blobs()?;
        let mut entry = self.entry(ctx, name).await?;
        let mut changes = 0;
        loop {
            let Entry { object, info } = entry;
            let (offset, length) = part(info.size);
            if offset > info.size {
                let message = format!("the blob {name:?} has {} bytes, asked for from {offset} on", info.size);
                return Err(Failure::invalid("offset", message));
            }
            let end = length.map_or(info.size, |length| offset.saturating_add(length).min(info.size));
            let whole = if offset == 0 && end == info.size { from_hex(&info.sha256) } else { None };
            let content = if offset == end { Ok(stream::empty().boxed()) } else { store.objects.read(&object, offset..end, whole).await };
            match content {
                Ok(content) => return Ok((info, offset..end, content)),
                // The object goes when the name stands for another one, which may be between asking for its key and opening it.
                Err(failure) => {
                    entry = self.entry(ctx, name).await?;
                    changes += 1;
                    if entry.object == object || changes > MAX_CHANGES {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Removes a blob; false when there was none. Under a condition, whose version is the SHA-256, nothing is removed unless that is met.
    pub async fn delete_blob(&self, ctx: &RequestContext, name: &str, condition: Option<&Condition>) -> Result<bool, Failure> {
        let store = self.blobs()?;
        let Removed { deleted } = self.ask_blobs(ctx, "delete", &json!({"name": name, "if_match": condition})).await?;
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

    /// A URL by which somebody without credentials can read a blob, or write it, for so long.
    pub async fn presign_blob(&self, ctx: &RequestContext, name: &str, access: BlobAccess, life: Duration) -> Result<Presigned, Failure> {
        if !(Duration::from_secs(1)..=LONGEST_LINK).contains(&life) {
            let message = format!("expected 1 to {} seconds, found {}", LONGEST_LINK.as_secs(), life.as_secs());
            return Err(Failure::invalid("expires_secs", message));
        }
        let store = self.blobs()?;
        let expires = (self.config().clock.now_ms() / 1000).saturating_add(life.as_secs());
        let presigned = |url| Presigned { url, expires_ms: expires.saturating_mul(1000) };
        if access == BlobAccess::Read {
            let Entry { object, info } = self.entry(ctx, name).await?;
            if let Some(url) = store.objects.url(&object, &info.content_type, life).await? {
                return Ok(presigned(url));
            }
        } else {
            check_blob_name(name)?;
        }
        if store.url.is_empty() {
            let message = "this node listens on all addresses and does not know under which one clients reach it: set api.public_url";
            return Err(Failure::new(Code::InvalidConfig, message));
        }
        let (tenant, namespace) = (ctx.tenant.to_string(), ctx.namespace.to_string());
        let signature = store.keys()?.sign(&BlobLink { access, tenant: &tenant, namespace: &namespace, name, expires });
        let path = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let url =
            format!("{}/api/v1/blobs/{path}?tenant_id={tenant}&namespace={namespace}&expires={expires}&signature={signature}", store.url);
        Ok(presigned(url))
    }

    /// Fails unless a link of [`Self::presign_blob`] to the node itself has this signature and has not expired.
    pub fn check_blob_link(&self, link: &BlobLink<'_>, signature: &str) -> Result<(), Failure> {
        let refused = |message: &str| Err(Failure::new(Code::Unauthenticated, message));
        if !self.blobs()?.keys()?.has_signed(link, signature) {
            return refused("the signature is not that of this link");
        }
        if self.config().clock.now_ms() / 1000 >= link.expires {
            return refused("the link has expired");
        }
        Ok(())
    }

    /// Removes the objects that were written at least so long ago and that no name stands for: those of nodes that were cut off between
    /// writing and naming. Gives how many. `age` must be longer than writing takes.
    pub async fn sweep_blobs(&self, age: Duration) -> Result<u64, Failure> {
        let store = self.blobs()?;
        let mark = format!("{:016x}", store.keys()?.mark);
        let own = |key: &String| key.rsplit_once('/').is_some_and(|(_, name)| name.len() == 48 && name.starts_with(&mark));
        let mut objects = store.objects.list(age).try_filter(|key| futures::future::ready(own(key)));
        let (mut removed, mut some) = (0, Vec::<String>::new());
        let directory = |key: &str| key.rsplit_once('/').map(|(directory, _)| directory.to_owned());
        while let Some(object) = objects.try_next().await? {
            let is_elsewhere = some.first().is_some_and(|first| directory(first) != directory(&object));
            if is_elsewhere || some.len() >= SWEPT_AT_ONCE {
                removed += self.sweep(&store, std::mem::take(&mut some)).await?;
            }
            some.push(object);
        }
        removed += self.sweep(&store, some).await?;
        Ok(removed)
    }

    /// Removes those of some objects of one namespace that no name stands for.
    async fn sweep(&self, store: &BlobStore, objects: Vec<String>) -> Result<u64, Failure> {
        let place =
            objects.first().and_then(|object| object.split_once('/')).and_then(|(tenant, rest)| Some((tenant, rest.split_once('/')?.0)));
        let Some((tenant, namespace)) = place else { return Ok(0) };
        let (Ok(tenant), Ok(namespace)) = (Name::new("tenant", tenant), Name::new("namespace", namespace)) else { return Ok(0) };
        let ctx = RequestContext::external(tenant, namespace, "sweep");
        let Unnamed { unnamed } = self.ask_blobs(&ctx, "unnamed", &json!({"objects": objects})).await?;
        for object in &unnamed {
            store.objects.remove(object).await?;
        }
        Ok(unnamed.len() as u64)
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

impl BlobStore {
    fn keys(&self) -> Result<&BlobKeys, Failure> {
        self.keys.get().ok_or_else(|| Failure::new(Code::Unavailable, "the node is starting"))
    }
}
