//! Claim C1: does the matched optimizer forget less at matched learning?
//!
//! For a [`Pair`] of checkpoints, with F(P, M) the forgetting of method M from checkpoint P where M and the method it
//! is compared with have learned the same, every effect is one number for each seed, positive when the claim holds:
//!
//! | part | effect, by the primary reading |
//! |---|---|
//! | a | ln F(A, b) / F(A, a), and ln F(B, a) / F(B, b): the other optimizer against the matched one |
//! | b | the consistency index I = 1/2 \[ln F(A, b) / F(A, a) + ln F(B, a) / F(B, b)\] |
//! | c | ln F(P, LoRA) / F(P, matched), for every LoRA rank and both checkpoints; one verdict on all |
//! | d | ln F(P, SGD) / F(P, matched), for both checkpoints; one verdict on both |
//!
//! A seed counts in an effect when all its terms exist; seeds that do not are named in the note. Verdicts come from the
//! [primary reading](PRIMARY), corrected for the number of rows; the other readings say whether they are robust. Parts
//! a and b of the control pairs are computed in the same way and reported as controls, with what they change: the
//! compared pair's index less the control's, seed by seed.

use lab::statistics::{MIN_SEEDS, MeanInterval, Readings, ScorecardRow, Verdict, correct_for_many};
use serde::{Deserialize, Serialize};

use super::contrast::Contrast;
use super::effect::{Effect, Group, Sum, Term, effect};
use super::matched::Interpolation;
use super::reading::{self, PRIMARY, VERDICT_LEVEL};
use super::table::{Cell, cells};
use crate::names::display;
use crate::stages::Results;

/// Two checkpoints, each with the finetuning method that matches its pretraining optimizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Name of checkpoint A and of the method that matches it.
    pub a: (String, String),
    /// Name of checkpoint B and of the method that matches it.
    pub b: (String, String),
}

impl Pair {
    /// A pair from `(checkpoint, matched method)` twice.
    pub fn new(a: (&str, &str), b: (&str, &str)) -> Self {
        let own = |(checkpoint, method): (&str, &str)| (checkpoint.to_owned(), method.to_owned());
        Self { a: own(a), b: own(b) }
    }

    /// "AdamW / Muon (short)": the display names of the checkpoints.
    pub fn label(&self) -> String {
        format!("{} / {}", display(&self.a.0), display(&self.b.0))
    }

    /// From both checkpoints, the other's method against the matched one.
    fn differences(&self) -> [Sum; 2] {
        let Self { a: (checkpoint_a, method_a), b: (checkpoint_b, method_b) } = self;
        [Sum::difference(checkpoint_a, method_a, method_b), Sum::difference(checkpoint_b, method_b, method_a)]
    }

    /// The consistency index.
    fn index(&self) -> Sum {
        Sum::consistency_index(&self.label(), self.differences())
    }
}

/// What a control pair changes: the compared pair's index less its own.
const CHANGE: &str = "b, change";

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The compared methods, in the order of tables and legends. They define the levels.
    pub methods: Vec<String>,
    /// The pair that the verdicts are about, if there is one.
    pub pair: Option<Pair>,
    /// Checkpoints in no pair, each with the method that the others are compared with: nothing about consistency
    /// follows from them.
    pub alone: Vec<(String, String)>,
    /// Pairs that tell the optimizer from other differences between the checkpoints.
    pub controls: Vec<Pair>,
    /// The LoRA methods among `methods`, for part c.
    pub lora: Vec<String>,
    /// The SGD method among `methods`, for part d.
    pub sgd: Vec<String>,
}

