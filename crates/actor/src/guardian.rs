//! Runs an application's supervision tree: the tree decides, the guardian's task carries it out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use plexspaces_types::{ActorId, Code, Failure, Key, Name};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::application::{Child, ChildSpec, SupervisorSpec};
use crate::cell::Control;
use crate::registry::Seat;
use crate::supervision::{Action, Error, Exit, NodeId, Plan, Tree};
use crate::{Application, Runtime};

pub(crate) mod chronicle;

use chronicle::{Chronicle, Progress, Scribe};

/// Requests to one guardian that may wait.
const REQUESTS: usize = 16;

/// What the tree is told of a child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Its `init` has run.
    Started(NodeId),
    /// Its incarnation is over.
    Exited(NodeId, Exit),
}

/// News that one start of a child makes at most; its seat sees to it that there are no more. The next start comes when the guardian has heard
/// them, so a queue of so many for each child is never full.
pub(crate) const NEWS_OF_A_CHILD: usize = 2;

enum Request {
    /// Stop all children, in reverse order; those that wait in their mailboxes are handled.
    Stop(oneshot::Sender<()>),
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
    requests: mpsc::Sender<Request>,
    abandonment: Arc<Abandonment>,
    progress: Progress,
}

/// Another guardian takes over.
#[derive(Default)]
struct Abandonment {
    /// Held while the guardian orders.
    is_over: Mutex<bool>,
    told: Notify,
}

impl Handle {
    /// Nothing of what it orders comes after this: its actors are another's from now on.
    pub(crate) fn abandon(&self) {
        *self.abandonment.is_over.lock() = true;
        self.abandonment.told.notify_one();
    }

    /// Returns when all children have ended, and what happened to them is in the store.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.requests.send(Request::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }

    /// What `look` sees in the tree; `None` when the guardian has ended.
    pub(crate) async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Tree<Post>) -> T + Send + 'static) -> Option<T> {
        let (seen, view) = oneshot::channel();
        let look = Box::new(move |tree: &Tree<Post>| {
            let _ = seen.send(look(tree));
        });
        self.requests.send(Request::Look(look)).await.ok()?;
        view.await.ok()
    }

    /// Returns when what has happened until now is in the store. Of one that has ended that is so, as far as it was possible.
    pub(crate) async fn caught_up(&self) -> Result<(), Failure> {
        match self.look(|tree| tree.history().next_number()).await {
            Some(number) => self.progress.clone().reaches(number).await,
            None => Ok(()),
        }
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
    /// What it knows of children by itself: one end for each at most.
    own: VecDeque<News>,
    abandonment: Arc<Abandonment>,
    scribe: Scribe,
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
    Ok(Tree::new(plan(spec, item), rand::random()).map_err(refused)?.with_history(chronicle::PENDING))
}

/// Begins to run the tree. The receiver hears when every child has started, or which did not.
pub(crate) fn start(
    runtime: &Runtime,
    application: &Application,
    mut tree: Tree<Post>,
) -> (Handle, oneshot::Receiver<Result<(), Failure>>) {
    let (ready, started) = oneshot::channel();
    let posts = posts(&tree);
    let (requests, asked) = mpsc::channel(REQUESTS);
    let (news, heard) = mpsc::channel((posts.len() * NEWS_OF_A_CHILD).max(1));
    for (worker, post) in &posts {
        post.seat.attach(news.clone(), *worker);
    }
    tree.start(crate::now());
    let abandonment = Arc::<Abandonment>::default();
    let key = (&application.tenant, &application.namespace, &application.name);
    let scribe = Scribe::new(Chronicle::new(runtime.config(), key));
    let progress = scribe.progress();
    let guardian = Guardian {
        runtime: runtime.clone(),
        application: (application.tenant.clone(), application.namespace.clone(), application.name.clone()),
        tree,
        posts,
        ready: Some(ready),
        stopping: None,
        own: VecDeque::new(),
        abandonment: abandonment.clone(),
        scribe,
    };
    runtime.spawn_background(guardian.run(asked, heard));
    (Handle { requests, abandonment, progress }, started)
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
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut news: mpsc::Receiver<News>) {
        loop {
            if self.act() {
                break;
            }
            self.scribe.begin(&mut self.tree);
            if let Some(news) = self.own.pop_front() {
                self.hear(news);
                continue;
            }
            let wake = self.tree.next_wake();
            tokio::select! {
                // Who asks sees what was told before.
                biased;
                () = self.abandonment.told.notified() => break,
                Some(news) = news.recv() => self.hear(news),
                () = self.scribe.kept() => {}
                request = requests.recv() => match request {
                    Some(Request::Stop(done)) => {
                        self.stopping = Some(done);
                        self.tree.stop(crate::now());
                    }
                    Some(Request::Look(look)) => look(&self.tree),
                    None => break,
                },
                () = sleep_until(wake), if wake.is_some() => self.tree.tick(crate::now()),
            }
        }
        let _ = tokio::time::timeout(chronicle::PATIENCE, self.scribe.finish(&mut self.tree)).await;
        if let Some(stopping) = self.stopping.take() {
            let _ = stopping.send(());
        }
    }

    fn hear(&mut self, news: News) {
        let now = crate::now();
        match news {
            News::Started(worker) => self.tree.started(worker, now),
            News::Exited(worker, exit) => self.tree.exited(worker, exit, now),
        }
    }

    /// Does what the tree wants; true when it is down for good or somebody else's.
    fn act(&mut self) -> bool {
        let abandonment = self.abandonment.clone();
        let is_over = abandonment.is_over.lock();
        if *is_over {
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
                Action::Stopped => stopped = true,
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

    fn send(&mut self, worker: NodeId, control: Control) {
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
        post.seat.is_gone();
        self.own.push_back(News::Exited(worker, exit));
    }

    fn kill(&mut self, worker: NodeId) {
        let Some(post) = self.posts.get(&worker) else { return };
        if !self.runtime.kill(&post.id) {
            post.seat.is_gone();
            self.own.push_back(News::Exited(worker, Exit::Kill));
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
