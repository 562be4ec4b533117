//! HTTP requests as messages, and messages as HTTP responses.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use matchit::Params;
use plexspaces_proto::dynamic::from_json;
use plexspaces_proto::json::{Defaults, to_text};
use plexspaces_types::{Code, Failure};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

use crate::auth::Caller;
use crate::body::Limited;
use crate::error;
use crate::methods::{Messages, Method};
use crate::rules::{Rule, RuleBody, is_http_body, variables};

#[cfg(test)]
mod fuzz;

/// Comments that keep a quiet event stream open through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// With which HTTP status a response is sent; an extension of it.
#[derive(Clone, Copy)]
pub(crate) struct HttpStatus(pub(crate) StatusCode);

/// A request that arrived over HTTP.
pub(crate) struct Incoming<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) params: &'a Params<'a, 'a>,
    pub(crate) body: Limited,
    pub(crate) caller: Caller,
    pub(crate) request_id: &'a str,
}

/// The message in a request.
pub(crate) async fn message(
    input: MessageDescriptor,
    rule: &Rule,
    method: &Method,
    incoming: Incoming<'_>,
) -> Result<tonic::Request<DynamicMessage>, Failure> {
    let Incoming { parts, params, body, caller, .. } = incoming;
    let known = Known { input: &input, rule, method };
    let mut message = DynamicMessage::new(input.clone());
    match (&rule.body, boundary(&parts.headers)) {
        (RuleBody::Whole, Some(boundary)) => form(&mut message, &known, boundary, body).await?,
        (RuleBody::Whole, None) => message = json(input.clone(), &body.read().await?)?,
        (RuleBody::None | RuleBody::Raw(_), _) => {}
    }
    for (name, value) in pairs(parts.uri.query()) {
        let field = known.field(&name)?;
        set_once(&mut message, &field, text_value(&field, &value)?)?;
    }
    // A client that comes back sends the query that it began with, and where it stopped.
    if let (Some(id), Some(field), true) = (
        parts.headers.get("last-event-id"),
        input.get_field_by_name("after"),
        method.operation.is_some_and(|operation| operation.feed.is_some()),
    ) {
        let id = id.to_str().unwrap_or_default();
        let id = id.parse().map_err(|_| Failure::invalid("Last-Event-ID", format!("expected the id of an event, found {id:?}")))?;
        message.set_field(&field, Value::U64(id));
    }
    if let (Some(condition), Some(field)) = (condition(&parts.headers)?, input.get_field_by_name(CONDITION)) {
        set_once(&mut message, &field, Value::String(condition))?;
    }
    for (name, value) in params.iter() {
        let field = input.get_field_by_name(name).ok_or_else(|| Failure::invalid(name, "unknown field in the path"))?;
        set_once(&mut message, &field, text_value(&field, &decode(value)?)?)?;
    }
    if let (Some(key), Some(field)) = (idempotency_key(&parts.headers)?, input.get_field_by_name("client_token")) {
        set_once(&mut message, &field, Value::String(key))?;
    }
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(caller);
    Ok(request)
}

/// The response to one message.
pub(crate) fn response(rule: &Rule, method: &Method, response: tonic::Response<DynamicMessage>) -> Result<Response<Body>, Failure> {
    let status = response.extensions().get().map_or(StatusCode::OK, |HttpStatus(status)| *status);
    let mut message = response.into_inner();
    if let Some(field) = &rule.response
        && let Some(Value::Message(part)) = message.take_field(field)
    {
        message = part;
    }
    if is_http_body(&message.descriptor()) {
        let text = |name| message.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let data = message.get_field_by_name("data").and_then(|value| value.as_bytes().cloned()).unwrap_or_default();
        return Ok(plain(status, HeaderValue::try_from(text("content_type")).ok(), data));
    }
    let mut response = plain(status, None, to_json(&message)?.into());
    if let Some(version) = method.version.and_then(|version| message.get_field_by_name(version)) {
        let version = version.as_str().map(str::to_owned).or_else(|| version.as_u64().map(|version| version.to_string()));
        response.headers_mut().extend(version.map(|version| tag(&version)).transpose()?.map(|tag| (ETAG, tag)));
    }
    Ok(response)
}

