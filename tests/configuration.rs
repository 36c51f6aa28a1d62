//! Presets, and the flags that change them.

use super::common::{Finished, Folder, PRESET, tradeoff};

fn printed<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    Finished::of(&mut tradeoff(arguments.into_iter().chain(["--print-config"]))).success()
}

#[test]
fn a_printed_preset_is_a_preset_that_prints_itself() {
    let folder = Folder::new();
    for name in ["smoke", "quick", "standard"] {
        let text = printed(["--preset", name]);
        let file = folder.file("printed.toml", &text);
        assert_eq!(printed(["--preset", &file]), text, "{name}");
    }
    let changed = printed(["--preset", "smoke", "--tasks", "math:max_steps=2,largest=20,code", "--seeds", "7"]);
    let file = folder.file("printed.toml", &changed);
    assert_eq!(printed(["--preset", &file]), changed);
}

#[test]
fn printing_runs_nothing() {
    let folder = Folder::new();
    printed(["--preset", "smoke", "--out", &folder.path("out")]);
    assert!(!folder.out().exists());
}

#[test]
fn flags_change_the_preset_that_they_name() {
    let folder = Folder::new();
    let file = folder.file("preset.toml", PRESET);
    let text = printed([
        "--preset",
        &file,
        "--tasks",
        "strings:max_length=4,code",
        "--methods",
        "muon,adamw",
        "--seeds",
        "3",
        "--scope",
        "hidden-matrices",
        "--state",
        "carried",
        "--weight-decay",
        "0.5",
    ]);
    let preset: toml::Table = text.parse().unwrap();
    let names = |key: &str| -> Vec<String> {
        let list = preset[key].as_array().unwrap().iter();
        list.map(|item| item.get("name").unwrap_or(item).as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("tasks"), ["strings:max_length=4", "code"]);
    assert_eq!(names("methods"), ["adamw", "muon"]);
    assert_eq!(preset["seeds"].as_integer(), Some(3));
    assert_eq!(preset["finetune"]["scope"].as_str(), Some("hidden-matrices"));
    assert_eq!(preset["finetune"]["state"].as_str(), Some("carried"));
    assert_eq!(preset["finetune"]["weight-decay"].as_float(), Some(0.5));
}

/// The controls of a checkpoint that is not kept go with it.
#[test]
fn checkpoints_that_are_kept_keep_the_controls_between_them() {
    let kept = ["--preset", "standard", "--print-config", "--checkpoints", "adamw,muon,muon-short"];
    let preset: toml::Table = Finished::of(&mut tradeoff(kept)).success().parse().unwrap();
    let names: Vec<_> = preset["checkpoints"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["adamw", "muon", "muon-short"]);
    assert_eq!(preset["controls"].to_string(), r#"[["adamw", "muon-short"]]"#);
}

/// The results hold what was asked for and nothing else; runs that both selections share are computed once.
#[test]
fn tasks_methods_and_seeds_select_what_is_run() {
    let folder = Folder::with_finished_run();
    let select = ["--tasks", "code,strings:max_length=4", "--methods", "adamw,muon", "--seeds", "1"];
    // Instructions need a longer context than code, and so another checkpoint.
    let longer = PRESET.replace("context = 32", "context = 96");
    let arguments = folder.with_preset(&longer).into_iter().chain(select.map(String::from));
    Finished::of(&mut tradeoff(arguments)).success();
    let results = folder.results();
    let column = |index: usize| {
        let values = results.lines().skip(1).map(|line| line.split(',').nth(index).unwrap());
        values.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(column(0), ["code", "strings:max_length=4"]);
    assert_eq!(column(2), ["adamw", "muon"]);
    assert_eq!(column(4), ["0"]);
    assert_eq!(results.lines().count(), 1 + 2 * 2 * 4);
    let answered: Vec<&str> = results.lines().filter(|line| line.starts_with("strings")).collect();
    assert!(answered.iter().all(|line| !line.split(',').nth(9).unwrap().is_empty()), "exact match of {answered:?}");
}

#[test]
fn help_names_every_flag_with_its_meaning() {
    let of_all = ["preset", "set", "seeds", "jobs", "out", "finished", "corpus", "tokenizer", "print-config", "plan"];
    for (binary, own) in [
        (env!("CARGO_BIN_EXE_tradeoff"), &["tasks", "methods", "checkpoints", "scope", "state", "weight-decay"][..]),
        (env!("CARGO_BIN_EXE_reproduce"), &["only"]),
    ] {
        let help = Finished::of(std::process::Command::new(binary).arg("--help")).success();
        for flag in of_all.iter().chain(own) {
            assert!(help.contains(&format!("  --{flag}")), "{flag} in {help}");
        }
    }
}
