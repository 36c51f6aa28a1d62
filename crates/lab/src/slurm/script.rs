//! The scripts: what they ask for, the program, and what becomes of signals.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::quoting::shell;
use super::settings::Settings;
use crate::interrupt::EXIT_CODE;

/// What the scripts are made of.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    /// The folder that the program was called in.
    pub(super) here: &'a Path,
    /// That of the scripts and of what the jobs print.
    pub(super) folder: &'a Path,
    /// Program and arguments.
    pub(super) words: &'a [OsString],
    pub(super) settings: &'a Settings,
}

impl Job<'_> {
    /// The script of the array.
    pub(super) fn stages(&self) -> Vec<u8> {
        let own = [format!("--array=0-{}", self.settings.tasks - 1)];
        self.script("stages", "%x-%A_%a.log", &own, &[OsStr::new("--no-report")])
    }

    /// The script of the job after it.
    pub(super) fn report(&self) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::settings::Config;
    use super::*;

    fn script(settings: &Settings, words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let (here, folder) = (Path::new("/home/a b"), Path::new("/home/a b/out/slurm"));
        let job = Job { name: "tradeoff", here, folder, words: &words, settings };
        String::from_utf8(job.stages()).unwrap()
    }

    #[test]
    fn what_is_asked_for_stands_in_the_script_and_nothing_else() {
        let given = "[slurm]\ntasks = 8\npartition = \"gpu\"\ntime = 04:00:00\nmemory = \"16G\"\ngpus = 1\noptions = \
             [\"--constraint=a100\"]\nsetup = [\"module load cuda\"]\n";
        let given: Config = crate::preset::parse(given, "config.toml").unwrap();
        let text = script(&given.slurm, &["/bin/tradeoff", "--set", "name=it's"]);
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
