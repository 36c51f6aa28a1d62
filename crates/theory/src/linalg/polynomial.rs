//! The polar factor by polynomials of the matrix: products only, which at these sizes are many times faster than
//! rotations.
//!
//! X <- (a + b X X^T + c (X X^T)^2) X keeps the singular vectors and maps every singular value x to a x + b x^3 + c
//! x^5. [`CHAIN`] holds the odd quintic polynomials whose composition brings singular values from [1e-6, 1] to 1
//! fastest (each the best uniform approximation of 1 on the interval that the one before leaves, scaled to stay at or
//! below 1; Amsel et al. 2025, "The Polar Express"). The classical quintic, which converges cubically, then finishes to
//! rounding.
//!
//! The error is that of the polar factor's own condition, the rounding unit times the ratio of the largest to the
//! smallest singular value. Matrices for which that ratio is too large do not converge within the chain and are
//! refused.

use nalgebra::DMatrix;
use pulp::{Arch, Simd, WithSimd};

use super::kernel::{Columns, Output, Strided, multiply};

/// (least singular value that it is made for, [a, b, c]).
const CHAIN: [(f64, [f64; 3]); 11] = [
    (1.000000e-6, [4.257147164452357, -12.640841791078076, 9.383694626625717]),
    (4.257147e-6, [4.25713422550539, -12.640732802718349, 9.383598577212958]),
    (1.812325e-5, [4.257079142384857, -12.640268829294955, 9.383189686910098]),
    (7.715210e-5, [4.256844643992206, -12.638293742072824, 9.381449098080617]),
    (3.284245e-4, [4.255846327038306, -12.629887634097265, 9.37404130705896]),
    (1.397724e-3, [4.251595969259581, -12.59414048408225, 9.342544514822668]),
    (5.942522e-3, [4.233496686844484, -12.442679614744117, 9.209182927899633]),
    (2.515504e-2, [4.156494883164691, -11.811972139757021, 8.65547725659233]),
    (1.043688e-1, [3.8381903968425815, -9.43190973034562, 6.593719333503038]),
    (3.899463e-1, [2.8763385016411913, -4.212128443002076, 2.3357899413608845]),
    (8.929214e-1, [1.9844151087521993, -1.4786164765644076, 0.49420136781220847]),
];
/// The classical quintic.
const FINISH: [f64; 3] = [1.875, -1.25, 0.375];
/// Where the chain is entered again if it was left with a singular value that is still small.
const AGAIN: usize = 8;
/// With |I - X X^T| below this, two classical steps reach rounding.
const NEAR: f64 = 0.03;
/// Below this, one does.
const VERY_NEAR: f64 = 1e-5;
/// With |I - X X^T| below this, nothing is left to do.
const DONE: f64 = 1e-14;
/// Pairs of steps after which the matrix counts as too ill-conditioned.
const MOST_PAIRS: usize = 9;
/// Successes after which a later entry of the chain is tried as the first.
const PATIENCE: u32 = 6;
/// Rows are padded to a multiple of this.
const PADDING: usize = 8;

/// Buffers for matrices of one shape.
#[derive(Debug, Clone)]
pub(super) struct PolynomialPolar {
    /// The shorter side, and the same padded.
    short: usize,
    padded: usize,
    long: usize,
    /// The matrix with its shorter side as rows, padded with zeros, and room for the next; behind them five square
    /// matrices.
    buffer: Vec<f64>,
    /// First entry of the chain that is used: where the last matrices needed it. Changes the result by rounding only.
    first: usize,
    successes: u32,
}

impl PolynomialPolar {
    pub(super) fn new(rows: usize, cols: usize) -> Self {
        let (short, long) = (rows.min(cols), rows.max(cols));
        let padded = short.next_multiple_of(PADDING);
        Self {
            short,
            padded,
            long,
            // Room to begin at a multiple of the vectors' size.
            buffer: vec![0.0; padded * (2 * long + 5 * padded) + PADDING],
            first: AGAIN,
            successes: 0,
        }
    }

