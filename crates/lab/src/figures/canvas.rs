//! Drawing primitives in CSS pixels, over any backend.
//!
//! Backends place everything at whole numbers; a canvas therefore uses [`SCALE`] units for a CSS
//! pixel, which keeps curves smooth in SVG and gives the bitmap something to be averaged from.

use std::cell::RefCell;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::prelude::{DrawingArea, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::font::FONT;
use super::text::visible;
use super::theme::{INK, Marker, Style};

/// Backend units for one CSS pixel.
pub(super) const SCALE: f64 = 4.0;

/// Error of drawing on the backend `DB`.
pub type DrawError<DB> = DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>;

/// Which part of a text lies at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end, vertically centred.
    Left,
    /// Its middle, vertically centred.
    Center,
    /// Its right end, vertically centred.
    Right,
}

/// A piece of text and its looks.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What is written.
    pub content: &'a str,
    /// Font size in CSS pixels.
    pub size: f64,
    /// Colour.
    pub color: RGBColor,
    /// What lies at the position given.
    pub anchor: Anchor,
    /// Bold letters.
    pub bold: bool,
    /// Written upwards.
    pub upwards: bool,
}

impl<'a> Text<'a> {
    /// Plain text in ink, centred.
    pub fn new(content: &'a str, size: f64) -> Self {
        Self { content, size, color: INK, anchor: Anchor::Center, bold: false, upwards: false }
    }

    /// The same with another anchor.
    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    /// The same in another colour.
    pub fn colored(self, color: RGBColor) -> Self {
        Self { color, ..self }
    }

    /// The same in bold.
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same, written upwards.
    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// A drawing surface; positions and lengths are CSS pixels from the upper left corner.
pub struct Canvas<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    notes: RefCell<Vec<Note>>,
}

/// What a reader is told who points at a place.
pub(super) struct Note {
    /// The place, in the backend's units.
    pub(super) at: (i32, i32),
    /// Name and values.
    pub(super) text: String,
}

impl<'a, DB: DrawingBackend> Canvas<'a, DB> {
    /// A canvas over the whole of `area`.
    pub(super) fn new(area: &'a DrawingArea<DB, Shift>) -> Self {
        Self { area, notes: RefCell::default() }
    }

    /// What was noted, in order.
    pub(super) fn into_notes(self) -> Vec<Note> {
        self.notes.into_inner()
    }

    /// Says what is drawn at a place: name, values, run. An SVG shows it to who points there; other files do not.
    pub fn note(&self, at: (f64, f64), text: impl Into<String>) {
        if at.0.is_finite() && at.1.is_finite() {
            self.notes.borrow_mut().push(Note { at: units(at), text: text.into() });
        }
    }

    /// Width and height.
    pub fn size(&self) -> (f64, f64) {
        let (width, height) = self.area.dim_in_pixel();
        (f64::from(width) / SCALE, f64::from(height) / SCALE)
    }

    /// A solid line through `points`.
    ///
    /// # Errors
    /// When the backend fails; so do all methods here.
    pub fn line(&self, points: &[(f64, f64)], color: RGBColor, alpha: f64, width: f64) -> Result<(), DrawError<DB>> {
        if points.len() < 2 {
            return Ok(());
        }
        let points: Vec<(i32, i32)> = points.iter().map(|&p| units(p)).collect();
        self.area.draw(&PathElement::new(points, stroke(color, alpha, width)))
    }

