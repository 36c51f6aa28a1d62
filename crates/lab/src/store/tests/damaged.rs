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
