//! Each layout with made-up rows; templates; odd rows; the division by prompts.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn read_with(name: &str, content: &str, form: &Form) -> Result<TaskFile, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    TaskFile::read(&path, form).map_err(|error| {
        let message = error.to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message.replace(&folder.path().display().to_string(), "DIR")
    })
}

fn read(name: &str, content: &str) -> TaskFile {
    read_with(name, content, &Form::default()).unwrap()
}

/// Prompts and completions, and how they were made.
fn texts(file: &TaskFile) -> Vec<(&str, &str)> {
    file.examples.iter().map(|example| (example.prompt.as_str(), example.completion.as_str())).collect()
}

const HEAD: &str = "Below is an instruction that describes a task. Write a response that appropriately completes the \
                    request.\n\n### Instruction:\n";

#[test]
fn metamath_is_recognised_and_has_its_authors_prompt() {
    let row = r#"{"type": "GSM_Rephrased", "query": "What is 2+2?", "original_question": "2+2?", "response": "It is 4.\n#### 4\nThe answer is: 4"}"#;
    let file = read("a.jsonl", row);
    assert_eq!(file.form, "metamath");
    let prompt = format!("{HEAD}What is 2+2?\n\n### Response:");
    assert_eq!(texts(&file), [(prompt.as_str(), "It is 4.\n#### 4\nThe answer is: 4")]);
    assert_eq!(file.examples[0].answer.as_deref(), Some("4"));
}

#[test]
fn alpaca_has_one_prompt_with_an_input_and_one_without() {
    let rows = r#"[{"instruction": "Add.", "input": "2 and 2", "output": "4"},
                   {"instruction": "Greet.", "input": "", "output": "Hello"},
                   {"instruction": "Part.", "output": "Bye"}]"#;
    let file = read("a.json", rows);
    assert_eq!(file.form, "alpaca");
    let with = "Below is an instruction that describes a task, paired with an input that provides further context. Write \
                a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n2 and \
                2\n\n### Response:";
    let without = |instruction: &str| format!("{HEAD}{instruction}\n\n### Response:");
    let (greet, part) = (without("Greet."), without("Part."));
    assert_eq!(texts(&file), [(with, "4"), (&greet, "Hello"), (&part, "Bye")]);
    assert_eq!(file.examples[0].answer, None);
}

#[test]
fn magicoders_two_sets_have_one_prompt_and_the_seed_is_no_number() {
    let oss = "{\"lang\": \"python\", \"raw_index\": 3, \"seed\": \"def f():\\n    pass\", \"problem\": \"Write f.\", \
               \"solution\": \"def f(): ...\"}";
    let evol = r#"{"instruction": "Write f.", "response": "def f(): ..."}"#;
    let prompt = "You are an exceptionally intelligent coding assistant that consistently delivers accurate and reliable \
                  responses to user instructions.\n\n@@ Instruction\nWrite f.\n\n@@ Response\n";
    for (rows, form) in [(oss, "magicoder-oss"), (evol, "magicoder-evol")] {
        let file = read("a.jsonl", rows);
        assert_eq!((file.form, texts(&file)), (form, vec![(prompt, "def f(): ...")]));
    }
}

#[test]
fn gsm8k_has_its_calculator_marks_dropped_or_kept() {
    let row = r#"{"question": "Half of 48, and 1?", "answer": "48/2 = <<48/2=24>>24.\n24+1 = <<24+1=25>>25\n#### 25"}"#;
    let dropped = read("a.jsonl", row);
    assert_eq!(dropped.form, "gsm8k");
    let prompt = "Question: Half of 48, and 1?\nAnswer:\n";
    assert_eq!(texts(&dropped), [(prompt, "48/2 = 24.\n24+1 = 25\n#### 25")]);
    let kept = read_with("a.jsonl", row, &Form { calculator_marks: true, ..Form::default() }).unwrap();
    assert_eq!(kept.examples[0].completion, "48/2 = <<48/2=24>>24.\n24+1 = <<24+1=25>>25\n#### 25");
    assert_eq!((&kept.examples[0].answer, &dropped.examples[0].answer), (&Some("25".into()), &Some("25".into())));
    let shift = read("a.jsonl", r#"{"question": "1 << 2?", "answer": "1 << 2 = 4\n>> #### 4"}"#);
    assert_eq!(shift.examples[0].completion, "1 << 2 = 4\n>> #### 4");
}

#[test]
fn a_conversation_is_learned_up_to_its_last_answer() {
    let rows = r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "Thanks"}]}
{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}"#;
    let file = read("a.jsonl", rows);
    assert_eq!(file.form, "messages");
    let first =
        "### System:\nBe brief.\n\n### User:\nHi\n\n### Assistant:\nHello\n\n### User:\n2+2?\n\n### Assistant:\n";
    assert_eq!(texts(&file), [(first, "4"), ("### User:\nHi\n\n### Assistant:\n", "Hello")]);
}

