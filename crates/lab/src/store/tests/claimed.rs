//! Who gets a stage that several ask for, when a dead claim is taken over, and what its old holder can still do.

use std::sync::Barrier;
use std::time::Instant;

use proptest::prelude::*;

use super::holder::Record;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Leaves the claim of a process that does not beat.
fn claim_of(root: &Path, process: &Process, heartbeat: Duration) -> PathBuf {
    let path = root.join(format!("claims/{}.7", key().id()));
    fs::write(&path, Record::new(process, nonce::nonce(), heartbeat).to_bytes()).unwrap();
    path
}

fn is_claimed(store: &Store) -> bool {
    matches!(store.enter(&key()).unwrap(), StageState::Claimed(_))
}

/// Asks until the stage is given; returns the time since the first question, and what was given.
fn ask(store: &Store) -> (Duration, StageState) {
    let start = Instant::now();
    loop {
        match store.enter(&key()).unwrap() {
            StageState::Claimed(_) => std::thread::sleep(Duration::from_millis(1)),
            state => return (start.elapsed(), state),
        }
    }
}

fn with_lease(root: &Path, lease: Duration) -> Store {
    Store::open_with(root, StoreOptions { lease, ..StoreOptions::default() }).unwrap()
}

/// A holder on another machine that stops living right after it took the stage on.
fn paused_holder(root: &Path) -> ActiveStage {
    let options = StoreOptions { heartbeat: Duration::from_millis(1), lease: HOUR };
    let StageState::Fresh(stage) = Store::open_as(root, options, elsewhere(1)).unwrap().enter(&key()).unwrap() else {
        panic!()
    };
    pause(root);
    stage
}

/// Stops the heartbeat of all claims that there are.
fn pause(root: &Path) {
    let records = claim_files(root).into_iter().filter_map(|path| Record::parse(&fs::read(path).unwrap()));
    records.for_each(|record| heartbeat::stop(&record.nonce));
}

#[test]
fn a_dead_claim_of_another_machine_is_taken_over_after_the_lease_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(80);
    let store = with_lease(root.path(), lease);
    let path = claim_of(root.path(), &elsewhere(1), Duration::ZERO);
    let (waited, state) = ask(&store);
    assert!(matches!(state, StageState::Fresh(_)));
    assert!(waited >= lease, "{waited:?}");
    assert!(!path.exists());
    assert_eq!(claim_files(root.path()), [root.path().join(format!("claims/{}.8", key().id()))]);
    drop(state);
    assert!(claim_files(root.path()).is_empty());
}

#[test]
fn the_lease_is_at_least_three_heartbeats_of_the_holder() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), Duration::ZERO);
    claim_of(root.path(), &elsewhere(1), Duration::from_millis(40));
    assert!(ask(&store).0 >= Duration::from_millis(120));
}

#[test]
fn every_beat_begins_the_lease_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), Duration::from_millis(80));
    let path = claim_of(root.path(), &elsewhere(1), Duration::ZERO);
    let start = Instant::now();
    let mut last_beat = start;
    while start.elapsed() < Duration::from_millis(400) {
        // Between two of its questions the observer may be away for longer than the lease.
        let record = Record::parse(&fs::read(&path).unwrap()).unwrap();
        fs::write(&path, record.after_a_beat().to_bytes()).unwrap();
        last_beat = Instant::now();
        assert!(is_claimed(&store));
        std::thread::sleep(Duration::from_millis(20));
    }
    ask(&store);
    assert!(last_beat.elapsed() >= Duration::from_millis(80));
}

#[test]
fn clones_of_a_store_share_what_they_saw_and_other_handles_do_not() {
    let root = tempfile::tempdir().unwrap();
    let (store, other) = (with_lease(root.path(), Duration::from_millis(30)), with_lease(root.path(), HOUR));
    claim_of(root.path(), &elsewhere(1), Duration::ZERO);
    assert!(is_claimed(&store) && is_claimed(&other));
    std::thread::sleep(Duration::from_millis(40));
    assert!(is_claimed(&with_lease(root.path(), Duration::from_millis(30))));
    assert!(is_claimed(&other));
    assert!(!is_claimed(&store.clone()));
}

