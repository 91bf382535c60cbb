//! What may be demanded of a model whatever it is asked, and whether it fulfils that. What is not known of it does not.

use std::fmt::Display;

use super::eligible::Reason;
use crate::api::data_class::DataClass;
use crate::api::model_deployment::{Class, Tier};
use crate::api::routing_policy::Requirements;
use crate::api::{ModelDeployment, Settings};

/// What a model is, as far as demands go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nature {
    /// How critical its work is.
    pub tier: Tier,
    /// Where it comes from.
    pub class: Class,
    /// Where it runs, if that is known.
    pub region: Option<String>,
    /// Whose law its operator is under, if that is known.
    pub jurisdiction: Option<String>,
}

impl Nature {
    /// Of an API what its spec declares; of our own pods what the installer says of the cluster.
    pub(super) fn of(md: &ModelDeployment, settings: &Settings) -> Self {
        let (region, jurisdiction) = match &md.spec.api {
            Some(api) => (&api.region, &md.spec.jurisdiction),
            None => (&settings.region, &settings.jurisdiction),
        };
        Self {
            tier: md.spec.tier,
            class: md.spec.class(),
            region: region.clone(),
            jurisdiction: jurisdiction.clone(),
        }
    }
}

/// What is demanded; an empty list demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    tiers: Vec<Tier>,
    classes: Vec<Class>,
    regions: Vec<String>,
    jurisdictions: Vec<String>,
}

impl From<&Requirements> for Demand {
    fn from(require: &Requirements) -> Self {
        Self {
            tiers: require.tiers.clone(),
            classes: require.classes.clone(),
            regions: require.regions.clone(),
            jurisdictions: require.jurisdictions.clone(),
        }
    }
}

impl From<&DataClass> for Demand {
    fn from(class: &DataClass) -> Self {
        Self {
            tiers: class.tiers.clone(),
            classes: class.classes.clone(),
            regions: class.regions.clone(),
            jurisdictions: class.jurisdictions.clone(),
        }
    }
}

impl Demand {
    /// The first demand that a model does not fulfil, in words that go on after its name: `has tier General, and the policy requires
    /// Regulated`. `whose` demands it.
    pub(super) fn unmet(&self, nature: &Nature, whose: impl Display) -> Option<(Reason, String)> {
        let Self {
            tiers,
            classes,
            regions,
            jurisdictions,
        } = self;
        let Nature {
            tier,
            class,
            region,
            jurisdiction,
        } = nature;
        if !tiers.is_empty() && !tiers.contains(tier) {
            let why = format!("has tier {tier}, and {whose} requires {}", or(tiers));
            return Some((Reason::TierNotAllowed, why));
        }
        if !classes.is_empty() && !classes.contains(class) {
            let why = format!("is of class {class}, and {whose} requires {}", or(classes));
            return Some((Reason::ClassNotAllowed, why));
        }
        if !is_one_of(region.as_deref(), regions) {
            let remedy = match class {
                Class::Api => "declare it in spec.api.region",
                Class::Open | Class::Custom => "the installer sets region",
            };
            let here = region.as_ref().map_or_else(
                || format!("runs in a region that is not known ({remedy})"),
                |region| format!("runs in {region}"),
            );
            return Some((Reason::RegionNotAllowed, format!("{here}, and {whose} requires {}", or(regions))));
        }
        if !is_one_of(jurisdiction.as_deref(), jurisdictions) {
            let remedy = match class {
                Class::Api => "declare it in spec.jurisdiction",
                Class::Open | Class::Custom => "the installer sets jurisdiction",
            };
            let here = jurisdiction.as_ref().map_or_else(
                || format!("has an operator under a law that is not known ({remedy})"),
                |law| format!("has an operator under the law of {law}"),
            );
            let why = format!("{here}, and {whose} requires {}", or(jurisdictions));
            return Some((Reason::JurisdictionNotAllowed, why));
        }
        None
    }
}

/// Whether it is demanded not at all, or is one of what is.
fn is_one_of(given: Option<&str>, demanded: &[String]) -> bool {
    demanded.is_empty() || given.is_some_and(|given| demanded.iter().any(|wanted| wanted.eq_ignore_ascii_case(given)))
}

fn or<T: ToString>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}
