//! The section of `optimizer-pairs` in the report.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::MeanInterval;

use super::chosen::{Chosen, Run, Setting};
use super::preset::{Amount, PairsPreset};
use super::statistics::Statistics;
use super::{figures, rows};
use crate::error::Result;
use crate::names::display;
use crate::stages::CODE;
use crate::tradeoff::Finished;

/// A row for each finetuning, in the report's folder.
const RESULTS: &str = "optimizer-pairs.csv";
/// What is read of every setting and seed, in the report's folder.
const READS: &str = "optimizer-pairs-read.csv";

/// Writes tables and figures to `report`; returns the section. `amounts` has what the stages of every amount left.
pub(super) fn section(
    preset: &PairsPreset,
    amounts: Vec<(Amount, Finished)>,
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let of_amount = |(amount, done): &(Amount, Finished)| {
        let run = |end: &_| Run { amount: *amount, end: Clone::clone(end) };
        done.finetuned.iter().map(|(end, _)| run(end)).collect::<Vec<_>>()
    };
    let runs: Vec<Run> = amounts.iter().flat_map(of_amount).collect();
    report.table(RESULTS, rows::runs(&runs))?;
    let statistics = Statistics::compute(preset, &runs)?;
    report.table_with(READS, &rows::READ_COLUMNS, rows::reads(&statistics.settings))?;
    let tasks: Vec<String> = preset.reasoning.iter().chain(&preset.others).cloned().collect();
    let with_answers: Vec<String> = tasks.iter().filter(|task| task.as_str() != CODE).cloned().collect();
    let mut section = Section {
        introduction: introduction(preset),
        scorecard: statistics.scorecard.clone(),
        controls: statistics.controls.clone(),
        tables: vec![table(&statistics, &tasks, &constant_answers(&with_answers)?)],
        // The largest amount has all checkpoints and tasks.
        provenance: amounts.into_iter().next_back().map(|(_, done)| done.provenance).unwrap_or_default(),
        ..Section::default()
    };
    let drawn = "colour for the checkpoint, marker for the optimizer that finetunes it, dashed where they differ; means with 95 % t intervals over seeds";
    for (figure, what) in [
        (
            figures::loss(&statistics, &tasks),
            "Held-out loss of the solutions after finetuning, against the number of examples",
        ),
        (
            figures::exact_match(&statistics, &with_answers),
            "Share of greedily decoded answers that are right, against the number of examples",
        ),
        (
            figures::equal_forgetting(&statistics, &tasks, preset.largest()),
            "Held-out loss of the solutions where so much is forgotten, at the largest amount of finetuning",
        ),
    ] {
        section.figures.push(report.figure(&figure, format!("{what}: {drawn}."), READS)?);
    }
    Ok(section)
}

fn introduction(preset: &PairsPreset) -> Vec<String> {
    let list = |numbers: Vec<String>| numbers.join(", ");
    let optimizers: Vec<String> = preset.rates.keys().map(|optimizer| display(optimizer.as_str())).collect();
    let short = match preset.short_steps {
        Some(steps) => format!(
            " The second checkpoint of the verdict stops after {steps} steps, where it is level with the first in loss."
        ),
        None => String::new(),
    };
    vec![
        format!(
            "Preset {}: the checkpoints of `tradeoff`'s preset {}, finetuned with {} on {} examples, each seen {} times. Every seed's learning rate is chosen by its \
             validation loss among the rates that forget at most {} nats; verdicts are read at the largest amount, over the tasks that count as reasoning: {}.{short}",
            preset.name,
            preset.base,
            optimizers.join(" and with "),
            list(preset.sizes.iter().map(usize::to_string).collect()),
            list(preset.epochs.iter().map(u64::to_string).collect()),
            preset.regime,
            preset.reasoning.join("; ")
        ),
        "The claim is the abstract's of arXiv 2605.06654; tasks, sizes and statistics are this project's.".into(),
    ]
}

/// What the best answer that ignores the question gets right, by task, in a sample.
fn constant_answers(tasks: &[String]) -> Result<Vec<(String, f64)>> {
    const SAMPLE: usize = 200;
    let of = |task: &String| -> Result<(String, f64)> {
        let generator = synthetic_lm::task(task)?;
        let sample = generator.generate(0, SAMPLE, SAMPLE)?;
        Ok((task.clone(), synthetic_lm::constant_baseline(&sample.train, &sample.test)))
    };
    tasks.iter().map(of).collect()
}

fn table(statistics: &Statistics, tasks: &[String], constant: &[(String, f64)]) -> Table {
    let header = ["Task", "Examples", "Seen", "Pair", "Task loss", "Exact match", "Forgetting", "Rates", "Seeds"];
    let mut rows = Vec::new();
    for task in tasks {
        let of_task = statistics.settings.iter().filter(|(setting, _)| setting.task == *task);
        rows.extend(of_task.map(|(setting, chosen)| row(setting, chosen)));
        if let Some((_, share)) = constant.iter().find(|(name, _)| name == task) {
            let mut cells = vec![String::new(); header.len()];
            (cells[0], cells[3], cells[5]) = (task.clone(), "one answer to everything".into(), format!("{share:.3}"));
            rows.push(TableRow { cells, strong: false });
        }
    }
    Table {
        title: "Task loss, right answers and forgetting at the chosen rates".into(),
        caption: "Means over seeds with 95 % t intervals. A rate marked * is the lowest or highest of its grid for at least one seed: a better one may lie outside. \
                  A seed without a number has no rate that stays in the regime."
            .into(),
        header: header.map(String::from).to_vec(),
        rows,
        data: Some(READS.into()),
    }
}

fn row(setting: &Setting, chosen: &[Chosen]) -> TableRow {
    let best: Vec<_> = chosen.iter().filter_map(|chosen| chosen.best).collect();
    let mean = |numbers: Vec<f64>| MeanInterval::arithmetic(&numbers).map_or_else(String::new, |mean| mean.describe(3));
    let mut rates: Vec<f64> = best.iter().map(|best| best.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let edge = if best.iter().any(|best| best.at_edge) { " *" } else { "" };
    let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:e}")).collect();
    TableRow {
        cells: vec![
            setting.task.clone(),
            if setting.task == CODE { "no limit".into() } else { setting.amount.examples.to_string() },
            setting.amount.epochs.to_string(),
            format!("{} -> {}", display(&setting.checkpoint), display(&setting.method)),
            mean(best.iter().map(|best| best.loss).collect()),
            mean(best.iter().filter_map(|best| best.exact_match).collect()),
            mean(best.iter().map(|best| best.forgetting).collect()),
            format!("{}{edge}", rates.join(", ")),
            best.len().to_string(),
        ],
        strong: false,
    }
}
