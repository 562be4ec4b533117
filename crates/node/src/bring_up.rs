//! What a node needs of its store before it takes requests, also where the store comes later; and whether the store is still there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plexspaces_actor::{BlobKeys, LAYOUT};
use plexspaces_api::{Readiness, State};
use plexspaces_app::Applications;
use plexspaces_store::{Batch, Error as StoreError, Partition, Store};
use plexspaces_types::Code;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How often a store that is elsewhere is looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// The way from a start to a node that takes requests.
pub(crate) struct BringUp {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) applications: Applications,
    pub(crate) page_key: Arc<OnceLock<[u8; 32]>>,
    pub(crate) blob_keys: Arc<OnceLock<BlobKeys>>,
    pub(crate) readiness: Readiness,
}

impl BringUp {
    /// Goes it; the node is ready when this returns.
    pub(crate) async fn go(&self) -> Result<(), Error> {
        let key = page_key(&*self.store).await?;
        let _ = self.page_key.set(key);
        let _ = self.blob_keys.set(BlobKeys::kept_in(&*self.store).await?);
        self.applications.bring_back().await.map_err(Error::Applications)?;
        self.readiness.set(State::Ready);
        Ok(())
    }

    /// Goes it again until it is gone, and from then on looks whether the store answers.
    pub(crate) async fn tend(self, mut failed: Option<Error>, shutdown: CancellationToken) {
        let mut told = None;
        loop {
            let lack = failed.as_ref().map(|_| format!("the store ({}) does not answer", self.store.backend()));
            self.readiness.lacks("store", lack);
            let tell = failed.as_ref().map(ToString::to_string);
            match &tell {
                Some(why) if told != tell => tracing::error!(why, "the store does not answer; the node is not ready until it does"),
                None if told.is_some() => tracing::info!("the store answers again"),
                _ => {}
            }
            told = tell;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                outcome = self.look() => failed = outcome.err(),
            }
        }
    }

    async fn look(&self) -> Result<(), Error> {
        if self.readiness.get() == State::Starting {
            return self.go().await;
        }
        self.store.get(&Partition::node("keys"), b"page").await?;
        Ok(())
    }
}

/// Whether a start may succeed later without anybody doing anything to the node.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error {
        Error::Store(StoreError::Unavailable(_) | StoreError::Unknown(_)) => true,
        Error::Applications(failure) => failure.code == Code::Unavailable,
        _ => false,
    }
}

/// Page tokens are sealed with a key that outlives a restart, so that a client can go on with its list.
/// They are made with the store, and with them the mark of what it is written in.
async fn page_key(store: &dyn Store) -> Result<[u8; 32], Error> {
    let partition = Partition::node("keys");
    loop {
        let stored = store.get(&partition, b"page").await?;
        if let Some(Ok(key)) = stored.as_deref().map(TryInto::try_into) {
            let layout = store.get(&partition, b"layout").await?;
            return match layout.as_deref() {
                Some([LAYOUT]) => Ok(key),
                Some(other) => Err(Error::Layout { found: other.first().map_or_else(String::new, u8::to_string) }),
                None => Err(Error::Layout { found: "2 or less".to_owned() }),
            };
        }
        let key: [u8; 32] = rand::random();
        let mut batch = Batch::new(partition.clone());
        batch.require("page", stored).put("page", key.to_vec()).put("layout", vec![LAYOUT]);
        match store.commit(batch).await {
            // Another node was first.
            Err(StoreError::Precondition { .. }) => {}
            done => return Ok(done.map(|()| key)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use plexspaces_store::Memory;

    use super::*;

    #[tokio::test]
    async fn a_store_of_another_layout_is_refused_and_left() {
        let store = Memory::new();
        let key = page_key(&store).await.unwrap();
        assert_eq!(page_key(&store).await.unwrap(), key);
        let partition = Partition::node("keys");
        for (layout, found) in [(Some(vec![LAYOUT + 1]), "layout 4"), (None, "layout 2 or less")] {
            let mut batch = Batch::new(partition.clone());
            match layout {
                Some(layout) => batch.put("layout", layout),
                None => batch.delete("layout"),
            };
            store.commit(batch).await.unwrap();
            let refused = page_key(&store).await.unwrap_err();
            assert!(refused.to_string().contains(found) && refused.to_string().contains("another data directory"), "{refused}");
            assert!(!is_passing(&refused));
        }
    }
}
