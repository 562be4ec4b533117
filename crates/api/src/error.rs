//! One error in its two shapes: a JSON body, and a gRPC status with metadata.

use std::error::Error as _;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use plexspaces_types::{Code, Failure};
use serde::Serialize;
use tonic::Status;

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
