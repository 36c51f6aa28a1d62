//! The grammar: stories and the sentences in which they tell a start, an operation, a question and a step.
//!
//! Slots are single words. In every sentence: `{name}` whom or what the story is about (from the second person on, in
//! a story that passes from person to person, `{prev}` is the person before), `{item}`, `{n}` a number; `{He}`, `{he}`,
//! `{him}`, `{his}` the pronoun of `{name}`; `{friend}` another person. In steps of the solution, `{calc}` is the
//! calculation, such as `12 + 5 = 17`.

/// How an operation is told.
pub(super) struct Wording {
    pub(super) template: &'static str,
    /// If set, the template says this operand in words (`half`, `doubles`) and has no `{n}`.
    pub(super) operand: Option<u32>,
}

const fn with_number(template: &'static str) -> Wording {
    Wording { template, operand: None }
}

const fn in_words(operand: u32, template: &'static str) -> Wording {
    Wording { template, operand: Some(operand) }
}

/// Whom a story is about.
pub(super) enum Cast {
    /// One person, the same throughout.
    Person,
    /// A person at the start and another one after each step.
    Relay,
    /// A thing, one of these, referred to as `it`.
    Thing(&'static [&'static str]),
}

/// A kind of situation.
pub(super) struct Story {
    pub(super) cast: Cast,
    pub(super) items: &'static [&'static str],
    pub(super) openings: &'static [&'static str],
    pub(super) add: &'static [Wording],
    pub(super) subtract: &'static [Wording],
    pub(super) multiply: &'static [Wording],
    pub(super) divide: &'static [Wording],
    pub(super) questions: &'static [&'static str],
    /// The sentence of a step in the solution: the first one, and the ones after it.
    pub(super) working: [&'static str; 2],
}

/// Names with whether the pronoun is `she`. No name is a slot's other word.
pub(super) const PEOPLE: [(&str, bool); 32] = [
    ("Tom", false),
    ("Ann", true),
    ("Sam", false),
    ("Mary", true),
    ("Ben", false),
    ("Eva", true),
    ("Max", false),
    ("Lin", true),
    ("Bob", false),
    ("Sue", true),
    ("Dan", false),
    ("Amy", true),
    ("Ali", false),
    ("Kim", true),
    ("Leo", false),
    ("Mia", true),
    ("Jack", false),
    ("Rose", true),
    ("Paul", false),
    ("Jane", true),
    ("Mark", false),
    ("Ruth", true),
    ("Ivan", false),
    ("Nina", true),
    ("Peter", false),
    ("Lucy", true),
    ("John", false),
    ("Sara", true),
    ("Omar", false),
    ("Emma", true),
    ("Hugo", false),
    ("Tina", true),
];

const SMALL_THINGS: &[&str] = &[
    "books", "cards", "keys", "boxes", "pens", "coins", "cups", "eggs", "balls", "toys", "maps", "notes", "stones",
    "cakes", "stamps", "shells", "nuts", "rings", "pins", "bags",
];

