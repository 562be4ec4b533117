//! Which actors are on this node: at most one of each identity.
//!
//! Whoever finds that an actor has ended takes it out, and may make its successor: neither waits for the other. The file stands alone, so
//! that a model checker can run it with its own locks (`tests/lives_model.rs`).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use crate::sync::RwLock;

/// In shards, so that those who look for different actors seldom meet.
pub(crate) struct Directory<I, C> {
    shards: Vec<RwLock<HashMap<I, Arc<C>>>>,
    hasher: RandomState,
}

impl<I: Clone + Eq + Hash, C> Directory<I, C> {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| RwLock::new(HashMap::new())).collect(), hasher: RandomState::new() }
    }

    /// The actor, which may have ended a moment ago.
    pub(crate) fn get(&self, id: &I) -> Option<Arc<C>> {
        self.shard(id).read().get(id).cloned()
    }

    /// The actor, made if there is none; true when it was made. Of many who come at once one makes it, and nobody sees it before.
    pub(crate) fn get_or_make<E>(&self, id: &I, make: impl FnOnce() -> Result<C, E>) -> Result<(Arc<C>, bool), E> {
        if let Some(cell) = self.get(id) {
            return Ok((cell, false));
        }
        let mut cells = self.shard(id).write();
        if let Some(cell) = cells.get(id) {
            return Ok((cell.clone(), false));
        }
        let cell = Arc::new(make()?);
        cells.insert(id.clone(), cell.clone());
        Ok((cell, true))
    }

    /// Takes this one out, and not its successor; false when somebody did before.
    pub(crate) fn remove(&self, id: &I, cell: &Arc<C>) -> bool {
        let mut cells = self.shard(id).write();
        let is_there = cells.get(id).is_some_and(|known| Arc::ptr_eq(known, cell));
        if is_there {
            cells.remove(id);
        }
        is_there
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Shows every actor, a shard at a time.
    pub(crate) fn each(&self, mut see: impl FnMut(&Arc<C>)) {
        for shard in &self.shards {
            shard.read().values().for_each(&mut see);
        }
    }

    /// Takes all of them out.
    pub(crate) fn drain(&self) -> Vec<Arc<C>> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.write()).into_values()).collect()
    }

    fn shard(&self, id: &I) -> &RwLock<HashMap<I, Arc<C>>> {
        let hash = usize::try_from(self.hasher.hash_one(id) % self.shards.len() as u64).unwrap_or(0);
        // It was made with at least one shard, and the index is below their number.
        #[allow(clippy::indexing_slicing)]
        &self.shards[hash]
    }
}
