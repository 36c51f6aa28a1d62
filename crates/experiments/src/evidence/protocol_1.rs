//! Rows of protocol 1, read as that protocol says, from the files that it left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lab::error::{LabError, Result};
use lab::preset::Preset as _;
use lab::statistics::{MIN_SEEDS, MeanInterval, Readings, ScorecardRow, Verdict};
use lab::table;
use serde::Deserialize;

use crate::memorization::{FEW, MemorizationPreset};

/// Share of the common learning at which verdicts on C1 were read, and those beside it.
const LEVEL: f64 = 0.75;
const BESIDE: [f64; 2] = [0.5, 0.9];

#[derive(Deserialize)]
struct EffectLine {
    reading: String,
    part: String,
    task: String,
    control: bool,
    comparison: String,
    level: f64,
    effect: f64,
}

const EFFECTS: [&str; 9] = ["reading", "part", "task", "pair", "control", "comparison", "level", "seed", "effect"];

/// Claim C1 from the effect of every seed: a row for each comparison of parts a and b, and one for all of c and of d,
/// whose effect is that of the comparison that supports it least.
pub(super) fn contrasts(path: &Path) -> Result<Vec<ScorecardRow>> {
    let lines: Vec<(u64, EffectLine)> = table::read(path, &EFFECTS)?;
    let lines: Vec<EffectLine> = lines.into_iter().map(|(_, line)| line).collect();
    let verdicts = |line: &&EffectLine| line.reading == "verdicts" && !line.control;
    let tasks: BTreeSet<&str> = lines.iter().map(|line| line.task.as_str()).collect();
    let mut rows = Vec::new();
    for task in tasks {
        let of = |part: &str| -> Vec<&EffectLine> {
            lines.iter().filter(verdicts).filter(|line| line.task == task && line.part == part).collect()
        };
        let mut comparisons: Vec<(&str, Vec<&str>)> = Vec::new();
        for part in ["a", "b", "c", "d"] {
            let mut names: Vec<&str> = Vec::new();
            for line in of(part) {
                if !names.contains(&line.comparison.as_str()) {
                    names.push(&line.comparison);
                }
            }
            match part {
                "a" | "b" => comparisons.extend(names.into_iter().map(|name| (part, vec![name]))),
                _ if names.is_empty() => {}
                _ => comparisons.push((part, names)),
            }
        }
        for (part, names) in comparisons {
            let at = |level: f64| -> Vec<Vec<f64>> {
                let samples = |name: &&str| -> Vec<f64> {
                    let here = of(part).into_iter().filter(|line| line.comparison == *name && line.level == level);
                    here.map(|line| line.effect).collect()
                };
                names.iter().map(samples).collect()
            };
            rows.push(of_comparisons(&format!("C1{part}"), &statement(part, &names), task, &at)?);
        }
    }
    Ok(rows)
}

/// A comparison as the scorecard says it.
fn statement(part: &str, names: &[&str]) -> String {
    match (part, names) {
        ("a", [name]) => match name.split_once(" from ") {
            Some((other, from)) => format!("From the {from} checkpoint, {from} forgets less than {other}"),
            None => (*name).into(),
        },
        ("b", [name]) => format!("Consistency index of {name} is positive"),
        ("c", _) => "The matched optimizer forgets less than LoRA at every rank".into(),
        _ => "The matched optimizer forgets less than SGD".into(),
    }
}

/// The row of a statement that needs all of its comparisons; `at` gives the samples of each at a level.
fn of_comparisons(
    claim: &str,
    statement: &str,
    task: &str,
    at: &impl Fn(f64) -> Vec<Vec<f64>>,
) -> Result<ScorecardRow> {
    let least = |level: f64| -> Option<(Vec<f64>, MeanInterval)> {
        let found = at(level).into_iter().filter_map(|samples| {
            let mean = MeanInterval::arithmetic(&samples)?;
            (samples.len() >= MIN_SEEDS).then_some((samples, mean))
        });
        let low = |mean: &MeanInterval| mean.bounds.map_or(f64::INFINITY, |(low, _)| low);
        found.min_by(|(_, a), (_, b)| low(a).total_cmp(&low(b)))
    };
    let (samples, _) = least(LEVEL).ok_or_else(|| LabError::value(statement, "no seeds", "seeds at the level"))?;
    let unit = format!("nats per token at {:.0} % of the common learning", 100.0 * LEVEL);
    let mut row = ScorecardRow::from_samples(claim, statement, task, unit, &samples, "");
    let parts: Vec<Verdict> =
        at(LEVEL).iter().map(|part| Verdict::on_positive(MeanInterval::arithmetic(part).as_ref())).collect();
    row.verdict = Verdict::on_all(&parts);
    let others: Vec<MeanInterval> = BESIDE.into_iter().filter_map(|level| Some(least(level)?.1)).collect();
    row.readings = if others.is_empty() { None } else { Readings::about(row.verdict, &others) };
    Ok(row)
}

