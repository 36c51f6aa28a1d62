//! Accidents on the disk: files cut off or altered, and a disk that is full.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{self, Finished, Folder, assert_same_files, files, finished, in_shell, program, tradeoff};

/// The file of that name in the first stage of a kind.
fn stage_file(folder: &Folder, kind: &str, name: &str) -> PathBuf {
    let paths = common::paths(&folder.out().join("runs"));
    let of_kind = |path: &Path| {
        let stage = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        stage.starts_with(&format!("{kind}-")) && path.ends_with(name)
    };
    paths.into_iter().find(|path| of_kind(path)).unwrap_or_else(|| panic!("no {name} in a {kind} stage"))
}

/// The refusal names the file and the folder to delete; deleting it and running again leads to the results that were
/// lost.
#[track_caller]
fn assert_found_and_recovered(folder: &Folder, damaged: &Path) {
    let stage = damaged.parent().unwrap();
    let line = Finished::of(&mut tradeoff(folder.tiny())).refusal();
    assert!(line.contains(&format!("{}: found", damaged.display())), "{line}");
    assert!(line.contains(&format!("to recover, delete the folder {} and run again", stage.display())), "{line}");
    fs::remove_dir_all(stage).unwrap();
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
    assert_same_files(&folder.store(), &finished().store());
}

