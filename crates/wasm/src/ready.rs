//! Instances that wait for their actors. Most of what it takes to make an instance does not depend on whose it will be, so while actors of a
//! component come, the next instance is made before it is asked for.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use plexspaces_actor::{Fault, Limits, Turn};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime::Store;

use crate::bindings::{Actor, ActorPre};
use crate::engine::Engine;
use crate::fault;
use crate::host::Host;

/// How long an instance waits for an actor.
const WAITS: Duration = Duration::from_secs(1);

/// How long it may take to make one that nobody has asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an actor's code runs in.
pub(crate) struct Made {
    pub(crate) store: Store<Host>,
    pub(crate) actor: Actor,
}

impl Made {
    /// Makes it an actor's. `turn` serves the host calls from now on.
    pub(crate) fn give_to(&mut self, id: String, turn: Turn) {
        let host = self.store.data_mut();
        host.belongs_to(id);
        host.begin(Some(turn));
        self.store.set_epoch_deadline(1);
    }
}

/// What instances of a component are made of, and the one that waits for an actor.
pub(crate) struct Linked {
    engine: Engine,
    pre: ActorPre<Host>,
    state: Mutex<State>,
    taken: Arc<Notify>,
}

#[derive(Default)]
struct State {
    waiting: Option<Made>,
    /// A task makes instances, and takes away the last one when nobody comes for it.
    kept: bool,
}

impl Linked {
    pub(crate) fn new(engine: Engine, pre: ActorPre<Host>) -> Arc<Self> {
        Arc::new(Self { engine, pre, state: Mutex::default(), taken: Arc::default() })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes an instance that is nobody's yet.
    pub(crate) async fn instantiate(&self, limits: Limits) -> Result<Made, Fault> {
        let mut store = Store::new(self.engine.wasmtime(), Host::new(limits, self.engine.ticks()));
        store.limiter(|host| &mut host.memory);
        store.epoch_deadline_callback(|mut store| store.data_mut().cpu.tick());
        store.set_epoch_deadline(1);
        store.data_mut().begin(None);
        match self.pre.instantiate_async(&mut store).await {
            Ok(actor) => Ok(Made { store, actor }),
            Err(error) => Err(fault::of_instantiation(&error, self.engine.config().instances)),
        }
    }

    /// The instance that waits for an actor with these limits.
    pub(crate) fn take(&self, limits: Limits) -> Option<Made> {
        let made = self.state.lock().waiting.take_if(|made| *made.store.data().limits() == limits)?;
        self.taken.notify_one();
        Some(made)
    }

    /// Sees to it that an instance waits as long as actors come, unless that could cost one of them its place.
    pub(crate) fn keep(self: &Arc<Self>, limits: Limits) {
        if std::mem::replace(&mut self.state.lock().kept, true) {
            return;
        }
        let (linked, taken) = (Arc::downgrade(self), Arc::clone(&self.taken));
        tokio::spawn(async move { while make_one(&linked, limits).await && is_taken(&linked, &taken).await {} });
    }
}

/// Makes the instance that waits, if there is room for it. The component is held only meanwhile.
async fn make_one(linked: &Weak<Linked>, limits: Limits) -> bool {
    let Some(linked) = linked.upgrade() else { return false };
    let made = match linked.engine.has_room() {
        true => timeout(PATIENCE, linked.instantiate(limits)).await.ok().and_then(Result::ok),
        false => None,
    };
    let mut state = linked.state.lock();
    state.kept = made.is_some();
    state.waiting = made;
    state.kept
}

/// Waits until somebody takes the instance. One that nobody takes goes.
async fn is_taken(linked: &Weak<Linked>, taken: &Notify) -> bool {
    let until = Instant::now() + WAITS;
    loop {
        let late = timeout_at(until, taken.notified()).await.is_err();
        let Some(linked) = linked.upgrade() else { return false };
        let mut state = linked.state.lock();
        if state.waiting.is_none() {
            return true;
        }
        if late {
            state.kept = false;
            let unused = state.waiting.take();
            drop(state);
            drop(unused);
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use plexspaces_actor::{Factory as _, Spec};
    use plexspaces_testkit::guests;
    use plexspaces_types::{ActorId, Name};

    use super::*;
    use crate::{Component, Config};

    fn spec(key: &str) -> Spec {
        let id = ActorId::parse(&Name::default_scope(), &format!("default/echo/{key}")).unwrap();
        Spec { id, guest_type: "echo".to_owned(), config: "{}".to_owned(), limits: Limits::default() }
    }

    async fn until(component: &Component, waits: bool) {
        let is_so = async {
            while component.linked.state.lock().waiting.is_some() != waits {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), is_so).await.unwrap();
    }

    #[tokio::test]
    async fn an_instance_waits_for_the_next_actor_and_goes_when_none_comes() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(Config { instances: 20, ..Config::new(dir.path()) }).unwrap();
        let component = engine.load(guests::echo().into()).await.unwrap();
        assert!(!component.linked.state.lock().kept, "nothing is made for a component that nobody uses");
        let (_first, _) = component.create(&spec("1"), Turn::detached(spec("1").id)).await.unwrap();
        until(&component, true).await;
        let other = Limits { payload_bytes: 1, ..Limits::default() };
        assert!(component.linked.take(other).is_none(), "it has the limits that it was made with");
        let mut made = component.linked.take(Limits::default()).unwrap();
        assert!(component.linked.take(Limits::default()).is_none());
        made.give_to("default/echo/2".to_owned(), Turn::detached(spec("2").id));
        assert_eq!(made.store.data().id(), "default/echo/2");
        until(&component, true).await;
        until(&component, false).await;
        assert!(!component.linked.state.lock().kept);
        let (_third, _) = component.create(&spec("3"), Turn::detached(spec("3").id)).await.unwrap();
        until(&component, true).await;
    }

    #[tokio::test]
    async fn no_instance_waits_where_places_are_few() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(Config { instances: 2, ..Config::new(dir.path()) }).unwrap();
        let component = engine.load(guests::echo().into()).await.unwrap();
        let (_first, _) = component.create(&spec("1"), Turn::detached(spec("1").id)).await.unwrap();
        let ended = async {
            while component.linked.state.lock().kept {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(component.linked.state.lock().waiting.is_none());
    }
}
