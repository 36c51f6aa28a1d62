//! The inside of a network as a watcher sees it: against the gradients of the weights that read and make it, and the
//! output curvature against exact second derivatives.

use std::collections::BTreeMap;

use candle_core::Tensor;
use models::watch::{LabelDraws, Labels, LinearMap, Stream, Watcher};
use models::{ModelConfig, Transformer};

use crate::support::{architectures, floats, random_batch, random_model, tensor};

/// Keeps all it is shown.
#[derive(Default)]
struct Keeper {
    vectors: BTreeMap<Stream, Vec<f32>>,
    gradients: BTreeMap<LinearMap, Vec<f32>>,
}

impl Watcher for Keeper {
    fn vectors(&mut self, stream: Stream, vectors: &Tensor) -> models::Result<()> {
        self.vectors.insert(stream, floats(vectors));
        Ok(())
    }

    fn gradients(&mut self, map: LinearMap, gradients: &Tensor) -> models::Result<()> {
        self.gradients.insert(map, floats(gradients));
        Ok(())
    }
}

/// The sum over rows of (a row of `a`) (a row of `b`)^T, in f64.
fn sum_of_outer_products(a: &[f32], b: &[f32], columns: [usize; 2]) -> Vec<f64> {
    let mut sum = vec![0.0; columns[0] * columns[1]];
    for (a, b) in a.chunks(columns[0]).zip(b.chunks(columns[1])) {
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                sum[i * columns[1] + j] += f64::from(*x) * f64::from(*y);
            }
        }
    }
    sum
}

/// |a - b| over |b|.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    square(&mut a.iter().zip(b).map(|(x, y)| x - y)) / square(&mut b.iter().copied())
}

#[test]
fn inputs_and_output_gradients_multiply_to_the_weights_gradients_in_every_architecture() {
    for (what, config) in architectures(20) {
        let model = random_model(&config, 0.2, 21);
        let batch = random_batch(3, 9, config.vocabulary, 22);
        let mut seen = Keeper::default();
        model.watch(batch.ids(), 9, Labels::Given(batch.targets()), &mut seen).unwrap();
        let (_, gradients) = model.gradients(&batch, 1.0).unwrap();
        let maps: Vec<LinearMap> = model.linear_maps().collect();
        assert_eq!(seen.gradients.len(), maps.len(), "{what}");
        for map in maps {
            let weight = gradients.get(map.weight).unwrap();
            let [outputs, inputs] = weight.dims() else { panic!("a matrix") };
            let (x, d) = (&seen.vectors[&map.reads()], &seen.gradients[&map]);
            let found = sum_of_outer_products(d, x, [*outputs, *inputs]);
            let expected: Vec<f64> = floats(weight).iter().map(|&g| f64::from(g)).collect();
            let error = distance(&found, &expected);
            assert!(error < 1e-5, "{what}: layer {} {}: {error}", map.layer, map.module);
        }
        // Six streams a block, the last residual and the head's input.
        assert_eq!(seen.vectors.len(), 6 * config.layers + 2, "{what}");
    }
}

/// The Gauss-Newton curvature of the summed loss of a row with respect to a bias: sum over tokens of
/// J^T (diag p - p p^T) J, J the central differences of the logits.
fn gauss_newton(model: &Transformer, bias: &str, ids: &[u32]) -> Vec<f64> {
    const STEP: f64 = 1e-2;
    let id = model.parameters().find(bias).unwrap();
    let values = floats(model.parameters().value(id));
    let logits = |index: usize, step: f64| {
        let mut moved = model.clone();
        let mut values = values.clone();
        values[index] += step as f32;
        moved.parameters_mut().set(id, tensor(&values, &[values.len()])).unwrap();
        floats(&moved.logits(ids, ids.len()).unwrap())
    };
    let slopes: Vec<Vec<f64>> = (0..values.len())
        .map(|i| {
            let (up, down) = (logits(i, STEP), logits(i, -STEP));
            up.iter().zip(&down).map(|(u, d)| (f64::from(*u) - f64::from(*d)) / (2.0 * STEP)).collect()
        })
        .collect();
    let vocabulary = model.config().vocabulary;
    let at_rest = logits(0, 0.0);
    let mut curvature = vec![0.0; values.len() * values.len()];
    for (t, logits) in at_rest.chunks(vocabulary).enumerate() {
        let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l).exp()).collect();
        let total: f64 = weights.iter().sum();
        let p: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let mean = |j: &[f64]| -> f64 { p.iter().zip(j).map(|(p, j)| p * j).sum() };
        for (a, left) in slopes.iter().enumerate() {
            for (b, right) in slopes.iter().enumerate() {
                let (left, right) = (&left[t * vocabulary..][..vocabulary], &right[t * vocabulary..][..vocabulary]);
                let both: f64 = p.iter().zip(left).zip(right).map(|((p, l), r)| p * l * r).sum();
                curvature[a * slopes.len() + b] += both - mean(left) * mean(right);
            }
        }
    }
    curvature
}

