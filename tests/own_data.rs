//! A user's own tasks and texts: files that others wrote, read as they are meant, refused in one line, or told about.

use super::common::{Finished, Folder, corpus, preset_with, tradeoff};

/// The tiny preset with one token a byte and a context that examples fit into: without a vocabulary to learn, what a
/// network sees is what stands in the file.
fn of_bytes() -> String {
    preset_with("vocabulary = 320\ncontext = 32", "vocabulary = 257\ncontext = 160")
}

/// Rows as JSON lines.
fn rows(count: usize, row: impl Fn(usize) -> serde_json::Value) -> String {
    (0..count).map(|index| row(index).to_string() + "\n").collect()
}

fn sums(count: usize) -> String {
    rows(
        count,
        |i| serde_json::json!({"question": format!("{i}+1?"), "answer": format!("<<{i}+1={0}>>so\n#### {0}", i + 1)}),
    )
}

/// Arguments that run one seed with two methods.
fn small(folder: &Folder, preset: &str, more: &[&str]) -> Vec<String> {
    let mut arguments = folder.with_preset(preset);
    arguments.extend(["--seeds", "1", "--methods", "adamw,muon"].iter().chain(more).map(|word| word.to_string()));
    arguments
}

/// The same, with what is told on standard error.
fn told(arguments: Vec<String>) -> String {
    let arguments = arguments.into_iter().filter(|argument| argument != "--quiet");
    let ended = Finished::of(&mut tradeoff(arguments));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_task_from_a_file_runs_beside_a_generated_one() {
    let folder = Folder::new();
    let file = folder.file("My sums, 1.jsonl", sums(100));
    let long = of_bytes().replace("context = 160", "context = 700");
    let said = told(small(&folder, &long, &["--tasks", "math:max_steps=2", "--task", &file]));
    let line = said.lines().find(|line| line.starts_with("task my-sums--1: ")).expect("a line about the file");
    assert!(
        line.contains("100 examples in My sums, 1.jsonl (gsm8k): ") && line.contains("can be told in 100"),
        "{line}"
    );
    let results = folder.results();
    let mut lines = results.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let exact = header.iter().position(|name| *name == "exact_match").unwrap();
    let mut found = [0, 0];
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let task = ["math:max_steps=2", "my-sums--1"].iter().position(|name| *name == cells[0]).expect(line);
        found[task] += 1;
        assert!(!cells[exact].is_empty(), "{line}");
    }
    assert!(found[0] > 0 && found[0] == found[1], "{results}");
}

/// Which tokens carry loss: the completion's and the end of text, never the prompt's.
#[test]
fn an_example_is_shown_with_the_tokens_that_carry_loss() {
    let folder = Folder::new();
    let file = folder.file("a.jsonl", rows(40, |_| serde_json::json!({"prompt": "Hi é\n", "completion": "yo"})));
    // The same prompt is on one side: others are needed for the other sides.
    let more = folder
        .file("b.csv", "prompt,completion\n".to_string() + &(0..40).map(|i| format!("{i},x\n")).collect::<String>());
    let refused = Finished::of(&mut tradeoff(small(&folder, &of_bytes(), &["--task", &file, "--show-example", "1"])));
    assert!(refused.refusal().contains("task a: found no "));
    let both = std::fs::read_to_string(&file).unwrap()
        + &rows(60, |i| serde_json::json!({"prompt": format!("Hi {i}"), "completion": "yo"}));
    let both = folder.file("a.jsonl", both);
    let shown = |number: &str| {
        let arguments = small(&folder, &of_bytes(), &["--tasks", &format!("{both},{more}"), "--show-example", number]);
        Finished::of(&mut tradeoff(arguments))
    };
    let printed = shown("3").success();
    let (a, b) = printed.split_at(printed.find("b: example 3 of ").expect("the second task"));
    assert!(a.starts_with("a: example 3 of 40, "), "{a}");
    let tokens: Vec<(bool, &str)> = a
        .lines()
        .skip(2)
        .map(|line| {
            (line.contains("  loss  "), line.split_once("  \"").map_or("end", |(_, token)| token.trim_end_matches('"')))
        })
        .collect();
    let with_loss: Vec<&str> = tokens.iter().filter(|(loss, _)| *loss).map(|(_, token)| *token).collect();
    assert_eq!(with_loss, ["y", "o", "end"], "{a}");
    assert!(tokens.len() > 5 && tokens.iter().take(3).all(|(loss, _)| !loss) && tokens[0].1 == "H", "{a}");
    assert!(b.contains("\"x\"") && b.lines().last().unwrap().ends_with("loss  end of text"), "{b}");
    assert!(shown("0").refusal().contains("show-example: found 0, expected 1 to 40"));
    assert!(shown("1000").refusal().contains("show-example: found 1000"));
    assert!(!folder.out().join("report").exists(), "nothing is run");
}

