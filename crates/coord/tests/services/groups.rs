//! Process groups, with actors that do nothing but remember what they heard; `crates/actor/tests` and the tests of the node have more of them.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use parking_lot::Mutex;
use plexspaces_actor::{
    Application, Behavior, Description, Factory, Fault, HandlerInfo, HandlerKind, Instance, Profile, Reply, Sdk, Spec, SupervisorSpec,
    Turn, TypeInfo, TypeSpec,
};
use plexspaces_types::{ActorId, Message, Name, Payload};
use serde_json::{Value, json};

use crate::support::{Node, eventually};

/// Who heard what, by key and payload.
type Heard = Arc<Mutex<Vec<(String, Value)>>>;

struct Members {
    heard: Heard,
}

struct Member {
    id: ActorId,
    heard: Heard,
}

#[async_trait]
impl Factory for Members {
    fn description(&self) -> &Description {
        static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
            let handler = HandlerInfo { operation: "*".to_owned(), kind: HandlerKind::Call, doc: String::new(), parameters: Value::Null };
            let member = TypeInfo {
                name: "member".to_owned(),
                aliases: Vec::new(),
                class: String::new(),
                behavior: Behavior::GenServer,
                states: Vec::new(),
                initial: None,
                doc: String::new(),
                facets: Vec::new(),
                handlers: vec![handler],
            };
            Description { sdk: Sdk { language: "rust".to_owned(), version: "0".to_owned() }, actors: vec![member] }
        });
        &DESCRIPTION
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        Ok((Box::new(Member { id: spec.id.clone(), heard: self.heard.clone() }), turn))
    }
}

#[async_trait]
impl Instance for Member {
    async fn handle(&mut self, message: &Message, turn: Turn, _want_state: bool) -> Result<(Reply, Turn), Fault> {
        let payload = serde_json::from_slice(message.payload.as_bytes()).unwrap_or_default();
        self.heard.lock().push((self.id.key.to_string(), payload));
        Ok((Reply { payload: Payload::empty(), state: None }, turn))
    }
    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::empty())
    }
    async fn restore(&mut self, _state: &Payload) -> Result<(), Fault> {
        Ok(())
    }
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Lets members live on a node, and gives what they hear.
async fn members_on(node: &Node) -> Heard {
    let heard = Heard::default();
    let name = |text: &str| Name::new("name", text).unwrap();
    let kind = TypeSpec { name: name("member"), guest_type: "member".to_owned(), aliases: Vec::new(), profile: Profile::default() };
    let application = Application {
        tenant: Name::default_scope(),
        namespace: Name::default_scope(),
        name: name("members"),
        factory: Arc::new(Members { heard: heard.clone() }),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![kind],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    };
    node.runtime.deploy(&application).await.unwrap();
    heard
}

async fn joined(node: &Node, arguments: Value) -> Value {
    node.ask("members", arguments).await["members"].clone()
}

#[tokio::test]
async fn members_outlive_the_node_and_hear_what_is_published_in_the_order_of_joining() {
    let node = Node::new("groups");
    members_on(&node).await;
    let join = async |group: &str, key: &str, topics: Value| {
        node.ask("join", json!({"group": group, "actor": format!("default/member/{key}"), "topics": topics})).await
    };
    for key in ["b", "a", "c"] {
        join("g", key, json!([])).await;
    }
    join("g", "c", json!(["sport"])).await;
    join("other", "a", json!([])).await;
    node.ask("leave", json!({"group": "g", "actor": "default/member/a"})).await;
    let all = json!(["default/member/b", "default/member/c"]);
    assert_eq!(joined(&node, json!({"group": "g"})).await, all);

    let node = node.restart();
    let heard = members_on(&node).await;
    assert_eq!(joined(&node, json!({"group": "g"})).await, all);
    assert_eq!(joined(&node, json!({"group": "g", "topic": "weather"})).await, json!(["default/member/b"]));
    assert_eq!(node.ask("list", json!({})).await["groups"], json!([{"group": "g", "members": 2}, {"group": "other", "members": 1}]));
    node.ask("publish", json!({"group": "g", "payload": 1})).await;
    node.ask("publish", json!({"group": "g", "payload": 2, "topic": "weather"})).await;
    eventually("all have heard", async || heard.lock().len() == 3).await;
    let of = |key: &str| heard.lock().iter().filter(|(who, _)| who == key).map(|(_, what)| what.clone()).collect::<Vec<_>>();
    assert_eq!((of("b"), of("c"), of("a")), (vec![json!(1), json!(2)], vec![json!(1)], vec![]));
    let scope = Name::default_scope();
    node.runtime.undeploy(&scope, &scope, &Name::new("name", "members").unwrap()).await.unwrap();
    eventually("nobody is left", async || node.ask("list", json!({})).await["groups"] == json!([])).await;
}

#[tokio::test]
async fn a_request_from_outside_names_the_actor() {
    let node = Node::new("groups");
    assert_eq!(node.ask("members", json!({"group": "nobody"})).await, json!({"members": [], "next": null}));
    assert_eq!(node.refused("join", json!({"group": "g"})).await.1.as_deref(), Some("actor"));
    assert_eq!(node.refused("join", json!({"group": "g", "actor": "no identity"})).await.1.as_deref(), Some("actor"));
    assert_eq!(node.refused("join", json!({"group": "", "actor": "default/a/b"})).await.1.as_deref(), Some("group"));
    assert_eq!(node.ask("list", json!({})).await, json!({"groups": [], "next": Value::Null}));
    node.ask("leave", json!({"group": "g", "actor": "default/a/b"})).await;
    node.ask("publish", json!({"group": "g", "payload": {}})).await;
    assert_eq!(node.refused("members", json!({"group": "g", "limit": 0})).await.1.as_deref(), Some("limit"));
}