fn tiny() -> Transformer {
    random_model(&ModelConfig::gpt2(7, 4, 2, 8, 2), 0.3, 31)
}

/// The output gradients of every map under labels drawn from the network, on so many copies of a row.
fn drawn(model: &Transformer, ids: &[u32], copies: usize) -> Keeper {
    let mut seen = Keeper::default();
    let all: Vec<u32> = ids.iter().copied().cycle().take(ids.len() * copies).collect();
    model.watch(&all, ids.len(), Labels::Drawn(&mut LabelDraws::new(5)), &mut seen).unwrap();
    seen
}

/// With one token to a row the second moment of a map's output gradients is its B itself, of which the exact value is
/// the curvature with respect to the bias.
#[test]
fn the_second_moment_of_output_gradients_is_the_output_curvature() {
    let (model, copies) = (tiny(), 40_000);
    let seen = drawn(&model, &[3], copies);
    for (map, gradients) in &seen.gradients {
        let outputs = gradients.len() / copies;
        if ["q_proj", "k_proj"].contains(&map.module) {
            let most = gradients.iter().fold(0f32, |most, g| most.max(g.abs()));
            assert!(most < 1e-5, "a single token attends to itself whatever the query: {most}");
            continue;
        }
        let name = model.parameters().get(map.weight).name.replace(".weight", ".bias");
        let found = sum_of_outer_products(gradients, gradients, [outputs, outputs]);
        let found: Vec<f64> = found.iter().map(|x| x / copies as f64).collect();
        let error = distance(&found, &gauss_newton(&model, &name, &[3]));
        assert!(error < 0.03, "{name}: {error}");
    }
}

/// With several tokens the sum of their output gradients has the curvature with respect to the bias they share.
#[test]
fn output_gradients_reach_back_through_attention() {
    let (model, copies, ids) = (tiny(), 20_000, [3, 0, 6]);
    let seen = drawn(&model, &ids, copies);
    for (map, gradients) in &seen.gradients {
        let outputs = gradients.len() / (copies * ids.len());
        let sums: Vec<f32> = gradients
            .chunks(outputs * ids.len())
            .flat_map(|row| (0..outputs).map(|j| row.iter().skip(j).step_by(outputs).sum::<f32>()))
            .collect();
        // A key bias moves all scores of a query alike: no curvature.
        if map.module == "k_proj" {
            assert!(sums.iter().all(|sum| sum.abs() < 1e-5));
            continue;
        }
        let name = model.parameters().get(map.weight).name.replace(".weight", ".bias");
        let found = sum_of_outer_products(&sums, &sums, [outputs, outputs]);
        let found: Vec<f64> = found.iter().map(|x| x / copies as f64).collect();
        let error = distance(&found, &gauss_newton(&model, &name, &ids));
        assert!(error < 0.04, "{name}: {error}");
    }
}

#[test]
fn labels_repeat_by_seed_and_a_watched_network_is_as_it_was() {
    let model = tiny();
    let values = |seen: &Keeper| seen.gradients.values().next().unwrap().clone();
    let first = drawn(&model, &[1, 2], 5);
    assert_eq!(values(&first), values(&drawn(&model, &[1, 2], 5)));
    assert!(model.parameters().iter().all(|(_, parameter)| parameter.trainable));
    let mut forward = Keeper::default();
    model.watch(&[1, 2, 1, 2], 2, Labels::None, &mut forward).unwrap();
    assert!(forward.gradients.is_empty() && forward.vectors.len() == 14);
    assert!(model.watch(&[1; 5], 5, Labels::None, &mut forward).is_err(), "longer than the context");
}
