//! Which code carries out which method, and what its descriptor does not say.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use http::Response;
use plexspaces_actor::BlobAccess;
use plexspaces_proto::v1::application_service_server::ApplicationService;
use plexspaces_proto::v1::blob_service_server::BlobService;
use plexspaces_proto::v1::dead_letter_service_server::DeadLetterService;
use plexspaces_proto::v1::facet_service_server::FacetService;
use plexspaces_proto::v1::inspection_service_server::InspectionService;
use plexspaces_proto::v1::journal_service_server::JournalService;
use plexspaces_proto::v1::system_service_server::SystemService;
use plexspaces_proto::v1::workflow_service_server::WorkflowService;
use plexspaces_types::Failure;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::Status;

use crate::Limits;
use crate::error::status;
use crate::front::Error;
use crate::operations::{self, Operation};
use crate::services::Api;
use crate::transcode::Incoming;

/// What the descriptor of a method does not say.
pub(crate) struct Method {
    /// Its full name.
    pub(crate) name: &'static str,
    /// Needs no token, counts for no budget and answers while the node starts.
    pub(crate) public: bool,
    /// Answers while the node starts.
    pub(crate) while_starting: bool,
    /// Is logged at debug instead of info.
    pub(crate) quiet: bool,
    /// With which HTTP statuses it succeeds.
    pub(crate) statuses: &'static [u16],
    /// Other names of fields in forms and queries.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
    /// The query's parameters where they are not the message's fields.
    pub(crate) query: &'static [Parameter],
    /// How large the body may be.
    pub(crate) body_limit: fn(&Limits) -> usize,
    /// What a signed link must allow that is used over HTTP instead of a credential; `None` where there are no such links.
    pub(crate) signed: Option<BlobAccess>,
    /// The field of the response that is the version of what it shows.
    pub(crate) version: Option<&'static str>,
    /// What a service of the node does for it; `None` when there is code for it here.
    pub(crate) operation: Option<Operation>,
}

/// A query parameter that is no field.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// Its type in JSON Schema.
    pub(crate) schema: &'static str,
    pub(crate) description: &'static str,
}

const CONTROL: Method = Method {
    name: "",
    public: false,
    while_starting: false,
    quiet: false,
    statuses: &[200],
    aliases: &[],
    query: &[],
    body_limit: |limits| limits.request_bytes,
    signed: None,
    version: None,
    operation: None,
};
pub(crate) const SYSTEM: Method = Method { while_starting: true, ..CONTROL };
pub(crate) const PUBLIC: Method = Method { public: true, quiet: true, ..SYSTEM };