/// All stories.
pub(super) const STORIES: [Story; 7] = [
    // Things that a person has.
    Story {
        cast: Cast::Person,
        items: SMALL_THINGS,
        openings: &["{name} has {n} {item}.", "{name} starts with {n} {item}.", "At first {name} has {n} {item}."],
        add: &[
            with_number("{He} buys {n} more."),
            with_number("{He} finds {n} more."),
            with_number("{friend} gives {him} {n} more."),
            with_number("Then {he} gets {n} more from {friend}."),
        ],
        subtract: &[
            with_number("{He} gives {n} to {friend}."),
            with_number("{He} loses {n} of them."),
            with_number("Then {he} sells {n} of them."),
            with_number("{friend} takes {n} of them."),
        ],
        multiply: &[
            with_number("Now {he} gets enough to have {n} times as many."),
            with_number("Then {his} number of {item} becomes {n} times as large."),
            in_words(2, "Then {his} number of {item} doubles."),
        ],
        divide: &[
            with_number("{He} puts them in {n} equal groups and keeps one group."),
            with_number("{He} lays them in {n} equal rows and takes one row."),
            in_words(2, "{He} gives half of them away."),
        ],
        questions: &["How many {item} are there now?", "How many {item} is that in the end?"],
        working: ["There are {calc} {item}.", "Then there are {calc} {item}."],
    },
    // Money.
    Story {
        cast: Cast::Person,
        items: &["dollars", "euros", "pounds", "francs", "pesos", "cents"],
        openings: &["{name} has {n} {item} to spend.", "{name} has saved {n} {item}."],
        add: &[
            with_number("{He} earns {n} {item}."),
            with_number("{friend} pays {him} {n} {item}."),
            with_number("{He} saves {n} {item} more."),
        ],
        subtract: &[
            with_number("{He} spends {n} {item}."),
            with_number("{He} pays {n} {item} for food."),
            with_number("{He} lends {friend} {n} {item}."),
        ],
        multiply: &[
            with_number("{He} works until {he} has {n} times as much."),
            in_words(2, "{He} works until {he} has twice as much."),
        ],
        divide: &[
            with_number("{He} makes {n} equal parts of the money and keeps one part."),
            in_words(2, "{He} spends half of the money."),
        ],
        questions: &["How much money does {name} have now?", "How many {item} does {he} have in the end?"],
        working: ["{He} has {calc} {item}.", "Then {he} has {calc} {item}."],
    },
    // Passengers; the item is where they go.
    Story {
        cast: Cast::Thing(&["bus", "train", "ship", "boat", "plane", "tram"]),
        items: &["Rome", "Paris", "London", "Berlin", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Boston"],
        openings: &["A {name} to {item} leaves with {n} people.", "There are {n} people on a {name} to {item}."],
        add: &[with_number("{n} people get on."), with_number("At the next stop {n} more people get on.")],
        subtract: &[with_number("{n} people get off."), with_number("At the next stop {n} people get off.")],
        multiply: &[
            with_number("Then the number of people becomes {n} times as large."),
            in_words(2, "Then the number of people doubles."),
        ],
        divide: &[
            with_number("The people form {n} equal groups, and only one group stays."),
            in_words(2, "Half of the people get off."),
        ],
        questions: &["How many people are on the {name} now?", "How many people arrive in {item}?"],
        working: ["There are {calc} people.", "Then there are {calc} people."],
    },
    // A farm.
    Story {
        cast: Cast::Person,
        items: &["hens", "cows", "sheep", "ducks", "goats", "pigs", "horses", "geese"],
        openings: &["{name} keeps {n} {item}.", "There are {n} {item} on the farm of {name}."],
        add: &[with_number("{n} {item} are born."), with_number("{He} buys {n} {item} from {friend}.")],
        subtract: &[with_number("{n} of the {item} run away."), with_number("{He} sells {friend} {n} {item}.")],
        multiply: &[
            with_number("In a year there are {n} times as many."),
            in_words(2, "In a year there are twice as many."),
        ],
        divide: &[
            with_number("{He} makes {n} equal herds and keeps only one herd."),
            in_words(2, "{He} sells half of the {item}."),
        ],
        questions: &["How many {item} does {name} keep now?", "How many {item} are left on the farm?"],
        working: ["{name} keeps {calc} {item}.", "Then {he} keeps {calc} {item}."],
    },
    // A game.
    Story {
        cast: Cast::Person,
        items: &["points", "stars", "tokens", "gems"],
        openings: &["In a game {name} has {n} {item}.", "{name} plays a game and has {n} {item}."],
        add: &[with_number("{He} wins {n} {item}."), with_number("{He} is given {n} {item}.")],
        subtract: &[with_number("{He} loses {n} {item}."), with_number("{friend} takes {n} {item} from {him}.")],
        multiply: &[
            with_number("A lucky card makes it {n} times as many."),
            in_words(2, "A lucky card doubles {his} {item}."),
        ],
        divide: &[
            with_number("A bad card divides {his} {item} by {n}."),
            in_words(2, "A bad card leaves {him} half of {his} {item}."),
        ],
        questions: &["How many {item} does {name} have at the end?", "What is the number of {item} now?"],
        working: ["{name} has {calc} {item}.", "Then {he} has {calc} {item}."],
    },
    // Something that is filled and emptied.
    Story {
        cast: Cast::Thing(&["tank", "barrel", "pool", "pot", "tub", "can"]),
        items: &["water", "milk", "oil", "juice", "tea", "soup"],
        openings: &["A {name} holds {n} liters of {item}.", "There are {n} liters of {item} in a {name}."],
        add: &[with_number("{n} liters are added."), with_number("We pour in {n} more liters.")],
        subtract: &[with_number("{n} liters are used."), with_number("We take out {n} liters.")],
        multiply: &[
            with_number("We fill in more until there is {n} times as much."),
            in_words(2, "We fill in more until there is twice as much."),
        ],
        divide: &[
            with_number("We move it to {n} equal bottles and go on with one bottle."),
            in_words(2, "Half of it is used."),
        ],
        questions: &["How many liters are there now?", "How many liters of {item} are left?"],
        working: ["There are {calc} liters.", "Then there are {calc} liters."],
    },
    // Comparisons, from person to person.
    Story {
        cast: Cast::Relay,
        items: SMALL_THINGS,
        openings: &["{name} has {n} {item}.", "{name} owns {n} {item}."],
        add: &[with_number("{name} has {n} more than {prev}."), with_number("{prev} has {n} fewer than {name}.")],
        subtract: &[with_number("{name} has {n} fewer than {prev}."), with_number("{prev} has {n} more than {name}.")],
        multiply: &[
            with_number("{name} has {n} times as many as {prev}."),
            in_words(2, "{name} has twice as many as {prev}."),
        ],
        divide: &[
            with_number("{prev} has {n} times as many as {name}."),
            in_words(2, "{name} has half as many as {prev}."),
        ],
        questions: &["How many {item} does {name} have?"],
        working: ["{name} has {calc} {item}.", "{name} has {calc} {item}."],
    },
];
