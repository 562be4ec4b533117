//! Carries requests to the services of the node, whose operations take a JSON object and give one.
//!
//! A request message's fields are the operation's arguments, by name, but for those that say whom it is for (`tenant_id`, `namespace`,
//! `channel`), that name the request (`client_token`) and that ask for a page (`page_size`, `page_token`). The members of the reply are the
//! fields of the response, but for times, which are milliseconds there (`expires_ms`) and timestamps here (`expires_at`), and the place where
//! a page ends (`next`), which is sealed in a token.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use plexspaces_actor::{ONLY, Request};
use plexspaces_proto::dynamic::from_json;
use plexspaces_proto::json::{Defaults, to_text};
use plexspaces_types::{Code, Failure, Payload, RequestContext};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, ReflectMessage as _};
use serde_json::{Map, Value};

use crate::actors::{DEFAULT_TIMEOUT, check_timeout};
use crate::applications::timestamp;
use crate::error::status;
use crate::methods::{Call, Messages};
use crate::page::{self, List};
use crate::services::Api;
use crate::transcode::check_key;

/// How long a feed waits before it asks again.
const PERIOD: Duration = Duration::from_secs(30);

/// How many messages a feed takes at once.
const AT_ONCE: usize = 16;

/// The service of which there is one for each name; of the others there is one in each namespace.
const NAMED: &str = "channels";
const NAME: &str = "channel";

/// The operation whose feed goes on with a list where a reply does not hold everything.
const WATCH: &str = "watch";

/// What a service does for a method.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    service: &'static str,
    operation: &'static str,
    /// The member of the reply that is what was asked for: where it is null, there is none.
    shows: Option<&'static str>,
    /// For a method that gives messages one after the other.
    pub(crate) feed: Option<Feed>,
}

/// How the replies of an operation that is asked again and again become messages.
#[derive(Clone, Copy)]
pub(crate) struct Feed {
    /// The field of a message after which a client can go on.
    id: &'static str,
    /// What a reply gives, and after what to ask again.
    read: fn(Value) -> (Vec<Value>, Option<u64>),
    /// Arguments that every request has.
    limit: Option<usize>,
}

/// Tuples, one at a time.
pub(crate) const TUPLES: Feed = Feed {
    id: "position",
    limit: None,
    read: |reply| {
        let position = number(&reply, "position");
        (position.map(|_| reply).into_iter().collect(), position)
    },
};

/// Messages of a topic.
pub(crate) const MESSAGES: Feed = Feed {
    id: "position",
    limit: Some(AT_ONCE),
    read: |mut reply| {
        let next = number(&reply, "next");
        match reply.get_mut("messages").map(Value::take) {
            Some(Value::Array(messages)) => (messages, next),
            _ => (Vec::new(), next),
        }
    },
};

/// Changes of pairs.
pub(crate) const CHANGES: Feed = Feed {
    id: "version",
    limit: None,
    read: |reply| {
        let version = number(&reply, "version");
        let is_empty = reply.get("changes").and_then(Value::as_array).is_none_or(Vec::is_empty);
        let says_nothing = is_empty && reply.get("reset") != Some(&Value::Bool(true));
        ((!says_nothing).then_some(reply).into_iter().collect(), version)
    },
};

impl Operation {
    pub(crate) const fn new(service: &'static str, operation: &'static str) -> Self {
        Self { service, operation, shows: None, feed: None }
    }

    pub(crate) const fn shows(self, member: &'static str) -> Self {
        Self { shows: Some(member), ..self }
    }

    pub(crate) const fn feed(self, feed: Feed) -> Self {
        Self { feed: Some(feed), ..self }
    }
}

/// The code of a method that a service carries out.
pub(crate) fn call(api: &Api, method: &'static str, operation: &'static Operation, output: &MessageDescriptor) -> Call {
    let (api, output) = (api.clone(), output.clone());
    match operation.feed {
        None => Call::Unary(Arc::new(move |request| {
            let (api, output) = (api.clone(), output.clone());
            async move { once(&api, method, operation, output, request).await.map(tonic::Response::new).map_err(status) }.boxed()
        })),
        Some(feed) => Call::Streaming(Arc::new(move |request| {
            let (api, output) = (api.clone(), output.clone());
            async move { follow(api, method, operation, feed, output, request).await.map_err(status) }.boxed()
        })),
    }
}

