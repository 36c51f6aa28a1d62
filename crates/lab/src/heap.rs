//! Large blocks of memory in one heap that all threads share.
//!
//! A training step takes and frees the same large buffers again and again. The C library's allocator has a heap for each
//! thread, in pieces of 64 MB at most: of a network with large buffers it gives pieces back to the system after use, and
//! each comes back page by page, zeroed. One heap for everything would keep them, but threads would wait for each other
//! at every small allocation. So blocks of [`LARGE`] bytes and more, of which there are some hundreds a step, come from
//! here, and the others from the C library as before.
//!
//! The heap is a stretch of reserved addresses that becomes usable as it grows. A block is cut from the first free range
//! that holds it, which leaves fewer holes than the smallest does; a freed one joins the free ranges beside it. Memory is
//! never given back. Where addresses cannot be reserved (no Linux, or a limit on them), everything is the C library's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes from which on a block lies in the shared heap.
const LARGE: usize = 128 << 10;
/// Every block begins at a multiple of this.
const ALIGNMENT: usize = 64;
/// Left after a block. Buffers whose lengths are whole pages would otherwise all begin at the same place of a page, and
/// compete for the same lines of a cache.
const GAP: usize = 17 * ALIGNMENT;

/// The allocator of every program that this crate is a part of.
#[global_allocator]
static ALLOCATOR: SharedHeap = SharedHeap;

struct SharedHeap;

static HEAP: Mutex<Heap> = Mutex::new(Heap { region: None, ranges: Ranges::new() });

/// The heap's memory, and which of it is free.
struct Heap {
    /// None before the first block.
    region: Option<Region>,
    ranges: Ranges,
}

/// What is free of the offsets from 0 on.
struct Ranges {
    /// The end of all that was ever taken.
    top: usize,
    /// Lengths of the free ranges below `top` by their starts; none is beside another.
    free: BTreeMap<usize, usize>,
}

impl Ranges {
    const fn new() -> Self {
        Self { top: 0, free: BTreeMap::new() }
    }

    /// Takes `length` out of the first free range that holds it, or else from the top. Returns the start, and whether it
    /// was never taken before.
    fn take(&mut self, length: usize) -> (usize, bool) {
        if let Some((&start, &found)) = self.free.iter().find(|&(_, &found)| found >= length) {
            self.free.remove(&start);
            if found > length {
                self.free.insert(start + length, found - length);
            }
            return (start, false);
        }
        // What is free at the top is a part of it.
        let (start, fresh) = match self.free.last_entry() {
            Some(last) if last.key() + last.get() == self.top => (last.remove_entry().0, false),
            _ => (self.top, true),
        };
        self.top = start + length;
        (start, fresh)
    }

    /// Gives a range back.
    fn give(&mut self, mut start: usize, mut length: usize) {
        if let Some((&before, &found)) = self.free.range(..start).next_back()
            && before + found == start
        {
            (start, length) = (before, found + length);
        }
        if let Some(found) = self.free.remove(&(start + length)) {
            length += found;
        }
        self.free.insert(start, length);
    }
}

/// Reserved addresses, of which the first are usable.
struct Region {
    /// 0 if there are none.
    base: usize,
    usable: usize,
}

impl Region {
    /// More than any machine has memory; only what is used takes some.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    const RESERVED: usize = 1 << 40;
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    const RESERVED: usize = 0;

    /// Bytes that become usable at a time: whole pages of any size.
    const STEP: usize = 64 << 20;

    fn reserve() -> Self {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new mapping, at an address that the system chooses.
            let base = unsafe { libc::mmap(std::ptr::null_mut(), Self::RESERVED, libc::PROT_NONE, flags, -1, 0) };
            if base != libc::MAP_FAILED {
                return Self { base: base as usize, usable: 0 };
            }
        }
        Self { base: 0, usable: 0 }
    }

    fn holds(&self, address: usize) -> bool {
        (self.base..self.base + Self::RESERVED).contains(&address)
    }

    /// Makes the first `end` bytes usable; whether they are.
    fn grow(&mut self, end: usize) -> bool {
        if end <= self.usable {
            return true;
        }
        let usable = end.next_multiple_of(Self::STEP);
        if self.base == 0 || usable > Self::RESERVED {
            return false;
        }
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        {
            let (start, length) = ((self.base + self.usable) as *mut libc::c_void, usable - self.usable);
            // SAFETY: reserved addresses that nothing uses yet. Large pages are a wish that the system may refuse.
            unsafe {
                if libc::mprotect(start, length, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                    return false;
                }
                libc::madvise(start, length, libc::MADV_HUGEPAGE);
            }
        }
        self.usable = usable;
        true
    }
}

/// The length of the range of a block of `size` bytes, which is at most `isize::MAX`.
fn range_length(size: usize) -> usize {
    size.next_multiple_of(ALIGNMENT) + GAP
}

