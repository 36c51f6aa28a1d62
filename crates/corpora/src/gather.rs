//! From package folders to documents.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::Document;
use crate::error::CorpusError;
use crate::filter::{is_english, is_licence, is_note, is_written_code, plain_signs, to_ascii, without_licence};
use crate::markdown::paragraphs;
use crate::packages::Package;
use crate::rust_source::divide;
use crate::select::{CodeFile, Paragraph, Seen, cap_packages};

/// Largest share of any one package in the prose.
const PROSE_SHARE: f64 = 0.08;
/// Largest share of any one package in the code. It is small, since there is far more code than is trained on: what is
/// kept is of many packages.
const CODE_SHARE: f64 = 0.007;
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

/// Folders whose files are data, or call the same functions over and over. Of their Rust files the comments are kept.
const DATA: [&str; 6] = ["tests", "benches", "testdata", "data", "fixtures", "tables"];

/// Starts of the names of packages whose code is declarations of a system's interface.
const BINDINGS: [&str; 4] = ["libc", "linux-raw-sys", "winapi", "windows"];

/// Prose and code of the packages, each sorted by package and path.
///
/// Files are read and divided in parallel; what is there twice is dropped after that, in the packages' order.
pub(crate) fn gather(packages: &[Package]) -> Result<(Vec<Document>, Vec<Document>), CorpusError> {
    let listed: Vec<Vec<String>> =
        packages.par_iter().map(|package| files(&package.folder)).collect::<Result<_, _>>()?;
    let all: Vec<(&Package, &String)> = packages
        .iter()
        .zip(&listed)
        .flat_map(|(package, paths)| paths.iter().map(move |path| (package, path)))
        .collect();
    let parts: Vec<Parts> =
        all.par_iter().map(|(package, path)| Parts::read(package, path)).collect::<Result<_, _>>()?;

    let (mut prose, mut code) = (Vec::new(), Vec::new());
    let mut seen = Seen::default();
    for ((package, path), parts) in all.into_iter().zip(parts) {
        if let Some(file) = parts.code
            && seen.is_new_code(&file)
        {
            code.push(document(package, path, file.text));
        }
        let mut text = String::new();
        for paragraph in parts.paragraphs.iter().filter(|paragraph| seen.is_new_paragraph(paragraph)) {
            text.push_str(&paragraph.text);
            text.push('\n');
        }
        if text.len() >= PROSE_BYTES {
            prose.push(document(package, path, text));
        }
    }
    Ok((cap_packages(prose, PROSE_SHARE), cap_packages(code, CODE_SHARE)))
}

/// What a file holds, whatever is in other files.
#[derive(Default)]
struct Parts {
    /// English paragraphs.
    paragraphs: Vec<Paragraph>,
    /// Its code, if somebody wrote it by hand.
    code: Option<CodeFile>,
}

impl Parts {
    /// Of the file at a path within a package.
    fn read(package: &Package, path: &str) -> Result<Self, CorpusError> {
        let Some(kind) = Kind::of(path) else {
            return Ok(Self::default());
        };
        let Some(source) = read(&package.folder.join(path))? else {
            return Ok(Self::default());
        };
        let is_bindings = BINDINGS.iter().any(|start| package.name.starts_with(start));
        Ok(match kind {
            Kind::Markdown => Self { paragraphs: english(&[source]), code: None },
            Kind::Rust { is_code } => {
                let divided = divide(&source);
                let code = (is_code && !is_bindings).then(|| written_code(&divided.code)).flatten();
                Self { paragraphs: english(&divided.docs), code: code.map(CodeFile::new) }
            }
        })
    }
}

enum Kind {
    Markdown,
    Rust { is_code: bool },
}

impl Kind {
    /// Of a path within a package; none for a file of no use.
    fn of(path: &str) -> Option<Self> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = name.to_lowercase().replace('-', "_");
        let is_data = folders.split('/').any(|folder| DATA.contains(&folder));
        if name.ends_with(".md") {
            let is_prose = !is_data && !NOT_PROSE.iter().any(|start| name.starts_with(start));
            return is_prose.then_some(Self::Markdown);
        }
        name.ends_with(".rs").then_some(Self::Rust { is_code: !is_data })
    }
}

/// The English paragraphs.
fn english(markdown: &[String]) -> Vec<Paragraph> {
    let all = markdown.iter().flat_map(|part| paragraphs(part));
    let plain = all.filter_map(|paragraph| to_ascii(&paragraph));
    plain.filter(|text| is_english(text) && !is_licence(text) && !is_note(text)).map(Paragraph::new).collect()
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
