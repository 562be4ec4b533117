//! Guarantees of journaled turns: what a crash at any moment leaves, and what a workflow hears while it runs. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::journal::Entry;
use plexspaces_actor::{
    Application, Exported, FacetSpec, HttpResponse, Moment, Outbound, Outgoing, Profile, RunFilter, RunStatus, Spec, Target,
};
use plexspaces_durable::key_value_prefix;
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{Code, Failure, Name};
use scripts::{Cut, Node, Scripts, application, ctx, until};
use serde_json::{Value, json};

/// A store of which private pairs cannot be read.
struct Unreadable(Arc<Cut>);

impl Unreadable {
    fn check(key: &[u8]) -> Result<(), Error> {
        let is_pair = key.starts_with(&key_value_prefix(""));
        if is_pair { Err(Error::Failed("no pair can be read".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Unreadable {
    fn backend(&self) -> &'static str {
        self.0.backend()
    }
    fn limits(&self) -> &Limits {
        self.0.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Self::check(key)?;
        self.0.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        Self::check(&range.start)?;
        self.0.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.0.commit(batch).await
    }
}

#[tokio::test]
async fn a_turn_that_gets_over_an_error_of_its_pairs_gets_over_it_again() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(Arc::new(Unreadable(store.clone()))).await;
    let tried = |op: &str| json!({"do": "try_pairs", "op": op, "key": "k", "value": "v"});
    let note = |text: &str| json!({"do": "note", "payload": text});
    let tries = ["get", "delete", "set", "list"].map(tried);
    let steps: Vec<Value> = tries.into_iter().chain([note("half"), json!({"do": "sleep", "ms": 100}), note("done")]).collect();
    first.tell("flow/a", "workflow_run", json!({"steps": steps})).await.unwrap();
    first.notes("flow/a", &json!(["half"])).await;
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    second.notes("flow/a", &json!(["half", "done"])).await;
    let (turns, _) = second.runtime.history(&ctx(), target("flow/a"), 0, 10).await.unwrap();
    let failed = |entry: &&Entry| matches!(entry, Entry::Step(step) if step.result.is_err());
    assert_eq!(turns[0].entries.iter().filter(failed).count(), 4);
}

/// Tells, asks, keys, waits: each effect leaves a number with the recorder.
fn program() -> Value {
    let note = |how: &str, n: u32| json!({"do": how, "target": "script/recorder", "op": "note", "payload": n});
    json!({"steps": [
        {"do": "sleep", "ms": 0},
        note("tell", 1),
        {"do": "sleep", "ms": 0},
        note("ask", 2),
        {"do": "put", "key": "k", "value": "v"},
        {"do": "note", "payload": "half"},
        {"do": "sleep", "ms": 3},
        {"do": "get", "key": "k"},
        note("tell", 3),
        {"do": "sleep", "ms": 0},
        note("ask", 4),
        note("tell", 5),
        {"do": "sleep", "ms": 0},
        note("tell", 6),
    ]})
}

fn program_result() -> Value {
    json!([null, null, null, 2, null, null, null, "v", null, null, 4, null, null, null])
}

#[tokio::test]
async fn a_run_that_is_cut_off_at_any_commit_ends_with_each_effect_once() {
    for target in ["flow/main", "script/main"] {
        let operation = if target.starts_with("flow") { "workflow_run" } else { "run" };
        let mut commits = 0;
        for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
            let disk = Arc::new(Memory::new());
            let store = Cut::new(&disk, cut_at, after);
            let first = Node::on(store.clone()).await;
            let started = first.keyed(target, operation, program(), Some("once"));
            let in_time = store.answer(started).await;
            if !store.gone.load(Ordering::SeqCst) {
                assert_eq!(in_time.unwrap(), Ok(program_result()));
                // The last may arrive after the answer.
                store.answer(first.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6]))).await;
                commits = cut_at;
                if !store.gone.load(Ordering::SeqCst) {
                    break;
                }
            }
            let second = Node::on(disk.clone()).await;
            let result = second.keyed(target, operation, program(), Some("once")).await;
            assert_eq!(result, Ok(program_result()), "cut off at commit {cut_at}, after it: {after}");
            second.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6])).await;
            assert_eq!(second.ask(target, "notes", json!({})).await, Ok(json!(["half"])));
        }
        assert!(commits > 8, "only {commits} commits");
    }
}

