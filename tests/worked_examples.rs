//! What it takes to add an experiment, an optimizer or a probe: the worked examples of `docs/examples`, applied to a
//! copy of the sources.
//!
//! That they touch what `docs/design.md` promises is tested always. That they compile and run takes another build of
//! the workspace, which is kept in `target/worked-examples` for the next time:
//!
//! ```text
//! cargo test --test end-to-end worked_examples -- --ignored
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::common::{Finished, Folder, PRESET, assert_same_files, copy, files, finished, paths};
use super::golden_ids::{assert_golden_of_pinned_packages, of_pinned_packages};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A copy of the sources, without what only people read.
fn sources() -> Folder {
    let folder = Folder::new();
    for name in ["crates", "tests"] {
        copy(&project().join(name), &folder.root().join(name));
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(project().join(name), folder.root().join(name)).unwrap();
    }
    folder
}

/// Runs in a folder as if that were in no repository: git applies diffs to it, and no commit is built in.
fn outside_a_repository(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap());
    command
}

/// Applies an example to a copy of the sources.
#[track_caller]
fn apply(example: &str, sources: &Folder) {
    let diff = project().join(format!("docs/examples/{example}.diff"));
    let mut git = outside_a_repository("git", sources.root());
    let ended = git.arg("apply").arg(&diff).output().unwrap_or_else(|error| panic!("git is needed here: {error}"));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{} does not apply to the sources: {told}", diff.display());
}

/// What an example does to the sources: new files, and the lines that it adds to others.
#[derive(Debug, PartialEq)]
struct Touched {
    new: Vec<String>,
    added: Vec<(String, Vec<String>)>,
}

fn touched(example: &str, sources: &Folder) -> Touched {
    let before = files(&sources.root().join("crates"));
    apply(example, sources);
    let after = files(&sources.root().join("crates"));
    assert!(before.keys().all(|name| after.contains_key(name)), "{example} removes a file");
    let new = after.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    let changed = before.iter().filter(|(name, content)| after[*name] != **content);
    let added = changed.map(|(name, content)| (name.clone(), added(content, &after[name]))).collect();
    Touched { new, added }
}

/// The lines that a file has more; the others must be as they were.
fn added(before: &[u8], after: &[u8]) -> Vec<String> {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let mut rest = before.lines().peekable();
    let mut added = Vec::new();
    for line in after.lines() {
        if rest.next_if(|&next| next == line).is_none() {
            added.push(line.trim().to_string());
        }
    }
    assert_eq!(rest.next(), None, "a line was changed or removed");
    added
}

fn touch(new: &str, added: &[(&str, &[&str])]) -> Touched {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect();
    Touched {
        new: vec![new.into()],
        added: added.iter().map(|(name, these)| (name.to_string(), lines(these))).collect(),
    }
}

#[test]
fn an_experiment_an_optimizer_and_a_probe_are_a_file_and_a_few_lines_each() {
    let sources = sources();
    let optimizer = "rmsprop: RmsProp = \"RMSprop: the gradient over the root of its second moment.\";";
    assert_eq!(
        touched("add-an-optimizer", &sources),
        touch("models/src/optim/rmsprop.rs", &[("models/src/optim/mod.rs", &[optimizer])])
    );
    let lines = &["mod stable_rank;", "pub use stable_rank::StableRank;"];
    assert_eq!(
        touched("add-a-probe", &sources),
        touch("experiments/src/stages/stable_rank.rs", &[("experiments/src/stages/mod.rs", lines)])
    );
    let registered = &["use crate::ranks::Ranks;", "&Entry::<Ranks>::new(),"];
    let modules = &["pub mod ranks;"];
    assert_eq!(
        touched("add-an-experiment", &sources),
        touch(
            "experiments/src/ranks/mod.rs",
            &[("experiments/src/lib.rs", modules), ("experiments/src/registry.rs", registered)]
        )
    );
}

/// A build of the sources with all examples.
struct Build {
    sources: PathBuf,
    binaries: PathBuf,
}

