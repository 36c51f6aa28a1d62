//! What made a result: command, versions, hardware, date.

use std::time::{SystemTime, UNIX_EPOCH};

/// The compiler that made the program.
pub const COMPILER: &str = env!("RUSTC_VERSION");

/// Label and value of each line, for a report's section.
pub fn lines(command: &str, seconds: f64) -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("command".into(), command.into()),
        (
            "version".into(),
            format!(
                "{} {}{}, {}",
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
                env!("COMMIT"),
                env!("RUSTC_VERSION")
            ),
        ),
        ("hardware".into(), format!("{}, {cores} cores", processor())),
        ("date".into(), date()),
        ("time".into(), format!("{seconds:.0} s (of the last call; what was finished before is not in it)")),
    ]
}

/// The processor's name, where the system tells it.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().to_string())
}

/// Today's date in UTC as YYYY-MM-DD.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of the proleptic Gregorian calendar from days since 1970-01-01, counting years from March so
/// that the leap day is a year's last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_command_and_the_commit_of_the_program() {
        let lines = lines("tradeoff --out first", 3.2);
        let of = |label: &str| lines.iter().find(|(name, _)| name == label).map(|(_, value)| value.as_str()).unwrap();
        assert_eq!(of("command"), "tradeoff --out first");
        assert!(of("version").ends_with(env!("RUSTC_VERSION")), "{}", of("version"));
        // Nothing where the sources are in no repository.
        if let Some(commit) = env!("COMMIT").strip_prefix(", commit ") {
            let id = commit.trim_end_matches(" with changes");
            assert!(id.len() >= 7 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
            assert!(of("version").contains(commit), "{}", of("version"));
        }
    }

    #[test]
    fn dates_around_leap_days_are_right() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
        assert_eq!(civil_from_days(11_017), (2000, 3, 1));
        assert_eq!(civil_from_days(20_778), (2026, 11, 21));
    }
}
