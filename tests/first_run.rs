//! What a first run leaves, and what a second one does not do again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use super::common::{self, Finished, Folder, finished, tradeoff};

const PNG: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

#[test]
fn the_last_line_is_the_path_of_a_page_that_is_there_with_results_and_figures() {
    let folder = Folder::with_finished_run();
    let stdout = Finished::of(&mut tradeoff(folder.tiny())).success();
    let page = Path::new(stdout.lines().last().expect("a line with the page's path"));
    assert_eq!(page, folder.out().join("report/index.html"));
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("inconclusive (n = "), "two seeds are too few for a verdict, and the scorecard says so");
    // The page shows stored evidence too, which has verdicts.
    let report = folder.out().join("report");
    let scorecard = fs::read_to_string(report.join("tradeoff-scorecard.csv")).unwrap();
    let claims: Vec<&str> = scorecard.lines().filter(|line| line.starts_with("claim,")).collect();
    assert!(claims.len() > 2 && claims.iter().all(|line| line.contains(",inconclusive,")), "{claims:?}");
    let (mut vector, mut pixels) = (0, 0);
    for (name, content) in common::files(&report) {
        if name.ends_with(".svg") {
            vector += 1;
            assert!(String::from_utf8(content).unwrap().contains("<svg"), "{name}");
            let beside = report.join(&name).with_extension("png");
            assert!(beside.is_file(), "{} is missing", beside.display());
        } else if name.ends_with(".png") {
            pixels += 1;
            assert!(content.starts_with(&PNG), "{name}");
        }
    }
    assert!(vector >= 4 && vector == pixels, "{vector} SVG and {pixels} PNG figures");
}

#[test]
fn the_page_needs_no_other_file() {
    let html = fs::read_to_string(finished().out().join("report/index.html")).unwrap();
    for outside in ["src=\"http", "<script src", "<link rel=\"stylesheet\"", "@import", "url(http"] {
        assert!(!html.contains(outside), "the page asks for something outside it: {outside}");
    }
}

#[test]
fn there_is_a_row_for_every_run_and_none_has_a_time_or_a_path() {
    let results = finished().results();
    let mut lines = results.lines();
    assert_eq!(
        lines.next().unwrap(),
        "task,checkpoint,method,learning_rate,seed,order,pretrain_loss_before,pretrain_loss_after,task_loss_before,\
         task_loss_after,validation_loss_before,validation_loss_after,exact_match,diverged"
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    // 2 seeds, 2 checkpoints, 1 task, 6 rates over the methods.
    assert_eq!(rows.len(), 2 * 2 * 6);
    for row in &rows {
        for number in &row[3..12] {
            assert!(number.parse::<f64>().is_ok_and(f64::is_finite), "{row:?}");
        }
        assert_eq!(row[13], "false", "{row:?}");
    }
}

#[test]
fn the_effects_of_every_seed_lie_beside_the_rows_they_come_from() {
    let report = finished().out().join("report");
    let read = |name: &str| fs::read_to_string(report.join(name)).unwrap();
    let matched = read("matched.csv");
    assert!(matched.starts_with("variant,task,checkpoint,matched,other,level,seed,order,"), "{matched}");
    // 2 checkpoints, 3 others to compare the matched method with, 3 levels, 2 seeds.
    assert_eq!(matched.lines().filter(|line| line.starts_with("verdicts,code,")).count(), 2 * 3 * 3 * 2);
    assert!(
        read("effects.csv").starts_with("variant,part,task,pair,control,comparison,terms,reading,unit,seed,effect\n")
    );
    let page = read("index.html");
    for name in ["results.csv", "matched.csv", "effects.csv"] {
        assert!(page.contains(name), "the page does not link {name}");
    }
}

#[test]
fn tensorboard_gets_the_curves_of_every_training_in_a_folder_that_says_which() {
    let folder = Folder::with_finished_run();
    let export = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_export-tensorboard"));
        Finished::of(command.arg("--out").arg(folder.out())).success()
    };
    let target = folder.out().join("tensorboard");
    assert_eq!(export().trim(), target.display().to_string());
    let written = common::files(&target);
    // 2 seeds with 2 checkpoints, each finetuned at 6 rates.
    assert_eq!(written.len(), 2 * 2 * (1 + 6), "{:?}", written.keys());
    let holds = |content: &[u8], what: &str| content.windows(what.len()).any(|window| window == what.as_bytes());
    for (start, tags) in [
        ("pretrain/muon-seed-1-", vec!["training/loss", "training/gradient_norm", "loss/held-out text"]),
        ("finetune/adamw-on-code-with-lora-2-at-0.01-seed-0-", vec!["training/loss", "loss/held-out task"]),
    ] {
        let found: Vec<_> = written.iter().filter(|(name, _)| name.starts_with(start)).collect();
        let [(name, content)] = found[..] else { panic!("{start}: {found:?}") };
        assert!(name.ends_with("/events.out.tfevents.0"), "{name}");
        assert!(tags.iter().all(|tag| holds(content, tag)), "{name} lacks one of {tags:?}");
    }
    export();
    common::assert_same_files(&common::files(&target), &written);
    let nothing = Finished::of(Command::new(env!("CARGO_BIN_EXE_export-tensorboard")).args(["--out", "/nowhere"]));
    assert!(nothing.stderr.contains("/nowhere: found no run store"), "{}", nothing.stderr);
}

#[test]
fn what_the_run_does_is_told_as_it_goes() {
    let folder = Folder::with_finished_run();
    let arguments = folder.tiny().into_iter().filter(|argument| argument != "--quiet");
    let told = Finished::of(&mut tradeoff(arguments));
    for what in [
        "corpus: corpus.txt",
        "sha256",
        "tokens:",
        "pretraining muon",
        "finetuning lora-2",
        "in 37 stages (37 done before)",
    ] {
        assert!(told.stderr.contains(what), "nothing about `{what}` in: {}", told.stderr);
    }
    assert_eq!(told.stderr.lines().filter(|line| line.contains("] finetune ")).count(), 24, "{}", told.stderr);
    assert_eq!(told.success().lines().count(), 1);
}

#[test]
fn a_second_run_trains_nothing_and_leaves_the_same_files() {
    let folder = Folder::with_finished_run();
    let modified = || -> BTreeMap<String, SystemTime> {
        let paths = common::paths(&folder.out().join("runs"));
        paths.iter().map(|path| (path.display().to_string(), path.metadata().unwrap().modified().unwrap())).collect()
    };
    let (before, store, results) = (modified(), folder.store(), folder.results());
    let figures = common::files(&folder.out().join("report/figures"));
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(modified(), before, "a finished stage was written again");
    common::assert_same_files(&folder.store(), &store);
    common::assert_same_files(&common::files(&folder.out().join("report/figures")), &figures);
    assert_eq!(folder.results(), results);
}
