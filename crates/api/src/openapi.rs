//! The OpenAPI 3.1 document, from the same descriptors as the routes.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use crate::front::Error;
use crate::methods::{Method, method};
use crate::rules::{Rule, RuleBody, is_http_body, methods, pool, rules, variables};
use crate::transcode::{CONDITION, is_document};

/// The OpenAPI document of the whole HTTP interface.
pub fn document() -> Result<Value, Error> {
    let pool = pool()?;
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for descriptor in methods(pool) {
        let service = descriptor.parent_service();
        tags.insert(service.name().to_owned(), comment(&service.parent_file(), service.path()));
        let missing = || Error::Descriptors(format!("the method {} is not registered", descriptor.full_name()));
        let method = method(descriptor.full_name()).ok_or_else(missing)?;
        for (index, rule) in rules(&descriptor)?.into_iter().enumerate() {
            let operation = operation(&mut schemas, &descriptor, method, &rule, index);
            paths.entry(rule.template.clone()).or_default().insert(rule.verb.as_str().to_ascii_lowercase(), operation);
        }
    }
    let tags: Vec<_> = tags.into_iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    let mut components = schemas.done;
    components.insert("Error".to_owned(), error_schema());
    Ok(json!({
        "openapi": "3.1.0",
        "info": { "title": "PlexSpaces", "version": "v1", "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, {}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Error": {
                    "description": "The request failed.",
                    "headers": { "x-request-id": { "schema": { "type": "string" } }, "Retry-After": { "schema": { "type": "integer" } } },
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
                },
            },
        },
    }))
}

fn operation(schemas: &mut Schemas, descriptor: &MethodDescriptor, method: &Method, rule: &Rule, index: usize) -> Value {
    let text = comment(&descriptor.parent_file(), descriptor.path());
    let (summary, description) = text.split_once("\n\n").unwrap_or((&text, ""));
    let suffix = if index == 0 { String::new() } else { format!("_{}", index + 1) };
    let mut operation = json!({
        "operationId": format!("{}{suffix}", descriptor.name()),
        "summary": summary.replace('\n', " "),
        "description": if description.is_empty() { summary } else { description },
        "tags": [descriptor.parent_service().name()],
        "parameters": parameters(schemas, descriptor, method, rule),
        "responses": responses(schemas, descriptor, method, rule),
    });
    if let Some(fields) = operation.as_object_mut() {
        if method.public {
            fields.insert("security".to_owned(), json!([]));
        }
        if let Some(body) = request_body(schemas, descriptor, rule) {
            fields.insert("requestBody".to_owned(), body);
        }
    }
    operation
}

fn parameters(schemas: &mut Schemas, descriptor: &MethodDescriptor, method: &Method, rule: &Rule) -> Vec<Value> {
    let input = descriptor.input();
    let mut parameters = Vec::new();
    for name in variables(&rule.template) {
        let schema = input.get_field_by_name(name).map_or(json!({}), |field| schemas.single(&field));
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for parameter in method.query {
        let schema = json!({ "type": parameter.schema });
        parameters.push(json!({ "name": parameter.name, "in": "query", "description": parameter.description, "schema": schema }));
    }
    if rule.body == RuleBody::None && method.query.is_empty() {
        for field in input.fields().filter(|field| !variables(&rule.template).any(|variable| variable == field.name())) {
            let description = comment(&input.parent_file(), field.path());
            let schema = schemas.field(&field);
            let mut parameter = json!({ "name": field.name(), "in": "query", "description": description });
            if let Some(members) = parameter.as_object_mut() {
                if is_document(&field) {
                    members.insert("content".to_owned(), json!({ "application/json": { "schema": schema } }));
                } else {
                    members.insert("schema".to_owned(), schema);
                }
            }
            parameters.push(parameter);
        }
    }
    if method.operation.is_some_and(|operation| operation.feed.is_some()) {
        let description = "The id of the last event that was received: goes on after it.";
        parameters.push(json!({ "name": "Last-Event-ID", "in": "header", "description": description, "schema": { "type": "integer" } }));
    }
    if input.get_field_by_name("client_token").or(input.get_field_by_name("idempotency_key")).is_some() {
        let schema = json!({ "type": "string", "minLength": 16, "maxLength": 128 });
        let description = "Makes a repetition of the request give the first one's answer.";
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "description": description, "schema": schema }));
    }
    if input.get_field_by_name(CONDITION).is_some() {
        for (name, description) in [
            ("If-Match", "The version that it must have, as `ETag` gave it, or `*` where there must be one. Otherwise it is a conflict."),
            ("If-None-Match", "Only `*`: there must be none."),
        ] {
            parameters.push(json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } }));
        }
    }
    parameters
}

fn request_body(schemas: &mut Schemas, descriptor: &MethodDescriptor, rule: &Rule) -> Option<Value> {
    match rule.body {
        RuleBody::None => None,
        RuleBody::Raw(_) => Some(json!({ "content": {
            "application/json": { "schema": {} },
            "application/octet-stream": { "schema": { "type": "string", "format": "binary" } },
        }})),
        RuleBody::Whole => {
            let input = descriptor.input();
            let mut content = json!({ "application/json": { "schema": schemas.message(&input) } });
            if input.fields().any(|field| matches!(field.kind(), Kind::Bytes))
                && let Some(content) = content.as_object_mut()
            {
                content.insert("multipart/form-data".to_owned(), json!({ "schema": schemas.form(&input) }));
            }
            Some(json!({ "content": content }))
        }
    }
}

