//! Norms on vectors and matrices, their duals and linear minimisation oracles.

use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TheoryError};
use crate::linalg::{RANK_TOLERANCE, polar_factor, singular_values, svd};

/// A norm on R^n with its exponent p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorNorm {
    /// Sum of absolute values, p = 1.
    One,
    /// Euclidean length, p = 2.
    Two,
    /// Largest absolute value, p = infinity.
    Max,
}

impl VectorNorm {
    /// The other member of the Hölder pair: 1/p + 1/q = 1.
    pub fn dual(self) -> Self {
        match self {
            Self::One => Self::Max,
            Self::Two => Self::Two,
            Self::Max => Self::One,
        }
    }

    /// The norm of `x`.
    pub fn value(self, x: ArrayView1<'_, f64>) -> f64 {
        match self {
            Self::One => x.iter().map(|x| x.abs()).sum(),
            Self::Two => x.iter().map(|x| x * x).sum::<f64>().sqrt(),
            Self::Max => x.iter().fold(0.0, |m, x| f64::max(m, x.abs())),
        }
    }
}

/// A norm on matrices. `p -> q` names the operator norm max |A x|_q over |x|_p <= 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Root of the sum of squares; normalised SGD.
    Frobenius,
    /// Largest singular value, 2 -> 2; Muon.
    Spectral,
    /// Sum of singular values.
    Nuclear,
    /// Largest absolute entry, 1 -> infinity; sign descent.
    LargestEntry,
    /// Sum of absolute entries.
    SumOfEntries,
    /// Largest l1 norm of a column, 1 -> 1.
    LargestColumnSum,
    /// Sum over columns of the largest absolute entry.
    SumOfColumnMaxima,
    /// Largest l1 norm of a row, infinity -> infinity.
    LargestRowSum,
    /// Sum over rows of the largest absolute entry.
    SumOfRowMaxima,
    /// Largest length of a row, 2 -> infinity.
    LargestRowLength,
    /// Sum of the rows' lengths.
    SumOfRowLengths,
    /// Largest length of a column, 1 -> 2.
    LargestColumnLength,
    /// Sum of the columns' lengths.
    SumOfColumnLengths,
}

