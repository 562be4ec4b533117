//! The services that actors share: any method of the contract by its name, with JSON in and out.

use futures::{Stream, StreamExt as _};
use http::uri::PathAndQuery;
use plexspaces_proto::dynamic::{DynamicCodec, from_json, pool};
use plexspaces_proto::json::{Defaults, to_text};
use plexspaces_types::{Code, Failure};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tonic::Request;
use tonic::client::Grpc;

use crate::client::unexpected;
use crate::retry::retry;
use crate::wire::Wire;
use crate::{Client, Error};

impl Client {
    /// Calls a method that answers once: `call("TupleService.TakeTuple", json!({"pattern": ["job", null]}))`. It is repeated when it fails for
    /// a moment and can be: because it names itself with a `client_token`, or because it does the same when it is done twice.
    pub async fn call(&self, method: &str, request: Value) -> Result<Value, Error> {
        let (method, path) = find(method)?;
        let message = message(&method, request)?;
        let token = method.input().get_field_by_name("client_token");
        let once = token.is_some_and(|token| !message.has_field(&token));
        let send = || async {
            let mut grpc = self.grpc().await?;
            let codec = DynamicCodec::new(method.output());
            let answer = grpc.unary(Request::new(message.clone()), path.clone(), codec).await;
            let answer = answer.map_err(|status| Error::from_status(&self.url, &status))?;
            json(&answer.into_inner())
        };
        if once { send().await } else { retry(send).await }
    }

    /// Calls a method that gives messages one after the other.
    pub async fn follow(&self, method: &str, request: Value) -> Result<impl Stream<Item = Result<Value, Error>> + Send + use<>, Error> {
        let (method, path) = find(method)?;
        let message = message(&method, request)?;
        let codec = DynamicCodec::new(method.output());
        let answer = self.grpc().await?.server_streaming(Request::new(message), path, codec).await;
        let messages = answer.map_err(|status| Error::from_status(&self.url, &status))?.into_inner();
        let url = self.url.clone();
        Ok(messages.map(move |message| json(&message.map_err(|status| Error::from_status(&url, &status))?)))
    }

    async fn grpc(&self) -> Result<Grpc<Wire>, Error> {
        let mut grpc = Grpc::new(self.wire.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| Error::Unreachable { url: self.url.to_string(), why: crate::error::root(&error) })?;
        Ok(grpc)
    }
}

fn find(name: &str) -> Result<(MethodDescriptor, PathAndQuery), Error> {
    let unknown = || unexpected(&format!("the contract has no method {name:?}"));
    let (service, method) = name.split_once('.').ok_or_else(unknown)?;
    let service = pool().map_err(unexpected)?.get_service_by_name(&format!("plexspaces.v1.{service}")).ok_or_else(unknown)?;
    let found = service.methods().find(|found| found.name() == method).ok_or_else(unknown)?;
    let path = PathAndQuery::try_from(format!("/{}/{method}", service.full_name())).map_err(|_| unknown())?;
    Ok((found, path))
}

fn message(method: &MethodDescriptor, request: Value) -> Result<DynamicMessage, Error> {
    from_json(method.input(), request).map_err(|error| {
        let failure = Failure::new(Code::InvalidArgument, format!("the request is not one of {}: {error}", method.name()));
        Error::Node { failure, request_id: None }
    })
}

fn json(message: &DynamicMessage) -> Result<Value, Error> {
    let text = to_text(message, Defaults::Written).map_err(|error| unexpected(&error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unexpected(&error.to_string()))
}
