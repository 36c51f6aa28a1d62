//! Finetuning tasks for a linear layer: inputs from a covariance, targets from a teacher.

use ndarray::Array2;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, parameter};
use crate::inputs::{InputFamily, Inputs};
use crate::random::gaussian_array;

/// Where the new targets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Teacher {
    /// A dense linear map with entries N(0, 1/d) on the inputs.
    Linear,
    /// A linear map of the given rank, a product of Gaussian factors with entries of variance 1/d.
    LowRank {
        /// Its rank.
        rank: usize,
    },
    /// Independent Gaussian labels: nothing to learn but the samples.
    RandomLabels,
}

/// A family of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFamily {
    /// Distribution of the layer's inputs, of size d.
    pub inputs: InputFamily,
    /// Outputs m.
    pub outputs: usize,
    /// Samples n.
    pub samples: usize,
    /// Where the targets come from.
    pub teacher: Teacher,
}

/// One task: change W by dW so that dW X fits Y.
#[derive(Debug, Clone)]
pub struct Task {
    /// The inputs' distribution.
    pub inputs: Inputs,
    /// Samples X, d x n.
    pub x: Array2<f64>,
    /// Wanted changes of the outputs Y, m x n.
    pub y: Array2<f64>,
}

impl TaskFamily {
    /// Checks the family's parameters.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(&self) -> Result<()> {
        self.inputs.check()?;
        at_least("outputs", self.outputs, 1)?;
        at_least("samples", self.samples, 1)?;
        if let Teacher::LowRank { rank } = self.teacher {
            let most = self.outputs.min(self.inputs.size);
            if rank == 0 || rank > most {
                return Err(parameter("teacher.rank", rank, format!("from 1 to {most}")));
            }
        }
        Ok(())
    }

    /// Draws one task.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn draw(&self, rng: &mut impl Rng) -> Result<Task> {
        self.check()?;
        let (d, m, n) = (self.inputs.size, self.outputs, self.samples);
        let inputs = self.inputs.draw(rng)?;
        let x = inputs.root.dot(&gaussian_array(d, n, rng));
        let scale = (d as f64).sqrt();
        let y = match self.teacher {
            Teacher::Linear => gaussian_array(m, d, rng).dot(&x) / scale,
            Teacher::LowRank { rank } => {
                let left = gaussian_array(m, rank, rng);
                left.dot(&gaussian_array(rank, d, rng).dot(&x)) / scale
            }
            Teacher::RandomLabels => gaussian_array(m, n, rng),
        };
        Ok(Task { inputs, x, y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::singular_values;
    use crate::random::stream;

    fn family(teacher: Teacher) -> TaskFamily {
        TaskFamily { inputs: InputFamily { size: 8, anisotropy: 0.5, rotation: 1.0 }, outputs: 6, samples: 20, teacher }
    }

    #[test]
    fn low_rank_teachers_give_targets_of_their_rank() {
        for rank in [1, 3] {
            let task = family(Teacher::LowRank { rank }).draw(&mut stream(1, "test")).unwrap();
            let s = singular_values(&task.y).unwrap();
            assert!(s[rank - 1] > 1e-3 * s[0] && s[rank] < 1e-12 * s[0]);
        }
    }

    #[test]
    fn bad_tasks_are_refused() {
        assert!(family(Teacher::LowRank { rank: 7 }).check().is_err());
        assert!(family(Teacher::LowRank { rank: 0 }).check().is_err());
        assert!(TaskFamily { samples: 0, ..family(Teacher::Linear) }.check().is_err());
    }
}
