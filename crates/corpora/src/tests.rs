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

/// What every experiment stands on: enough text, of the kinds promised, the same each time.
#[test]
fn the_pinned_packages_give_enough_prose_and_code() {
    let corpus = Corpus::pinned(|fetching| println!("{fetching}")).unwrap();
    println!("{}", corpus.summary());
    let summary = corpus.summary();
    assert!(summary.prose_bytes >= 3_000_000, "{summary}");
    assert!(summary.code_bytes >= 4_000_000, "{summary}");
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
        assert!(!by_name.contains_key("corpus-packages"));
    }
    assert_eq!(corpus, Corpus::pinned(|fetching| println!("{fetching}")).unwrap());
}