fn responses(schemas: &mut Schemas, descriptor: &MethodDescriptor, method: &Method, rule: &Rule) -> Map<String, Value> {
    let output = descriptor.output();
    let sent = match rule.response.as_ref().map(FieldDescriptor::kind) {
        Some(Kind::Message(part)) => part,
        _ => output.clone(),
    };
    let content = if descriptor.is_server_streaming() {
        json!({ "text/event-stream": { "schema": schemas.message(&sent) } })
    } else if is_http_body(&sent) {
        json!({ "*/*": { "schema": {} } })
    } else {
        json!({ "application/json": { "schema": schemas.message(&sent) } })
    };
    let mut responses = Map::new();
    for status in method.statuses {
        // A method that answers either now or later says the latter with another member of its response.
        let accepted = output.get_field_by_name("accepted").map(|field| field.kind());
        let content = match accepted {
            Some(Kind::Message(accepted)) if *status == 202 => json!({ "application/json": { "schema": schemas.message(&accepted) } }),
            _ => content.clone(),
        };
        let description = match status {
            201 => "Created.",
            202 => "Accepted.",
            _ => "Done.",
        };
        responses.insert(status.to_string(), json!({ "description": description, "content": content }));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    responses
}

/// The schemas that something refers to.
#[derive(Default)]
struct Schemas {
    done: Map<String, Value>,
    begun: BTreeSet<String>,
}

impl Schemas {
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => return json!({ "type": "string", "format": "date-time" }),
            "google.protobuf.ListValue" => return json!({ "type": "array", "items": {} }),
            "google.protobuf.Struct" => return json!({ "type": "object" }),
            "google.protobuf.Value" | "google.api.HttpBody" => return json!({}),
            _ => {}
        }
        let name = local_name(message.full_name());
        if self.begun.insert(name.clone()) {
            let schema = self.object(message);
            self.done.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = self.field(&field);
            let description = comment(&message.parent_file(), field.path());
            if let Some(fields) = schema.as_object_mut()
                && !description.is_empty()
            {
                fields.insert("description".to_owned(), description.into());
            }
            properties.insert(field.name().to_owned(), schema);
        }
        json!({
            "type": "object",
            "description": comment(&message.parent_file(), message.path()),
            "properties": properties,
            "additionalProperties": false,
        })
    }

    /// The message as a form, in which bytes are a file.
    fn form(&mut self, message: &MessageDescriptor) -> Value {
        let mut schema = self.object(message);
        for field in message.fields().filter(|field| matches!(field.kind(), Kind::Bytes)) {
            if let Some(property) = schema.pointer_mut(&format!("/properties/{}", field.name())) {
                *property = json!({ "type": "string", "format": "binary", "description": property.get("description") });
            }
        }
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return json!({}) };
            return json!({ "type": "object", "additionalProperties": self.single(&entry.map_entry_value_field()) });
        }
        let single = self.single(field);
        if field.is_list() { json!({ "type": "array", "items": single }) } else { single }
    }

    fn single(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "integer", "format": "int64" }),
            Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => json!({ "type": "integer", "minimum": 0 }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Enum(values) => self.values(&values),
            Kind::Message(message) => self.message(&message),
        }
    }

    fn values(&mut self, values: &EnumDescriptor) -> Value {
        let name = local_name(values.full_name());
        let names: Vec<_> = values.values().map(|value| value.name().to_owned()).collect();
        let description = comment(&values.parent_file(), values.path());
        self.done.insert(name.clone(), json!({ "type": "string", "enum": names, "description": description }));
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

fn local_name(full_name: &str) -> String {
    full_name.strip_prefix("plexspaces.v1.").unwrap_or(full_name).to_owned()
}

/// The comment before a declaration.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.and_then(|location| location.leading_comments.as_deref()).unwrap_or_default();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong. Programs decide by `code` and `reason`; `message` is for people.",
        "required": ["code", "reason", "message", "request_id", "retryable"],
        "properties": {
            "code": { "type": "string", "enum": ["ValidationException", "ServiceQuotaExceededException", "AccessDeniedException",
                "ResourceNotFoundException", "ConflictException", "ThrottlingException", "InternalServerException",
                "UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED"] },
            "reason": { "type": "string", "enum": plexspaces_types::Code::ALL.iter().map(|code| code.name()).collect::<Vec<_>>() },
            "message": { "type": "string" },
            "request_id": { "type": "string", "description": "The trace's id; the node's log holds more under it." },
            "retryable": { "type": "boolean", "description": "Whether the same request may succeed later." },
            "retry_after_seconds": { "type": "integer" },
            "field_violations": { "type": "array", "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": { "field": { "type": "string" }, "description": { "type": "string" } },
            } },
            "resource": { "type": "string", "description": "Of a conflict: what it is with, such as `kv/greeting`." },
            "current_version": { "type": "string", "description": "The version of the resource now, for `If-Match`." },
        },
    })
}
