//! Same seed, same results: whatever the number of jobs, and wherever a run was killed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::common::{self, Finished, Folder, assert_same_files, finished, tradeoff};

/// Arguments that make a kill in the middle of a training find a snapshot, and the program tell how far it is.
fn closely_watched(folder: &Folder) -> Vec<String> {
    let arguments = folder.tiny().into_iter().filter(|argument| argument != "--quiet");
    arguments.chain(["--snapshot-every".to_string(), "0".to_string()]).collect()
}

#[track_caller]
fn assert_as_if_never_cut_off(folder: &Folder) {
    assert_eq!(folder.results(), finished().results());
    assert_same_files(&folder.store(), &finished().store());
}

#[test]
fn two_jobs_give_the_results_of_one() {
    let folder = Folder::new();
    Finished::of(&mut tradeoff(folder.tiny().into_iter().chain(["--jobs".into(), "2".into()]))).success();
    assert_as_if_never_cut_off(&folder);
}

/// Moments are drawn by the number of jobs that the program has told to be done, with a random pause after that line,
/// so that they fall everywhere in a run on a fast machine and on a slow one.
#[test]
fn a_run_killed_at_any_of_five_random_moments_and_run_again_ends_as_if_never_killed() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let is_job = |line: &String| line.starts_with('[');
    let whole = Folder::with_finished_run();
    let told = Finished::of(&mut tradeoff(closely_watched(&whole))).stderr;
    let jobs = told.lines().map(String::from).filter(is_job).count();
    for fifth in 0..5 {
        let done = rng.random_range(fifth * jobs / 5..(fifth + 1) * jobs / 5);
        let pause = Duration::from_millis(rng.random_range(0..60));
        let folder = Folder::with_text();
        let mut child =
            tradeoff(closely_watched(&folder)).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = told.by_ref().map_while(Result::ok).filter(is_job).take(done).count();
        assert_eq!(seen, done, "the program ended before it was killed");
        thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(told);
        Finished::of(&mut tradeoff(folder.tiny())).success();
        assert_as_if_never_cut_off(&folder);
    }
}

#[test]
fn a_training_killed_half_way_goes_on_from_its_snapshot_to_the_same_bits() {
    let folder = Folder::with_text();
    let mut child = tradeoff(closely_watched(&folder)).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let runs = folder.out().join("runs");
    let half_way = || -> Option<std::path::PathBuf> {
        let stages = std::fs::read_dir(&runs).ok()?.flatten().map(|entry| entry.path());
        let mut trainings = stages.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("pretrain-") && name.ends_with(".partial")
        });
        // Snapshots are numbered from 0, one after every step here.
        trainings.find(|path| (5..30).any(|number| path.join(format!("snapshot-{number}")).is_dir()))
    };
    let partial = loop {
        if let Some(partial) = half_way() {
            break partial;
        }
        assert!(child.try_wait().unwrap().is_none(), "the program ended before a training was half way");
        thread::sleep(Duration::from_millis(1));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let snapshots = || {
        let names = common::paths(&partial).into_iter().map(|path| path.display().to_string());
        names.filter(|name| name.ends_with("snapshot.json")).count()
    };
    assert!(snapshots() >= 1, "a kill between two snapshots left none");
    Finished::of(&mut tradeoff(folder.tiny())).success();
    assert_as_if_never_cut_off(&folder);
}
