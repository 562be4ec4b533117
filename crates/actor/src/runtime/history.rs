//! An actor's history: what is kept of its turns, its state after any of them, and a new actor that begins from one.

use bytes::Bytes;
use plexspaces_durable::journal::{self, Begin, End, Entry, Outcome, Recorded};
use plexspaces_durable::{Activation, Changes, Due, Keeping, Outcome as Commit, PUBLISHED, Past, Published};
use plexspaces_store::{Batch, Partition, Range};

use super::reminders::announcements;
use super::workflows::{is_run, listing};
use super::*;
use crate::actor::WAKE;
use crate::children::{DEADLINE, told};
use crate::code;
use crate::turn::Looking;
use crate::turn::log::{Journal, Log};
use crate::{Factory, Fault, Instance, Spec, Turn};

/// Records of the journal that are read at once.
const RECORDS_AT_ONCE: usize = 256;

/// Where in an actor's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After this turn.
    Turn(u64),
    /// At this time, in milliseconds since the Unix epoch.
    Time(u64),
    /// After the last turn.
    Last,
}

/// What is needed to run an actor's history again without its node.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Exported {
    /// The layout of this document.
    pub format: u32,
    /// The actor's tenant.
    pub tenant: Name,
    /// The actor's printed identity.
    pub actor: String,
    /// The name of its type inside the component.
    pub guest_type: String,
    /// What its `init` is told.
    pub config: String,
    /// The turns, in order.
    pub turns: Vec<Recorded>,
}

impl Exported {
    /// The layout that this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// The actor as code makes it that runs its history again; fails for a document that this version does not read.
    pub fn spec(&self) -> Result<Spec, Failure> {
        if self.format != Self::FORMAT {
            let message = format!("expected a document of format {}, found format {}", Self::FORMAT, self.format);
            return Err(Failure::invalid("format", message));
        }
        let broken = || Failure::invalid("actor", format!("{:?} is no actor", self.actor));
        let id = ActorId::parse(&self.tenant, &self.actor).ok_or_else(broken)?;
        Ok(Spec { id, guest_type: self.guest_type.clone(), config: self.config.clone(), limits: crate::Limits::default() })
    }
}

/// What came of running a history again.
#[derive(Clone, Debug, PartialEq)]
pub struct Rerun {
    /// How many turns were run again.
    pub turns: usize,
    /// The state after them; that of a turn that is under way does not count.
    pub state: Payload,
}

impl Runtime {
    /// The turns of an actor after the turn `after`, oldest first, at most `limit`; and whether there are more.
    pub async fn history(
        &self,
        ctx: &RequestContext,
        target: Target<'_>,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Recorded>, bool), Failure> {
        let id = self.with_history(ctx, target)?;
        let mut turns = self.recorded(&id, after + 1, None, Some(limit + 1)).await?;
        let more = turns.len() > limit;
        turns.truncate(limit);
        Ok((turns, more))
    }

    /// The state of an actor at a moment, and the number of the turn that left it.
    pub async fn state_at(&self, ctx: &RequestContext, target: Target<'_>, moment: Moment) -> Result<(u64, Payload), Failure> {
        let id = self.with_history(ctx, target)?;
        self.state_of(&id, moment).await.map(|(number, state, _)| (number, state))
    }

    /// The same with the version of the code whose state it is.
    async fn state_of(&self, id: &ActorId, moment: Moment) -> Result<(u64, Payload, u64), Failure> {
        let mut turns = self.recorded(id, 0, None, None).await?;
        cut(&mut turns, moment, id)?;
        let number = turns.iter().rev().find(|turn| turn.end().is_some()).map_or(0, |turn| turn.turn);
        let (kind, spec) = self.spec(id)?;
        reaches_back(&turns, id)?;
        let past = Past::of(turns);
        let code::Version { factory, guest_type, .. } = kind.version(Some(&past));
        // A turn that is under way has left no state yet.
        let past = Past { pending: None, ..past };
        let rerun = rerun_past(&*factory, &Spec { guest_type, ..spec }, past).await?;
        Ok((number, rerun.state, factory.code()))
    }

    /// All that is needed to run an actor's history again elsewhere.
    pub async fn export(&self, ctx: &RequestContext, target: Target<'_>) -> Result<Exported, Failure> {
        let id = self.with_history(ctx, target)?;
        let turns = self.recorded(&id, 0, None, None).await?;
        let (_, spec) = self.spec(&id)?;
        Ok(Exported {
            format: Exported::FORMAT,
            tenant: id.tenant.clone(),
            actor: id.to_string(),
            guest_type: spec.guest_type,
            config: spec.config,
            turns,
        })
    }