/// Takes away all stages of some kinds.
fn remove_stages(folder: &Folder, kinds: &[&str]) {
    for entry in fs::read_dir(folder.out().join("runs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if kinds.iter().any(|kind| name.starts_with(&format!("{kind}-"))) {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

#[test]
fn a_truncated_checkpoint_is_found_even_when_only_results_are_read() {
    let folder = Folder::with_finished_run();
    let weights = stage_file(&folder, "pretrain", "model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_found_and_recovered(&folder, &weights);
}

#[test]
fn an_altered_checkpoint_is_found_by_its_checksum_before_it_is_finetuned() {
    let folder = Folder::with_finished_run();
    remove_stages(&folder, &["measure", "finetune"]);
    let weights = stage_file(&folder, "pretrain", "model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    // A bit of a weight, far behind the header: the file still reads as a checkpoint.
    let place = bytes.len() - 5;
    bytes[place] ^= 1;
    fs::write(&weights, bytes).unwrap();
    assert_found_and_recovered(&folder, &weights);
}

#[test]
fn an_altered_result_is_found() {
    let folder = Folder::with_finished_run();
    let result = stage_file(&folder, "finetune", "result.json");
    let text = fs::read_to_string(&result).unwrap();
    let digit = text.find("\"pretrain\": ").expect("a loss") + "\"pretrain\": ".len();
    let mut bytes = text.into_bytes();
    bytes[digit] = if bytes[digit] == b'9' { b'1' } else { bytes[digit] + 1 };
    fs::write(&result, bytes).unwrap();
    assert_found_and_recovered(&folder, &result);
}

#[test]
fn a_missing_record_is_found() {
    let folder = Folder::with_finished_run();
    let record = stage_file(&folder, "pretrain", "done");
    fs::remove_file(&record).unwrap();
    assert_found_and_recovered(&folder, &record);
}

/// A program in a shell that lets no file grow beyond so many blocks of 512 bytes, as a disk that fills up does.
fn short_of_space<A: AsRef<OsStr>>(blocks: u32, name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    in_shell(&format!("trap '' XFSZ; ulimit -f {blocks}"), name, arguments)
}

/// `tradeoff` on such a disk.
fn on_a_full_disk(folder: &Folder, blocks: u32) -> Command {
    short_of_space(blocks, "tradeoff", folder.tiny())
}

/// Runs with too little space for a file of that stage, then with enough.
#[track_caller]
fn assert_nothing_lost_by_a_full_disk(folder: &Folder, blocks: u32, stage: &str) {
    let line = Finished::of(&mut on_a_full_disk(folder, blocks)).refusal();
    assert!(line.contains(&format!("cannot write {}/runs/{stage}-", folder.out().display())), "{line}");
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
    assert_same_files(&folder.store(), &finished().store());
}

#[test]
fn a_disk_too_full_for_the_tokens_ends_the_run_in_one_line() {
    assert_nothing_lost_by_a_full_disk(&Folder::new(), 2, "tokens");
}

#[test]
fn a_disk_too_full_for_a_checkpoint_ends_the_run_in_one_line_and_keeps_what_is_finished() {
    let folder = Folder::with_finished_run();
    remove_stages(&folder, &["pretrain", "measure", "finetune"]);
    assert_nothing_lost_by_a_full_disk(&folder, 40, "pretrain");
}

#[test]
fn a_disk_that_fills_up_at_the_report_leaves_the_store_and_the_old_report() {
    let folder = Folder::with_finished_run();
    let page = folder.out().join("report/index.html");
    let before = fs::read(&page).unwrap();
    let line = Finished::of(&mut on_a_full_disk(&folder, 2)).refusal();
    assert!(line.contains("report"), "{line}");
    assert_eq!(fs::read(&page).unwrap(), before);
    assert_same_files(&folder.store(), &finished().store());
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
}

/// Files of a report are small and large: at each size the disk is full for another one first.
#[test]
fn a_disk_that_fills_up_at_any_file_of_the_report_leaves_the_old_one_whole() {
    let folder = Folder::with_finished_run();
    let report = folder.out().join("report");
    let before = files(&report);
    let mut named = BTreeSet::new();
    for blocks in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] {
        let ended = Finished::of(&mut on_a_full_disk(&folder, blocks));
        if ended.code == Some(0) {
            break;
        }
        let line = ended.refusal();
        let file = line.split("/report").nth(1).unwrap_or_else(|| panic!("{blocks} blocks: {line}"));
        named.insert(file.split([':', ' ']).next().unwrap().rsplit('/').next().unwrap().to_string());
        assert!(line.contains("File too large"), "{line}");
        assert_same_files(&files(&report), &before);
        assert_same_files(&folder.store(), &finished().store());
    }
    assert!(named.len() >= 3, "{named:?}");
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), finished().results());
}

#[test]
fn a_disk_that_fills_up_under_other_programs_is_one_line_and_a_second_run_makes_the_same_files() {
    let folder = Folder::with_finished_run();
    let out = folder.path("out");
    let generated = |name: &str| {
        let out = folder.path(name);
        ["export", "math", "--train", "40", "--test", "4", "--out", &out].map(String::from).to_vec()
    };
    let board = folder.out().join("tensorboard");
    let cases = [
        ("export-tensorboard", vec!["--out".into(), out.clone()], board.clone()),
        ("synthetic-lm", generated("generated"), folder.root().join("generated")),
    ];
    for (name, arguments, written) in cases {
        let line = Finished::of(&mut short_of_space(1, name, &arguments)).refusal();
        assert!(line.contains(written.to_str().unwrap()), "{name}: {line}");
        assert!(line.contains("File too large"), "{name}: {line}");
        assert!(program(name, &arguments).output().unwrap().status.success(), "{name}");
        let twice = files(&written);
        fs::remove_dir_all(&written).unwrap();
        assert!(program(name, &arguments).output().unwrap().status.success(), "{name}");
        let once = files(&written);
        if name == "export-tensorboard" {
            // Between two known moments times are rounded otherwise; no event is missing or there twice.
            let lengths = |files: &BTreeMap<String, Vec<u8>>| -> Vec<(String, usize)> {
                files.iter().map(|(name, content)| (name.clone(), content.len())).collect()
            };
            assert_eq!(lengths(&twice), lengths(&once));
        } else {
            assert_same_files(&twice, &once);
        }
    }
}

/// Not even the system's administrator makes a folder where a file is.
#[test]
fn a_file_in_the_place_of_a_folder_is_named_by_every_program_and_left_alone() {
    let folder = Folder::with_finished_run();
    let (out, results) = (folder.path("out"), folder.results());
    for name in ["report", "tensorboard"] {
        let _ = fs::remove_dir_all(folder.out().join(name));
        folder.file(&format!("out/{name}"), "mine");
    }
    folder.file("generated", "mine");
    let generated = folder.path("generated");
    let cases: [(&str, Vec<String>, &str); 3] = [
        ("tradeoff", folder.tiny(), "out/report"),
        ("export-tensorboard", vec!["--out".into(), out], "out/tensorboard"),
        (
            "synthetic-lm",
            ["export", "math", "--train", "4", "--test", "4", "--out", &generated].map(String::from).to_vec(),
            "generated",
        ),
    ];
    for (name, arguments, file) in cases {
        let line = Finished::of(&mut program(name, &arguments)).refusal();
        assert!(line.contains(file), "{name}: {line}");
        assert_eq!(fs::read_to_string(folder.root().join(file)).unwrap(), "mine", "{name}");
    }
    fs::remove_file(folder.out().join("report")).unwrap();
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_eq!(folder.results(), results);
}
