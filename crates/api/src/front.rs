//! Where every request comes in: finds its method, checks the caller, calls, and accounts for what came of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use futures::{FutureExt as _, TryFutureExt as _};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response};
use matchit::Params;
use metrics::{SharedString, Unit, counter, histogram};
use plexspaces_actor::{BlobAccess, traced};
use plexspaces_proto::dynamic::DynamicCodec;
use plexspaces_proto::v1::actor_service_server::ActorServiceServer;
use plexspaces_proto::v1::application_service_server::ApplicationServiceServer;
use plexspaces_proto::v1::blob_service_server::BlobServiceServer;
use plexspaces_proto::v1::dead_letter_service_server::DeadLetterServiceServer;
use plexspaces_proto::v1::facet_service_server::FacetServiceServer;
use plexspaces_proto::v1::inspection_service_server::InspectionServiceServer;
use plexspaces_proto::v1::journal_service_server::JournalServiceServer;
use plexspaces_proto::v1::system_service_server::SystemServiceServer;
use plexspaces_proto::v1::workflow_service_server::WorkflowServiceServer;
use plexspaces_types::{Code, Failure, TraceContext};
use prost_reflect::MessageDescriptor;
use rand::Rng as _;
use tokio::sync::OwnedSemaphorePermit;
use tower::{Service as _, service_fn};

use crate::auth::{Auth, Caller};
use crate::body::Limited;
use crate::config::{Budget, Config};
use crate::methods::{Call, Method, calls, method};
use crate::page::Pages;
use crate::routes::Routes;
use crate::rules::{Rule, RuleBody, methods, pool, rules};
use crate::services::{Api, Services, Shared};
use crate::transcode::{self, Incoming};
use crate::{error, openapi, routes, socket, standard};

/// What a gRPC message may be larger than the bytes that it carries.
const ENVELOPE: usize = 64 << 10;
/// The label of requests for which there is no route.
const UNMATCHED: &str = "unmatched";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Why the interface cannot be built. It depends on the program only, never on its configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors contradict themselves or the code.
    #[error("the interface's descriptors cannot be used: {0}")]
    Descriptors(String),
}

struct Front {
    api: Api,
    routes: Routes,
    grpc: axum::Router,
    /// The methods by their gRPC path.
    grpc_methods: HashMap<String, GrpcMethod>,
}

struct GrpcMethod {
    method: &'static Method,
    /// For a method that a service of the node carries out: its code, which HTTP calls as well.
    dynamic: Option<(Arc<Call>, MessageDescriptor)>,
}

/// Everything that one path template reaches.
pub(crate) struct Route {
    pub(crate) template: Arc<str>,
    pub(crate) allow: HeaderValue,
    pub(crate) bindings: Vec<Binding>,
}

impl Route {
    pub(crate) fn binding(&self, verb: &Verb) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.rule.verb == *verb)
    }
}

/// One method at a path.
pub(crate) struct Binding {
    pub(crate) rule: Rule,
    method: &'static Method,
    call: Arc<Call>,
    input: MessageDescriptor,
}

/// The whole interface. It can be put beside other routes; what they do not take comes here.
pub fn router(services: Services, config: &Config) -> Result<axum::Router, Error> {
    let front = Arc::new(Front::new(services, config)?);
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.handle(request).await) }
    });
    Ok(axum::Router::new().fallback_service(service))
}

