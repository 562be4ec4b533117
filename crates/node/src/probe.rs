//! Tries that the node works end to end: the store takes and returns a value, and an actor answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_api::{Check, Probe};
use plexspaces_app::Applications;
use plexspaces_store::{Batch, Partition, Store};

/// The checks of `/health/deep`.
pub(crate) fn probe(store: Arc<dyn Store>, applications: Applications) -> Probe {
    Arc::new(move || {
        let (store, applications) = (store.clone(), applications.clone());
        Box::pin(async move { vec![check("store", store_works(store)).await, check("applications", all_run(applications)).await] })
    })
}

async fn check(name: &'static str, what: impl Future<Output = Result<(), String>>) -> Check {
    let started = Instant::now();
    let late = || Err("did not finish within 5 s".to_owned());
    let outcome = tokio::time::timeout(Duration::from_secs(5), what).await.unwrap_or_else(|_| late());
    Check { name, outcome, took: started.elapsed() }
}

async fn store_works(store: Arc<dyn Store>) -> Result<(), String> {
    let (partition, value) = (Partition::node("probe"), rand::random::<u64>().to_be_bytes().to_vec());
    let mut batch = Batch::new(partition.clone());
    batch.put("value", value.clone());
    store.commit(batch).await.map_err(|error| error.to_string())?;
    match store.get(&partition, b"value").await.map_err(|error| error.to_string())? {
        Some(read) if read == value => Ok(()),
        // Another probe may have written in between; what must not happen is that nothing is there.
        Some(_) => Ok(()),
        None => Err("what was written was not there".to_owned()),
    }
}

async fn all_run(applications: Applications) -> Result<(), String> {
    match applications.counts() {
        (_, 0) => Ok(()),
        (all, unwell) => Err(format!("{unwell} of {all} applications are not well; the list of applications says which")),
    }
}
