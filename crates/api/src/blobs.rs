//! Blobs: their bytes go through in pieces, over HTTP as they are.

use std::time::Duration;

use axum::body::Body;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use matchit::Params;
use plexspaces_actor::{BlobAccess, BlobInfo, BlobLink, Content, Presigned};
use plexspaces_proto::google::api::HttpBody;
use plexspaces_proto::v1;
use plexspaces_proto::v1::blob_service_server::BlobService;
use plexspaces_types::{Condition, Failure, RequestContext};
use tonic::{Request, Status, Streaming};

use crate::actors::caller;
use crate::applications::timestamp;
use crate::auth;
use crate::error::status;
use crate::methods::Parameter;
use crate::page::{self, List};
use crate::services::Api;
use crate::transcode::{Incoming, condition, decode, pairs, plain, tag};

const OCTETS: &str = "application/octet-stream";

/// How long a link can be used for which nothing was said.
const LINK_LIFE: Duration = Duration::from_mins(15);

macro_rules! parameters {
    ($($name:literal $schema:literal $description:literal)*) => {
        &[$(Parameter { name: $name, schema: $schema, description: $description }),*]
    };
}

/// The query of a request that writes bytes.
pub(crate) const WRITE: &[Parameter] = parameters! {
    "tenant_id" "string" "The tenant; \"default\" when empty."
    "namespace" "string" "The namespace; \"default\" when empty."
    "expires" "integer" "Of a signed link: until when, in seconds since the Unix epoch."
    "signature" "string" "Of a signed link: stands for any other credential."
};

/// The query of a request that reads bytes.
pub(crate) const READ: &[Parameter] = parameters! {
    "tenant_id" "string" "The tenant; \"default\" when empty."
    "namespace" "string" "The namespace; \"default\" when empty."
    "offset" "integer" "How many bytes to leave out."
    "length" "integer" "How many bytes to give at most; all when absent."
    "expires" "integer" "Of a signed link: until when, in seconds since the Unix epoch."
    "signature" "string" "Of a signed link: stands for any other credential."
};

#[tonic::async_trait]
impl BlobService for Api {
    async fn write_blob(&self, request: Request<Streaming<v1::WriteBlobRequest>>) -> Result<tonic::Response<v1::Blob>, Status> {
        let caller = caller(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| status(Failure::invalid("name", "there is no message")))?;
        let ctx = caller.context(&first.tenant_id, &first.namespace).map_err(status)?;
        let HttpBody { content_type, data } = first.content.unwrap_or_default();
        let broken = |error: Status| Failure::invalid("content", format!("the stream ended: {}", error.message()));
        let rest = messages.map_ok(|message| message.content.unwrap_or_default().data).map_err(broken);
        let content: Content = stream::once(async { Ok(data) }).chain(rest).boxed();
        let condition = first.if_match.map(Condition::from);
        let written = self.0.services.runtime.put_blob(&ctx, &first.name, media(&content_type), content, condition.as_ref()).await;
        written.map(|info| tonic::Response::new(shown(info))).map_err(status)
    }

    type ReadBlobStream = BoxStream<'static, Result<HttpBody, Status>>;

    async fn read_blob(&self, request: Request<v1::ReadBlobRequest>) -> Result<tonic::Response<Self::ReadBlobStream>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let read = self.0.services.runtime.get_blob(&ctx, &request.name, request.offset, request.length).await;
        let (info, _, content) = read.map_err(status)?;
        let pieces = content.map_ok(move |data| HttpBody { content_type: info.content_type.clone(), data }).map_err(status);
        Ok(tonic::Response::new(pieces.boxed()))
    }

    async fn get_blob(&self, request: Request<v1::GetBlobRequest>) -> Result<tonic::Response<v1::Blob>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let found = self.0.services.runtime.blob(&ctx, &request.name).await;
        found.map(|info| tonic::Response::new(shown(info))).map_err(status)
    }

    async fn presign_blob(&self, request: Request<v1::PresignBlobRequest>) -> Result<tonic::Response<v1::PresignBlobResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let access = BlobAccess::of_method(&request.method).map_err(status)?;
        let life = request.expires_secs.map_or(LINK_LIFE, |seconds| Duration::from_secs(seconds.into()));
        let Presigned { url, expires_ms } =
            self.0.services.runtime.presign_blob(&ctx, &request.name, access, life).await.map_err(status)?;
        let method = access.method().to_owned();
        Ok(tonic::Response::new(v1::PresignBlobResponse { url, method, expires_at: Some(timestamp(expires_ms)) }))
    }

    async fn delete_blob(&self, request: Request<v1::DeleteBlobRequest>) -> Result<tonic::Response<v1::DeleteBlobResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let condition = request.if_match.map(Condition::from);
        let deleted = self.0.services.runtime.delete_blob(&ctx, &request.name, condition.as_ref()).await.map_err(status)?;
        Ok(tonic::Response::new(v1::DeleteBlobResponse { deleted }))
    }

    async fn list_blobs(&self, request: Request<v1::ListBlobsRequest>) -> Result<tonic::Response<v1::ListBlobsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        self.blobs(&ctx, &request).await.map(tonic::Response::new).map_err(status)
    }
}

