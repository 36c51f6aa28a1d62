//! Writes the tables of one figure as CSV: `cargo run --release -p theory --example figure_data -- NAME SIZE FOLDER`,
//! NAME one of `geometry`, `regularization`, `phase-diagram`, `consistency-matrix`, SIZE `quick` or `standard`.

use std::path::Path;
use std::time::Instant;

use theory::figures::{Size, consistency_matrix, geometry, phase_diagram, regularization};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, size, folder] = arguments.as_slice() else {
        return Err("expected NAME SIZE FOLDER".into());
    };
    let size = match size.as_str() {
        "quick" => Size::Quick,
        "standard" => Size::Standard,
        other => return Err(format!("size: found {other}, expected quick or standard").into()),
    };
    let clock = Instant::now();
    let data = match name.as_str() {
        "geometry" => geometry::run(&geometry::GeometryPreset::new(size), || ())?,
        "regularization" => regularization::run(&regularization::RegularizationPreset::new(size), || ())?,
        "phase-diagram" => phase_diagram::run(&phase_diagram::PhaseDiagramPreset::new(size), || ())?,
        "consistency-matrix" => {
            consistency_matrix::run(&consistency_matrix::ConsistencyMatrixPreset::new(size), || ())?
        }
        other => return Err(format!("figure: found {other}, expected a figure's name").into()),
    };
    for table in &data.tables {
        std::fs::write(Path::new(folder).join(format!("{}.csv", table.name)), table.to_csv())?;
    }
    for finding in &data.findings {
        let effect = finding.effect();
        println!(
            "{} {} [{}]: {:.3} ({:.3} to {:.3}), n = {}",
            finding.claim, finding.statement, finding.setting, effect.mean, effect.low, effect.high, effect.n
        );
    }
    println!("{:.1} s", clock.elapsed().as_secs_f64());
    Ok(())
}
