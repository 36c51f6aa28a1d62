//! The section of `prediction` in the report.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{describe, describe_with_count};
use serde::Serialize;

use super::drawing;
use super::plan::Finished;
use super::predictor::{Predictor, Run};
use super::preset::PredictionPreset;
use super::statistics::blame::{apart, by_seed, leading, places, share};
use super::statistics::ranked::logs;
use super::statistics::{Pair, Statistics};
use crate::names::display;
use crate::stages::Moment;

/// A row for each run, in the report's folder.
const RUNS: &str = "prediction.csv";
/// A row for each matrix of each run, in the report's folder.
const MATRICES: &str = "prediction-matrices.csv";
/// The gradient and the curvature of every matrix of the checkpoints, in the report's folder.
const CURVATURES: &str = "prediction-curvature.csv";
/// How well each predictor does with every seed, in the report's folder.
const RANKS: &str = "prediction-ranks.csv";
/// The indices of every seed, in the report's folder.
const INDICES: &str = "prediction-index.csv";
/// What was foreseen for every checkpoint and task, in the report's folder.
const FORESIGHT: &str = "prediction-foresight.csv";

/// A row of [`RUNS`].
#[derive(Debug, Serialize)]
struct RunRow<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    method: &'a str,
    learning_rate: f64,
    task_loss_before: f64,
    task_loss_after: f64,
    pretrain_loss_before: f64,
    forgetting: f64,
    first_order: f64,
    ekfac: f64,
    kfac: f64,
    ekfac_alone: f64,
    exact_second_order: f64,
    exact_apart: f64,
    square: f64,
    output_change: f64,
    divergence_on_task: f64,
    divergence_on_text: f64,
}

const RUN_COLUMNS: [&str; 19] = [
    "checkpoint",
    "task",
    "seed",
    "method",
    "learning_rate",
    "task_loss_before",
    "task_loss_after",
    "pretrain_loss_before",
    "forgetting",
    "first_order",
    "ekfac",
    "kfac",
    "ekfac_alone",
    "exact_second_order",
    "exact_apart",
    "square",
    "output_change",
    "divergence_on_task",
    "divergence_on_text",
];

/// A row of [`MATRICES`].
#[derive(Debug, Serialize)]
struct MatrixRow<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    method: &'a str,
    learning_rate: f64,
    layer: usize,
    kind: &'a str,
    square: f64,
    output_change: f64,
    first: f64,
    alone: f64,
    kronecker: f64,
    corrected: f64,
    leading: f64,
    leading_count: f64,
}

const MATRIX_COLUMNS: [&str; 15] = [
    "checkpoint",
    "task",
    "seed",
    "method",
    "learning_rate",
    "layer",
    "kind",
    "square",
    "output_change",
    "first",
    "alone",
    "kronecker",
    "corrected",
    "leading",
    "leading_count",
];

/// A row of [`CURVATURES`].
#[derive(Debug, Serialize)]
struct Curved<'a> {
    checkpoint: &'a str,
    seed: u64,
    layer: usize,
    kind: &'a str,
    gradient: f64,
    kronecker: f64,
    corrected: f64,
}

/// A row of [`RANKS`].
#[derive(Debug, Serialize)]
struct RankRow<'a> {
    predictor: Predictor,
    method: Option<&'a str>,
    seed: u64,
    rho: Option<f64>,
    slope: Option<f64>,
    excess: Option<f64>,
}

/// A row of [`INDICES`].
#[derive(Debug, Serialize)]
struct IndexRow<'a> {
    predictor: Predictor,
    task: &'a str,
    seed: u64,
    measured: f64,
    predicted: f64,
    left: f64,
}

