//! Looks for an order of calls in which each has its effect and its reply.
//!
//! It is Wing's and Gong's search with Lowe's memory of what was tried. A call of which nobody knows whether it has happened is put off as
//! long as that changes nothing: it comes right before one that must come and would not be the same without it, or never. So what was tried
//! differs in what mattered, and not in where something was that did not matter yet.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::{BuildHasher as _, Hash, RandomState};

use super::Call;

/// How many calls are tried for each number of those that may come together, before a search gives up.
const MAX_STEPS: usize = 200_000;

/// How many calls that nobody knows of may come together: few explain most histories, and are tried first.
const TOGETHER: [usize; 4] = [1, 2, 4, usize::MAX];

/// What operations one after the other do.
pub(super) trait Model {
    /// What they do it to.
    type State: Clone + Debug + Eq + Hash;

    /// Before all of them.
    fn start(&self) -> Self::State;

    /// What the state may be after a call; nothing when the call cannot have had its reply there.
    fn step(&self, state: &Self::State, call: &Call) -> Vec<Self::State>;

    /// Whether a call of which nobody knows whether it has happened may explain a reply that is known. Whatever order there is with one that
    /// does not, there is one without it.
    fn explains(&self, _call: &Call, _calls: &[Call]) -> bool {
        true
    }

    /// Whether a call that must come may change something in one state and nothing in another, and its reply does not tell which.
    fn depends(&self, _call: &Call) -> bool {
        false
    }
}

/// Why a history is not accepted.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The search has tried all orders; otherwise it gave up.
    is_certain: bool,
    /// How many calls could be put into an order, and the state after them.
    placed: usize,
    state: String,
    /// What may have come next, and cannot.
    pub(super) next: Vec<Call>,
    history: Vec<Call>,
}

impl Refusal {
    /// Whether there is no order; otherwise none was found.
    pub(super) fn is_certain(&self) -> bool {
        self.is_certain
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what =
            if self.is_certain { "the history is not linearizable" } else { "whether the history is linearizable was not found out" };
        writeln!(f, "{what}: {} calls follow one another and lead to {}, then comes none of:", self.placed, self.state)?;
        self.next.iter().try_for_each(|call| writeln!(f, "  {call}"))?;
        writeln!(f, "of:")?;
        self.history.iter().try_for_each(|call| writeln!(f, "  {call}"))
    }
}

/// Calls of a history that have a place already or can have none any more.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed {
    calls: Box<[u64]>,
    /// The latest beginning among them: what ended before it can come no more.
    latest: u64,
}

impl Placed {
    fn has(&self, call: usize) -> bool {
        self.calls.get(call / 64).is_some_and(|word| word & (1 << (call % 64)) != 0)
    }

    fn add(&mut self, call: usize) {
        if let Some(word) = self.calls.get_mut(call / 64) {
            *word |= 1 << (call % 64);
        }
    }

    fn count(&self) -> usize {
        self.calls.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// What is left after some calls, the last of which must come.
#[derive(Clone)]
struct Node<S> {
    placed: Placed,
    state: S,
}

/// Calls that nobody knows of, one after the other behind a node.
struct Block<S> {
    calls: Vec<usize>,
    placed: Placed,
    state: S,
}

struct Search<'a, M: Model> {
    model: &'a M,
    order: &'a [&'a Call],
    together: usize,
    steps: usize,
    /// More calls may have come together than were tried.
    is_held_back: bool,
    hashers: [RandomState; 2],
    /// What was seen, by hashes that are long enough to stand for it.
    seen: HashSet<[u64; 2]>,
}

