//! Finished seeds as CSV: a later run takes them over without their weights.

use std::fs;

use super::common::{Finished, Folder, finished, tradeoff};

/// Trained stages in a folder's store.
fn trained(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.out().join("runs")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("pretrain-") || name.starts_with("finetune-")).collect()
}

fn csv() -> String {
    fs::read_to_string(finished().out().join("report/tradeoff-finished.csv")).unwrap()
}

fn run_with(folder: &Folder, csv: &str) -> Finished {
    let path = folder.file("tradeoff-finished.csv", csv);
    Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(["--finished".into(), path])))
}

#[test]
fn what_is_finished_is_taken_over_without_training() {
    let folder = Folder::with_text();
    run_with(&folder, &csv()).success();
    assert_eq!(trained(&folder), Vec::<String>::new());
    assert_eq!(folder.results(), finished().results());
    assert_eq!(fs::read_to_string(folder.out().join("report/tradeoff-finished.csv")).unwrap(), csv());
}

#[test]
fn a_missing_line_is_computed_again_and_nothing_else_but_its_checkpoint() {
    let folder = Folder::with_text();
    let whole = csv();
    let missing = whole.lines().find(|line| line.contains("finetune adamw on code")).unwrap();
    run_with(&folder, &whole.replace(&format!("{missing}\n"), "")).success();
    let trained = trained(&folder);
    assert_eq!(trained.len(), 2, "{trained:?}");
    assert!(trained.iter().any(|name| missing.starts_with(name.as_str())), "{trained:?} and {missing}");
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn lines_of_another_preset_are_not_taken() {
    let folder = Folder::with_text();
    let changed = super::common::preset_with("weight-decay = 0.1", "weight-decay = 0.2");
    let path = folder.file("tradeoff-finished.csv", csv());
    let arguments = folder.with_preset(&changed).into_iter().filter(|argument| argument != "--quiet");
    let told = Finished::of(&mut tradeoff(arguments.chain(["--finished".into(), path])));
    // The n-gram baselines are of the text alone.
    assert!(told.stderr.contains("tradeoff-finished.csv: 1 of its 37 stages "), "{}", told.stderr);
    told.success();
    assert_ne!(folder.results(), finished().results());
}

#[test]
fn a_damaged_file_is_one_line_with_its_place() {
    let folder = Folder::with_text();
    let error = run_with(&folder, "stage,what,result\nfinetune-0,a run\n").refusal();
    assert!(error.contains("tradeoff-finished.csv, line 2: found 2 fields, expected `stage,what,result`"), "{error}");
}
