//! Giving memory back, so that an idle daemon is a small one.

#![expect(unsafe_code, reason = "the C library's allocator is asked for something that Rust has no word for")]

/// Returns memory that was freed to the system.
///
/// glibc keeps it, per thread, for a next time that may never come: after some busy jobs that is more than everything else.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    unsafe extern "C" {
        /// malloc_trim(3), glibc 2.8 and later: any number of threads may call it at any time.
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // Whether anything was given back does not matter.
    let _ = malloc_trim(0);
}

/// Does nothing: other C libraries give it back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
