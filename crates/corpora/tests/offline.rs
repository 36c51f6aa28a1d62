//! What a machine with an empty cargo home and without a network is told, from the library to cargo and back.

use std::process::Command;

use corpora::Corpus;

#[test]
fn without_packages_and_network_one_line_says_what_to_run_where() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reads_the_pinned_packages", "--ignored", "--nocapture"])
        .env("CARGO_HOME", home.path())
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let told: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("told: ")).collect();
    assert_eq!(told.len(), 1, "{printed}");
    assert!(told[0].starts_with("fetching the text of ") && told[0].ends_with(" packages, once"), "{printed}");
    let errors: Vec<&str> = printed.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    let expected = "run 'cargo fetch --locked --manifest-path crates/corpora/packages/Cargo.toml' in the project's \
                    folder on a machine with a network";
    assert!(errors[0].contains(expected), "{printed}");
    // The error is one line: what follows is the test's own end.
    assert!(errors[1].starts_with("end of error"), "{printed}");
}

#[test]
#[ignore = "run by the test above, in an environment of its own"]
fn reads_the_pinned_packages() {
    let result = Corpus::pinned(|fetching| println!("\ntold: {fetching}"));
    println!("error: {}\nend of error", result.unwrap_err());
}