async fn once(
    api: &Api,
    method: &'static str,
    operation: &Operation,
    output: MessageDescriptor,
    request: tonic::Request<DynamicMessage>,
) -> Result<DynamicMessage, Failure> {
    let asked = Asked::read(api, method, operation, request)?;
    let wait = asked.wait()?;
    let mut reply = asked.ask(api, &asked.arguments, wait).await?;
    let next = reply.as_object_mut().and_then(|members| members.remove("next")).filter(|next| !next.is_null());
    if let Some(next) = next {
        let token = api.0.pages.seal(asked.list(), next.to_string())?;
        reply.as_object_mut().map(|members| members.insert("next_page_token".to_owned(), token.into()));
    }
    if let Some(member) = operation.shows
        && reply.get(member).is_none_or(Value::is_null)
    {
        let name = asked.arguments.get("key").or(asked.arguments.get("name")).unwrap_or(&Value::Null);
        return Err(Failure::not_found(format!("there is nothing under {name}")));
    }
    message(output, reply)
}

/// Asks again and again. The first time it does not wait: that refuses what is wrong, and settles where "from now on" is.
async fn follow(
    api: Api,
    method: &'static str,
    operation: &'static Operation,
    feed: Feed,
    output: MessageDescriptor,
    request: tonic::Request<DynamicMessage>,
) -> Result<Messages, Failure> {
    let mut asked = Asked::read(&api, method, operation, request)?;
    asked.arguments.extend(feed.limit.map(|limit| ("limit".to_owned(), limit.into())));
    let reply = asked.ask(&api, &asked.arguments, Duration::ZERO).await?;
    let (first, after) = (feed.read)(asked.begun(reply));
    let start = after.filter(|_| first.is_empty());
    asked.arguments.extend(after.map(|after| ("after".to_owned(), after.into())));
    let stopped = api.0.services.shutdown.clone().cancelled_owned();
    let begin = (VecDeque::from(first), Some(asked));
    let items = futures::stream::unfold(begin, move |(mut ready, asked)| {
        let api = api.clone();
        async move {
            let mut asked = asked?;
            loop {
                if let Some(item) = ready.pop_front() {
                    return Some((Ok(item), (ready, Some(asked))));
                }
                match asked.rest(&api).await {
                    Err(failure) => return Some((Err(failure), (ready, None))),
                    Ok(Some(item)) => return Some((Ok(item), (ready, Some(asked)))),
                    Ok(None) => {}
                }
                let mut arguments = asked.arguments.clone();
                arguments.insert("timeout_ms".to_owned(), PERIOD.as_secs().saturating_mul(1000).into());
                match asked.ask(&api, &arguments, PERIOD).await {
                    Err(failure) => return Some((Err(failure), (ready, None))),
                    Ok(reply) => {
                        let (items, after) = (feed.read)(asked.begun(reply));
                        ready.extend(items);
                        asked.arguments.extend(after.map(|after| ("after".to_owned(), after.into())));
                    }
                }
            }
        }
    });
    let stream = items.map(move |item| item.and_then(|item| message(output.clone(), item)).map_err(status));
    Ok(Messages { stream: stream.take_until(stopped).boxed(), id: Some(feed.id), start })
}

/// What a request asks of a service.
struct Asked {
    method: &'static str,
    service: &'static str,
    operation: &'static str,
    ctx: RequestContext,
    name: String,
    idempotency_key: Option<String>,
    arguments: Map<String, Value>,
    /// What a page token is bound to, of a list.
    filter: String,
    /// Where a reply has not given all pairs: after which one the others are listed, and the version for the last of them.
    rest: Option<(Value, u64)>,
}

