//! The report: one self-contained `index.html` with the scorecard, figures, tables and provenance.
//! The report folder looks like this. Every experiment adds its part, and the page is built anew from all parts that
//! are there:
//!
//! ```text
//! index.html             the page: styles and SVG inline, nothing loaded from elsewhere
//! sections/NAME.json     one [`Section`] for each experiment
//! figures/FIGURE.svg     and .png, as saved by [`crate::figures::save`]
//! NAME-scorecard.csv     the same section's rows of the scorecard and controls, a [`ScorecardLine`] each
//! *.csv                  data that sections link to
//! ```
//!
//! ```no_run
//! use lab::report::{Front, Report, Section};
//! # fn main() -> Result<(), lab::report::ReportError> {
//! let folder = std::path::Path::new("report");
//! Section::new("tradeoff", "The learning-forgetting tradeoff").write(folder)?;
//! let front = Front { title: "What came out", lead: "All numbers were measured.", claims: &[], evidence: "" };
//! let page = Report::read(folder)?.write(folder, &front)?;
//! println!("{}", page.display());
//! # Ok(())
//! # }
//! ```

mod answers;
mod error;
mod folder;
mod forest;
mod html;
mod page;
mod section;
mod stored;
mod text;

pub use answers::{Answer, Claim, deciding};
pub use error::ReportError;
pub use folder::ReportFolder;
pub use html::Front;
pub use page::Report;
pub use section::{FIGURES, FigureEntry, Section, Table, TableRow};
pub use stored::{CLAIM, CONTROL, ScorecardLine, Stored};
