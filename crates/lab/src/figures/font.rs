//! The font of all figures, which comes with the program.

use std::sync::OnceLock;

use plotters::style::{FontStyle, register_font};

/// Name under which the embedded font is registered. It is also what an SVG asks its viewer for,
/// hence the substitutes of similar width.
pub(super) const FONT: &str = "DejaVu Sans, Verdana, sans-serif";

/// Registers the embedded font with the drawing library, once for the process.
pub(super) fn embed_font() -> Result<(), String> {
    static OUTCOME: OnceLock<bool> = OnceLock::new();
    let registered = *OUTCOME.get_or_init(|| {
        register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(FONT, FontStyle::Bold, dejavu::sans::bold()).is_ok()
    });
    registered.then_some(()).ok_or_else(|| "the embedded font was not accepted".to_owned())
}