    /// Writes the polar factor of `g` to `out` and returns whether that was possible; if not, `out` is left as it was.
    pub(super) fn polar(&mut self, g: &DMatrix<f64>, out: &mut DMatrix<f64>) -> bool {
        Arch::new().dispatch(Run { state: self, g, out })
    }
}

struct Run<'a> {
    state: &'a mut PolynomialPolar,
    g: &'a DMatrix<f64>,
    out: &'a mut DMatrix<f64>,
}

impl WithSimd for Run<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        // Loops of known length are unrolled.
        match self.state.short {
            4 => self.run::<S, 4>(simd),
            8 => self.run::<S, 8>(simd),
            _ => self.run::<S, 0>(simd),
        }
    }
}

impl Run<'_> {
    /// The iteration for a shorter side of `SHORT`, or of any length if that is 0.
    #[inline(always)]
    fn run<S: Simd, const SHORT: usize>(self, simd: S) -> bool {
        let PolynomialPolar { short, padded, long, ref mut buffer, ref mut first, ref mut successes } = *self.state;
        let (short, padded) = if SHORT > 0 { (SHORT, SHORT.next_multiple_of(PADDING)) } else { (short, padded) };
        let skip = buffer.as_ptr().align_offset(64).min(PADDING);
        let (mut x, rest) = buffer[skip..].split_at_mut(padded * long);
        let (mut next_x, rest) = rest.split_at_mut(padded * long);
        let mut squares = rest.chunks_exact_mut(padded * padded);
        let mut square = || squares.next().expect("the buffer has room for five");
        let (a, squared, one, two, free) = (square(), square(), square(), square(), square());
        load(self.g, x, padded);
        let times = |a: &[f64], b: &[f64], out: &mut [f64]| {
            let (a, b) = (Columns { data: a, stride: padded }, Strided { data: b, row: 1, column: padded });
            multiply(simd, (padded, short, short), a, b, Output::plain(out, padded));
        };
        let mut next = *first;
        let mut left_chain = false;
        for pair in 0..MOST_PAIRS {
            let transposed = Strided { data: x, row: padded, column: 1 };
            multiply(
                simd,
                (padded, long, short),
                Columns { data: x, stride: padded },
                transposed,
                Output::plain(a, padded),
            );
            if pair == 0 {
                times(a, a, squared);
                // |A^2|^(1/2) bounds the largest eigenvalue of A from above, closely.
                let bound = squared.iter().map(|x| x * x).sum::<f64>().sqrt().sqrt();
                if !(1e-280..1e280).contains(&bound) {
                    return false;
                }
                let scale = 1.0 / bound;
                a.iter_mut().for_each(|x| *x *= scale);
                let root = scale.sqrt();
                x.iter_mut().for_each(|x| *x *= root);
            }
            let gap = distance_from_identity(a, short, padded);
            if gap < DONE {
                break;
            }
            let [now, then] = if gap < NEAR {
                [FINISH, FINISH]
            } else {
                if next >= CHAIN.len() {
                    left_chain = true;
                    next = AGAIN;
                }
                let polynomials = [0, 1].map(|i| CHAIN.get(next + i).map_or(FINISH, |entry| entry.1));
                next += 2;
                polynomials
            };
            times(a, a, squared);
            if gap < VERY_NEAR {
                polynomial(FINISH, a, squared, free, short, padded);
            } else {
                polynomial(now, a, squared, one, short, padded);
                // The Gram matrix after the first step, without a pass over X.
                times(one, a, free);
                times(free, one, a);
                times(a, a, squared);
                polynomial(then, a, squared, two, short, padded);
                times(two, one, free);
            }
            let b = Strided { data: x, row: 1, column: padded };
            multiply(
                simd,
                (padded, short, long),
                Columns { data: free, stride: padded },
                b,
                Output::plain(next_x, padded),
            );
            std::mem::swap(&mut x, &mut next_x);
            if gap < NEAR {
                break;
            }
            if pair + 1 == MOST_PAIRS {
                (*first, *successes) = (first.saturating_sub(1), 0);
                return false;
            }
        }
        if left_chain {
            (*first, *successes) = (first.saturating_sub(1), 0);
        } else {
            *successes += 1;
            if *successes == PATIENCE {
                (*first, *successes) = ((*first + 1).min(AGAIN), 0);
            }
        }
        store(x, padded, self.out);
        true
    }
}

