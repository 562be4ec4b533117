//! One error in its two shapes: a JSON body, and a gRPC status with metadata.

use std::error::Error as _;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use plexspaces_types::{Code, Failure};
use serde::Serialize;
use tonic::Status;

/// What is written as `%` and two digits in metadata, as in `grpc-message`.
const METADATA: &AsciiSet = &CONTROLS.add(b'%');

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    reason: &'static str,
    message: &'a str,
    request_id: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_violations: Option<[Violation<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<&'a str>,
}

#[derive(Serialize)]
struct Violation<'a> {
    field: &'a str,
    description: &'a str,
}

/// The JSON text of an error.
pub(crate) fn json(failure: &Failure, request_id: &str) -> String {
    let body = ErrorBody {
        code: failure.code.error_type().name(),
        reason: failure.code.name(),
        message: &failure.message,
        request_id,
        retryable: failure.code.retryable(),
        retry_after_seconds: retry_after(failure),
        field_violations: failure.field.as_deref().map(|field| [Violation { field, description: &failure.message }]),
        resource: failure.resource.as_ref().map(|resource| resource.name.as_str()),
        current_version: failure.resource.as_ref().and_then(|resource| resource.current_version.as_deref()),
    };
    // A struct of strings and numbers always serialises.
    serde_json::to_string(&body).unwrap_or_default()
}

/// The HTTP answer for an error.
pub(crate) fn response(failure: &Failure, request_id: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json(failure, request_id)));
    *response.status_mut() = StatusCode::from_u16(failure.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_headers(failure, headers);
    response
}

/// The gRPC status for an error. The failure itself stays in it, for the HTTP side.
pub(crate) fn status(failure: Failure) -> Status {
    let mut headers = HeaderMap::new();
    headers.insert("reason", HeaderValue::from_static(failure.code.name()));
    if let Some(field) = failure.field.as_deref().and_then(|field| HeaderValue::from_str(field).ok()) {
        headers.insert("field", field);
    }
    if let Some(resource) = &failure.resource {
        // Names have any characters, and metadata those of ASCII.
        let texts = [("resource", Some(resource.name.as_str())), ("current-version", resource.current_version.as_deref())];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, utf8_percent_encode(text?, METADATA).to_string())));
        let texts = texts.filter_map(|(name, text)| Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?)));
        headers.extend(texts);
    }
    add_headers(&failure, &mut headers);
    let metadata = tonic::metadata::MetadataMap::from_headers(headers);
    let mut status = Status::with_metadata(failure.code.grpc_status().into(), failure.message.clone(), metadata);
    status.set_source(Arc::new(failure));
    status
}

/// The error that a gRPC status stands for.
pub(crate) fn failure(status: &Status) -> Failure {
    if let Some(failure) = status.source().and_then(|source| source.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let wanted = status.code() as i32;
    let code = Code::ALL.iter().copied().find(|code| code.grpc_status() == wanted).unwrap_or(Code::Internal);
    Failure::new(code, status.message())
}

fn add_headers(failure: &Failure, headers: &mut HeaderMap) {
    if let Some(seconds) = retry_after(failure) {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if failure.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// Whole seconds, rounded up: a client that waits them is never too early.
fn retry_after(failure: &Failure) -> Option<u64> {
    failure.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