/// A plan's stages of a task with their ids.
fn plan(folder: &Folder, file: &str, more: &[&str]) -> Vec<String> {
    let mut arguments = folder.with_preset(&of_bytes());
    arguments
        .extend(["--methods", "adamw,muon", "--plan", "--task", file].iter().chain(more).map(|word| word.to_string()));
    let printed = Finished::of(&mut tradeoff(arguments)).success();
    let ids = printed.lines().filter(|line| line.contains("finetune "));
    ids.map(|line| line.rsplit_once('(').unwrap().1.to_string()).collect()
}

/// What is in the file decides, in whatever format it lies and however it is called; every seed draws its own rows.
#[test]
fn ids_follow_the_rows_and_the_seed_and_nothing_else() {
    let folder = Folder::new();
    let json = rows(60, |i| serde_json::json!({"prompt": format!("{i}?"), "completion": format!("{i}!"), "note": i}));
    let table = "completion,prompt\r\n".to_string() + &(0..60).map(|i| format!("{i}!,{i}?\r\n")).collect::<String>();
    let first = plan(&folder, &folder.file("one.jsonl", &json), &[]);
    assert_eq!(first.len(), 16, "{first:?}");
    let distinct: std::collections::BTreeSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len());
    assert_eq!(plan(&folder, &folder.file("other.jsonl", &json), &[]), first);
    assert_eq!(plan(&folder, &folder.file("table.csv", table), &[]), first);
    assert_ne!(plan(&folder, &folder.file("one.jsonl", json.replace("7!", "seven")), &[]), first);
    assert_ne!(plan(&folder, &folder.file("one.jsonl", &json), &["--set", "task-files.one.held-out=0.4"]), first);
}

/// A file of fields of its own, by templates of a preset.
#[test]
fn templates_of_a_preset_read_a_file_of_any_fields() {
    let folder = Folder::new();
    let file = folder.file(
        "faq.csv",
        "q,a\n".to_string() + &(0..60).map(|i| format!("\"what, {i}\",\"yes\n{i}\"\n")).collect::<String>(),
    );
    let table = format!(
        "\n[[task-files]]\nname = \"faq\"\nfile = \"{file}\"\nprompt = \"Q: {{q}}\\nA: \"\ncompletion = \"{{a}}.\"\n"
    );
    let preset = of_bytes().replace("tasks = [\"code\"]", "tasks = [\"faq\"]") + &table;
    let shown = Finished::of(&mut tradeoff(small(&folder, &preset, &["--show-example", "1"]))).success();
    let text: String = shown
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once("  \""))
        .map(|(_, token)| token.trim_end_matches('"'))
        .collect();
    assert!(text.starts_with("Q: what, ") && text.contains("\\nA: yes\\n") && text.ends_with('.'), "{text}");
    let told = told(small(&folder, &preset, &[]));
    assert!(told.contains("(templates)") && told.contains("the loss alone is measured"), "{told}");
    let row = folder.results().lines().nth(1).unwrap().to_string();
    assert!(row.starts_with("faq,"), "{row}");
    // Printed and read again, the preset is the same.
    let printed = Finished::of(&mut tradeoff(small(&folder, &preset, &["--print-config"]))).success();
    let again = Finished::of(&mut tradeoff(small(&folder, &printed, &["--print-config"]))).success();
    assert_eq!(
        printed.lines().filter(|line| !line.starts_with("file = ")).count(),
        again.lines().filter(|line| !line.starts_with("file = ")).count()
    );
}

