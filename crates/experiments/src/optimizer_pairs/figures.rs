//! Task loss and exact match against the size of the finetuning set, a panel for each task, a line for each pair of
//! optimizers.

use std::collections::BTreeSet;

use lab::figures::theme::Style;
use lab::figures::{LinePanel, LinePanels, Series};
use lab::statistics::MeanInterval;

use super::statistics::{Chosen, Statistics};
use crate::names::{display, style};

/// The held-out loss after finetuning.
pub(super) fn loss(statistics: &Statistics, tasks: &[String]) -> LinePanels {
    let title = "Finetuned with the optimizer of pretraining or the other: held-out loss";
    panels(statistics, tasks, "optimizer-pairs-loss", title, "task loss (nats per token)", |chosen| Some(chosen.loss))
}

/// The share of right answers.
pub(super) fn exact_match(statistics: &Statistics, tasks: &[String]) -> LinePanels {
    let title = "Finetuned with the optimizer of pretraining or the other: right answers";
    panels(statistics, tasks, "optimizer-pairs-answers", title, "exact match", |chosen| chosen.exact_match)
}

fn panels(
    statistics: &Statistics,
    tasks: &[String],
    name: &str,
    title: &str,
    y: &str,
    number: impl Fn(&Chosen) -> Option<f64>,
) -> LinePanels {
    let pairs: BTreeSet<(&String, &String)> =
        statistics.settings.keys().map(|setting| (&setting.checkpoint, &setting.method)).collect();
    let panel = |task: &String| {
        let series = pairs.iter().enumerate().filter_map(|(place, &(checkpoint, method))| {
            // Beside each other, or the intervals would hide one another.
            let aside = 0.02 * (place as f64 - (pairs.len() - 1) as f64 / 2.0);
            let of_pair = statistics.settings.iter().filter(|(setting, _)| {
                (&setting.checkpoint, &setting.method, &setting.task) == (checkpoint, method, task)
            });
            let points: Vec<_> = of_pair
                .filter_map(|(setting, chosen)| {
                    let numbers: Option<Vec<f64>> = chosen.iter().map(&number).collect();
                    let found = MeanInterval::arithmetic(&numbers?)?;
                    Some(((setting.examples as f64).log10() + aside, found.mean, found.bounds))
                })
                .collect();
            let label = format!("{} -> {}", display(checkpoint), display(method));
            (!points.is_empty()).then(|| Series { label, style: style_of(checkpoint, method), points })
        });
        LinePanel { title: short(task), y: y.into(), series: series.collect(), reference: None }
    };
    let panels: Vec<LinePanel> = tasks.iter().map(panel).filter(|panel| !panel.series.is_empty()).collect();
    LinePanels {
        name: name.into(),
        title: title.into(),
        x: "finetuning examples (log10)".into(),
        columns: panels.len().clamp(1, 3),
        panels,
        logarithmic: false,
    }
}

/// A task's name for the head of a panel: a least and a largest value that are the same are one.
fn short(task: &str) -> String {
    let Some((name, parameters)) = task.split_once(':') else { return task.into() };
    let parameters: Vec<(&str, &str)> = parameters.split(',').filter_map(|one| one.split_once('=')).collect();
    let value = |key: String| parameters.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
    let shown = parameters.iter().filter_map(|&(key, least)| {
        let single =
            |of: &str, other: &str| key.strip_prefix(of).filter(|what| value(format!("{other}{what}")) == Some(least));
        match (single("min_", "max_"), single("max_", "min_")) {
            (Some(what), _) => Some(format!("{what} {least}")),
            (None, Some(_)) => None,
            (None, None) => Some(format!("{key} {least}")),
        }
    });
    format!("{name}: {}", shown.collect::<Vec<_>>().join(", "))
}

/// The colour of the checkpoint and the marker of the optimizer that finetunes it; dashed where they differ.
fn style_of(checkpoint: &str, method: &str) -> Style {
    let (own, other) = (style(checkpoint), style(method));
    Style { marker: other.marker, dashed: own.dashed || own.color != other.color, ..own }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_panels_head_names_a_value_once_and_drops_none() {
        assert_eq!(short("math:min_steps=2,max_steps=2,largest=10"), "math: steps 2, largest 10");
        assert_eq!(short("math:min_steps=1,max_steps=3"), "math: min_steps 1, max_steps 3");
        assert_eq!(short("math:max_steps=3"), "math: max_steps 3");
        assert_eq!(short("code"), "code");
    }
}
