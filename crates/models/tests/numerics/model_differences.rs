//! The gradient of a whole model, parameter by parameter, against central differences of its own loss: that the
//! operations are put together in the right order, in every architecture.

use models::Transformer;
use models::lora::LoraConfig;

use crate::support::{Random, architectures, floats, random_batch, random_model, tensor};

/// The step's length in parameter space; the differences are of fourth order, so that it can be long enough for f32
/// losses.
const STEP: f64 = 1e-2;
/// Relative to the gradient's norm, or to [`SMALL`] where that is larger.
const TOLERANCE: f64 = 2e-3;
/// Below this norm the rounding of the loss (a few 1e-7 over the step) is what one sees.
const SMALL: f64 = 5e-2;

fn check(what: &str, model: &Transformer, time: usize) {
    let batch = random_batch(2, time, model.config().vocabulary, 11);
    let scale = 1.0 / batch.target_count() as f64;
    let (_, gradients) = model.gradients(&batch, scale).unwrap();
    let mut random = Random::new(12);
    for (id, parameter) in model.parameters().iter() {
        let gradient: Vec<f64> = floats(gradients.get(id).unwrap()).iter().map(|g| f64::from(*g)).collect();
        let size = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        // Along the gradient, which sees its length, and along a random direction, which sees its other errors.
        let noise: Vec<f64> = random.values(gradient.len()).iter().map(|x| f64::from(*x)).collect();
        for direction in [&gradient, &noise] {
            let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-12);
            let loss = |sign: f64| {
                let mut moved = model.clone();
                let values: Vec<f32> = floats(&parameter.value)
                    .iter()
                    .zip(direction)
                    .map(|(w, d)| (f64::from(*w) + sign * STEP * d / length) as f32)
                    .collect();
                moved.parameters_mut().set(id, tensor(&values, parameter.value.dims())).unwrap();
                moved.loss(&batch).unwrap().sum * scale
            };
            let expected = (8.0 * (loss(1.0) - loss(-1.0)) - (loss(2.0) - loss(-2.0))) / (12.0 * STEP);
            let along: f64 = gradient.iter().zip(direction).map(|(g, d)| g * d / length).sum();
            let error = (along - expected).abs();
            assert!(error <= TOLERANCE * size.max(SMALL), "{what}: {}: {along}, expected {expected}", parameter.name);
        }
    }
}

#[test]
fn gradients_of_every_architecture_are_the_slopes_of_its_loss() {
    for (what, config) in architectures(20) {
        check(what, &random_model(&config, 0.2, 13), 13);
    }
}

#[test]
fn gradients_of_adapters_are_the_slopes_of_the_loss() {
    for (what, config) in architectures(20) {
        let mut model = random_model(&config, 0.2, 14);
        model.add_lora(&LoraConfig { rank: 3, alpha: 5.0, ..LoraConfig::all(3) }, 15).unwrap();
        let mut random = Random::new(16);
        let added: Vec<_> =
            model.parameters().iter().filter(|(_, p)| p.name.contains("lora_B")).map(|(id, _)| id).collect();
        for id in added {
            let shape = model.parameters().value(id).dims().to_vec();
            model.parameters_mut().set(id, (random.tensor(&shape) * 0.2).unwrap()).unwrap();
        }
        check(what, &model, 9);
    }
}
