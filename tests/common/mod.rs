//! What all end-to-end tests use: running the binary, made-up text, folders and how to compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

/// The preset of most tests.
pub(crate) const PRESET: &str = include_str!("tiny.toml");

/// The preset with one piece of text replaced by another; the piece must be there, once.
pub(crate) fn preset_with(from: &str, to: &str) -> String {
    assert_eq!(PRESET.matches(from).count(), 1, "`{from}` must stand once in the tests' preset");
    PRESET.replace(from, to)
}

/// Where a binary of this build lies.
pub(crate) fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tradeoff")).with_file_name(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// A binary of this build with arguments, without the environment's say in colours or back traces.
pub(crate) fn program<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(built(name));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// `tradeoff` with arguments.
pub(crate) fn tradeoff<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    program("tradeoff", arguments)
}

/// A binary of this build in a shell that lets it have so many kilobytes of address space.
pub(crate) fn limited<A: AsRef<OsStr>>(kilobytes: u64, name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    in_shell(&format!("ulimit -v {kilobytes}"), name, arguments)
}

/// A binary of this build in a shell that does something first.
pub(crate) fn in_shell<A: AsRef<OsStr>>(first: &str, name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(built(name)).args(arguments);
    shell.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    shell
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the command starts"))
    }

    /// The command's standard output; the test fails here if the command did.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The one line of a refusal; the test fails here if there are more, or another exit code than 2.
    #[track_caller]
    pub(crate) fn refusal(self) -> String {
        assert_eq!(self.code, Some(2), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "nothing was done that could be announced");
        assert_eq!(self.stderr.lines().count(), 1, "more than one line: {}", self.stderr);
        self.stderr.trim_end().to_string()
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A folder for one test, gone when it is dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// A path in the folder, as an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        self.root().join(name).to_str().expect("temporary folders have UTF-8 names").to_string()
    }

    /// Writes a file and returns its path as an argument.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder can be written");
        path
    }

    /// The tiny preset, the made-up corpus and this folder's `out` as arguments.
    pub(crate) fn tiny(&self) -> Vec<String> {
        self.with_preset(PRESET)
    }

    /// A preset, the made-up corpus and this folder's `out` as arguments.
    pub(crate) fn with_preset(&self, preset: &str) -> Vec<String> {
        let (preset, corpus) = (self.file("preset.toml", preset), self.file("corpus.txt", corpus()));
        let arguments =
            ["--quiet", "--preset", &preset, "--corpus", &corpus, "--out", &self.path("out")].map(String::from);
        arguments.to_vec()
    }

    /// Writes a preset that names the made-up corpus itself; its path as an argument.
    pub(crate) fn preset_with_its_text(&self, preset: &str) -> String {
        let text = self.file("corpus.txt", corpus());
        self.file("with-text.toml", preset.replace("[corpus]\n", &format!("[corpus]\nfile = \"{text}\"\n")))
    }

    /// A folder whose store has the text of the [`finished`] run in tokens, and nothing else. Reading the packages'
    /// code takes most of the time of a tiny run.
    pub(crate) fn with_text() -> Self {
        let folder = Self::new();
        let runs = finished().out().join("runs");
        for entry in fs::read_dir(&runs).expect("the finished run has stages") {
            let stage = entry.expect("a folder entry").path();
            let name = stage.file_name().expect("a name").to_string_lossy().into_owned();
            if ["text-", "tokens-", "code-tokens-"].iter().any(|kind| name.starts_with(kind)) {
                copy(&stage, &folder.out().join("runs").join(&name));
            }
        }
        folder
    }

    /// A folder whose `out` is a copy of the [`finished`] run's.
    pub(crate) fn with_finished_run() -> Self {
        let folder = Self::new();
        copy(&finished().out(), &folder.root().join("out"));
        folder
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    pub(crate) fn results(&self) -> String {
        fs::read_to_string(self.out().join("report/results.csv")).expect("results.csv was written")
    }

    /// Every file of every stage in the run store.
    pub(crate) fn store(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.out().join("runs"))
    }
}

/// The tiny preset run on the made-up corpus with one job: made once, only to be read.
pub(crate) fn finished() -> &'static Folder {
    static FINISHED: OnceLock<Folder> = OnceLock::new();
    FINISHED.get_or_init(|| {
        // A static is never dropped: the folder lies where cargo cleans up, and is made anew by each test run.
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end");
        let _ = fs::remove_dir_all(&parent);
        fs::create_dir_all(&parent).expect("cargo's folder for tests can be written");
        let folder = Folder(TempDir::new_in(parent).expect("a temporary folder"));
        Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(["--jobs".into(), "1".into()]))).success();
        folder
    })
}

/// English-like text of about 60 kB in paragraphs, always the same.
pub(crate) fn corpus() -> String {
    const WORDS: [&str; 40] = [
        "the", "of", "and", "a", "to", "in", "is", "that", "it", "for", "value", "type", "returns", "function",
        "error", "when", "this", "with", "are", "as", "not", "be", "by", "reader", "writer", "buffer", "each",
        "length", "which", "from", "thread", "lock", "file", "path", "used", "only", "first", "state", "called",
        "bytes",
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut text = String::new();
    while text.len() < 60_000 {
        for _ in 0..8 {
            let words: Vec<&str> = (0..9).map(|_| *WORDS.choose(&mut rng).expect("there are words")).collect();
            text.push_str(&words.join(" "));
            text.push_str(". ");
        }
        text.push_str("\n\n");
    }
    text
}

/// All files below a folder by their path in it, with their content.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in paths(folder) {
        let name = path.strip_prefix(folder).expect("a path below the folder").to_string_lossy().into_owned();
        found.insert(name, fs::read(&path).expect("a file that was just listed"));
    }
    found
}

/// The paths of all files below a folder, sorted.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() { found.extend(paths(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for path in paths(from) {
        let target = to.join(path.strip_prefix(from).expect("a path below the folder"));
        fs::create_dir_all(target.parent().expect("a file has a folder")).expect("a temporary folder");
        fs::copy(&path, &target).expect("a file can be copied");
    }
}

/// Asserts that two sets of files are the same, and names those that are not.
#[track_caller]
pub(crate) fn assert_same_files(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differing: Vec<&String> = names.into_iter().filter(|name| found.get(*name) != expected.get(*name)).collect();
    assert!(differing.is_empty(), "these files differ or are on one side only: {differing:?}");
}
