//! What is made of a matrix for a question about its structure: signs, singular values and vectors, random matrices.

use candle_core::{Device, Tensor};
use models::{ParameterId, Parameters, Role};
use rand::{Rng, RngExt};
use theory::linalg::{Svd, svd_of};
use theory::random::gaussian_array;

use crate::error::Result;

/// Singular values of an `f32` matrix below this share of the largest are rounding.
const ROUNDING: f64 = 1e-7;

/// The hidden matrices of a network, each with the kind of its layer (`q_proj`), in the network's order.
pub(crate) fn hidden_matrices(parameters: &Parameters) -> Vec<(ParameterId, String)> {
    let matrices = parameters.iter().filter(|(_, parameter)| matches!(parameter.role, Role::HiddenMatrix(_)));
    let kind = |name: &str| {
        let module = name.trim_end_matches(".weight");
        module.rsplit_once('.').map_or(module, |(_, kind)| kind).to_owned()
    };
    matrices.map(|(id, parameter)| (id, kind(&parameter.name))).collect()
}

/// A matrix on the processor in f64, row by row, with its shape.
pub(super) fn entries(matrix: &Tensor) -> Result<(usize, usize, Vec<f64>)> {
    let read = || -> candle_core::Result<_> {
        let (rows, columns) = matrix.dims2()?;
        let values: Vec<f32> = matrix.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        Ok((rows, columns, values.into_iter().map(f64::from).collect()))
    };
    Ok(read().map_err(models::Error::from)?)
}

/// A matrix of these entries, row by row, in the shape of another.
pub(crate) fn shaped(like: &Tensor, entries: impl IntoIterator<Item = f64>) -> Result<Tensor> {
    let values: Vec<f32> = entries.into_iter().map(|x| x as f32).collect();
    Ok(Tensor::from_vec(values, like.dims(), &Device::Cpu).map_err(models::Error::from)?)
}

/// The singular value decomposition.
pub(crate) fn decomposed(matrix: &Tensor) -> Result<Svd> {
    let (rows, columns, values) = entries(matrix)?;
    Ok(svd_of(rows, columns, values)?)
}

/// The sign of every entry; zero of zero.
pub(super) fn signs(matrix: &Tensor) -> Result<Tensor> {
    let (_, _, values) = entries(matrix)?;
    shaped(matrix, values.into_iter().map(sign))
}

/// -1, 0 or 1.
pub(super) fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// sqrt(max(m, n)) times the polar factor of an m x n matrix: entries of root mean square 1, as signs are, if the rank
/// is full.
pub(super) fn scaled_polar(matrix: &Tensor) -> Result<Tensor> {
    let svd = decomposed(matrix)?;
    let (rows, columns) = matrix.dims2().map_err(models::Error::from)?;
    let length = (rows.max(columns) as f64).sqrt();
    let least = svd.s.first().copied().unwrap_or(0.0) * ROUNDING;
    let flat: Vec<f64> = svd.s.iter().map(|&s| if s > least { length } else { 0.0 }).collect();
    shaped(matrix, svd.with_values(&flat))
}

/// The nearest matrix of this rank.
pub(super) fn of_rank(matrix: &Tensor, rank: usize) -> Result<Tensor> {
    let svd = decomposed(matrix)?;
    let kept: Vec<f64> = svd.s.iter().copied().take(rank).collect();
    shaped(matrix, svd.with_values(&kept))
}

/// How a random matrix is drawn; the root mean square of its entries is 1 whichever way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    /// Normal entries, scaled to that root mean square.
    Gaussian,
    /// Signs.
    Signs,
    /// The polar factor of a Gaussian matrix, whose law no rotation changes, times sqrt(max(m, n)).
    Haar,
}

impl Null {
    pub(super) const ALL: [Self; 3] = [Self::Gaussian, Self::Signs, Self::Haar];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Signs => "random-signs",
            Self::Haar => "haar",
        }
    }

    /// A matrix in the shape of another.
    pub(super) fn draw(self, like: &Tensor, rng: &mut impl Rng) -> Result<Tensor> {
        let (rows, columns) = like.dims2().map_err(models::Error::from)?;
        match self {
            Self::Signs => {
                let sign = |_| if rng.random::<bool>() { 1.0 } else { -1.0 };
                shaped(like, (0..rows * columns).map(sign).collect::<Vec<f64>>())
            }
            Self::Gaussian => {
                let drawn = gaussian_array(rows, columns, rng);
                let mean_square = drawn.iter().map(|x| x * x).sum::<f64>() / (rows * columns) as f64;
                shaped(like, drawn.iter().map(|x| x / mean_square.sqrt()))
            }
            Self::Haar => {
                let drawn = gaussian_array(rows, columns, rng);
                scaled_polar(&shaped(like, drawn.iter().copied())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn matrix(rows: usize, columns: usize) -> Tensor {
        let zeros = Tensor::zeros((rows, columns), candle_core::DType::F32, &Device::Cpu).unwrap();
        Null::Gaussian.draw(&zeros, &mut ChaCha8Rng::seed_from_u64(2)).unwrap()
    }

    fn mean_square(matrix: &Tensor) -> f64 {
        let (rows, columns, values) = entries(matrix).unwrap();
        values.iter().map(|x| x * x).sum::<f64>() / (rows * columns) as f64
    }

    #[test]
    fn signs_polar_factors_and_all_nulls_have_one_root_mean_square() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (rows, columns) in [(5, 9), (9, 5), (6, 6)] {
            let matrix = matrix(rows, columns);
            let nulls = Null::ALL.map(|null| null.draw(&matrix, &mut rng).unwrap());
            for one in [signs(&matrix).unwrap(), scaled_polar(&matrix).unwrap()].iter().chain(&nulls) {
                assert!((mean_square(one) - 1.0).abs() < 1e-5, "{one:?}");
            }
            // All singular values of the last null are one length.
            let values = decomposed(&nulls[2]).unwrap().s;
            assert!(values.iter().all(|s| (s - (rows.max(columns) as f64).sqrt()).abs() < 1e-4), "{values:?}");
        }
    }

    #[test]
    fn a_part_of_some_rank_is_the_projection_on_the_first_singular_vectors() {
        let matrix = matrix(7, 4);
        let singular = decomposed(&matrix).unwrap().s;
        let part = of_rank(&matrix, 2).unwrap();
        let values = decomposed(&part).unwrap().s;
        for (place, &value) in values.iter().enumerate() {
            let expected = if place < 2 { singular[place] } else { 0.0 };
            assert!((value - expected).abs() < 1e-5, "{values:?}");
        }
        assert!(
            of_rank(&matrix, 4)
                .unwrap()
                .sub(&matrix)
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
                < 1e-5
        );
    }

    #[test]
    fn a_matrix_of_zeros_has_no_direction() {
        let zeros = Tensor::zeros((3, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(mean_square(&scaled_polar(&zeros).unwrap()), 0.0);
        assert_eq!(mean_square(&signs(&zeros).unwrap()), 0.0);
    }
}
