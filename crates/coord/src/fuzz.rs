//! Any arguments and any stored row are read by a service or refused.

use plexspaces_testkit::fuzz;
use plexspaces_types::{Code, Payload};

const OPERATIONS: [&str; 46] = [
    "write",
    "write_once",
    "replace",
    "read",
    "take",
    "read_all",
    "take_all",
    "count",
    "confirm",
    "release",
    "subscribe",
    "unsubscribe",
    "acquire",
    "renew",
    "get",
    "list",
    "put",
    "delete",
    "cas",
    "watch",
    "join",
    "leave",
    "members",
    "publish",
    "register",
    "unregister",
    "lookup",
    "find",
    "send",
    "receive",
    "ack",
    "nack",
    "next",
    "tail",
    "status",
    "dead_letters",
    "redrive",
    "head",
    "rename",
    "",
    "WRITE",
    "write ",
    "take\0",
    "name",
    "remove",
    "use",
];

#[test]
fn any_arguments_are_read_or_refused_before_the_service_sees_them() {
    let examples = [
        r#"{"tuple":["job",1,{"a":[null,true]}],"ttl_ms":5}"#,
        r#"{"pattern":["job",{"$gt":0,"$lt":9},null],"timeout_ms":5,"lease_ms":3}"#,
        r#"{"key":"k","value":"v","expected":null,"ttl_ms":1}"#,
        r#"{"key":"k","ttl_ms":1,"holder":"h","timeout_ms":0}"#,
        r#"{"payload":{"n":1},"msg_type":"t","msg_id":"m","delay_ms":4}"#,
        r#"{"name":"n","target":"n/t/k","labels":{"a":"b"},"metadata":[1],"ttl_ms":3}"#,
        r#"{"group":"g","actor":"n/t/k","topic":"t","operation":"o","payload":1}"#,
        r#"{"subscriber":"s","from":"latest","timeout_ms":3}"#,
    ];
    fuzz!(examples, |bytes: &Vec<u8>| {
        let text = Payload::Json(String::from_utf8_lossy(bytes).into_owned());
        for service in crate::services() {
            for operation in OPERATIONS {
                if let Err(failure) = (service.nature)(operation, &text) {
                    assert!(
                        matches!(
                            failure.code,
                            Code::InvalidArgument | Code::PayloadTooLarge | Code::UnknownOperation | Code::PermissionDenied
                        ),
                        "{failure}"
                    );
                }
            }
        }
    });
}

#[test]
fn any_row_is_loaded_or_refused() {
    let examples: [&[u8]; 7] = [
        b"t\0\0\0\0\0\0\0\x05\0\0\x09[\"job\",1]",
        b"s\x07subscription\x07default\x05n/t/k\x06[null]",
        b"v\0\0\0\0\0\0\0\x05",
        b"lkey\x01h\x01\x05\x09",
        b"kkey\x05value\x03\0",
        b"q\0\0\0\0\0\0\0\x05\x01m\x01t\x011\x05\x01\0",
        b"nname\x01a\x01b\0\0\0",
    ];
    fuzz!(examples, |bytes: &Vec<u8>| {
        for at in [1, 2, 4, 9] {
            let (key, value) = bytes.split_at(at.min(bytes.len()));
            for service in crate::services() {
                let mut actor = (service.make)("default");
                if let Err(failure) = actor.load(key, value) {
                    assert!(matches!(failure.code, Code::StorageFailed | Code::InvalidArgument), "{failure}");
                }
                let _ = actor.due_ms();
            }
        }
    });
}