    /// Makes a new actor of the same type that begins with the state of another at a moment. With `entry` it is in the middle of the turn
    /// after that moment, having done as much of it as the first so many entries say; `payload` replaces what that turn was given.
    pub async fn fork(
        &self,
        ctx: &RequestContext,
        target: Target<'_>,
        moment: Moment,
        entry: Option<usize>,
        payload: Option<Payload>,
        name: &str,
    ) -> Result<ActorId, Failure> {
        let id = self.with_history(ctx, target)?;
        let key = Key::new(name).map_err(|error| Failure::invalid("name", error.to_string()))?;
        let fork = ActorId::new(id.tenant.clone(), id.namespace.clone(), id.actor_type.clone(), key);
        let (turn, state, code) = self.state_of(&id, moment).await?;
        let now = self.0.config.clock.now_ms();
        let begin = Begin {
            code,
            at_ms: now,
            seed: journal::NO_CODE,
            operation: format!("fork of {} after turn {turn}", id.key),
            kind: MessageKind::Cast,
            payload: Payload::empty(),
            sender: None,
            idempotency_key: None,
            reminder: None,
        };
        let mut batches =
            vec![vec![Entry::Begin(begin), Entry::End(End { at_ms: now, outcome: Outcome::Done { reply: 0 }, state: Some(state), code })]];
        if let Some(entry) = entry {
            let mut next = self.recorded(&id, turn + 1, Some(turn + 2), Some(1)).await?;
            let next = next.pop().ok_or_else(|| Failure::not_found(format!("{id} has no turn {} to fork in", turn + 1)))?;
            batches.push(part_of(next, entry, payload)?);
        } else if payload.is_some() {
            return Err(Failure::invalid("payload", "a payload needs the entry of the turn that it is for"));
        }
        let partition = Partition::actor(&fork);
        let store = &self.0.config.store;
        let head = store.scan(&partition, Activation::recovery_range(), Activation::RECOVERY).await?;
        if !head.entries.is_empty() || self.known(&fork).is_some() {
            return Err(Failure::new(Code::Conflict, format!("the actor {fork} exists already")).with_field("name"));
        }
        let mut activation = Activation::recover(partition, Keeping::default(), &[]).map_err(|error| unreadable(&fork, &error))?;
        let wake = Due { at_ms: now, actor: fork.clone(), name: WAKE.to_owned() };
        let mut goes_on = false;
        for entries in batches {
            // As of any turn, the indexes know of it before it is under way.
            let mut first: Vec<Batch> = Vec::new();
            if !matches!(entries.last(), Some(Entry::End(_))) {
                goes_on = true;
                first.extend(announcements(std::slice::from_ref(&wake)));
                let begins_run = entries.iter().any(|entry| matches!(entry, Entry::Begin(begin) if is_run(begin)));
                first.extend((begins_run && self.is_workflow(&fork)).then(|| listing(&fork)));
            }
            if let Commit::Commit(batch) = activation.commit(Changes { entries, ..Changes::default() }, now) {
                store.commit_after(first, batch).await?;
                activation.committed();
            }
        }
        if goes_on {
            self.arm(vec![wake]);
        }
        Ok(fork)
    }

    /// The turns from `first` on, up to before `end`.
    pub(super) async fn recorded(
        &self,
        id: &ActorId,
        first: u64,
        end: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Vec<Recorded>, Failure> {
        let store = &self.0.config.store;
        let partition = Partition::actor(id);
        let mut turns: Vec<Recorded> = Vec::new();
        let mut range = Some(journal::range(first, end));
        while let Some(wanted) = range.take() {
            let page = store.scan(&partition, wanted.clone(), RECORDS_AT_ONCE).await?;
            let full = limit.is_some_and(|limit| turns.len() > limit);
            range = page.entries.last().filter(|_| page.more && !full).map(|(last, _)| wanted.after(last));
            Recorded::collect(&mut turns, &page.entries).map_err(|error| unreadable(id, &error))?;
        }
        Ok(turns)
    }

    /// What brings a durable actor back.
    pub(crate) async fn recall(&self, id: &ActorId, keeping: Keeping) -> Result<(Activation, Past), Failure> {
        let store = &self.0.config.store;
        let partition = Partition::actor(id);
        let mut before = None;
        loop {
            let head = store.scan(&partition, Activation::recovery_range(), Activation::RECOVERY).await?.entries;
            let recalled = match Activation::recover(partition.clone(), keeping, &head) {
                Ok(mut activation) => {
                    let records = self.records(&partition, activation.journal_range()).await?;
                    activation.recall(&records).map(|past| (activation, past))
                }
                Err(error) => Err(error),
            };
            match recalled {
                Ok(recalled) => return Ok(recalled),
                // While it was read, another activation may have committed. Then what does not fit together was never stored together.
                Err(_) if before.as_ref() != Some(&head) => before = Some(head),
                Err(error) => return Err(unreadable(id, &error)),
            }
        }
    }

    async fn records(&self, partition: &Partition, range: Range) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        let (mut records, mut range) = (Vec::new(), Some(range));
        while let Some(wanted) = range.take() {
            let page = self.0.config.store.scan(partition, wanted.clone(), RECORDS_AT_ONCE).await?;
            range = page.entries.last().filter(|_| page.more).map(|(last, _)| wanted.after(last));
            records.extend(page.entries);
        }
        Ok(records)
    }

