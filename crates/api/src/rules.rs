//! Reads the HTTP rules out of the descriptors.

use http::Method;
use plexspaces_proto::google::api::HttpRule;
use plexspaces_proto::google::api::http_rule::Pattern;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};

use crate::front::Error;

/// One way to reach a method over HTTP.
pub(crate) struct Rule {
    pub(crate) verb: Method,
    /// The path with its variables as `{field}`; the last one may have a custom method, `{field}:verb`.
    pub(crate) template: String,
    pub(crate) body: RuleBody,
    /// The field that is the response's body; `None` when the whole message is.
    pub(crate) response: Option<FieldDescriptor>,
}

/// What a request's body becomes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RuleBody {
    /// There is none; fields that the path does not name come from the query.
    None,
    /// Every field that the path does not name.
    Whole,
    /// The `HttpBody` in this field.
    Raw(String),
}

/// The contract's descriptors.
pub(crate) fn pool() -> Result<&'static DescriptorPool, Error> {
    plexspaces_proto::dynamic::pool().map_err(|error| Error::Descriptors(error.to_owned()))
}

/// The methods of the contract.
pub(crate) fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Whether a message is bytes with their media type.
pub(crate) fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

/// The HTTP rules of a method, none when it is reached by gRPC only.
pub(crate) fn rules(method: &MethodDescriptor) -> Result<Vec<Rule>, Error> {
    let broken = |why: String| Error::Descriptors(format!("{}: {why}", method.full_name()));
    let extension = method.parent_pool().get_extension_by_name("google.api.http").ok_or_else(|| broken("no google.api.http".to_owned()))?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let Value::Message(main) = options.get_extension(&extension).into_owned() else {
        return Err(broken("expected google.api.http to be a message".to_owned()));
    };
    let main: HttpRule = main.transcode_to().map_err(|error| broken(error.to_string()))?;
    let all = std::iter::once(&main).chain(&main.additional_bindings);
    all.map(|rule| read(method, rule).map_err(broken)).collect()
}

fn read(method: &MethodDescriptor, rule: &HttpRule) -> Result<Rule, String> {
    let (verb, template) = match rule.pattern.as_ref().ok_or("a rule without path")? {
        Pattern::Get(path) => (Method::GET, path),
        Pattern::Put(path) => (Method::PUT, path),
        Pattern::Post(path) => (Method::POST, path),
        Pattern::Delete(path) => (Method::DELETE, path),
        Pattern::Patch(path) => (Method::PATCH, path),
    };
    let body = match rule.body.as_str() {
        "" => RuleBody::None,
        "*" => RuleBody::Whole,
        field => match method.input().get_field_by_name(field).map(|field| field.kind()) {
            Some(Kind::Message(message)) if is_http_body(&message) => RuleBody::Raw(field.to_owned()),
            _ => return Err(format!("expected the body {field:?} to be a google.api.HttpBody")),
        },
    };
    let response = match rule.response_body.as_str() {
        "" => None,
        field => {
            let field = method.output().get_field_by_name(field).ok_or_else(|| format!("unknown response_body {field:?}"))?;
            matches!(field.kind(), Kind::Message(_)).then_some(()).ok_or("expected response_body to be a message")?;
            Some(field)
        }
    };
    for variable in variables(template) {
        method.input().get_field_by_name(variable).ok_or_else(|| format!("unknown field {variable:?} in {template}"))?;
    }
    Ok(Rule { verb, template: template.clone(), body, response })
}

/// The fields that a path template names.
pub(crate) fn variables(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(|segment| segment.strip_prefix('{')?.split_once('}').map(|(variable, _)| variable))
}