#[test]
fn a_task_that_cannot_be_read_is_one_line_before_anything_is_computed() {
    let folder = Folder::new();
    let latin = b"{\"prompt\": \"caf\xe9\", \"completion\": \"x\"}\n";
    let long = rows(50, |i| serde_json::json!({"prompt": format!("{i}"), "completion": "x".repeat(400)}));
    let half = "{\"query\": \"a\", \"response\": \"b\"}\n{\"query\": \"c\"}\n";
    let other = "{\"query\": \"a\", \"solution\": \"b\"}\n";
    let cases: [(&str, &[u8], &[&str]); 10] = [
        ("a.jsonl", b"", &["a.jsonl", "empty"]),
        ("a.jsonl", latin, &["a.jsonl: found a byte that is not UTF-8 at offset 15"]),
        ("a.jsonl", half.as_bytes(), &["a.jsonl:2: found no field \"response\" (fields: query)"]),
        (
            "a.jsonl",
            other.as_bytes(),
            &["found the fields query, solution, expected those of a layout: metamath (query, response)"],
        ),
        ("a.json", b"[{\"query\": \"a\", ", &["a.json, row 1: found broken JSON"]),
        ("a.csv", b"prompt,completion\n1\n2\n", &["a.csv:2: found 1 fields, expected 2, as in the header"]),
        ("a.jsonl", b"{\"prompt\": \"a\", \"completion\": \"b\"}\n", &["task a: found no ", "give more rows"]),
        ("a.jsonl", long.as_bytes(), &["model.context: found 160", "of a (", "do not fit"]),
        ("a.xlsx", b"x", &["a.xlsx: found a .xlsx file, expected a .jsonl, .json, .csv or .parquet file"]),
        // Without the feature it says how to get it; with it, that the file is cut short.
        ("a.parquet", b"PAR1", &["a.parquet: "]),
    ];
    for (name, content, named) in cases {
        let file = folder.file(name, content);
        let line = Finished::of(&mut tradeoff(small(&folder, &of_bytes(), &["--task", &file]))).refusal();
        for part in named {
            assert!(line.contains(part), "{name}: no `{part}` in `{line}`");
        }
    }
    let missing = folder.path("missing.jsonl");
    let line = Finished::of(&mut tradeoff(small(&folder, &of_bytes(), &["--task", &missing]))).refusal();
    assert!(line.contains("missing.jsonl: No such file"), "{line}");
    let pipe = folder.path("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let line = Finished::of(&mut tradeoff(small(&folder, &of_bytes(), &["--task", &pipe]))).refusal();
    assert!(line.contains("expected a regular file"), "{line}");
    let preset = folder.path("pipe.toml");
    std::fs::rename(&pipe, &preset).unwrap();
    let line = Finished::of(&mut tradeoff(["--preset", &preset])).refusal();
    assert!(line.contains("pipe.toml: found a pipe or device, expected a regular file"), "{line}");
    let pipe = preset;
    let line = Finished::of(&mut tradeoff(small(&folder, &of_bytes(), &["--tokenizer", &pipe]))).refusal();
    assert!(line.contains("regular file"), "{line}");
    let file = folder.file("long.jsonl", long);
    let cut = ["--task", &file, "--set", "task-files.long.too-long=truncate"];
    let said = told(small(&folder, &of_bytes(), &cut));
    assert!(said.contains("completions are longer than the context and lose their end"), "{said}");
}

/// A tokenizer without digits: `Tom has 12 books` was learned as something else, without a word.
#[test]
fn a_tokenizer_that_cannot_write_the_task_is_told_with_an_example() {
    let folder = Folder::new();
    let letters: serde_json::Map<String, serde_json::Value> = ('a'..='z')
        .chain([' ', '\n', '.', '?'])
        .enumerate()
        .map(|(id, letter)| (letter.to_string(), id.into()))
        .chain([("</s>".to_string(), 40.into()), ("<unk>".to_string(), 41.into())])
        .collect();
    let tokenizer = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false},
        "model": {"type": "WordLevel", "vocab": letters, "unk_token": "<unk>"}});
    let tokenizer = folder.file("tokenizer.json", tokenizer.to_string());
    let task = folder.file(
        "books.jsonl",
        rows(60, |i| serde_json::json!({"prompt": format!("has {i} books?"), "completion": "yes"})),
    );
    let said = told(small(&folder, &of_bytes(), &["--task", &task, "--tokenizer", &tokenizer]));
    assert!(said.contains("the tokenizer cannot write") && said.contains("books?\" becomes "), "{said}");
    // Holes in the ids: the vocabulary is as large as the highest id says.
    assert!(said.contains("vocabulary 42"), "{said}");
}

/// The separator of TinyStories and its like.
#[test]
fn an_end_of_text_in_the_text_is_told_and_is_no_text() {
    let folder = Folder::new();
    let arguments =
        small(&folder, &of_bytes(), &["--tasks", "math:max_steps=2", "--set", "model.context=700", "--plan"]);
    folder.file("corpus.txt", corpus().replace("\n\n", "\n<|endoftext|>\n"));
    let said = told(arguments);
    assert!(said.contains("times <|endoftext|> in the text ends a document"), "{said}");
}

/// The ids of what is trained say what is in a corpus: truncation, padding and dropout in a tokenizer change nothing.
#[test]
fn what_a_tokenizer_would_do_to_batches_changes_no_result() {
    let folder = Folder::new();
    let first = folder.with_preset(&preset_with("context = 32", "context = 300"));
    let tasks = ["--tasks", "math:max_steps=2", "--plan"].map(String::from);
    Finished::of(&mut tradeoff(first.iter().chain(&tasks))).success();
    let paths = super::common::paths(&folder.out().join("runs"));
    let plain = paths.iter().find(|path| path.ends_with("tokenizer.json")).expect("a run keeps its tokenizer");
    let plain = std::fs::read_to_string(plain).unwrap();
    let with = |changes: &[(&str, serde_json::Value)]| {
        let mut json: serde_json::Value = serde_json::from_str(&plain).unwrap();
        for (pointer, value) in changes {
            *json.pointer_mut(pointer).unwrap() = value.clone();
        }
        let tokenizer = folder.file("changed.json", json.to_string());
        let more = ["--tokenizer".to_string(), tokenizer];
        Finished::of(&mut tradeoff(first.iter().chain(&tasks).chain(&more))).success()
    };
    let expected = with(&[]);
    let truncation =
        serde_json::json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
    assert_eq!(with(&[("/truncation", truncation), ("/model/dropout", serde_json::json!(0.5))]), expected);
}

