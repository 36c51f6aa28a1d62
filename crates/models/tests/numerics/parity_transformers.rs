//! The transformer against Hugging Face's GPT-2 and Llama under PyTorch, f32: logits, loss, the gradient of every
//! parameter, a short training run. `vectors/make_transformers.py` made the stored numbers.

use std::collections::BTreeMap;

use candle_core::Tensor;
use models::checkpoint;
use models::ops::IGNORE;
use models::optim::{AdamW, Optimizer, Policy, RuleConfig};
use models::{Batch, Transformer, train_step};

use crate::support::{Vectors, assert_close, floats, vector_path};

/// Relative, in the Frobenius norm of each tensor. Measured: at most 4.2e-7 for logits and 1.2e-6 for a gradient, which
/// is also how far PyTorch's own f32 gradients are from its f64 ones (1.5e-6).
const TOLERANCE: f64 = 1e-4;

pub(crate) fn stored_batch(expected: &Vectors) -> Batch {
    let integers = |name: &str| expected.get(name).flatten_all().unwrap().to_vec1::<i64>().unwrap();
    let ids = integers("ids").into_iter().map(|id| id as u32).collect();
    let targets = integers("targets").into_iter().map(|t| u32::try_from(t).unwrap_or(IGNORE)).collect();
    Batch::new(ids, targets, 12).unwrap()
}

/// Gradients under Hugging Face's names and layouts.
fn named_gradients(model: &Transformer, batch: &Batch) -> BTreeMap<String, Tensor> {
    let (_, gradients) = model.gradients(batch, 1.0 / batch.target_count() as f64).unwrap();
    let parameters = model.parameters();
    let gradient = |name: &str| gradients.get(parameters.find(name).unwrap()).cloned();
    checkpoint::hugging_face_tensors(model.config(), parameters, gradient).unwrap().into_iter().collect()
}

fn check(folder: &str) {
    let model = checkpoint::load(&vector_path(folder)).unwrap();
    let expected = Vectors::open(&format!("{folder}/expected.safetensors"));
    let batch = stored_batch(&expected);
    assert!(batch.target_count() < batch.targets().len(), "the vectors mask some targets");

    let logits = model.logits(batch.ids(), 12).unwrap().reshape((2, 12, 61)).unwrap();
    assert_close("logits", &logits, expected.get("logits"), TOLERANCE);
    let loss = f64::from(expected.get("loss").to_scalar::<f32>().unwrap());
    assert!((model.loss(&batch).unwrap().mean() - loss).abs() < 1e-5 * loss);

    let gradients = named_gradients(&model, &batch);
    let names: Vec<String> = expected.names("grad.");
    assert_eq!(gradients.keys().cloned().collect::<Vec<_>>(), names, "parameters");
    for name in names {
        assert_close(&name, &gradients[&name], expected.get(&format!("grad.{name}")), TOLERANCE);
    }
}

/// The weights that Hugging Face wrote come back under the same names, in the same layout and to the bit.
fn check_export(folder: &str) {
    let model = checkpoint::load(&vector_path(folder)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    checkpoint::save(&model, directory.path()).unwrap();
    let load = |path| candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
    let (ours, theirs) =
        (load(directory.path().join(checkpoint::WEIGHTS)), load(vector_path(folder).join(checkpoint::WEIGHTS)));
    assert_eq!(ours.len(), theirs.len());
    for (name, tensor) in theirs {
        assert_eq!(ours[&name].dims(), tensor.dims(), "{name}");
        assert_eq!(floats(&ours[&name]), floats(&tensor), "{name}");
    }
    assert_eq!(checkpoint::load(directory.path()).unwrap().config(), model.config());
}

/// Ten AdamW steps follow PyTorch's losses: forward, backward and optimizer together.
fn check_training(folder: &str) {
    let mut model = checkpoint::load(&vector_path(folder)).unwrap();
    let expected = Vectors::open(&format!("{folder}/expected.safetensors"));
    let batch = [stored_batch(&expected)];
    let rule = RuleConfig::AdamW(AdamW { weight_decay: 0.0, ..AdamW::default() });
    let mut optimizer = Optimizer::new(model.parameters_mut(), &Policy::uniform(rule, 3e-3)).unwrap();
    for (step, expected) in floats(expected.get("curve")).into_iter().enumerate() {
        let loss = train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap().loss;
        let error = (loss / f64::from(expected) - 1.0).abs();
        assert!(error < TOLERANCE, "loss before step {step}: {loss}, expected {expected}");
    }
}

#[test]
fn gpt2_has_the_logits_loss_and_gradients_of_pytorch() {
    check("gpt2");
}

#[test]
fn llama_has_the_logits_loss_and_gradients_of_pytorch() {
    check("llama");
}

#[test]
fn gpt2_weights_are_exported_as_hugging_face_wrote_them() {
    check_export("gpt2");
}

#[test]
fn llama_weights_are_exported_as_hugging_face_wrote_them() {
    check_export("llama");
}

#[test]
fn gpt2_trains_along_the_losses_of_pytorch() {
    check_training("gpt2");
}

#[test]
fn llama_trains_along_the_losses_of_pytorch() {
    check_training("llama");
}
