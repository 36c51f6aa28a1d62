//! What products in bf16 do to a network: gradients stay near those of f32, and training ends where it ends in f32.

use models::optim::{AdamW, Muon, Optimizer, Orthogonalizer, Policy, RuleConfig, Scope};
use models::{ModelConfig, Precision, Transformer, train_step};

use crate::support::{architectures, floats, random_batch, random_model, relative_distance};

fn in_precision(model: &Transformer, precision: Precision) -> Transformer {
    let mut model = model.clone();
    model.parameters_mut().set_precision(precision);
    model
}

fn norm(gradient: &[f32]) -> f32 {
    gradient.iter().map(|g| g * g).sum::<f32>().sqrt()
}

#[test]
fn bf16_changes_the_gradients_by_the_rounding_of_their_factors() {
    for (name, config) in architectures(20) {
        let model = random_model(&config, 0.2, 3);
        let batch = random_batch(3, 20, config.vocabulary, 5);
        let [(loss, exact), (rounded_loss, rounded)] = [Precision::F32, Precision::Bf16]
            .map(|precision| in_precision(&model, precision).gradients(&batch, 1.0 / 50.0).unwrap());
        let difference = (rounded_loss.mean() - loss.mean()).abs() / loss.mean();
        assert!(difference > 0.0 && difference < 5e-3, "{name}: loss off by {difference:e}");
        let of_name = |name: &str| {
            let (id, _) = model.parameters().iter().find(|(_, parameter)| parameter.name == name).unwrap();
            floats(exact.get(id).unwrap())
        };
        for (id, parameter) in model.parameters().iter() {
            let [exact, rounded] = [&exact, &rounded].map(|g| floats(g.get(id).unwrap()));
            // A key bias has no gradient but rounding under learned positions.
            if norm(&exact) > 1e-4 {
                // Under rotary positions nearly all of it cancels, its rounding does not: that is of the size of the
                // query bias's.
                let query = parameter.name.strip_suffix("k_proj.bias").map(|block| format!("{block}q_proj.bias"));
                let size = query.map_or(0.0, |query| norm(&of_name(&query))).max(norm(&exact));
                let error = relative_distance(&rounded, &exact) * f64::from(norm(&exact) / size);
                assert!(error < 0.05, "{name}, {}: gradient off by {error:e}", parameter.name);
            }
        }
    }
}

#[test]
fn tf32_on_a_cpu_is_f32_to_the_bit() {
    let model = random_model(&ModelConfig::gpt2(37, 20, 2, 24, 3), 0.2, 3);
    let batch = random_batch(3, 20, 37, 5);
    let [exact, other] = [Precision::F32, Precision::Tf32].map(|p| in_precision(&model, p).loss(&batch).unwrap());
    assert_eq!(exact, other);
}

/// The loss after 20 steps on one batch: on the way down, not at the end of memorisation.
fn trained(hidden: RuleConfig, precision: Precision) -> f64 {
    let mut model = Transformer::new(&ModelConfig::llama(53, 24, 2, 48, 4, 2), 1).unwrap();
    model.parameters_mut().set_precision(precision);
    let adamw = RuleConfig::AdamW(AdamW::default());
    let policy = Policy::hidden_and_rest(Scope::All, hidden, 5e-3, adamw, 5e-3, 5e-3);
    let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
    let batch = [random_batch(6, 24, 53, 2)];
    (0..20).map(|_| train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0).unwrap().loss).last().unwrap()
}

#[test]
fn training_in_bf16_ends_near_where_it_ends_in_f32_with_every_orthogonaliser() {
    let muon = |orthogonalizer| RuleConfig::Muon(Muon { orthogonalizer, ..Muon::default() });
    let rules = [
        RuleConfig::AdamW(AdamW::default()),
        muon(Orthogonalizer::NewtonSchulz),
        muon(Orthogonalizer::GramNewtonSchulz),
        muon(Orthogonalizer::PolarExpress),
    ];
    for rule in rules {
        let [exact, rounded] = [Precision::F32, Precision::Bf16].map(|precision| trained(rule, precision));
        assert!(exact < 3.5, "{rule:?} has learned something: {exact}");
        assert!((rounded - exact).abs() < 0.1 * exact, "{rule:?}: {rounded} in bf16, {exact} in f32");
    }
}
