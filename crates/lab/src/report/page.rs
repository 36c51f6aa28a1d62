//! The whole report: all sections that are there, and the page made of them.

use std::path::{Path, PathBuf};

use super::error::ReportError;
use super::html::{self, Front};
use super::section::{FIGURES, SECTIONS, Section};
use crate::figures::file_stem;
use crate::store::write_atomic;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Report {
    /// Sections in the order of the page.
    pub sections: Vec<Section>,
}

impl Report {
    /// Reads all sections in the report's `folder`.
    ///
    /// # Errors
    /// When a section cannot be read; a folder without sections gives an empty report.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let folder = folder.join(SECTIONS);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => {
                return Err(ReportError::Read { path: folder, what: "folder", source });
            }
        };
        let mut sections: Vec<Section> = Vec::new();
        for entry in entries {
            let path =
                entry.map_err(|source| ReportError::Read { path: folder.clone(), what: "folder", source })?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = read_text(&path)?;
                let section =
                    serde_json::from_str(&text).map_err(|source| ReportError::Parse { path: path.clone(), source })?;
                sections.push(section);
            }
        }
        sections.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        Ok(Self { sections })
    }

    /// Writes `index.html` in `folder`, with the figures found there, under the title of `front`; returns its path.
    ///
    /// # Errors
    /// When a figure's SVG cannot be read or the page cannot be written.
    pub fn write(&self, folder: &Path, front: &Front) -> Result<PathBuf, ReportError> {
        // A name that was made elsewhere may be a path.
        let figure = |name: &str| read_text(&folder.join(FIGURES).join(format!("{}.svg", file_stem(name))));
        let text = html::page(&self.sections, front, &figure)?;
        let path = folder.join("index.html");
        write_atomic(&path, text.as_bytes())?;
        Ok(path)
    }
}

fn read_text(path: &Path) -> Result<String, ReportError> {
    std::fs::read_to_string(path).map_err(|source| ReportError::Read { path: path.to_owned(), what: "file", source })
}