impl Front {
    fn new(services: Services, config: &Config) -> Result<Self, Error> {
        metrics::describe_counter!("plexspaces_http_requests_total", Unit::Count, "Requests to the interface");
        metrics::describe_histogram!("plexspaces_http_request_seconds", Unit::Seconds, "How long requests to the interface took");
        let pool = pool()?;
        let openapi = openapi::document()?.to_string().into();
        let pages = Pages::new(config.page_key.clone(), config.clock.clone());
        let api = Api(Arc::new(Shared { services, auth: Auth::new(&config.auth), pages, limits: config.limits, openapi }));
        let mut calls = calls(&api, pool)?;
        let standard = standard::METHODS.iter().map(|(path, method)| ((*path).to_owned(), GrpcMethod { method, dynamic: None }));
        let mut grpc_methods: HashMap<String, GrpcMethod> = standard.collect();
        let mut routes: Vec<Route> = Vec::new();
        for descriptor in methods(pool) {
            let name = descriptor.full_name();
            let missing = || Error::Descriptors(format!("the method {name} is not registered"));
            let method = method(name).ok_or_else(missing)?;
            let call = Arc::new(calls.remove(name).ok_or_else(missing)?);
            let dynamic = method.operation.map(|_| (call.clone(), descriptor.input()));
            let path = format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name());
            grpc_methods.insert(path, GrpcMethod { method, dynamic });
            for rule in rules(&descriptor)? {
                if matches!(rule.body, RuleBody::Raw(_)) && !matches!(*call, Call::Hook(_)) {
                    return Err(Error::Descriptors(format!("{name}: a body of bytes needs code that reads it")));
                }
                let binding = Binding { method, call: call.clone(), input: descriptor.input(), rule };
                match routes.iter_mut().find(|route| *route.template == *binding.rule.template) {
                    Some(route) => route.bindings.push(binding),
                    None => routes.push(Route {
                        template: binding.rule.template.as_str().into(),
                        allow: HeaderValue::from_static(""),
                        bindings: vec![binding],
                    }),
                }
            }
        }
        let limit = |bytes: usize| bytes.saturating_add(ENVELOPE);
        let deploys = limit(config.limits.deploy_bytes);
        let payloads = limit(config.limits.payload_bytes);
        let grpc = tonic::service::Routes::new(ActorServiceServer::new(api.clone()).max_decoding_message_size(payloads))
            .add_service(ApplicationServiceServer::new(api.clone()).max_decoding_message_size(deploys))
            .add_service(InspectionServiceServer::new(api.clone()).max_decoding_message_size(limit(config.limits.request_bytes)))
            .add_service(DeadLetterServiceServer::new(api.clone()).max_decoding_message_size(limit(config.limits.request_bytes)))
            .add_service(BlobServiceServer::new(api.clone()).max_decoding_message_size(payloads))
            .add_service(FacetServiceServer::new(api.clone()).max_decoding_message_size(limit(config.limits.request_bytes)))
            .add_service(JournalServiceServer::new(api.clone()).max_decoding_message_size(payloads))
            .add_service(WorkflowServiceServer::new(api.clone()).max_decoding_message_size(payloads))
            .add_service(SystemServiceServer::new(api.clone()).max_decoding_message_size(limit(config.limits.request_bytes)));
        let grpc = standard::add(&api, grpc)?.into_axum_router();
        Ok(Self { api, routes: Routes::new(routes)?, grpc, grpc_methods })
    }

    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let trace = trace(&parts.headers);
        let request_id = trace.trace_id_text();
        let verb = parts.method.clone();
        if verb == Verb::HEAD {
            // The same without the content, which the connection leaves out by itself.
            parts.method = Verb::GET;
        }
        let answered = async {
            if is_grpc(&parts.headers) { self.grpc(parts, body, trace).await } else { self.http(&parts, body, trace, &request_id).await }
        };
        let (route, method, mut response) = traced(trace, answered).await;
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::try_from(&request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Ok(trace) = HeaderValue::try_from(trace.to_string()) {
            headers.insert(TRACEPARENT, trace);
        }
        account(&verb, route, method, &response, &request_id, started);
        response
    }

    async fn http(
        &self,
        parts: &Parts,
        body: Body,
        trace: TraceContext,
        request_id: &str,
    ) -> (SharedString, Option<&'static Method>, Response<Body>) {
        let body = Limited::new(body, self.api.0.limits.body_idle);
        let split = routes::split(parts.uri.path());
        let Some(found) = self.routes.find(parts.uri.path(), split.as_deref(), &parts.method) else {
            let shown: String = parts.uri.path().chars().take(200).collect();
            let failure = Failure::not_found(format!("there is no path {shown:?}; /openapi.json lists those that there are"));
            return (UNMATCHED.into(), None, error::response(&failure, request_id));
        };
        let route = found.value;
        let label = SharedString::from(route.template.clone());
        let Some(binding) = route.binding(&parts.method) else {
            let expected = route.allow.to_str().unwrap_or_default();
            let message = format!("{} does not exist for {}; expected {expected}", parts.method, route.template);
            let mut response = error::response(&Failure::new(Code::MethodNotAllowed, message), request_id);
            response.headers_mut().insert(ALLOW, route.allow.clone());
            return (label, None, response);
        };
        let answer = AssertUnwindSafe(self.call(binding, parts, &found.params, body, trace, request_id)).catch_unwind().await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => error::response(&failure, request_id),
            Err(panic) => error::response(&fault(panic.as_ref(), request_id), request_id),
        };
        (label, Some(binding.method), response)
    }

    async fn call(
        &self,
        binding: &Binding,
        parts: &Parts,
        params: &Params<'_, '_>,
        mut body: Limited,
        trace: TraceContext,
        request_id: &str,
    ) -> Result<Response<Body>, Failure> {
        let link = binding.method.signed.filter(|_| crate::blobs::is_signed(parts.uri.query()));
        let (caller, _permit) = self.admit(binding.method, parts, trace, link.map(|access| (access, params)))?;
        body.admit((binding.method.body_limit)(&self.api.0.limits), &parts.headers)?;
        check_conditions(parts, &binding.input)?;
        let incoming = Incoming { parts, params, body, caller, request_id };
        match binding.call.as_ref() {
            Call::Hook(hook) => hook(&self.api, incoming).await,
            Call::Unary(call) => {
                let request = transcode::message(binding.input.clone(), &binding.rule, binding.method, incoming).await?;
                let response = call(request).await.map_err(|status| error::failure(&status))?;
                transcode::response(&binding.rule, binding.method, response)
            }
            Call::Streaming(call) => {
                let upgrade = if socket::is_asked(&parts.headers) { Some(socket::upgrade(parts).await?) } else { None };
                let request = transcode::message(binding.input.clone(), &binding.rule, binding.method, incoming).await?;
                let messages = call(request).await.map_err(|status| error::failure(&status))?;
                if let Some(upgrade) = upgrade {
                    let held = parts.extensions.get().cloned();
                    let shutdown = self.api.0.services.shutdown.clone();
                    return Ok(socket::answer(upgrade, messages, held, request_id.to_owned(), shutdown));
                }
                Ok(transcode::events(messages, request_id.to_owned()))
            }
        }
    }

    async fn grpc(&self, mut parts: Parts, body: Body, trace: TraceContext) -> (SharedString, Option<&'static Method>, Response<Body>) {
        let Some((path, GrpcMethod { method, dynamic })) = self.grpc_methods.get_key_value(parts.uri.path()) else {
            let failure = tonic::Status::unimplemented("there is no such method");
            return (UNMATCHED.into(), None, failure.into_http());
        };
        let label = SharedString::from(path.clone());
        let refused = |failure| (SharedString::from(path.clone()), Some(*method), error::status(failure).into_http());
        let (caller, _permit) = match self.admit(method, &parts, trace, None) {
            Ok(admitted) => admitted,
            Err(failure) => return refused(failure),
        };
        parts.extensions.insert(caller);
        let request = Request::from_parts(parts, body);
        let answered = async {
            match dynamic {
                Some((call, input)) => Ok(dynamic_grpc(call, input, (method.body_limit)(&self.api.0.limits), request).await),
                None => self.grpc.clone().call(request).await,
            }
        };
        let answer = AssertUnwindSafe(answered).catch_unwind().await;
        match answer {
            Ok(Ok(response)) => (label, Some(method), response),
            Ok(Err(never)) => match never {},
            Err(panic) => refused(fault(panic.as_ref(), &trace.trace_id_text())),
        }
    }

    /// Who asks; an error unless the request may be carried out now. A signed link stands for a credential.
    fn admit(
        &self,
        method: &Method,
        parts: &Parts,
        trace: TraceContext,
        link: Option<(BlobAccess, &Params<'_, '_>)>,
    ) -> Result<(Caller, Option<OwnedSemaphorePermit>), Failure> {
        let principal = match link {
            Some((access, params)) if !parts.headers.contains_key(AUTHORIZATION) => {
                crate::blobs::check_link(&self.api, access, parts.uri.query(), params)?;
                "signed link".into()
            }
            _ => self.api.0.auth.check(parts, !method.public)?,
        };
        let caller = Caller { trace, principal };
        if method.public {
            return Ok((caller, None));
        }
        if !method.while_starting {
            self.api.takes_requests()?;
        }
        let overloaded = || Failure::new(Code::Overloaded, "this listener carries out as many requests as it may");
        let permit = parts.extensions.get::<Budget>().map(|budget| budget.take().ok_or_else(overloaded)).transpose()?;
        Ok((caller, permit))
    }
}

