//! Streams over a WebSocket: the same messages as server-sent events, each a text frame.

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::StreamExt as _;
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Response};
use plexspaces_types::Failure;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::error;
use crate::methods::Messages;
use crate::serve::Held;
use crate::transcode::to_json;

/// The subprotocol.
const PROTOCOL: &str = "plexspaces.v1";

/// Before a token that a client offers as a subprotocol, since a page in a browser can set no header.
const BEARER: &str = "plexspaces.bearer.";

/// How often the client is asked whether it is there; it may be silent twice.
const PING: Duration = Duration::from_secs(15);

/// How long a frame may take to leave.
const SEND: Duration = Duration::from_secs(30);

/// Bytes of a frame from a client, which has nothing to say.
const MAX_HEARD: usize = 4096;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The token that is offered as a subprotocol, in base64 for URLs.
pub(crate) fn token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|header| header.to_str().ok());
    let token = offered.flat_map(|header| header.split(',')).find_map(|protocol| protocol.trim().strip_prefix(BEARER))?;
    // What is no base64 is no token of ours either.
    Some(BASE64_URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).unwrap_or_default())
}

/// What a request for a WebSocket begins with; an error when it is not made as one.
pub(crate) async fn upgrade(parts: &Parts) -> Result<WebSocketUpgrade, Failure> {
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts.clone(), &()).await;
    upgrade.map_err(|refused| Failure::invalid("Upgrade", format!("this is no request for a WebSocket: {refused}")))
}

/// Sends messages until there are no more or somebody ends it.
pub(crate) fn answer(
    upgrade: WebSocketUpgrade,
    messages: Messages,
    held: Option<Held>,
    request_id: String,
    shutdown: CancellationToken,
) -> Response<Body> {
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(MAX_HEARD).max_frame_size(MAX_HEARD);
    upgrade
        .on_upgrade(move |mut socket| async move {
            let _held = held;
            if let Some(end) = follow(&mut socket, messages, &request_id, shutdown).await {
                let _ = timeout(SEND, socket.send(Message::Close(Some(end)))).await;
            }
        })
        .into_response()
}

/// Sends messages; gives with what to close, or nothing where the client is gone.
async fn follow(socket: &mut WebSocket, messages: Messages, request_id: &str, shutdown: CancellationToken) -> Option<CloseFrame> {
    let Messages { mut stream, start, .. } = messages;
    if let Some(start) = start {
        send(socket, Message::text(format!(r#"{{"start":{start}}}"#))).await?;
    }
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Some(end(close_code::AWAY, "the node is shutting down")),
            received = socket.recv() => match received? {
                Err(_) | Ok(Message::Close(_)) => return None,
                Ok(Message::Ping(_) | Message::Pong(_)) => heard = Instant::now(),
                Ok(Message::Text(_) | Message::Binary(_)) => return Some(end(close_code::UNSUPPORTED, "this stream takes no messages")),
            },
            _ = ping.tick() => {
                if heard.elapsed() > PING * 3 {
                    return Some(end(close_code::AWAY, "the client was silent"));
                }
                send(socket, Message::Ping(Vec::new().into())).await?;
            }
            message = stream.next() => {
                let Some(message) = message else {
                    let stopped = shutdown.is_cancelled();
                    return Some(if stopped { end(close_code::AWAY, "the node is shutting down") } else { end(close_code::NORMAL, "") });
                };
                let text = message.map_err(|status| error::failure(&status)).and_then(|message| to_json(&message));
                match text {
                    Ok(text) => send(socket, Message::text(String::from_utf8_lossy(&text).into_owned())).await?,
                    Err(failure) => {
                        send(socket, Message::text(format!(r#"{{"error":{}}}"#, error::json(&failure, request_id)))).await?;
                        return Some(end(close_code::ERROR, failure.code.name()));
                    }
                }
            }
        }
    }
}

/// Sends a frame; `None` where it did not leave in time or the client is gone.
async fn send(socket: &mut WebSocket, frame: Message) -> Option<()> {
    timeout(SEND, socket.send(frame)).await.ok()?.ok()
}

fn end(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}