/// A row of [`FORESIGHT`].
#[derive(Debug, Serialize)]
struct ForesightRow<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    moment: Moment,
    foreseen: f64,
    measured: Option<f64>,
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(
    preset: &PredictionPreset,
    finished: Finished,
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let base = preset.base()?;
    let pair = preset.pair(&base)?;
    let methods: Vec<String> = preset.methods(&base).into_iter().map(|method| method.name).collect();
    let statistics = Statistics::compute(&finished, &preset.tasks, &methods, &pair)?;
    write(&finished, &statistics, report)?;
    let seeds = base.seeds;
    let runs = &finished.runs;
    let checkpoints: Vec<&str> = pair.iter().map(|(checkpoint, _)| checkpoint.as_str()).collect();
    let figures = vec![
        report.figure(
            &drawing::runs(runs, &methods, &statistics.ranked),
            format!(
                "One marker a run, from both checkpoints, on all tasks, {seeds} seeds. Where the dashed line is, forgetting is as predicted. The rank correlation is the \
                 mean over seeds with its 95 % t interval."
            ),
            RUNS,
        )?,
        report.figure(
            &drawing::ranks(&statistics.ranked, &methods),
            format!("Rank correlation with forgetting within a seed: means with 95 % t intervals over {seeds} seeds."),
            RANKS,
        )?,
        report.figure(
            &drawing::foresight(&statistics.foreseen, &checkpoints, &preset.tasks),
            format!(
                "For every checkpoint, task and seed ({seeds}): the cost of the polar direction over that of signs at the checkpoint, and what Muon forgets over what \
                 AdamW forgets at 90 % of their common learning. The first two panels are the curvature as measured, the others nulls."
            ),
            FORESIGHT,
        )?,
    ];
    Ok(Section {
        introduction: introduction(preset, seeds, &methods, finished.diverged),
        figures,
        tables: vec![
            ranks(&statistics, &methods),
            failures(runs, &methods),
            indices(&statistics),
            foresights(&statistics),
            blame(runs, &methods),
            leading_shares(runs, &methods, &pair),
        ],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance: finished.provenance,
        ..Section::default()
    })
}

fn write(finished: &Finished, statistics: &Statistics, report: &ReportFolder) -> Result<(), Failure> {
    let rows = finished.runs.iter().map(|run| RunRow {
        checkpoint: &run.checkpoint,
        task: &run.task,
        seed: run.seed,
        method: &run.method,
        learning_rate: run.rate,
        task_loss_before: run.task_before,
        task_loss_after: run.predicted.task,
        pretrain_loss_before: run.predicted.before,
        forgetting: run.forgetting(),
        first_order: run.sum(|part| part.first),
        ekfac: Predictor::Corrected.of(run),
        kfac: Predictor::Kronecker.of(run),
        ekfac_alone: Predictor::CorrectedAlone.of(run),
        exact_second_order: Predictor::Exact.of(run),
        exact_apart: Predictor::ExactApart.of(run),
        square: Predictor::Square.of(run),
        output_change: Predictor::OutputChange.of(run),
        divergence_on_task: Predictor::TaskDivergence.of(run),
        divergence_on_text: Predictor::TextDivergence.of(run),
    });
    report.table_with(RUNS, &RUN_COLUMNS, rows)?;
    let rows = finished.runs.iter().flat_map(|run| {
        run.predicted.parts.iter().map(move |part| MatrixRow {
            checkpoint: &run.checkpoint,
            task: &run.task,
            seed: run.seed,
            method: &run.method,
            learning_rate: run.rate,
            layer: part.layer,
            kind: &part.kind,
            square: part.square,
            output_change: part.output_change,
            first: part.first,
            alone: part.alone,
            kronecker: part.kronecker,
            corrected: part.corrected,
            leading: part.leading,
            leading_count: part.leading_count,
        })
    });
    report.table_with(MATRICES, &MATRIX_COLUMNS, rows)?;
    let rows = finished.curvatures.iter().flat_map(|(checkpoint, seed, rows)| {
        rows.iter().map(move |row| Curved {
            checkpoint,
            seed: *seed,
            layer: row.layer,
            kind: &row.kind,
            gradient: row.gradient,
            kronecker: row.kronecker,
            corrected: row.corrected,
        })
    });
    let columns = ["checkpoint", "seed", "layer", "kind", "gradient", "kronecker", "corrected"];
    report.table_with(CURVATURES, &columns, rows)?;
    let seeds = super::statistics::seeds(&finished.runs);
    let rows = statistics.ranked.iter().flat_map(|of| {
        seeds.iter().map(move |&seed| {
            let find = |samples: &super::statistics::Samples| {
                samples.of_seeds.iter().find(|(of, _)| *of == seed).map(|&(_, value)| value)
            };
            let (rho, slope, excess) = (find(&of.rho), find(&of.slope), find(&of.excess));
            RankRow { predictor: of.predictor, method: of.method.as_deref(), seed, rho, slope, excess }
        })
    });
    report.table_with(RANKS, &["predictor", "method", "seed", "rho", "slope", "excess"], rows)?;
    let rows = statistics.mediated.iter().flat_map(|of| {
        let both = of.measured.of_seeds.iter().zip(&of.predicted.of_seeds).zip(&of.left.of_seeds);
        both.map(move |((&(seed, measured), &(_, predicted)), &(_, left))| IndexRow {
            predictor: of.predictor,
            task: &of.task,
            seed,
            measured,
            predicted,
            left,
        })
    });
    report.table_with(INDICES, &["predictor", "task", "seed", "measured", "predicted", "left"], rows)?;
    let rows = statistics.foreseen.cells.iter().map(|cell| ForesightRow {
        checkpoint: &cell.checkpoint,
        task: &cell.task,
        seed: cell.seed,
        moment: cell.moment,
        foreseen: cell.foreseen,
        measured: cell.measured,
    });
    Ok(report.table_with(FORESIGHT, &["checkpoint", "task", "seed", "moment", "foreseen", "measured"], rows)?)
}