/// A condition that is not looked at must not let through what it was to prevent.
fn check_conditions(parts: &Parts, input: &MessageDescriptor) -> Result<(), Failure> {
    // Who reads unless he has it already loses nothing by reading it again.
    let is_harmless = |name: &HeaderName| *name == IF_NONE_MATCH && parts.method == Verb::GET;
    let given = [IF_MATCH, IF_NONE_MATCH].into_iter().find(|name| parts.headers.contains_key(name) && !is_harmless(name));
    match given.filter(|_| input.get_field_by_name(transcode::CONDITION).is_none()) {
        Some(name) => Err(Failure::invalid(name.as_str(), format!("{} does not support the header {name} here", parts.method))),
        None => Ok(()),
    }
}

/// Carries out a method whose messages have no types of their own here.
async fn dynamic_grpc(call: &Call, input: &MessageDescriptor, limit: usize, request: Request<Body>) -> Response<Body> {
    let codec = DynamicCodec::new(input.clone());
    let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(limit.saturating_add(ENVELOPE));
    let response = match call {
        Call::Unary(call) => {
            let call = call.clone();
            grpc.unary(service_fn(move |request| call(request)), request).await
        }
        Call::Streaming(call) => {
            let call = call.clone();
            let stream = move |request| call(request).map_ok(|messages| tonic::Response::new(messages.stream));
            grpc.server_streaming(service_fn(stream), request).await
        }
        Call::Hook(_) => tonic::Status::internal("the method reads the HTTP request itself").into_http(),
    };
    response.map(Body::new)
}

