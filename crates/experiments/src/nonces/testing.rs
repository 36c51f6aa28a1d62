//! Made-up runs for the tests of readings and statistics.

use super::finetune::Finetuned;
use super::learner::Point;

/// A run with these points: epoch, loss on answers, recall, accuracy on test instances.
pub(super) fn run(points: &[(u64, f64, f64, f64)], ended: bool) -> Finetuned {
    let point = |&(epoch, loss, recall, test): &(u64, f64, f64, f64)| Point {
        epoch,
        loss,
        seen: 1.0,
        recall: Some(recall),
        nonce_loss: Some(1.0),
        test,
        asked: test / 2.0,
        facts: 1.0 - recall / 2.0,
        rules: 1.0,
    };
    Finetuned { curve: points.iter().map(point).collect(), ended, blind: None }
}
