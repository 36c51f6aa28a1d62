//! A run as jobs of a Slurm cluster: an array whose tasks work on one store, and a job after it that writes the report.
//!
//! There is no scheduler here. Every task runs the program as it was typed; the claims of the store divide the stages
//! among them, a stage whose task died is taken over, and the job after the array does whatever is left. Two scripts are
//! written to `OUT/slurm`, so that they can be read and changed, and submitted if that is asked for.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer, Serialize};

use crate::console;
use crate::error::{LabError, Result};
use crate::input::read_text;
use crate::interrupt::EXIT_CODE;
use crate::preset::{self, Change};
use crate::store::write_atomic;

/// What becomes of the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Write and print them.
    Write,
    /// Submit them too.
    Submit,
}

/// Flags of every program that trains.
#[derive(Debug, Clone, Args)]
pub struct SlurmFlags {
    /// Run on a Slurm cluster: write a job array that works through the stages, and a job after it that writes the
    /// report, to OUT/slurm and print them; with --slurm=submit hand them to sbatch too (docs/cluster.md)
    #[arg(
        long,
        value_enum,
        value_name = "ACTION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "write"
    )]
    slurm: Option<Action>,
    /// A setting of the jobs; may be repeated: tasks, partition, account, time, memory, gpus, cpus, signal-before,
    /// options, setup
    ///
    /// For example partition=gpu or time=4:00:00. Settings of every run stand in the table [slurm] of the file
    /// optimizer-consistency/config.toml in $XDG_CONFIG_HOME or ~/.config
    #[arg(long, value_name = "KEY=VALUE", requires = "slurm")]
    slurm_set: Vec<String>,
}

/// What the jobs ask the cluster for; the cluster's own defaults where nothing is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Tasks of the array.
    tasks: u64,
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
    signal_before: u64,
    /// Other options of sbatch, such as `--constraint=a100`.
    options: Vec<String>,
    /// Lines of shell before the program, such as `module load cuda`.
    setup: Vec<String>,
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
struct Config {
    slurm: Settings,
}

/// Slurm has no larger array, whatever a cluster's MaxArraySize.
const MOST_TASKS: u64 = 4_000_000;

impl Settings {
    /// Those of the user's file, if there is one, with changes.
    fn read(changes: &[String]) -> Result<Self> {
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
    fn check(&self) -> Result<()> {
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
    fn directives(&self) -> Vec<String> {
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

impl SlurmFlags {
    /// Whether jobs are to be written.
    pub(crate) fn is_asked(&self) -> bool {
        self.slurm.is_some()
    }

    /// Writes the scripts for this program with its arguments to `out/slurm` and prints them; submits them if that is
    /// asked for. `name` is that of the jobs.
    ///
    /// # Errors
    /// One line that says what was found and expected, or what a program of the cluster said.
    pub(crate) fn prepare(&self, name: &str, out: &Path) -> Result<()> {
        let settings = Settings::read(&self.slurm_set)?;
        if let Some(most) = largest_array().filter(|&most| settings.tasks > most) {
            let expected = format!("at most {most}, MaxArraySize of this cluster");
            return Err(LabError::value("slurm.tasks", settings.tasks, expected));
        }
        let system = |error: std::io::Error| LabError::value("slurm", error, "a folder to run in and a program");
        let here = std::env::current_dir().map_err(system)?;
        let program = std::env::current_exe().map_err(system)?;
        let words: Vec<OsString> =
            std::iter::once(program.into_os_string()).chain(without_own(std::env::args_os().skip(1))).collect();
        let folder = here.join(out).join("slurm");
        let job = Job { name, here: &here, folder: &folder, words: &words, settings: &settings };
        let (stages, report) = (folder.join(format!("{name}-stages.sh")), folder.join(format!("{name}-report.sh")));
        for (path, script) in [(&stages, job.stages()), (&report, job.report())] {
            write_atomic(path, &script)?;
            console::print_bytes(&[b"# ", bytes(path.as_os_str()), b"\n", &script, b"\n"].concat());
        }
        match self.slurm {
            Some(Action::Submit) => {
                let array = submit(&[], &stages)?;
                let after = submit(&[format!("--dependency=afterany:{array}")], &report)?;
                let tasks = settings.tasks;
                console::print_line(&format!("# submitted: array {array} of {tasks} tasks, then job {after}"));
            }
            _ => {
                let (stages, report) = (shell(stages.as_os_str()), shell(report.as_os_str()));
                let line = [
                    b"# to submit: array=$(sbatch --parsable ",
                    &stages[..],
                    b") && sbatch --dependency=afterany:${array%;*} ",
                    &report,
                    b"\n",
                ];
                console::print_bytes(&line.concat());
            }
        }
        Ok(())
    }
}

/// The arguments without those of this file.
fn without_own(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--slurm-set" {
            arguments.next();
        } else if text != "--slurm" && !text.starts_with("--slurm=") && !text.starts_with("--slurm-set=") {
            kept.push(argument);
        }
    }
    kept
}

/// What the scripts are made of.
struct Job<'a> {
    name: &'a str,
    /// The folder that the program was called in.
    here: &'a Path,
    /// That of the scripts and of what the jobs print.
    folder: &'a Path,
    /// Program and arguments.
    words: &'a [OsString],
    settings: &'a Settings,
}

impl Job<'_> {
    /// The script of the array.
    fn stages(&self) -> Vec<u8> {
        let own = [format!("--array=0-{}", self.settings.tasks - 1)];
        self.script("stages", "%x-%A_%a.log", &own, &[OsStr::new("--no-report")])
    }