/// The inner product <A, B> = tr(A^T B).
///
/// # Panics
/// If the shapes differ.
pub fn inner(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim(), "shapes in an inner product");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Norm {
    /// Every norm.
    pub const ALL: [Self; 13] = [
        Self::Frobenius,
        Self::Spectral,
        Self::Nuclear,
        Self::LargestEntry,
        Self::SumOfEntries,
        Self::LargestColumnSum,
        Self::SumOfColumnMaxima,
        Self::LargestRowSum,
        Self::SumOfRowMaxima,
        Self::LargestRowLength,
        Self::SumOfRowLengths,
        Self::LargestColumnLength,
        Self::SumOfColumnLengths,
    ];

    /// The dual norm, max <A, B> over |B| <= 1.
    pub fn dual(self) -> Self {
        match self {
            Self::Frobenius => Self::Frobenius,
            Self::Spectral => Self::Nuclear,
            Self::Nuclear => Self::Spectral,
            Self::LargestEntry => Self::SumOfEntries,
            Self::SumOfEntries => Self::LargestEntry,
            Self::LargestColumnSum => Self::SumOfColumnMaxima,
            Self::SumOfColumnMaxima => Self::LargestColumnSum,
            Self::LargestRowSum => Self::SumOfRowMaxima,
            Self::SumOfRowMaxima => Self::LargestRowSum,
            Self::LargestRowLength => Self::SumOfRowLengths,
            Self::SumOfRowLengths => Self::LargestRowLength,
            Self::LargestColumnLength => Self::SumOfColumnLengths,
            Self::SumOfColumnLengths => Self::LargestColumnLength,
        }
    }

    /// The norms p of the argument and q of the image if this is an operator norm p -> q.
    pub fn operator_pair(self) -> Option<(VectorNorm, VectorNorm)> {
        use VectorNorm::{Max, One, Two};
        match self {
            Self::Spectral => Some((Two, Two)),
            Self::LargestEntry => Some((One, Max)),
            Self::LargestColumnSum => Some((One, One)),
            Self::LargestRowSum => Some((Max, Max)),
            Self::LargestRowLength => Some((Two, Max)),
            Self::LargestColumnLength => Some((One, Two)),
            _ => None,
        }
    }

    /// How the norm is made of its rows or columns: their axis, the norm of each and the norm of these.
    fn mixed(self) -> Option<(Axis, VectorNorm, VectorNorm)> {
        use VectorNorm::{Max, One, Two};
        let (rows, columns) = (Axis(1), Axis(0));
        match self {
            Self::LargestEntry => Some((rows, Max, Max)),
            Self::SumOfEntries => Some((rows, One, One)),
            Self::LargestColumnSum => Some((columns, One, Max)),
            Self::SumOfColumnMaxima => Some((columns, Max, One)),
            Self::LargestRowSum => Some((rows, One, Max)),
            Self::SumOfRowMaxima => Some((rows, Max, One)),
            Self::LargestRowLength => Some((rows, Two, Max)),
            Self::SumOfRowLengths => Some((rows, Two, One)),
            Self::LargestColumnLength => Some((columns, Two, Max)),
            Self::SumOfColumnLengths => Some((columns, Two, One)),
            Self::Frobenius | Self::Spectral | Self::Nuclear => None,
        }
    }

    /// The norm of `a`.
    ///
    /// # Errors
    /// If an entry is not finite or a decomposition does not converge.
    pub fn value(self, a: &Array2<f64>) -> Result<f64> {
        check(a)?;
        if let Some((along, of_lane, of_lanes)) = self.mixed() {
            let lanes: ndarray::Array1<f64> = a.lanes(along).into_iter().map(|lane| of_lane.value(lane)).collect();
            return Ok(of_lanes.value(lanes.view()));
        }
        Ok(match self {
            Self::Spectral => singular_values(a)?[0],
            Self::Nuclear => singular_values(a)?.sum(),
            _ => a.iter().map(|x| x * x).sum::<f64>().sqrt(),
        })
    }

    /// The linear minimisation oracle: a D of norm 1 with <G, D> equal to the dual norm of G. The zero gradient gives
    /// zero.
    ///
    /// Where several D do, the one of least entries is taken for signs of zero, and the first of equal maxima.
    ///
    /// # Errors
    /// If an entry is not finite or a decomposition does not converge.
    pub fn oracle(self, g: &Array2<f64>) -> Result<Array2<f64>> {
        check(g)?;
        if g.iter().all(|&x| x == 0.0) {
            return Ok(Array2::zeros(g.dim()));
        }
        if let Some((along, of_lane, of_lanes)) = self.mixed() {
            return Ok(mixed_oracle(g, along, of_lane, of_lanes));
        }
        match self {
            Self::Spectral => polar_factor(g),
            Self::Nuclear => {
                let svd = svd(g)?;
                let (u, v) = (svd.u.column(0), svd.vt.row(0));
                Ok(Array2::from_shape_fn(g.dim(), |(i, j)| u[i] * v[j]))
            }
            _ => Ok(g / Self::Frobenius.value(g)?),
        }
    }
}

fn check(a: &Array2<f64>) -> Result<()> {
    if a.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(TheoryError::NotFinite { what: "matrix" }) }
}

