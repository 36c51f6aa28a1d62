//! Colours, markers and sizes that all figures share.
//!
//! The colours are Okabe and Ito's palette, whose members colour-blind readers can tell apart; every
//! method has its own marker too, so that figures survive a black-and-white print. A method has the
//! same colour and marker in every figure, whatever else the figure shows.

use plotters::style::RGBColor;

use crate::stats::names::lora_rank;

/// Background of every figure.
pub const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
/// Text and axes.
pub const INK: RGBColor = RGBColor(38, 38, 44);
/// Secondary text and reference lines.
pub const MUTED: RGBColor = RGBColor(105, 105, 115);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(228, 228, 232);

/// Font sizes in CSS pixels.
pub mod size {
    /// Title of a figure.
    pub const TITLE: f64 = 15.0;
    /// Title of a panel, axis or legend entry.
    pub const LABEL: f64 = 12.5;
    /// Numbers at ticks.
    pub const TICK: f64 = 11.5;
    /// Remarks inside a panel.
    pub const REMARK: f64 = 10.5;
}

const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILLION: RGBColor = RGBColor(213, 94, 0);
const BLACK: RGBColor = RGBColor(60, 60, 60);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const SKY: RGBColor = RGBColor(86, 180, 233);

/// Shape of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square standing on its side.
    Square,
    /// A square standing on its corner.
    Diamond,
    /// A triangle pointing up.
    Triangle,
    /// A triangle pointing down.
    TriangleDown,
}

/// How a method or checkpoint is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Colour of lines and markers.
    pub color: RGBColor,
    /// Shape of data points.
    pub marker: Marker,
    /// Whether lines are dashed: control checkpoints share their optimizer's colour.
    pub dashed: bool,
}

/// Style of a finetuning method or of a checkpoint, by its name.
///
/// The part before the first `-` decides (`adamw-long` is drawn like `adamw`, but dashed), except
/// for LoRA, whose ranks have colours of their own. An unknown name gets a colour by its spelling.
pub fn style(name: &str) -> Style {
    let solid = |color, marker| Style { color, marker, dashed: false };
    if let Some(rank) = lora_rank(name) {
        return match rank {
            0..=4 => solid(SKY, Marker::Triangle),
            5..=16 => solid(GREEN, Marker::TriangleDown),
            17..=64 => solid(PURPLE, Marker::Triangle),
            _ => solid(ORANGE, Marker::TriangleDown),
        };
    }
    let (head, variant) = name.split_once('-').unwrap_or((name, ""));
    let base = match head {
        "adamw" => solid(BLUE, Marker::Circle),
        "muon" => solid(VERMILLION, Marker::Square),
        "sgd" => solid(BLACK, Marker::Diamond),
        _ => {
            let sum: usize = name.bytes().map(usize::from).sum();
            solid([ORANGE, SKY, PURPLE, GREEN][sum % 4], Marker::Diamond)
        }
    };
    Style { dashed: !variant.is_empty(), ..base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_main_comparison_look_different() {
        let methods = ["adamw", "muon", "sgd", "lora-4", "lora-16", "lora-64", "lora-256"];
        for (i, a) in methods.iter().enumerate() {
            for b in &methods[..i] {
                assert_ne!(style(a).color, style(b).color, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_control_checkpoint_shares_its_optimizers_colour() {
        assert_eq!(style("adamw-long"), Style { dashed: true, ..style("adamw") });
    }
}
