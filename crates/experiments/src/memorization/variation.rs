//! Variations of a preset: other settings, tried in the verdict's cells.

use std::num::NonZeroUsize;

use lab::error::Failure;
use lab::preset::Preset as _;
use models::Precision;
use toml::{Table, Value};

use super::preset::{MemorizationPreset, Variation};
use super::statistics::is_few;
use crate::error::{ExperimentError, Result};
use crate::parts::checks::distinct;
use crate::parts::step_memory;

// Here and not beside its type, since a preset is valid only if its variations are.
impl lab::preset::Preset for MemorizationPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/memorization/smoke.toml")),
        ("quick", include_str!("../../presets/memorization/quick.toml")),
        ("standard", include_str!("../../presets/memorization/standard.toml")),
        ("settings", include_str!("../../presets/memorization/settings.toml")),
        ("decay", include_str!("../../presets/memorization/decay.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        self.check()?;
        Ok(check(self)?)
    }

    fn memory(&self) -> (u64, &'static str) {
        let training = &self.training;
        let at_a_time = training.micro_batch.unwrap_or(training.sequences).min(training.sequences);
        // The language has few tokens.
        step_memory(&self.model(1), at_a_time, Precision::F32, self.device)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

/// Checks that every variation has a name of its own and is a preset.
///
/// # Errors
/// The first that is not.
fn check(preset: &MemorizationPreset) -> Result<()> {
    let mut names = vec![&preset.name];
    names.extend(preset.variations.iter().map(|variation| &variation.name));
    distinct("variations", &names)?;
    varied(preset).map(drop)
}

/// The presets of all variations, each with the verdict's cells alone: with facts, and with few examples.
///
/// # Errors
/// [`ExperimentError::Variation`] with the first that is no valid preset.
pub fn varied(preset: &MemorizationPreset) -> Result<Vec<MemorizationPreset>> {
    let of = |variation: &Variation| {
        with(preset, variation)
            .map_err(|error| ExperimentError::Variation { name: variation.name.clone(), message: error.to_string() })
    };
    preset.variations.iter().map(of).collect()
}

fn with(preset: &MemorizationPreset, variation: &Variation) -> Result<MemorizationPreset> {
    let base = MemorizationPreset { name: variation.name.clone(), variations: Vec::new(), ..preset.clone() };
    let base: Table = lab::preset::parse(&base.to_toml(), "preset")?;
    let changed = merged(base.into(), variation.changes.clone().into());
    let mut preset: MemorizationPreset = changed.try_into().map_err(|error: toml::de::Error| {
        let message = error.message().replace('\n', ", ");
        ExperimentError::value("fields", message, "those of a preset")
    })?;
    let instances = preset.instances()?;
    preset.facts.retain(|&facts| facts > 0);
    preset.examples.retain(|&examples| is_few(examples, instances));
    preset.check()?;
    Ok(preset)
}

/// `changes` put over `base`: tables field by field, lists of named tables by their names; a rule and everything else
/// are replaced.
fn merged(base: Value, changes: Value) -> Value {
    match (base, changes) {
        (Value::Table(mut base), Value::Table(changes)) => {
            for (key, change) in changes {
                let value = match base.remove(&key) {
                    Some(old) if key != "rule" => merged(old, change),
                    _ => change,
                };
                base.insert(key, value);
            }
            base.into()
        }
        (Value::Array(mut base), Value::Array(changes)) if changes.iter().all(|item| item.get("name").is_some()) => {
            for change in changes {
                match base.iter_mut().find(|item| item.get("name") == change.get("name")) {
                    Some(item) => *item = merged(item.clone(), change),
                    None => base.push(change),
                }
            }
            base.into()
        }
        (_, change) => change,
    }
}

#[cfg(test)]
mod tests {
    use models::Part;
    use models::optim::{RuleName, Split};

    use super::*;
    use crate::memorization::LossTokens;

    /// The smoke preset with a variation that has these fields.
    fn smoke(fields: &str) -> MemorizationPreset {
        let mut preset = MemorizationPreset::find("smoke", &[]).unwrap();
        let variation = toml::from_str(&format!("name = \"other\"\n{fields}")).unwrap();
        preset.variations = vec![variation];
        preset
    }

    #[test]
    fn a_variation_is_its_preset_but_for_the_named_fields_and_cells_that_decide_nothing() {
        let base = MemorizationPreset::find("smoke", &[]).unwrap();
        let preset = smoke("loss = \"all\"\ntraining.weight-decay = 0\nnetwork.width = 8");
        let [other] = &varied(&preset).unwrap()[..] else { panic!("one variation") };
        let mut expected =
            MemorizationPreset { name: "other".into(), loss: LossTokens::All, variations: Vec::new(), ..base };
        (expected.training.weight_decay, expected.network.width) = (0.0, 8);
        // Of 0 and 20 facts, 20 and 60 of 121 instances.
        (expected.facts, expected.examples) = (vec![20], vec![20]);
        assert_eq!(*other, expected);
    }

    #[test]
    fn an_optimizer_is_changed_by_its_name_and_the_others_stay() {
        let base = MemorizationPreset::find("smoke", &[]).unwrap();
        let matrices = "matrices = { only = \"mlp\", other-rate = 0.5 }";
        let preset = smoke(&format!("optimizers = [{{ name = \"muon\", rates = [1e-3], {matrices} }}]"));
        let other = varied(&preset).unwrap().remove(0);
        for (old, new) in base.optimizers.iter().zip(&other.optimizers) {
            if old.name == RuleName::Muon {
                assert_eq!((&new.rates[..], new.rest_rate), (&[1e-3][..], old.rest_rate));
                assert_eq!(new.matrices, Some(Split { only: Part::Mlp, other_rate: 0.5 }));
            } else {
                assert_eq!(old, new);
            }
        }
    }

    #[test]
    fn a_rule_is_replaced_as_a_whole() {
        let preset = smoke(
            "language.rule = { permuted-copy = { symbols = 8, length = 3, substitute = true, reorder = true } }\n\
             network.context = 30",
        );
        assert_eq!(varied(&preset).unwrap()[0].instances().unwrap(), 512);
    }

    #[test]
    fn what_is_no_preset_is_refused_with_the_variation_s_name() {
        for (fields, expected) in [
            ("depth = 3", "variation other: fields: found unknown field `depth`"),
            ("training.depth = 3", "unknown field `depth`"),
            ("steps = 0", "variation other: steps: found 0, expected at least 1"),
            ("facts = [0]", "variation other: facts: found none"),
            ("examples = [60]", "variation other: examples: found none"),
            ("optimizers = [{ name = \"lyon\" }]", "lyon"),
        ] {
            let message = smoke(fields).validate().unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{expected}: {message}");
        }
        let mut twice = smoke("steps = 3");
        twice.variations.push(twice.variations[0].clone());
        assert!(twice.validate().unwrap_err().to_string().contains("variations: found \"other\" twice"));
    }
}
