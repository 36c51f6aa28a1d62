//! From a language to training batches and questions.

use lab::seeds;
use models::Batch;
use models::data::BatchSource;
use models::ops::IGNORE;
use synthetic_lm::language::{Group, Language, Probe};

use super::preset::{Cell, LossTokens, ProbesPreset};
use crate::error::Result;

/// Rows of training text, each beginning with a document.
pub(super) struct LanguageRows<'a> {
    pub(super) language: &'a Language,
    pub(super) context: usize,
    pub(super) loss: LossTokens,
    pub(super) seed: u64,
}

impl BatchSource for LanguageRows<'_> {
    /// Every row is a random stream of its own, so that a batch is a function of its step and a run resumes without
    /// saved state. A row begins with a document, as questions do.
    fn batch(&mut self, step: u64, sequences: usize) -> models::Result<Batch> {
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        let (mut tokens, mut is_answer) = (Vec::new(), Vec::new());
        for row in 0..sequences as u64 {
            let seed = seeds::stream(self.seed, &format!("row {}", step * sequences as u64 + row));
            self.language.stream(seed).fill(self.context + 1, &mut tokens, &mut is_answer);
            ids.extend(tokens[..self.context].iter().map(|&token| u32::from(token)));
            let all = self.loss == LossTokens::All;
            targets.extend((1..=self.context).map(|i| if all || is_answer[i] { tokens[i].into() } else { IGNORE }));
        }
        Batch::new(ids, targets, self.context)
    }
}

/// The questions asked along a run.
pub(super) struct Questions {
    /// Facts, none in the control.
    pub(super) facts: Vec<Probe>,
    pub(super) seen: Vec<Probe>,
    pub(super) exceptions: Vec<Probe>,
    pub(super) validation: Vec<Probe>,
    pub(super) test: Vec<Probe>,
    /// Share of the facts among the documents.
    pub(super) fact_share: f64,
}

impl Questions {
    /// The same for every optimizer: they depend on the language and the seed alone.
    pub(super) fn draw(probes: &ProbesPreset, cell: Cell, language: &Language, seed: u64) -> Result<Self> {
        let pattern = language.component_names().len() - 1;
        let draw = |component: usize, group: Group, most: usize| {
            let n = most.min(language.available(component, group) as usize);
            language.probes(component, group, n, seed)
        };
        let (training, held_out) = (probes.training, probes.held_out);
        Ok(Self {
            facts: if cell.facts > 0 { draw(0, Group::Fact, training)? } else { Vec::new() },
            seen: draw(pattern, Group::Seen, training)?,
            exceptions: draw(pattern, Group::Exception, training)?,
            validation: draw(pattern, Group::Validation, held_out)?,
            test: draw(pattern, Group::Test, held_out)?,
            fact_share: if cell.facts > 0 { language.share(0) } else { 0.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;

    use super::super::preset::MemorizationPreset;
    use super::*;

    #[test]
    fn a_batch_depends_on_its_step_alone_and_only_answers_have_targets() {
        let preset = MemorizationPreset::find("smoke", &[]).unwrap();
        let language = Language::new(&preset.language(Cell { facts: 9, examples: 12 }), 3).unwrap();
        let rows = |loss| LanguageRows { language: &language, context: 20, loss, seed: 5 };
        let mut answers = rows(LossTokens::Answers);
        let later = answers.batch(7, 3).unwrap();
        answers.batch(0, 3).unwrap();
        assert_eq!(answers.batch(7, 3).unwrap(), later);
        assert_ne!(answers.batch(8, 3).unwrap(), later);
        // A document of 6 or 7 tokens has one answer token: 20 targets of a row hold 2 or 3 of them.
        assert!((6..=10).contains(&later.target_count()), "{}", later.target_count());
        assert_eq!(rows(LossTokens::All).batch(7, 3).unwrap().target_count(), 60);
        assert_eq!(rows(LossTokens::All).batch(7, 3).unwrap().ids(), later.ids());
    }

    #[test]
    fn questions_are_all_there_is_up_to_the_preset_s_number() {
        let mut preset = MemorizationPreset::find("smoke", &[]).unwrap();
        preset.probes.training = 8;
        let cell = Cell { facts: 9, examples: 5 };
        let language = Language::new(&preset.language(cell), 3).unwrap();
        let questions = Questions::draw(&preset.probes, cell, &language, 1).unwrap();
        assert_eq!((questions.facts.len(), questions.seen.len()), (8, 5));
        assert_eq!(questions.fact_share, preset.language.fact_share);
        let control = Questions::draw(&preset.probes, Cell { facts: 0, ..cell }, &language, 1).unwrap();
        assert!(control.facts.is_empty());
    }
}
