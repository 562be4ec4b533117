//! A log that several nodes write and each reads from its beginning: what its entries mean together is the same for all, since all read them in
//! the same order. A command is carried out where it stands in the log, or has no effect there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_types::{Code, Failure};
use serde::Serialize;
use tokio::sync::{MutexGuard, Notify};

use super::client::{Client, Entry, NO_TOPIC, OUT_OF_RANGE, READ_BYTES};
use super::wire::Fault;
use crate::backend::PAGE_BYTES;

/// Entries that are not needed any more before they are removed.
const FORGET_AT: i64 = 1000;

/// Entries of which it is remembered that they had an effect.
const ACCEPTED: usize = 10_000;

/// Spans that are kept.
const MAX_SPANS: usize = 10_000;

/// What the entries of a log mean.
pub(super) trait Machine: Default + Send + 'static {
    /// How the topic is made.
    fn settings() -> Vec<(&'static str, String)>;

    /// Takes the next entry.
    fn apply(&mut self, entry: &Entry);

    /// The first entry that somebody who reads from it on needs, if the log ends at `end`.
    fn low(&self, end: i64) -> i64;

    /// The log begins at `start`: what was before is gone.
    fn lost(&mut self, start: i64);

    /// Entries that say again what those say that are far behind the end of the log, so that those need not be kept; each with where its
    /// message is.
    fn again(&self, end: i64) -> Vec<(Option<i64>, Entry)>;
}

/// Which entries had an effect, and what the log may not be cut between: an entry without effect, and the one for whose sake it had none.
#[derive(Default)]
pub(super) struct Verdicts {
    accepted: VecDeque<i64>,
    spans: VecDeque<(i64, i64)>,
}

impl Verdicts {
    pub(super) fn accept(&mut self, offset: i64) {
        if self.accepted.len() >= ACCEPTED {
            self.accepted.pop_front();
        }
        self.accepted.push_back(offset);
    }

    /// The entry at `offset` had no effect because of that at `cause`.
    pub(super) fn refuse(&mut self, cause: i64, offset: i64) {
        if self.spans.len() >= MAX_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back((cause, offset));
    }

    pub(super) fn was_accepted(&self, offset: i64) -> bool {
        self.accepted.binary_search(&offset).is_ok()
    }

    /// An offset at or before `low` at which the log may be cut.
    pub(super) fn cut(&self, mut low: i64) -> i64 {
        for (cause, offset) in self.spans.iter().rev() {
            if *cause < low && low <= *offset {
                low = *cause;
            }
        }
        low
    }

    pub(super) fn lost(&mut self, start: i64) {
        self.spans.retain(|(_, offset)| *offset >= start);
    }
}

pub(super) struct Log<M> {
    client: Arc<Client>,
    topic: String,
    state: tokio::sync::Mutex<State<M>>,
    is_tidying: Arc<AtomicBool>,
    /// When it was used last.
    used: Mutex<Instant>,
}

struct State<M> {
    machine: M,
    /// The next entry to read.
    next: i64,
    start: i64,
    /// Whether the topic is there.
    is_open: bool,
    /// When the log was last begun to be read to its end.
    read: Option<Instant>,
    /// When it was last found out that the log cannot be read, and why.
    failed: Option<(Instant, Failure)>,
}

impl<M: Machine> Log<M> {
    pub(super) fn new(client: Arc<Client>, topic: String) -> Self {
        let state = State { machine: M::default(), next: 0, start: 0, is_open: false, read: None, failed: None };
        let (state, used) = (tokio::sync::Mutex::new(state), Mutex::new(Instant::now()));
        Self { client, topic, state, is_tidying: Arc::default(), used }
    }

    pub(super) fn idle(&self) -> Duration {
        self.used.lock().elapsed()
    }

    /// Reads the log to its end and looks at what it means then, told where that is; `None` where there is no such log and none is to be made.
    pub(super) async fn look<T>(&self, make: bool, look: impl FnOnce(&mut M, i64) -> T) -> Result<Option<T>, Failure> {
        let asked = Instant::now();
        *self.used.lock() = asked;
        let mut state = self.lock(asked).await?;
        let is_there = self.bring(&mut state, make, |state| state.read.is_none_or(|read| read < asked)).await?;
        if !is_there {
            return Ok(None);
        }
        let end = state.next;
        Ok(Some(look(&mut state.machine, end)))
    }