/// Every method of the contract.
pub(crate) const METHODS: &[Method] = &[
    Method {
        name: "plexspaces.v1.ActorService.InvokeActor",
        quiet: true,
        statuses: &[200, 202],
        query: crate::invoke::PARAMETERS,
        body_limit: |limits| limits.payload_bytes,
        ..CONTROL
    },
    Method {
        name: "plexspaces.v1.ApplicationService.DeployApplication",
        statuses: &[200, 201],
        aliases: &[("name", "app")],
        body_limit: |limits| limits.deploy_bytes,
        version: Some("etag"),
        ..CONTROL
    },
    Method { name: "plexspaces.v1.ApplicationService.UndeployApplication", ..CONTROL },
    Method { name: "plexspaces.v1.ApplicationService.GetApplication", version: Some("etag"), ..CONTROL },
    Method { name: "plexspaces.v1.ApplicationService.ListApplications", ..CONTROL },
    Method { name: "plexspaces.v1.InspectionService.ListActors", ..CONTROL },
    Method { name: "plexspaces.v1.InspectionService.ListSupervisionNodes", ..CONTROL },
    Method { name: "plexspaces.v1.InspectionService.ListSupervisionEvents", ..CONTROL },
    Method { name: "plexspaces.v1.DeadLetterService.ListDeadLetters", ..CONTROL },
    Method { name: "plexspaces.v1.DeadLetterService.GetDeadLetter", ..CONTROL },
    Method { name: "plexspaces.v1.DeadLetterService.RedriveDeadLetter", ..CONTROL },
    Method { name: "plexspaces.v1.DeadLetterService.DiscardDeadLetter", ..CONTROL },
    Method { name: "plexspaces.v1.FacetService.GetFacets", ..CONTROL },
    Method { name: "plexspaces.v1.FacetService.AttachFacet", ..CONTROL },
    Method { name: "plexspaces.v1.FacetService.DetachFacet", ..CONTROL },
    Method { name: "plexspaces.v1.JournalService.ListTurns", ..CONTROL },
    Method { name: "plexspaces.v1.JournalService.GetState", ..CONTROL },
    Method { name: "plexspaces.v1.JournalService.ForkActor", ..CONTROL },
    Method { name: "plexspaces.v1.JournalService.ExportJournal", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.StartWorkflow", statuses: &[202], ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.GetWorkflow", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.ListWorkflows", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.PauseWorkflow", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.ResumeWorkflow", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.CancelWorkflow", ..CONTROL },
    Method { name: "plexspaces.v1.WorkflowService.TerminateWorkflow", ..CONTROL },
    Method { name: "plexspaces.v1.SystemService.GetInfo", ..SYSTEM },
    Method { name: "plexspaces.v1.SystemService.GetHealth", ..PUBLIC },
    Method { name: "plexspaces.v1.SystemService.GetLiveness", ..PUBLIC },
    Method { name: "plexspaces.v1.SystemService.GetDeepHealth", ..SYSTEM },
    Method { name: "plexspaces.v1.SystemService.Shutdown", statuses: &[202], ..SYSTEM },
    Method { name: "plexspaces.v1.SystemService.TailLogs", ..SYSTEM },
    Method { name: "plexspaces.v1.SystemService.GetMetrics", ..PUBLIC },
    Method { name: "plexspaces.v1.SystemService.GetOpenApi", ..SYSTEM },
    Method {
        name: "plexspaces.v1.BlobService.WriteBlob",
        body_limit: |_| usize::MAX,
        query: crate::blobs::WRITE,
        signed: Some(BlobAccess::Write),
        ..CONTROL
    },
    Method {
        name: "plexspaces.v1.BlobService.ReadBlob",
        quiet: true,
        statuses: &[200, 206],
        query: crate::blobs::READ,
        signed: Some(BlobAccess::Read),
        ..CONTROL
    },
    Method { name: "plexspaces.v1.BlobService.PresignBlob", ..CONTROL },
    Method { name: "plexspaces.v1.BlobService.GetBlob", quiet: true, version: Some("sha256"), ..CONTROL },
    Method { name: "plexspaces.v1.BlobService.DeleteBlob", ..CONTROL },
    Method { name: "plexspaces.v1.BlobService.ListBlobs", ..CONTROL },
    of("plexspaces.v1.TupleService.WriteTuple", Operation::new("tuples", "write")),
    of("plexspaces.v1.TupleService.WriteTupleOnce", Operation::new("tuples", "write_once")),
    of("plexspaces.v1.TupleService.ReplaceTuple", Operation::new("tuples", "replace")),
    of("plexspaces.v1.TupleService.ReadTuple", Operation::new("tuples", "read")),
    of("plexspaces.v1.TupleService.TakeTuple", Operation::new("tuples", "take")),
    of("plexspaces.v1.TupleService.ListTuples", Operation::new("tuples", "read_all")),
    of("plexspaces.v1.TupleService.TakeTuples", Operation::new("tuples", "take_all")),
    of("plexspaces.v1.TupleService.CountTuples", Operation::new("tuples", "count")),
    of("plexspaces.v1.TupleService.ConfirmTuple", Operation::new("tuples", "confirm")),
    of("plexspaces.v1.TupleService.ReleaseTuple", Operation::new("tuples", "release")),
    of("plexspaces.v1.TupleService.WatchTuples", Operation::new("tuples", "read").feed(operations::TUPLES)),
    of("plexspaces.v1.ChannelService.ListChannels", Operation::new("channels", "list")),
    of("plexspaces.v1.ChannelService.SendMessage", Operation::new("channels", "send")),
    of("plexspaces.v1.ChannelService.ReceiveMessage", Operation::new("channels", "receive")),
    of("plexspaces.v1.ChannelService.AckMessage", Operation::new("channels", "ack")),
    of("plexspaces.v1.ChannelService.NackMessage", Operation::new("channels", "nack")),
    of("plexspaces.v1.ChannelService.PublishMessage", Operation::new("channels", "publish")),
    of("plexspaces.v1.ChannelService.SubscribeChannel", Operation::new("channels", "tail").feed(operations::MESSAGES)),
    of("plexspaces.v1.ChannelService.CreateSubscriber", Operation::new("channels", "subscribe")),
    of("plexspaces.v1.ChannelService.NextMessage", Operation::new("channels", "next")),
    of("plexspaces.v1.ChannelService.DeleteSubscriber", Operation::new("channels", "unsubscribe")),
    of("plexspaces.v1.ChannelService.GetChannel", Operation::new("channels", "status")),
    of("plexspaces.v1.ChannelService.ListChannelDeadLetters", Operation::new("channels", "dead_letters")),
    of("plexspaces.v1.ChannelService.RedriveChannelDeadLetters", Operation::new("channels", "redrive")),
    of("plexspaces.v1.GroupService.ListGroups", Operation::new("groups", "list")),
    of("plexspaces.v1.GroupService.ListGroupMembers", Operation::new("groups", "members")),
    of("plexspaces.v1.GroupService.JoinGroup", Operation::new("groups", "join")),
    of("plexspaces.v1.GroupService.LeaveGroup", Operation::new("groups", "leave")),
    of("plexspaces.v1.GroupService.PublishToGroup", Operation::new("groups", "publish")),
    of("plexspaces.v1.LockService.AcquireLock", Operation::new("locks", "acquire")),
    of("plexspaces.v1.LockService.RenewLock", Operation::new("locks", "renew")),
    of("plexspaces.v1.LockService.ReleaseLock", Operation::new("locks", "release")),
    of("plexspaces.v1.LockService.GetLock", Operation::new("locks", "get").shows("lock")),
    of("plexspaces.v1.LockService.ListLocks", Operation::new("locks", "list")),
    Method { version: Some("version"), ..of("plexspaces.v1.KvService.GetPair", Operation::new("kv", "get").shows("value")) },
    of("plexspaces.v1.KvService.PutPair", Operation::new("kv", "put")),
    of("plexspaces.v1.KvService.DeletePair", Operation::new("kv", "delete")),
    of("plexspaces.v1.KvService.CompareAndSwapPair", Operation::new("kv", "cas")),
    of("plexspaces.v1.KvService.ListPairs", Operation::new("kv", "list")),
    of("plexspaces.v1.KvService.WatchPairs", Operation::new("kv", "watch").feed(operations::CHANGES)),
    of("plexspaces.v1.RegistryService.Register", Operation::new("registry", "register")),
    of("plexspaces.v1.RegistryService.RenewRegistration", Operation::new("registry", "renew")),
    of("plexspaces.v1.RegistryService.Unregister", Operation::new("registry", "unregister")),
    of("plexspaces.v1.RegistryService.Lookup", Operation::new("registry", "lookup").shows("entry")),
    of("plexspaces.v1.RegistryService.ListRegistrations", Operation::new("registry", "find")),
];

