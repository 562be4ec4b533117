//! The journal of one turn of a durable actor: what its code is told by the host is written down, and told again when the turn is run again.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use plexspaces_durable::journal::{self, Begin, Entry, Recorded, Refusal, Signal, Step};
use plexspaces_durable::{Activation, Changes, Outgoing, Replay};
use plexspaces_types::{Code, Failure, Payload, RequestContext};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng as _};

use super::{Looking, Turn};
use crate::Runtime;
use crate::cell::Cell;
use crate::timers::Change;

/// An actor's journal: its runner has it, and so has the turn that is under way. It is never locked across a wait.
pub(crate) type Held = Arc<Mutex<Journal>>;

/// What outlives a turn that was lost with the code that ran it.
pub(crate) struct Journal {
    activation: Activation,
    /// The version of the code whose turns these are.
    code: u64,
    /// Why the turn must not go on, whatever its code makes of it.
    stopped: Option<Failure>,
    /// The turn does what it has done before.
    again: bool,
    /// Nothing else is to be done: a turn that gets to the end of its journal is stopped there.
    only_again: bool,
    reached: bool,
    /// The commits that are under way while the code goes on.
    beside: Option<Shared<BoxFuture<'static, Result<(), Failure>>>>,
    /// What they keep next, which may become more until then; none while there is nobody to keep it.
    queue: Option<Box<Done>>,
}

/// What a turn has done from one commit to the next.
#[derive(Default)]
struct Done {
    changes: Changes,
    timers: Vec<Change>,
}

impl Journal {
    pub(crate) fn new(activation: Activation, code: u64) -> Held {
        Arc::new(Mutex::new(Self {
            activation,
            code,
            stopped: None,
            again: false,
            only_again: false,
            reached: false,
            beside: None,
            queue: None,
        }))
    }

    /// One for turns that are run again and go no further than they went.
    pub(crate) fn only_again(activation: Activation) -> Held {
        let held = Self::new(activation, 0);
        held.lock().only_again = true;
        held
    }

    /// The version of the code whose turns these are.
    pub(crate) fn code(&self) -> u64 {
        self.code
    }

    /// Whether a turn got to the end of its journal and was stopped there.
    pub(crate) fn has_reached(&self) -> bool {
        self.reached
    }

    /// Why the turn that has just ended must not count: it was stopped, or failed where it had not failed before.
    pub(crate) fn doubt(&mut self, failure: &Failure) -> Option<Failure> {
        let turn = self.activation.current_turn();
        let differs = || {
            Failure::new(Code::NonDeterministic, format!("in or before turn {turn} the journal has no failure, the code failed: {failure}"))
        };
        self.stopped.take().or_else(|| self.again.then(differs))
    }
}

impl Done {
    fn is_empty(&self) -> bool {
        self.len() == 0 && self.changes.published.is_none()
    }

    /// In calls of the host, messages and timers.
    fn len(&self) -> usize {
        self.changes.entries.len() + self.changes.outgoing.len() + self.changes.reminders.len() + self.timers.len()
    }

    /// Adds what was done after it.
    fn add(&mut self, later: Self) {
        let Changes { entries, outgoing, reminders, published, heard, answer, .. } = later.changes;
        self.changes.entries.extend(entries);
        self.changes.outgoing.extend(outgoing);
        self.changes.reminders.retain(|(name, _)| !reminders.iter().any(|(later, _)| later == name));
        self.changes.reminders.extend(reminders);
        self.changes.published = published.or(self.changes.published.take());
        self.changes.heard = heard.or(self.changes.heard.take());
        self.changes.answer = answer.or(self.changes.answer.take());
        self.timers.extend(later.timers);
    }

    /// Commits it, and lets it take effect.
    async fn keep(self, runtime: &Runtime, cell: &Arc<Cell>, held: &Held, ctx: &RequestContext) -> Result<(), Failure> {
        let outgoing = self.changes.outgoing.clone();
        runtime.commit(cell, held, self.changes).await?;
        for change in self.timers {
            runtime.timers().apply(cell, change);
        }
        runtime.send_out(cell, ctx, outgoing).await;
        Ok(())
    }
}

