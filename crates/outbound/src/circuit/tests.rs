//! The circuit against a model that remembers everything, and its rules one by one.

use proptest::prelude::*;

use super::*;

const OPEN_FOR: Duration = Duration::from_secs(10);

fn circuit(failures: u32) -> Circuit {
    Circuit::new(Config { failures, open_for: OPEN_FOR })
}

#[test]
fn it_opens_after_failures_in_a_row_and_a_success_between_them_counts_anew() {
    let (mut circuit, now) = (circuit(3), Instant::now());
    for verdict in [Verdict::Failure, Verdict::Failure, Verdict::Success, Verdict::Failure, Verdict::Failure] {
        let permit = circuit.admit(now).unwrap();
        circuit.settle(permit, verdict, now);
    }
    assert_eq!(circuit.position(), Position::Closed);
    let permit = circuit.admit(now).unwrap();
    circuit.settle(permit, Verdict::Failure, now);
    assert_eq!(circuit.position(), Position::Open);
    assert_eq!(circuit.admit(now + Duration::from_secs(4)), Err(Duration::from_secs(6)));
}

#[test]
fn what_began_before_it_opened_does_not_close_it() {
    let (mut circuit, now) = (circuit(1), Instant::now());
    let (early, bad) = (circuit.admit(now).unwrap(), circuit.admit(now).unwrap());
    circuit.settle(bad, Verdict::Failure, now);
    circuit.settle(early, Verdict::Success, now);
    assert_eq!(circuit.position(), Position::Open);
    let probe = circuit.admit(now + OPEN_FOR).unwrap();
    circuit.settle(early, Verdict::Failure, now + OPEN_FOR);
    assert_eq!(circuit.position(), Position::HalfOpen);
    circuit.settle(probe, Verdict::Success, now + OPEN_FOR);
    assert_eq!(circuit.position(), Position::Closed);
}

#[test]
fn a_trial_that_was_given_up_leaves_its_place_to_the_next() {
    let (mut circuit, now) = (circuit(1), Instant::now());
    let permit = circuit.admit(now).unwrap();
    circuit.settle(permit, Verdict::Failure, now);
    let later = now + OPEN_FOR;
    let trial = circuit.admit(later).unwrap();
    assert!(circuit.admit(later).is_err());
    circuit.settle(trial, Verdict::Unknown, later);
    assert!(circuit.admit(later).is_ok());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    /// Settles one of those under way.
    Settle(usize, u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Admit), (0..8_usize, 0..3_u8).prop_map(|(which, how)| Step::Settle(which, how)), (1..8_u64).prop_map(Step::Pass)]
}

/// The same in other words: a list of what was settled since the last change, and when it changed.
#[derive(Default)]
struct Model {
    open_until: Option<Instant>,
    trial: Option<usize>,
    /// Requests that were let through since the last change.
    current: Vec<usize>,
    streak: u32,
}

impl Model {
    fn admit(&mut self, request: usize, now: Instant) -> bool {
        match self.open_until {
            _ if self.trial.is_some() => false,
            Some(until) if now < until => false,
            Some(_) => {
                self.trial = Some(request);
                true
            }
            None => {
                self.current.push(request);
                true
            }
        }
    }

    fn settle(&mut self, request: usize, verdict: Verdict, now: Instant, limit: u32) {
        if self.trial == Some(request) {
            *self = match verdict {
                Verdict::Success => Self::default(),
                Verdict::Failure => Self { open_until: Some(now + OPEN_FOR), ..Self::default() },
                Verdict::Unknown => Self { open_until: Some(now), ..Self::default() },
            };
            return;
        }
        if !self.current.contains(&request) {
            return;
        }
        match verdict {
            Verdict::Success => self.streak = 0,
            Verdict::Failure => self.streak += 1,
            Verdict::Unknown => {}
        }
        if self.streak == limit {
            *self = Self { open_until: Some(now + OPEN_FOR), ..Self::default() };
        }
    }

    fn position(&self) -> Position {
        match (self.trial, self.open_until) {
            (Some(_), _) => Position::HalfOpen,
            (None, Some(_)) => Position::Open,
            (None, None) => Position::Closed,
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(limit in 1..4_u32, steps in prop::collection::vec(step(), 0..200)) {
        let (mut circuit, mut model, mut now) = (circuit(limit), Model::default(), Instant::now());
        let mut under_way: Vec<(usize, Permit)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Admit => {
                    let admitted = circuit.admit(now);
                    prop_assert_eq!(admitted.is_ok(), model.admit(number, now));
                    match admitted {
                        Ok(permit) => under_way.push((number, permit)),
                        Err(wait) => prop_assert!(!wait.is_zero() && wait <= OPEN_FOR),
                    }
                }
                Step::Settle(which, how) if !under_way.is_empty() => {
                    let (request, permit) = under_way.swap_remove(which % under_way.len());
                    let verdict = [Verdict::Success, Verdict::Failure, Verdict::Unknown][usize::from(how)];
                    circuit.settle(permit, verdict, now);
                    model.settle(request, verdict, now, limit);
                }
                Step::Settle(..) => {}
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert_eq!(circuit.position(), model.position());
        }
    }
}
