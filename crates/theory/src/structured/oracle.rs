//! The least forgetting that any update can have at a given task loss.

use ndarray::Array2;

use super::task::Task;
use crate::error::{Result, in_range};
use crate::linalg::{Svd, svd};

/// Minimum of tr(dW S dW^T) over all dW with |dW X - Y|_F^2 <= `share` |Y|_F^2, divided by |Y|_F^2 / n, and a minimiser
/// dW.
///
/// With V = dW S^(1/2) and Z = S^(-1/2) X it is the ridge problem min |V|^2 subject to the bound on |V Z - Y|^2. With Z
/// = U diag(z) Q^T the solution is V = Y Q diag(z / (z^2 + lambda)) U^T, and lambda >= 0 follows by bisection from the
/// residual, which grows with it. Where the samples cannot be fitted to `share`, lambda is 0 and the bound is not met.
///
/// # Errors
/// If `share` lies outside [0, 1), or a decomposition does not converge.
pub fn oracle_forgetting(task: &Task, share: f64) -> Result<(f64, Array2<f64>)> {
    in_range("share", share, 0.0, 1.0)?;
    let Svd { u, s, vt } = svd(&task.inputs.inverse_root.dot(&task.x))?;
    let coordinates = task.y.dot(&vt.t());
    let total: f64 = task.y.iter().map(|y| y * y).sum();
    let mass: Vec<f64> = coordinates.columns().into_iter().map(|c| c.iter().map(|y| y * y).sum()).collect();
    let outside = total - mass.iter().sum::<f64>();
    let residual = |lambda: f64| {
        outside.max(0.0) + mass.iter().zip(&s).map(|(m, z)| m * (lambda / (z * z + lambda)).powi(2)).sum::<f64>()
    };
    let (mut low, mut high) = (0.0, 1e12 * (1.0 + s[0] * s[0]));
    for _ in 0..300 {
        let middle = if low == 0.0 { high * 1e-3 } else { f64::sqrt(low * high) };
        if middle < 1e-14 * s[0] * s[0] {
            break;
        }
        if residual(middle) <= share * total {
            low = middle;
        } else {
            high = middle;
        }
    }
    let weights = s.mapv(|z| if z > 1e-12 * s[0] { z / (z * z + low) } else { 0.0 });
    let v = (&coordinates * &weights).dot(&u.t());
    let forgetting = v.iter().map(|x| x * x).sum::<f64>();
    let n = task.x.ncols() as f64;
    Ok((forgetting * n / total, v.dot(&task.inputs.inverse_root)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::InputFamily;
    use crate::random::{gaussian_array, stream};
    use crate::structured::{TaskFamily, Teacher};

    fn task(samples: usize, seed: u64) -> Task {
        TaskFamily {
            inputs: InputFamily { size: 6, anisotropy: 1.0, rotation: 0.5 },
            outputs: 4,
            samples,
            teacher: Teacher::RandomLabels,
        }
        .draw(&mut stream(seed, "oracle test"))
        .unwrap()
    }

    #[test]
    fn meets_the_task_loss_and_no_neighbour_that_meets_it_forgets_less() {
        let share = 0.1;
        for seed in 0..5 {
            let task = task(3, seed);
            let (least, update) = oracle_forgetting(&task, share).unwrap();
            let total: f64 = task.y.iter().map(|y| y * y).sum();
            let loss = |dw: &Array2<f64>| (dw.dot(&task.x) - &task.y).iter().map(|e| e * e).sum::<f64>() / total;
            let forgetting =
                |dw: &Array2<f64>| dw.dot(&task.inputs.root).iter().map(|x| x * x).sum::<f64>() * 3.0 / total;
            assert!((loss(&update) - share).abs() < 1e-9);
            assert!((forgetting(&update) / least - 1.0).abs() < 1e-9);
            let mut rng = stream(seed, "neighbours");
            for _ in 0..200 {
                let neighbour = &update + &(gaussian_array(4, 6, &mut rng) * 0.03);
                assert!(loss(&neighbour) > share || forgetting(&neighbour) >= least * (1.0 - 1e-9));
            }
        }
    }

    #[test]
    fn a_share_out_of_range_is_refused() {
        assert!(oracle_forgetting(&task(3, 1), 1.0).is_err());
        assert!(oracle_forgetting(&task(3, 1), f64::NAN).is_err());
    }
}
