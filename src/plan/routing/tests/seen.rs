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

impl World {
    /// As ever, with a price of `gpt`.
    fn paid() -> Self {
        let spec = "{api: {provider: OpenAI, model: gpt-5-mini, credentials: {secretRef: {name: openai, key: api-key}}}, price: {inputPer1M: '1', \
                    outputPer1M: '2'}}";
        let ready = "{type: Ready, status: 'True', reason: Ready, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}";
        Self::default()
            .pod("llama")
            .model("gpt", spec, &format!("{{conditions: [{ready}]}}"))
    }
}

#[test]
fn a_model_without_a_price_is_out_where_dollars_are_limited() {
    let only = "rules: [{targets: [{model: gpt}]}]";
    for (limit, is_limited) in [
        ("budgets: [{per: Client, usd: '10', window: Day}], ", true),
        ("require: {maxCostPerRequestUSD: '1'}, ", true),
        ("budgets: [{per: Policy, tokens: 10, window: Day}], ", false),
        ("", false),
    ] {
        let status = World::new().assistant(&format!("{limit}{only}")).status("assistant");
        let (ready, share) = match is_limited {
            true => ("False NoEligibleTarget", "gpt 0 CostNotKnown"),
            false => ("True Routing", "gpt 100 Eligible"),
        };
        assert_eq!(condition(&status, Kind::Ready), ready, "{limit}");
        assert_eq!(shares(&status), [share], "{limit}");
        if is_limited {
            let told = message(&status, Kind::Ready);
            assert!(told.contains("gpt has no known price") && told.contains("set spec.price"), "{told}");
        }
        let paid = World::paid().assistant(&format!("{limit}{only}")).status("assistant");
        assert_eq!(condition(&paid, Kind::Ready), "True Routing", "{limit}");
    }
    // Our own pods cost by the hour.
    let own = "budgets: [{per: Client, usd: '10', window: Day}], rules: [{targets: [{model: llama}], fallback: [{model: gpt}]}]";
    let status = World::new().assistant(own).status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "True Routing");
    assert_eq!(shares(&status), ["llama 100 Eligible", "gpt 0 CostNotKnown"]);
}

#[test]
fn who_answers_while_a_model_sleeps_is_told() {
    let with = |warmup: &str| {
        let mut world = World::new().pod("away").assistant(&format!(
            "rules: [{{targets: [{{model: away}}], fallback: [{{model: llama}}]}}], warmup: {{{warmup}}}"
        ));
        world.endpoints.remove(&Key::new("claims", "away"));
        shares(&world.status("assistant"))
    };
    assert_eq!(
        with("mode: Spill, targets: [{model: gpt}]"),
        ["away 0 Asleep", "llama 0 Fallback", "gpt 100 Warmup"]
    );
    assert_eq!(with("mode: Hold"), ["away 0 Asleep", "llama 0 Fallback"]);
    let mut world = World::new()
        .pod("away")
        .assistant("rules: [{targets: [{model: away}], fallback: [{model: llama}, {model: gpt}]}]");
    world.endpoints.remove(&Key::new("claims", "away"));
    assert_eq!(
        shares(&world.status("assistant")),
        ["away 0 Asleep", "llama 100 Fallback", "gpt 0 Fallback"]
    );
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
    let world = World::paid().pod("spare").assistant(&spec);
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
    assert_eq!(
        shares(&status),
        ["llama 75 Eligible", "gpt 0 OverBudget", "spare 0 Fallback", "spare 0 Downgrade"],
        "our own pods cost no dollars, and go on"
    );

    assert_eq!(condition(&told(&world, None), Kind::WithinBudget), "Unknown NoGateway");
    assert_eq!(condition(&told(&World::paid().assistant(TWO), None), Kind::WithinBudget), "");
}

/// What gateways know of one budget, the one in accounts by this name.
fn spent(name: &str, spent: u64, accounts: u32, exhausted: u32) -> Figures {
    let budget = BudgetFigures {
        until: Timestamp::from_second(86_400).unwrap(),
        spent,
        accounts,
        exhausted,
    };
    Figures {
        budgets: [(name.to_owned(), budget)].into(),
        ..seen()
    }
}

