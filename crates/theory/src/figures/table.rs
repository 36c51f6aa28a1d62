//! Tables and findings.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::statistics::Estimate;

/// One entry of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Count(usize),
    /// A number; NaN and infinities are written as empty fields and `inf`.
    #[serde(with = "any_number")]
    Number(f64),
    /// A name.
    Text(String),
}

/// JSON has finite numbers only: the others are written as their names.
mod any_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written<'a> {
        Finite(f64),
        Named(&'a str),
    }

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => value.serialize(serializer),
            false => value.to_string().serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let unknown = |name: &str| serde::de::Error::custom(format!("found {name}, expected a number"));
        match Written::deserialize(deserializer)? {
            Written::Finite(value) => Ok(value),
            Written::Named(name) if matches!(name, "NaN" | "inf" | "-inf") => name.parse().map_err(|_| unknown(name)),
            Written::Named(name) => Err(unknown(name)),
        }
    }
}

impl Value {
    /// The value as a number; NaN for a name.
    pub fn number(&self) -> f64 {
        match self {
            Self::Count(x) => *x as f64,
            Self::Number(x) => *x,
            Self::Text(_) => f64::NAN,
        }
    }

    /// The value as text: a name as it is, a number in its shortest form.
    pub fn text(&self) -> String {
        match self {
            Self::Count(x) => x.to_string(),
            Self::Number(x) => x.to_string(),
            Self::Text(x) => x.clone(),
        }
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

impl From<usize> for Value {
    fn from(x: usize) -> Self {
        Self::Count(x)
    }
}

impl From<&str> for Value {
    fn from(x: &str) -> Self {
        Self::Text(x.to_owned())
    }
}

impl From<String> for Value {
    fn from(x: String) -> Self {
        Self::Text(x)
    }
}

/// A table with named columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name, also its file's.
    pub name: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// An empty table.
    pub fn new(name: &str, columns: &[&str]) -> Self {
        Self { name: name.to_owned(), columns: columns.iter().map(|&c| c.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not one value for every column.
    pub fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "row of table {}", self.name);
        self.rows.push(row);
    }

    /// Every row's values in the named columns, in the order of `names`.
    ///
    /// # Panics
    /// If a column does not exist.
    pub fn select<'a, const N: usize>(&'a self, names: [&str; N]) -> impl Iterator<Item = [&'a Value; N]> + use<'a, N> {
        let at = names.map(|name| {
            let found = self.columns.iter().position(|c| c == name);
            found.unwrap_or_else(|| panic!("no column {name} in table {}", self.name))
        });
        self.rows.iter().map(move |row| at.map(|i| &row[i]))
    }

    /// The table as CSV with a header; numbers in their shortest form that reads back to the same value.
    pub fn to_csv(&self) -> String {
        let mut csv = self.columns.join(",");
        csv.push('\n');
        for row in &self.rows {
            for (i, value) in row.iter().enumerate() {
                if i > 0 {
                    csv.push(',');
                }
                match value {
                    Value::Count(x) => _ = write!(csv, "{x}"),
                    Value::Number(x) if x.is_nan() => {}
                    Value::Number(x) => _ = write!(csv, "{x}"),
                    Value::Text(x) if x.contains([',', '"', '\n', '\r']) => {
                        _ = write!(csv, "\"{}\"", x.replace('"', "\"\""));
                    }
                    Value::Text(x) => csv.push_str(x),
                }
            }
            csv.push('\n');
        }
        csv
    }
}

/// The three values that an estimate takes in a table: mean, lower and upper end.
pub(super) fn with_interval(estimate: Estimate) -> [Value; 3] {
    [estimate.mean.into(), estimate.low.into(), estimate.high.into()]
}

/// One measured statement, for the scorecard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The claim it bears on, for example `C2`.
    pub claim: String,
    /// What is stated; the samples are positive where it holds.
    pub statement: String,
    /// The setting it was measured in.
    pub setting: String,
    /// Unit of the samples.
    pub unit: String,
    /// The effect, one finite value a seed.
    pub samples: Vec<f64>,
}

impl Finding {
    /// Mean effect with its 95 % t interval over seeds.
    pub fn effect(&self) -> Estimate {
        Estimate::of(&self.samples)
    }
}

/// Everything that a figure shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureData {
    /// The figure's name.
    pub name: String,
    /// Its tables.
    pub tables: Vec<Table>,
    /// What follows for the claims.
    pub findings: Vec<Finding>,
}

impl FigureData {
    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_passes_through_json() {
        let values = [0.5, 3.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Number);
        let others = [Value::Count(3), Value::Text("muon".into())];
        for value in values.into_iter().chain(others) {
            let text = serde_json::to_string(&value).unwrap();
            let back: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{back:?}"), format!("{value:?}"), "{text}");
        }
    }

    #[test]
    fn csv_quotes_names_and_leaves_missing_numbers_empty() {
        let mut table = Table::new("t", &["a", "b", "c"]);
        table.push(vec!["x,\"y\"".into(), f64::NAN.into(), 0.1.into()]);
        table.push(vec![3usize.into(), f64::INFINITY.into(), 1e-300.into()]);
        let lines: Vec<String> = table.to_csv().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "a,b,c");
        assert_eq!(lines[1], "\"x,\"\"y\"\"\",,0.1");
        assert!(lines[2].starts_with("3,inf,0.000"));
    }
}
