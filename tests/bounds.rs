//! Numbers and sizes that make no sense: each is one line with the field or flag, exit code 2, in a moment and with
//! little memory, whatever was asked for.

use std::time::Instant;

use super::common::{Finished, Folder, limited};

/// Runs a program that may have two gigabytes; it must refuse in one line that names the part, soon.
#[track_caller]
fn assert_refused(folder: &Folder, name: &str, arguments: &[&str], named: &str) {
    let start = Instant::now();
    let ended = Finished::of(limited(2 << 20, name, arguments).current_dir(folder.root()));
    let line = ended.refusal();
    assert!(line.starts_with("error: ") && line.contains(named), "{name} {arguments:?}: no `{named}` in `{line}`");
    assert!(line.len() < 2000, "{name} {arguments:?}: {} bytes", line.len());
    assert!(start.elapsed().as_secs() < 20, "{name} {arguments:?}: {:?}", start.elapsed());
    assert!(!folder.out().join("runs").exists(), "{name} {arguments:?}: something was begun");
}

/// Each field of whole numbers is tried with numbers from just above its bound to the largest that TOML knows.
#[test]
fn no_size_of_a_preset_is_without_a_bound() {
    let folder = Folder::new();
    let fields: [(&str, &[&str]); 8] = [
        (
            "tradeoff",
            &[
                "seeds",
                "model.vocabulary",
                "model.context",
                "model.layers",
                "model.width",
                "model.heads",
                "pretrain.sequences",
                "pretrain.micro-batch",
                "pretrain.curve-points",
                "finetune.steps",
                "finetune.sequences",
                "finetune.along",
                "evaluation.pretrain-windows",
                "evaluation.task-windows",
                "evaluation.task-examples",
                "evaluation.decoded",
                "evaluation.train-examples",
                "checkpoints.adamw.steps",
                "methods.lora-4.lora-rank",
                "corpus.prose-bytes",
            ],
        ),
        ("activations", &["seeds", "model.width", "evaluation.probe-tokens", "checkpoints.adamw.steps"]),
        (
            "memorization",
            &[
                "seeds",
                "tuning-seeds",
                "steps",
                "network.context",
                "network.layers",
                "network.width",
                "training.sequences",
                "probes.training",
                "language.key-symbols",
                "language.key-length",
                "language.values",
            ],
        ),
        (
            "nonces",
            &[
                "seeds",
                "tuning-seeds",
                "steps",
                "probes",
                "network.context",
                "network.width",
                "finetune.epochs",
                "finetune.sequences",
                "language.facts",
                "language.key-symbols",
                "language.nonce-symbols",
                "placement.directions",
            ],
        ),
        ("rotation", &["seeds", "rotations"]),
        ("landscape", &["rank", "draws", "curvature-windows"]),
        ("update-structure", &["seeds", "rank"]),
        ("optimizer-pairs", &["steps", "sequences", "task-examples", "decoded"]),
    ];
    let mut cases = 0;
    for (name, fields) in fields {
        for field in fields {
            for value in ["2147483648", "4294967296", "9223372036854775807"] {
                let set = format!("{field}={value}");
                let last = field.rsplit('.').next().unwrap();
                assert_refused(&folder, name, &["--preset", "smoke", "--set", &set, "--print-config"], last);
                cases += 1;
            }
        }
    }
    for field in ["geometry.seeds", "geometry.inputs", "phase-diagram.grid.seeds", "regularization.hidden"] {
        for value in ["100000", "2147483648", "4294967296", "9223372036854775807"] {
            assert_refused(&folder, "theory", &["--set", &format!("{field}={value}"), "--quiet"], field);
            cases += 1;
        }
    }
    assert!(cases > 100, "{cases}");
}

