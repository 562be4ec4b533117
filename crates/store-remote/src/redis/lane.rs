//! How a group is written, and how it is found out what became of one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_store::{Commit, Error, Outcome, Writer};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::{Connector, Link};
use super::fault::{Fault, Place};
use super::scripts::{self, Held, LANE_SECONDS, Script};

/// How long is waited before a connection is tried again on which the outcome of a group depends.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a group is sent again that another number stood in the way of.
const ATTEMPTS: usize = 3;

/// What the operations of a store share.
pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) timeout: Duration,
    pub(super) lanes: Vec<Lane>,
}

/// What is known of a lane's key.
#[derive(Default)]
pub(super) struct Lane {
    seat: Mutex<Seat>,
    /// Somebody was told that an outcome is unknown, and it is unknown still.
    doubted: AtomicBool,
}

/// Held by who uses the lane's connection.
#[derive(Default)]
struct Seat {
    link: Option<Link>,
    /// The last number that was given away; each is used once.
    given: u64,
    /// The number that is there, as far as it was acknowledged; none before the first.
    last: u64,
    /// The group that was sent and not answered.
    open: Option<u64>,
    /// Nothing but `last` can be there.
    sure: bool,
    /// When the key was last written.
    written: Option<Instant>,
}

impl Seat {
    fn number(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn holds(&mut self, number: u64) {
        (self.last, self.open, self.sure, self.written) = (number, None, true, Some(Instant::now()));
    }
}

#[async_trait]
impl Writer for Shared {
    async fn write(&self, lane: usize, group: &[Commit]) -> Vec<Outcome> {
        match self.attempt(lane, group).await {
            Ok(outcomes) => outcomes,
            // One that cannot be written must not fail those that can.
            Err(Ended::Refused(_)) if group.len() > 1 => {
                let mut outcomes = Vec::with_capacity(group.len());
                for commit in group {
                    let own = self.attempt(lane, std::slice::from_ref(commit)).await;
                    outcomes.push(own.map_or_else(|ended| Err(ended.into_error()), |mut own| own.pop().unwrap_or(Ok(()))));
                }
                outcomes
            }
            Err(ended) => vec![Err(ended.into_error()); group.len()],
        }
    }
}

impl Shared {
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    fn place(&self) -> &Place {
        &self.connector.place
    }

    /// Returns when nothing of the lane is in doubt, which costs nothing while all is well. To be called before its partitions are read.
    pub(super) async fn settled(&self, lane: usize, deadline: Instant) -> Result<(), Error> {
        let Some(here) = self.lanes.get(lane).filter(|lane| lane.doubted.load(Ordering::Acquire)) else { return Ok(()) };
        let mut seat = self.seat(here, deadline).await?;
        self.settle(lane, &mut seat, deadline).await?;
        here.doubted.store(false, Ordering::Release);
        Ok(())
    }

