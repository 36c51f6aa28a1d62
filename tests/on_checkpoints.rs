//! `rotation`, `landscape`, `update-structure` and `prediction` from the outside: whose checkpoints they take, their
//! rows, their sections, their refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::common::{Finished, Folder, corpus, preset_with, program};

const ROTATION: &str = r#"name = "tiny"
base = "BASE"
architecture = "llama"
tasks = ["code"]
rotations = 1

[rates]
adamw = [1e-3, 1e-2]
muon = [3e-3, 3e-2]
"#;

const LANDSCAPE: &str = r#"name = "tiny"
base = "BASE"
tasks = ["code"]
batches = [1, 8]
gains = [0.001, 0.1]
relative = 0.02
absolute = 1e-3
rank = 2
optimizers = ["adamw", "muon"]
draws = 2
curvature-windows = 2
"#;

const UPDATES: &str = r#"name = "tiny"
base = "BASE"
tasks = ["code"]
level = 0.5
rank = 2

[[methods]]
name = "adamw"
optimizer = "adamw"
rate = 4e-3

[[methods]]
name = "muon"
optimizer = "muon"
rate = 1e-2

[[methods]]
name = "lora-2"
optimizer = "adamw"
lora-rank = 2
rate = 1e-2
"#;

const PREDICTION: &str = r#"name = "tiny"
base = "BASE"
tasks = ["code"]
divergence-windows = 4
leading = 0.125
gradient-batches = 2
"#;

/// Runs a program on the tiny base, whose parts of the network are more than one.
fn run(name: &str, folder: &Folder, preset: &str, more: &[&str]) -> Finished {
    let base = folder.file("base.toml", preset_with("width = 16", "width = 32"));
    let preset = folder.file("preset.toml", preset.replace("BASE", &base));
    let text = folder.file("corpus.txt", corpus());
    let arguments =
        ["--quiet", "--preset", &preset, "--corpus", &text, "--out", &folder.path("out"), "--device", "cpu"];
    Finished::of(program(name, arguments).args(more))
}

/// The rows of a file of the report, each by its columns.
fn rows(folder: &Folder, file: &str) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(folder.out().join("report").join(file)).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| header.iter().map(|name| name.to_string()).zip(line.split(',').map(String::from)).collect();
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

/// The pretrainings of a plan, by their ids.
fn pretrainings(plan: &str) -> BTreeSet<&str> {
    plan.lines().filter(|line| line.contains("  pretrain ")).map(|line| line.rsplit_once("  (").unwrap().1).collect()
}

#[test]
fn checkpoints_are_those_of_tradeoff() {
    let folder = Folder::with_text();
    let base = folder.file("base.toml", preset_with("\"gpt2\"", "\"llama\"").replace("width = 16", "width = 32"));
    let text = folder.file("corpus.txt", corpus());
    let out = folder.path("out");
    let plan = |name: &str, preset: &str| {
        let preset = folder.file("preset.toml", preset.replace("BASE", &base));
        let arguments = ["--plan", "--quiet", "--preset", &preset, "--corpus", &text, "--out", &out];
        Finished::of(&mut program(name, arguments)).success()
    };
    let tradeoff = fs::read_to_string(&base).unwrap();
    let own = plan("tradeoff", &tradeoff);
    let own = pretrainings(&own);
    assert_eq!(own.len(), 4);
    let all =
        [("rotation", ROTATION), ("landscape", LANDSCAPE), ("update-structure", UPDATES), ("prediction", PREDICTION)];
    for (name, preset) in all {
        let planned = plan(name, preset);
        assert_eq!(pretrainings(&planned), own, "{name}");
    }
}

