//! The programs beside an experiment's own: `experiment`, `reproduce`, `store`; and what all of them have in common.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use super::common::{Finished, Folder, PRESET, assert_same_files, copy, finished, program, tradeoff};

fn run(name: &str, arguments: &[&str]) -> Finished {
    Finished::of(&mut program(name, arguments))
}

const NAMES: [&str; 12] = [
    "tradeoff",
    "consistency-matrix",
    "optimizer-pairs",
    "memorization",
    "nonces",
    "activations",
    "rotation",
    "landscape",
    "update-structure",
    "prediction",
    "fingerprint",
    "theory",
];

#[test]
fn experiment_lists_every_experiment_and_runs_it_by_its_name() {
    let list = run("experiment", &["list"]).success();
    let listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, NAMES);
    for name in NAMES {
        let (own, by_name) = (run(name, &["--help"]).success(), run("experiment", &[name, "--help"]).success());
        assert_eq!(own, by_name);
    }
    let folder = Folder::with_finished_run();
    let arguments = folder.tiny();
    let page =
        Finished::of(&mut program("experiment", ["tradeoff".to_string()].into_iter().chain(arguments))).success();
    assert_eq!(page.trim(), folder.out().join("report/index.html").display().to_string());
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn the_reference_has_the_flags_and_presets_of_every_experiment() {
    let reference = run("experiment", &["reference"]).success();
    let sections: Vec<&str> = reference.split("## ").skip(1).collect();
    assert_eq!(sections.len(), NAMES.len());
    for (section, name) in sections.iter().zip(NAMES) {
        assert!(section.starts_with(name), "{section}");
        for part in ["--preset", "--set", "--plan", "--print-config", "Presets: "] {
            assert!(section.contains(part), "no {part} in {section}");
        }
        assert_eq!(section.contains("--methods"), name == "tradeoff", "{section}");
    }
}

#[test]
fn a_plan_lists_every_stage_with_its_state_and_runs_none() {
    let folder = Folder::new();
    let preset = folder.preset_with_its_text(PRESET);
    let out = folder.path("out");
    let plan = || run("tradeoff", &["--preset", &preset, "--out", &out, "--plan", "--quiet"]).success();
    let todo = plan();
    assert_eq!(todo.lines().count(), 37, "{todo}");
    assert!(todo.lines().all(|line| line.starts_with("to do ")), "{todo}");
    // The shape of the network follows from the tokens, which are made to plan; nothing else is.
    let kinds: BTreeSet<String> = fs::read_dir(folder.out().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().rsplit_once('-').unwrap().0.to_string())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["code-tokens", "text", "tokens"].map(String::from)));
    assert!(!folder.out().join("report").exists());
    run("tradeoff", &["--preset", &preset, "--out", &out, "--quiet"]).success();
    let done = plan();
    assert!(done.lines().all(|line| line.starts_with("done ")), "{done}");
    let stages = |plan: &str| plan.lines().map(|line| line.split_once("M tokens").unwrap().1.to_string()).collect();
    let (before, after): (Vec<String>, Vec<String>) = (stages(&todo), stages(&done));
    assert_eq!(before, after);
}

#[test]
fn reproduce_runs_the_experiments_that_are_named_with_the_fields_that_are_set() {
    let folder = Folder::new();
    let out = folder.path("out");
    let tiny = ["--preset", "smoke", "--only", "memorization", "--seeds", "1", "--set", "steps=2"];
    let of_one = ["--set", "memorization:tuning-seeds=1", "--set", "memorization:examples=[20]", "--quiet"];
    let page = run("reproduce", &[&tiny[..], &of_one, &["--out", &out]].concat()).success();
    assert_eq!(page.trim(), folder.out().join("report/index.html").display().to_string());
    let sections = fs::read_dir(folder.out().join("report/sections")).unwrap();
    let sections: Vec<String> = sections.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(sections, ["memorization.json"]);
    let rows = fs::read_to_string(folder.out().join("report/memorization.csv")).unwrap();
    let preset = run("memorization", &["--preset", "smoke", "--print-config"]).success();
    let preset: toml::Table = preset.parse().unwrap();
    let facts = preset["facts"].as_array().unwrap().len();
    let optimizers = preset["optimizers"].as_array().unwrap().len();
    assert!(rows.lines().skip(1).filter(|row| row.starts_with("smoke,")).count() == facts * optimizers, "{rows}");
}

#[test]
fn reproduce_shows_configurations_and_plans_of_every_experiment_and_runs_none() {
    let folder = Folder::new();
    let shown = |more: &[&str]| {
        let arguments = ["--preset", "smoke", "--quiet", "--out"].map(String::from).into_iter();
        let arguments = arguments.chain([folder.path("out")]).chain(more.iter().map(|one| one.to_string()));
        Finished::of(&mut program("reproduce", arguments)).success()
    };
    let config = shown(&["--print-config", "--set", "tradeoff:finetune.steps=77"]);
    let headings: Vec<&str> = config.lines().filter(|line| line.starts_with("# ")).collect();
    let expected = NAMES.iter().filter(|name| **name != "theory").map(|name| format!("# {name}"));
    assert_eq!(headings, expected.collect::<Vec<_>>(), "all that have such a preset");
    assert_eq!(config.matches("steps = 77\n").count(), 1, "{config}");
    assert!(!folder.out().exists());
    let plan = shown(&["--plan", "--only", "memorization"]);
    assert!(plan.starts_with("# memorization\nto do "), "{plan}");
    assert!(!folder.out().join("report").exists());
}

