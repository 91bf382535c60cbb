//! Which objects of a kind are meant, by their labels.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::{Expression, Selector as Query, SelectorExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label's key: a name, and a domain before it where it has one.
const KEY: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A label's value.
const VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// Labels that an object must have, all of them. Without any, every object is meant.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(key, key.size() <= 317)")
    .message("a label's key has at most 317 characters").field_path(".matchLabels"))]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": VALUE}))]
    pub match_labels: BTreeMap<String, String>,
    /// What else must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// What must hold of one label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)")
    .message("In and NotIn have values, Exists and DoesNotExist have none").field_path(".values"))]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317), regex(pattern = KEY))]
    pub key: String,
    /// What holds of its value.
    pub operator: Operator,
    /// The values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63), regex(pattern = VALUE)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub values: Vec<String>,
}

/// What holds of a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// It is one of the values.
    In,
    /// It is none of them, or there is no such label.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self
            .match_labels
            .iter()
            .map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
        let others = self.match_expressions.iter().map(|wanted| {
            let (key, values) = (wanted.key.clone(), wanted.values.iter().cloned().collect());
            match wanted.operator {
                Operator::In => Expression::In(key, values),
                Operator::NotIn => Expression::NotIn(key, values),
                Operator::Exists => Expression::Exists(key),
                Operator::DoesNotExist => Expression::DoesNotExist(key),
            }
        });
        Query::from_iter(equal.chain(others)).matches(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &str) -> bool {
        let selector: Selector = serde_saphyr::from_str(selector).unwrap();
        selector.matches(&serde_saphyr::from_str(labels).unwrap())
    }

    #[test]
    fn all_that_is_said_must_hold() {
        for (selector, labels, wanted) in [
            ("{}", "{}", true),
            ("{matchLabels: {tier: regulated}}", "{tier: regulated, a: b}", true),
            ("{matchLabels: {tier: regulated}}", "{tier: general}", false),
            ("{matchLabels: {tier: regulated, a: b}}", "{tier: regulated}", false),
            ("{matchExpressions: [{key: tier, operator: In, values: [a, b]}]}", "{tier: b}", true),
            (
                "{matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}",
                "{tier: b}",
                false,
            ),
            ("{matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}", "{}", true),
            ("{matchExpressions: [{key: tier, operator: Exists}]}", "{}", false),
            ("{matchExpressions: [{key: tier, operator: DoesNotExist}]}", "{tier: b}", false),
        ] {
            assert_eq!(matches(selector, labels), wanted, "{selector} {labels}");
        }
    }
}
