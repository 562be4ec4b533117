//! How an HTTP request becomes a message to an actor. This is the hot path: it goes past the transcoder and keeps JSON as the text that it is.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use plexspaces_types::{Failure, Payload};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::actors::{DEFAULT_TIMEOUT, Invocation, check_timeout};
use crate::methods::Parameter;
use crate::services::Api;
use crate::transcode::{Incoming, decode, idempotency_key, pairs, plain};

const OCTETS: &str = "application/octet-stream";

/// The query parameters that are not the actor's.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "invocation",
        schema: "string",
        description: "`call` or `ask` waits for the reply; `cast`, `tell` or `send` does not.",
    },
    Parameter { name: "msg_type", schema: "string", description: "The operation." },
    Parameter { name: "op", schema: "string", description: "The operation, unless `msg_type` is given." },
    Parameter { name: "action", schema: "string", description: "Another spelling of `op`." },
    Parameter { name: "timeout_ms", schema: "integer", description: "How long to wait for the reply, 1 to 3600000; 5000 when absent." },
    Parameter { name: "actor_id", schema: "string", description: "Which actor of the type." },
    Parameter { name: "id", schema: "string", description: "Another spelling of `actor_id`." },
];

#[derive(Default)]
struct Query {
    call: Option<bool>,
    msg_type: Option<String>,
    op: Option<String>,
    timeout: Option<Duration>,
    actor_id: Option<String>,
    /// The rest, as a JSON object without its braces.
    fields: String,
    names: Vec<String>,
}

