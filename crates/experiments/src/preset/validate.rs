//! The checks that a preset must pass before anything runs.

use models::schedule::Decay;

use super::{OptimizerName, Preset, PretrainPreset};
use crate::error::{ExperimentError, Result};

impl Preset {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ExperimentError::Value`] with the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.validate_numbers()?;
        self.validate_names()?;
        for checkpoint in &self.checkpoints {
            positive("checkpoints.hidden-rate", checkpoint.hidden_rate)?;
            positive("checkpoints.embedding-rate", checkpoint.embedding_rate)?;
            at_least("checkpoints.steps", checkpoint.steps, 1)?;
        }
        for method in &self.methods {
            let field = format!("rates of method {}", method.name);
            if method.rates.is_empty() {
                return Err(ExperimentError::value(field, "none", "at least one learning rate"));
            }
            for (i, &rate) in method.rates.iter().enumerate() {
                positive(&field, rate)?;
                if method.rates[..i].contains(&rate) {
                    return Err(ExperimentError::value(field, format!("{rate} twice"), "distinct learning rates"));
                }
            }
            if let (None, Some(alpha)) = (method.lora_rank, method.lora_alpha) {
                return Err(ExperimentError::value("methods.lora-alpha", alpha, "none where there is no lora-rank"));
            }
            if let Some(rank) = method.lora_rank {
                if rank == 0 || rank > self.model.width {
                    let expected = format!("1 to the width, {}", self.model.width);
                    return Err(ExperimentError::value("methods.lora-rank", rank, expected));
                }
                positive("methods.lora-alpha", method.lora_alpha.unwrap_or(1.0))?;
                if method.optimizer != OptimizerName::AdamW {
                    let found = method.optimizer.as_str();
                    return Err(ExperimentError::value("methods.optimizer", found, "adamw for LoRA"));
                }
            }
        }
        for task in &self.tasks {
            crate::tasks::check_name(task)?;
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<()> {
        at_least("seeds", self.seeds, 1)?;
        at_least("model.vocabulary", self.model.vocabulary as u64, 257)?;
        for (field, bytes) in
            [("corpus.prose-bytes", self.corpus.prose_bytes), ("corpus.code-bytes", self.corpus.code_bytes)]
        {
            at_least(field, bytes.unwrap_or(1) as u64, 1)?;
        }
        let (model, pretrain, finetune, evaluation) = (&self.model, &self.pretrain, &self.finetune, &self.evaluation);
        for (field, value) in [
            ("model.context", model.context),
            ("model.layers", model.layers),
            ("model.width", model.width),
            ("model.heads", model.heads),
            ("finetune.sequences", finetune.sequences),
            ("finetune.micro-batch", finetune.micro_batch.unwrap_or(1)),
            ("evaluation.pretrain-windows", evaluation.pretrain_windows),
            ("evaluation.task-windows", evaluation.task_windows),
            ("evaluation.task-examples", evaluation.task_examples),
            ("evaluation.train-examples", evaluation.train_examples),
        ] {
            at_least(field, value as u64, 1)?;
        }
        if !model.width.is_multiple_of(model.heads) {
            let expected = format!("a multiple of heads = {}", model.heads);
            return Err(ExperimentError::value("model.width", model.width, expected));
        }
        at_least("finetune.steps", finetune.steps, 1)?;
        pretrain.validate("pretrain")?;
        positive("finetune.clip", finetune.clip)?;
        positive("finetune.muon-rest", finetune.muon_rest)?;
        share("finetune.warmup", finetune.warmup, true)?;
        share("evaluation.held-out", evaluation.held_out, false)?;
        not_negative("finetune.weight-decay", finetune.weight_decay)?;
        finetune.optimizers.validate("finetune")?;
        cooldown("finetune", finetune.decay)
    }

    fn validate_names(&self) -> Result<()> {
        for (field, names) in [
            ("checkpoints", self.checkpoints.iter().map(|c| &c.name).collect::<Vec<_>>()),
            ("methods", self.methods.iter().map(|m| &m.name).collect()),
            ("tasks", self.tasks.iter().collect()),
        ] {
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            if names.is_empty() {
                return Err(ExperimentError::value(field, "none", "at least one"));
            }
            if distinct.len() != names.len() {
                return Err(ExperimentError::value(field, "the same name twice", "distinct names"));
            }
        }
        let known: Vec<&str> = self.checkpoints.iter().map(|c| c.name.as_str()).collect();
        for name in self.pair.iter().chain(self.controls.iter().flatten()) {
            if !known.contains(&name.as_str()) {
                let expected = format!("a checkpoint: {}", known.join(", "));
                return Err(ExperimentError::value("pair or controls", name, expected));
            }
        }
        if let Some(unknown) =
            self.control_methods.iter().find(|name| !self.methods.iter().any(|method| method.name == **name))
        {
            return Err(ExperimentError::value("control-methods", unknown, "a method of this preset"));
        }
        if self.pair[0] == self.pair[1] {
            return Err(ExperimentError::value("pair", &self.pair[0], "two different checkpoints"));
        }
        for name in self.pair.iter().chain(self.controls.iter().flatten()) {
            let matched = self.checkpoint(name).map_or("", |c| c.optimizer.as_str());
            if !self.methods.iter().any(|m| m.name == matched && m.optimizer.as_str() == matched && !m.is_ablation()) {
                let expected = format!("a method `{matched}`, which matches checkpoint `{name}`");
                return Err(ExperimentError::value("methods", "none of that name", expected));
            }
            if !self.methods_from(name).any(|method| method.name == matched) {
                let expected = format!("`{matched}` among them, which matches checkpoint `{name}`");
                return Err(ExperimentError::value("control-methods", self.control_methods.join(", "), expected));
            }
        }
        Ok(())
    }
}

impl PretrainPreset {
    /// Checks every field; `name` is the table's.
    pub(crate) fn validate(&self, name: &str) -> Result<()> {
        at_least(&format!("{name}.sequences"), self.sequences as u64, 1)?;
        at_least(&format!("{name}.micro-batch"), self.micro_batch.unwrap_or(1) as u64, 1)?;
        positive(&format!("{name}.clip"), self.clip)?;
        share(&format!("{name}.warmup"), self.warmup, true)?;
        not_negative(&format!("{name}.weight-decay"), self.weight_decay)?;
        self.optimizers.validate(name)?;
        cooldown(name, self.decay)
    }
}

fn cooldown(table: &str, decay: Decay) -> Result<()> {
    match decay {
        Decay::Wsd { cooldown } => share(&format!("{table}.decay.wsd.cooldown"), cooldown, false),
        Decay::Constant | Decay::Linear | Decay::Cosine => Ok(()),
    }
}

fn not_negative(field: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a number that is not negative"))
}

pub(crate) fn at_least(field: &str, value: u64, least: u64) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, format!("at least {least}")))
}

pub(crate) fn positive(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a positive number"))
}

fn share(field: &str, value: f64, or_zero: bool) -> Result<()> {
    if (value > 0.0 || or_zero && value == 0.0) && value < 1.0 {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a share between 0 and 1"))
}