#[test]
fn a_claim_that_beats_is_not_taken_over_however_long_the_work() {
    let root = tempfile::tempdir().unwrap();
    let heartbeat = Duration::from_millis(10);
    let lease = Duration::from_secs(1);
    let holder = Store::open_as(root.path(), StoreOptions { heartbeat, lease }, elsewhere(1)).unwrap();
    let StageState::Fresh(stage) = holder.enter(&key()).unwrap() else { panic!() };
    let observer = with_lease(root.path(), lease);
    let start = Instant::now();
    while start.elapsed() < 3 * lease {
        assert!(is_claimed(&observer));
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.finish().unwrap();
    assert!(matches!(observer.enter(&key()).unwrap(), StageState::Done(_)));
}

#[cfg(target_os = "linux")]
#[test]
fn the_claim_of_a_process_that_ended_on_this_machine_is_taken_over_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    let here = Process::current();
    claim_of(root.path(), &ended_process(), HOUR);
    assert!(!is_claimed(&store));
    // The number is in use again, by this very process or by another one.
    for pid in [here.pid, std::os::unix::process::parent_id()] {
        claim_of(root.path(), &Process { pid, started: Some(1), ..here.clone() }, HOUR);
        assert!(!is_claimed(&store), "{pid}");
    }
    claim_of(root.path(), &Process { machine: None, ..ended_process() }, HOUR);
    assert!(is_claimed(&store));
}

#[cfg(target_os = "linux")]
#[test]
fn a_claim_that_this_process_could_not_give_back_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    let state = store.enter(&key()).unwrap();
    fault::with(0, Fault::Crash, || drop(state));
    assert_eq!(claim_files(root.path()).len(), 1);
    assert!(!is_claimed(&store));
}

/// A process that ran on this machine.
fn ended_process() -> Process {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    Process { pid, started: Some(1), ..Process::current() }
}

/// What a process leaves that ends between creating a claim and finding that it came too late.
#[cfg(target_os = "linux")]
#[test]
fn a_dead_claim_above_one_that_lives_gives_nobody_the_stage() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    let state = store.enter(&key()).unwrap();
    assert!(claim_files(root.path())[0].ends_with(format!("{}.1", key().id())));
    claim_of(root.path(), &ended_process(), HOUR);
    assert!(is_claimed(&store));
    drop(state);
    assert!(!is_claimed(&store));
    assert!(claim_files(root.path()).is_empty());
}

#[test]
fn a_claim_that_cannot_be_read_is_taken_over_after_the_lease() {
    for content in ["", "{\"process\":", "no claim"] {
        let root = tempfile::tempdir().unwrap();
        let (heartbeat, lease) = (Duration::from_millis(5), Duration::from_millis(30));
        let store = Store::open_with(root.path(), StoreOptions { heartbeat, lease }).unwrap();
        fs::write(root.path().join(format!("claims/{}.1", key().id())), content).unwrap();
        let StageState::Claimed(holder) = store.enter(&key()).unwrap() else { panic!() };
        assert_eq!(holder.to_string(), "process 0 on unknown");
        assert!(ask(&store).0 >= Duration::from_millis(20), "{content}");
    }
}

/// Lets all stores ask at the same moment; returns what they got.
fn race(stores: &[Store]) -> Vec<StageState> {
    let barrier = Barrier::new(stores.len());
    std::thread::scope(|scope| {
        let ask = |store| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                Store::enter(store, &key()).unwrap()
            })
        };
        let threads: Vec<_> = stores.iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[track_caller]
fn assert_one_winner(states: &[StageState], round: usize) {
    let winners = states.iter().filter(|state| !matches!(state, StageState::Claimed(_))).count();
    assert_eq!(winners, 1, "round {round}: {states:?}");
}

#[test]
fn of_eight_that_race_for_a_new_stage_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..8).map(|_| with_lease(root.path(), HOUR)).collect();
    for round in 0..200 {
        assert_one_winner(&race(&stores), round);
        assert!(claim_files(root.path()).is_empty());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn of_eight_that_race_for_a_dead_claim_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..8).map(|_| with_lease(root.path(), HOUR)).collect();
    let dead = ended_process();
    for round in 0..200 {
        claim_of(root.path(), &dead, HOUR);
        assert_one_winner(&race(&stores), round);
        assert!(claim_files(root.path()).is_empty());
    }
}

