//! Deploying, undeploying and showing applications.

use http::StatusCode;
use plexspaces_actor::{HandlerKind, TypeInfo};
use plexspaces_app::{Application, Deploy, EarlierVersion, OnIncompatible, Status as AppStatus};
use plexspaces_proto::json;
use plexspaces_proto::v1::application_service_server::ApplicationService;
use plexspaces_proto::v1::{self, ApplicationStatus, handler};
use plexspaces_types::{Condition, Failure};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::auth;
use crate::error::status;
use crate::page::{self, List};
use crate::services::Api;
use crate::transcode::{HttpStatus, check_key};

#[tonic::async_trait]
impl ApplicationService for Api {
    async fn deploy_application(
        &self,
        request: Request<v1::DeployApplicationRequest>,
    ) -> Result<Response<v1::DeployApplicationResponse>, Status> {
        let request = request.into_inner();
        let tenant = auth::name("tenant_id", &request.tenant_id).map_err(status)?;
        if request.wasm.is_empty() {
            return Err(status(Failure::invalid("wasm", "expected a WebAssembly component, found nothing")));
        }
        if let Some(token) = &request.client_token {
            check_key("client_token", token.as_bytes()).map_err(status)?;
        }
        let deploy = Deploy {
            namespace: request.namespace,
            app: request.app,
            actor_type: request.actor_type,
            wasm: request.wasm,
            config: request.config,
            version: request.version,
            client_token: request.client_token,
            on_incompatible: on_incompatible(request.on_incompatible.as_deref()).map_err(status)?,
            if_match: request.if_match.map(Condition::from),
        };
        let deployed = self.0.services.applications.deploy(&tenant, deploy).await.map_err(status)?;
        let created = deployed.created;
        let mut response = Response::new(v1::DeployApplicationResponse { application: Some(application(deployed.application)), created });
        if created {
            response.extensions_mut().insert(HttpStatus(StatusCode::CREATED));
        }
        Ok(response)
    }

    async fn undeploy_application(
        &self,
        request: Request<v1::UndeployApplicationRequest>,
    ) -> Result<Response<v1::UndeployApplicationResponse>, Status> {
        let request = request.into_inner();
        let tenant = auth::name("tenant_id", &request.tenant_id).map_err(status)?;
        let condition = request.if_match.map(Condition::from);
        self.0.services.applications.undeploy(&tenant, request.namespace.as_deref(), &request.app, condition).await.map_err(status)?;
        Ok(Response::new(v1::UndeployApplicationResponse {}))
    }

    async fn get_application(&self, request: Request<v1::GetApplicationRequest>) -> Result<Response<v1::Application>, Status> {
        let request = request.into_inner();
        let tenant = auth::name("tenant_id", &request.tenant_id).map_err(status)?;
        let found = self.0.services.applications.get(&tenant, request.namespace.as_deref(), &request.app).await.map_err(status)?;
        Ok(Response::new(application(found)))
    }

    async fn list_applications(
        &self,
        request: Request<v1::ListApplicationsRequest>,
    ) -> Result<Response<v1::ListApplicationsResponse>, Status> {
        self.list(&request.into_inner()).await.map(Response::new).map_err(status)
    }
}

impl Api {
    async fn list(&self, request: &v1::ListApplicationsRequest) -> Result<v1::ListApplicationsResponse, Failure> {
        let tenant = auth::name("tenant_id", &request.tenant_id)?;
        let limit = page::size(request.page_size)?;
        let namespace = request.namespace.as_deref();
        let filter = namespace.map_or(String::new(), |namespace| format!("namespace={namespace}"));
        let list = List { name: "applications", tenant: &tenant, filter: &filter };
        let after = self.0.pages.open(list, &request.page_token)?;
        let (found, more) = self.0.services.applications.list(&tenant, namespace, after.as_deref(), limit).await?;
        let next_page_token = match found.last() {
            Some(last) if more => Some(self.0.pages.seal(list, format!("{}/{}", last.namespace, last.app))?),
            _ => None,
        };
        Ok(v1::ListApplicationsResponse { applications: found.into_iter().map(application).collect(), next_page_token })
    }
}

fn on_incompatible(choice: Option<&str>) -> Result<OnIncompatible, Failure> {
    match choice {
        None | Some("abort") => Ok(OnIncompatible::Abort),
        Some("replace") => Ok(OnIncompatible::Replace),
        Some("pin") => Ok(OnIncompatible::Pin),
        Some(other) => Err(Failure::invalid("on_incompatible", format!("expected \"abort\", \"pin\" or \"replace\", found {other:?}"))),
    }
}

/// Milliseconds since the Unix epoch as the contract's type.
pub(crate) fn timestamp(milliseconds: u64) -> Timestamp {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(milliseconds % 1000).unwrap_or(0) * 1_000_000;
    Timestamp { seconds, nanos }
}

fn application(application: Application) -> v1::Application {
    let (status, status_reason) = match application.status {
        AppStatus::Running => (ApplicationStatus::Running, None),
        AppStatus::Degraded => (ApplicationStatus::Degraded, None),
        AppStatus::Failed(why) => (ApplicationStatus::Failed, Some(why)),
    };
    v1::Application {
        tenant_id: application.tenant.into(),
        namespace: application.namespace.into(),
        app: application.app.into(),
        version: application.version,
        digest: application.digest,
        actor_type: application.actor_type,
        status: status.into(),
        types: application.types.into_iter().map(actor_type).collect(),
        actor_ids: application.actor_ids,
        deployed_at: Some(timestamp(application.deployed_at_ms)),
        status_reason,
        etag: application.etag,
        earlier_versions: application.earlier.into_iter().map(earlier_version).collect(),
    }
}

fn earlier_version(earlier: EarlierVersion) -> v1::EarlierVersion {
    v1::EarlierVersion { version: earlier.version, digest: earlier.digest, actor_ids: earlier.actor_ids }
}

fn actor_type(info: TypeInfo) -> v1::ActorType {
    let handlers = info.handlers.into_iter().map(|handler| v1::Handler {
        operation: handler.operation,
        kind: match handler.kind {
            HandlerKind::Call => handler::Kind::Call,
            HandlerKind::Cast => handler::Kind::Cast,
            HandlerKind::Run => handler::Kind::Run,
            HandlerKind::Signal => handler::Kind::Signal,
            HandlerKind::Query => handler::Kind::Query,
        }
        .into(),
        doc: handler.doc,
        parameters: Some(json::from_value(handler.parameters)),
    });
    let facets = info.facets.into_iter().map(|facet| v1::Facet {
        r#type: facet.name,
        config: Some(json::from_object(facet.config)),
        priority: None,
    });
    v1::ActorType {
        name: info.name,
        aliases: info.aliases,
        class: info.class,
        behavior: info.behavior.name().to_owned(),
        doc: info.doc,
        facets: facets.collect(),
        handlers: handlers.collect(),
        states: info.states,
        initial_state: info.initial.unwrap_or_default(),
    }
}
