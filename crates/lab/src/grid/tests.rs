//! The order of jobs, their independence of the number of workers, failures, and the lines shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use proptest::prelude::*;

use super::*;

fn workers(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn done<T>(value: T) -> Result<Outcome<T>, JobError> {
    Ok(Outcome { summary: String::new(), value })
}

/// A grid whose jobs push their number on starting and sum their dependencies' values.
fn summing_grid<'a>(edges: &[(u64, Vec<usize>)], started: &'a Mutex<Vec<usize>>) -> Grid<'a, u64> {
    let mut grid = Grid::new();
    let mut ids: Vec<JobId> = Vec::new();
    for (index, (tokens, after)) in edges.iter().enumerate() {
        let after: Vec<JobId> = after.iter().map(|&other| ids[other]).collect();
        let dependencies = after.clone();
        let tokens = *tokens;
        ids.push(grid.add(format!("job {index}"), tokens, &after, move |job| {
            started.lock().unwrap().push(index);
            done(tokens + dependencies.iter().map(|&id| job.output(id)).sum::<u64>())
        }));
    }
    grid
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn results_do_not_depend_on_the_number_of_workers(
        raw in proptest::collection::vec((0u64..50, proptest::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..25),
    ) {
        let edges: Vec<(u64, Vec<usize>)> = raw.iter().enumerate().map(|(index, (tokens, after))| {
            let after = if index == 0 { vec![] } else { after.iter().map(|i| i.index(index)).collect() };
            (*tokens, after)
        }).collect();
        let mut results = Vec::new();
        for count in [1, 2, 5] {
            let started = Mutex::new(Vec::new());
            let values = summing_grid(&edges, &started).run(workers(count), Display::Quiet).unwrap();
            results.push(values);
            let started = started.into_inner().unwrap();
            let place = |job: usize| started.iter().position(|&other| other == job).unwrap();
            prop_assert_eq!(started.len(), edges.len());
            for (job, (_, after)) in edges.iter().enumerate() {
                prop_assert!(after.iter().all(|&other| place(other) < place(job)));
            }
        }
        prop_assert_eq!(&results[0], &results[1]);
        prop_assert_eq!(&results[0], &results[2]);
    }
}

#[test]
fn the_longest_chain_starts_first_and_ties_keep_their_order() {
    // Chains: 0 costs 5; 1 costs 1 + 9; 2 costs 7; 3 is the end of 1's chain; 4 ties with 0.
    let edges = [(5, vec![]), (1, vec![]), (7, vec![]), (9, vec![1]), (5, vec![])];
    let started = Mutex::new(Vec::new());
    summing_grid(&edges, &started).run(workers(1), Display::Quiet).unwrap();
    assert_eq!(started.into_inner().unwrap(), [1, 3, 2, 0, 4]);
}

#[test]
fn a_later_round_starts_only_when_nothing_of_an_earlier_one_can() {
    let started = Mutex::new(Vec::new());
    let mut grid = Grid::new();
    let job = |index: usize| {
        let started = &started;
        move |_: &JobContext<'_, ()>| {
            started.lock().unwrap().push(index);
            done(())
        }
    };
    let first = grid.add("job 0", 1, &[], job(0));
    grid.add("job 1", 1, &[first], job(1));
    grid.next_round();
    grid.add("job 2", 100, &[], job(2));
    grid.run(workers(1), Display::Quiet).unwrap();
    assert_eq!(*started.lock().unwrap(), [0, 1, 2]);
}