    /// Looks at what the log means, which is made if it is not there.
    pub(super) async fn fresh<T>(&self, look: impl FnOnce(&mut M, i64) -> T) -> Result<T, Failure> {
        let gone = || Failure::new(Code::Unavailable, "a topic of Kafka is gone");
        self.look(true, look).await?.ok_or_else(gone)
    }

    /// Looks at what is known without reading.
    pub(super) async fn peek<T>(&self, look: impl FnOnce(&mut M) -> T) -> T {
        look(&mut self.state.lock().await.machine)
    }

    /// The same if nobody else looks at this moment; whether it was done.
    pub(super) fn try_peek(&self, look: impl FnOnce(&mut M)) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        look(&mut state.machine);
        true
    }

    /// Adds an entry and looks at what the log means after it; the look is told where the entry is.
    pub(super) async fn append<T>(
        &self,
        command: &impl Serialize,
        body: Option<Bytes>,
        look: impl FnOnce(&mut M, i64) -> T,
    ) -> Result<T, Failure> {
        let entry = entry(command, body)?;
        let offset = match self.client.produce(&self.topic, &[entry]).await {
            Ok(offset) => offset,
            Err(fault) => {
                if fault.code() == Some(NO_TOPIC) {
                    self.state.lock().await.is_open = false;
                }
                return Err(self.client.failure(&fault));
            }
        };
        let mut state = self.lock(Instant::now()).await?;
        if !self.bring(&mut state, false, |state| state.next <= offset).await? {
            return Err(Failure::new(Code::Unavailable, "a topic of Kafka is gone"));
        }
        self.client.tell(&self.topic);
        let seen = look(&mut state.machine, offset);
        self.tidy(&state);
        Ok(seen)
    }

    /// The state, unless somebody has found out since then that the log cannot be read: those who wait are told together.
    async fn lock(&self, since: Instant) -> Result<MutexGuard<'_, State<M>>, Failure> {
        let state = self.state.lock().await;
        let failed = state.failed.as_ref().filter(|(at, _)| *at > since).map(|(_, failure)| failure.clone());
        match failed {
            Some(failure) => Err(failure),
            None => Ok(state),
        }
    }

    /// Reads the log as long as the state is not as it is wanted; false where there is no log.
    async fn bring(&self, state: &mut State<M>, make: bool, is_behind: impl Fn(&State<M>) -> bool) -> Result<bool, Failure> {
        let brought = async {
            if !self.open(state, make).await? {
                return Ok(false);
            }
            // Another's reading that began later than this request will do.
            while is_behind(state) {
                self.catch_up(state).await?;
            }
            Ok(true)
        };
        let brought = brought.await;
        if let Err(failure) = &brought {
            state.failed = Some((Instant::now(), Failure::clone(failure)));
        }
        brought
    }

    async fn open(&self, state: &mut State<M>, make: bool) -> Result<bool, Failure> {
        if state.is_open {
            return Ok(true);
        }
        match self.client.leader(&self.topic).await {
            Ok(_) => {}
            Err(fault) if fault.code() == Some(NO_TOPIC) => {
                if !make {
                    return Ok(false);
                }
                self.client.create(&self.topic, &M::settings()).await.map_err(|fault| self.client.failure(&fault))?;
            }
            Err(fault) => return Err(self.client.failure(&fault)),
        }
        self.begin(state).await?;
        Ok(true)
    }

    /// Begins with the first entry that is there.
    async fn begin(&self, state: &mut State<M>) -> Result<(), Failure> {
        let start = self.client.start(&self.topic).await.map_err(|fault| self.client.failure(&fault))?;
        *state = State { machine: M::default(), next: start, start, is_open: true, read: None, failed: None };
        Ok(())
    }

    async fn catch_up(&self, state: &mut State<M>) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let read = match self.client.read(&self.topic, state.next, READ_BYTES).await {
                Ok(read) => read,
                Err(fault) => {
                    match fault.code() {
                        // The topic was removed and made anew, or its retention removes what is needed.
                        Some(OUT_OF_RANGE) => self.begin(state).await?,
                        Some(NO_TOPIC) => state.is_open = false,
                        _ => {}
                    }
                    if state.is_open && fault.code() == Some(OUT_OF_RANGE) {
                        continue;
                    }
                    return Err(self.client.failure(&fault));
                }
            };
            let before = state.next;
            for entry in &read.entries {
                state.machine.apply(entry);
                state.next = entry.offset.saturating_add(1);
            }
            if read.start > state.start {
                state.start = read.start;
                state.machine.lost(read.start);
            }
            if state.next >= read.end {
                state.read = Some(begun);
                return Ok(());
            }
            if state.next == before {
                // What is there is nothing that is read, such as marks of transactions of others.
                state.next = state.next.saturating_add(1);
            }
        }
    }

    /// The message of an entry.
    pub(super) async fn body(&self, offset: i64) -> Result<Option<Bytes>, Failure> {
        match self.client.read(&self.topic, offset, 1).await {
            Ok(read) => Ok(read.entries.into_iter().find(|entry| entry.offset == offset).and_then(|entry| entry.body)),
            Err(fault) if fault.code() == Some(OUT_OF_RANGE) => Ok(None),
            Err(fault) => Err(self.client.failure(&fault)),
        }
    }

    /// The messages of entries that follow one another, with where they are; without those that are gone. And whether there are more than one
    /// page holds.
    pub(super) async fn bodies(&self, offsets: &[i64]) -> Result<(Vec<(i64, Bytes)>, bool), Failure> {
        let mut wanted = offsets.iter().copied().peekable();
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(first) = wanted.peek().copied() {
            if bytes >= PAGE_BYTES {
                return Ok((found, true));
            }
            let read = match self.client.read(&self.topic, first, READ_BYTES).await {
                Ok(read) => read.entries,
                Err(fault) if fault.code() == Some(OUT_OF_RANGE) => Vec::new(),
                Err(fault) => return Err(self.client.failure(&fault)),
            };
            for entry in read {
                while wanted.next_if(|offset| *offset < entry.offset).is_some() {}
                if bytes >= PAGE_BYTES {
                    break;
                }
                if let (Some(offset), Some(body)) = (wanted.next_if_eq(&entry.offset), entry.body) {
                    bytes += body.len();
                    found.push((offset, body));
                }
            }
            wanted.next_if_eq(&first);
        }
        Ok((found, false))
    }

    /// Waits until the log may have more than it had up to `since`, or for a time.
    pub(super) async fn news(&self, since: i64, wait: Duration) -> Result<(), Failure> {
        let news = self.client.listen(&self.topic, since).await.map_err(|fault| self.client.failure(&fault))?;
        let ear = Ear { client: &self.client, topic: &self.topic, news };
        let told = ear.news.notified();
        if self.state.lock().await.next == since {
            let _ = tokio::time::timeout(wait, told).await;
        }
        Ok(())
    }

    /// Removes what is not needed any more, and says again what keeps old entries from being removed, beside whatever follows.
    fn tidy(&self, state: &State<M>) {
        if self.is_tidying.load(Ordering::SeqCst) {
            return;
        }
        let low = state.machine.low(state.next).min(state.next);
        let again = state.machine.again(state.next);
        let is_much = low.saturating_sub(state.start) >= FORGET_AT;
        if (!is_much && again.is_empty()) || self.is_tidying.swap(true, Ordering::SeqCst) {
            return;
        }
        let (client, topic, is_tidying) = (self.client.clone(), self.topic.clone(), self.is_tidying.clone());
        tokio::spawn(async move {
            if let Err(fault) = tidy_up(&client, &topic, is_much.then_some(low), again).await {
                tracing::debug!(topic, %fault, "a log could not be tidied up");
            }
            is_tidying.store(false, Ordering::SeqCst);
        });
    }
}

