//! Task loss and right answers against the amount of finetuning and against forgetting, a panel for each task, a line
//! for each pair of optimizers.

use std::collections::BTreeSet;

use lab::figures::theme::Style;
use lab::figures::{LinePanel, LinePanels, Series};
use lab::statistics::MeanInterval;

use super::chosen::{Chosen, EQUAL, Setting};
use super::preset::Amount;
use super::statistics::{Reading, Statistics};
use crate::names::{display, style};

/// A place on the horizontal axis, and the number of a seed there.
type At<'a> = (f64, Box<dyn Fn(&Chosen) -> Option<f64> + 'a>);

/// The held-out loss after finetuning, by the number of examples.
pub(super) fn loss(statistics: &Statistics, tasks: &[String]) -> LinePanels {
    let title = "Held-out loss after finetuning";
    by_examples(statistics, tasks, "optimizer-pairs-loss", title, "task loss (nats per token)", |chosen| {
        Reading::Loss.of(chosen)
    })
}

/// The share of right answers, by the number of examples.
pub(super) fn exact_match(statistics: &Statistics, tasks: &[String]) -> LinePanels {
    let title = "Right answers after finetuning";
    by_examples(statistics, tasks, "optimizer-pairs-answers", title, "exact match", |chosen| {
        chosen.best.and_then(|best| best.exact_match)
    })
}

/// The held-out loss where so much is forgotten, at one amount.
pub(super) fn equal_forgetting(statistics: &Statistics, tasks: &[String], amount: Amount) -> LinePanels {
    let place = |(place, &forgetting): (usize, &f64)| -> At<'_> {
        (forgetting, Box::new(move |chosen: &Chosen| Reading::EqualForgetting(place).of(chosen)))
    };
    let panel = |task: &String| {
        let points = |setting: &Setting| match setting.amount == amount {
            true => EQUAL.iter().enumerate().map(place).collect(),
            false => Vec::new(),
        };
        panel(statistics, task, short(task), "task loss (nats per token)", 0.004, points)
    };
    let title = "Held-out loss at equal forgetting";
    panels("optimizer-pairs-equal", title, "forgetting (nats per token)", tasks.iter().map(panel))
}

fn by_examples(
    statistics: &Statistics,
    tasks: &[String],
    name: &str,
    title: &str,
    y: &str,
    number: impl Fn(&Chosen) -> Option<f64> + Copy,
) -> LinePanels {
    let epochs: BTreeSet<u64> = statistics.settings.keys().map(|setting| setting.amount.epochs).collect();
    let of_task = |task: &String| -> Vec<LinePanel> {
        let of_epochs = |&count: &u64| {
            let points = |setting: &Setting| -> Vec<At<'_>> {
                let Amount { examples, epochs } = setting.amount;
                if epochs == count { vec![((examples as f64).log10(), Box::new(number))] } else { Vec::new() }
            };
            let seen = if count == 1 { "once".into() } else { format!("{count} times") };
            panel(statistics, task, format!("{}, {seen}", short(task)), y, 0.02, points)
        };
        epochs.iter().map(of_epochs).collect()
    };
    panels(name, title, "finetuning examples (log10)", tasks.iter().flat_map(of_task))
}

/// A line for each pair of checkpoint and method, through the points that its settings give.
fn panel<'a>(
    statistics: &'a Statistics,
    task: &str,
    title: String,
    y: &str,
    apart: f64,
    points: impl Fn(&'a Setting) -> Vec<At<'a>>,
) -> LinePanel {
    let pairs: BTreeSet<(&String, &String)> =
        statistics.settings.keys().map(|setting| (&setting.checkpoint, &setting.method)).collect();
    let series = pairs.iter().enumerate().filter_map(|(place, &(checkpoint, method))| {
        // Beside each other, or the intervals would hide one another.
        let aside = apart * (place as f64 - (pairs.len() - 1) as f64 / 2.0);
        let of_pair = statistics
            .settings
            .iter()
            .filter(|(of, _)| (&of.checkpoint, &of.method, of.task.as_str()) == (checkpoint, method, task));
        let points: Vec<_> = of_pair
            .flat_map(|(setting, chosen)| points(setting).into_iter().map(move |point| (point, chosen)))
            .filter_map(|((x, number), chosen)| {
                let numbers: Option<Vec<f64>> = chosen.iter().map(number).collect();
                let found = MeanInterval::arithmetic(&numbers?)?;
                Some((x + aside, found.mean, found.bounds))
            })
            .collect();
        let label = format!("{} -> {}", display(checkpoint), display(method));
        (!points.is_empty()).then(|| Series { label, style: style_of(checkpoint, method), points })
    });
    LinePanel { title, y: y.into(), series: series.collect(), reference: None }
}

fn panels(name: &str, title: &str, x: &str, panels: impl Iterator<Item = LinePanel>) -> LinePanels {
    let panels: Vec<LinePanel> = panels.filter(|panel| !panel.series.is_empty()).collect();
    let columns = panels.len().clamp(1, 3);
    LinePanels { name: name.into(), title: title.into(), x: x.into(), columns, panels, logarithmic: false }
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
