//! The node itself: what it is, how it does, its log, its end.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use http::StatusCode;
use plexspaces_proto::google::api::HttpBody;
use plexspaces_proto::v1::system_service_server::SystemService;
use plexspaces_proto::v1::{self, Accepted, AuthMode, Health, HealthCheck, LogLevel};
use plexspaces_types::{Code, Failure};
use tonic::{Request, Response, Status};
use tracing::Level;

use crate::actors::caller;
use crate::applications::timestamp;
use crate::error::status;
use crate::services::{Api, State};
use crate::transcode::HttpStatus;
use crate::{LogEntry, LogFilter, auth};

const DEFAULT_LINES: u32 = 100;
const MAX_LINES: u32 = 10_000;

#[tonic::async_trait]
impl SystemService for Api {
    type TailLogsStream = Pin<Box<dyn Stream<Item = Result<v1::LogEntry, Status>> + Send>>;

    async fn get_info(&self, _request: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        let services = &self.0.services;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(v1::GetInfoResponse {
            node_id: services.node.id.clone(),
            version: services.node.version.clone(),
            started_at: Some(timestamp(services.node.started_at_ms)),
            auth_mode: if self.0.auth.open().is_some() { AuthMode::Open } else { AuthMode::Token }.into(),
            application_count: count(services.applications.counts().0),
            actor_count: count(services.runtime.actors()),
        }))
    }

    async fn get_health(&self, _request: Request<v1::GetHealthRequest>) -> Result<Response<Health>, Status> {
        self.healthy().map_err(status)?;
        Ok(Response::new(well(Vec::new(), Vec::new())))
    }

    async fn get_liveness(&self, _request: Request<v1::GetLivenessRequest>) -> Result<Response<Health>, Status> {
        Ok(Response::new(well(Vec::new(), Vec::new())))
    }

    async fn get_deep_health(&self, _request: Request<v1::GetDeepHealthRequest>) -> Result<Response<Health>, Status> {
        self.ready().map_err(status)?;
        let mut checks = Vec::new();
        let mut failed = Vec::new();
        for check in (self.0.services.probe)().await {
            checks.push(HealthCheck { name: check.name.to_owned(), duration_ms: check.took.as_secs_f64() * 1000.0 });
            failed.extend(check.outcome.err().map(|why| format!("{}: {why}", check.name)));
        }
        if !failed.is_empty() {
            return Err(status(Failure::new(Code::Unavailable, failed.join("; "))));
        }
        let mut warnings = Vec::new();
        if let Some(why) = self.0.auth.open() {
            warnings.push(format!("{why}: everybody who reaches this node may do everything"));
        }
        let (_, unwell) = self.0.services.applications.counts();
        if unwell > 0 {
            warnings.push(format!("applications that are degraded or failed: {unwell}"));
        }
        Ok(Response::new(well(checks, warnings)))
    }

    async fn shutdown(&self, request: Request<v1::ShutdownRequest>) -> Result<Response<Accepted>, Status> {
        let caller = caller(&request)?;
        tracing::info!(principal = %caller.principal, "the node was asked to stop");
        self.0.services.shutdown.cancel();
        let mut response = Response::new(Accepted { status: "accepted".to_owned(), message_id: caller.trace.trace_id_text() });
        response.extensions_mut().insert(HttpStatus(StatusCode::ACCEPTED));
        Ok(response)
    }

    async fn tail_logs(&self, request: Request<v1::TailLogsRequest>) -> Result<Response<Self::TailLogsStream>, Status> {
        let request = request.into_inner();
        let tenant = auth::name("tenant_id", &request.tenant_id).map_err(status)?;
        let lines = request.lines.unwrap_or(DEFAULT_LINES);
        if lines > MAX_LINES {
            return Err(status(Failure::invalid("lines", format!("expected 0 to {MAX_LINES}, found {lines}"))));
        }
        let filter = LogFilter { tenant, app: request.app, actor_id: request.actor_id };
        let lines = usize::try_from(lines).unwrap_or(0);
        let tail = self.0.services.logs.tail(filter, lines, request.follow).map(|entry| Ok(log_entry(&entry)));
        Ok(Response::new(tail.take_until(self.0.services.shutdown.clone().cancelled_owned()).boxed()))
    }

    async fn get_metrics(&self, _request: Request<v1::GetMetricsRequest>) -> Result<Response<HttpBody>, Status> {
        let content_type = "text/plain; version=0.0.4; charset=utf-8".to_owned();
        let metrics = self.0.services.metrics.clone();
        // It may look at every actor, which no thread that answers others is to do.
        let text = tokio::task::spawn_blocking(move || metrics()).await;
        let text = text.map_err(|_| status(Failure::new(Code::Internal, "the metrics could not be counted")))?;
        Ok(Response::new(HttpBody { content_type, data: text.into() }))
    }

    async fn get_open_api(&self, _request: Request<v1::GetOpenApiRequest>) -> Result<Response<HttpBody>, Status> {
        Ok(Response::new(HttpBody { content_type: "application/json".to_owned(), data: self.0.openapi.clone() }))
    }
}

impl Api {
    /// Fails while load balancers should send nothing.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        match self.0.services.readiness.get() {
            State::Leaving => Err(leaving()),
            _ => self.takes_requests(),
        }
    }

    /// Fails also while the node lacks something that it needs for its work.
    pub(crate) fn healthy(&self) -> Result<(), Failure> {
        self.ready()?;
        self.0.services.readiness.lack().map_or(Ok(()), |what| Err(Failure::new(Code::Unavailable, what)))
    }

    /// Fails while the node does not take requests.
    pub(crate) fn takes_requests(&self) -> Result<(), Failure> {
        match self.0.services.readiness.get() {
            State::Ready | State::Leaving => Ok(()),
            State::Starting => {
                let lack = self.0.services.readiness.lack().map(|what| format!(": {what}")).unwrap_or_default();
                Err(Failure::new(Code::Unavailable, format!("the node is starting{lack}")))
            }
            State::Draining => Err(leaving()),
        }
    }
}

fn leaving() -> Failure {
    Failure::new(Code::Unavailable, "the node is shutting down")
}

fn well(checks: Vec<HealthCheck>, warnings: Vec<String>) -> Health {
    Health { status: "ok".to_owned(), checks, warnings }
}

fn log_entry(entry: &LogEntry) -> v1::LogEntry {
    let level = match entry.level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    };
    v1::LogEntry {
        timestamp: Some(timestamp(entry.timestamp_ms)),
        level: level.into(),
        source: entry.source.clone(),
        message: entry.message.clone(),
        app: entry.app.clone(),
        actor_id: entry.actor_id.clone(),
        trace_id: entry.trace_id.clone(),
        fields: entry.fields.clone(),
    }
}
