//! What is listed, what is removed, and that nothing is left behind for ever.

use std::time::SystemTime;

use super::*;

const DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

/// Makes a file or folder look as if it had not changed for two days.
pub(super) fn make_old(path: &Path) {
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - DAYS).unwrap();
}

fn begin(store: &Store, key: &StageKey) -> ActiveStage {
    let StageState::Fresh(mut stage) = store.enter(key).unwrap() else { panic!() };
    stage.save_snapshot(1, |files| files.write("state.bin", &[0; 1000])).unwrap();
    stage
}

fn named(kind: &str) -> StageKey {
    StageKey::new(kind, 1, &(), &[]).unwrap()
}

#[test]
fn stages_are_listed_with_their_state_size_and_holder() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.list().unwrap(), []);
    let begun = SystemTime::now() - Duration::from_secs(2);
    let held = begin(&store, &named("held"));
    drop(begin(&store, &named("left")));
    run_quietly(&store).unwrap();
    fs::create_dir(root.path().join("runs/no-stage")).unwrap();

    let listed = store.list().unwrap();
    let states: Vec<_> = listed.iter().map(|entry| (entry.kind.as_str(), entry.state)).collect();
    assert_eq!(
        states,
        [("count", StageProgress::Done), ("held", StageProgress::Unfinished), ("left", StageProgress::Unfinished)]
    );
    assert_eq!(listed[0].id, *key().id());
    let bytes: u64 = durable::entries(store.find(&key()).unwrap().unwrap().folder())
        .unwrap()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(listed[0].bytes, bytes);
    assert!(listed[1].bytes > 1000, "{listed:?}");
    assert!(listed.iter().all(|entry| entry.modified >= begun), "{listed:?}");
    let holders: Vec<_> = listed.iter().map(|entry| entry.claimed.as_ref().map(|claim| claim.pid)).collect();
    assert_eq!(holders, [None, Some(std::process::id()), None]);
    drop(held);
}

#[test]
fn a_stage_is_removed_unless_somebody_works_on_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let held = begin(&store, &named("held"));
    let refused = store.remove(named("held").id()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }));
    let message = refused.to_string();
    assert!(message.contains(&format!("in use by process {}", std::process::id())), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    drop(held);
    run_quietly(&store).unwrap();
    for entry in store.list().unwrap() {
        assert_eq!(store.remove(&entry.id).unwrap(), entry.bytes);
        assert_eq!(store.remove(&entry.id).unwrap(), 0);
    }
    assert_eq!(store.list().unwrap(), []);
    assert!(content(root.path()).is_empty());
    assert!(claim_files(root.path()).is_empty());
    run_quietly(&store).unwrap();
    assert_eq!(content(root.path()), undisturbed());
}

#[test]
fn an_id_from_elsewhere_cannot_lead_out_of_the_store() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path().join("store")).unwrap();
    let id: StageId = serde_json::from_str("\"../../store\"").unwrap();
    assert!(matches!(store.remove(&id).unwrap_err(), StoreError::InvalidName { .. }));
    assert!(root.path().join("store/runs").is_dir());
}

#[test]
fn a_removal_that_is_cut_off_leaves_the_stage_whole_or_gone() {
    for at in 0.. {
        let root = tempfile::tempdir().unwrap();
        let store = impatient(root.path());
        run_quietly(&store).unwrap();
        let (removed, counted) = fault::with(at, Fault::Crash, || store.remove(key().id()));
        if let Some(done) = store.find(&key()).unwrap() {
            done.files().verify().unwrap();
        }
        impatient(root.path());
        let whole = store.find(&key()).unwrap().is_some();
        assert_eq!(content(root.path()).is_empty(), !whole, "cut off at {at}");
        run_quietly(&store).unwrap();
        assert_eq!(content(root.path()), undisturbed(), "cut off at {at}");
        if counted <= at {
            removed.unwrap();
            assert!(at > 8, "only {at} operations were counted");
            break;
        }
    }
}

#[test]
fn opening_removes_what_others_left_of_stages_that_are_done_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    run_quietly(&store).unwrap();
    drop(begin(&store, &named("left")));
    let reference = content(root.path());
    let claim = |process: &Process, key: &StageKey| {
        let path = root.path().join(format!("claims/{}.3", key.id()));
        let record = super::super::holder::Record::new(process, nonce::nonce(), Duration::from_secs(5));
        fs::write(&path, record.to_bytes()).unwrap();
        path
    };
    let folder = |name: String| {
        let path = root.path().join(RUNS).join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("model.bin"), "left").unwrap();
        path
    };
    let reopen = || drop(Store::open(root.path()).unwrap());

    // A claim of a stage that is done: of a process that ended, or of one that nobody can know of.
    let ended = Process { started: Some(1), ..Process::current() };
    if Process::current().machine.is_some() {
        claim(&ended, &key());
        reopen();
        assert!(claim_files(root.path()).is_empty());
    }
    let foreign = claim(&elsewhere(1), &key());
    reopen();
    assert!(foreign.exists());
    make_old(&foreign);
    // That of a stage that is not done is for who takes it on.
    let kept = claim(&elsewhere(1), &named("left"));
    make_old(&kept);

    folder(".trash-0123".into());
    let zombie = folder(format!("{}.0123.partial", key().id()));
    let probe = root.path().join(".writable-0123");
    fs::write(&probe, "").unwrap();
    reopen();
    assert!(zombie.exists() && probe.exists());
    make_old(&zombie);
    make_old(&probe);
    reopen();
    assert_eq!(content(root.path()), reference);
    assert_eq!(claim_files(root.path()), [kept]);
    assert_eq!(durable::entries(root.path()).unwrap().len(), 2);
}

#[test]
fn a_stage_with_several_folders_is_watched_and_listed_once() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for (name, metrics) in [("a", "1\n"), ("b", "1\n2\n"), ("b-0", "")] {
        let folder = root.path().join(RUNS).join(format!("{}.{name}.partial", key().id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.toml"), "").unwrap();
        fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
    }
    let watched = watch(root.path()).unwrap();
    assert_eq!(watched.len(), 1);
    assert_eq!((watched[0].id.as_str(), watched[0].metrics.as_str()), (key().id().as_str(), "1\n2\n"));
    let listed = store.list().unwrap();
    assert_eq!((listed.len(), listed[0].bytes), (1, 6));
    // Whoever takes the stage on leaves one folder.
    assert!(matches!(store.enter(&key()).unwrap(), StageState::Fresh(_)));
    partial(root.path(), &key());
}

#[test]
fn files_that_were_being_written_are_swept_after_a_day_and_others_never() {
    let root = tempfile::tempdir().unwrap();
    let orphans = [format!(".{}.tmp", "0123456789abcdef".repeat(2)), ".results.csv.4711-3.tmp".to_string()];
    let others = [".hidden.tmp", "a.tmp", ".x", "results.csv"].map(String::from);
    for name in orphans.iter().chain(&others) {
        fs::write(root.path().join(name), "x").unwrap();
    }
    sweep_temporary(root.path());
    assert!(orphans.iter().all(|name| root.path().join(name).exists()), "one of them may be being written");
    orphans.iter().chain(&others).for_each(|name| make_old(&root.path().join(name)));
    sweep_temporary(root.path());
    assert!(orphans.iter().all(|name| !root.path().join(name).exists()));
    assert!(others.iter().all(|name| root.path().join(name).exists()));
}
