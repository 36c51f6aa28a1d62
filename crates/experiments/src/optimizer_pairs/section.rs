//! The section of `optimizer-pairs` in the report.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::MeanInterval;

use super::figures;
use super::preset::PairsPreset;
use super::statistics::{Chosen, Run, Setting, Statistics, rows};
use crate::error::Result;
use crate::names::display;
use crate::stages::CODE;
use crate::tradeoff::Finished;

/// A row for each finetuning, in the report's folder.
const RESULTS: &str = "optimizer-pairs.csv";

/// Writes tables and figures to `report`; returns the section. `sizes` has what the stages of every size of the
/// finetuning set left.
pub(super) fn section(
    preset: &PairsPreset,
    sizes: Vec<(usize, Finished)>,
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let of_size = |(examples, done): &(usize, Finished)| {
        let run = |end: &_| Run { examples: *examples, end: Clone::clone(end) };
        done.finetuned.iter().map(|(end, _)| run(end)).collect::<Vec<_>>()
    };
    let runs: Vec<Run> = sizes.iter().flat_map(of_size).collect();
    report.table(RESULTS, rows(&runs))?;
    let statistics = Statistics::compute(preset, &runs)?;
    let tasks: Vec<String> = preset.reasoning.iter().chain(&preset.others).cloned().collect();
    let with_answers: Vec<String> = tasks.iter().filter(|task| task.as_str() != CODE).cloned().collect();
    let mut section = Section {
        introduction: introduction(preset),
        scorecard: statistics.scorecard.clone(),
        controls: statistics.controls.clone(),
        tables: vec![table(&statistics, &tasks, &constant_answers(&with_answers)?)],
        // The largest size has all checkpoints and tasks.
        provenance: sizes.into_iter().next_back().map(|(_, done)| done.provenance).unwrap_or_default(),
        ..Section::default()
    };
    for (figure, what) in [
        (figures::loss(&statistics, &tasks), "Held-out loss of the solutions after finetuning"),
        (figures::exact_match(&statistics, &with_answers), "Share of greedily decoded answers that are right"),
    ] {
        let caption = format!(
            "{what}, against the number of finetuning examples: colour for the checkpoint, marker for the optimizer that finetunes it, dashed where they differ; \
             means with 95 % t intervals over seeds."
        );
        section.figures.push(report.figure(&figure, caption, RESULTS)?);
    }
    Ok(section)
}

fn introduction(preset: &PairsPreset) -> Vec<String> {
    let sizes: Vec<String> = preset.sizes.iter().map(usize::to_string).collect();
    let optimizers: Vec<String> = preset.rates.keys().map(|optimizer| display(optimizer.as_str())).collect();
    vec![
        format!(
            "Preset {}: the checkpoints of `tradeoff`'s preset {}, finetuned for {} steps with {} on {} examples. Learning rates are \
             chosen for each seed by the mean loss of the other seeds; verdicts are read at the largest set, over the tasks that count as reasoning: {}.",
            preset.name,
            preset.base,
            preset.steps,
            optimizers.join(" and with "),
            sizes.join(" and "),
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
    let mut rows = Vec::new();
    for task in tasks {
        let of_task = statistics.settings.iter().filter(|(setting, _)| setting.task == *task);
        rows.extend(of_task.map(|(setting, chosen)| row(setting, chosen)));
        if let Some((_, share)) = constant.iter().find(|(name, _)| name == task) {
            let mut cells = vec![String::new(); 8];
            cells[..3].clone_from_slice(&[task.clone(), String::new(), "one answer to everything".into()]);
            cells[4] = format!("{share:.3}");
            rows.push(TableRow { cells, strong: false });
        }
    }
    Table {
        title: "Task loss, right answers and forgetting at the chosen rates".into(),
        caption: "Means over seeds with 95 % t intervals. A rate marked * is the lowest or highest of its grid for at least one seed: a better one may lie outside. \
                  A seed without a number has no rate at which all other seeds stayed finite."
            .into(),
        header: ["Task", "Examples", "Pair", "Task loss", "Exact match", "Forgetting", "Rates", "Seeds"].map(String::from).to_vec(),
        rows,
        data: Some(RESULTS.into()),
    }
}

fn row(setting: &Setting, chosen: &[Chosen]) -> TableRow {
    let mean = |number: &dyn Fn(&Chosen) -> Option<f64>| {
        let numbers: Vec<f64> = chosen.iter().filter_map(number).collect();
        match MeanInterval::arithmetic(&numbers) {
            Some(MeanInterval { mean, bounds: Some((low, high)), .. }) => format!("{mean:.3} [{low:.3}, {high:.3}]"),
            Some(MeanInterval { mean, .. }) => format!("{mean:.3}"),
            None => String::new(),
        }
    };
    let mut rates: Vec<f64> = chosen.iter().map(|c| c.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let edge = if chosen.iter().any(|c| c.at_edge) { " *" } else { "" };
    let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:e}")).collect();
    TableRow {
        cells: vec![
            setting.task.clone(),
            if setting.task == CODE { "no limit".into() } else { setting.examples.to_string() },
            format!("{} -> {}", display(&setting.checkpoint), display(&setting.method)),
            mean(&|c| Some(c.loss)),
            mean(&|c| c.exact_match),
            mean(&|c| Some(c.forgetting)),
            format!("{}{edge}", rates.join(", ")),
            chosen.len().to_string(),
        ],
        strong: setting.checkpoint == setting.method,
    }
}
