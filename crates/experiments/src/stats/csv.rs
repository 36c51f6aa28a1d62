//! `results.csv`: one header line, one line for an [`EndPoint`], RFC 4180 quoting; and the files
//! derived from it, `matched.csv` and `effects.csv`.
//!
//! The file is a pure function of the set of rows: [`Results`] is sorted, columns have a fixed
//! order, and a float is written as the shortest decimal that reads back to the same bits. An
//! `exact_match` of `None` is an empty field; non-finite losses of diverged runs are `NaN`, `inf` or
//! `-inf`.

use std::fmt::Write as _;

use super::comparison::TradeoffStatistics;
use super::endpoint::{EndPoint, Results, ResultsError};

/// Names of the columns, in the order of the file.
pub const COLUMNS: [&str; 11] = [
    "task",
    "checkpoint",
    "method",
    "learning_rate",
    "seed",
    "pretrain_loss_before",
    "pretrain_loss_after",
    "task_loss_before",
    "task_loss_after",
    "exact_match",
    "diverged",
];

/// What can be wrong with a `results.csv`; lines count from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CsvError {
    /// The header is not [`COLUMNS`].
    #[error("line 1: header `{found}`, expected `{}`", COLUMNS.join(","))]
    Header {
        /// The line found.
        found: String,
    },
    /// A line has too many or too few fields.
    #[error("line {line}: {found} fields, expected {}", COLUMNS.len())]
    FieldCount {
        /// Line number.
        line: usize,
        /// Number of fields found.
        found: usize,
    },
    /// A field does not read as its type.
    #[error("line {line}, column {column}: `{found}`, expected {expected}")]
    Field {
        /// Line number.
        line: usize,
        /// Column name.
        column: &'static str,
        /// Text of the field.
        found: String,
        /// What the column holds.
        expected: &'static str,
    },
    /// A quoted field is not closed, or text follows its closing quote.
    #[error("line {line}: a quoted field that does not end with `\"` before a comma or the end of the line")]
    Quote {
        /// Line number on which the field starts.
        line: usize,
    },
    /// The rows contradict each other.
    #[error(transparent)]
    Rows(#[from] ResultsError),
}

/// The text of `results.csv`, lines ended by `\n`.
pub fn write(results: &Results) -> String {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for end in results.rows() {
        text.push_str(&row(end));
        text.push('\n');
    }
    text
}

/// The line of one end point, without its end.
pub(crate) fn row(end: &EndPoint) -> String {
    let [task, checkpoint, method] = [&end.task, &end.checkpoint, &end.method].map(|name| quote(name));
    let exact_match = end.exact_match.map_or(String::new(), |share| format!("{share:?}"));
    // `{:?}` is the shortest text that reads back to the same f64; it has an exponent where `{}` would print hundreds of zeros.
    format!(
        "{task},{checkpoint},{method},{:?},{},{:?},{:?},{:?},{:?},{exact_match},{}",
        end.learning_rate,
        end.seed,
        end.pretrain_loss_before,
        end.pretrain_loss_after,
        end.task_loss_before,
        end.task_loss_after,
        end.diverged
    )
}

/// The text of `matched.csv`: forgetting at matched learning, one line for each reading, task, checkpoint,
/// level, method and seed. A reading is a comparison of some of the runs, with its name. A missing value is an empty field with the reason beside it.
pub fn write_matched(readings: &[(&str, &TradeoffStatistics)]) -> String {
    let mut text = String::from("reading,task,checkpoint,level,method,seed,forgetting,missing\n");
    for (reading, cell) in readings.iter().flat_map(|(name, s)| s.table.cells.iter().map(move |cell| (name, cell))) {
        let values = cell.values.iter().map(|&(seed, value)| (seed, format!("{value:?},")));
        let missing = cell.missing.iter().map(|(seed, reason)| (*seed, format!(",{reason}")));
        let mut lines: Vec<(u64, String)> = values.chain(missing).collect();
        lines.sort_by_key(|(seed, _)| *seed);
        let names = [&cell.task, &cell.checkpoint].map(|name| quote(name)).join(",");
        for (seed, outcome) in lines {
            let _ = writeln!(text, "{reading},{names},{:?},{},{seed},{outcome}", cell.level, quote(&cell.method));
        }
    }
    text
}

