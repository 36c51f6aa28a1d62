//! Which optimizer takes which parameters.

use serde::{Deserialize, Serialize};

use super::optimizer::{Group, Member};
use super::{RuleConfig, in_range};
use crate::error::one_of;
use crate::parameters::{Parameters, Part, Role};
use crate::{Error, Result};

/// Which of the model's own weights are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All weights.
    All,
    /// The matrices inside the blocks only.
    HiddenMatrices,
    /// The adapters that LoRA added only.
    Adapters,
}

/// Which of the blocks' matrices the `hidden` rule of [`Policy::with_split`] takes; the `rest` rule takes the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Split {
    /// The part whose matrices it takes.
    pub only: Part,
    /// The learning rate of the other part's matrices, by the `rest` rule.
    pub other_rate: f64,
}

/// Which parameters are trained, by which rules, at which learning rates: groups of labels ([`Role`]).
///
/// A parameter whose label is in no group is frozen. Groups that find nothing in a model are left out. Weight decay is
/// for matrices and embeddings: the constructors take it off gains and biases, and [`validate`](Self::validate) refuses
/// it there.
///
/// What is serialised says all that an update depends on but the step, and nothing else, so that ids can be made of it.
///
/// ```
/// use models::Role;
/// use models::optim::{AdamW, GroupPolicy, Muon, Policy, RuleConfig, Scope};
///
/// let (muon, adamw) = (RuleConfig::Muon(Muon::default()), RuleConfig::AdamW(AdamW::default()));
/// // Muon on the blocks' matrices, AdamW on the rest.
/// let mut policy = Policy::hidden_and_rest(Scope::All, muon, 0.02, adamw, 3e-3, 1e-3);
/// // An untied head with a rate of its own.
/// policy.groups[1].takes.retain(|role| *role != Role::Head);
/// policy.groups.push(GroupPolicy { name: "head".into(), takes: vec![Role::Head], rule: adamw, learning_rate: 1e-4 });
/// policy.validate()?;
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// The groups, in the order in which they are described and stepped.
    pub groups: Vec<GroupPolicy>,
}

/// Parameters that share a rule and a learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupPolicy {
    /// What messages call it; not serialised, since it decides nothing.
    #[serde(default, skip_serializing)]
    pub name: String,
    /// The labels of its parameters.
    pub takes: Vec<Role>,
    /// Its rule.
    pub rule: RuleConfig,
    /// Its learning rate, at least 0.
    pub learning_rate: f64,
}

impl GroupPolicy {
    fn new(name: &str, takes: &[Role], rule: RuleConfig, learning_rate: f64) -> Self {
        Self { name: name.into(), takes: takes.to_vec(), rule, learning_rate }
    }
}

const ATTENTION: Role = Role::HiddenMatrix(Part::Attention);
const MLP: Role = Role::HiddenMatrix(Part::Mlp);

impl Policy {
    /// One rule and one learning rate for all weights but LoRA's factors; gains and biases do not decay.
    pub fn uniform(rule: RuleConfig, rate: f64) -> Self {
        Self::hidden_and_rest(Scope::All, rule, rate, rule, rate, rate)
    }

    /// `hidden` for the blocks' matrices, or for LoRA's factors where these are the scope; `rest` for everything else
    /// in the scope: embeddings, positions and an untied head at `embedding_rate`, gains and biases at `vector_rate`
    /// and without decay.
    pub fn hidden_and_rest(
        scope: Scope,
        hidden: RuleConfig,
        hidden_rate: f64,
        rest: RuleConfig,
        embedding_rate: f64,
        vector_rate: f64,
    ) -> Self {
        let mut groups = Vec::new();
        if scope != Scope::Adapters {
            groups.push(GroupPolicy::new("hidden matrices", &[ATTENTION, MLP], hidden, hidden_rate));
        }
        if scope == Scope::All {
            let embeddings = [Role::TokenEmbedding, Role::PositionEmbedding, Role::Head];
            groups.push(GroupPolicy::new("embeddings and head", &embeddings, rest, embedding_rate));
            let vectors = [Role::Gain, Role::Bias];
            groups.push(GroupPolicy::new("gains and biases", &vectors, rest.without_decay(), vector_rate));
        }
        if scope == Scope::Adapters {
            groups.push(GroupPolicy::new("LoRA factors", &[Role::LoraA, Role::LoraB], hidden, hidden_rate));
        }
        Self { groups }
    }

