//! Bad input: each is one line that says what is wrong, exit code 2, in bounded memory, and nothing that was finished
//! is lost.

use std::collections::BTreeMap;

use super::common::{Finished, Folder, assert_same_files, finished, limited, preset_with, tradeoff};

/// The address space of every program here, in kilobytes.
const SPACE: u64 = 3 << 20;

/// Runs `tradeoff` on a folder with a finished run and a changed set of arguments; the refusal must name all of
/// `named`, and the folder must then be as good as before.
#[track_caller]
fn assert_refused(folder: &Folder, arguments: Vec<String>, named: &[&str]) {
    let line = Finished::of(&mut limited(SPACE, "tradeoff", &arguments)).refusal();
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
fn a_change_by_a_flag_is_refused_with_its_field() {
    let folder = Folder::with_finished_run();
    let cases = [
        ("", "set: found nothing, expected KEY=VALUE"),
        ("seeds", "set: found seeds, expected KEY=VALUE"),
        ("=3", "set: found =3, expected KEY=VALUE"),
        ("seeds=", "seeds: found \"\", expected another value"),
        ("seeds=3.5", "seeds: found 3.5, expected another value"),
        ("seeds=-1", "seeds: found -1, expected another value"),
        ("seeds=[3]", "seeds: found [3], expected another value"),
        ("seeds=true", "seeds: found true, expected another value"),
        ("seeds=99999999999999999999", "seeds: found \"99999999999999999999\", expected another value"),
        // A line end would begin another key.
        ("seeds=3\npair=3", "expected another value: invalid type: string \"3\\npair=3\""),
        ("nothing=1", "nothing: found 1, expected a field of this preset (see --print-config)"),
        ("model=3", "model: found 3, expected another value"),
        ("model..width=3", "model..width: found 3, expected a field of this preset"),
        ("methods.nope.rates=[1]", "methods.nope.rates: found [1], expected a field of this preset"),
        ("methods.adamw.rates=[0]", "rates of method adamw: found 0, expected a positive number"),
        ("methods.adamw.rates=[nan]", "rates of method adamw: found NaN, expected a positive number"),
        ("methods.adamw.rates=[1,1]", "rates of method adamw: found 1 twice, expected distinct learning rates"),
        ("checkpoints.muon.steps=0", "checkpoints.muon.steps: found 0, expected at least 1"),
        ("checkpoints.muon.hidden-rate=-1", "checkpoints.muon.hidden-rate: found -1, expected a positive number"),
        ("tasks=code", "tasks: found \"code\", expected another value"),
        ("tasks=[\"\"]", "tasks: found nothing, expected one of code, math, strings"),
        ("evaluation.held-out=0", "evaluation.held-out: found 0, expected a share between 0 and 1"),
        ("evaluation.held-out=nan", "evaluation.held-out: found NaN, expected a share"),
        ("pretrain.clip=0", "pretrain.clip: found 0, expected a positive number"),
        ("pretrain.warmup=1.1", "pretrain.warmup: found 1.1, expected a share between 0 and 1"),
        ("pretrain.decay=\"x\"", "expected one of `constant`, `linear`, `cosine`, `wsd`"),
        ("finetune.state=\"x\"", "expected `fresh` or `carried`"),
        ("pair=[\"adamw\"]", "found 1 names (adamw), expected a pair of two"),
        ("pair=[\"adamw\",\"adamw\"]", "pair: found adamw, expected two different checkpoints"),
        ("pair=[]", "pair: found none, expected the names of two checkpoints"),
        ("first-seed=-1", "first-seed: found -1, expected another value"),
        ("name=3", "name: found 3, expected another value"),
        ("model.heads=0", "model.heads: found 0, expected at least 1"),
    ];
    for (change, named) in cases {
        assert_refused(&folder, with(folder.tiny(), "--set", change), &[named]);
    }
    // Tables inside tables, as deep as an argument may be long.
    let deep = format!("{}=1", "a.".repeat(60_000) + "a");
    assert_refused(&folder, with(folder.tiny(), "--set", &deep), &["expected a field of this preset"]);
}

#[test]
fn an_own_task_that_cannot_be_learned_is_refused_with_its_place() {
    let folder = Folder::with_finished_run();
    let layouts = "expected those of a layout: metamath (query, response), alpaca (instruction, output)";
    let cases: [(&str, &str, &[&str]); 14] = [
        ("half.jsonl", "{\"prompt\":\"a\"}\n", &["found the fields prompt", layouts]),
        ("list.jsonl", "[1]\n", &[":1: found JSON that is no object"]),
        (
            "nothing.jsonl",
            &"{\"prompt\":\"\",\"completion\":\"\"}\n".repeat(50),
            &[":1: found an empty prompt", "50 of 50 rows"],
        ),
        ("empty.jsonl", "", &["the file is empty, expected text"]),
        ("one.jsonl", "{\"prompt\":\"q\",\"completion\":\"a\"}\n", &["among the 1 of", "held-out = 0.2"]),
        ("short.csv", "a,b\n1\n", &[":2: found 1 fields, expected 2, as in the header"]),
        ("open.csv", "prompt,completion\n\"open,1\n", &[":2: found 1 fields, expected 2"]),
        ("object.json", "{}", &["found the fields none", layouts]),
        ("numbers.json", "[1,2]", &[", row 1: found JSON that is no object", "2 of 2 rows"]),
        ("cut.json", "{\"a\":", &[":1: found broken JSON (it ends at column 6"]),
        ("silent.jsonl", "{\"messages\":[]}\n", &[":1: found no answer in the field \"messages\""]),
        ("asked.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n", &[":1: found no answer"]),
        ("role.jsonl", "{\"messages\":[{\"role\":\"x\"}]}\n", &[":1: found the role \"x\" in the field \"messages\""]),
        ("words.txt", "abc", &["tasks: found ", "expected one of code, math, strings"]),
    ];
    for (name, content, named) in cases {
        let path = folder.file(name, content);
        assert_refused(&folder, with(folder.tiny(), "--tasks", &path), &[&[name], named].concat());
    }
}

#[test]
fn a_file_of_finished_stages_that_is_none_is_refused_with_its_line() {
    let folder = Folder::with_finished_run();
    let header = "stage,what,result\n";
    let cases: [(&str, &[u8], &str); 9] = [
        ("none.csv", b"", ", line 1: found ``, expected `stage,what,result`"),
        ("other.csv", b"a,b\n", ", line 1: found `a,b`, expected `stage,what,result`"),
        ("semicolons.csv", b"stage;what;result\n", ", line 1: found `stage;what;result`"),
        ("one.csv", b"x\n", ", line 2: found 1 fields, expected `stage,what,result`"),
        ("four.csv", b"x,y,z,w\n", ", line 2: found 4 fields, expected `stage,what,result`"),
        ("above.csv", b"../x-0123456789abcdef,x,{}\n", ", line 2: found the stage `../x-0123456789abcdef`"),
        ("upper.csv", b"finetune-0123456789ABCDEF,x,{}\n", ", line 2: found the stage `finetune-0123456789ABCDEF`"),
        ("cut.csv", b"finetune-0123456789abcdef,x,{\n", ", line 2: found `{`, expected a result as JSON"),
        ("latin.csv", b"caf\xe9\n", "found bytes that are no UTF-8 in line"),
    ];
    for (name, rows, named) in cases {
        let whole = ["none.csv", "other.csv", "semicolons.csv"].contains(&name);
        let content = if whole { rows.to_vec() } else { [header.as_bytes(), rows].concat() };
        let path = folder.file(name, content);
        assert_refused(&folder, with(folder.tiny(), "--finished", &path), &[name, named]);
    }
}

#[test]
fn a_tokenizer_that_is_none_is_refused_by_its_name() {
    let folder = Folder::with_finished_run();
    let model = |model: &str| format!("{{\"version\":\"1.0\",\"model\":{model}}}");
    let cases = [
        ("empty.json", String::new(), "EOF while parsing"),
        ("object.json", "{}".into(), "Model missing"),
        ("list.json", "[]".into(), "expected struct Tokenizer"),
        ("kind.json", model("{\"type\":\"Nope\"}"), "did not match"),
        ("end.json", model("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}"), "found no token <|endoftext|>"),
        (
            "merge.json",
            model("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}"),
            "Token `b` out of vocabulary",
        ),
        (
            "twice.json",
            model("{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"</s>\":0},\"unk_token\":\"a\"}"),
            "the tokens \"</s>\" and \"a\" with id 0, expected an id for each",
        ),
        (
            "pieces.json",
            model("{\"type\":\"Unigram\",\"vocab\":[[\"</s>\",0.0]],\"unk_id\":5}"),
            "UnkIdNotInVocabulary",
        ),
    ];
    for (name, content, named) in cases {
        let path = folder.file(name, content);
        assert_refused(&folder, with(folder.tiny(), "--tokenizer", &path), &[name, named]);
    }
}

#[test]
fn every_program_says_in_a_line_what_it_cannot_do() {
    let folder = Folder::new();
    folder.file("words.txt", "words");
    let cases: [(&str, &[&str], &str); 35] = [
        ("store", &["list", "--out", "nowhere"], "nowhere: found no run store, expected the --out of an experiment"),
        ("store", &["prune", "--keep", "tradeoff:smoke"], "out: found no run store"),
        ("export-tensorboard", &["--out", "nowhere"], "nowhere: found no run store"),
        ("export-tensorboard", &["--out", "words.txt"], "words.txt: found no run store"),
        ("experiment", &["poem"], "experiment: found poem, expected tradeoff, "),
        ("experiment", &["evidence"], "experiment evidence: found nothing, expected a folder of published rows"),
        ("experiment", &["evidence", "nowhere"], "nowhere/evidence.toml: No such file"),
        ("probe", &["nowhere"], "nowhere: No such file"),
        ("probe", &["."], "found no config.json, expected the folder of a checkpoint, or a .gguf file"),
        ("probe", &["words.txt"], "words.txt: found neither, expected a folder"),
        ("reproduce", &["--only", "poem"], "experiment: found poem, expected tradeoff, "),
        ("reproduce", &["--only", ""], "experiment: found nothing, expected tradeoff, "),
        ("reproduce", &["--preset", "poem"], "preset: found poem, expected "),
        ("tradeoff", &["--corpus", ""], "found nothing, expected a path"),
        ("tradeoff", &["--tokenizer", ""], "found nothing, expected a path"),
        ("tradeoff", &["--shard", "3/2"], "expected I/N with I from 1 to N, as in 2/4"),
        ("tradeoff", &["--seeds", "1..3"], "'1..3' for '--seeds <N>'"),
        ("tradeoff", &["--report-only", "--plan"], "'--report-only' cannot be used with '--plan'"),
        ("theory", &["--preset", "poem"], "preset: found poem, expected quick, standard"),
        ("theory", &["--set", "geometry.seeds=0"], "geometry.seeds: found 0, expected at least 1"),
        ("theory", &["--set", "regularization.seeds=0"], "regularization.seeds: found 0, expected at least 1"),
        ("theory", &["--set", "phase-diagram.grid.seeds=0"], "phase-diagram.grid.seeds: found 0, expected at least 1"),
        ("theory", &["--set", "consistency-matrix.settings=[]"], "consistency-matrix.settings: found "),
        ("theory", &["--set", "consistency-matrix.deep.seeds=0"], "consistency-matrix.deep.seeds: found 0"),
        ("memorization", &["--set", "steps=0"], "steps: found 0, expected at least 1"),
        ("nonces", &["--set", "examples=[]"], "examples: found none, expected at least one"),
        ("nonces", &["--set", "examples=[0]"], "examples: found 0, expected at least 1"),
        ("nonces", &["--set", "placement.ranks=[]"], "placement.ranks: found none, expected at least one"),
        ("landscape", &["--set", "gains=[]"], "gains: found none, expected at least one"),
        ("landscape", &["--set", "gains=[0.1,-0.1]"], "gains: found -0.1, expected a positive number"),
        ("landscape", &["--set", "batches=[0]"], "batches: found [0], expected numbers from 1 on"),
        ("update-structure", &["--set", "level=2"], "level: found 2, expected a share between 0 and 1"),
        (
            "activations",
            &["--set", "evaluation.probe-tokens=0"],
            "evaluation.probe-tokens: found 0, expected at least 1",
        ),
        ("activations", &["--set", "checkpoints.muon.steps=0"], "checkpoints.muon.steps: found 0, expected at least 1"),
        ("optimizer-pairs", &["--set", "regime=0"], "regime: found 0, expected a positive number"),
    ];
    for (name, arguments, named) in cases {
        let line = Finished::of(limited(SPACE, name, arguments).current_dir(folder.root())).refusal();
        assert!(line.starts_with("error: ") && line.contains(named), "{name} {arguments:?}: no `{named}` in `{line}`");
        assert!(!folder.out().exists(), "{name} {arguments:?}: something was begun");
    }
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
        ("--methods", "adamw,muon,adamw", "methods: found adamw twice, expected distinct names"),
        ("--checkpoints", "adamw,adamw", "checkpoints: found adamw twice, expected distinct names"),
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
