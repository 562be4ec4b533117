//! Any body, query and path of any method is a message or is refused.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use plexspaces_testkit::fuzz;
use plexspaces_types::Code;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{decode, document, is_document, json, pairs, text_value, to_json};

/// What all methods take.
fn inputs() -> Vec<MessageDescriptor> {
    let services = plexspaces_proto::dynamic::pool().unwrap().services().collect::<Vec<_>>();
    services.iter().flat_map(|service| service.methods().map(|method| method.input()).collect::<Vec<_>>()).collect()
}

fn body(inputs: &[MessageDescriptor], bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for input in inputs {
        match json(input.clone(), &body) {
            Ok(message) => {
                let Ok(written) = to_json(&message) else { continue };
                let again = json(input.clone(), &written.clone().into()).unwrap();
                assert_eq!(document_of(&to_json(&again).unwrap()), document_of(&written), "{}", input.full_name());
            }
            Err(failure) => assert_eq!(failure.code, Code::InvalidArgument),
        }
    }
}

/// Maps are written in any order.
fn document_of(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

fn query(inputs: &[MessageDescriptor], query: &str) {
    let _ = decode(query);
    for (name, value) in pairs(Some(query)) {
        for field in inputs.iter().filter_map(|input| input.get_field_by_name(&name)) {
            let read = if is_document(&field) { document(&field, &value) } else { text_value(&field, &value) };
            if let Ok(value) = read {
                DynamicMessage::new(field.parent_message().clone()).set_field(&field, value);
            }
        }
    }
}

#[test]
fn any_body_is_a_message_that_is_written_as_it_is_read_or_is_refused() {
    let examples = [
        r#"{"tuple":["job",1.5,{"a":[null,true]}],"ttl_ms":"5"}"#,
        r#"{"pattern":["job",{"$gt":0},null],"timeout_ms":5,"client_token":"0123456789abcdef"}"#,
        r#"{"key":"k","value":"v","expected":"w","namespace":"n","tenant_id":"t"}"#,
        r#"{"payload":{"n":1e308},"msg_type":"t","delay_ms":4,"from":"SUBSCRIBE_FROM_LATEST"}"#,
        r#"{"name":"n","labels":{"a":"b"},"metadata":[1,"2"],"healthy":false}"#,
        r#"{"wasm":"AGFzbQ0AAQA=","config":"[app]","page_size":10,"page_token":"x"}"#,
        r#"{"at_time":"2026-01-01T00:00:00Z","turn":"7"}"#,
    ];
    let inputs = AssertUnwindSafe(inputs());
    fuzz!(examples, |bytes: &Vec<u8>| {
        let inputs: &AssertUnwindSafe<_> = &inputs;
        body(inputs, bytes);
    });
}

#[test]
fn any_query_and_path_is_read_or_refused() {
    let examples =
        ["pattern=%5B%22job%22%2Cnull%5D&page_size=5", "key=a%2Fb&timeout_ms=7", "labels={\"a\":\"b\"}&healthy=true", "%ff%zz=%00"];
    let inputs = AssertUnwindSafe(inputs());
    fuzz!(examples, |bytes: &Vec<u8>| {
        let inputs: &AssertUnwindSafe<_> = &inputs;
        query(inputs, &String::from_utf8_lossy(bytes));
    });
}

/// What arrives without transcoding.
#[test]
fn any_bytes_are_a_message_that_is_written_as_it_is_read_or_are_refused() {
    let inputs = inputs();
    let examples: Vec<Vec<u8>> =
        [r#"{"tenant_id":"t","namespace":"n","page_size":5}"#, r#"{"name":"n","labels":{"a":"b"}}"#, r#"{"key":"k","value":"v"}"#]
            .into_iter()
            .flat_map(|text| {
                inputs.iter().filter_map(|input| json(input.clone(), &text.into()).ok()).map(|message| message.encode_to_vec())
            })
            .collect();
    assert!(!examples.is_empty());
    let inputs = AssertUnwindSafe(inputs);
    fuzz!(examples, |bytes: &Vec<u8>| {
        let inputs: &AssertUnwindSafe<_> = &inputs;
        for input in inputs.iter() {
            let Ok(message) = DynamicMessage::decode(input.clone(), bytes.as_slice()) else { continue };
            if let Ok(written) = to_json(&message) {
                let again = json(input.clone(), &written.clone().into()).unwrap();
                assert_eq!(document_of(&to_json(&again).unwrap()), document_of(&written), "{}", input.full_name());
            }
        }
    });
}
