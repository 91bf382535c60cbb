//! Every model that a policy names, and where it does: one list for all who ask what a policy refers to.

use crate::api::RoutingPolicy;
use crate::api::routing_policy::{Fallback, RoutingPolicySpec, Target};
use crate::api::shadow::Shadow;
use crate::plan::names::{self, Key};

/// A model as a policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its namespace, where the policy says one.
    pub namespace: Option<&'a str>,
    /// The ModelDeployment's name.
    pub model: &'a str,
    /// One of its adapters.
    pub adapter: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// The ModelDeployment, for a policy of the namespace `own`.
    #[must_use]
    pub fn key(self, own: &str) -> Key {
        Key::new(self.namespace.unwrap_or(own), self.model)
    }

    /// The model, or `name:adapter` of it, for a policy of the namespace `own`.
    #[must_use]
    pub fn asked(self, own: &str) -> Key {
        Key::new(self.namespace.unwrap_or(own), names::asked(self.model, self.adapter))
    }

    /// What such a policy calls it.
    #[must_use]
    pub fn called(self, own: &str) -> String {
        self.asked(own).called_in(own)
    }

    /// One of the namespace of whoever names it.
    pub(super) fn at_home(model: &'a str, adapter: Option<&'a str>) -> Self {
        Self {
            namespace: None,
            model,
            adapter,
        }
    }
}

impl<'a> From<&'a Target> for Named<'a> {
    fn from(target: &'a Target) -> Self {
        let Target {
            model,
            namespace,
            adapter,
            weight: _,
        } = target;
        Self {
            namespace: namespace.as_deref(),
            model,
            adapter: adapter.as_deref(),
        }
    }
}

impl<'a> From<&'a Fallback> for Named<'a> {
    fn from(fallback: &'a Fallback) -> Self {
        let Fallback { model, namespace, adapter } = fallback;
        Self {
            namespace: namespace.as_deref(),
            model,
            adapter: adapter.as_deref(),
        }
    }
}

impl<'a> From<&'a Shadow> for Named<'a> {
    fn from(shadow: &'a Shadow) -> Self {
        let Shadow {
            model,
            namespace,
            adapter,
            percent: _,
            budget: _,
        } = shadow;
        Self {
            namespace: namespace.as_deref(),
            model,
            adapter: adapter.as_deref(),
        }
    }
}

/// Every model that the specification names, with its field, such as `spec.rules[0].targets[1]`.
#[must_use]
pub fn named(spec: &RoutingPolicySpec) -> Vec<(String, Named<'_>)> {
    let mut all: Vec<(String, Named<'_>)> = Vec::new();
    for (r, rule) in spec.rules.iter().enumerate() {
        all.extend(listed(&format!("spec.rules[{r}].targets"), &rule.targets));
        all.extend(listed(&format!("spec.rules[{r}].fallback"), &rule.fallback));
    }
    for (b, budget) in spec.budgets.iter().enumerate() {
        all.extend(listed(
            &format!("spec.budgets[{b}].onExhausted.targets"),
            &budget.on_exhausted.targets,
        ));
    }
    let spill = spec.warmup.as_ref().map(|warmup| warmup.targets.as_slice());
    all.extend(listed("spec.warmup.targets", spill.unwrap_or_default()));
    all.extend(listed("spec.shadow", &spec.shadow));
    all
}

/// Whether the policy names a model of another namespace.
pub(super) fn crosses(policy: &RoutingPolicy) -> bool {
    let own = Key::of(policy).namespace;
    named(&policy.spec)
        .into_iter()
        .any(|(_, named)| named.namespace.is_some_and(|namespace| namespace != own))
}

fn listed<'a, T>(list: &str, items: &'a [T]) -> impl Iterator<Item = (String, Named<'a>)>
where
    Named<'a>: From<&'a T>,
{
    items
        .iter()
        .enumerate()
        .map(move |(at, item)| (format!("{list}[{at}]"), Named::from(item)))
}
