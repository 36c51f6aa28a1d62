//! Presets: everything that decides the results of an experiment, as one TOML file that a user can copy and edit.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::{Failure, LabError, Result};
use crate::input::read_text;

/// What an experiment is given.
pub trait Preset: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The presets that come with the program: name and text.
    const BUILT_IN: &'static [(&'static str, &'static str)];

    /// Checks every field.
    ///
    /// # Errors
    /// One line with the first field that is out of range.
    fn validate(&self) -> Result<(), Failure>;

    /// About how many bytes of this machine's memory its largest stage takes at least, where that can be counted from
    /// the fields, and the fields to make smaller. Refused before anything is computed if the machine has less.
    fn memory(&self) -> (u64, &'static str) {
        (0, "")
    }

    /// Stages at a time if the user does not say: the number of cores, unless a stage takes a device of its own.
    fn default_jobs(&self) -> NonZeroUsize {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// The built-in preset of that name, or the file at that path; not checked.
    ///
    /// # Errors
    /// One line with file and line, or the names that there are.
    fn read(name: &str) -> Result<Self> {
        read(name, Self::BUILT_IN)
    }

    /// The built-in preset of that name, or the file at that path, with changes; checked.
    ///
    /// # Errors
    /// One line with file and line, the change, or the field.
    fn find(name: &str, changes: &[Change]) -> Result<Self> {
        checked(with(&Self::read(name)?, changes)?)
    }

    /// The preset as TOML, in a form that [`find`](Self::find) reads.
    ///
    /// # Panics
    /// Not for a type that TOML can hold.
    fn to_toml(&self) -> String {
        toml::to_string(self).expect("a preset has only types that TOML knows")
    }
}

/// What the command line does to a field of a preset.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The field: a path such as `finetune.steps`. Tables of a list are found by their name (`methods.muon.rates`) or
    /// place (`runs.0`).
    pub path: String,
    /// What becomes of it.
    pub to: To,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum To {
    /// It gets a value.
    Value(Value),
    /// Of a list of names, or of tables with names, these are kept; of a list of groups of names, the groups that
    /// have no other. All of them must be there if `all` says so.
    Kept {
        /// The names.
        names: Vec<String>,
        /// Whether a name that is not there is refused.
        all: bool,
    },
    /// A list of tables with names, which may be left out where it is empty, gets one more; one of its name goes.
    Added(Table),
}

impl Change {
    /// A new value for the field at `path`.
    pub fn new(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), to: To::Value(value.into()) }
    }

    /// Keeps of the list at `path` what is named, see [`To::Kept`].
    pub fn keep(path: impl Into<String>, names: Vec<String>, all: bool) -> Self {
        Self { path: path.into(), to: To::Kept { names, all } }
    }

    /// Adds a table of texts, `name` among them, to the list at `path`, see [`To::Added`].
    pub fn add<const N: usize>(path: impl Into<String>, fields: [(&str, String); N]) -> Self {
        let table = fields.into_iter().map(|(name, text)| (name.to_string(), Value::String(text)));
        Self { path: path.into(), to: To::Added(table.collect()) }
    }

    /// Reads `path=value`. The value is TOML; what is not TOML counts as text.
    ///
    /// # Errors
    /// If there is no `=`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_flag("set", text)
    }

    /// As [`parse`](Self::parse), of the value of a flag of that name.
    pub(crate) fn parse_flag(flag: &str, text: &str) -> Result<Self> {
        let Some((path, value)) = text.split_once('=').filter(|(path, _)| !path.trim().is_empty()) else {
            return Err(LabError::value(flag, text, "KEY=VALUE"));
        };
        // A line end in it would begin another key, which is none of this one's value.
        let alone = toml::from_str::<Table>(&format!("value = {value}")).ok().filter(|table| table.len() == 1);
        let parsed = alone.and_then(|mut table| table.remove("value"));
        Ok(Self::new(path.trim(), parsed.unwrap_or_else(|| Value::String(value.to_owned()))))
    }
}

