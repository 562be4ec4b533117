//! The engine: wasmtime with the node's settings, its clock, and the components that are loaded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings::ActorPre;
use crate::cache::Cache;
use crate::host::{self, Host};
use crate::limiter::{TABLE_ELEMENTS, TICK};
use crate::{Component, Config, Error, validate};

/// The most instances whose memories fit into the addresses of a process: of 128 TiB, the largest piece below the program is 85 TiB.
const MAX_INSTANCES: u32 = 10_000;
/// Memories that the pool holds for each instance: most guests have one, some runtimes three.
const MEMORIES: u32 = 2;
const TABLES: u32 = 4;
const CORE_INSTANCES: u32 = 60;
/// The stack that a guest may use. CPython needs several hundred KiB to reach its own recursion limit first.
const WASM_STACK: usize = 1 << 20;
/// The stack of a guest and of the host functions that it calls.
const STACK: usize = WASM_STACK + (1 << 20);
/// So much of a memory and of a table stays when an instance has gone, for the next one of the same component: to write over it what it was
/// at first is quicker than to give it back and to be given it again page by page, which stops the other threads of the process each time.
const KEPT_OF_MEMORY: usize = 4 << 20;
const KEPT_OF_TABLE: usize = 64 << 10;

/// Compiles, caches and runs components. Clones are one engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: Config,
    wasmtime: wasmtime::Engine,
    linker: Linker<Host>,
    cache: Cache,
    ticks: Arc<AtomicU64>,
    loaded: Mutex<HashMap<String, Slot>>,
}

/// A component by its digest; the lock is held while it is compiled.
type Slot = Arc<tokio::sync::Mutex<Weak<Component>>>;

impl Engine {
    /// Reserves the addresses for the instances and starts the thread that makes guests yield; it ends with the last handle of the
    /// engine and its components.
    pub fn new(config: Config) -> Result<Self, Error> {
        if !(1..=MAX_INSTANCES).contains(&config.instances) {
            let expected = format!("a number of instances from 1 to {MAX_INSTANCES}");
            return Err(Error::InvalidConfig { key: "instances", expected, found: config.instances.to_string() });
        }
        warn_of_few_maps(config.instances);
        describe_metrics();
        let wasmtime = wasmtime::Engine::new(&settings(config.instances))
            .map_err(|error| Error::Reserve { instances: config.instances, detail: format!("{error:#}") })?;
        let linker = host::linker(&wasmtime).map_err(internal)?;
        let cache = Cache::open(config.cache_dir.clone(), &wasmtime)?;
        let ticks = Arc::new(AtomicU64::new(0));
        start_ticker(&wasmtime, Arc::clone(&ticks))?;
        Ok(Self(Arc::new(Inner { config, wasmtime, linker, cache, ticks, loaded: Mutex::default() })))
    }

    /// Makes a component ready to run: checks it, compiles it unless that was done before, and reads its description. Loads of the same
    /// bytes wait for each other and give the same component.
    pub async fn load(&self, wasm: Bytes) -> Result<Arc<Component>, Error> {
        validate::format(&wasm)?;
        let (digest, wasm) = blocking(move || (format!("{:x}", Sha256::digest(&wasm)), wasm)).await?;
        let slot = self.slot(&digest);
        let mut loaded = slot.lock().await;
        if let Some(component) = loaded.upgrade() {
            return Ok(component);
        }
        let engine = self.clone();
        let (digest, pre) = blocking(move || {
            let compiled = engine.compile(&wasm, &digest)?;
            let pre = engine.link(&compiled)?;
            Ok::<_, Error>((digest, pre))
        })
        .await??;
        let component = Arc::new(Component::describe(self.clone(), pre, digest).await?);
        *loaded = Arc::downgrade(&component);
        Ok(component)
    }

