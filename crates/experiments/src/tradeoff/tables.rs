//! Tables of the tradeoff section.

use lab::report::{Table, TableRow};
use lab::statistics::describe;

use super::statistics::{Cell, Effect, PRIMARY, TradeoffStatistics, VERDICT_LEVEL};
use crate::names::display;

/// Forgetting at matched learning, one table for each task: a row for each comparison and level. Rows at the verdict
/// level are strong.
pub fn matched(statistics: &TradeoffStatistics) -> Vec<Table> {
    let rows = |task: &str| {
        let mut rows = Vec::new();
        for checkpoint in &statistics.checkpoints(task) {
            for cell in statistics.cells.iter().filter(|of| of.task == task && of.checkpoint == *checkpoint) {
                let mean = |method| cell.mean(method).map_or_else(|| "none".into(), |mean| mean.describe(3));
                let names = [&cell.matched, &cell.other].map(|method| display(method));
                let limits = names.iter().zip(cell.limited_by).filter(|(_, count)| *count > 0);
                let limits: Vec<String> = limits.map(|(name, count)| format!("{name} ({count})")).collect();
                let cells = vec![
                    display(checkpoint),
                    format!("{} against {}", names[1], names[0]),
                    format!("{:.0} %", cell.level * 100.0),
                    mean(0),
                    mean(1),
                    cell.error().map_or_else(|| "none".into(), |error| format!("{error:.3}")),
                    limits.join(", "),
                    missing(cell),
                ];
                rows.push(TableRow { cells, strong: cell.level == VERDICT_LEVEL });
            }
        }
        rows
    };
    let table = |task: String| Table {
        title: format!("Forgetting at matched learning: {task}"),
        caption:
            "Nats per token: mean over seeds with its 95 % t interval. The intervals are of the means themselves; \
                  verdicts use ratios within a seed. A level is a share of the way from the checkpoint's task loss to \
                  the lowest that both methods reach; the column before the last says which of them reaches no lower, \
                  on how many seeds. Error: how far the curves miss the runs beside the level if these are left out, \
                  in ln forgetting."
                .to_owned(),
        header: ["Checkpoint", "Comparison", "Level", "Matched", "Other", "Error", "Learning ends with", "Missing"]
            .map(String::from)
            .to_vec(),
        rows: rows(&task),
        data: None,
    };
    statistics.tasks().into_iter().map(table).collect()
}

/// The consistency index of every task and pair by every reading.
pub fn consistency(statistics: &TradeoffStatistics) -> Table {
    let row = |effect: &Effect| TableRow {
        cells: vec![
            effect.task.clone(),
            if effect.control { format!("{} (control)", effect.pair) } else { effect.pair.clone() },
            effect.reading.label(),
            effect.describe(),
            effect.samples.len().to_string(),
            effect.spread().map_or_else(String::new, |(over, within)| format!("{over:.3}, {within:.3}")),
        ],
        strong: effect.reading == PRIMARY,
    };
    Table {
        title: "Consistency index".to_owned(),
        caption: "Half the sum, over both checkpoints, of the matched optimizer's advantage over the other, at each \
                  checkpoint's own level; mean over seeds with its 95 % t interval. Spread: standard deviation over \
                  seeds, and over two orders of the finetuning data from the same checkpoints, where there are two."
            .to_owned(),
        header: ["Task", "Pair", "Reading", "Index", "Seeds", "Spread"].map(String::from).to_vec(),
        rows: statistics.consistency().map(row).collect(),
        data: None,
    }
}

/// All effects by the primary reading: parts a to d, with every LoRA rank and both checkpoints.
pub fn effects(statistics: &TradeoffStatistics) -> Table {
    let shown = statistics.effects.iter().filter(|effect| !effect.control && effect.reading == PRIMARY);
    let row = |effect: &Effect| TableRow {
        cells: vec![
            format!("C1{}", effect.part),
            effect.task.clone(),
            effect.statement.clone(),
            effect.describe(),
            effect.ratio().map_or_else(String::new, |ratio| match ratio.bounds {
                Some((low, high)) => format!("{:.2} [{low:.2}, {high:.2}]", ratio.mean),
                None => format!("{:.2}", ratio.mean),
            }),
            effect.interval.and_then(|of| of.p_value()).map_or_else(String::new, |p| format!("{p:.2e}")),
            effect.samples.len().to_string(),
            effect.left_out.join("; "),
        ],
        strong: false,
    };
    Table {
        title: "All comparisons behind the verdicts".to_owned(),
        caption: format!(
            "{}: mean over seeds with its 95 % t interval, the ratio of the other method's forgetting to the matched \
             one's that it stands for, and the two-sided p-value of this comparison alone.",
            PRIMARY.label()
        ),
        header: ["Part", "Task", "Statement", "Effect", "Ratio", "p", "Seeds", "Left out"].map(String::from).to_vec(),
        rows: shown.map(row).collect(),
        data: None,
    }
}

/// Pretraining losses: one row for each checkpoint with the held-out losses of its seeds (nats per
/// token), then the baselines.
pub fn pretraining(checkpoints: &[(String, Vec<f64>)], baselines: &[(String, f64)]) -> Table {
    let mut rows: Vec<TableRow> = checkpoints
        .iter()
        .map(|(checkpoint, losses)| TableRow {
            cells: vec![display(checkpoint), describe(losses, 3), losses.len().to_string()],
            strong: false,
        })
        .collect();
    rows.extend(baselines.iter().map(|(name, loss)| TableRow {
        cells: vec![format!("{name} (baseline)"), format!("{loss:.3}"), String::new()],
        strong: false,
    }));
    Table {
        title: "Pretraining losses".to_owned(),
        caption: "Held-out loss in nats per token: mean over seeds with its 95 % t interval.".to_owned(),
        header: ["Checkpoint", "Loss", "Seeds"].map(String::from).to_vec(),
        rows,
        data: None,
    }
}

/// Why seeds have no value: "Muon: level not reached (2)".
fn missing(cell: &Cell) -> String {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for (_, _, method, reason) in &cell.missing {
        let reason = format!("{}: {reason}", display(method));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons.into_iter().map(|(reason, count)| format!("{reason} ({count})")).collect::<Vec<_>>().join("\n")
}
