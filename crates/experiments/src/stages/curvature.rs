//! What the loss on pretraining text is like around a checkpoint, to second order: for every hidden matrix its gradient
//! and its curvature, as K-FAC and as EK-FAC have it. Nothing is trained.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::{DoneStage, StageId};
use models::watch::{LabelDraws, Labels, LinearMap, Stream, StreamKind, Watcher};
use models::{Batch, Direction, ParameterId, Transformer, mean_loss};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};
use theory::linalg::SymmetricEigen;
use theory::vectors::{Kronecker, ProjectedSquares, SecondMoment};

use super::network::{Network, NetworkKey};
use super::pretrain::held_out;
use super::tokens::TokenData;
use crate::error::{ExperimentError, Result};

/// The file with all tensors.
const FILE: &str = "curvature.safetensors";
/// The loss of the checkpoint, among the tensors.
const LOSS: &str = "loss";

/// A checkpoint whose surroundings are measured.
#[derive(Debug, Clone)]
pub struct Curvature {
    /// The checkpoint, for people.
    pub name: String,
    /// The stage that keeps it.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// The text, of which the held-out part is read.
    pub text: Arc<TokenData>,
    /// Windows of it: those on which L_pre is measured, so that the expansion is one of the loss that is measured.
    pub windows: usize,
    /// The seed of the labels that are drawn.
    pub seed: u64,
}

/// What decides the curvature, beside the checkpoint and the text.
#[derive(Debug, Serialize)]
pub struct CurvatureKey {
    network: NetworkKey,
    windows: usize,
    seed: u64,
}

/// The curvature of one matrix in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvatureRow {
    /// The block, from 0.
    pub layer: usize,
    /// The map.
    pub kind: String,
    /// The norm of the gradient.
    pub gradient: f64,
    /// tr B tr S, the trace of the curvature by K-FAC.
    pub kronecker: f64,
    /// The trace of the curvature by EK-FAC.
    pub corrected: f64,
}

/// Gradient and curvature of one matrix.
#[derive(Debug, Clone)]
pub(super) struct Bent {
    /// The block, from 0.
    pub(super) layer: usize,
    /// The map.
    pub(super) kind: &'static str,
    /// The matrix.
    pub(super) weight: ParameterId,
    /// g, m x n.
    pub(super) gradient: Array2<f64>,
    /// B and S.
    pub(super) kronecker: Kronecker,
    /// The corrected eigenvalues, m x n.
    pub(super) corrected: Array2<f64>,
}

/// A tensor as an `ndarray` matrix.
pub(super) fn matrix(tensor: &Tensor) -> Result<Array2<f64>> {
    let (rows, columns, values) = super::matrices::entries(tensor)?;
    Ok(shaped((rows, columns), values)?)
}

fn shaped<T>((rows, columns): (usize, usize), values: Vec<T>) -> models::Result<Array2<T>> {
    Ok(Array2::from_shape_vec((rows, columns), values).map_err(candle_core::Error::wrap)?)
}

/// The second moments on both sides of every matrix.
#[derive(Default)]
struct Moments {
    inputs: BTreeMap<Stream, SecondMoment>,
    gradients: BTreeMap<LinearMap, SecondMoment>,
}

/// Whether a linear map inside the blocks reads it.
fn is_read(stream: Stream) -> bool {
    stream.kind.is_read() && stream.kind != StreamKind::HeadInput
}