impl Comparison {
    /// The matched method and each other that it is compared with from a checkpoint; none for a checkpoint that is in
    /// no pair.
    pub fn contrasts<'a>(&'a self, checkpoint: &str) -> Vec<(&'a str, &'a str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for pair in self.pair.iter().chain(&self.controls) {
            for (of, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
                if of.0 == checkpoint {
                    found.push((&of.1, &other.1));
                }
            }
        }
        let matched = self.pair.iter().flat_map(|pair| [&pair.a, &pair.b]).find(|of| of.0 == checkpoint);
        if let Some((_, reference)) = self.alone.iter().find(|of| of.0 == checkpoint) {
            let others = self.methods.iter().filter(|method| *method != reference);
            found.extend(others.map(|other| (reference.as_str(), other.as_str())));
        }
        if let Some((_, matched)) = matched {
            found.extend(self.lora.iter().chain(&self.sgd).map(|other| (matched.as_str(), other.as_str())));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Everything that is computed about C1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TradeoffStatistics {
    /// What was compared.
    pub comparison: Comparison,
    /// Forgetting at matched learning, of every comparison.
    pub cells: Vec<Cell>,
    /// Where the compared pair's runs are read: task, checkpoint, seed and learning at the verdict level, nats per
    /// token.
    pub verdict_learning: Vec<(String, String, u64, f64)>,
    /// All effects: by task, pair (controls last), part and reading.
    pub effects: Vec<Effect>,
    /// The verdicts of the compared pair, corrected for their number.
    pub scorecard: Vec<ScorecardRow>,
    /// Parts a and b of the control pairs and what they change, in the same form; what the compared pair says already
    /// is not said again.
    pub controls: Vec<ScorecardRow>,
}

impl TradeoffStatistics {
    /// Computes table, effects and verdicts from the end points.
    pub fn compute(results: &Results, comparison: &Comparison) -> Self {
        let mut statistics = Self {
            comparison: comparison.clone(),
            cells: Vec::new(),
            verdict_learning: Vec::new(),
            effects: Vec::new(),
            scorecard: Vec::new(),
            controls: Vec::new(),
        };
        for task in results.tasks() {
            if let Some(pair) = &comparison.pair {
                statistics.add_pair(results, &task, pair, false);
            }
            for (checkpoint, reference) in &comparison.alone {
                statistics.add_alone(results, &task, checkpoint, reference);
            }
            for pair in &comparison.controls {
                statistics.add_pair(results, &task, pair, true);
            }
        }
        correct_for_many(&mut statistics.scorecard.iter_mut().collect::<Vec<_>>());
        statistics
    }

    /// The consistency indices (part b) of all pairs, in the order of `effects`.
    pub fn consistency(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter().filter(|effect| effect.part == "b")
    }

    /// The checkpoints that are compared on `task`: those of the compared pair first, then by name.
    pub fn checkpoints(&self, task: &str) -> Vec<String> {
        let in_pair = |name: &String| {
            let pair = self.comparison.pair.as_ref();
            (pair.is_none_or(|pair| *name != pair.a.0), pair.is_none_or(|pair| *name != pair.b.0))
        };
        let of_task = self.cells.iter().filter(|cell| cell.task == task);
        let mut names: Vec<String> = of_task.map(|cell| cell.checkpoint.clone()).collect();
        names.sort_by_key(|name| (in_pair(name), name.clone()));
        names.dedup();
        names
    }

    /// Names of the tasks, in the order of the cells.
    pub fn tasks(&self) -> Vec<String> {
        let mut tasks: Vec<String> = self.cells.iter().map(|cell| cell.task.clone()).collect();
        tasks.dedup();
        tasks
    }

    fn add_pair(&mut self, results: &Results, task: &str, pair: &Pair, control: bool) {
        let Pair { a: (checkpoint_a, method_a), b: (checkpoint_b, method_b) } = pair;
        let group = Group { task, pair: pair.label(), control };
        for sum in &pair.differences() {
            // A control shares a checkpoint with the compared pair, whose effect is there already.
            if !self.effects.iter().any(|effect| effect.task == task && effect.part == "a" && effect.label == sum.label)
            {
                self.conclude(results, &group, "a", None, std::slice::from_ref(sum));
            }
        }
        self.conclude(results, &group, "b", None, &[pair.index()]);
        if control {
            let compared = self.comparison.pair.as_ref().map(Pair::index);
            let changes: Vec<Sum> = compared.map(|index| Sum::change(index, pair.index())).into_iter().collect();
            self.conclude(results, &group, CHANGE, None, &changes);
            return;
        }
        let lora = "The matched optimizer forgets less than LoRA at every rank";
        let sgd = "The matched optimizer forgets less than SGD";
        for (part, others, statement) in
            [("c", self.comparison.lora.clone(), lora), ("d", self.comparison.sgd.clone(), sgd)]
        {
            let from = |other: &String| {
                [(checkpoint_a, method_a), (checkpoint_b, method_b)]
                    .map(|(checkpoint, matched)| Sum::difference(checkpoint, matched, other))
            };
            let sums: Vec<Sum> = others.iter().flat_map(from).collect();
            self.conclude(results, &group, part, Some(statement), &sums);
        }
    }

    /// The other methods against the reference one, from a checkpoint that is in no pair.
    fn add_alone(&mut self, results: &Results, task: &str, checkpoint: &str, reference: &str) {
        let group = Group { task, pair: display(checkpoint), control: true };
        for other in self.comparison.methods.clone().iter().filter(|method| *method != reference) {
            self.conclude(results, &group, "a", None, &[Sum::difference(checkpoint, reference, other)]);
        }
    }

    /// Computes the effects of `sums` by every reading and writes the line of the scorecard. With a `summary` the claim
    /// is that every sum is positive, and the one that decides is shown.
    fn conclude(&mut self, results: &Results, group: &Group<'_>, part: &str, summary: Option<&str>, sums: &[Sum]) {
        if sums.is_empty() {
            return;
        }
        for term in sums.iter().flat_map(|sum| &sum.terms) {
            self.add_cells(results, group, term);
        }
        let parts: Vec<Vec<Effect>> = sums
            .iter()
            .map(|sum| reading::all().map(|reading| effect(results, group, part, sum, reading)).collect())
            .collect();
        let row = row(group, part, summary, &parts);
        if group.control { &mut self.controls } else { &mut self.scorecard }.push(row);
        self.effects.extend(parts.into_iter().flatten());
    }

    /// Adds what is shown of one comparison, unless another effect has it already.
    fn add_cells(&mut self, results: &Results, group: &Group<'_>, term: &Term) {
        let known = |cell: &Cell| {
            (&cell.task, &cell.checkpoint, &cell.other) == (&group.task.to_owned(), &term.checkpoint, &term.other)
        };
        if self.cells.iter().any(known) {
            return;
        }
        self.cells.extend(cells(results, group.task, term));
        let known = |of: &(String, String)| (&of.0, &of.1) == (&term.checkpoint, &term.matched);
        let read = match &self.comparison.pair {
            Some(Pair { a, b }) => {
                [(a, b), (b, a)].iter().any(|(of, other)| (&of.0, &other.1) == (&term.checkpoint, &term.other))
            }
            // One line for each seed: the first of the others.
            None => {
                let first = self.comparison.methods.iter().find(|method| **method != term.matched);
                self.comparison.alone.iter().any(known) && first == Some(&term.other)
            }
        };
        if read {
            for seed in results.seeds() {
                let found = Contrast::of(results, term.compared(group.task), (seed, 0), Interpolation::Monotone);
                self.verdict_learning.extend(found.ok().map(|contrast| {
                    let learning = contrast.before - contrast.task_loss(VERDICT_LEVEL);
                    (group.task.to_owned(), term.checkpoint.clone(), seed, learning)
                }));
            }
        }
    }
}

/// The line of the scorecard about effects by every reading, one list for each part of the claim.
fn row(group: &Group<'_>, part: &str, summary: Option<&str>, parts: &[Vec<Effect>]) -> ScorecardRow {
    let primary: Vec<&Effect> = parts.iter().flatten().filter(|effect| effect.reading == PRIMARY).collect();
    // There is at least one sum, and every sum has a primary reading.
    let shown = primary.iter().min_by(|a, b| strength(a).total_cmp(&strength(b))).copied();
    let verdicts: Vec<Verdict> = primary.iter().map(|effect| effect.verdict()).collect();
    let verdict = Verdict::on_all(&verdicts);
    let interval = shown.and_then(|shown| shown.interval);
    ScorecardRow {
        claim: format!("C1{part}"),
        statement: summary.map_or_else(|| shown.map_or(String::new(), |s| s.statement.clone()), str::to_owned),
        task: group.task.to_owned(),
        effect: interval.map(|interval| interval.mean),
        unit: PRIMARY.unit().to_owned(),
        interval: interval.and_then(|interval| interval.bounds),
        n: shown.map_or(0, |shown| shown.samples.len()),
        p: joint_p(&primary),
        corrected: None,
        readings: robustness(verdict, parts),
        verdict,
        note: note(summary.and(shown), &primary, parts),
    }
}

/// The p-value of "every part is positive": the largest, since all must hold; where parts are negative, the smallest of
/// these times the number of parts, since any may.
fn joint_p(parts: &[&Effect]) -> Option<f64> {
    let all: Option<Vec<(f64, f64)>> =
        parts.iter().map(|part| part.interval.and_then(|of| Some((of.mean, of.p_value()?)))).collect();
    let all = all?;
    let negative = all.iter().filter(|(mean, _)| *mean < 0.0).map(|(_, p)| *p).min_by(f64::total_cmp);
    let largest = all.iter().map(|(_, p)| *p).max_by(f64::total_cmp)?;
    Some(negative.map_or(largest, |p| (p * all.len() as f64).min(1.0)))
}

/// Whether the readings beside the primary one agree with a verdict. Readings with fewer seeds than a verdict needs say
/// nothing. Where several parts make the claim, every part has to be robust; where one contradicts it, that one.
fn robustness(verdict: Verdict, parts: &[Vec<Effect>]) -> Option<Readings> {
    let of_part = |effects: &Vec<Effect>| {
        let primary = effects.iter().find(|effect| effect.reading == PRIMARY)?;
        let others = effects.iter().filter(|effect| reading::OTHERS.contains(&effect.reading));
        let intervals: Vec<MeanInterval> = others.filter_map(|of| of.interval).filter(|of| of.n >= MIN_SEEDS).collect();
        (primary.verdict() == verdict).then(|| Readings::about(verdict, &intervals))?
    };
    let found: Vec<Readings> = parts.iter().filter_map(of_part).collect();
    let robust = match verdict {
        Verdict::Reproduced => found.iter().all(|of| *of == Readings::Robust),
        Verdict::Contradicted => found.contains(&Readings::Robust),
        Verdict::Inconclusive => return None,
    };
    Some(if robust { Readings::Robust } else { Readings::NotRobust })
}

/// Orders the parts of a claim by how much they speak for it, so that the weakest decides: first
/// by verdict, an effect that could not be measured being the weakest inconclusive one, then by
/// the lower end of the interval.
fn strength(effect: &Effect) -> f64 {
    // Ends of intervals are squeezed into (-1, 1), below the distance between two verdicts.
    let end = effect.interval.map_or(f64::NEG_INFINITY, |interval| interval.bounds.map_or(interval.mean, |b| b.0));
    let rank = match effect.verdict() {
        Verdict::Contradicted => 0.0,
        Verdict::Inconclusive => 2.0,
        Verdict::Reproduced => 4.0,
    };
    rank + end.atan() / std::f64::consts::FRAC_PI_2
}

/// The remark beside a verdict: its parts with the one that is `shown`, or the other readings; then the seeds left out.
fn note(shown: Option<&Effect>, primary: &[&Effect], parts: &[Vec<Effect>]) -> String {
    let mut phrases = Vec::new();
    if let Some(shown) = shown {
        phrases.push(format!("shown is {}, the weakest of {}", shown.label, primary.len()));
        phrases.extend(primary.iter().map(|effect| format!("{}: {}", effect.label, effect.describe())));
    } else {
        for effect in parts.iter().flatten().filter(|effect| reading::OTHERS.contains(&effect.reading)) {
            let seeds = match effect.samples.len() {
                n if n == primary.first().map_or(0, |primary| primary.samples.len()) => String::new(),
                n => format!(" (n = {n})"),
            };
            phrases.push(format!("{}: {}{seeds}", effect.reading.label(), effect.describe()));
        }
        if let Some(ratio) = primary.first().and_then(|effect| effect.ratio()) {
            phrases.push(format!("the other forgets {:.2} times as much", ratio.mean));
        }
    }
    let mut left_out: Vec<&str> = primary.iter().flat_map(|effect| &effect.left_out).map(String::as_str).collect();
    left_out.sort_unstable();
    left_out.dedup();
    if !left_out.is_empty() {
        phrases.push(format!("left out: {}", left_out.join(", ")));
    }
    phrases.join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::grid;
    use super::*;
    use crate::stages::EndPoint;

    fn comparison() -> Comparison {
        Comparison {
            methods: ["adamw", "muon", "sgd", "lora-4", "lora-16"].map(String::from).to_vec(),
            pair: Some(Pair::new(("adamw", "adamw"), ("muon", "muon"))),
            alone: Vec::new(),
            controls: vec![Pair::new(("adamw-long", "adamw"), ("muon", "muon"))],
            lora: vec!["lora-4".into(), "lora-16".into()],
            sgd: vec!["sgd".into()],
        }
    }

    /// All methods reach task loss 2 from 4 by curves of one form, so that the ln ratio of two methods is the same at
    /// all levels: that of what they forget at the end, which `end(checkpoint, method, seed)` gives.
    fn rows(seeds: u64, end: impl Fn(&str, &str, u64) -> f64) -> Vec<EndPoint> {
        let mut rows = Vec::new();
        for seed in 1..=seeds {
            for checkpoint in ["adamw", "muon", "adamw-long"] {
                for method in comparison().methods {
                    let end = end(checkpoint, &method, seed);
                    let runs = [(1e-4, 4.0, end / 20.0), (1e-3, 3.0, end / 2.0), (1e-2, 2.0, end)];
                    rows.extend(grid(checkpoint, &method, seed, 4.0, &runs));
                }
            }
        }
        rows
    }

    fn compute(rows: Vec<EndPoint>) -> TradeoffStatistics {
        TradeoffStatistics::compute(&Results::from_rows(rows).unwrap(), &comparison())
    }

    /// The matched optimizer forgets 0.4 (and a little more with the seed), others 0.8.
    fn as_claimed(checkpoint: &str, method: &str, seed: u64) -> f64 {
        let matched = checkpoint.starts_with(method);
        (if matched { 0.4 } else { 0.8 }) + 0.01 * seed as f64
    }

    #[test]
    fn verdicts_of_a_world_as_claimed() {
        let statistics = compute(rows(5, as_claimed));
        let claims: Vec<&str> = statistics.scorecard.iter().map(|row| row.claim.as_str()).collect();
        assert_eq!(claims, ["C1a", "C1a", "C1b", "C1c", "C1d"]);
        for row in &statistics.scorecard {
            assert_eq!(row.verdict, Verdict::Reproduced, "{row:?}");
            assert_eq!(row.n, 5);
            let expected = (1..=5).map(|s| ((0.8 + 0.01 * s as f64) / (0.4 + 0.01 * s as f64)).ln()).sum::<f64>() / 5.0;
            assert!((row.effect.unwrap() - expected).abs() < 1e-9, "{row:?}");
            // Five rows: the smallest p-value times five, the next times four, ...
            assert!(row.p.unwrap() < row.corrected.unwrap() && row.corrected.unwrap() < 1e-4, "{row:?}");
            assert_eq!(row.readings, Some(Readings::Robust), "{row:?}");
        }
        assert_eq!(statistics.scorecard[0].statement, "From the AdamW checkpoint, AdamW forgets less than Muon");
        assert!(statistics.scorecard[0].note.contains("ln ratio at 75 %: +0.6"), "{}", statistics.scorecard[0].note);
        // The Muon checkpoint of the control pair is the one of the compared pair: one a, one b.
        assert_eq!(statistics.controls.len(), 3);
        assert_eq!(statistics.consistency().count(), 2 * reading::all().count());
        assert_eq!(statistics.checkpoints("code"), ["adamw", "muon", "adamw-long"]);
    }

    #[test]
    fn the_index_measures_the_interaction_alone() {
        // Muon forgets less from both checkpoints, by .1 from AdamW's and .5 from Muon's.
        let end = |checkpoint: &str, method: &str, seed: u64| {
            let base = 1.0 + 0.01 * seed as f64;
            match (checkpoint, method) {
                ("adamw", "muon") => base - 0.1,
                ("muon", "muon") => base - 0.5,
                _ => base,
            }
        };
        let statistics = compute(rows(5, end));
        let verdicts: Vec<Verdict> = statistics.scorecard[..3].iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Contradicted, Verdict::Reproduced, Verdict::Reproduced]);
        let index = statistics.scorecard[2].effect.unwrap();
        let of = |s: u64| {
            let base = 1.0 + 0.01 * s as f64;
            0.5 * (((base - 0.1) / base).ln() + (base / (base - 0.5)).ln())
        };
        assert!((index - (1..=5).map(of).sum::<f64>() / 5.0).abs() < 1e-9, "{index}");
    }

    #[test]
    fn one_rank_that_forgets_less_contradicts_part_c() {
        let end = |checkpoint: &str, method: &str, seed: u64| {
            if method == "lora-4" { 0.1 + 0.001 * seed as f64 } else { as_claimed(checkpoint, method, seed) }
        };
        let statistics = compute(rows(5, end));
        let c = &statistics.scorecard[3];
        assert_eq!(c.verdict, Verdict::Contradicted);
        assert!(c.effect.unwrap() < 0.0 && c.note.contains("LoRA-4"), "{c:?}");
    }

    #[test]
    fn the_part_that_decides_is_the_one_shown() {
        // LoRA-16 forgets more on average, but differs so much between seeds that nothing follows.
        let end = |checkpoint: &str, method: &str, seed: u64| match (checkpoint, method) {
            ("muon", "lora-16") => 1.5 + if seed.is_multiple_of(2) { 1.4 } else { -1.4 },
            _ => as_claimed(checkpoint, method, seed),
        };
        let statistics = compute(rows(6, end));
        let c = &statistics.scorecard[3];
        assert_eq!(c.verdict, Verdict::Inconclusive);
        assert!(c.interval.unwrap().0 < 0.0, "{c:?}");
        assert!(c.note.starts_with("shown is LoRA-16 from Muon, the weakest of 4"), "{}", c.note);
    }

    #[test]
    fn too_few_seeds_are_inconclusive() {
        for row in compute(rows(4, as_claimed)).scorecard {
            assert_eq!(row.verdict_label(), "inconclusive (n = 4)");
        }
    }

    #[test]
    fn seeds_without_a_bracket_are_left_out_and_named() {
        let mut rows = rows(6, as_claimed);
        rows.retain(|row| {
            !(row.checkpoint == "adamw" && row.method == "muon" && row.seed == 3 && row.learning_rate < 5e-3)
        });
        let statistics = compute(rows);
        assert_eq!(statistics.scorecard[0].n, 5);
        assert!(
            statistics.scorecard[0].note.contains("Muon from AdamW: needs a lower learning rate (seed 3)"),
            "{}",
            statistics.scorecard[0].note
        );
        assert_eq!(statistics.scorecard[1].n, 6);
        assert_eq!(statistics.scorecard[2].n, 5);
    }

    #[test]
    fn a_method_that_was_not_run_gives_no_verdict() {
        let mut rows = rows(5, as_claimed);
        rows.retain(|row| row.method != "sgd");
        let statistics = compute(rows);
        let d = &statistics.scorecard[4];
        assert_eq!((d.claim.as_str(), d.effect, d.n), ("C1d", None, 0));
        assert!(d.note.contains("SGD from AdamW: not run"), "{}", d.note);
    }

    #[test]
    fn no_rows_give_no_verdicts() {
        assert!(compute(Vec::new()).scorecard.is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(
            ends in prop::collection::vec(0.1..2.0f64, 5),
            turn in 0usize..40,
        ) {
            let rows = rows(2, |checkpoint, method, seed| {
                ends[(checkpoint.len() + method.len() + seed as usize) % ends.len()]
            });
            let mut other = rows.clone();
            other.rotate_left(turn);
            other.reverse();
            prop_assert_eq!(compute(rows), compute(other));
        }
    }
}
