//! A generated task as it is asked for (`math:max_steps=3`): refused in one line, or it draws examples that it solves
//! itself, and its parameters say the same task again.
#![no_main]

use lab_fuzz::one_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|spec: &str| {
    let task = match synthetic_lm::task(spec) {
        Ok(task) => task,
        Err(error) => return one_line(&error),
    };
    match task.generate(1, 3, 2) {
        Ok(split) => {
            for example in split.train.iter().chain(&split.test) {
                assert!(task.is_correct(&example.completion, example), "{spec}: {example:?}");
                assert_eq!(task.solve(&example.prompt).expect("a prompt of its own"), example.answer, "{spec}");
            }
        }
        Err(error) => one_line(&error),
    }
    let again = task.parameters();
    let again = again.as_object().expect("parameters by name").iter();
    let again: Vec<String> = again.map(|(key, value)| format!("{key}={value}")).collect();
    if again.iter().all(|pair| !pair[pair.find('=').unwrap_or(0)..].contains(',')) {
        let again = synthetic_lm::task(&format!("{}:{}", task.name(), again.join(",")));
        assert_eq!(again.expect("its own parameters").parameters(), task.parameters(), "{spec}");
    }
});
