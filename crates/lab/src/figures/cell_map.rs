//! Maps: an effect with its interval for each pair of two numbers, as coloured cells.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::canvas::{Anchor, Canvas, DrawError, Text};
use super::output::Figure;
use super::theme::{INK, MUTED, size};
use crate::statistics::MeanInterval;

const HEAD: f64 = 64.0;
const FOOT: f64 = 62.0;
const LEFT: f64 = 78.0;
const GAP: f64 = 26.0;
const CELL: (f64, f64) = (104.0, 46.0);

/// One map: a row for each of `rows`, from below, a column for each of `columns`.
#[derive(Clone, Debug)]
pub struct CellPanel {
    /// Above the map.
    pub title: String,
    /// The effects, row by row; `None` where there is none.
    pub effects: Vec<Option<MeanInterval>>,
}

/// Maps side by side over the same rows and columns.
#[derive(Clone, Debug)]
pub struct CellMap {
    /// File name without extension.
    pub name: String,
    /// Above the maps.
    pub title: String,
    /// What the columns are.
    pub x: String,
    /// What the rows are.
    pub y: String,
    /// Labels of the columns.
    pub columns: Vec<String>,
    /// Labels of the rows.
    pub rows: Vec<String>,
    /// The maps.
    pub panels: Vec<CellPanel>,
    /// What positive effects mean and their colour, and the same of negative ones.
    pub signs: [(String, RGBColor); 2],
}

impl CellMap {
    fn panel_width(&self) -> f64 {
        CELL.0 * self.columns.len().max(1) as f64
    }

    fn bottom(&self) -> f64 {
        HEAD + CELL.1 * self.rows.len().max(1) as f64
    }

    /// The effect that has the full colour.
    fn largest(&self) -> f64 {
        let means = self.panels.iter().flat_map(|panel| panel.effects.iter().flatten().map(|effect| effect.mean.abs()));
        means.filter(|mean| mean.is_finite()).fold(1e-9, f64::max)
    }

    fn color(&self, mean: f64) -> RGBColor {
        let [(_, positive), (_, negative)] = &self.signs;
        if mean >= 0.0 { *positive } else { *negative }
    }
}

impl Figure for CellMap {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        let panels = self.panels.len().max(1) as f64;
        let width = LEFT + panels * self.panel_width() + (panels - 1.0) * GAP + 20.0;
        (width.max(620.0) as u32, (self.bottom() + FOOT) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let (width, _) = canvas.size();
        canvas.text((width / 2.0, 18.0), Text::new(&self.title, size::TITLE).bold())?;
        let largest = self.largest();
        for (index, panel) in self.panels.iter().enumerate() {
            let left = LEFT + index as f64 * (self.panel_width() + GAP);
            canvas.text((left, HEAD - 14.0), Text::new(&panel.title, size::LABEL).bold().anchored(Anchor::Left))?;
            for (place, effect) in panel.effects.iter().enumerate() {
                let (row, column) = (place / self.columns.len().max(1), place % self.columns.len().max(1));
                let x = left + column as f64 * CELL.0;
                let y = self.bottom() - (row + 1) as f64 * CELL.1;
                let middle = (x + CELL.0 / 2.0, y + CELL.1 / 2.0);
                let Some(MeanInterval { mean, bounds, .. }) = effect else {
                    canvas.text(middle, Text::new("none", size::REMARK).colored(MUTED))?;
                    continue;
                };
                let alpha = 0.05 + 0.6 * (mean.abs() / largest).min(1.0);
                let corner = (x + CELL.0 - 2.0, y + CELL.1 - 2.0);
                canvas.rectangle((x + 1.0, y + 1.0), corner, self.color(*mean), alpha)?;
                // An interval that holds zero is no effect: its number is not bold.
                let clear = bounds.is_some_and(|(low, high)| low > 0.0 || high < 0.0);
                let number = format!("{mean:+.3}");
                let text = Text::new(&number, size::LABEL);
                canvas.text((middle.0, middle.1 - 8.0), if clear { text.bold() } else { text })?;
                if let Some((low, high)) = bounds {
                    let interval = format!("{low:+.3} to {high:+.3}");
                    canvas.text((middle.0, middle.1 + 10.0), Text::new(&interval, size::REMARK - 1.0).colored(INK))?;
                }
            }
            for (column, label) in self.columns.iter().enumerate() {
                let x = left + (column as f64 + 0.5) * CELL.0;
                canvas.text((x, self.bottom() + 12.0), Text::new(label, size::TICK))?;
            }
            canvas.text((left + self.panel_width() / 2.0, self.bottom() + 30.0), Text::new(&self.x, size::LABEL))?;
        }
        for (row, label) in self.rows.iter().enumerate() {
            let y = self.bottom() - (row as f64 + 0.5) * CELL.1;
            canvas.text((LEFT - 8.0, y), Text::new(label, size::TICK).anchored(Anchor::Right))?;
        }
        canvas.text((14.0, (HEAD + self.bottom()) / 2.0), Text::new(&self.y, size::LABEL).upwards())?;
        let mut x = LEFT;
        for (label, color) in &self.signs {
            let y = self.bottom() + 50.0;
            canvas.rectangle((x, y - 6.0), (x + 16.0, y + 6.0), *color, 0.65)?;
            let text = Text::new(label, size::TICK).anchored(Anchor::Left);
            canvas.text((x + 22.0, y), text)?;
            x += 22.0 + canvas.text_width(text) + 24.0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::save;
    use crate::figures::theme::{BLUE, VERMILLION};

    #[test]
    fn empty_maps_and_missing_effects_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let effect = MeanInterval { mean: -0.2, bounds: None, n: 1 };
        for (columns, effects) in [(vec![], vec![]), (vec!["1".into(), "2".into()], vec![None, Some(effect)])] {
            let map = CellMap {
                name: "map".into(),
                title: "title".into(),
                x: "x".into(),
                y: "y".into(),
                columns,
                rows: vec!["0".into()],
                panels: vec![CellPanel { title: "panel".into(), effects }],
                signs: [("more".into(), BLUE), ("less".into(), VERMILLION)],
            };
            save(&map, folder.path()).unwrap();
        }
    }
}