/// A method that a service of the node carries out.
const fn of(name: &'static str, operation: Operation) -> Method {
    Method { name, quiet: true, body_limit: |limits| limits.payload_bytes, operation: Some(operation), ..CONTROL }
}

/// What is known of a method.
pub(crate) fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

type Unary =
    Arc<dyn Fn(tonic::Request<DynamicMessage>) -> BoxFuture<'static, Result<tonic::Response<DynamicMessage>, Status>> + Send + Sync>;
type Streaming = Arc<dyn Fn(tonic::Request<DynamicMessage>) -> BoxFuture<'static, Result<Messages, Status>> + Send + Sync>;
/// Reads the HTTP request itself.
pub(crate) type Hook = for<'a> fn(&'a Api, Incoming<'a>) -> BoxFuture<'a, Result<Response<Body>, Failure>>;

/// Messages one after the other.
pub(crate) struct Messages {
    pub(crate) stream: BoxStream<'static, Result<DynamicMessage, Status>>,
    /// The field by which a client says where to go on.
    pub(crate) id: Option<&'static str>,
    /// From where the first message goes on.
    pub(crate) start: Option<u64>,
}

/// How a method is called from HTTP.
pub(crate) enum Call {
    Unary(Unary),
    Streaming(Streaming),
    Hook(Hook),
}

