//! Files that were cut, changed or removed are found out before they are used.

use super::*;

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
        let partial = partial(root.path(), &key());
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

/// A stage that is cut off with snapshots of two steps and metrics; returns its folder.
fn cut_off(root: &Path, key: &StageKey) -> PathBuf {
    let StageState::Fresh(stage) = impatient(root).enter(key).unwrap() else { panic!() };
    let mut work = Work::fresh(stage);
    for _ in 0..2 {
        work.one_step().unwrap();
        work.save().unwrap();
    }
    drop(work);
    partial(root, key)
}

/// What a stage that was cut off and changed is then begun as, and whether it ends with the files of an undisturbed
/// one.
fn begun_after(change: impl Fn(&Path)) -> String {
    let root = tempfile::tempdir().unwrap();
    change(&cut_off(root.path(), &key()));
    let mut states = Vec::new();
    run_stage(
        &impatient(root.path()),
        &key(),
        &mut |state, step| states.push(format!("{state} {step}")),
        Duration::ZERO,
    )
    .unwrap();
    assert_eq!(content(root.path()), undisturbed());
    states[0].clone()
}

/// Changes the record of the newest snapshot in a folder.
fn edit_record(partial: &Path, edit: impl Fn(&str) -> String) {
    let mut newest = durable::entries(partial).unwrap().into_iter().filter(|path| path.join("snapshot.json").exists());
    let record = newest.next_back().unwrap().join("snapshot.json");
    let edited = edit(&fs::read_to_string(&record).unwrap());
    assert_ne!(edited, fs::read_to_string(&record).unwrap());
    fs::write(record, edited).unwrap();
}

#[test]
fn a_snapshot_is_gone_on_from_only_as_it_was_taken() {
    assert_eq!(begun_after(|_| {}), "started 2");
    assert_eq!(
        begun_after(|partial| edit_record(partial, |text| text.replace("\"step\": 2", "\"step\": 5"))),
        "fresh 0"
    );
    let without_seal = |text: &str| {
        let mut record: serde_json::Value = serde_json::from_str(text).unwrap();
        record.as_object_mut().unwrap().remove("seal");
        record.to_string()
    };
    assert_eq!(begun_after(|partial| edit_record(partial, without_seal)), "fresh 0");
    let damaged_metrics = |partial: &Path| {
        let path = partial.join("metrics.jsonl");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"step\":1", "\"step\":3")).unwrap();
    };
    assert_eq!(begun_after(damaged_metrics), "fresh 0");
}

#[test]
fn the_snapshot_of_another_stage_is_not_gone_on_from() {
    let root = tempfile::tempdir().unwrap();
    let other = StageKey::new("count", 1, &json!({"steps": STEPS, "lr": 2e-3, "none": null}), &[]).unwrap();
    for sealed in [true, false] {
        let folder = cut_off(root.path(), &other);
        if !sealed {
            // As an earlier release wrote it: what lies beside it tells the stage.
            edit_record(&folder, |text| {
                let mut record: serde_json::Value = serde_json::from_str(text).unwrap();
                let fields = record.as_object_mut().unwrap();
                ["stage", "metrics_sha256", "seal"].iter().for_each(|field| drop(fields.remove(*field)));
                record.to_string()
            });
        }
        fs::rename(&folder, root.path().join(RUNS).join(format!("{}.0123.partial", key().id()))).unwrap();
        let StageState::Fresh(stage) = impatient(root.path()).enter(&key()).unwrap() else {
            panic!("sealed: {sealed}")
        };
        drop(stage);
    }
}

#[test]
fn the_snapshot_of_an_earlier_release_is_gone_on_from_by_its_own_stage() {
    let unsealed = |text: &str| {
        let mut record: serde_json::Value = serde_json::from_str(text).unwrap();
        let fields = record.as_object_mut().unwrap();
        ["stage", "metrics_sha256", "seal"].iter().for_each(|field| drop(fields.remove(*field)));
        record.to_string()
    };
    assert_eq!(begun_after(|partial| edit_record(partial, unsealed)), "started 2");
}

#[test]
fn damage_while_a_stage_is_worked_on_gets_no_valid_checksum() {
    for name in ["metrics.jsonl", "config.toml"] {
        for damage in [
            |path: &Path| fs::write(path, fs::read_to_string(path).unwrap().replacen('1', "9", 1)).unwrap(),
            |path: &Path| fs::remove_file(path).unwrap(),
        ] {
            let root = tempfile::tempdir().unwrap();
            let StageState::Fresh(stage) = Store::open(root.path()).unwrap().enter(&key()).unwrap() else { panic!() };
            let mut work = Work::fresh(stage);
            work.one_step().unwrap();
            work.save().unwrap();
            damage(&partial(root.path(), &key()).join(name));
            while work.step < STEPS {
                work.one_step().unwrap();
            }
            let error = work.finish().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("to recover, delete the folder"), "{error}");
            run_quietly(&impatient(root.path())).unwrap();
            assert_eq!(content(root.path()), undisturbed());
        }
    }
}