#[test]
fn of_eight_machines_that_race_for_a_claim_whose_lease_is_over_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let lease = Duration::from_millis(100);
    let options = StoreOptions { heartbeat: Duration::from_millis(5), lease };
    let open = |pid| {
        let process = Process { machine: Some(format!("machine {pid}")), ..elsewhere(pid) };
        Store::open_as(root.path(), options, process).unwrap()
    };
    let stores: Vec<_> = (0..8).map(open).collect();
    for round in 0..40 {
        claim_of(root.path(), &elsewhere(99), Duration::ZERO);
        assert!(stores.iter().all(is_claimed));
        std::thread::sleep(lease);
        assert_one_winner(&race(&stores), round);
        assert!(claim_files(root.path()).is_empty());
    }
}

#[test]
fn a_claim_that_beats_while_it_is_taken_over_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), Duration::from_millis(200));
    let path = claim_of(root.path(), &elsewhere(1), Duration::ZERO);
    assert!(is_claimed(&store));
    std::thread::sleep(Duration::from_millis(200));
    // The successor is made and withdrawn, because the claim changes just before it is looked at again.
    let woken = path.clone();
    let wake = move || {
        let record = Record::parse(&fs::read(&woken).unwrap()).unwrap();
        fs::write(&woken, record.after_a_beat().to_bytes()).unwrap();
    };
    assert_eq!(fault::paused(1, wake, || is_claimed(&store)), (true, true));
    assert_eq!(claim_files(root.path()), [path]);
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::ClaimLost { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(key().id().as_str()) && message.contains("run again"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_holder_that_was_paused_notices_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut zombie = Work::fresh(paused_holder(root.path()));
    for _ in 0..2 {
        zombie.one_step().unwrap();
    }
    zombie.save().unwrap();
    zombie.one_step().unwrap();

    let store = with_lease(root.path(), Duration::from_millis(20));
    let StageState::Started(stage, snapshot) = ask(&store).1 else { panic!() };
    let mut work = Work::started(stage, &snapshot).unwrap();
    assert_eq!(work.step, 2);
    let before = (content(root.path()), claim_files(root.path()));
    assert_lost(zombie.save());
    assert_lost(zombie.stage.files().write("model.bin", b"wrong"));
    assert_lost(zombie.stage.files().write_with("model.bin", |path| fs::write(path, b"wrong")));
    assert_lost(zombie.finish());
    assert_eq!((content(root.path()), claim_files(root.path())), before);

    while work.step < STEPS {
        work.one_step().unwrap();
    }
    work.finish().unwrap();
    assert_eq!(content(root.path()), undisturbed());
    assert!(claim_files(root.path()).is_empty());
}

#[test]
fn a_holder_that_is_paused_in_the_middle_of_a_snapshot_spoils_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut zombie = Work::fresh(paused_holder(root.path()));
    for _ in 0..4 {
        zombie.one_step().unwrap();
        if zombie.step == 2 {
            zombie.save().unwrap();
        }
    }
    let store = with_lease(root.path(), Duration::from_millis(20));
    let mut taken = None;
    let lost = zombie.stage.save_snapshot(4, |files| {
        files.write_with("model.bin", |path| {
            // An open file of a folder that is taken away meanwhile.
            let mut open = fs::File::create(path)?;
            taken = Some(ask(&store).1);
            std::io::Write::write_all(&mut open, b"written too late")
        })
    });
    assert_lost(lost);
    let Some(StageState::Started(stage, snapshot)) = taken else { panic!() };
    assert_eq!(snapshot.step, 2);
    // Metrics that the old holder had still in memory, or writes to a file that it holds open.
    for _ in 0..2000 {
        zombie.stage.append_metrics(&json!({"step": 0, "text": "more than the memory that is kept for it"})).unwrap();
    }
    let mut work = Work::started(stage, &snapshot).unwrap();
    while work.step < STEPS {
        work.one_step().unwrap();
    }
    work.finish().unwrap();
    assert_eq!(content(root.path()), undisturbed());
    drop(zombie);
    assert_eq!(content(root.path()), undisturbed());
}

