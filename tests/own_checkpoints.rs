//! Checkpoints that a user brings: finetuned like those that are pretrained here, known by their content, refused in
//! one line, and written so that others can open what became of them.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::safetensors::load;
use models::checkpoint::{self, Source, SpecialTokens};
use models::{ModelConfig, Tokenizer, Transformer};

use super::common::{Finished, Folder, PRESET, copy, corpus, files, finished, tradeoff};

/// A small network that reads bytes, with random weights of a seed.
fn network(seed: u64, vocabulary: usize) -> Transformer {
    let config = ModelConfig { tied: true, ..ModelConfig::llama(vocabulary, 512, 1, 16, 2, 1) };
    Transformer::new(&config, seed).unwrap()
}

/// Writes a checkpoint as Transformers would have it, with a second token that ends a text.
fn write(folder: &Path, network: &Transformer) {
    fs::create_dir_all(folder).unwrap();
    checkpoint::save(network, folder).unwrap();
    let tokens = SpecialTokens { end: vec![256, 3], begin: Some(2) };
    for (name, text) in checkpoint::files_beside(network.config(), Some(&Tokenizer::Bytes), Some(&tokens)).unwrap() {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("chat_template.jinja"), "{{ messages }}").unwrap();
}

/// A folder with two checkpoints, and the arguments of a run on word problems without any checkpoint.
fn prepared() -> (Folder, Vec<String>) {
    let folder = Folder::new();
    write(&folder.root().join("first"), &network(1, 257));
    write(&folder.root().join("second"), &network(2, 257));
    let preset = PRESET.replace("context = 32", "context = 256");
    let (preset, corpus) = (folder.file("preset.toml", preset), folder.file("corpus.txt", corpus()));
    let out = folder.path("out");
    let arguments = ["--preset", &preset, "--corpus", &corpus, "--out", &out, "--tasks", "math", "--device", "cpu"];
    let arguments = arguments.map(String::from).to_vec();
    (folder, arguments)
}

fn with(arguments: &[String], more: &[&str]) -> Vec<String> {
    arguments.iter().cloned().chain(more.iter().map(|text| (*text).to_owned())).collect()
}

