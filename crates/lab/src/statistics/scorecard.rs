//! A claim, what was measured about it, and the verdict.

use serde::{Deserialize, Serialize};

use super::interval::{CONFIDENCE, MeanInterval};

/// A verdict needs at least this many seeds.
pub const MIN_SEEDS: usize = 5;

/// What the measurement says about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The 95 % interval of the effect lies on the claimed side of zero.
    Reproduced,
    /// The interval lies on the other side.
    Contradicted,
    /// The interval holds zero, or there are fewer than [`MIN_SEEDS`] seeds.
    Inconclusive,
}

impl Verdict {
    /// The verdict on "the effect is positive" from its mean and interval over seeds.
    pub fn on_positive(effect: Option<&MeanInterval>) -> Self {
        match effect {
            Some(MeanInterval { bounds: Some((low, high)), n, .. }) if *n >= MIN_SEEDS => {
                if *low > 0.0 {
                    Self::Reproduced
                } else if *high < 0.0 {
                    Self::Contradicted
                } else {
                    Self::Inconclusive
                }
            }
            _ => Self::Inconclusive,
        }
    }

    /// The same about a control, which is no verdict on a claim: the sign of the effect.
    pub fn as_sign(self) -> &'static str {
        match self {
            Self::Reproduced => "positive",
            Self::Contradicted => "negative",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The verdict on "every one of these holds": reproduced when all parts are, contradicted when
    /// any part is, else inconclusive.
    ///
    /// The first needs no correction for the number of parts (an intersection-union test keeps its
    /// level); with k parts the second is reached by chance up to k times as often as for one.
    pub fn on_all(parts: &[Self]) -> Self {
        if parts.contains(&Self::Contradicted) {
            Self::Contradicted
        } else if !parts.is_empty() && parts.iter().all(|part| *part == Self::Reproduced) {
            Self::Reproduced
        } else {
            Self::Inconclusive
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reproduced => "reproduced",
            Self::Contradicted => "contradicted",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// Whether a verdict hangs on the way in which the runs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readings {
    /// Every reading has the sign of the verdict, and the intervals of all but one at most lie on its side.
    Robust,
    /// A reading has another sign, or more than one interval holds zero.
    NotRobust,
}

impl Readings {
    /// What the `others` say about a verdict; `None` where there is no verdict to speak about.
    pub fn about(verdict: Verdict, others: &[MeanInterval]) -> Option<Self> {
        let sign = match verdict {
            Verdict::Reproduced => 1.0,
            Verdict::Contradicted => -1.0,
            Verdict::Inconclusive => return None,
        };
        let same = others.iter().all(|reading| sign * reading.mean > 0.0);
        let beside = |reading: &&MeanInterval| {
            reading.bounds.is_none_or(|(low, high)| if sign > 0.0 { low <= 0.0 } else { high >= 0.0 })
        };
        let open = others.iter().filter(beside).count();
        Some(if same && open <= 1 { Self::Robust } else { Self::NotRobust })
    }
}

/// Corrects the p-values of rows that belong to one claim, by Holm's method, and takes back verdicts that do not stand
/// it: with many rows some would fall on one side by chance. Rows without a p-value are not counted.
pub fn correct_for_many(rows: &mut [&mut ScorecardRow]) {
    let mut order: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].p.is_some()).collect();
    order.sort_by(|&a, &b| rows[a].p.unwrap_or(1.0).total_cmp(&rows[b].p.unwrap_or(1.0)));
    let mut largest: f64 = 0.0;
    for (place, &row) in order.iter().enumerate() {
        let p = rows[row].p.unwrap_or(1.0);
        largest = largest.max(p * (order.len() - place) as f64).min(1.0);
        rows[row].corrected = Some(largest);
        if largest >= 1.0 - CONFIDENCE {
            rows[row].verdict = Verdict::Inconclusive;
            rows[row].readings = None;
        }
    }
}

/// One line of the scorecard.
///
/// Effects are oriented so that a positive one supports the statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorecardRow {
    /// Claim and part, for example `C1b`.
    pub claim: String,
    /// What is claimed, as one sentence about what was measured.
    pub statement: String,
    /// Task or setting it was measured on.
    pub task: String,
    /// Mean effect over seeds; `None` when nothing could be measured.
    pub effect: Option<f64>,
    /// Unit of the effect, for example "nats per token".
    pub unit: String,
    /// 95 % interval of the effect.
    pub interval: Option<(f64, f64)>,
    /// Number of seeds.
    pub n: usize,
    /// The p-value of the effect, two-sided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The same corrected for the number of rows of the claim ([`correct_for_many`]); it decides the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<f64>,
    /// What other readings of the same runs say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<Readings>,
    /// The verdict.
    pub verdict: Verdict,
    /// What a reader must know beside the numbers; may be empty.
    pub note: String,
}

impl ScorecardRow {
    /// What it is about: claim, statement and task. Rows of two runs that agree in it can be compared.
    pub fn subject(&self) -> [&str; 3] {
        [&self.claim, &self.statement, &self.task]
    }

