//! The way to channels that are on brokers.
//!
//! Who waits for an answer is answered by the broker. What nobody waits for goes through a queue for each channel, in its order, and is tried
//! until the broker has acknowledged it: only then the durable actor that has sent it need not keep it any more.

use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::*;
use crate::broker::{Broker, BrokerRequest};

/// Messages that may wait for one channel.
const CAPACITY: usize = 4096;

/// Requests to brokers that may be under way.
const MAX_OPEN: usize = 10_000;

/// How long a queue without messages is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How long it takes until what a broker did not take is tried again: at first, and at most.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(5);

/// What is on its way to brokers.
#[derive(Default)]
pub(super) struct Posts {
    queues: Mutex<HashMap<ActorId, mpsc::Sender<Post>>>,
    open: AtomicUsize,
}

/// A message for the broker that its channel was on when it was sent.
type Post = (Arc<dyn Broker>, Box<Envelope>);

/// One request that is under way.
struct Open(Runtime);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.posts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Runtime {
    pub(super) async fn deliver_to_broker(
        &self,
        broker: Arc<dyn Broker>,
        id: &ActorId,
        envelope: Box<Envelope>,
        wait: Wait,
    ) -> Result<(), Failure> {
        if envelope.reply.is_none() {
            return self.post(id, (broker, envelope), wait).await;
        }
        let open = Open(self.clone());
        if self.0.posts.open.fetch_add(1, Ordering::SeqCst) >= MAX_OPEN {
            return Err(Failure::new(Code::Overloaded, format!("{MAX_OPEN} requests to channels on brokers wait already")));
        }
        let (id, stop) = (id.clone(), self.0.stop.clone());
        tokio::spawn(async move {
            let (_open, mut envelope) = (open, envelope);
            let Some(mut reply) = envelope.reply.take() else { return };
            let result = tokio::select! {
                () = stop.cancelled() => return,
                () = reply.closed() => return,
                result = ask(&*broker, &id, &envelope) => result,
            };
            let _ = reply.send(result);
        });
        Ok(())
    }

    /// Puts a message into its channel's queue.
    async fn post(&self, id: &ActorId, mut post: Post, wait: Wait) -> Result<(), Failure> {
        loop {
            // Under the lock, so that a queue is not given up while something is put into it.
            let (full, queue) = {
                let mut queues = self.0.posts.queues.lock();
                let queue = queues.entry(id.clone()).or_insert_with(|| self.begin_queue(id.clone()));
                match queue.try_send(post) {
                    Ok(()) => return Ok(()),
                    Err(error) => (error.into_inner(), queue.clone()),
                }
            };
            if matches!(wait, Wait::No) {
                return Err(Failure::new(Code::Overloaded, format!("{CAPACITY} messages wait for the channel {:?}", id.key.as_str())));
            }
            post = full;
            if queue.reserve().await.is_err() {
                return Err(Failure::new(Code::Unavailable, "the node is shutting down"));
            }
        }
    }

    fn begin_queue(&self, id: ActorId) -> mpsc::Sender<Post> {
        let (sender, queue) = mpsc::channel(CAPACITY);
        let (runtime, stop) = (self.clone(), self.0.stop.clone());
        self.0.running.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = runtime.work_off(&id, queue) => {}
            }
        });
        sender
    }

    async fn work_off(&self, id: &ActorId, mut queue: mpsc::Receiver<Post>) {
        loop {
            // A queue that waits keeps no node from ending.
            let waiting = self.waiting();
            let next = tokio::time::timeout(IDLE, queue.recv()).await;
            drop(waiting);
            match next {
                Ok(Some((broker, envelope))) => self.deliver_post(&*broker, id, envelope).await,
                Ok(None) => return,
                Err(_) => {
                    let mut queues = self.0.posts.queues.lock();
                    if queue.is_empty() {
                        queues.remove(id);
                        return;
                    }
                }
            }
        }
    }

    /// Tries until the broker has taken the message or refused it for good.
    async fn deliver_post(&self, broker: &dyn Broker, id: &ActorId, mut envelope: Box<Envelope>) {
        let mut delay = FIRST_DELAY;
        loop {
            match ask(broker, id, &envelope).await {
                Err(failure) if failure.code == Code::Unavailable => {
                    if delay == FIRST_DELAY {
                        tracing::warn!(channel = id.key.as_str(), tenant = %id.tenant, %failure, "a message for a channel waits for its broker");
                    }
                    let _waiting = self.waiting();
                    tokio::time::sleep(delay).await;
                    delay = LAST_DELAY.min(delay * 2);
                }
                Err(failure) => {
                    envelope.failures = envelope.failures.saturating_add(1);
                    return self.bury(id, *envelope, &failure).await;
                }
                Ok(_) => return envelope.answer(Ok(Payload::empty())),
            }
        }
    }
}

async fn ask(broker: &dyn Broker, id: &ActorId, envelope: &Envelope) -> Result<Payload, Failure> {
    let Message { operation, payload, sender, idempotency_key, .. } = &envelope.message;
    let request = BrokerRequest { operation, payload, sender: sender.as_ref(), idempotency_key: idempotency_key.as_deref() };
    let asked = std::panic::AssertUnwindSafe(broker.ask(id, request)).catch_unwind();
    asked.await.unwrap_or_else(|_| Err(Failure::new(Code::Internal, "the client of the broker has failed")))
}
