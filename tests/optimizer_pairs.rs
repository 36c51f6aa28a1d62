//! `optimizer-pairs` from the outside: its rows, its section, its resumption, its refusals.

use std::fs;
use std::process::{Command, Stdio};

use super::common::{Finished, Folder, corpus, preset_with};

const PRESET: &str = r#"name = "tiny"
base = "BASE"
reasoning = ["math:min_steps=1,max_steps=1,largest=10"]
others = ["code"]
sizes = [20, 40]
epochs = [1]
sequences = 10
regime = 0.5
task-examples = 8
decoded = 2

[rates]
adamw = [1e-3, 1e-2]
muon = [3e-3, 3e-2]
"#;

fn pairs(folder: &Folder, preset: &str, more: &[&str]) -> Finished {
    let base = folder.file("base.toml", preset_with("context = 32", "context = 256"));
    let preset = folder.file("pairs.toml", preset.replace("BASE", &base));
    let text = folder.file("corpus.txt", corpus());
    let mut command = Command::new(env!("CARGO_BIN_EXE_optimizer-pairs"));
    command.args(["--quiet", "--preset", &preset, "--corpus", &text, "--out", &folder.path("out")]).args(more);
    Finished::of(command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE"))
}

fn report(folder: &Folder, file: &str) -> String {
    fs::read_to_string(folder.out().join("report").join(file)).unwrap()
}

#[test]
fn every_pair_task_size_rate_and_seed_has_a_row_and_a_later_run_takes_them_over() {
    let folder = Folder::with_text();
    pairs(&folder, PRESET, &["--jobs", "2"]).success();
    let rows = report(&folder, "optimizer-pairs.csv");
    // Word problems at two sizes and code at one; two checkpoints, two methods, two rates, two seeds.
    assert_eq!(rows.lines().count(), 1 + 3 * 2 * 2 * 2 * 2);
    let page = report(&folder, "index.html");
    for shown in ["Muon pretrains to a lower loss than AdamW", "optimizer-pairs-loss", "one answer to everything"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
    let finished = folder.out().join("report/optimizer-pairs-finished.csv");
    let again = Folder::with_text();
    pairs(&again, PRESET, &["--jobs", "1", "--finished", finished.to_str().unwrap()]).success();
    assert_eq!(report(&again, "optimizer-pairs.csv"), rows);
    let stages = fs::read_dir(again.out().join("runs")).unwrap().flatten();
    let trained = stages.filter(|stage| stage.file_name().to_string_lossy().contains("tune-"));
    assert_eq!(trained.count(), 0, "nothing had to be trained again");
}

#[test]
fn mistakes_in_a_preset_are_one_line_each() {
    let refusal = |from: &str, to: &str| pairs(&Folder::new(), &PRESET.replace(from, to), &[]).refusal();
    assert!(refusal("sizes = [20, 40]", "sizes = [40, 20]").contains("sizes: found [40, 20]"));
    assert!(refusal("epochs = [1]", "epoch = [1]").contains("line 6: unknown field `epoch`"));
    assert!(refusal("regime = 0.5", "regime = -1.0").contains("regime: found -1"));
    assert!(refusal("largest=10", "largest=7000").contains("largest"));
    assert!(refusal("muon = [3e-3, 3e-2]", "muon = [-1]").contains("rates"));
    assert!(refusal("sizes = [20, 40]", "sizes = [20, 100000000]").contains("100000000"));
}
