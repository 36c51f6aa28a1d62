//! A stage: a pure function of its key and its inputs. The [store](crate::store) keeps its output, the
//! [grid](crate::grid) runs it.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, LabError};
use crate::interrupt;
use crate::store::{
    ActiveStage, CURVES, Claim, DoneStage, FilesWriter, ReadyStage, Snapshot, StageId, StageKey, StageState, Store,
    StoreError,
};

/// The file of a stage's output.
pub(crate) const RESULT: &str = "result.json";

/// A computation whose output is kept.
pub trait Stage: Send + Sync + 'static {
    /// What is done, in lower-case letters, digits and `-`; the folder's name begins with it.
    const KIND: &'static str;
    /// Raised when a fix changes what stages of this kind compute.
    const SEMANTICS: u32;
    /// All that decides the output beside the inputs: every field named and meant. JSON has no numbers but finite ones.
    type Key: Serialize;
    /// What it leaves, as JSON: finite numbers only.
    type Output: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The key.
    fn key(&self) -> Self::Key;

    /// The stages whose output or files this one reads, in a meaningful order.
    fn inputs(&self) -> Vec<StageId> {
        Vec::new()
    }

    /// Names it in lines, errors and tables; no part of the key.
    fn label(&self) -> String;

    /// What it costs, in tokens: orders the work and drives the progress bar.
    fn cost(&self) -> u64;

    /// Whether it uses all threads of the program. Others run on one thread each, as many at a time as there are jobs.
    fn uses_all_threads(&self) -> bool {
        false
    }

    /// Computes the output. [`Work`] has its files, its snapshots and its inputs.
    ///
    /// # Errors
    /// Whatever it fails with, as one line.
    fn compute(&self, work: &mut Work<'_>) -> Result<Self::Output, Failure>;

    /// The output in a few words, for the person who waits.
    fn summary(output: &Self::Output) -> String;

    /// Whether stages that start from this one have something to start from; if not, they are left out.
    fn leads_on(_output: &Self::Output) -> bool {
        true
    }

    /// What is wrong with an output that no computation leaves: the check of one that a file tells.
    ///
    /// # Errors
    /// In a few words.
    fn check(_output: &Self::Output) -> Result<(), String> {
        Ok(())
    }

    /// Measurements along the way, for TensorBoard.
    fn curves(_output: &Self::Output) -> Vec<Curve> {
        Vec::new()
    }
}

/// A measurement along a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its name, with `/` between a group and what is in it: `loss/held-out text`.
    pub tag: String,
    /// Steps done and the value there.
    pub points: Vec<(u64, f64)>,
}

/// The key of a stage.
///
/// # Errors
/// [`StoreError::InvalidName`] for a bad kind, [`StoreError::Serialise`] for a key that JSON cannot hold.
pub fn key_of<S: Stage>(stage: &S) -> Result<StageKey, StoreError> {
    Ok(StageKey::new(S::KIND, S::SEMANTICS, &stage.key(), &stage.inputs())?.labelled(stage.label()))
}

/// The id of a stage, which others name among their inputs.
///
/// # Errors
/// As [`key_of`].
pub fn id_of<S: Stage>(stage: &S) -> Result<StageId, StoreError> {
    Ok(key_of(stage)?.id().clone())
}

/// Work that a stage reports while it runs, in tokens.
pub trait Meter: Sync {
    /// Work done now.
    fn work(&self, tokens: u64);
    /// Work that an earlier run of the program did.
    fn skip(&self, tokens: u64);
}

/// What a stage has at hand while it is computed.
pub struct Work<'a> {
    store: &'a Store,
    active: ActiveStage,
    snapshot: Option<Snapshot>,
    meter: &'a dyn Meter,
    snapshot_every: Duration,
    last_snapshot: Instant,
    /// Whether it ended with a snapshot because the program was asked to stop.
    stopped: bool,
}

impl Work<'_> {
    /// The newest snapshot of an earlier run that was cut off; none the second time it is asked for.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.snapshot.take()
    }

    /// Whether it is time for a snapshot. The user chooses the time between two; results do not depend on it. It is
    /// time when the program is asked to stop, too.
    pub fn snapshot_is_due(&self) -> bool {
        interrupt::asked() || self.last_snapshot.elapsed() >= self.snapshot_every
    }

    /// Stores the state after `step` steps, so that a later run can go on from there; `fill` writes the files.
    ///
    /// # Errors
    /// Those of `fill` and of the store; [`StoreError::ClaimLost`] if another process has taken the stage over;
    /// [`StoreError::Interrupted`], with the snapshot on the disk, if the program was asked to stop.
    pub fn save_snapshot(
        &mut self,
        step: u64,
        fill: impl FnOnce(&mut FilesWriter) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let saved = self.active.save_snapshot(step, fill);
        self.last_snapshot = Instant::now();
        saved?;
        self.stopped = interrupt::asked();
        if self.stopped { Err(StoreError::Interrupted) } else { Ok(()) }
    }

    /// Appends a line of JSON to the stage's metrics.
    ///
    /// # Errors
    /// [`StoreError::Serialise`], [`StoreError::Io`].
    pub fn append_metrics<T: Serialize>(&mut self, record: &T) -> Result<(), StoreError> {
        self.active.append_metrics(record)
    }

    /// The files of the finished stage beside its output.
    pub fn files(&mut self) -> &mut FilesWriter {
        self.active.files()
    }

    /// Reports work done now, in tokens.
    pub fn advance(&self, tokens: u64) {
        self.meter.work(tokens);
    }

    /// Reports work that an earlier run did: it moves the bar, and does not count as speed.
    pub fn skip(&self, tokens: u64) {
        self.meter.skip(tokens);
    }

    /// A finished input stage, for its files.
    ///
    /// # Errors
    /// [`StoreError::NoSuchStage`] if it is not in the store, [`StoreError::Corrupt`] if it is damaged.
    pub fn input(&self, id: &StageId) -> Result<DoneStage, StoreError> {
        self.store.open_done(id)
    }
}

