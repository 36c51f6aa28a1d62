//! The binary: what a user sees, and what happens on bad input.

use std::fs;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_synthetic-lm")).args(arguments).output().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn everything_that_is_listed_can_be_looked_at() {
    let listed = stdout(&["list"]);
    let names: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(names.contains(&"math") && names.contains(&"memorization"));
    for name in names {
        assert!(stdout(&["sample", name, "--count", "3"]).lines().count() >= 3);
        assert!(!stdout(&["statistics", name]).is_empty());
        assert!(serde_json::from_str::<serde_json::Value>(&stdout(&["config", name])).is_ok());
    }
}

#[test]
fn samples_depend_on_the_seed_only() {
    let sample = |seed| stdout(&["sample", "math", "--seed", seed]);
    assert_eq!(sample("1"), sample("1"));
    assert_ne!(sample("1"), sample("2"));
}

#[test]
fn floors_are_printed_in_order() {
    let floors = stdout(&["floors", "conflict"]);
    let value = |learner: &str| -> f64 {
        let line = floors.lines().find(|line| line.trim_start().starts_with(learner)).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!(value("both") <= value("memory") && value("memory") < value("blind") && value("rule") < value("blind"));
}

#[test]
fn a_printed_configuration_is_accepted_as_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.json");
    fs::write(&path, stdout(&["config", "everything"])).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(stdout(&["floors", path]), stdout(&["floors", "everything"]));
}

#[test]
fn exported_sets_have_the_size_and_the_fields_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for (name, flag, train_field, test_field) in [
        ("math", None, "answer", "answer"),
        ("strings", Some("--text"), "text", "text"),
        ("memorization", None, "text", "completion"),
    ] {
        let out = directory.path().join(name);
        let mut arguments = vec!["export", name, "--train", "30", "--test", "7", "--out", out.to_str().unwrap()];
        arguments.extend(flag);
        stdout(&arguments);
        for (file, n, field) in [("train.jsonl", 30, train_field), ("test.jsonl", 7, test_field)] {
            let text = fs::read_to_string(out.join(file)).unwrap();
            let records: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(records.len(), n);
            assert!(records.iter().all(|record| record[field].is_string()), "{name} {file}");
        }
    }
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = write("broken.json", "{\"vocabulary\": 64,\n \"components\": 3}");
    let small = write("small.json", &stdout(&["config", "dyck"]).replace("512", "10"));
    let file_in_the_way = write("file", "");
    let missing = directory.path().join("missing.json");
    for (arguments, said) in [
        (vec!["sample", "maths"], "unknown task or language \"maths\", expected one of: math, strings, memorization"),
        (vec!["sample", "math:largest=5"], "math: largest is 5, expected 10 to 1000"),
        (vec!["sample", "math:largest"], "expected key=value"),
        (vec!["sample", "math", "--count", "many"], "invalid value 'many' for '--count <COUNT>'"),
        (vec!["sample", "math", "--count", "0"], "0 is not in 1.."),
        (vec!["sample"], "required arguments were not provided"),
        (vec!["draw"], "unrecognized subcommand 'draw'"),
        (vec![], "requires a subcommand"),
        (vec!["floors", "math"], "unknown language \"math\""),
        (vec!["floors", missing.to_str().unwrap()], "missing.json: No such file"),
        (vec!["floors", &broken], "expected a sequence at line 2"),
        (vec!["floors", &small], "language: vocabulary is 10, expected at least 11 for these components"),
        (
            vec![
                "export",
                "math:max_steps=1,min_steps=1,largest=10",
                "--train",
                "10000000",
                "--test",
                "1",
                "--out",
                &file_in_the_way,
            ],
            "file",
        ),
        (
            vec![
                "export",
                "memorization",
                "--train",
                "1",
                "--test",
                "100000",
                "--out",
                directory.path().to_str().unwrap(),
            ],
            "only 348",
        ),
    ] {
        let output = run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(said), "{message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn sets_have_a_largest_size() {
    for arguments in [
        &["sample", "math", "--count", "4294967295"][..],
        &["export", "math", "--train", "4294967295", "--test", "1", "--out", "x"],
        &["export", "math", "--train", "1", "--test", "4294967295", "--out", "x"],
        &["sample", "memorization", "--count", "10000001"],
        &["sample", "math", "--count", "0"],
    ] {
        let output = run(arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.lines().count() == 1 && line.contains("is not in 1..=10000000"), "{line}");
    }
}