#[test]
fn a_turned_network_is_the_same_to_muon_and_another_to_adamw() {
    let folder = Folder::with_text();
    run("rotation", &folder, ROTATION, &["--jobs", "2"]).success();
    let found = rows(&folder, "rotation.csv");
    // Two seeds, checkpoints, networks, methods and rates.
    assert_eq!(found.len(), 2 * 2 * 2 * 2 * 2);
    let mut moved: f64 = 0.0;
    for row in found.iter().filter(|row| row["checkpoint"].ends_with("-folded")) {
        let twin = row["checkpoint"].replace("-folded", "-turned-1");
        let same = |other: &&BTreeMap<String, String>| {
            other["checkpoint"] == twin
                && ["task", "method", "learning_rate", "seed"].iter().all(|column| other[*column] == row[*column])
        };
        let twin = found.iter().find(same).unwrap();
        let differences = |column: &str| (number(row, column) - number(twin, column)).abs();
        assert!(differences("pretrain_loss_before") < 1e-5 && differences("task_loss_before") < 1e-5, "{row:?}");
        let after = differences("pretrain_loss_after").max(differences("task_loss_after"));
        match row["method"].as_str() {
            "muon" => assert!(after < 1e-4, "{row:?} {twin:?}"),
            _ => moved = moved.max(after),
        }
    }
    assert!(moved > 1e-3, "AdamW does not notice the turn: {moved}");
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for shown in ["The consistency index falls when the residual stream is turned", "The same function"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
    let before = fs::read_to_string(folder.out().join("report/rotation-effects.csv")).unwrap();
    run("rotation", &folder, ROTATION, &["--jobs", "1"]).success();
    assert_eq!(fs::read_to_string(folder.out().join("report/rotation-effects.csv")).unwrap(), before);
}

#[test]
fn a_landscape_has_every_direction_at_every_length() {
    let folder = Folder::with_text();
    run("landscape", &folder, LANDSCAPE, &[]).success();
    let found = rows(&folder, "landscape.csv");
    // Six directions of two gradients at two gains and two lengths; two of noise and six random ones at two lengths;
    // two directions in six kinds of layers.
    let of_one = 6 * 2 * 4 + (2 + 6) * 2 + 2 * 6;
    assert_eq!(found.len(), 2 * 2 * of_one);
    assert!(found.iter().all(|row| !row["forgetting"].is_empty()));
    let sizes = |direction: &str, length: &str| -> Vec<f64> {
        let here = |row: &&BTreeMap<String, String>| {
            row["direction"] == direction && row["length"] == length && row["part"] == "all"
        };
        found.iter().filter(here).map(|row| number(row, "step")).collect()
    };
    // Of one root mean square, all directions are equally long.
    let (signs, haar) = (sizes("sign", "absolute"), sizes("haar", "absolute"));
    assert!(signs.iter().chain(&haar).all(|step| (step / signs[0] - 1.0).abs() < 1e-6), "{signs:?} {haar:?}");
    // The gradient is the shortest way to a gain.
    let shortest = |row: &BTreeMap<String, String>| {
        let key = ["checkpoint", "seed", "batches", "amount", "length", "part"];
        let raw = found.iter().find(|other| other["direction"] == "raw" && key.iter().all(|k| other[*k] == row[*k]));
        raw.is_none_or(|raw| number(raw, "step") <= number(row, "step") * (1.0 + 1e-6))
    };
    let of_gradients = found.iter().filter(|row| row["length"] == "gain" && row["part"] == "all");
    let of_gradients: Vec<_> =
        of_gradients.filter(|row| !["adamw", "muon"].contains(&row["direction"].as_str())).collect();
    assert!(of_gradients.iter().all(|row| shortest(row)));
    // A short step down the gradient lowers the task's loss, and only with eight batches it is measured.
    let learned = |row: &&BTreeMap<String, String>| {
        row["direction"] == "raw" && row["length"] == "gain" && row["amount"] == "0.001"
    };
    let (measured, not): (Vec<_>, Vec<_>) = found.iter().filter(learned).partition(|row| row["batches"] == "8");
    assert!(measured.iter().all(|row| number(row, "learned") > 0.0), "{measured:?}");
    assert!(not.iter().all(|row| row["learned"].is_empty()));
    let bends = rows(&folder, "landscape-curvature.csv");
    assert_eq!(bends.len(), 2 * 2 * (6 + 2 + 6));
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for shown in ["Landscape index of AdamW / Muon is positive", "landscape-rise", "Curvature along directions"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
}

#[test]
fn updates_and_what_was_made_of_them_meet_at_one_task_loss() {
    let folder = Folder::with_text();
    run("update-structure", &folder, UPDATES, &[]).success();
    let found = rows(&folder, "update-structure.csv");
    // Seven surgeries of two updates, and LoRA's as it is.
    assert_eq!(found.len(), 2 * 2 * (2 * 7 + 1));
    for row in found.iter().filter(|row| row["surgery"] == "unchanged" && !row["method"].starts_with("lora")) {
        assert!((number(row, "task_loss") - number(row, "target")).abs() < 1e-2, "{row:?}");
        assert!((0.0..1.05).contains(&number(row, "factor")), "{row:?}");
    }
    let structures = rows(&folder, "update-structure-spectra.csv");
    // Three methods, six kinds of layers.
    assert_eq!(structures.len(), 2 * 2 * 3 * 6);
    for row in &structures {
        // LoRA's update has its rank, but for rounding.
        let most = if row["method"] == "lora-2" { 2.1 } else { 32.0 };
        assert!((1.0..=most).contains(&number(row, "rank_of_values")), "{row:?}");
        for column in ["sign_coherence", "polar_coherence", "top"] {
            assert!((0.0..=1.0 + 1e-9).contains(&number(row, column)), "{row:?}");
        }
    }
    let flatter = |method: &str| -> f64 {
        structures.iter().filter(|row| row["method"] == method).map(|row| number(row, "polar_coherence")).sum()
    };
    assert!(flatter("muon") > flatter("adamw"), "Muon's updates have the flatter spectrum");
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for shown in ["(surgery x checkpoint)", "Structure of updates", "What a change of an update"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
}

#[test]
fn what_runs_forget_stands_beside_what_predicts_it() {
    let folder = Folder::with_text();
    run("prediction", &folder, PREDICTION, &["--jobs", "2"]).success();
    let found = rows(&folder, "prediction.csv");
    // Two seeds and checkpoints, six runs.
    assert_eq!(found.len(), 2 * 2 * 6);
    for row in &found {
        let (first, alone) = (number(row, "first_order"), number(row, "ekfac_alone"));
        assert!((first + alone - number(row, "ekfac")).abs() < 1e-9 && alone > 0.0 && number(row, "kfac") > first);
        for column in ["square", "output_change", "divergence_on_task", "divergence_on_text"] {
            assert!(number(row, column) > 0.0, "{column} of {row:?}");
        }
    }
    let matrices = rows(&folder, "prediction-matrices.csv");
    assert_eq!(matrices.len(), found.len() * 6);
    assert!(matrices.iter().all(|row| (0.0..=1.0 + 1e-9).contains(&number(row, "leading"))));
    assert_eq!(rows(&folder, "prediction-foresight.csv").len(), 2 * 2 * 5);
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for shown in ["orders what all runs forget", "Which layers the expansion blames", "prediction-foresight"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
    // No weights are kept but those of checkpoints.
    let weights = fs::read_dir(folder.out().join("runs"))
        .unwrap()
        .filter(|stage| stage.as_ref().unwrap().path().join("model.safetensors").exists());
    assert_eq!(weights.count(), 4);
    let before = fs::read_to_string(folder.out().join("report/prediction-ranks.csv")).unwrap();
    run("prediction", &folder, PREDICTION, &["--jobs", "1"]).success();
    assert_eq!(fs::read_to_string(folder.out().join("report/prediction-ranks.csv")).unwrap(), before);
}

#[test]
fn an_optimizer_is_read_off_checkpoints_of_settings_that_were_held_out() {
    let folder = Folder::with_text();
    let preset = Finished::of(&mut program("fingerprint", ["--preset", "smoke", "--print-config"])).success();
    let preset = preset.replace("vocabulary = 768", "vocabulary = 320").replace("context = 144", "context = 32");
    run("fingerprint", &folder, &preset, &["--jobs", "2"]).success();
    let accuracy = rows(&folder, "fingerprint-accuracy.csv");
    // Rates, decays and seeds, one width; four kinds of knowledge, two seeds.
    assert_eq!(accuracy.len(), 3 * 4 * 2);
    assert!(accuracy.iter().all(|row| (0.0..=1.0).contains(&number(row, "balanced_accuracy"))));
    // The weights of networks that have moved by Muon's steps are unlike those that have moved by AdamW's.
    let weights = |row: &&BTreeMap<String, String>| row["held_out"] == "decay" && row["known"] == "weights";
    assert!(accuracy.iter().filter(weights).all(|row| number(row, "balanced_accuracy") > 0.7), "{accuracy:?}");
    let features = rows(&folder, "fingerprint.csv");
    assert!(features.iter().all(|row| number(row, "value").is_finite()));
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for shown in ["What gives each away", "What was taken for what", "better than by chance"] {
        assert!(page.contains(shown), "nothing about `{shown}` in the page");
    }
}

#[test]
fn mistakes_in_their_presets_are_one_line_each() {
    let refusal = |name: &str, preset: &str, from: &str, to: &str| {
        assert!(preset.contains(from));
        run(name, &Folder::new(), &preset.replace(from, to), &[]).refusal()
    };
    let turned = refusal("rotation", ROTATION, "architecture = \"llama\"\n", "");
    assert!(turned.contains("architecture: found gpt2, expected llama"), "{turned}");
    assert!(refusal("rotation", ROTATION, "rotations = 1", "rotation = 1").contains("unknown field `rotation`"));
    assert!(refusal("landscape", LANDSCAPE, "[1, 8]", "[1, 4]").contains("batches: found [1, 4]"));
    assert!(refusal("landscape", LANDSCAPE, "BASE", "no-such").contains("no-such"));
    assert!(refusal("update-structure", UPDATES, "level = 0.5", "level = 1.5").contains("level: found 1.5"));
    assert!(
        refusal(
            "update-structure",
            UPDATES,
            "rate = 1e-2\n\n[[methods]]\nname = \"lora",
            "rate = 0\n\n[[methods]]\nname = \"lora"
        )
        .contains("methods.muon.rate: found 0")
    );
    let leading = refusal("prediction", PREDICTION, "leading = 0.125", "leading = 2");
    assert!(leading.contains("leading: found 2, expected a share"), "{leading}");
    let tasks = refusal("prediction", PREDICTION, "tasks = [\"code\"]", "tasks = [\"coed\"]");
    assert!(tasks.contains("tasks: found coed"), "{tasks}");
}