/// Server-sent events, one for each message. They end after the first error, which is an event named `error`. Where the messages can be
/// followed from each of them on, it has an id; an event without data, which no client shows, says from where the first one does.
pub(crate) fn events(messages: Messages, request_id: String) -> Response<Body> {
    let Messages { stream, id: key, start } = messages;
    let start = futures::stream::iter(start.map(|start| Event::default().id(start.to_string())));
    let events = stream.scan(false, move |ended, message| {
        let sent = (!*ended).then(|| match message.map_err(|status| error::failure(&status)).and_then(|message| event(&message, key)) {
            Ok(event) => event,
            Err(failure) => {
                *ended = true;
                Event::default().event("error").data(error::json(&failure, &request_id))
            }
        });
        futures::future::ready(sent)
    });
    let events = start.chain(events).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn event(message: &DynamicMessage, key: Option<&str>) -> Result<Event, Failure> {
    let event = Event::default().data(String::from_utf8_lossy(&to_json(message)?));
    let id = key.and_then(|key| message.get_field_by_name(key)).and_then(|id| id.as_u64());
    Ok(id.map(|id| id.to_string()).into_iter().fold(event, Event::id))
}

/// A response with a body, JSON unless something else is said.
pub(crate) fn plain(status: StatusCode, content_type: Option<HeaderValue>, data: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(data));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/json")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The query's parameters in their order.
pub(crate) fn pairs(query: Option<&str>) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// One segment of a path.
pub(crate) fn decode(segment: &str) -> Result<Cow<'_, str>, Failure> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| Failure::invalid("path", format!("{segment:?} is not UTF-8")))
}

/// The header `Idempotency-Key`, checked.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    check_key("Idempotency-Key", key.as_bytes())?;
    Ok(key.to_str().ok().map(str::to_owned))
}

/// The field of a request that the headers `If-Match` and `If-None-Match` stand for; without it they are refused.
pub(crate) const CONDITION: &str = "if_match";

/// The condition of a change that the headers make: empty where there must be none, `*` where there must be one, else the version.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let refused = |name: HeaderName, expected: &str| Failure::invalid(name.as_str(), format!("expected {expected}"));
    let given = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        // What cannot be read, and what follows a first one, is as wrong as any other text.
        values.next().map(|first| first.to_str().ok().filter(|_| values.next().is_none()).unwrap_or_default().trim())
    };
    match (given(&IF_MATCH), given(&IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (None, Some("*")) => Ok(Some(String::new())),
        (None, Some(_)) => Err(refused(IF_NONE_MATCH, "* where something is changed")),
        (Some(_), Some(_)) => Err(refused(IF_MATCH, "it or If-None-Match, found both")),
        (Some("*"), None) => Ok(Some("*".to_owned())),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let version = version.filter(|version| !matches!(*version, "" | "*") && !version.contains('"'));
            let expected = "one entity tag such as \"7\", which is not weak, or *";
            version.map(|version| Some(version.to_owned())).ok_or_else(|| refused(IF_MATCH, expected))
        }
    }
}

/// A version as an entity tag.
pub(crate) fn tag(version: &str) -> Result<HeaderValue, Failure> {
    let broken = |error| Failure::new(Code::Internal, format!("the version {version:?} cannot be an entity tag: {error}"));
    HeaderValue::try_from(format!("\"{version}\"")).map_err(broken)
}

/// The rule for every key with which a client names its request.
pub(crate) fn check_key(field: &'static str, key: &[u8]) -> Result<(), Failure> {
    if (16..=128).contains(&key.len()) && key.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(Failure::invalid(field, format!("expected 16 to 128 printable ASCII characters, found {} bytes", key.len())))
}

/// The names that a form or a query may use.
struct Known<'a> {
    input: &'a MessageDescriptor,
    rule: &'a Rule,
    method: &'a Method,
}

impl Known<'_> {
    fn field(&self, name: &str) -> Result<FieldDescriptor, Failure> {
        let canonical = self.method.aliases.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, canonical)| canonical);
        let in_path = |name: &str| variables(&self.rule.template).any(|variable| variable == name);
        self.input.get_field_by_name(canonical).filter(|field| !in_path(field.name())).ok_or_else(|| {
            let fields = self.input.fields().map(|field| field.name().to_owned()).filter(|name| !in_path(name));
            let aliases = self.method.aliases.iter().map(|(alias, _)| (*alias).to_owned());
            let known = fields.chain(aliases).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there are none".to_owned() } else { format!("known are {known}") };
            Failure::invalid(name, format!("unknown field {name:?}; {known}"))
        })
    }
}

