//! Runs an application's supervision tree: the tree decides, the guardian's task carries it out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use plexspaces_types::{ActorId, Code, Failure, Key, Name};
use tokio::sync::{mpsc, oneshot};

use crate::application::{Child, ChildSpec, SupervisorSpec};
use crate::cell::Control;
use crate::registry::Seat;
use crate::supervision::{Action, Error, Exit, NodeId, Plan, Tree};
use crate::{Application, Runtime};

/// What the tree is told.
pub(crate) enum Event {
    /// A child's `init` has run.
    Started(NodeId),
    /// A child's incarnation is over.
    Exited(NodeId, Exit),
    /// Stop all children, in reverse order; those that wait in their mailboxes are handled.
    Stop(oneshot::Sender<()>),
    /// Another guardian takes over.
    Abandon,
    /// Run a closure on the tree.
    Look(Look),
}

type Look = Box<dyn FnOnce(&Tree<Post>) + Send>;

/// A child in the tree.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) id: ActorId,
    pub(crate) seat: Arc<Seat>,
}

/// The way to a guardian.
#[derive(Clone)]
pub(crate) struct Handle {
    events: mpsc::UnboundedSender<Event>,
    abandoned: Arc<Mutex<bool>>,
}

impl Handle {
    /// Nothing of what it orders comes after this: its actors are another's from now on.
    pub(crate) fn abandon(&self) {
        *self.abandoned.lock() = true;
        let _ = self.events.send(Event::Abandon);
    }

    /// Returns when all children have ended.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.events.send(Event::Stop(done)).is_ok() {
            let _ = stopped.await;
        }
    }

    /// What `look` sees in the tree; `None` when the guardian has ended.
    pub(crate) async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Tree<Post>) -> T + Send + 'static) -> Option<T> {
        let (seen, view) = oneshot::channel();
        let look = Box::new(move |tree: &Tree<Post>| {
            let _ = seen.send(look(tree));
        });
        self.events.send(Event::Look(look)).ok()?;
        view.await.ok()
    }
}

struct Guardian {
    runtime: Runtime,
    /// Tenant, namespace and name.
    application: (Name, Name, Name),
    tree: Tree<Post>,
    posts: HashMap<NodeId, Post>,
    /// Who waits for the first start.
    ready: Option<oneshot::Sender<Result<(), Failure>>>,
    /// Who waits for the end.
    stopping: Option<oneshot::Sender<()>>,
    own: mpsc::UnboundedSender<Event>,
    /// Held while it orders.
    abandoned: Arc<Mutex<bool>>,
}

/// Refuses an application whose tree cannot be run.
pub(crate) fn check(application: &Application) -> Result<(), Failure> {
    tree(&application.supervisor, &|_| Some(())).map(drop)
}

/// The tree of an application with the places of its children.
pub(crate) fn seated(application: &Application, seats: &HashMap<(Name, Key), Arc<Seat>>) -> Result<Tree<Post>, Failure> {
    tree(&application.supervisor, &|child| {
        let seat = seats.get(&(child.actor_type.clone(), child.key.clone()))?.clone();
        let (tenant, namespace) = (application.tenant.clone(), application.namespace.clone());
        Some(Post { id: ActorId::new(tenant, namespace, child.actor_type.clone(), child.key.clone()), seat })
    })
}

fn tree<T>(spec: &SupervisorSpec, item: &dyn Fn(&ChildSpec) -> Option<T>) -> Result<Tree<T>, Failure> {
    let refused = |error: Error| Failure::new(Code::InvalidConfig, error.to_string()).with_field("supervisor");
    Tree::new(plan(spec, item), rand::random()).map_err(refused)
}

/// Begins to run the tree. The receiver hears when every child has started, or which did not.
pub(crate) fn start(
    runtime: &Runtime,
    application: &Application,
    mut tree: Tree<Post>,
) -> (Handle, oneshot::Receiver<Result<(), Failure>>) {
    let (own, events) = mpsc::unbounded_channel();
    let (ready, started) = oneshot::channel();
    let posts = posts(&tree);
    for (worker, post) in &posts {
        post.seat.attach(own.clone(), *worker);
    }
    tree.start(crate::now());
    let abandoned = Arc::new(Mutex::new(false));
    let guardian = Guardian {
        runtime: runtime.clone(),
        application: (application.tenant.clone(), application.namespace.clone(), application.name.clone()),
        tree,
        posts,
        ready: Some(ready),
        stopping: None,
        own: own.clone(),
        abandoned: abandoned.clone(),
    };
    runtime.spawn_background(guardian.run(events));
    (Handle { events: own, abandoned }, started)
}

fn plan<T>(spec: &SupervisorSpec, item: &dyn Fn(&ChildSpec) -> Option<T>) -> Plan<T> {
    let children = spec.children.iter().filter_map(|child| match child {
        Child::Supervisor(spec) => Some(plan(spec, item)),
        Child::Actor(child) => {
            let name = child.key.as_str().to_owned();
            Some(Plan::Worker { name, item: item(child)?, restart: child.restart, shutdown: child.shutdown })
        }
    });
    Plan::Supervisor {
        name: spec.name.clone(),
        strategy: spec.strategy,
        intensity: spec.intensity,
        restart: spec.restart,
        children: children.collect(),
    }
}

