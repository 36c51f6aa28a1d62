//! The real thing: several processes on one store, and one that is paused.

use std::process::{Child, Command, Stdio};

use super::*;

const STAGES: u64 = 6;

fn stage(number: u64) -> StageKey {
    StageKey::new("shared", 1, &json!({ "number": number }), &[]).unwrap()
}

/// Runs a test of this file in a process of its own.
fn child(test: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("store::tests::processes::{test}"), "--exact", "--ignored", "--nocapture"])
        .env("STORE_TEST_ROOT", root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The store that the parent of this process named.
fn store_of_the_parent(options: StoreOptions) -> Option<Store> {
    let root = std::env::var("STORE_TEST_ROOT").ok()?;
    Some(Store::open_with(root, options).unwrap())
}

#[test]
#[ignore = "the child process of three_processes_share_the_work"]
fn worker() {
    let Some(store) = store_of_the_parent(StoreOptions::default()) else { return };
    let mut open: Vec<u64> = (0..STAGES).collect();
    while !open.is_empty() {
        open.retain(|&number| match store.enter(&stage(number)).unwrap() {
            StageState::Done(_) => false,
            StageState::Claimed(_) => true,
            StageState::Started(..) => panic!("nobody was cut off"),
            StageState::Fresh(stage) => {
                println!("computes {number}");
                let mut work = Work::fresh(stage);
                while work.step < STEPS {
                    work.one_step().unwrap();
                    work.save().unwrap();
                    std::thread::sleep(Duration::from_millis(3));
                }
                work.finish().unwrap();
                false
            }
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn three_processes_share_the_work() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let workers = [(); 3].map(|()| child("worker", root.path()));
    let mut computed = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        computed.extend(told.lines().filter_map(|line| line.strip_prefix("computes ")?.parse::<u64>().ok()));
    }
    computed.sort_unstable();
    assert_eq!(computed, (0..STAGES).collect::<Vec<_>>());
    for number in 0..STAGES {
        store.find(&stage(number)).unwrap().unwrap().files().verify().unwrap();
    }
    assert!(claim_files(root.path()).is_empty());
}

/// Caches of a network file system show old lists of folders. The rules hold all the same, since what they rest on (a
/// file that is created exclusively, a folder that is renamed) is decided by the server. Here two machines work on one
/// stage; what one computes beside the other is thrown away.
#[test]
fn two_machines_that_see_old_lists_of_folders_leave_what_one_leaves() {
    let reference = undisturbed();
    for round in 0..24 {
        let root = tempfile::tempdir().unwrap();
        let looks = [1, 3, 40][round % 3];
        let worker = |number: u32| {
            let options = StoreOptions { heartbeat: Duration::from_millis(1), lease: Duration::from_secs(60) };
            let machine = Process { machine: Some(format!("machine {number}")), ..elsewhere(number) };
            let store = Store::open_as(root.path(), options, machine).unwrap();
            let mut fresh = 0;
            let count = &mut |state: &str, _| fresh += usize::from(state == "fresh");
            let done = fault::cached(looks, || {
                loop {
                    match run_stage(&store, &key(), count, Duration::ZERO) {
                        // As the grid has it: somebody works on the stage, or will.
                        Err(StoreError::ClaimLost { .. }) => (),
                        done => break done.unwrap(),
                    }
                }
            });
            done.files().verify().unwrap();
            fresh
        };
        let worker = &worker;
        let both = std::thread::scope(|scope| {
            [1, 2].map(|number| scope.spawn(move || worker(number))).map(|thread| thread.join().unwrap())
        });
        // A second time where it was not seen yet that the first had finished.
        assert!((1..=2).contains(&both.iter().sum::<usize>()), "round {round}: {both:?}");
        assert_eq!(content(root.path()), reference, "round {round}");
        assert!(claim_files(root.path()).is_empty(), "round {round}");
    }
}

#[cfg(unix)]
#[test]
#[ignore = "the child process of a_process_that_was_paused_notices_that_its_stage_was_taken_over"]
fn sleeper() {
    let options = StoreOptions { heartbeat: Duration::from_millis(5), lease: Duration::from_secs(60) };
    let Some(store) = store_of_the_parent(options) else { return };
    let StageState::Fresh(stage) = store.enter(&key()).unwrap() else { panic!() };
    let mut work = Work::fresh(stage);
    work.one_step().unwrap();
    work.save().unwrap();
    loop {
        std::thread::sleep(Duration::from_millis(5));
        if let Err(error) = work.save() {
            println!("stopped: {error}");
            return;
        }
    }
}

#[cfg(unix)]
#[test]
fn a_process_that_was_paused_notices_that_its_stage_was_taken_over() {
    let root = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(300);
    let store = Store::open_with(root.path(), StoreOptions { lease, ..StoreOptions::default() }).unwrap();
    let mut sleeper = child("sleeper", root.path());
    let pid = libc::pid_t::try_from(sleeper.id()).unwrap();
    let signal = |signal| {
        // SAFETY: a child that has not been waited for, so that the number is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    };
    while !is_saved(root.path(), &key(), 0) {
        assert!(sleeper.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(libc::SIGSTOP);
    let mut resumed = Vec::new();
    run_stage(&store, &key(), &mut |state, step| resumed.push((state.to_string(), step)), Duration::ZERO).unwrap();
    assert_eq!(resumed[0], ("started".to_string(), 1));
    signal(libc::SIGCONT);
    let output = sleeper.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("stopped: this process no longer holds stage"), "{told}");
    assert_eq!(content(root.path()), undisturbed());
    assert!(claim_files(root.path()).is_empty());
}

#[test]
#[ignore = "the child process of the_heartbeat_ends_with_the_last_claim"]
fn beats() {
    let options = StoreOptions { heartbeat: Duration::from_millis(5), lease: Duration::from_secs(60) };
    let Some(store) = store_of_the_parent(options) else { return };
    let is_running_soon = |expected| {
        (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            heartbeat::is_running() == expected
        })
    };
    assert!(!heartbeat::is_running());
    for _ in 0..3 {
        let stages = [0, 1].map(|number| store.enter(&stage(number)).unwrap());
        assert!(heartbeat::is_running());
        let before = claim_files(store.root()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        std::thread::sleep(Duration::from_millis(50));
        let after = claim_files(store.root()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        assert_eq!(before.len(), 2);
        assert!(before.iter().zip(&after).all(|(before, after)| before != after && before.len() == after.len()));
        let [first, second] = stages;
        drop(first);
        assert!(heartbeat::is_running());
        drop(second);
        assert!(is_running_soon(false));
    }
    println!("ended");
}

#[test]
fn the_heartbeat_ends_with_the_last_claim() {
    let root = tempfile::tempdir().unwrap();
    let output = child("beats", root.path()).wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("ended"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
