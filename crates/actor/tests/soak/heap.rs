//! Counts what is in use of the heap.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);
static OBJECTS: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(size: usize, objects: isize) {
    BYTES.fetch_add(size.cast_signed() * objects, Relaxed);
    OBJECTS.fetch_add(objects, Relaxed);
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What is in use.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    pub bytes: isize,
    pub objects: isize,
}

/// What is in use when nothing changes any more: not for several looks, since a machine that has other things to do lets us stand still too.
pub async fn settled() -> Heap {
    let (mut last, mut calm) = (0, 0);
    for _ in 0..500 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let bytes = BYTES.load(Relaxed);
        calm = if (bytes - last).abs() < 4096 { calm + 1 } else { 0 };
        if calm >= 5 {
            break;
        }
        last = bytes;
    }
    Heap { bytes: BYTES.load(Relaxed), objects: OBJECTS.load(Relaxed) }
}

/// The same, when no more than so many bytes are in use or a minute is over.
pub async fn settled_at(most: isize) -> Heap {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let heap = settled().await;
        if heap.bytes <= most || Instant::now() >= deadline {
            return heap;
        }
    }
}
