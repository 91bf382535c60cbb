//! Which models policies of other namespaces may name. Whoever may write into a model's namespace permits it, by a ReferenceGrant there; what
//! nothing permits is forbidden.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::GROUP;
use crate::plan::names::Key;
use crate::plan::reference_grant::{self as gateway_api, GrantFrom, GrantTo};

/// The version that every release of the Gateway API has served so far.
const USUAL: &str = "v1beta1";

/// What all ReferenceGrants permit together, as far as it is about policies and models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The version of the kind that is served; `None`: the cluster does not have it.
    served: Option<&'static str>,
    /// The namespaces of policies, and those all of whose models they may name.
    all: BTreeSet<(String, String)>,
    /// The namespaces of policies, and models that they may name.
    some: BTreeSet<(String, Key)>,
}

impl Grants {
    /// Without any, where the kind is served in this version, or not at all.
    #[must_use]
    pub fn none(served: Option<&'static str>) -> Self {
        Self { served, ..Self::default() }
    }

    /// Adds what a grant of `namespace` permits.
    pub fn add(&mut self, namespace: &str, from: &[GrantFrom], to: &[GrantTo]) {
        let from = from.iter().filter(|from| from.group == GROUP && from.kind == "RoutingPolicy");
        for from in from.map(|from| &from.namespace) {
            for to in to.iter().filter(|to| to.group == GROUP && to.kind == "ModelDeployment") {
                match &to.name {
                    None => drop(self.all.insert((from.clone(), namespace.to_owned()))),
                    Some(name) => drop(self.some.insert((from.clone(), Key::new(namespace, name)))),
                }
            }
        }
    }

    /// Whether policies of the namespace `from` may name the ModelDeployment `to`. Nobody asks for leave at home.
    #[must_use]
    pub fn permits(&self, from: &str, to: &Key) -> bool {
        from == to.namespace
            || self.all.contains(&(from.to_owned(), to.namespace.clone()))
            || self.some.contains(&(from.to_owned(), to.clone()))
    }

    /// What there must be for [`permits`](Self::permits) to be true, as words that go on after a problem.
    #[must_use]
    pub fn remedy(&self, from: &str, to: &Key) -> String {
        let grant = grant(self.served.unwrap_or(USUAL), from, to);
        match self.served {
            Some(_) => format!("make it, as in {grant}"),
            None => format!(
                "this cluster has no ReferenceGrants: install the CRDs of the Gateway API (https://gateway-api.sigs.k8s.io), which is \
                 noticed within a minute, and make {grant}"
            ),
        }
    }
}

/// The grant, in one line of YAML. One for each pair, so that making one undoes no other: a namespace has no dot.
fn grant(version: &str, from: &str, to: &Key) -> String {
    let own = format!("{from}.{}", to.name);
    let own = text(&own);
    let (from, namespace, name) = (text(from), text(&to.namespace), text(&to.name));
    format!(
        "{{apiVersion: {}/{version}, kind: {}, metadata: {{name: {own}, namespace: {namespace}}}, spec: {{from: [{{group: {GROUP}, kind: \
         RoutingPolicy, namespace: {from}}}], to: [{{group: {GROUP}, kind: ModelDeployment, name: {name}}}]}}}}",
        gateway_api::GROUP,
        gateway_api::KIND
    )
}

/// The name of an object as YAML has texts: in quotes where it would be taken for a number or a boolean.
fn text(name: &str) -> Cow<'_, str> {
    let is_word = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&name);
    match is_word || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => format!("\"{name}\"").into(),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grants(namespace: &str, spec: &str) -> Grants {
        let spec: gateway_api::v1::ReferenceGrantSpec = serde_saphyr::from_str(spec).unwrap();
        let mut grants = Grants::none(Some("v1"));
        grants.add(namespace, &spec.from, &spec.to);
        grants
    }

    #[test]
    fn a_grant_is_for_what_it_says_and_for_nothing_else() {
        let from = "{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}";
        let to = "{group: llmportfolio.dev, kind: ModelDeployment}";
        let one = "{group: llmportfolio.dev, kind: ModelDeployment, name: llama}";
        let llama = Key::new("models", "llama");
        for (spec, permits) in [
            (format!("{{from: [{from}], to: [{to}]}}"), true),
            (format!("{{from: [{from}], to: [{one}]}}"), true),
            (format!("{{from: [{from}], to: [{}]}}", one.replace("llama", "gpt")), false),
            (format!("{{from: [{from}], to: [{}, {one}]}}", one.replace("llama", "gpt")), true),
            (
                format!("{{from: [{from}], to: [{}]}}", one.replace("name: llama", "name: ''")),
                false,
            ),
            (format!("{{from: [{}], to: [{to}]}}", from.replace("claims", "other")), false),
            (format!("{{from: [{}, {from}], to: [{to}]}}", from.replace("claims", "other")), true),
            (
                format!("{{from: [{}], to: [{to}]}}", from.replace("RoutingPolicy", "EvalJob")),
                false,
            ),
            (format!("{{from: [{}], to: [{to}]}}", from.replace("llmportfolio.dev", "''")), false),
            (
                format!("{{from: [{from}], to: [{}]}}", to.replace("ModelDeployment", "Service")),
                false,
            ),
            (
                format!("{{from: [{from}], to: [{}]}}", to.replace("llmportfolio.dev", "apps")),
                false,
            ),
            (format!("{{from: [], to: [{to}]}}"), false),
            (format!("{{from: [{from}], to: []}}"), false),
        ] {
            assert_eq!(grants("models", &spec).permits("claims", &llama), permits, "{spec}");
            assert!(
                !grants("elsewhere", &spec).permits("claims", &llama),
                "it speaks for its own namespace: {spec}"
            );
            assert!(!grants("models", &spec).permits("models-2", &llama), "{spec}");
        }
        let none = Grants::default();
        assert!(!none.permits("claims", &llama));
        assert!(none.permits("models", &llama), "nobody asks for leave at home");
    }

    proptest! {
        #[test]
        fn the_grant_that_is_advised_permits_that_reference_and_no_other(
            from in "[a-z0-9]{1,3}", other in "[a-z]{1,3}", namespace in "on|no|[a-z0-9]{1,3}", name in "y|1e3|[a-z0-9]([a-z.]{0,3}[a-z])?", is_served: bool,
        ) {
            let to = Key::new(&namespace, &name);
            let before = Grants::none(is_served.then_some("v1"));
            let remedy = before.remedy(&from, &to);
            let yaml = &remedy[remedy.find('{').unwrap()..];
            // By way of untyped values, as kubectl reads it.
            let untyped: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
            let made: gateway_api::v1::ReferenceGrant = serde_json::from_value(untyped).unwrap();
            let mut grants = before.clone();
            grants.add(made.metadata.namespace.as_deref().unwrap(), &made.spec.from, &made.spec.to);
            prop_assert!(grants.permits(&from, &to));
            prop_assert_eq!(grants.permits(&other, &to), other == from || other == namespace);
            let sibling = Key::new(&namespace, format!("{name}x"));
            prop_assert_eq!(grants.permits(&from, &sibling), from == namespace);
            prop_assert_eq!(before.permits(&from, &to), from == namespace);
        }
    }
}
