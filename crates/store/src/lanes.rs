//! How backends that are elsewhere write commits: in a few lanes, each of which writes all that wait in it together.
//!
//! A partition belongs to one lane, so its commits keep their order. A lane that has nothing to do has no task: who puts the first commit
//! into it begins one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::{Batch, Error};

/// Bytes at which a group takes no more.
const GROUP_BYTES: usize = 8 << 20;
/// Batches at which a group takes no more.
const GROUP_COMMITS: usize = 256;

/// What became of a commit.
pub type Outcome = Result<(), Error>;

/// What writes the groups of a backend.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes the group, one commit after the other, and gives the outcome of each. A lane writes one group at a time.
    async fn write(&self, lane: usize, group: &[Commit]) -> Vec<Outcome>;
}

/// A batch that somebody waits for.
pub struct Commit {
    /// The batch.
    pub batch: Batch,
    /// When it was handed over.
    pub since: Instant,
    bytes: usize,
    reply: oneshot::Sender<Outcome>,
}

/// The lanes of a backend.
pub struct Lanes<W> {
    lanes: Vec<Arc<Lane<W>>>,
}

struct Lane<W> {
    number: usize,
    writer: Arc<W>,
    timeout: Duration,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commits: VecDeque<Commit>,
    /// A task is at work.
    runs: bool,
}

impl<W: Writer> Lanes<W> {
    /// At least one lane. A commit that has waited for `timeout` before it is begun is refused.
    pub fn new(writer: &Arc<W>, lanes: usize, timeout: Duration) -> Self {
        let metrics = Arc::new(Metrics::new());
        let lane = |number| {
            let (writer, metrics) = (writer.clone(), metrics.clone());
            Arc::new(Lane { number, writer, timeout, metrics, state: Mutex::default() })
        };
        Self { lanes: (0..lanes.max(1)).map(lane).collect() }
    }

    /// The lane of what has this hash.
    #[must_use]
    pub fn lane(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) % self.lanes.len()
    }

    /// Commits a batch in a lane.
    pub async fn commit(&self, lane: usize, batch: Batch) -> Outcome {
        let lost = || Error::Unknown("the task that had it has ended with its runtime".to_owned());
        let Some(lane) = self.lanes.get(lane) else { return Err(lost()) };
        let (reply, answer) = oneshot::channel();
        if lane.push(Commit { bytes: batch.bytes(), batch, since: Instant::now(), reply }) {
            tokio::spawn(Running(Some(lane.clone())).run());
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl<W: Writer> Lane<W> {
    /// Puts a commit into the lane; says whether that needs a task.
    fn push(&self, commit: Commit) -> bool {
        let mut state = self.state.lock();
        state.commits.push_back(commit);
        !std::mem::replace(&mut state.runs, true)
    }

    /// As many as make a group, or nothing and the end of the task.
    fn next(&self) -> Option<Vec<Commit>> {
        let mut state = self.state.lock();
        let (mut group, mut bytes) = (Vec::with_capacity(state.commits.len().min(GROUP_COMMITS)), 0);
        while group.len() < GROUP_COMMITS
            && let Some(commit) = state.commits.pop_front_if(|next| group.is_empty() || bytes + next.bytes <= GROUP_BYTES)
        {
            // A commit whose caller has gone before it was begun need not be done.
            if commit.reply.is_closed() {
                continue;
            }
            if commit.since.elapsed() > self.timeout {
                let waited = format!("the database is too slow: a commit waited {:?} for its turn", self.timeout);
                let _ = commit.reply.send(Err(Error::Unavailable(waited)));
                continue;
            }
            bytes += commit.bytes;
            group.push(commit);
        }
        state.runs = !group.is_empty();
        state.runs.then_some(group)
    }

    async fn write(&self, group: Vec<Commit>) {
        let outcomes = self.writer.write(self.number, &group).await;
        self.metrics.group(group.len());
        for (commit, outcome) in group.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                self.metrics.acknowledged(commit.since.elapsed());
            }
            // Who has gone does not need the answer.
            let _ = commit.reply.send(outcome);
        }
    }
}

/// The task of a lane. If it is dropped before its end, which happens when its runtime ends, another may begin.
struct Running<W: Writer>(Option<Arc<Lane<W>>>);

impl<W: Writer> Running<W> {
    async fn run(mut self) {
        let Some(lane) = self.0.clone() else { return };
        loop {
            // Callers that were told together come back together.
            tokio::task::yield_now().await;
            let Some(group) = lane.next() else { break };
            lane.write(group).await;
        }
        self.0 = None;
    }
}

impl<W: Writer> Drop for Running<W> {
    fn drop(&mut self) {
        let Some(lane) = &self.0 else { return };
        let mut state = lane.state.lock();
        state.runs = false;
        let commits = std::mem::take(&mut state.commits);
        drop(state);
        drop(commits);
    }
}
