//! The experiments, in the order in which they run and stand in the report: one line each.

use lab::program::{Entry, Registry};
use lab::report::{Claim, Front};

use crate::activations::Activations;
use crate::consistency_matrix::ConsistencyMatrix;
use crate::fingerprint::Fingerprint;
use crate::landscape::Landscapes;
use crate::memorization::Memorization;
use crate::nonces::NoncesExperiment;
use crate::optimizer_pairs::OptimizerPairs;
use crate::prediction::Predictions;
use crate::rotation::Rotation;
use crate::theory::Theory;
use crate::tradeoff::Tradeoff;
use crate::update_structure::UpdateStructure;

/// All experiments, and what the report opens with.
pub static REGISTRY: Registry = Registry {
    front: Front {
        title: "Does a model forget less when it is finetuned with the optimizer that pretrained it?",
        lead: "A reproduction and extension of <a href=\"https://arxiv.org/abs/2605.06654\">arXiv 2605.06654</a>, \
               <cite>Optimizer-Model Consistency: Full Finetuning with the Same Optimizer as Pretraining Forgets \
               Less</cite>, whose claims are cited by its abstract. All numbers on this page were measured by the \
               commands named at the end of each section.",
        claims: &[
            Claim {
                id: "C1",
                question: "Does a checkpoint forget less when it is finetuned with the optimizer that pretrained it?",
                measured: "Consistency index: by how much less the optimizer of pretraining forgets where both have learned \
                           the same, the mean over both checkpoints; +0.1 is a tenth less.",
                headline: &["C1b"],
            },
            Claim {
                id: "C2",
                question: "Do optimizers shape activations, and so the landscape around their checkpoints?",
                measured: "Activations: how far their unevenness lies along single units. Landscape: how much less is \
                           forgotten along the direction of the optimizer that made the checkpoint.",
                headline: &["C2", "C2 (landscape)"],
            },
            Claim {
                id: "C3",
                question: "To forget little, does an update need the structure that the pretraining optimizer gives?",
                measured: "Updates are given the singular values of the other optimizer's: how much more is then forgotten, \
                           where that does not suit the checkpoint.",
                headline: &["C3 (transplants)"],
            },
            Claim {
                id: "C4",
                question: "With one optimizer in both stages, is Muon worse than AdamW when finetuned on reasoning?",
                measured: "Held-out loss on word problems, Muon in both stages less AdamW in both.",
                headline: &["C4"],
            },
            Claim {
                id: "C5",
                question: "Does Muon memorise where AdamW generalises?",
                measured: "Right answers on held-out instances of a pattern, AdamW less Muon, where facts or random tokens \
                           are to be memorised too.",
                headline: &["C5a", "C5 (finetuning)"],
            },
        ],
        evidence: crate::evidence::EVIDENCE,
    },
    experiments: &[
        &Entry::<Tradeoff>::new(),
        &Entry::<ConsistencyMatrix>::new(),
        &Entry::<OptimizerPairs>::new(),
        &Entry::<Memorization>::new(),
        &Entry::<NoncesExperiment>::new(),
        &Entry::<Activations>::new(),
        &Entry::<Rotation>::new(),
        &Entry::<Landscapes>::new(),
        &Entry::<UpdateStructure>::new(),
        &Entry::<Predictions>::new(),
        &Entry::<Fingerprint>::new(),
        &Entry::<Theory>::new(),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_that_stand_for_a_claim_are_about_it_and_published_where_anything_is() {
        let stored = lab::report::Stored::parse(crate::evidence::EVIDENCE).unwrap();
        for claim in REGISTRY.front.claims {
            assert!(!claim.headline.is_empty(), "{}", claim.id);
            assert!(claim.headline.iter().all(|id| claim.has(id)), "{}: {:?}", claim.id, claim.headline);
            let measured = |claimed: &str| claim.has(claimed) && !claimed.ends_with("(theory)");
            let stands = stored.iter().any(|row| claim.headline.contains(&row.claim.as_str()));
            assert_eq!(stands, stored.iter().any(|row| measured(&row.claim)), "{}", claim.id);
        }
    }
}
