//! A table of finished stages, as a user's spreadsheet may leave it: refused in one line with its place, or read and
//! written in a form that reads back to the same.
#![no_main]

use std::path::Path;

use lab::table::{parse, write_with};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

const COLUMNS: [&str; 3] = ["stage", "what", "result"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    stage: String,
    what: String,
    result: String,
}

fuzz_target!(|text: &str| {
    match parse::<Line>(text, Path::new("fuzzed.csv"), &COLUMNS) {
        Ok(rows) => {
            let rows: Vec<Line> = rows.into_iter().map(|(_, row)| row).collect();
            let written = write_with(&COLUMNS, &rows).expect("rows of text can be written");
            let back = parse::<Line>(&written, Path::new("written.csv"), &COLUMNS).expect("what is written is read");
            assert!(back.into_iter().map(|(_, row)| row).eq(rows.iter().cloned()));
            for row in rows {
                let _ = row.stage.parse::<lab::store::StageId>();
                let _ = serde_json::from_str::<serde_json::Value>(&row.result);
            }
        }
        Err(error) => {
            let line = lab::console::one_line(&error.to_string());
            assert!(!line.contains(|c: char| c.is_control()) && line.contains("fuzzed.csv, line "));
        }
    }
});