/// The oracle of a norm that is made of its lanes: lane by lane where the outer norm is the maximum, in the best lane
/// alone where it is the sum.
fn mixed_oracle(g: &Array2<f64>, along: Axis, of_lane: VectorNorm, of_lanes: VectorNorm) -> Array2<f64> {
    let gains: Vec<f64> = g.lanes(along).into_iter().map(|lane| of_lane.dual().value(lane)).collect();
    let best = first_largest(&gains);
    let mut d = Array2::zeros(g.dim());
    for (index, (mut out, lane)) in d.lanes_mut(along).into_iter().zip(g.lanes(along)).enumerate() {
        if of_lanes == VectorNorm::One && index != best {
            continue;
        }
        match of_lane {
            VectorNorm::Max => out.assign(&lane.mapv(|x| if x == 0.0 { 0.0 } else { x.signum() })),
            VectorNorm::Two => {
                let length = VectorNorm::Two.value(lane);
                if length > 0.0 {
                    out.assign(&(&lane / length));
                }
            }
            VectorNorm::One => {
                let sizes: Vec<f64> = lane.iter().map(|x| x.abs()).collect();
                let at = first_largest(&sizes);
                if sizes[at] > 0.0 {
                    out[at] = lane[at].signum();
                }
            }
        }
    }
    d
}

fn first_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}

/// Rank of a matrix: singular values above [`RANK_TOLERANCE`] of the largest.
///
/// # Errors
/// If an entry is not finite or the decomposition does not converge.
pub fn rank(a: &Array2<f64>) -> Result<usize> {
    let s = singular_values(a)?;
    Ok(s.iter().filter(|&&x| x > RANK_TOLERANCE * s[0]).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_array, stream};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn oracles_have_norm_one_and_gain_the_dual_norm(seed in 0u64..100_000, m in 1usize..7, n in 1usize..7) {
            let g = gaussian_array(m, n, &mut stream(seed, "oracle"));
            for norm in Norm::ALL {
                let d = norm.oracle(&g).unwrap();
                prop_assert!((norm.value(&d).unwrap() - 1.0).abs() < 1e-10, "{:?}", norm);
                let dual = norm.dual().value(&g).unwrap();
                prop_assert!((inner(&g, &d) / dual - 1.0).abs() < 1e-10, "{:?}", norm);
            }
        }

        #[test]
        fn hoelders_inequality_holds_for_every_pair(seed in 0u64..100_000, m in 1usize..6, n in 1usize..6) {
            let mut rng = stream(seed, "hoelder");
            let (a, b) = (gaussian_array(m, n, &mut rng), gaussian_array(m, n, &mut rng));
            for norm in Norm::ALL {
                let bound = norm.value(&a).unwrap() * norm.dual().value(&b).unwrap();
                prop_assert!(inner(&a, &b).abs() <= bound * (1.0 + 1e-12), "{:?}", norm);
                prop_assert_eq!(norm.dual().dual(), norm);
            }
        }

        #[test]
        fn operator_norms_bound_the_image_and_are_norms(seed in 0u64..100_000, m in 1usize..6, n in 1usize..6) {
            let mut rng = stream(seed, "operator");
            let (a, b) = (gaussian_array(m, n, &mut rng), gaussian_array(m, n, &mut rng));
            let x = gaussian_array(n, 1, &mut rng);
            for norm in Norm::ALL {
                let value = norm.value(&a).unwrap();
                prop_assert!(norm.value(&(&a + &b)).unwrap() <= (value + norm.value(&b).unwrap()) * (1.0 + 1e-12));
                prop_assert!((norm.value(&(&a * -3.0)).unwrap() / (3.0 * value) - 1.0).abs() < 1e-10);
                if let Some((p, q)) = norm.operator_pair() {
                    let image = a.dot(&x);
                    let bound = value * p.value(x.column(0));
                    prop_assert!(q.value(image.column(0)) <= bound * (1.0 + 1e-12), "{:?}", norm);
                }
            }
        }
    }

    #[test]
    fn matrices_that_are_not_finite_are_refused() {
        let bad = Array2::from_elem((2, 2), f64::NAN);
        assert!(Norm::LargestEntry.value(&bad).is_err());
        assert!(Norm::Spectral.oracle(&bad).is_err());
        assert_eq!(Norm::Nuclear.oracle(&Array2::zeros((2, 3))).unwrap(), Array2::<f64>::zeros((2, 3)));
    }
}