fn extend(moment: &mut SecondMoment, vectors: &Tensor) -> models::Result<()> {
    moment.extend(&vectors.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

impl Watcher for Moments {
    fn vectors(&mut self, stream: Stream, vectors: &Tensor) -> models::Result<()> {
        if !is_read(stream) {
            return Ok(());
        }
        let features = vectors.dim(1)?;
        extend(self.inputs.entry(stream).or_insert_with(|| SecondMoment::new(features)), vectors)
    }

    fn gradients(&mut self, map: LinearMap, gradients: &Tensor) -> models::Result<()> {
        let features = gradients.dim(1)?;
        extend(self.gradients.entry(map).or_insert_with(|| SecondMoment::new(features)), gradients)
    }
}

/// The squares of every sequence's gradients in the eigenvectors of both moments.
struct Squares {
    /// Tokens of a sequence.
    time: usize,
    /// What the maps read, of the last batch.
    inputs: BTreeMap<Stream, Array2<f32>>,
    of_maps: BTreeMap<LinearMap, ProjectedSquares>,
}

impl Watcher for Squares {
    fn vectors(&mut self, stream: Stream, vectors: &Tensor) -> models::Result<()> {
        if is_read(stream) {
            self.inputs.insert(stream, shaped(vectors.dims2()?, vectors.flatten_all()?.to_vec1()?)?);
        }
        Ok(())
    }

    fn gradients(&mut self, map: LinearMap, gradients: &Tensor) -> models::Result<()> {
        let gradients = shaped(gradients.dims2()?, gradients.flatten_all()?.to_vec1()?)?;
        if let (Some(squares), Some(inputs)) = (self.of_maps.get_mut(&map), self.inputs.get(&map.reads())) {
            let sequences = gradients.axis_chunks_iter(Axis(0), self.time);
            sequences.zip(inputs.axis_chunks_iter(Axis(0), self.time)).for_each(|(d, x)| squares.add(d, x));
        }
        Ok(())
    }
}

/// Gradient and curvature of every matrix inside the blocks, of the mean loss on `text`, in the order of
/// [`linear_maps`](Transformer::linear_maps). Labels are drawn with `seed`, the same for moments and squares.
pub(super) fn bent(network: &Transformer, text: &[Batch], seed: u64) -> Result<Vec<Bent>> {
    let watch = |watcher: &mut dyn Watcher, batches: &[Batch], draws: &mut LabelDraws| -> Result<()> {
        for batch in batches {
            network.watch(batch.ids(), batch.time(), Labels::Drawn(draws), watcher)?;
        }
        Ok(())
    };
    let mut moments = Moments::default();
    watch(&mut moments, text, &mut LabelDraws::new(seed))?;
    let inputs: BTreeMap<Stream, Array2<f64>> =
        moments.inputs.iter().map(|(&stream, moment)| (stream, moment.mean())).collect();
    let mut factors = BTreeMap::new();
    for (&map, gradients) in &moments.gradients {
        let inputs = inputs.get(&map.reads()).ok_or_else(|| ExperimentError::value("text", "no batch", "one"))?;
        factors.insert(map, Kronecker::of(&gradients.mean(), inputs)?);
    }
    drop(moments);
    let of_maps = factors.iter().map(|(&map, kronecker)| (map, ProjectedSquares::new(kronecker))).collect();
    let mut squares = Squares { time: text.first().map_or(1, Batch::time), inputs: BTreeMap::new(), of_maps };
    watch(&mut squares, text, &mut LabelDraws::new(seed))?;
    let maps: Vec<LinearMap> = network.linear_maps().collect();
    let ids: Vec<ParameterId> = maps.iter().map(|map| map.weight).collect();
    let (_, gradient) = network.mean_gradient(text, &ids)?;
    let of_map = |(map, (_, gradient)): (&LinearMap, (ParameterId, &Tensor))| {
        let missing = || ExperimentError::value("text", "no batch", "one");
        Ok(Bent {
            layer: map.layer,
            kind: map.module,
            weight: map.weight,
            gradient: matrix(gradient)?,
            kronecker: factors.remove(map).ok_or_else(missing)?,
            corrected: squares.of_maps.get(map).ok_or_else(missing)?.mean(),
        })
    };
    maps.iter().zip(gradient.iter()).map(of_map).collect()
}

/// The parts of a [`Bent`] in a file, behind the name of its matrix.
const PARTS: [&str; 6] =
    ["gradient", "output-values", "output-vectors", "input-values", "input-vectors", "eigenvalues"];

fn name(bent_layer: usize, kind: &str, part: &str) -> String {
    format!("{bent_layer}.{kind}.{part}")
}

impl Bent {
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let Kronecker { outputs, inputs } = &self.kronecker;
        let row = |values: &Array1<f64>| values.view().insert_axis(Axis(0)).to_owned();
        let parts = [
            self.gradient.clone(),
            row(&outputs.values),
            outputs.vectors.clone(),
            row(&inputs.values),
            inputs.vectors.clone(),
            self.corrected.clone(),
        ];
        let tensor = |(part, values): (&str, Array2<f64>)| {
            let shape = values.dim();
            let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).map_err(models::Error::from)?;
            Ok((name(self.layer, self.kind, part), tensor))
        };
        PARTS.into_iter().zip(parts).map(tensor).collect()
    }

    fn row(&self) -> CurvatureRow {
        CurvatureRow {
            layer: self.layer,
            kind: self.kind.into(),
            gradient: self.gradient.iter().map(|x| x * x).sum::<f64>().sqrt(),
            kronecker: self.kronecker.outputs.values.sum() * self.kronecker.inputs.values.sum(),
            corrected: self.corrected.sum(),
        }
    }
}

