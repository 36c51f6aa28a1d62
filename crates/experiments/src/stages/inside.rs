//! What a network is like inside, on some text: statistics of its activations, output gradients and weights, by layer
//! and kind. `docs/probes.md` says what each number is.

use std::collections::BTreeMap;

use candle_core::Tensor;
use models::data::PackedText;
use models::watch::{LabelDraws, Labels, LinearMap, Stream, Watcher};
use models::{Batch, Transformer};
use serde::{Deserialize, Serialize};
use theory::vectors::{MatrixStatistics, MomentStatistics, VectorStream};

use crate::error::Result;

/// Tokens that go through the network at a time: what all blocks save for the backward must fit in memory.
const BATCH_TOKENS: usize = 2048;

/// What the vectors of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// What a linear map reads.
    Input,
    /// The residual stream.
    Residual,
    /// The gradients of a linear map's outputs, for labels drawn from the network: their second moment is B.
    Gradient,
}

/// Statistics of one stream of vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorRow {
    /// The block, from 0; the number of blocks for what comes after them.
    pub layer: usize,
    /// What the vectors are.
    pub measured: Measured,
    /// The stream, or the map whose output gradients they are.
    pub kind: String,
    /// Entries of a vector.
    pub features: usize,
    /// Vectors.
    pub vectors: usize,
    /// Root mean square of the entries.
    pub rms: f64,
    /// Sum of |x|_1 over sqrt(n) times the sum of |x|_2.
    pub l1_over_l2: f64,
    /// Excess kurtosis over the vectors: the mean over features.
    pub kurtosis_of_features: f64,
    /// The largest of any feature.
    pub largest_kurtosis_of_features: f64,
    /// Excess kurtosis of the vectors' lengths.
    pub kurtosis_of_norms: f64,
    /// Largest absolute entry over the root mean square.
    pub max_over_rms: f64,
    /// The three features with the largest absolute entries, divided by spaces.
    pub largest_features: String,
    /// tr S.
    pub trace: f64,
    /// sum_j sqrt(S_jj).
    pub axis_roots: f64,
    /// tr S^(1/2).
    pub trace_root: f64,
    /// (sum lambda)^2 / sum lambda^2 of the eigenvalues of S.
    pub participation_ratio: f64,
    /// The same of the diagonal of S.
    pub participation_ratio_of_features: f64,
    /// exp of the entropy of lambda / sum lambda.
    pub effective_rank: f64,
    /// The same of sqrt(lambda).
    pub effective_rank_of_roots: f64,
    /// Share of the squared entries of S off the diagonal.
    pub off_diagonal_mass: f64,
    /// a: `axis_roots` over its mean under Haar rotations.
    pub alignment: f64,
}

/// Statistics of one weight matrix inside the blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightRow {
    /// The block, from 0.
    pub layer: usize,
    /// The map.
    pub kind: String,
    /// Outputs of the map.
    pub rows: usize,
    /// Inputs of the map.
    pub columns: usize,
    /// Root mean square of the entries.
    pub rms: f64,
    /// The largest absolute entry.
    pub largest_entry: f64,
    /// The largest singular value.
    pub spectral_norm: f64,
    /// |W|_F^2 / sigma_1^2.
    pub stable_rank: f64,
    /// exp of the entropy of sigma / sum sigma.
    pub effective_rank: f64,
    /// The same of sigma^2.
    pub effective_rank_of_squares: f64,
    /// |W - W_0|_F / |W_0|_F, W_0 the initial weights, where they are known.
    pub distance: Option<f64>,
}