#[derive(Deserialize)]
struct PairLine {
    examples: String,
    task: String,
    checkpoint: String,
    method: String,
    learning_rate: String,
    seed: u64,
    pretrain_loss_before: f64,
    task_loss_after: f64,
    exact_match: Option<f64>,
}

const PAIRS: [&str; 12] = [
    "examples",
    "task",
    "checkpoint",
    "method",
    "learning_rate",
    "seed",
    "pretrain_loss_before",
    "pretrain_loss_after",
    "task_loss_before",
    "task_loss_after",
    "exact_match",
    "diverged",
];

/// The amount of data at which verdicts on C4 were read.
const EXAMPLES: &str = "8000";

/// Claim C4 from every finetuning: Muon in both stages against AdamW in both on word problems, each seed at the rate
/// with the lowest mean loss of the other seeds.
pub(super) fn pairs(path: &Path) -> Result<Vec<ScorecardRow>> {
    let lines: Vec<(u64, PairLine)> = table::read(path, &PAIRS)?;
    let lines: Vec<PairLine> = lines.into_iter().map(|(_, line)| line).collect();
    let seeds: BTreeSet<u64> = lines.iter().map(|line| line.seed).collect();
    let tasks: BTreeSet<&str> =
        lines.iter().map(|line| line.task.as_str()).filter(|task| task.starts_with("math")).collect();
    let difference = |seed: u64, read: &dyn Fn(&PairLine) -> Option<f64>| -> Option<f64> {
        let of = |optimizer: &str, task: &str| read(chosen(&lines, optimizer, task, seed)?);
        let all: Option<Vec<f64>> = tasks.iter().map(|task| Some(of("muon", task)? - of("adamw", task)?)).collect();
        let all = all.filter(|all| !all.is_empty())?;
        Some(all.iter().sum::<f64>() / all.len() as f64)
    };
    let samples = |read: &dyn Fn(&PairLine) -> Option<f64>| -> Vec<f64> {
        seeds.iter().filter_map(|&seed| difference(seed, read)).collect()
    };
    let before = |optimizer: &str, seed: u64| {
        lines.iter().find(|l| l.checkpoint == optimizer && l.seed == seed).map(|line| line.pretrain_loss_before)
    };
    let pretraining: Vec<f64> =
        seeds.iter().filter_map(|&seed| Some(before("adamw", seed)? - before("muon", seed)?)).collect();
    let row = |claim: &str, statement: &str, task: &str, unit: &str, samples: &[f64]| {
        ScorecardRow::from_samples(claim, statement, task, unit, samples, "")
    };
    let [loss, answers] = [samples(&|line| Some(line.task_loss_after)), samples(&|line| Some(1.0 - line.exact_match?))];
    let than = |what: &str| format!("Finetuned on reasoning, Muon -> Muon {what} than AdamW -> AdamW");
    Ok(vec![
        row(
            "C4 (pretraining)",
            "Muon pretrains to a lower loss than AdamW",
            "pretraining text",
            "nats per token",
            &pretraining,
        ),
        row("C4", &than("ends at a higher loss"), "reasoning", "nats per token", &loss),
        row("C4", &than("gives fewer right answers"), "reasoning", "share of answers", &answers),
    ])
}

/// The run of a seed, with one optimizer in both stages, at the rate that the other seeds choose.
fn chosen<'a>(lines: &'a [PairLine], optimizer: &str, task: &str, seed: u64) -> Option<&'a PairLine> {
    let of = |line: &&PairLine| {
        line.checkpoint == optimizer && line.method == optimizer && line.task == task && line.examples == EXAMPLES
    };
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in lines.iter().filter(of).filter(|line| line.seed != seed) {
        rates.entry(&line.learning_rate).or_default().push(line.task_loss_after);
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let best = rates.iter().min_by(|(_, a), (_, b)| mean(a).total_cmp(&mean(b)))?.0;
    lines.iter().filter(of).find(|line| line.seed == seed && line.learning_rate == **best)
}