/// The code of every method that HTTP reaches, by full name.
pub(crate) fn calls(api: &Api, pool: &DescriptorPool) -> Result<HashMap<&'static str, Call>, Error> {
    let mut calls = HashMap::new();
    macro_rules! register {
        ($kind:ident $service:ident $(($rpc:literal, $function:ident))*) => {$({
            let name = concat!("plexspaces.v1.", stringify!($service), ".", $rpc);
            let method = crate::rules::methods(pool).into_iter().find(|method| method.full_name() == name);
            let output = method.ok_or_else(|| Error::Descriptors(format!("no method {name}")))?.output();
            calls.insert(name, $kind(api, output, |api, request| async move { $service::$function(&api, request).await }));
        })*};
    }
    calls.insert("plexspaces.v1.ActorService.InvokeActor", Call::Hook(|api, incoming| crate::invoke::http(api, incoming).boxed()));
    for name in ["plexspaces.v1.BlobService.WriteBlob", "plexspaces.v1.BlobService.ReadBlob"] {
        calls.insert(name, Call::Hook(|api, incoming| crate::blobs::http(api, incoming).boxed()));
    }
    register!(unary BlobService ("GetBlob", get_blob) ("PresignBlob", presign_blob) ("DeleteBlob", delete_blob) ("ListBlobs", list_blobs));
    register!(unary ApplicationService
        ("DeployApplication", deploy_application) ("UndeployApplication", undeploy_application)
        ("GetApplication", get_application) ("ListApplications", list_applications));
    register!(unary InspectionService
        ("ListActors", list_actors) ("ListSupervisionNodes", list_supervision_nodes)
        ("ListSupervisionEvents", list_supervision_events));
    register!(unary DeadLetterService
        ("ListDeadLetters", list_dead_letters) ("GetDeadLetter", get_dead_letter)
        ("RedriveDeadLetter", redrive_dead_letter) ("DiscardDeadLetter", discard_dead_letter));
    register!(unary FacetService ("GetFacets", get_facets) ("AttachFacet", attach_facet) ("DetachFacet", detach_facet));
    register!(unary JournalService
        ("ListTurns", list_turns) ("GetState", get_state) ("ForkActor", fork_actor) ("ExportJournal", export_journal));
    register!(unary WorkflowService
        ("StartWorkflow", start_workflow) ("GetWorkflow", get_workflow) ("ListWorkflows", list_workflows) ("PauseWorkflow", pause_workflow)
        ("ResumeWorkflow", resume_workflow) ("CancelWorkflow", cancel_workflow) ("TerminateWorkflow", terminate_workflow));
    register!(unary SystemService
        ("GetInfo", get_info) ("GetHealth", get_health) ("GetLiveness", get_liveness) ("GetDeepHealth", get_deep_health)
        ("Shutdown", shutdown) ("GetMetrics", get_metrics) ("GetOpenApi", get_open_api));
    register!(streaming SystemService ("TailLogs", tail_logs));
    for method in crate::rules::methods(pool) {
        if let Some(Method { name, operation: Some(operation), .. }) = self::method(method.full_name()) {
            calls.insert(name, operations::call(api, name, operation, &method.output()));
        }
    }
    Ok(calls)
}

