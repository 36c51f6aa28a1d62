//! How checkpoints, methods and optimizers are called and drawn in figures, tables and sentences.

use lab::figures::theme::{BLACK, BLUE, GREEN, Marker, ORANGE, PURPLE, SKY, Style, VERMILLION};
use plotters::style::RGBColor;

/// An optimizer in texts and figures.
struct Look {
    /// Its name in presets.
    name: &'static str,
    /// Its spelling in the literature.
    label: &'static str,
    color: RGBColor,
    marker: Marker,
}

const fn look(name: &'static str, label: &'static str, color: RGBColor, marker: Marker) -> Look {
    Look { name, label, color, marker }
}

/// One that is not here bears its own name, and is drawn in a colour by its spelling.
const LOOKS: [Look; 8] = [
    look("adamw", "AdamW", BLUE, Marker::Circle),
    look("muon", "Muon", VERMILLION, Marker::Square),
    look("sgd", "SGD", BLACK, Marker::Diamond),
    look("lion", "Lion", GREEN, Marker::Circle),
    look("signum", "Signum", SKY, Marker::Diamond),
    look("soap", "SOAP", PURPLE, Marker::Square),
    look("normuon", "NorMuon", ORANGE, Marker::Square),
    look("shampoo", "Shampoo", PURPLE, Marker::Diamond),
];

/// The optimizer that a name begins with, and the rest of the name.
fn known(name: &str) -> Option<(&'static Look, &str)> {
    let (head, rest) = name.split_once('-').unwrap_or((name, ""));
    LOOKS.iter().find(|look| look.name == head).map(|look| (look, rest))
}

/// Display name of a checkpoint or method: `adamw` is "AdamW", `lora-16` "LoRA-16", and
/// `adamw-long` "AdamW (long)". A name that is not known stays as it is.
pub fn display(name: &str) -> String {
    if let Some(rank) = lora_rank(name) {
        return format!("LoRA-{rank}");
    }
    match known(name) {
        None => name.to_owned(),
        Some((look, "")) => look.label.to_owned(),
        Some((look, rest)) => format!("{} ({})", look.label, rest.replace('-', " ")),
    }
}

/// The rank of a method called `lora-RANK` or `loraRANK`.
pub fn lora_rank(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("lora")?;
    rest.strip_prefix('-').unwrap_or(rest).parse().ok()
}

/// Style of a finetuning method or of a checkpoint, by its name: the same in every figure, whatever else the figure
/// shows.
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
    match known(name) {
        Some((look, rest)) => Style { dashed: !rest.is_empty(), ..solid(look.color, look.marker) },
        None => {
            let sum: usize = name.bytes().map(usize::from).sum();
            let dashed = name.contains('-');
            Style { dashed, ..solid([ORANGE, SKY, PURPLE, GREEN][sum % 4], Marker::Diamond) }
        }
    }
}

#[cfg(test)]
mod tests {
    use models::optim::RuleName;

    use super::*;

    #[test]
    fn known_names_are_spelled_as_in_the_literature() {
        assert_eq!(display("adamw"), "AdamW");
        assert_eq!(display("lora-16"), "LoRA-16");
        assert_eq!(display("lora4"), "LoRA-4");
        assert_eq!(display("muon-low-rate"), "Muon (low rate)");
        assert_eq!(display("something-else"), "something-else");
    }

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
    fn optimizers_look_different_from_one_another() {
        for (i, a) in RuleName::ALL.iter().enumerate() {
            for b in &RuleName::ALL[..i] {
                assert_ne!(style(a.as_str()), style(b.as_str()), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_control_checkpoint_shares_its_optimizers_colour() {
        assert_eq!(style("adamw-long"), Style { dashed: true, ..style("adamw") });
    }
}
