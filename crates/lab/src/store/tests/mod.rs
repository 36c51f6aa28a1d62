//! A stage with metrics, snapshots and files, and what the store makes of it undisturbed.

mod claimed;
mod damaged;
mod exclusive;
mod housekeeping;
mod interrupted;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::durable::fault::{self, Fault};
use super::*;

const STEPS: u64 = 7;
const SNAPSHOT_EVERY: u64 = 2;

fn key() -> StageKey {
    StageKey::new("count", 1, &json!({"steps": STEPS, "lr": 1e-3, "none": null}), &[]).unwrap()
}

/// A stage with metrics, snapshots of two files and a result that depends on every step.
fn run_stage(
    store: &Store,
    key: &StageKey,
    on_state: &mut dyn FnMut(&str, u64),
    pause: Duration,
) -> Result<DoneStage, StoreError> {
    let mut work = loop {
        match store.enter(key)? {
            StageState::Claimed(_) => std::thread::sleep(Duration::from_millis(1)),
            StageState::Done(done) => {
                on_state("done", STEPS);
                return Ok(done);
            }
            StageState::Fresh(stage) => {
                on_state("fresh", 0);
                break Work::fresh(stage);
            }
            StageState::Started(stage, snapshot) => {
                on_state("started", snapshot.step);
                break Work::started(stage, &snapshot)?;
            }
        }
    };
    while work.step < STEPS {
        work.one_step()?;
        std::thread::sleep(pause);
        if work.step % SNAPSHOT_EVERY == 0 {
            work.save()?;
            on_state("saved", work.step);
        }
    }
    work.finish()
}

/// The stage's work, step by step.
struct Work {
    stage: ActiveStage,
    step: u64,
    state: u64,
}

impl Work {
    fn fresh(stage: ActiveStage) -> Self {
        Self { stage, step: 0, state: 1 }
    }

    fn started(stage: ActiveStage, snapshot: &Snapshot) -> Result<Self, StoreError> {
        let state = snapshot.files.read_json("optimizer.json")?;
        assert_eq!(snapshot.files.read("model.bin")?, model_bytes(state));
        Ok(Self { stage, step: snapshot.step, state })
    }

    fn one_step(&mut self) -> Result<(), StoreError> {
        self.step += 1;
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(self.step);
        self.stage.append_metrics(&json!({"step": self.step, "loss": self.state as f64 / 3.0}))
    }

    fn save(&mut self) -> Result<(), StoreError> {
        let state = self.state;
        self.stage.save_snapshot(self.step, |files| {
            files.write("model.bin", &model_bytes(state))?;
            files.write_json("optimizer.json", &state)
        })
    }

    /// All that is left to do, with a snapshot after every step.
    fn save_all(mut self) -> Result<DoneStage, StoreError> {
        while self.step < STEPS {
            self.one_step()?;
            self.save()?;
        }
        self.finish()
    }

    fn finish(mut self) -> Result<DoneStage, StoreError> {
        let state = self.state;
        self.stage.files().write_with("model.bin", |path| fs::write(path, model_bytes(state)))?;
        self.stage.files().write_json("result.json", &state)?;
        self.stage.finish()
    }
}

fn run_quietly(store: &Store) -> Result<DoneStage, StoreError> {
    run_stage(store, &key(), &mut |_, _| {}, Duration::ZERO)
}

fn model_bytes(state: u64) -> Vec<u8> {
    (0..100).flat_map(|index: u64| (state ^ index).to_le_bytes()).collect()
}

/// A store in which a claim counts as dead after some milliseconds.
fn impatient(root: &Path) -> Store {
    let (heartbeat, lease) = (Duration::from_millis(1), Duration::from_millis(10));
    Store::open_with(root, StoreOptions { heartbeat, lease }).unwrap()
}

/// A process on another machine.
fn elsewhere(pid: u32) -> Process {
    Process { host: "elsewhere".into(), pid, machine: Some("another".into()), started: Some(1) }
}

/// The folder of a stage that is not done.
fn partial(root: &Path, key: &StageKey) -> PathBuf {
    let folders = adopt::partials(&root.join(RUNS), key.id()).unwrap();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].clone()
}