impl Asked {
    fn read(api: &Api, method: &'static str, operation: &Operation, request: tonic::Request<DynamicMessage>) -> Result<Self, Failure> {
        let unknown = || Failure::new(Code::Internal, "the caller is not known");
        let caller: crate::auth::Caller = request.extensions().get().cloned().ok_or_else(unknown)?;
        let message = request.into_inner();
        let unreadable = |error: serde_json::Error| Failure::invalid("body", error.to_string());
        let text = to_text(&message, Defaults::Skipped).map_err(unreadable)?;
        let mut arguments: Map<String, Value> = serde_json::from_slice(&text).map_err(unreadable)?;
        let mut take = |name: &str| match arguments.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let ctx = caller.context(&take("tenant_id"), &take("namespace"))?;
        // A list is of all that there are.
        let is_of_one = operation.service == NAMED && message.descriptor().get_field_by_name(NAME).is_some();
        let name = if is_of_one { take(NAME) } else { ONLY.to_owned() };
        if name.is_empty() {
            return Err(Failure::invalid(NAME, "expected the name of a channel"));
        }
        let token = take("client_token");
        let idempotency_key = (!token.is_empty()).then_some(token);
        if let Some(key) = &idempotency_key {
            check_key("client_token", key.as_bytes())?;
        }
        let page_token = take("page_token");
        let page_size = arguments.remove("page_size");
        for field in message.descriptor().fields() {
            let Some(argument) = arguments.get_mut(field.name()) else { continue };
            if let Some(number) = inexact(argument) {
                let message = format!("{number} is not sent exactly, expected a number within 2^53 from zero");
                return Err(Failure::invalid(field.name().to_owned(), message));
            }
            if let Kind::Enum(values) = field.kind() {
                *argument = short(&values, argument).into();
            }
        }
        let (service, operation) = (operation.service, operation.operation);
        let mut asked = Self { method, service, operation, ctx, name, idempotency_key, arguments, filter: String::new(), rest: None };
        if message.descriptor().get_field_by_name("page_size").is_some() {
            asked.filter = format!("{}/{} {}", asked.ctx.namespace, asked.name, Value::Object(asked.arguments.clone()));
            let size = page_size.as_ref().and_then(Value::as_i64).and_then(|size| i32::try_from(size).ok()).unwrap_or(0);
            asked.arguments.insert("limit".to_owned(), page::size(size)?.into());
            let after = api.0.pages.open(asked.list(), &page_token)?;
            let after = after.and_then(|after| serde_json::from_str(&after).ok());
            asked.arguments.extend(after.map(|after: Value| ("after".to_owned(), after)));
        }
        Ok(asked)
    }

