//! The effects of C5 in every setting, side by side: figures, table and file.

use lab::figures::theme::{INK, Marker, Style};
use lab::figures::{IntervalMark, IntervalRow, IntervalRows};
use lab::report::{Table, TableRow};
use lab::statistics::ScorecardRow;
use models::optim::RuleName;
use plotters::style::RGBColor;
use serde::Serialize;

use super::plan::Reported;
use super::setting::Setting;
use super::tuning::edge;

/// One row an effect of a setting.
pub(super) const EFFECTS: &str = "memorization-settings.csv";

const LIGHT: RGBColor = RGBColor(150, 150, 158);

/// The rows of a setting's scorecard in the order of [`Statistics::scorecard`](super::Statistics): C5a at the end, C5a
/// at matched training loss, C5b.
const READ: [&str; 3] = ["at the end", "at matched training loss", "steps to 90 % of the facts"];

/// The chosen rates of an optimizer in a setting's cells, each with what has to be known about it.
fn rates(setting: &Setting, optimizer: RuleName) -> String {
    let of = |cell| setting.reported.iter().find(|run| run.cell == cell && run.optimizer == optimizer);
    let cells = setting.preset.cells().into_iter().filter(|cell| cell.facts > 0 && setting.statistics.is_few(*cell));
    let text = |run: &Reported| {
        let mut remarks: Vec<&str> = edge(run.scores.len(), run.chosen).into_iter().collect();
        if run.scores[run.chosen].training < setting.preset.choice.learned {
            remarks.push("not learned");
        }
        let rate = run.scores[run.chosen].rate;
        if remarks.is_empty() { rate.to_string() } else { format!("{rate} ({})", remarks.join("; ")) }
    };
    cells.filter_map(of).map(text).collect::<Vec<_>>().join("; ")
}

fn row(setting: &Setting, effects: &[usize]) -> IntervalRow {
    let mark = |&place: &usize| {
        let ScorecardRow { effect, interval, .. } = setting.statistics.scorecard[place];
        let (color, marker) = if place == 0 { (INK, Marker::Circle) } else { (LIGHT, Marker::Diamond) };
        Some(IntervalMark {
            label: READ[place].into(),
            style: Style { color, marker, dashed: false },
            mean: effect?,
            interval: interval.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
        })
    };
    let n = setting.statistics.scorecard[effects[0]].n;
    let label = format!("{}\n{} seeds", setting.preset.name, n);
    IntervalRow { label, marks: effects.iter().filter_map(mark).collect() }
}

/// The difference of held-out accuracy in every setting.
pub(super) fn accuracies(settings: &[Setting]) -> IntervalRows {
    IntervalRows {
        name: "memorization-settings".into(),
        title: "Held-out accuracy with facts and few examples, by setting".into(),
        x: "AdamW less Muon, share of answers; right of the line the claim holds".into(),
        rows: settings.iter().map(|setting| row(setting, &[0, 1])).collect(),
        reference: 0.0,
    }
}

/// The speed of memorisation in every setting.
pub(super) fn speeds(settings: &[Setting]) -> IntervalRows {
    IntervalRows {
        name: "memorization-settings-speed".into(),
        title: "Steps to 90 % of the facts, by setting".into(),
        x: "ln (AdamW's steps / Muon's); right of the line Muon is faster".into(),
        rows: settings.iter().map(|setting| row(setting, &[2])).collect(),
        reference: 0.0,
    }
}

/// The effects with their intervals, signs and rates.
pub(super) fn table(settings: &[Setting]) -> Table {
    let rows = settings.iter().map(|setting| {
        let effect = |row: &ScorecardRow| match (row.effect, row.interval) {
            (Some(mean), Some((low, high))) => {
                format!("{mean:+.3} [{low:+.3}, {high:+.3}]\n{}, n = {}", row.verdict.as_sign(), row.n)
            }
            (Some(mean), None) => format!("{mean:+.3}, n = {}", row.n),
            (None, _) => "none".into(),
        };
        let mut cells = vec![setting.preset.name.clone(), setting.statistics.scorecard[0].task.clone()];
        cells.extend(setting.statistics.scorecard.iter().map(effect));
        cells.extend([RuleName::AdamW, RuleName::Muon].map(|name| rates(setting, name)));
        TableRow { cells, strong: false }
    });
    let header =
        ["Setting", "Cells", "C5a at the end", "C5a at matched training loss", "C5b", "AdamW's rates", "Muon's rates"];
    Table {
        title: "Other settings".into(),
        caption: "Effects as in the scorecard, positive where the claim holds, with 95 % t intervals over seeds; no verdicts, since of so many \
                  intervals some miss zero by chance. Rates are those chosen in each cell."
            .into(),
        header: header.map(String::from).to_vec(),
        rows: rows.collect(),
        data: Some(EFFECTS.into()),
    }
}

/// A row of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct EffectRow<'a> {
    setting: &'a str,
    claim: &'a str,
    read: &'static str,
    effect: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    seeds: usize,
    adamw_rates: String,
    muon_rates: String,
}

/// The table as rows of a file.
pub(super) fn rows(settings: &[Setting]) -> Vec<EffectRow<'_>> {
    let mut rows = Vec::new();
    for setting in settings {
        let [adamw_rates, muon_rates] = [RuleName::AdamW, RuleName::Muon].map(|name| rates(setting, name));
        for (row, read) in setting.statistics.scorecard.iter().zip(READ) {
            rows.push(EffectRow {
                setting: &setting.preset.name,
                claim: &row.claim,
                read,
                effect: row.effect,
                low: row.interval.map(|ends| ends.0),
                high: row.interval.map(|ends| ends.1),
                seeds: row.n,
                adamw_rates: adamw_rates.clone(),
                muon_rates: muon_rates.clone(),
            });
        }
    }
    rows
}
