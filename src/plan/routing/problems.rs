//! What is wrong with a policy in itself that the API server cannot see: a condition says it, and what the policy said before holds.

use super::data_class::DataClasses;
use super::expression::Expression;
use super::shadow;
use crate::api::routing_policy::RoutingPolicySpec;
use crate::plan::Invalid;
use crate::plan::ledger::Budget;

/// Everything that keeps the specification from being carried out, under these classes of data.
pub(super) fn of(spec: &RoutingPolicySpec, classes: &DataClasses) -> Vec<Invalid> {
    let budgets = spec.budgets.iter().enumerate();
    let mut problems: Vec<Invalid> = budgets.filter_map(|(at, budget)| Budget::of(at, budget).err()).collect();
    // Whose namespace it is decides nothing but its name.
    let shadows = spec.shadow.iter().enumerate();
    problems.extend(shadows.filter_map(|(at, given)| shadow::budget(at, given, "").err()));
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
