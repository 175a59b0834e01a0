//! A global allocator that counts: an input that makes the code under test hold too much memory is a crash.
//!
//! libFuzzer's own limits need a sanitizer's hooks for single allocations, and sample the process's size only once a second.
#![expect(unsafe_code, reason = "a global allocator has no safe interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that may be allocated at once. The promise is 256 MiB for a whole process; the rest is for C libraries and stacks.
const LIMIT: usize = 192 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a limit.
struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

fn take(size: usize) {
    let held = HELD.fetch_add(size, Ordering::Relaxed) + size;
    if held > LIMIT {
        // The report itself must be able to allocate.
        HELD.store(0, Ordering::Relaxed);
        panic!("{held} bytes are held after an allocation of {size}; the limit is {LIMIT}");
    }
}

fn give_back(size: usize) {
    // Saturating: what was taken before a reset is given back too.
    let _ = HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(size)));
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        give_back(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