async fn form(message: &mut DynamicMessage, known: &Known<'_>, boundary: String, body: Limited) -> Result<(), Failure> {
    let mut parts = multer::Multipart::new(body.stream(), boundary);
    while let Some(part) = parts.next_field().await.map_err(form_failure)? {
        let name = part.name().unwrap_or_default().to_owned();
        let field = known.field(&name)?;
        let data = part.bytes().await.map_err(form_failure)?;
        let value = if matches!(field.kind(), Kind::Bytes) {
            Value::Bytes(data)
        } else {
            let text = std::str::from_utf8(&data).map_err(|_| Failure::invalid(field.name(), "expected UTF-8 text"))?;
            text_value(&field, text)?
        };
        set_once(message, &field, value)?;
    }
    Ok(())
}

fn form_failure(error: multer::Error) -> Failure {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(_) => Failure::invalid("body", "the body could not be read"),
        },
        other => Failure::invalid("body", format!("expected multipart/form-data: {other}")),
    }
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    multer::parse_boundary(headers.get(CONTENT_TYPE)?.to_str().ok()?).ok()
}

fn json(input: MessageDescriptor, body: &Bytes) -> Result<DynamicMessage, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(input));
    }
    let failed = |error: serde_json::Error| Failure::invalid("body", format!("expected JSON of this operation: {error}"));
    let mut reader = serde_json::Deserializer::from_slice(body);
    let message = DynamicMessage::deserialize(input, &mut reader).map_err(failed)?;
    reader.end().map_err(failed)?;
    Ok(message)
}

/// Fields without presence are always sent, so that a response has one shape.
pub(crate) fn to_json(message: &DynamicMessage) -> Result<Vec<u8>, Failure> {
    to_text(message, Defaults::Written)
        .map_err(|error| Failure::new(Code::Internal, format!("the response cannot be written as JSON: {error}")))
}

fn set_once(message: &mut DynamicMessage, field: &FieldDescriptor, value: Value) -> Result<(), Failure> {
    if message.has_field(field) && *message.get_field(field) != value {
        return Err(Failure::invalid(field.name(), "given more than once, with different values"));
    }
    message.set_field(field, value);
    Ok(())
}

fn text_value(field: &FieldDescriptor, text: &str) -> Result<Value, Failure> {
    let expected =
        |what: &str| Failure::invalid(field.name(), format!("expected {what}, found {:?}", text.chars().take(40).collect::<String>()));
    match field.kind() {
        _ if is_document(field) => document(field, text),
        // What is no document is a time, which JSON has as a text too.
        Kind::Message(_) => {
            document(field, &serde_json::Value::from(text).to_string()).map_err(|_| expected("a time such as 2026-01-31T12:00:00Z"))
        }
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| expected("true or false")),
        Kind::Int32 => text.parse().map(Value::I32).map_err(|_| expected("a whole number")),
        Kind::Uint32 => text.parse().map(Value::U32).map_err(|_| expected("a whole number that is not negative")),
        Kind::Uint64 => text.parse().map(Value::U64).map_err(|_| expected("a whole number that is not negative")),
        _ => Err(Failure::invalid(field.name(), "cannot be given as text")),
    }
}

/// Whether a field is given as JSON where it is given as text.
pub(crate) fn is_document(field: &FieldDescriptor) -> bool {
    field.is_list() || field.is_map() || matches!(field.kind(), Kind::Message(kind) if kind.full_name() != "google.protobuf.Timestamp")
}

/// The value of a field in a message that has no other.
fn document(field: &FieldDescriptor, text: &str) -> Result<Value, Failure> {
    let failed = |error: serde_json::Error| Failure::invalid(field.name(), format!("expected JSON: {error}"));
    let value: serde_json::Value = serde_json::from_str(text).map_err(failed)?;
    let mut message = from_json(field.parent_message().clone(), serde_json::json!({ field.name(): value })).map_err(failed)?;
    message.take_field(field).ok_or_else(|| Failure::invalid(field.name(), "expected a value, found null"))
}
