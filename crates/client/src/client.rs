//! What a client can ask of a node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::HeaderValue;
use plexspaces_proto::google::api::HttpBody;
use plexspaces_proto::json::to_value;
use plexspaces_proto::v1::actor_service_client::ActorServiceClient;
use plexspaces_proto::v1::application_service_client::ApplicationServiceClient;
use plexspaces_proto::v1::dead_letter_service_client::DeadLetterServiceClient;
use plexspaces_proto::v1::facet_service_client::FacetServiceClient;
use plexspaces_proto::v1::inspection_service_client::InspectionServiceClient;
use plexspaces_proto::v1::invoke_actor_response::Outcome;
use plexspaces_proto::v1::journal_service_client::JournalServiceClient;
use plexspaces_proto::v1::system_service_client::SystemServiceClient;
use plexspaces_proto::v1::workflow_service_client::WorkflowServiceClient;
use plexspaces_proto::v1::{self, Application};
use plexspaces_types::{Code, Failure, Payload};
use rand::Rng as _;
use tonic::transport::Endpoint;
use tonic::{Response, Status};

use crate::Error;
use crate::error::root;
use crate::retry::retry;
use crate::wire::Wire;

/// Turns that are asked for at once.
const TURNS_AT_ONCE: i32 = 200;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

/// A connection to a node. Clones share it; it comes back by itself when it breaks.
#[derive(Clone)]
pub struct Client {
    pub(crate) wire: Wire,
    pub(crate) url: Arc<str>,
}

/// A message to an actor.
#[derive(Clone, Debug)]
pub struct Invoke {
    /// The tenant; the credential's, else `default`, when empty.
    pub tenant: String,
    /// The namespace; `default` when empty.
    pub namespace: String,
    /// The actor's type, or the name or role of a child.
    pub actor_type: String,
    /// Which actor of the type.
    pub actor_id: Option<String>,
    /// What to do.
    pub operation: String,
    /// The arguments.
    pub payload: Payload,
    /// Whether to wait for the reply.
    pub call: bool,
    /// How long to wait; the node's default when `None`.
    pub timeout: Option<Duration>,
    /// The message's name, 16 to 128 printable ASCII characters. With it the request is repeated when it fails for a moment.
    pub idempotency_key: Option<String>,
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The reply to a call.
    Payload(Payload),
    /// A cast was taken.
    Accepted {
        /// The message's id.
        message_id: String,
    },
}

/// Which log lines to get.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// The tenant; the credential's, else `default`, when empty.
    pub tenant: String,
    /// Only those of this application.
    pub app: Option<String>,
    /// Only those of this actor.
    pub actor_id: Option<String>,
    /// How many old lines; the node's default when `None`.
    pub lines: Option<u32>,
    /// Whether to go on with new lines.
    pub follow: bool,
}

/// What a run can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To stand still at its next wait.
    Pause,
    /// To go on.
    Resume,
    /// To clean up and end.
    Cancel,
    /// To end where it is.
    Terminate,
}

