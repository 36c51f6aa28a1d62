//! What a preset compares: the methods of its verdicts, and those of each variant.

use models::optim::RuleName;

use super::method::MethodPreset;
use super::preset::TradeoffPreset;
use super::statistics::{Comparison, Pair};
use crate::parts::CheckpointPreset;

/// The comparison that a preset's verdicts are about, with the control pairs.
pub fn comparison(preset: &TradeoffPreset) -> Comparison {
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(|method| method.variant.is_none()).collect();
    compare(preset, &methods, &preset.controls, |optimizer| optimizer.as_str().into())
}

/// The comparison of every variant in which each matched optimizer has a method, by the variant's name.
pub fn variants(preset: &TradeoffPreset) -> Vec<(String, Comparison)> {
    let mut names: Vec<&String> = preset.methods.iter().filter_map(|method| method.variant.as_ref()).collect();
    names.dedup();
    let of = |name: &String| {
        let methods: Vec<&MethodPreset> =
            preset.methods.iter().filter(|method| method.variant.as_ref() == Some(name)).collect();
        let of_rule =
            |rule| methods.iter().find(|m| m.optimizer == rule && m.lora_rank.is_none()).map(|m| m.name.clone());
        let complete = preset.pair.iter().flatten().all(|checkpoint| {
            preset.checkpoint(checkpoint).and_then(CheckpointPreset::optimizer).and_then(of_rule).is_some()
        });
        let complete = complete && preset.pair.is_some();
        complete.then(|| (name.clone(), compare(preset, &methods, &[], |rule| of_rule(rule).unwrap_or_default())))
    };
    names.into_iter().filter_map(of).collect()
}

/// Every comparison: the verdicts' first, under the name `verdicts`, then the variants'.
pub fn all(preset: &TradeoffPreset) -> Vec<(String, Comparison)> {
    std::iter::once(("verdicts".to_owned(), comparison(preset))).chain(variants(preset)).collect()
}

fn compare(
    preset: &TradeoffPreset,
    methods: &[&MethodPreset],
    controls: &[[String; 2]],
    matched: impl Fn(RuleName) -> String,
) -> Comparison {
    let of = |checkpoint: &str| {
        preset.checkpoint(checkpoint).and_then(CheckpointPreset::optimizer).map_or(String::new(), &matched)
    };
    let pair = |[a, b]: &[String; 2]| Pair::new((a, &of(a)), (b, &of(b)));
    let named = |wanted: fn(&MethodPreset) -> bool| {
        methods.iter().filter(|method| wanted(method)).map(|method| method.name.clone()).collect()
    };
    Comparison {
        methods: methods.iter().map(|method| method.name.clone()).collect(),
        pair: preset.pair.as_ref().map(pair),
        alone: alone(preset),
        controls: controls.iter().map(pair).collect(),
        lora: named(|method| method.lora_rank.is_some()),
        sgd: named(|method| method.optimizer == RuleName::Sgd),
    }
}

/// Imported checkpoints that are in no pair, each with the method that the others are compared with.
fn alone(preset: &TradeoffPreset) -> Vec<(String, String)> {
    let in_pair = |name: &String| preset.pair.iter().flatten().any(|one| one == name);
    let of = |checkpoint: &CheckpointPreset| {
        let reference = preset.reference_method(checkpoint)?;
        Some((checkpoint.name.clone(), reference.name.clone()))
    };
    let all = preset.checkpoints.iter().filter(|checkpoint| preset.imports() && !in_pair(&checkpoint.name));
    all.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;

    use super::*;

    #[test]
    fn a_variant_compares_its_own_methods_and_the_verdicts_none_of_them() {
        let mut preset = TradeoffPreset::find("smoke", &[]).unwrap();
        for name in ["adamw", "muon"] {
            let method = preset.methods.iter().find(|method| method.name == name).unwrap();
            let large = MethodPreset {
                name: format!("{name}-batch"),
                variant: Some("large batch".into()),
                sequences: Some(16),
                ..method.clone()
            };
            preset.methods.push(large);
        }
        let mut alone = preset.methods[0].clone();
        (alone.name, alone.variant, alone.sequences) = ("alone".into(), Some("half".into()), Some(2));
        preset.methods.push(alone);
        preset.check().unwrap();
        let all = all(&preset);
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["verdicts", "large batch"]);
        assert!(!all[0].1.methods.iter().any(|name| name.contains("batch") || name == "alone"));
        assert_eq!(all[1].1.pair, Some(Pair::new(("adamw", "adamw-batch"), ("muon", "muon-batch"))));
    }
}
