//! A file of examples and templates for its fields: refused in one line, or read as examples that have something to
//! read and something to learn.
//!
//! The first line of an input is the file's kind (`jsonl`, `json`, `csv`), and behind `|` two templates; the rest is
//! the file.
#![no_main]

use corpora::{Form, OwnText, TEXT_FIELD, TaskFile, Template, UserText, answer, read_user_corpus};
use lab_fuzz::{file, headed, one_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (settings, content) = headed(bytes);
    let mut settings = settings.splitn(3, '|');
    let kind = match settings.next() {
        Some("json") => "json",
        Some("csv") => "csv",
        _ => "jsonl",
    };
    let templates: Vec<Template> =
        settings.filter_map(|template| Template::parse(template).map_err(|error| one_line(&error)).ok()).collect();
    let path = file(&format!("examples.{kind}"), content);
    let templates = <[Template; 2]>::try_from(templates).ok();
    match TaskFile::read(&path, &Form { templates, ..Form::default() }) {
        Ok(task) => {
            assert!(!task.examples.is_empty());
            for example in &task.examples {
                assert!(!example.prompt.trim().is_empty() && !example.completion.trim().is_empty());
                assert_eq!(example.answer, answer(&example.completion));
                let _ = example.part(0.2);
            }
            assert!(task.repeated < task.examples.len());
        }
        Err(error) => one_line(&error),
    }
    let ends = ["</s>".to_owned()];
    match read_user_corpus(&OwnText { paths: &[path], field: TEXT_FIELD, ends: &ends, vocabulary: None }) {
        Ok(corpus) => match corpus.content {
            UserText::Text(documents) => assert!(documents.iter().all(|document| !document.text.is_empty())),
            UserText::Tokens(_) => unreachable!("rows are text"),
        },
        Err(error) => one_line(&error),
    }
});
