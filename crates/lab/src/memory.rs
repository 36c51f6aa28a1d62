//! How the process keeps its memory, how much there is, and what becomes of a program that asks for more.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::error::{LabError, Result};

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

/// The system's allocator; where it has no memory left, the program ends with one line and exit code 2, where Rust
/// would abort it. What is stored is whole then, as after any other end.
struct OrEnd;

#[global_allocator]
static ALLOCATOR: OrEnd = OrEnd;

// SAFETY: all calls are passed on to the system's allocator as they are; a null pointer is never returned.
unsafe impl GlobalAlloc for OrEnd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `alloc`.
        or_end(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The pointer, if it is one.
fn or_end(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        end(bytes);
    }
    pointer
}

#[cold]
fn end(bytes: usize) -> ! {
    // Nothing here may allocate.
    let mut line = Line { text: [0; 200], length: 0 };
    let _ = std::fmt::Write::write_fmt(
        &mut line,
        format_args!(
            "error: found no memory for {bytes} bytes more, expected it: make the preset smaller, or --jobs; what is \
             stored is whole\n"
        ),
    );
    #[cfg(unix)]
    // SAFETY: the pointer and the length are those of `text`, of which `length` bytes are written; `_exit` ends the
    // process without running anything that could allocate.
    unsafe {
        libc::write(2, line.text.as_ptr().cast(), line.length);
        libc::_exit(2)
    }
    #[cfg(not(unix))]
    {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), &line.text[..line.length]);
        std::process::exit(2)
    }
}

/// A text that takes no memory but its own.
struct Line {
    text: [u8; 200],
    length: usize,
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = &mut self.text[self.length..];
        let count = room.len().min(text.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

/// How many bytes of memory this process may have at most: what the machine has, what the container or the cluster's
/// job may take, what `ulimit -v` allows. None where the system does not tell.
pub fn most() -> Option<u64> {
    let limits = [machine(), container(), address_space()];
    limits.into_iter().flatten().min()
}

/// Refuses what takes more memory than there can be; `fields` are what to make smaller.
///
/// # Errors
/// One line with both numbers.
pub fn check(bytes: u64, fields: &str) -> Result<()> {
    match most() {
        Some(most) if bytes > most => Err(LabError::value(
            fields,
            format!("a size that takes about {} of memory", in_words(bytes)),
            format!("at most the {} that there are", in_words(most)),
        )),
        _ => Ok(()),
    }
}

fn in_words(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(target_os = "linux")]
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

#[cfg(not(target_os = "linux"))]
fn machine() -> Option<u64> {
    None
}

/// The least limit of the control groups that this process is in.
#[cfg(target_os = "linux")]
fn container() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let number = |path: std::path::PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // A limit of an outer group holds too.
        for group in std::path::Path::new(path.trim_start_matches('/')).ancestors() {
            let found = number(std::path::Path::new(root).join(group).join(file));
            least = least.into_iter().chain(found).min();
        }
    }
    least
}

#[cfg(not(target_os = "linux"))]
fn container() -> Option<u64> {
    None
}

#[cfg(unix)]
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local that outlives the call.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    (answer == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_there_is_is_refused_with_both_numbers() {
        assert!(check(0, "model").is_ok());
        if let Some(most) = most() {
            assert!(most > 1 << 20, "{most}");
            assert!(check(most, "model").is_ok());
            let error = check(u64::MAX, "model.width or model.layers").unwrap_err().to_string();
            assert!(error.starts_with("model.width or model.layers: found a size that takes about 18446744073.7 GB"));
        }
    }
}
