//! The page is built from the sections and figures found in its folder, holds everything itself, and
//! shows texts as they are written. The page of made-up data stays in `target/tmp`, to be looked at.

mod made_up;

use std::path::{Path, PathBuf};

use experiments::registry::REGISTRY;
use experiments::stages::Results;
use experiments::tradeoff::figures::{Consistency, Curves, Matched, Tradeoff};
use experiments::tradeoff::statistics::TradeoffStatistics;
use experiments::tradeoff::tables;
use lab::figures::{Figure, save};
use lab::report::{FIGURES, FigureEntry, Report, Section, Table, TableRow};
use lab::statistics::ScorecardRow;

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(path.join(FIGURES)).unwrap();
    path
}

fn add(section: &mut Section, folder: &Path, figure: &impl Figure, caption: &str) {
    save(figure, &folder.join(FIGURES)).unwrap();
    section.figures.push(FigureEntry {
        name: figure.name(),
        caption: caption.to_owned(),
        data: Some("results.csv".to_owned()),
    });
}

#[test]
fn a_page_with_every_part() {
    let folder = folder("full");
    let rows = made_up::rows(6, &["code", "math"], &["adamw", "muon", "adamw-long", "muon-low-rate"]);
    let results = Results::from_rows(rows).unwrap();
    let statistics = TradeoffStatistics::compute(&results, &made_up::comparison());
    std::fs::write(folder.join("results.csv"), lab::table::write(results.rows()).unwrap()).unwrap();

    let mut section = Section::new("tradeoff", "The learning-forgetting tradeoff");
    section.introduction = vec!["Made-up data: no network was trained.".to_owned()];
    section.scorecard = statistics.scorecard.clone();
    section.controls = statistics.controls.clone();
    for task in results.tasks() {
        let figure = Tradeoff::new(&results, &statistics, &task, &made_up::along_runs());
        add(&mut section, &folder, &figure, &format!("Forgetting against learning on {task}, six seeds."));
    }
    add(&mut section, &folder, &Matched::new(&statistics), "Forgetting at matched learning.");
    add(&mut section, &folder, &Consistency::new(&statistics), "Consistency index.");
    let curves = Curves::new("curves", "Pretraining: held-out loss", made_up::curves(6), vec![("2-gram".into(), 4.9)]);
    add(&mut section, &folder, &curves, "Pretraining.");
    section.tables = tables::matched(&statistics);
    section.tables.push(tables::consistency(&statistics));
    section.tables.push(tables::effects(&statistics));
    let losses = vec![("adamw".to_owned(), vec![3.2, 3.21]), ("muon".to_owned(), vec![2.9, 2.95])];
    section.tables.push(tables::pretraining(&losses, &[("2-gram".to_owned(), 4.9)]));
    section.provenance = vec![("Command".to_owned(), "tradeoff --preset quick".to_owned())];
    section.write(&folder).unwrap();

    let page = Report::read(&folder).unwrap().write(&folder, &REGISTRY.front).unwrap();
    let text = std::fs::read_to_string(&page).unwrap();
    assert_eq!(text.matches("<figure").count(), 5);
    // The claim that has rows is answered before everything else.
    let (answer, first) = (text.find("id=\"C1\"").unwrap(), text.find("<figure").unwrap());
    assert!(answer < first);
    // Published rows stand beside those of this run, told apart by name.
    assert!(text.contains("class=\"line stored") && text.contains("Stored evidence: standard, 12 seeds, protocol 2"));
    // Who points at a run is told which it is.
    assert!(text.contains("<title>AdamW checkpoint, Muon at rate "), "no run says what it is");
    for expected in [
        "badge reproduced",
        "From the AdamW checkpoint, AdamW forgets less than Muon",
        "tradeoff --preset quick",
        "Consistency index",
        "figures/matched.png",
        "results.csv",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    // Nothing is loaded from elsewhere: one script, which stands in the page, no style sheets, no images; only links.
    assert_eq!((text.matches("<script>").count(), text.matches("<script").count()), (1, 1));
    assert!(text.contains("default-src 'none'"), "the page allows to load something");
    for loader in ["<link", "<img", "@import", "url("] {
        assert!(!text.contains(loader), "{loader}");
    }
    assert!(Report::read(&folder).unwrap().sections == [section], "the section read is not the one written");
}

#[test]
fn texts_are_shown_as_written() {
    let folder = folder("escaping");
    let hostile = "<script>alert(\"1\")</script> & 'x'";
    let svg = "<?xml version=\"1.0\"?>\n<svg width=\"1\" height=\"1\"></svg>\n";
    std::fs::write(folder.join(FIGURES).join("f.svg"), svg).unwrap();
    let row = ScorecardRow::from_samples(hostile, hostile, hostile, hostile, &[1.0, 2.0], hostile);
    let section = Section {
        introduction: vec![hostile.to_owned()],
        scorecard: vec![row.clone()],
        controls: vec![row],
        figures: vec![FigureEntry { name: "f".into(), caption: hostile.into(), data: Some(hostile.into()) }],
        tables: vec![Table {
            title: hostile.into(),
            caption: hostile.into(),
            header: vec![hostile.into()],
            rows: vec![TableRow { cells: vec![hostile.into()], strong: true }],
            data: Some(hostile.into()),
        }],
        provenance: vec![(hostile.into(), hostile.into())],
        ..Section::new("escaping", hostile)
    };
    section.write(&folder).unwrap();
    let page = Report::read(&folder).unwrap().write(&folder, &REGISTRY.front).unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    assert_eq!(text.matches("<script").count(), 1, "the page's own");
    assert!(!text.contains("alert(\"") && !text.contains("<?xml"));
    assert!(text.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;"));
}

#[test]
fn sections_stand_in_their_order_whatever_was_written_last() {
    let folder = folder("order");
    for (name, order) in [("theory", 2), ("memorization", 3), ("tradeoff", 1)] {
        Section { order, ..Section::new(name, name) }.write(&folder).unwrap();
    }
    let names: Vec<String> = Report::read(&folder).unwrap().sections.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["tradeoff", "theory", "memorization"]);
}

#[test]
fn an_empty_folder_gives_a_page_that_says_so() {
    let folder = folder("empty");
    let page = Report::read(&folder).unwrap().write(&folder, &REGISTRY.front).unwrap();
    assert!(std::fs::read_to_string(page).unwrap().contains("No claim has been measured yet."));
}

#[test]
fn errors_name_the_file_in_one_line() {
    let folder = folder("errors");
    std::fs::create_dir_all(folder.join("sections")).unwrap();
    std::fs::write(folder.join("sections/broken.json"), "{\"name\": 3}").unwrap();
    let message = Report::read(&folder).unwrap_err().to_string();
    assert!(message.contains("broken.json: invalid type"), "{message}");

    let mut section = Section::new("a", "A");
    section.figures.push(FigureEntry { name: "missing".into(), ..FigureEntry::default() });
    let message = Report { sections: vec![section] }.write(&folder, &REGISTRY.front).unwrap_err().to_string();
    assert!(message.contains("missing.svg: "), "{message}");
    assert!(!message.contains('\n'));
}