/// Keeps what has been done, and then what has been done meanwhile, until there is nothing.
async fn keep_all(mut done: Done, runtime: Runtime, cell: Arc<Cell>, held: Held, ctx: RequestContext) -> Result<(), Failure> {
    loop {
        let kept = done.keep(&runtime, &cell, &held, &ctx).await;
        let mut journal = held.lock();
        let next = journal.queue.take();
        match next.filter(|next| kept.is_ok() && !next.is_empty()) {
            Some(next) => done = *next,
            None => return kept,
        }
        journal.queue = Some(Box::default());
    }
}

/// Waits for the commits that are under way while the code goes on. Of one that failed this tells once; no other is taken after it.
pub(crate) async fn caught_up(held: &Held) -> Result<(), Failure> {
    let beside = held.lock().beside.clone();
    let Some(commit) = beside else { return Ok(()) };
    let committed = commit.await;
    held.lock().beside = None;
    committed
}

impl Deref for Journal {
    type Target = Activation;

    fn deref(&self) -> &Activation {
        &self.activation
    }
}

impl DerefMut for Journal {
    fn deref_mut(&mut self) -> &mut Activation {
        &mut self.activation
    }
}

/// How many calls of the host one turn of a durable actor may journal.
const MAX_ENTRIES: usize = 100_000;

/// How much a turn may have done, in calls of the host and in messages, while a commit is under way beside it.
const UNCOMMITTED_BESIDE: usize = 256;

pub(crate) struct Log {
    held: Held,
    replay: Replay,
    /// The turn is over and only run again: nothing that it does counts.
    over: bool,
    random: ChaCha12Rng,
    now_ms: u64,
    seed: u64,
    calls: u64,
    sent: u64,
    entries: Vec<Entry>,
    /// The checksum of what the code replied.
    reply: Option<u32>,
}

/// A call of the host that is written down when its result is known.
pub(crate) struct Call {
    text: String,
    arguments: u32,
}

/// What the journal says of a call.
pub(crate) enum Known {
    /// The code was told this.
    Told(Result<Payload, Failure>),
    /// It is new; there is nothing to write where the actor has no journal.
    New(Option<Call>),
}

impl Log {
    /// A new turn.
    pub(crate) fn begin(held: &Held, base: Option<Payload>, begin: Begin) -> Box<Self> {
        let mut entries = Vec::with_capacity(3);
        entries.extend(base.map(Entry::Base));
        let (now_ms, seed) = (begin.at_ms, begin.seed);
        entries.push(Entry::Begin(Begin { code: held.lock().code, ..begin }));
        Box::new(Self { entries, ..Self::at(held, now_ms, seed) })
    }

    /// A turn that is run again: as far as its journal goes, and on from there if it was under way.
    pub(crate) fn again(held: &Held, recorded: Recorded) -> Box<Self> {
        let (now_ms, seed) = recorded.begin().map_or((0, 0), |begin| (begin.at_ms, begin.seed));
        let over = recorded.end().is_some();
        let log = Box::new(Self { replay: Replay::of(recorded), over, ..Self::at(held, now_ms, seed) });
        held.lock().again = log.is_again();
        log
    }

    fn at(held: &Held, now_ms: u64, seed: u64) -> Self {
        let mut journal = held.lock();
        (journal.stopped, journal.again) = (None, false);
        drop(journal);
        Self {
            held: held.clone(),
            replay: Replay::default(),
            over: false,
            random: ChaCha12Rng::seed_from_u64(seed),
            now_ms,
            seed,
            calls: 0,
            sent: 0,
            entries: Vec::new(),
            reply: None,
        }
    }

