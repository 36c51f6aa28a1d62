//! The report of a run that is not finished: what there is, and what is missing.

use std::fs;

use super::common::{Finished, Folder, finished, program, tradeoff};

fn report_only(folder: &Folder) -> Finished {
    let arguments = folder.tiny().into_iter().filter(|argument| argument != "--quiet");
    Finished::of(&mut tradeoff(arguments.chain(["--report-only".into()])))
}

fn read(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.out().join("report").join(name)).unwrap()
}

/// The stages in a folder's store.
fn stored(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.out().join("runs")).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_report_of_a_finished_run_is_the_one_it_has() {
    let folder = Folder::with_finished_run();
    fs::remove_dir_all(folder.out().join("report")).unwrap();
    report_only(&folder).success();
    for name in ["results.csv", "effects.csv", "tradeoff-scorecard.csv", "tradeoff-stages.csv"] {
        assert_eq!(read(&folder, name), read(finished(), name), "{name}");
    }
    let stages = read(&folder, "tradeoff-stages.csv");
    assert!(stages.lines().skip(1).all(|line| line.contains(",done,")), "{stages}");
    assert!(!read(&folder, "index.html").contains("Unfinished"));
}

#[test]
fn a_report_of_half_a_run_trains_nothing_and_says_what_is_missing() {
    let folder = Folder::with_finished_run();
    let trained = |name: &&String| name.starts_with("finetune-") || name.starts_with("pretrain-");
    // The checkpoints too: what was made from them is kept all the same.
    let removed: Vec<String> = stored(&folder).iter().filter(trained).step_by(2).cloned().collect();
    assert!(removed.iter().any(|name| name.starts_with("pretrain-")), "{removed:?}");
    for name in &removed {
        fs::remove_dir_all(folder.out().join("runs").join(name)).unwrap();
    }
    let before = stored(&folder);
    let told = report_only(&folder);
    assert!(told.stderr.contains(&format!("tradeoff: {} of ", removed.len())), "{}", told.stderr);
    told.success();
    assert_eq!(stored(&folder), before);
    let stages = read(&folder, "tradeoff-stages.csv");
    let missing: Vec<&str> = stages.lines().filter(|line| line.contains(",missing,")).collect();
    assert_eq!(missing.len(), removed.len(), "{stages}");
    for name in &removed {
        assert!(missing.iter().any(|line| line.ends_with(name.as_str())), "{name} in {missing:?}");
    }
    let rows = |text: &str| text.lines().count();
    assert!(rows(&folder.results()) < rows(&finished().results()));
    let page = read(&folder, "index.html");
    assert!(page.contains(&format!("lacks {} of {} stages", removed.len(), rows(&stages) - 1)), "{}", removed.len());

    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
    assert!(!read(&folder, "index.html").contains("Unfinished"));
}

#[test]
fn a_report_is_made_of_the_file_that_earlier_runs_left() {
    let folder = Folder::with_text();
    let file = folder.file("earlier.csv", read(finished(), "tradeoff-finished.csv"));
    let before = stored(&folder);
    let arguments = folder.tiny().into_iter().chain(["--report-only".into(), "--finished".into(), file]);
    Finished::of(&mut tradeoff(arguments)).success();
    assert_eq!(stored(&folder), before);
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn a_report_of_nothing_is_refused() {
    let folder = Folder::with_text();
    let told = Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(["--report-only".into()]))).refusal();
    assert!(told.starts_with("error: report-only: found none of the "), "{told}");
    let both = Finished::of(&mut program("reproduce", ["--report-only", "--no-report"])).refusal();
    assert!(both.contains("--no-report"), "{both}");
}

#[test]
fn an_experiment_without_anything_finished_is_left_out_of_the_page_of_the_others() {
    let folder = Folder::new();
    let only = ["--only", "memorization,nonces", "--preset", "smoke", "--report-only", "--quiet"].map(String::from);
    let arguments = || only.iter().cloned().chain(["--out".into(), folder.path("out")]);
    Finished::of(&mut program("reproduce", arguments())).refusal();
    let one = ["--preset", "smoke", "--quiet", "--out", &folder.path("out")].map(String::from);
    Finished::of(&mut program("memorization", one)).success();
    Finished::of(&mut program("reproduce", arguments())).success();
}