async fn tidy_up(client: &Client, topic: &str, low: Option<i64>, again: Vec<(Option<i64>, Entry)>) -> Result<(), Fault> {
    if let Some(low) = low {
        client.forget(topic, low).await?;
    }
    for (message, mut entry) in again {
        if let Some(offset) = message {
            let read = client.read(topic, offset, 1).await?;
            entry.body = read.entries.into_iter().find(|entry| entry.offset == offset).and_then(|entry| entry.body);
        }
        client.produce(topic, &[entry]).await?;
    }
    Ok(())
}

/// Somebody who listens.
struct Ear<'a> {
    client: &'a Client,
    topic: &'a str,
    news: Arc<Notify>,
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        self.client.deaf(self.topic, &self.news);
    }
}

/// An entry that says a command.
pub(super) fn entry(command: &impl Serialize, body: Option<Bytes>) -> Result<Entry, Failure> {
    let command = serde_json::to_vec(command).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(Entry { offset: 0, at_ms: now_ms(), command: Some(command.into()), body })
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::dead::Dead;
    use super::super::queue::Queue;
    use super::super::topic::{Places, Topic};
    use super::*;

    #[test]
    fn a_log_is_not_cut_between_an_entry_without_effect_and_its_cause() {
        let mut verdicts = Verdicts::default();
        verdicts.refuse(3, 8);
        verdicts.refuse(7, 12);
        assert_eq!([2, 3, 4, 8, 9, 12, 13].map(|low| verdicts.cut(low)), [2, 3, 3, 3, 3, 3, 13]);
        verdicts.lost(9);
        assert_eq!(verdicts.cut(12), 7);
        verdicts.accept(5);
        verdicts.accept(9);
        assert!(verdicts.was_accepted(9) && !verdicts.was_accepted(8));
    }

    /// Whatever is written into a log by whomever, who reads it ends with a state that can be asked.
    fn read_by<M: Machine>(commands: &[&[u8]]) -> M {
        let body = r#"{"msg_id":"m","msg_type":"","payload":1,"timestamp":1}"#;
        let mut machine = M::default();
        for (offset, command) in commands.iter().enumerate() {
            // An entry is a message alone, a command alone, or both.
            let (command, text) = command.split_first().map_or((None, None), |(kind, command)| {
                let command = (kind % 3 != 0).then(|| Bytes::copy_from_slice(command));
                (command, (kind % 3 != 1).then(|| Bytes::from(body.replace("\"m\"", &format!("\"m{}\"", kind / 64)))))
            });
            let offset = i64::try_from(offset).unwrap();
            machine.apply(&Entry { offset, at_ms: 1000, command, body: text });
        }
        let end = i64::try_from(commands.len()).unwrap();
        assert!(machine.low(end) <= end, "what is not there yet is needed by nobody");
        let again = machine.again(end);
        assert!(again.iter().all(|(from, _)| from.is_none_or(|from| from < end)));
        machine.lost(end / 2);
        machine.low(end);
        machine
    }

    #[test]
    fn fuzz_entries_of_logs() {
        let examples = [
            "\0\n\u{2}{\"do\":\"send\",\"due_ms\":5}\n\u{1}{\"do\":\"claim\",\"number\":0,\"version\":0,\"at_ms\":1,\"until_ms\":9,\"asked\":[\"a\",\"k\"]}",
            "\0\n\u{1}{\"do\":\"claim\",\"number\":0,\"version\":0,\"at_ms\":1,\"until_ms\":9}\n\u{1}{\"do\":\"done\",\"number\":0}",
            "\u{1}{\"do\":\"move\",\"subscriber\":\"s\",\"from\":null,\"to\":3,\"key\":\"k\"}\n\u{1}{\"do\":\"leave\",\"subscriber\":\"s\"}",
            "\u{2}{\"do\":\"dead\",\"number\":4,\"count\":10}\n\u{1}{\"do\":\"gone\",\"offset\":0}",
        ];
        plexspaces_testkit::fuzz!(examples, |bytes: &Vec<u8>| {
            let commands: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let mut queue: Queue = read_by(&commands);
            for now_ms in [0, 1000, u64::MAX] {
                let _ = queue.pick(now_ms, None);
            }
            read_by::<Topic>(&commands);
            read_by::<Places>(&commands);
            read_by::<Dead>(&commands);
        });
    }
}