#[test]
fn templates_read_files_of_any_fields() {
    let form = |prompt: &str, completion: &str| Form {
        templates: Some([Template::parse(prompt).unwrap(), Template::parse(completion).unwrap()]),
        ..Form::default()
    };
    let table = "q,a,level\n\"Two\nlines, é?\",yes,1\nNext?,no,2\n";
    let file = read_with("a.csv", table, &form("[{level}] {q}\n", "{a}!")).unwrap();
    assert_eq!(file.form, "templates");
    assert_eq!(texts(&file), [("[1] Two\nlines, é?\n", "yes!"), ("[2] Next?\n", "no!")]);
    let message = read_with("a.csv", table, &form("{question}", "{a}")).unwrap_err();
    let expected = "DIR/a.csv:2: found no field \"question\" (fields: q, a, level), expected a text in the field \
                    \"question\" (2 of 2 rows cannot be used)";
    assert_eq!(message, expected);
}

#[test]
fn fields_of_no_layout_or_of_two_are_refused_with_what_there_is() {
    let refusal = |row: &str| read_with("a.jsonl", row, &Form::default()).unwrap_err();
    let message = refusal(r#"{"text": "x", "label": 1}"#);
    assert!(message.starts_with(
        "DIR/a.jsonl: found the fields text, label, expected those of a layout: metamath (query, response)"
    ));
    assert!(message.contains("prompt = \"..{field}..\""), "{message}");
    let message = refusal(r#"{"instruction": "a", "output": "b", "response": "c"}"#);
    assert!(message.contains("layout = \"...\" chooses among alpaca and magicoder-evol"), "{message}");
    let chosen = Form { layout: Some(Layout::Alpaca), ..Form::default() };
    let row = r#"{"instruction": "a", "output": "b", "response": "c"}"#;
    assert_eq!(read_with("a.jsonl", row, &chosen).unwrap().examples[0].completion, "b");
    assert_eq!("gsm8k".parse(), Ok(Layout::Gsm8k));
    assert!("gsm".parse::<Layout>().unwrap_err().contains("metamath, alpaca"));
}

#[test]
fn odd_rows_are_counted_and_more_than_a_tenth_are_refused() {
    let good = |index: usize| format!("{{\"prompt\": \"p {index}\", \"completion\": \"c\", \"x\": NaN}}\n");
    let mut rows: String = (0..28).map(good).collect();
    rows.push_str("{\"prompt\": \"\\ud800\", \"completion\": \"c\"}\n");
    rows.push_str("\n{\"prompt\": \"p\", \"completion\": \" \"}\n{\"prompt\": \"p\"}\n");
    let file = read("a.jsonl", &rows);
    assert_eq!((file.examples.len(), file.skipped.count), (28, 3));
    assert_eq!(file.skipped.first().unwrap(), "line 29: no text in the field \"prompt\" (a broken \\ escape)");
    let few: String = (0..26).map(good).chain(rows.lines().skip(28).map(|line| format!("{line}\n"))).collect();
    let message = read_with("a.jsonl", &few, &Form::default()).unwrap_err();
    assert!(message.contains("DIR/a.jsonl:27: found no text") && message.contains("(3 of 29 rows"), "{message}");
}

#[test]
fn long_fields_and_odd_ends_of_lines_are_kept_whole() {
    let long = "word ".repeat(200_000);
    let mut rows = String::from("\u{feff}");
    write!(rows, "{{\"prompt\": \"a\\r\\nb\", \"completion\": \"{long}\"}}\r\n\r\n").unwrap();
    rows.push_str("{\"prompt\": \"日本 \\u00e9\", \"completion\": \"🙂\"}\r\n");
    let file = read("a.jsonl", &rows);
    assert_eq!(texts(&file), [("a\nb", long.as_str()), ("日本 é", "🙂")]);
}

#[test]
fn an_empty_file_and_one_without_examples_are_refused() {
    for (name, content) in
        [("a.jsonl", ""), ("a.jsonl", "\n\n"), ("a.json", "[]"), ("a.csv", ""), ("a.csv", "prompt,completion\n")]
    {
        let message = read_with(name, content, &Form::default()).unwrap_err();
        assert!(message.contains("empty"), "{name} {content:?}: {message}");
    }
}

fn example(prompt: &str) -> TaskExample {
    TaskExample { place: Place::Row(1), prompt: prompt.into(), completion: "c".into(), answer: None }
}

#[test]
fn the_same_prompt_is_on_one_side_and_shares_are_about_what_was_asked() {
    let examples: Vec<TaskExample> = (0..4000).map(|i| example(&format!("What is {i} + {i}?"))).collect();
    let count = |part: Part| examples.iter().filter(|example| example.part(0.2) == part).count();
    let (test, validation) = (count(Part::Test), count(Part::Validation));
    assert!((350..450).contains(&test) && (350..450).contains(&validation), "{test} {validation}");
    // More held out takes from the training examples, and never gives a test example back to them.
    assert!(examples.iter().all(|one| one.part(0.2) != Part::Test || one.part(0.4) == Part::Test));
    let rows = "{\"prompt\": \"p  q\", \"completion\": \"1\"}\n{\"prompt\": \"p q\\n\", \"completion\": \"2\"}\n";
    let file = read("a.jsonl", rows);
    assert_eq!(file.repeated, 1);
    assert_eq!(file.examples[0].part(0.5), file.examples[1].part(0.5));
}

proptest! {
    #[test]
    fn spacing_never_moves_a_prompt(words in proptest::collection::vec("[a-z]{1,5}", 1..8), held_out in 0.0f64..1.0) {
        let (one, other) = (example(&words.join(" ")), example(&format!(" {}\n", words.join("\n\t"))));
        prop_assert_eq!(one.part(held_out), other.part(held_out));
    }
}
