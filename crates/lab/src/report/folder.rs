//! The folder that an experiment writes its figures and tables to.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::section::{FIGURES, FigureEntry, SECTIONS};
use crate::error::Result;
use crate::figures::{Figure, file_stem, save};
use crate::store::{create_dir_all, sweep_temporary, write_atomic};
use crate::table;

/// The report's folder.
#[derive(Debug, Clone)]
pub struct ReportFolder {
    path: PathBuf,
}

impl ReportFolder {
    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: PathBuf) -> Result<Self> {
        create_dir_all(&path.join(FIGURES))?;
        for folder in [&path, &path.join(FIGURES), &path.join(SECTIONS)] {
            sweep_temporary(folder);
        }
        Ok(Self { path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Draws a figure into the folder; `data` is the file with its numbers, relative to the folder.
    ///
    /// # Errors
    /// If it cannot be drawn or written.
    pub fn figure(
        &self,
        figure: &impl Figure,
        caption: impl Into<String>,
        data: impl Into<String>,
    ) -> Result<FigureEntry> {
        save(figure, &self.path.join(FIGURES))?;
        Ok(FigureEntry { name: file_stem(&figure.name()), caption: caption.into(), data: Some(data.into()) })
    }

    /// Writes rows as the CSV file of that name.
    ///
    /// # Errors
    /// If a row is no flat struct or the file cannot be written.
    pub fn table<R: Serialize>(&self, name: &str, rows: impl IntoIterator<Item = R>) -> Result<()> {
        self.text(name, &table::write(rows)?)
    }

    /// As [`table`](Self::table), with the header even where there are no rows.
    ///
    /// # Errors
    /// If a row is no flat struct or has other columns, or the file cannot be written.
    pub fn table_with<R: Serialize>(
        &self,
        name: &str,
        columns: &[&str],
        rows: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        self.text(name, &table::write_with(columns, rows)?)
    }

    /// Writes a file of text.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&self, name: &str, text: &str) -> Result<()> {
        Ok(write_atomic(&self.path.join(name), text.as_bytes())?)
    }
}