/// Whether a stage that is not done has a snapshot of that number.
fn is_saved(root: &Path, key: &StageKey, number: u64) -> bool {
    let folders = adopt::partials(&root.join(RUNS), key.id()).unwrap();
    folders.iter().any(|partial| partial.join(format!("snapshot-{number}")).exists())
}

/// Names in the folder of claims.
fn claim_files(root: &Path) -> Vec<PathBuf> {
    durable::entries(&root.join("claims")).unwrap()
}

/// Every file of the stages with a line on its content.
fn content(root: &Path) -> BTreeMap<String, String> {
    let root = root.join("runs");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(next) = folders.pop() {
        for path in durable::entries(&next).unwrap() {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                found.insert(name + "/", "folder".into());
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                let digest = crate::hash::sha256_hex(&bytes);
                found.insert(name, format!("{} bytes, {}", bytes.len(), &digest[..16]));
            }
        }
    }
    found
}

fn undisturbed() -> BTreeMap<String, String> {
    let root = tempfile::tempdir().unwrap();
    run_quietly(&Store::open(root.path()).unwrap()).unwrap();
    content(root.path())
}

#[test]
fn a_finished_stage_holds_its_files_and_nothing_else() {
    let found = undisturbed();
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    let id = key().id().to_string();
    let inside = |name: &str| format!("{id}/{name}");
    let expected = [
        inside(""),
        inside("config.toml"),
        inside("done"),
        inside("metrics.jsonl"),
        inside("model.bin"),
        inside("result.json"),
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_stage_is_taken_on_once_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let StageState::Fresh(stage) = store.enter(&key()).unwrap() else { panic!() };
    let StageState::Claimed(holder) = Store::open(root.path()).unwrap().enter(&key()).unwrap() else { panic!() };
    assert_eq!(holder.pid, std::process::id());
    assert!(holder.since.elapsed().unwrap() < Duration::from_secs(60), "{holder:?}");
    assert!(store.enter(&StageKey::new("other", 1, &(), &[]).unwrap()).is_ok());
    drop(stage);
    assert!(claim_files(root.path()).is_empty());
    assert!(matches!(store.enter(&key()), Ok(StageState::Fresh(_))));
}

#[test]
fn what_is_done_is_not_done_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    run_quietly(&store).unwrap();
    let StageState::Done(done) = store.enter(&key()).unwrap() else { panic!() };
    assert_eq!(done.key(), &key());
    assert_eq!(done.metrics::<serde_json::Value>().unwrap().len() as u64, STEPS);
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().map(|stage| &stage.id).collect::<Vec<_>>(), [key().id()]);
    assert_eq!(listed[0].state, StageProgress::Done);
}

#[test]
fn a_store_that_cannot_be_written_is_refused_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(file.join("store")).unwrap_err().to_string();
    assert!(error.contains("cannot create folder"), "{error}");
    assert!(error.contains(&*file.to_string_lossy()), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn names_of_the_store_and_paths_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let StageState::Fresh(mut stage) = store.enter(&key()).unwrap() else { panic!() };
    for name in ["", "done", "metrics.jsonl", "config.toml", "snapshot-1", "../x", "a/b", ".x"] {
        let error = stage.files().write(name, b"").unwrap_err();
        assert!(matches!(error, StoreError::InvalidName { .. }), "{name}: {error}");
    }
}

#[test]
fn an_error_of_a_saving_function_names_the_file() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let StageState::Fresh(mut stage) = store.enter(&key()).unwrap() else { panic!() };
    let error = stage.files().write_with("model.bin", |_| Err("no tensors")).unwrap_err();
    assert!(error.to_string().ends_with("model.bin: no tensors"), "{error}");
}

#[test]
fn an_unknown_file_is_refused_with_the_names_there_are() {
    let root = tempfile::tempdir().unwrap();
    let done = run_quietly(&Store::open(root.path()).unwrap()).unwrap();
    let error = done.files().read("absent").unwrap_err().to_string();
    assert!(error.contains("'absent'") && error.contains("model.bin, result.json"), "{error}");
}