/// The sums of all streams.
#[derive(Default)]
struct Sums {
    streams: BTreeMap<Stream, VectorStream>,
    gradients: BTreeMap<(usize, &'static str), VectorStream>,
}

/// Adds vectors to the sums of their stream.
fn extend(stream: &mut VectorStream, vectors: &Tensor) -> models::Result<()> {
    stream.extend(&vectors.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}

impl Watcher for Sums {
    fn vectors(&mut self, stream: Stream, vectors: &Tensor) -> models::Result<()> {
        let features = vectors.dim(1)?;
        extend(self.streams.entry(stream).or_insert_with(|| VectorStream::new(features)), vectors)
    }

    fn gradients(&mut self, map: LinearMap, gradients: &Tensor) -> models::Result<()> {
        let features = gradients.dim(1)?;
        let stream = self.gradients.entry((map.layer, map.module)).or_insert_with(|| VectorStream::new(features));
        extend(stream, gradients)
    }
}

fn row(layer: usize, measured: Measured, kind: &str, stream: &VectorStream) -> Result<VectorRow> {
    let moment = stream.second_moment();
    let (found, second) = (stream.statistics(), MomentStatistics::of(&moment)?);
    let largest: Vec<String> = found.largest_features.iter().map(usize::to_string).collect();
    Ok(VectorRow {
        layer,
        measured,
        kind: kind.into(),
        features: moment.nrows(),
        vectors: found.count,
        rms: found.rms,
        l1_over_l2: found.l1_over_l2,
        kurtosis_of_features: found.kurtosis_of_features,
        largest_kurtosis_of_features: found.largest_kurtosis_of_features,
        kurtosis_of_norms: found.kurtosis_of_norms,
        max_over_rms: found.max_over_rms,
        largest_features: largest.join(" "),
        trace: second.trace,
        axis_roots: second.axis_roots,
        trace_root: second.trace_root,
        participation_ratio: second.participation_ratio,
        participation_ratio_of_features: second.participation_ratio_of_features,
        effective_rank: second.effective_rank,
        effective_rank_of_roots: second.effective_rank_of_roots,
        off_diagonal_mass: second.off_diagonal_mass,
        alignment: second.alignment,
    })
}

impl Sums {
    fn rows(&self) -> Result<Vec<VectorRow>> {
        let of_stream = |(stream, sums): (&Stream, &VectorStream)| {
            let measured = if stream.kind.is_read() { Measured::Input } else { Measured::Residual };
            row(stream.layer, measured, stream.kind.as_str(), sums)
        };
        let of_gradient = |(&(layer, module), sums): (&(usize, &'static str), &VectorStream)| {
            row(layer, Measured::Gradient, module, sums)
        };
        self.streams.iter().map(of_stream).chain(self.gradients.iter().map(of_gradient)).collect()
    }
}

/// About so many tokens of text, in windows spread over it evenly.
///
/// # Errors
/// If there is less than one window.
pub fn windows(text: &PackedText, context: usize, tokens: usize) -> Result<Vec<Batch>> {
    Ok(text.spread(tokens.div_ceil(context), (BATCH_TOKENS / context).max(1))?)
}

/// A row for every stream of vectors and for the output gradients of every map, on this text. Labels are drawn from the
/// network with `seed`.
///
/// # Errors
/// If the network cannot run on the text, or a number is not finite.
pub fn vector_rows(network: &Transformer, text: &[Batch], seed: u64) -> Result<Vec<VectorRow>> {
    let (mut sums, mut draws) = (Sums::default(), LabelDraws::new(seed));
    for batch in text {
        network.watch(batch.ids(), batch.time(), Labels::Drawn(&mut draws), &mut sums)?;
    }
    sums.rows()
}

fn values(network: &Transformer, map: &LinearMap) -> models::Result<Vec<f32>> {
    Ok(network.parameters().value(map.weight).flatten_all()?.to_vec1()?)
}

/// A row for every matrix inside the blocks; `initial` is the same network before training, if it is known.
///
/// # Errors
/// If a weight is not finite.
pub fn weight_rows(network: &Transformer, initial: Option<&Transformer>) -> Result<Vec<WeightRow>> {
    let row = |map: LinearMap| -> Result<WeightRow> {
        let (rows, columns) = network.parameters().value(map.weight).dims2().map_err(models::Error::from)?;
        let now = values(network, &map)?;
        let found = MatrixStatistics::of(rows, columns, &now)?;
        let distance = match initial {
            None => None,
            Some(initial) => {
                let before = values(initial, &map)?;
                let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
                let moved = square(&mut now.iter().zip(&before).map(|(a, b)| f64::from(*a) - f64::from(*b)));
                Some((moved / square(&mut before.iter().map(|&b| f64::from(b)))).sqrt())
            }
        };
        Ok(WeightRow {
            layer: map.layer,
            kind: map.module.into(),
            rows,
            columns,
            rms: found.rms,
            largest_entry: found.largest_entry,
            spectral_norm: found.spectral_norm,
            stable_rank: found.stable_rank,
            effective_rank: found.effective_rank,
            effective_rank_of_squares: found.effective_rank_of_squares,
            distance: distance.filter(|distance| distance.is_finite()),
        })
    };
    network.linear_maps().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use models::checkpoint;
    use models::ops::IGNORE;

    use super::*;

    /// A small network that Transformers wrote, with the batch that is stored beside it.
    fn stored(folder: &str) -> (Transformer, Batch) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/tests/vectors").join(folder);
        let expected = path.join("expected.safetensors");
        let expected = candle_core::safetensors::load(expected, &candle_core::Device::Cpu).unwrap();
        let integers = |name: &str| expected[name].flatten_all().unwrap().to_vec1::<i64>().unwrap();
        let ids = integers("ids").into_iter().map(|id| id as u32).collect();
        let targets = integers("targets").into_iter().map(|t| u32::try_from(t).unwrap_or(IGNORE)).collect();
        (checkpoint::load(&path).unwrap(), Batch::new(ids, targets, 12).unwrap())
    }

    fn rows(folder: &str) -> Vec<VectorRow> {
        let (network, batch) = stored(folder);
        let mut sums = Sums::default();
        network.watch(batch.ids(), batch.time(), Labels::Given(batch.targets()), &mut sums).unwrap();
        sums.rows().unwrap()
    }

    /// Layer, measured, kind, and the ten numbers that [`numbers`] reads.
    type Expected = (usize, Measured, &'static str, [f64; 10]);

    fn numbers(row: &VectorRow) -> [f64; 10] {
        [
            row.rms,
            row.l1_over_l2,
            row.kurtosis_of_features,
            row.kurtosis_of_norms,
            row.max_over_rms,
            row.trace,
            row.axis_roots,
            row.trace_root,
            row.participation_ratio,
            row.off_diagonal_mass,
        ]
    }

    fn check(folder: &str, expected: &[Expected]) {
        let rows = rows(folder);
        for (layer, measured, kind, expected) in expected {
            let row = rows.iter().find(|r| r.layer == *layer && r.measured == *measured && r.kind == *kind).unwrap();
            for (place, (found, expected)) in numbers(row).iter().zip(expected).enumerate() {
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-4, "{folder} {layer} {kind}, number {place}: {found}, expected {expected}");
            }
        }
    }

    // What hooks of PyTorch 2.15 see in Transformers' networks, in f64:
    //
    //     def stats(x):
    //         x = x.double().reshape(-1, x.shape[-1]); n = x.shape[1]
    //         S = x.T @ x / len(x); d = S.diagonal(); lam = torch.linalg.eigvalsh(S).clamp(min=0)
    //         c = x - x.mean(0); kf = ((c**4).mean(0) / (c**2).mean(0)**2 - 3).mean()
    //         r = x.norm(dim=1); c = r - r.mean(); kn = (c**4).mean() / (c**2).mean()**2 - 3
    //         rms = (x**2).mean().sqrt()
    //         return [rms, x.abs().sum() / n**.5 / r.sum(), kf, kn, x.abs().max() / rms, S.trace(),
    //                 d.sqrt().sum(), lam.sqrt().sum(), lam.sum()**2 / (lam**2).sum(), 1 - (d**2).sum() / (S**2).sum()]
    //
    //     model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").double()
    //     module.register_forward_hook(lambda m, i, o: show(stats(i[0])))               # an input
    //     module.register_full_backward_hook(lambda m, gi, go: show(stats(go[0])))      # an output gradient
    //     logits = model(input_ids=ids).logits
    //     F.cross_entropy(logits.reshape(-1, 61), targets.reshape(-1), ignore_index=-100, reduction="sum").backward()
    //
    // Of GPT-2's c_attn the output gradient is divided in three.

    #[test]
    fn gpt2_is_inside_what_pytorchs_hooks_see() {
        use Measured::{Gradient, Input, Residual};
        check(
            "gpt2",
            &[
                (
                    1,
                    Input,
                    "attention-input",
                    [
                        1.120584, 0.8109652, -0.3540547, -1.110864, 3.379763, 30.137, 25.34617, 15.64322, 2.419313,
                        0.8439552,
                    ],
                ),
                (
                    1,
                    Gradient,
                    "q_proj",
                    [
                        0.01781443,
                        0.7005256,
                        2.420145,
                        -0.4655534,
                        5.847423,
                        0.007616496,
                        0.3748554,
                        0.2406722,
                        3.44129,
                        0.6740295,
                    ],
                ),
                (
                    1,
                    Gradient,
                    "k_proj",
                    [
                        0.02191029, 0.7229343, 2.736094, 2.119892, 7.537984, 0.01152146, 0.4594411, 0.2887229,
                        2.887039, 0.7116448,
                    ],
                ),
                (
                    1,
                    Gradient,
                    "v_proj",
                    [
                        0.03889887, 0.7407557, 3.848778, 5.847597, 6.689775, 0.03631493, 0.8793616, 0.5468818,
                        3.352105, 0.8023926,
                    ],
                ),
                (
                    0,
                    Input,
                    "mlp-hidden",
                    [
                        0.7502838, 0.6130886, 2.113125, -1.033418, 5.039637, 54.04087, 57.11923, 23.28926, 2.522225,
                        0.9118194,
                    ],
                ),
                (
                    0,
                    Gradient,
                    "down_proj",
                    [
                        0.09483514, 0.8064332, 0.6306365, -0.9848403, 3.546182, 0.2158489, 2.240268, 1.688384,
                        8.064269, 0.6225107,
                    ],
                ),
                (
                    1,
                    Residual,
                    "middle",
                    [
                        1.721692, 0.8249428, -0.2318171, -0.3351173, 2.956629, 71.14138, 39.33302, 24.23942, 2.484416,
                        0.8546255,
                    ],
                ),
            ],
        );
    }

    #[test]
    fn llama_is_inside_what_pytorchs_hooks_see() {
        use Measured::{Gradient, Input, Residual};
        check(
            "llama",
            &[
                (
                    1,
                    Input,
                    "attention-input",
                    [
                        0.9716411, 0.8100024, -0.4794439, -0.7098535, 3.117922, 22.65807, 22.58543, 17.54629, 7.77366,
                        0.5978117,
                    ],
                ),
                (
                    1,
                    Gradient,
                    "q_proj",
                    [
                        0.06951094, 0.697593, 3.647029, -0.6482056, 6.107041, 0.1159625, 1.485859, 1.032068, 3.67311,
                        0.6094448,
                    ],
                ),
                (
                    0,
                    Input,
                    "attention-output",
                    [
                        0.5940684, 0.8121511, 0.3051153, 4.50363, 2.764506, 8.470015, 13.69546, 9.425636, 4.692756,
                        0.7386992,
                    ],
                ),
                (
                    0,
                    Gradient,
                    "o_proj",
                    [
                        0.5745695, 0.8139728, 1.448818, -0.5512987, 3.779869, 7.923121, 13.47003, 9.823042, 6.687202,
                        0.6770131,
                    ],
                ),
                (
                    1,
                    Input,
                    "mlp-input",
                    [
                        1.05949, 0.7807263, -0.4824203, 0.8844454, 3.345754, 26.94047, 23.95747, 18.38317, 5.816018,
                        0.6407003,
                    ],
                ),
                (
                    1,
                    Gradient,
                    "gate_proj",
                    [
                        0.08063134, 0.5739279, 4.879226, -1.015417, 5.982982, 0.2600565, 2.813984, 1.867131, 7.849738,
                        0.5678814,
                    ],
                ),
                (
                    0,
                    Input,
                    "mlp-hidden",
                    [
                        0.5809277, 0.5576143, 3.41514, -0.8561408, 8.684005, 13.49908, 20.32063, 14.59342, 8.344445,
                        0.4928175,
                    ],
                ),
                (
                    0,
                    Gradient,
                    "down_proj",
                    [
                        0.2730158, 0.7950346, 0.8313916, 0.40981, 5.277587, 1.788903, 6.273068, 4.843627, 6.391622,
                        0.629946,
                    ],
                ),
                (
                    2,
                    Residual,
                    "residual",
                    [
                        1.340191, 0.7974784, 0.2530835, -0.6910722, 4.055209, 43.10666, 31.58943, 24.25415, 7.026006,
                        0.6646546,
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_row_for_every_stream_map_and_matrix() {
        let (network, batch) = stored("llama");
        let rows = vector_rows(&network, std::slice::from_ref(&batch), 3).unwrap();
        // Six streams and seven maps a block, the last residual and the head's input.
        assert_eq!(rows.len(), 2 * (6 + 7) + 2);
        assert_eq!(rows, vector_rows(&network, std::slice::from_ref(&batch), 3).unwrap());
        assert_ne!(rows, vector_rows(&network, &[batch], 4).unwrap());
        let weights = weight_rows(&network, Some(&network)).unwrap();
        assert_eq!(weights.len(), 14);
        assert!(weights.iter().all(|row| row.distance == Some(0.0)));
        assert!(weight_rows(&network, None).unwrap().iter().all(|row| row.distance.is_none()));
    }
}