    pub(crate) fn held(&self) -> Held {
        self.held.clone()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether the turn does what it has done before.
    pub(crate) fn is_again(&self) -> bool {
        self.over || !self.replay.is_over()
    }

    /// Nothing that the turn does from now on counts.
    fn stop(&self, failure: Failure) -> Failure {
        self.held.lock().stopped.get_or_insert(failure).clone()
    }

    pub(crate) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The name of the call that is made now, the same when it is made again.
    pub(crate) fn call_id(&self) -> String {
        format!("{:016x}.{}", self.seed, self.calls)
    }

    pub(crate) fn heard(&mut self, signal: Signal) {
        self.entries.push(Entry::Signal(signal));
    }

    /// The signals that the journal has before what it was last asked for.
    pub(crate) fn take_signals(&mut self) -> Vec<Signal> {
        self.replay.take_signals()
    }

    /// The signal that the journal has next, if it has one there.
    pub(crate) fn next_signal(&mut self) -> Option<Signal> {
        let signal = self.replay.next_signal();
        self.held.lock().again = self.is_again();
        signal
    }

    /// The code is done: the checksum of its reply, unless it did not do what it did before.
    pub(crate) fn finish(&mut self) -> Result<u32, Failure> {
        if let Some(stopped) = self.held.lock().stopped.take() {
            return Err(stopped);
        }
        let reply = self.reply.unwrap_or_default();
        self.replay.finish(reply)?;
        Ok(reply)
    }

    fn next_number(&mut self) -> u64 {
        self.sent += 1;
        Outgoing::number(self.held.lock().current_turn(), self.sent)
    }
}

impl Turn {
    /// Whether the turn does what it has done before.
    pub(crate) fn is_again(&self) -> bool {
        self.log.as_deref().is_some_and(Log::is_again)
    }

    /// What follows is not the code's doing, and not written down.
    pub(crate) fn leave_code(&mut self) {
        self.aside = self.log.take();
    }

    /// What follows is the code's doing, with this payload.
    pub(crate) fn enter_code(&mut self, payload: Option<&Payload>) {
        self.log = self.aside.take();
        if let (Some(payload), Some(log)) = (payload, self.log.as_deref_mut()) {
            for entry in &mut log.entries {
                if let Entry::Begin(begin) = entry {
                    begin.payload = payload.clone();
                }
            }
        }
    }

    /// What the code has replied, before anything else was made of it.
    pub(crate) fn code_replied(&mut self, reply: &[u8]) {
        if let Some(log) = self.log.as_deref_mut() {
            log.reply.get_or_insert_with(|| journal::checksum(&[reply]));
        }
    }

    /// Looks a call up in the journal that is seen outside of the actor, or sees what is there: what was done before it is kept by then.
    pub(crate) async fn call(&mut self, text: impl Fn() -> String, arguments: &[&[u8]]) -> Result<Known, Failure> {
        self.catch_up().await?;
        self.own_call(text, arguments)
    }

    /// The same for a call that concerns nothing but the actor until there is a commit.
    ///
    /// An error ends the turn's doings: its code and its journal do not agree.
    pub(crate) fn own_call(&mut self, text: impl Fn() -> String, arguments: &[&[u8]]) -> Result<Known, Failure> {
        if self.looking != Looking::No
            && let Some(told) = self.look(&text())?
        {
            return Ok(Known::Told(Ok(told)));
        }
        let Some(log) = self.log.as_deref_mut() else { return Ok(Known::New(None)) };
        if let Some(failure) = &log.held.lock().stopped {
            return Err(failure.clone());
        }
        if log.entries.len() >= MAX_ENTRIES {
            return Err(Failure::new(
                Code::LimitExceeded,
                format!("one turn may call the host at most {MAX_ENTRIES} times without waiting"),
            ));
        }
        let call = Call { text: text(), arguments: journal::checksum(arguments) };
        let step = log.replay.step(&call.text, call.arguments);
        let step = step.map_err(|divergence| log.stop(divergence.into()))?;
        log.held.lock().again = log.is_again();
        self.hear_again();
        let Some(step) = step else { return self.goes_on(call) };
        if let Some(log) = self.log.as_deref_mut() {
            log.calls += 1;
            log.now_ms = log.now_ms.max(step.at_ms);
        }
        Ok(Known::Told(step.result.map_err(Failure::from)))
    }

    /// The journal is used up: what follows is new.
    fn goes_on(&mut self, call: Call) -> Result<Known, Failure> {
        if let Some(log) = self.log.as_deref()
            && log.held.lock().only_again
        {
            log.held.lock().reached = true;
            return Err(log.stop(Failure::new(Code::Cancelled, "the journal ends here")));
        }
        Ok(Known::New(Some(call)))
    }

