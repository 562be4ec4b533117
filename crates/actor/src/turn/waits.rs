//! Where a turn waits: asks, sleep, and what a workflow hears meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use plexspaces_durable::journal::Signal;
use plexspaces_durable::{beside, fingerprint};
use plexspaces_types::{Clock, Code, Failure, Payload};

use super::Turn;
use super::log::{self, Known};
use crate::Runtime;
use crate::actor::given;
use crate::cell::Envelope;
use crate::children::{DEADLINE, ENDED, TIMED_OUT, of_another, started};
use crate::inbox::{Order, Verdict};
use crate::runtime::Waiting;

/// A workflow that waits longer than this leaves memory, and comes back when it goes on.
const STAYS: Duration = Duration::from_secs(30);

/// One that is going to wait longer than this leaves sooner: after a moment, in which it may be told something.
const LONG_MS: u64 = 60_000;
const MOMENT: Duration = Duration::from_secs(2);

/// The longest sleep: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Signals that a run has not taken yet.
const MAX_SIGNALS: usize = 10_000;

/// How a run is to go on.
#[derive(Default)]
pub(crate) struct Course {
    /// Heard and not yet taken by the code.
    signals: Vec<Signal>,
    paused: bool,
    /// The next wait ends with this news: the run was cancelled, or is timed out.
    news: Option<Code>,
    /// When it is timed out, in milliseconds since the Unix epoch.
    pub(super) deadline_ms: Option<u64>,
    /// Until when somebody waits for the reply.
    pub(crate) awaited_until: Option<Instant>,
    /// The name of the request that began the run, and what tells it from others.
    pub(crate) began: Option<(String, [u8; 32])>,
}

/// What ended a wait.
enum Ended<T> {
    Done(T),
    Signalled,
    /// The run is to end.
    Told(Code),
}

/// What a wait is like.
#[derive(Clone, Copy)]
enum Wait {
    /// Nothing but its end ends it.
    Busy,
    /// A signal ends it too, and it can be taken up again in another place.
    Until(u64),
}

impl Turn {
    /// Waits until a time has passed. True when that is so, false when a signal has come before; the code takes it with
    /// [`Turn::take_signals`] and may sleep on. A durable actor sleeps on through failures and restarts of the node.
    pub async fn sleep_until(&mut self, until_ms: u64) -> Result<bool, Failure> {
        let call = match self.own_call(|| format!("sleep until {until_ms}"), &[])? {
            Known::Told(told) => return self.told_again(told).await.and_then(|told| log::read(&told)),
            Known::New(call) => call,
        };
        let wait = Duration::from_millis(until_ms.saturating_sub(self.clock.now_ms()));
        if wait > LONGEST {
            return self.told_nothing(call, Err(Failure::invalid("until", "a sleep of more than ten years")));
        }
        // What is over at once is written down together with what was done before it.
        let is_over = wait.is_zero();
        if !is_over {
            self.suspend().await?;
        }
        // A timer would take until the next millisecond all the same.
        let over = async {
            if !is_over {
                tokio::time::sleep(wait).await;
            }
        };
        let ended = if self.course.signals.is_empty() { self.attend(over, Wait::Until(until_ms)).await? } else { Ended::Signalled };
        let result = match ended {
            Ended::Done(()) => Ok(log::json(&true)),
            Ended::Signalled => Ok(log::json(&false)),
            Ended::Told(news) => Err(told(news)),
        };
        self.conclude(call, result, is_over).await.and_then(|told| log::read(&told))
    }

    /// The signals that came since they were last taken, as operation and payload, in their order.
    pub fn take_signals(&mut self) -> Vec<(String, Payload)> {
        self.course.signals.drain(..).map(|signal| (signal.operation, signal.payload)).collect()
    }