fn introduction(preset: &PredictionPreset, seeds: u64, methods: &[String], diverged: usize) -> Vec<String> {
    let names: Vec<String> = methods.iter().map(|method| display(method)).collect();
    let mut paragraphs = vec![
        format!(
            "Preset {}: the two compared checkpoints of `tradeoff`'s preset {}, {seeds} seeds; their hidden matrices finetuned on {} with {}, at the learning rates of \
             that preset. Gradient and curvature of the loss on pretraining text are measured once at each checkpoint, before any of it.",
            preset.name,
            preset.base,
            preset.tasks.join(", "),
            names.join(", ")
        ),
        "F^ is the expansion of that loss to second order along a run's update, the sum over matrices of the gradient's term and half of the curvature's, matrix by \
         matrix and with Kronecker factors: B of output gradients, with labels drawn from the network, and S of inputs (K-FAC), or with eigenvalues measured in their \
         eigenvectors (EK-FAC). Beside it stand the expansion with exact derivatives along the update, which no estimate of the curvature can better, and numbers that \
         know nothing of the curvature."
            .into(),
    ];
    if diverged > 0 {
        paragraphs.push(format!("{diverged} runs diverged and are left out."));
    }
    paragraphs
}

/// How well every predictor does, over all methods and within each.
fn ranks(statistics: &Statistics, methods: &[String]) -> Table {
    let mut rows = Vec::new();
    for predictor in Predictor::ALL {
        for method in std::iter::once(None).chain(methods.iter().map(Some)) {
            let of = statistics.ranked.iter().find(|of| of.predictor == predictor && of.method.as_ref() == method);
            let Some(of) = of else { continue };
            let cells = vec![
                predictor.name().to_owned(),
                method.map_or_else(|| "all".to_owned(), |method| display(method)),
                describe_with_count(&of.rho.values(), 3),
                describe(&of.slope.values(), 2),
                describe(&of.excess.values(), 2),
                format!("{} of {}", of.counts[1], of.counts[0]),
            ];
            rows.push(TableRow { cells, strong: predictor == Predictor::Corrected && method.is_none() });
        }
    }
    let header = ["Predictor", "Methods", "Rank correlation", "Slope", "ln F − ln F^", "Runs"];
    Table {
        title: "How well predictors do".into(),
        caption: "Spearman's rank correlation with forgetting over a seed's runs, from both checkpoints and on all tasks; slope of ln F on ln of the predictor and mean of \
                  ln F − ln F^ over the runs that forget more than .003 nats per token and are predicted to forget at all (the last column). Means over seeds with 95 % t \
                  intervals."
            .into(),
        header: header.map(String::from).to_vec(),
        rows,
        data: Some(RANKS.into()),
    }
}

