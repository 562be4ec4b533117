//! The way to channels that are on brokers.
//!
//! Who waits for an answer is answered by the broker. What nobody waits for goes through a queue for each channel and is tried until the broker
//! has acknowledged it: only then the durable actor that has sent it need not keep it any more. Messages of one sender go one after the
//! other, in their order; those of several go side by side, so that a broker that is far away is not asked one by one.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::broker::{Broker, BrokerRequest};

/// Messages that may wait for one channel: in its queue, and taken out of it by those of several senders.
const CAPACITY: usize = QUEUED + TAKEN;
const QUEUED: usize = 3072;
const TAKEN: usize = 1024;

/// Senders whose messages for one channel are under way at the same time.
const ABREAST: usize = 64;

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
        let (sender, queue) = mpsc::channel(QUEUED);
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
        let rest = Rest::new(self.clone());
        let (mut lanes, mut under_way) = (Lanes::default(), FuturesUnordered::new());
        loop {
            while under_way.len() < ABREAST
                && let Some((sender, post)) = lanes.next()
            {
                under_way.push(self.deliver_post(id, post, &rest).map(move |()| sender));
            }
            rest.change(|counts| counts.under_way = under_way.len());
            if under_way.is_empty() {
                let next = tokio::time::timeout(IDLE, queue.recv()).await;
                match next {
                    Ok(Some(post)) => lanes.put(post),
                    Ok(None) => return,
                    Err(_) => {
                        let mut queues = self.0.posts.queues.lock();
                        if queue.is_empty() {
                            queues.remove(id);
                            return;
                        }
                    }
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(sender) = under_way.next() => lanes.done(sender),
                Some(post) = queue.recv(), if lanes.posts < TAKEN => lanes.put(post),
            }
        }
    }

    /// Tries until the broker has taken the message or refused it for good.
    async fn deliver_post(&self, id: &ActorId, (broker, mut envelope): Post, rest: &Rest) {
        let mut delay = FIRST_DELAY;
        loop {
            match ask(&*broker, id, &envelope).await {
                Err(failure) if failure.code == Code::Unavailable => {
                    let asleep = rest.change(|counts| counts.asleep += 1);
                    if delay == FIRST_DELAY && asleep == 1 {
                        tracing::warn!(channel = id.key.as_str(), tenant = %id.tenant, %failure, "messages for a channel wait for its broker");
                    }
                    tokio::time::sleep(delay).await;
                    rest.change(|counts| counts.asleep -= 1);
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

/// The messages for one channel that were taken out of its queue, by their senders. Of each sender the first is under way, or next to be.
#[derive(Default)]
struct Lanes {
    behind: HashMap<Option<ActorId>, VecDeque<Post>>,
    ready: VecDeque<(Option<ActorId>, Post)>,
    posts: usize,
}

impl Lanes {
    fn put(&mut self, post: Post) {
        self.posts += 1;
        match self.behind.entry(post.1.message.sender.clone()) {
            Entry::Occupied(mut lane) => lane.get_mut().push_back(post),
            Entry::Vacant(lane) => {
                self.ready.push_back((lane.key().clone(), post));
                lane.insert(VecDeque::new());
            }
        }
    }

    /// A message before which its sender has none.
    fn next(&mut self) -> Option<(Option<ActorId>, Post)> {
        self.ready.pop_front()
    }

    /// A sender's message has arrived.
    fn done(&mut self, sender: Option<ActorId>) {
        self.posts -= 1;
        match self.behind.get_mut(&sender).and_then(VecDeque::pop_front) {
            Some(post) => self.ready.push_back((sender, post)),
            None => drop(self.behind.remove(&sender)),
        }
    }
}

/// Whether a queue does nothing but wait, for messages or for its broker: then it keeps no node from ending.
struct Rest {
    runtime: Runtime,
    state: Mutex<(Counts, Option<Waiting>)>,
}

/// Messages of a queue that are under way, and how many of them wait for their broker to come back.
#[derive(Default)]
struct Counts {
    under_way: usize,
    asleep: usize,
}

impl Rest {
    fn new(runtime: Runtime) -> Self {
        let waiting = runtime.waiting();
        Self { runtime, state: Mutex::new((Counts::default(), Some(waiting))) }
    }

    /// Changes the counts, and tells how many wait for their broker.
    fn change(&self, change: impl FnOnce(&mut Counts)) -> usize {
        let mut state = self.state.lock();
        change(&mut state.0);
        let is_at_rest = state.0.under_way == state.0.asleep;
        if !is_at_rest {
            state.1 = None;
        } else if state.1.is_none() {
            state.1 = Some(self.runtime.waiting());
        }
        state.0.asleep
    }
}

async fn ask(broker: &dyn Broker, id: &ActorId, envelope: &Envelope) -> Result<Payload, Failure> {
    let Message { operation, payload, sender, idempotency_key, .. } = &envelope.message;
    let request = BrokerRequest { operation, payload, sender: sender.as_ref(), idempotency_key: idempotency_key.as_deref() };
    let asked = std::panic::AssertUnwindSafe(broker.ask(id, request)).catch_unwind();
    asked.await.unwrap_or_else(|_| Err(Failure::new(Code::Internal, "the client of the broker has failed")))
}
