//! LoRA with AdamW against PyTorch, f32, on the stored Llama model: ten steps from B = 0, then the merged weights.
//! `vectors/make_lora.py` made the stored numbers.

use models::lora::{LoraConfig, LoraTarget};
use models::optim::{AdamW, Optimizer, Policy, RuleConfig, Scope};
use models::{Transformer, checkpoint, train_step};

use crate::parity_transformers::stored_batch;
use crate::support::{Vectors, assert_close, floats, tensor, vector_path};

/// Relative, in the Frobenius norm of each tensor. Measured: at most 1.8e-6 for the updates of A and B over ten steps.
const TOLERANCE: f64 = 1e-4;

/// The stored model with the stored adapters, and its optimizer.
fn adapted(stored: &Vectors) -> (Transformer, Optimizer) {
    let mut model = checkpoint::load(&vector_path("llama")).unwrap();
    let config = LoraConfig { rank: 2, alpha: 4.0, targets: LoraTarget::ALL.to_vec() };
    model.add_lora(&config, 0).unwrap();
    for name in stored.names("A0.") {
        let a = model.parameters().find(&format!("{name}.lora_A.weight")).unwrap();
        model.parameters_mut().set(a, stored.get(&format!("A0.{name}")).clone()).unwrap();
    }
    let rule = RuleConfig::AdamW(AdamW::default());
    let policy = Policy::hidden_and_rest(Scope::Adapters, rule, 5e-3, rule, 5e-3, 5e-3);
    let optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
    (model, optimizer)
}

#[test]
fn first_gradients_are_those_of_pytorch_and_zero_for_a() {
    let stored = Vectors::open("lora.safetensors");
    let (model, _) = adapted(&stored);
    let batch = stored_batch(&Vectors::open("llama/expected.safetensors"));
    let (_, gradients) = model.gradients(&batch, 1.0 / batch.target_count() as f64).unwrap();
    let gradient = |name: String| gradients.get(model.parameters().find(&name).unwrap()).unwrap();
    for name in stored.names("gradB.") {
        let b = gradient(format!("{name}.lora_B.weight"));
        assert_close(&name, b, stored.get(&format!("gradB.{name}")), TOLERANCE);
        assert!(floats(gradient(format!("{name}.lora_A.weight"))).iter().all(|g| *g == 0.0), "{name}");
    }
}

#[test]
fn ten_steps_update_and_merge_as_in_pytorch() {
    let stored = Vectors::open("lora.safetensors");
    let (mut model, mut optimizer) = adapted(&stored);
    let batch = [stored_batch(&Vectors::open("llama/expected.safetensors"))];
    for (step, expected) in floats(stored.get("curve")).into_iter().enumerate() {
        let loss = train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap().loss;
        let error = (loss / f64::from(expected) - 1.0).abs();
        assert!(error < TOLERANCE, "loss before step {step}: {loss}, expected {expected}");
    }
    let names = stored.names("A0.");
    assert_eq!(names.len(), 14, "seven maps in two blocks");
    let value =
        |model: &Transformer, name: String| model.parameters().value(model.parameters().find(&name).unwrap()).clone();
    for name in &names {
        let start = stored.get(&format!("A0.{name}"));
        let applied = (value(&model, format!("{name}.lora_A.weight")) - start).unwrap();
        assert_close(name, &applied, &(stored.get(&format!("A.{name}")) - start).unwrap(), TOLERANCE);
        let b = value(&model, format!("{name}.lora_B.weight"));
        assert_close(name, &b, stored.get(&format!("B.{name}")), TOLERANCE);
    }
    let logits = model.logits(batch[0].ids(), 12).unwrap().reshape((2, 12, 61)).unwrap();
    assert_close("logits", &logits, stored.get("logits"), TOLERANCE);

    model.merge_lora().unwrap();
    for name in &names {
        let merged = value(&model, format!("{name}.weight"));
        assert_close(name, &merged, stored.get(&format!("merged.{name}")), 1e-5);
    }
    let logits = model.logits(batch[0].ids(), 12).unwrap().reshape((2, 12, 61)).unwrap();
    assert_close("merged logits", &logits, stored.get("logits"), TOLERANCE);
}

#[test]
fn training_the_adapters_leaves_every_other_weight_alone() {
    let stored = Vectors::open("lora.safetensors");
    let (mut model, mut optimizer) = adapted(&stored);
    let batch = [stored_batch(&Vectors::open("llama/expected.safetensors"))];
    train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap();
    for (_, parameter) in checkpoint::load(&vector_path("llama")).unwrap().parameters().iter() {
        let now = model.parameters().value(model.parameters().find(&parameter.name).unwrap());
        assert_eq!(floats(now), floats(&parameter.value), "{}", parameter.name);
    }
    let zeros = tensor(&[0.0; 48], &[24, 2]);
    let b = model.parameters().find("model.layers.1.self_attn.q_proj.lora_B.weight").unwrap();
    assert_ne!(floats(model.parameters().value(b)), floats(&zeros));
}