#[test]
fn as_many_jobs_run_at_once_as_there_are_workers() {
    // Each job waits for the other two: with fewer than three threads this would not end.
    let barrier = Barrier::new(3);
    let mut grid = Grid::new();
    for index in 0..3 {
        let barrier = &barrier;
        grid.add(format!("job {index}"), 1, &[], move |_| {
            barrier.wait();
            done(index)
        });
    }
    let values = grid.run(workers(3), Display::Quiet).unwrap();
    assert_eq!(values.iter().map(|outcome| outcome.value).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_failing_job_is_named_and_nothing_is_started_after_it() {
    let ran = AtomicUsize::new(0);
    let mut grid: Grid<'_, ()> = Grid::new();
    let ran = &ran;
    let bad = grid.add("finetune sgd 0.1", 10, &[], |_| Err("cannot write: disk full".into()));
    for after in [vec![], vec![bad]] {
        grid.add("later", 1, &after, move |_| {
            ran.fetch_add(1, Ordering::Relaxed);
            done(())
        });
    }
    let error = grid.run(workers(1), Display::Quiet).unwrap_err();
    assert_eq!(error.to_string(), "finetune sgd 0.1: cannot write: disk full");
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn jobs_running_when_another_fails_are_finished() {
    let barrier = Barrier::new(2);
    let finished = AtomicUsize::new(0);
    let mut grid: Grid<'_, ()> = Grid::new();
    let (barrier, finished) = (&barrier, &finished);
    grid.add("slow", 1, &[], move |_| {
        barrier.wait();
        std::thread::sleep(std::time::Duration::from_millis(50));
        finished.fetch_add(1, Ordering::Relaxed);
        done(())
    });
    grid.add("bad", 1, &[], move |_| {
        barrier.wait();
        Err("no".into())
    });
    assert!(grid.run(workers(2), Display::Quiet).is_err());
    assert_eq!(finished.load(Ordering::Relaxed), 1);
}

#[test]
fn of_two_failures_the_first_added_is_reported() {
    let barrier = Barrier::new(2);
    let mut grid: Grid<'_, ()> = Grid::new();
    for label in ["first", "second"] {
        let barrier = &barrier;
        grid.add(label, 1, &[], move |_| {
            barrier.wait();
            Err("failed".into())
        });
    }
    assert_eq!(grid.run(workers(2), Display::Quiet).unwrap_err().to_string(), "first: failed");
}

#[test]
fn a_panicking_job_is_an_error_and_not_a_hang() {
    let mut grid: Grid<'_, ()> = Grid::new();
    let bad = grid.add("bad", 1, &[], |_| panic!("index {} out of range\nmore", 7));
    grid.add("later", 1, &[bad], |_| done(()));
    let error = grid.run(workers(3), Display::Quiet).unwrap_err();
    assert!(matches!(error, GridError::Panicked { .. }));
    assert_eq!(error.to_string(), "bad: internal error: index 7 out of range");
}

#[test]
fn every_finished_job_has_one_numbered_line() {
    let mut grid = Grid::new();
    for index in 0..12 {
        grid.add(format!("job {index}"), 10, &[], move |job| {
            job.skip_tokens(4);
            job.add_tokens(3);
            Ok(Outcome { summary: format!("loss {index}"), value: () })
        });
    }
    let progress = Progress::in_memory(grid.len(), grid.tokens());
    schedule::run(grid.jobs, workers(1), &progress).unwrap();
    assert_eq!(progress.position(), 120);
    let lines = progress.lines();
    assert_eq!(lines.len(), 12);
    assert!(lines[0].starts_with("[ 1/12] job 0: loss 0 ("), "{}", lines[0]);
    assert!(lines[11].starts_with("[12/12] job 11: loss 11 ("), "{}", lines[11]);
}

#[test]
fn an_empty_grid_is_done_at_once() {
    let grid: Grid<'_, ()> = Grid::new();
    assert!(grid.is_empty());
    assert_eq!(grid.run(workers(2), Display::Lines).unwrap(), []);
}

#[test]
fn the_output_of_a_job_that_was_not_declared_is_refused() {
    let mut grid = Grid::new();
    let other = grid.add("other", 1, &[], |_| done(1));
    grid.add("asks", 1, &[], move |job| done(*job.output(other)));
    let error = grid.run(workers(1), Display::Quiet).unwrap_err();
    assert!(error.to_string().contains("not declared as a dependency"), "{error}");
}