impl Api {
    async fn blobs(&self, ctx: &RequestContext, request: &v1::ListBlobsRequest) -> Result<v1::ListBlobsResponse, Failure> {
        let limit = page::size(request.page_size)?;
        let filter = format!("{}\0{}", ctx.namespace, request.prefix);
        let list = List { name: "blobs", tenant: &ctx.tenant, filter: &filter };
        let after = self.0.pages.open(list, &request.page_token)?;
        let (found, more) = self.0.services.runtime.list_blobs(ctx, &request.prefix, after.as_deref(), limit).await?;
        let next_page_token = match found.last() {
            Some(last) if more => Some(self.0.pages.seal(list, last.name.clone())?),
            _ => None,
        };
        Ok(v1::ListBlobsResponse { blobs: found.into_iter().map(shown).collect(), next_page_token })
    }
}

/// The bytes of a blob, in or out.
pub(crate) async fn http(api: &Api, incoming: Incoming<'_>) -> Result<Response<Body>, Failure> {
    let Incoming { parts, params, body, caller, request_id } = incoming;
    let name = params.get("name").map(decode).transpose()?.unwrap_or_default();
    let asked = Asked::read(parts.uri.query(), parts.method == Method::GET)?;
    let ctx = caller.context(&asked.tenant, &asked.namespace)?;
    let runtime = &api.0.services.runtime;
    if parts.method == Method::PUT {
        let given = parts.headers.get(CONTENT_TYPE).map_or(Ok(""), |kind| kind.to_str());
        let given = given.map_err(|_| Failure::invalid("content_type", "the header Content-Type is not ASCII"))?;
        let condition = condition(&parts.headers)?.map(Condition::from);
        let written = runtime.put_blob(&ctx, &name, media(given), body.stream().boxed(), condition.as_ref()).await?;
        let tag = tag(&written.sha256)?;
        let shown = plexspaces_proto::to_json("plexspaces.v1.Blob", &shown(written)).unwrap_or_default();
        let mut response = plain(StatusCode::OK, None, shown.to_string().into());
        response.headers_mut().insert(ETAG, tag);
        return Ok(response);
    }
    // Who wants a part only of a certain version is given the whole, which is always right.
    let is_ranged = asked.offset == 0 && asked.length.is_none() && !parts.headers.contains_key(IF_RANGE);
    let part = |size| if is_ranged { range(&parts.headers, size) } else { Part::Whole };
    let chosen = |size| match part(size) {
        Part::Whole => (asked.offset, asked.length),
        Part::Range { offset, length } => (offset, Some(length)),
        Part::Beyond => (0, Some(0)),
    };
    let (info, read, content) = runtime.get_blob_part(&ctx, &name, chosen).await?;
    let tag = tag(&info.sha256)?;
    if has(&parts.headers, &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, tag);
        return Ok(response);
    }
    let part = part(info.size);
    if part == Part::Beyond {
        return Ok(beyond(&name, info.size, request_id));
    }
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    let mut set = |name, value: String| HeaderValue::try_from(value).map(|value| drop(headers.insert(name, value)));
    let sent = set(CONTENT_TYPE, media(&info.content_type).to_owned())
        .and_then(|()| set(CONTENT_LENGTH, (read.end - read.start).to_string()))
        .and_then(|()| set(ACCEPT_RANGES, "bytes".to_owned()))
        .and_then(|()| set(CACHE_CONTROL, "no-store".to_owned()))
        // What somebody has written is shown as nothing but what it says it is, and is no page of the node.
        .and_then(|()| set(X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()))
        .and_then(|()| set(CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()));
    let is_part = part != Part::Whole;
    let sent = if is_part {
        sent.and_then(|()| set(CONTENT_RANGE, format!("bytes {}-{}/{}", read.start, read.end.saturating_sub(1), info.size)))
    } else {
        sent
    };
    sent.map_err(|error| Failure::new(plexspaces_types::Code::Internal, format!("the blob's headers: {error}")))?;
    if is_part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Whether a client says that it has what this tag stands for.
fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    tags.map(|other| other.trim().trim_start_matches("W/")).any(|other| other == "*" || other == *tag)
}

/// Whether a request comes with a signed link.
pub(crate) fn is_signed(query: Option<&str>) -> bool {
    pairs(query).any(|(name, _)| name == "signature")
}

/// Fails unless a request comes with a signed link that allows what it asks for.
pub(crate) fn check_link(api: &Api, access: BlobAccess, query: Option<&str>, params: &Params<'_, '_>) -> Result<(), Failure> {
    let asked = Asked::read(query, access == BlobAccess::Read)?;
    let name = params.get("name").map(decode).transpose()?.unwrap_or_default();
    let (tenant, namespace) = (auth::name("tenant_id", &asked.tenant)?.to_string(), auth::name("namespace", &asked.namespace)?.to_string());
    let (expires, signature) = asked.link.unwrap_or_default();
    let link = BlobLink { access, tenant: &tenant, namespace: &namespace, name: &name, expires };
    api.0.services.runtime.check_blob_link(&link, &signature)
}