impl Build {
    fn new() -> Self {
        let from = sources();
        ["add-an-optimizer", "add-a-probe", "add-an-experiment"].iter().for_each(|example| apply(example, &from));
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("worked-examples");
        let (sources, target) = (kept.join("sources"), kept.join("build"));
        renew(from.root(), &sources);
        let mut cargo = outside_a_repository(env!("CARGO"), &sources);
        let built = Finished::of(
            cargo
                .args(["build", "--offline", "--locked", "--package", "experiments", "--bins"])
                .env("CARGO_TARGET_DIR", &target)
                // A build that was cut off must not spoil the next one.
                .env("CARGO_INCREMENTAL", "0"),
        );
        assert!(built.code == Some(0) && !built.stderr.contains("warning"), "{}", built.stderr);
        Self { sources, binaries: target.join("debug") }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name).with_extension(std::env::consts::EXE_EXTENSION)
    }

    #[track_caller]
    fn run(&self, name: &str, arguments: &[&str]) -> String {
        Finished::of(Command::new(self.program(name)).args(arguments)).success()
    }
}

/// Makes a folder the same as another. Files that are the same already are left alone, so that cargo builds only what
/// has changed.
fn renew(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let wanted = files(from);
    for path in paths(to) {
        if !wanted.contains_key(path.strip_prefix(to).unwrap().to_str().unwrap()) {
            fs::remove_file(path).unwrap();
        }
    }
    for (name, content) in wanted {
        let path = to.join(name);
        if fs::read(&path).ok().as_ref() != Some(&content) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

/// The stages in a folder's store, counted by their kind.
fn kinds(folder: &Folder) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(folder.out().join("runs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        *kinds.entry(name.rsplit_once('-').unwrap().0.to_string()).or_default() += 1;
    }
    kinds
}

/// Asserts that a folder's store is that of the finished run, and so many stages of a kind beside.
#[track_caller]
fn assert_computed(folder: &Folder, kind: &str, number: usize, before: &BTreeMap<String, usize>) {
    let mut expected = before.clone();
    *expected.entry(kind.into()).or_default() += number;
    assert_eq!(kinds(folder), expected);
    let mut store = folder.store();
    store.retain(|name, _| finished().store().contains_key(name));
    assert_same_files(&store, &finished().store());
}

#[test]
#[ignore = "compiles the workspace again"]
fn the_examples_compile_and_run() {
    let build = Build::new();
    a_new_experiment_with_a_new_probe_runs_on_checkpoints_that_are_there(&build);
    a_new_optimizer_is_run_by_its_name(&build);
    a_new_dependency_of_the_workspace_gives_no_new_ids(&build);
}

fn a_new_experiment_with_a_new_probe_runs_on_checkpoints_that_are_there(build: &Build) {
    let folder = Folder::with_finished_run();
    let before = kinds(&folder);
    let set = format!("base={}", folder.preset_with_its_text(PRESET));
    let out = folder.path("out");
    let page = build.run("experiment", &["ranks", "--preset", "smoke", "--set", &set, "--quiet", "--out", &out]);
    assert_computed(&folder, "stable-rank", 2 * 2, &before);
    let rows = fs::read_to_string(folder.out().join("report/ranks.csv")).unwrap();
    assert_eq!(rows.lines().next(), Some("checkpoint,seed,stable_rank"));
    assert_eq!(rows.lines().count(), 1 + 2 * 2, "{rows}");
    let html = fs::read_to_string(page.trim()).unwrap();
    // Its section stands beside the one that was there.
    assert!(html.contains("How many directions the weights use") && html.contains("learning-forgetting tradeoff"));
    for (program, arguments) in [("experiment", vec!["list"]), ("experiment", vec!["reference"])] {
        assert!(build.run(program, &arguments).contains("ranks"));
    }
    let plan = build.run("reproduce", &["--preset", "smoke", "--only", "ranks", "--plan", "--quiet", "--out", &out]);
    assert_eq!(plan.matches("stable rank of ").count(), 2 * 2, "{plan}");
}

fn a_new_optimizer_is_run_by_its_name(build: &Build) {
    let folder = Folder::with_finished_run();
    let before = kinds(&folder);
    let method = "[[methods]]\nname = \"rmsprop\"\noptimizer = \"rmsprop\"\nrates = [1e-3]\n";
    let preset = folder.preset_with_its_text(&format!("{PRESET}\n{method}"));
    let out = folder.path("out");
    let alpha = ["--set", "finetune.optimizers.rmsprop.alpha=0.9"];
    build.run("tradeoff", &[&["--preset", &preset, "--quiet", "--out", &out], &alpha[..]].concat());
    assert_computed(&folder, "finetune", 2 * 2, &before);
    let rows = folder.results();
    let own: Vec<&str> = rows.lines().filter(|row| row.contains(",rmsprop,")).collect();
    assert_eq!(own.len(), 2 * 2, "{rows}");
    assert!(own.iter().all(|row| row.ends_with(",false")), "{own:?}");
    // It pretrains too, and its checkpoint is finetuned with it.
    let pretrained = preset_that_pretrains_with_rmsprop(&folder, method);
    let out = folder.path("pretrained");
    build.run("tradeoff", &["--preset", &pretrained, "--seeds", "1", "--quiet", "--out", &out]);
    let rows = fs::read_to_string(Path::new(&out).join("report/results.csv")).unwrap();
    assert_eq!(rows.lines().filter(|row| row.starts_with("code,rmsprop,rmsprop,")).count(), 1, "{rows}");
}

fn preset_that_pretrains_with_rmsprop(folder: &Folder, method: &str) -> String {
    let text = PRESET.replace("pair = [\"adamw\", \"muon\"]", "pair = [\"adamw\", \"rmsprop\"]").replace(
        "name = \"muon\"\noptimizer = \"muon\"\nhidden-rate",
        "name = \"rmsprop\"\noptimizer = \"rmsprop\"\nhidden-rate",
    );
    folder.preset_with_its_text(&format!("{text}\n{method}"))
}

/// A file that is changed for a while.
struct Changed {
    path: PathBuf,
    content: Vec<u8>,
    modified: SystemTime,
}

impl Changed {
    fn new(path: PathBuf, change: impl Fn(&str) -> String) -> Self {
        let content = fs::read(&path).unwrap();
        let modified = path.metadata().unwrap().modified().unwrap();
        fs::write(&path, change(std::str::from_utf8(&content).unwrap())).unwrap();
        Self { path, content, modified }
    }
}

impl Drop for Changed {
    /// With its time, or cargo would build anew what depends on it.
    fn drop(&mut self) {
        fs::write(&self.path, &self.content).unwrap();
        File::options().write(true).open(&self.path).unwrap().set_modified(self.modified).unwrap();
    }
}

/// The text of the pinned packages follows from the lock file beside their manifest, and not from the workspace's.
fn a_new_dependency_of_the_workspace_gives_no_new_ids(build: &Build) {
    let stages = || of_pinned_packages(&build.program("tradeoff"));
    let lock = Changed::new(build.sources.join("Cargo.lock"), |text| {
        format!("{text}\n[[package]]\nname = \"zzz\"\nversion = \"1.0.0\"\n")
    });
    let manifest = Changed::new(build.sources.join("Cargo.toml"), |text| {
        text.replace("[workspace.dependencies]\n", "[workspace.dependencies]\nzzz = \"1\"\n")
    });
    let before = stages();
    assert_golden_of_pinned_packages(&before);
    drop((lock, manifest));

    // A package less of the text itself is seen in every stage.
    let _packages = Changed::new(build.sources.join("crates/corpora/packages/Cargo.lock"), |text| {
        let mut packages: Vec<&str> = text.split("\n[[package]]\n").collect();
        packages.remove(1);
        packages.join("\n[[package]]\n")
    });
    let same: Vec<_> = before.into_iter().zip(stages()).filter(|(before, after)| before.1 == after.1).collect();
    assert!(same.is_empty(), "{same:?}");
}