    /// [`hidden_and_rest`](Self::hidden_and_rest) where `hidden` takes the matrices of one part of the blocks only, and
    /// `rest` those of the other at a rate of their own. Nothing is split where LoRA's factors are the scope.
    pub fn with_split(
        scope: Scope,
        hidden: RuleConfig,
        hidden_rate: f64,
        rest: RuleConfig,
        embedding_rate: f64,
        vector_rate: f64,
        split: Split,
    ) -> Self {
        let mut policy = Self::hidden_and_rest(scope, hidden, hidden_rate, rest, embedding_rate, vector_rate);
        if scope != Scope::Adapters {
            let (own, other) = match split.only {
                Part::Attention => (ATTENTION, MLP),
                Part::Mlp => (MLP, ATTENTION),
            };
            policy.groups[0].takes = vec![own];
            policy.groups.push(GroupPolicy::new("other hidden matrices", &[other], rest, split.other_rate));
        }
        policy
    }

    /// Checks rules, learning rates and labels, which no model is needed for; [`Optimizer::new`](super::Optimizer::new)
    /// does so too.
    ///
    /// # Errors
    /// [`Error::Config`] if a hyperparameter or a learning rate is out of range, a label stands in two groups or twice
    /// in one, a rule for matrices only is to take something else than the blocks' matrices, or gains or biases are to
    /// decay.
    pub fn validate(&self) -> Result<()> {
        let mut taken: Vec<(Role, &str)> = Vec::new();
        for GroupPolicy { name, takes, rule, learning_rate } in &self.groups {
            rule.rule()?;
            in_range("learning-rate", *learning_rate, 0.0..f64::INFINITY)?;
            for &role in takes {
                if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == role) {
                    let found = format!("{role} in the groups `{other}` and `{name}`");
                    return Err(Error::config("takes", found, "every label in one group at most, once"));
                }
                taken.push((role, name));
                if rule.matrices_only() && !matches!(role, Role::HiddenMatrix(_)) {
                    let other: Vec<_> =
                        super::RuleName::ALL.iter().copied().filter(|name| !name.matrices_only()).collect();
                    let found = format!("{} for {role} (`{name}`), which takes hidden matrices only", rule.name());
                    return Err(Error::config("rule", found, one_of(&other)));
                }
                if matches!(role, Role::Gain | Role::Bias) && rule.weight_decay() != 0.0 {
                    let found = format!("{} for {role} (`{name}`)", rule.weight_decay());
                    return Err(Error::config("weight-decay", found, "0 for gains and biases"));
                }
            }
        }
        Ok(())
    }

    /// One line for each group that finds something in a model: which parameters it takes, with which rule and learning
    /// rate. No state is made, so that nothing is allocated.
    ///
    /// # Errors
    /// As [`Optimizer::new`](super::Optimizer::new).
    pub fn describe(&self, parameters: &Parameters) -> Result<Vec<String>> {
        self.validate()?;
        let mut lines = Vec::new();
        for GroupPolicy { name, takes, rule, learning_rate } in &self.groups {
            let members = || parameters.iter().filter(|(_, parameter)| takes.contains(&parameter.role));
            let numbers = members().map(|(_, parameter)| parameter.value.elem_count()).sum();
            if members().next().is_some() {
                lines.push(super::optimizer::line(name, &*rule.rule()?, *learning_rate, members().count(), numbers));
            }
        }
        match lines.is_empty() {
            true => Err(self.nothing()),
            false => Ok(lines),
        }
    }

    /// The error of a policy that finds nothing in a model.
    fn nothing(&self) -> Error {
        let names: Vec<&str> = self.groups.iter().map(|group| group.name.as_str()).collect();
        Error::config("scope", names.join(", "), "one that trains something in this model")
    }

    /// The groups that find something in a model, with fresh state.
    pub(super) fn groups(&self, parameters: &Parameters) -> Result<Vec<Group>> {
        self.validate()?;
        let mut groups = Vec::new();
        for GroupPolicy { name, takes, rule, learning_rate } in &self.groups {
            let rule = rule.rule()?;
            let members = parameters.iter().filter(|(_, parameter)| takes.contains(&parameter.role));
            let members = members
                .map(|(id, parameter)| Ok(Member { id, state: rule.initial_state(&parameter.value)? }))
                .collect::<Result<Vec<_>>>()?;
            if !members.is_empty() {
                groups.push(Group { name: name.clone(), rule, learning_rate: *learning_rate, members });
            }
        }
        match groups.is_empty() {
            true => Err(self.nothing()),
            false => Ok(groups),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamW, Muon, Optimizer, Sgd};
    use crate::{ModelConfig, Transformer};

    const SGD: RuleConfig = RuleConfig::Sgd(Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.5 });

    /// Ids of stages are made of this text: a change of it is a decision.
    #[test]
    fn a_policy_is_written_as_its_groups_and_nothing_else() {
        let text = |policy: &Policy| {
            let text = serde_json::to_string(policy).unwrap();
            let mut back: Policy = serde_json::from_str(&text).unwrap();
            for (group, written) in back.groups.iter_mut().zip(&policy.groups) {
                group.name.clone_from(&written.name);
            }
            assert_eq!(&back, policy);
            text
        };
        let rule = |decay: &str| format!(r#"{{"name":"sgd","momentum":0.9,"nesterov":false,"weight-decay":{decay}}}"#);
        let group = |takes: &str, decay: &str, rate: &str| {
            format!(r#"{{"takes":[{takes}],"rule":{},"learning-rate":{rate}}}"#, rule(decay))
        };
        let embeddings = r#""token-embedding","position-embedding","head""#;
        let hidden = group(r#""attention-matrix","mlp-matrix""#, "0.5", "0.1");
        let rest = |rates: [&str; 2]| {
            let vectors = group(r#""gain","bias""#, "0.0", rates[1]);
            format!("{},{vectors}", group(embeddings, "0.5", rates[0]))
        };
        assert_eq!(text(&Policy::uniform(SGD, 0.1)), format!(r#"{{"groups":[{hidden},{}]}}"#, rest(["0.1", "0.1"])));
        let split = Split { only: Part::Mlp, other_rate: 0.4 };
        let own = group(r#""mlp-matrix""#, "0.5", "0.1");
        let other = group(r#""attention-matrix""#, "0.5", "0.4");
        assert_eq!(
            text(&Policy::with_split(Scope::All, SGD, 0.1, SGD, 0.2, 0.3, split)),
            format!(r#"{{"groups":[{own},{},{other}]}}"#, rest(["0.2", "0.3"]))
        );
        let lora = group(r#""lora-a","lora-b""#, "0.5", "0.1");
        for policy in [
            Policy::hidden_and_rest(Scope::Adapters, SGD, 0.1, SGD, 0.2, 0.3),
            Policy::with_split(Scope::Adapters, SGD, 0.1, SGD, 0.2, 0.3, split),
        ] {
            assert_eq!(text(&policy), format!(r#"{{"groups":[{lora}]}}"#));
        }
        let only = Policy::hidden_and_rest(Scope::HiddenMatrices, SGD, 0.1, SGD, 0.2, 0.3);
        assert_eq!(text(&only), format!(r#"{{"groups":[{hidden}]}}"#));
    }

    #[test]
    fn a_description_says_who_takes_what_and_how() {
        let muon = RuleConfig::Muon(Muon::default());
        let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
        let mut model = Transformer::new(&ModelConfig::gpt2(11, 8, 1, 8, 2), 0).unwrap();
        let policy = Policy::hidden_and_rest(Scope::All, muon, 0.02, adamw, 1e-3, 5e-4);
        let optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        let adamw = "AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: ";
        let expected = [
            "hidden matrices: 6 tensors, 768 numbers, learning rate 0.02, Muon { momentum: 0.95, nesterov: true, \
             weight_decay: 0.0, orthogonalizer: GramNewtonSchulz, scale: MatchRms }"
                .to_string(),
            format!("embeddings and head: 2 tensors, 152 numbers, learning rate 0.001, {adamw}0.1 }}"),
            format!("gains and biases: 12 tensors, 120 numbers, learning rate 0.0005, {adamw}0.0 }}"),
        ];
        assert_eq!(optimizer.describe(model.parameters()), expected);
        let unfilled = Transformer::unfilled(model.config()).unwrap();
        assert_eq!(policy.describe(unfilled.parameters()).unwrap(), expected);
    }

    #[test]
    fn each_part_of_a_block_holds_its_own_matrices() {
        let gpt2 = ModelConfig::gpt2(10, 8, 2, 16, 2);
        let llama = ModelConfig::llama(10, 8, 2, 16, 2, 1);
        for (config, mlp) in [(gpt2, 2), (llama, 3)] {
            let model = Transformer::new(&config, 0).unwrap();
            let sizes = |only| -> Vec<(f64, usize)> {
                let split = Split { only, other_rate: 0.2 };
                let policy = Policy::with_split(Scope::HiddenMatrices, SGD, 0.1, SGD, 0.1, 0.1, split);
                let groups = policy.groups(model.parameters()).unwrap();
                groups.iter().map(|group| (group.learning_rate, group.members.len())).collect()
            };
            assert_eq!(sizes(Part::Attention), [(0.1, 2 * 4), (0.2, 2 * mlp)]);
            assert_eq!(sizes(Part::Mlp), [(0.1, 2 * mlp), (0.2, 2 * 4)]);
        }
    }

    fn message(policy: &Policy) -> String {
        policy.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_label_in_two_groups_is_refused() {
        let mut policy = Policy::uniform(SGD, 0.1);
        policy.groups.push(GroupPolicy::new("mine", &[MLP], SGD, 0.2));
        assert!(message(&policy).starts_with("takes: found mlp-matrix in the groups `hidden matrices` and `mine`"));
    }

    #[test]
    fn a_rule_for_matrices_is_refused_for_anything_else_whatever_its_shape() {
        let muon = RuleConfig::Muon(Muon::default());
        for role in Role::ALL {
            let policy = Policy { groups: vec![GroupPolicy::new("mine", &[role], muon, 0.1)] };
            match role {
                Role::HiddenMatrix(_) => policy.validate().unwrap(),
                _ => {
                    let found = format!("rule: found muon for {role} (`mine`), which takes hidden matrices only");
                    assert!(message(&policy).starts_with(&found), "{}", message(&policy));
                }
            }
        }
    }

    #[test]
    fn gains_and_biases_never_decay() {
        let policy = Policy { groups: vec![GroupPolicy::new("all", &Role::ALL, SGD, 0.1)] };
        assert_eq!(message(&policy), "weight-decay: found 0.5 for gain (`all`), expected 0 for gains and biases");
    }

    #[test]
    fn a_policy_that_finds_nothing_to_train_is_refused_and_a_lone_group_dropped() {
        let mut model = Transformer::new(&ModelConfig::llama(10, 8, 1, 16, 2, 1), 0).unwrap();
        let nothing = Policy::hidden_and_rest(Scope::Adapters, SGD, 0.1, SGD, 0.1, 0.1);
        let message = Optimizer::new(model.parameters_mut(), &nothing).unwrap_err().to_string();
        assert_eq!(message, "scope: found LoRA factors, expected one that trains something in this model");
        let mut policy = Policy::hidden_and_rest(Scope::HiddenMatrices, SGD, 0.1, SGD, 0.1, 0.1);
        policy.groups.push(GroupPolicy::new("positions", &[Role::PositionEmbedding], SGD, 0.1));
        assert_eq!(policy.groups(model.parameters()).unwrap().len(), 1);
    }
}