/// Compressed text, a field of another name, several files by a pattern, wide ids: what is told says what was read.
#[test]
fn corpora_of_every_kind_are_read_as_what_they_are() {
    let folder = Folder::new();
    let text = corpus();
    let documents: Vec<&str> = text.split("\n\n").collect();
    let half = documents.len() / 2;
    for (name, documents) in [("part-1.jsonl", &documents[..half]), ("part-2.jsonl", &documents[half..])] {
        let lines: String = documents.iter().map(|text| serde_json::json!({"body": text}).to_string() + "\n").collect();
        folder.file(name, lines);
    }
    let common = [
        "--preset",
        &folder.file("bytes.toml", of_bytes()),
        "--out",
        &folder.path("out"),
        "--tasks",
        "math:max_steps=2",
        "--set",
        "model.context=700",
        "--plan",
    ]
    .map(String::from);
    let read = |more: &[&str]| {
        let ended = Finished::of(&mut tradeoff(common.iter().cloned().chain(more.iter().map(|word| word.to_string()))));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    let said = read(&["--corpus", &folder.path("part-*.jsonl"), "--text-field", "body"]);
    assert!(said.contains("corpus: part-*.jsonl, 0.1 MB"), "{said}");
    let both = read(&[
        "--corpus",
        &folder.path("part-1.jsonl"),
        "--corpus",
        &folder.path("part-2.jsonl"),
        "--text-field",
        "body",
    ]);
    assert!(both.contains("corpus: part-1.jsonl and 1 more, 0.1 MB"), "{both}");
    let fingerprint = |said: &str| said.split("sha256 ").nth(1).unwrap()[..8].to_string();
    assert_eq!(fingerprint(&said), fingerprint(&both));
    let tokenizer = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null, "decoder": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"a": 0, "<|im_end|>": 1, "b": 699}, "unk_token": "a"}});
    let tokenizer = folder.file("tokenizer.json", tokenizer.to_string());
    let ids: Vec<u8> = (0..20_000_u32).flat_map(|i| (i * 7 % 700).to_le_bytes()).collect();
    let wide = folder.file("wide.bin", ids);
    let said = read(&["--corpus", &wide, "--tokenizer", &tokenizer, "--end-of-text", "<|im_end|>"]);
    assert!(said.contains("wide.bin: read as 32-bit ids") && said.contains("corpus: wide.bin, 20000 tokens"), "{said}");
    let mut arguments: Vec<String> = common.to_vec();
    arguments.extend(["--quiet", "--corpus", &wide, "--tokenizer", &tokenizer].map(String::from));
    assert!(Finished::of(&mut tradeoff(&arguments)).refusal().contains("--end-of-text TOKEN"));
}

/// Ids stay in their file while a network is trained on them.
#[test]
fn a_network_is_trained_on_ids_where_they_lie() {
    let folder = Folder::new();
    let words: serde_json::Map<String, serde_json::Value> =
        (0..300).map(|id| (format!("w{id}"), id.into())).chain([("</s>".to_string(), 300.into())]).collect();
    let tokenizer = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null, "decoder": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}});
    let tokenizer = folder.file("tokenizer.json", tokenizer.to_string());
    let ids: Vec<u8> = (0..8000_u32).flat_map(|i| ((i * i) % 299).to_le_bytes()[..2].to_vec()).collect();
    let corpus = folder.file("ids.bin", ids);
    let task =
        folder.file("t.jsonl", rows(60, |i| serde_json::json!({"prompt": format!("w{i} w1"), "completion": "w2"})));
    let mut arguments = small(&folder, &of_bytes(), &["--task", &task, "--tokenizer", &tokenizer]);
    let place = arguments.iter().position(|argument| argument == "--corpus").unwrap();
    arguments[place + 1] = corpus;
    Finished::of(&mut tradeoff(&arguments)).success();
    assert_eq!(folder.results().lines().count(), 1 + 2 * 4);
    let kept: Vec<_> = super::common::paths(&folder.out().join("runs"))
        .into_iter()
        .filter(|path| path.ends_with("train.u32"))
        .collect();
    assert!(kept.is_empty(), "{kept:?}");
}
