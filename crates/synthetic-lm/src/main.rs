//! Lists the generated tasks, prints samples, statistics and floors, and exports sets.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use synthetic_lm::export::{Text, probe_example, save_jsonl, spelled};
use synthetic_lm::language::presets::{PRESETS, preset};
use synthetic_lm::language::{Group, Language, LanguageConfig, Learner};
use synthetic_lm::registry::TASKS;
use synthetic_lm::split::Side;
use synthetic_lm::{Error, Task, constant_baseline, task};

/// More examples than a training needs, and as many as a machine's memory holds.
const MOST: i64 = 10_000_000;

/// Generated language tasks with exact oracles.
///
/// A text task is named as in `math` or `math:max_steps=3,largest=50`. A language is one of the named ones or a .json
/// file, which `config` prints as a start.
#[derive(Parser)]
#[command(name = "synthetic-lm", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List text tasks and languages.
    List,
    /// Print examples of a text task, or documents of a language.
    Sample {
        #[command(flatten)]
        source: Source,
        /// How many.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        count: u32,
    },
    /// Print sizes and what can be had without learning anything.
    Statistics {
        #[command(flatten)]
        source: Source,
    },
    /// Print the losses of perfect learners of a language.
    Floors {
        /// A named language or a .json file.
        language: String,
        /// What is random about the language.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Print the configuration of a language, or the parameters of a text task, as JSON.
    Config {
        /// A text task, a named language or a .json file.
        name: String,
    },
    /// Write train.jsonl and test.jsonl.
    Export {
        #[command(flatten)]
        source: Source,
        /// Training examples, or documents.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        train: u32,
        /// Test examples; in a language, for each of its patterns.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        test: u32,
        /// The folder to write into; made if missing.
        #[arg(long)]
        out: PathBuf,
        /// Write {"text": prompt and completion} in place of {"prompt", "completion", "answer"}. Training documents of
        /// a language always are texts.
        #[arg(long)]
        text: bool,
    },
}

