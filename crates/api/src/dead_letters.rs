//! Messages that were given up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexspaces_actor::DeadLetter;
use plexspaces_proto::v1;
use plexspaces_proto::v1::dead_letter_service_server::DeadLetterService;
use plexspaces_types::{Failure, Payload, RequestContext};
use tonic::{Request, Response, Status};

use crate::actors::caller;
use crate::applications::timestamp;
use crate::auth::Caller;
use crate::error::status;
use crate::page::{self, List};
use crate::services::Api;

#[tonic::async_trait]
impl DeadLetterService for Api {
    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let caller = caller(&request)?;
        self.letters(&caller, &request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn get_dead_letter(&self, request: Request<v1::GetDeadLetterRequest>) -> Result<Response<v1::DeadLetter>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let found = self.0.services.runtime.dead_letter(&ctx, &request.id).await.map_err(status)?;
        Ok(Response::new(letter(&ctx, &found)))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<v1::RedriveDeadLetterRequest>,
    ) -> Result<Response<v1::RedriveDeadLetterResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        self.0.services.runtime.redrive(&ctx, &request.id).await.map_err(status)?;
        Ok(Response::new(v1::RedriveDeadLetterResponse {}))
    }

    async fn discard_dead_letter(
        &self,
        request: Request<v1::DiscardDeadLetterRequest>,
    ) -> Result<Response<v1::DiscardDeadLetterResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        self.0.services.runtime.dead_letter(&ctx, &request.id).await.map_err(status)?;
        self.0.services.runtime.discard(&ctx, &request.id).await.map_err(status)?;
        Ok(Response::new(v1::DiscardDeadLetterResponse {}))
    }
}

impl Api {
    async fn letters(&self, caller: &Caller, request: &v1::ListDeadLettersRequest) -> Result<v1::ListDeadLettersResponse, Failure> {
        let ctx = caller.context(&request.tenant_id, &request.namespace)?;
        let limit = page::size(request.page_size)?;
        let list = List { name: "dead-letters", tenant: &ctx.tenant, filter: ctx.namespace.as_str() };
        let after = self.0.pages.open(list, &request.page_token)?;
        let (found, more) = self.0.services.runtime.dead_letters(&ctx, after.as_deref(), limit).await?;
        let next_page_token = match found.last() {
            Some(last) if more => Some(self.0.pages.seal(list, last.id.clone())?),
            _ => None,
        };
        Ok(v1::ListDeadLettersResponse { dead_letters: found.iter().map(|found| letter(&ctx, found)).collect(), next_page_token })
    }
}

fn letter(ctx: &RequestContext, found: &DeadLetter) -> v1::DeadLetter {
    let (payload, payload_is_bytes) = match found.payload() {
        Payload::Json(text) => (text, false),
        Payload::Bytes(bytes) => (STANDARD.encode(bytes), true),
    };
    v1::DeadLetter {
        id: found.id.clone(),
        actor_id: format!("{}/{}/{}", ctx.namespace, found.actor_type, found.key),
        operation: found.operation.clone(),
        payload,
        payload_is_bytes,
        sender: found.sender.clone(),
        attempts: found.attempts.into(),
        reason: found.code.clone(),
        message: found.reason.clone(),
        given_up_at: Some(timestamp(found.at_ms)),
    }
}
