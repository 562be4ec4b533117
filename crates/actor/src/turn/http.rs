//! Requests to the world outside.

use plexspaces_types::{Code, Failure};

use super::Turn;
use crate::outbound::{HttpRequest, HttpResponse, Outgoing};

const MAX_KEY: usize = 255;

impl Turn {
    /// Sends a request over one of the application's service links and waits for the response, never longer than the message that is
    /// being handled may take. A response of any status is a response; an error means that there is none.
    pub async fn http_fetch(&mut self, link: &str, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.check_size("body", request.body.len())?;
        let idempotency_key = match &request.idempotency_key {
            Some(key) => checked(key)?.to_owned(),
            None => format!("{:032x}", rand::random::<u128>()),
        };
        self.send(link, request, idempotency_key).await
    }

    async fn send(&self, link: &str, request: HttpRequest, idempotency_key: String) -> Result<HttpResponse, Failure> {
        let Some(outbound) = self.outbound.clone() else {
            let message = format!("unknown service link {link:?}: the application {} has no [[service_links]]", self.app);
            return Err(Failure::not_found(message).with_field("link"));
        };
        let own = request.timeout.and_then(|timeout| crate::now().checked_add(timeout));
        let deadline = self.ctx.deadline.into_iter().chain(own).min();
        outbound.fetch(link, Outgoing { request, idempotency_key, deadline, max_response: self.limits.payload_bytes }).await
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