/// A preset from TOML; an error names `origin` and the line.
///
/// # Errors
/// [`LabError::ParsePreset`].
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count() + 1;
        let message = error.message().replace('\n', ", ");
        LabError::ParsePreset { origin: origin.into(), line, message }
    })
}

/// The built-in preset of that name, or the file at that path; not checked.
///
/// # Errors
/// One line with the file and line, or the names that there are.
pub fn read<T: DeserializeOwned>(name: &str, built_in: &[(&str, &str)]) -> Result<T> {
    match built_in.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => parse(text, &format!("preset {name}")),
        None if name.ends_with(".toml") => {
            let path = Path::new(name);
            let text = read_text(path).map_err(|source| LabError::ReadFile { path: path.into(), source })?;
            parse(&text, name)
        }
        None => {
            let known: Vec<&str> = built_in.iter().map(|(name, _)| *name).collect();
            Err(LabError::value("preset", name, format!("{} or the path of a .toml file", known.join(", "))))
        }
    }
}

/// The preset if all its fields are in range.
///
/// # Errors
/// One line with the first field that is not.
pub fn checked<P: Preset>(preset: P) -> Result<P> {
    // Whatever a field is: sums and products of such numbers do not overflow.
    bounded(&preset, &|field| if field.ends_with("seed") { i64::MAX } else { MOST })?;
    preset.validate().map_err(LabError::Experiment)?;
    Ok(preset)
}

/// The largest whole number of a field that has no bound of its own, but for the first of its seeds.
const MOST: i64 = i32::MAX as i64;

/// Refuses the first whole number that is above what `most` allows for its field, which is given with its path.
///
/// # Errors
/// One line with the field.
pub fn bounded<T: Serialize>(preset: &T, most: &dyn Fn(&str) -> i64) -> Result<()> {
    let table = Table::try_from(preset).map_err(|error| LabError::value("preset", error, "values in TOML"))?;
    table.iter().try_for_each(|(name, value)| bounded_at(name, value, most))
}

fn bounded_at(path: &str, value: &Value, most: &dyn Fn(&str) -> i64) -> Result<()> {
    match value {
        Value::Integer(number) if *number > most(path) => {
            Err(LabError::value(path, number, format!("at most {}", most(path))))
        }
        Value::Table(table) => {
            table.iter().try_for_each(|(name, value)| bounded_at(&format!("{path}.{name}"), value, most))
        }
        Value::Array(list) => list.iter().enumerate().try_for_each(|(place, value)| {
            let name = value.get("name").and_then(Value::as_str);
            bounded_at(&format!("{path}.{}", name.map_or_else(|| place.to_string(), str::to_string)), value, most)
        }),
        _ => Ok(()),
    }
}

/// What is expected where a path names no field.
const FIELD: &str = "a field of this preset (see --print-config)";

/// A preset with changes, not checked.
///
/// # Errors
/// If a field does not exist or a value does not fit, with the change.
pub fn with<T: Serialize + DeserializeOwned + Clone>(preset: &T, changes: &[Change]) -> Result<T> {
    let mut preset = preset.clone();
    for Change { path, to } in changes {
        let mut table = Table::try_from(&preset).map_err(|error| LabError::value(path, error, "a value in TOML"))?;
        let found = match to {
            To::Value(value) => {
                put(&mut table, path, value.clone()).ok_or_else(|| LabError::value(path, value, FIELD))?;
                value.to_string()
            }
            To::Kept { names, all } => {
                keep(&mut table, path, names, *all)?;
                names.join(", ")
            }
            To::Added(added) => {
                add(&mut table, path, added)?;
                added.to_string().trim_end().replace('\n', ", ")
            }
        };
        preset = table.try_into().map_err(|error: toml::de::Error| {
            let message = error.message().replace('\n', ", ");
            // The words of serde's `deny_unknown_fields`, which presets have.
            match message.contains("unknown field") {
                true => LabError::value(path, found, FIELD),
                false => LabError::value(path, found, format!("another value: {message}")),
            }
        })?;
    }
    Ok(preset)
}

