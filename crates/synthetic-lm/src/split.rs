//! Training and test instances that are disjoint by construction, across all seeds.
//!
//! The instances of a task are numbered `0..size`. A permutation that depends on the task alone, never on the user's
//! seed, sends the first fifth of its positions to the test side and the rest to the training side. A seed then chooses
//! an order within each side and takes as many as are wanted from the front. So no test instance is ever a training
//! instance of any seed, no instance appears twice, the number available is known exactly, and a larger request begins
//! with the smaller one.

use std::fmt;

use rand::RngExt;

use crate::Error;
use crate::permutation::Permutation;
use crate::random;

/// One instance group in this many belongs to the test side.
const TEST_ONE_IN: u128 = 5;

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Instances to train on.
    Train,
    /// Instances to test on.
    Test,
}

impl Side {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A numbered set of instances, parted into a training and a test side.
#[derive(Debug, Clone)]
pub struct SplitSpace {
    /// Groups that stay together on one side.
    groups: u128,
    /// Instances in each group.
    members: u128,
    test_groups: u128,
    parting: Permutation,
}

impl SplitSpace {
    /// `groups * members` instances; instance `i` is in group `i / members`, and a group is never divided between the
    /// sides. `name` identifies the set: the same name and sizes give the same sides always.
    pub fn new(groups: u128, members: u128, name: &str) -> Self {
        Self {
            groups,
            members,
            test_groups: groups / TEST_ONE_IN,
            parting: Permutation::new(groups, random::derive(0, name)),
        }
    }

    /// The number of instances on a side.
    pub fn available(&self, side: Side) -> u128 {
        self.members
            * match side {
                Side::Train => self.groups - self.test_groups,
                Side::Test => self.test_groups,
            }
    }

    /// The instances of `side` in the order that `seed` chooses.
    pub fn order(&self, side: Side, seed: u64) -> Order<'_> {
        Order { space: self, side, order: Permutation::new(self.available(side), seed) }
    }
}

/// The instances of one side in the order of one seed.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    space: &'a SplitSpace,
    side: Side,
    order: Permutation,
}

impl Order<'_> {
    /// The number of the instance at `position`, which must be below the side's [`SplitSpace::available`].
    pub fn instance(&self, position: u128) -> u128 {
        let slot = self.order.apply(position);
        let (group_slot, member) = (slot / self.space.members, slot % self.space.members);
        let first = match self.side {
            Side::Train => self.space.test_groups,
            Side::Test => 0,
        };
        self.space.parting.apply(first + group_slot) * self.space.members + member
    }
}

/// An instance drawn by [`draw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Drawn {
    /// Position of the class in the argument of [`draw`].
    pub class: usize,
    /// Position of the space within its class.
    pub space: usize,
    /// The number of the instance within its space.
    pub instance: u128,
}

/// A space that still has instances to draw.
struct Source<'a> {
    class: usize,
    index: usize,
    space: &'a SplitSpace,
    /// Made when first needed.
    order: Option<Order<'a>>,
    position: u128,
}

/// Draws `n` distinct instances of one side. Classes are drawn equally often, and the spaces within a class equally
/// often, as long as they last: small spaces are not drowned by large ones.
///
/// # Errors
/// [`Error::TooFewInstances`] in the name of `task` if fewer than `n` exist.
pub fn draw(
    task: &'static str,
    classes: &[Vec<SplitSpace>],
    side: Side,
    seed: u64,
    n: usize,
) -> Result<Vec<Drawn>, Error> {
    let available = classes.iter().flatten().map(|space| space.available(side)).sum();
    if n as u128 > available {
        return Err(Error::TooFewInstances { task, side: side.name(), asked: n, available });
    }
    let mut rng = random::stream(seed, &format!("{task} {side} draw"));
    let mut live: Vec<Vec<Source<'_>>> = classes
        .iter()
        .enumerate()
        .map(|(class, spaces)| {
            let sources = spaces.iter().enumerate().map(|(index, space)| Source {
                class,
                index,
                space,
                order: None,
                position: 0,
            });
            sources.filter(|source| source.space.available(side) > 0).collect()
        })
        .filter(|sources: &Vec<_>| !sources.is_empty())
        .collect();
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n {
        let at_class = rng.random_range(0..live.len());
        let sources = &mut live[at_class];
        let at_source = rng.random_range(0..sources.len());
        let Source { class, index, space, order, position } = &mut sources[at_source];
        let order = order.get_or_insert_with(|| {
            space.order(side, random::derive(seed, &format!("{task} {side} order {class} {index}")))
        });
        drawn.push(Drawn { class: *class, space: *index, instance: order.instance(*position) });
        *position += 1;
        if *position == space.available(side) {
            sources.swap_remove(at_source);
            if sources.is_empty() {
                live.swap_remove(at_class);
            }
        }
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_two_sides_part_all_instances(groups in 1u128..6000, members in 1u128..4, seeds: (u64, u64)) {
            let space = SplitSpace::new(groups, members, "test");
            let side = |side, seed| -> BTreeSet<u128> {
                let order = space.order(side, seed);
                (0..space.available(side)).map(|position| order.instance(position)).collect()
            };
            let (train, test) = (side(Side::Train, seeds.0), side(Side::Test, seeds.1));
            prop_assert!(train.is_disjoint(&test));
            prop_assert_eq!((train.len() + test.len()) as u128, groups * members);
            let groups_of = |instances: &BTreeSet<u128>| instances.iter().map(|i| i / members).collect::<BTreeSet<_>>();
            prop_assert!(groups_of(&train).is_disjoint(&groups_of(&test)));
        }

        #[test]
        fn draws_are_distinct_nested_and_exhaustive(sizes in proptest::collection::vec(1u128..60, 1..6), seed: u64) {
            let classes: Vec<Vec<SplitSpace>> = sizes.iter().map(|&n| vec![SplitSpace::new(n, 1, "a"), SplitSpace::new(2 * n, 1, "b")]).collect();
            for side in [Side::Train, Side::Test] {
                let all: usize = classes.iter().flatten().map(|space| space.available(side) as usize).sum();
                let drawn = draw("test", &classes, side, seed, all).unwrap();
                prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), all);
                prop_assert_eq!(&draw("test", &classes, side, seed, all / 2).unwrap(), &drawn[..all / 2]);
                let error = draw("test", &classes, side, seed, all + 1).unwrap_err();
                prop_assert_eq!(error, Error::TooFewInstances { task: "test", side: side.name(), asked: all + 1, available: all as u128 });
            }
        }
    }

    #[test]
    fn small_spaces_are_not_drowned() {
        let classes = [vec![SplitSpace::new(1000, 1, "small")], vec![SplitSpace::new(1 << 40, 1, "large")]];
        let drawn = draw("test", &classes, Side::Train, 1, 1000).unwrap();
        let small = drawn.iter().filter(|d| d.class == 0).count();
        // Binomial(1000, 1/2): 5 standard deviations are 79.
        assert!(small.abs_diff(500) < 79, "{small}");
    }
}
