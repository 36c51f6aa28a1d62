//! Layouts of well-known finetuning sets: which fields make a prompt and its completion.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::Template;
use crate::error::CorpusError;
use crate::json;
use crate::row::{Odd, Row};

/// A layout that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// MetaMathQA: `query`, `response`; the prompt that its authors train with.
    #[serde(rename = "metamath")]
    MetaMath,
    /// Alpaca: `instruction`, `input` that may be empty or missing, `output`; its authors' two prompts.
    Alpaca,
    /// Magicoder's OSS-Instruct: `problem`, `solution`.
    MagicoderOss,
    /// Magicoder's Evol-Instruct: `instruction`, `response`.
    MagicoderEvol,
    /// GSM8K: `question`, `answer` with the result behind `####`.
    Gsm8k,
    /// Conversations: `messages` with `role` and `content`, or `conversations` with `from` and `value`.
    Messages,
    /// `prompt`, `completion`, as they are.
    PromptCompletion,
}

impl Layout {
    /// All of them, with their names and the fields by which they are recognised.
    const ALL: [(Self, &'static str, &'static [&'static str]); 8] = [
        (Self::MetaMath, "metamath", &["query", "response"]),
        (Self::Alpaca, "alpaca", &["instruction", "output"]),
        (Self::MagicoderOss, "magicoder-oss", &["problem", "solution"]),
        (Self::MagicoderEvol, "magicoder-evol", &["instruction", "response"]),
        (Self::Gsm8k, "gsm8k", &["question", "answer"]),
        (Self::Messages, "messages", &["messages"]),
        (Self::Messages, "messages", &["conversations"]),
        (Self::PromptCompletion, "prompt-completion", &["prompt", "completion"]),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(layout, _, _)| *layout == self).map_or("", |(_, name, _)| name)
    }

    /// The layout whose fields a row has.
    pub(super) fn of(row: &Row<'_>, path: &Path) -> Result<Self, CorpusError> {
        let mut known: Vec<Self> = Vec::new();
        for (layout, _, fields) in Self::ALL {
            if fields.iter().all(|field| row.has(field)) && !known.contains(&layout) {
                known.push(layout);
            }
        }
        if let [one] = known[..] {
            return Ok(one);
        }
        let expected = match known[..] {
            [] => {
                let layout = |(_, name, fields): &(Self, &str, &[&str])| format!("{name} ({})", fields.join(", "));
                format!("those of a layout: {}", Self::ALL.iter().map(layout).collect::<Vec<_>>().join(", "))
            }
            _ => {
                let names: Vec<&str> = known.iter().map(|layout| layout.name()).collect();
                format!("those of one layout (layout = \"...\" chooses among {})", names.join(" and "))
            }
        };
        Err(CorpusError::Layout { path: path.into(), fields: row.names(), expected })
    }

    /// The prompt and the completion of a row; GSM8K's calculator marks (`<<48/2=24>>`) are kept if `marks`.
    pub(super) fn render(self, row: &Row<'_>, marks: bool) -> Result<(String, String), Odd> {
        let text = |name: &str| row.text(name).map(Cow::into_owned);
        Ok(match self {
            Self::MetaMath => (instruction(&row.text("query")?, ""), text("response")?),
            Self::Alpaca => (instruction(&row.text("instruction")?, &row.text_or_none("input")?), text("output")?),
            Self::MagicoderOss => (magicoder(&row.text("problem")?), text("solution")?),
            Self::MagicoderEvol => (magicoder(&row.text("instruction")?), text("response")?),
            Self::Gsm8k => {
                let answer = row.text("answer")?;
                let answer = if marks { answer.into_owned() } else { without_marks(&answer) };
                (format!("Question: {}\nAnswer:\n", row.text("question")?), answer)
            }
            Self::Messages => conversation(row)?,
            Self::PromptCompletion => (text("prompt")?, text("completion")?),
        })
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(layout, _, _)| *layout);
        known.ok_or_else(|| {
            let mut names: Vec<&str> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
            names.dedup();
            format!("expected one of {}", names.join(", "))
        })
    }
}