/// The workers of a tree.
fn posts(tree: &Tree<Post>) -> HashMap<NodeId, Post> {
    let (mut posts, mut rest) = (HashMap::new(), vec![tree.root()]);
    while let Some(node) = rest.pop() {
        match tree.item(node) {
            Some(post) => drop(posts.insert(node, post.clone())),
            None => rest.extend(tree.children(node, None).map(|child| child.id)),
        }
    }
    posts
}

impl Guardian {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        loop {
            if self.act() {
                return;
            }
            let wake = self.tree.next_wake();
            let event = tokio::select! {
                event = events.recv() => event,
                () = sleep_until(wake), if wake.is_some() => {
                    self.tree.tick(crate::now());
                    continue;
                }
            };
            let now = crate::now();
            match event {
                Some(Event::Started(worker)) => self.tree.started(worker, now),
                Some(Event::Exited(worker, exit)) => self.tree.exited(worker, exit, now),
                Some(Event::Stop(done)) => {
                    self.stopping = Some(done);
                    self.tree.stop(now);
                }
                Some(Event::Look(look)) => look(&self.tree),
                Some(Event::Abandon) | None => return,
            }
        }
    }

    /// Does what the tree wants; true when it is down for good or somebody else's.
    fn act(&mut self) -> bool {
        let abandoned = self.abandoned.clone();
        let abandoned = abandoned.lock();
        if *abandoned {
            return true;
        }
        let mut stopped = false;
        let actions: Vec<Action> = self.tree.actions().collect();
        for action in actions {
            match action {
                Action::Start(worker) => self.send(worker, Control::Start),
                Action::Stop(worker) if self.stopping.is_some() => self.send(worker, Control::Drain),
                Action::Stop(worker) => self.send(worker, Control::Stop(Exit::Shutdown)),
                Action::Kill(worker) => self.kill(worker),
                Action::Rests(worker) => self.rest(worker),
                Action::Removed(node) => self.close(node),
                Action::Ready => self.first_start(Ok(())),
                Action::StartFailed { child, reason } => {
                    let name = self.tree.path(child).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                    let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
                    self.first_start(Err(Failure::new(Code::HandlerFailed, format!("child {name:?} did not start: {reason}"))));
                }
                // Nothing is added to a running tree.
                Action::Added(_) | Action::AddFailed { .. } => {}
                Action::Stopped => {
                    stopped = true;
                    if let Some(stopping) = self.stopping.take() {
                        let _ = stopping.send(());
                    }
                }
            }
        }
        if let Some(until) = self.tree.degraded_until() {
            let (tenant, namespace, application) = &self.application;
            self.runtime.degrade(tenant, namespace, application, until);
        }
        stopped
    }

    fn first_start(&mut self, outcome: Result<(), Failure>) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(outcome);
        }
    }

    fn send(&self, worker: NodeId, control: Control) {
        let Some(post) = self.posts.get(&worker) else { return };
        let starts = matches!(control, Control::Start);
        if starts {
            post.seat.begins();
        }
        let sent = if starts {
            self.runtime.order(&post.id, control).is_ok()
        } else {
            self.runtime.known(&post.id).is_some_and(|cell| self.runtime.control(&cell, control))
        };
        if sent {
            return;
        }
        // One that cannot be made has failed to start; one that is not in memory has nothing to stop, and has ended for those who watch it.
        let exit = if starts { Exit::Error("its application is being replaced".to_owned()) } else { Exit::Shutdown };
        self.runtime.announce(&post.id, &exit);
        let _ = self.own.send(Event::Exited(worker, exit));
    }

    fn kill(&self, worker: NodeId) {
        let Some(post) = self.posts.get(&worker) else { return };
        if !self.runtime.kill(&post.id) {
            let _ = self.own.send(Event::Exited(worker, Exit::Kill));
        }
    }

    /// A child that has ended as it should answers nobody until it is started together with others.
    fn rest(&self, worker: NodeId) {
        let Some(post) = self.posts.get(&worker) else { return };
        post.seat.rests();
        if let Some(cell) = self.runtime.known(&post.id) {
            self.runtime.control(&cell, Control::Rest(post.seat.clone()));
        }
        // Who has tied itself to it since it ended is told now.
        self.runtime.announce(&post.id, &Exit::Shutdown);
    }

    /// A child that is not restarted answers nobody any more.
    fn close(&mut self, node: NodeId) {
        let Some(post) = self.posts.remove(&node) else { return };
        post.seat.close();
        let drains = self.runtime.known(&post.id).is_some_and(|cell| self.runtime.control(&cell, Control::Drain));
        if !drains {
            // Who has tied itself to it since it ended is told now.
            self.runtime.announce(&post.id, &Exit::Shutdown);
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
