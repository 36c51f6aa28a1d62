//! A finetuning of the hidden matrices, what it forgets, and what could have predicted that: the expansion of the loss
//! on pretraining text around the checkpoint, and simpler numbers. The weights are not kept.

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::{Batch, Direction, ParameterId, Transformer, mean_divergence, mean_loss};
use serde::{Deserialize, Serialize};

use super::curvature::{part, read};
use super::finetune::{FinetuneKey, Finetuning};
use crate::error::Result;

/// The share of the update at which the loss is measured on both sides of the checkpoint, for its derivatives along the
/// update.
const RAY: f64 = 0.1;

/// The most matrices that a block has: four of attention and three of a gated MLP.
const MATRICES_OF_BLOCK: usize = 7;

/// A finetuning whose forgetting is predicted.
#[derive(Clone)]
pub struct Prediction {
    /// The finetuning, of hidden matrices alone.
    pub run: Finetuning,
    /// The stage that keeps the checkpoint's curvature.
    pub curvature: StageId,
    /// Windows of each text on which the divergence from the checkpoint is measured.
    pub divergence_windows: usize,
    /// The eigenvectors of a matrix's inputs that are called leading, as a share of all.
    pub leading: f64,
}

/// What decides the result, beside checkpoint and curvature.
#[derive(Debug, Serialize)]
pub struct PredictionKey {
    run: FinetuneKey,
    divergence_windows: usize,
    leading: f64,
}

/// What the update of one matrix says; D is the update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The block, from 0.
    pub layer: usize,
    /// The map.
    pub kind: String,
    /// |D|^2.
    pub square: f64,
    /// tr(D S D^T).
    pub output_change: f64,
    /// <g, D>.
    pub first: f64,
    /// Half the second derivative of the loss along D alone, on the windows of `together`.
    pub alone: f64,
    /// tr(B D S D^T).
    pub kronecker: f64,
    /// The same with the eigenvalues of EK-FAC.
    pub corrected: f64,
    /// The share of |D|^2 in the leading eigenvectors of S.
    pub leading: f64,
    /// Those eigenvectors as a share of all.
    pub leading_count: f64,
}

/// What a run forgot, and what there was to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// L_pre of the checkpoint.
    pub before: f64,
    /// L_pre at the end.
    pub pretrain: f64,
    /// L_task at the end.
    pub task: f64,
    /// First derivative of L_pre along the update, and half the second, at the checkpoint: what the expansion would be
    /// if the curvature were exact.
    pub along: [f64; 2],
    /// Half the second derivative along the whole update on the windows that the divergence is measured on: less the
    /// sum of the matrices' own (`alone`), it is what they do together.
    pub together: f64,
    /// KL(checkpoint || end), nats per token, on the task.
    pub divergence_on_task: f64,
    /// The same on pretraining text.
    pub divergence_on_text: f64,
    /// Every hidden matrix.
    pub parts: Vec<Part>,
}

/// The first rows of batches.
fn first_rows(batches: &[Batch], mut rows: usize) -> Vec<Batch> {
    let mut found = Vec::new();
    for batch in batches {
        if rows == 0 {
            break;
        }
        let taken = rows.min(batch.sequences());
        found.extend(batch.clone().split(taken).into_iter().next());
        rows -= taken;
    }
    found
}

/// First derivative of the loss along a direction, and half the second, from the losses on both sides of the
/// checkpoint; `here` is that of the checkpoint itself.
fn derivatives(base: &Transformer, direction: &Direction, batches: &[Batch], here: f64) -> models::Result<[f64; 2]> {
    let beside = |length: f64| Ok::<_, models::Error>(mean_loss(&base.moved(direction, length)?, batches)? - here);
    let (ahead, behind) = (beside(RAY)?, beside(-RAY)?);
    Ok([(ahead - behind) / (2.0 * RAY), (ahead + behind) / (2.0 * RAY * RAY)])
}

