//! What gRPC clients ask of every server.

use futures::stream;
use plexspaces_api::{AuthConfig, State};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{Node, TOKEN};

#[tokio::test]
async fn probes_and_tools_of_grpc_are_answered() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    let channel = Channel::from_shared(node.url()).unwrap().connect().await.unwrap();

    // Probes have no token.
    let mut health = HealthClient::new(channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "plexspaces.v1.ActorService"] {
        assert_eq!(health.check(of(service)).await.unwrap().into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(of("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    node.services.readiness.lacks("blobs", Some("no bucket".to_owned()));
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);

    let mut reflection = ServerReflectionClient::new(channel);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let services = ask(MessageRequest::ListServices(String::new()));
    let refused = reflection.server_reflection_info(stream::iter([services.clone()])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let symbol = ask(MessageRequest::FileContainingSymbol("plexspaces.v1.KvService".to_owned()));
    let mut asked = Request::new(stream::iter([services, symbol]));
    asked.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut answers = reflection.server_reflection_info(asked).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("expected the services");
    };
    for name in ["plexspaces.v1.KvService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(listed.service.iter().any(|service| service.name == name), "{name}");
    }
    let Some(MessageResponse::FileDescriptorResponse(files)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("expected a file");
    };
    assert_eq!(files.file_descriptor_proto.len(), 1);

    // Who watches is told that the node goes, and let go.
    node.services.readiness.set(State::Draining);
    assert!(watched.message().await.unwrap().is_none());
}