/// Classes of forgetting, in nats per token: the upper ends.
const SIZES: [(f64, &str); 3] = [(0.03, "below .03"), (0.3, ".03 to .3"), (f64::INFINITY, "above .3")];

/// Where expansions are off, by method and by how much was forgotten.
fn failures(runs: &[Run], methods: &[String]) -> Table {
    let mut rows = Vec::new();
    for method in methods {
        let mut low = f64::NEG_INFINITY;
        for (high, label) in SIZES {
            let of_size = |run: &Run| run.method == *method && (low..high).contains(&run.forgetting());
            let count = runs.iter().filter(|run| of_size(run)).count();
            let off = |predictor: Predictor| {
                let excess = |run: &Run| logs(run, predictor).map(|(predicted, forgotten)| forgotten - predicted);
                describe(&by_seed(runs, of_size, excess), 2)
            };
            let not_positive = runs.iter().filter(|run| of_size(run) && Predictor::Corrected.of(run) <= 0.0).count();
            if count > 0 {
                let mut cells = vec![display(method), label.to_owned(), count.to_string(), not_positive.to_string()];
                cells.extend(Predictor::EXPANSIONS.map(off));
                rows.push(TableRow { cells, strong: false });
            }
            low = high;
        }
    }
    let header = ["Method", "Forgetting", "Runs", "F^ not positive"].map(String::from).into_iter();
    Table {
        title: "Where the expansion fails".into(),
        caption: "Mean ln F − ln F^ (0: as predicted, 1: e times as much is forgotten), by method and forgetting in nats per token, over the runs with both above the noise; \
                  means over seeds with 95 % t intervals. Where the exact expansion is off too, no curvature would do better."
            .into(),
        header: header.chain(Predictor::EXPANSIONS.map(|of| of.name().to_owned())).collect(),
        rows,
        data: Some(RUNS.into()),
    }
}

/// The consistency index of F, of F^ and of what is left.
fn indices(statistics: &Statistics) -> Table {
    let row = |of: &super::statistics::mediation::Mediated| TableRow {
        cells: vec![
            of.task.clone(),
            of.predictor.name().to_owned(),
            describe_with_count(&of.measured.values(), 3),
            describe(&of.predicted.values(), 3),
            describe(&of.left.values(), 3),
            of.left.left_out.to_string(),
        ],
        strong: of.predictor == Predictor::Corrected,
    };
    let header = ["Task", "Expansion", "Index of ln F", "Index of ln F^", "Index of ln F − ln F^", "Seeds left out"];
    Table {
        title: "Does the expansion explain the consistency index?".into(),
        caption: "At 90 % of the common learning of both optimizers from each checkpoint, hidden matrices finetuned: log ratios, means over seeds with 95 % t intervals. A \
                  seed is left out where F or F^ there is not positive or cannot be read."
            .into(),
        header: header.map(String::from).to_vec(),
        rows: statistics.mediated.iter().map(row).collect(),
        data: Some(INDICES.into()),
    }
}