/// What came of running a stage.
pub(crate) enum Ran<O> {
    /// The output, computed or read.
    Done(O),
    /// Another process works on it.
    Elsewhere,
    /// The program was asked to stop; there is a snapshot.
    Stopped,
}

/// Where and how stages are run.
pub(crate) struct Setting<'a> {
    pub(crate) store: &'a Store,
    pub(crate) snapshot_every: Duration,
    /// The threads that the stage may use.
    pub(crate) pool: &'a rayon::ThreadPool,
}

/// Runs a stage unless it is done or another process is at it.
pub(crate) fn run<S: Stage>(
    stage: &S,
    key: &StageKey,
    setting: &Setting<'_>,
    meter: &dyn Meter,
) -> Result<Ran<S::Output>, Failure> {
    match setting.store.enter(key) {
        Ok(StageState::Claimed(_)) | Err(StoreError::ClaimLost { .. }) => Ok(Ran::Elsewhere),
        Ok(StageState::Done(done)) => read(stage, &done, meter),
        Ok(StageState::Fresh(active)) => compute(stage, (active, None), setting, meter),
        Ok(StageState::Started(active, snapshot)) => compute(stage, (active, Some(snapshot)), setting, meter),
        Err(error) => Err(error.into()),
    }
}

/// Runs a stage unless it is done; waits for another process that is at it, of which `claimed` is told.
pub(crate) fn run_or_wait<S: Stage>(
    stage: &S,
    key: &StageKey,
    setting: &Setting<'_>,
    meter: &dyn Meter,
    mut claimed: impl FnMut(&Claim),
) -> Result<S::Output, Failure> {
    loop {
        let ran = match setting.store.wait(key, &mut claimed)? {
            ReadyStage::Done(done) => read(stage, &done, meter),
            ReadyStage::Fresh(active) => compute(stage, (active, None), setting, meter),
            ReadyStage::Started(active, snapshot) => compute(stage, (active, Some(snapshot)), setting, meter),
        };
        match ran? {
            Ran::Done(output) => return Ok(output),
            Ran::Elsewhere => {}
            Ran::Stopped => {
                interrupt::stopped();
                return Err(LabError::Interrupted.into());
            }
        }
    }
}

/// The output that a finished stage keeps.
pub(crate) fn output_of<S: Stage>(done: &DoneStage) -> Result<S::Output, StoreError> {
    done.files().read_json(RESULT)
}

/// Reads the output of a finished stage.
fn read<S: Stage>(stage: &S, done: &DoneStage, meter: &dyn Meter) -> Result<Ran<S::Output>, Failure> {
    meter.skip(stage.cost());
    Ok(Ran::Done(output_of::<S>(done)?))
}

/// Computes a stage that this process has claimed.
fn compute<S: Stage>(
    stage: &S,
    (active, snapshot): (ActiveStage, Option<Snapshot>),
    setting: &Setting<'_>,
    meter: &dyn Meter,
) -> Result<Ran<S::Output>, Failure> {
    let Setting { store, snapshot_every, pool } = *setting;
    let mut work =
        Work { store, active, snapshot, meter, snapshot_every, last_snapshot: Instant::now(), stopped: false };
    let output = match pool.install(|| stage.compute(&mut work)) {
        Ok(output) => output,
        // Whoever has taken the stage over computes the same.
        Err(_) if !work.active.is_held() => return Ok(Ran::Elsewhere),
        Err(_) if work.stopped => return Ok(Ran::Stopped),
        Err(failure) => return Err(failure),
    };
    let curves = S::curves(&output);
    let finished = work.files().write_json(RESULT, &output).and_then(|()| match curves.is_empty() {
        true => Ok(()),
        false => work.files().write_json(CURVES, &curves),
    });
    match finished.and_then(|()| work.active.finish()) {
        Ok(_) => Ok(Ran::Done(output)),
        Err(StoreError::ClaimLost { .. }) => Ok(Ran::Elsewhere),
        Err(error) => Err(error.into()),
    }
}