/// out = a I + b A + c A^2 on the leading `short` rows and columns; the padding stays zero.
#[inline(always)]
fn polynomial([c0, c1, c2]: [f64; 3], a: &[f64], squared: &[f64], out: &mut [f64], short: usize, padded: usize) {
    for (out, (&a, &squared)) in out.iter_mut().zip(a.iter().zip(squared)) {
        *out = c1 * a + c2 * squared;
    }
    for i in 0..short {
        out[i * padded + i] += c0;
    }
}

/// |I - A| on the leading `short` rows and columns; A is the same afterwards but for rounding.
#[inline(always)]
fn distance_from_identity(a: &mut [f64], short: usize, padded: usize) -> f64 {
    let mut squares = [0.0; PADDING];
    for (i, column) in a.chunks_exact_mut(padded).enumerate().take(short) {
        column[i] -= 1.0;
        for block in column.as_chunks::<PADDING>().0 {
            for (s, x) in squares.iter_mut().zip(block) {
                *s += x * x;
            }
        }
        column[i] += 1.0;
    }
    squares.iter().sum::<f64>().sqrt()
}

/// Copies G, or its transpose if that has fewer rows, to `x` with rows padded.
#[inline(always)]
fn load(g: &DMatrix<f64>, x: &mut [f64], padded: usize) {
    let (m, n) = g.shape();
    let g = g.as_slice();
    if m <= n {
        for (to, from) in x.chunks_exact_mut(padded).zip(g.chunks_exact(m)) {
            to[..m].copy_from_slice(from);
        }
    } else {
        for (row, from) in g.chunks_exact(m).enumerate() {
            for (to, &value) in x.chunks_exact_mut(padded).zip(from) {
                to[row] = value;
            }
        }
    }
}

/// The inverse of [`load`].
#[inline(always)]
fn store(x: &[f64], padded: usize, out: &mut DMatrix<f64>) {
    let (m, n) = out.shape();
    let out = out.as_mut_slice();
    if m <= n {
        for (from, to) in x.chunks_exact(padded).zip(out.chunks_exact_mut(m)) {
            to.copy_from_slice(&from[..m]);
        }
    } else {
        for (row, to) in out.chunks_exact_mut(m).enumerate() {
            for (from, value) in x.chunks_exact(padded).zip(to) {
                *value = from[row];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_polynomial_of_the_chain_leaves_the_interval_that_the_next_is_made_for() {
        for (index, &(least, [a, b, c])) in CHAIN.iter().enumerate() {
            let next = CHAIN.get(index + 1).map_or(0.9997, |entry| entry.0);
            for step in 0..=10_000 {
                let x = least.powf(1.0 - f64::from(step) / 10_000.0);
                let image = x * (a + x * x * (b + c * x * x));
                assert!(image > next * (1.0 - 1e-5) && image < 1.0 + 1e-12, "entry {index}: {x} goes to {image}");
            }
        }
    }

    #[test]
    fn refusals_leave_the_result_alone() {
        let mut out = DMatrix::from_element(3, 4, 7.0);
        let mut state = PolynomialPolar::new(3, 4);
        for bad in [DMatrix::zeros(3, 4), DMatrix::from_element(3, 4, f64::NAN), DMatrix::from_element(3, 4, 1.0)] {
            assert!(!state.polar(&bad, &mut out));
            assert_eq!(out, DMatrix::from_element(3, 4, 7.0));
        }
    }
}
