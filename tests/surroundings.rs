//! What surrounds a program: arguments that are no text, an output that is closed or full, files that never end, and
//! lines of any length.

use std::fs;
use std::process::{Command, Stdio};

use super::common::{Finished, Folder, built, program};

/// Every program with arguments that print something and end.
const PRINTING: [(&str, &[&str]); 18] = [
    ("tradeoff", &["--preset", "smoke", "--print-config"]),
    ("optimizer-pairs", &["--preset", "smoke", "--print-config"]),
    ("memorization", &["--preset", "smoke", "--print-config"]),
    ("nonces", &["--preset", "smoke", "--print-config"]),
    ("activations", &["--preset", "smoke", "--print-config"]),
    ("rotation", &["--preset", "smoke", "--print-config"]),
    ("landscape", &["--preset", "smoke", "--print-config"]),
    ("update-structure", &["--preset", "smoke", "--print-config"]),
    ("consistency-matrix", &["--preset", "smoke", "--print-config"]),
    ("fingerprint", &["--preset", "smoke", "--print-config"]),
    ("prediction", &["--preset", "smoke", "--print-config"]),
    ("theory", &["--print-config"]),
    ("reproduce", &["--preset", "smoke", "--print-config"]),
    ("experiment", &["list"]),
    ("store", &["list"]),
    ("export-tensorboard", &[]),
    ("synthetic-lm", &["list"]),
    ("train-bench", &["step", "tiny", "adamw"]),
];

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_or_closed_ends_every_program_without_a_panic() {
    for (name, arguments) in PRINTING {
        let folder = Folder::new();
        fs::create_dir_all(folder.out().join("runs")).unwrap();
        let undisturbed = Finished::of(program(name, arguments).current_dir(folder.root()));
        assert_eq!(undisturbed.code, Some(0), "{name}: {}", undisturbed.stderr);
        assert!(!undisturbed.stdout.is_empty(), "{name}");

        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Finished::of(program(name, arguments).current_dir(folder.root()).stdout(full));
        assert_eq!(ended.code, Some(2), "{name}: {}", ended.stderr);
        let told = ended.stderr.strip_prefix(&undisturbed.stderr).unwrap_or_else(|| panic!("{name}: {}", ended.stderr));
        assert_eq!(told.lines().count(), 1, "{name}: {told}");
        assert!(told.starts_with("error: standard output: "), "{name}: {told}");

        let mut shell = Command::new("sh");
        shell.arg("-c").arg("exec \"$0\" \"$@\" >&-").arg(built(name)).args(arguments).current_dir(folder.root());
        let ended = Finished::of(&mut shell);
        assert_eq!((ended.code, &ended.stderr), (Some(0), &undisturbed.stderr), "{name}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Finished::of(program(name, arguments).current_dir(folder.root()).stdout(writer));
        assert_eq!((ended.code, &ended.stderr), (Some(0), &undisturbed.stderr), "{name}");
    }
}

#[cfg(target_os = "linux")]
mod no_text {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn odd() -> &'static OsStr {
        OsStr::from_bytes(b"caf\xe9")
    }

    fn words<'a>(words: &'a [&'a str], last: &'a OsStr) -> impl Iterator<Item = &'a OsStr> {
        words.iter().map(OsStr::new).chain([last])
    }

    #[test]
    fn an_argument_that_is_not_utf_8_is_one_line_where_it_must_be_text() {
        let folder = Folder::new();
        let cases: [(&str, &[&str]); 9] = [
            ("tradeoff", &["--preset"]),
            ("tradeoff", &["--set"]),
            ("tradeoff", &["--corpus"]),
            ("tradeoff", &["--tokenizer"]),
            ("tradeoff", &["--tasks"]),
            ("tradeoff", &[]),
            ("experiment", &[]),
            ("store", &["prune", "--keep"]),
            ("train-bench", &["step"]),
        ];
        for (name, arguments) in cases {
            let line = Finished::of(program(name, words(arguments, odd())).current_dir(folder.root())).refusal();
            assert!(line.starts_with("error: "), "{name} {arguments:?}: {line}");
        }
        let line = Finished::of(&mut program("tradeoff", words(&["--corpus"], odd()))).refusal();
        assert!(line.contains("found caf\u{fffd}, expected a path in UTF-8"), "{line}");
    }

    #[test]
    fn a_folder_whose_name_is_not_utf_8_holds_a_run_as_any_other() {
        let folder = Folder::new();
        let out: OsString = folder.root().join(odd()).into_os_string();
        let arguments =
            ["--preset", "smoke", "--seeds", "1", "--set", "steps=2", "--set", "tuning-seeds=1", "--quiet", "--out"];
        let mut command = program("memorization", words(&arguments, &out));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(folder.root().join(odd()).join("report/index.html").is_file());
        for name in ["store", "export-tensorboard"] {
            let arguments = if name == "store" { &["list", "--out"][..] } else { &["--out"] };
            assert!(program(name, words(arguments, &out)).output().unwrap().status.success(), "{name}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.path("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(folder.path("folder.toml")).unwrap();
    let cases = [
        (["--preset", pipe.as_str()], "pipe.toml: found a pipe or device, expected a regular file"),
        (["--finished", pipe.as_str()], "pipe.toml: found a pipe or device, expected a regular file"),
        (["--finished", "/dev/zero"], "/dev/zero: found a pipe or device, expected a regular file"),
        (["--preset", "folder.toml"], "folder.toml: found a folder, expected a regular file"),
    ];
    for (arguments, named) in cases {
        let line = Finished::of(program("memorization", arguments).current_dir(folder.root())).refusal();
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn a_line_about_what_was_found_is_short_whatever_was_found() {
    let folder = Folder::new();
    let long = "x".repeat(10_000_000);
    let finished = folder.file("finished.csv", format!("stage,what,result\na-0123456789abcdef,{long},{{{long}\n"));
    let preset = folder.file("preset.toml", format!("{long} = 1\n"));
    let broken = folder.file("broken.toml", format!("name = \"{long}\n"));
    let odd = folder.file("odd.toml", "name = \"a\u{1b}[31m\\u0007b\"\nseeds = 0\n");
    let cases = [["--finished", &finished], ["--preset", &preset], ["--preset", &broken], ["--preset", &odd]];
    for arguments in cases {
        let line = Finished::of(program("memorization", arguments).current_dir(folder.root())).refusal();
        assert!(line.len() < 4000, "{} bytes", line.len());
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn a_refusal_of_flags_lists_the_values_there_are() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("tradeoff", &["--scope", "foo"], &["'foo' for '--scope <SCOPE>'", "[possible values: all, hidden-matrices]"]),
        ("train-bench", &["step"], &["<SHAPE>", "<OPTIMIZER>"]),
        ("train-bench", &["step", "tiny", "foo"], &["'foo' for '<OPTIMIZER>'", "[possible values: adamw, muon]"]),
        ("train-bench", &["step", "huge", "adamw"], &["shape: found huge, expected tiny, finetune"]),
        ("theory", &["poem"], &["[possible values: geometry, regularization, phase-diagram, consistency-matrix]"]),
        ("tradeoff", &["--taskss", "code"], &["unexpected argument '--taskss'", "tip: ", "'--tasks'"]),
    ];
    for (name, arguments, named) in cases {
        let line = Finished::of(program(name, arguments).stdin(Stdio::null())).refusal();
        for part in named {
            assert!(line.contains(part), "{name} {arguments:?}: no `{part}` in `{line}`");
        }
    }
}