/// The prompt that Alpaca's authors published, with an input or without; MetaMath's is the latter.
fn instruction(instruction: &str, input: &str) -> String {
    let (with, section) = match input.trim().is_empty() {
        true => ("", String::new()),
        false => (", paired with an input that provides further context", format!("### Input:\n{input}\n\n")),
    };
    format!(
        "Below is an instruction that describes a task{with}. Write a response that appropriately completes the \
         request.\n\n### Instruction:\n{instruction}\n\n{section}### Response:"
    )
}

/// The prompt that Magicoder's authors published.
fn magicoder(instruction: &str) -> String {
    format!(
        "You are an exceptionally intelligent coding assistant that consistently delivers accurate and reliable \
         responses to user instructions.\n\n@@ Instruction\n{instruction}\n\n@@ Response\n"
    )
}

/// GSM8K's solutions without what its authors' calculator read.
fn without_marks(answer: &str) -> String {
    let mut kept = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some((before, after)) = rest.split_once("<<") {
        kept.push_str(before);
        match after.split_once(">>") {
            // A mark stands within a line.
            Some((mark, behind)) if !mark.contains('\n') => rest = behind,
            _ => {
                kept.push_str("<<");
                rest = after;
            }
        }
    }
    kept + rest
}

/// The conversation up to its last answer, and that answer. Turns behind it are left away.
fn conversation(row: &Row<'_>) -> Result<(String, String), Odd> {
    const EXPECTED: &str = "a list of messages with `role` and `content` (or `from` and `value`), an answer among them";
    let field = if row.has("messages") { "messages" } else { "conversations" };
    let odd = |found: String| Odd::new(format!("{found} in the field {field:?}"), EXPECTED);
    let written = row
        .json(field)
        .ok_or_else(|| Odd::new(format!("no field \"messages\" (fields: {})", row.names()), EXPECTED))?;
    let messages: Vec<Value> =
        serde_json::from_str(written).map_err(|error| odd(format!("no list ({})", json::reason(&error))))?;
    let mut turns = Vec::new();
    for message in &messages {
        let of = |names: [&str; 2]| names.iter().find_map(|name| message.get(name));
        let role =
            of(["role", "from"]).and_then(Value::as_str).ok_or_else(|| odd("a message without a role".into()))?;
        let role = match role {
            "user" | "human" => "User",
            "assistant" | "gpt" | "model" => "Assistant",
            "system" => "System",
            other => return Err(odd(format!("the role {:?}", crate::error::shortened(other)))),
        };
        let content = of(["content", "value"]).and_then(content).ok_or_else(|| odd("a message without text".into()))?;
        turns.push((role, content.replace("\r\n", "\n")));
    }
    let last = turns.iter().rposition(|(role, _)| *role == "Assistant").ok_or_else(|| odd("no answer".into()))?;
    let mut prompt = String::new();
    for (role, content) in &turns[..last] {
        prompt.push_str(&format!("### {role}:\n{content}\n\n"));
    }
    if prompt.is_empty() {
        return Err(odd("nothing before the answer".into()));
    }
    prompt.push_str("### Assistant:\n");
    Ok((prompt, turns.swap_remove(last).1))
}

/// A message's text: a string, or a list of parts with one.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(|part| part.get("text").and_then(Value::as_str)).collect(),
        _ => None,
    }
}

/// How the rows of a file become examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The layout; the one that the first row's fields are those of, if neither this nor templates are given.
    pub layout: Option<Layout>,
    /// Templates of the prompt and of the completion, in place of a layout.
    pub templates: Option<[Template; 2]>,
    /// Whether GSM8K's calculator marks are kept.
    pub calculator_marks: bool,
}