    /// The script of the job after it.
    fn report(&self) -> Vec<u8> {
        self.script("report", "%x-%j.log", &[], &[])
    }

    fn script(&self, part: &str, log: &str, own: &[String], flags: &[&OsStr]) -> Vec<u8> {
        let mut script = b"#!/bin/bash\n".to_vec();
        let mut directive = |text: &[u8]| script.extend([b"#SBATCH ", text, b"\n"].concat());
        directive(format!("--job-name={}-{part}", self.name).as_bytes());
        own.iter().for_each(|text| directive(text.as_bytes()));
        directive(&[b"--chdir=", &shell(self.here.as_os_str())[..]].concat());
        directive(&[b"--output=", &shell(self.folder.join(log).as_os_str())[..]].concat());
        directive(b"--open-mode=append");
        directive(b"--requeue");
        directive(format!("--signal=B:USR2@{}", self.settings.signal_before).as_bytes());
        self.settings.directives().iter().for_each(|text| directive(text.as_bytes()));
        for line in &self.settings.setup {
            script.extend([line.as_bytes(), b"\n"].concat());
        }
        script.extend(BEFORE_PROGRAM);
        let words = self.words.iter().map(OsString::as_os_str).chain(flags.iter().copied()).map(shell);
        script.extend(words.collect::<Vec<_>>().join(&b' '));
        script.extend(AFTER_PROGRAM.replace("EXIT_CODE", &EXIT_CODE.to_string()).as_bytes());
        script
    }
}

/// Passes signals on to the program; queues the job again after the one that comes before its time is up.
const BEFORE_PROGRAM: &[u8] = br#"program=
again=
trap 'again=yes; [ -z "$program" ] || kill -USR2 "$program"' USR2
trap '[ -z "$program" ] || kill -TERM "$program"' TERM
"#;
const AFTER_PROGRAM: &str = r#" &
program=$!
# A signal ends `wait` early.
while :; do
    wait "$program"
    code=$?
    [ "$code" -gt 128 ] && kill -0 "$program" 2>/dev/null || break
done
wait "$program" 2>/dev/null
last=$?
[ "$last" -eq 127 ] || code=$last
# The time is nearly up and the program has taken its snapshots: it goes on from there.
if [ -n "$again" ] && [ "$code" -eq EXIT_CODE ]; then
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60
fi
exit "$code"
"#;

/// A value of an option of sbatch.
fn quoted(value: &str) -> String {
    String::from_utf8(shell(OsStr::new(value))).unwrap_or_default()
}

/// A word as a shell reads it, and sbatch in its script.
fn shell(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_=+:,./@%".contains(byte);
    let word = bytes(word);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut text = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => text.extend(b"'\\''"),
            other => text.push(other),
        }
    }
    text.push(b'\'');
    text
}

fn bytes(word: &OsStr) -> &[u8] {
    word.as_encoded_bytes()
}

