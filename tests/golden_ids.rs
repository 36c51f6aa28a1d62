//! Ids of stages: a change of them leaves every finished stage behind, and so is a decision.
//!
//! `tests/golden/*.txt` hold the ids of every kind of stage for built-in presets, as `--plan` prints them. After a
//! change that is meant, write them anew and look at the difference:
//!
//! ```text
//! RENEW_GOLDEN_IDS=1 cargo test --test end-to-end golden_ids
//! git diff tests/golden
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::common::{Finished, Folder, built, program};

/// Text that is always the same, of so many different words that a vocabulary of built-in presets can be learned.
fn words() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut text = String::new();
    while text.len() < 60_000 {
        for place in 0..12 {
            let length = rng.random_range(2..8);
            text.extend((0..length).map(|_| char::from(b'a' + rng.random_range(0..26_u8))));
            text.push_str(if place < 11 { " " } else { ".\n\n" });
        }
    }
    text
}

/// The made-up text as arguments. Every build's ids are those of the processor.
fn own_text(folder: &Folder) -> Vec<String> {
    vec!["--corpus".into(), folder.file("words.txt", words()), "--device".into(), "cpu".into()]
}

/// A stage of a plan: what it is and its id.
pub(crate) type Planned = (String, String);

/// The stages that a program plans, and those that its text is made of, which are computed to plan.
fn plan(binary: &str, folder: &Folder, arguments: &[&str], more: &[String]) -> Vec<Planned> {
    planned(program(binary, arguments).args(more), folder)
}

fn planned(program: &mut Command, folder: &Folder) -> Vec<Planned> {
    let printed = Finished::of(program.args(["--plan", "--quiet", "--out", &folder.path("out")])).success();
    // "to do      0.01 M tokens  LABEL  (ID)"
    let stage = |line: &str| -> Option<Planned> {
        let (label, id) = line.strip_suffix(')')?.split_once(" M tokens  ")?.1.rsplit_once("  (")?;
        Some((label.to_string(), id.to_string()))
    };
    printed.lines().map(|line| stage(line).unwrap_or_else(|| panic!("no stage: {line}"))).collect()
}

/// The stages that were computed to plan.
fn computed(folder: &Folder) -> Vec<Planned> {
    let names = fs::read_dir(folder.out().join("runs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.into_iter().map(|id| ("computed to plan".into(), id)).collect()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/golden/{name}.txt"))
}

/// Compares with the committed file, or writes it.
#[track_caller]
fn assert_golden(name: &str, stages: &[Planned]) {
    let mut text = String::from(
        "# Ids of stages. Whoever changes one leaves finished stages behind. To write this file anew:\n\
         # RENEW_GOLDEN_IDS=1 cargo test --test end-to-end golden_ids\n",
    );
    for (label, id) in stages {
        text.push_str(&format!("{id}  {label}\n"));
    }
    let path = golden(name);
    if std::env::var_os("RENEW_GOLDEN_IDS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differing: Vec<(&str, &str)> =
        text.lines().zip(expected.lines()).filter(|(found, expected)| found != expected).collect();
    let counts = (text.lines().count(), expected.lines().count());
    assert!(
        differing.is_empty() && counts.0 == counts.1,
        "{} of {} lines are not those of {} (of {}), the first: {:?}. Is this change of ids meant? Its first lines say \
         how to write it anew.",
        differing.len(),
        counts.0,
        path.display(),
        counts.1,
        differing.first()
    );
}

#[test]
fn stages_of_tradeoff_keep_their_ids() {
    let folder = Folder::new();
    let stages = plan("tradeoff", &folder, &["--preset", "smoke", "--tasks", "math,strings"], &own_text(&folder));
    assert_golden("tradeoff-smoke", &[computed(&folder), stages].concat());
}

#[test]
fn stages_of_optimizer_pairs_keep_their_ids() {
    let folder = Folder::new();
    let stages = plan("optimizer-pairs", &folder, &["--preset", "smoke"], &own_text(&folder));
    assert_golden("optimizer-pairs-smoke", &stages);
}

#[test]
fn stages_of_the_consistency_matrix_keep_their_ids() {
    let folder = Folder::new();
    let stages = plan("consistency-matrix", &folder, &["--preset", "smoke"], &own_text(&folder));
    assert_golden("consistency-matrix-smoke", &stages);
}

#[test]
fn stages_of_experiments_on_checkpoints_keep_their_ids() {
    let folder = Folder::new();
    for name in ["rotation", "landscape", "update-structure", "prediction"] {
        let stages = plan(name, &folder, &["--preset", "smoke", "--seeds", "1"], &own_text(&folder));
        assert_golden(&format!("{name}-smoke"), &stages);
    }
}

#[test]
fn stages_of_memorization_keep_their_ids() {
    let folder = Folder::new();
    let stages = plan("memorization", &folder, &["--preset", "smoke", "--device", "cpu"], &[]);
    assert!(stages.iter().any(|(_, id)| id == "follows from results"));
    assert_golden("memorization-smoke", &stages);
}

#[test]
fn stages_of_nonces_keep_their_ids() {
    let folder = Folder::new();
    let stages = plan("nonces", &folder, &["--preset", "smoke", "--device", "cpu"], &[]);
    assert!(stages.iter().any(|(_, id)| id == "follows from results"));
    assert_golden("nonces-smoke", &stages);
}

#[test]
fn stages_of_experiments_on_pretrainings_keep_their_ids() {
    let folder = Folder::new();
    for name in ["activations", "fingerprint"] {
        let stages = plan(name, &folder, &["--preset", "smoke"], &own_text(&folder));
        assert_golden(&format!("{name}-smoke"), &stages);
    }
}

/// The checkpoints that both have are pretrained once.
#[test]
fn activations_probes_the_checkpoints_of_tradeoff() {
    let folder = Folder::new();
    let text = own_text(&folder);
    for preset in ["smoke", "quick", "standard"] {
        let pretrainings = |stages: Vec<Planned>| -> BTreeSet<Planned> {
            stages.into_iter().filter(|(label, _)| label.starts_with("pretrain ")).collect()
        };
        let seed = ["--preset", preset, "--seeds", "1"];
        let shared = pretrainings(plan("tradeoff", &folder, &[&seed[..], &["--tasks", "math"]].concat(), &text));
        let ours = pretrainings(plan("activations", &folder, &seed, &text));
        assert!(shared.len() >= 2 && shared.is_subset(&ours), "{preset}: {shared:?} {ours:?}");
    }
}

#[test]
fn stages_of_theory_keep_their_ids() {
    let folder = Folder::new();
    assert_golden("theory-quick", &plan("theory", &folder, &["--preset", "quick"], &[]));
}

/// The smoke preset of a `tradeoff` on the text of the pinned packages, with the stages of that text.
pub(crate) fn of_pinned_packages(tradeoff: &Path) -> Vec<Planned> {
    let folder = Folder::new();
    let stages = planned(Command::new(tradeoff).args(["--preset", "smoke", "--device", "cpu"]), &folder);
    [computed(&folder), stages].concat()
}

/// As any machine with the packages must find them.
#[track_caller]
pub(crate) fn assert_golden_of_pinned_packages(stages: &[Planned]) {
    assert_golden("tradeoff-smoke-packages", stages);
}

#[test]
fn stages_of_the_pinned_packages_text_keep_their_ids() {
    assert_golden_of_pinned_packages(&of_pinned_packages(&built("tradeoff")));
}

/// Labels of the stages whose id a change of the smoke preset changes; the stages themselves must be the same.
fn changed(change: &[&str]) -> BTreeSet<String> {
    let folder = Folder::new();
    let smoke = ["--preset", "smoke", "--tasks", "math", "--seeds", "1"];
    let text = own_text(&folder);
    let before = plan("tradeoff", &folder, &smoke, &text);
    let after = plan("tradeoff", &folder, &[&smoke, change].concat(), &text);
    let labels = |stages: &[Planned]| stages.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&before), labels(&after));
    before.into_iter().zip(after).filter(|(before, after)| before.1 != after.1).map(|(before, _)| before.0).collect()
}