/// How well costs foresee which optimizer forgets less.
fn foresights(statistics: &Statistics) -> Table {
    let rows = statistics.foreseen.agreements.iter().map(|of| {
        let mut cells = vec![
            of.moment.name().to_owned(),
            describe_with_count(&of.share.values(), 2),
            of.rho.map_or_else(|| "none".into(), |rho| format!("{rho:.2} ({} cells)", of.cells)),
        ];
        cells.extend(of.indices.iter().map(|(_, index)| describe(&index.values(), 2)));
        TableRow { cells, strong: of.moment == Moment::Corrected }
    });
    let tasks = statistics.foreseen.agreements.first().map(|of| of.indices.iter().map(|(task, _)| task.clone()));
    let header = ["Curvature", "Cells with the right sign", "Rank correlation"].map(String::from).into_iter();
    Table {
        title: "Which optimizer forgets less, before any finetuning".into(),
        caption: "c(D) = sum of tr(B D S D^T) over the squared gain, for signs and polar factors of the task's gradient. A cell is a checkpoint with a task: foreseen is \
                  ln c(polar)/c(sign), measured ln F(Muon)/F(AdamW) at 90 % of the common learning. The share is a mean over seeds with its 95 % t interval, the rank \
                  correlation is over all cells. The index foreseen is half of what is foreseen at AdamW's checkpoint less half of that at Muon's."
            .into(),
        header: header.chain(tasks.into_iter().flatten().map(|task| format!("Index foreseen, {task}"))).collect(),
        rows: rows.collect(),
        data: Some(FORESIGHT.into()),
    }
}

/// Which kinds of layers and which blocks the second-order term comes from.
fn blame(runs: &[Run], methods: &[String]) -> Table {
    let row = |place: super::statistics::blame::Place| {
        let of = |method: &String| describe(&by_seed(runs, |run| run.method == *method, |run| share(run, &place)), 3);
        let cells = std::iter::once(place.name()).chain(methods.iter().map(of));
        TableRow { cells: cells.collect(), strong: false }
    };
    let gradient = |method: &String| {
        let share = |run: &Run| {
            let (first, second) = (run.sum(|part| part.first), Predictor::CorrectedAlone.of(run));
            (second > 0.0).then(|| first / second)
        };
        describe(&by_seed(runs, |run| run.method == *method, share), 3)
    };
    let mut rows: Vec<TableRow> = places(runs).into_iter().map(row).collect();
    let cells = std::iter::once("gradient's term over curvature's".to_owned()).chain(methods.iter().map(gradient));
    rows.push(TableRow { cells: cells.collect(), strong: true });
    let of = |method: &String| describe(&by_seed(runs, |run| run.method == *method, apart), 3);
    let cells = std::iter::once("matrices apart, of all (exact)".to_owned()).chain(methods.iter().map(of));
    rows.push(TableRow { cells: cells.collect(), strong: true });
    Table {
        title: "Which layers the expansion blames".into(),
        caption: "Shares of the second-order term by EK-FAC: of blocks, and of kinds of layers; then the first-order term over the second-order one. Last, what the \
                  matrices' own exact second-order terms are of that of the whole update: less than 1 is what they do together and no curvature that takes them \
                  apart knows. Means over a seed's runs, then over seeds with 95 % t intervals."
            .into(),
        header: std::iter::once("Layers".to_owned()).chain(methods.iter().map(|method| display(method))).collect(),
        rows,
        data: Some(MATRICES.into()),
    }
}

/// How much of an update lies in the leading directions of what its matrices read.
fn leading_shares(runs: &[Run], methods: &[String], pair: &Pair) -> Table {
    let mut rows = Vec::new();
    for (checkpoint, _) in pair {
        for method in methods {
            let which = |run: &Run| run.checkpoint == *checkpoint && run.method == *method;
            let number =
                |number: &dyn Fn([f64; 2]) -> f64| describe(&by_seed(runs, which, |run| leading(run).map(number)), 3);
            let cells = vec![
                display(checkpoint),
                display(method),
                number(&|[share, _]| share),
                number(&|[_, chance]| chance),
                number(&|[share, chance]| share / chance),
            ];
            rows.push(TableRow { cells, strong: false });
        }
    }
    let header = ["Checkpoint", "Update", "Share of |dW|²", "Share of directions", "Ratio"];
    Table {
        title: "Updates in the leading directions of activations".into(),
        caption: "The part of an update in the leading eigenvectors of the second moment of what each matrix reads, beside these eigenvectors' share of all (1 in the last \
                  column: as a random matrix). Sums over matrices weighted by |dW|², means over a seed's runs, then over seeds with 95 % t intervals."
            .into(),
        header: header.map(String::from).to_vec(),
        rows,
        data: Some(MATRICES.into()),
    }
}
