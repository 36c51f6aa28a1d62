//! One store, many processes: they divide the stages among them, and take over what one leaves that dies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::common::{Finished, Folder, assert_same_files, finished, tradeoff};

/// Starts `tradeoff` twice on one store. The text should be there, or one waits for the other to tokenise it.
fn start_two(folder: &Folder) -> [Child; 2] {
    let mut arguments = folder.tiny();
    // Snapshots after every step make the stages long enough to be seen.
    arguments.extend(["--jobs", "1", "--snapshot-every", "0"].map(String::from));
    [(); 2].map(|()| tradeoff(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn end(child: Child) -> Finished {
    Finished::from(child.wait_with_output().unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn is_training(stage: &str) -> bool {
    stage.starts_with("pretrain-") || stage.starts_with("finetune-")
}

/// Stages that a process holds a claim on.
fn held_by(claims: &Path, process: u32) -> Vec<String> {
    let holder = |name: &String| -> Option<u64> {
        let content: Value = serde_json::from_slice(&fs::read(claims.join(name)).ok()?).ok()?;
        content["process"]["pid"].as_u64()
    };
    let mine = names(claims).into_iter().filter(|name| holder(name) == Some(u64::from(process)));
    mine.map(|name| name.split('.').next().unwrap().to_string()).collect()
}

/// What was seen of two processes at work.
#[derive(Default)]
struct Seen {
    /// The folders that were worked in, by stage: each attempt at a stage has one of its own.
    attempts: BTreeMap<String, BTreeSet<String>>,
    /// The stages that each process held.
    held: [BTreeSet<String>; 2],
}

impl Seen {
    fn look(&mut self, out: &Path, processes: [u32; 2]) {
        for name in names(&out.join("runs")).into_iter().filter(|name| name.ends_with(".partial")) {
            let stage = name.split('.').next().unwrap().to_string();
            self.attempts.entry(stage).or_default().insert(name);
        }
        for (held, process) in self.held.iter_mut().zip(processes) {
            held.extend(held_by(&out.join("claims"), process));
        }
    }
}

#[track_caller]
fn assert_as_one_process_leaves_it(folder: &Folder) {
    assert_eq!(folder.results(), finished().results());
    assert_same_files(&folder.store(), &finished().store());
    assert_eq!(names(&folder.out().join("claims")), Vec::<String>::new());
}

#[test]
fn two_processes_on_one_store_divide_the_stages_and_both_end_with_all_results() {
    let folder = Folder::with_text();
    let mut children = start_two(&folder);
    let processes = [children[0].id(), children[1].id()];
    let mut seen = Seen::default();
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        seen.look(&folder.out(), processes);
        thread::sleep(Duration::from_millis(1));
    }
    for child in children {
        let page = end(child).success();
        assert_eq!(page.trim(), folder.out().join("report/index.html").display().to_string());
    }
    assert_as_one_process_leaves_it(&folder);
    let pretrained = seen.attempts.keys().filter(|stage| stage.starts_with("pretrain-")).count();
    assert_eq!(pretrained, 4, "not every pretraining was seen at work: {:?}", seen.attempts);
    let twice: Vec<_> = seen.attempts.values().filter(|attempts| attempts.len() > 1).collect();
    assert!(twice.is_empty(), "stages that were computed twice: {twice:?}");
    let [first, second] = seen.held.map(|held| held.iter().filter(|stage| is_training(stage)).count());
    assert!(first > 0 && second > 0, "of 28 trainings one process was seen at {first}, the other at {second}");
}

#[test]
fn the_stage_of_a_process_that_is_killed_is_taken_over_by_the_other() {
    let folder = Folder::with_text();
    let [mut killed, other] = start_two(&folder);
    let (runs, claims) = (folder.out().join("runs"), folder.out().join("claims"));
    let snapshots = |stage: &str| -> Option<PathBuf> {
        let partials = names(&runs).into_iter().filter(|name| name.starts_with(stage) && name.ends_with(".partial"));
        partials.map(|name| runs.join(name)).find(|path| names(path).iter().any(|name| name.starts_with("snapshot-")))
    };
    // Killed in a training that has a snapshot.
    loop {
        let held = held_by(&claims, killed.id());
        if held.iter().any(|stage| is_training(stage) && snapshots(stage).is_some()) {
            break;
        }
        if killed.try_wait().unwrap().is_some() {
            panic!("the program ended before it was seen in a training: {:?}", end(killed));
        }
        thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = held_by(&claims, killed.id());
    assert_eq!(left.len(), 1, "a process with one job is in one stage: {left:?}");
    end(other).success();
    assert!(runs.join(&left[0]).is_dir(), "{} was not taken over", left[0]);
    assert_as_one_process_leaves_it(&folder);
}
