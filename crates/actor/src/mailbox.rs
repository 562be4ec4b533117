//! A bounded mailbox with a lane for control that overtakes messages.

use std::sync::Arc;

use plexspaces_types::{Failure, Message, Payload, RequestContext};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::registry::Kind;

/// A message on its way.
pub(crate) struct Envelope {
    pub(crate) ctx: RequestContext,
    pub(crate) message: Message,
    pub(crate) reply: Option<oneshot::Sender<Result<Payload, Failure>>>,
    /// Held until the message is answered, so that a shutdown can wait for it.
    pub(crate) _accepted: TaskTrackerToken,
}

/// What the runtime tells an actor.
pub(crate) enum Control {
    /// Come to life without a message, and say whether that worked.
    Start(oneshot::Sender<Result<(), Failure>>),
    /// Go on with this code, and with the state that there is.
    Replace(Arc<Kind>),
    /// Handle what is in the mailbox and end.
    Stop,
}

pub(crate) enum SendError {
    Full { capacity: usize },
    Closed(Box<Envelope>),
}

/// The sending side.
#[derive(Clone)]
pub(crate) struct Address {
    messages: mpsc::Sender<Box<Envelope>>,
    control: mpsc::Sender<Control>,
    ended: CancellationToken,
}

/// The actor's side.
pub(crate) struct Mailbox {
    pub(crate) messages: mpsc::Receiver<Box<Envelope>>,
    pub(crate) control: mpsc::Receiver<Control>,
    ended: CancellationToken,
}

impl Address {
    pub(crate) fn new(capacity: usize) -> (Self, Mailbox) {
        let (messages, received) = mpsc::channel(capacity.max(1));
        let (control, controlled) = mpsc::channel(4);
        let ended = CancellationToken::new();
        let mailbox = Mailbox { messages: received, control: controlled, ended: ended.clone() };
        (Self { messages, control, ended }, mailbox)
    }

    /// Waits for room.
    pub(crate) async fn send(&self, envelope: Box<Envelope>) -> Result<(), SendError> {
        self.messages.send(envelope).await.map_err(|error| SendError::Closed(error.0))
    }

    pub(crate) fn try_send(&self, envelope: Box<Envelope>) -> Result<(), SendError> {
        self.messages.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full { capacity: self.messages.max_capacity() },
            mpsc::error::TrySendError::Closed(envelope) => SendError::Closed(envelope),
        })
    }

    /// An actor that has ended needs to be told nothing.
    pub(crate) async fn control(&self, control: Control) {
        let _ = self.control.send(control).await;
    }

    /// Returns when the actor has left the directory.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Mailbox {
    /// Refuses further messages; those that wait can still be received.
    pub(crate) fn close(&mut self) {
        self.messages.close();
        self.control.close();
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}