    fn list(&self) -> List<'_> {
        List { name: self.method, tenant: &self.ctx.tenant, filter: &self.filter }
    }

    /// Of all pairs a reply may give the first alone. Until a client has all of them, it can go on from where it began alone.
    fn begun(&mut self, mut reply: Value) -> Value {
        let version = number(&reply, "version");
        let Some(members) = reply.as_object_mut().filter(|_| self.operation == WATCH) else { return reply };
        if let Some((next, version)) = members.remove("next").zip(version) {
            members.insert("version".to_owned(), self.arguments.get("after").cloned().unwrap_or_else(|| 0.into()));
            self.rest = Some((next, version));
        }
        reply
    }

    /// More of all pairs, if a reply has not given all.
    async fn rest(&mut self, api: &Api) -> Result<Option<Value>, Failure> {
        let Some((next, version)) = self.rest.take() else { return Ok(None) };
        let mut arguments = Map::new();
        arguments.extend(self.arguments.get("prefix").map(|prefix| ("prefix".to_owned(), prefix.clone())));
        arguments.insert("after".to_owned(), next);
        let mut reply = self.ask_for("list", api, &arguments, Duration::ZERO).await?;
        let pairs = reply.get_mut("pairs").map(Value::take).unwrap_or_default();
        let next = reply.get_mut("next").map(Value::take).filter(|next| !next.is_null());
        let began = self.arguments.get("after").and_then(Value::as_u64).unwrap_or(0);
        self.rest = next.map(|next| (next, version));
        let at = if self.rest.is_some() { began } else { version };
        self.arguments.insert("after".to_owned(), at.into());
        Ok(Some(serde_json::json!({"changes": pairs, "version": at, "reset": false})))
    }

    /// What errors call that which the request is about.
    fn path(&self) -> String {
        let named = ["key", "name", "group"].iter().find_map(|member| self.arguments.get(*member)?.as_str());
        match named.or((self.service == NAMED).then_some(&self.name)) {
            Some(name) => format!("{}/{name}", self.service),
            None => self.service.to_owned(),
        }
    }

    /// How long the request wants to wait inside the service.
    fn wait(&self) -> Result<Duration, Failure> {
        match self.arguments.get("timeout_ms").and_then(Value::as_u64) {
            None | Some(0) => Ok(Duration::ZERO),
            Some(milliseconds) => check_timeout(u32::try_from(milliseconds).unwrap_or(u32::MAX)),
        }
    }

    /// Asks the service. The request lives longer than it waits there, so that it is the service that says that there was nothing.
    async fn ask(&self, api: &Api, arguments: &Map<String, Value>, wait: Duration) -> Result<Value, Failure> {
        self.ask_for(self.operation, api, arguments, wait).await
    }

    async fn ask_for(&self, operation: &str, api: &Api, arguments: &Map<String, Value>, wait: Duration) -> Result<Value, Failure> {
        let services = &api.0.services;
        let ctx = self.ctx.clone().with_deadline(Instant::now() + wait + DEFAULT_TIMEOUT);
        let request = Request {
            operation: operation.to_owned(),
            payload: Payload::Json(serde_json::to_string(arguments).map_err(|error| Failure::new(Code::Internal, error.to_string()))?),
            idempotency_key: self.idempotency_key.clone(),
        };
        let asked = services.runtime.ask_service(&ctx, self.service, &self.name, request);
        let reply = if wait.is_zero() {
            asked.await
        } else {
            // Who waits does not hold up the node's end.
            tokio::select! {
                biased;
                reply = asked => reply,
                () = services.shutdown.cancelled() => Err(Failure::new(Code::Unavailable, "the node is shutting down")),
            }
        };
        let reply = reply.map_err(|failure| match failure.field.as_deref() {
            Some("idempotency_key") => failure.with_field("client_token"),
            Some("name") if self.service == NAMED => failure.with_field(NAME),
            _ => failure,
        });
        let reply = reply.map_err(|failure| failure.with_resource(self.path(), None))?;
        serde_json::from_slice(reply.as_bytes()).map_err(|error| broken(&error))
    }
}

/// The message that a reply stands for.
fn message(descriptor: MessageDescriptor, mut reply: Value) -> Result<DynamicMessage, Failure> {
    write_times(&descriptor, &mut reply);
    from_json(descriptor, reply).map_err(|error| broken(&error))
}

fn broken(error: &serde_json::Error) -> Failure {
    Failure::new(Code::Internal, format!("the service's reply is not of this method: {error}"))
}

/// Makes timestamps of milliseconds where the message has them.
fn write_times(descriptor: &MessageDescriptor, value: &mut Value) {
    let Value::Object(members) = value else { return };
    for field in descriptor.fields().filter(|field| !field.is_map()) {
        let Kind::Message(inner) = field.kind() else { continue };
        if inner.full_name() == "google.protobuf.Timestamp" {
            let name = field.name();
            let sent = name.strip_suffix("_at").map_or_else(|| name.to_owned(), |what| format!("{what}_ms"));
            if let Some(milliseconds) = members.remove(&sent).and_then(|time| time.as_u64()) {
                members.insert(name.to_owned(), timestamp(milliseconds).to_string().into());
            }
        } else if inner.full_name().starts_with("plexspaces.") {
            match members.get_mut(field.name()) {
                Some(Value::Array(items)) => items.iter_mut().for_each(|item| write_times(&inner, item)),
                Some(item) => write_times(&inner, item),
                None => {}
            }
        }
    }
}

/// A number that may not be the one that was sent: messages hold the numbers in documents as floating ones.
fn inexact(value: &Value) -> Option<&Value> {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().filter(|number| number.fract() == 0.0).map(|_| value),
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(members) => members.values().find_map(inexact),
        _ => None,
    }
}

/// `latest` for `SUBSCRIBE_FROM_LATEST`.
fn short(values: &EnumDescriptor, value: &Value) -> String {
    let zero = values.default_value();
    let prefix = zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
    let name = value.as_str().unwrap_or_default();
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn number(reply: &Value, member: &str) -> Option<u64> {
    reply.get(member).and_then(Value::as_u64)
}
