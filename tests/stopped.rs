//! A program that is asked to stop, as a cluster does before a job's time is up; and the jobs of a cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::common::{Finished, Folder, assert_same_files, finished, program, tradeoff};

/// Waits until a training is in work, and asks the program to stop.
fn stop_in_a_training(folder: &Folder, child: &mut Child, signal: &str) {
    let claims = folder.out().join("claims");
    let in_training = || {
        let names = fs::read_dir(&claims).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with("pretrain-") || name.starts_with("finetune-"))
    };
    while !in_training() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended before it was seen in a training");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_program_that_is_asked_to_stop_takes_snapshots_and_ends_with_a_code_of_its_own() {
    for signal in ["-TERM", "-USR2"] {
        let folder = Folder::with_text();
        // Snapshots are taken only because it is asked.
        let arguments: Vec<String> =
            folder.tiny().into_iter().chain(["--snapshot-every", "100000", "--jobs", "2"].map(String::from)).collect();
        let mut times = 0;
        loop {
            let mut child = tradeoff(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            if times < 3 {
                stop_in_a_training(&folder, &mut child, signal);
            }
            let ended = Finished::from(child.wait_with_output().unwrap());
            if times == 3 {
                ended.success();
                break;
            }
            assert_eq!(ended.code, Some(75), "{signal}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(ended.stderr.contains("stopped by a signal"), "{}", ended.stderr);
            let claims = fs::read_dir(folder.out().join("claims")).unwrap().count();
            assert_eq!(claims, 0, "what was in work is free for others");
            times += 1;
        }
        assert_eq!(folder.results(), finished().results());
        assert_same_files(&folder.store(), &finished().store());
    }
}

#[test]
fn shards_end_with_the_results_of_one_process_and_leave_the_report_to_another() {
    let folder = Folder::with_text();
    // Written once: a shard may be reading it.
    let tiny = folder.tiny();
    let arguments = |more: &[&str]| -> Vec<String> {
        tiny.iter().cloned().chain(more.iter().map(|word| (*word).to_string())).collect()
    };
    let children = ["1/3", "2/3", "3/3"].map(|shard| {
        let mut command = tradeoff(arguments(&["--jobs", "1", "--no-report", "--shard", shard]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for child in children {
        assert_eq!(Finished::from(child.wait_with_output().unwrap()).success(), "");
    }
    assert!(!folder.out().join("report/index.html").exists());
    assert_same_files(&folder.store(), &finished().store());
    Finished::of(&mut tradeoff(arguments(&[]))).success();
    assert_eq!(folder.results(), finished().results());
}

/// `tradeoff` with settings of a user, in a folder without any.
fn with_settings(folder: &Folder, arguments: &[&str]) -> Finished {
    let mut command = program("tradeoff", arguments);
    // No Slurm is asked, whether there is one or not.
    command.current_dir(folder.root()).env("XDG_CONFIG_HOME", folder.root()).env("PATH", folder.root());
    Finished::of(&mut command)
}

#[test]
fn jobs_for_a_cluster_are_written_and_printed_and_nothing_runs() {
    let folder = Folder::new();
    fs::create_dir(folder.path("optimizer-consistency")).unwrap();
    let settings = "[slurm]\npartition = \"long\"\ntime = \"1:00:00\"\n";
    fs::write(folder.path("optimizer-consistency/config.toml"), settings).unwrap();
    let given =
        ["--preset", "smoke", "--out", "a b", "--slurm", "--slurm-set", "tasks=3", "--slurm-set", "partition=short"];
    let printed = with_settings(&folder, &given).success();
    let script = |part: &str| -> PathBuf { folder.root().join(format!("a b/slurm/tradeoff-{part}.sh")) };
    let (stages, report) =
        (fs::read_to_string(script("stages")).unwrap(), fs::read_to_string(script("report")).unwrap());
    for text in [&stages, &report] {
        assert!(printed.contains(text.as_str()), "{printed}");
        assert!(text.contains("#SBATCH --partition=short\n") && text.contains("#SBATCH --time=1:00:00\n"), "{text}");
        assert!(text.contains("tradeoff --preset smoke --out 'a b'"), "{text}");
        assert!(!text.contains("--slurm"), "{text}");
    }
    assert!(stages.contains("#SBATCH --array=0-2\n") && stages.contains("--no-report"), "{stages}");
    assert!(!report.contains("--array") && !report.contains("--no-report"), "{report}");
    assert!(printed.contains("sbatch --dependency=afterany:"), "{printed}");
    assert!(!folder.root().join("a b/runs").exists());
}

#[test]
fn mistakes_in_a_clusters_settings_are_one_line_before_anything_is_written() {
    let folder = Folder::new();
    fs::create_dir(folder.path("optimizer-consistency")).unwrap();
    let config = folder.path("optimizer-consistency/config.toml");
    let cases: [(&str, &[&str], &str); 8] = [
        ("", &["--slurm=queue"], "[possible values: write, submit]"),
        ("", &["--slurm", "--slurm-set", "tusks=3"], "tusks: found 3, expected a field"),
        ("", &["--slurm", "--slurm-set", "tasks"], "slurm-set: found tasks, expected KEY=VALUE"),
        ("", &["--slurm", "--slurm-set", "tasks=many"], "tasks: found \"many\""),
        ("", &["--slurm", "--set", "seeds=0"], "seeds: found 0, expected at least 1"),
        ("", &["--slurm=submit"], "sbatch: found no such program, expected Slurm's"),
        ("[slurm]\ntime = [1]\n", &["--slurm"], "config.toml, line 2: found [1], expected text or a whole number"),
        ("[slurm]\nqueue = \"a\"\n", &["--slurm"], "config.toml, line 2: unknown field `queue`"),
    ];
    for (settings, arguments, named) in cases {
        fs::write(&config, settings).unwrap();
        let ended = with_settings(&folder, &[&["--preset", "smoke"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.lines().count() == 1 && ended.stderr.contains(named), "{arguments:?}: {}", ended.stderr);
    }
}