/// Labels of the smoke preset's finetunings from a checkpoint with a method.
fn finetunings(pairs: &[(&str, &str)]) -> BTreeSet<String> {
    let rates = |method: &str| match method {
        "adamw" => ["0.0003", "0.003"],
        "sgd" => ["0.03", "0.3"],
        _ => ["0.001", "0.01"],
    };
    let of_pair = |&(checkpoint, method): &(&str, &str)| {
        rates(method).map(|rate| format!("finetune {checkpoint} on math with {method} at {rate} seed 0"))
    };
    let both_orders = |label: String| [format!("{label} order 1"), label];
    pairs.iter().flat_map(of_pair).flat_map(both_orders).collect()
}

/// From both checkpoints.
fn with(methods: &[&str]) -> BTreeSet<String> {
    methods.iter().flat_map(|method| finetunings(&[("adamw", method), ("muon", method)])).collect()
}

#[test]
fn a_methods_own_knob_gives_new_ids_to_that_method_alone() {
    assert_eq!(changed(&["--set", "methods.muon.rest-share=0.5"]), with(&["muon"]));
    assert_eq!(changed(&["--set", "methods.lora-4.lora-alpha=3"]), with(&["lora-4"]));
    assert_eq!(changed(&["--set", "finetune.optimizers.sgd.momentum=0.5"]), with(&["sgd"]));
    // AdamW is LoRA's rule too, and that of what Muon leaves.
    assert_eq!(changed(&["--set", "finetune.optimizers.adamw.beta2=0.9"]), with(&["adamw", "lora-4", "muon"]));
}

#[test]
fn a_carried_state_gives_new_ids_to_full_finetunings_with_the_checkpoints_optimizer_alone() {
    assert_eq!(changed(&["--state", "carried"]), finetunings(&[("adamw", "adamw"), ("muon", "muon")]));
}

#[test]
fn a_narrower_scope_gives_new_ids_to_all_methods_but_lora() {
    assert_eq!(changed(&["--scope", "hidden-matrices"]), with(&["adamw", "muon", "sgd"]));
}

/// A hyperparameter at its default is the same said or unsaid, and names are for people.
#[test]
fn what_is_no_change_gives_no_new_ids() {
    let same = BTreeSet::new();
    assert_eq!(
        changed(&["--set", "finetune.optimizers.adamw.beta2=0.95", "--set", "methods.lora-4.lora-alpha=8"]),
        same
    );
    assert_eq!(changed(&["--set", "name=other", "--jobs", "2", "--snapshot-every", "1"]), same);
    assert_eq!(changed(&["--set", "methods.muon.rest-share=0.2"]), same);
}