    /// A row whose effect is the mean of one number for each seed, positive when the claim holds.
    pub fn from_samples(
        claim: impl Into<String>,
        statement: impl Into<String>,
        task: impl Into<String>,
        unit: impl Into<String>,
        samples: &[f64],
        note: impl Into<String>,
    ) -> Self {
        let effect = MeanInterval::arithmetic(samples);
        Self {
            claim: claim.into(),
            statement: statement.into(),
            task: task.into(),
            effect: effect.map(|effect| effect.mean),
            unit: unit.into(),
            interval: effect.and_then(|effect| effect.bounds),
            n: effect.map_or(0, |effect| effect.n),
            p: effect.and_then(|effect| effect.p_value()),
            corrected: None,
            readings: None,
            verdict: Verdict::on_positive(effect.as_ref()),
            note: note.into(),
        }
    }

    /// The verdict as it is shown; too few seeds are named: "inconclusive (n = 3)".
    pub fn verdict_label(&self) -> String {
        let word = self.verdict.to_string();
        match self.readings {
            Some(Readings::Robust) => format!("{word}, robust"),
            Some(Readings::NotRobust) => format!("{word}, not robust"),
            None => self.with_few_seeds(&word),
        }
    }

    /// The same for a control: "positive", "negative" or "inconclusive".
    pub fn sign_label(&self) -> String {
        self.with_few_seeds(self.verdict.as_sign())
    }

    fn with_few_seeds(&self, label: &str) -> String {
        if self.verdict == Verdict::Inconclusive && self.n < MIN_SEEDS {
            format!("{label} (n = {})", self.n)
        } else {
            label.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(samples: &[f64]) -> ScorecardRow {
        ScorecardRow::from_samples("C1a", "a statement", "code", "nats per token", samples, "")
    }

    #[test]
    fn the_side_of_the_interval_decides() {
        assert_eq!(row(&[1.0, 1.1, 0.9, 1.0, 1.2]).verdict, Verdict::Reproduced);
        assert_eq!(row(&[-1.0, -1.1, -0.9, -1.0, -1.2]).verdict, Verdict::Contradicted);
        assert_eq!(row(&[1.0, -1.1, 0.9, -1.0, 1.2]).verdict, Verdict::Inconclusive);
        assert_eq!(row(&[0.0; 5]).verdict, Verdict::Inconclusive);
        assert_eq!(row(&[-1.0, -1.1, -0.9, -1.0, -1.2]).sign_label(), "negative");
    }

    #[test]
    fn four_seeds_never_give_a_verdict() {
        let row = row(&[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(row.verdict, Verdict::Inconclusive);
        assert_eq!(row.verdict_label(), "inconclusive (n = 4)");
        assert_eq!(row.effect, Some(1.0));
        assert_eq!(row.interval, Some((1.0, 1.0)));
    }

    #[test]
    fn nothing_measured_is_said() {
        let row = row(&[]);
        assert_eq!((row.effect, row.interval, row.verdict_label().as_str()), (None, None, "inconclusive (n = 0)"));
    }

    /// from statsmodels.stats.multitest import multipletests
    /// multipletests([.01, .04, .03, .005], method="holm")[1]   # .03, .06, .06, .02
    #[test]
    fn many_rows_are_corrected_by_holms_method_and_weak_verdicts_taken_back() {
        let mut rows: Vec<ScorecardRow> = [0.01, 0.04, 0.03, 0.005]
            .into_iter()
            .map(|p| ScorecardRow { p: Some(p), ..row(&[1.0, 1.1, 0.9, 1.0, 1.2]) })
            .collect();
        rows.push(row(&[1.0]));
        correct_for_many(&mut rows.iter_mut().collect::<Vec<_>>());
        let corrected: Vec<Option<f64>> = rows.iter().map(|row| row.corrected).collect();
        for (found, expected) in corrected[..4].iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(corrected[4], None);
        let verdicts: Vec<Verdict> = rows[..4].iter().map(|row| row.verdict).collect();
        use Verdict::{Inconclusive, Reproduced};
        assert_eq!(verdicts, [Reproduced, Inconclusive, Inconclusive, Reproduced]);
    }

    #[test]
    fn a_verdict_is_robust_where_every_reading_has_its_sign_and_one_interval_at_most_holds_zero() {
        let reading = |mean, low, high| MeanInterval { mean, bounds: Some((low, high)), n: 8 };
        let (clear, open, other) = (reading(1.0, 0.5, 1.5), reading(0.2, -0.1, 0.5), reading(-0.1, -0.3, 0.1));
        let about = |verdict, readings: &[MeanInterval]| Readings::about(verdict, readings);
        use Verdict::{Contradicted, Inconclusive, Reproduced};
        assert_eq!(about(Reproduced, &[clear, clear, open]), Some(Readings::Robust));
        assert_eq!(about(Reproduced, &[clear, open, open]), Some(Readings::NotRobust));
        assert_eq!(about(Reproduced, &[clear, clear, other]), Some(Readings::NotRobust));
        assert_eq!(about(Contradicted, &[clear]), Some(Readings::NotRobust));
        assert_eq!(about(Contradicted, &[other, reading(-1.0, -1.5, -0.5)]), Some(Readings::Robust));
        assert_eq!(about(Inconclusive, &[clear]), None);
    }

    #[test]
    fn a_claim_of_several_parts_needs_them_all() {
        use Verdict::{Contradicted, Inconclusive, Reproduced};
        assert_eq!(Verdict::on_all(&[Reproduced, Reproduced]), Reproduced);
        assert_eq!(Verdict::on_all(&[Reproduced, Inconclusive]), Inconclusive);
        assert_eq!(Verdict::on_all(&[Reproduced, Contradicted, Inconclusive]), Contradicted);
        assert_eq!(Verdict::on_all(&[]), Inconclusive);
    }
}