/// Pauses a process before each of its file operations, from asking for the stage to finishing it, until its lease is
/// over and `meanwhile` another one has worked on the stage. Returns how often each of the two ended with an error.
fn pause_everywhere(meanwhile: impl Fn(&Store) -> Option<Work> + Clone + 'static) -> (usize, usize) {
    let reference = undisturbed();
    let (mut refused_paused, mut refused_other, mut strays) = (0, 0, 0);
    for at in 0.. {
        let root = tempfile::tempdir().unwrap();
        // Something to be taken over from an earlier process.
        let earlier = fault::with(40, Fault::Crash, || run_quietly(&impatient(root.path()))).0;
        earlier.unwrap_err();
        let options = StoreOptions { heartbeat: Duration::from_millis(1), lease: Duration::ZERO };
        let paused = Store::open_as(root.path(), options, elsewhere(1)).unwrap();
        // The paused one gives it three of its heartbeats: a busy machine must not take it for dead meanwhile.
        let options = StoreOptions { heartbeat: Duration::from_millis(200), lease: Duration::from_millis(10) };
        let other = Store::open_with(root.path(), options).unwrap();
        for store in [&paused, &other] {
            store.claims.holder(key().id()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(15));
        let goes_on = std::rc::Rc::new(std::cell::RefCell::new(None));
        let (folder, kept, meanwhile) = (root.path().to_path_buf(), goes_on.clone(), meanwhile.clone());
        let meanwhile = move || {
            pause(&folder);
            *kept.borrow_mut() = meanwhile(&other);
        };
        let take_on_and_finish = || match paused.enter(&key())? {
            StageState::Claimed(_) => Ok(None),
            StageState::Done(done) => Ok(Some(done)),
            StageState::Fresh(stage) => Work::fresh(stage).save_all().map(Some),
            StageState::Started(stage, snapshot) => Work::started(stage, &snapshot)?.save_all().map(Some),
        };
        let (result, was_paused) = fault::paused(at, meanwhile, take_on_and_finish);
        let is_loss = |error: StoreError| {
            let gone = matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
            assert!(gone || matches!(error, StoreError::ClaimLost { .. }), "paused at {at}: {error}");
        };
        if let Err(error) = result {
            refused_paused += 1;
            is_loss(error);
        }
        if let Some(Err(error)) = goes_on.take().map(Work::save_all) {
            refused_other += 1;
            is_loss(error);
        }
        run_quietly(&impatient(root.path())).unwrap();
        let mut found = content(root.path());
        let folders = found.len();
        found.retain(|name, _| !name.contains(".partial"));
        strays += usize::from(found.len() < folders);
        assert_eq!(found, reference, "paused at {at}");
        if !was_paused {
            assert!(at > 60, "only {at} operations were counted");
            break;
        }
    }
    // That of a process that was paused just before it made its folder; removed after a day.
    assert!(strays <= 1, "{strays}");
    (refused_paused, refused_other)
}

#[test]
fn a_process_paused_at_any_operation_while_another_finishes_the_stage_spoils_nothing() {
    let (paused, other) = pause_everywhere(|other| {
        run_quietly(other).unwrap();
        None
    });
    assert!(paused > 30 && other == 0, "{paused} and {other}");
}

#[test]
fn a_process_paused_at_any_operation_while_another_takes_the_stage_on_spoils_nothing() {
    let (paused, other) = pause_everywhere(|other| {
        let mut work = match ask(other).1 {
            StageState::Fresh(stage) => Work::fresh(stage),
            StageState::Started(stage, snapshot) => Work::started(stage, &snapshot).unwrap(),
            _ => return None,
        };
        if work.step < STEPS {
            work.one_step().unwrap();
        }
        work.save().unwrap();
        Some(work)
    });
    assert!(paused > 30 && other == 0, "{paused} and {other}");
}

#[test]
fn a_holder_whose_claim_was_deleted_stops() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    let StageState::Fresh(mut stage) = store.enter(&key()).unwrap() else { panic!() };
    fs::remove_file(&claim_files(root.path())[0]).unwrap();
    assert_lost(stage.save_snapshot(1, |_| Ok(())));
    // Somebody else's claim of the same name is not removed.
    let StageState::Fresh(other) = store.enter(&key()).unwrap() else { panic!() };
    drop(stage);
    assert_eq!(claim_files(root.path()).len(), 1);
    other.finish().unwrap();
}

