//! What a second moment says of its vectors.

use ndarray::Array2;

use super::{exponential_entropy, haar_mean_of_roots, participation_ratio};
use crate::error::Result;
use crate::linalg::symmetric_eigen;

/// Statistics of a second moment S = E[x x^T], n x n, with eigenvalues lambda. Of a zero matrix all are 0, but the
/// alignment, which is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentStatistics {
    /// tr S: the mean squared length.
    pub trace: f64,
    /// sum_j sqrt(S_jj): what the noise of Adam lowers (theory, P2).
    pub axis_roots: f64,
    /// tr S^(1/2), the sum of sqrt(lambda): never more than `axis_roots`.
    pub trace_root: f64,
    /// (sum lambda)^2 / sum lambda^2, in 1..=n: directions that count.
    pub participation_ratio: f64,
    /// (sum_j S_jj)^2 / sum_j S_jj^2, in 1..=n: features that count.
    pub participation_ratio_of_features: f64,
    /// exp of the entropy of lambda / sum lambda, in 1..=n (Roy and Vetterli 2007, on the squared singular values of
    /// the activations).
    pub effective_rank: f64,
    /// exp of the entropy of sqrt(lambda) / sum sqrt(lambda): the same on the singular values themselves.
    pub effective_rank_of_roots: f64,
    /// sum_{i != j} S_ij^2 / sum_ij S_ij^2, in 0..1.
    pub off_diagonal_mass: f64,
    /// `axis_roots` over its mean under Haar rotations of the axes ([`haar_mean_of_roots`]): below 1 the axes carry the
    /// anisotropy.
    pub alignment: f64,
}

impl MomentStatistics {
    /// Of a symmetric positive semidefinite matrix.
    ///
    /// # Errors
    /// If the matrix is not square or has an entry that is not finite.
    pub fn of(s: &Array2<f64>) -> Result<Self> {
        let eigenvalues: Vec<f64> = symmetric_eigen(s)?.values.iter().map(|x| x.max(0.0)).collect();
        let diagonal = || s.diag().into_iter().map(|x| x.max(0.0));
        let roots = || eigenvalues.iter().map(|x| x.sqrt());
        let squares: f64 = s.iter().map(|x| x * x).sum();
        let on_axes: f64 = diagonal().map(|x| x * x).sum();
        let axis_roots: f64 = diagonal().map(f64::sqrt).sum();
        let turned = haar_mean_of_roots(&eigenvalues);
        Ok(Self {
            trace: diagonal().sum(),
            axis_roots,
            trace_root: roots().sum(),
            participation_ratio: participation_ratio(eigenvalues.iter().copied()),
            participation_ratio_of_features: participation_ratio(diagonal()),
            effective_rank: exponential_entropy(eigenvalues.iter().copied()),
            effective_rank_of_roots: exponential_entropy(roots()),
            off_diagonal_mass: if squares > 0.0 { (1.0 - on_axes / squares).max(0.0) } else { 0.0 },
            alignment: if turned > 0.0 { axis_roots / turned } else { 1.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::linalg::random_orthogonal;
    use crate::random::stream;
    use crate::regularization::whitening_and_diagonal_traces;

    #[test]
    fn a_diagonal_matrix_by_hand() {
        let s = MomentStatistics::of(&Array2::from_diag(&array![4.0, 1.0, 0.0])).unwrap();
        assert_eq!((s.trace, s.off_diagonal_mass), (5.0, 0.0));
        assert!((s.axis_roots - 3.0).abs() < 1e-12 && (s.trace_root - 3.0).abs() < 1e-7);
        assert!((s.participation_ratio - 25.0 / 17.0).abs() < 1e-12);
        assert!((s.participation_ratio_of_features - 25.0 / 17.0).abs() < 1e-12);
        let entropy = |p: [f64; 2]| (-p[0] * p[0].ln() - p[1] * p[1].ln()).exp();
        assert!((s.effective_rank - entropy([0.8, 0.2])).abs() < 1e-12);
        assert!((s.effective_rank_of_roots - entropy([2.0 / 3.0, 1.0 / 3.0])).abs() < 1e-6);
        assert!(s.alignment < 1.0);
    }

    #[test]
    fn a_full_matrix_by_hand() {
        // Eigenvalues 3 and 1; on the axes 2 and 2: as far from the axes as they can be, so that the alignment is above
        // 1.
        let s = MomentStatistics::of(&array![[2.0, 1.0], [1.0, 2.0]]).unwrap();
        assert!((s.off_diagonal_mass - 0.2).abs() < 1e-12);
        assert!((s.axis_roots - 8f64.sqrt()).abs() < 1e-12);
        assert!((s.trace_root - (1.0 + 3f64.sqrt())).abs() < 1e-12);
        assert!((s.participation_ratio - 1.6).abs() < 1e-12);
        assert_eq!(s.participation_ratio_of_features, 2.0);
        assert!(s.alignment > 1.0, "{}", s.alignment);
    }

    #[test]
    fn what_does_not_depend_on_the_basis_survives_a_rotation_and_the_alignment_does_not() {
        let n = 16;
        let s = Array2::from_diag(&ndarray::Array1::from_iter((1..=n).map(|k| 1.0 / f64::from(k).powi(2))));
        let q = random_orthogonal(n as usize, &mut stream(1, "turn")).unwrap();
        let turned = q.dot(&s).dot(&q.t());
        let (before, after) = (MomentStatistics::of(&s).unwrap(), MomentStatistics::of(&turned).unwrap());
        for read in [
            |s: &MomentStatistics| s.trace,
            |s: &MomentStatistics| s.trace_root,
            |s: &MomentStatistics| s.participation_ratio,
            |s: &MomentStatistics| s.effective_rank,
            |s: &MomentStatistics| s.effective_rank_of_roots,
        ] {
            assert!((read(&before) / read(&after) - 1.0).abs() < 1e-9);
        }
        assert!(before.alignment < 0.8 && (after.alignment - 1.0).abs() < 0.1, "{before:?} {after:?}");
        let (root, axes) = whitening_and_diagonal_traces(&turned).unwrap();
        assert!((after.trace_root / root - 1.0).abs() < 1e-9 && (after.axis_roots / axes - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_rank_and_no_side() {
        let s = MomentStatistics::of(&Array2::zeros((3, 3))).unwrap();
        assert_eq!((s.trace, s.participation_ratio, s.effective_rank, s.alignment), (0.0, 0.0, 0.0, 1.0));
        assert!(MomentStatistics::of(&Array2::zeros((2, 3))).is_err());
    }
}