    /// What brings a durable actor back, and what the turn that is under way shows of itself.
    pub(super) async fn past(&self, id: &ActorId) -> Result<(Past, Option<Published>), Failure> {
        let (_, past) = self.recall(id, Keeping::default()).await?;
        let Some(pending) = &past.pending else { return Ok((past, None)) };
        let published = self.0.config.store.get(&Partition::actor(id), PUBLISHED).await?;
        let published = published.map(|value| Published::decode(&value)).transpose().map_err(|error| unreadable(id, &error))?;
        let published = published.filter(|published| published.turn == pending.turn);
        Ok((past, published))
    }

    pub(super) fn spec(&self, id: &ActorId) -> Result<(Arc<Kind>, Spec), Failure> {
        let kind = self.0.registry.kind(id).ok_or_else(|| gone(id))?;
        let profile = kind.profile(&id.key).clone();
        let config = actor::guest_config(self, id, &kind, &profile);
        let (guest_type, limits) = (kind.guest_type.clone(), profile.limits);
        Ok((kind, Spec { id: id.clone(), guest_type, config, limits }))
    }

    /// An actor that has a history.
    fn with_history(&self, ctx: &RequestContext, target: Target<'_>) -> Result<ActorId, Failure> {
        let id = self.admit(ctx, target)?;
        let kind = self.0.registry.kind(&id).ok_or_else(|| gone(&id))?;
        if kind.profile(&id.key).durable {
            return Ok(id);
        }
        Err(Failure::new(Code::Conflict, format!("{id} has no history: it is not durable")))
    }
}

/// Leaves only what was before a moment.
fn cut(turns: &mut Vec<Recorded>, moment: Moment, id: &ActorId) -> Result<(), Failure> {
    let (first, last) = (turns.first().map_or(0, |turn| turn.turn), turns.last().map_or(0, |turn| turn.turn));
    match moment {
        Moment::Last => {}
        Moment::Turn(number) if number > last || (number < first && number > 0) => {
            let message = format!("the history of {id} has the turns {first} to {last}, not {number}");
            return Err(Failure::not_found(message).with_field("turn"));
        }
        Moment::Turn(number) => turns.retain(|turn| turn.turn <= number),
        Moment::Time(at_ms) => {
            turns.retain(|turn| turn.end().is_some_and(|end| end.at_ms <= at_ms));
            // Without any turn it would be the state before the first, which has gone with the turns that were removed.
            if turns.is_empty() && first > 1 {
                return Err(Failure::not_found(format!("the history of {id} begins later, with turn {first}")).with_field("time"));
            }
        }
    }
    Ok(())
}

/// Refuses a history whose beginning was removed and that holds no state to begin with.
fn reaches_back(turns: &[Recorded], id: &ActorId) -> Result<(), Failure> {
    let whole = turns.first().is_none_or(|first| first.turn == 1);
    let holds = turns.iter().any(|turn| turn.base().is_some() || turn.end().is_some_and(|end| end.state.is_some()));
    if whole || holds {
        return Ok(());
    }
    Err(Failure::not_found(format!("the history of {id} does not reach back to a state before that")))
}

