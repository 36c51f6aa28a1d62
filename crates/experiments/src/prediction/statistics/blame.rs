//! Which layers the expansion names, and where updates lie in what the layers read.

use std::collections::BTreeSet;

use crate::prediction::predictor::Run;
use crate::stages::Part;

/// A group of matrices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::prediction) enum Place {
    /// All matrices of a block.
    Layer(usize),
    /// All maps of one kind.
    Kind(String),
}

impl Place {
    fn has(&self, part: &Part) -> bool {
        match self {
            Self::Kind(kind) => part.kind == *kind,
            Self::Layer(layer) => part.layer == *layer,
        }
    }

    /// In tables; the first block is 0.
    pub(in crate::prediction) fn name(&self) -> String {
        match self {
            Self::Kind(kind) => kind.clone(),
            Self::Layer(layer) => format!("block {layer}"),
        }
    }
}

/// Every kind of layer and every block that runs have.
pub(in crate::prediction) fn places(runs: &[Run]) -> Vec<Place> {
    let parts = || runs.iter().flat_map(|run| &run.predicted.parts);
    let mut places: BTreeSet<Place> = parts().map(|part| Place::Kind(part.kind.clone())).collect();
    places.extend(parts().map(|part| Place::Layer(part.layer)));
    places.into_iter().collect()
}

/// The share of a place in a run's second-order term by EK-FAC; none of a run that moves nothing.
pub(in crate::prediction) fn share(run: &Run, place: &Place) -> Option<f64> {
    let all = run.sum(|part| part.corrected);
    let there = run.sum(|part| if place.has(part) { part.corrected } else { 0.0 });
    (all > 0.0).then(|| there / all)
}

/// The sum of the matrices' own exact second-order terms, of that of the whole update; none where that is not positive.
pub(in crate::prediction) fn apart(run: &Run) -> Option<f64> {
    let together = run.predicted.together;
    (together > 0.0).then(|| run.sum(|part| part.alone) / together)
}

/// How much of a run's update lies in the leading eigenvectors of what its matrices read, and how much would if it lay
/// anywhere: sums over matrices, weighted by |dW|^2.
pub(in crate::prediction) fn leading(run: &Run) -> Option<[f64; 2]> {
    let all = run.sum(|part| part.square);
    let weighted = |number: fn(&Part) -> f64| run.sum(|part| part.square * number(part)) / all;
    (all > 0.0).then(|| [weighted(|part| part.leading), weighted(|part| part.leading_count)])
}

/// A number of every seed: the mean over the seed's runs that `which` takes.
pub(in crate::prediction) fn by_seed(
    runs: &[Run],
    which: impl Fn(&Run) -> bool,
    number: impl Fn(&Run) -> Option<f64>,
) -> Vec<f64> {
    let seeds = super::seeds(runs);
    let mean = |seed: &u64| {
        let of_seed = runs.iter().filter(|run| run.seed == *seed && which(run));
        let values: Vec<f64> = of_seed.filter_map(&number).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    seeds.iter().filter_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::run;
    use super::*;

    #[test]
    fn shares_of_kinds_and_of_blocks_are_those_of_the_second_order_term() {
        let mut one = run(("adamw", "muon", 0, 1e-3), (3.0, 0.2, 0.1));
        let part = one.predicted.parts[0].clone();
        one.predicted.parts.push(Part { kind: "q_proj".into(), corrected: 0.6, ..part.clone() });
        one.predicted.parts.push(Part { layer: 1, corrected: 0.2, square: 2.0 * part.square, leading: 0.2, ..part });
        let runs = [one];
        let places = places(&runs);
        let names: Vec<String> = places.iter().map(Place::name).collect();
        assert_eq!(names, ["block 0", "block 1", "q_proj", "up_proj"]);
        let shares: Vec<f64> = places.iter().map(|place| share(&runs[0], place).unwrap()).collect();
        for (found, expected) in shares.iter().zip([0.8, 0.2, 0.6, 0.4]) {
            assert!((found - expected).abs() < 1e-12, "{shares:?}");
        }
        assert!((apart(&runs[0]).unwrap() - 1.5).abs() < 1e-12);
        let [within, chance] = leading(&runs[0]).unwrap();
        assert!((within - (0.5 + 0.5 + 2.0 * 0.2) / 4.0).abs() < 1e-12 && (chance - 0.25).abs() < 1e-12);
        assert_eq!(by_seed(&runs, |run| run.method == "muon", |_| Some(2.0)), [2.0]);
        assert!(by_seed(&runs, |run| run.method == "sgd", |_| Some(2.0)).is_empty());
    }
}