    /// Whether signals reach it: it is a workflow's.
    #[must_use]
    pub fn hears_signals(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.inbox.is_some())
    }

    /// What queries are to see of this actor from its next wait on.
    pub fn publish(&mut self, state: Payload) -> Result<(), Failure> {
        self.check_size("state", state.len())?;
        if !self.is_again() {
            self.published = Some(state);
        }
        Ok(())
    }

    /// Waits for something that must not be done twice.
    pub(super) async fn wait(
        &mut self,
        call: Option<log::Call>,
        work: impl Future<Output = Result<Payload, Failure>>,
    ) -> Result<Payload, Failure> {
        self.suspend().await?;
        let result = match self.attend(work, Wait::Busy).await? {
            Ended::Done(result) => result.map_err(|failure| Failure { code: of_another(failure.code), ..failure }),
            Ended::Signalled => Err(told(Code::Cancelled)),
            Ended::Told(news) => Err(told(news)),
        };
        self.conclude(call, result, false).await
    }

    /// A wait's result from the journal.
    pub(super) async fn told_again(&mut self, told: Result<Payload, Failure>) -> Result<Payload, Failure> {
        if told.as_ref().is_err_and(|failure| failure.code.ends_run()) {
            self.course.news = None;
        }
        // A run that was paused when it got this result heard what follows before it went on.
        while self.course.paused {
            let Some(signal) = self.log.as_deref_mut().and_then(log::Log::next_signal) else { break };
            self.follow(signal);
        }
        self.stand_still().await?;
        told
    }

    /// Writes a wait's result down before the code sees it. Where it was over at once, the code learns nothing that could be lost.
    async fn conclude(&mut self, call: Option<log::Call>, result: Result<Payload, Failure>, was_over: bool) -> Result<Payload, Failure> {
        self.tick();
        self.told(call, result.as_ref().cloned());
        match was_over {
            true => self.suspend_beside().await?,
            false => self.suspend().await?,
        }
        self.go_over().await?;
        self.stand_still().await?;
        result
    }

    /// Goes on with the present version of its code, where another has come for the run: it is cut off here, where all that it has done is kept,
    /// and is run again with that. One whose reply somebody waits for stays as long: the reply would be lost.
    async fn go_over(&mut self) -> Result<(), Failure> {
        let Some((runtime, cell)) = self.node().filter(|(_, cell)| cell.replaced.load(Ordering::Relaxed)) else { return Ok(()) };
        let (Some(inbox), Some(held)) = (&cell.inbox, self.log.as_deref().filter(|log| !log.is_again()).map(log::Log::held)) else {
            return Ok(());
        };
        let code = held.lock().code();
        if self.is_awaited() || !runtime.is_outdated(&cell.id, code) {
            return Ok(());
        }
        self.suspend().await?;
        let now_ms = self.clock.now_ms();
        runtime.wake_at(&cell, now_ms).await.map_err(|failure| self.stop_at(failure))?;
        inbox.decide(Verdict::Parked);
        std::future::pending().await
    }

    fn is_awaited(&self) -> bool {
        self.course.awaited_until.is_some_and(|until| crate::now() < until)
    }

    /// Lets the code go on unless its run is paused. One that stands still ends with the node as one that waits does.
    async fn stand_still(&mut self) -> Result<(), Failure> {
        let Some((runtime, cell)) = self.node() else { return Ok(()) };
        let Some(inbox) = cell.inbox.as_ref().filter(|_| self.course.paused && !self.is_again()) else { return Ok(()) };
        // It may leave memory.
        self.suspend().await?;
        let waiting = self.log.is_some().then(|| runtime.waiting());
        let mut stopped = std::pin::pin!(stopped(waiting.as_ref()));
        let clock = self.clock.clone();
        let mut overdue = std::pin::pin!(overdue(self.course.deadline_ms, &clock));
        while self.course.paused && !self.is_again() {
            tokio::select! {
                biased;
                () = &mut stopped => return std::future::pending().await,
                () = &mut overdue, if self.course.deadline_ms.is_some() => self.time_out(),
                envelope = inbox.next() => drop(self.hear(*envelope).await?),
                () = tokio::time::sleep(STAYS) => self.park(self.course.deadline_ms).await?,
            }
        }
        Ok(())
    }

    /// Waits for `work`, and hears what comes for a workflow meanwhile. A journaled turn that waits can be cut off: it keeps no node from
    /// ending, and hears nothing of what ends with the node.
    async fn attend<T>(&mut self, work: impl Future<Output = T>, wait: Wait) -> Result<Ended<T>, Failure> {
        let Some((runtime, cell)) = self.node() else { return Ok(Ended::Done(work.await)) };
        let waiting = self.log.is_some().then(|| runtime.waiting());
        let mut work = std::pin::pin!(work);
        let mut stopped = std::pin::pin!(stopped(waiting.as_ref()));
        let Some(inbox) = &cell.inbox else {
            tokio::select! {
                biased;
                () = &mut stopped => return std::future::pending().await,
                done = &mut work => return Ok(Ended::Done(done)),
            }
        };
        let clock = self.clock.clone();
        let mut overdue = std::pin::pin!(overdue(self.course.deadline_ms, &clock));
        loop {
            if let Some(news) = self.course.news.take() {
                return Ok(Ended::Told(news));
            }
            tokio::select! {
                biased;
                () = &mut stopped => return std::future::pending().await,
                () = &mut overdue, if self.course.deadline_ms.is_some() => self.time_out(),
                envelope = inbox.next() => {
                    let order = self.hear(*envelope).await?;
                    if order == Order::Signal && matches!(wait, Wait::Until(_)) {
                        return Ok(Ended::Signalled);
                    }
                }
                done = &mut work => return Ok(Ended::Done(done)),
                until = leave(wait.by(self.course.deadline_ms), &clock) => self.park(Some(until)).await?,
            }
        }
    }

    /// Leaves memory until a time, or until somebody has something for the run. A durable actor is run again then.
    async fn park(&mut self, until_ms: Option<u64>) -> Result<(), Failure> {
        let Some((runtime, cell)) = self.node() else { return Ok(()) };
        let Some(inbox) = &cell.inbox else { return Ok(()) };
        // A timer would be gone with the actor.
        if self.log.is_none() || self.is_awaited() || runtime.timers().has_any(&cell) || cell.mailbox.len() > 0 || !inbox.is_empty() {
            return Ok(());
        }
        // First the entry that brings it back, then the other goes.
        match until_ms {
            Some(until_ms) => runtime.wake_at(&cell, until_ms).await,
            None => runtime.announce_reminders(&[runtime.stands(&self.id)]).await,
        }
        .map_err(|failure| self.stop_at(failure))?;
        if let Some(held) = self.log.as_deref().map(log::Log::held) {
            runtime.leave_alone(&cell, &held).await.map_err(|failure| self.stop_at(failure))?;
        }
        inbox.decide(Verdict::Parked);
        std::future::pending().await
    }

    /// Takes a message that came while the turn waits.
    async fn hear(&mut self, envelope: Envelope) -> Result<Order, Failure> {
        let Some((runtime, cell)) = self.node() else { return Ok(Order::Query) };
        let order = Order::of(&envelope.message.operation).unwrap_or(Order::Signal);
        if order == Order::Query {
            runtime.answer_query(&cell, envelope);
            return Ok(order);
        }
        // That a run which this one has started is over is nobody's wish.
        let is_news = envelope.message.operation == ENDED;
        if let Err(failure) = if is_news { Ok(()) } else { runtime.admits(&cell.id, &envelope).await } {
            envelope.answer(Err(failure));
            return Ok(Order::Query);
        }
        if order == Order::Start {
            let asked = envelope.message.idempotency_key.as_ref();
            let print = fingerprint(&envelope.message.operation, &envelope.message.payload);
            let same = self.course.began.as_ref().is_some_and(|(key, began)| Some(key) == asked && *began == print);
            let other = || Failure::new(Code::Conflict, format!("a run of {} is under way that was started otherwise", self.id));
            envelope.answer(if same { Ok(started(&self.id)) } else { Err(other()) });
            return Ok(Order::Query);
        }
        let heard = envelope.receipt.as_ref().filter(|_| self.log.is_some()).map(|receipt| (receipt.sender.id.to_string(), receipt.number));
        let heard = heard.map(|(sender, number)| (beside(&sender), number));
        let message = &envelope.message;
        let keyed = message.idempotency_key.as_ref().filter(|_| self.log.is_some());
        let keyed = keyed.map(|key| (key.clone(), fingerprint(&message.operation, &message.payload)));
        match self.answer_before(&runtime, heard.as_ref(), keyed.as_ref()).await {
            Ok(None) => {}
            Ok(Some(answer)) => {
                envelope.answer(answer);
                return Ok(Order::Query);
            }
            Err(failure) => {
                runtime.unheard(&cell, envelope, &failure).await;
                return Err(self.stop_at(failure));
            }
        }
        if order == Order::Signal && self.course.signals.len() >= MAX_SIGNALS {
            let failure = Failure::new(Code::Overloaded, format!("{MAX_SIGNALS} signals wait for the run of {}", self.id));
            envelope.answer(Err(failure));
            return Ok(Order::Query);
        }
        let operation = envelope.message.operation.clone();
        self.heard = heard;
        self.answered = keyed.map(|(key, fingerprint)| (key, fingerprint, Payload::empty()));
        self.note(operation, envelope.message.payload.clone());
        // Who sent it learns that it will be heard, whatever happens to this node.
        if let Err(failure) = self.suspend().await {
            runtime.unheard(&cell, envelope, &failure).await;
            return Err(failure);
        }
        envelope.answer(Ok(Payload::empty()));
        if order == Order::Terminate {
            if let Some(inbox) = &cell.inbox {
                inbox.decide(Verdict::Terminated);
            }
            std::future::pending::<()>().await;
        }
        Ok(order)
    }

    /// The answer to a message that has been heard before.
    async fn answer_before(
        &self,
        runtime: &Runtime,
        heard: Option<&(String, u64)>,
        keyed: Option<&(String, [u8; 32])>,
    ) -> Result<Option<Result<Payload, Failure>>, Failure> {
        if let Some((sender, number)) = heard
            && runtime.has_heard(&self.id, sender, *number).await?
        {
            return Ok(Some(Ok(Payload::empty())));
        }
        let Some((key, fingerprint)) = keyed else { return Ok(None) };
        let stored = runtime.stored_answer(&self.id, key).await?;
        Ok(stored.map(|stored| given(stored, key, fingerprint)))
    }

    /// Hears again what the journal says was heard.
    pub(super) fn hear_again(&mut self) {
        let signals = self.log.as_deref_mut().map(log::Log::take_signals).unwrap_or_default();
        for signal in signals {
            self.follow(signal);
        }
    }

    /// A run that is to be done by this time.
    pub(crate) fn due_by(mut self, deadline_ms: u64) -> Self {
        self.note(DEADLINE.to_owned(), log::json(&deadline_ms));
        self
    }

    /// The run is told that its time is over, as it is told that it was cancelled.
    fn time_out(&mut self) {
        self.note(TIMED_OUT.to_owned(), Payload::empty());
    }

    /// Writes down what concerns the run, and follows it.
    fn note(&mut self, operation: String, payload: Payload) {
        let signal = Signal { at_ms: self.clock.now_ms(), operation, payload };
        if let Some(log) = self.log.as_deref_mut() {
            log.heard(signal.clone());
        }
        self.follow(signal);
    }

    fn follow(&mut self, signal: Signal) {
        match (signal.operation.as_str(), Order::of(&signal.operation)) {
            (DEADLINE, _) => self.course.deadline_ms = log::read(&signal.payload).ok(),
            (TIMED_OUT, _) => self.course.end(Code::TimedOut),
            (_, Some(Order::Pause)) => self.course.paused = true,
            (_, Some(Order::Resume)) => self.course.paused = false,
            (_, Some(Order::Cancel)) => self.course.end(Code::Cancelled),
            _ => self.course.signals.push(signal),
        }
    }
}