/// The first entries of a turn, to go on from there.
fn part_of(turn: Recorded, entry: usize, payload: Option<Payload>) -> Result<Vec<Entry>, Failure> {
    let count = turn.entries.len();
    let mut entries: Vec<Entry> = turn.entries.into_iter().filter(|entry| !matches!(entry, Entry::Base(_))).take(entry + 1).collect();
    if entry >= count || matches!(entries.last(), Some(Entry::End(_))) {
        return Err(Failure::invalid("entry", format!("turn {} has the entries 0 to {}, and the last is its end", turn.turn, count - 1)));
    }
    if let (Some(Entry::Begin(begin)), Some(payload)) = (entries.first_mut(), payload) {
        begin.payload = payload;
    }
    if let Some(Entry::Begin(begin)) = entries.first_mut() {
        // The answer belongs to the first run, and so does its deadline.
        begin.idempotency_key = None;
    }
    entries.retain(|entry| !matches!(entry, Entry::Signal(signal) if signal.operation == DEADLINE));
    Ok(entries)
}

/// Runs a history again with some code, from the last state that it holds or, with `whole`, from the first; compares every effect, changes
/// nothing. A turn that is under way is run as far as its journal goes.
pub async fn rerun(factory: &dyn Factory, spec: &Spec, turns: Vec<Recorded>, whole: bool) -> Result<Rerun, Failure> {
    rerun_past(factory, spec, if whole { from_the_first_state(turns) } else { Past::of(turns) }).await
}

pub(super) async fn rerun_past(factory: &dyn Factory, spec: &Spec, past: Past) -> Result<Rerun, Failure> {
    let (mut instance, _) =
        factory.create(spec, Turn::detached(spec.id.clone()).only_looking(Looking::Init)).await.map_err(Fault::into_failure)?;
    if let Some(state) = &past.state {
        code::restore(factory, spec, &mut *instance, state, past.state_code).await.map_err(Fault::into_failure)?;
    }
    let count = past.turns.len() + usize::from(past.pending.is_some());
    for recorded in past.turns {
        rerun_turn(&mut *instance, spec, recorded).await?;
    }
    // The half-way state of a turn that is under way is nobody's to see.
    let state = instance.snapshot().await.map_err(Fault::into_failure)?;
    if let Some(pending) = past.pending {
        rerun_turn(&mut *instance, spec, pending).await?;
    }
    Ok(Rerun { turns: count, state })
}

fn from_the_first_state(turns: Vec<Recorded>) -> Past {
    let mut past = Past::default();
    let mut found = turns.first().is_none_or(|first| first.turn == 1 && first.base().is_none());
    for recorded in turns {
        if let Some(base) = recorded.base().filter(|_| !found) {
            (past.state, found) = (Some(base.clone()), true);
            past.state_code = recorded.begin().map_or(0, |begin| begin.code);
        }
        match recorded.end() {
            None => past.pending = Some(recorded),
            Some(end) if !found => {
                if let Some(state) = &end.state {
                    (past.state, found) = (Some(state.clone()), true);
                    past.state_code = end.code;
                }
            }
            Some(end) if matches!(end.outcome, Outcome::Done { .. }) => past.turns.push(recorded),
            Some(_) => {}
        }
    }
    past
}

async fn rerun_turn(instance: &mut dyn Instance, spec: &Spec, recorded: Recorded) -> Result<(), Failure> {
    let Some(begin) = recorded.begin() else { return Ok(()) };
    if begin.seed == journal::NO_CODE {
        return Ok(());
    }
    let message = begin.message(&spec.id);
    let held = scratch(&spec.id)?;
    let turn = Turn::detached(spec.id.clone()).journaled(Log::again(&held, recorded));
    let handled = instance.handle(&told(&message), turn, false).await;
    if held.lock().has_reached() {
        return Ok(());
    }
    let (reply, mut turn) = handled.map_err(|fault| {
        let failure = fault.into_failure();
        held.lock().doubt(&failure).unwrap_or(failure)
    })?;
    turn.code_replied(&reply.payload);
    let finished = turn.into_effects().log.map(|mut log| log.finish().map(drop));
    finished.unwrap_or(Ok(()))
}

fn scratch(id: &ActorId) -> Result<crate::turn::log::Held, Failure> {
    let activation = Activation::recover(Partition::actor(id), Keeping::default(), &[]).map_err(|error| unreadable(id, &error))?;
    Ok(Journal::only_again(activation))
}

pub(crate) fn unreadable(id: &ActorId, error: &plexspaces_durable::Error) -> Failure {
    tracing::error!(actor_id = %id, %error, "a stored record is unreadable");
    Failure::new(Code::StorageFailed, format!("what is stored of {id} cannot be read; the node's log has the details"))
}