/// This request's part of the trace that it came with, or of a new one.
fn trace(headers: &HeaderMap) -> TraceContext {
    let incoming = headers.get(TRACEPARENT).and_then(|header| TraceContext::parse(header.to_str().ok()?));
    match incoming {
        Some(incoming) => TraceContext { span_id: rand::rng().random_range(1..=u64::MAX), ..incoming },
        None => TraceContext::generate(),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn fault(panic: &(dyn std::any::Any + Send), request_id: &str) -> Failure {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(trace_id = request_id, panic = text.unwrap_or("not a text"), "a request panicked");
    Failure::new(Code::Internal, "the node has a fault; its log holds more under the request's id")
}

/// Logs and counts a request. The label of a route is its template and that of an unknown verb is `OTHER`, so that clients cannot make
/// new ones.
fn account(verb: &Verb, route: SharedString, method: Option<&Method>, response: &Response<Body>, request_id: &str, started: Instant) {
    let status = status_of(response);
    let seconds = started.elapsed().as_secs_f64();
    let verb = match *verb {
        Verb::GET => "GET",
        Verb::POST => "POST",
        Verb::PUT => "PUT",
        Verb::PATCH => "PATCH",
        Verb::DELETE => "DELETE",
        Verb::HEAD => "HEAD",
        Verb::OPTIONS => "OPTIONS",
        _ => "OTHER",
    };
    let ms = seconds * 1000.0;
    if method.is_some_and(|method| method.quiet) {
        tracing::debug!(method = verb, route = %route, status, ms, trace_id = request_id, "request");
    } else {
        tracing::info!(method = verb, route = %route, status, ms, trace_id = request_id, "request");
    }
    counter!("plexspaces_http_requests_total", "method" => verb, "route" => route.clone(), "status" => status.to_string()).increment(1);
    histogram!("plexspaces_http_request_seconds", "route" => route).record(seconds);
}

/// The HTTP status of a response, for a gRPC error the one that it would have had over HTTP.
fn status_of(response: &Response<Body>) -> u16 {
    let Some(status) = response.headers().get("grpc-status") else { return response.status().as_u16() };
    let number = status.to_str().ok().and_then(|status| status.parse::<i32>().ok());
    let code = Code::ALL.iter().find(|code| Some(code.grpc_status()) == number);
    match (number, code) {
        (Some(0), _) => 200,
        (_, Some(code)) => code.http_status(),
        (_, None) => 500,
    }
}