/// Looks for an order of the calls in which each has the effect and the reply that the model says.
pub(super) fn search<M: Model>(model: &M, calls: &[Call]) -> Result<(), Box<Refusal>> {
    let mut order: Vec<&Call> = calls.iter().filter(|call| is_needed(call) || model.explains(call, calls)).collect();
    // What ended first is tried first, and what nobody knows of last.
    order.sort_by_key(|call| (!is_needed(call), call.ended, call.began));
    // Most of what may have happened twice has not.
    let hopeful: Vec<&Call> = order.iter().copied().filter(|call| is_needed(call) || !is_repeated(call, calls)).collect();
    if hopeful.len() < order.len() && search_in(model, &hopeful).is_ok() {
        return Ok(());
    }
    search_in(model, &order)
}

/// Whether the same client has asked for the same once more.
fn is_repeated(call: &Call, calls: &[Call]) -> bool {
    calls.iter().any(|other| {
        let is_same = other.client == call.client && other.operation == call.operation && other.arguments == call.arguments;
        is_same && other.began != call.began && (is_needed(other) || other.began < call.began)
    })
}

fn search_in<M: Model>(model: &M, order: &[&Call]) -> Result<(), Box<Refusal>> {
    let mut refusal = Ok(());
    for together in TOGETHER {
        let hashers = [RandomState::new(), RandomState::new()];
        let mut search = Search { model, order, together, steps: 0, is_held_back: false, hashers, seen: HashSet::new() };
        refusal = search.run();
        if refusal.is_ok() || !search.is_held_back {
            return refusal;
        }
    }
    refusal
}

/// Whether a call has happened for certain.
fn is_needed(call: &Call) -> bool {
    call.certain || call.reply.is_some()
}