fn unary<T, U, F>(api: &Api, output: MessageDescriptor, call: impl Fn(Api, tonic::Request<T>) -> F + Clone + Send + Sync + 'static) -> Call
where
    T: prost::Message + Default + 'static,
    U: prost::Message + 'static,
    F: Future<Output = Result<tonic::Response<U>, Status>> + Send + 'static,
{
    let api = api.clone();
    Call::Unary(Arc::new(move |request| {
        let (api, call, output) = (api.clone(), call.clone(), output.clone());
        async move {
            let (metadata, response, extensions) = call(api, typed(request)?).await?.into_parts();
            Ok(tonic::Response::from_parts(metadata, dynamic(output, &response)?, extensions))
        }
        .boxed()
    }))
}

fn streaming<T, U, S, F>(
    api: &Api,
    output: MessageDescriptor,
    call: impl Fn(Api, tonic::Request<T>) -> F + Clone + Send + Sync + 'static,
) -> Call
where
    T: prost::Message + Default + 'static,
    U: prost::Message + 'static,
    S: Stream<Item = Result<U, Status>> + Send + 'static,
    F: Future<Output = Result<tonic::Response<S>, Status>> + Send + 'static,
{
    let api = api.clone();
    Call::Streaming(Arc::new(move |request| {
        let (api, call, output) = (api.clone(), call.clone(), output.clone());
        async move {
            let messages = call(api, typed(request)?).await?.into_inner();
            let stream = messages.and_then(move |message| futures::future::ready(dynamic(output.clone(), &message))).boxed();
            Ok(Messages { stream, id: None, start: None })
        }
        .boxed()
    }))
}

fn typed<T: prost::Message + Default>(request: tonic::Request<DynamicMessage>) -> Result<tonic::Request<T>, Status> {
    let (metadata, extensions, message) = request.into_parts();
    let message = message.transcode_to().map_err(|error| status(Failure::invalid("body", error.to_string())))?;
    Ok(tonic::Request::from_parts(metadata, extensions, message))
}

fn dynamic(descriptor: MessageDescriptor, message: &impl prost::Message) -> Result<DynamicMessage, Status> {
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(|error| Status::internal(error.to_string()))?;
    Ok(dynamic)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use plexspaces_proto::google::api::HttpBody;
    use prost_reflect::{Kind, ReflectMessage as _};

    use super::*;
    use crate::rules::{methods, pool, rules};

    #[test]
    fn every_method_is_known_and_nothing_else_is() {
        let pool = pool().unwrap();
        let described: BTreeSet<_> = methods(pool).iter().map(|method| method.full_name().to_owned()).collect();
        let known: Vec<_> = METHODS.iter().map(|method| method.name.to_owned()).collect();
        assert_eq!(known.len(), described.len());
        assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), described);
        for descriptor in methods(pool) {
            assert!(!rules(&descriptor).unwrap().is_empty(), "{} has no HTTP rule", descriptor.full_name());
            let input = descriptor.input();
            for (alias, field) in method(descriptor.full_name()).unwrap().aliases {
                assert!(input.get_field_by_name(alias).is_none() && input.get_field_by_name(field).is_some(), "{alias}");
            }
        }
    }

    #[test]
    fn the_contract_follows_the_rules_of_the_interface() {
        let pool = pool().unwrap();
        let own = |name: &str| name.starts_with("plexspaces.");
        for values in pool.all_enums().filter(|values| own(values.full_name())) {
            let zero = values.get_value(0).unwrap();
            assert!(zero.name().ends_with("_UNSPECIFIED"), "{}: {}", values.full_name(), zero.name());
        }
        for message in pool.all_messages().filter(|message| own(message.full_name()) && !message.is_map_entry()) {
            for field in message.fields() {
                let is_time = field.name().ends_with("_at") || field.name() == "timestamp";
                let is_timestamp = matches!(field.kind(), Kind::Message(kind) if kind.full_name() == "google.protobuf.Timestamp");
                assert_eq!(is_time, is_timestamp, "{}", field.full_name());
                assert_eq!(field.name(), field.name().to_ascii_lowercase(), "{}", field.full_name());
            }
        }
        // Nouns that are no collections: their path says what one of a kind there is.
        let single = ["kv", "registry", "system", "supervision", "state", "info"];
        // What programs outside of this contract are told to use.
        let fixed = ["deploy", "invoke", "subscribe"];
        for rule in methods(pool).iter().flat_map(|method| rules(method).unwrap()) {
            let Some(path) = rule.template.strip_prefix("/api/v1/") else {
                assert!(["/health", "/metrics", "/openapi.json"].iter().any(|own| rule.template.starts_with(own)), "{}", rule.template);
                continue;
            };
            let (path, verb) = path.rsplit_once(':').unwrap_or((path, "verb"));
            let plain = |text: &str| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
            assert!(plain(verb), "{}", rule.template);
            for segment in path.split('/').filter(|segment| !segment.starts_with('{')) {
                let is_noun = segment.ends_with('s') || single.contains(&segment) || fixed.contains(&segment);
                assert!(is_noun && plain(segment), "{}: {segment} is no noun; a verb is written :{segment}", rule.template);
            }
            assert!(path.split('/').all(|segment| segment.starts_with('{') == segment.ends_with('}')), "{}", rule.template);
        }
        for descriptor in methods(pool).into_iter().filter(|method| method.name().starts_with("List")) {
            let (input, output) = (descriptor.input(), descriptor.output());
            assert!(input.get_field_by_name("page_size").is_some_and(|field| matches!(field.kind(), Kind::Int32)));
            assert!(input.get_field_by_name("page_token").is_some());
            assert!(output.get_field_by_name("next_page_token").is_some_and(|field| field.supports_presence()), "absent on the last page");
        }
    }

    #[test]
    fn bodies_of_bytes_are_messages_of_the_contract() {
        let pool = pool().unwrap();
        let descriptor = pool.get_message_by_name("google.api.HttpBody").unwrap();
        let body = HttpBody { content_type: "text/plain".to_owned(), data: "x".into() };
        assert!(crate::rules::is_http_body(&dynamic(descriptor, &body).unwrap().descriptor()));
    }
}
