//! The store is cut off at every file operation, killed, tampered with and filled up, and has to
//! end with the same files as an undisturbed run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

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
    let (mut stage, mut step, mut state) = match store.enter(key)? {
        StageState::Done(done) => {
            on_state("done", STEPS);
            return Ok(done);
        }
        StageState::Fresh(stage) => {
            on_state("fresh", 0);
            (stage, 0, 1u64)
        }
        StageState::Started(stage, snapshot) => {
            on_state("started", snapshot.step);
            let state = snapshot.files.read_json("optimizer.json")?;
            assert_eq!(snapshot.files.read("model.bin")?, model_bytes(state));
            (stage, snapshot.step, state)
        }
    };
    while step < STEPS {
        step += 1;
        state = state.wrapping_mul(6364136223846793005).wrapping_add(step);
        stage.append_metrics(&json!({"step": step, "loss": state as f64 / 3.0}))?;
        std::thread::sleep(pause);
        if step % SNAPSHOT_EVERY == 0 {
            stage.save_snapshot(step, |files| {
                files.write("model.bin", &model_bytes(state))?;
                files.write_json("optimizer.json", &state)
            })?;
            on_state("saved", step);
        }
    }
    stage.files().write_with("model.bin", |path| fs::write(path, model_bytes(state)))?;
    stage.files().write_json("result.json", &state)?;
    stage.finish()
}

fn run_quietly(store: &Store) -> Result<DoneStage, StoreError> {
    run_stage(store, &key(), &mut |_, _| {}, Duration::ZERO)
}

fn model_bytes(state: u64) -> Vec<u8> {
    (0..100).flat_map(|index: u64| (state ^ index).to_le_bytes()).collect()
}

/// Every file of the stages with a line on its content. (A crash may also leave an empty lock file.)
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
                let digest = key::hex(&Sha256::digest(&bytes));
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
fn a_crash_at_any_file_operation_loses_no_snapshot_and_changes_no_result() {
    let reference = undisturbed();
    for at in 0.. {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let saved = Cell::new(0);
        let mut on_state = |state: &str, step| {
            if state == "saved" {
                saved.set(step);
            }
        };
        let (crashed, _) = fault::with(at, Fault::Crash, || run_stage(&store, &key(), &mut on_state, Duration::ZERO));
        if crashed.is_ok() {
            assert!(at > 30, "only {at} operations were counted");
            break;
        }
        let mut resumed_at = None;
        let mut on_state = |_: &str, step| {
            resumed_at.get_or_insert(step);
        };
        run_stage(&store, &key(), &mut on_state, Duration::ZERO).unwrap();
        assert!(resumed_at >= Some(saved.get()), "crash {at}: {resumed_at:?} < {}", saved.get());
        assert_eq!(content(root.path()), reference, "crash at operation {at}");
    }
}

#[test]
fn a_crash_during_the_recovery_from_a_crash_is_recovered_too() {
    let reference = undisturbed();
    for first in (5..60).step_by(11) {
        for second in (0..12).step_by(2) {
            let root = tempfile::tempdir().unwrap();
            let store = Store::open(root.path()).unwrap();
            let (_, _) = fault::with(first, Fault::Crash, || run_quietly(&store));
            let (_, _) = fault::with(second, Fault::Crash, || run_quietly(&store));
            run_quietly(&store).unwrap();
            assert_eq!(content(root.path()), reference, "crashes at {first} and {second}");
        }
    }
}

