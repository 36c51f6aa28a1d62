//! The binary `memorization`, run as a user runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::common::{self, Finished, Folder, assert_same_files};

fn memorization(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memorization"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// The smoke preset run in a folder, with the path of the page it ends with.
fn smoke(folder: &Folder, jobs: &str) -> String {
    let out = folder.path("out");
    Finished::of(&mut memorization(&["--preset", "smoke", "--quiet", "--jobs", jobs, "--out", &out])).success()
}

/// The numbers of a report; the page itself has the date.
fn numbers(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    let mut files = common::files(&folder.out().join("report"));
    files.retain(|name, _| name.ends_with(".csv") || name.ends_with(".svg") || name.ends_with(".png"));
    files
}

#[test]
fn a_run_leaves_a_section_with_figures_tables_and_verdicts() {
    let folder = Folder::new();
    let stdout = smoke(&folder, "2");
    let page = Path::new(stdout.lines().last().expect("a line with the page's path"));
    assert_eq!(page, folder.out().join("report/index.html"));
    let html = fs::read_to_string(page).unwrap();
    for part in ["Rote memorisation", "C5a", "C5b", "inconclusive (n = 2)", "Chosen learning rates", "Effective rank"] {
        assert!(html.contains(part), "no `{part}` in the page");
    }
    let report = folder.out().join("report");
    for figure in ["map", "generalization", "curves", "spectra", "settings", "settings-speed"] {
        for kind in ["svg", "png"] {
            assert!(report.join(format!("figures/memorization-{figure}.{kind}")).is_file(), "{figure}.{kind}");
        }
    }
    let rows = fs::read_to_string(report.join("memorization.csv")).unwrap();
    // The header; 2 numbers of facts, 2 of examples, 3 optimizers, 2 seeds; 2 variations in one cell.
    assert_eq!(rows.lines().count(), 1 + 2 * 2 * 3 * 2 + 2 * 3 * 2, "{rows}");
    assert!(rows.lines().skip(1).all(|row| row.split(',').nth(6) == Some("false")), "{rows}");
    let effects = fs::read_to_string(report.join("memorization-settings.csv")).unwrap();
    assert_eq!(effects.lines().count(), 1 + 2 * 3, "{effects}");
}

#[test]
fn settings_share_the_runs_in_which_they_do_not_differ() {
    let folder = Folder::new();
    smoke(&folder, "2");
    let rows = fs::read_to_string(folder.out().join("report/memorization.csv")).unwrap();
    let of = |setting: &str, optimizer: &str| -> Vec<String> {
        let cell = format!("{setting},20,20,{optimizer},");
        rows.lines().filter_map(|row| row.strip_prefix(&cell).map(String::from)).collect()
    };
    for optimizer in ["adamw", "muon", "sgd"] {
        assert_eq!(of("unchanged", optimizer).len(), 2, "{rows}");
        assert_eq!(of("unchanged", optimizer), of("smoke", optimizer));
        let changed = of("Muon on the MLP only", optimizer) != of("smoke", optimizer);
        assert_eq!(changed, optimizer == "muon", "{optimizer}: {rows}");
    }
    // Of 4 cells 5 rates and 3 optimizers by 2 seeds; of the variation Muon's 2 rates and 2 seeds.
    let stages = fs::read_dir(folder.out().join("runs")).unwrap().count();
    assert_eq!(stages, 4 * (5 + 3 * 2) + 2 + 2);
}

#[test]
fn numbers_and_figures_do_not_depend_on_the_jobs_and_nothing_is_trained_twice() {
    let (one, two) = (Folder::new(), Folder::new());
    smoke(&one, "1");
    smoke(&two, "2");
    assert_same_files(&numbers(&one), &numbers(&two));
    assert_same_files(&one.store(), &two.store());
    let modified = || -> BTreeMap<String, SystemTime> {
        let paths = common::paths(&one.out().join("runs"));
        paths.iter().map(|path| (path.display().to_string(), path.metadata().unwrap().modified().unwrap())).collect()
    };
    let (before, expected) = (modified(), numbers(&one));
    smoke(&one, "1");
    assert_eq!(modified(), before, "a finished run was written again");
    assert_same_files(&numbers(&one), &expected);
}

#[test]
fn a_cut_off_run_goes_on_where_it_was() {
    let (whole, cut) = (Folder::new(), Folder::new());
    smoke(&whole, "1");
    smoke(&cut, "1");
    // As if it had been killed after the first half of its runs.
    let stages = fs::read_dir(cut.out().join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut stages: Vec<_> = stages.collect();
    stages.sort();
    for stage in &stages[stages.len() / 2..] {
        fs::remove_dir_all(stage).unwrap();
    }
    smoke(&cut, "2");
    assert_same_files(&cut.store(), &whole.store());
    assert_same_files(&numbers(&cut), &numbers(&whole));
}

#[test]
fn a_mistake_is_refused_in_one_line_that_names_it() {
    let folder = Folder::new();
    let smoke = Finished::of(&mut memorization(&["--preset", "smoke", "--print-config"])).success();
    let cases: [(&str, &str, &str); 12] = [
        ("steps = 12", "steps = 12\ndepth = 3", "unknown field `depth`"),
        ("steps = 12", "steps = 0", "steps: found 0, expected at least 1"),
        ("examples = [20, 60]", "examples = [0]", "examples is 0, expected at least 1"),
        ("examples = [20, 60]", "examples = [20, 98]", "98"),
        ("examples = [20, 60]", "examples = []", "examples: found none"),
        ("rates = [0.1]", "rates = []", "rates of sgd: found none, expected at least one learning rate"),
        ("rates = [0.1]", "rates = [-0.1]", "rates of sgd: found -0.1"),
        ("modulus = 11", "modulus = 4", "modulus"),
        ("heads = 2", "heads = 3", "heads = 3"),
        ("loss = \"answers\"", "loss = \"prompts\"", "unknown variant `prompts`"),
        ("name = \"unchanged\"", "name = \"deep\"\ndepth = 3", "variation deep: fields: found unknown field `depth`"),
        ("only = \"mlp\"", "only = \"head\"", "variation Muon on the MLP only: fields: found unknown variant `head`"),
    ];
    for (from, to, named) in cases {
        assert_eq!(smoke.matches(from).count(), 1, "`{from}` must stand once in {smoke}");
        let file = folder.file("preset.toml", smoke.replace(from, to));
        let line = Finished::of(&mut memorization(&["--preset", &file, "--out", &folder.path("out")])).refusal();
        assert!(line.starts_with("error: ") && line.contains(named), "no `{named}` in `{line}`");
    }
    let line = Finished::of(&mut memorization(&["--preset", "slow"])).refusal();
    assert!(line.contains("expected smoke, quick, standard, settings, decay or the path of a .toml file"), "{line}");
    let line = Finished::of(&mut memorization(&["--seeds", "0"])).refusal();
    assert!(line.contains("seeds: found 0, expected at least 1"), "{line}");
    assert!(!folder.out().exists(), "nothing is written before the preset is checked");
}

#[test]
fn a_printed_preset_is_a_preset_that_prints_itself() {
    let folder = Folder::new();
    for name in ["smoke", "quick", "standard", "settings"] {
        let printed = |preset: &str| {
            Finished::of(&mut memorization(&["--preset", preset, "--seeds", "7", "--print-config"])).success()
        };
        let text = printed(name);
        assert!(text.contains("seeds = 7"));
        assert_eq!(printed(&folder.file("printed.toml", &text)), text, "{name}");
    }
}
