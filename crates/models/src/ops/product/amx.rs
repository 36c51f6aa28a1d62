//! The matrix unit of newer Intel processors (AMX): one instruction adds the product of two tiles of 16 x 32 bf16
//! numbers to 16 x 16 sums in `f32`.
//!
//! The compiler's intrinsics are not stable yet, so the instructions are written out.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::LazyLock;

use super::Target;
use super::avx512::{LANES, load, store};

/// Words (pairs of bf16) of a tile's row, rows of a tile, and columns of its sums.
pub(super) const SIDE: usize = 16;

/// Whether the processor has the unit and the system lets this process use it.
pub(super) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        const BF16: u32 = 1 << 22;
        const TILES: u32 = 1 << 24;
        // SAFETY: every processor with AVX-512 has this leaf. (Newer compilers know the call to be safe.)
        #[allow(unused_unsafe)]
        let features = unsafe { __cpuid_count(7, 0) }.edx;
        features & BF16 != 0 && features & TILES != 0 && permitted()
    });
    *AVAILABLE
}

/// Asks the system for the room that every thread needs to save its tiles.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: a request that changes nothing else; the answer 0 is a permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The unit set up on this thread, until it is dropped.
pub(super) struct Unit(());

impl Unit {
    /// Sets it up: eight tiles of 16 rows of 64 bytes.
    ///
    /// # Safety
    /// It must be [`available`].
    pub(super) unsafe fn new() -> Self {
        #[repr(C, align(64))]
        struct Shapes([u8; 64]);

        let mut shapes = Shapes([0; 64]);
        shapes.0[0] = 1;
        for tile in 0..8 {
            shapes.0[16 + 2 * tile] = 64;
            shapes.0[48 + tile] = 16;
        }
        // SAFETY: the caller vouches for the unit; the table is that of the first palette.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        Self(())
    }

    /// sums <- left right for two by two tiles: `left` are two groups of 16 rows of words, `left_step` words apart;
    /// `right` two groups of 16 columns of words, `right_step` words from pair to pair; `steps` times 16 pairs.
    ///
    /// # Safety
    /// All these words must be readable, and finite where they meet zeros.
    pub(super) unsafe fn multiply(
        &self,
        sums: &mut [[[f32; SIDE]; SIDE]; 4],
        left: [*const u32; 2],
        left_step: usize,
        right: [*const u32; 2],
        right_step: usize,
        steps: usize,
    ) {
        if steps == 0 {
            *sums = [[[0.0; SIDE]; SIDE]; 4];
            return;
        }
        // SAFETY: the caller vouches for the words, and the type of `sums` for its room.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{upper} + {left_bytes}*1]",
                "tileloadd tmm6, [{first} + {right_bytes}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{second} + {right_bytes}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{lower} + {left_bytes}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {upper}, 64",
                "add {lower}, 64",
                "add {first}, {down}",
                "add {second}, {down}",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {row}*1], tmm0",
                "tilestored [{sums} + {row}*1 + 1024], tmm1",
                "tilestored [{sums} + {row}*1 + 2048], tmm2",
                "tilestored [{sums} + {row}*1 + 3072], tmm3",
                upper = inout(reg) left[0] => _,
                lower = inout(reg) left[1] => _,
                first = inout(reg) right[0] => _,
                second = inout(reg) right[1] => _,
                steps = inout(reg) steps => _,
                left_bytes = in(reg) 4 * left_step,
                right_bytes = in(reg) 4 * right_step,
                down = in(reg) 4 * SIDE * right_step,
                sums = in(reg) sums.as_mut_ptr(),
                row = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: it was set up; without it threads are switched faster.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

/// Stores `rows` x `width` of a tile's sums.
///
/// # Safety
/// The target must be valid for them, and the processor have AVX-512.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store_tile(target: Target, sums: &[[f32; SIDE]; SIDE], rows: usize, width: usize) {
    for (row, sums) in sums.iter().enumerate().take(rows) {
        // SAFETY: the caller vouches for the target; a row of sums is a register.
        unsafe { store(target.at(row, 0), [load(sums.as_ptr(), LANES)], width) };
    }
}
