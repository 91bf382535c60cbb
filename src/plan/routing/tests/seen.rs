//! What the status tells of traffic.

use std::time::Duration;

use super::*;
use crate::plan::traffic::{BudgetFigures, Figures, ModelFigures};

const TWO: &str = "rules: [{targets: [{model: llama, weight: 3}, {model: gpt}], fallback: [{model: spare}]}]";

/// What two gateways have seen.
fn seen() -> Figures {
    let model = |requests, cost, saved| ModelFigures {
        requests,
        cost,
        saved,
        ..ModelFigures::default()
    };
    Figures {
        requests: 41,
        errors: 2,
        p50: Some(Duration::from_millis(350)),
        p95: Some(Duration::from_millis(1_807)),
        models: [
            ("llama".to_owned(), model(30, 0, 0)),
            ("gpt".to_owned(), model(9, 400_000_000, 50_000_000)),
        ]
        .into(),
        gateways: 2,
        ..Figures::default()
    }
}

fn told(world: &World, seen: Option<&Figures>) -> RoutingPolicyStatus {
    let policy = &world.policies[0];
    let verdict = &world.build().verdicts[&Key::of(policy.as_ref())];
    status(policy, verdict, seen, Timestamp::UNIX_EPOCH)
}

/// `llama 75 Eligible`, for each model of the first rule.
fn shares(status: &RoutingPolicyStatus) -> Vec<String> {
    let share = |target: &crate::api::policy_status::RuleTargetStatus| {
        let percent = target.percent.map_or("?".to_owned(), |percent| percent.to_string());
        format!("{} {percent} {}", target.model, target.reason)
    };
    status.rules[0].targets.iter().map(share).collect()
}

#[test]
fn each_rule_says_what_its_models_get_and_why() {
    let shares = |strategy: &str, targets: &str| {
        let world = World::new().api("late", "False").pod("spare");
        let rules = format!("rules: [{{strategy: {strategy}, targets: [{targets}], fallback: [{{model: spare}}]}}]");
        shares(&told(&world.assistant(&rules), None))
    };
    let targets = "{model: llama, weight: 3}, {model: gpt}, {model: late, weight: 9}, {model: spare, weight: 0}, {model: nope}";
    assert_eq!(
        shares("Weighted", targets),
        [
            "llama 75 Eligible",
            "gpt 25 Eligible",
            "late 0 NotReady",
            "spare 0 Unused",
            "nope 0 TargetNotFound",
            "spare 0 Fallback"
        ]
    );
    assert_eq!(
        shares("Ordered", "{model: late}, {model: llama}, {model: gpt}"),
        ["late 0 NotReady", "llama 100 Eligible", "gpt 0 Standby", "spare 0 Fallback"]
    );
    assert_eq!(
        shares("LeastCost", "{model: llama}, {model: gpt}"),
        ["llama ? Eligible", "gpt ? Eligible", "spare 0 Fallback"]
    );
}

#[test]
fn the_latest_hour_is_told_as_gateways_saw_it() {
    let world = World::new().assistant(TWO);
    let hour = told(&world, Some(&seen())).last_hour.unwrap();
    assert_eq!((hour.requests, hour.errors), (41, 2));
    assert_eq!((hour.p50.as_deref(), hour.p95.as_deref()), (Some("350ms"), Some("1.8s")));
    assert_eq!(hour.cost_usd.map(|usd| usd.0).as_deref(), Some("0.4"));
    assert_eq!(hour.saved_usd.map(|usd| usd.0).as_deref(), Some("0.05"));
    let models: Vec<_> = hour.models.iter().map(|model| (model.model.as_str(), model.requests)).collect();
    assert_eq!(models, [("gpt", 9), ("llama", 30)]);
    let idle = Figures {
        gateways: 1,
        ..Figures::default()
    };
    assert_eq!(told(&world, Some(&idle)).last_hour, None);
}

#[test]
fn a_model_that_rests_is_said_to_with_how_many_gateways_say_so() {
    let mut seen = seen();
    seen.models.get_mut("gpt").unwrap().resting = 1;
    let status = told(&World::new().assistant(TWO), Some(&seen));
    assert_eq!(shares(&status)[1], "gpt 25 Resting");
    let message = status.rules[0].targets[1].message.as_deref();
    assert_eq!(message, Some("its endpoints fail, and are asked last, at 1 of 2 gateways"));
}

#[test]
fn what_was_spent_is_told_of_the_budgets_that_the_policy_has() {
    let budget = |spent, accounts, exhausted| BudgetFigures {
        until: Timestamp::from_second(86_400).unwrap(),
        spent,
        accounts,
        exhausted,
    };
    let spec = format!(
        "budgets: [{{name: month, per: Policy, usd: '500', window: Month, warnAtPercent: 80, onExhausted: {{action: Downgrade, targets: \
         [{{model: spare}}]}}}}, {{per: Client, tokens: 100, window: Day}}], {TWO}"
    );
    let world = World::new().pod("spare").assistant(&spec);
    let mut figures = seen();
    let mut said = |month, day| {
        figures.budgets = [
            ("month/usd/Month".to_owned(), month),
            ("2/tokens/Day".to_owned(), day),
            ("gone/usd/Day".to_owned(), budget(9, 1, 1)),
        ]
        .into();
        told(&world, Some(&figures))
    };
    let status = said(budget(12_400_000_000, 1, 0), budget(40, 7, 0));
    let lines: Vec<_> = (status.budgets.iter())
        .map(|b| format!("{} {} of {} {:?} {:?}", b.name, b.spent, b.limit, b.accounts, b.exhausted))
        .collect();
    assert_eq!(lines, ["month 12.4 of 500 None None", "2 40 of 100 Some(7) Some(0)"]);
    assert_eq!(condition(&status, Kind::WithinBudget), "True WithinBudget");

    let status = said(budget(401_000_000_000, 1, 0), budget(40, 7, 0));
    assert_eq!(condition(&status, Kind::WithinBudget), "True NearLimit");
    assert_eq!(
        message(&status, Kind::WithinBudget),
        "budget month: more than 400 US dollars of 500 US dollars are spent until 1970-01-02T00:00:00Z"
    );

    let status = said(budget(500_000_000_000, 1, 1), budget(100, 7, 2));
    assert_eq!(condition(&status, Kind::WithinBudget), "False Exhausted");
    assert_eq!(
        message(&status, Kind::WithinBudget),
        "budget month of 500 US dollars is used up until 1970-01-02T00:00:00Z: requests go to spare; budget 2 of 100 tokens for each client is \
         used up for 2 of 7 until 1970-01-02T00:00:00Z: their requests are refused"
    );
    assert_eq!(shares(&status), ["llama 0 OverBudget", "gpt 0 OverBudget", "spare 0 OverBudget"]);

    assert_eq!(condition(&told(&world, None), Kind::WithinBudget), "Unknown NoGateway");
    assert_eq!(condition(&told(&World::new().assistant(TWO), None), Kind::WithinBudget), "");
}
