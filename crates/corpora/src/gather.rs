//! From package folders to documents.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Document;
use crate::error::CorpusError;
use crate::filter::{is_english, is_licence, is_written_code, plain_signs, to_ascii, without_licence};
use crate::markdown::paragraphs;
use crate::packages::Package;
use crate::rust_source::divide;
use crate::select::{Seen, cap_packages};

/// Largest share of any one package in the prose and in the code.
const PACKAGE_SHARE: f64 = 0.08;
/// Files larger than this are generated; they are not even read.
const FILE_BYTES: u64 = 1 << 20;
/// Fewest bytes of prose that make a document.
const PROSE_BYTES: usize = 200;

/// Starts of the names of Markdown files that are no prose about a package.
const NOT_PROSE: [&str; 10] = [
    "changelog",
    "changes",
    "release",
    "history",
    "news",
    "license",
    "licence",
    "copying",
    "copyright",
    "code_of_conduct",
];

/// Folders whose Rust files are data, or call the same functions over and over.
const NOT_CODE: [&str; 6] = ["tests", "benches", "testdata", "data", "fixtures", "tables"];

/// Starts of the names of packages whose code is declarations of a system's interface.
const BINDINGS: [&str; 4] = ["libc", "linux-raw-sys", "winapi", "windows"];

/// Prose and code of the packages, each sorted by package and path.
pub(super) fn gather(packages: &[Package]) -> Result<(Vec<Document>, Vec<Document>), CorpusError> {
    let (mut prose, mut code) = (Vec::new(), Vec::new());
    let (mut seen_paragraphs, mut seen_code) = (Seen::default(), Seen::default());
    for package in packages {
        let is_bindings = BINDINGS.iter().any(|start| package.name.starts_with(start));
        for path in files(&package.folder)? {
            let Some(kind) = Kind::of(&path) else {
                continue;
            };
            let Some(source) = read(&package.folder.join(&path))? else {
                continue;
            };
            let markdown = match kind {
                Kind::Markdown => vec![source],
                Kind::Rust { is_code } => {
                    let divided = divide(&source);
                    if let Some(text) = (is_code && !is_bindings).then(|| written_code(&divided.code)).flatten()
                        && seen_code.is_new_code(&text)
                    {
                        code.push(document(package, &path, text));
                    }
                    divided.docs
                }
            };
            let text = prose_of(&markdown, &mut seen_paragraphs);
            if text.len() >= PROSE_BYTES {
                prose.push(document(package, &path, text));
            }
        }
    }
    Ok((cap_packages(prose, PACKAGE_SHARE), cap_packages(code, PACKAGE_SHARE)))
}

enum Kind {
    Markdown,
    Rust { is_code: bool },
}

impl Kind {
    /// Of a path within a package; none for a file of no use.
    fn of(path: &str) -> Option<Self> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = name.to_lowercase();
        if name.ends_with(".md") {
            let is_prose = !NOT_PROSE.iter().any(|start| name.starts_with(start));
            return is_prose.then_some(Self::Markdown);
        }
        let is_code = !folders.split('/').any(|folder| NOT_CODE.contains(&folder));
        name.ends_with(".rs").then_some(Self::Rust { is_code })
    }
}

/// The new English paragraphs, one a line.
fn prose_of(markdown: &[String], seen: &mut Seen) -> String {
    let mut text = String::new();
    for paragraph in markdown.iter().flat_map(|part| paragraphs(part)) {
        let Some(paragraph) = to_ascii(&paragraph) else {
            continue;
        };
        if is_english(&paragraph) && !is_licence(&paragraph) && seen.is_new_paragraph(&paragraph) {
            text.push_str(&paragraph);
            text.push('\n');
        }
    }
    text
}

/// Code in ASCII; none if it was not written by hand.
fn written_code(code: &str) -> Option<String> {
    let code = plain_signs(without_licence(code));
    // Dropping a character would break code: signs inside literals become question marks.
    let foreign = code.chars().filter(|c| !c.is_ascii()).count();
    if foreign * 100 > code.len() {
        return None;
    }
    let code: String = code.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    is_written_code(&code).then_some(code)
}

fn document(package: &Package, path: &str, text: String) -> Document {
    Document { package: format!("{} {}", package.name, package.version), path: path.to_string(), text }
}

/// A file with `\n` line ends; none if it is too large or not UTF-8.
fn read(path: &Path) -> Result<Option<String>, CorpusError> {
    let failed = |source| CorpusError::Read { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES {
        return Ok(None);
    }
    let text = String::from_utf8(fs::read(path).map_err(failed)?);
    Ok(text.ok().map(|text| text.replace("\r\n", "\n")))
}

/// Paths of all files below a folder, relative to it with `/`, sorted.
fn files(folder: &Path) -> Result<Vec<String>, CorpusError> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, String)> = vec![(folder.to_path_buf(), String::new())];
    while let Some((path, prefix)) = folders.pop() {
        let failed = |source| CorpusError::Read { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push((entry.path(), name + "/"));
            } else if kind.is_file() {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}
