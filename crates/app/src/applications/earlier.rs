//! Earlier versions of applications: kept while something that began with them goes on.

use std::time::Duration;

use plexspaces_actor::Factory;

use super::*;

/// How often it is looked whether earlier versions are still needed, besides when a turn of one has ended.
const LOOK: Duration = Duration::from_secs(60);

/// How many actors of an earlier version are shown.
const SHOWN: usize = 1000;

impl Entry {
    /// The versions that are kept beside a new one with this digest.
    pub(super) fn earlier_than(&self, digest: &str, policy: OnIncompatible) -> Vec<Earlier> {
        let mut earlier = self.record.earlier.clone();
        if policy == OnIncompatible::Pin {
            earlier.push(Earlier { version: self.record.version.clone(), digest: self.record.digest.clone() });
        }
        earlier.retain(|earlier| earlier.digest != digest);
        earlier
    }
}

impl Applications {
    /// Refuses a version with which something would not go on that is to.
    pub(super) async fn check_upgrade(&self, running: &actor::Application, policy: OnIncompatible) -> Result<(), Failure> {
        if policy == OnIncompatible::Replace {
            return Ok(());
        }
        let mut broken = self.0.runtime.would_break(running).await?;
        if policy == OnIncompatible::Pin {
            // What stands already stands on. A type that is gone cannot be gone on with.
            broken.retain(|(_, failure)| failure.code == Code::NotFound);
        }
        if broken.is_empty() { Ok(()) } else { Err(incompatible(&broken)) }
    }

    /// The code of the earlier versions of a record.
    pub(super) async fn earlier_versions(&self, record: &Record) -> Vec<Arc<dyn Factory>> {
        let mut found: Vec<Arc<dyn Factory>> = Vec::new();
        for Earlier { version, digest } in &record.earlier {
            let loaded = async {
                let wasm = self.0.files.get(digest).await?;
                let component = self.0.engine.load(wasm).await.map_err(component_failure)?;
                let damaged = || Failure::new(Code::StorageFailed, "the stored component is damaged");
                if component.digest() == digest { Ok(component) } else { Err(damaged()) }
            };
            match loaded.await {
                Ok(component) => found.push(component),
                Err(failure) => {
                    tracing::error!(app = %record.app, namespace = %record.namespace, version, digest, %failure, "what goes on with an earlier version stands still: it could not be brought back");
                }
            }
        }
        found
    }

    /// The earlier versions of an application with what goes on with them.
    pub(super) async fn show_earlier(&self, entry: &Entry) -> Result<Vec<EarlierVersion>, Failure> {
        let Some(running) = entry.running.as_ref().filter(|_| !entry.record.earlier.is_empty()) else { return Ok(Vec::new()) };
        let under_way = self.0.runtime.under_way(running).await?;
        let shown = entry.record.earlier.iter().map(|earlier| {
            let code = plexspaces_wasm::code_of(&earlier.digest);
            let of_it = under_way.iter().filter(|(_, began_with)| *began_with == code);
            EarlierVersion {
                version: earlier.version.clone(),
                digest: earlier.digest.clone(),
                actor_ids: of_it.take(SHOWN).map(|(id, _)| id.to_string()).collect(),
            }
        });
        Ok(shown.collect())
    }

    /// Lets go of earlier versions when nothing goes on with them any more.
    pub(super) fn watch_earlier(&self) {
        let (inner, ended) = (Arc::downgrade(&self.0), self.0.runtime.earlier_ended());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = ended.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
                let Some(inner) = inner.upgrade() else { return };
                Self(inner).release_earlier().await;
            }
        });
    }

    async fn release_earlier(&self) {
        let _changing = self.0.changing.lock().await;
        let entries: Vec<Entry> = self.0.entries.read().values().filter(|entry| !entry.record.earlier.is_empty()).cloned().collect();
        for mut entry in entries {
            let Some(running) = &mut entry.running else { continue };
            let before = entry.record.clone();
            let released = match self.0.runtime.release_earlier(running).await {
                Ok(left) => {
                    running.earlier.retain(|factory| left.contains(&factory.code()));
                    entry.record.earlier.retain(|earlier| left.contains(&plexspaces_wasm::code_of(&earlier.digest)));
                    if entry.record.earlier == before.earlier { Ok(()) } else { self.store(&entry.record).await }
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = released {
                tracing::warn!(app = %before.app, namespace = %before.namespace, %failure, "earlier versions are kept on");
                continue;
            }
            self.0.entries.write().insert(entry.record.key(), entry);
            self.forget_components(&before).await;
        }
    }

    async fn store(&self, record: &Record) -> Result<(), Failure> {
        let encode = |error: serde_json::Error| Failure::new(Code::Internal, error.to_string());
        let mut batch = Batch::new(partition());
        batch.put(record.store_key(), serde_json::to_vec(record).map_err(encode)?);
        Ok(self.0.store.commit(batch).await?)
    }

    /// Removes the components of a record that no application uses any more.
    pub(super) async fn forget_components(&self, record: &Record) {
        for digest in record.digests() {
            self.forget_component(digest).await;
        }
    }
}

fn incompatible(broken: &[(ActorId, Failure)]) -> Failure {
    let each: Vec<String> = broken.iter().map(|(id, failure)| format!("{id}: {}", failure.message)).collect();
    let message = format!(
        "the new version would break what is under way; with on_incompatible = \"pin\" that goes on with the version that it began with, with \
         \"replace\" it stands until code comes that fits it: {}",
        each.join("; ")
    );
    Failure::new(Code::Conflict, message).with_field("wasm")
}