/// The text of `effects.csv`: the effects behind the verdicts and controls, one line for each reading (as in [`write_matched`]), part,
/// task, pair, comparison, level and seed.
pub fn write_effects(readings: &[(&str, &TradeoffStatistics)]) -> String {
    let mut text = String::from("reading,part,task,pair,control,comparison,level,seed,effect\n");
    for (reading, effect) in readings.iter().flat_map(|(name, s)| s.effects.iter().map(move |effect| (name, effect))) {
        let names = [&effect.part, &effect.task, &effect.pair].map(|name| quote(name)).join(",");
        for (seed, value) in &effect.samples {
            let _ = writeln!(
                text,
                "{reading},{names},{},{},{:?},{seed},{value:?}",
                effect.control,
                quote(&effect.label),
                effect.level
            );
        }
    }
    text
}

/// Reads what [`write()`] wrote; rows may stand in any order and lines may end in `\r\n`.
///
/// # Errors
/// Names the line and column of the first thing that is not as expected.
pub fn read(text: &str) -> Result<Results, CsvError> {
    let mut records = records(text)?.into_iter();
    let (_, header) = records.next().unwrap_or_default();
    if header != COLUMNS {
        return Err(CsvError::Header { found: header.join(",") });
    }
    let rows = records.map(|(line, fields)| parse_row(line, fields)).collect::<Result<_, _>>()?;
    Ok(Results::from_rows(rows)?)
}

/// Quotes a field where its content would otherwise end it.
pub(crate) fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn parse_row(line: usize, fields: Vec<String>) -> Result<EndPoint, CsvError> {
    let fields: [String; COLUMNS.len()] =
        fields.try_into().map_err(|fields: Vec<String>| CsvError::FieldCount { line, found: fields.len() })?;
    let [task, checkpoint, method, learning_rate, seed, l0, l1, t0, t1, exact_match, diverged] = fields;
    let float = |column: usize, text: String| parse(line, column, text, "a number");
    Ok(EndPoint {
        task,
        checkpoint,
        method,
        learning_rate: float(3, learning_rate)?,
        seed: parse(line, 4, seed, "a non-negative integer")?,
        pretrain_loss_before: float(5, l0)?,
        pretrain_loss_after: float(6, l1)?,
        task_loss_before: float(7, t0)?,
        task_loss_after: float(8, t1)?,
        exact_match: if exact_match.is_empty() {
            None
        } else {
            Some(parse(line, 9, exact_match, "a number or nothing")?)
        },
        diverged: parse(line, 10, diverged, "true or false")?,
    })
}

fn parse<T: std::str::FromStr>(
    line: usize,
    column: usize,
    text: String,
    expected: &'static str,
) -> Result<T, CsvError> {
    text.parse().map_err(|_| CsvError::Field { line, column: COLUMNS[column], found: text, expected })
}

