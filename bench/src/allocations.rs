//! Counts allocations and the bytes requested. The benchmarks install [`Counted`] as their
//! allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static BYTES: AtomicU64 = AtomicU64::new(0);
static TIMES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator with counters of its calls and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Counted;

fn count(bytes: usize) {
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    TIMES.fetch_add(1, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator with the same arguments, and its result is
// returned. Counting changes two atomics and allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size.saturating_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The allocations that were made, including those that were freed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocations {
    /// The number of bytes that were asked for.
    pub bytes: u64,
    /// The number of times that memory was asked for.
    pub times: u64,
}

/// Returns what one run of an operation allocates on all threads, and its result. The counts are
/// zero unless [`Counted`] is the allocator.
pub fn of<T>(operation: impl FnOnce() -> T) -> (Allocations, T) {
    let before = (BYTES.load(Ordering::Relaxed), TIMES.load(Ordering::Relaxed));
    let result = operation();
    let bytes = BYTES.load(Ordering::Relaxed) - before.0;
    let times = TIMES.load(Ordering::Relaxed) - before.1;
    (Allocations { bytes, times }, result)
}