    /// What a turn that changes nothing gets instead of an effect: in `init` what the actor itself got, as far as that matters; a query is
    /// refused.
    fn look(&self, call: &str) -> Result<Option<Payload>, Failure> {
        let mut words = call.split(' ');
        let verb = words.next().unwrap_or_default();
        if matches!(verb, "ask" | "kv_get" | "kv_list" | "look") {
            return Ok(None);
        }
        if self.looking == Looking::Query {
            return Err(Failure::new(Code::Conflict, format!("a query may not change anything: {call}")));
        }
        Ok(Some(match verb {
            "monitor" | "start_timer" | "start_reminder" => json(&"looking"),
            "spawn" => json(&format!("{}/{}/{}", self.id.namespace, words.next().unwrap_or_default(), words.next().unwrap_or_default())),
            "stop" | "cancel_timer" | "cancel_reminder" | "kv_delete" | "kv_compare_and_set" => json(&false),
            _ => nothing(),
        }))
    }

    /// Writes a call's result down.
    pub(crate) fn told(&mut self, call: Option<Call>, result: Result<Payload, &Failure>) {
        let (Some(call), Some(log)) = (call, self.log.as_deref_mut()) else { return };
        log.calls += 1;
        let result = result.map_err(Refusal::from);
        log.entries.push(Entry::Step(Step { call: call.text, arguments: call.arguments, at_ms: log.now_ms, result }));
    }

    /// What a call that neither waits nor reads gives.
    pub(crate) fn told_nothing<T>(&mut self, call: Option<Call>, result: Result<T, Failure>) -> Result<T, Failure> {
        self.told(call, result.as_ref().map(|_| nothing()));
        result
    }

    /// Moves the turn's clock to the present.
    pub(crate) fn tick(&mut self) {
        let now = self.clock.now_ms();
        if let Some(log) = self.log.as_deref_mut() {
            log.now_ms = log.now_ms.max(now);
        }
    }

    /// What a durable actor's clock and random numbers come from: the time, and a seed of this turn. `None` where they need not be repeatable.
    #[must_use]
    pub fn determinism(&self) -> Option<(u64, u64)> {
        self.log.as_deref().map(|log| (log.now_ms, log.seed))
    }

    /// A random number; in a durable actor the same when the turn is run again.
    pub fn random(&mut self) -> u64 {
        self.log.as_deref_mut().map_or_else(rand::random, |log| log.random.next_u64())
    }

    /// A message that leaves with the commit.
    pub(crate) fn put_out(&mut self, target: &plexspaces_types::ActorId, operation: &str, payload: Payload) {
        let number = self.log.as_deref_mut().map_or(0, Log::next_number);
        self.outgoing.push(Outgoing { number, target: target.to_string(), operation: operation.to_owned(), payload });
    }

    /// A message that the turn has sent before: its number is taken.
    pub(crate) fn sent_before(&mut self, told: Result<Payload, Failure>) -> Result<(), Failure> {
        if let (Ok(_), Some(log)) = (&told, self.log.as_deref_mut()) {
            log.sent += 1;
        }
        told.map(drop)
    }

    /// Nothing that the turn does from now on counts.
    pub(super) fn stop_at(&self, failure: Failure) -> Failure {
        self.log.as_deref().map_or_else(|| failure.clone(), |log| log.stop(failure.clone()))
    }

    /// Commits what the turn has done so far, and lets it take effect.
    pub(crate) async fn suspend(&mut self) -> Result<(), Failure> {
        self.catch_up().await?;
        let Some((runtime, cell)) = self.node() else { return Ok(()) };
        let Some(held) = self.log.as_deref().map(Log::held) else { return Ok(()) };
        let Some(done) = self.done(false) else { return Ok(()) };
        let kept = done.keep(&runtime, &cell, &held, &self.ctx).await;
        kept.map_err(|failure| self.stop_at(failure))
    }

