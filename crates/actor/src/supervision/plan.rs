//! What a supervision tree is made from: supervision policy as data, checked before anything starts.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// Levels of a tree, the root included. More is a mistake in a plan rather than an architecture.
pub const MAX_DEPTH: usize = 32;

/// How many restarts within how long a time a supervisor takes for normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// With one restart more within the window the supervisor gives up.
    pub max_restarts: u32,
    /// The window, which slides.
    pub window: Duration,
}

/// Who is restarted when a child has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// That child alone.
    OneForOne,
    /// That child and those started after it.
    RestForOne,
    /// All children.
    OneForAll,
}

/// Whether a child that ended by itself is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always, also after a normal exit.
    Permanent,
    /// Only after an abnormal exit.
    Transient,
    /// Never. It leaves the tree, also when a sibling's failure takes it down.
    Temporary,
}

/// A worker or a supervisor with everything beneath it. The root of a tree is a supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan<T> {
    /// A leaf.
    Worker {
        /// Unique among its siblings; not empty and without `/`.
        name: String,
        /// What the driver needs to start it.
        item: T,
        /// Whether it is restarted.
        restart: Restart,
        /// How long it may take to stop before it is killed. Zero kills it at once.
        shutdown: Duration,
    },
    /// An inner node. It is given as long as its children take to stop.
    Supervisor {
        /// Unique among its siblings; not empty and without `/`.
        name: String,
        /// Who is restarted with a child.
        strategy: Strategy,
        /// How many restarts are normal.
        intensity: Intensity,
        /// Whether it is restarted once it has given up. Means nothing at the root.
        restart: Restart,
        /// In start order.
        children: Vec<Plan<T>>,
    },
}

impl<T> Plan<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Worker { name, .. } | Self::Supervisor { name, .. } => name,
        }
    }

    /// Checks names and depth, the plan's own level being `depth`. On failure the plan is taken apart level by level, since dropping one that
    /// is nested deeply enough would overflow the stack.
    pub(super) fn checked(self, depth: usize) -> Result<Self, Error> {
        match self.check(depth) {
            Ok(()) => Ok(self),
            Err(error) => {
                let mut rest = vec![self];
                while let Some(plan) = rest.pop() {
                    if let Self::Supervisor { children, .. } = plan {
                        rest.extend(children);
                    }
                }
                Err(error)
            }
        }
    }

    fn check(&self, depth: usize) -> Result<(), Error> {
        check_name(self.name())?;
        let mut rest = vec![(self, depth)];
        while let Some((plan, depth)) = rest.pop() {
            if depth > MAX_DEPTH {
                return Err(Error::TooDeep);
            }
            let Self::Supervisor { children, .. } = plan else { continue };
            let mut names = HashSet::with_capacity(children.len());
            for child in children {
                check_name(child.name())?;
                if !names.insert(child.name()) {
                    return Err(Error::DuplicateName(format!("{}/{}", plan.name(), child.name())));
                }
                rest.push((child, depth + 1));
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains('/') { Err(Error::InvalidName(name.to_owned())) } else { Ok(()) }
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Normal,
    /// It ended because it was asked to.
    Shutdown,
    /// It failed.
    Error(String),
    /// It was killed.
    Kill,
}

impl Exit {
    /// Whether a transient child that ended so stays down.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Error(reason) => write!(f, "error: {reason}"),
            Self::Kill => f.write_str("kill"),
        }
    }
}

/// Why a plan was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The root is a worker.
    RootIsWorker,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// A name is empty or contains `/`.
    InvalidName(String),
    /// Two children of one supervisor have the same name.
    DuplicateName(String),
    /// There is no such supervisor, or no longer.
    NoSupervisor,
    /// The supervisor of this path is down, stopping, or waiting for its restart.
    NotRunning(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootIsWorker => f.write_str("the root of a supervision tree must be a supervisor, found a worker"),
            Self::TooDeep => write!(f, "a supervision tree has at most {MAX_DEPTH} levels, found more"),
            Self::InvalidName(name) => write!(f, "a child's name must not be empty or contain '/', found {name:?}"),
            Self::DuplicateName(path) => write!(f, "the names of a supervisor's children must differ, found {path} twice"),
            Self::NoSupervisor => f.write_str("there is no such supervisor"),
            Self::NotRunning(path) => write!(f, "supervisor {path} must be running to take a child, but it is down or stopping"),
        }
    }
}

impl std::error::Error for Error {}
