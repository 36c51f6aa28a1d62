//! How the process keeps its memory.

/// Tells the C library's allocator to keep freed memory rather than to give it back to the system.
///
/// A training step frees and takes the same large buffers again and again; returned to the system, each would come back
/// page by page, zeroed. Costs nothing but that the process stays as large as it once was. Does nothing where the C
/// library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEEP: libc::c_int = libc::c_int::MAX;
        // SAFETY: `mallopt` only sets parameters of the allocator; these are documented for it.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
    }
}