    /// The same while the code goes on; nothing that it does then is seen outside of the actor before. What it has done by the next time, when
    /// a commit is under way, is kept after that, together with what follows by then.
    pub(crate) async fn suspend_beside(&mut self) -> Result<(), Failure> {
        let Some(held) = self.log.as_deref().map(Log::held) else { return Ok(()) };
        if held.lock().queue.as_ref().is_some_and(|queue| queue.len() >= UNCOMMITTED_BESIDE) {
            self.catch_up().await?;
        }
        let Some((runtime, cell)) = self.node() else { return Ok(()) };
        let Some(done) = self.done(true) else { return Ok(()) };
        {
            let mut journal = held.lock();
            if let Some(queue) = &mut journal.queue {
                queue.add(done);
                return Ok(());
            }
        }
        self.catch_up().await?;
        held.lock().queue = Some(Box::default());
        let commits = keep_all(done, runtime, cell, held.clone(), self.ctx.clone()).boxed().shared();
        // The first begins at once. A task sees to their end, however long the code goes on.
        if futures::poll!(commits.clone()).is_pending() {
            tokio::spawn(commits.clone());
        }
        held.lock().beside = Some(commits);
        Ok(())
    }

    /// The code is done: what was to be kept beside it, and has not been begun, goes with the turn's last commit.
    pub(crate) fn take_back(&mut self) {
        let Some(held) = self.log.as_deref().or(self.aside.as_deref()).map(Log::held) else { return };
        let Some(mut done) = held.lock().queue.as_deref_mut().map(std::mem::take) else { return };
        let parts = &mut *self.0;
        let Some(log) = parts.log.as_deref_mut().or(parts.aside.as_deref_mut()) else { return };
        let changes = Changes {
            entries: std::mem::take(&mut log.entries),
            outgoing: std::mem::take(&mut parts.outgoing),
            reminders: std::mem::take(&mut parts.reminders).into_iter().collect(),
            ..Changes::default()
        };
        done.add(Done { changes, timers: std::mem::take(&mut parts.timers) });
        log.entries = done.changes.entries;
        parts.outgoing = done.changes.outgoing;
        parts.reminders = done.changes.reminders.into_iter().collect();
        parts.timers = done.timers;
        parts.heard = parts.heard.take().or(done.changes.heard);
        parts.answered = parts.answered.take().or(done.changes.answer);
    }

    /// Waits until all is kept of which the commit has begun.
    pub(super) async fn catch_up(&self) -> Result<(), Failure> {
        match self.log.as_deref().or(self.aside.as_deref()) {
            Some(log) => caught_up(&log.held).await.map_err(|failure| log.stop(failure)),
            None => Ok(()),
        }
    }

    /// What the turn has done so far. None where there is nothing.
    fn done(&mut self, beside: bool) -> Option<Done> {
        let log = self.log.as_deref_mut().filter(|log| !log.is_again())?;
        let held = log.held.clone();
        let nothing_new = !log.has_entries() && self.published.is_none() && held.lock().has_begun();
        if nothing_new && self.outgoing.is_empty() && self.reminders.is_empty() && self.timers.is_empty() {
            return None;
        }
        let changes = Changes {
            entries: self.log.as_deref_mut().map(Log::take_entries).unwrap_or_default(),
            reminders: std::mem::take(&mut self.reminders).into_iter().collect(),
            outgoing: std::mem::take(&mut self.outgoing),
            heard: self.heard.take(),
            answer: self.answered.take(),
            published: self.published.take().map(|state| (held.lock().code, state)),
            beside,
            ..Changes::default()
        };
        Some(Done { changes, timers: std::mem::take(&mut self.timers) })
    }
}

pub(crate) fn nothing() -> Payload {
    Payload::Json(String::new())
}

/// A result as the journal keeps it.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Payload {
    Payload::Json(serde_json::to_string(value).unwrap_or_default())
}

/// A result that the journal kept.
pub(crate) fn read<T: serde::de::DeserializeOwned>(payload: &Payload) -> Result<T, Failure> {
    let unreadable = |_| Failure::new(Code::StorageFailed, "a result in the journal cannot be read");
    serde_json::from_slice(payload.as_bytes()).map_err(unreadable)
}
