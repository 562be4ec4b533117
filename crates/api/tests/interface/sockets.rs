//! Streams over a WebSocket, with a real client.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::{SinkExt as _, StreamExt as _};
use plexspaces_api::AuthConfig;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::services::send;
use crate::support::{Node, TOKEN};

struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    protocol: Option<String>,
}

impl Socket {
    async fn open(node: &Node, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, (u16, Value)> {
        let mut request = format!("ws://{}/api/v1{path}", node.addr).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
                Ok(Self { stream, protocol })
            }
            Err(Error::Http(refused)) => {
                Err((refused.status().as_u16(), serde_json::from_slice(refused.body().as_deref().unwrap_or_default()).unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn frame(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(60), self.stream.next()).await.unwrap().unwrap().unwrap()
    }

    /// The next message, leaving out the pings.
    async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code with which the node ends it.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Message::Close(frame) => return frame.unwrap().code.into(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn publish(node: &Node, payload: u64) {
    assert_eq!(send(node, "POST", "/channels/news:publish", json!({"payload": payload})).await.status, 200);
}

#[tokio::test]
async fn a_subscription_over_a_websocket_goes_on_where_it_stopped() {
    let node = Node::start().await;
    publish(&node, 0).await;
    let mut first = Socket::open(&node, "/channels/news/subscribe", &[]).await.unwrap();
    assert_eq!(first.next().await, json!({"start": 1}), "it begins after what is there, and says so");
    for payload in 1..=3 {
        publish(&node, payload).await;
    }
    let message = first.next().await;
    assert_eq!((&message["payload"], &message["position"], &message["channel"]), (&json!(1), &json!(2), &json!("news")));
    let position = first.next().await["position"].clone();
    drop(first);
    publish(&node, 4).await;
    let mut again = Socket::open(&node, &format!("/channels/news/subscribe?after={position}"), &[]).await.unwrap();
    for expected in 3..=4 {
        assert_eq!(again.next().await["payload"], json!(expected));
    }
    publish(&node, 5).await;
    assert_eq!(again.next().await["payload"], json!(5));
}

#[tokio::test]
async fn a_client_that_talks_or_asks_wrongly_is_told_so() {
    let node = Node::start().await;
    let mut socket = Socket::open(&node, "/channels/news/subscribe", &[]).await.unwrap();
    socket.stream.send(Message::Ping(vec![7].into())).await.unwrap();
    loop {
        if let Message::Pong(sent) = socket.frame().await {
            assert_eq!(&sent[..], [7]);
            break;
        }
    }
    socket.stream.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.closed().await, 1003);
    let (status, body) = Socket::open(&node, "/channels/news/subscribe?after=x", &[]).await.err().unwrap();
    assert_eq!((status, &body["field_violations"][0]["field"]), (400, &json!("after")));
    // What only looks like a request for one.
    let wrong = node.send("GET", "/api/v1/channels/news/subscribe", &[("upgrade", "websocket")], "").await;
    assert_eq!((wrong.reason().as_str(), wrong.field().as_str()), ("invalid_argument", "Upgrade"));
}

#[tokio::test]
async fn a_websocket_needs_the_token_and_takes_it_as_a_subprotocol() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    let path = "/channels/news/subscribe";
    let offered = |token: &str| format!("plexspaces.v1, plexspaces.bearer.{}", BASE64_URL_SAFE_NO_PAD.encode(token));
    let mut socket = Socket::open(&node, path, &[("sec-websocket-protocol", &offered(TOKEN))]).await.unwrap();
    assert_eq!(socket.protocol.as_deref(), Some("plexspaces.v1"), "the token is not said again");
    assert_eq!(socket.next().await, json!({"start": 0}));
    let header = format!("Bearer {TOKEN}");
    assert!(Socket::open(&node, path, &[("authorization", &header)]).await.is_ok());
    for wrong in ["plexspaces.v1".to_owned(), offered("wrong"), format!("plexspaces.bearer.{TOKEN}")] {
        let (status, body) = Socket::open(&node, path, &[("sec-websocket-protocol", &wrong)]).await.err().unwrap();
        assert_eq!((status, &body["reason"]), (401, &json!("unauthenticated")), "{wrong}");
    }
    // Where no WebSocket is asked for, no subprotocol is a credential.
    let plain = node.send("GET", "/api/v1/system", &[("sec-websocket-protocol", &offered(TOKEN))], "").await;
    assert_eq!(plain.status, 401);
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_open_a_socket_of_an_open_node() {
    let node = Node::start().await;
    let (status, body) = Socket::open(&node, "/channels/news/subscribe", &[("origin", "http://elsewhere.example")]).await.err().unwrap();
    assert_eq!((status, &body["reason"]), (403, &json!("permission_denied")));
    let own = format!("http://{}", node.addr);
    assert!(Socket::open(&node, "/channels/news/subscribe", &[("origin", &own)]).await.is_ok());
}

#[tokio::test]
async fn sockets_end_cleanly_when_the_node_stops_and_it_waits_for_them() {
    let node = Node::start().await;
    let mut socket = Socket::open(&node, "/channels/news/subscribe", &[]).await.unwrap();
    assert_eq!(socket.next().await, json!({"start": 0}));
    node.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!node.served.is_finished(), "a socket is a request under way");
    node.services.shutdown.cancel();
    assert_eq!(socket.closed().await, 1001);
    drop(socket);
    tokio::time::timeout(Duration::from_secs(60), node.served).await.unwrap().unwrap();
}
