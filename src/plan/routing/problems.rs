//! What is wrong with a policy in itself that the API server cannot see: a condition says it, and what the policy said before holds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::data_class::DataClasses;
use super::expression::Expression;
use super::named::Named;
use super::shadow;
use crate::api::budget::{self, Action};
use crate::api::routing_policy::RoutingPolicySpec;
use crate::plan::Invalid;
use crate::plan::ledger::Budget;
use crate::plan::names::Key;

/// Everything that keeps the specification from being carried out, in a policy of the namespace `own` under these classes of data.
pub(super) fn of(spec: &RoutingPolicySpec, own: &str, classes: &DataClasses) -> Vec<Invalid> {
    let mut problems = of_budgets(spec, own);
    problems.extend(of_shadows(spec, own));
    for (at, rule) in spec.rules.iter().enumerate() {
        let Some(when) = &rule.when else { continue };
        let unknown = when
            .data_classes
            .iter()
            .enumerate()
            .filter(|(_, name)| classes.named(name).is_none());
        problems.extend(unknown.map(|(index, name)| {
            let known: Vec<&str> = classes.names().collect();
            let remedy = match known.as_slice() {
                [] => "have the installer set dataClasses, or remove it".to_owned(),
                known => format!("name one of {}, or have the installer add it to dataClasses", known.join(", ")),
            };
            let field = format!("spec.rules[{at}].when.dataClasses[{index}]");
            Invalid::new(field, format!("{name:?} is no class of data that the installer has set"), remedy)
        }));
        if let Some(Err(problem)) = when.expression.as_deref().map(Expression::compile) {
            let remedy = "correct it, as in request.inputTokens > 30000 || 'x-team' in request.headers";
            problems.push(Invalid::new(format!("spec.rules[{at}].when.expression"), problem, remedy));
        }
    }
    problems
}

fn of_budgets(spec: &RoutingPolicySpec, own: &str) -> Vec<Invalid> {
    let mut problems = Vec::new();
    let mut accounts: BTreeMap<String, usize> = BTreeMap::new();
    for (at, given) in spec.budgets.iter().enumerate() {
        match Budget::of(at, given) {
            Err(invalid) => problems.push(invalid),
            // A name may be the position of another.
            Ok(budget) => match accounts.entry(budget.id.clone()) {
                Entry::Vacant(new) => drop(new.insert(at)),
                Entry::Occupied(earlier) => problems.push(Invalid::new(
                    format!("spec.budgets[{at}].name"),
                    format!(
                        "{:?} is what spec.budgets[{}] is called too, so that both would be spent together; one without a name is called by \
                         its position, from 1",
                        budget.name,
                        earlier.get()
                    ),
                    "give each a name of its own",
                )),
            },
        }
        if is_in_vain(given, spec, own) {
            problems.push(Invalid::new(
                format!("spec.budgets[{at}].onExhausted.targets"),
                "names only the model that every rule asks already",
                "name a cheaper model that no rule's targets name, or set action to Reject",
            ));
        }
    }
    problems
}

/// Whether a downgrade goes on with the very model that had too little left: the only one of every rule. Where a rule has others too, it keeps
/// requests from those.
fn is_in_vain(budget: &budget::Budget, spec: &RoutingPolicySpec, own: &str) -> bool {
    let mut instead = budget.on_exhausted.targets.iter().map(|target| Named::from(target).asked(own));
    let Some(only) = instead.next().filter(|first: &Key| instead.all(|other| other == *first)) else {
        return false;
    };
    let mut asked = (spec.rules.iter())
        .flat_map(|rule| &rule.targets)
        .filter(|target| target.weight > 0)
        .peekable();
    budget.on_exhausted.action == Action::Downgrade && asked.peek().is_some() && asked.all(|target| Named::from(target).asked(own) == only)
}

fn of_shadows(spec: &RoutingPolicySpec, own: &str) -> Vec<Invalid> {
    let mut problems = Vec::new();
    let mut models: BTreeMap<String, usize> = BTreeMap::new();
    for (at, given) in spec.shadow.iter().enumerate() {
        problems.extend(shadow::budget(at, given, own).err());
        match models.entry(Named::from(given).called(own)) {
            Entry::Vacant(new) => drop(new.insert(at)),
            Entry::Occupied(earlier) => problems.push(Invalid::new(
                format!("spec.shadow[{at}].model"),
                format!("{} is the model of spec.shadow[{}] too", earlier.key(), earlier.get()),
                "remove the other, or add their percents",
            )),
        }
    }
    problems
}
