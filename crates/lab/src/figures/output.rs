//! Writing a figure to SVG and PNG.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;

use super::canvas::{Canvas, DrawError, Note, SCALE};
use super::font::embed_font;
use super::text::{file_stem, xml};
use super::theme::BACKGROUND;
use crate::store::{StoreError, write_atomic};

/// Canvas units averaged into one pixel of the PNG, along each side.
const OVERSAMPLING: usize = 2;

/// Something that can be drawn.
pub trait Figure {
    /// File name without extension, as [`file_stem`] makes one of it; also the figure's id in the report.
    fn name(&self) -> String;

    /// Width and height in CSS pixels.
    fn size(&self) -> (u32, u32);

    /// Draws the figure.
    ///
    /// # Errors
    /// When the backend fails.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>>;
}

/// The files of a saved figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Scalable version.
    pub svg: PathBuf,
    /// Bitmap, two pixels to a CSS pixel.
    pub png: PathBuf,
}

/// Why a figure could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The drawing failed.
    #[error("{path}: figure not drawn: {reason}")]
    Draw {
        /// The file that was to be written.
        path: PathBuf,
        /// The backend's words.
        reason: String,
    },
    /// A file could not be written; an earlier one is still there.
    #[error(transparent)]
    Write(#[from] StoreError),
}

/// Writes `figure` as `DIR/NAME.svg` and `DIR/NAME.png`, with the [`file_stem`] of its name.
///
/// # Errors
/// When `dir` cannot be written.
pub fn save(figure: &impl Figure, dir: &Path) -> Result<Saved, FigureError> {
    let stem = file_stem(&figure.name());
    let saved = Saved { svg: dir.join(format!("{stem}.svg")), png: dir.join(format!("{stem}.png")) };
    let text = svg(figure).map_err(|reason| FigureError::Draw { path: saved.svg.clone(), reason })?;
    write_atomic(&saved.svg, text.as_bytes())?;
    let bytes = png(figure).map_err(|reason| FigureError::Draw { path: saved.png.clone(), reason })?;
    write_atomic(&saved.png, &bytes)?;
    Ok(saved)
}

/// The figure as SVG text, sized in CSS pixels.
fn svg(figure: &impl Figure) -> Result<String, String> {
    let (width, height) = units(figure);
    let mut text = String::new();
    let notes = draw(figure, SVGBackend::with_string(&mut text, (width, height)))?;
    add_notes(&mut text, &notes);
    // The backend gives size and coordinates in one unit; the coordinates stay in canvas units.
    let (css_width, css_height) = figure.size();
    Ok(text.replacen(
        &format!("width=\"{width}\" height=\"{height}\""),
        &format!("width=\"{css_width}\" height=\"{css_height}\""),
        1,
    ))
}

/// Radius around a point in which it is pointed at, in canvas units.
const REACH: f64 = 6.0 * SCALE;

/// Adds an invisible disc with a title at each noted place, above all that is drawn: a viewer shows the title to who
/// points there.
fn add_notes(svg: &mut String, notes: &[Note]) {
    let Some(end) = svg.rfind("</svg>").filter(|_| !notes.is_empty()) else { return };
    let mut group = String::from("<g class=\"points\" fill=\"#000000\" fill-opacity=\"0\">\n");
    for Note { at: (x, y), text } in notes {
        let _ = writeln!(group, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{REACH}\"><title>{}</title></circle>", xml(text));
    }
    group.push_str("</g>\n");
    svg.insert_str(end, &group);
}

/// The figure as a PNG file: drawn in canvas units and averaged down to its pixels.
fn png(figure: &impl Figure) -> Result<Vec<u8>, String> {
    let (width, height) = units(figure);
    let mut large = vec![255; width as usize * height as usize * 3];
    draw(figure, BitMapBackend::with_buffer(&mut large, (width, height)))?;

    let (columns, rows) = (width as usize / OVERSAMPLING, height as usize / OVERSAMPLING);
    let mut small = Vec::with_capacity(columns * rows * 3);
    for row in 0..rows {
        for column in 0..columns {
            for channel in 0..3 {
                let mut sum = 0;
                for y in row * OVERSAMPLING..(row + 1) * OVERSAMPLING {
                    for x in column * OVERSAMPLING..(column + 1) * OVERSAMPLING {
                        sum += usize::from(large[(y * width as usize + x) * 3 + channel]);
                    }
                }
                let area = OVERSAMPLING * OVERSAMPLING;
                small.push(((sum + area / 2) / area) as u8);
            }
        }
    }
    // The backend can encode a PNG only into a file, whose ending names the format.
    let file = tempfile::Builder::new().suffix(".png").tempfile().map_err(|error| error.to_string())?;
    let mut backend = BitMapBackend::new(file.path(), (columns as u32, rows as u32));
    backend
        .blit_bitmap((0, 0), (columns as u32, rows as u32), &small)
        .and_then(|()| backend.present())
        .map_err(|error| error.to_string())?;
    std::fs::read(file.path()).map_err(|error| error.to_string())
}

/// Draws the figure; returns what its places say.
fn draw<DB: DrawingBackend>(figure: &impl Figure, backend: DB) -> Result<Vec<Note>, String> {
    embed_font()?;
    let root = backend.into_drawing_area();
    let canvas = Canvas::new(&root);
    root.fill(&BACKGROUND)
        .and_then(|()| figure.draw(&canvas))
        .and_then(|()| root.present())
        .map_err(|error| error.to_string())?;
    Ok(canvas.into_notes())
}

fn units(figure: &impl Figure) -> (u32, u32) {
    let (width, height) = figure.size();
    (width * SCALE as u32, height * SCALE as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noted(Vec<&'static str>);

    impl Figure for Noted {
        fn name(&self) -> String {
            "noted".into()
        }
        fn size(&self) -> (u32, u32) {
            (40, 30)
        }
        fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
            self.0.iter().for_each(|text| canvas.note((10.0, 20.0), *text));
            canvas.note((f64::NAN, 1.0), "nowhere");
            Ok(())
        }
    }

    #[test]
    fn a_noted_place_has_its_title_and_a_figure_without_notes_has_none() {
        let text = svg(&Noted(vec!["muon & <b>: y = 1\u{0}"])).unwrap();
        let title = "<circle cx=\"40\" cy=\"80\" r=\"24\"><title>muon &amp; &lt;b&gt;: y = 1\u{2400}</title></circle>";
        assert!(text.contains(title) && !text.contains("nowhere"), "{text}");
        assert!(text.trim_end().ends_with("</g>\n</svg>"), "{text}");
        assert!(!svg(&Noted(vec![])).unwrap().contains("points"));
    }
}