impl Heap {
    fn lock() -> MutexGuard<'static, Self> {
        HEAP.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a new block, and whether it holds zeros; none if there is no room.
    fn take(&mut self, size: usize) -> Option<(usize, bool)> {
        let length = range_length(size);
        let region = self.region.get_or_insert_with(Region::reserve);
        let (start, fresh) = self.ranges.take(length);
        if !region.grow(start.saturating_add(length)) {
            self.ranges.give(start, length);
            return None;
        }
        Some((region.base + start, fresh))
    }

    /// Takes a block of `size` bytes back; whether it is one of this heap's.
    fn give(&mut self, address: usize, size: usize) -> bool {
        match &self.region {
            Some(region) if region.holds(address) => {
                self.ranges.give(address - region.base, range_length(size));
                true
            }
            _ => false,
        }
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= ALIGNMENT
}

// SAFETY: a block is a range of usable addresses that no other block has, or the system allocator's; the maps of the
// heap are small blocks, which never come here while it is locked.
unsafe impl GlobalAlloc for SharedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout)
            && let Some((address, _)) = Heap::lock().take(layout.size())
        {
            return address as *mut u8;
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            let taken = Heap::lock().take(layout.size());
            if let Some((address, zeroed)) = taken {
                let block = address as *mut u8;
                if !zeroed {
                    // SAFETY: a new block of this size.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                return block;
            }
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) && Heap::lock().give(block as usize, layout.size()) {
            return;
        }
        // SAFETY: the caller's promise is the same, and the block is not of the shared heap.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are those of the functions called; both blocks hold what is copied.
        unsafe {
            let new_layout = Layout::from_size_align_unchecked(new_size, layout.align());
            if !is_large(layout) && !is_large(new_layout) {
                return System.realloc(block, layout, new_size);
            }
            let new = self.alloc(new_layout);
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, from a seed.
    fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        }
    }

    #[test]
    fn ranges_never_overlap_and_join_again() {
        let mut random = numbers(1);
        let mut ranges = Ranges::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for _ in 0..3000 {
            if taken.len() < 40 && random(2) == 0 {
                let length = random(50) + 1;
                let top = ranges.top;
                let (start, fresh) = ranges.take(length);
                assert_eq!(fresh, start == top, "fresh is what lies above all that was taken");
                for &(other, other_length) in &taken {
                    assert!(start + length <= other || other + other_length <= start, "{start}, {other}");
                }
                taken.push((start, length));
            } else if !taken.is_empty() {
                let (start, length) = taken.swap_remove(random(taken.len()));
                ranges.give(start, length);
            }
        }
        for (start, length) in taken {
            ranges.give(start, length);
        }
        let top = ranges.top;
        assert_eq!(ranges.free, BTreeMap::from([(0, top)]));
        assert_eq!(ranges.take(top + 5), (0, false), "the last free range grows");
        assert_eq!(ranges.top, top + 5);
    }

    #[test]
    fn the_first_range_that_holds_a_block_is_cut() {
        let mut ranges = Ranges::new();
        let starts = [10, 1, 4, 1, 6, 1].map(|length| (ranges.take(length).0, length));
        for (start, length) in starts.into_iter().filter(|(_, length)| *length > 1) {
            ranges.give(start, length);
        }
        assert_eq!(ranges.take(7), (0, false));
        assert_eq!(ranges.take(5), (16, false));
        assert_eq!(ranges.take(4), (11, false));
        let top = ranges.top;
        assert_eq!(ranges.take(4), (top, true));
    }

    /// Blocks of all sizes, zeroed or not, grown and shrunk by several threads: each keeps what was written to it.
    #[test]
    fn blocks_keep_their_values_beside_those_of_other_threads() {
        std::thread::scope(|scope| {
            for thread in 1..=4u8 {
                scope.spawn(move || {
                    let mut random = numbers(u64::from(thread));
                    let mut blocks: Vec<Vec<u8>> = Vec::new();
                    for step in 0..200 {
                        let size = random(4 * LARGE);
                        match random(4) {
                            0 => {
                                let zeros = vec![0; size];
                                assert!(zeros.iter().all(|&byte| byte == 0), "a block is not zeroed");
                                drop(zeros);
                                blocks.push(vec![thread; size]);
                            }
                            1 if !blocks.is_empty() => drop(blocks.swap_remove(random(blocks.len()))),
                            2 if !blocks.is_empty() => {
                                let index = random(blocks.len());
                                blocks[index].resize(size, thread);
                                blocks[index].shrink_to_fit();
                            }
                            _ => {}
                        }
                        if step % 20 == 0 {
                            assert!(blocks.iter().flatten().all(|&byte| byte == thread), "a block was overwritten");
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn large_blocks_lie_in_the_shared_heap_and_small_ones_do_not() {
        let (large, small) = (vec![1u8; LARGE], vec![1u8; LARGE - 1]);
        let shared = |block: &[u8]| Heap::lock().region.as_ref().is_some_and(|r| r.holds(block.as_ptr() as usize));
        assert_eq!(shared(&large), cfg!(all(target_os = "linux", target_pointer_width = "64")));
        assert!(!shared(&small));
        assert_eq!(large.as_ptr() as usize % 64, 0);
    }
}
