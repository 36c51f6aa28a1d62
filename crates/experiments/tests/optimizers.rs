//! Every registered optimizer is usable by its name wherever AdamW and Muon are: as what pretrains, what finetunes,
//! and, where it takes other than matrices, with LoRA.

use std::path::Path;
use std::time::Duration;

use experiments::parts::{CheckpointPreset, Origin, Recipe};
use experiments::tradeoff::{MethodPreset, Tradeoff, TradeoffPreset};
use lab::experiment::{self, Options};
use lab::grid::Display;
use lab::preset::Preset as _;
use models::optim::RuleName;

/// Seconds of work: the smoke preset with a checkpoint and a method for every optimizer.
fn preset(folder: &Path) -> TradeoffPreset {
    let text = folder.join("text.txt");
    let words = "the quick brown fox jumps over the lazy dog and runs away from the cat. ".repeat(600);
    std::fs::write(&text, words.replace(". ", ".\n\n")).unwrap();
    let mut preset = TradeoffPreset::find("smoke", &[]).unwrap();
    preset.seeds = 1;
    preset.tasks = vec!["strings:max_length=4".into()];
    preset.corpus.file = Some(text);
    (preset.model.vocabulary, preset.finetune.steps, preset.finetune.along) = (257, 2, 0);
    (preset.evaluation.pretrain_windows, preset.evaluation.decoded) = (2, 1);
    (preset.refine, preset.second_orders) = (None, 0);
    preset.control_methods = vec!["adamw".into()];
    preset.checkpoints = RuleName::ALL
        .iter()
        .map(|&optimizer| CheckpointPreset {
            name: optimizer.as_str().into(),
            origin: Origin::Pretrained(Recipe { optimizer, hidden_rate: 1e-3, embedding_rate: 1e-3, steps: 3 }),
            seeds: None,
        })
        .collect();
    preset.methods = RuleName::ALL.iter().map(|&optimizer| MethodPreset::of(optimizer, &[1e-3])).collect();
    let with_lora = RuleName::ALL.iter().filter(|optimizer| !optimizer.matrices_only()).map(|&optimizer| {
        let name = format!("{optimizer}-lora");
        MethodPreset { name, lora_rank: Some(2), ..MethodPreset::of(optimizer, &[1e-3]) }
    });
    preset.methods.extend(with_lora);
    preset
}

#[test]
fn every_optimizer_pretrains_and_finetunes_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let preset = preset(folder.path());
    let options = Options {
        out: folder.path().join("out"),
        finished: Vec::new(),
        jobs: None,
        snapshot_every: Duration::from_secs(60),
        display: Display::Quiet,
        command: "test".into(),
    };
    experiment::run::<Tradeoff>(&preset, &options, 0).unwrap();
    let results = std::fs::read_to_string(options.report().join("results.csv")).unwrap();
    let rows: Vec<Vec<&str>> = results.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for method in &preset.methods {
        let of: Vec<_> = rows.iter().filter(|row| row[1] == "adamw" && row[2] == method.name).collect();
        assert_eq!(of.len(), 1, "{}: {results}", method.name);
        assert_eq!(of[0][13], "false", "{} diverged: {results}", method.name);
        // What two steps did shows in the task's loss, and is different for every method.
        assert_eq!(rows.iter().filter(|row| row[1] == "adamw" && row[9] == of[0][9]).count(), 1, "{}", method.name);
    }
    for checkpoint in &preset.checkpoints {
        assert!(rows.iter().any(|row| row[1] == checkpoint.name), "{}: {results}", checkpoint.name);
    }
}
