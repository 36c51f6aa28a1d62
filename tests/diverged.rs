//! A learning rate that makes training diverge is an outcome, recorded and shown, and no failure.

use super::common::{Finished, Folder, preset_with, tradeoff};

fn rows(folder: &Folder) -> Vec<Vec<String>> {
    let rows = folder.results();
    rows.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect()
}

#[test]
fn a_diverged_finetuning_is_a_row_that_says_so() {
    let folder = Folder::with_text();
    let arguments = folder.with_preset(&preset_with("rates = [1e-1]", "rates = [1e-1, 1e6]"));
    Finished::of(&mut tradeoff(&arguments)).success();
    let rows = rows(&folder);
    let (wild, tame): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[2] == "sgd" && row[3].parse() == Ok(1e6));
    assert_eq!((wild.len(), tame.len()), (4, 24), "{rows:?}");
    for row in wild {
        assert_eq!(row[13], "true", "{row:?}");
        // The losses after finetuning, on pretraining text, test and validation set.
        assert!([7, 9, 11].iter().all(|&column| row[column].is_empty()), "{row:?}");
    }
    assert!(tame.iter().all(|row| row[13] == "false"), "{tame:?}");
    // Read back from the store, it is the same outcome.
    let first = folder.results();
    Finished::of(&mut tradeoff(&arguments)).success();
    assert_eq!(folder.results(), first);
}

/// There is nothing to finetune from a diverged pretraining; the other checkpoints' rows are there.
#[test]
fn a_diverged_pretraining_leaves_the_other_checkpoints_rows() {
    let folder = Folder::with_text();
    let arguments = folder.with_preset(&preset_with(
        "hidden-rate = 1e-2\nembedding-rate = 6e-3",
        "hidden-rate = 1e6\nembedding-rate = 1e6",
    ));
    Finished::of(&mut tradeoff(&arguments)).success();
    let checkpoints: Vec<String> = rows(&folder).into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(checkpoints, vec!["adamw"; 12]);
    let first = folder.results();
    Finished::of(&mut tradeoff(&arguments)).success();
    assert_eq!(folder.results(), first);
}
