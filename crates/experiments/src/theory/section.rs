//! The section of `theory` in the report: figures, tables and scorecard.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table as ShownTable, TableRow};
use lab::statistics::ScorecardRow;
use theory::figures::{FigureData, Finding, Table, Value, phase_diagram};

use super::drawing;
use super::preset::FigureName;

/// Folder of the tables as CSV, inside the report's folder.
const DATA: &str = "theory";

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section<'a>(
    figures: impl Iterator<Item = (FigureName, &'a FigureData)>,
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let mut section = Section::default();
    section.provenance.push(("arithmetic".into(), "f64 on cpu".into()));
    for (name, data) in figures {
        let file = |table: &str| format!("{DATA}/{table}.csv");
        section.introduction.push(format!("{}: {}", name.title(), name.introduction()));
        let ties = |table: &Table| {
            let ratios = data.table("phase-diagram").filter(|_| table.name == phase_diagram::TIES);
            ratios.map(phase_diagram::all_ties)
        };
        let tables: Vec<Table> = data.tables.iter().map(|table| ties(table).unwrap_or_else(|| table.clone())).collect();
        for table in &tables {
            report.text(&file(&table.name), &table.to_csv())?;
        }
        let drawings = drawing::drawings(name, data);
        for (figure, caption, table) in drawings.lines {
            section.figures.push(report.figure(&figure, caption, file(&table))?);
        }
        for (figure, caption, table) in drawings.rows {
            section.figures.push(report.figure(&figure, caption, file(&table))?);
        }
        section.scorecard.extend(data.findings.iter().map(row));
        let small = tables.iter().filter(|table| table.rows.len() <= 70);
        section.tables.extend(small.map(|table| shown(table, Some(file(&table.name)))));
    }
    Ok(section)
}

fn row(finding: &Finding) -> ScorecardRow {
    ScorecardRow::from_samples(
        format!("{} (theory)", finding.claim),
        finding.statement.clone(),
        finding.setting.clone(),
        finding.unit.clone(),
        &finding.samples,
        "linear model",
    )
}

/// A table as the report shows it: numbers to four digits.
fn shown(table: &Table, data: Option<String>) -> ShownTable {
    let cell = |value: &Value| match value {
        Value::Number(x) if x.is_nan() => String::new(),
        Value::Number(x) if *x == 0.0 => "0".into(),
        Value::Number(x) if x.abs() < 1e-3 || x.abs() >= 1e5 => format!("{x:.2e}"),
        Value::Number(x) => {
            let digits = (3 - x.abs().log10().floor() as i32).clamp(0, 5) as usize;
            format!("{x:.digits$}")
        }
        other => other.text(),
    };
    ShownTable {
        title: table.name.replace('-', " "),
        caption: String::new(),
        header: table.columns.iter().map(|column| column.replace('_', " ")).collect(),
        rows: table.rows.iter().map(|row| TableRow { cells: row.iter().map(cell).collect(), strong: false }).collect(),
        data,
    }
}
