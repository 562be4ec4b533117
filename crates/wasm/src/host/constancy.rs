//! The clock and the random numbers of a guest: the system's, or in a durable actor's turn those that the turn has again when it is run again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plexspaces_types::Clock;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use rand_core::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// Tells a turn's numbers that its code draws from those that the host draws for it.
const GUEST: u64 = 0x5155_4553_5400_0000;

/// Shared by the host and the guest's WASI.
#[derive(Clone, Default)]
pub(super) struct Constancy(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Milliseconds since the Unix epoch; 0 for the system's clock.
    now_ms: AtomicU64,
    /// How often the monotonic clock was read in this turn: it never stands still.
    reads: AtomicU64,
    random: Mutex<Option<ChaCha12Rng>>,
}

impl Constancy {
    /// A turn begins: with this time and seed, or with none.
    pub(super) fn begin(&self, turn: Option<(u64, u64)>) {
        let (now_ms, seed) = turn.unzip();
        self.0.now_ms.store(now_ms.unwrap_or(0), Ordering::Relaxed);
        self.0.reads.store(0, Ordering::Relaxed);
        *self.0.random.lock() = seed.map(|seed| ChaCha12Rng::seed_from_u64(seed ^ GUEST));
    }

    /// The turn has waited.
    pub(super) fn advance(&self, now_ms: u64) {
        self.0.now_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn now_ms(&self) -> u64 {
        match self.0.now_ms.load(Ordering::Relaxed) {
            0 => Clock::system().now_ms(),
            now => now,
        }
    }
}

impl HostWallClock for Constancy {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        match self.0.now_ms.load(Ordering::Relaxed) {
            0 => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            now => Duration::from_millis(now),
        }
    }
}

/// The monotonic clock. In a durable actor it goes on from the wall clock.
pub(super) struct Monotonic {
    constancy: Constancy,
    born: Instant,
}

impl Monotonic {
    pub(super) fn new(constancy: Constancy) -> Self {
        Self { constancy, born: Instant::now() }
    }
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let shared = &self.constancy.0;
        match shared.now_ms.load(Ordering::Relaxed) {
            0 => u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX),
            now => now.saturating_mul(1_000_000).saturating_add(shared.reads.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl TryRng for Constancy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.random.lock().as_mut().map_or_else(rand::random, rand_chacha::rand_core::RngCore::next_u32))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.random.lock().as_mut().map_or_else(rand::random, rand_chacha::rand_core::RngCore::next_u64))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match self.0.random.lock().as_mut() {
            Some(random) => random.fill_bytes(bytes),
            None => rand::Rng::fill(&mut rand::rng(), bytes),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(constancy: &Constancy) -> ([u8; 16], u64, Duration) {
        let mut constancy = constancy.clone();
        let mut bytes = [0; 16];
        constancy.try_fill_bytes(&mut bytes).unwrap();
        let monotonic = Monotonic::new(constancy.clone());
        (bytes, monotonic.now() + monotonic.now(), HostWallClock::now(&constancy))
    }

    #[test]
    fn a_turn_that_is_run_again_has_the_same_time_and_numbers() {
        let constancy = Constancy::default();
        constancy.begin(Some((1_000, 7)));
        let first = draw(&constancy);
        constancy.begin(Some((1_000, 7)));
        assert_eq!(draw(&constancy), first);
        constancy.begin(Some((1_000, 8)));
        assert_ne!(draw(&constancy).0, first.0);
        constancy.begin(None);
        assert_ne!(draw(&constancy).0, draw(&constancy).0);
        assert!(HostWallClock::now(&constancy) > Duration::from_secs(1_000_000_000));
    }
}