/// What is outside of the node, and remembers what it was asked for. With one of the requests whoever asks is cut off.
struct World {
    asked: Arc<Mutex<Vec<(String, String)>>>,
    cuts: Option<(Arc<Cut>, usize, bool)>,
}

impl World {
    async fn cut_off_at(&self, number: usize, answered: bool) {
        if let Some((store, _, _)) = self.cuts.as_ref().filter(|(_, at, after)| (*at, *after) == (number, answered)) {
            store.gone.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Outbound for World {
    fn links(&self) -> Vec<String> {
        Vec::new()
    }

    async fn fetch(&self, _: &str, outgoing: Outgoing) -> Result<HttpResponse, Failure> {
        let number = self.asked.lock().unwrap().len() + 1;
        self.cut_off_at(number, false).await;
        self.asked.lock().unwrap().push((outgoing.request.path, outgoing.idempotency_key));
        self.cut_off_at(number, true).await;
        Ok(HttpResponse { status: 201, headers: Vec::new(), body: Bytes::new() })
    }
}

async fn in_a_world(store: Arc<dyn Store>, world: World) -> Node {
    let profile = Profile { durable: true, ..Profile::default() };
    let node = Node::with(store, profile.clone()).await;
    let linked = Application { outbound: Some(Arc::new(world)), ..application(Scripts::new(1), Vec::new(), &profile) };
    node.runtime.deploy(&linked).await.unwrap();
    node
}

#[tokio::test]
async fn a_run_that_is_cut_off_at_any_request_asks_again_at_most_once_and_with_the_same_key() {
    let fetch = |path: &str| json!({"do": "fetch", "path": path});
    let note = |how: &str, n: u32| json!({"do": how, "target": "script/recorder", "op": "note", "payload": n});
    let program =
        json!({"steps": [fetch("/pay"), note("ask", 1), {"do": "sleep", "ms": 0}, fetch("/ship"), note("tell", 2), fetch("/mail")]});
    let result = json!([201, 1, null, 201, null, 201]);
    let sides = [false, true];
    let of_requests = (1..=3).flat_map(|number| sides.map(|after| (usize::MAX, after, Some(number))));
    let of_commits = (1..=12).flat_map(|number| sides.map(|after| (number, after, None)));
    let (mut cut_off, mut again) = (0, 0);
    for (commit, after, request) in of_requests.chain(of_commits) {
        let (disk, asked) = (Arc::new(Memory::new()), Arc::new(Mutex::new(Vec::new())));
        let store = Cut::new(&disk, commit, after);
        let cuts = request.map(|number| (store.clone(), number, after));
        let first = in_a_world(store.clone(), World { asked: asked.clone(), cuts }).await;
        store.answer(first.keyed("flow/main", "workflow_run", program.clone(), Some("once"))).await;
        cut_off += usize::from(store.gone.load(Ordering::SeqCst));
        let second = in_a_world(disk, World { asked: asked.clone(), cuts: None }).await;
        let case = format!("cut off at commit {commit} or request {request:?}, after it: {after}");
        assert_eq!(second.keyed("flow/main", "workflow_run", program.clone(), Some("once")).await, Ok(result.clone()), "{case}");
        second.notes("script/recorder", &json!([1, 2])).await;
        let asked = asked.lock().unwrap();
        let of = |path: &str| asked.iter().filter(|(asked, _)| asked == path).map(|(_, key)| key.as_str()).collect::<Vec<_>>();
        let all = ["/pay", "/ship", "/mail"].map(of);
        for keys in &all {
            assert!(matches!(keys[..], [_]) || matches!(keys[..], [one, other] if one == other), "{case}: {asked:?}");
        }
        assert!(asked.len() <= 4, "{case}: one request at most was under way: {asked:?}");
        assert!(all[0][0] != all[1][0] && all[1][0] != all[2][0], "{case}: {asked:?}");
        again += asked.len() - 3;
    }
    assert!(cut_off > 15 && again > 3, "{cut_off} runs were cut off, {again} requests made twice");
}

#[tokio::test]
async fn a_run_goes_on_by_itself_when_the_node_comes_back() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, 6, true);
    let first = Node::on(store.clone()).await;
    let _ = store.answer(first.tell("flow/main", "workflow_run", program())).await;
    // It is told that the run is accepted before that is cut off.
    until("it is cut off", async || store.gone.load(Ordering::SeqCst)).await;
    let second = Node::on(disk).await;
    // Nobody sends the workflow anything.
    second.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6])).await;
}