#[test]
fn a_stage_that_another_one_finished_meanwhile_is_that_ones() {
    let root = tempfile::tempdir().unwrap();
    let StageState::Fresh(stage) = Store::open(root.path()).unwrap().enter(&key()).unwrap() else { panic!() };
    let mut work = Work::fresh(stage);
    while work.step < STEPS {
        work.one_step().unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = run_quietly(&Store::open(elsewhere.path()).unwrap()).unwrap();
    fs::rename(theirs.folder(), root.path().join(RUNS).join(key().id().as_str())).unwrap();
    assert_eq!(work.finish().unwrap().key(), &key());
    assert_eq!(content(root.path()), undisturbed());
    assert!(claim_files(root.path()).is_empty());
}

#[test]
fn a_stage_that_is_finished_while_it_is_being_taken_on_is_done() {
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = run_quietly(&Store::open(elsewhere.path()).unwrap()).unwrap().folder().to_path_buf();
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    let target = root.path().join(RUNS).join(key().id().as_str());
    // Operation 2 makes the folder, after the claim.
    let finish = move || fs::rename(&theirs, &target).unwrap();
    let (state, paused) = fault::paused(2, finish, || store.enter(&key()).unwrap());
    assert!(paused && matches!(state, StageState::Done(_)), "{state:?}");
    assert_eq!(content(root.path()), undisturbed());
    assert!(claim_files(root.path()).is_empty());
}

#[test]
fn waiting_ends_when_the_stage_is_done_or_given_back() {
    let root = tempfile::tempdir().unwrap();
    let store = with_lease(root.path(), HOUR);
    for finish in [false, true] {
        let StageState::Fresh(stage) = store.enter(&key()).unwrap() else { panic!() };
        let mut told = 0;
        let ready = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.wait(&key(), |_| told += 1).unwrap());
            std::thread::sleep(Duration::from_millis(120));
            if finish {
                drop(stage.finish().unwrap())
            } else {
                drop(stage)
            }
            waiting.join().unwrap()
        });
        assert_eq!(matches!(ready, ReadyStage::Done(_)), finish, "{ready:?}");
        assert!((1..6).contains(&told), "{told}");
    }
}

/// What one of several processes does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Enter,
    StepAndSave,
    GiveBack,
    Pause,
    Finish,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Enter),
        4 => Just(Act::StepAndSave),
        1 => Just(Act::GiveBack),
        3 => Just(Act::Pause),
        1 => Just(Act::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever three machines do, and whenever one is paused until its lease is over: one of them at most holds the
    /// stage, no snapshot is lost, and the result is that of an undisturbed run.
    #[test]
    fn any_order_of_entering_pausing_and_finishing_gives_the_same_result(
        acts in proptest::collection::vec((0..3usize, any_act()), 1..40),
    ) {
        let root = tempfile::tempdir().unwrap();
        let options = StoreOptions { heartbeat: Duration::from_millis(1), lease: Duration::from_millis(15) };
        let open = |pid: u32| Store::open_as(root.path(), options, elsewhere(pid)).unwrap();
        let stores = [open(0), open(1), open(2)];
        let mut workers: [Option<Work>; 3] = [None, None, None];
        let mut saved = 0;
        for (index, act) in acts {
            let worker = &mut workers[index];
            match (act, worker.is_some()) {
                (Act::Enter, false) => match stores[index].enter(&key()).unwrap() {
                    StageState::Fresh(stage) => {
                        prop_assert_eq!(saved, 0);
                        *worker = Some(Work::fresh(stage));
                    }
                    StageState::Started(stage, snapshot) => {
                        prop_assert_eq!(snapshot.step, saved);
                        *worker = Some(Work::started(stage, &snapshot).unwrap());
                    }
                    StageState::Done(_) | StageState::Claimed(_) => {}
                },
                (Act::StepAndSave, true) => {
                    let work = worker.as_mut().unwrap();
                    if work.step < STEPS {
                        work.one_step().unwrap();
                    }
                    match work.save() {
                        Ok(()) => saved = work.step,
                        Err(error) => {
                            prop_assert!(matches!(error, StoreError::ClaimLost { .. }), "{}", error);
                            *worker = None;
                        }
                    }
                }
                (Act::GiveBack, _) => *worker = None,
                (Act::Pause, true) => {
                    heartbeat::stop(worker.as_ref().unwrap().stage.claim.nonce());
                    for store in &stores {
                        store.claims.holder(key().id()).unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(16));
                }
                (Act::Finish, true) => {
                    let mut work = worker.take().unwrap();
                    while work.step < STEPS {
                        work.one_step().unwrap();
                    }
                    if let Err(error) = work.finish() {
                        prop_assert!(matches!(error, StoreError::ClaimLost { .. }), "{}", error);
                    }
                }
                _ => {}
            }
            let holders = workers.iter().flatten().filter(|work| work.stage.claim.check().is_ok()).count();
            prop_assert!(holders <= 1, "{} hold the stage", holders);
        }
        drop(workers);
        run_quietly(&stores[0]).unwrap();
        prop_assert_eq!(content(root.path()), undisturbed());
        prop_assert!(claim_files(root.path()).is_empty());
    }
}
