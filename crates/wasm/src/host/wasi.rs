//! WASI for guests whose runtime cannot do without: the host's clock and random numbers, and nothing else. There are no files, no
//! environment, no arguments and no sockets. What a guest prints becomes lines of its log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::LogLevel;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Host;
use super::constancy::Monotonic;

/// What a guest may print between two messages, in bytes; the rest is dropped.
const OUTPUT_BYTES: usize = 64 << 10;

/// Streams, timers and the like that a guest may hold at the same time: they are the node's memory.
const RESOURCES: usize = 4096;

/// Random bytes that a guest may take in one call.
const RANDOM_BYTES: u64 = 1 << 20;

pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (output, constancy) = (&self.output, &self.constancy);
        let wasi = self.wasi.get_or_insert_with(|| {
            let ctx = WasiCtx::builder()
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .max_random_size(RANDOM_BYTES)
                .wall_clock(constancy.clone())
                .monotonic_clock(Monotonic::new(constancy.clone()))
                .secure_random(constancy.clone())
                .insecure_random(constancy.clone())
                .stdout(output.stdout.clone())
                .stderr(output.stderr.clone())
                .build();
            let mut table = ResourceTable::new();
            table.set_max_capacity(RESOURCES);
            Box::new(Wasi { ctx, table })
        });
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl Host {
    /// Writes what the guest printed to its log, a line each.
    pub(super) fn flush_output(&self) {
        for (pipe, level) in [(&self.output.stdout, LogLevel::Info), (&self.output.stderr, LogLevel::Warn)] {
            let (text, dropped) = pipe.take();
            for line in String::from_utf8_lossy(&text).lines() {
                self.write_line(level, line);
            }
            if dropped > 0 {
                self.write_line(LogLevel::Warn, &format!("{dropped} more bytes of output were dropped, the limit is {OUTPUT_BYTES} bytes"));
            }
        }
    }
}

/// What a guest has printed and nobody has logged yet.
#[derive(Default)]
pub(super) struct Output {
    stdout: Pipe,
    stderr: Pipe,
}

/// The guest's end and the host's end of one stream.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Printed>>);

#[derive(Default)]
struct Printed {
    text: Vec<u8>,
    dropped: usize,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> (Vec<u8>, usize) {
        let mut printed = self.lock();
        (std::mem::take(&mut printed.text), std::mem::take(&mut printed.dropped))
    }

    fn append(&self, bytes: &[u8]) {
        let mut printed = self.lock();
        let (kept, dropped) = bytes.split_at(bytes.len().min(OUTPUT_BYTES - printed.text.len()));
        printed.text.extend_from_slice(kept);
        printed.dropped += dropped.len();
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(OUTPUT_BYTES)
    }
}