#[test]
fn a_full_disk_is_one_line_and_loses_nothing() {
    let reference = undisturbed();
    let mut refused = 0;
    for at in 0.. {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let earlier = StageKey::new("earlier", 1, &(), &[]).unwrap();
        let StageState::Fresh(mut stage) = store.enter(&earlier).unwrap() else { panic!() };
        stage.files().write("data.bin", b"kept").unwrap();
        stage.finish().unwrap();

        let (result, counted) = fault::with(at, Fault::DiskFull, || run_quietly(&store));
        if counted <= at {
            break;
        }
        if let Err(error) = result {
            refused += 1;
            let message = error.to_string();
            assert!(message.contains("nothing stored is lost"), "{message}");
            assert!(message.contains(&*root.path().to_string_lossy()), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        run_quietly(&store).unwrap();
        let kept = store.find(&earlier).unwrap().unwrap();
        assert_eq!(kept.files().read("data.bin").unwrap(), b"kept");
        fs::remove_dir_all(kept.folder()).unwrap();
        assert_eq!(content(root.path()), reference, "disk full at operation {at}");
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn metrics_after_a_failed_write_hold_each_line_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let StageState::Fresh(mut stage) = store.enter(&key()).unwrap() else { panic!() };
    stage.append_metrics(&1).unwrap();
    let (result, _) = fault::with(0, Fault::DiskFull, || stage.save_snapshot(1, |_| Ok(())));
    assert!(result.is_err());
    stage.append_metrics(&2).unwrap();
    stage.save_snapshot(2, |_| Ok(())).unwrap();
    assert_eq!(stage.finish().unwrap().metrics::<u64>().unwrap(), [1, 2]);
}

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "the child process of a_killed_process_is_resumed_to_the_same_files"]
fn child_process() {
    let root = std::env::var("STORE_TEST_ROOT").expect("run by another test");
    let store = Store::open(root).unwrap();
    run_stage(&store, &key(), &mut |_, _| {}, Duration::from_millis(20)).unwrap();
}

#[test]
fn a_killed_process_is_resumed_to_the_same_files() {
    let reference = undisturbed();
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for newest in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::child_process", "--exact", "--ignored"])
            .env("STORE_TEST_ROOT", root.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let partial = root.path().join(format!("runs/{}.partial", key().id()));
        while !partial.join(format!("snapshot-{newest}")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        let locked = store.enter(&key()).map(|_| ()).unwrap_err();
        assert!(matches!(locked, StoreError::Locked { .. }), "{locked}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut resumed = Vec::new();
    let mut on_state = |state: &str, step| resumed.push((state.to_string(), step));
    run_stage(&store, &key(), &mut on_state, Duration::ZERO).unwrap();
    assert_eq!(resumed[0].0, "started");
    assert!(resumed[0].1 >= 2 * SNAPSHOT_EVERY, "{resumed:?}");
    assert_eq!(content(root.path()), reference);
}

#[test]
fn a_stage_is_taken_on_once_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let StageState::Fresh(stage) = store.enter(&key()).unwrap() else { panic!() };
    let error = Store::open(root.path()).unwrap().enter(&key()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { stage, .. } if *stage == key().id().to_string()));
    assert!(store.enter(&StageKey::new("other", 1, &(), &[]).unwrap()).is_ok());
    drop(stage);
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
    let finished = store.finished("count").unwrap();
    assert_eq!(finished.iter().map(|stage| stage.id()).collect::<Vec<_>>(), [key().id()]);
    assert!(store.finished("cou").unwrap().is_empty());
}

/// Damages one file of a finished stage and returns what the store then says.
fn damaged(name: &str, damage: impl Fn(&Path)) -> (String, String) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let folder = run_quietly(&store).unwrap().folder().to_path_buf();
    damage(&folder.join(name));
    let read = |stage: DoneStage| stage.files().read(name).map(|_| ());
    let error = store.find(&key()).and_then(|stage| read(stage.unwrap())).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    let advice = format!("delete the folder {}", folder.display());
    assert!(message.contains(&advice), "{message}");
    assert!(message.starts_with(&folder.join(name).display().to_string()), "{message}");

    fs::remove_dir_all(&folder).unwrap();
    run_quietly(&store).unwrap().files().verify().unwrap();
    let folder = folder.display().to_string();
    (message.replace(&folder, "DIR"), folder)
}

#[test]
fn a_truncated_checkpoint_is_found_out() {
    let (message, _) = damaged("model.bin", |path| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(799).unwrap();
    });
    assert!(message.contains("found 799 bytes, expected 800 bytes"), "{message}");
}

#[test]
fn an_altered_checkpoint_is_found_out() {
    let (message, _) = damaged("model.bin", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[400] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(message.contains("found 800 bytes with sha256"), "{message}");
}

#[test]
fn a_missing_checkpoint_is_found_out() {
    let (message, _) = damaged("model.bin", |path| fs::remove_file(path).unwrap());
    assert!(message.contains("found no such file, expected 800 bytes"), "{message}");
}

#[test]
fn a_damaged_record_is_found_out() {
    damaged("done", |path| fs::remove_file(path).unwrap());
    damaged("done", |path| fs::write(path, "{\"kind\":").unwrap());
    let (message, _) = damaged("done", |path| {
        let text = fs::read_to_string(path).unwrap().replace("\"steps\": 7", "\"steps\": 8");
        fs::write(path, text).unwrap();
    });
    assert!(message.contains("the record of stage count-"), "{message}");
}

#[test]
fn a_damaged_snapshot_is_not_resumed_from() {
    let reference = undisturbed();
    for name in ["model.bin", "snapshot.json"] {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        // Cut off in the middle: operation 30 comes after the second snapshot.
        let (cut, _) = fault::with(30, Fault::Crash, || run_quietly(&store));
        cut.unwrap_err();
        let partial = root.path().join(format!("runs/{}.partial", key().id()));
        for entry in durable::entries(&partial).unwrap() {
            if entry.join(name).exists() {
                fs::write(entry.join(name), "altered").unwrap();
            }
        }
        let mut states = Vec::new();
        let mut on_state = |state: &str, _| states.push(state.to_string());
        run_stage(&store, &key(), &mut on_state, Duration::ZERO).unwrap();
        assert_eq!(states[0], "fresh", "{name}");
        assert_eq!(content(root.path()), reference);
    }
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

#[test]
fn an_atomic_write_replaces_all_or_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("report/results.csv");
    write_atomic(&path, b"old").unwrap();
    for at in 0..4 {
        let (result, counted) = fault::with(at, Fault::Crash, || write_atomic(&path, b"new and longer"));
        if counted <= at {
            assert_eq!(fs::read(&path).unwrap(), b"new and longer");
            break;
        }
        let error = result.unwrap_err().to_string();
        assert!(error.contains("results.csv: killed"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old", "crash at {at}");
    }
    let full = fault::with(0, Fault::DiskFull, || write_atomic(&path, b"third"));
    assert!(full.0.unwrap_err().to_string().contains("free some space"));
    assert_eq!(fs::read(&path).unwrap(), b"new and longer");
}