/// The ids of the stages in a folder's store.
fn stages(folder: &Folder) -> BTreeSet<String> {
    let names = fs::read_dir(folder.out().join("runs")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_store_is_listed_and_pruned_of_what_no_kept_preset_needs() {
    let folder = Folder::with_finished_run();
    let out = folder.path("out");
    let all = stages(&folder);
    let list = run("store", &["list", "--out", &out]).success();
    assert_eq!(list.lines().filter(|line| line.starts_with("done ")).count(), all.len(), "{list}");
    assert!(list.lines().last().unwrap().starts_with(&format!("{} stages, ", all.len())), "{list}");

    // A preset with one seed less and without one method.
    let text = fs::read_to_string(folder.preset_with_its_text(PRESET)).unwrap();
    let sgd = "[[methods]]\nname = \"sgd\"\noptimizer = \"sgd\"\nrates = [1e-1]\n";
    assert!(text.contains(sgd));
    let smaller = folder.file("smaller.toml", text.replace("seeds = 2", "seeds = 1").replace(sgd, ""));
    let keep = format!("tradeoff:{smaller}");
    let shown = run("store", &["prune", "--out", &out, "--keep", &keep]).success();
    assert_eq!(stages(&folder), all, "nothing is removed before --yes");
    assert!(shown.lines().last().unwrap().ends_with("would be freed; --yes removes them"), "{shown}");
    let would_go: BTreeSet<String> = shown
        .lines()
        .filter(|line| line.starts_with("would go "))
        .map(|line| line.split_whitespace().last().unwrap().to_string())
        .collect();
    // Of the second seed 18 stages; of the first one 2 finetunings.
    assert_eq!(would_go.len(), 18 + 2, "{shown}");
    let removed = run("store", &["prune", "--out", &out, "--keep", &keep, "--yes"]).success();
    assert_eq!(removed.lines().filter(|line| line.starts_with("removed ")).count(), 20, "{removed}");
    assert_eq!(stages(&folder), all.difference(&would_go).cloned().collect());
    // What was kept is whole, and the rest can be had again.
    run("tradeoff", &["--preset", &smaller, "--out", &out, "--plan", "--quiet"])
        .success()
        .lines()
        .for_each(|line| assert!(line.starts_with("done "), "{line}"));
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
    assert_same_files(&folder.store(), &finished().store());
}

#[test]
fn what_two_presets_need_is_kept_for_both() {
    let folder = Folder::with_finished_run();
    let preset = folder.preset_with_its_text(PRESET);
    let one = folder.file("one.toml", fs::read_to_string(&preset).unwrap().replace("seeds = 2", "seeds = 1"));
    let (one, both) = (format!("tradeoff:{one}"), format!("tradeoff:{preset}"));
    let shown = run("store", &["prune", "--out", &folder.path("out"), "--keep", &one, "--keep", &both]).success();
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

/// Reported runs of `memorization` follow from tuning runs: their ids are known only from results.
#[test]
fn stages_that_follow_from_results_are_kept() {
    let folder = Folder::new();
    let out = folder.path("out");
    let printed = run("memorization", &["--preset", "smoke", "--seeds", "1", "--set", "steps=2", "--print-config"]);
    let preset = folder.file("short.toml", printed.success());
    run("memorization", &["--preset", &preset, "--quiet", "--out", &out]).success();
    let all = stages(&folder);
    let keep = format!("memorization:{preset}");
    run("store", &["prune", "--out", &out, "--keep", &keep, "--yes"]).success();
    assert_eq!(stages(&folder), all);
}

#[test]
fn a_stage_in_work_is_never_pruned() {
    let folder = Folder::with_text();
    let arguments = folder.tiny().into_iter().chain(["--snapshot-every", "0", "--jobs", "1"].map(String::from));
    let mut child = tradeoff(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let out = folder.path("out");
    // Keeps nothing of what runs: the preset of another experiment.
    let prune = |more: &[&str]| {
        let arguments = [&["prune", "--out", &out, "--keep", "theory:quick"], more].concat();
        run("store", &arguments).success()
    };
    let kept = |shown: &str| shown.lines().find(|line| line.starts_with("in work, kept   pretrain-")).map(String::from);
    while kept(&prune(&[])).is_none() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended before it was seen in a pretraining");
    }
    let removed = prune(&["--yes"]);
    let stage = kept(&removed).unwrap_or_else(|| panic!("no pretraining in work was kept: {removed}"));
    assert!(removed.lines().any(|line| line.starts_with("removed ") && line.contains(" tokens-")), "{removed}");
    assert!(!removed.lines().any(|line| line.starts_with("removed ") && line.contains("pretrain-")), "{removed}");
    assert_eq!(child.wait().unwrap().code(), Some(0), "who works on {stage} was disturbed");
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn a_reader_that_goes_away_ends_a_program_without_a_panic() {
    let folder = Folder::new();
    copy(&finished().out(), &folder.out());
    let out = folder.path("out");
    for (name, arguments) in [
        ("store", vec!["list", "--out", &out]),
        ("experiment", vec!["reference"]),
        ("tradeoff", vec!["--preset", "smoke", "--print-config"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Finished::of(program(name, &arguments).stdout(writer));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}");
    }
}

/// Each line must hold all of what is named, and nothing is written.
#[test]
fn mistakes_in_the_flags_of_any_program_are_one_line() {
    let folder = Folder::new();
    let out = folder.path("out");
    let cases: [(&str, &[&str], &[&str]); 30] = [
        ("experiment", &[], &["experiment: found nothing", "`list`"]),
        ("experiment", &["tradeof"], &["experiment: found tradeof, expected tradeoff, consistency-matrix"]),
        ("experiment", &["tradeoff", "--seeds", "many"], &["'many' for '--seeds <N>'"]),
        ("tradeoff", &["--set", "stepz=3"], &["error: stepz: found 3, expected a field of this preset"]),
        ("tradeoff", &["--set", "finetune.stepz=3"], &["finetune.stepz: found 3, expected a field of this preset"]),
        ("tradeoff", &["--set", "finetune.steps=long"], &["finetune.steps: found \"long\""]),
        ("tradeoff", &["--set", "finetune.steps=-3"], &["finetune.steps: found -3"]),
        ("tradeoff", &["--set", "finetune.steps=0"], &["finetune.steps: found 0, expected at least 1"]),
        ("tradeoff", &["--set", "methods.lion.rates=[1]"], &["methods.lion.rates: found [1]"]),
        (
            "tradeoff",
            &["--set", "methods.sgd.rest-share=0.5"],
            &["methods.rest-share: found 0.5, expected none for sgd"],
        ),
        ("tradeoff", &["--set", "methods.adamw.optimizer=adam"], &["methods.adamw.optimizer: found \"adam\"", "adamw"]),
        ("tradeoff", &["--set", "seeds"], &["set: found seeds, expected KEY=VALUE"]),
        ("tradeoff", &["--set", "=3"], &["set: found =3, expected KEY=VALUE"]),
        ("tradeoff", &["--set"], &["--set <KEY=VALUE>"]),
        ("tradeoff", &["--scope", "most"], &["'most' for '--scope <SCOPE>'", "hidden-matrices"]),
        ("tradeoff", &["--state", "warm"], &["'warm' for '--state <STATE>'", "fresh, carried"]),
        ("tradeoff", &["--precision", "f16"], &["'f16' for '--precision", "f32, tf32 or bf16"]),
        ("tradeoff", &["--only", "theory"], &["unexpected argument '--only'"]),
        ("reproduce", &["--only", "theory,tradeof"], &["experiment: found tradeof"]),
        (
            "reproduce",
            &["--only", "theory", "--preset", "smoke"],
            &["preset: found smoke, expected quick, standard or"],
        ),
        ("reproduce", &["--tasks", "code"], &["unexpected argument '--tasks'"]),
        ("reproduce", &["--preset", "smoke", "--set", "stepz=3"], &["set: found stepz"]),
        ("reproduce", &["--preset", "smoke", "--set", "tradeof:seeds=3"], &["set: found tradeof:seeds"]),
        (
            "reproduce",
            &["--preset", "smoke", "--only", "memorization", "--corpus", "x.txt"],
            &["set: found corpus.file"],
        ),
        ("theory", &["--set", "grid.seeds=10"], &["grid.seeds: found 10, expected a field of this preset"]),
        ("theory", &["poem"], &["'poem'", "phase-diagram"]),
        ("memorization", &["--corpus", "x.txt"], &["unexpected argument '--corpus'"]),
        ("store", &["prune"], &["required arguments were not provided", "--keep <EXPERIMENT:PRESET>"]),
        ("store", &["prune", "--keep", "smoke"], &["keep: found smoke, expected EXPERIMENT:PRESET"]),
        ("store", &["prune", "--keep", "tradeof:smoke"], &["experiment: found tradeof"]),
    ];
    for (name, arguments, named) in cases {
        // `store` opens the folder that it is about; the others check before they write.
        let own: &[&str] = if ["experiment", "store"].contains(&name) { &[] } else { &["--out", &out] };
        let ended = Finished::of(program(name, own.iter().chain(arguments)).current_dir(folder.root()));
        let line = ended.refusal();
        assert!(line.starts_with("error: "), "{name} {arguments:?}: {line}");
        for part in named {
            assert!(line.contains(part), "{name} {arguments:?}: no `{part}` in `{line}`");
        }
        assert!(!folder.out().join("report").exists(), "{name} {arguments:?}");
    }
    assert_eq!(run("store", &[]).code, Some(2));
}