/// Whether a preset has the field of a change, whatever value it is given.
pub fn has_field<T: Serialize + DeserializeOwned + Clone>(preset: &T, change: &Change) -> bool {
    match with(preset, std::slice::from_ref(change)) {
        Err(LabError::Value { expected, .. }) => expected != FIELD && expected != LIST,
        _ => true,
    }
}

/// What is expected where names are to be kept of something that is no list.
const LIST: &str = "a list of this preset";

/// Keeps of a list of the preset's outermost table what is named.
fn keep(table: &mut Table, path: &str, names: &[String], all: bool) -> Result<()> {
    let name_of = |item: &Value| item.get("name").unwrap_or(item).as_str().unwrap_or_default().to_string();
    let list = table.get_mut(path).and_then(Value::as_array_mut);
    let list = list.ok_or_else(|| LabError::value(path, names.join(", "), LIST))?;
    let known: Vec<String> = list.iter().map(name_of).collect();
    if let Some(unknown) = names.iter().find(|name| all && !known.contains(name)) {
        return Err(LabError::value(path, unknown, format!("one of this preset's: {}", known.join(", "))));
    }
    if let Some((_, twice)) = names.iter().enumerate().find(|(place, name)| all && names[..*place].contains(name)) {
        return Err(LabError::value(path, format!("{twice} twice"), "distinct names"));
    }
    let is_kept = |item: &Value| match item.as_array() {
        Some(group) => group.iter().all(|member| names.contains(&name_of(member))),
        None => names.contains(&name_of(item)),
    };
    list.retain(is_kept);
    Ok(())
}

/// Adds a table to a list of the preset's outermost table.
fn add(table: &mut Table, path: &str, added: &Table) -> Result<()> {
    let list = table.entry(path).or_insert_with(|| Value::Array(Vec::new()));
    let list = list.as_array_mut().ok_or_else(|| LabError::value(path, "a table", FIELD))?;
    list.retain(|item| item.get("name") != added.get("name"));
    list.push(Value::Table(added.clone()));
    Ok(())
}

/// The most parts of a field's path: tables are read and dropped one inside the other, each on the stack.
const MOST_PARTS: usize = 32;

/// Sets the field at a path, whose last part may be one that is left out where nothing is said.
fn put(table: &mut Table, path: &str, value: Value) -> Option<()> {
    if path.split('.').count() > MOST_PARTS {
        return None;
    }
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut place = table;
    let mut holder;
    if let Some(parents) = parents {
        let mut parts = parents.split('.').peekable();
        let first = parts.next()?;
        holder = place.entry(first).or_insert_with(|| Value::Table(Table::new()));
        for part in parts {
            holder = inside(holder, part)?;
        }
        match holder {
            Value::Table(inner) => place = inner,
            Value::Array(list) => {
                *list.get_mut(last.parse::<usize>().ok()?)? = value;
                return Some(());
            }
            _ => return None,
        }
    }
    // A whole number is a fine value for a field of fractions.
    let value = match (place.get(last), value) {
        (Some(Value::Float(_)), Value::Integer(x)) => Value::Float(x as f64),
        (_, value) => value,
    };
    place.insert(last.to_string(), value);
    Some(())
}

