//! How work is divided among threads: computations side by side, and long loops over slices in parts.
//!
//! No result depends on the number of threads: a part is a range of values that are computed each on its own.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

/// Values of a part; a loop over fewer than two parts is left to one thread.
const PART: usize = 1 << 16;

thread_local! {
    /// How many computations run side by side, of which this thread's is one.
    static SIDES: Cell<usize> = const { Cell::new(1) };
}

/// Runs both at the same time, if there are threads; what each of them divides then goes to half of the threads.
pub(crate) fn side_by_side<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    fn beside<T>(run: impl FnOnce() -> T) -> T {
        // What a thread takes over while it waits runs under its own number: a matter of speed alone.
        let before = SIDES.replace(2);
        let result = run();
        SIDES.set(before);
        result
    }
    rayon::join(|| beside(first), || beside(second))
}

/// The threads of the current rayon pool that this computation may use, at least one.
pub(crate) fn threads() -> usize {
    (rayon::current_num_threads() / SIDES.get()).max(1)
}

/// Whether several threads should share a loop over so many values.
pub(crate) fn worth_dividing(length: usize) -> bool {
    length >= 2 * PART && threads() > 1
}

/// Calls `run` for ranges that make up 0 to `length`, on several threads if that is worth it. Ranges begin at multiples
/// of `unit`.
fn in_parts(length: usize, unit: usize, run: impl Fn(Range<usize>) + Sync) {
    if !worth_dividing(length) {
        return run(0..length);
    }
    let part = PART.next_multiple_of(unit);
    (0..length.div_ceil(part)).into_par_iter().for_each(|i| run(i * part..((i + 1) * part).min(length)));
}

/// Places of a vector under construction that several threads write.
struct Places(*mut MaybeUninit<f32>);

// SAFETY: threads write to disjoint ranges.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

/// Vectors of one length that `write` fills part by part, on several threads if that is worth it: it is given the
/// places of a range in each, and the range, which begins at a multiple of `unit`. Their memory is not zeroed first.
///
/// # Safety
/// `write` must write every value that it is given.
pub(crate) unsafe fn written_in_parts<const N: usize>(
    length: usize,
    unit: usize,
    write: impl Fn([&mut [MaybeUninit<f32>]; N], Range<usize>) + Sync,
) -> [Vec<f32>; N] {
    let mut vectors: [Vec<f32>; N] = std::array::from_fn(|_| Vec::with_capacity(length));
    let places = vectors.each_mut().map(|vector| Places(vector.spare_capacity_mut().as_mut_ptr()));
    in_parts(length, unit, |range| {
        // SAFETY: ranges lie inside the length, and no two of them overlap.
        let part = |places: &Places| unsafe { std::slice::from_raw_parts_mut(places.0.add(range.start), range.len()) };
        write(places.each_ref().map(part), range);
    });
    // SAFETY: the ranges make up the length, and the caller vouches that they have been written.
    vectors.iter_mut().for_each(|vector| unsafe { vector.set_len(length) });
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole_and_begin_at_units() {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (length, unit) in
                [(0, 1), (5, 7), (PART, 1), (2 * PART, 1), (5 * PART + 3, 1), (700 * 531, 531), (3 * PART, 4 * PART)]
            {
                let starts = std::sync::Mutex::new(Vec::new());
                // SAFETY: every value is written.
                let [values, squares] = pool.install(|| unsafe {
                    written_in_parts(length, unit, |[values, squares], range| {
                        starts.lock().unwrap().push(range.start);
                        for ((value, square), i) in values.iter_mut().zip(squares).zip(range) {
                            value.write(i as f32);
                            square.write(i as f32 * i as f32);
                        }
                    })
                });
                assert!(values.iter().copied().eq((0..length).map(|i| i as f32)), "{threads} threads, {length}");
                assert!(squares.iter().copied().eq(values.iter().map(|i| i * i)), "{threads} threads, {length}");
                let starts = starts.into_inner().unwrap();
                assert!(starts.iter().all(|start| start % unit == 0), "{starts:?}");
                let divided = threads > 1 && length >= 2 * PART && length > unit;
                assert_eq!(starts.len() > 1, divided, "{threads} threads, {length}");
            }
        }
    }
}
