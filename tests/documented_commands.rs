//! Every command that the README and `docs/` show is run as it stands there.
//!
//! A fenced block with the info string `console` holds lines `$ command`; they are run one after the other in a folder
//! of the page's own, with the binaries of this build in place of `cargo run`'s. Blocks marked `console,long` (more
//! than a test's time, or a build) and `console,gpu` are not run. A command in a block of any other kind is a mistake:
//! it would never be tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{Finished, Folder, built};

const MARKS_OF_BLOCKS_NOT_RUN: [&str; 2] = ["console,long", "console,gpu"];

/// A command of a page.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    /// Line of the page, from 1.
    line: usize,
    /// The command without `$ `.
    text: String,
    /// Whether its block is marked to be run.
    run: bool,
}

/// The commands of a page of Markdown; a message where a command stands in a block that is not marked as commands.
fn commands(page: &str) -> Result<Vec<Shown>, String> {
    let mut found: Vec<Shown> = Vec::new();
    let mut block: Option<String> = None;
    let mut continued = false;
    for (index, line) in page.lines().enumerate() {
        let text = line.trim();
        if let Some(info) = text.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(info.trim().to_string()) };
            continued = false;
            continue;
        }
        let Some(info) = &block else { continue };
        if continued {
            let last = found.last_mut().expect("a command is continued");
            last.text.push(' ');
            last.text.push_str(text.trim_end_matches('\\').trim());
            continued = text.ends_with('\\');
        } else if let Some(command) = text.strip_prefix("$ ") {
            let run = info == "console";
            if !run && !MARKS_OF_BLOCKS_NOT_RUN.contains(&info.as_str()) {
                return Err(format!("line {}: a command in a block marked `{info}`: `{text}`", index + 1));
            }
            found.push(Shown { line: index + 1, text: command.trim_end_matches('\\').trim().into(), run });
            continued = command.ends_with('\\');
        }
    }
    Ok(found)
}

/// What a shown command comes to: a binary of this project, its arguments, and the file that its output goes to.
#[derive(Debug, PartialEq)]
struct Call {
    binary: String,
    arguments: Vec<String>,
    output: Option<String>,
}

/// Reads `cargo run ... --bin NAME -- ARGUMENTS`, `cargo run -p NAME -- ARGUMENTS` or `NAME ARGUMENTS`, either with `>
/// FILE` behind it; `None` for any other program.
fn call(text: &str) -> Option<Call> {
    let mut words: Vec<String> =
        text.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_string()).collect();
    let output = match words.iter().position(|word| word == ">") {
        Some(place) => words.split_off(place).get(1).cloned(),
        None => None,
    };
    let (binary, arguments) = if words.starts_with(&["cargo".into(), "run".into()]) {
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let after =
            |flag: &str| words[..end].iter().position(|word| word == flag).and_then(|place| words.get(place + 1));
        // A package with one binary gives it its own name; `cargo run` alone is the workspace's default.
        let binary = after("--bin").or_else(|| after("-p")).map_or("reproduce", String::as_str);
        (binary.to_string(), words.get(end + 1..).unwrap_or_default().to_vec())
    } else {
        (words.first()?.clone(), words[1..].to_vec())
    };
    let name = Path::new(&binary).file_name()?.to_str()?.to_string();
    built(&name).is_file().then_some(Call { binary: name, arguments, output })
}

/// README.md and all pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![root.join("README.md")];
    let docs = root.join("docs");
    if docs.is_dir() {
        found
            .extend(super::common::paths(&docs).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    found
}

#[test]
fn every_runnable_command_runs() {
    let mut ran = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let shown = commands(&text).unwrap_or_else(|message| panic!("{}, {message}", page.display()));
        let folder = Folder::new();
        for command in shown.into_iter().filter(|command| command.run) {
            let place = format!("{}, line {}: `{}`", page.display(), command.line, command.text);
            let call = call(&command.text).unwrap_or_else(|| {
                panic!(
                    "{place}: no binary of this build; `cargo test` builds all, other programs belong in `console,long`"
                )
            });
            let ended =
                Finished::of(Command::new(built(&call.binary)).args(&call.arguments).current_dir(folder.root()));
            assert_eq!(ended.code, Some(0), "{place}: {}", ended.stderr);
            if let Some(file) = call.output {
                fs::write(folder.root().join(file), ended.stdout).unwrap();
            }
            ran += 1;
        }
    }
    assert!(ran > 0, "no page shows a command that is run");
}

#[test]
fn commands_are_found_with_their_continuations_and_marks() {
    let page = "Text\n```console\n$ tradeoff --preset smoke \\\n    --out a\nreport/index.html\n$ tradeoff --help\n```\n\
                ```console,long\n$ cargo test\n```\n```toml\nseeds = 1\n```\n";
    let shown = commands(page).unwrap();
    let expected =
        [("tradeoff --preset smoke --out a", 3, true), ("tradeoff --help", 6, true), ("cargo test", 9, false)];
    let found: Vec<(&str, usize, bool)> = shown.iter().map(|c| (c.text.as_str(), c.line, c.run)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_command_that_nobody_would_test_is_a_mistake() {
    let message = commands("```sh\n$ tradeoff --preset smoke\n```\n").unwrap_err();
    assert_eq!(message, "line 2: a command in a block marked `sh`: `$ tradeoff --preset smoke`");
}

#[test]
fn a_command_is_read_as_a_binary_of_this_build() {
    let arguments = |list: &[&str]| list.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let shown = call("cargo run --release -p experiments --bin tradeoff -- --preset smoke --print-config > my.toml");
    let expected = Call {
        binary: "tradeoff".into(),
        arguments: arguments(&["--preset", "smoke", "--print-config"]),
        output: Some("my.toml".into()),
    };
    assert_eq!(shown, Some(expected));
    let shown = call("target/release/tradeoff --tasks 'math,code'").unwrap();
    assert_eq!((shown.binary.as_str(), shown.arguments), ("tradeoff", arguments(&["--tasks", "math,code"])));
    assert_eq!(call("cargo run --release").unwrap().binary, "reproduce");
    assert_eq!(call("cargo run --release -p tradeoff -- --help").unwrap().arguments, ["--help"]);
    assert_eq!(call("cargo test"), None);
}