/// What a [`Curvature`] kept: the loss of the checkpoint, and every matrix.
pub(super) fn read(done: &DoneStage, network: &Transformer) -> Result<(f64, Vec<Bent>)> {
    let path = done.files().path(FILE)?;
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).map_err(models::Error::from)?;
    let mut take = |name: &str| {
        tensors.remove(name).ok_or_else(|| models::Error::MissingTensor { path: path.clone(), name: name.into() })
    };
    let loss = take(LOSS)?.to_dtype(DType::F64).and_then(|loss| loss.to_vec1::<f64>()).map_err(models::Error::from)?;
    let mut found = Vec::new();
    for map in network.linear_maps() {
        let [gradient, output_values, output_vectors, input_values, input_vectors, corrected] =
            PARTS.map(|part| take(&name(map.layer, map.module, part)).map_err(ExperimentError::from));
        let eigen = |values: Tensor, vectors: Tensor| -> Result<SymmetricEigen> {
            Ok(SymmetricEigen { values: matrix(&values)?.row(0).to_owned(), vectors: matrix(&vectors)? })
        };
        found.push(Bent {
            layer: map.layer,
            kind: map.module,
            weight: map.weight,
            gradient: matrix(&gradient?)?,
            kronecker: Kronecker {
                outputs: eigen(output_values?, output_vectors?)?,
                inputs: eigen(input_values?, input_vectors?)?,
            },
            corrected: matrix(&corrected?)?,
        });
    }
    Ok((loss.first().copied().unwrap_or(f64::NAN), found))
}

/// How much a step changes the loss by the expansion of one matrix: what is read off it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expanded {
    /// <g, D>.
    pub(super) first: f64,
    /// tr(B D S D^T).
    pub(super) kronecker: f64,
    /// The same with corrected eigenvalues.
    pub(super) corrected: f64,
    /// tr(D S D^T).
    pub(super) output_change: f64,
    /// |D|^2.
    pub(super) square: f64,
}

impl Bent {
    /// Along a direction D, with its projection.
    pub(super) fn expanded(&self, direction: &Array2<f64>) -> (Expanded, Array2<f64>) {
        let projected = self.kronecker.projected(direction);
        let expanded = Expanded {
            first: (&self.gradient * direction).sum(),
            kronecker: self.kronecker.curvature(&projected),
            corrected: theory::vectors::weighted(&projected, &self.corrected),
            output_change: self.kronecker.output_change(&projected),
            square: direction.iter().map(|x| x * x).sum(),
        };
        (expanded, projected)
    }
}

/// The part of a direction that lies in a matrix.
pub(super) fn part(direction: &Direction, weight: ParameterId) -> Result<Array2<f64>> {
    let found = direction.iter().find(|(id, _)| *id == weight);
    let (_, tensor) = found.ok_or_else(|| ExperimentError::value("direction", "no such matrix", "all hidden ones"))?;
    matrix(tensor)
}

impl Stage for Curvature {
    const KIND: &'static str = "curvature";
    const SEMANTICS: u32 = 1;
    type Key = CurvatureKey;
    type Output = Vec<CurvatureRow>;