/// How many tasks an array may have, if a Slurm is there to ask.
fn largest_array() -> Option<u64> {
    let output = Command::new("scontrol").args(["show", "config"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"))?;
    line.trim_start_matches([' ', '=']).trim().parse().ok()
}

/// Hands a script to Slurm; the job's id.
fn submit(options: &[String], script: &Path) -> Result<String> {
    let failed = |message: String| LabError::Cluster { program: "sbatch".into(), message };
    let output = Command::new("sbatch").arg("--parsable").args(options).arg(script).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("found no such program, expected Slurm's: write the scripts with --slurm".into()),
        _ => failed(error.to_string()),
    })?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // On several clusters the id is followed by the cluster's name.
    match out.trim().split(';').next() {
        Some(id) if output.status.success() && !id.is_empty() => Ok(id.to_string()),
        _ => Err(failed(err.trim().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings> {
        let settings = preset::parse::<Config>(text, "config.toml")?.slurm;
        settings.check()?;
        Ok(settings)
    }

    fn script(settings: &Settings, words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let (here, folder) = (Path::new("/home/a b"), Path::new("/home/a b/out/slurm"));
        let job = Job { name: "tradeoff", here, folder, words: &words, settings };
        String::from_utf8(job.stages()).unwrap()
    }

    #[test]
    fn what_is_asked_for_stands_in_the_script_and_nothing_else() {
        let given = settings(
            "[slurm]\ntasks = 8\npartition = \"gpu\"\ntime = 04:00:00\nmemory = \"16G\"\ngpus = 1\noptions = \
             [\"--constraint=a100\"]\nsetup = [\"module load cuda\"]\n",
        );
        let text = script(&given.unwrap(), &["/bin/tradeoff", "--set", "name=it's"]);
        for line in [
            "--job-name=tradeoff-stages",
            "--array=0-7",
            "--chdir='/home/a b'",
            "--partition=gpu",
            "--time=04:00:00",
            "--mem=16G",
            "--gpus-per-node=1",
            "--constraint=a100",
            "--signal=B:USR2@120",
        ] {
            assert!(text.contains(&format!("#SBATCH {line}\n")), "no {line} in {text}");
        }
        assert!(!text.contains("--account"), "{text}");
        assert!(text.contains("\n/bin/tradeoff --set 'name=it'\\''s' --no-report &\n"), "{text}");
        assert!(text.contains("-eq 75 ]"), "{text}");
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

    #[test]
    fn the_jobs_run_what_was_typed_without_the_flags_of_the_cluster() {
        let typed =
            ["--preset", "smoke", "--slurm=submit", "--slurm-set", "tasks=3", "--slurm-set=time=1", "--slurm", "x"];
        let kept = without_own(typed.iter().map(OsString::from));
        assert_eq!(kept, ["--preset", "smoke", "x"]);
    }

    /// The program is a shell that takes its time, and is told to end by a signal to the script, as Slurm does.
    #[cfg(unix)]
    #[test]
    fn a_script_passes_signals_on_and_ends_with_the_code_of_its_program() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let run = |program: &str, signal: Option<&str>| {
            let _ = std::fs::remove_file(&started);
            let program = program.replace("STARTED", &started.display().to_string());
            let text = script(&Settings::default(), &["bash", "-c", &program]).replace("sleep 60", "echo queued again");
            let path = folder.path().join("script.sh");
            std::fs::write(&path, text).unwrap();
            let child = Command::new("bash").arg(&path).stdout(std::process::Stdio::piped()).spawn().unwrap();
            if let Some(signal) = signal {
                while !started.exists() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                let id = child.id().to_string();
                assert!(Command::new("kill").args([signal, id.as_str()]).status().unwrap().success());
            }
            let output = child.wait_with_output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run("exit 0", None), (Some(0), String::new()));
        assert_eq!(run("exit 2", None), (Some(2), String::new()));
        assert_eq!(run("kill -9 $$", None), (Some(137), String::new()));
        let patient = "trap 'sleep 0.2; exit 75' USR2 TERM; : > STARTED; while :; do sleep 0.05; done";
        assert_eq!(run(patient, Some("-USR2")), (Some(75), "queued again\n".into()));
        assert_eq!(
            run(patient, Some("-TERM")),
            (Some(75), String::new()),
            "a job that is cancelled is not queued again"
        );
    }
}
