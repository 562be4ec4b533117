//! Replay: a turn that is run again is given what it was given, and must do what it did.

use std::collections::VecDeque;
use std::fmt;

use plexspaces_types::{Code, Failure, Payload};

use crate::journal::{Entry, NO_CODE, Outcome, Recorded, Signal, Step};

/// A turn's journal while the turn is run again. When it is used up, the turn goes on live.
#[derive(Debug, Default)]
pub struct Replay {
    turn: u64,
    position: usize,
    left: VecDeque<Entry>,
    signals: Vec<Signal>,
}

/// What code did otherwise than its journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The turn's number.
    pub turn: u64,
    /// Which entry of the turn, from 0.
    pub position: usize,
    /// What the journal has there.
    pub journal: String,
    /// What the code did.
    pub code: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { turn, position, journal, code } = self;
        write!(f, "at entry {position} of turn {turn} the journal has {journal}, the code did {code}")
    }
}

impl From<Divergence> for Failure {
    fn from(divergence: Divergence) -> Self {
        Self::new(Code::NonDeterministic, divergence.to_string())
    }
}

impl Replay {
    /// A turn that is to be run again.
    #[must_use]
    pub fn of(recorded: Recorded) -> Self {
        let begin = recorded.entries.iter().position(|entry| matches!(entry, Entry::Begin(_)));
        let position = begin.map_or(0, |begin| begin + 1);
        Self { turn: recorded.turn, position, left: recorded.entries.into_iter().skip(position).collect(), signals: Vec::new() }
    }

    /// Whether all that the journal holds was given: what the turn does now is new.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// The code calls the host: what it was given, or `None` when it is live.
    pub fn step(&mut self, call: &str, arguments: u32) -> Result<Option<Step>, Divergence> {
        self.hear();
        match self.left.pop_front() {
            None => Ok(None),
            Some(Entry::Step(step)) if step.call == call && step.arguments == arguments => {
                self.position += 1;
                Ok(Some(step))
            }
            Some(other) => {
                let same_call = matches!(&other, Entry::Step(step) if step.call == call);
                let code = if same_call { format!("{call} with other arguments") } else { call.to_owned() };
                Err(self.divergence(&other, code))
            }
        }
    }

    /// The signals that came before the last step's result.
    pub fn take_signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.signals)
    }

    /// The signal that comes next, if one does.
    pub fn next_signal(&mut self) -> Option<Signal> {
        let Some(Entry::Signal(_)) = self.left.front() else { return None };
        let Some(Entry::Signal(signal)) = self.left.pop_front() else { return None };
        self.position += 1;
        Some(signal)
    }

    /// Takes over signals that came after the last result, when the turn goes on live.
    pub fn hear(&mut self) {
        while let Some(signal) = self.next_signal() {
            self.signals.push(signal);
        }
    }

    /// The code is done: with the same reply as then, if the journal knows it.
    pub fn finish(&mut self, reply: u32) -> Result<(), Divergence> {
        self.hear();
        match self.left.pop_front() {
            None => Ok(()),
            Some(Entry::End(end)) => match end.outcome {
                Outcome::Done { reply: was } if was != reply => Err(self.divergence(&Entry::End(end), "another reply".to_owned())),
                _ => Ok(()),
            },
            Some(other) => Err(self.divergence(&other, "its end".to_owned())),
        }
    }

    fn divergence(&self, entry: &Entry, code: String) -> Divergence {
        let journal = match entry {
            Entry::Step(step) => step.call.clone(),
            Entry::Signal(signal) => format!("the signal {}", signal.operation),
            Entry::End(end) => match &end.outcome {
                Outcome::Done { .. } => "its end".to_owned(),
                Outcome::Failed(refusal) => format!("its failure {:?}", refusal.message),
            },
            Entry::Base(_) | Entry::Begin(_) => "its beginning".to_owned(),
        };
        Divergence { turn: self.turn, position: self.position, journal, code }
    }
}

/// What must be known to bring an actor back: the state to begin from and the turns since.
#[derive(Debug, Default)]
pub struct Past {
    /// The last state that was kept; `None` for an actor that begins with its `init`.
    pub state: Option<Payload>,
    /// The version of the code whose state it is.
    pub state_code: u64,
    /// The turns after it that changed the actor, in order.
    pub turns: Vec<Recorded>,
    /// The turn that was under way.
    pub pending: Option<Recorded>,
}

impl Past {
    /// Finds what is needed of a piece of history: the last state in it, and the turns after that.
    #[must_use]
    pub fn of(history: Vec<Recorded>) -> Self {
        let mut past = Self::default();
        for recorded in history {
            if let Some(base) = recorded.base() {
                past.state = Some(base.clone());
                past.state_code = recorded.begin().map_or(0, |begin| begin.code);
                past.turns.clear();
            }
            let Some(end) = recorded.end() else {
                past.pending = Some(recorded);
                continue;
            };
            match (&end.state, &end.outcome) {
                (Some(state), _) => {
                    past.state = Some(state.clone());
                    past.state_code = end.code;
                    past.turns.clear();
                }
                (None, Outcome::Done { .. }) => past.turns.push(recorded),
                // What failed was rolled back.
                (None, Outcome::Failed(_)) => {}
            }
        }
        past
    }

    /// The version of the code that began the last of the turns that must be run again; none when there are none.
    #[must_use]
    pub fn code(&self) -> Option<u64> {
        let last = self.pending.as_ref().or(self.turns.last())?;
        last.begin().filter(|begin| begin.seed != NO_CODE).map(|begin| begin.code)
    }
}
