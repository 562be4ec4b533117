//! What gRPC clients ask of every server: whether it is well, and what it serves. Probes of Kubernetes need the one, `grpcurl` the other.

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::server::Builder;

use crate::front::Error;
use crate::methods::{Method, PUBLIC, SYSTEM};
use crate::rules::pool;
use crate::services::{Api, State};

/// Every method of these services by its path.
pub(crate) const METHODS: &[(&str, &Method)] = &[
    ("/grpc.health.v1.Health/Check", &Method { name: "grpc.health.v1.Health.Check", ..PUBLIC }),
    ("/grpc.health.v1.Health/Watch", &Method { name: "grpc.health.v1.Health.Watch", ..PUBLIC }),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &REFLECTION),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &REFLECTION),
];

/// Who may use nothing of the interface need not know it.
const REFLECTION: Method = Method { name: "grpc.reflection.ServerReflection.ServerReflectionInfo", quiet: true, ..SYSTEM };

/// The services, beside others.
pub(crate) fn add(api: &Api, routes: tonic::service::Routes) -> Result<tonic::service::Routes, Error> {
    let described = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(plexspaces_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error: tonic_reflection::server::Error| Error::Descriptors(error.to_string());
    Ok(routes
        .add_service(HealthServer::new(api.clone()))
        .add_service(described().build_v1().map_err(broken)?)
        // Clients of some years ask in this way.
        .add_service(described().build_v1alpha().map_err(broken)?))
}

#[tonic::async_trait]
impl Health for Api {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.serving(&service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("there is no service {service:?}"))),
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (api, service) = (self.clone(), request.into_inner().service);
        let changes = self.0.services.readiness.changes();
        let told = stream::unfold((changes, None), move |(mut changes, told)| {
            let (api, service) = (api.clone(), service.clone());
            async move {
                loop {
                    let status = api.serving(&service);
                    if told != Some(status) {
                        return Some((Ok(HealthCheckResponse { status: status.into() }), (changes, Some(status))));
                    }
                    // It has been told by now that the node goes.
                    if api.0.services.readiness.get() == State::Draining {
                        return None;
                    }
                    changes.changed().await.ok()?;
                }
            }
        });
        Ok(Response::new(told.boxed()))
    }
}

impl Api {
    /// How a service is, the whole node where none is named: all of them are as well as it is.
    fn serving(&self, service: &str) -> ServingStatus {
        let is_known = service.is_empty() || pool().is_ok_and(|pool| pool.get_service_by_name(service).is_some());
        match self.healthy() {
            _ if !is_known => ServingStatus::ServiceUnknown,
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        }
    }
}
