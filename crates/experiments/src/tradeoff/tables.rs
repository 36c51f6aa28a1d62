//! Tables of the tradeoff section.

use lab::report::{Table, TableRow};
use lab::statistics::MeanInterval;

use super::statistics::{Cell, LEVELS, TradeoffStatistics, VERDICT_LEVEL};
use crate::names::display;

/// Forgetting at matched learning, one table for each task: a row for each checkpoint and level, a
/// column for each method. Rows at the verdict level are strong.
pub fn matched(statistics: &TradeoffStatistics) -> Vec<Table> {
    let matched = &statistics.table;
    matched
        .tasks()
        .into_iter()
        .map(|task| {
            let mut header = vec!["Checkpoint".to_owned(), "Level".to_owned()];
            header.extend(matched.methods.iter().map(|method| display(method)));
            header.push("Level set by".to_owned());
            let mut rows = Vec::new();
            for checkpoint in &statistics.checkpoints(&task) {
                for level in LEVELS {
                    let mut cells = vec![display(checkpoint), format!("{:.0} %", level * 100.0)];
                    cells.extend(matched.methods.iter().map(|method| {
                        matched.cell(&task, checkpoint, method, level).map_or_else(String::new, describe_cell)
                    }));
                    cells.push(limiting_methods(statistics, &task, checkpoint));
                    rows.push(TableRow { cells, strong: level == VERDICT_LEVEL });
                }
            }
            Table {
                title: format!("Forgetting at matched learning: {task}"),
                caption: "Nats per token: mean over seeds with its 95 % t interval. The intervals are of the \
                          means themselves; verdicts use paired differences, whose intervals are narrower where seeds vary together. A \
                          level is a share of the way from the checkpoint's task loss to the lowest that all \
                          methods reach; the last column names the methods that reach no lower."
                    .to_owned(),
                header,
                rows,
                data: None,
            }
        })
        .collect()
}

/// The consistency index of every task, pair and level.
pub fn consistency(statistics: &TradeoffStatistics) -> Table {
    let rows = statistics
        .consistency()
        .map(|effect| TableRow {
            cells: vec![
                effect.task.clone(),
                if effect.control { format!("{} (control)", effect.pair) } else { effect.pair.clone() },
                format!("{:.0} %", effect.level * 100.0),
                effect.interval.as_ref().map_or_else(|| "none".to_owned(), describe_signed),
                effect.samples.len().to_string(),
            ],
            strong: effect.level == VERDICT_LEVEL,
        })
        .collect();
    Table {
        title: "Consistency index".to_owned(),
        caption: "Nats per token: half the sum, over both checkpoints, of the other optimizer's forgetting \
                  less the matched one's, at each checkpoint's own level; mean over seeds with its paired 95 % \
                  t interval."
            .to_owned(),
        header: ["Task", "Pair", "Level", "Index", "Seeds"].map(String::from).to_vec(),
        rows,
        data: None,
    }
}

/// All effects at the verdict level: parts a to d, with every LoRA rank and both checkpoints.
pub fn effects(statistics: &TradeoffStatistics) -> Table {
    let rows = statistics
        .effects
        .iter()
        .filter(|effect| !effect.control && effect.level == VERDICT_LEVEL)
        .map(|effect| TableRow {
            cells: vec![
                format!("C1{}", effect.part),
                effect.task.clone(),
                effect.statement.clone(),
                effect.interval.as_ref().map_or_else(|| "none".to_owned(), describe_signed),
                effect.ratio.map_or_else(String::new, |ratio| match ratio.bounds {
                    Some((low, high)) => format!("{:.2} [{low:.2}, {high:.2}]", ratio.mean),
                    None => format!("{:.2}", ratio.mean),
                }),
                effect.samples.len().to_string(),
                effect.left_out.join("; "),
            ],
            strong: false,
        })
        .collect();
    Table {
        title: "All comparisons behind the verdicts".to_owned(),
        caption: format!(
            "Difference in forgetting at the {:.0} % level in nats per token (arithmetic mean over seeds) and \
             ratio of the other method's forgetting to the matched one's (geometric mean), each with its paired \
             95 % t interval.",
            VERDICT_LEVEL * 100.0
        ),
        header: ["Part", "Task", "Statement", "Difference", "Ratio", "Seeds", "Left out"].map(String::from).to_vec(),
        rows,
        data: None,
    }
}

/// Pretraining losses: one row for each checkpoint with the held-out losses of its seeds (nats per
/// token), then the baselines.
pub fn pretraining(checkpoints: &[(String, Vec<f64>)], baselines: &[(String, f64)]) -> Table {
    let mut rows: Vec<TableRow> = checkpoints
        .iter()
        .map(|(checkpoint, losses)| TableRow {
            cells: vec![
                display(checkpoint),
                MeanInterval::arithmetic(losses).as_ref().map_or_else(|| "none".to_owned(), describe),
                losses.len().to_string(),
            ],
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

/// The mean with its number of seeds, the interval, the reasons of missing seeds and the diverged
/// runs, each on a line of its own.
fn describe_cell(cell: &Cell) -> String {
    let mut parts = Vec::new();
    if let Some(mean) = cell.mean() {
        parts.push(format!("{:.3} (n = {})", mean.mean, mean.n));
        parts.extend(mean.bounds.map(|(low, high)| format!("[{low:.3}, {high:.3}]")));
    }
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for (_, reason) in &cell.missing {
        let reason = reason.to_string();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    parts.extend(
        reasons
            .into_iter()
            .map(|(reason, count)| format!("{count} {}: {reason}", if count == 1 { "seed" } else { "seeds" })),
    );
    if cell.diverged > 0 {
        parts.push(format!("{} diverged {}", cell.diverged, if cell.diverged == 1 { "run" } else { "runs" }));
    }
    parts.join("\n")
}

/// "Muon (3), SGD (2)": which methods set the common lowest loss, on how many seeds.
fn limiting_methods(statistics: &TradeoffStatistics, task: &str, checkpoint: &str) -> String {
    let limits: Vec<&str> = statistics
        .table
        .reach
        .iter()
        .filter(|reach| reach.task == task && reach.checkpoint == checkpoint)
        .map(|reach| reach.limited_by.as_str())
        .collect();
    let phrases: Vec<String> = statistics
        .table
        .methods
        .iter()
        .map(|method| (method, limits.iter().filter(|limit| *limit == method).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(method, count)| format!("{} ({count})", display(method)))
        .collect();
    phrases.join(", ")
}

fn describe(mean: &MeanInterval) -> String {
    match mean.bounds {
        Some((low, high)) => format!("{:.3} [{low:.3}, {high:.3}]", mean.mean),
        None => format!("{:.3}", mean.mean),
    }
}

fn describe_signed(mean: &MeanInterval) -> String {
    match mean.bounds {
        Some((low, high)) => format!("{:+.3} [{low:+.3}, {high:+.3}]", mean.mean),
        None => format!("{:+.3}", mean.mean),
    }
}