    fn key(&self) -> CurvatureKey {
        CurvatureKey { network: self.network.key(), windows: self.windows, seed: self.seed }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone(), self.text.id.clone()]
    }

    fn label(&self) -> String {
        format!("curvature of {} seed {}", self.name, self.seed)
    }

    /// Two passes without weight gradients, one with, and the sums of both, which take about as long.
    fn cost(&self) -> u64 {
        4 * (self.windows * self.network.config.context) as u64
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Vec<CurvatureRow>, Failure> {
        let network = self.network.load(&work.input(&self.checkpoint)?)?;
        let text = held_out(&self.text, self.network.config.context, self.windows)?;
        let found = bent(&network, &text, seeds::stream(self.seed, "drawn labels"))?;
        let loss = mean_loss(&network, &text)?;
        let mut tensors: HashMap<String, Tensor> =
            found.iter().map(Bent::tensors).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        tensors.insert(LOSS.into(), Tensor::new(&[loss], &Device::Cpu).map_err(models::Error::from)?);
        work.files().write_with(FILE, |path| {
            candle_core::safetensors::save(&tensors, path).map_err(models::Error::from).map_err(ExperimentError::from)
        })?;
        Ok(found.iter().map(Bent::row).collect())
    }

    fn summary(output: &Vec<CurvatureRow>) -> String {
        let sum = |number: fn(&CurvatureRow) -> f64| output.iter().map(number).sum::<f64>();
        format!("trace {:.0} by K-FAC, {:.0} by EK-FAC", sum(|row| row.kronecker), sum(|row| row.corrected))
    }
}

#[cfg(test)]
mod tests {
    use models::{ModelConfig, mean_divergence};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::stages::matrices::{Null, hidden_matrices};

    /// A small network whose matrices are large enough for its predictions to depend on them.
    fn network() -> Transformer {
        let mut network = Transformer::new(&ModelConfig::llama(7, 4, 1, 8, 2, 2), 3).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let matrices = network.parameters().iter().filter(|(_, parameter)| parameter.value.rank() == 2);
        for id in matrices.map(|(id, _)| id).collect::<Vec<ParameterId>>() {
            let drawn = Null::Gaussian.draw(network.parameters().value(id), &mut rng).unwrap();
            network.parameters_mut().set(id, (drawn * 0.4).unwrap()).unwrap();
        }
        network
    }

    /// So many copies of a sequence, with some targets.
    fn copies(ids: &[u32], count: usize) -> Vec<Batch> {
        let all: Vec<u32> = ids.iter().copied().cycle().take(ids.len() * count).collect();
        let targets = all.iter().map(|id| (id + 1) % 7).collect();
        vec![Batch::new(all, targets, ids.len()).unwrap()]
    }

    /// One matrix of the network moved along a direction of entries of root mean square `size`.
    fn moved(network: &Transformer, weight: ParameterId, direction: &Array2<f64>, size: f64) -> Transformer {
        let scale = size * (direction.len() as f64).sqrt() / direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let values: Vec<f32> = direction.iter().map(|x| (x * scale) as f32).collect();
        let part = Tensor::from_vec(values, direction.dim(), &Device::Cpu).unwrap();
        network.moved(&Direction::new([(weight, part)]).unwrap(), 1.0).unwrap()
    }

    /// The root mean square of the entries of the longer of two steps.
    const SIZE: f64 = 0.02;

    /// The mean divergence of the network's predictions from its own is, to second order, half the curvature of the
    /// loss under the network's own labels. Steps to both sides leave no third order, two lengths no fourth.
    fn curvature_of_divergence(
        network: &Transformer,
        weight: ParameterId,
        direction: &Array2<f64>,
        text: &[Batch],
    ) -> f64 {
        let square: f64 = direction.iter().map(|x| x * x).sum();
        let found = |size: f64| {
            let beside = |size| mean_divergence(network, &moved(network, weight, direction, size), text).unwrap();
            (beside(size) + beside(-size)) * square / (size * size * direction.len() as f64)
        };
        (4.0 * found(0.5 * SIZE) - found(SIZE)) / 3.0
    }

