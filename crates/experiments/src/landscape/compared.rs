//! What the landscape index compares, and where its verdict is read.

use models::optim::RuleName;

use crate::names::display;

/// Batches behind the gradient, where the verdict is read.
pub(super) const REFERENCE_BATCHES: u64 = 8;

/// First-order gain as a share of the task's loss, where the verdict is read.
pub(super) const REFERENCE_GAIN: f64 = 0.1;

/// The direction that an optimizer without averaging takes; none where that is no function of one gradient.
pub(super) fn own_direction(optimizer: RuleName) -> Option<&'static str> {
    match optimizer {
        RuleName::AdamW | RuleName::Lion | RuleName::Signum => Some("sign"),
        RuleName::Muon | RuleName::NorMuon => Some("polar"),
        RuleName::Sgd => Some("raw"),
        RuleName::Soap => None,
    }
}

/// Two checkpoints, each with the direction of its optimizer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) a: (String, &'static str),
    pub(super) b: (String, &'static str),
    pub(super) control: bool,
}

impl Pair {
    pub(super) fn label(&self) -> String {
        format!("{} / {}", display(&self.a.0), display(&self.b.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizers_whose_step_is_a_function_of_one_gradient_have_a_direction() {
        let named = RuleName::ALL.iter().filter(|rule| own_direction(**rule).is_some()).count();
        assert_eq!(named, RuleName::ALL.len() - 1);
        assert_eq!((own_direction(RuleName::AdamW), own_direction(RuleName::Muon)), (Some("sign"), Some("polar")));
    }
}