    /// A dashed line through `points`, dashes of 5 with gaps of 3.5 CSS pixels.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn dashed(&self, points: &[(f64, f64)], color: RGBColor, alpha: f64, width: f64) -> Result<(), DrawError<DB>> {
        const DASH: [f64; 2] = [5.0, 3.5];
        let mut dash = vec![];
        let (mut phase, mut left) = (0, DASH[0]);
        for ends in points.windows(2) {
            let (mut from, to) = (ends[0], ends[1]);
            loop {
                if phase == 0 && dash.is_empty() {
                    dash.push(from);
                }
                let rest = (to.0 - from.0).hypot(to.1 - from.1);
                if rest <= left {
                    left -= rest;
                    if phase == 0 {
                        dash.push(to);
                    }
                    break;
                }
                let share = left / rest;
                from = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
                if phase == 0 {
                    dash.push(from);
                    self.line(&std::mem::take(&mut dash), color, alpha, width)?;
                }
                phase = 1 - phase;
                left = DASH[phase];
            }
        }
        self.line(&dash, color, alpha, width)
    }

    /// A line in the style of a method or checkpoint.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn styled_line(
        &self,
        points: &[(f64, f64)],
        style: Style,
        alpha: f64,
        width: f64,
    ) -> Result<(), DrawError<DB>> {
        if style.dashed {
            self.dashed(points, style.color, alpha, width)
        } else {
            self.line(points, style.color, alpha, width)
        }
    }

    /// A filled rectangle between two corners.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn rectangle(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        color: RGBColor,
        alpha: f64,
    ) -> Result<(), DrawError<DB>> {
        self.area.draw(&Rectangle::new([units(from), units(to)], color.mix(alpha).filled()))
    }

    /// A filled marker; `radius` is that of a disc of about the same area.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn marker(&self, at: (f64, f64), style: Style, radius: f64, alpha: f64) -> Result<(), DrawError<DB>> {
        let fill = style.color.mix(alpha).filled();
        let (x, y) = at;
        let polygon = |corners: &[(f64, f64)]| {
            let corners: Vec<(i32, i32)> =
                corners.iter().map(|&(dx, dy)| units((x + radius * dx, y + radius * dy))).collect();
            self.area.draw(&Polygon::new(corners, fill))
        };
        match style.marker {
            Marker::Circle => self.area.draw(&Circle::new(units(at), (radius * SCALE).round() as i32, fill)),
            Marker::Square => polygon(&[(-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)]),
            Marker::Diamond => polygon(&[(-1.25, 0.0), (0.0, -1.25), (1.25, 0.0), (0.0, 1.25)]),
            Marker::Triangle => polygon(&[(-1.25, 0.8), (0.0, -1.3), (1.25, 0.8)]),
            Marker::TriangleDown => polygon(&[(-1.25, -0.8), (0.0, 1.3), (1.25, -0.8)]),
        }
    }

    /// Text at a position.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn text(&self, at: (f64, f64), text: Text<'_>) -> Result<(), DrawError<DB>> {
        let horizontal = match text.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Center => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = text_style(text).pos(Pos::new(horizontal, VPos::Center));
        // What backends call the centre lies above the middle of capitals and digits, by .08 of the
        // font size in SVG and .25 in bitmaps; this puts both within a pixel of it.
        let drop = 0.15 * text.size;
        let at = if text.upwards { (at.0 + drop, at.1) } else { (at.0, at.1 + drop) };
        let content: String = text.content.chars().map(visible).collect();
        self.area.draw_text(&content, &style, units(at))
    }

    /// Width of a text, were it not written upwards.
    pub fn text_width(&self, text: Text<'_>) -> f64 {
        let style = text_style(Text { upwards: false, ..text });
        // The font is registered before anything is drawn; a failure leaves only the layout coarser.
        self.area.estimate_text_size(text.content, &style).map_or_else(
            |_| text.content.chars().count() as f64 * text.size * 0.6,
            |(width, _)| f64::from(width) / SCALE,
        )
    }
}

fn text_style(text: Text<'_>) -> TextStyle<'static> {
    // Backends divide the size by about 1.2 to get the font's em.
    let size = text.size * SCALE * 1.2;
    let style = if text.bold { FontStyle::Bold } else { FontStyle::Normal };
    let mut font = (FontFamily::Name(FONT), size, style).into_font();
    if text.upwards {
        font = font.transform(FontTransform::Rotate270);
    }
    TextStyle { font, color: text.color.to_backend_color(), pos: Pos::default() }
}

fn units((x, y): (f64, f64)) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

fn stroke(color: RGBColor, alpha: f64, width: f64) -> ShapeStyle {
    color.mix(alpha).stroke_width((width * SCALE).round().max(1.0) as u32)
}