/// Sends the message that an HTTP request holds.
pub(crate) async fn http(api: &Api, incoming: Incoming<'_>) -> Result<Response<Body>, Failure> {
    let Incoming { parts, params, body, caller, .. } = incoming;
    let param = |name: &str| params.get(name).map(decode).transpose();
    let actor_type = param("actor_type")?.unwrap_or_default();
    if actor_type == "invoke" {
        return Err(Failure::invalid("actor_type", "expected an actor type before `invoke`"));
    }
    let verb = &parts.method;
    let is_read = matches!(*verb, Method::GET | Method::DELETE);
    let query = query(parts.uri.query(), is_read)?;
    let idempotency_key = idempotency_key(&parts.headers)?;
    let (payload, body_operation) = if !is_read {
        let is_octets = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(OCTETS.as_bytes()));
        let body = body.read().await?;
        // A JSON object is one whatever the client calls it.
        let is_octets = is_octets && !is_object(&body);
        read(body, is_octets)?
    } else if body.is_empty() {
        (Payload::Json(format!("{{{}}}", query.fields)), None)
    } else {
        return Err(Failure::invalid("body", format!("{verb} takes its payload from the query; expected no body")));
    };
    let default = match *verb {
        Method::GET => "get",
        Method::DELETE => "delete",
        Method::PUT | Method::PATCH => "update",
        _ => "",
    };
    let invocation = Invocation {
        tenant: &param("tenant_id")?.unwrap_or_default(),
        namespace: &param("namespace")?.unwrap_or_default(),
        actor_type: &actor_type,
        actor_id: query.actor_id.as_deref(),
        operation: query.msg_type.or(query.op).or(body_operation).unwrap_or_else(|| default.to_owned()),
        call: query.call.unwrap_or(is_read || parts.uri.path().ends_with("/invoke")),
        timeout: query.timeout.unwrap_or(DEFAULT_TIMEOUT),
        idempotency_key,
        payload,
    };
    Ok(match api.invoke(&caller, invocation).await? {
        Ok(Payload::Json(json)) if json.is_empty() || json == "null" => plain(StatusCode::OK, None, Bytes::from_static(b"{}")),
        Ok(Payload::Json(json)) => plain(StatusCode::OK, None, json.into()),
        Ok(Payload::Bytes(bytes)) => plain(StatusCode::OK, Some(HeaderValue::from_static(OCTETS)), bytes),
        Err(accepted) => {
            let id = serde_json::to_string(&accepted.message_id).unwrap_or_default();
            plain(StatusCode::ACCEPTED, None, format!(r#"{{"status":"accepted","message_id":{id}}}"#).into())
        }
    })
}

fn is_object(body: &[u8]) -> bool {
    let is_json = || std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    body.trim_ascii_start().first() == Some(&b'{') && is_json()
}

/// The payload in a body, and the operation that it names.
pub(crate) fn read(body: Bytes, is_octets: bool) -> Result<(Payload, Option<String>), Failure> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        op: Option<&'a RawValue>,
        #[serde(borrow)]
        action: Option<&'a RawValue>,
    }
    if is_octets {
        return Ok((Payload::Bytes(body), None));
    }
    let broken = |why: String| Failure::invalid("body", format!("expected JSON, or bytes as {OCTETS}: {why}"));
    let text = String::from_utf8(body.into()).map_err(|error| broken(error.to_string()))?;
    match text.trim_ascii_start().as_bytes().first() {
        None => Ok((Payload::empty(), None)),
        Some(b'{') => {
            let named: Named<'_> = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
            let operation = [named.op, named.action].into_iter().flatten().find_map(|raw| serde_json::from_str(raw.get()).ok());
            Ok((Payload::Json(text), operation))
        }
        Some(_) => {
            serde_json::from_str::<IgnoredAny>(&text).map_err(|error| broken(error.to_string()))?;
            Ok((Payload::Json(format!(r#"{{"value":{text}}}"#)), None))
        }
    }
}

fn query(query: Option<&str>, takes_fields: bool) -> Result<Query, Failure> {
    let mut parsed = Query::default();
    if query.is_none() {
        return Ok(parsed);
    }
    for (name, value) in pairs(query) {
        match name.as_ref() {
            "invocation" => {
                let call = match value.as_ref() {
                    "call" | "ask" => true,
                    "cast" | "tell" | "send" => false,
                    other => return Err(Failure::invalid(name, format!("expected call, ask, cast, tell or send, found {other:?}"))),
                };
                once(&mut parsed.call, &name, call)?;
            }
            "msg_type" => once(&mut parsed.msg_type, &name, value.into_owned())?,
            "op" | "action" => once(&mut parsed.op, &name, value.into_owned())?,
            "actor_id" | "id" => once(&mut parsed.actor_id, &name, value.into_owned())?,
            "timeout_ms" => {
                let expected = || Failure::invalid("timeout_ms", format!("expected 1 to 3600000 milliseconds, found {value:?}"));
                once(&mut parsed.timeout, &name, check_timeout(value.parse().map_err(|_| expected())?)?)?;
            }
            _ if !takes_fields => {
                let known = PARAMETERS.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
                return Err(Failure::invalid(
                    name.clone(),
                    format!("unknown parameter {name:?}; known are {known}; the payload is the body"),
                ));
            }
            _ if parsed.names.contains(&name.as_ref().to_owned()) => {
                return Err(Failure::invalid(name, "given more than once"));
            }
            _ => {
                if !parsed.fields.is_empty() {
                    parsed.fields.push(',');
                }
                let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
                parsed.fields.push_str(&quoted(&name));
                parsed.fields.push(':');
                parsed.fields.push_str(&if is_scalar(&value) { value.into_owned() } else { quoted(&value) });
                parsed.names.push(name.into_owned());
            }
        }
    }
    Ok(parsed)
}

fn once<T: PartialEq>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Failure> {
    if slot.as_ref().is_some_and(|earlier| *earlier != value) {
        return Err(Failure::invalid(name, "given more than once, with different values"));
    }
    *slot = Some(value);
    Ok(())
}

/// Whether a text is a JSON number, true, false or null, without any white space.
fn is_scalar(text: &str) -> bool {
    let is_number = || {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
        plain && serde_json::from_str::<serde_json::Number>(text).is_ok()
    };
    matches!(text, "true" | "false" | "null") || is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_as_its_text_and_names_its_operation() {
        let json = |text: &str| Payload::Json(text.to_owned());
        for (body, payload, operation) in [
            (r#"{"op":"a","action":"b"}"#, r#"{"op":"a","action":"b"}"#, Some("a")),
            (r#" { "action" : "b\u0021", "n": 1.0 }"#, r#" { "action" : "b\u0021", "n": 1.0 }"#, Some("b!")),
            (r#"{"op":1,"action":"b"}"#, r#"{"op":1,"action":"b"}"#, Some("b")),
            (r#"{"op":null}"#, r#"{"op":null}"#, None),
            ("", "{}", None),
            (" \n", "{}", None),
            ("[1,2]", r#"{"value":[1,2]}"#, None),
            ("null", r#"{"value":null}"#, None),
        ] {
            assert_eq!(read(Bytes::from(body), false), Ok((json(payload), operation.map(str::to_owned))), "{body}");
        }
        for broken in ["{", "{} x", "{'a':1}", "a=1&b=2", "\u{feff}{}", "{\"a\":}"] {
            assert_eq!(read(Bytes::from(broken), false).map_err(|f| f.field), Err(Some("body".to_owned())), "{broken}");
        }
        assert!(read(Bytes::from_static(b"\"\xff\""), false).is_err());
        assert_eq!(read(Bytes::from_static(b"\xff"), true), Ok((Payload::Bytes(Bytes::from_static(b"\xff")), None)));
    }

    #[test]
    fn a_json_object_is_one_without_being_called_so_and_other_bytes_are_none() {
        assert!(is_object(b" {\"op\": \"a\"}\n") && is_object(b"{}"));
        for bytes in [&b""[..], b"[1]", b"7", b"\xff", b"{", b"{} x", b"{\"a\": \"\xff\"}"] {
            assert!(!is_object(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_query_becomes_json_scalars_and_strings() {
        let fields = |text: &str| query(Some(text), true).map(|query| query.fields);
        for (text, expected) in [
            ("a=1&b=-2.5e3&c=true&d=null", r#""a":1,"b":-2.5e3,"c":true,"d":null"#),
            ("a=01&b=+1&c=1+&d=True&e=", r#""a":"01","b":" 1","c":"1 ","d":"True","e":"""#),
            ("a=%22x%22&%C3%A4=%0A&n=12345678901234567890123", r#""a":"\"x\"","ä":"\n","n":12345678901234567890123"#),
            ("a=1e999&op=x&id=7&timeout_ms=9", r#""a":"1e999""#),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
        for broken in
            ["a=1&a=2", "op=x&action=y", "id=1&actor_id=2", "timeout_ms=0", "timeout_ms=3600001", "timeout_ms=x", "invocation=maybe"]
        {
            assert!(fields(broken).is_err(), "{broken}");
        }
        assert!(query(Some("a=1"), false).is_err());
        assert!(query(Some("op=x&action=x&invocation=send"), false).is_ok_and(|query| query.call == Some(false)));
    }

    #[test]
    fn fuzz_bodies_and_queries_of_invocations() {
        let examples = [
            r#"{"op":"a","action":"b\u0021","n":1.0}"#,
            "[1,2]",
            "invocation=call&timeout_ms=5&n=1.0&text=a%20b",
            "op=a&action=a&id=x&n=-1e5",
        ];
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        plexspaces_testkit::fuzz!(examples, |bytes: &Vec<u8>| {
            match read(Bytes::copy_from_slice(bytes), false) {
                Ok((payload, _)) => assert!(matches!(payload, Payload::Json(text) if is_json(&text))),
                Err(failure) => assert_eq!(failure.code, plexspaces_types::Code::InvalidArgument),
            }
            for takes_fields in [false, true] {
                if let Ok(read) = query(Some(&String::from_utf8_lossy(bytes)), takes_fields) {
                    assert!(is_json(&format!("{{{}}}", read.fields)), "{}", read.fields);
                }
            }
        });
    }
}
