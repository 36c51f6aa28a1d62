//! Text to pretrain on: that of the pinned packages, and a user's own in each format.

use super::common::{self, Finished, Folder, finished, tradeoff};

/// Runs two methods of one seed on a corpus and returns what was told and the results.
fn run(folder: &Folder, corpus: Option<&str>, more: &[&str]) -> (String, String) {
    let preset = folder.file("preset.toml", common::PRESET);
    let out = folder.path("out");
    let mut arguments = vec!["--preset", &preset, "--out", &out, "--seeds", "1", "--methods", "adamw,muon"];
    arguments.extend(corpus.iter().flat_map(|corpus| ["--corpus", corpus]));
    arguments.extend(more);
    let ended = Finished::of(&mut tradeoff(arguments));
    let told = ended.stderr.clone();
    ended.success();
    (told, folder.results())
}

const ROWS: usize = 1 + 2 * 4;

/// Worked problems among the text make another text, of which the report says so; without them all is as before.
#[test]
fn examples_of_tasks_can_be_mixed_into_the_text() {
    let folder = Folder::new();
    let corpus = folder.file("corpus.txt", common::corpus());
    let plain = run(&folder, Some(&corpus), &[]);
    let mixed = run(&folder, Some(&corpus), &["--set", r#"corpus.examples={tasks=["math"],share=0.1}"#]);
    assert!(mixed.0.contains("; 10 % of what is trained on are examples of math"), "{}", mixed.0);
    assert_eq!(mixed.1.lines().count(), ROWS);
    assert_ne!(mixed.1, plain.1);
    assert_eq!(run(&folder, Some(&corpus), &[]).1, plain.1);
}

#[test]
fn the_default_corpus_is_the_pinned_packages() {
    let folder = Folder::new();
    let (told, results) = run(&folder, None, &[]);
    let line = told.lines().find(|line| line.starts_with("corpus: ")).expect("a line about the corpus");
    for part in [" packages, ", " MB prose, ", " MB code, sha256 "] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(results.lines().count(), ROWS);
}

#[test]
fn json_lines_with_the_documents_of_a_text_are_a_corpus() {
    let folder = Folder::new();
    let documents = common::corpus();
    let lines: Vec<String> =
        documents.split("\n\n").map(|text| serde_json::json!({ "id": 1, "text": text }).to_string()).collect();
    let corpus = folder.file("corpus.jsonl", lines.join("\n"));
    let (told, results) = run(&folder, Some(&corpus), &[]);
    assert!(told.contains("corpus: corpus.jsonl, 0.1 MB, sha256 "), "{told}");
    assert_eq!(results.lines().count(), ROWS);
}

#[test]
fn token_ids_with_their_tokenizer_are_a_corpus() {
    let folder = Folder::new();
    let paths = common::paths(&finished().out().join("runs"));
    let tokenizer = paths.iter().find(|path| path.ends_with("tokenizer.json")).unwrap().to_str().unwrap();
    let is_prose = |path: &&std::path::PathBuf| {
        path.ends_with("train.u32")
            && path.parent().unwrap().file_name().unwrap().to_string_lossy().starts_with("tokens-")
    };
    let ids = std::fs::read(paths.iter().find(is_prose).unwrap()).unwrap();
    let narrow: Vec<u8> = ids.chunks(4).flat_map(|id| [id[0], id[1]]).collect();
    let corpus = folder.file("corpus.bin", &narrow);
    let (told, results) = run(&folder, Some(&corpus), &["--tokenizer", tokenizer]);
    assert!(told.contains(&format!("corpus: corpus.bin, {} tokens, sha256 ", narrow.len() / 2)), "{told}");
    assert!(told.contains("vocabulary 320"), "{told}");
    assert_eq!(results.lines().count(), ROWS);
}

/// What is in the file decides, not how it is called or where it lies: a copy is the same corpus, another text another.
#[test]
fn another_text_gives_other_results_in_the_same_folder() {
    let folder = Folder::with_finished_run();
    let other = folder.file("other.txt", common::corpus().replace("buffer", "window"));
    let mut arguments = folder.tiny();
    let place = arguments.iter().position(|argument| argument == "--corpus").unwrap();
    arguments[place + 1] = other;
    Finished::of(&mut tradeoff(arguments)).success();
    assert_ne!(folder.results(), finished().results());
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
}

/// On a machine without cargo and without its sources a user's own text still pretrains, and a generated task
/// finetunes.
#[test]
fn only_the_task_code_needs_the_packages_sources() {
    let ended = |tasks: &str| {
        let folder = Folder::new();
        let mut arguments = folder.with_preset(&common::preset_with("context = 32", "context = 256"));
        arguments.extend(["--tasks", tasks, "--seeds", "1", "--methods", "adamw,muon"].map(String::from));
        let mut command = tradeoff(arguments);
        Finished::of(command.env("PATH", folder.root()).env("CARGO_HOME", folder.root()).env_remove("CARGO"))
    };
    ended("math").success();
    assert!(ended("code").refusal().contains("cargo"));
}
