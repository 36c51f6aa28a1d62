//! Checkpoints of every supported family, type of number, sharding and quantisation against Transformers' logits of the
//! same files. `vectors/make_checkpoints.py` made them.

use candle_core::{Device, Tensor};
use models::checkpoint::{self, Source};
use models::{AttentionBias, Positions, RotaryScaling, Tokenizer, Transformer};

use crate::support::{Vectors, assert_close, floats, relative_error, vector_path};

/// Relative, in the Frobenius norm. Measured: at most 6e-7.
const TOLERANCE: f64 = 1e-4;

const FOLDERS: [&str; 7] = [
    "gpt2-bf16-sharded",
    "gpt2-f16-untied",
    "llama-bf16",
    "llama-f32-linear",
    "mistral-f16",
    "qwen2-f16-sharded",
    "qwen3-f32",
];
const FILES: [&str; 3] = ["llama.gguf", "qwen2.gguf", "gpt2.gguf"];

fn open(name: &str) -> Source {
    Source::open(&vector_path(&format!("checkpoints/{name}"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(name: &str) -> Transformer {
    open(name).read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The stored input and logits of a checkpoint.
fn expected(name: &str) -> (Vec<u32>, Tensor) {
    let vectors = Vectors::open(&format!("checkpoints/{}.expected.safetensors", name.trim_end_matches(".gguf")));
    let ids = vectors.get("ids").flatten_all().unwrap().to_vec1::<i64>().unwrap();
    (ids.into_iter().map(|id| id as u32).collect(), vectors.get("logits").reshape((24, 61)).unwrap())
}

fn check(name: &str) {
    let (ids, logits) = expected(name);
    let found = read(name).logits(&ids, 12).unwrap();
    println!("{name}: relative error {:.1e}", relative_error(&found, &logits));
    assert_close(name, &found, &logits, TOLERANCE);
}

#[test]
fn folders_of_every_family_type_and_sharding_have_the_logits_of_transformers() {
    FOLDERS.into_iter().for_each(check);
}

#[test]
fn gguf_files_of_every_family_and_quantisation_have_the_logits_of_transformers() {
    FILES.into_iter().for_each(check);
}

/// What was read is what the vectors are there for.
#[test]
fn shapes_are_those_of_the_files() {
    let config = |name| open(name).config().clone();
    let llama = config("llama-bf16");
    assert_eq!((llama.head_features, llama.kv_heads, llama.tied), (Some(8), 2, true));
    assert_eq!(llama.attention_bias, AttentionBias::All);
    let scaling = RotaryScaling::Llama3 { factor: 4.0, low: 1.0, high: 4.0, original: 16 };
    assert_eq!(llama.positions, Positions::Rotary { theta: 5e5, scaling: Some(scaling) });
    assert!(config("llama-f32-linear").bias);
    assert_eq!(config("gpt2-f16-untied").mlp_width, 56);
    assert!(!config("gpt2-f16-untied").tied && config("gpt2-bf16-sharded").tied);
    assert_eq!(config("qwen2-f16-sharded").attention_bias, AttentionBias::Inputs);
    assert!(config("qwen3-f32").head_norms);
    assert!(open("gpt2-bf16-sharded").files().len() > 3);

    let gguf = config("llama.gguf");
    assert_eq!(gguf.positions, Positions::Rotary { theta: 1e4, scaling: Some(scaling) });
    assert_eq!((gguf.norm_eps, gguf.tied, gguf.vocabulary), (1e-5, false, 61));
    assert_eq!(config("qwen2.gguf").attention_bias, AttentionBias::Inputs);
    assert!(config("qwen2.gguf").tied);
}

/// Whatever it was read from, a checkpoint is written so that it comes back to the bit.
#[test]
fn what_was_read_is_written_and_read_again_unchanged() {
    for name in FOLDERS.into_iter().chain(FILES) {
        let model = read(name);
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save(&model, folder.path()).unwrap();
        let back = checkpoint::load(folder.path()).unwrap();
        assert_eq!(back.config(), model.config(), "{name}");
        let (ids, _) = expected(name);
        let logits = |model: &Transformer| floats(&model.logits(&ids, 12).unwrap());
        assert_eq!(logits(&back), logits(&model), "{name}");
    }
}

#[test]
fn a_gguf_files_tokenizer_becomes_a_byte_level_bpe() {
    let source = open("llama.gguf");
    let tokenizer = Tokenizer::from_json(&source.tokenizer_json().unwrap().unwrap()).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.end_of_text()), (61, 0));
    assert_eq!(source.special_tokens().end, [0]);
    let tokens = tokenizer.encode("the 12 and the").unwrap();
    let text = |tokens: &[u32]| tokens.iter().map(|t| tokenizer.decode(&[*t]).unwrap()).collect::<Vec<_>>();
    // Digits one by one, the merge of " the" as one.
    assert_eq!(text(&tokens), ["the", " ", "1", "2", " a", "n", "d", " the"]);
}

#[derive(serde::Deserialize)]
struct Tokenised {
    text: String,
    ids: Vec<u32>,
}

/// `vectors/make_sentencepiece.py` asked the SentencePiece library itself, and Transformers.
#[test]
fn a_gguf_files_sentencepiece_tokenizer_gives_the_ids_of_the_library() {
    let source = open("sentencepiece.gguf");
    let tokenizer = Tokenizer::from_json(&source.tokenizer_json().unwrap().unwrap()).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.end_of_text()), (420, 2));
    assert_eq!((source.special_tokens().end.clone(), source.special_tokens().begin), (vec![2], Some(1)));
    let expected = std::fs::read_to_string(vector_path("checkpoints/sentencepiece.expected.json")).unwrap();
    let expected: Vec<Tokenised> = serde_json::from_str(&expected).unwrap();
    assert!(expected.len() > 10);
    for Tokenised { text, ids } in expected {
        assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{text:?}");
        // A mark that stands for a space reads as one.
        let back = text.replace('\u{2581}', " ");
        assert_eq!(tokenizer.decode(&ids).unwrap(), back);
    }
    // The end of text is found in text, and is no part of it.
    assert_eq!(tokenizer.encode("a</s>").unwrap(), tokenizer.encode("a").unwrap());
}

#[test]
fn a_gguf_tokenizer_that_cannot_be_read_is_named_with_its_key() {
    let bytes = std::fs::read(vector_path("checkpoints/sentencepiece.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    let place = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    let refused = |at: usize, changed: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + changed.len()].copy_from_slice(changed);
        std::fs::write(&path, bytes).unwrap();
        Source::open(&path).unwrap().tokenizer_json().unwrap_err().to_string()
    };
    let model = b"tokenizer.ggml.model";
    // Behind a key are four bytes of its type and eight of the text's length.
    let message = refused(place(model) + model.len() + 12, b"other");
    assert!(message.contains("`tokenizer.ggml.model`: found other, expected gpt2 or llama"), "{message}");
    for (key, found) in
        [("scores", "`tokenizer.ggml.scores`: found none"), ("tokens", "`tokenizer.ggml.tokens`: found none")]
    {
        let key = format!("tokenizer.ggml.{key}");
        let message = refused(place(key.as_bytes()) + key.len() - 1, b"X");
        assert!(message.contains(found) && message.contains("tokenizer.json beside the file"), "{message}");
    }
}

/// A copy of a vector's folder, of which files can be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(vector_path(&format!("checkpoints/{name}"))).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

#[track_caller]
fn assert_refused(path: &std::path::Path, named: &[&str]) {
    let error = Source::open(path).and_then(|source| source.read()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    for part in named {
        assert!(error.contains(part), "no `{part}` in `{error}`");
    }
}

#[test]
fn a_missing_shard_is_named() {
    let folder = copy("gpt2-bf16-sharded");
    std::fs::remove_file(folder.path().join("model-00003-of-00007.safetensors")).unwrap();
    assert_refused(folder.path(), &["index.json", "model-00003-of-00007.safetensors is missing"]);
    let index = folder.path().join("model.safetensors.index.json");
    for (text, named) in [
        ("{", "weight_map"),
        ("{\"weight_map\": {}}", "found no shard"),
        ("{\"weight_map\": {\"a\": \"../model.safetensors\"}}", "found `../model.safetensors`"),
    ] {
        std::fs::write(&index, text).unwrap();
        assert_refused(folder.path(), &["index.json", named]);
    }
}

#[test]
fn a_tensor_of_another_shape_or_type_is_named_with_both() {
    let folder = copy("llama-bf16");
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"vocab_size\": 61", "\"vocab_size\": 64")).unwrap();
    assert_refused(folder.path(), &["model.embed_tokens.weight", "[61, 24]", "[64, 24]"]);
    std::fs::write(&config, text.replace("\"attention_bias\": true", "\"attention_bias\": false")).unwrap();
    assert_refused(folder.path(), &["model.safetensors", "self_attn.k_proj.bias", "belongs to no parameter"]);
    std::fs::write(&config, text.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")).unwrap();
    assert_refused(folder.path(), &["model.layers.2", "is missing"]);
    std::fs::write(&config, text).unwrap();
    let mut tensors = candle_core::safetensors::load(folder.path().join("model.safetensors"), &Device::Cpu).unwrap();
    tensors.insert("model.norm.weight".into(), Tensor::zeros(24, candle_core::DType::U8, &Device::Cpu).unwrap());
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
    assert_refused(folder.path(), &["model.norm.weight", "found U8", "expected F32, F16 or BF16"]);
}

/// Other sizes follow from it by products.
#[test]
fn a_width_beyond_any_memory_is_one_line() {
    for (name, key) in [("gpt2-f16-untied", "n_embd"), ("llama-bf16", "hidden_size")] {
        let folder = copy(name);
        let config = folder.path().join("config.json");
        let mut read: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        for width in [1_u64 << 40, 1 << 62, 1 << 63] {
            read[key] = width.into();
            std::fs::write(&config, read.to_string()).unwrap();
            assert_refused(folder.path(), &[&width.to_string()]);
        }
    }
}

#[test]
fn what_is_no_checkpoint_says_what_would_be_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(folder.path(), &["found no config.json"]);
    assert_refused(&folder.path().join("nowhere"), &["nowhere", "No such file"]);
    let file = folder.path().join("model.onnx");
    std::fs::write(&file, "x").unwrap();
    assert_refused(&file, &["model.onnx", ".gguf file"]);
    std::fs::copy(vector_path("checkpoints/llama-bf16/config.json"), folder.path().join("config.json")).unwrap();
    assert_refused(folder.path(), &["found neither", "model.safetensors"]);
    std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
    assert_refused(folder.path(), &["found pytorch_model.bin", "model.safetensors"]);
}

#[test]
fn a_cut_or_foreign_gguf_file_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(vector_path("checkpoints/qwen2.gguf")).unwrap();
    let file = folder.path().join("cut.gguf");
    for length in [0, 3, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        assert_refused(&file, &["cut.gguf"]);
    }
    let mut other = bytes;
    let place = other.windows(5).position(|five| five == b"qwen2").unwrap();
    other[place..place + 5].copy_from_slice(b"mamba");
    std::fs::write(&file, other).unwrap();
    assert_refused(&file, &["general.architecture", "found mamba", "expected llama"]);
}

