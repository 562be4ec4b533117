//! The facets of single actors.

use plexspaces_actor::{FacetSpec, Target};
use plexspaces_proto::v1::facet_service_server::FacetService;
use plexspaces_proto::{json, v1};
use plexspaces_types::{Failure, Key};
use tonic::{Request, Response, Status};

use crate::actors::{about, caller};
use crate::error::status;
use crate::services::Api;

#[tonic::async_trait]
impl FacetService for Api {
    async fn get_facets(&self, request: Request<v1::GetFacetsRequest>) -> Result<Response<v1::GetFacetsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let target = target(&request.actor_type, &request.actor_id).map_err(status)?;
        let specs = self.0.services.runtime.facets(&ctx, target).map_err(status)?;
        let facets = specs.into_iter().map(|spec| v1::Facet {
            r#type: spec.name,
            config: Some(json::from_object(spec.config)),
            priority: spec.priority,
        });
        Ok(Response::new(v1::GetFacetsResponse { facets: facets.collect() }))
    }

    async fn attach_facet(&self, request: Request<v1::AttachFacetRequest>) -> Result<Response<v1::AttachFacetResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let target = target(&request.actor_type, &request.actor_id).map_err(status)?;
        let config = json::to_object(request.config.unwrap_or_default()).map_err(|error| status(Failure::invalid("config", error)))?;
        let spec = FacetSpec { name: request.r#type, priority: request.priority, config };
        let about = |failure| status(about(failure, "actors", &ctx, target));
        let replaced = self.0.services.runtime.attach_facet(&ctx, target, spec).await.map_err(about)?;
        Ok(Response::new(v1::AttachFacetResponse { replaced }))
    }

    async fn detach_facet(&self, request: Request<v1::DetachFacetRequest>) -> Result<Response<v1::DetachFacetResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let ctx = caller.context(&request.tenant_id, &request.namespace).map_err(status)?;
        let target = target(&request.actor_type, &request.actor_id).map_err(status)?;
        let had = self.0.services.runtime.detach_facet(&ctx, target, &request.r#type).await.map_err(status)?;
        if had {
            return Ok(Response::new(v1::DetachFacetResponse {}));
        }
        Err(status(Failure::not_found(format!("the actor has no facet {:?}", request.r#type))))
    }
}

pub(crate) fn target<'a>(name: &'a str, key: &'a str) -> Result<Target<'a>, Failure> {
    if name.is_empty() {
        return Err(Failure::invalid("actor_type", "expected a type of actors, found nothing"));
    }
    if key.is_empty() {
        return Ok(Target { name, key: None });
    }
    Key::new(key).map_err(|error| Failure::invalid("actor_id", error.to_string()))?;
    Ok(Target { name, key: Some(key) })
}