    fn slot(&self, digest: &str) -> Slot {
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|component| component.strong_count() > 0));
        Arc::clone(loaded.entry(digest.to_owned()).or_default())
    }

    fn compile(&self, wasm: &[u8], digest: &str) -> Result<wasmtime::component::Component, Error> {
        let Inner { wasmtime, cache, .. } = &*self.0;
        if let Some(component) = cache.get(wasmtime, digest) {
            return Ok(component);
        }
        let started = Instant::now();
        let compiled = wasmtime.precompile_component(wasm).map_err(|error| Error::Malformed { detail: format!("{error:#}") })?;
        metrics::histogram!("plexspaces_wasm_compile_seconds").record(started.elapsed().as_secs_f64());
        tracing::info!(digest, bytes = wasm.len(), elapsed = ?started.elapsed(), "compiled a component");
        cache.put(wasmtime, digest, &compiled)
    }

    fn link(&self, component: &wasmtime::component::Component) -> Result<ActorPre<Host>, Error> {
        validate::world(&self.0.wasmtime, component)?;
        self.0.linker.instantiate_pre(component).and_then(ActorPre::new).map_err(|error| Error::OtherWorld { detail: format!("{error:#}") })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    /// Bytes of memory that are kept for instances to come.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let pool = self.0.wasmtime.pooling_allocator_metrics();
        pool.map_or(0, |pool| (pool.unused_memory_bytes_resident() + pool.unused_table_bytes_resident()) as u64)
    }

    /// Whether one more instance leaves places for actors: one in eight, and one at least.
    pub(crate) fn has_room(&self) -> bool {
        let instances = u64::from(self.0.config.instances);
        let pool = self.0.wasmtime.pooling_allocator_metrics();
        pool.is_some_and(|pool| pool.component_instances() + 1 < instances - instances / 8)
    }

    /// Counts the ticks since the engine was made.
    pub(crate) fn ticks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.ticks)
    }
}

fn settings(instances: u32) -> wasmtime::Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(4)
        .max_tables_per_component(CORE_INSTANCES)
        .max_tables_per_module(4)
        .max_memories_per_module(4)
        .table_elements(TABLE_ELEMENTS);
    // Linux tells since 6.7 which pages were written. Elsewhere all of the first bytes would be written over and stay in memory.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEPT_OF_MEMORY)
            .table_keep_resident(KEPT_OF_TABLE)
            // What is kept is used before anything new, so that there is never more of it than was in use at once.
            .max_unused_warm_slots(0);
    }
    let mut config = wasmtime::Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        // Instances share a memory's first contents page by page. In the component's file those pages lie in large folios, which the
        // kernel locks as a whole, and with hundreds of instances for as long as milliseconds: whoever then touches a page waits.
        .force_memory_init_memfd(true)
        .epoch_interruption(true)
        .wasm_component_model(true)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK);
    config
}

/// Ends when nothing holds the engine any more.
fn start_ticker(engine: &wasmtime::Engine, ticks: Arc<AtomicU64>) -> Result<(), Error> {
    let engine = engine.weak();
    let run = move || {
        loop {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            ticks.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new()
        .name("wasm-ticker".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| Error::Internal { detail: format!("cannot start the ticker: {error}") })
}

fn describe_metrics() {
    use metrics::Unit::{Count, Seconds};
    metrics::describe_histogram!("plexspaces_wasm_compile_seconds", Seconds, "How long components took to compile");
    metrics::describe_histogram!("plexspaces_wasm_instantiate_seconds", Seconds, "How long instances took to make");
    metrics::describe_gauge!("plexspaces_wasm_instances", Count, "Instances in memory");
}

fn warn_of_few_maps(instances: u32) {
    let needed = u64::from(instances) * 6 + 5_000;
    let allowed = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse::<u64>().ok());
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!("{instances} instances may need vm.max_map_count={needed}, found {allowed}; beyond that, new actors are refused");
    }
}

fn internal(error: wasmtime::Error) -> Error {
    Error::Internal { detail: format!("{error:#}") }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(plexspaces_actor::in_this_trace(work)).await.map_err(|error| Error::Internal { detail: error.to_string() })
}
