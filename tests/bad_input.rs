//! Bad input: each is one line that says what is wrong, exit code 2, and nothing that was finished is lost.

use std::collections::BTreeMap;

use super::common::{Finished, Folder, assert_same_files, finished, preset_with, tradeoff};

/// Runs `tradeoff` on a folder with a finished run and a changed set of arguments; the refusal must name all of
/// `named`, and the folder must then be as good as before.
#[track_caller]
fn assert_refused(folder: &Folder, arguments: Vec<String>, named: &[&str]) {
    let line = Finished::of(&mut tradeoff(&arguments)).refusal();
    assert!(line.starts_with("error: "), "{line}");
    for part in named {
        assert!(line.contains(part), "no `{part}` in `{line}`");
    }
    assert_same_files(&finished_stages(folder), &finished().store());
    assert_eq!(folder.results(), finished().results());
}

/// The store but for stages that were begun and not finished: a later run takes those up or throws them away.
fn finished_stages(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    let mut files = folder.store();
    files.retain(|name, _| !name.contains(".partial"));
    files
}

/// The arguments with the value of one flag replaced, or the flag added.
fn with(arguments: Vec<String>, flag: &str, value: &str) -> Vec<String> {
    let mut arguments = arguments;
    match arguments.iter().position(|argument| argument == flag) {
        Some(place) => arguments[place + 1] = value.into(),
        None => arguments.extend([flag.to_string(), value.to_string()]),
    }
    arguments
}

#[test]
fn a_corpus_that_cannot_be_used_is_named_with_the_place_in_it() {
    let folder = Folder::with_finished_run();
    let tokenizer = tokenizer_of_the_finished_run();
    // A file's name, its content if it is there, and what the refusal names beside it.
    type Case = (&'static str, Option<&'static [u8]>, &'static [&'static str]);
    let cases: [Case; 9] = [
        ("missing.txt", None, &["No such file"]),
        ("empty.txt", Some(b""), &["the file is empty, expected text"]),
        ("blank.jsonl", Some(b"\n\n"), &["the file is empty, expected text"]),
        ("broken.jsonl", Some(b"{\"text\": \"a\"}\n{\"text\": \n"), &[":2: found broken JSON"]),
        (
            "other.jsonl",
            Some(b"{\"text\": \"a\"}\n{\"body\": \"a\"}\n"),
            &[":2: found no field \"text\" (fields: body)"],
        ),
        ("latin.txt", Some(b"caf\xe9"), &["not UTF-8 at offset 3"]),
        ("odd.bin", Some(b"abc"), &["found 3 bytes, expected a multiple of 2"]),
        ("beyond.bin", Some(&[1, 0, 0x40, 1]), &["found token 320 at position 1", "below the vocabulary's size 320"]),
        (
            "words.docx",
            Some(b"text"),
            &["found a .docx file, expected a .txt, .jsonl, .json, .csv, .parquet or .bin file"],
        ),
    ];
    for (name, content, named) in cases {
        let path = match content {
            Some(content) => folder.file(name, content),
            None => folder.path(name),
        };
        let mut arguments = with(folder.tiny(), "--corpus", &path);
        if name.ends_with(".bin") {
            arguments = with(arguments, "--tokenizer", &tokenizer);
        }
        assert_refused(&folder, arguments, &[named, &[name]].concat());
    }
}

fn tokenizer_of_the_finished_run() -> String {
    let runs = finished().out().join("runs");
    let paths = super::common::paths(&runs);
    let found = paths.iter().find(|path| path.ends_with("tokenizer.json")).expect("a run keeps its tokenizer");
    found.to_str().unwrap().to_string()
}

#[test]
fn token_ids_without_their_tokenizer_are_refused() {
    let folder = Folder::with_finished_run();
    let corpus = folder.file("tokens.bin", [1, 0, 2, 0]);
    assert_refused(&folder, with(folder.tiny(), "--corpus", &corpus), &["tokens.bin", "--tokenizer"]);
}