#[derive(Args)]
struct Source {
    /// A text task, a named language or a .json file.
    name: String,
    /// What is random: the examples, or the language and its text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What a name stands for.
enum Named {
    Task(Box<dyn Task>),
    Language(LanguageConfig),
}

fn named(name: &str) -> Result<Named, Error> {
    if TASKS.iter().any(|entry| entry.name == name.split(':').next().unwrap_or_default()) {
        return Ok(Named::Task(task(name)?));
    }
    language_config(name).map(Named::Language).map_err(|error| match error {
        Error::Unknown { found, known, .. } => {
            let tasks = TASKS.map(|entry| entry.name).join(", ");
            Error::Unknown { what: "task or language", found, known: format!("{tasks}, {known}") }
        }
        other => other,
    })
}

fn language_config(name: &str) -> Result<LanguageConfig, Error> {
    if !name.ends_with(".json") {
        return preset(name);
    }
    let problem = |problem: String| Error::File { path: name.to_owned(), problem };
    let text = fs::read_to_string(name).map_err(|error| problem(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| problem(error.to_string()))
}

/// Why the program stops.
enum Stop {
    Bad(Error),
    Output(io::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Bad(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Whoever reads it may have seen enough.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&one_line(&error.to_string())),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match run(cli.command, &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Output(error)) => refuse(&format!("error: standard output: {error}")),
        Err(Stop::Bad(error)) => refuse(&format!("error: {error}")),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

/// The message without usage and hints, on one line.
fn one_line(message: &str) -> String {
    let message = message.split("\n\n").next().unwrap_or_default();
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(command: Command, out: &mut impl Write) -> Result<(), Stop> {
    match command {
        Command::List => list(out),
        Command::Sample { source, count } => match named(&source.name)? {
            Named::Task(task) => {
                for example in task.generate(source.seed, count as usize, 0)?.train {
                    writeln!(out, "{}{}", example.prompt, example.completion)?;
                }
                Ok(())
            }
            Named::Language(config) => {
                let language = Language::new(&config, source.seed)?;
                for text in texts(&language, source.seed, count as usize) {
                    writeln!(out, "{}", text.text)?;
                }
                Ok(())
            }
        },
        Command::Statistics { source } => match named(&source.name)? {
            Named::Task(task) => task_statistics(task.as_ref(), source.seed, out),
            Named::Language(config) => language_statistics(&Language::new(&config, source.seed)?, out),
        },
        Command::Floors { language, seed } => floors(&Language::new(&language_config(&language)?, seed)?, out),
        Command::Config { name } => {
            let value = match named(&name)? {
                Named::Task(task) => task.parameters(),
                Named::Language(config) => serde_json::json!(config),
            };
            Ok(writeln!(out, "{value:#}")?)
        }
        Command::Export { source, train, test, out: directory, text } => {
            export(&source, train as usize, test as usize, &directory, text, out)
        }
    }
}

fn list(out: &mut impl Write) -> Result<(), Stop> {
    writeln!(out, "text tasks")?;
    for entry in TASKS {
        writeln!(out, "  {:14} {}", entry.name, entry.summary)?;
    }
    writeln!(out, "languages")?;
    for preset in PRESETS {
        writeln!(out, "  {:14} {}", preset.name, preset.summary)?;
    }
    Ok(())
}

/// The first documents of a language's stream.
fn texts(language: &Language, seed: u64, count: usize) -> Vec<Text> {
    let mut stream = language.stream(seed);
    let mut tokens = Vec::new();
    (0..count)
        .map_while(|_| {
            tokens.clear();
            stream.next_document(&mut tokens)?;
            Some(Text { text: spelled(language, &tokens) })
        })
        .collect()
}

fn task_statistics(task: &dyn Task, seed: u64, out: &mut impl Write) -> Result<(), Stop> {
    let n = 10_000.min(usize::try_from(task.available(Side::Train)).unwrap_or(usize::MAX));
    let examples = task.generate(seed, n, 0)?.train;
    let mean =
        |length: fn(&synthetic_lm::Example) -> usize| examples.iter().map(length).sum::<usize>() as f64 / n as f64;
    writeln!(out, "instances to train on      {}", task.available(Side::Train))?;
    writeln!(out, "instances to test on       {}", task.available(Side::Test))?;
    writeln!(out, "characters in a prompt     {:.1} (mean of {n})", mean(|example| example.prompt.len()))?;
    writeln!(out, "characters in a completion {:.1}", mean(|example| example.completion.len()))?;
    writeln!(out, "always the same answer     {:.2} % right at best", 100.0 * constant_baseline(&examples, &examples))?;
    Ok(())
}

fn language_statistics(language: &Language, out: &mut impl Write) -> Result<(), Stop> {
    writeln!(out, "tokens in the vocabulary  {}", language.vocabulary().size())?;
    writeln!(out, "tokens in a document      {:.2} (expected)", language.mean_document_length())?;
    for (component, name) in language.component_names().into_iter().enumerate() {
        writeln!(
            out,
            "#{component} {name}: {:.1} % of the documents, {:.2} tokens each",
            100.0 * language.share(component),
            language.document_length(component)
        )?;
        for group in Group::ALL {
            let available = language.available(component, group);
            if available > 0 {
                writeln!(out, "    {:10} {available}", group.name())?;
            }
        }
    }
    Ok(())
}

fn floors(language: &Language, out: &mut impl Write) -> Result<(), Stop> {
    writeln!(out, "training text, nats per token")?;
    for learner in Learner::ALL {
        writeln!(out, "    {:8} {:.6}", learner.name(), language.training_loss(learner))?;
    }
    for (component, name) in language.component_names().into_iter().enumerate() {
        writeln!(out, "#{component} {name}, nats per document: prompt + answer")?;
        for group in Group::ALL {
            for learner in Learner::ALL {
                if let Some(loss) = language.loss(component, group, learner) {
                    writeln!(
                        out,
                        "    {:10} {:8} {:.6} + {:.6}",
                        group.name(),
                        learner.name(),
                        loss.prompt,
                        loss.answer
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn export(
    source: &Source,
    n_train: usize,
    n_test: usize,
    directory: &Path,
    text: bool,
    out: &mut impl Write,
) -> Result<(), Stop> {
    let made = fs::create_dir_all(directory);
    made.map_err(|error| Error::File { path: directory.display().to_string(), problem: error.to_string() })?;
    let (train, test) = (directory.join("train.jsonl"), directory.join("test.jsonl"));
    match named(&source.name)? {
        Named::Task(task) => {
            let split = task.generate(source.seed, n_train, n_test)?;
            for (path, examples) in [(&train, &split.train), (&test, &split.test)] {
                if text {
                    save_jsonl(path, examples.iter().map(Text::from))?;
                } else {
                    save_jsonl(path, examples)?;
                }
            }
        }
        Named::Language(config) => {
            let language = Language::new(&config, source.seed)?;
            let patterns =
                (0..config.components.len()).filter(|&component| language.available(component, Group::Test) > 0);
            let mut probes = Vec::new();
            for component in patterns {
                probes.extend(language.probes(component, Group::Test, n_test, source.seed)?);
            }
            save_jsonl(&train, texts(&language, source.seed, n_train))?;
            if text {
                save_jsonl(&test, probes.iter().map(|probe| Text { text: spelled(&language, &probe.tokens) }))?;
            } else {
                save_jsonl(&test, probes.iter().map(|probe| probe_example(&language, probe)))?;
            }
        }
    }
    Ok(writeln!(out, "wrote {} and {}", train.display(), test.display())?)
}
