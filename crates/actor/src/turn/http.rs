//! Requests to the world outside.

use std::sync::Arc;

use bytes::Bytes;
use plexspaces_durable::fingerprint;
use plexspaces_types::{ActorId, Code, Failure, Payload};
use serde::{Deserialize, Serialize};

use super::Turn;
use super::log::{self, Known};
use crate::outbound::{HttpRequest, HttpResponse, Outbound, Outgoing};

const MAX_KEY: usize = 255;

impl Turn {
    /// Sends a request over one of the application's service links and waits for the response, never longer than the message that is
    /// being handled may take. A response of any status is a response; an error means that there is none.
    pub async fn http_fetch(&mut self, link: &str, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.check_size("body", request.body.len())?;
        let headers = format!("{:?}", request.headers);
        let call =
            match self.call(|| format!("http {link} {} {}", request.method, request.path), &[headers.as_bytes(), &request.body]).await? {
                Known::Told(told) => return self.told_again(told).await.and_then(|kept| Kept::read(&kept)),
                Known::New(call) => call,
            };
        match self.sending(link, request) {
            Err(failure) => self.told_nothing(call, Err(failure)),
            Ok((outbound, outgoing)) if call.is_none() => outbound.fetch(link, outgoing).await,
            Ok((outbound, outgoing)) => {
                let fetched = async { outbound.fetch(link, outgoing).await.map(Kept::write) };
                self.wait(call, fetched).await.and_then(|kept| Kept::read(&kept))
            }
        }
    }

    /// A request that is ready to be sent. Made again in a turn that is run again, it has the same key.
    fn sending(&self, link: &str, request: HttpRequest) -> Result<(Arc<dyn Outbound>, Outgoing), Failure> {
        let Some(outbound) = self.outbound.clone() else {
            let message = format!("unknown service link {link:?}: the application {} has no [[service_links]]", self.app);
            return Err(Failure::not_found(message).with_field("link"));
        };
        self.reach()?.0.admit_link(&self.id, link)?;
        let idempotency_key = match (&request.idempotency_key, self.log.as_deref()) {
            (Some(key), _) => checked(key)?.to_owned(),
            (None, Some(log)) => format!("{:016x}.{}", mark(&self.id), log.call_id()),
            (None, None) => format!("{:032x}", rand::random::<u128>()),
        };
        let own = request.timeout.and_then(|timeout| crate::now().checked_add(timeout));
        let deadline = self.ctx.deadline.into_iter().chain(own).min();
        Ok((outbound, Outgoing { request, idempotency_key, deadline, max_response: self.limits.payload_bytes }))
    }
}

/// What tells an actor's calls from those of another that was forked from it, and has its seed.
fn mark(id: &ActorId) -> u64 {
    let print = fingerprint(&id.to_string(), &Payload::empty());
    print.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// A response as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: Payload,
}

impl Kept {
    fn write(response: HttpResponse) -> Payload {
        let HttpResponse { status, headers, body } = response;
        let body = match String::from_utf8(body.into()) {
            Ok(text) => Payload::Json(text),
            Err(error) => Payload::Bytes(error.into_bytes().into()),
        };
        log::json(&Self { status, headers, body })
    }

    fn read(kept: &Payload) -> Result<HttpResponse, Failure> {
        let Self { status, headers, body } = log::read(kept)?;
        let body = match body {
            Payload::Json(text) => Bytes::from(text),
            Payload::Bytes(bytes) => bytes,
        };
        Ok(HttpResponse { status, headers, body })
    }
}

/// A key that a header can carry.
fn checked(key: &str) -> Result<&str, Failure> {
    if !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key);
    }
    let message = format!("an idempotency key has 1 to {MAX_KEY} printable ASCII characters without spaces");
    Err(Failure::new(Code::InvalidArgument, message).with_field("idempotency_key"))
}
