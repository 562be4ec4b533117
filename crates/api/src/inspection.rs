//! Actors and supervision trees.

use plexspaces_actor::supervision::{Kind, Restart, State, Strategy, View};
use plexspaces_actor::{ActorFilter, ActorInfo, ActorOrder, Standing};
use plexspaces_proto::v1;
use plexspaces_proto::v1::actor::State as ActorState;
use plexspaces_proto::v1::inspection_service_server::InspectionService;
use plexspaces_types::{ActorId, Failure, Name};
use tonic::{Request, Response, Status};

use crate::applications::timestamp;
use crate::auth;
use crate::error::status;
use crate::page::{self, List};
use crate::services::Api;

#[tonic::async_trait]
impl InspectionService for Api {
    async fn list_actors(&self, request: Request<v1::ListActorsRequest>) -> Result<Response<v1::ListActorsResponse>, Status> {
        self.actors(&request.into_inner()).map(Response::new).map_err(status)
    }

    async fn list_supervision_nodes(
        &self,
        request: Request<v1::ListSupervisionNodesRequest>,
    ) -> Result<Response<v1::ListSupervisionNodesResponse>, Status> {
        self.nodes(&request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_supervision_events(
        &self,
        request: Request<v1::ListSupervisionEventsRequest>,
    ) -> Result<Response<v1::ListSupervisionEventsResponse>, Status> {
        self.events(&request.into_inner()).await.map(Response::new).map_err(status)
    }
}

impl Api {
    fn actors(&self, request: &v1::ListActorsRequest) -> Result<v1::ListActorsResponse, Failure> {
        let tenant = auth::name("tenant_id", &request.tenant_id)?;
        let limit = page::size(request.page_size)?;
        let (namespace, actor_type) = (request.namespace.as_deref(), request.actor_type.as_deref());
        let filter = ActorFilter { tenant: &tenant, namespace, actor_type };
        let runtime = &self.0.services.runtime;
        if let Some(order) = order(request.order()) {
            let actors = runtime.busiest_actors(filter, order, limit).into_iter().map(actor).collect();
            return Ok(v1::ListActorsResponse { actors, next_page_token: None });
        }
        let filter_text = format!("namespace={};type={}", namespace.unwrap_or_default(), actor_type.unwrap_or_default());
        let list = List { name: "actors", tenant: &tenant, filter: &filter_text };
        let after = self.0.pages.open(list, &request.page_token)?;
        let (found, more) = runtime.list_actors(filter, after.as_deref(), limit);
        let next_page_token = match found.last() {
            Some(last) if more => Some(self.0.pages.seal(list, last.id.to_string())?),
            _ => None,
        };
        Ok(v1::ListActorsResponse { actors: found.into_iter().map(actor).collect(), next_page_token })
    }

    async fn nodes(&self, request: &v1::ListSupervisionNodesRequest) -> Result<v1::ListSupervisionNodesResponse, Failure> {
        let (tenant, namespace, app) = self.tree(&request.tenant_id, request.namespace.as_deref(), &request.app).await?;
        let limit = page::size(request.page_size)?;
        let filter = format!("{namespace}/{app}/{}", request.path);
        let list = List { name: "supervision", tenant: &tenant, filter: &filter };
        let after = self.0.pages.open(list, &request.page_token)?.and_then(|position| position.parse().ok());
        let level = self.0.services.runtime.supervision((&tenant, &namespace, &app), &request.path, after, limit).await?;
        let next_page_token = match level.children.last() {
            Some((last, _)) if level.more => Some(self.0.pages.seal(list, last.position.to_string())?),
            _ => None,
        };
        let children = level.children.iter().map(|(view, actor)| node(view, actor.as_ref())).collect();
        Ok(v1::ListSupervisionNodesResponse { supervisor: Some(node(&level.supervisor, None)), children, next_page_token })
    }

    async fn events(&self, request: &v1::ListSupervisionEventsRequest) -> Result<v1::ListSupervisionEventsResponse, Failure> {
        let (tenant, namespace, app) = self.tree(&request.tenant_id, request.namespace.as_deref(), &request.app).await?;
        let limit = page::size(request.page_size)?;
        let filter = format!("{namespace}/{app}");
        let list = List { name: "supervision-events", tenant: &tenant, filter: &filter };
        let from = self.0.pages.open(list, &request.page_token)?.and_then(|number| number.parse().ok()).unwrap_or(0);
        let (events, more) = self.0.services.runtime.supervision_events((&tenant, &namespace, &app), from, limit).await?;
        let next_page_token = match events.last() {
            Some(last) if more => Some(self.0.pages.seal(list, (last.number + 1).to_string())?),
            _ => None,
        };
        let events = events.into_iter().map(|event| v1::SupervisionEvent {
            number: event.number,
            happened_at: Some(timestamp(event.at_ms)),
            path: event.path,
            what: event.what,
        });
        Ok(v1::ListSupervisionEventsResponse { events: events.collect(), next_page_token })
    }

    async fn tree(&self, tenant: &str, namespace: Option<&str>, app: &str) -> Result<(Name, Name, Name), Failure> {
        let tenant = auth::name("tenant_id", tenant)?;
        let found = self.0.services.applications.get(&tenant, namespace, app).await?;
        Ok((tenant, found.namespace, found.app))
    }
}

fn order(order: v1::ActorOrder) -> Option<ActorOrder> {
    match order {
        v1::ActorOrder::Unspecified => None,
        v1::ActorOrder::TurnTime => Some(ActorOrder::TurnTime),
        v1::ActorOrder::Messages => Some(ActorOrder::Messages),
        v1::ActorOrder::Mailbox => Some(ActorOrder::Mailbox),
        v1::ActorOrder::Memory => Some(ActorOrder::Memory),
        v1::ActorOrder::Failures => Some(ActorOrder::Failures),
    }
}

fn actor(info: ActorInfo) -> v1::Actor {
    let state = match info.standing {
        Standing::Idle => ActorState::Idle,
        Standing::Working => ActorState::Working,
        Standing::Held => ActorState::Waiting,
    };
    v1::Actor {
        actor_id: info.id.to_string(),
        app: info.application.map(String::from).unwrap_or_default(),
        state: state.into(),
        mailbox_depth: info.mailbox_depth as u64,
        message_count: info.messages,
        failure_count: info.failures,
        start_count: info.starts,
        turn_seconds: info.turn_time.as_secs_f64(),
        memory_bytes: info.memory_bytes as u64,
    }
}

fn node(view: &View, actor: Option<&ActorId>) -> v1::SupervisionNode {
    let restart = match view.restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    };
    let state = match view.state {
        State::Starting => "starting",
        State::Running => "running",
        State::Waiting(_) => "waiting",
        State::Stopping => "stopping",
        State::Ended => "ended",
    };
    let mut node = v1::SupervisionNode {
        path: view.path.to_string(),
        actor_id: actor.map(ToString::to_string),
        restart: restart.to_owned(),
        state: state.to_owned(),
        restart_count: view.restarts,
        ..v1::SupervisionNode::default()
    };
    if let Kind::Supervisor { strategy, intensity, children } = view.kind {
        let strategy = match strategy {
            Strategy::OneForOne => "one_for_one",
            Strategy::RestForOne => "rest_for_one",
            Strategy::OneForAll => "one_for_all",
        };
        node.strategy = Some(strategy.to_owned());
        node.max_restarts = Some(intensity.max_restarts);
        node.window_seconds = Some(intensity.window.as_secs_f64());
        node.child_count = Some(children as u64);
    }
    node
}
