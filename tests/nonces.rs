//! The binary `nonces`, run as a user runs it.

use std::fs;
use std::path::Path;

use super::common::{Finished, Folder, program};

/// The smoke preset run in a folder, with what it says.
fn smoke(folder: &Folder, jobs: &str) -> String {
    let out = folder.path("out");
    Finished::of(&mut program("nonces", ["--preset", "smoke", "--quiet", "--jobs", jobs, "--out", &out])).success()
}

#[test]
fn a_run_leaves_a_section_and_its_numbers_do_not_depend_on_the_jobs() {
    let folder = Folder::new();
    let stdout = smoke(&folder, "2");
    let page = Path::new(stdout.lines().last().expect("a line with the page's path"));
    let html = fs::read_to_string(page).unwrap();
    for part in ["C5 (finetuning)", "inconclusive (n = 2)", "Chosen learning rates", "Where the nonces are put"] {
        assert!(html.contains(part), "no `{part}` in the page");
    }
    let report = folder.out().join("report");
    for figure in ["recall", "slope", "curves", "placement"] {
        assert!(report.join(format!("figures/nonces-{figure}.svg")).is_file(), "{figure}");
    }
    let rows = fs::read_to_string(report.join("nonces.csv")).unwrap();
    // The header; 2 pretrainings, 2 numbers of examples, 2 of nonces, AdamW and Muon on 2 seeds and SGD on 1.
    assert_eq!(rows.lines().count(), 1 + 2 * 2 * 2 * (2 * 2 + 1), "{rows}");
    // Nonces nobody has told cost about ln 16 at least, but for the luck of a few of them.
    let column = |name: &str| rows.lines().next().unwrap().split(',').position(|title| title == name).unwrap();
    let (nonces, blind) = (column("nonces"), column("blind_nonce_loss"));
    for row in rows.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>()) {
        match row[nonces] {
            "0" => assert_eq!(row[blind], ""),
            _ => assert!(row[blind].parse::<f64>().unwrap() > 16f64.ln() - 0.5, "{row:?}"),
        }
    }
    let one = Folder::new();
    smoke(&one, "1");
    for file in ["nonces.csv", "nonces-curves.csv", "nonces-differences.csv", "nonces-placement.csv"] {
        let [a, b] = [&folder, &one].map(|folder| fs::read(folder.out().join("report").join(file)).unwrap());
        assert!(a == b, "{file} hangs on the number of jobs");
    }
}