#[tokio::test]
async fn turns_since_the_kept_state_are_run_again() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(10);
    let first = Node::with(disk.clone(), profile.clone()).await;
    for n in 1..=15 {
        first.ask("script/a", "note", json!(n)).await.unwrap();
    }
    let second = Node::with(disk, profile).await;
    let notes: Vec<i32> = (1..=15).collect();
    assert_eq!(second.ask("script/a", "notes", json!({})).await, Ok(json!(notes)));
    // The state was kept after the turns 1 and 11: 4 are run again.
    assert_eq!(second.handled.lock().unwrap().as_slice(), ["note", "note", "note", "note", "notes"]);
}

#[tokio::test]
async fn code_that_does_something_else_is_stopped_and_the_history_left() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(10);
    let first = Node::with(disk.clone(), profile).await;
    let steps = json!({"steps": [{"do": "tell", "target": "script/recorder", "op": "note", "payload": 1}]});
    first.ask("script/a", "note", json!(0)).await.unwrap();
    first.ask("script/a", "run", steps.clone()).await.unwrap();
    let second = Node::of(disk, &Scripts::new(2), &[]).await;
    let failure = second.ask("script/a", "notes", json!({})).await.unwrap_err();
    assert_eq!(failure.code, Code::NonDeterministic);
    let message =
        "default/script/a: at entry 1 of turn 2 the journal has tell script/recorder note, the code did tell script/recorder other";
    assert_eq!(failure.message, message);
    // With the right code it lives on as if nothing had been.
    second.version.store(1, Ordering::SeqCst);
    assert_eq!(second.ask("script/a", "notes", json!({})).await, Ok(json!([0])));
}

#[tokio::test]
async fn a_signal_reaches_a_run_at_its_next_wait_and_a_query_does_not_wait() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let node = Node::on(disk).await;
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 3000}, {"do": "note", "payload": "done"}]});
    node.tell("flow/a", "workflow_run", steps).await.unwrap();
    node.notes("flow/a", &json!(["begun"])).await;
    node.ask("flow/a", "workflow_signal:cancel", json!({"why": "late"})).await.unwrap();
    let heard = json!(["workflow_signal:cancel", {"why": "late"}]);
    node.notes("flow/a", &json!(["begun", heard, "done"])).await;
}

#[tokio::test]
async fn a_query_between_runs_changes_nothing() {
    for durable in [true, false] {
        let disk: Arc<Memory> = Arc::new(Memory::new());
        let node = Node::with(disk, Profile { durable, ..Profile::default() }).await;
        let tell = json!({"steps": [{"do": "tell", "target": "script/recorder", "op": "note", "payload": "from a query"}]});
        // In memory it is after any message.
        node.ask("flow/a", "note", json!("here")).await.unwrap();
        let refused = node.ask("flow/a", "workflow_query:run", tell.clone()).await.unwrap_err();
        let why = "a query may not change anything: tell script/recorder note";
        assert_eq!((refused.code, refused.message.as_str()), (Code::Conflict, why), "durable: {durable}");
        // Under a key it is not written down either.
        let keyed = node.keyed("flow/a", "workflow_query:notes", json!({}), Some("k")).await;
        assert_eq!(keyed, Ok(json!(["here"])));
        node.ask("flow/a", "note", json!("again")).await.unwrap();
        let keyed = node.keyed("flow/a", "workflow_query:notes", json!({}), Some("k")).await;
        assert_eq!(keyed, Ok(json!(["here", "again"])));
        assert_eq!(node.ask("script/recorder", "notes", json!({})).await, Ok(json!([])));
    }
}

