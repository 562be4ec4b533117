//! What the engine adds to wasmtime, as ratios measured in one run. `cargo bench -p plexspaces-wasm -- [--instances N]`.
//!
//! Raw means the least code that does the same with the same allocator: a store with an empty WASI context and host functions that do
//! nothing, without limits, logs, checks of replies or a description.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use plexspaces_actor::{Factory, Instance, Limits, Spec, Turn};
use plexspaces_testkit::{guests, python};
use plexspaces_types::{ActorId, Key, Message, MessageKind, Name, Payload};
use plexspaces_wasm::{Config, Engine};
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::error::Context;
use wasmtime::{InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "actor",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

use bindings::exports::plexspaces::actor::guest;
use bindings::plexspaces::actor::{blobs, context, durability, http, key_value, lifecycle, logging, messaging, services, timers, types};

/// The raw store's data.
struct Raw {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Raw {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Raw {}

impl context::Host for Raw {
    async fn actor_id(&mut self) -> wasmtime::Result<String> {
        Ok(String::new())
    }
    async fn now_ms(&mut self) -> wasmtime::Result<f64> {
        Ok(0.0)
    }
}

impl logging::Host for Raw {
    async fn log(&mut self, _: logging::Level, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl messaging::Host for Raw {
    async fn ask(
        &mut self,
        _: String,
        _: String,
        payload: types::PayloadResult,
        _: u32,
    ) -> wasmtime::Result<Result<types::PayloadResult, types::Error>> {
        Ok(Ok(payload))
    }
    async fn tell(&mut self, _: String, _: String, _: types::PayloadResult) -> wasmtime::Result<Result<(), types::Error>> {
        Ok(Ok(()))
    }
}

impl key_value::Host for Raw {
    async fn get(&mut self, _: String) -> wasmtime::Result<Result<Option<String>, types::Error>> {
        Ok(Ok(None))
    }
    async fn put(&mut self, _: String, _: String, _: Option<u32>) -> wasmtime::Result<Result<(), types::Error>> {
        Ok(Ok(()))
    }
    async fn delete(&mut self, _: String) -> wasmtime::Result<Result<bool, types::Error>> {
        Ok(Ok(false))
    }
    async fn compare_and_set(&mut self, _: String, _: Option<String>, _: String) -> wasmtime::Result<Result<bool, types::Error>> {
        Ok(Ok(false))
    }
    async fn list_keys(&mut self, _: String, _: Option<String>, _: u32) -> wasmtime::Result<Result<Vec<String>, types::Error>> {
        Ok(Ok(Vec::new()))
    }
}

/// What a guest that needs none of it is told.
fn absent<T>() -> wasmtime::Result<Result<T, types::Error>> {
    Ok(Err(types::Error { code: "not_found".to_owned(), message: String::new(), retryable: false }))
}

impl lifecycle::Host for Raw {
    async fn monitor(&mut self, _: String) -> wasmtime::Result<Result<String, types::Error>> {
        absent()
    }
    async fn demonitor(&mut self, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
    async fn link(&mut self, _: String) -> wasmtime::Result<Result<(), types::Error>> {
        absent()
    }
    async fn unlink(&mut self, _: String) -> wasmtime::Result<Result<(), types::Error>> {
        absent()
    }
    async fn spawn(&mut self, _: String, _: String, _: String) -> wasmtime::Result<Result<String, types::Error>> {
        absent()
    }
    async fn stop(&mut self, _: String) -> wasmtime::Result<Result<bool, types::Error>> {
        absent()
    }
}

impl durability::Host for Raw {
    async fn sleep_until(&mut self, _: u64) -> wasmtime::Result<Result<bool, types::Error>> {
        Ok(Ok(true))
    }
    async fn take_signals(&mut self) -> wasmtime::Result<Vec<durability::Signal>> {
        Ok(Vec::new())
    }
    async fn publish(&mut self, _: types::PayloadResult) -> wasmtime::Result<Result<(), types::Error>> {
        Ok(Ok(()))
    }
}

impl timers::Host for Raw {
    async fn start(
        &mut self,
        _: Option<String>,
        _: timers::Schedule,
        _: String,
        _: types::PayloadResult,
        _: bool,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        absent()
    }
    async fn cancel(&mut self, _: String, _: bool) -> wasmtime::Result<Result<bool, types::Error>> {
        absent()
    }
}

impl http::Host for Raw {
    async fn fetch(&mut self, _: String, _: http::Request) -> wasmtime::Result<Result<http::Response, types::Error>> {
        absent()
    }
}

impl services::Host for Raw {
    async fn request(&mut self, _: String, _: String, _: String, _: String) -> wasmtime::Result<Result<String, types::Error>> {
        absent()
    }
}

impl blobs::Host for Raw {
    async fn put(&mut self, _: String, _: String, _: blobs::Content) -> wasmtime::Result<Result<blobs::Info, types::Error>> {
        absent()
    }
    async fn get(&mut self, _: String, _: u64, _: Option<u64>) -> wasmtime::Result<Result<(blobs::Info, blobs::Content), types::Error>> {
        absent()
    }
    async fn head(&mut self, _: String) -> wasmtime::Result<Result<blobs::Info, types::Error>> {
        absent()
    }
    async fn delete(&mut self, _: String) -> wasmtime::Result<Result<bool, types::Error>> {
        absent()
    }
    async fn presign(&mut self, _: String, _: String, _: u32) -> wasmtime::Result<Result<String, types::Error>> {
        absent()
    }
    async fn list_blobs(&mut self, _: String, _: Option<String>, _: u32) -> wasmtime::Result<Result<Vec<blobs::Info>, types::Error>> {
        absent()
    }
}

/// Wasmtime alone.
struct Baseline {
    engine: wasmtime::Engine,
    pre: bindings::ActorPre<Raw>,
}

impl Baseline {
    fn new(wasm: &[u8]) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(6000).total_tables(400).total_memories(200).max_tables_per_module(4).table_elements(100_000);
        let mut config = wasmtime::Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)).concurrency_support(false).epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        bindings::Actor::add_to_linker::<Raw, HasSelf<Raw>>(&mut linker, |raw| raw)?;
        let pre = bindings::ActorPre::new(linker.instantiate_pre(&Component::new(&engine, wasm)?)?)?;
        Ok(Self { engine, pre })
    }

    async fn create(&self, actor_type: &str) -> Result<(Store<Raw>, bindings::Actor)> {
        let mut store = Store::new(&self.engine, Raw { wasi: WasiCtx::builder().build(), table: ResourceTable::new() });
        store.set_epoch_deadline(u64::MAX / 2);
        let actor = self.pre.instantiate_async(&mut store).await?;
        let started = actor.plexspaces_actor_guest().call_init(&mut store, actor_type, "{}").await?;
        started.ok().context("init failed")?;
        Ok((store, actor))
    }
}

fn main() -> Result<()> {
    let instances = std::env::args().skip_while(|arg| arg != "--instances").nth(1).map_or(Ok(1000), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(instances))
}

async fn run(instances: u32) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::new(Config { instances: instances.max(100), ..Config::new(dir.path()) })?;
    println!("{:<28} {:>12} {:>12} {:>8}", "p50", "wasmtime", "plexspaces", "ratio");
    let python = fs::read(python::counter().map_err(|error| wasmtime::format_err!("{error:#}"))?)?;
    for (language, actor_type, wasm, rounds) in [("wat", "echo", guests::echo(), 2000), ("python", "counter", python.clone(), 300)] {
        compare(&engine, language, actor_type, wasm, rounds).await?;
    }
    memory(&engine, python, instances).await
}

async fn compare(engine: &Engine, language: &str, actor_type: &str, wasm: Vec<u8>, rounds: usize) -> Result<()> {
    let baseline = Baseline::new(&wasm)?;
    let component = engine.load(wasm.into()).await?;
    let spec = spec(actor_type)?;
    // The two sides take turns, so that both see the same machine.
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        let made = baseline.create(actor_type).await?;
        raw.push(started.elapsed());
        drop(made);
        let started = Instant::now();
        let made = create(&*component, &spec).await?;
        ours.push(started.elapsed());
        drop(made);
    }
    row(&format!("{language}: instance and init"), raw, ours);

    let (mut store, actor) = baseline.create(actor_type).await?;
    let mut instance = create(&*component, &spec).await?;
    for size in [16, 16 << 10] {
        let message = message("echo", format!("\"{}\"", "x".repeat(size - 2)));
        let Payload::Json(text) = &message.payload else { continue };
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds * 10 {
            let started = Instant::now();
            let lowered =
                guest::Message { operation: "echo", kind: guest::MessageKind::Call, payload: types::PayloadParam::Json(text), sender: "" };
            black_box(actor.plexspaces_actor_guest().call_handle(&mut store, lowered, false).await?.ok().context("the guest failed")?);
            raw.push(started.elapsed());
            let turn = Turn::detached(spec.id.clone());
            let started = Instant::now();
            black_box(instance.handle(&message, turn, false).await.map_err(failed)?);
            ours.push(started.elapsed());
        }
        row(&format!("{language}: handle, {size} bytes"), raw, ours);
    }
    Ok(())
}

/// Private memory and maps of the process for each live actor that has handled 20 messages.
async fn memory(engine: &Engine, wasm: Vec<u8>, instances: u32) -> Result<()> {
    let component = engine.load(wasm.into()).await?;
    let spec = spec("counter")?;
    let message = message("echo", "\"hello\"".to_owned());
    let (private, maps) = (private_kib()?, maps()?);
    let mut live = Vec::new();
    for n in 0..instances {
        let mut instance = create(&*component, &spec).await.with_context(|| format!("after {n} instances"))?;
        for _ in 0..20 {
            instance.handle(&message, Turn::detached(spec.id.clone()), false).await.map_err(failed)?;
        }
        live.push(instance);
    }
    let count = f64::from(instances);
    println!("{instances} live python actors: {:.0} KiB private memory each", (private_kib()? - private) / count);
    println!("{instances} live python actors: {:.2} maps each, {} in the process", (self::maps()? - maps) / count, self::maps()?);
    Ok(())
}

async fn create(component: &dyn Factory, spec: &Spec) -> Result<Box<dyn Instance>> {
    Ok(component.create(spec, Turn::detached(spec.id.clone())).await.map_err(failed)?.0)
}

fn failed(fault: plexspaces_actor::Fault) -> wasmtime::Error {
    fault.into_failure().into()
}

fn spec(actor_type: &str) -> Result<Spec> {
    let id = ActorId::new(Name::new("tenant", "bench")?, Name::new("namespace", "bench")?, Name::new("type", actor_type)?, Key::new("1")?);
    Ok(Spec { id, guest_type: actor_type.to_owned(), config: "{}".to_owned(), limits: Limits::default() })
}

fn message(operation: &str, json: String) -> Message {
    let payload = Payload::Json(json);
    Message { operation: operation.to_owned(), kind: MessageKind::Call, payload, sender: None, idempotency_key: None }
}

fn row(what: &str, raw: Vec<Duration>, ours: Vec<Duration>) {
    let (raw, ours) = (p50(raw), p50(ours));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{what:<28} {:>9.2} us {:>9.2} us {:>7.2}x", micros(raw), micros(ours), micros(ours) / micros(raw));
}

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn private_kib() -> Result<f64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    Ok(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum())
}

fn maps() -> Result<f64> {
    let count = u32::try_from(fs::read_to_string("/proc/self/maps")?.lines().count())?;
    Ok(f64::from(count))
}
