//! Classes of data: which models may see what. The installer's decision, for every policy.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::model_deployment::{Class, Tier};

/// One class of data, such as `Personal`, and which models may see it. What is not written is not required; what is unknown of a model does
/// not fulfil what is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataClass {
    /// How much it needs to be protected: of several classes that a request could have, the one with the highest level is its class. Default
    /// for `Public`, `Internal`, `Personal` and `Special`: 0, 10, 20 and 30. Other names need one, and no two classes have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// The classes of models that may see it, such as `[Open, Custom]`. Default: any.
    pub classes: Vec<Class>,
    /// The tiers of models that may see it, such as `[Regulated, MissionCritical]`. Default: any.
    pub tiers: Vec<Tier>,
    /// The regions that models which see it may be in, such as `[eu]`. Default: any.
    pub regions: Vec<String>,
    /// The jurisdictions that operators of models which see it may be under, such as `[EU]`. Default: any.
    pub jurisdictions: Vec<String>,
}

/// The levels that need not be written.
const LEVELS: [(&str, u32); 4] = [("Public", 0), ("Internal", 10), ("Personal", 20), ("Special", 30)];

impl DataClass {
    /// Its level, under this name; `None` where it must be written and is not.
    #[must_use]
    pub fn level(&self, name: &str) -> Option<u32> {
        let known = LEVELS.iter().find(|(known, _)| *known == name);
        self.level.or(known.map(|(_, level)| *level))
    }
}

/// Reads the classes of the settings, whose order must be clear.
///
/// # Errors
/// When a class has no level, or the same as another.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, DataClass>, D::Error> {
    let classes = Option::<BTreeMap<String, DataClass>>::deserialize(from)?.unwrap_or_default();
    let mut levels: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, class) in &classes {
        if !is_name(name) {
            let rule = "1 to 63 letters, digits, '-', '_' and '.', as in a label's value";
            return Err(D::Error::custom(format!("the data class {name:?} needs another name: {rule}")));
        }
        let Some(level) = class.level(name) else {
            return Err(D::Error::custom(format!(
                "the data class {name:?} needs a level, which says whether it is above or below others: Public has 0, Internal 10, Personal 20, Special 30"
            )));
        };
        if let Some(other) = levels.insert(level, name) {
            return Err(D::Error::custom(format!(
                "the data classes {other:?} and {name:?} have the same level {level}: give one of them another, so that it is clear which is higher"
            )));
        }
    }
    Ok(classes)
}

/// Whether it can be the value of a label.
fn is_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