#[tokio::test]
async fn a_query_after_a_crash_shows_turns_of_which_no_state_was_kept() {
    let disk = Arc::new(Memory::new());
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(10);
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::with(store.clone(), profile.clone()).await;
    for number in 0..3 {
        first.ask("flow/a", "note", json!(number)).await.unwrap();
    }
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::with(disk, profile).await;
    assert_eq!(second.ask("flow/a", "workflow_query:notes", json!({})).await, Ok(json!([0, 1, 2])));
}

#[tokio::test]
async fn facets_let_to_a_run_what_they_let_to_its_actor() {
    let rules = json!({"deny": ["nobody"], "operations": {"workflow_signal:x": {"allow": ["boss"]}, "workflow_query:notes": {"allow": ["boss"]},
        "workflow_cancel": {"allow": ["boss"]}}});
    let facet = FacetSpec { name: "authorization".into(), priority: None, config: rules.as_object().unwrap().clone() };
    let profile = Profile { durable: true, facets: vec![facet], ..Profile::default() };
    let node = Node::with(Arc::new(Memory::new()), profile).await;
    node.tell("flow/a", "workflow_run", json!({"steps": [{"do": "sleep", "ms": 60_000}]})).await.unwrap();
    for operation in ["workflow_query:notes", "workflow_signal:x", "workflow_cancel"] {
        let refused = node.ask("flow/a", operation, json!({})).await.unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied, "{operation}: {refused}");
    }
    node.ask("flow/a", "workflow_signal:y", json!({})).await.unwrap();
    node.ask("flow/a", "workflow_terminate", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_signal_that_was_accepted_survives_a_crash() {
    let disk = Arc::new(Memory::new());
    let steps = json!({"steps": [{"do": "sleep", "ms": 3000}, {"do": "note", "payload": "done"}]});
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.ask("flow/a", "workflow_pause", json!({})).await.unwrap();
    first.ask("flow/a", "workflow_signal:x", json!(1)).await.unwrap();
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    tokio::time::sleep(Duration::from_millis(3200)).await;
    // The pause was accepted too, so that the run does not go on until it is told to.
    assert_eq!(second.ask("flow/a", "workflow_query:notes", json!({})).await, Ok(json!([])));
    second.ask("flow/a", "workflow_resume", json!({})).await.unwrap();
    second.notes("flow/a", &json!([["workflow_signal:x", 1], "done"])).await;
}

#[tokio::test]
async fn a_cancelled_run_can_clean_up_and_a_terminated_one_ends() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let node = Node::on(disk.clone()).await;
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 60_000}]});
    let run = node.ask("flow/a", "workflow_run", steps.clone());
    let cancel = async {
        node.notes("flow/a", &json!(["begun"])).await;
        node.ask("flow/a", "workflow_cancel", json!({})).await.unwrap();
    };
    let (done, ()) = tokio::join!(run, cancel);
    assert_eq!(done, Ok(json!("cancelled")));
    node.notes("flow/a", &json!(["begun", "compensated"])).await;
    let refused = node.ask("flow/a", "workflow_cancel", json!({})).await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::Conflict, "there is no run of default/flow/a to cancel"));

    let run = node.ask("flow/b", "workflow_run", steps);
    let terminate = async {
        node.notes("flow/b", &json!(["begun"])).await;
        node.ask("flow/b", "workflow_terminate", json!({})).await.unwrap();
    };
    let (done, ()) = tokio::join!(run, terminate);
    assert_eq!(done.unwrap_err().code, Code::Cancelled);
    // Nor does it come back.
    let second = Node::on(disk).await;
    second.notes("flow/b", &json!([])).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_sleeps_for_days_leaves_memory_and_comes_back() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let node = Node::on(disk).await;
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 200}, {"do": "sleep", "ms": 120_000}]});
    node.tell("flow/a", "workflow_run", steps).await.unwrap();
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(node.runtime.actors(), 0, "the run is on disk only");
    // A look does not wake it.
    assert_eq!(node.ask("flow/a", "workflow_query:notes", json!({})).await, Ok(json!(["begun"])));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(node.runtime.actors(), 0);
    // A signal does.
    node.ask("flow/a", "workflow_signal:hello", json!({})).await.unwrap();
    assert_eq!(node.runtime.actors(), 1);
}

