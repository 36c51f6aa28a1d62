//! The grammar: stories and the sentences in which they tell a start, an operation, a question and a step.
//!
//! Slots are single words. In every sentence: `{name}` whom or what the story is about (from the second person on, in
//! a story that passes from person to person, `{prev}` is the person before), `{item}`, `{n}` a number; `{He}`, `{he}`,
//! `{him}`, `{his}` the pronoun of `{name}`; `{friend}` another person. In steps of the solution, `{calc}` is the
//! calculation, such as `12+5=17`.

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
        openings: &["{name} has {n} {item}.", "{name} owns {n} {item}.", "{name} takes {n} {item}."],
        add: &[
            with_number("{He} buys {n} more."),
            with_number("{He} finds {n} more."),
            with_number("{friend} gives {him} {n} more."),
            with_number("{He} gets {n} from {friend}."),
        ],
        subtract: &[
            with_number("{He} gives {n} to {friend}."),
            with_number("{He} loses {n} of them."),
            with_number("{He} sells {n} of them."),
            with_number("{friend} takes {n} of them."),
        ],
        multiply: &[
            with_number("Then {he} has {n} times as many."),
            with_number("The number is then {n} times as large."),
            in_words(2, "The number doubles."),
        ],
        divide: &[
            with_number("{He} makes {n} equal groups and keeps one."),
            with_number("Of {n} equal parts {he} keeps one."),
            in_words(2, "{He} gives half of them away."),
        ],
        questions: &["How many {item} are there now?", "How many does {he} have?"],
        working: ["There are {calc} {item}.", "Then {calc}."],
    },
    // Money.
    Story {
        cast: Cast::Person,
        items: &["dollars", "euros", "pounds", "francs", "pesos", "cents"],
        openings: &["{name} has {n} {item} to spend.", "{name} saved {n} {item}."],
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
        multiply: &[with_number("Work makes it {n} times as much."), in_words(2, "Work makes it twice as much.")],
        divide: &[with_number("{He} makes {n} equal parts and keeps one."), in_words(2, "{He} spends half of it.")],
        questions: &["How much does {name} have now?", "How many {item} are left?"],
        working: ["{He} has {calc} {item}.", "Then {calc}."],
    },
    // Passengers; the item is where they go.
    Story {
        cast: Cast::Thing(&["bus", "train", "ship", "boat", "plane", "tram"]),
        items: &["Rome", "Paris", "London", "Berlin", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Boston"],
        openings: &["A {name} to {item} has {n} people.", "On a {name} to {item} are {n} people."],
        add: &[with_number("{n} people get on."), with_number("Then {n} more get on.")],
        subtract: &[with_number("{n} people get off."), with_number("Then {n} of them get off.")],
        multiply: &[with_number("The number is then {n} times as large."), in_words(2, "The number doubles.")],
        divide: &[with_number("Of {n} equal groups only one stays."), in_words(2, "Half of them get off.")],
        questions: &["How many are on the {name} now?", "How many people get to {item}?"],
        working: ["There are {calc} people.", "Then {calc}."],
    },
    // A farm.
    Story {
        cast: Cast::Person,
        items: &["hens", "cows", "sheep", "ducks", "goats", "pigs", "horses", "geese"],
        openings: &["{name} keeps {n} {item}.", "The farm of {name} has {n} {item}."],
        add: &[with_number("{n} more are born."), with_number("{He} buys {n} from {friend}.")],
        subtract: &[with_number("{n} of them run away."), with_number("{He} sells {n} to {friend}.")],
        multiply: &[with_number("Then there are {n} times as many."), in_words(2, "Then there are twice as many.")],
        divide: &[with_number("Of {n} equal groups {he} keeps one."), in_words(2, "{He} sells half of them.")],
        questions: &["How many {item} are there now?", "How many does {name} keep now?"],
        working: ["{name} keeps {calc} {item}.", "Then {calc}."],
    },
    // A game.
    Story {
        cast: Cast::Person,
        items: &["points", "stars", "tokens", "gems"],
        openings: &["In a game {name} has {n} {item}.", "{name} plays with {n} {item}."],
        add: &[with_number("{He} wins {n} more."), with_number("{He} is given {n} {item}.")],
        subtract: &[with_number("{He} loses {n} {item}."), with_number("{friend} takes {n} from {him}.")],
        multiply: &[with_number("A good move makes it {n} times as many."), in_words(2, "A good move doubles it.")],
        divide: &[with_number("A bad move divides it by {n}."), in_words(2, "A bad move leaves half of it.")],
        questions: &["How many {item} does {name} have?", "How many {item} at the end?"],
        working: ["{name} has {calc} {item}.", "Then {calc}."],
    },
    // Something that is filled and emptied.
    Story {
        cast: Cast::Thing(&["tank", "barrel", "pool", "pot", "tub", "can"]),
        items: &["water", "milk", "oil", "juice", "tea", "soup"],
        openings: &["A {name} holds {n} liters of {item}.", "In a {name} are {n} liters of {item}."],
        add: &[with_number("{n} liters are added."), with_number("We add {n} more.")],
        subtract: &[with_number("{n} liters are used."), with_number("We take out {n}.")],
        multiply: &[with_number("We make it {n} times as much."), in_words(2, "We make it twice as much.")],
        divide: &[with_number("Of {n} equal parts we keep one."), in_words(2, "Half of it is used.")],
        questions: &["How many liters are there now?", "How much {item} is left?"],
        working: ["There are {calc} liters.", "Then {calc}."],
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
        working: ["{name} has {calc} {item}.", "{name} has {calc}."],
    },
];