impl Course {
    /// The run is to end. What it does to clean up has no deadline.
    fn end(&mut self, news: Code) {
        self.news = Some(news);
        self.paused = false;
        self.deadline_ms = None;
    }
}

impl Wait {
    /// It is over at this time at the latest.
    fn by(self, deadline_ms: Option<u64>) -> Self {
        match (self, deadline_ms) {
            (Self::Until(until_ms), Some(deadline_ms)) => Self::Until(until_ms.min(deadline_ms)),
            (wait, _) => wait,
        }
    }
}

/// Ready when the node ends under a turn that can be cut off.
async fn stopped(waiting: Option<&Waiting>) {
    match waiting {
        Some(waiting) => waiting.stopped().await,
        None => std::future::pending().await,
    }
}

/// Ready when the run is to be timed out.
async fn overdue(deadline_ms: Option<u64>, clock: &Clock) {
    let Some(deadline_ms) = deadline_ms else { return std::future::pending().await };
    let left = deadline_ms.saturating_sub(clock.now_ms());
    if left > 0 {
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
}

/// When a wait is long enough to leave memory, and until when.
async fn leave(wait: Wait, clock: &Clock) -> u64 {
    let Wait::Until(until_ms) = wait else { return std::future::pending().await };
    let is_long = until_ms.saturating_sub(clock.now_ms()) > LONG_MS;
    tokio::time::sleep(if is_long { MOMENT } else { STAYS }).await;
    until_ms
}

fn told(news: Code) -> Failure {
    let message = if news == Code::TimedOut { "the run was not done by its deadline" } else { "the run was cancelled" };
    Failure::new(news, message)
}
