//! Which models get copies of requests, and what the status says of them.

use std::time::Duration;

use super::deciding::{CLASSES, GOVERNED, MATRIX, MODELS, may, settings};
use super::*;
use crate::plan::traffic::{BudgetFigures, Figures, ShadowFigures};

const OWN: &str = "rules: [{name: all, targets: [{model: llama}]}]";

/// Each shadow of the rule that decides: `gpt` gets a copy, `gpt tier_not_allowed` does not.
fn copies(world: &World, ask: &Ask) -> Vec<String> {
    let routing = world.build();
    ask.facts(&routing, |route, facts| {
        let decision = decide(route, &routing.table.classes, facts, &deciding::Quiet, ask.draw());
        let decision = decision.map_err(|refused| refused.message).unwrap();
        let told = |mirror: &Mirror<'_>| match &mirror.to {
            Ok((terms, model)) => {
                assert!(
                    terms.clients.is_empty() && terms.limits.is_empty(),
                    "nobody calls it, and nobody's limits count it"
                );
                model.model.name.clone()
            }
            Err(skipped) => format!("{} {}", mirror.shadow.model.name, skipped.reason),
        };
        decision.mirrors.iter().map(told).collect()
    })
}

fn of(rest: &str) -> World {
    World {
        settings: settings(MATRIX),
        ..World::new()
            .api("late", "False")
            .model("zero", "{selfHosted: {engine: {kind: VLLM}}}", "{}")
            .assistant(rest)
    }
}

fn gpt(rest: &str, ask: &Ask) -> String {
    copies(&of(&format!("{rest}, shadow: [{{model: gpt, percent: 100}}]")), ask).join(", ")
}

#[test]
fn a_shadow_is_held_to_everything_that_a_target_is_held_to() {
    let ask = Ask::new;
    assert_eq!(gpt(OWN, &ask()), "gpt");
    assert_eq!(
        gpt(&format!("require: {{tiers: [Regulated]}}, {OWN}"), &ask()),
        "gpt tier_not_allowed"
    );
    let of_rule = "rules: [{targets: [{model: llama}], require: {classes: [Open]}}]";
    assert_eq!(gpt(of_rule, &ask()), "gpt class_not_allowed");
    let cost = format!("require: {{maxCostPerRequestUSD: '1'}}, {OWN}");
    assert_eq!(gpt(&cost, &ask()), "gpt too_expensive", "nobody knows how long its answer may be");
    let judged = "rules: [{targets: [{model: llama}]}], require: {evaluated: [{evalJob: quality}]}";
    let world = of(&format!("{judged}, shadow: [{{model: gpt, percent: 100}}]")).evaluated("Pass", None);
    assert_eq!(copies(&world, &ask()), ["gpt not_evaluated"]);
    assert_eq!(gpt(OWN, &ask().header("x-data-class", "Personal")), "gpt class_not_allowed");
    let rest = "shadow: [{model: zero, percent: 100}, {model: late, percent: 100}, {model: nope, percent: 100}, \
                {model: llama, adapter: x, percent: 100}]";
    assert_eq!(
        copies(&of(&format!("{OWN}, {rest}")), &ask()),
        [
            "zero asleep",
            "late not_ready",
            "nope target_not_found",
            "llama:x adapter_not_found"
        ]
    );
}

#[test]
fn copies_are_drawn_and_a_policy_without_shadows_draws_none() {
    let world = of(&format!("{OWN}, shadow: [{{model: gpt, percent: 25}}]"));
    let drawn = |roll| copies(&world, &Ask::new().drawing(roll)).len();
    let count: usize = (0..400).map(drawn).sum();
    assert!((60..=140).contains(&count), "{count} of 400");
    assert!(copies(&of(OWN), &Ask::new()).is_empty());
}

#[test]
fn what_a_shadow_is_asked_under_is_no_name_that_clients_may_call() {
    let routing = of(&format!(
        "{OWN}, shadow: [{{model: gpt, percent: 5, budget: {{tokens: 10, window: Day}}}}]"
    ))
    .build();
    let route = routing.table.find("assistant").unwrap();
    let terms = route.shadows[0].route.as_ref().unwrap();
    assert!(routing.table.find(&terms.name).is_none());
    assert!(!terms.admits(&Client::Anonymous));
    assert!(route.allowances.as_ref().unwrap().is_empty(), "its budget is its own");
    assert_eq!(terms.allowances.as_ref().unwrap()[0].budget.id, "shadow:gpt/tokens/Day");
    assert!(route.candidates().all(|candidate| candidate.model.name == "llama"));
}

#[test]
fn a_budget_that_cannot_be_understood_is_a_condition() {
    let world = of(&format!(
        "{OWN}, shadow: [{{model: gpt, percent: 5, budget: {{tokens: 10, window: Day, timeZone: Mars/Olympus}}}}]"
    ));
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Accepted), "False Invalid");
    assert!(
        status.shadow.is_empty(),
        "nothing is copied, as nothing is answered: {:?}",
        status.shadow
    );
    let told = message(&status, Kind::Accepted);
    assert!(
        told.starts_with("spec.shadow[0].budget.timeZone: \"Mars/Olympus\" is not an IANA time zone"),
        "{told}"
    );
}

