//! The program `probe`, and the experiment `activations` from its preset to the report.

use std::fs;

use super::common::{Finished, Folder, corpus, finished, paths, program};

/// The folder of a checkpoint that a finished run keeps.
fn checkpoint() -> String {
    let runs = finished().out().join("runs");
    let files = paths(&runs);
    let config =
        files.iter().find(|path| path.ends_with("config.json") && path.to_string_lossy().contains("pretrain-"));
    config.and_then(|path| path.parent()).expect("a run keeps its checkpoints").to_str().unwrap().to_string()
}

fn probe(arguments: &[&str]) -> Finished {
    Finished::of(&mut program("probe", arguments))
}

#[test]
fn a_checkpoint_is_printed_written_and_drawn_to_the_same_bytes_twice() {
    let folder = Folder::new();
    let (checkpoint, text) = (checkpoint(), folder.file("corpus.txt", corpus()));
    let run = |out: &str, more: &[&str]| {
        let out = folder.path(out);
        let arguments: [&str; 7] = [&checkpoint, "--text", &text, "--tokens", "500", "--out", &out];
        probe(&[&arguments[..], more].concat()).success()
    };
    let printed = run("a", &["--initial", &checkpoint]);
    for part in ["attention-input", "mlp-hidden", "d down_proj", "stable rank", "off-diag", "vectors.csv"] {
        assert!(printed.contains(part), "no `{part}` in {printed}");
    }
    let read = |out: &str, name: &str| fs::read(folder.root().join(out).join(name)).unwrap();
    let vectors = String::from_utf8(read("a", "vectors.csv")).unwrap();
    assert!(vectors.starts_with("layer,measured,kind,features,vectors,rms,"), "{vectors:.200}");
    let weights = String::from_utf8(read("a", "weights.csv")).unwrap();
    assert!(weights.lines().skip(1).all(|line| line.ends_with(",0.0")), "no distance from itself: {weights}");
    run("b", &["--initial", &checkpoint]);
    for name in ["vectors.csv", "weights.csv", "vectors.svg", "weights.svg", "vectors.png"] {
        assert!(read("a", name) == read("b", name), "{name} differs");
    }
    let unknown = run("c", &["--seed", "1"]);
    assert!(!unknown.contains("NaN"), "{unknown}");
    assert_ne!(read("a", "vectors.csv"), read("c", "vectors.csv"), "other labels, other output gradients");
}

#[test]
fn what_is_no_checkpoint_or_no_text_is_one_line() {
    let folder = Folder::new();
    let (checkpoint, text) = (checkpoint(), folder.file("corpus.txt", corpus()));
    let (empty, short) = (folder.root().to_str().unwrap().to_string(), folder.file("short.txt", "two words"));
    let missing = folder.path("missing.txt");
    let broken = folder.path("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(format!("{broken}/config.json"), "{\"model_type\": \"bert\"}").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&[&empty, "--text", &text], "found no config.json"),
        (&[&broken, "--text", &text], "field `model_type`: found `bert`"),
        (&[&checkpoint], "--text: found none, expected a .txt, .jsonl or .bin file"),
        (&[&checkpoint, "--text", &missing], "missing.txt"),
        (&[&checkpoint, "--text", &short], "--text: found"),
        (&[&checkpoint, "--text", &text, "--context", "100000"], "--context: found 100000, expected 1 to "),
        (&[&checkpoint, "--text", &text, "--context", "0"], "--context: found 0, expected 1 to "),
        (&[&checkpoint, "--text", &text, "--initial", &empty], "found no config.json"),
        (&[&checkpoint, "--text", &text, "--tokenizer", &missing], "missing.txt"),
    ];
    for (arguments, expected) in cases {
        let out = folder.path("out");
        let line = probe(&[arguments, &["--out", &out]].concat()).refusal();
        assert!(line.starts_with("error: ") && line.contains(expected), "{arguments:?}: {line}");
        assert!(!folder.out().exists(), "{arguments:?}: something was written");
    }
}

#[test]
fn activations_runs_to_its_report() {
    let folder = Folder::new();
    let (text, out) = (folder.file("corpus.txt", corpus()), folder.path("out"));
    // A vocabulary that the made-up text can fill, and few steps.
    let settings = ["model.vocabulary=300", "model.context=32", "evaluation.pretrain-windows=4"];
    let steps = ["adamw", "muon", "muon-short", "adamw-no-decay"].map(|name| format!("checkpoints.{name}.steps=8"));
    let settings: Vec<&str> = settings.into_iter().chain(steps.iter().map(String::as_str)).collect();
    let arguments = ["--preset", "smoke", "--corpus", &text, "--out", &out, "--device", "cpu", "--quiet"];
    let arguments = arguments.into_iter().chain(settings.iter().flat_map(|setting| ["--set", setting]));
    let arguments: Vec<&str> = arguments.collect();
    let page = Finished::of(&mut program("activations", &arguments)).success();
    let page = fs::read_to_string(page.trim()).unwrap();
    for part in ["layer mean of ln a", "Muon (then adamw)", "untrained", "Alignment by layer and kind", "inconclusive"]
    {
        assert!(page.contains(part), "no `{part}`");
    }
    let numbers = fs::read_to_string(folder.out().join("report/activations-vectors.csv")).unwrap();
    assert!(numbers.starts_with("checkpoint,seed,layer,measured,kind,statistic,value\n"));
    // Two seeds of an untrained network and three checkpoints, one of another and of four that were trained on; two
    // blocks of seven streams and maps but the gate, and what comes after.
    let alignments = numbers.lines().filter(|line| line.contains(",alignment,")).count();
    assert_eq!(alignments, (2 * 4 + 5) * (2 * (6 + 6) + 2), "networks times streams");
    // Run again, nothing is computed and the same is written.
    Finished::of(&mut program("activations", &arguments)).success();
    assert_eq!(numbers, fs::read_to_string(folder.out().join("report/activations-vectors.csv")).unwrap());
}
