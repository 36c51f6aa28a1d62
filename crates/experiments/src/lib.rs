//! From presets to verdicts: the stages that networks go through, and a folder for each experiment made of them.
//!
//! In the book: [the question](../../book/question.html), [the protocol](../../book/protocol.html) of every
//! experiment, and [the results](../../book/results/index.html).
//!
//! ```text
//! preset ──> plan ──> stages ──> outcomes ──> statistics ──> section of the report
//!            tokens ──> pretrain ──> measure ──> finetune
//!                           └──> probes of the checkpoint
//! ```
//! - [`stages`] are pure functions of their keys: `lab`'s grid runs them, its store keeps their outputs.
//! - [`parts`] are the tables that presets share: the text, the network, how it is trained, where.
//! - [`tradeoff`] is about claim C1, [`activations`], [`rotation`], [`landscape`] and [`fingerprint`] about C2,
//!   [`update_structure`] about C3, [`prediction`] about what both say of forgetting, [`optimizer_pairs`] about C4,
//!   [`memorization`] and [`nonces`] about C5, [`theory`] about C2 and C3 in linear models. Each has a preset, a plan,
//!   statistics and a section.
//! - [`evidence`] is what published rows say, beside which a report shows its own.
//! - [`ground`] is what experiments on the checkpoints of a preset of `tradeoff` share.
//! - [`registry`] lists them: one line an experiment, from which its program, its place in `reproduce` and in the
//!   report, and the reference follow.
//! - [`probe_folder`] looks into any checkpoint; [`train_bench`] times the training step, beside PyTorch's.
//!
//! A new experiment is a folder like [`tradeoff`] and a line in [`registry`]. A new probe of checkpoints is a file like
//! `stages/weights.rs`. `docs/design.md` says more.

pub mod activations;
pub mod consistency_matrix;
pub mod error;
pub mod evidence;
pub mod fingerprint;
pub mod ground;
pub mod landscape;
pub mod memorization;
pub mod names;
pub mod nonces;
pub mod optimizer_pairs;
pub mod parts;
pub mod prediction;
pub mod probe_folder;
pub mod registry;
pub mod rotation;
pub mod stages;
pub mod theory;
pub mod tradeoff;
pub mod train_bench;
pub mod update_structure;
