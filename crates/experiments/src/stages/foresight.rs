//! What a step of some form would cost at a checkpoint, before any finetuning: its curvature for a gain on the task.
//!
//! c(D) = sum tr(B D S D^T) / <G, D>^2 over all hidden matrices, with G the gradient of the task's loss and D made of
//! it: twice the second-order forgetting of a step along D, over its squared first-order gain.

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::{Direction, ParameterId};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use theory::linalg::random_orthogonal;

use super::curvature::{Bent, part, read};
use super::matrices::{scaled_polar, signs};
use super::measure::{MeasureKey, Start};
use crate::error::Result;

/// A checkpoint and a task.
#[derive(Clone)]
pub struct Foresight {
    /// Both.
    pub start: Start,
    /// The stage that keeps the checkpoint's curvature.
    pub curvature: StageId,
    /// Batches of the finetuning's order whose mean gradient is G.
    pub batches: u64,
    /// Sequences of a batch.
    pub sequences: usize,
}

/// What decides the result, beside checkpoint and curvature.
#[derive(Debug, Serialize)]
pub struct ForesightKey {
    measured: MeasureKey,
    batches: u64,
    sequences: usize,
    seed: u64,
    order: u64,
}

/// What stands for the curvature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// B and S with the eigenvalues of EK-FAC.
    Corrected,
    /// B and S.
    Measured,
    /// S turned by a random rotation: a null.
    Turned,
    /// The diagonal of S: a null.
    Diagonal,
    /// The identity with the trace of S: a null.
    Identity,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Corrected, Self::Measured, Self::Turned, Self::Diagonal, Self::Identity];

    /// Its name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Corrected => "B, S by EK-FAC",
            Self::Measured => "B, S",
            Self::Turned => "S turned",
            Self::Diagonal => "diagonal of S",
            Self::Identity => "no S",
        }
    }
}

/// The cost of a step along a direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// `sign` or `polar`.
    pub direction: String,
    /// What stands for the curvature.
    pub moment: Moment,
    /// c(D), per nat.
    pub cost: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// |G|.
    pub gradient: f64,
    /// The costs of both directions.
    pub costs: Vec<Cost>,
}

/// tr(B D S D^T) of a matrix with what stands for the curvature; `turn` is a rotation of its inputs.
fn curvature(bent: &Bent, direction: &Array2<f64>, moment: Moment, turn: &Array2<f64>) -> f64 {
    let kronecker = &bent.kronecker;
    let (outputs, inputs) = (&kronecker.outputs, &kronecker.inputs);
    // With S replaced by a diagonal matrix: sum_ij b_i s_j (U^T D)_ij^2.
    let on_axes = |s: &Array1<f64>| {
        let column = outputs.values.view().insert_axis(Axis(1));
        theory::vectors::weighted(&outputs.vectors.t().dot(direction), &(&column * s))
    };
    match moment {
        Moment::Corrected => bent.expanded(direction).0.corrected,
        Moment::Measured => bent.expanded(direction).0.kronecker,
        Moment::Turned => kronecker.curvature(&kronecker.projected(&direction.dot(turn))),
        Moment::Diagonal => on_axes(&(&inputs.vectors * &inputs.vectors).dot(&inputs.values)),
        Moment::Identity => {
            let count = inputs.values.len();
            on_axes(&Array1::from_elem(count, inputs.values.sum() / count as f64))
        }
    }
}

/// The costs of a direction; none where it gains nothing.
fn of_direction(
    name: &str,
    gradient: &Direction,
    direction: &Direction,
    bent: &[Bent],
    turns: &[Array2<f64>],
) -> Result<Vec<Cost>> {
    let gain = gradient.dot(direction)?;
    let parts = bent.iter().map(|of| part(direction, of.weight)).collect::<Result<Vec<_>>>()?;
    let cost = |moment: Moment| {
        let of_all = bent.iter().zip(&parts).zip(turns);
        let sum: f64 = of_all.map(|((of, direction), turn)| curvature(of, direction, moment, turn)).sum();
        Cost { direction: name.into(), moment, cost: sum / (gain * gain) }
    };
    Ok(Moment::ALL.into_iter().map(cost).filter(|cost| cost.cost.is_finite()).collect())
}

impl Stage for Foresight {
    const KIND: &'static str = "foresee";
    const SEMANTICS: u32 = 1;
    type Key = ForesightKey;
    type Output = Foreseen;

    fn key(&self) -> ForesightKey {
        let Self { start, batches, sequences, .. } = self;
        let measured = start.key();
        ForesightKey { measured, batches: *batches, sequences: *sequences, seed: start.seed, order: start.order }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.start.checkpoint.clone(), self.curvature.clone()]
    }

    fn label(&self) -> String {
        let Start { checkpoint_name, task, seed, .. } = &self.start;
        format!("foresee {checkpoint_name} on {} seed {seed}", task.name())
    }

    fn cost(&self) -> u64 {
        self.batches * (self.sequences * self.start.context()) as u64
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Foreseen, Failure> {
        let start = &self.start;
        let network = start.network.load(&work.input(&start.checkpoint)?)?;
        let (_, bent) = read(&work.input(&self.curvature)?, &network)?;
        let ids: Vec<ParameterId> = bent.iter().map(|of| of.weight).collect();
        let mut source = start.task.source(start.context(), start.seed, start.order)?;
        let batches = (0..self.batches).map(|step| source.batch(step, self.sequences));
        let (_, gradient) = network.mean_gradient(&batches.collect::<models::Result<Vec<_>>>()?, &ids)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seeds::stream(start.seed, "rotation of the inputs"));
        let turns = bent.iter().map(|of| Ok(random_orthogonal(of.gradient.ncols(), &mut rng)?));
        let turns = turns.collect::<Result<Vec<Array2<f64>>>>()?;
        let sign = gradient.map(|_, part| signs(part))?;
        let polar = gradient.map(|_, part| scaled_polar(part))?;
        let mut costs = Vec::new();
        for (name, direction) in [("sign", sign), ("polar", polar)] {
            costs.extend(of_direction(name, &gradient, &direction, &bent, &turns)?);
        }
        Ok(Foreseen { gradient: gradient.norm()?, costs })
    }

    fn summary(output: &Foreseen) -> String {
        let of = |direction: &str| {
            let mut costs = output.costs.iter();
            costs.find(|cost| cost.direction == direction && cost.moment == Moment::Corrected).map(|cost| cost.cost)
        };
        format!("polar costs {:.2} times sign", of("polar").unwrap_or(f64::NAN) / of("sign").unwrap_or(f64::NAN))
    }
}
