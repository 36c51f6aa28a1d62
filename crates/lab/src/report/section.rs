//! What a report is made of.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::ReportError;
use crate::figures::file_stem;
use crate::statistics::ScorecardRow;
use crate::store::{StoreError, write_atomic};

/// Folder of the figures, inside the report's folder.
pub const FIGURES: &str = "figures";

/// Folder of the sections, inside the report's folder.
pub(super) const SECTIONS: &str = "sections";

/// One experiment's part of the report. Texts are plain; whatever HTML they hold is shown as written.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Section {
    /// Name of the section's file, and its anchor in the page: lower-case words joined by `-`.
    pub name: String,
    /// Heading.
    pub title: String,
    /// Place in the page: sections are sorted by this number, then by name.
    pub order: u32,
    /// Paragraphs under the heading: what was done, and how to read what follows.
    pub introduction: Vec<String>,
    /// Lines for the scorecard at the top of the page.
    pub scorecard: Vec<ScorecardRow>,
    /// Lines of the same form that are no verdicts on a claim; shown within the section.
    pub controls: Vec<ScorecardRow>,
    /// Figures, in order.
    pub figures: Vec<FigureEntry>,
    /// Tables, in order.
    pub tables: Vec<Table>,
    /// Every stage that it was made from.
    #[serde(default)]
    pub stages: Table,
    /// Stages that were not finished when it was made.
    #[serde(default)]
    pub missing: usize,
    /// What made it: label and value, for example `("command", "tradeoff --preset quick")`.
    pub provenance: Vec<(String, String)>,
}

/// A figure in a section.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct FigureEntry {
    /// The figure's [name](crate::figures::Figure::name): its files are `figures/NAME.svg` and `.png`.
    pub name: String,
    /// Caption: what is shown, with units and the number of seeds.
    pub caption: String,
    /// File with the numbers, relative to the report's folder.
    pub data: Option<String>,
}

/// A table in a section.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Table {
    /// Heading.
    pub title: String,
    /// Remark below the table; may be empty.
    pub caption: String,
    /// Column titles.
    pub header: Vec<String>,
    /// Rows, each with as many cells as the header.
    pub rows: Vec<TableRow>,
    /// File with the numbers, relative to the report's folder.
    pub data: Option<String>,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct TableRow {
    /// Texts of the cells; line breaks are kept.
    pub cells: Vec<String>,
    /// Whether the row is the one to look at first.
    pub strong: bool,
}

impl Section {
    /// An empty section.
    pub fn new(name: impl Into<String>, title: impl Into<String>) -> Self {
        Self { name: name.into(), title: title.into(), ..Self::default() }
    }

    /// Writes `sections/NAME.json` in the report's `folder`, replacing an earlier one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let path = folder.join(SECTIONS).join(format!("{}.json", file_stem(&self.name)));
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| StoreError::Serialise { what: path.display().to_string(), message: error.to_string() })?;
        text.push('\n');
        Ok(write_atomic(&path, text.as_bytes())?)
    }
}
