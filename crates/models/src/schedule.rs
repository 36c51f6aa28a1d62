//! Learning-rate schedules: the factor by which a step's learning rate differs from the peak.

use serde::{Deserialize, Serialize};

/// The shape of a schedule after its warmup.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decay {
    /// No decay.
    Constant,
    /// A straight line to zero.
    Linear,
    /// Half a cosine to zero.
    Cosine,
    /// Warmup, stable, decay: constant, then a straight line to zero over the last `cooldown` of all steps (Hu et al.,
    /// arXiv 2404.06395).
    Wsd {
        /// The share of all steps that the descent takes, in (0, 1].
        cooldown: f64,
    },
}

/// A linear warmup followed by a decay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// All steps.
    pub steps: u64,
    /// Steps of linear warmup; the first step has 1 / `warmup` of the peak.
    pub warmup: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// The factor of the step with index `step`, from 0; the step after the last would have factor 0 (except constant).
    pub fn multiplier(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let span = (self.steps.saturating_sub(self.warmup)).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / span).min(1.0);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Wsd { cooldown } => {
                let left = self.steps.saturating_sub(step) as f64;
                (left / (cooldown * self.steps as f64)).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_warms_up_to_the_peak_and_stays_in_range() {
        let decays = [Decay::Constant, Decay::Linear, Decay::Cosine, Decay::Wsd { cooldown: 0.2 }];
        for decay in decays {
            let schedule = Schedule { steps: 100, warmup: 10, decay };
            assert_eq!(schedule.multiplier(0), 0.1);
            assert_eq!(schedule.multiplier(9), 1.0);
            assert_eq!(schedule.multiplier(10), 1.0);
            assert!((0..100).all(|step| (0.0..=1.0).contains(&schedule.multiplier(step))));
            let end = schedule.multiplier(100);
            assert_eq!(end, if decay == Decay::Constant { 1.0 } else { 0.0 }, "{decay:?}");
        }
    }

    #[test]
    fn cosine_is_half_way_down_in_the_middle() {
        let schedule = Schedule { steps: 110, warmup: 10, decay: Decay::Cosine };
        assert!((schedule.multiplier(60) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn wsd_is_flat_and_then_falls_over_its_cooldown() {
        let schedule = Schedule { steps: 100, warmup: 0, decay: Decay::Wsd { cooldown: 0.2 } };
        assert_eq!(schedule.multiplier(79), 1.0);
        assert!((schedule.multiplier(90) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_schedule_shorter_than_its_warmup_does_not_divide_by_zero() {
        let schedule = Schedule { steps: 5, warmup: 10, decay: Decay::Cosine };
        assert!((0..5).all(|step| schedule.multiplier(step).is_finite()));
    }
}