#[test]
fn no_number_of_a_flag_is_without_a_bound() {
    let folder = Folder::new();
    let cases: [(&str, &[&str], &str); 17] = [
        ("tradeoff", &["--seeds", "1000000000"], "seeds: found 1000000000, expected at most 10000"),
        ("tradeoff", &["--seeds", "18446744073709551615"], "seeds: found "),
        ("tradeoff", &["--seeds", "18446744073709551616"], "'18446744073709551616' for '--seeds <N>'"),
        ("tradeoff", &["--jobs", "1000000000"], "jobs: found 1000000000, expected at most 4096"),
        ("tradeoff", &["--snapshot-every", "1e300"], "snapshot-every: found 1"),
        ("tradeoff", &["--snapshot-every", "NaN"], "snapshot-every: found NaN"),
        ("tradeoff", &["--shard", "3/2"], "'3/2' for '--shard <I/N>': expected I/N with I from 1 to N"),
        ("reproduce", &["--preset", "smoke", "--seeds", "1000000000"], "seeds: found 1000000000"),
        ("train-bench", &["--rounds", "0"], "'0' for '--rounds <N>': 0 is not in 1..=1000"),
        ("train-bench", &["--rounds", "4294967296"], "'4294967296' for '--rounds <N>'"),
        ("train-bench", &["step", "tiny", "adamw", "--batch", "9223372036854775807"], "for '--batch <N>'"),
        ("train-bench", &["step", "tiny", "adamw", "--micro-batch", "0"], "for '--micro-batch <N>'"),
        ("train-bench", &["parity", "--steps", "99999999999"], "for '--steps <N>'"),
        ("train-bench", &["gpu", "--batch", "99999999999"], "for '--batch <N>'"),
        ("tradeoff", &["--slurm", "--slurm-set", "tasks=99999999999"], "slurm.tasks: found 99999999999"),
        ("tradeoff", &["--slurm", "--slurm-set", "tasks=0"], "slurm.tasks: found 0"),
        ("tradeoff", &["--slurm-set", "tasks=1"], "--slurm"),
    ];
    for (name, arguments, named) in cases {
        assert_refused(&folder, name, arguments, named);
    }
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 16] = [
        (&["pair=[\"adamw\", \"muon\", \"sgd\"]"], "pair: found "),
        (&["pair=[\"adamw\"]"], "expected a pair of two"),
        (&["pair=[\"adamw\", \"adamw\"]"], "pair: found adamw, expected two different checkpoints"),
        (
            &["controls=[[\"adamw\", \"adamw\"]]"],
            "controls: found adamw, adamw, expected checkpoints of two optimizers",
        ),
        (&["controls=[[\"adamw\", \"muon\", \"muon\"]]"], "found 3 names (adamw, muon, muon), expected a pair of two"),
        (&["pretrain.optimizers.adamw.eps=0"], "pretrain.optimizers.adamw.eps: found 0"),
        (&["pretrain.optimizers.adamw.eps=1e-60"], "pretrain.optimizers.adamw.eps: found 0.000"),
        (&["pretrain.optimizers.soap.eps=0"], "pretrain.optimizers.soap.eps: found 0"),
        (&["finetune.optimizers.adamw.beta2=1"], "finetune.optimizers.adamw.beta2: found 1"),
        (&["tasks=[\"math\", \"math\"]"], "tasks: found math twice"),
        (&["tasks=[\"math\", \"math:largest=99\"]", "tasks=[\"strings\", \"strings\"]"], "tasks: found strings twice"),
        (&["pretrain.clip=nan"], "pretrain.clip: found NaN"),
        (&["pretrain.warmup=1"], "pretrain.warmup: found 1"),
        (&["finetune.weight-decay=-1"], "finetune.weight-decay: found -1"),
        (&["methods.adamw.rates=[1e-3, 1e-3]"], "found 0.001 twice"),
        (&["evaluation.held-out=inf"], "evaluation.held-out: found inf"),
    ];
    for (changes, named) in cases {
        let mut arguments = vec!["--preset", "smoke", "--print-config"];
        changes.iter().for_each(|change| arguments.extend(["--set", change]));
        assert_refused(&folder, "tradeoff", &arguments, named);
    }
}

/// Within all bounds, and more than this machine, or what the process may have, can hold: refused before text is read.
#[test]
fn a_network_that_no_memory_holds_is_refused_before_anything_is_done() {
    let folder = Folder::new();
    for (name, width) in [("tradeoff", "model.width=98304"), ("memorization", "network.width=98304")] {
        let arguments = ["--preset", "smoke", "--set", width, "--out", "out", "--quiet"];
        let line = Finished::of(limited(2 << 20, name, arguments).current_dir(folder.root())).refusal();
        assert!(line.contains("found a size that takes about ") && line.contains(" GB of memory, expected"), "{line}");
        assert!(!folder.out().exists(), "{line}");
    }
}

/// What cannot be counted beforehand ends in one line too, when the system has no memory left.
#[test]
fn a_program_without_memory_ends_in_one_line() {
    let folder = Folder::new();
    let mut ended = Vec::new();
    for megabytes in [60, 100, 140, 180, 220, 260] {
        let arguments = ["--preset", "smoke", "--only", "memorization", "--quiet", "--out", &folder.path("out")];
        let found = Finished::of(&mut limited(megabytes << 10, "reproduce", arguments));
        ended.push((megabytes, found.code));
        // The C library has a few bytes of its own to ask for, and no way to say that there are none but this.
        if found.code != Some(0) && !found.stderr.starts_with("Fatal glibc error: ") {
            assert_eq!(found.code, Some(2), "{megabytes} MB: {found:?}");
            assert_eq!(found.stderr.lines().count(), 1, "{megabytes} MB: {found:?}");
            assert!(found.stderr.starts_with("error: "), "{megabytes} MB: {found:?}");
        }
    }
    assert!(ended.iter().any(|(_, code)| *code == Some(2)), "{ended:?}");
}