fn target(text: &str) -> Target<'_> {
    let (name, key) = text.split_once('/').unwrap();
    Target { name, key: Some(key) }
}

#[tokio::test]
async fn any_past_state_can_be_shown_and_lived_from() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(4);
    let node = Node::with(disk, profile).await;
    for n in 1..=10 {
        node.ask("script/a", "note", json!(n)).await.unwrap();
    }
    for turn in [1, 3, 7, 10] {
        let (number, state) = node.runtime.state_at(&ctx(), target("script/a"), Moment::Turn(turn)).await.unwrap();
        let notes: Vec<u64> = (1..=turn).collect();
        assert_eq!((number, serde_json::from_slice::<Value>(&state).unwrap()), (turn, json!({"notes": notes})));
    }
    let (page, more) = node.runtime.history(&ctx(), target("script/a"), 2, 3).await.unwrap();
    assert_eq!((page.iter().map(|turn| turn.turn).collect::<Vec<_>>(), more), (vec![3, 4, 5], true));
    let missing = node.runtime.state_at(&ctx(), target("script/a"), Moment::Turn(11)).await.unwrap_err();
    assert_eq!(missing.message, "the history of default/script/a has the turns 1 to 10, not 11");
    let at = page[0].end().unwrap().at_ms;
    assert!(node.runtime.state_at(&ctx(), target("script/a"), Moment::Time(at)).await.unwrap().0 >= 3);
    assert_eq!(node.runtime.state_at(&ctx(), target("script/a"), Moment::Time(0)).await.unwrap().0, 0);

    let fork = node.runtime.fork(&ctx(), target("script/a"), Moment::Turn(3), None, None, "b").await.unwrap();
    assert_eq!(fork.to_string(), "default/script/b");
    node.ask("script/b", "note", json!("other")).await.unwrap();
    node.notes("script/b", &json!([1, 2, 3, "other"])).await;
    let twice = node.runtime.fork(&ctx(), target("script/a"), Moment::Turn(3), None, None, "b").await.unwrap_err();
    assert_eq!(twice.code, Code::Conflict);
}

#[tokio::test]
async fn a_time_before_what_is_kept_of_a_history_has_no_state() {
    let mut profile = Profile { durable: true, ..Profile::default() };
    (profile.keeping.interval, profile.keeping.history) = (Some(4), 8);
    let node = Node::with(Arc::new(Memory::new()), profile).await;
    for n in 1..=300 {
        node.ask("script/a", "note", json!(n)).await.unwrap();
    }
    let first = node.runtime.history(&ctx(), target("script/a"), 0, 1).await.unwrap().0[0].turn;
    assert!(first > 1, "the beginning has been removed");
    let gone = node.runtime.state_at(&ctx(), target("script/a"), Moment::Time(0)).await.unwrap_err();
    assert_eq!(gone.message, format!("the history of default/script/a begins later, with turn {first}"));
}

