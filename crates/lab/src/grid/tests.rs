//! Grids of small made-up stages.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::stage::Work;

/// What a made-up stage does beside adding.
type Act = Arc<dyn Fn(&Work<'_>) -> Result<(), Failure> + Send + Sync>;

/// Adds its number to the outputs of the stages before it.
struct Sum {
    number: u64,
    cost: u64,
    before: Vec<StageId>,
    act: Act,
}

impl Stage for Sum {
    const KIND: &'static str = "sum";
    const SEMANTICS: u32 = 1;
    type Key = u64;
    type Output = u64;

    fn key(&self) -> u64 {
        self.number
    }

    fn inputs(&self) -> Vec<StageId> {
        self.before.clone()
    }

    fn label(&self) -> String {
        format!("job {}", self.number)
    }

    fn cost(&self) -> u64 {
        self.cost
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<u64, Failure> {
        (self.act)(work)?;
        let mut sum = self.number;
        for input in &self.before {
            sum += work.input(input)?.files().read_json::<u64>(stage::RESULT)?;
        }
        Ok(sum)
    }

    fn summary(output: &u64) -> String {
        format!("sum {output}")
    }

    /// Nothing comes after 13.
    fn leads_on(output: &u64) -> bool {
        *output != 13
    }
}

fn nothing() -> Act {
    Arc::new(|_| Ok(()))
}

fn sum(number: u64) -> Sum {
    Sum { number, cost: 1, before: Vec::new(), act: nothing() }
}

fn workers(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn grid_in(root: &std::path::Path, jobs: usize, finished: Vec<PathBuf>) -> Grid {
    let (snapshot_every, display) = (Duration::from_secs(60), Display::Quiet);
    let options = Options { jobs: workers(jobs), snapshot_every, display, finished, shard: None };
    Grid::new(Store::open(root).unwrap(), options).unwrap()
}

fn grid(jobs: usize) -> (TempDir, Grid) {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid_in(folder.path(), jobs, Vec::new());
    (folder, grid)
}

/// Jobs given by their cost and the jobs before them, each noting when it started.
fn chain(grid: &mut Grid, edges: &[(u64, Vec<usize>)], started: &Arc<Mutex<Vec<usize>>>) -> Vec<Job<u64>> {
    let (mut jobs, mut ids): (Vec<Job<u64>>, Vec<StageId>) = (Vec::new(), Vec::new());
    for (number, (cost, before)) in edges.iter().enumerate() {
        let started = started.clone();
        let act: Act = Arc::new(move |_| {
            started.lock().unwrap().push(number);
            Ok(())
        });
        let inputs = before.iter().map(|&other| ids[other].clone()).collect();
        // Numbers above 13, after which nothing comes.
        let stage = Sum { number: 100 + number as u64, cost: *cost, before: inputs, act };
        ids.push(stage::id_of(&stage).unwrap());
        let after: Vec<AnyJob> = before.iter().map(|&other| jobs[other].any()).collect();
        jobs.push(grid.stage(stage, &after).unwrap());
    }
    jobs
}

fn edges() -> impl Strategy<Value = Vec<(u64, Vec<usize>)>> {
    let job = (1u64..20, prop::collection::vec(any::<prop::sample::Index>(), 0..3));
    prop::collection::vec(job, 1..7).prop_map(|jobs| {
        let earlier = |place: usize, indices: Vec<prop::sample::Index>| {
            let found: BTreeSet<usize> =
                indices.iter().filter(|_| place > 0).map(|index| index.index(place.max(1))).collect();
            found.into_iter().collect()
        };
        jobs.into_iter().enumerate().map(|(place, (cost, indices))| (cost, earlier(place, indices))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn outputs_do_not_depend_on_the_number_of_workers_and_dependencies_come_first(edges in edges()) {
        let mut results = Vec::new();
        for count in [1, 3] {
            let (_folder, mut grid) = grid(count);
            let started = Arc::new(Mutex::new(Vec::new()));
            let jobs = chain(&mut grid, &edges, &started);
            grid.run().unwrap();
            results.push(jobs.iter().map(|job| *grid.outcomes().get(*job).unwrap()).collect::<Vec<_>>());
            let started = started.lock().unwrap();
            let place = |job: usize| started.iter().position(|&other| other == job).unwrap();
            prop_assert_eq!(started.len(), edges.len());
            if count == 1 {
                for (job, (_, before)) in edges.iter().enumerate() {
                    prop_assert!(before.iter().all(|&other| place(other) < place(job)));
                }
            }
        }
        prop_assert_eq!(&results[0], &results[1]);
    }
}

#[test]
fn the_longest_chain_starts_first_and_ties_keep_their_order() {
    // Chains: 0 costs 5; 1 costs 1 + 9; 2 costs 7; 3 is the end of 1's chain; 4 ties with 0.
    let edges = [(5, vec![]), (1, vec![]), (7, vec![]), (9, vec![1]), (5, vec![])];
    let started = Arc::new(Mutex::new(Vec::new()));
    let (_folder, mut grid) = grid(1);
    chain(&mut grid, &edges, &started);
    grid.run().unwrap();
    assert_eq!(*started.lock().unwrap(), [1, 3, 2, 0, 4]);
}

#[test]
fn a_later_round_starts_only_when_nothing_of_an_earlier_one_can() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let (_folder, mut grid) = grid(1);
    let first = chain(&mut grid, &[(1, vec![]), (1, vec![0])], &started);
    grid.set_round(1);
    let noted = started.clone();
    let act: Act = Arc::new(move |_| {
        noted.lock().unwrap().push(9);
        Ok(())
    });
    grid.stage(Sum { cost: 100, act, ..sum(9) }, &[]).unwrap();
    grid.run().unwrap();
    assert_eq!(*started.lock().unwrap(), [0, 1, 9]);
    assert_eq!(grid.outcomes().get(first[1]), Some(&201));
}

#[test]
fn as_many_jobs_run_at_once_as_there_are_workers_each_on_one_thread() {
    // Each job waits for the other two: with fewer than three threads this would not end.
    let barrier = Arc::new(Barrier::new(3));
    let (_folder, mut grid) = grid(3);
    for number in 0..3 {
        let barrier = barrier.clone();
        let act: Act = Arc::new(move |_| {
            barrier.wait();
            assert_eq!(rayon::current_num_threads(), 1);
            Ok(())
        });
        grid.stage(Sum { act, ..sum(number) }, &[]).unwrap();
    }
    grid.run().unwrap();
}

#[test]
fn a_failing_job_is_named_and_nothing_is_started_after_it() {
    let ran = Arc::new(AtomicUsize::new(0));
    let (_folder, mut grid) = grid(1);
    let bad = Sum { cost: 10, act: Arc::new(|_| Err("cannot write: disk full".into())), ..sum(1) };
    let bad = grid.stage(bad, &[]).unwrap();
    for (number, after) in [(2, vec![]), (3, vec![bad.any()])] {
        let ran = ran.clone();
        let act: Act = Arc::new(move |_| {
            ran.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        grid.stage(Sum { act, ..sum(number) }, &after).unwrap();
    }
    assert_eq!(grid.run().unwrap_err().to_string(), "job 1: cannot write: disk full");
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn jobs_running_when_others_fail_are_finished_and_the_first_added_is_reported() {
    let barrier = Arc::new(Barrier::new(3));
    let (_folder, mut grid) = grid(3);
    for number in 0..3 {
        let barrier = barrier.clone();
        let act: Act = Arc::new(move |_| {
            barrier.wait();
            if number == 0 {
                std::thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
            Err("failed".into())
        });
        grid.stage(Sum { act, ..sum(number) }, &[]).unwrap();
    }
    assert_eq!(grid.run().unwrap_err().to_string(), "job 1: failed");
    assert!(grid.look().unwrap()[0].done, "the slow one");
}

#[test]
fn a_panicking_job_is_an_error_and_not_a_hang() {
    let (_folder, mut grid) = grid(3);
    let bad = Sum { act: Arc::new(|_| panic!("index {} out of range\nmore", 7)), ..sum(1) };
    let bad = grid.stage(bad, &[]).unwrap();
    grid.stage(sum(2), &[bad.any()]).unwrap();
    assert_eq!(grid.run().unwrap_err().to_string(), "job 1: internal error: index 7 out of range");
}

#[test]
fn what_starts_from_a_stage_that_leads_nowhere_is_left_out() {
    let (_folder, mut grid) = grid(1);
    let dead = grid.stage(sum(13), &[]).unwrap();
    let next = grid.stage(sum(2), &[dead.any()]).unwrap();
    let last = grid.stage(sum(3), &[next.any()]).unwrap();
    grid.run().unwrap();
    let done = grid.outcomes();
    assert_eq!((done.get(dead), done.get(next), done.get(last)), (Some(&13), None, None));
}

#[test]
fn the_same_stage_is_one_job_and_a_second_grid_reads_it() {
    let ran = Arc::new(AtomicUsize::new(0));
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut grid = grid_in(folder.path(), 1, Vec::new());
        let counted = || {
            let ran = ran.clone();
            let act: Act = Arc::new(move |_| {
                ran.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            Sum { act, ..sum(5) }
        };
        let jobs = [grid.stage(counted(), &[]).unwrap(), grid.stage(counted(), &[]).unwrap()];
        assert_eq!((grid.len(), jobs[0] == jobs[1]), (1, true));
        grid.run().unwrap();
        assert_eq!(grid.outcomes().get(jobs[1]), Some(&5));
    }
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stage_made_of_outcomes_is_made_of_them() {
    let (_folder, mut grid) = grid(1);
    let first = grid.stage(sum(4), &[]).unwrap();
    let second = grid.stage_from("made", 1, &[first.any()], move |done| {
        let found = done.get(first).copied().ok_or("no first")?;
        Ok(sum(10 * found))
    });
    grid.run().unwrap();
    assert_eq!(grid.outcomes().get(second), Some(&40));
}

#[test]
fn what_follows_from_results_is_taken_over_too_and_found_among_what_is_needed() {
    let plan = |grid: &mut Grid| {
        let first = grid.stage(sum(4), &[]).unwrap();
        let make = move |done: &Outcomes| Ok(sum(10 * done.get(first).copied().ok_or("no first")?));
        grid.stage_from("made", 1, &[first.any()], make)
    };
    let (folder, mut grid) = grid(1);
    let made = plan(&mut grid);
    assert!(!grid.read_done().unwrap().1, "nothing is done yet");
    grid.run().unwrap();
    let finished = folder.path().join("finished.csv");
    grid.finished().add_to(&finished).unwrap();

    let mut again = grid_in(folder.path(), 1, Vec::new());
    plan(&mut again);
    let (ids, all) = again.read_done().unwrap();
    assert_eq!((ids.len(), all), (2, true));
    assert_eq!(again.outcomes().get(made), Some(&40));

    let second = tempfile::tempdir().unwrap();
    let mut again = grid_in(second.path(), 1, vec![finished.clone()]);
    let made = plan(&mut again);
    again.run().unwrap();
    assert_eq!((again.outcomes().get(made), stages(second.path())), (Some(&40), 0));
    // What an earlier run finished stays in the file.
    let third = grid_in(second.path(), 1, vec![finished]);
    assert_eq!(third.finished().len(), 0, "stages that this grid does not have");
}

#[test]
fn a_line_of_another_form_is_refused_with_its_place() {
    let first = tempfile::tempdir().unwrap();
    let mut grid = grid_in(first.path(), 1, Vec::new());
    family(&mut grid);
    grid.run().unwrap();
    let path = first.path().join("finished.csv");
    grid.finished().add_to(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.contains("job 3")).unwrap();
    std::fs::write(&path, text.replace(line, &line.replace(",4", ",null"))).unwrap();

    let second = tempfile::tempdir().unwrap();
    let mut again = grid_in(second.path(), 1, vec![path]);
    let base = sum(1);
    let base_id = stage::id_of(&base).unwrap();
    let after = again.stage(base, &[]).unwrap().any();
    let error = [2, 3]
        .into_iter()
        .find_map(|number| again.stage(Sum { before: vec![base_id.clone()], ..sum(number) }, &[after]).err());
    let message = error.unwrap().to_string();
    assert!(message.contains("finished.csv, line ") && message.contains("found `null`"), "{message}");
}

#[test]
fn stages_may_follow_from_what_is_finished() {
    let (_folder, mut grid) = grid(1);
    let first = grid.stage(sum(4), &[]).unwrap();
    grid.run().unwrap();
    let found = *grid.outcomes().get(first).unwrap();
    let second = grid.stage(sum(found + 1), &[first.any()]).unwrap();
    grid.run().unwrap();
    assert_eq!(grid.outcomes().get(second), Some(&5));
}

/// A grid of a base and two stages that start from its files.
fn family(grid: &mut Grid) -> [Job<u64>; 3] {
    let base = sum(1);
    let id = stage::id_of(&base).unwrap();
    let base = grid.stage(base, &[]).unwrap();
    let add = |number| Sum { before: vec![id.clone()], ..sum(number) };
    [base, grid.stage(add(2), &[base.any()]).unwrap(), grid.stage(add(3), &[base.any()]).unwrap()]
}

/// The stages in a store.
fn stages(root: &std::path::Path) -> usize {
    std::fs::read_dir(root.join("runs")).unwrap().count()
}

#[test]
fn what_is_finished_is_taken_over_and_a_base_is_computed_only_where_its_files_are_needed() {
    let first = tempfile::tempdir().unwrap();
    let mut grid = grid_in(first.path(), 1, Vec::new());
    let jobs = family(&mut grid);
    grid.run().unwrap();
    let whole = first.path().join("finished.csv");
    grid.finished().add_to(&whole).unwrap();

    let second = tempfile::tempdir().unwrap();
    let mut again = grid_in(second.path(), 1, vec![whole.clone()]);
    let same = family(&mut again);
    again.run().unwrap();
    assert_eq!(same.map(|job| *again.outcomes().get(job).unwrap()), jobs.map(|job| *grid.outcomes().get(job).unwrap()));
    assert_eq!(stages(second.path()), 0);

    // Without one line: that stage, and the base whose files it reads.
    let text = std::fs::read_to_string(&whole).unwrap();
    let partial = first.path().join("partial.csv");
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("job 3")).collect();
    std::fs::write(&partial, kept.join("\n")).unwrap();
    let third = tempfile::tempdir().unwrap();
    let mut again = grid_in(third.path(), 1, vec![partial]);
    let same = family(&mut again);
    again.run().unwrap();
    assert_eq!(again.outcomes().get(same[2]), Some(&4));
    assert_eq!(stages(third.path()), 2);
}

#[test]
fn a_base_that_was_taken_over_is_computed_when_a_later_stage_needs_its_files() {
    let first = tempfile::tempdir().unwrap();
    let mut grid = grid_in(first.path(), 1, Vec::new());
    grid.stage(sum(1), &[]).unwrap();
    grid.run().unwrap();
    let finished = first.path().join("finished.csv");
    grid.finished().add_to(&finished).unwrap();

    let second = tempfile::tempdir().unwrap();
    let mut grid = grid_in(second.path(), 1, vec![finished]);
    let base = grid.stage(sum(1), &[]).unwrap();
    grid.run().unwrap();
    assert_eq!(stages(second.path()), 0);
    let before = vec![stage::id_of(&sum(1)).unwrap()];
    let later = grid.stage(Sum { before, ..sum(7) }, &[base.any()]).unwrap();
    grid.run().unwrap();
    assert_eq!(grid.outcomes().get(later), Some(&8));
    assert_eq!(stages(second.path()), 2);
}

#[test]
fn two_grids_on_one_store_share_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Arc::new(Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut grid = grid_in(folder.path(), 2, Vec::new());
                let jobs: Vec<Job<u64>> = (0..8)
                    .map(|number| {
                        let ran = ran.clone();
                        let act: Act = Arc::new(move |_| {
                            ran.lock().unwrap().push(number);
                            std::thread::sleep(Duration::from_millis(20));
                            Ok(())
                        });
                        grid.stage(Sum { act, ..sum(number) }, &[]).unwrap()
                    })
                    .collect();
                grid.run().unwrap();
                for (number, job) in jobs.iter().enumerate() {
                    assert_eq!(grid.outcomes().get(*job), Some(&(number as u64)));
                }
            });
        }
    });
    let mut ran = ran.lock().unwrap().clone();
    ran.sort_unstable();
    assert_eq!(ran, (0..8).collect::<Vec<_>>());
}

#[test]
fn every_finished_job_has_one_numbered_line() {
    let (_folder, mut grid) = grid(1);
    for number in 0..12 {
        let act: Act = Arc::new(|work| {
            work.skip(4);
            work.advance(3);
            Ok(())
        });
        grid.stage(Sum { cost: 10, act, ..sum(number) }, &[]).unwrap();
    }
    let progress = Progress::in_memory(grid.len(), 120);
    let todo = grid.to_compute().unwrap();
    grid.run_open(&todo, &progress).unwrap();
    assert_eq!(progress.position(), 120);
    let lines = progress.lines();
    assert_eq!(lines.len(), 12);
    assert!(lines[0].starts_with("[ 1/12] job 0: sum 0 ("), "{}", lines[0]);
    assert!(lines[11].starts_with("[12/12] job 11: sum 11 ("), "{}", lines[11]);
}

#[test]
fn an_empty_grid_is_done_at_once() {
    let (_folder, mut grid) = grid(2);
    assert!(grid.is_empty());
    grid.run().unwrap();
}