impl<M: Model> Search<'_, M> {
    fn run(&mut self) -> Result<(), Box<Refusal>> {
        let placed = Placed { calls: vec![0; self.order.len().div_ceil(64)].into(), latest: 0 };
        let start = Node { placed, state: self.model.start() };
        let mut stack = vec![start.clone()];
        let mut deepest = start;
        while let Some(node) = stack.pop() {
            let Some(horizon) = self.horizon(&node.placed) else { return Ok(()) };
            if node.placed.count() > deepest.placed.count() {
                deepest = node.clone();
            }
            let followers = self.idle(&node, horizon).map_or_else(|| self.followers(&node, horizon), |idle| vec![idle]);
            for follower in followers.into_iter().rev() {
                if self.is_new(&(&follower.placed, &follower.state)) {
                    stack.push(follower);
                }
            }
            if self.steps > MAX_STEPS {
                self.is_held_back = true;
                break;
            }
        }
        Err(self.refusal(&deepest))
    }

    /// Whatever comes next begins before the first of those that must come has ended; `None` when all of those have come.
    fn horizon(&self, placed: &Placed) -> Option<u64> {
        self.left(placed).filter(|(_, call)| is_needed(call)).map(|(_, call)| call.ended).min()
    }

    fn left(&self, placed: &Placed) -> impl Iterator<Item = (usize, &Call)> {
        self.order.iter().enumerate().filter(move |(index, _)| !placed.has(*index)).map(|(index, call)| (index, *call))
    }

    /// What may come next: those that must come, or those of which nobody knows.
    fn candidates(&self, placed: &Placed, horizon: u64, needed: bool) -> Vec<(usize, &Call)> {
        self.left(placed).filter(|(_, call)| is_needed(call) == needed && call.began < horizon).collect()
    }

    /// What changes nothing and may come now need not come later, where that is all that it can do.
    fn idle(&mut self, node: &Node<M::State>, horizon: u64) -> Option<Node<M::State>> {
        let open = self.left(&node.placed).filter(|(_, call)| !is_needed(call)).map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
        let candidates = self.candidates(&node.placed, horizon, true);
        let mut steps = 0;
        let idle = candidates.into_iter().find(|(_, call)| {
            steps += 1;
            call.began < open
                && !self.model.depends(call)
                && matches!(self.model.step(&node.state, call).as_slice(), [next] if *next == node.state)
        });
        let idle = idle.map(|(index, call)| Node { placed: self.with(&node.placed, index, call), state: node.state.clone() });
        self.steps += steps;
        idle
    }

    fn with(&self, placed: &Placed, index: usize, call: &Call) -> Placed {
        let mut placed = Placed { calls: placed.calls.clone(), latest: placed.latest.max(call.began) };
        placed.add(index);
        // What can come no more is told apart no more.
        let over: Vec<usize> =
            self.left(&placed).filter(|(_, call)| !is_needed(call) && call.ended <= placed.latest).map(|(index, _)| index).collect();
        over.into_iter().for_each(|index| placed.add(index));
        placed
    }

    /// What there may be after the next call that must come, behind none or some of which nobody knows.
    fn followers(&mut self, node: &Node<M::State>, horizon: u64) -> Vec<Node<M::State>> {
        let (mut steps, mut is_held_back) = (0, false);
        let mut followers = Vec::new();
        let mut known = HashSet::new();
        let mut blocks = std::collections::VecDeque::new();
        blocks.push_back(Block { calls: Vec::new(), placed: node.placed.clone(), state: node.state.clone() });
        // The shortest first.
        while let Some(block) = blocks.pop_front() {
            for (index, call) in self.candidates(&block.placed, horizon, true) {
                steps += 1;
                for state in self.model.step(&block.state, call) {
                    let can_be_later = |later: &usize| self.can_be_later(node, &block.calls, index, &state, *later);
                    steps += block.calls.len();
                    if !block.calls.iter().any(can_be_later) {
                        followers.push(Node { placed: self.with(&block.placed, index, call), state });
                    }
                }
            }
            let unknown = self.candidates(&block.placed, horizon, false);
            if block.calls.len() >= self.together {
                is_held_back |= !unknown.is_empty();
                continue;
            }
            for (index, call) in unknown {
                steps += 1;
                for state in self.model.step(&block.state, call).into_iter().filter(|state| *state != block.state) {
                    let placed = self.with(&block.placed, index, call);
                    if known.insert(self.hash(&(&placed, &state))) {
                        let calls = block.calls.iter().copied().chain([index]).collect();
                        blocks.push_back(Block { calls, placed, state });
                    }
                }
            }
            if self.steps + steps > MAX_STEPS {
                is_held_back = true;
                break;
            }
        }
        self.steps += steps;
        self.is_held_back |= is_held_back;
        followers
    }

    /// Whether the same is so when one of the calls before `next` comes right after it instead: then it is tried there.
    fn can_be_later(&self, node: &Node<M::State>, before: &[usize], next: usize, state: &M::State, later: usize) -> bool {
        let call = |index: &usize| self.order.get(*index).copied();
        let others: Vec<&Call> = before.iter().filter(|index| **index != later).chain([&next]).filter_map(call).collect();
        let latest = others.iter().map(|call| call.began).fold(node.placed.latest, u64::max);
        let Some(later) = call(&later).filter(|later| later.ended > latest) else { return false };
        let mut states = vec![node.state.clone()];
        for call in others.into_iter().chain([later]) {
            states = states.iter().flat_map(|state| self.model.step(state, call)).collect();
        }
        states.contains(state)
    }

    fn hash(&self, what: &impl Hash) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(what))
    }

    fn is_new(&mut self, what: &impl Hash) -> bool {
        let hash = self.hash(what);
        self.seen.insert(hash)
    }

    fn refusal(&self, deepest: &Node<M::State>) -> Box<Refusal> {
        let horizon = self.horizon(&deepest.placed).unwrap_or(u64::MAX);
        let next = self.left(&deepest.placed).filter(|(_, call)| call.began < horizon).map(|(_, call)| call.clone()).collect();
        let mut history: Vec<Call> = self.order.iter().map(|call| (*call).clone()).collect();
        history.sort_by_key(|call| call.began);
        let (placed, state) = (deepest.placed.count(), format!("{:?}", deepest.state));
        Box::new(Refusal { is_certain: !self.is_held_back, placed, state, next, history })
    }
}