#[tokio::test]
async fn the_result_of_a_run_is_found_by_its_id_however_it_was_begun() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let result = async || {
        let run = node.runtime.workflow(&ctx(), target("flow/a")).await.unwrap();
        (run.status, run.result.map(|result| serde_json::from_slice::<Value>(result.as_bytes()).unwrap()))
    };
    for n in [1, 2] {
        let steps = json!({"steps": [{"do": "ask", "target": "script/recorder", "op": "note", "payload": n}]});
        assert_eq!(node.ask("flow/a", "workflow_run", steps).await, Ok(json!([n])));
        assert_eq!(result().await, (RunStatus::Completed, Some(json!([n]))));
    }
    node.ask("flow/a", "workflow_run", json!({"steps": [{"do": "fail"}]})).await.unwrap_err();
    assert_eq!(result().await, (RunStatus::Failed, None));
    let named = json!({"steps": [{"do": "ask", "target": "script/recorder", "op": "note", "payload": 3}]});
    node.keyed("flow/a", "workflow_run", named, Some("mine")).await.unwrap();
    assert_eq!(result().await, (RunStatus::Completed, Some(json!([3]))));
    let later = json!({"steps": [{"do": "get", "key": "nothing"}]});
    let remind = json!({"steps": [{"do": "remind", "name": "r", "ms": 1, "op": "workflow_run", "payload": later}]});
    node.ask("flow/a", "workflow_run", remind).await.unwrap();
    let of_get = (RunStatus::Completed, Some(json!([null])));
    let turns = async || node.runtime.history(&ctx(), target("flow/a"), 0, 100).await.unwrap().0.len();
    let before = turns().await;
    until("the reminder's run is over", async || turns().await > before && result().await == of_get).await;
}

#[tokio::test]
async fn a_run_can_be_forked_in_the_middle() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.ask("flow/a", "workflow_run", program()).await.unwrap();
    node.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6])).await;
    let (turns, _) = node.runtime.history(&ctx(), target("flow/a"), 0, 10).await.unwrap();
    let asked = |entry: &plexspaces_durable::journal::Entry| format!("{entry:?}").contains("ask script/recorder");
    let entry =
        turns[0].entries.iter().filter(|entry| !matches!(entry, plexspaces_durable::journal::Entry::Base(_))).position(asked).unwrap();
    node.runtime.fork(&ctx(), target("flow/a"), Moment::Turn(0), Some(entry), None, "b").await.unwrap();
    // What the first run did up to there is not done again; what came after is.
    node.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6, 3, 4, 5, 6])).await;
    node.notes("flow/b", &json!(["half"])).await;
}

#[tokio::test]
async fn a_turn_that_is_under_way_does_not_hide_the_state_before_it() {
    let mut profile = Profile { durable: true, ..Profile::default() };
    profile.keeping.interval = Some(10);
    let node = Node::with(Arc::new(Memory::new()), profile).await;
    // The state is kept after the first.
    for n in 1..=5 {
        node.ask("flow/a", "note", json!(n)).await.unwrap();
    }
    let steps = json!({"steps": [{"do": "note", "payload": "half"}, {"do": "sleep", "ms": 60_000}]});
    node.tell("flow/a", "workflow_run", steps).await.unwrap();
    node.notes("flow/a", &json!([1, 2, 3, 4, 5, "half"])).await;
    for moment in [Moment::Last, Moment::Turn(6), Moment::Turn(5)] {
        let (number, state) = node.runtime.state_at(&ctx(), target("flow/a"), moment).await.unwrap();
        assert_eq!((number, serde_json::from_slice::<Value>(&state).unwrap()), (5, json!({"notes": [1, 2, 3, 4, 5]})));
    }
    node.runtime.fork(&ctx(), target("flow/a"), Moment::Last, None, None, "b").await.unwrap();
    node.notes("flow/b", &json!([1, 2, 3, 4, 5])).await;
    // Who runs the history again compares also what is under way.
    let exported = node.runtime.export(&ctx(), target("flow/a")).await.unwrap();
    let id = plexspaces_types::ActorId::parse(&exported.tenant, &exported.actor).unwrap();
    let spec = Spec { id, guest_type: exported.guest_type, config: exported.config, limits: plexspaces_actor::Limits::default() };
    let again = plexspaces_actor::rerun(&*Scripts::new(1), &spec, exported.turns, true).await.unwrap();
    assert_eq!((again.turns, serde_json::from_slice::<Value>(&again.state).unwrap()), (6, json!({"notes": [1, 2, 3, 4, 5]})));
}

