//! What the jobs ask the cluster for, from a user's file and from flags.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::quoting::quoted;
use crate::error::{LabError, Result};
use crate::input::read_text;
use crate::preset::{self, Change};

/// What the jobs ask the cluster for; the cluster's own defaults where nothing is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// Tasks of the array.
    pub(super) tasks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Text>,
    /// The longest time of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Text>,
    /// Memory of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Text>,
    /// GPUs of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    gpus: Option<Text>,
    /// Cores of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u64>,
    /// Seconds before the end of its time at which a task takes a snapshot and ends, to be queued again.
    pub(super) signal_before: u64,
    /// Other options of sbatch, such as `--constraint=a100`.
    options: Vec<String>,
    /// Lines of shell before the program, such as `module load cuda`.
    pub(super) setup: Vec<String>,
}

/// A value of an option of sbatch. A number, or a time of day, is taken as it stands: `time = 60`, `time = 04:00:00`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text)),
            toml::Value::Integer(number) => Ok(Self(number.to_string())),
            toml::Value::Datetime(time) => Ok(Self(time.to_string())),
            other => Err(serde::de::Error::custom(format!("found {other}, expected text or a whole number"))),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tasks: 4,
            partition: None,
            account: None,
            time: None,
            memory: None,
            gpus: None,
            cpus: None,
            signal_before: 120,
            options: Vec::new(),
            setup: Vec::new(),
        }
    }
}

/// A user's file of settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    pub(super) slurm: Settings,
}

/// Slurm has no larger array, whatever a cluster's MaxArraySize.
const MOST_TASKS: u64 = 4_000_000;

impl Settings {
    /// Those of the user's file, if there is one, with changes.
    pub(super) fn read(changes: &[String]) -> Result<Self> {
        let settings = match config_file() {
            Some(path) if path.exists() => {
                let text = read_text(&path).map_err(|source| LabError::ReadFile { path: path.clone(), source })?;
                preset::parse::<Config>(&text, &path.display().to_string())?.slurm
            }
            _ => Self::default(),
        };
        let changes: Vec<Change> =
            changes.iter().map(|text| Change::parse_flag("slurm-set", text)).collect::<Result<_>>()?;
        let settings = preset::with(&settings, &changes)?;
        settings.check()?;
        Ok(settings)
    }

    /// Refuses what a script cannot hold.
    pub(super) fn check(&self) -> Result<()> {
        if self.tasks == 0 || self.tasks > MOST_TASKS {
            return Err(LabError::value("slurm.tasks", self.tasks, format!("1 to {MOST_TASKS}")));
        }
        if !(1..=65_535).contains(&self.signal_before) {
            return Err(LabError::value("slurm.signal-before", self.signal_before, "1 to 65535 seconds"));
        }
        for line in self.directives().iter().chain(&self.setup) {
            if line.contains(|c: char| c.is_control() && c != '\t') {
                return Err(LabError::value("slurm", line.escape_debug(), "a setting of one line"));
            }
        }
        Ok(())
    }

    /// What every job asks for.
    pub(super) fn directives(&self) -> Vec<String> {
        let cpus = self.cpus.map(|cpus| Text(cpus.to_string()));
        let given = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("time", &self.time),
            ("mem", &self.memory),
            ("gpus-per-node", &self.gpus),
            ("cpus-per-task", &cpus),
        ];
        let given =
            given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", quoted(&value.as_ref()?.0))));
        given.chain(self.options.iter().cloned()).collect()
    }
}

/// The user's file of settings, whether it is there or not.
fn config_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configs = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(configs.join("optimizer-consistency").join("config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings> {
        let settings = preset::parse::<Config>(text, "config.toml")?.slurm;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_file_and_line_or_field() {
        for (text, expected) in [
            ("[slurm]\ntask = 3\n", "config.toml, line 2: unknown field `task`"),
            ("[slurm]\ntasks = 0\n", "slurm.tasks: found 0, expected 1 to 4000000"),
            ("[slurm]\nsignal-before = 70000\n", "slurm.signal-before: found 70000"),
            ("[slurm]\ngpus = 1.5\n", "config.toml, line 2: found 1.5, expected text or a whole number"),
            ("[slurm]\npartition = \"a\\nb\"\n", "expected a setting of one line"),
            ("[other]\n", "config.toml, line 1: unknown field `other`"),
        ] {
            let message = settings(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