#[derive(Deserialize)]
struct DifferenceLine {
    facts: usize,
    examples: usize,
    read: String,
    seed: u64,
    adamw: f64,
    muon: f64,
}

#[derive(Deserialize)]
struct MemorizationLine {
    facts: usize,
    examples: usize,
    optimizer: String,
    seed: u64,
    steps_to_90: Option<f64>,
}

const RUNS: [&str; 19] = [
    "setting",
    "facts",
    "examples",
    "optimizer",
    "seed",
    "learning_rate",
    "diverged",
    "fact_accuracy",
    "bits_per_fact",
    "bits_per_parameter",
    "steps_to_50",
    "steps_to_90",
    "seen",
    "exceptions",
    "validation",
    "test",
    "training_loss",
    "test_loss",
    "effective_rank",
];

/// Claim C5 from the differences of every cell and seed, and from the runs in the file beside them.
pub(super) fn memorization(path: &Path) -> Result<Vec<ScorecardRow>> {
    let preset = MemorizationPreset::find("standard", &[])?;
    let instances = preset.instances().map_err(|error| LabError::Experiment(error.into()))?;
    let few = |examples: usize| examples as f64 <= FEW * instances as f64;
    let lines: Vec<(u64, DifferenceLine)> = table::read(path, &["facts", "examples", "read", "seed", "adamw", "muon"])?;
    let lines: Vec<DifferenceLine> =
        lines.into_iter().map(|(_, line)| line).filter(|line| line.facts > 0 && few(line.examples)).collect();
    let mut rows = Vec::new();
    for reading in ["at the end", "at matched training loss"] {
        let here: Vec<&DifferenceLine> = lines.iter().filter(|line| line.read == reading).collect();
        let values = here.iter().map(|line| (line.seed, line.adamw - line.muon));
        let cells = cells(here.iter().map(|line| (line.facts, line.examples)));
        let few = "With facts to memorise and few pattern examples, AdamW answers more held-out instances than Muon";
        let statement = format!("{few}, {reading}");
        rows.push(ScorecardRow::from_samples("C5a", statement, cells, "share of answers", &by_seed(values), ""));
    }
    let runs: Vec<(u64, MemorizationLine)> = table::read(&path.with_file_name("memorization.csv"), &RUNS)?;
    let runs: Vec<MemorizationLine> = runs.into_iter().map(|(_, run)| run).filter(|run| run.facts > 0).collect();
    let of = |optimizer: &'static str| runs.iter().filter(move |run| run.optimizer == optimizer);
    let mut values = Vec::new();
    for adamw in of("adamw") {
        let same =
            |run: &&MemorizationLine| (run.facts, run.examples, run.seed) == (adamw.facts, adamw.examples, adamw.seed);
        // A run that never gets there counts with its last step; where neither does, there is no value.
        let last = preset.steps as f64;
        match of("muon").find(same).map(|muon| (adamw.steps_to_90, muon.steps_to_90)) {
            None | Some((None, None)) => {}
            Some((a, m)) => values.push((adamw.seed, (a.unwrap_or(last) / m.unwrap_or(last)).ln())),
        }
    }
    let cells = cells(of("adamw").map(|run| (run.facts, run.examples)));
    let statement = "Muon knows 90 % of the facts in fewer steps than AdamW";
    rows.push(ScorecardRow::from_samples("C5b", statement, cells, "log ratio of steps", &by_seed(values), ""));
    Ok(rows)
}

/// Means within each seed.
fn by_seed(values: impl IntoIterator<Item = (u64, f64)>) -> Vec<f64> {
    let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (seed, value) in values {
        seeds.entry(seed).or_default().push(value);
    }
    seeds.values().map(|values| values.iter().sum::<f64>() / values.len() as f64).collect()
}

/// "60 facts x 16, 32 examples; 120 facts x 16, 32 examples".
fn cells(of: impl Iterator<Item = (usize, usize)>) -> String {
    let mut facts: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (number, examples) in of {
        facts.entry(number).or_default().insert(examples);
    }
    let group = |(facts, examples): (&usize, &BTreeSet<usize>)| {
        let examples: Vec<String> = examples.iter().map(usize::to_string).collect();
        format!("{facts} facts x {} examples", examples.join(", "))
    };
    facts.iter().map(group).collect::<Vec<_>>().join("; ")
}
