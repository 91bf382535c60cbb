//! Which class of data a request carries, and which models may see it. The matrix is the installer's; whoever asks can only raise a class.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::demand::{Demand, Nature};
use super::eligible::Reason;
use super::guard::{self, Sight};
use crate::api::Settings;
use crate::plan::names::DATA_CLASS_LABEL;
use crate::protocol::identifiers::Kinds;

/// What the label of each namespace that has one says.
#[must_use]
pub fn labels(namespaces: &[Arc<Namespace>]) -> BTreeMap<String, String> {
    let said = namespaces.iter().filter_map(|namespace| {
        let label = namespace.labels().get(DATA_CLASS_LABEL)?;
        Some((namespace.name_any(), label.clone()))
    });
    said.collect()
}

/// Names the class of a request's data.
pub const DATA_CLASS_HEADER: &str = "x-data-class";

/// The classes of the installer, from the lowest to the highest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataClasses {
    classes: Vec<Known>,
    /// What data of a namespace without a label is.
    default: usize,
    detection: Option<Detection>,
}

/// What is looked for in the texts of requests, and the class that data has then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Detection {
    pub(super) kinds: Kinds,
    pub(super) class: DataClassId,
}

/// That the class of a request's data is higher than its labels and headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The class that it has.
    pub to: DataClassId,
    /// The one that it would have.
    pub from: Option<DataClassId>,
    /// What was seen.
    pub sight: Sight,
    /// Whether models behind an API do not get to see any of what was looked for: for them it is of the class that it would have.
    pub is_redacted: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    name: String,
    demand: Demand,
}

/// One of the classes; a greater one is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataClassId(usize);

/// A request names a class that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDataClass {
    /// What it names.
    pub given: String,
    /// Those there are, lowest first.
    pub known: Vec<String>,
}

impl DataClasses {
    /// Of the installer's settings. A default that is not among them is the highest: whoever misspells it must not open what is closed.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut levels: BTreeMap<(u32, &str), Known> = BTreeMap::new();
        for (name, class) in &settings.data_classes {
            let known = Known {
                name: name.clone(),
                demand: Demand::from(class),
            };
            levels.insert((class.level(name).unwrap_or(u32::MAX), name), known);
        }
        let classes: Vec<Known> = levels.into_values().collect();
        let highest = classes.len().saturating_sub(1);
        let default = settings.default_data_class.as_ref().map_or(0, |default| {
            classes.iter().position(|class| class.name == *default).unwrap_or(highest)
        });
        // A class that nobody knows is the highest, as above.
        let detection = settings
            .detection
            .as_ref()
            .filter(|_| !classes.is_empty())
            .map(|detection| Detection {
                kinds: guard::kinds(&detection.identifiers),
                class: DataClassId(
                    classes
                        .iter()
                        .position(|class| class.name == detection.data_class)
                        .unwrap_or(highest),
                ),
            });
        Self {
            classes,
            default,
            detection,
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<DataClassId> {
        self.classes.iter().position(|class| class.name == name).map(DataClassId)
    }

    /// What a namespace's label says; one that is misspelled says the highest class.
    #[must_use]
    pub fn labelled(&self, value: &str) -> Option<DataClassId> {
        let highest = self.classes.len().checked_sub(1)?;
        Some(self.named(value).unwrap_or(DataClassId(highest)))
    }

    /// The class of a request whose header says `given`, by a client and a policy whose labels say `labels`: the highest of them. The default
    /// stands for labels that are not there. `None` where the installer has no classes.
    ///
    /// # Errors
    /// When the header names no class that there is.
    pub fn of_request<'a>(
        &self,
        given: impl IntoIterator<Item = &'a str>,
        labels: impl IntoIterator<Item = Option<DataClassId>>,
    ) -> Result<Option<DataClassId>, UnknownDataClass> {
        let said = labels.into_iter().flatten().max();
        let mut class = said.or((!self.classes.is_empty()).then_some(DataClassId(self.default)));
        for name in given {
            let named = self.named(name.trim()).ok_or_else(|| UnknownDataClass {
                given: name.trim().to_owned(),
                known: self.names().map(str::to_owned).collect(),
            })?;
            class = class.max(Some(named));
        }
        Ok(class)
    }

    /// What is looked for.
    pub(super) fn detection(&self) -> Option<Detection> {
        self.detection
    }

    /// Their names, lowest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| class.name.as_str())
    }

    /// The name of a class.
    #[must_use]
    pub fn name(&self, DataClassId(at): DataClassId) -> &str {
        self.classes.get(at).map_or("", |class| class.name.as_str())
    }

    /// Why a model may not see data of this class, in words that go on after its name.
    pub(super) fn bars(&self, DataClassId(at): DataClassId, nature: &Nature) -> Option<(Reason, String)> {
        let class = self.classes.get(at)?;
        class.demand.unmet(nature, format_args!("data of class {}", class.name))
    }

    /// The classes whose data a model may not see, lowest first.
    pub(super) fn barred<'a>(&'a self, nature: &'a Nature) -> impl Iterator<Item = &'a str> {
        let out = self.classes.iter().filter(|class| class.demand.unmet(nature, "").is_some());
        out.map(|class| class.name.as_str())
    }
}
