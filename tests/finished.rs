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

#[test]
fn the_file_keeps_lines_of_stages_that_a_run_does_not_have() {
    let folder = Folder::with_text();
    let kept = folder.out().join("report/tradeoff-finished.csv");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, csv()).unwrap();
    let own = ["--finished".to_string(), kept.display().to_string(), "--seeds".into(), "1".into()];
    Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(own))).success();
    assert_eq!(trained(&folder), Vec::<String>::new());
    assert_eq!(fs::read_to_string(&kept).unwrap(), csv());
    // The second seed is still there to be taken over.
    Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(["--finished".into(), kept.display().to_string()])))
        .success();
    assert_eq!(trained(&folder), Vec::<String>::new());
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn a_file_that_a_spreadsheet_saved_is_taken_over() {
    let folder = Folder::with_text();
    run_with(&folder, &format!("\u{feff}{}", csv().replace('\n', "\r\n"))).success();
    assert_eq!(trained(&folder), Vec::<String>::new());
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn a_result_that_cannot_be_is_refused_with_its_line() {
    let folder = Folder::with_text();
    let whole = csv();
    let place = whole.lines().position(|line| line.contains("finetune adamw on code")).unwrap();
    let line = whole.lines().nth(place).unwrap();
    let (start, result) = line.split_once(",\"{").unwrap();
    let negative = result.replacen("pretrain\"\":", "pretrain\"\":-", 1);
    assert_ne!(negative, result);
    for (result, named) in [
        (format!("\"{{{negative}"), "and none is below 0"),
        ("null".to_string(), "invalid type: null"),
        ("\"[1,2]\"".to_string(), "invalid"),
        ("\"{\"".to_string(), "expected a result as JSON"),
    ] {
        let error = run_with(&folder, &whole.replace(line, &format!("{start},{result}"))).refusal();
        let where_ = format!("tradeoff-finished.csv, line {}: found `", place + 1);
        assert!(error.contains(&where_) && error.contains(named), "{error}");
    }
    assert_eq!(trained(&folder), Vec::<String>::new());
}

#[test]
fn a_file_to_be_added_to_that_cannot_be_read_is_named_before_anything_is_computed() {
    let folder = Folder::with_text();
    let kept = folder.out().join("report/tradeoff-finished.csv");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "stage,what,result\nfinetune-0,a run\n").unwrap();
    let error = Finished::of(&mut tradeoff(folder.tiny())).refusal();
    assert!(error.contains("report/tradeoff-finished.csv, line 2: found 2 fields"), "{error}");
    assert_eq!(trained(&folder), Vec::<String>::new());
    assert!(fs::read_to_string(&kept).unwrap().contains("a run"));
}