#[test]
fn the_status_says_of_each_shadow_whether_it_may_and_why_not() {
    let world = of(
        "rules: [{name: open, when: {tools: true}, require: {classes: [Open]}, targets: [{model: llama}]}, {name: rest, \
         targets: [{model: llama}]}], shadow: [{model: gpt, percent: 5}, {model: late, percent: 7}, {model: nope, percent: 1}]",
    );
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "True Routing", "clients are answered all the same");
    let lines: Vec<_> = status
        .shadow
        .iter()
        .map(|s| (s.model.as_str(), s.percent, s.reason.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("gpt", 5, "Eligible"),
            ("late", 7, "ClassNotAllowed"),
            ("nope", 1, "TargetNotFound")
        ]
    );
    assert_eq!(
        status.shadow[0].message.as_deref(),
        Some("gets no copies of rule open, because gpt is of class API, and rule open requires Open")
    );
    assert_eq!(status.shadow[0].barred_from, ["Personal", "Special"]);
    let gone = "nope does not exist: create ModelDeployment claims/nope, or take it out of the policy";
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(message(&status, Kind::ResolvedRefs), gone);
    let told = message(&status, Kind::Ready);
    assert!(
        told.contains("; not copied: gets no copies of rule open") && told.ends_with(gone),
        "{told}"
    );
    assert!(status.targets.iter().all(|target| target.model == "llama"), "they answer nobody");
}

#[test]
fn the_status_tells_how_shadows_did_and_what_they_spent() {
    let world = of(&format!(
        "{OWN}, budgets: [{{per: Policy, usd: '9', window: Day}}], shadow: [{{model: gpt, percent: 5, budget: {{usd: '2', window: Day}}}}]"
    ));
    let spent = |exhausted| BudgetFigures {
        until: Timestamp::from_second(86_400).unwrap(),
        spent: 2_000_000_000,
        accounts: 1,
        exhausted,
    };
    let figures = |exhausted| Figures {
        gateways: 1,
        shadows: [(
            "gpt".to_owned(),
            ShadowFigures {
                requests: 40,
                errors: 3,
                p50: Some(Duration::from_millis(350)),
                p95: Some(Duration::from_millis(1_807)),
                cost: 400_000_000,
                unpriced: 0,
                skipped: [("asleep".to_owned(), 2), ("over_budget".to_owned(), 7)].into(),
            },
        )]
        .into(),
        budgets: [("shadow:gpt/usd/Day".to_owned(), spent(exhausted))].into(),
        ..Figures::default()
    };
    let told = |exhausted| {
        let policy = &world.policies[0];
        let verdict = &world.build().verdicts[&Key::of(policy.as_ref())];
        status(policy, verdict, Some(&figures(exhausted)), Timestamp::UNIX_EPOCH)
    };
    let all = told(0);
    let gpt = &all.shadow[0];
    assert_eq!((gpt.requests, gpt.errors, gpt.skipped), (40, 3, 9));
    assert_eq!((gpt.p50.as_deref(), gpt.p95.as_deref()), (Some("350ms"), Some("1.8s")));
    assert_eq!(gpt.cost_usd.as_ref().map(|usd| usd.0.as_str()), Some("0.4"));
    assert_eq!(
        (gpt.skipped_because.as_deref(), gpt.reason.as_str()),
        (Some("over_budget"), "Eligible")
    );
    let budget = gpt.budget.as_ref().unwrap();
    assert_eq!((budget.spent.as_str(), budget.limit.as_str()), ("2", "2"));
    assert!(all.budgets.is_empty() && all.last_hour.is_none(), "none of it is the policy's");

    let all = told(1);
    assert_eq!(all.shadow[0].reason, "OverBudget");
    assert_eq!(
        all.shadow[0].message.as_deref(),
        Some("budget shadow:gpt of 2 US dollars is used up until 1970-01-02T00:00:00Z: no copies are sent")
    );
    assert_eq!(condition(&all, Kind::WithinBudget), "True WithinBudget");
    assert_eq!(all.rules[0].targets[0].reason, "Eligible");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    /// Whatever requires it, wherever that stands, and whatever is in force beside it.
    #[test]
    fn no_copy_ever_reaches_a_model_outside_its_requirement(
        needs_open: bool, in_rule: bool, header in 0usize..5, namespace in 0usize..5, own in 0usize..5, roll: u64,
    ) {
        let require = if needs_open { "require: {classes: [Open]}," } else { "" };
        let (of_all, of_rule) = if in_rule { ("", require) } else { (require, "") };
        let shadows = MODELS.map(|model| format!("{{model: {model}, percent: 100}}")).join(", ");
        let mut world = World {
            settings: GOVERNED.settings.clone(),
            models: GOVERNED.models.clone(),
            endpoints: GOVERNED.endpoints.clone(),
            ..World::default()
        };
        world = world.assistant(&format!("{of_all} rules: [{{{of_rule} targets: [{{model: own-regulated}}]}}], shadow: [{shadows}]"));
        for (at, name) in [(namespace, "other"), (own, "claims")] {
            if let Some(class) = CLASSES.get(at) {
                world.namespaces.insert(name.to_owned(), (*class).to_owned());
            }
        }
        let client = Client::ServiceAccount { namespace: "other".to_owned(), name: "x".to_owned() };
        let mut ask = Ask::new().drawing(roll).by(client);
        if let Some(class) = CLASSES.get(header) {
            ask = ask.header("x-data-class", class);
        }
        let labelled = [namespace, own].into_iter().filter(|at| *at < 4).max().unwrap_or(1);
        let class = labelled.max(if header < 4 { header } else { 0 });
        let copied: Vec<String> = copies(&world, &ask).into_iter().filter(|copy| !copy.contains(' ')).collect();
        let allowed: Vec<&str> = MODELS.into_iter().filter(|model| may(model, class, needs_open)).collect();
        prop_assert_eq!(copied, allowed, "of class {}", CLASSES[class]);
    }
}