impl Prediction {
    /// What can be said of a finetuned network; none if a number is not finite.
    fn look(
        &self,
        base: &Transformer,
        network: &Transformer,
        held_out: &[Batch],
        work: &Work<'_>,
    ) -> Result<Option<Predicted>> {
        let start = &self.run.start;
        let (before, bent) = read(&work.input(&self.curvature)?, base)?;
        let ids: Vec<ParameterId> = bent.iter().map(|of| of.weight).collect();
        let values = |of: &Transformer| Direction::of_values(of.parameters(), &ids);
        let update = values(network)?.combined(1.0, &values(base)?, -1.0)?;
        let (pretrain, task) = (mean_loss(network, held_out)?, start.task.loss(network)?);
        if !(pretrain + task + update.norm()?).is_finite() {
            return Ok(None);
        }
        let text = super::held_out(&start.text, start.context(), self.divergence_windows)?;
        let here = mean_loss(base, &text)?;
        let bend = |direction: &Direction| Ok::<_, models::Error>(derivatives(base, direction, &text, here)?[1]);
        let mut parts = Vec::new();
        for of in &bent {
            let (expanded, projected) = of.expanded(&part(&update, of.weight)?);
            let inputs = projected.ncols();
            let count = ((self.leading * inputs as f64).round() as usize).clamp(1, inputs);
            parts.push(Part {
                layer: of.layer,
                kind: of.kind.into(),
                square: expanded.square,
                output_change: expanded.output_change,
                first: expanded.first,
                alone: bend(&update.within(&[of.weight]))?,
                kronecker: expanded.kronecker,
                corrected: expanded.corrected,
                leading: of.kronecker.leading_share(&projected, count),
                leading_count: count as f64 / inputs as f64,
            });
        }
        let divergence =
            |batches: &[Batch]| mean_divergence(base, network, &first_rows(batches, self.divergence_windows));
        let (along, together) = (derivatives(base, &update, held_out, before)?, bend(&update)?);
        let (divergence_on_task, divergence_on_text) = (divergence(start.task.test())?, divergence(&text)?);
        let bends = together + parts.iter().map(|part: &Part| part.alone).sum::<f64>();
        if !(along[0] + along[1] + bends + divergence_on_task + divergence_on_text).is_finite() {
            return Ok(None);
        }
        Ok(Some(Predicted { before, pretrain, task, along, together, divergence_on_task, divergence_on_text, parts }))
    }
}

impl Stage for Prediction {
    const KIND: &'static str = "predict";
    const SEMANTICS: u32 = 3;
    type Key = PredictionKey;
    /// None if the run diverged.
    type Output = Option<Predicted>;

    fn key(&self) -> PredictionKey {
        let Self { run, divergence_windows, leading, .. } = self;
        PredictionKey { run: run.key(), divergence_windows: *divergence_windows, leading: *leading }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.run.start.checkpoint.clone(), self.curvature.clone()]
    }

    fn label(&self) -> String {
        format!("predict: {}", self.run.label())
    }

    /// The training, the losses, both on the ray, the divergences, and two losses beside the checkpoint for every
    /// matrix and for all of them.
    fn cost(&self) -> u64 {
        let start = &self.run.start;
        let windows = self.divergence_windows * start.context();
        let text = start.text_windows * start.context();
        let matrices = MATRICES_OF_BLOCK * start.network.config.layers;
        self.run.cost() + (2 * text + (4 + 2 * (matrices + 1)) * windows) as u64 / 3
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Option<Predicted>, Failure> {
        let start = &self.run.start;
        let held_out = start.held_out()?;
        let base = start.network.load(&work.input(&start.checkpoint)?)?;
        let mut trained = self.run.train(work, &held_out)?;
        if trained.diverged {
            return Ok(None);
        }
        trained.model.merge_lora()?;
        Ok(self.look(&base, &trained.model, &held_out, work)?)
    }

    fn summary(output: &Option<Predicted>) -> String {
        let Some(found) = output else { return "diverged".into() };
        let sum = |number: fn(&Part) -> f64| found.parts.iter().map(number).sum::<f64>();
        let predicted = sum(|part| part.first) + 0.5 * sum(|part| part.corrected);
        format!("forgetting {:.4}, predicted {predicted:.4}", found.pretrain - found.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_rows_are_so_many_whatever_the_batches() {
        let batch = |first: u32, rows: usize| {
            let ids: Vec<u32> = (0..2 * rows as u32).map(|i| first + i).collect();
            Batch::new(ids.clone(), ids, 2).unwrap()
        };
        let batches = [batch(0, 3), batch(10, 3)];
        for (rows, expected) in [(0, 0), (2, 4), (3, 6), (5, 10), (9, 12)] {
            let found = first_rows(&batches, rows);
            let ids: Vec<u32> = found.iter().flat_map(|batch| batch.ids().to_vec()).collect();
            let all: Vec<u32> = batches.iter().flat_map(|batch| batch.ids().to_vec()).collect();
            assert_eq!(ids, all[..expected]);
        }
    }
}