    async fn seat<'l>(&self, lane: &'l Lane, deadline: Instant) -> Result<MutexGuard<'l, Seat>, Error> {
        let late = || Error::Unavailable("it is not known yet what became of an earlier commit".to_owned());
        timeout_at(deadline, lane.seat.lock()).await.map_err(|_| late())
    }

    /// Sees to it that the lane's key holds a number that is known, and that a group without an answer was written or never will be. The
    /// answer is what it left, if it was written.
    async fn settle(&self, lane: usize, seat: &mut Seat, deadline: Instant) -> Result<Option<Held>, Error> {
        self.connector.intact()?;
        let link = match &seat.link {
            Some(link) => link.clone(),
            None => seat.link.insert(self.connector.connect(deadline).await?).clone(),
        };
        if seat.sure {
            return Ok(None);
        }
        let (open, number) = (seat.open.unwrap_or_default(), seat.number());
        let key = self.connector.keys.lane(&self.connector.owner, lane);
        let asked = link.run(Script::Settle, |command| {
            command.arg(1).arg(key).arg(open).arg(number).arg(LANE_SECONDS);
        });
        let fault = match timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => return self.found(seat, number, self.connector.held(answer)?),
            Ok(Err(error)) => self.place().fault(&error),
            Err(_) => Fault::Lost(self.place().late(self.timeout)),
        };
        match fault {
            Fault::Refused(error) => Err(error),
            Fault::Lost(what) => {
                seat.link = None;
                Err(Error::Unavailable(format!("the connection was lost: {what}")))
            }
        }
    }

    /// What was found in the key of a lane means.
    fn found(&self, seat: &mut Seat, number: u64, found: Option<Held>) -> Result<Option<Held>, Error> {
        if let Some(held) = &found
            && seat.open == Some(held.number)
        {
            seat.holds(held.number);
            return Ok(found);
        }
        // A key that was not written for long ends by itself. Any other must be at least where it was when it was last acknowledged.
        let is_fresh = seat.written.is_some_and(|written| written.elapsed() < Duration::from_secs(LANE_SECONDS / 2));
        let is_older = found.as_ref().map_or(is_fresh, |held| held.number < seat.last);
        if is_older {
            let there = found.map_or_else(|| "nothing".to_owned(), |held| format!("group {}", held.number));
            return Err(self.connector.has_lost(&format!("a lane is at {there}, after group {}", seat.last)));
        }
        seat.holds(number);
        Ok(None)
    }

    /// Commits a group and gives the outcome of each.
    async fn attempt(&self, lane: usize, group: &[Commit]) -> Result<Vec<Outcome>, Ended> {
        let Some(here) = self.lanes.get(lane) else { return Ok(Vec::new()) };
        // Waiting for a turn and for a connection are one time, the work itself is another.
        let oldest = group.iter().map(|commit| commit.since).min().unwrap_or_else(Instant::now);
        let mut deadline = oldest + self.timeout;
        let mut seat = self.seat(here, deadline).await.map_err(Ended::Whole)?;
        let (mut sent, mut attempt) = (None::<String>, 0);
        loop {
            let settled = self.settle(lane, &mut seat, deadline).await;
            match (settled, &sent) {
                // It was written after all.
                (Ok(Some(held)), Some(_)) => return Ok(outcomes(group.len(), &held)),
                (Ok(_), _) => here.doubted.store(false, Ordering::Release),
                (Err(error), None) => return Err(Ended::Whole(error)),
                (Err(Error::Unavailable(_)), Some(_)) if Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                    continue;
                }
                (Err(error), Some(what)) => {
                    here.doubted.store(true, Ordering::Release);
                    return Err(Ended::Whole(self.place().unknown(&format!("{what}; then: {error}"))));
                }
            }
            if attempt == 0 {
                deadline = self.deadline();
            } else if Instant::now() >= deadline {
                return Err(Ended::Whole(Error::Unavailable(format!("the connection was lost {attempt} times"))));
            }
            attempt += 1;
            match self.send(lane, &mut seat, group, deadline).await {
                Ok(Some(held)) => return Ok(outcomes(group.len(), &held)),
                // Settling it tells why.
                Ok(None) if attempt < ATTEMPTS => sent = None,
                Ok(None) => return Err(Ended::Whole(self.place().failed("the key of a lane is changed by somebody else"))),
                // Not for anything in it.
                Err(Fault::Refused(error @ Error::Unavailable(_))) => return Err(Ended::Whole(error)),
                Err(Fault::Refused(error)) => return Err(Ended::Refused(error)),
                Err(Fault::Lost(what)) => sent = Some(what),
            }
        }
    }

    /// Sends a group once. Nothing is the answer when another number was there than expected.
    async fn send(&self, lane: usize, seat: &mut Seat, group: &[Commit], deadline: Instant) -> Result<Option<Held>, Fault> {
        let Some(link) = seat.link.clone() else { return Err(Fault::Lost("there is no connection".to_owned())) };
        let (last, number) = (seat.last, seat.number());
        (seat.open, seat.sure) = (Some(number), false);
        let Connector { keys, owner, .. } = &self.connector;
        let batches: Vec<_> = group.iter().map(|commit| &commit.batch).collect();
        let asked = link.run(Script::Commit, |command| scripts::commit(command, keys, &keys.lane(owner, lane), last, number, &batches));
        let fault = match timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => match self.connector.held(answer) {
                Ok(Some(held)) => {
                    seat.holds(held.number);
                    return Ok(Some(held));
                }
                Ok(None) => {
                    seat.open = None;
                    return Ok(None);
                }
                Err(error) => return Err(Fault::Refused(error)),
            },
            Ok(Err(error)) => self.place().fault(&error),
            Err(_) => Fault::Lost(self.place().late(self.timeout)),
        };
        match &fault {
            // The script has ended and has written nothing.
            Fault::Refused(_) => (seat.open, seat.sure) = (None, true),
            Fault::Lost(_) => seat.link = None,
        }
        Err(fault)
    }
}

fn outcomes(batches: usize, held: &Held) -> Vec<Outcome> {
    let mut outcomes = vec![Ok(()); batches];
    for (batch, index) in &held.unmet {
        if let Some(outcome) = outcomes.get_mut(*batch) {
            *outcome = Err(Error::Precondition { index: *index });
        }
    }
    outcomes
}

/// How a group failed.
enum Ended {
    /// At something in it; nothing was kept.
    Refused(Error),
    /// For all that was in it, whether it was kept or not.
    Whole(Error),
}

impl Ended {
    fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Whole(error) => error,
        }
    }
}
