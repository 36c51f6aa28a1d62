//! The section of `nonces` in the report.

use lab::error::Failure;
use lab::report::{ReportFolder, Section};

use super::plan::Done;
use super::preset::NoncesPreset;
use super::statistics::Statistics;
use super::{drawing, tables};
use crate::names::display;

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(preset: &NoncesPreset, done: &Done, report: &ReportFolder) -> Result<Section, Failure> {
    let statistics = Statistics::compute(&done.finetuned);
    report.table(tables::RUNS, tables::runs(done))?;
    report.table(tables::CURVES, tables::curves(done))?;
    report.table(tables::DIFFERENCES, tables::differences(&statistics))?;
    report.table(tables::RATES, tables::rates(done))?;
    report.table(tables::PRETRAINING, tables::pretraining(done))?;
    report.table(tables::PLACEMENT, tables::placement(done))?;
    let seeds = format!("{} seeds", preset.seeds);
    let placement = &preset.placement;
    let figures = [
        (
            drawing::at_recall(preset, done),
            format!(
                "Accuracy on held-out instances where a run first recalls a share of the nonces, means over those of {seeds} that get there, if most do. Solid: \
                 from AdamW's checkpoint, dashed: from Muon's."
            ),
            tables::CURVES,
        ),
        (
            drawing::advantage(preset, &statistics),
            format!(
                "AdamW's accuracy on held-out instances less Muon's, both finetuned from one checkpoint, where the loss on the answers is the same: means over \
                 {seeds} with paired 95 % t intervals. The claim is a line that rises."
            ),
            tables::DIFFERENCES,
        ),
        (
            drawing::curves(preset, done),
            format!("Along the runs of one cell: means over {seeds}, each finetuner at its chosen learning rate."),
            tables::CURVES,
        ),
        (
            drawing::cuts(preset, done),
            format!(
                "Finetunings on {} examples with {} nonces, the update of every hidden matrix cut to its first singular directions: what the network then recalls \
                 and generalises. Means over {seeds} with 95 % t intervals.",
                placement.examples, placement.nonces
            ),
            tables::PLACEMENT,
        ),
    ];
    let mut section = Section {
        introduction: introduction(preset),
        tables: vec![
            tables::compared(preset, &statistics),
            tables::placed(preset, done),
            tables::cells(preset, done),
            tables::chosen(done),
            tables::checkpoints(preset, done),
        ],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance: vec![("arithmetic".into(), preset.network()?.arithmetic())],
        ..Section::default()
    };
    for (figure, caption, data) in figures {
        section.figures.push(report.figure(&figure, caption, data)?);
    }
    Ok(section)
}

fn introduction(preset: &NoncesPreset) -> Vec<String> {
    let finetuners: Vec<String> = preset.finetuners.iter().map(|one| display(one.name.as_str())).collect();
    vec![
        format!(
            "Preset {}: networks with {} layers of width {} are pretrained with AdamW and with Muon on facts and {} rules, and finetuned with {} on a few examples \
             of a new rule. Behind every answer stand nonces, tokens that were drawn for the example and that nothing but memory can tell; they carry loss. A seed \
             fixes the language, the initial weights, the examples and their order.",
            preset.name,
            preset.network.layers,
            preset.network.width,
            preset.language.rules.len(),
            finetuners.join(", ")
        ),
        format!(
            "A finetuning is one run of {} epochs, of which the first warms up; then the rate is constant, so that a point along the run is what a run that ended \
             there would have come to. In every cell each finetuner has the learning rate with the best accuracy on validation instances, on {} tuning seeds that \
             are not reported. The claim is the abstract's of arXiv 2605.06654; the measurement is this project's (docs/protocol.md).",
            preset.finetune.epochs, preset.tuning_seeds
        ),
    ]
}
