//! The tables of `probe` as text.

use crate::stages::{Measured, VectorRow, WeightRow};

/// Four significant digits.
fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = 3 - x.abs().log10().floor() as i32;
    match digits {
        0..=6 => format!("{x:.*}", digits as usize),
        _ if x.abs() < 1e5 && x.abs() >= 1.0 => format!("{x:.0}"),
        _ => format!("{x:.2e}"),
    }
}

/// Columns as wide as their widest cell; the first is text, the others are numbers.
fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let text = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    text
}

/// Activations, then output gradients.
pub(super) fn vectors(rows: &[VectorRow]) -> String {
    let header = [
        "layer",
        "kind",
        "n",
        "rms",
        "l1/l2",
        "kurt f",
        "kurt norm",
        "max/rms",
        "at",
        "tr S",
        "tr S^1/2",
        "PR",
        "PR feat",
        "rank",
        "off-diag",
        "a",
    ];
    let cells = |row: &VectorRow| {
        let kind = match row.measured {
            Measured::Gradient => format!("d {}", row.kind),
            Measured::Input | Measured::Residual => row.kind.clone(),
        };
        let mut cells = vec![row.layer.to_string(), kind, row.features.to_string()];
        let numbers = [row.rms, row.l1_over_l2, row.kurtosis_of_features, row.kurtosis_of_norms, row.max_over_rms];
        cells.extend(numbers.map(number));
        cells.push(row.largest_features.clone());
        let moment = [
            row.trace,
            row.trace_root,
            row.participation_ratio,
            row.participation_ratio_of_features,
            row.effective_rank,
            row.off_diagonal_mass,
            row.alignment,
        ];
        cells.extend(moment.map(number));
        cells
    };
    let text = aligned(&header, &rows.iter().map(cells).collect::<Vec<_>>());
    let legend = "d: gradients of a map's outputs, labels drawn from the network; kurt: excess kurtosis (mean over features; of \
                  norms); PR, rank: participation ratio and exp of the entropy of the eigenvalues of S; a: alignment with the axes\n";
    text + legend
}

/// The matrices inside the blocks.
pub(super) fn weights(rows: &[WeightRow]) -> String {
    let header = ["layer", "kind", "shape", "rms", "max", "sigma 1", "stable rank", "rank", "rank sq", "distance"];
    let cells = |row: &WeightRow| {
        let mut cells = vec![row.layer.to_string(), row.kind.clone(), format!("{}x{}", row.rows, row.columns)];
        let numbers = [
            row.rms,
            row.largest_entry,
            row.spectral_norm,
            row.stable_rank,
            row.effective_rank,
            row.effective_rank_of_squares,
        ];
        cells.extend(numbers.map(number));
        cells.push(row.distance.map_or_else(String::new, number));
        cells
    };
    let text = aligned(&header, &rows.iter().map(cells).collect::<Vec<_>>());
    text + "rank, rank sq: exp of the entropy of the singular values and of their squares; distance: from the initial weights\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_whatever_their_size() {
        let texts = [0.0, 0.123_456, 12.345_6, 98_765.4, 1.5e7, 3.21e-9, -2.0].map(number);
        assert_eq!(texts, ["0", "0.1235", "12.35", "98765", "1.50e7", "3.21e-9", "-2.000"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [vec!["0".to_string(), "q".into(), "1.5".into()], vec!["10".into(), "down".into(), "2".into()]];
        let text = aligned(&["l", "kind", "x"], &rows);
        assert_eq!(text, " l  kind    x\n 0  q     1.5\n10  down    2\n");
    }
}