impl Client {
    /// Connects to the node at `url`, such as `http://localhost:8094`, with a token if it wants one.
    pub async fn connect(url: &str, token: Option<&str>) -> Result<Self, Error> {
        let address = |why: String| Error::Address { url: url.to_owned(), why };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| address(root(&error)))?;
        if endpoint.uri().scheme_str() != Some("http") {
            return Err(address("expected http://host:port".to_owned()));
        }
        let authorization = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let authorization = authorization.map_err(|_| address("the token holds characters that a header cannot".to_owned()))?;
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await;
        let channel = channel.map_err(|error| Error::Unreachable { url: url.to_owned(), why: root(&error) })?;
        Ok(Self { wire: Wire { channel, authorization, progress: None }, url: url.into() })
    }

    /// Deploys an application. `progress` is told how many of how many bytes are sent. A client token is made when there is none, so that
    /// a repetition does no harm.
    pub async fn deploy(
        &self,
        mut request: v1::DeployApplicationRequest,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<v1::DeployApplicationResponse, Error> {
        request.client_token.get_or_insert_with(token);
        let total = u64::try_from(sent_len(&request)).unwrap_or(u64::MAX);
        let progress: crate::wire::Progress = Arc::new(move |sent: u64| progress(sent.min(total), total));
        let wire = Wire { progress: Some(progress), ..self.wire.clone() };
        let call = || {
            let (wire, request) = (wire.clone(), request.clone());
            async move { self.take(ApplicationServiceClient::new(wire).deploy_application(request).await) }
        };
        retry(call).await
    }

    /// Stops an application. The namespace may be left out when the name is unique.
    pub async fn undeploy(&self, tenant: &str, namespace: Option<&str>, app: &str) -> Result<(), Error> {
        let namespace = namespace.map(str::to_owned);
        let request = v1::UndeployApplicationRequest { tenant_id: tenant.to_owned(), app: app.to_owned(), namespace, if_match: None };
        retry(|| async { self.take(self.applications().undeploy_application(request.clone()).await) }).await.map(drop)
    }

    /// One application. The namespace may be left out when the name is unique.
    pub async fn get(&self, tenant: &str, namespace: Option<&str>, app: &str) -> Result<Application, Error> {
        let request =
            v1::GetApplicationRequest { tenant_id: tenant.to_owned(), app: app.to_owned(), namespace: namespace.map(str::to_owned) };
        retry(|| async { self.take(self.applications().get_application(request.clone()).await) }).await
    }

    /// The actors on the node that match a request: all pages, at most `limit` actors.
    pub async fn actors(&self, mut request: v1::ListActorsRequest, limit: usize) -> Result<Vec<v1::Actor>, Error> {
        let mut all = Vec::new();
        loop {
            request.page_size = page_size(limit.saturating_sub(all.len()));
            let page = retry(|| async { self.take(self.inspection().list_actors(request.clone()).await) }).await?;
            all.extend(page.actors);
            match page.next_page_token {
                Some(token) if all.len() < limit => request.page_token = token,
                _ => return Ok(all),
            }
        }
    }

    /// A supervisor of an application and its children, all pages.
    pub async fn supervision(&self, mut request: v1::ListSupervisionNodesRequest) -> Result<v1::ListSupervisionNodesResponse, Error> {
        let mut all = v1::ListSupervisionNodesResponse::default();
        loop {
            let page = retry(|| async { self.take(self.inspection().list_supervision_nodes(request.clone()).await) }).await?;
            all.supervisor = page.supervisor;
            all.children.extend(page.children);
            match page.next_page_token {
                Some(token) => request.page_token = token,
                None => return Ok(all),
            }
        }
    }

    /// What happened in an application's supervision tree, all that is kept.
    pub async fn supervision_events(&self, mut request: v1::ListSupervisionEventsRequest) -> Result<Vec<v1::SupervisionEvent>, Error> {
        let mut all = Vec::new();
        loop {
            let page = retry(|| async { self.take(self.inspection().list_supervision_events(request.clone()).await) }).await?;
            all.extend(page.events);
            match page.next_page_token {
                Some(token) => request.page_token = token,
                None => return Ok(all),
            }
        }
    }

    /// The dead letters of a namespace, oldest first, at most `limit`.
    pub async fn dead_letters(&self, tenant: &str, namespace: &str, limit: usize) -> Result<Vec<v1::DeadLetter>, Error> {
        let mut all = Vec::new();
        let mut request =
            v1::ListDeadLettersRequest { tenant_id: tenant.to_owned(), namespace: namespace.to_owned(), ..Default::default() };
        loop {
            request.page_size = page_size(limit.saturating_sub(all.len()));
            let page = retry(|| async { self.take(self.letters().list_dead_letters(request.clone()).await) }).await?;
            all.extend(page.dead_letters);
            match page.next_page_token {
                Some(token) if all.len() < limit => request.page_token = token,
                _ => return Ok(all),
            }
        }
    }

    /// One dead letter.
    pub async fn dead_letter(&self, tenant: &str, namespace: &str, id: &str) -> Result<v1::DeadLetter, Error> {
        let request = v1::GetDeadLetterRequest { tenant_id: tenant.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() };
        retry(|| async { self.take(self.letters().get_dead_letter(request.clone()).await) }).await
    }

    /// Sends a dead letter to its actor again. It is not repeated when the answer is lost: the letter may have been sent.
    pub async fn redrive(&self, tenant: &str, namespace: &str, id: &str) -> Result<(), Error> {
        let request = v1::RedriveDeadLetterRequest { tenant_id: tenant.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() };
        self.take(self.letters().redrive_dead_letter(request).await).map(drop)
    }

    /// Removes a dead letter.
    pub async fn discard(&self, tenant: &str, namespace: &str, id: &str) -> Result<(), Error> {
        let request = v1::DiscardDeadLetterRequest { tenant_id: tenant.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() };
        self.take(self.letters().discard_dead_letter(request).await).map(drop)
    }

    /// The facets that wrap an actor's handling of messages, outermost first.
    pub async fn facets(&self, request: v1::GetFacetsRequest) -> Result<Vec<v1::Facet>, Error> {
        let shown = retry(|| async { self.take(self.facet_service().get_facets(request.clone()).await) }).await?;
        Ok(shown.facets)
    }

    /// Gives an actor a facet; true when that has replaced one of its name.
    pub async fn attach_facet(&self, request: v1::AttachFacetRequest) -> Result<bool, Error> {
        // A repetition replaces the facet by itself, and would say so of a facet that is new.
        self.take(self.facet_service().attach_facet(request).await).map(|attached| attached.replaced)
    }

    /// Takes a facet from an actor.
    pub async fn detach_facet(&self, request: v1::DetachFacetRequest) -> Result<(), Error> {
        self.take(self.facet_service().detach_facet(request).await).map(drop)
    }

    /// The turns of a durable actor, oldest first, as far back as its history is kept: all pages, at most `limit` turns.
    pub async fn history(&self, mut request: v1::ListTurnsRequest, limit: usize) -> Result<Vec<v1::RecordedTurn>, Error> {
        let mut all = Vec::new();
        loop {
            // A turn may be large.
            request.page_size = page_size(limit.saturating_sub(all.len())).min(TURNS_AT_ONCE);
            let page = retry(|| async { self.take(self.journals().list_turns(request.clone()).await) }).await?;
            all.extend(page.turns);
            match page.next_page_token {
                Some(token) if all.len() < limit => request.page_token = token,
                _ => return Ok(all),
            }
        }
    }

    /// A state of a durable actor.
    pub async fn state(&self, request: v1::GetStateRequest) -> Result<v1::GetStateResponse, Error> {
        retry(|| async { self.take(self.journals().get_state(request.clone()).await) }).await
    }

    /// What has changed in a durable actor's state since a turn, up to that of the request: a JSON Patch (RFC 6902).
    pub async fn diff(&self, since: u64, request: v1::GetStateRequest) -> Result<serde_json::Value, Error> {
        let shown = self.state(v1::GetStateRequest { since: Some(since), ..request }).await?;
        let changes = shown.changes.ok_or_else(|| unexpected("expected what has changed, found nothing"))?;
        to_value(changes).map_err(|error| unexpected(&error))
    }

    /// Makes a new actor with the past of another; gives its identity. It is not repeated: the first may have made it.
    pub async fn fork(&self, request: v1::ForkActorRequest) -> Result<String, Error> {
        self.take(self.journals().fork_actor(request).await).map(|fork| fork.actor_id)
    }

    /// The document that runs a history again.
    pub async fn export(&self, request: v1::ExportJournalRequest) -> Result<String, Error> {
        let exported = retry(|| async { self.take(self.journals().export_journal(request.clone()).await) }).await?;
        Ok(exported.document)
    }

    /// Starts a workflow. A client token is made when there is none, so that a repetition starts no second one.
    pub async fn start_workflow(&self, mut request: v1::StartWorkflowRequest) -> Result<v1::Workflow, Error> {
        request.client_token.get_or_insert_with(token);
        retry(|| async { self.take(self.workflows().start_workflow(request.clone()).await) }).await
    }

    /// A workflow's latest run.
    pub async fn workflow(&self, request: v1::GetWorkflowRequest) -> Result<v1::Workflow, Error> {
        retry(|| async { self.take(self.workflows().get_workflow(request.clone()).await) }).await
    }

    /// The workflows that match a request, at most `limit`.
    pub async fn workflow_list(&self, mut request: v1::ListWorkflowsRequest, limit: usize) -> Result<Vec<v1::Workflow>, Error> {
        let mut all = Vec::new();
        loop {
            request.page_size = page_size(limit.saturating_sub(all.len()));
            let page = retry(|| async { self.take(self.workflows().list_workflows(request.clone()).await) }).await?;
            all.extend(page.workflows);
            match page.next_page_token {
                Some(token) if all.len() < limit => request.page_token = token,
                _ => return Ok(all),
            }
        }
    }

    /// Tells a workflow's run to `pause`, `resume`, `cancel` or `terminate`.
    pub async fn order_workflow(&self, order: Order, workflow: v1::GetWorkflowRequest) -> Result<(), Error> {
        let v1::GetWorkflowRequest { tenant_id, namespace, actor_type, workflow_id } = workflow;
        let mut client = self.workflows();
        match order {
            Order::Pause => {
                let request = v1::PauseWorkflowRequest { tenant_id, namespace, actor_type, workflow_id };
                self.take(client.pause_workflow(request).await).map(drop)
            }
            Order::Resume => {
                let request = v1::ResumeWorkflowRequest { tenant_id, namespace, actor_type, workflow_id };
                self.take(client.resume_workflow(request).await).map(drop)
            }
            Order::Cancel => {
                let request = v1::CancelWorkflowRequest { tenant_id, namespace, actor_type, workflow_id };
                self.take(client.cancel_workflow(request).await).map(drop)
            }
            Order::Terminate => {
                let request = v1::TerminateWorkflowRequest { tenant_id, namespace, actor_type, workflow_id };
                self.take(client.terminate_workflow(request).await).map(drop)
            }
        }
    }

    /// All applications of a tenant, or of one of its namespaces, in the order of namespace and name.
    pub async fn list(&self, tenant: &str, namespace: Option<&str>) -> Result<Vec<Application>, Error> {
        let mut all = Vec::new();
        let mut request = v1::ListApplicationsRequest {
            tenant_id: tenant.to_owned(),
            namespace: namespace.map(str::to_owned),
            ..v1::ListApplicationsRequest::default()
        };
        loop {
            let page = retry(|| async { self.take(self.applications().list_applications(request.clone()).await) }).await?;
            all.extend(page.applications);
            match page.next_page_token {
                Some(token) => request.page_token = token,
                None => return Ok(all),
            }
        }
    }

    /// Sends a message to an actor. It is repeated only when it has an idempotency key.
    pub async fn invoke(&self, invoke: Invoke) -> Result<Reply, Error> {
        let (content_type, data) = match invoke.payload {
            Payload::Json(json) => (JSON, json.into()),
            Payload::Bytes(bytes) => (OCTETS, bytes),
        };
        let keyed = invoke.idempotency_key.is_some();
        let invocation = if invoke.call { v1::Invocation::Call } else { v1::Invocation::Cast };
        let request = v1::InvokeActorRequest {
            tenant_id: invoke.tenant,
            namespace: invoke.namespace,
            actor_type: invoke.actor_type,
            actor_id: invoke.actor_id.unwrap_or_default(),
            operation: invoke.operation,
            invocation: invocation.into(),
            timeout_ms: invoke.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
            idempotency_key: invoke.idempotency_key.unwrap_or_default(),
            payload: Some(HttpBody { content_type: content_type.to_owned(), data }),
        };
        let send = || {
            let mut client = ActorServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX);
            let request = request.clone();
            async move { self.take(client.invoke_actor(request).await) }
        };
        let response = if keyed { retry(send).await } else { send().await };
        match response?.outcome {
            Some(Outcome::Reply(body)) if body.content_type == OCTETS => Ok(Reply::Payload(Payload::Bytes(body.data))),
            Some(Outcome::Reply(body)) => match String::from_utf8(Bytes::into(body.data)) {
                Ok(json) => Ok(Reply::Payload(Payload::Json(json))),
                Err(_) => Err(unexpected("expected the reply to be UTF-8")),
            },
            Some(Outcome::Accepted(accepted)) => Ok(Reply::Accepted { message_id: accepted.message_id }),
            None => Err(unexpected("expected a reply or its acceptance, found neither")),
        }
    }

    /// What the node is.
    pub async fn info(&self) -> Result<v1::GetInfoResponse, Error> {
        retry(|| async { self.take(self.system().get_info(v1::GetInfoRequest {}).await) }).await
    }

    /// Fails unless the node takes requests. It is not repeated: who waits for a node asks again.
    pub async fn health(&self) -> Result<v1::Health, Error> {
        self.take(self.system().get_health(v1::GetHealthRequest {}).await)
    }

    /// Fails unless the node's store and actors work.
    pub async fn deep_health(&self) -> Result<v1::Health, Error> {
        self.take(self.system().get_deep_health(v1::GetDeepHealthRequest {}).await)
    }

    /// Asks the node to stop. It answers before it has.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.take(self.system().shutdown(v1::ShutdownRequest {}).await).map(drop)
    }

    /// Log lines, oldest first. With `follow` the stream ends when the node stops.
    pub async fn logs(&self, logs: Logs) -> Result<impl Stream<Item = Result<v1::LogEntry, Error>> + Send + use<>, Error> {
        let request =
            v1::TailLogsRequest { tenant_id: logs.tenant, follow: logs.follow, app: logs.app, actor_id: logs.actor_id, lines: logs.lines };
        let entries = self.take(self.system().tail_logs(request).await)?;
        let url = self.url.clone();
        Ok(entries.map(move |entry| entry.map_err(|status| Error::from_status(&url, &status))))
    }

    fn applications(&self) -> ApplicationServiceClient<Wire> {
        ApplicationServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn inspection(&self) -> InspectionServiceClient<Wire> {
        InspectionServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn letters(&self) -> DeadLetterServiceClient<Wire> {
        DeadLetterServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn facet_service(&self) -> FacetServiceClient<Wire> {
        FacetServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn journals(&self) -> JournalServiceClient<Wire> {
        JournalServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn workflows(&self) -> WorkflowServiceClient<Wire> {
        WorkflowServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn system(&self) -> SystemServiceClient<Wire> {
        SystemServiceClient::new(self.wire.clone())
    }

    fn take<T>(&self, result: Result<Response<T>, Status>) -> Result<T, Error> {
        result.map(Response::into_inner).map_err(|status| Error::from_status(&self.url, &status))
    }
}

pub(crate) fn unexpected(message: &str) -> Error {
    Error::Node { failure: Failure::new(Code::Internal, message), request_id: None }
}

/// 64 characters that nobody chose before.
fn token() -> String {
    let mut rng = rand::rng();
    format!("{:032x}{:032x}", rng.random::<u128>(), rng.random::<u128>())
}

/// The size of the request on the wire, with the frame around it.
fn sent_len(request: &v1::DeployApplicationRequest) -> usize {
    prost::Message::encoded_len(request) + 5
}

/// A page of what is still wanted, as large as the node gives it.
fn page_size(wanted: usize) -> i32 {
    i32::try_from(wanted.clamp(1, 1000)).unwrap_or(1000)
}
