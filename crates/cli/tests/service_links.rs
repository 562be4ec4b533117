//! A Python actor on a real node that asks a real service over a service link.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{Http, Node, stderr, stdout};
use tokio::net::TcpListener;

const SECRET: &str = "s3cret-of-the-default-tenant";

const AGENT: &str = r#""""An agent that asks a model."""
from plexspaces import PlexSpacesError, actor, handler, host, state


@actor(facets=["durability"])
class Agent:
    answers: list = state(default_factory=list)

    @handler("ask")
    def ask(self, prompt: str) -> dict:
        reply = host.http_fetch("llm_provider", "POST", "/chat", {"prompt": prompt})
        self.answers.append(reply["json"]["text"])
        return {"answers": self.answers, "status": reply["status"], "seen": str(reply)}

    @handler("fetch")
    def fetch(self, link: str, method: str, path: str) -> dict:
        try:
            reply = host.http_fetch(link, method, path)
            return {"status": reply["status"], "body": reply["body"]}
        except PlexSpacesError as error:
            return {"code": error.code, "message": error.message}
"#;

type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A model that wants a credential.
async fn model() -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let recorder = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = recorder.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let asked: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
                    seen.lock().unwrap().push((parts.uri.to_string(), parts.headers.clone()));
                    let known = parts.headers.get("authorization").is_some_and(|value| value == &format!("Bearer {SECRET}"));
                    let (status, text) = match (known, parts.uri.path()) {
                        (false, _) => (401, json!({"text": "who are you?"})),
                        (true, "/v1/chat") => (200, json!({"text": format!("{} indeed", asked["prompt"].as_str().unwrap_or_default())})),
                        (true, _) => (404, json!({"text": "no such path"})),
                    };
                    Ok::<_, hyper::Error>(Response::builder().status(status).body(Full::new(Bytes::from(text.to_string()))).unwrap())
                }
            });
            tokio::spawn(async move { hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await });
        }
    });
    (url, seen)
}

fn write(path: PathBuf, text: &str) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn app_config(directory: &Path, url: &str, more: &str) -> String {
    let text = format!(
        "[app]\nname = \"agent\"\n[[service_links]]\nname = \"llm_provider\"\nbase_url = \"{url}/v1\"\n\
         auth = {{ bearer_secret = \"llm-key\" }}\nallowed_paths = [\"/chat\"]\n{more}\n"
    );
    write(directory.join("app-config.toml"), &text)
}

#[tokio::test]
async fn a_python_actor_asks_a_service_whose_credential_it_never_sees() {
    let (url, seen) = model().await;
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secrets");
    let node_config = write(
        directory.path().join("node.toml"),
        &format!("[service_links]\nsecrets_dir = {:?}\n[log]\nfilter = \"debug\"\n", secrets.to_str().unwrap()),
    );
    let source = write(directory.path().join("agent.py"), AGENT);
    let component = plexspaces_testkit::python::component(Path::new(&source)).unwrap();
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start_with(data.path(), &["--config", &node_config]), Http::new());
    let deploy = |node: &Node, config: &str| node.cli(&["deploy", "--wasm", component.to_str().unwrap(), "--config", config]);

    // Without the secret, and with a wrong value, nothing is deployed.
    let refused = stderr(&deploy(&node, &app_config(directory.path(), &url, "")));
    assert!(refused.contains("invalid_config") && refused.contains("the secret \"llm-key\", which the node does not have"), "{refused}");
    write(secrets.join("default/llm-key"), &format!("{SECRET}\n"));
    let refused = stderr(&deploy(&node, &app_config(directory.path(), &url, "timeout_secs = 0")));
    assert!(refused.contains("service link \"llm_provider\": timeout_secs is 0ns, expected 1ms to 1h"), "{refused}");
    let refused = stderr(&deploy(&node, &app_config(directory.path(), &url, "timeout_sec = 5")));
    assert!(refused.contains("unknown field `timeout_sec`") && refused.contains("did you mean `timeout_secs`?"), "{refused}");
    assert_eq!(stdout(&node.cli(&["list"])), "nothing is deployed\n");
    let deployed = deploy(&node, &app_config(directory.path(), &url, "timeout_secs = 60"));
    assert!(deployed.status.success(), "{}", stderr(&deployed));

    let ask = async |node: &Node, body: Value| http.ask(node, "agent/agent", body).await;
    let answer = ask(&node, json!({"op": "ask", "prompt": "rain"})).await;
    assert_eq!((&answer.body["answers"], &answer.body["status"]), (&json!(["rain indeed"]), &json!(200)), "{}", answer.body);
    let (path, headers) = seen.lock().unwrap()[0].clone();
    assert_eq!((path.as_str(), headers["content-type"].to_str().unwrap()), ("/v1/chat", "application/json"));
    assert!(headers["idempotency-key"].len() >= 16);
    for (link, path, code) in [
        ("llm_provider", "/models", "permission_denied"),
        ("llm_provider", "/chat/../models", "invalid_argument"),
        ("nobody", "/chat", "not_found"),
    ] {
        let answer = ask(&node, json!({"op": "fetch", "link": link, "method": "GET", "path": path})).await;
        assert_eq!(answer.body["code"], code, "{}", answer.body);
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
    let metrics = http.get(&node, "/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    support::check_metrics(metrics);
    assert!(metrics.contains("plexspaces_service_link_requests_total") && metrics.contains("llm_provider"), "{metrics}");

    // The link is there again after a crash, and so is what the actor made of the answers.
    let log = stdout(&node.cli(&["logs", "-n", "5000"]));
    node.kill();
    let node = Node::start_with(data.path(), &["--config", &node_config]);
    let answer = ask(&node, json!({"op": "ask", "prompt": "snow"})).await;
    assert_eq!(answer.body["answers"], json!(["rain indeed", "snow indeed"]), "{}", answer.body);

    assert!(log.contains("a request over a service link"), "{log}");
    let shown =
        [log, answer.body.to_string(), metrics.to_owned(), stdout(&node.cli(&["logs", "-n", "5000"])), stdout(&node.cli(&["status"]))];
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");

    // A node that has lost the secret says so and runs on.
    node.kill();
    std::fs::remove_file(secrets.join("default/llm-key")).unwrap();
    let node = Node::start_with(data.path(), &["--config", &node_config]);
    let listed = http.get(&node, "/api/v1/applications").await.body.to_string();
    assert!(listed.contains("which the node does not have"), "{listed}");
}