#[test]
fn a_request_that_could_cost_more_than_is_left_uses_nothing_up() {
    let with = |budget: &str| {
        World::paid()
            .pod("spare")
            .assistant(&format!("budgets: [{{{budget}, window: Day}}], {TWO}"))
    };
    let fresh = told(&with("per: Policy, usd: '10'"), Some(&spent("1/usd/Day", 0, 1, 1)));
    assert_eq!(condition(&fresh, Kind::WithinBudget), "False TooLittleLeft");
    assert_eq!(
        message(&fresh, Kind::WithinBudget),
        "budget 1 of 10 US dollars has 10 US dollars left until 1970-01-02T00:00:00Z, and the latest request could have cost more: then requests are refused"
    );
    assert_eq!(shares(&fresh), ["llama 75 Eligible", "gpt 25 Eligible", "spare 0 Fallback"]);

    let each = told(&with("per: Client, tokens: 100"), Some(&spent("1/tokens/Day", 99, 7, 2)));
    assert_eq!(condition(&each, Kind::WithinBudget), "False TooLittleLeft");
    assert_eq!(
        message(&each, Kind::WithinBudget),
        "budget 1 of 100 tokens for each client: the latest request of 2 of 7 could have cost more than was left until 1970-01-02T00:00:00Z: then their requests are refused"
    );

    let tokens = told(&with("per: Policy, tokens: 100"), Some(&spent("1/tokens/Day", 100, 1, 1)));
    assert_eq!(condition(&tokens, Kind::WithinBudget), "False Exhausted");
    assert_eq!(
        shares(&tokens),
        ["llama 0 OverBudget", "gpt 0 OverBudget", "spare 0 OverBudget"],
        "whoever answers takes tokens"
    );
}

#[test]
fn our_own_pods_with_a_price_are_over_budget_too() {
    let priced = "{selfHosted: {engine: {kind: VLLM}}, price: {inputPer1M: '0', outputPer1M: '1'}}";
    let mut world = World::paid()
        .model("spare", priced, "{}")
        .assistant(&format!("budgets: [{{per: Policy, usd: '10', window: Day}}], {TWO}"));
    world
        .endpoints
        .insert(Key::new("claims", "spare"), vec!["http://10.0.0.3:8080".to_owned()]);
    let status = told(&world, Some(&spent("1/usd/Day", 10_000_000_000, 1, 1)));
    assert_eq!(shares(&status), ["llama 75 Eligible", "gpt 0 OverBudget", "spare 0 OverBudget"]);
}

#[test]
fn the_budgets_of_a_status_are_those_in_force() {
    let spec = |name: &str, when: &str, copies: &str| {
        format!(
            "{{model: assistant, budgets: [{{name: {name}, per: Policy, usd: '10', window: Day}}], rules: [{{{when}targets: [{{model: gpt}}]}}],
            shadow: [{{model: llama, percent: 5, budget: {{{copies}, window: Day}}}}]}}"
        )
    };
    let mut world = World::paid().policy("assistant", "2026-01-01T00:00:00Z", &spec("day", "", "usd: '2'"));
    let mut policy = world.policies[0].as_ref().clone();
    policy.status = Some(world.status("assistant"));
    policy.metadata.generation = Some(4);
    policy.spec = serde_saphyr::from_str(&spec("daily", "when: {expression: '1'}, ", "tokens: 2")).unwrap();
    world.policies = vec![Arc::new(policy)];
    let mut figures = spent("day/usd/Day", 10_000_000_000, 1, 1);
    let budget = figures.budgets["day/usd/Day"];
    figures.budgets.insert("shadow:llama/usd/Day".to_owned(), budget);
    let status = told(&world, Some(&figures));
    assert!(message(&status, Kind::Accepted).ends_with("until then generation 3 is in force"));
    assert_eq!(condition(&status, Kind::WithinBudget), "False Exhausted");
    assert_eq!((status.budgets.len(), status.budgets[0].name.as_str()), (1, "day"));
    assert_eq!(shares(&status), ["gpt 0 OverBudget"]);
    assert_eq!(status.shadow[0].budget.as_ref().map(|budget| budget.limit.as_str()), Some("2"));
    assert_eq!(status.shadow[0].reason, "OverBudget");
}

#[test]
fn a_downgrade_is_told_by_the_models_that_may_answer_and_do() {
    let said = |world: &World| message(&told(world, Some(&spent("1/usd/Day", 10_000_000_000, 1, 1))), Kind::WithinBudget);
    let with = |rules: &str| {
        let to = "onExhausted: {action: Downgrade, targets: [{model: gpt}, {model: spare}]}";
        let rest = format!("budgets: [{{per: Policy, usd: '10', window: Day, {to}}}], rules: [{rules}]");
        World::paid().pod("spare").assistant(&rest)
    };
    let used_up = "budget 1 of 10 US dollars is used up until 1970-01-02T00:00:00Z:";
    let mut world = with("{targets: [{model: llama}]}");
    assert_eq!(said(&world), format!("{used_up} requests go to gpt, spare"));
    world.endpoints.remove(&Key::new("claims", "spare"));
    assert_eq!(said(&world), format!("{used_up} requests go to gpt"));

    let mut world = with("{require: {tiers: [Regulated]}, targets: [{model: llama}]}, {name: rest, targets: [{model: llama}]}");
    let each = format!("{used_up} requests of rule 1 go to spare and requests of rule rest go to gpt, spare");
    assert_eq!(said(&world), each);
    world.endpoints.remove(&Key::new("claims", "spare"));
    let (told, beginning) = (said(&world), format!("{used_up} requests of rule 1 are refused, because gpt "));
    let end = ", and spare has no ready pod and requests of rule rest go to gpt";
    assert!(told.starts_with(&beginning) && told.ends_with(end), "{told}");
}
