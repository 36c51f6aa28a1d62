//! Two presets on one folder at the same time: what is written as one stays one.

use std::fs;
use std::process::{Child, Stdio};

use super::common::{Finished, Folder, PRESET, copy, finished, program, tradeoff};

/// A run of so many of the tiny preset's seeds, all of whose stages are done.
fn rerun(tiny: &[String], seeds: &str) -> Child {
    tradeoff(tiny.iter().map(String::as_str).chain(["--seeds", seeds]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_report_of_two_presets_that_end_at_once_is_all_of_one() {
    let folder = Folder::with_finished_run();
    let report = folder.out().join("report");
    let tiny = folder.tiny();
    let mut of = [0, 0];
    for round in 0..10 {
        let children = ["1", "2"].map(|seeds| rerun(&tiny, seeds));
        for child in children {
            Finished::from(child.wait_with_output().unwrap()).success();
        }
        let rows = fs::read_to_string(report.join("results.csv")).unwrap().lines().count() - 1;
        let page = fs::read_to_string(report.join("index.html")).unwrap();
        let section = fs::read_to_string(report.join("sections/tradeoff.json")).unwrap();
        let command = |text: &str| ["1", "2"].map(|seeds| text.contains(&format!("--seeds {seeds}")));
        let expected = if rows == 12 { [true, false] } else { [false, true] };
        assert!([12, 24].contains(&rows), "round {round}: {rows} rows");
        assert_eq!(command(&page), expected, "round {round}: the page is not that of the {rows} rows");
        assert_eq!(command(&section), expected, "round {round}: the section is not that of the {rows} rows");
        of[usize::from(rows == 24)] += 1;
        let left: Vec<_> = fs::read_dir(&report).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
    }
    assert_eq!(of[0] + of[1], 10);
    let finished = fs::read_to_string(report.join("tradeoff-finished.csv")).unwrap();
    assert_eq!(
        finished,
        fs::read_to_string(super::common::finished().out().join("report/tradeoff-finished.csv")).unwrap()
    );
}

#[test]
fn a_stored_section_cannot_lead_out_of_the_report() {
    let folder = Folder::new();
    copy(&finished().out(), &folder.out());
    let path = folder.out().join("report/sections/zzz.json");
    let section = r#"{"name": "zzz", "title": "T<script>", "order": 99, "introduction": ["a\u0000b"], "scorecard": [],
        "controls": [], "figures": [], "provenance": [],
        "tables": [{"title": "t", "caption": "", "header": ["h"], "rows": [], "data": "javascript:alert(1)"}]}"#;
    fs::write(&path, section).unwrap();
    Finished::of(&mut tradeoff(folder.tiny())).success();
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    assert!(page.contains("T&lt;script&gt;") && !page.contains("javascript:") && !page.contains('\0'));
    fs::write(
        &path,
        section.replace("\"figures\": []", "\"figures\": [{\"name\": \"../../../x\", \"caption\": \"\"}]"),
    )
    .unwrap();
    let line = Finished::of(&mut tradeoff(folder.tiny())).refusal();
    assert!(line.contains("report/figures/") && !line.contains(".."), "{line}");
}

/// The name of a task stands in its label, in the names of its figures and in their text.
#[test]
fn names_of_tasks_become_names_of_files_of_every_system() {
    let folder = Folder::with_text();
    let preset = PRESET
        .replace("tasks = [\"code\"]", "tasks = [\"strings:max_length=4\"]")
        .replace("context = 32", "context = 128");
    let arguments = folder.with_preset(&preset).into_iter().chain(["--seeds", "1"].map(String::from));
    Finished::of(&mut tradeoff(arguments)).success();
    let names: Vec<String> = fs::read_dir(folder.out().join("report/figures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("tradeoff-strings-max_length=4-")), "{names:?}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=,".contains(c);
    assert!(names.iter().all(|name| name.chars().all(plain)), "{names:?}");
    let page = fs::read_to_string(folder.out().join("report/index.html")).unwrap();
    for name in names.iter().filter(|name| name.ends_with(".svg")) {
        assert!(page.contains(&format!("href=\"figures/{name}\"")), "{name}");
    }
    Finished::of(&mut program("export-tensorboard", ["--out", &folder.path("out")])).success();
}
