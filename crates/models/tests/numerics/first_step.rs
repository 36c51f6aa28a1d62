//! The first step from initial weights: every trainable tensor has a finite gradient that is not zero, and moves; those
//! that are zero by theory are zero, and what is frozen has none.

use models::lora::LoraConfig;
use models::optim::{AdamW, Hyperparameters, Optimizer, Policy, RuleConfig, RuleName, Scope};
use models::{Parameter, Positions, Role, Transformer, train_step};

use crate::support::{architectures, floats, random_batch};

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// With positions that are added, a key bias moves all scores of a query alike, which softmax does not see.
fn is_idle_key_bias(model: &Transformer, parameter: &Parameter) -> bool {
    model.config().positions == Positions::Learned && parameter.name.ends_with("k_proj.bias")
}

#[test]
fn every_parameter_has_a_finite_gradient_that_is_zero_only_by_theory() {
    for (what, config) in architectures(12) {
        let model = Transformer::new(&config, 1).unwrap();
        let batch = random_batch(8, 12, config.vocabulary, 2);
        let (_, gradients) = model.gradients(&batch, 1.0 / batch.target_count() as f64).unwrap();
        for (id, parameter) in model.parameters().iter() {
            let gradient = floats(gradients.get(id).unwrap());
            assert!(gradient.iter().all(|g| g.is_finite()), "{what}: {}", parameter.name);
            let size = norm(&gradient);
            if is_idle_key_bias(&model, parameter) {
                let queries = model.parameters().find(&parameter.name.replace("k_proj", "v_proj")).unwrap();
                let other = norm(&floats(gradients.get(queries).unwrap()));
                assert!(size < 1e-6 * other, "{what}: {} has {size:e} beside {other:e}", parameter.name);
            } else {
                let zeros = gradient.iter().filter(|g| **g == 0.0).count();
                assert!(size > 1e-7, "{what}: {} has a gradient of norm {size:e}", parameter.name);
                assert!(zeros * 10 <= gradient.len(), "{what}: {} has {zeros} zeros", parameter.name);
            }
        }
    }
}

/// At the first step, but for SOAP's matrices: its first step only looks at the gradient, its second moves.
#[test]
fn every_parameter_moves_at_the_first_step_of_every_optimizer() {
    let defaults = Hyperparameters::default();
    let with_sgd = (defaults.rule(RuleName::Muon, 0.0), defaults.rule(RuleName::Sgd, 0.0));
    let pairs = RuleName::ALL.iter().map(|&name| (defaults.rule(name, 0.0), defaults.rest(name, 0.0)));
    for (hidden, rest) in pairs.chain([with_sgd]) {
        for (what, config) in architectures(12) {
            let batch = [random_batch(8, 12, config.vocabulary, 3)];
            let mut model = Transformer::new(&config, 1).unwrap();
            let before = model.clone();
            let policy = Policy::hidden_and_rest(Scope::All, hidden, 0.1, rest, 0.1, 0.1);
            let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
            for _ in 0..if hidden.name() == RuleName::Soap { 2 } else { 1 } {
                train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap();
            }
            for (id, parameter) in before.parameters().iter() {
                if !is_idle_key_bias(&before, parameter) {
                    let after = floats(model.parameters().value(id));
                    assert!(after.iter().all(|w| w.is_finite()), "{what}: {}", parameter.name);
                    assert_ne!(after, floats(&parameter.value), "{what}: {} with {hidden:?}", parameter.name);
                }
            }
        }
    }
}

#[test]
fn adapters_start_with_b_and_follow_with_a_while_the_model_is_frozen() {
    for (what, config) in architectures(12) {
        let mut model = Transformer::new(&config, 1).unwrap();
        model.add_lora(&LoraConfig::all(3), 2).unwrap();
        let rule = RuleConfig::AdamW(AdamW::default());
        let policy = Policy::hidden_and_rest(Scope::Adapters, rule, 1e-2, rule, 1e-2, 1e-2);
        let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        let batch = random_batch(8, 12, config.vocabulary, 4);
        for step in 0..2 {
            let (_, gradients) = model.gradients(&batch, 1.0 / batch.target_count() as f64).unwrap();
            for (id, parameter) in model.parameters().iter() {
                let Some(gradient) = gradients.get(id).map(floats) else {
                    assert!(!parameter.trainable, "{what}: {} has no gradient", parameter.name);
                    continue;
                };
                let size = norm(&gradient);
                match parameter.role {
                    Role::LoraA if step == 0 => assert_eq!(size, 0.0, "{what}: {}", parameter.name),
                    Role::LoraA | Role::LoraB => {
                        assert!(size.is_finite() && size > 0.0, "{what}: {} at step {step}: {size}", parameter.name);
                    }
                    _ => panic!("{what}: {} is frozen and has a gradient", parameter.name),
                }
            }
            optimizer.step(model.parameters_mut(), &gradients, 1.0).unwrap();
        }
    }
}

#[test]
fn a_scope_moves_its_own_parameters_and_no_other() {
    let (_, config) = architectures(12).swap_remove(0);
    let batch = [random_batch(8, 12, config.vocabulary, 5)];
    for (scope, moves) in [(Scope::All, [true, true]), (Scope::HiddenMatrices, [true, false])] {
        let mut model = Transformer::new(&config, 1).unwrap();
        let before = model.clone();
        let rule = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
        let policy = Policy::hidden_and_rest(scope, rule, 1e-2, rule, 1e-2, 1e-2);
        let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap();
        for (id, parameter) in before.parameters().iter() {
            let hidden = matches!(parameter.role, Role::HiddenMatrix(_));
            let moved = floats(model.parameters().value(id)) != floats(&parameter.value);
            let expected = if hidden { moves[0] } else { moves[1] };
            assert!(moved == expected || is_idle_key_bias(&before, parameter), "{scope:?}: {}", parameter.name);
        }
    }
}