/// Splits text into records, each with the number of the line it starts on; blank lines are skipped.
pub(crate) fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, CsvError> {
    let mut records = Vec::new();
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let (mut line, mut start) = (1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if !quoted && field.is_empty() => {
                quoted = true;
                let opened = line;
                // Take everything up to the closing quote; a doubled quote stands for one.
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            field.push('"');
                        }
                        Some('"') => break,
                        Some(inside) => {
                            line += usize::from(inside == '\n');
                            field.push(inside);
                        }
                        None => return Err(CsvError::Quote { line: opened }),
                    }
                }
                if !matches!(chars.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err(CsvError::Quote { line: opened });
                }
            }
            ',' => {
                fields.push(std::mem::take(&mut field));
                quoted = false;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                if !(fields.is_empty() && field.is_empty() && !quoted) {
                    fields.push(std::mem::take(&mut field));
                    records.push((start, std::mem::take(&mut fields)));
                }
                quoted = false;
                line += 1;
                start = line;
            }
            other => field.push(other),
        }
    }
    if !(fields.is_empty() && field.is_empty() && !quoted) {
        fields.push(field);
        records.push((start, fields));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = Vec<EndPoint>> {
        let name = "[a-z,\" \n\u{e9}-]{0,6}";
        let row = (
            (name, name, name),
            any::<u64>(),
            1e-6..1.0f64,
            (any::<f64>(), any::<f64>()),
            prop::option::of(0.0..=1.0f64),
            any::<bool>(),
        )
            .prop_map(|((checkpoint, task, method), seed, learning_rate, after, exact_match, diverged)| EndPoint {
                checkpoint,
                task,
                method,
                learning_rate,
                seed,
                pretrain_loss_before: 3.1,
                pretrain_loss_after: after.0,
                task_loss_before: 4.0 / 3.0,
                task_loss_after: after.1,
                exact_match,
                diverged,
            });
        prop::collection::vec(row, 0..12)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_same_bits(rows in rows()) {
            let Ok(results) = Results::from_rows(rows) else { return Ok(()) };
            let text = write(&results);
            let back = read(&text).unwrap();
            prop_assert_eq!(write(&back), text);
            prop_assert_eq!(back.rows().len(), results.rows().len());
            for (a, b) in results.rows().iter().zip(back.rows()) {
                prop_assert_eq!(&a.method, &b.method);
                prop_assert!(a.task_loss_after == b.task_loss_after || a.task_loss_after.is_nan());
            }
        }

        #[test]
        fn the_file_does_not_depend_on_the_order_of_rows(rows in rows(), shift in 0usize..12) {
            let mut turned = rows.clone();
            turned.rotate_left(shift.min(rows.len()));
            turned.reverse();
            let (Ok(a), Ok(b)) = (Results::from_rows(rows), Results::from_rows(turned)) else { return Ok(()) };
            prop_assert_eq!(write(&a), write(&b));
        }

        #[test]
        fn reading_arbitrary_text_never_panics(text in "[a,\"\r\n1.]{0,60}") {
            let _ = read(&text);
            let _ = read(&format!("{}\n{text}", COLUMNS.join(",")));
        }
    }

    fn message(body: &str) -> String {
        read(&format!("{}\n{body}", COLUMNS.join(","))).unwrap_err().to_string()
    }

    #[test]
    fn a_row_is_written_in_the_stated_order() {
        let text = format!("{}\ncode,adamw,muon,0.00025,7,3.0,3.25,4.5,4.0,,false\n", COLUMNS.join(","));
        assert_eq!(write(&read(&text).unwrap()), text);
        assert_eq!(write(&read(&text.replace('\n', "\r\n")).unwrap()), text);
    }

    #[test]
    fn derived_files_hold_every_seed_with_its_value_or_reason() {
        use super::super::comparison::{Comparison, Pair};
        use super::super::testing::grid;

        let mut rows = Vec::new();
        for checkpoint in ["adamw", "muon"] {
            for method in ["adamw", "muon"] {
                let end = if checkpoint == method { 0.5 } else { 1.0 };
                rows.extend(grid(checkpoint, method, 7, 4.0, &[(1e-4, 4.0, 0.0), (1e-3, 2.0, end)]));
            }
        }
        rows.extend(grid("adamw", "adamw", 8, 4.0, &[(1e-3, 2.0, 0.5)]));
        let comparison = Comparison {
            methods: vec!["adamw".into(), "muon".into()],
            pair: Pair::new(("adamw", "adamw"), ("muon", "muon")),
            controls: Vec::new(),
            lora: Vec::new(),
            sgd: Vec::new(),
        };
        let statistics = TradeoffStatistics::compute(&Results::from_rows(rows).unwrap(), &comparison);
        let matched = write_matched(&[("verdicts", &statistics)]);
        // Two checkpoints, three levels, two methods, two seeds, and the header.
        assert_eq!(matched.lines().count(), 2 * 3 * 2 * 2 + 1);
        assert!(matched.contains("\nverdicts,code,adamw,0.5,adamw,7,0.25,\n"), "{matched}");
        assert!(matched.contains("\nverdicts,code,adamw,0.5,adamw,8,,needs a lower learning rate\n"), "{matched}");
        let effects = write_effects(&[("verdicts", &statistics)]);
        assert!(effects.contains("\nverdicts,a,code,AdamW / Muon,false,Muon from AdamW,0.5,7,0.25\n"), "{effects}");
        assert_eq!(effects.lines().count(), 3 * 3 + 1);
    }

    #[test]
    fn errors_name_line_and_column_in_one_line() {
        let good = "code,adamw,muon,0.00025,7,3.0,3.25,4.5,4.0,,false\n";
        assert_eq!(message(&format!("{good}code,adamw\n")), "line 3: 2 fields, expected 11");
        assert_eq!(message(&good.replace(",7,", ",-7,")), "line 2, column seed: `-7`, expected a non-negative integer");
        assert_eq!(message(&good.replace("4.5", "x")), "line 2, column task_loss_before: `x`, expected a number");
        assert!(message("\"code").starts_with("line 2: a quoted field"));
        assert!(message("\"co\"de,a").starts_with("line 2: a quoted field"));
        assert!(read("").unwrap_err().to_string().starts_with("line 1: header ``, expected `task,"));
        assert!(message(&format!("{good}{}", good.replace("3.25", "3.5"))).contains("two different rows"));
    }
}
