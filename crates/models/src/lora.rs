//! LoRA: low-rank adapters on chosen linear maps (Hu et al., arXiv 2106.09685).
//!
//! An adapted map computes y = x W^T + (alpha / rank) x A^T B^T with W frozen, A `[rank, inputs]` uniform in
//! +-1/sqrt(inputs) and B `[outputs, rank]` zero at first, so that the model starts unchanged and A's first gradient is
//! zero.

use serde::{Deserialize, Serialize};

use crate::init::{Initializer, constant};
use crate::layers::Adapter;
use crate::parameters::Role;
use crate::transformer::Transformer;
use crate::{Error, Precision, Result};

/// A linear map of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// Attention's output.
    OProj,
    /// SwiGLU's gate.
    GateProj,
    /// The MLP's input.
    UpProj,
    /// The MLP's output.
    DownProj,
}

impl LoraTarget {
    /// All maps.
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    fn module(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }
}

/// Rank, scale and places of the adapters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// The adapter's output is multiplied by alpha / rank.
    pub alpha: f64,
    /// The adapted maps.
    pub targets: Vec<LoraTarget>,
}

impl LoraConfig {
    /// Adapters of this rank on every linear map, with alpha = 2 rank.
    pub fn all(rank: usize) -> Self {
        Self { rank, alpha: 2.0 * rank as f64, targets: LoraTarget::ALL.to_vec() }
    }
}

impl Transformer {
    /// Adds adapters to the chosen maps of every block; A is drawn from `seed`.
    ///
    /// Which parameters train is the policy's choice: [`Scope::Adapters`](crate::optim::Scope::Adapters) freezes the
    /// rest.
    ///
    /// # Errors
    /// [`Error::Config`] if the rank is zero or above the width, alpha is not positive, no map is chosen, or there are
    /// adapters already.
    pub fn add_lora(&mut self, config: &LoraConfig, seed: u64) -> Result<()> {
        let width = self.config().width;
        if config.rank == 0 || config.rank > width {
            return Err(Error::config("rank", config.rank, format!("1 to the width, {width}")));
        }
        if !(config.alpha > 0.0 && config.alpha.is_finite()) {
            return Err(Error::config("alpha", config.alpha, "a positive number"));
        }
        let mut initializer = Initializer::new(seed);
        let scale = config.alpha / config.rank as f64;
        let mut added = 0;
        let (blocks, parameters) = self.parts_mut();
        for linear in blocks.iter_mut().flat_map(|block| block.linears_mut()) {
            let (name, linear) = linear;
            if !config.targets.iter().any(|target| target.module() == name) {
                continue;
            }
            if linear.adapter.is_some() {
                return Err(Error::config("lora", "a model with adapters", "one without: merge them first"));
            }
            let weight = parameters.get(linear.weight);
            let (outputs, inputs) = weight.value.dims2()?;
            let device = weight.value.device().clone();
            let module = weight.name.trim_end_matches(".weight").to_string();
            let a = initializer.uniform(&[config.rank, inputs], 1.0 / (inputs as f64).sqrt())?.to_device(&device)?;
            let a = parameters.push(format!("{module}.lora_A.weight"), Role::LoraA, a);
            let b = constant(&[outputs, config.rank], 0.0)?.to_device(&device)?;
            let b = parameters.push(format!("{module}.lora_B.weight"), Role::LoraB, b);
            linear.adapter = Some(Adapter { a, b, scale });
            added += 1;
        }
        match added {
            0 => Err(Error::config("targets", format!("{:?}", config.targets), "a linear map of this architecture")),
            _ => Ok(()),
        }
    }

    /// Adds every adapter's product scale B A to its matrix and drops the adapters.
    ///
    /// # Errors
    /// If the tensor library refuses a product.
    pub fn merge_lora(&mut self) -> Result<()> {
        let (blocks, parameters) = self.parts_mut();
        let mut first = parameters.len();
        for (_, linear) in blocks.iter_mut().flat_map(|block| block.linears_mut()) {
            let Some(adapter) = linear.adapter.take() else { continue };
            let product = crate::ops::matmul(parameters.value(adapter.b), parameters.value(adapter.a), Precision::F32)?;
            let merged = crate::ops::scaled_add(parameters.value(linear.weight), 1.0, &product, adapter.scale as f32)?;
            parameters.set(linear.weight, merged)?;
            first = first.min(adapter.a.index());
        }
        parameters.truncate(first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamW, Optimizer, Policy, RuleConfig, Scope};
    use crate::{Batch, ModelConfig};

    #[test]
    fn merging_keeps_the_trained_function_and_drops_the_adapters() {
        let mut model = Transformer::new(&ModelConfig::llama(17, 8, 2, 16, 4, 2), 1).unwrap();
        let tensors = model.parameters().len();
        model.add_lora(&LoraConfig::all(3), 2).unwrap();
        let rule = RuleConfig::AdamW(AdamW::default());
        let policy = Policy::hidden_and_rest(Scope::Adapters, rule, 1e-2, rule, 1e-2, 1e-2);
        let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        let batch = Batch::new(vec![1, 2, 3, 4, 5, 6, 7, 8], vec![2, 3, 4, 5, 6, 7, 8, 9], 8).unwrap();
        for _ in 0..5 {
            let (_, gradients) = model.gradients(&batch, 1.0 / 8.0).unwrap();
            optimizer.step(model.parameters_mut(), &gradients, 1.0).unwrap();
        }
        let adapted = model.loss(&batch).unwrap().mean();
        model.merge_lora().unwrap();
        assert_eq!(model.parameters().len(), tensors);
        assert!((model.loss(&batch).unwrap().mean() - adapted).abs() < 1e-5);
    }

    #[test]
    fn fresh_adapters_leave_the_loss_unchanged_to_the_bit() {
        let mut model = Transformer::new(&ModelConfig::gpt2(17, 8, 2, 16, 4), 1).unwrap();
        let batch = Batch::new(vec![1, 2, 3, 4], vec![2, 3, 4, 5], 4).unwrap();
        let before = model.loss(&batch).unwrap();
        model.add_lora(&LoraConfig::all(2), 9).unwrap();
        assert_eq!(model.loss(&batch).unwrap(), before);
    }

    #[test]
    fn a_rank_of_zero_or_beyond_the_width_is_refused() {
        let mut model = Transformer::new(&ModelConfig::gpt2(17, 8, 1, 16, 4), 1).unwrap();
        for rank in [0, 17] {
            assert!(model.add_lora(&LoraConfig::all(rank), 1).unwrap_err().to_string().starts_with("rank:"));
        }
    }
}
