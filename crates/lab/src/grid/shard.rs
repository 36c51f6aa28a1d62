//! Where a process begins, of several that work through the same grid.

use std::fmt;
use std::str::FromStr;

/// One of several processes that work through the same grid on one store. All of them do whatever is left to do; each
/// begins at another place, so that they do not ask for the same stages all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    index: u64,
    /// Of how many.
    of: u64,
}

impl Shard {
    /// The task of a Slurm job array that this process is, as its environment says; `variable` reads it.
    pub fn of_array(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<u64>().ok();
        let of = number("SLURM_ARRAY_TASK_COUNT").filter(|&count| count > 0)?;
        let first = number("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
        let step = number("SLURM_ARRAY_TASK_STEP").unwrap_or(1).max(1);
        let place = number("SLURM_ARRAY_TASK_ID")?.checked_sub(first)? / step;
        Some(Self { index: place % of, of })
    }

    /// A place of `count`, counted from where this process begins.
    pub(super) fn turned(self, place: u64, count: u64) -> u64 {
        if count == 0 {
            return place;
        }
        let start = u128::from(self.index) * u128::from(count) / u128::from(self.of);
        // Below `count`.
        ((u128::from(place) + u128::from(count) - start) % u128::from(count)) as u64
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `2/4`, the second of four.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        match parts {
            Some((place, of)) if (1..=of).contains(&place) => Ok(Self { index: place - 1, of }),
            _ => Err("expected I/N with I from 1 to N, as in 2/4".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(variables: &[(&str, &str)]) -> Option<String> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string());
        Shard::of_array(of).map(|shard| shard.to_string())
    }

    #[test]
    fn the_task_of_an_array_is_counted_from_its_first() {
        let of = |id, min, step| {
            let (id, min) = (("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_MIN", min));
            array(&[id, min, ("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_STEP", step)])
        };
        assert_eq!(of("0", "0", "1").as_deref(), Some("1/4"));
        assert_eq!(of("13", "10", "1").as_deref(), Some("4/4"));
        assert_eq!(of("6", "0", "2").as_deref(), Some("4/4"));
        // Of a list such as 1,9,20,40 only the number of tasks is known.
        assert_eq!(of("40", "1", "1").as_deref(), Some("4/4"));
        assert_eq!(array(&[("SLURM_ARRAY_TASK_ID", "3")]), None);
        assert_eq!(of("3", "5", "1"), None);
        assert_eq!(of("many", "0", "1"), None);
    }

    #[test]
    fn shards_begin_at_places_of_equal_distance_and_go_all_the_way_round() {
        let first =
            |shard: &str| (0..10).min_by_key(|&place| shard.parse::<Shard>().unwrap().turned(place, 10)).unwrap();
        assert_eq!(["1/4", "2/4", "3/4", "4/4"].map(first), [0, 2, 5, 7]);
        let shard: Shard = "3/7".parse().unwrap();
        let mut turned: Vec<u64> = (0..10).map(|place| shard.turned(place, 10)).collect();
        turned.sort_unstable();
        assert_eq!(turned, (0..10).collect::<Vec<_>>());
        let last = format!("{}/{}", u64::MAX, u64::MAX).parse::<Shard>().unwrap();
        assert_eq!(last.turned(9, 10), 0);
    }

    #[test]
    fn no_such_shard_is_refused() {
        for text in ["", "0/4", "5/4", "1", "1/0", "-1/2", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
