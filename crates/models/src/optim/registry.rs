//! What one line of registration gives a rule: its module, its place in every list, its table in presets.

/// Declares the rules, one to a line: `name: Type = "doc";`. The name is that of the file, of
/// [`Rule::NAME`](super::Rule::NAME) and of the type in lower case.
///
/// The order of the lines is the order of [`RuleName::ALL`](super::RuleName::ALL); nothing else depends on it.
macro_rules! rules {
    ($($name:ident: $Rule:ident = $doc:literal;)+) => {
        $(
            mod $name;
            pub use $name::$Rule;
        )+

        /// An update rule with its hyperparameters, as it stands in a preset.
        #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "name", rename_all = "lowercase")]
        pub enum RuleConfig {
            $(
                #[doc = $doc]
                $Rule($Rule),
            )+
        }

        impl RuleConfig {
            /// Which rule it is.
            pub fn name(&self) -> RuleName {
                match self {
                    $(Self::$Rule(_) => RuleName::$Rule,)+
                }
            }

            /// The rule, after a check of its hyperparameters.
            ///
            /// # Errors
            /// [`Error::Config`](crate::Error::Config) with the first hyperparameter that is out of range.
            pub fn rule(self) -> $crate::Result<Box<dyn UpdateRule>> {
                Ok(match self {
                    $(Self::$Rule(rule) => Box::new(rule.checked()?),)+
                })
            }

            /// The weight decay.
            pub fn weight_decay(&self) -> f64 {
                match self {
                    $(Self::$Rule(rule) => rule.weight_decay(),)+
                }
            }

            /// The same rule with this weight decay.
            #[must_use]
            pub fn with_weight_decay(self, weight_decay: f64) -> Self {
                match self {
                    $(Self::$Rule(rule) => Self::$Rule(rule.with_weight_decay(weight_decay)),)+
                }
            }
        }

        /// The name of an update rule, as presets, flags and files spell it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum RuleName {
            $(
                #[doc = $doc]
                $Rule,
            )+
        }

        impl RuleName {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$Rule),+];

            /// The name in lower case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Rule => <$Rule as Rule>::NAME,)+
                }
            }

            /// Whether the rule takes matrices only ([`UpdateRule::matrices_only`]).
            pub fn matrices_only(self) -> bool {
                match self {
                    $(Self::$Rule => $Rule::default().matrices_only(),)+
                }
            }
        }

        /// Hyperparameters of every rule but its weight decay; a rule that is not named has its defaults.
        ///
        /// It serves as a table of presets. Weight decay is 0 here, because whoever holds the table has one for all
        /// rules.
        #[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Hyperparameters {
            $(
                #[doc = $doc]
                #[serde(skip_serializing_if = "registry::is_default")]
                pub $name: $Rule,
            )+
        }

        impl Hyperparameters {
            /// The rule called `name` with these hyperparameters.
            pub fn rule(&self, name: RuleName, weight_decay: f64) -> RuleConfig {
                match name {
                    $(RuleName::$Rule => RuleConfig::$Rule(self.$name.with_weight_decay(weight_decay)),)+
                }
            }

            /// Checks every field.
            ///
            /// # Errors
            /// The path of the first field that is out of range (`muon.momentum`), or of a weight decay that is not 0,
            /// with its [`Error::Config`](crate::Error::Config).
            pub fn validate(&self) -> Result<(), (String, $crate::Error)> {
                $(registry::validate(self.$name)?;)+
                Ok(())
            }
        }
    };
}

use super::{Rule, RuleConfig, RuleName};
use crate::error::one_of;
use crate::{Error, Result};

/// Whether a table can be left out of a file.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Checks one rule of [`Hyperparameters`](super::Hyperparameters).
pub(super) fn validate<R: Rule>(rule: R) -> Result<(), (String, Error)> {
    let at_path = |error| match error {
        Error::Config { field, .. } => (format!("{}.{field}", R::NAME), error),
        _ => (R::NAME.to_string(), error),
    };
    if rule.weight_decay() != 0.0 {
        let expected = "0 here: it is a setting of the stage, for all optimizers";
        return Err(at_path(Error::config("weight-decay", rule.weight_decay(), expected)));
    }
    rule.checked().map(drop).map_err(at_path)
}

