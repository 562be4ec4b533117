//! `http`: requests over service links.

use std::time::Duration;

use bytes::Bytes;
use plexspaces_actor::{HttpRequest, HttpResponse};

use super::{Host, no_turn, refuse};
use crate::bindings::plexspaces::actor::http;
use crate::bindings::plexspaces::actor::types::Error;

impl http::Host for Host {
    async fn fetch(&mut self, link: String, request: http::Request) -> wasmtime::Result<Result<http::Response, Error>> {
        let request = HttpRequest::from(request);
        if let Err(error) = self.check_size("body", request.body.len()) {
            return Ok(Err(error));
        }
        let Some(turn) = &mut self.turn else { return Ok(Err(no_turn())) };
        let response = Self::wait(&self.ticks, &mut self.cpu, turn.http_fetch(&link, request)).await;
        self.keep_time();
        Ok(response.map(http::Response::from).map_err(refuse))
    }
}

impl From<http::Request> for HttpRequest {
    fn from(request: http::Request) -> Self {
        Self {
            method: request.method,
            path: request.path,
            headers: request.headers,
            body: match request.body {
                None => Bytes::new(),
                Some(http::Body::Text(text)) => Bytes::from(text),
                Some(http::Body::Bytes(bytes)) => Bytes::from(bytes),
            },
            timeout: request.timeout_ms.map(|ms| Duration::from_millis(u64::from(ms))),
            idempotency_key: request.idempotency_key,
        }
    }
}

impl From<HttpResponse> for http::Response {
    fn from(response: HttpResponse) -> Self {
        let body = match String::from_utf8(response.body.into()) {
            Ok(text) => http::Body::Text(text),
            Err(error) => http::Body::Bytes(error.into_bytes()),
        };
        Self { status: response.status, headers: response.headers, body }
    }
}
