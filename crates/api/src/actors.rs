//! Messages to actors, the same for HTTP and gRPC.

use std::time::{Duration, Instant};

use plexspaces_actor::{Request, Target};
use plexspaces_proto::google::api::HttpBody;
use plexspaces_proto::v1::actor_service_server::ActorService;
use plexspaces_proto::v1::invoke_actor_response::Outcome;
use plexspaces_proto::v1::{self, Accepted, InvokeActorRequest, InvokeActorResponse};
use plexspaces_types::{Code, Failure, Key, Payload, RequestContext};
use tonic::{Response, Status};

use crate::auth::Caller;
use crate::error::status;
use crate::services::Api;
use crate::transcode::check_key;

/// How long a caller waits when it does not say.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT_MS: u32 = 3_600_000;

/// One message to one actor, checked as far as its syntax goes.
pub(crate) struct Invocation<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) actor_type: &'a str,
    pub(crate) actor_id: Option<&'a str>,
    pub(crate) operation: String,
    /// Whether the caller waits for the reply.
    pub(crate) call: bool,
    pub(crate) timeout: Duration,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) payload: Payload,
}

/// A wait in milliseconds.
pub(crate) fn check_timeout(milliseconds: u32) -> Result<Duration, Failure> {
    if (1..=MAX_TIMEOUT_MS).contains(&milliseconds) {
        return Ok(Duration::from_millis(milliseconds.into()));
    }
    Err(Failure::invalid("timeout_ms", format!("expected 1 to {MAX_TIMEOUT_MS} milliseconds, found {milliseconds}")))
}

impl Api {
    /// The reply, or for a cast its acceptance.
    pub(crate) async fn invoke(&self, caller: &Caller, invocation: Invocation<'_>) -> Result<Result<Payload, Accepted>, Failure> {
        let Invocation { actor_type: name, actor_id: key, operation, idempotency_key, payload, .. } = invocation;
        let ctx = caller.context(invocation.tenant, invocation.namespace)?.with_deadline(Instant::now() + invocation.timeout);
        if let Some(key) = key {
            Key::new(key).map_err(|error| Failure::invalid("actor_id", error.to_string()))?;
        }
        let target = Target { name, key };
        let runtime = &self.0.services.runtime;
        let operation = if operation.is_empty() { runtime.unnamed(&ctx, target)?.to_owned() } else { operation };
        let about = |failure: Failure| about(failure, "actors", &ctx, target);
        if invocation.call {
            return runtime.ask(&ctx, target, Request { operation, payload, idempotency_key }).await.map(Ok).map_err(about);
        }
        let message_id = idempotency_key.clone().unwrap_or_else(|| caller.trace.trace_id_text());
        runtime.tell(&ctx, target, Request { operation, payload, idempotency_key }).await.map_err(about)?;
        Ok(Err(Accepted { status: "accepted".to_owned(), message_id }))
    }
}

#[tonic::async_trait]
impl ActorService for Api {
    async fn invoke_actor(&self, request: tonic::Request<InvokeActorRequest>) -> Result<Response<InvokeActorResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let outcome = self.invoke(&caller, read(&request, self.0.limits.payload_bytes).map_err(status)?).await.map_err(status)?;
        let body = |kind: &str, data| HttpBody { content_type: kind.to_owned(), data };
        let outcome = match outcome {
            Ok(Payload::Json(json)) => Outcome::Reply(body("application/json", json.into())),
            Ok(Payload::Bytes(bytes)) => Outcome::Reply(body("application/octet-stream", bytes)),
            Err(accepted) => Outcome::Accepted(accepted),
        };
        Ok(Response::new(InvokeActorResponse { outcome: Some(outcome) }))
    }
}

/// A conflict names the actor that it is with.
pub(crate) fn about(failure: Failure, collection: &str, ctx: &RequestContext, target: Target<'_>) -> Failure {
    let name = [Some(collection), Some(ctx.namespace.as_str()), Some(target.name), target.key];
    failure.with_resource(name.into_iter().flatten().collect::<Vec<_>>().join("/"), None)
}

/// Who sent a request; it is always known by the time that a service is called.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let unknown = || status(Failure::new(Code::Internal, "the caller is not known"));
    request.extensions().get().cloned().ok_or_else(unknown)
}

fn read(request: &InvokeActorRequest, limit: usize) -> Result<Invocation<'_>, Failure> {
    let (payload, in_payload) = match &request.payload {
        None => (Payload::empty(), None),
        Some(body) if body.data.len() > limit => {
            return Err(Failure::new(Code::PayloadTooLarge, format!("the payload is larger than {limit} bytes")));
        }
        Some(body) => {
            let is_octets = match body.content_type.as_str() {
                "" | "application/json" => false,
                "application/octet-stream" => true,
                other => {
                    let expected = "expected application/json or application/octet-stream";
                    return Err(Failure::invalid("payload.content_type", format!("{expected}, found {other:?}")));
                }
            };
            crate::invoke::read(body.data.clone(), is_octets).map_err(|failure| failure.with_field("payload.data"))?
        }
    };
    let key = &request.idempotency_key;
    if !key.is_empty() {
        check_key("idempotency_key", key.as_bytes())?;
    }
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(Invocation {
        tenant: &request.tenant_id,
        namespace: &request.namespace,
        actor_type: &request.actor_type,
        actor_id: (!request.actor_id.is_empty()).then_some(request.actor_id.as_str()),
        operation: given(&request.operation).or(in_payload).unwrap_or_default(),
        call: request.invocation() != v1::Invocation::Cast,
        timeout: request.timeout_ms.map_or(Ok(DEFAULT_TIMEOUT), check_timeout)?,
        idempotency_key: given(key),
        payload,
    })
}