    /// With one and the same token everywhere inputs do not vary, so that they are independent of the gradients, and
    /// both estimates are exact but for the drawn labels.
    #[test]
    fn curvature_of_a_single_token_is_that_of_the_divergence_by_both_estimates() {
        let network = network();
        let (text, one) = (copies(&[3], 30_000), copies(&[3], 1));
        for of in bent(&network, &text, 5).unwrap() {
            if ["q_proj", "k_proj"].contains(&of.kind) {
                continue;
            }
            let direction = drawn(&of);
            let expected = curvature_of_divergence(&network, of.weight, &direction, &one);
            let (found, _) = of.expanded(&direction);
            for estimate in [found.kronecker, found.corrected] {
                assert!((estimate / expected - 1.0).abs() < 0.05, "{}: {estimate} {expected}", of.kind);
            }
        }
    }

    fn drawn(of: &Bent) -> Array2<f64> {
        let zeros = Tensor::zeros(of.gradient.dim(), DType::F32, &Device::Cpu).unwrap();
        matrix(&Null::Gaussian.draw(&zeros, &mut ChaCha8Rng::seed_from_u64(9)).unwrap()).unwrap()
    }

    /// Along an eigenvector of both sides the measured eigenvalue is the curvature, however much tokens depend on each
    /// other; the product of the factors' is not.
    #[test]
    fn measured_eigenvalues_are_curvatures_along_the_eigenvectors_of_sequences() {
        let network = network();
        let ids = [3, 0, 6, 3];
        let (text, one) = (copies(&ids, 20_000), copies(&ids, 1));
        let (mut worst, mut products, mut counted): (f64, f64, usize) = (0.0, 0.0, 0);
        for of in bent(&network, &text, 5).unwrap() {
            let (rows, columns) = of.corrected.dim();
            for (i, j) in [(rows - 1, columns - 1), (rows - 1, columns - 2), (rows - 2, columns - 1)] {
                let eigenvalue = of.corrected[[i, j]];
                // Of smaller divergences too much is rounding.
                if eigenvalue * (0.5 * SIZE).powi(2) * ((rows * columns) as f64) < 2e-5 {
                    continue;
                }
                counted += 1;
                let Kronecker { outputs, inputs } = &of.kronecker;
                let (u, v) = (outputs.vectors.column(i), inputs.vectors.column(j));
                let direction = Array2::from_shape_fn((rows, columns), |(a, b)| u[a] * v[b]);
                let expected = curvature_of_divergence(&network, of.weight, &direction, &one);
                worst = worst.max((eigenvalue / expected - 1.0).abs());
                products = products.max((of.kronecker.eigenvalues()[[i, j]] / expected - 1.0).abs());
            }
        }
        assert!(worst < 0.08 && products > 0.2 && counted > 5, "{worst} {products} {counted}");
    }

    #[test]
    fn the_first_order_term_is_the_slope_of_the_loss() {
        let network = network();
        let text = copies(&[3, 0, 6, 1], 2);
        let found = bent(&network, &text, 5).unwrap();
        assert_eq!(found.len(), hidden_matrices(network.parameters()).len());
        for of in found {
            let direction = drawn(&of);
            let beside = |size| mean_loss(&moved(&network, of.weight, &direction, size), &text).unwrap();
            let slope = (beside(0.01) - beside(-0.01)) / 0.02;
            let first = of.expanded(&direction).0.first
                / (direction.iter().map(|x| x * x).sum::<f64>() / direction.len() as f64).sqrt();
            assert!((slope - first).abs() < 1e-3 + 0.01 * first.abs(), "{}: {first} {slope}", of.kind);
        }
    }

    #[test]
    fn what_is_written_reads_back_to_f32s_rounding() {
        let network = network();
        let found = bent(&network, &copies(&[3, 0, 6, 1], 8), 5).unwrap();
        let tensors: HashMap<String, Tensor> = found.iter().flat_map(|of| of.tensors().unwrap()).collect();
        assert_eq!(tensors.len(), PARTS.len() * found.len());
        let of = &found[2];
        let values = matrix(&tensors[&name(of.layer, of.kind, "eigenvalues")]).unwrap();
        let largest = of.corrected.iter().copied().fold(0.0, f64::max);
        assert!((&values - &of.corrected).iter().all(|x| x.abs() <= 1e-6 * largest));
    }
}