fn stages(folder: &Folder, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.out().join("runs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind)).collect();
    found.sort();
    found
}

#[test]
fn a_checkpoint_is_finetuned_and_the_end_says_what_to_use() {
    let (folder, arguments) = prepared();
    let first = folder.path("first");
    let run = Finished::of(&mut tradeoff(with(&arguments, &["--checkpoint", &first])));
    assert!(run.stderr.contains("What to use from first on math: "), "{}", run.stderr);
    assert!(run.stderr.contains("memory: about "), "{}", run.stderr);
    let report = run.success();
    let page = fs::read_to_string(report.trim()).unwrap();
    for said in ["What to use from first on math", "a seed draws the task", "No verdict on consistency follows"] {
        assert!(page.contains(said), "{said}");
    }
    let results = folder.results();
    // Six methods and rates, two seeds.
    assert_eq!(results.lines().count(), 1 + 6 * 2, "{results}");
    assert!(results.lines().skip(1).all(|line| line.starts_with("math,first,")), "{results}");
    assert!(stages(&folder, "pretrain-").is_empty());
    assert_eq!(stages(&folder, "import-").len(), 1);

    // What became of it opens, with its tokenizer, what ends a text, and how conversations are written.
    for stage in stages(&folder, "finetune-") {
        let finetuned = checkpoint::load(&stage).unwrap();
        assert_eq!(finetuned.config(), network(1, 257).config());
        let tokens = SpecialTokens::of_folder(&stage);
        assert_eq!((tokens.end, tokens.begin), (vec![256, 3], Some(2)));
        let tokenizer = Tokenizer::load(&stage.join("tokenizer.json")).unwrap();
        assert_eq!(tokenizer.encode("a b").unwrap(), [97, 32, 98]);
        assert_eq!(fs::read_to_string(stage.join("chat_template.jinja")).unwrap(), "{{ messages }}");
        assert!(stage.join("tokenizer_config.json").exists());
    }

    // Under another path it is the same checkpoint: nothing is computed anew.
    let before = folder.store();
    let moved = folder.root().join("elsewhere/moved");
    copy(&folder.root().join("first"), &moved);
    fs::remove_dir_all(folder.root().join("first")).unwrap();
    let moved = moved.to_str().unwrap();
    Finished::of(&mut tradeoff(with(&arguments, &["--checkpoint", moved]))).success();
    assert_eq!(folder.store().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(folder.results(), results.replace("math,first,", "math,moved,"));

    // Other weights are another one.
    let plan = |path: &str| Finished::of(&mut tradeoff(with(&arguments, &["--plan", "--checkpoint", path]))).success();
    assert!(plan(moved).lines().all(|line| line.starts_with("done")), "{}", plan(moved));
    let other = plan(&folder.path("second"));
    assert!(other.lines().all(|line| line.starts_with("to do")), "{other}");
    assert!(other.lines().any(|line| line.contains("import second")), "{other}");
}

/// Adapters stand in place of merged weights, and with the checkpoint they are what merging gives.
#[test]
fn adapters_are_kept_for_peft_and_are_what_was_merged() {
    let (folder, arguments) = prepared();
    let first = folder.path("first");
    let brought = ["--quiet", "--checkpoint", &first, "--seeds", "1"];
    let kept = |what: &str| {
        Finished::of(&mut tradeoff(with(&arguments, &[&brought[..], &["--keep", what]].concat()))).success();
        let runs = stages(&folder, "finetune-");
        runs.into_iter().filter(|path| path.join("adapter_config.json").exists()).collect::<Vec<_>>()
    };
    assert!(kept("weights").is_empty());
    let merged = stages(&folder, "finetune-");
    let adapters = kept("adapters,weights");
    assert_eq!(adapters.len(), 1, "the one LoRA run");
    let folder_of = |path: &Path| files(path).into_keys().collect::<Vec<_>>();
    let names = folder_of(&adapters[0]);
    for name in ["adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        assert!(names.iter().any(|other| other == name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "model.safetensors" || name == "config.json"), "{names:?}");

    let said = fs::read_to_string(adapters[0].join("adapter_config.json")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let base = folder.out().join("runs").join(said["base_model_name_or_path"].as_str().unwrap());
    let scale = said["lora_alpha"].as_f64().unwrap() / said["r"].as_f64().unwrap();
    let stored = load(adapters[0].join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let value = |network: &Transformer, name: &str| {
        network.parameters().value(network.parameters().find(name).unwrap()).clone()
    };
    let base = checkpoint::load(&base).unwrap();
    // The run whose every weight is the checkpoint's plus the adapter's.
    let is_it = |merged: &PathBuf| {
        let merged = checkpoint::load(merged).unwrap();
        base.parameters().iter().all(|(_, parameter)| {
            let module = format!("base_model.model.{}", parameter.name.trim_end_matches(".weight"));
            let expected = match stored.get(&format!("{module}.lora_A.weight")) {
                None => parameter.value.clone(),
                Some(a) => {
                    let b = &stored[&format!("{module}.lora_B.weight")];
                    (&parameter.value + (b.matmul(a).unwrap() * scale).unwrap()).unwrap()
                }
            };
            let distance = (value(&merged, &parameter.name) - expected).unwrap().abs().unwrap();
            distance.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-6
        })
    };
    assert_eq!(merged.iter().filter(|merged| is_it(merged)).count(), 1);
    assert!(stored.keys().filter(|name| name.contains("lora_A")).count() == 7, "{:?}", stored.keys());
}

#[test]
fn two_checkpoints_with_their_optimizers_give_the_index() {
    let (folder, arguments) = prepared();
    let (first, second) = (format!("muon={}", folder.path("first")), format!("adamw={}", folder.path("second")));
    let brought = ["--checkpoint", &first, "--checkpoint", &second, "--methods", "adamw,muon", "--quiet"];
    let report = Finished::of(&mut tradeoff(with(&arguments, &brought))).success();
    let effects = fs::read_to_string(folder.out().join("report/effects.csv")).unwrap();
    assert!(effects.lines().any(|line| line.contains(",b,") && line.contains("Muon / AdamW")), "{effects}");
    let page = fs::read_to_string(report.trim()).unwrap();
    assert!(page.contains("index is that of these two checkpoints"));
    assert_eq!(stages(&folder, "import-").len(), 2);
}

#[test]
fn an_example_is_shown_in_the_tokens_of_the_checkpoint() {
    let (folder, arguments) = prepared();
    let brought = ["--checkpoint", &folder.path("first"), "--show-example", "1", "--quiet"];
    let shown = Finished::of(&mut tradeoff(with(&arguments, &brought))).success();
    let ids: Vec<u32> = shown.lines().skip(2).map(|line| line[5..12].trim().parse().unwrap()).collect();
    // Every token is a byte, and the last one ends the text; the preset's own vocabulary has 320.
    assert!(ids.len() > 30 && ids.iter().all(|&id| id <= 256) && ids.last() == Some(&256), "{shown}");
}

#[test]
fn the_preset_of_a_checkpoint_prints_and_reads_back() {
    let (folder, arguments) = prepared();
    let brought = ["--checkpoint", &folder.path("first"), "--print-config"];
    let printed = Finished::of(&mut tradeoff(with(&arguments, &brought))).success();
    assert!(printed.contains("from = \"") && !printed.contains("pair ="), "{printed}");
    let again = folder.file("printed.toml", &printed);
    let printed_again = Finished::of(&mut tradeoff(["--preset", &again, "--print-config"])).success();
    assert_eq!(printed_again, printed);
}

#[test]
fn what_does_not_fit_together_is_refused_before_anything_is_computed() {
    let (folder, arguments) = prepared();
    let refused = |brought: &[&str], named: &[&str]| {
        let line = Finished::of(&mut tradeoff(with(&arguments, &[&["--quiet"], brought].concat()))).refusal();
        for part in named {
            assert!(line.contains(part), "no `{part}` in `{line}`");
        }
        assert!(!folder.out().join("runs").exists() || stages(&folder, "").is_empty(), "{line}");
    };
    let at = |name: &str| folder.path(name);
    let change = |name: &str, change: fn(&Path)| {
        copy(&folder.root().join("first"), &folder.root().join(name));
        change(&folder.root().join(name));
        folder.path(name)
    };
    refused(&["--checkpoint", &at("nowhere")], &["nowhere", "No such file"]);
    refused(&["--checkpoint", &at("corpus.txt")], &["corpus.txt", "a folder with config.json"]);
    let empty = change("empty", |path| fs::remove_file(path.join("config.json")).unwrap());
    refused(&["--checkpoint", &empty], &["empty", "found no config.json"]);
    let dumb = change("dumb", |path| fs::remove_file(path.join("tokenizer.json")).unwrap());
    refused(&["--checkpoint", &dumb], &["dumb", "without a tokenizer", "--tokenizer FILE"]);
    let small = change("small", |path| checkpoint::save(&network(3, 200), path).unwrap());
    refused(&["--checkpoint", &small], &["small", "200 rows of embeddings", "at least 257"]);
    let cut = change("cut", |path| {
        let file = path.join("model.safetensors");
        let bytes = fs::read(&file).unwrap();
        fs::write(file, &bytes[..bytes.len() - 9]).unwrap();
    });
    refused(&["--checkpoint", &cut], &["model.safetensors", "expected a whole safetensors file"]);
    let wide = change("wide", |path| {
        let file = path.join("config.json");
        let text = fs::read_to_string(&file).unwrap().replace("\"model_type\": \"llama\"", "\"model_type\": \"bert\"");
        fs::write(file, text).unwrap();
    });
    refused(&["--checkpoint", &wide], &["config.json", "`model_type`: found `bert`"]);
    let first = at("first");
    let tokenizer = folder.path("first/tokenizer.json");
    let ended = ["--checkpoint", &first, "--tokenizer", &tokenizer, "--end-of-text", "<nowhere>"];
    refused(&ended, &["tokenizer.json", "<nowhere>"]);
    refused(&["--checkpoint", &first, "--set", "checkpoints.first.steps=3"], &["checkpoint first", "steps"]);
    let rank = ["--quiet", "--checkpoint", &first, "--set", "methods.lora-2.lora-rank=99"];
    let line = Finished::of(&mut tradeoff(with(&arguments, &rank))).refusal();
    assert!(line.contains("rank: found 99, expected 1 to the width, 16"), "{line}");
}

/// What was pretrained here is a checkpoint of one's own too.
#[test]
fn every_folder_with_weights_has_its_tokenizer_and_the_token_that_ends_a_text() {
    for kind in ["pretrain-", "finetune-"] {
        let folders = stages(finished(), kind);
        assert!(!folders.is_empty(), "{kind}");
        for folder in folders {
            let tokenizer = Tokenizer::load(&folder.join("tokenizer.json")).unwrap();
            let end = tokenizer.end_of_text();
            assert_eq!(SpecialTokens::of_folder(&folder), SpecialTokens::one(end));
            for name in ["config.json", "generation_config.json", "tokenizer_config.json"] {
                let text = fs::read_to_string(folder.join(name)).unwrap();
                let named = if name.starts_with("tokenizer") { "eos_token\"" } else { "eos_token_id\"" };
                assert!(text.contains(named), "{name}: {text}");
            }
            let source = Source::open(&folder).unwrap();
            assert_eq!(source.config().vocabulary, tokenizer.vocabulary());
            source.read().unwrap();
        }
    }
}

/// Other experiments pretrain what they look at.
#[test]
fn an_experiment_on_pretrained_checkpoints_says_that_it_takes_no_others() {
    let (folder, arguments) = prepared();
    let brought = ["--checkpoint", &folder.path("first"), "--print-config"];
    let printed = Finished::of(&mut tradeoff(with(&arguments, &brought))).success();
    let base = folder.file("base.toml", printed);
    let set = format!("base={base}");
    let arguments = ["--preset", "smoke", "--set", &set, "--quiet", "--out", &folder.path("out")];
    let line = Finished::of(&mut super::common::program("landscape", arguments)).refusal();
    assert!(line.contains("first from") && line.contains("pretrained here"), "{line}");
}

/// Llama-2-7B's own configuration.
const SEVEN_BILLION: &str = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "float16", "vocab_size": 32000, "bos_token_id": 1,
    "eos_token_id": 2}"#;

/// Stand-ins of the tasks of `paper`, and the changes of a preset that name them.
fn tasks_of_the_paper(folder: &Folder) -> Vec<String> {
    let rows = |row: &dyn Fn(usize) -> serde_json::Value| (0..60).map(row).collect::<Vec<_>>();
    let metamath =
        rows(&|i| serde_json::json!({"query": format!("What is {i} and 1?"), "response": format!("#### {}", i + 1)}));
    let alpaca = rows(
        &|i| serde_json::json!({"instruction": format!("Name {i}."), "input": "", "output": format!("It is {i}.")}),
    );
    let magicoder = rows(
        &|i| serde_json::json!({"seed": "x", "problem": format!("Print {i}."), "solution": format!("print({i})"), "lang": "python"}),
    );
    let lines: Vec<String> = magicoder.iter().map(ToString::to_string).collect();
    let files = [
        ("metamath", folder.file("metamath.json", serde_json::to_string(&metamath).unwrap())),
        ("alpaca", folder.file("alpaca.json", serde_json::to_string(&alpaca).unwrap())),
        ("magicoder", folder.file("magicoder.jsonl", lines.join("\n"))),
    ];
    files.into_iter().flat_map(|(task, file)| ["--set".to_owned(), format!("task-files.{task}.file={file}")]).collect()
}

const TASKS: [&str; 3] = ["metamath", "alpaca", "magicoder"];

#[test]
fn the_preset_of_the_paper_is_planned_from_files_and_nothing_is_trained() {
    let folder = Folder::new();
    let text = corpus();
    let tokenizer = Tokenizer::train_bpe([text.as_str()].into_iter(), 300).unwrap();
    let json = folder.file("tokenizer.json", tokenizer.to_json().unwrap().unwrap());
    let ids: Vec<u8> = (0..500_000_u32).flat_map(|i| ((i * 7919 % 300) as u16).to_le_bytes()).collect();
    let (ids, out) = (folder.file("train.bin", ids), folder.path("out"));
    let arguments = ["--preset", "paper", "--plan", "--out", &out, "--device", "cpu", "--corpus", &ids];
    let arguments: Vec<String> = arguments.map(String::from).to_vec();
    let arguments = [arguments, vec!["--tokenizer".into(), json, "--seeds".into(), "1".into()]].concat();
    let ended = Finished::of(&mut tradeoff(with(&arguments, &[]).into_iter().chain(tasks_of_the_paper(&folder))));
    for said in ["memory: about ", "tokens/s", "task metamath: 60 examples", "(alpaca)", "(magicoder-oss)"] {
        assert!(ended.stderr.contains(said), "no `{said}` in {}", ended.stderr);
    }
    let plan = ended.success();
    for optimizer in ["adamw", "muon"] {
        assert!(plan.lines().any(|line| line.contains(&format!("pretrain {optimizer} seed 0"))), "{plan}");
        for (task, method) in TASKS
            .iter()
            .flat_map(|task| ["adamw", "muon", "sgd", "lora-16", "lora-64", "lora-256"].map(|method| (task, method)))
        {
            let label = format!("finetune {optimizer} on {task} with {method} at ");
            assert_eq!(plan.lines().filter(|line| line.contains(&label)).count(), 5, "{label}");
        }
    }
    // A pretraining is 5000 steps of 480 sequences of 1024 tokens.
    assert!(plan.contains("2457.6"), "{plan}");
    assert!(stages(&folder, "").iter().all(|path| path.file_name().unwrap().to_string_lossy().starts_with("tokens-")));
}

#[test]
fn a_network_of_seven_billion_is_planned_from_its_configuration_alone() {
    let folder = Folder::new();
    let base = folder.root().join("base");
    fs::create_dir_all(&base).unwrap();
    fs::write(base.join("config.json"), SEVEN_BILLION).unwrap();
    let config = ModelConfig::gpt2(257, 8, 1, 8, 1);
    for (name, text) in checkpoint::files_beside(&config, Some(&Tokenizer::Bytes), None).unwrap() {
        if name == "tokenizer.json" {
            fs::write(base.join(name), text).unwrap();
        }
    }
    let (text, out, base) = (folder.file("general.txt", corpus()), folder.path("out"), folder.path("base"));
    let arguments = ["--preset", "llama-7b", "--out", &out, "--device", "cpu", "--corpus", &text, "--seeds", "1"];
    let arguments = with(&arguments.map(String::from), &["--checkpoint", &format!("adamw={base}")]);
    let arguments = [arguments, tasks_of_the_paper(&folder)].concat();
    let ended = Finished::of(&mut tradeoff(with(&arguments, &["--plan"])));
    for said in
        ["has no weights", "under other ids", "network: 6738415616 parameters", "GB a job (lora-16 ", "tokens/s"]
    {
        assert!(ended.stderr.contains(said), "no `{said}` in {}", ended.stderr);
    }
    let plan = ended.success();
    assert!(plan.lines().any(|line| line.contains("import adamw")), "{plan}");
    for (task, method) in TASKS.iter().flat_map(|task| ["adamw", "muon", "sgd", "lora-64"].map(|method| (task, method)))
    {
        let label = format!("finetune adamw on {task} with {method} at ");
        assert_eq!(plan.lines().filter(|line| line.contains(&label)).count(), 4, "{label}");
    }
    // A run needs the weights.
    let line = Finished::of(&mut tradeoff(with(&arguments, &["--quiet"]))).refusal();
    assert!(line.contains("base") && line.contains("found neither, expected model.safetensors"), "{line}");
}
