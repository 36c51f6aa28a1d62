//! End-to-end tests: the built binaries, run as a user runs them, against what they promise.
//!
//! All tests are modules of one binary, so that one small finished run (see [`common::finished`]) serves them all. What
//! is trained is tiny ([`common::PRESET`]): the subject here is what the programs do with files, flags and accidents,
//! not what the networks learn.

mod bad_input;
mod book;
mod bounds;
mod common;
mod configuration;
mod corpora;
mod damage;
mod diverged;
mod documented_commands;
mod finished;
mod first_run;
mod golden_ids;
mod interrupted;
mod memorization;
mod nonces;
mod on_checkpoints;
mod one_folder;
mod optimizer_pairs;
mod own_checkpoints;
mod own_data;
mod probes;
mod programs;
mod shared_store;
mod stopped;
mod surroundings;
mod unfinished;
mod worked_examples;
