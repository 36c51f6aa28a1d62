//! Forgetting at matched learning for every comparison, level and seed: what the report shows beside the effects.

use lab::statistics::MeanInterval;
use serde::{Deserialize, Serialize};

use super::contrast::Contrast;
use super::effect::Term;
use super::matched::{Interpolation, Missing};
use crate::stages::Results;

/// The levels that are shown, shares of the common learning.
pub const LEVELS: [f64; 3] = [0.50, 0.75, 0.90];

/// Forgetting of two methods where they have learned the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// The seed.
    pub seed: u64,
    /// Which of its orders.
    pub order: u64,
    /// Forgetting of the matched method and of the other, nats per token.
    pub forgetting: [f64; 2],
    /// How far the curves would miss the runs beside this level, each left out in turn, in ln forgetting.
    pub error: [Option<f64>; 2],
}

/// One comparison at one level, over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Task.
    pub task: String,
    /// Checkpoint.
    pub checkpoint: String,
    /// The method of the optimizer that pretrained it.
    pub matched: String,
    /// The method it is compared with.
    pub other: String,
    /// Level, a share in `0..=1`.
    pub level: f64,
    /// Every seed and order with values.
    pub values: Vec<Read>,
    /// Every seed and order without, with the method that is missing and the reason.
    pub missing: Vec<(u64, u64, String, Missing)>,
    /// On how many seeds the common learning ends with the matched method, and with the other.
    pub limited_by: [usize; 2],
}

impl Cell {
    /// Mean forgetting of one of the two methods over the seeds' first orders, with the interval of the mean itself.
    pub fn mean(&self, method: usize) -> Option<MeanInterval> {
        let first = self.values.iter().filter(|read| read.order == 0);
        MeanInterval::arithmetic(&first.map(|read| read.forgetting[method]).collect::<Vec<_>>())
    }

    /// The mean over seeds, orders and both methods of the error of leaving a run out.
    pub fn error(&self) -> Option<f64> {
        let errors: Vec<f64> = self.values.iter().flat_map(|read| read.error.into_iter().flatten()).collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    }
}

/// The cells of one comparison on one task at [`LEVELS`].
pub(super) fn cells(results: &Results, task: &str, term: &Term) -> Vec<Cell> {
    let methods = [&term.matched, &term.other];
    let mut cells = LEVELS.map(|level| Cell {
        task: task.to_owned(),
        checkpoint: term.checkpoint.clone(),
        matched: term.matched.clone(),
        other: term.other.clone(),
        level,
        values: Vec::new(),
        missing: Vec::new(),
        limited_by: [0, 0],
    });
    for seed in results.seeds() {
        for order in results.orders(seed) {
            let contrast = Contrast::of(results, term.compared(task), (seed, order), Interpolation::Monotone);
            for cell in &mut cells {
                let read = contrast.as_ref().map_err(|missing| *missing).and_then(|contrast| {
                    cell.limited_by[contrast.limited_by] += usize::from(order == 0);
                    let at = contrast.task_loss(cell.level);
                    let error = [0, 1].map(|method| contrast.curves[method].leave_one_out(at));
                    Ok(Read { seed, order, forgetting: contrast.forgetting(cell.level)?, error })
                });
                match read {
                    Ok(read) => cell.values.push(read),
                    Err((_, Missing::NotRun)) if order > 0 => {}
                    Err((method, why)) => cell.missing.push((seed, order, methods[method].clone(), why)),
                }
            }
        }
    }
    cells.into()
}
