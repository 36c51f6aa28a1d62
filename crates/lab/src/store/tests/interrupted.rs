//! Runs that are cut off, killed or out of space end with the files of an undisturbed run.

use std::cell::Cell;
use std::process::{Command, Stdio};

use super::*;

#[test]
fn a_crash_at_any_file_operation_loses_no_snapshot_and_changes_no_result() {
    assert_any_crash_is_recovered(impatient, |_| {});
}

#[test]
fn a_crash_on_another_machine_at_any_file_operation_is_recovered_after_the_lease() {
    let open = |root: &Path| {
        let options = StoreOptions { heartbeat: Duration::from_millis(1), lease: Duration::ZERO };
        Store::open_as(root, options, elsewhere(1)).unwrap()
    };
    // A claim of a stage that is done is in nobody's way, and removed after a day.
    assert_any_crash_is_recovered(open, |root| claim_files(root).iter().for_each(|path| housekeeping::make_old(path)));
}

/// Crashes a stage at each of its operations and finishes it in another process; `later` passes before a last look.
fn assert_any_crash_is_recovered(open: impl Fn(&Path) -> Store, later: impl Fn(&Path)) {
    let reference = undisturbed();
    for at in 0.. {
        let root = tempfile::tempdir().unwrap();
        let store = open(root.path());
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
        let store = impatient(root.path());
        run_stage(&store, &key(), &mut on_state, Duration::ZERO).unwrap();
        assert!(resumed_at >= Some(saved.get()), "crash {at}: {resumed_at:?} < {}", saved.get());
        assert_eq!(content(root.path()), reference, "crash at operation {at}");
        later(root.path());
        impatient(root.path());
        let left = (claim_files(root.path()), durable::entries(root.path()).unwrap().len());
        assert_eq!(left, (vec![], 2), "crash at operation {at}");
    }
}

#[test]
fn a_crash_during_the_recovery_from_a_crash_is_recovered_too() {
    let reference = undisturbed();
    for first in (5..60).step_by(11) {
        for second in (0..12).step_by(2) {
            let root = tempfile::tempdir().unwrap();
            let store = impatient(root.path());
            let (_, _) = fault::with(first, Fault::Crash, || run_quietly(&store));
            let (_, _) = fault::with(second, Fault::Crash, || run_quietly(&store));
            run_quietly(&store).unwrap();
            assert_eq!(content(root.path()), reference, "crashes at {first} and {second}");
        }
    }
}

#[test]
fn the_folder_of_an_earlier_release_is_gone_on_from() {
    let root = tempfile::tempdir().unwrap();
    let store = impatient(root.path());
    let StageState::Fresh(stage) = store.enter(&key()).unwrap() else { panic!() };
    let mut work = Work::fresh(stage);
    work.one_step().unwrap();
    work.save().unwrap();
    drop(work);
    let earlier = root.path().join(RUNS).join(format!("{}.partial", key().id()));
    fs::rename(partial(root.path(), &key()), earlier).unwrap();
    let mut resumed = Vec::new();
    run_stage(&store, &key(), &mut |state, step| resumed.push((state.to_string(), step)), Duration::ZERO).unwrap();
    assert_eq!(resumed[0], ("started".to_string(), 1));
    assert_eq!(content(root.path()), undisturbed());
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
    let Ok(root) = std::env::var("STORE_TEST_ROOT") else {
        return;
    };
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
            .args(["store::tests::interrupted::child_process", "--exact", "--ignored"])
            .env("STORE_TEST_ROOT", root.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !is_saved(root.path(), &key(), newest) {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        let StageState::Claimed(holder) = store.enter(&key()).unwrap() else { panic!() };
        assert_eq!(holder.pid, child.id());
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