/// What a part of a path names in a table or a list.
fn inside<'a>(value: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match value {
        Value::Table(table) => Some(table.entry(part).or_insert_with(|| Value::Table(Table::new()))),
        Value::Array(list) => {
            let named = |item: &Value| item.get("name").and_then(Value::as_str) == Some(part);
            let place = list.iter().position(named).or_else(|| part.parse().ok())?;
            list.get_mut(place)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        steps: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        inner: Inner,
        methods: Vec<Method>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<std::collections::BTreeMap<String, String>>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        rate: f64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Method {
        name: String,
        rates: Vec<f64>,
    }

    fn outer() -> Outer {
        let method = |name: &str| Method { name: name.into(), rates: vec![0.1] };
        Outer {
            steps: 3,
            file: None,
            inner: Inner { rate: 0.5 },
            methods: vec![method("adamw"), method("muon")],
            runs: Vec::new(),
        }
    }

    fn changed(changes: &[&str]) -> Result<Outer> {
        let changes = changes.iter().map(|text| Change::parse(text)).collect::<Result<Vec<_>>>()?;
        with(&outer(), &changes)
    }

    #[test]
    fn a_change_reaches_its_field_and_no_other() {
        let found =
            changed(&["steps=7", "file=a.txt", "inner.rate=2", "methods.muon.rates=[0.2, 0.3]", "methods.0.name=x"]);
        let mut expected = Outer { steps: 7, file: Some("a.txt".into()), inner: Inner { rate: 2.0 }, ..outer() };
        expected.methods[1].rates = vec![0.2, 0.3];
        expected.methods[0].name = "x".into();
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn of_a_list_what_is_named_is_kept() {
        let keep = |names: &[&str], all| {
            let names = names.iter().map(|name| (*name).to_string()).collect();
            with(&outer(), &[Change::keep("methods", names, all)])
        };
        assert_eq!(keep(&["muon"], true).unwrap().methods, outer().methods[1..]);
        assert_eq!(keep(&["muon", "lion"], false).unwrap().methods, outer().methods[1..]);
        let message = keep(&["muon", "lion"], true).unwrap_err().to_string();
        assert_eq!(message, "methods: found lion, expected one of this preset's: adamw, muon");
        let groups: Table = toml::from_str("pairs = [['a', 'b'], ['a', 'c'], ['b', 'a']]").unwrap();
        let kept = with(&groups, &[Change::keep("pairs", vec!["a".into(), "b".into()], false)]).unwrap();
        assert_eq!(kept["pairs"].to_string(), r#"[["a", "b"], ["b", "a"]]"#);
    }

    #[test]
    fn a_table_is_added_to_a_list_and_takes_the_place_of_one_of_its_name() {
        let add = |name: &str| Change::add("runs", [("name", name.into()), ("file", "x".into())]);
        let runs = with(&outer(), &[add("a"), add("b"), add("a")]).unwrap().runs;
        assert_eq!(runs.iter().map(|run| run["name"].as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let message = with(&outer(), &[Change::add("list", [("name", "a".into())])]).unwrap_err().to_string();
        assert_eq!(message, "list: found name = \"a\", expected a field of this preset (see --print-config)");
        assert!(has_field(&outer(), &add("a")) && !has_field(&outer(), &Change::add("list", [("name", "a".into())])));
    }

    #[test]
    fn what_does_not_fit_is_one_line_with_the_field() {
        for (change, expected) in [
            ("steps", "set: found steps, expected KEY=VALUE"),
            ("stepz=3", "stepz: found 3, expected a field of this preset (see --print-config)"),
            ("inner.rat=3", "inner.rat: found 3, expected a field of this preset"),
            ("steps=-1", "steps: found -1"),
            ("steps=many", "steps: found \"many\""),
            ("methods.9.rates=[1]", "methods.9.rates: found [1], expected a field of this preset"),
            ("steps.more=1", "steps.more: found 1"),
        ] {
            let message = changed(&[change]).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{change}: {message}");
        }
    }

    #[test]
    fn a_field_is_there_whatever_value_it_is_given() {
        let has = |text: &str| has_field(&outer(), &Change::parse(text).unwrap());
        assert!(has("steps=3") && has("steps=-1") && has("file=x") && has("methods.muon.rates=[1]"));
        assert!(!has("seeds=3") && !has("inner.seeds=3") && !has("methods.lion.rates=[1]"));
        assert!(!has_field(&outer(), &Change::keep("tasks", vec!["code".into()], true)));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones_and_a_mistake_with_its_line() {
        let built_in = [("smoke", "steps = 1\n")];
        let message = read::<Outer>("smke", &built_in).unwrap_err().to_string();
        assert_eq!(message, "preset: found smke, expected smoke or the path of a .toml file");
        let message = parse::<Outer>("steps = 1\nstepz = 2\n", "my.toml").unwrap_err().to_string();
        assert!(message.starts_with("my.toml, line 2: unknown field `stepz`"), "{message}");
    }
}
