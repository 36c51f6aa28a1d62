//! The corpus of a few made-up packages, and the real one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::packages::Package;
use crate::*;

const PROSE: &str = "This is the documentation of a function that does the work which nobody else \
                     would do, and it is written in the English of every day, with no table in it. \
                     It is as long as it has to be, so that it is kept when the corpus is made.";

fn code(name: &str) -> String {
    (0..30).map(|i| format!("fn {name}_{i}(argument: usize) -> usize {{ argument }}\n")).collect()
}

fn package(folder: &Path, name: &str, files: &[(&str, &str)]) -> Package {
    let folder = folder.join(name);
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Package { name: name.into(), version: "1.0.0".into(), folder }
}

fn paths(documents: &[Document]) -> Vec<String> {
    documents.iter().map(|d| format!("{}:{}", d.package, d.path)).collect()
}

#[test]
fn prose_and_code_are_gathered_and_shared_text_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("//! {PROSE}\n{}", code("alpha"));
    let copy = format!("//! {PROSE}\r\n{}", code("alpha")).replace('\n', "\r\n");
    let other = "Beta is made of other parts, which are described here at some length for all who want to know them, and \
                 there is nothing that has been said before. It can be used by itself, or with what is above it, and \
                 each of these ways has its own place in the text.";
    let readme = format!("# Beta\n\n{PROSE}\n\n{other}\n");
    let packages = [
        package(
            folder.path(),
            "alpha",
            &[("src/lib.rs", &source), ("CHANGELOG.md", PROSE), ("tests/a.rs", &code("test"))],
        ),
        package(folder.path(), "beta", &[("README.md", &readme), ("src/lib.rs", &copy)]),
    ];
    let (prose, code_documents) = gather::gather(&packages).unwrap();
    assert_eq!(paths(&prose), ["alpha 1.0.0:src/lib.rs", "beta 1.0.0:README.md"]);
    assert_eq!(prose[0].text, format!("{PROSE}\n"));
    assert_eq!(prose[1].text, format!("{other}\n"));
    assert_eq!(paths(&code_documents), ["alpha 1.0.0:src/lib.rs"]);
    assert_eq!(code_documents[0].text, code("alpha"));
}

#[test]
fn a_limit_keeps_about_so_many_bytes_of_each_kind_and_names_what_is_kept() {
    let document = |index: usize| Document { package: "a 1".into(), path: format!("{index}"), text: "x".repeat(100) };
    let documents: Vec<Document> = (0..50).map(document).collect();
    let whole = Corpus { prose: documents.clone(), code: documents, packages: 1, fingerprint: String::new() }
        .limited(None, Some(1_000_000), 0)
        .unwrap();
    assert_eq!((bytes(&whole.prose), bytes(&whole.code)), (5000, 5000));
    let part = whole.clone().limited(Some(1000), Some(2000), 0).unwrap();
    assert_eq!((bytes(&part.prose), bytes(&part.code)), (1000, 2000));
    assert!(part.code.iter().all(|document| whole.code.contains(document)));
    assert_ne!(part.fingerprint, whole.fingerprint);
    assert_eq!(part, whole.limited(Some(1000), Some(2000), 0).unwrap());
}

#[test]
fn the_fingerprint_follows_every_part_of_every_document() {
    let document = |text: &str| Document { package: "a 1".into(), path: "b".into(), text: text.into() };
    let one = [document("text")];
    let base = fingerprint(&[("prose", &one)]);
    assert_eq!(base.len(), 64);
    let others = [
        fingerprint(&[("code", &one)]),
        fingerprint(&[("prose", &[document("texts")])]),
        fingerprint(&[("prose", &[Document { path: "c".into(), ..document("text") }])]),
        fingerprint(&[("prose", &[Document { package: "a 2".into(), ..document("text") }])]),
        fingerprint(&[("prose", &[document("te"), document("xt")])]),
    ];
    assert!(others.iter().all(|other| *other != base));
}

#[test]
fn the_summary_is_one_line() {
    let corpus = Corpus {
        prose: vec![Document { package: "a 1".into(), path: "b".into(), text: "x".repeat(1_240_000) }],
        code: vec![],
        packages: 3,
        fingerprint: "0123456789abcdef".into(),
    };
    assert_eq!(corpus.summary().to_string(), "corpus: 3 packages, 1.2 MB prose, 0.0 MB code, sha256 01234567");
}

#[test]
fn a_missing_package_folder_is_named() {
    let missing = Package { name: "a".into(), version: "1".into(), folder: PathBuf::from("/no/such") };
    let error = gather::gather(&[missing]).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /no/such: "), "{error}");
}

/// SHA-256 of the default corpus. A new value is a decision: it changes every result, and docs/corpus.md names it too.
const FINGERPRINT: &str = "a6ed464d46231fce926e427b9f2f9c21047e6e26787b3e3281cd03fd241acba3";

/// What every experiment stands on: the same text on every machine, enough of it, of the kinds promised.
#[test]
fn the_default_corpus_is_pinned_to_its_last_byte() {
    let corpus = Corpus::pinned(|fetching| println!("{fetching}")).unwrap();
    let summary = corpus.summary();
    println!("{summary}");
    assert!(summary.prose_bytes >= 15_000_000, "{summary}");
    assert!(summary.code_bytes >= 21_300_000, "{summary}");
    for documents in [&corpus.prose, &corpus.code] {
        assert!(documents.is_sorted_by_key(|document| (&document.package, &document.path)));
        assert!(documents.iter().all(|document| document.text.is_ascii()));
        let mut by_name = std::collections::BTreeMap::new();
        for document in documents {
            let name = document.package.split(' ').next().unwrap();
            *by_name.entry(name).or_insert(0) += document.text.len();
        }
        let largest = by_name.values().max().unwrap();
        assert!(*largest as f64 <= 0.081 * bytes(documents) as f64, "{by_name:?}");
    }
    assert_eq!(corpus.fingerprint, FINGERPRINT, "{summary}");
}

fn documentation() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/corpus.md");
    fs::read_to_string(path).unwrap()
}

/// Cells of the rows of the tables with so many columns.
fn rows(markdown: &str, columns: usize) -> Vec<Vec<&str>> {
    markdown
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect::<Vec<_>>()))
        .filter(|cells| cells.len() == columns)
        .collect()
}

#[test]
fn the_documentation_names_the_packages_of_the_lock_file_and_the_fingerprint() {
    let documentation = documentation();
    let listed: Vec<String> =
        rows(&documentation, 3).iter().skip(1).map(|cells| format!("{} {}", cells[0], cells[1])).collect();
    let packages = pinned_packages(|fetching| println!("{fetching}")).unwrap();
    let pinned: Vec<String> = packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    assert_eq!(listed, pinned, "run `cargo run -p corpora --example licences`");
    assert!(documentation.contains(FINGERPRINT));
}

#[test]
fn every_licence_of_the_packages_is_permissive() {
    const PERMISSIVE: [&str; 13] = [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "MIT",
        "MIT-0",
        "MITNFA",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];
    let documentation = documentation();
    for cells in rows(&documentation, 3).iter().skip(1) {
        let is_permissive = |licence: &str| PERMISSIVE.contains(&licence.trim_matches(['(', ')']));
        let parts = cells[2].split(" AND ");
        for part in parts {
            assert!(part.split(" OR ").any(is_permissive), "{cells:?}");
        }
    }
}
