//! What a preset's verdicts, controls and ablation compare.

use models::optim::RuleName;

use super::preset::{MethodPreset, TradeoffPreset};
use super::statistics::{Comparison, Pair};

/// The comparison that a preset's verdicts are about.
pub fn comparison(preset: &TradeoffPreset) -> Comparison {
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(|method| !method.is_ablation()).collect();
    compare(preset, &methods, Vec::new(), |optimizer| optimizer.as_str().into())
}

/// The comparison of the control pairs, and of the pair itself beside them, by the methods that are run from every
/// checkpoint. Levels are set by the compared methods, so a control is read at the same depth as the pair only with the
/// same methods.
pub fn controls(preset: &TradeoffPreset) -> Option<Comparison> {
    let common = |method: &&MethodPreset| {
        !method.is_ablation() && (preset.control_methods.is_empty() || preset.control_methods.contains(&method.name))
    };
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(common).collect();
    let controls: Vec<&[String; 2]> = preset.controls.iter().collect();
    (!controls.is_empty()).then(|| compare(preset, &methods, controls, |optimizer| optimizer.as_str().into()))
}

/// The comparison of the methods that train less than the preset's, if each matched optimizer has one.
pub fn ablation(preset: &TradeoffPreset) -> Option<Comparison> {
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(|method| method.is_ablation()).collect();
    let name = |optimizer| methods.iter().find(|m| m.optimizer == optimizer).map(|m| m.name.clone());
    let matched = preset
        .pair
        .iter()
        .all(|checkpoint| preset.checkpoint(checkpoint).is_some_and(|checkpoint| name(checkpoint.optimizer).is_some()));
    matched.then(|| compare(preset, &methods, Vec::new(), |optimizer| name(optimizer).unwrap_or_default()))
}

fn compare(
    preset: &TradeoffPreset,
    methods: &[&MethodPreset],
    controls: Vec<&[String; 2]>,
    matched: impl Fn(RuleName) -> String,
) -> Comparison {
    let of = |checkpoint: &str| preset.checkpoint(checkpoint).map_or(String::new(), |c| matched(c.optimizer));
    let pair = |[a, b]: &[String; 2]| Pair::new((a, &of(a)), (b, &of(b)));
    let named = |wanted: fn(&MethodPreset) -> bool| {
        methods.iter().filter(|method| wanted(method)).map(|method| method.name.clone()).collect()
    };
    Comparison {
        methods: methods.iter().map(|method| method.name.clone()).collect(),
        pair: pair(&preset.pair),
        controls: controls.into_iter().map(pair).collect(),
        lora: named(|method| method.lora_rank.is_some()),
        sgd: named(|method| method.optimizer == RuleName::Sgd),
    }
}