/// What the query of a request for bytes says.
#[derive(Default)]
struct Asked {
    tenant: String,
    namespace: String,
    offset: u64,
    length: Option<u64>,
    /// Of a signed link: until when, and the signature.
    link: Option<(u64, String)>,
}

impl Asked {
    fn read(query: Option<&str>, reads: bool) -> Result<Self, Failure> {
        let mut asked = Self::default();
        let (mut expires, mut signature) = (None, None);
        for (name, value) in pairs(query) {
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| Failure::invalid(&*name, format!("expected a number that is not negative, found {value:?}")))
            };
            match &*name {
                "expires" => expires = Some(number()?),
                "signature" => signature = Some(value.into_owned()),
                "tenant_id" => asked.tenant = value.into_owned(),
                "namespace" => asked.namespace = value.into_owned(),
                "offset" if reads => asked.offset = number()?,
                "length" if reads => asked.length = Some(number()?),
                other => {
                    let known = if reads { READ } else { WRITE };
                    let known = known.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
                    return Err(Failure::invalid(other, format!("unknown field {other:?}; known are {known}")));
                }
            }
        }
        asked.link = match (expires, signature) {
            (None, None) => None,
            (Some(expires), Some(signature)) => Some((expires, signature)),
            _ => return Err(Failure::invalid("signature", "expires and signature are given together, or neither")),
        };
        Ok(asked)
    }
}

/// What of a blob a header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of it: there is no header, or one that is not understood, which counts as none.
    Whole,
    /// A range of it.
    Range { offset: u64, length: u64 },
    /// A range of which it has nothing.
    Beyond,
}

/// The one range that a request asks for. Of what is empty no part can be given, so that it is given as a whole.
fn range(headers: &HeaderMap, size: u64) -> Part {
    let bounds = headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = bounds.filter(|_| size > 0) else { return Part::Whole };
    // A number may be larger than any that is known here.
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => Part::Beyond,
        (None, Some(length)) if first.is_empty() => Part::Range { offset: size - length.min(size), length: length.min(size) },
        (Some(first), None) if last.is_empty() && first < size => Part::Range { offset: first, length: size - first },
        (Some(first), Some(last)) if first <= last && first < size => {
            Part::Range { offset: first, length: (last - first).saturating_add(1).min(size - first) }
        }
        (Some(_), None) if last.is_empty() => Part::Beyond,
        (Some(first), Some(last)) if first <= last => Part::Beyond,
        _ => Part::Whole,
    }
}

/// The answer to a request for a range of which a blob has nothing.
fn beyond(name: &str, size: u64, request_id: &str) -> Response<Body> {
    let message = format!("the blob {name:?} has {size} bytes, and none in the range that is asked for");
    let mut response = crate::error::response(&Failure::invalid("Range", message), request_id);
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

fn media(given: &str) -> &str {
    if given.is_empty() { OCTETS } else { given }
}

fn shown(info: BlobInfo) -> v1::Blob {
    let BlobInfo { name, size, sha256, content_type, created_ms } = info;
    v1::Blob { name, size, sha256, content_type, created_at: Some(timestamp(created_ms)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood_and_nothing_else() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::try_from(text).unwrap());
            range(&headers, 10)
        };
        let part = |offset, length| Part::Range { offset, length };
        assert_eq!(of("bytes=0-3"), part(0, 4));
        assert_eq!(of("bytes=4-"), part(4, 6));
        assert_eq!(of("bytes=-3"), part(7, 3));
        assert_eq!(of("bytes=-99"), part(0, 10));
        assert_eq!(of("bytes=8-99"), part(8, 2));
        assert_eq!(of("bytes=0-99999999999999999999"), part(0, 10));
        for beyond in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(of(beyond), Part::Beyond, "{beyond}");
        }
        for none in ["bytes=5-2", "bytes=-", "bytes=a-b", "bytes=+1-2", "lines=0-1", "bytes=0-1,3-4"] {
            assert_eq!(of(none), Part::Whole, "{none}");
        }
        assert_eq!(range(&HeaderMap::new(), 10), Part::Whole);
    }

    #[test]
    fn fuzz_ranges_of_blobs() {
        plexspaces_testkit::fuzz!(
            ["bytes=0-3", "bytes=4-", "bytes=-3", "bytes=18446744073709551615-18446744073709551615"],
            |bytes: &Vec<u8>| {
                let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
                let headers = [(RANGE, value)].into_iter().collect();
                for size in [0, 1, 10, u64::MAX] {
                    if let Part::Range { offset, length } = range(&headers, size) {
                        assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= size));
                    }
                }
            }
        );
    }

    #[test]
    fn fuzz_queries_of_blobs() {
        plexspaces_testkit::fuzz!(
            ["tenant_id=t&namespace=n&offset=5&length=18446744073709551615", "expires=7&signature=ab%20cd"],
            |bytes: &Vec<u8>| {
                for reads in [false, true] {
                    if let Ok(asked) = Asked::read(Some(&String::from_utf8_lossy(bytes)), reads) {
                        assert!(reads || (asked.offset, asked.length) == (0, None), "only what is read has a part");
                    }
                }
            }
        );
    }
}
