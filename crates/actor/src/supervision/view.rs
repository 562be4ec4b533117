//! A tree as an operator sees it, a page at a time.

use std::sync::Arc;
use std::time::Instant;

use super::node::{Body, Node, Task};
use super::{Intensity, NodeId, Restart, Strategy, Tree};

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On its way up; a supervisor until all its children are.
    Starting,
    /// Up.
    Running,
    /// Down until then, when it is started again.
    Waiting(Instant),
    /// On its way down.
    Stopping,
    /// Down.
    Ended,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub id: NodeId,
    /// Its path from the root, such as `root/pipeline/worker-1`.
    pub path: Arc<str>,
    /// Its place in its supervisor's start order, which is also the cursor to the page after it.
    pub position: u64,
    /// Worker or supervisor.
    pub kind: Kind,
    /// Whether it is restarted.
    pub restart: Restart,
    /// What it is doing.
    pub state: State,
    /// How often it has been started again.
    pub restarts: u64,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A leaf.
    Worker,
    /// An inner node.
    Supervisor {
        /// Who is restarted with a child.
        strategy: Strategy,
        /// How many restarts are normal.
        intensity: Intensity,
        /// How many children it has.
        children: usize,
    },
}

impl View {
    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl<T> Tree<T> {
    /// One node, unless it has left the tree.
    #[must_use]
    pub fn view(&self, id: NodeId) -> Option<View> {
        self.nodes.get(id).map(|node| self.seen(id, node))
    }

    /// The children of a supervisor in start order, those after a position only. Costs what is taken from it, so pages of a supervisor with
    /// many children are cheap, and a page stays right when children come and go meanwhile.
    pub fn children(&self, supervisor: NodeId, after: Option<u64>) -> impl Iterator<Item = View> {
        let from = after.map_or(0, |position| position.saturating_add(1));
        let children = self.supervisor(supervisor).into_iter().flat_map(move |supervisor| supervisor.children.range(from..));
        children.filter_map(|(_, child)| self.view(*child))
    }

    fn seen(&self, id: NodeId, node: &Node<T>) -> View {
        let kind = match &node.body {
            Body::Worker { .. } => Kind::Worker,
            Body::Supervisor(supervisor) => {
                Kind::Supervisor { strategy: supervisor.strategy, intensity: supervisor.intensity, children: supervisor.children.len() }
            }
        };
        let state = self.group_wait(node).map_or(node.state, State::Waiting);
        View { id, path: node.path.clone(), position: node.order, kind, restart: node.restart, state, restarts: node.restarts }
    }

    /// Until when a node waits for its group's restart.
    fn group_wait(&self, node: &Node<T>) -> Option<Instant> {
        match self.supervisor(node.parent?)?.task {
            Task::Waiting { from, until, .. } if node.order >= from => Some(until),
            _ => None,
        }
    }
}
