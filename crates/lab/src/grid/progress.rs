//! What the person who waits sees: a bar in tokens with the time left, and a line for each job.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Display;
use crate::stage::Meter;

/// Tokens and jobs done and to do, and where that is shown.
pub(crate) struct Progress {
    jobs: usize,
    jobs_done: AtomicUsize,
    tokens: Arc<Tokens>,
    output: Output,
}

struct Tokens {
    start: Instant,
    total: u64,
    /// Done by this run of the program.
    worked: AtomicU64,
    /// Done by an earlier run.
    skipped: AtomicU64,
}

enum Output {
    Bar(ProgressBar),
    Lines,
    Quiet,
    #[cfg(test)]
    Memory(std::sync::Mutex<Vec<String>>),
}

impl Tokens {
    fn position(&self) -> u64 {
        self.worked.load(Ordering::Relaxed) + self.skipped.load(Ordering::Relaxed)
    }

    fn time_left(&self) -> Option<Duration> {
        let worked = self.worked.load(Ordering::Relaxed);
        time_left(self.total.saturating_sub(self.position()), worked, self.start.elapsed())
    }
}

/// At the mean speed so far; none before any work was done.
fn time_left(remaining: u64, worked: u64, elapsed: Duration) -> Option<Duration> {
    if worked == 0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * remaining as f64 / worked as f64).ok()
}

impl Progress {
    /// Of a grid of `jobs` jobs with `total` tokens together.
    pub(crate) fn new(display: Display, jobs: usize, total: u64) -> Self {
        let tokens =
            Arc::new(Tokens { start: Instant::now(), total, worked: AtomicU64::new(0), skipped: AtomicU64::new(0) });
        let output = match display {
            Display::Quiet => Output::Quiet,
            Display::Auto if std::io::stderr().is_terminal() => Output::Bar(bar(&tokens)),
            Display::Auto => Output::Lines,
        };
        Self { jobs, jobs_done: AtomicUsize::new(0), tokens, output }
    }

    /// Prints the line of a finished job.
    pub(super) fn job_done(&self, label: &str, summary: &str, time: Duration) {
        let number = self.jobs_done.fetch_add(1, Ordering::Relaxed) + 1;
        let width = self.jobs.to_string().len();
        let jobs = self.jobs;
        let seconds = time.as_secs_f64();
        let line = format!("[{number:>width$}/{jobs}] {label}: {summary} ({seconds:.1} s)");
        match &self.output {
            Output::Bar(bar) => bar.println(line),
            Output::Lines => crate::console::say(&line),
            Output::Quiet => {}
            #[cfg(test)]
            Output::Memory(lines) => lines.lock().unwrap().push(line),
        }
    }

    /// Takes the bar away.
    pub(crate) fn close(&self) {
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }

    fn add(&self, counter: &AtomicU64, tokens: u64) {
        counter.fetch_add(tokens, Ordering::Relaxed);
        if let Output::Bar(bar) = &self.output {
            bar.inc(tokens);
        }
    }

    /// Keeps the lines for a test.
    #[cfg(test)]
    pub(super) fn in_memory(jobs: usize, total: u64) -> Self {
        let output = Output::Memory(std::sync::Mutex::default());
        Self { output, ..Self::new(Display::Quiet, jobs, total) }
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> Vec<String> {
        match &self.output {
            Output::Memory(lines) => lines.lock().unwrap().clone(),
            _ => Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn position(&self) -> u64 {
        self.tokens.position()
    }
}

/// A job's share of the progress: never more than its cost, and all of it once it has ended.
pub(super) struct JobTokens<'p> {
    progress: &'p Progress,
    left: AtomicU64,
}

impl Meter for JobTokens<'_> {
    fn work(&self, tokens: u64) {
        self.progress.add(&self.progress.tokens.worked, self.take(tokens));
    }

    fn skip(&self, tokens: u64) {
        self.progress.add(&self.progress.tokens.skipped, self.take(tokens));
    }
}

impl<'p> JobTokens<'p> {
    pub(super) fn new(progress: &'p Progress, cost: u64) -> Self {
        Self { progress, left: AtomicU64::new(cost) }
    }

    pub(super) fn finish(&self) {
        self.work(u64::MAX);
    }

    /// As much of `tokens` as is left.
    fn take(&self, tokens: u64) -> u64 {
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            let taken = tokens.min(left);
            match self.left.compare_exchange_weak(left, left - taken, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(now) => left = now,
            }
        }
    }
}

/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(500);

fn bar(tokens: &Arc<Tokens>) -> ProgressBar {
    let (counts, speed) = (Arc::clone(tokens), Arc::clone(tokens));
    let style = ProgressStyle::with_template("{bar:30} {tokens}, {time_left} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("tokens", move |_: &ProgressState, out: &mut dyn Write| {
            let (done, total) = (short(counts.position()), short(counts.total));
            let _ = write!(out, "{done} of {total} tokens");
        })
        .with_key("time_left", move |_: &ProgressState, out: &mut dyn Write| {
            let _ = match speed.time_left() {
                Some(time) => out.write_str(&clock(time)),
                None => out.write_str("--:--"),
            };
        });
    let bar = ProgressBar::with_draw_target(Some(tokens.total), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// A count with three digits or so: `950`, `12.3k`, `4.0M`.
fn short(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.1}k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.2}G", count as f64 / 1e9),
    }
}

/// `3:07` (minutes) or `2:03:07` (hours).
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_speed_of_this_run_alone() {
        let ten = Duration::from_secs(10);
        assert_eq!(time_left(300, 100, ten), Some(Duration::from_secs(30)));
        assert_eq!(time_left(0, 100, ten), Some(Duration::ZERO));
        assert_eq!(time_left(300, 0, ten), None);
    }

    #[test]
    fn a_job_moves_the_bar_by_its_cost_whatever_it_reports() {
        let progress = Progress::new(Display::Quiet, 2, 100);
        let job = JobTokens::new(&progress, 60);
        job.skip(20);
        job.work(30);
        assert_eq!(progress.position(), 50);
        job.work(30);
        assert_eq!(progress.position(), 60);
        job.finish();
        assert_eq!(progress.position(), 60);
        assert_eq!(progress.tokens.skipped.load(Ordering::Relaxed), 20);
        JobTokens::new(&progress, 40).finish();
        assert_eq!(progress.position(), 100);
    }

    #[test]
    fn counts_and_times_are_short() {
        assert_eq!([short(950), short(12_345), short(4_000_000)], ["950", "12.3k", "4.0M"]);
        assert_eq!(short(2_345_000_000), "2.35G");
        assert_eq!(clock(Duration::from_secs(187)), "3:07");
        assert_eq!(clock(Duration::from_secs(7387)), "2:03:07");
    }
}