impl RuleConfig {
    /// The same rule without weight decay.
    #[must_use]
    pub fn without_decay(self) -> Self {
        self.with_weight_decay(0.0)
    }

    /// Whether the rule takes matrices only ([`UpdateRule::matrices_only`](super::UpdateRule::matrices_only)).
    pub fn matrices_only(&self) -> bool {
        self.name().matrices_only()
    }
}

impl super::Hyperparameters {
    /// The rule for what is no hidden matrix: `name` itself if it takes any parameter, AdamW otherwise.
    pub fn rest(&self, name: RuleName, weight_decay: f64) -> RuleConfig {
        let rest = if name.matrices_only() { RuleName::AdamW } else { name };
        self.rule(rest, weight_decay)
    }
}

impl std::fmt::Display for RuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for RuleName {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with all names if `text` is none of them.
    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.iter().copied().find(|name| name.as_str() == text);
        known.ok_or_else(|| Error::config("optimizer", text, one_of(Self::ALL)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hyperparameters, Muon};
    use super::*;

    #[test]
    fn a_rule_has_one_name_in_its_file_in_presets_and_on_the_command_line() {
        for &name in RuleName::ALL {
            let text = name.as_str();
            assert_eq!(format!("{name:?}").to_lowercase(), text);
            assert_eq!(text.parse::<RuleName>().unwrap(), name);
            assert_eq!(serde_json::to_value(name).unwrap(), text);
            let rule = Hyperparameters::default().rule(name, 0.25);
            assert_eq!((rule.name(), rule.weight_decay()), (name, 0.25));
            let table = serde_json::to_value(rule).unwrap();
            assert_eq!((&table["name"], &table["weight-decay"]), (&text.into(), &0.25.into()));
            assert_eq!(serde_json::from_value::<RuleConfig>(table).unwrap(), rule);
        }
        let message = "adam".parse::<RuleName>().unwrap_err().to_string();
        assert!(message.starts_with("optimizer: found adam, expected one of adamw, muon, sgd"), "{message}");
    }

    #[test]
    fn what_takes_matrices_only_leaves_the_rest_to_adamw() {
        let table = Hyperparameters::default();
        for &name in RuleName::ALL {
            let rest = table.rest(name, 0.1);
            assert!(!rest.matrices_only(), "{name}");
            assert_eq!(rest.name() == name, !name.matrices_only() || name == RuleName::AdamW);
            assert_eq!(rest.weight_decay(), 0.1);
        }
        assert!(RuleName::Muon.matrices_only() && !RuleName::AdamW.matrices_only());
    }

    #[test]
    fn a_table_names_only_what_differs_and_refuses_what_it_does_not_know() {
        assert_eq!(serde_json::to_string(&Hyperparameters::default()).unwrap(), "{}");
        let table: Hyperparameters = serde_json::from_str(r#"{"muon": {"momentum": 0.5}}"#).unwrap();
        assert_eq!(table, Hyperparameters { muon: Muon { momentum: 0.5, ..Muon::default() }, ..Default::default() });
        for unknown in [r#"{"adam": {}}"#, r#"{"muon": {"beta": 0.5}}"#] {
            assert!(serde_json::from_str::<Hyperparameters>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_field_out_of_range_is_named_by_its_path() {
        let path = |text: &str| serde_json::from_str::<Hyperparameters>(text).unwrap().validate().unwrap_err().0;
        assert!(Hyperparameters::default().validate().is_ok());
        assert_eq!(path(r#"{"muon": {"momentum": 1.0}}"#), "muon.momentum");
        for name in RuleName::ALL {
            assert_eq!(path(&format!(r#"{{"{name}": {{"weight-decay": 0.1}}}}"#)), format!("{name}.weight-decay"));
        }
    }
}