/// The library that reads it makes a slice of a pointer that is not aligned: where that is checked, the process ends.
#[test]
fn a_tensor_of_nothing_is_one_line() {
    let mut bytes = std::fs::read(vector_path("checkpoints/qwen2.gguf")).unwrap();
    let name = b"output_norm.weight";
    let behind = name.len() + bytes.windows(name.len()).position(|some| some == name).unwrap();
    // The number of dimensions, u32, and the first of them, u64.
    assert_eq!(bytes[behind..behind + 4], 1_u32.to_le_bytes());
    bytes[behind + 4..behind + 12].fill(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.gguf");
    std::fs::write(&file, bytes).unwrap();
    assert_refused(&file, &["nothing.gguf", "`output_norm.weight`: found [0], expected 1 to"]);
}

/// The library that reads the header divides by it.
#[test]
fn an_alignment_of_zero_is_one_line() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    let key = "general.alignment";
    for count in [0_u64, 1, key.len() as u64] {
        bytes.extend(count.to_le_bytes());
    }
    bytes.extend(key.bytes());
    // Of type u32.
    bytes.extend([4_u32, 0].into_iter().flat_map(u32::to_le_bytes));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zero.gguf");
    std::fs::write(&file, bytes).unwrap();
    assert_refused(&file, &["zero.gguf", "expected a whole GGUF file"]);
}