#[test]
fn a_corpus_too_small_to_hold_text_out_is_refused() {
    let folder = Folder::with_finished_run();
    let corpus = folder.file("short.txt", "A sentence is not enough to train on.");
    let named = ["short.txt: found 37 bytes of text", "model.context: give more text"];
    assert_refused(&folder, with(folder.tiny(), "--corpus", &corpus), &named);
    let corpus = folder.file("same.txt", "again and ".repeat(200));
    let named = ["same.txt: found text for ", "expected 320", "model.vocabulary"];
    assert_refused(&folder, with(folder.tiny(), "--corpus", &corpus), &named);
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_named() {
    let folder = Folder::with_finished_run();
    let missing = folder.path("missing.json");
    assert_refused(&folder, with(folder.tiny(), "--tokenizer", &missing), &["missing.json"]);
    let broken = folder.file("broken.json", "{\"model\": 3}");
    assert_refused(&folder, with(folder.tiny(), "--tokenizer", &broken), &["tokenizer"]);
}

#[test]
fn a_mistake_in_a_preset_is_named_by_field_or_line() {
    let folder = Folder::with_finished_run();
    let steep = "state = \"fresh\"\noptimizers = { muon = { momentum = 1.5 } }";
    let decay = "curve-points = 3\noptimizers = { adamw = { weight-decay = 0.1 } }";
    let in_stage = "pretrain.optimizers.adamw.weight-decay: found 0.1, expected 0 here: it is a setting of the stage";
    let unknown = "curve-points = 3\noptimizers = { adamw = { beta3 = 0.1 } }";
    let cases: [(&str, &str, &[&str]); 24] = [
        ("context = 32", "context = 32\ndepth = 3", &["unknown field `depth`", "line 15"]),
        ("context = 32", "context = \"long\"", &["invalid type", "line 14"]),
        ("context = 32", "context = -32", &["-32", "line 14"]),
        ("context = 32", "context = 0", &["model.context: found 0, expected at least 1"]),
        ("context = 32", "context = ", &["line 14"]),
        ("heads = 2", "heads = 3", &["model.width: found 16, expected a multiple of heads = 3"]),
        ("vocabulary = 320", "vocabulary = 100", &["model.vocabulary: found 100, expected at least 257"]),
        ("held-out = 0.2", "held-out = 1.5", &["evaluation.held-out: found 1.5, expected a share"]),
        ("rates = [1e-1]", "rates = []", &["rates of method sgd: found none"]),
        ("rates = [1e-1]", "rates = [-1e-1]", &["rates of method sgd: found -0.1, expected a positive number"]),
        ("rates = [1e-1]", "rates = [inf]", &["rates of method sgd: found inf"]),
        ("lora-rank = 2", "lora-rank = 17", &["methods.lora-rank: found 17, expected 1 to the width, 16"]),
        (
            "lora-rank = 2",
            "lora-rank = 2\nlora-alpha = 0.0",
            &["methods.lora-alpha: found 0, expected a positive number"],
        ),
        ("rates = [1e-1]", "rates = [1e-1]\nlora-alpha = 3.0", &["methods.lora-alpha: found 3, expected none"]),
        ("state = \"fresh\"", steep, &["finetune.optimizers.muon.momentum: found 1.5, expected a number in [0, 1)"]),
        ("curve-points = 3", decay, &[in_stage]),
        ("curve-points = 3", unknown, &["unknown field `beta3`", "line 26"]),
        ("seeds = 2", "seeds = 0", &["seeds: found 0, expected at least 1"]),
        ("tasks = [\"code\"]", "tasks = []", &["tasks: found none"]),
        ("tasks = [\"code\"]", "tasks = [\"poetry\"]", &["tasks: found poetry, expected one of code, math"]),
        ("pair = [\"adamw\", \"muon\"]", "pair = [\"adamw\", \"lion\"]", &["found lion, expected a checkpoint"]),
        ("architecture = \"gpt2\"", "architecture = \"rnn\"", &["unknown variant `rnn`", "line 12"]),
        ("decoded = 2\n", "", &["missing field `decoded`"]),
        ("code-bytes = 60000", "code-bytes = 0", &["corpus.code-bytes: found 0"]),
    ];
    for (from, to, named) in cases {
        assert_refused(&folder, folder.with_preset(&preset_with(from, to)), named);
    }
}

#[test]
fn a_preset_that_is_not_there_is_named() {
    let folder = Folder::with_finished_run();
    let missing = folder.path("missing.toml");
    assert_refused(&folder, with(folder.tiny(), "--preset", &missing), &["missing.toml", "No such file"]);
    let named = [
        "preset: found slow, expected smoke, quick, standard, controls, long, paper, llama-7b or the path of a .toml file",
    ];
    assert_refused(&folder, with(folder.tiny(), "--preset", "slow"), &named);
}

#[test]
fn flags_that_ask_for_what_is_not_there_are_refused() {
    let folder = Folder::with_finished_run();
    let cases = [
        ("--tasks", "poetry", "tasks: found poetry, expected one of code, math, strings"),
        ("--tasks", "math:depth=3", "depth"),
        ("--tasks", "math:max_steps=0", "max_steps"),
        ("--tasks", "code,code", "tasks: found code twice, expected distinct tasks"),
        (
            "--methods",
            "adamw,muon,lion",
            "methods: found lion, expected one of this preset's: adamw, muon, sgd, lora-2",
        ),
        ("--methods", "sgd", "expected a method `adamw`, which matches checkpoint `adamw`"),
        ("--checkpoints", "adamw", "pair or controls: found muon, expected a checkpoint: adamw"),
        ("--checkpoints", "adamw,muon,sgd", "checkpoints: found sgd, expected one of this preset's: adamw, muon"),
        ("--seeds", "0", "seeds: found 0, expected at least 1"),
        ("--weight-decay", "NaN", "finetune.weight-decay: found NaN"),
        ("--snapshot-every", "inf", "snapshot-every: found inf"),
    ];
    for (flag, value, named) in cases {
        assert_refused(&folder, with(folder.tiny(), flag, value), &[named]);
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_is_refused_by_a_build_without_one_that_says_how_to_get_it() {
    let folder = Folder::with_finished_run();
    let named = ["device: found cuda:0, expected cpu: this build has no GPU support", "--features cuda"];
    assert_refused(&folder, with(folder.tiny(), "--device", "cuda"), &named);
}

#[test]
fn a_flag_that_does_not_read_ends_with_exit_code_2() {
    for arguments in [["--seeds", "many"], ["--device", "gpu"], ["--jobs", "0"], ["--pretest", "quick"]] {
        let ended = Finished::of(&mut tradeoff(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(arguments[0]), "{}", ended.stderr);
    }
}

/// Below a file there can be no folder, not even for the system's administrator.
#[test]
fn a_folder_that_cannot_be_written_is_named_before_anything_is_computed() {
    let folder = Folder::with_finished_run();
    let below = format!("{}/out", folder.file("file", "a file"));
    assert_refused(&folder, with(folder.tiny(), "--out", &below), &["file/out", "cannot create folder"]);
}
