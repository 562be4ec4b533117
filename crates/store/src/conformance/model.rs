//! Random operations against a naive model.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::{Fixture, partition};
use crate::{Batch, Error, Page, Partition, Range, Store};

#[derive(Clone, Debug)]
enum Op {
    /// Where, the preconditions (a value, or the state's own so that it holds), the writes (`None` deletes).
    Commit(usize, Vec<(Vec<u8>, Option<Vec<u8>>, bool)>, Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Get(usize, Vec<u8>),
    Scan(usize, Vec<u8>, Option<Vec<u8>>, usize),
}

/// Few and short, so that they meet.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(0xfe), Just(0xff)], 0..4)
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..6), 1 => vec(any::<u8>(), 900..9_000)]
}

fn ops() -> impl Strategy<Value = Op> {
    let place = 0..3_usize;
    prop_oneof![
        3 => (
            place.clone(),
            vec((keys(), proptest::option::of(values()), proptest::bool::weighted(0.8)), 0..3),
            vec((keys(), proptest::option::weighted(0.7, values())), 0..6),
        )
            .prop_map(|(place, required, writes)| Op::Commit(place, required, writes)),
        1 => (place.clone(), keys()).prop_map(|(place, key)| Op::Get(place, key)),
        1 => (place, keys(), proptest::option::of(keys()), 0..6_usize)
            .prop_map(|(place, start, end, limit)| Op::Scan(place, start, end, limit)),
    ]
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

async fn step(store: &dyn Store, here: &Partition, state: &mut State, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Commit(_, required, writes) => {
            let (mut batch, mut expected) = (Batch::new(here.clone()), Ok(()));
            for (index, (key, value, own)) in required.into_iter().enumerate() {
                let now = state.get(&key).cloned();
                let value = if own { now.clone() } else { value };
                if now != value && expected.is_ok() {
                    expected = Err(Error::Precondition { index });
                }
                batch.require(key, value.map(Bytes::from));
            }
            let mut next = state.clone();
            for (key, value) in writes {
                match value {
                    Some(value) => {
                        batch.put(key.clone(), value.clone());
                        next.insert(key, value);
                    }
                    None => {
                        batch.delete(key.clone());
                        next.remove(&key);
                    }
                }
            }
            if expected.is_ok() {
                *state = next;
            }
            prop_assert_eq!(store.commit(batch).await, expected);
        }
        Op::Get(_, key) => {
            prop_assert_eq!(store.get(here, &key).await, Ok(state.get(&key).cloned().map(Bytes::from)));
        }
        Op::Scan(_, start, end, limit) => {
            let range = Range { start: start.into(), end: end.map(Bytes::from) };
            prop_assert_eq!(store.scan(here, range.clone(), limit).await, Ok(page(state, &range, limit)));
        }
    }
    Ok(())
}

fn page(state: &State, range: &Range, limit: usize) -> Page {
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| (Bytes::from(key.clone()), Bytes::from(value.clone()));
    let all: Vec<_> = state.iter().filter(|(key, _)| range.contains(key)).map(entry).collect();
    Page { more: all.len() > limit, entries: all.into_iter().take(limit).collect() }
}

/// Whatever is done, the answers are those of a map per partition. A failure prints the least sequence that shows it.
pub async fn it_behaves_as_the_model(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut runs = 0;
    let run = |ops: Vec<Op>| {
        runs += 1;
        // Each run has partitions of its own; the bytes of the first begin those of the others.
        let places = ["", "-", "-x"].map(|suffix| partition(&format!("model{runs}{suffix}")));
        let mut states: [State; 3] = Default::default();
        Handle::current().block_on(async {
            for op in ops {
                let (Op::Commit(place, ..) | Op::Get(place, ..) | Op::Scan(place, ..)) = op;
                step(&*store, &places[place], &mut states[place], op).await?;
            }
            for (place, state) in places.iter().zip(&states) {
                prop_assert_eq!(store.scan(place, Range::all(), 1_000).await, Ok(page(state, &Range::all(), 1_000)));
            }
            Ok(())
        })
    };
    let run = std::cell::RefCell::new(run);
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    let outcome = tokio::task::block_in_place(|| TestRunner::new(config).run(&vec(ops(), 1..40), |ops| (run.borrow_mut())(ops)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