#[tokio::test]
async fn a_fork_in_the_middle_that_is_cut_off_anywhere_is_not_there_or_goes_on_by_itself() {
    let mut commits = 0;
    for (cut_at, after) in (1..50).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Arc::new(Memory::new());
        let first = Node::on(disk.clone()).await;
        first.ask("flow/a", "workflow_run", program()).await.unwrap();
        first.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6])).await;
        first.runtime.shutdown(Duration::from_secs(5)).await;
        let store = Cut::new(&disk, cut_at, after);
        let second = Node::on(store.clone()).await;
        let (turns, _) = second.runtime.history(&ctx(), target("flow/a"), 0, 10).await.unwrap();
        let mut entries = turns[0].entries.iter().filter(|entry| !matches!(entry, Entry::Base(_)));
        let entry = entries.position(|entry| format!("{entry:?}").contains("ask script/recorder")).unwrap();
        let forked = store.answer(second.runtime.fork(&ctx(), target("flow/a"), Moment::Turn(0), Some(entry), None, "b")).await;
        let whole = forked.is_some_and(|forked| forked.is_ok());
        store.gone.store(true, Ordering::SeqCst);
        let third = Node::on(disk).await;
        let (turns, _) = third.runtime.history(&ctx(), target("flow/b"), 0, 10).await.unwrap();
        let (listed, _) = third.runtime.workflows(&Name::default_scope(), &RunFilter::default(), None, 10).await.unwrap();
        let listed: Vec<String> = listed.iter().map(|run| run.id.key.to_string()).collect();
        if turns.len() == 2 {
            assert_eq!(listed, ["a", "b"], "cut off at commit {cut_at}, after it: {after}");
            // Nobody sends it anything.
            third.notes("script/recorder", &json!([1, 2, 3, 4, 5, 6, 3, 4, 5, 6])).await;
        } else {
            assert_eq!((listed.as_slice(), whole), (["a".to_owned()].as_slice(), false), "cut off at commit {cut_at}, after it: {after}");
        }
        if whole {
            commits = cut_at;
            break;
        }
    }
    assert!(commits > 2, "only {commits} commits");
}

#[tokio::test]
async fn what_is_named_by_the_node_after_a_crash_is_not_named_as_before_it() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    let remind = |n: u32| json!({"do": "remind", "ms": 300, "op": "note", "payload": n});
    let begun = json!({"do": "note", "payload": "begun"});
    let steps = json!({"steps": [begun, remind(1), {"do": "sleep", "ms": 100}, remind(2)]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.notes("flow/a", &json!(["begun"])).await;
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    second.notes("flow/a", &json!(["begun", 1, 2])).await;
}

#[tokio::test]
async fn a_history_is_run_again_elsewhere_and_tells_what_other_code_would_break() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.ask("script/a", "run", program()).await.unwrap();
    node.ask("script/a", "note", json!("more")).await.unwrap();
    let exported = node.runtime.export(&ctx(), target("script/a")).await.unwrap();
    let text = serde_json::to_string(&exported).unwrap();
    let exported: Exported = serde_json::from_str(&text).unwrap();
    for (version, expected) in [(1, Ok(2)), (2, Err(Code::NonDeterministic))] {
        let code = Scripts::new(version);
        let id = plexspaces_types::ActorId::parse(&exported.tenant, &exported.actor).unwrap();
        let spec = Spec {
            id,
            guest_type: exported.guest_type.clone(),
            config: exported.config.clone(),
            limits: plexspaces_actor::Limits::default(),
        };
        let again = plexspaces_actor::rerun(&*code, &spec, exported.turns.clone(), true).await;
        assert_eq!(again.map(|again| again.turns).map_err(|failure| failure.code), expected);
    }
}
