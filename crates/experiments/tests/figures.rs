//! Every figure is drawn with both backends, from ordinary data and from data that are empty, of one
//! seed, or diverged; nothing may panic, and the files must be complete and reproducible.
//!
//! The images stay in `target/tmp`, to be looked at.

mod made_up;

use std::path::{Path, PathBuf};

use experiments::stages::{EndPoint, Results};
use experiments::tradeoff::figures::{AlongRun, Consistency, Curve, Curves, Matched, Tradeoff};
use experiments::tradeoff::statistics::TradeoffStatistics;
use lab::figures::{Figure, save};

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn statistics(rows: Vec<EndPoint>) -> (Results, TradeoffStatistics) {
    let results = Results::from_rows(rows).unwrap();
    let statistics = TradeoffStatistics::compute(&results, &made_up::comparison());
    (results, statistics)
}

fn save_and_check(figure: &impl Figure, dir: &Path) {
    let saved = save(figure, dir).unwrap();
    let svg = std::fs::read_to_string(&saved.svg).unwrap();
    let (width, height) = figure.size();
    assert!(svg.starts_with(&format!("<svg width=\"{width}\" height=\"{height}\"")), "{svg:.80}");
    assert!(svg.trim_end().ends_with("</svg>"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let png = std::fs::read(&saved.png).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(u32::from_be_bytes([png[16], png[17], png[18], png[19]]), 2 * width);
}

fn save_all(name: &str, rows: Vec<EndPoint>, along: &[AlongRun], curves: Vec<Curve>) -> PathBuf {
    let dir = folder(name);
    let (results, statistics) = statistics(rows);
    for task in ["code", "math"] {
        save_and_check(&Tradeoff::new(&results, &statistics, task, along), &dir);
    }
    save_and_check(&Matched::new(&statistics), &dir);
    save_and_check(&Consistency::new(&statistics), &dir);
    let baselines = vec![("2-gram".to_owned(), 4.9)];
    save_and_check(&Curves::new("curves", "Pretraining: held-out loss", curves, baselines), &dir);
    dir
}

#[test]
fn ordinary_data_are_drawn_to_the_same_bytes_twice() {
    let draw = |name| {
        let rows = made_up::rows(5, &["code", "math"], &["adamw", "muon", "adamw-long", "muon-low-rate", "muon-short"]);
        save_all(name, rows, &made_up::along_runs(), made_up::curves(5))
    };
    let (first, second) = (draw("ordinary"), draw("ordinary-again"));
    let mut files = 0;
    for entry in std::fs::read_dir(&first).unwrap() {
        let entry = entry.unwrap();
        let again = second.join(entry.file_name());
        assert!(std::fs::read(entry.path()).unwrap() == std::fs::read(again).unwrap(), "{entry:?}");
        files += 1;
    }
    assert_eq!(files, 10);
}

#[test]
fn two_checkpoints_and_three_seeds() {
    let rows = made_up::rows(3, &["code", "math"], &["adamw", "muon"]);
    save_all("three-seeds", rows, &[], made_up::curves(3));
}

#[test]
fn one_seed_and_one_checkpoint() {
    save_all("one-seed", made_up::rows(1, &["code"], &["adamw"]), &[], made_up::curves(1));
}

#[test]
fn no_data() {
    save_all("empty", Vec::new(), &[], Vec::new());
}

#[test]
fn everything_diverged() {
    let mut rows = made_up::rows(2, &["code"], &["adamw", "muon"]);
    for row in &mut rows {
        row.diverged = true;
        row.task_loss_after = f64::NAN;
        row.pretrain_loss_after = f64::INFINITY;
    }
    let curve = Curve { checkpoint: "muon".into(), seed: 1, points: vec![(1e4, f64::NAN), (2e4, f64::INFINITY)] };
    save_all("diverged", rows, &[], vec![curve]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("folder");
    let error = save(&Curves::new("curves", "", Vec::new(), Vec::new()), &folder).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&*folder.to_string_lossy()), "{message}");
    assert!(!message.contains('\n'));
}
