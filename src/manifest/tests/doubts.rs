//! What can be applied, and does not do what it looks like.

use super::*;

#[test]
fn what_can_be_applied_and_cannot_do_what_it_looks_like_is_doubted() {
    let keyed = |name: &str, url: &str| {
        model(&format!(
            "api: {{provider: OpenAICompatible, model: x, endpoint: \"{url}\", credentials: {{secretRef: {{name: s, key: k}}}}}}"
        ))
        .replace("name: m,", &format!("name: {name},"))
    };
    let free = keyed("free", "https://h/v1");
    let priced = format!(
        "{}  price: {{inputPer1M: \"1\", outputPer1M: \"1\"}}\n",
        keyed("priced", "https://h/v1")
    );
    let own = model("selfHosted: {engine: {kind: LlamaCpp}}").replace("name: m,", "name: own,");
    let sleeps = model("selfHosted: {engine: {kind: LlamaCpp}, scaling: {min: 0, max: 2, target: {inFlight: 2}}}")
        .replace("name: m,", "name: sleeps,");
    let entries = "[{cron: 0 8 * * *, min: 1}, {cron: 0 20 * * *, min: 0}]";
    let nightly = model(&format!(
        "selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{max: 2, target: {{inFlight: 2}}, schedule: {entries}}}}}"
    ))
    .replace("name: m,", "name: nightly,");
    let over = |spec: &str| {
        together(&[
            free.as_str(),
            priced.as_str(),
            own.as_str(),
            sleeps.as_str(),
            nightly.as_str(),
            policy("p", spec).as_str(),
        ])
    };
    let budget = "budgets: [{per: Policy, usd: \"0.0001\", window: Month}]";
    let unpriced = "free has no known price, and so no request under this limit in US dollars is answered there";
    for (text, doubt) in [
        (
            over(&format!("model: a\n  rules: [{{targets: [{{model: free}}]}}]\n  {budget}")),
            Some(("spec.budgets[0].usd", unpriced)),
        ),
        (
            over(&format!(
                "model: a\n  rules: [{{targets: [{{model: own}}], fallback: [{{model: free}}]}}]\n  {budget}"
            )),
            Some(("spec.budgets[0].usd", unpriced)),
        ),
        (
            over(&format!(
                "model: a\n  rules: [{{targets: [{{model: own}}, {{model: priced}}]}}]\n  {budget}"
            )),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: free}]}]\n  budgets: [{per: Policy, tokens: 9, window: Month}]"),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: free}]}]\n  require: {maxCostPerRequestUSD: \"1\"}"),
            Some(("spec.require.maxCostPerRequestUSD", unpriced)),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: free}], require: {maxCostPerRequestUSD: \"1\"}}]"),
            Some(("spec.rules[0].require.maxCostPerRequestUSD", unpriced)),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}]}]\n  shadow: [{model: free, percent: 5}]"),
            Some((
                "spec.shadow[0].budget",
                "free is behind an API, and nothing bounds what copies of requests cost there",
            )),
        ),
        (
            over(
                "model: a\n  rules: [{targets: [{model: own}]}]\n  shadow: [{model: free, percent: 5, budget: {usd: \"1\", window: Day}}]",
            ),
            Some(("spec.shadow[0].budget.usd", unpriced)),
        ),
        (
            over(
                "model: a\n  rules: [{targets: [{model: own}]}]\n  shadow: [{model: free, percent: 5, budget: {tokens: 9, window: Day}}, {model: own, percent: 5}]",
            ),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}]}]"),
            Some((
                "spec.rules[0].targets",
                "each of them may have no replica (min: 0 in scaling, or in its schedule), and without spec.warmup requests are refused until one is awake",
            )),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: nightly}, {model: sleeps}]}]"),
            Some(("spec.rules[0].targets", "each of them may have no replica")),
        ),
        (over("model: a\n  rules: [{targets: [{model: sleeps}, {model: own}]}]"), None),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps, weight: 100}, {model: own, weight: 0}]}]"),
            Some(("spec.rules[0].targets", "each of them may have no replica")),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}], fallback: [{model: nightly}]}]"),
            Some(("spec.rules[0].targets", "each of them, and of fallback, may have no replica")),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}]}]\n  shadow: [{model: sleeps, percent: 5}]"),
            Some(("spec.shadow[0].model", "sleeps may have no replica")),
        ),
        (
            model(
                "selfHosted: {engine: {kind: LlamaCpp}, scaling: {min: 2, max: 4, target: {inFlight: 2}, schedule: [{cron: 0 20 * * *, min: 0}]}}",
            ),
            Some((
                "spec.selfHosted.scaling.schedule",
                "its one entry holds from each of its times until the next, and so min: 2 and max: 4",
            )),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}], fallback: [{model: own}]}]"),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}]}]\n  warmup: {mode: Hold}"),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}]}]\n  warmup: {mode: Spill, targets: [{model: sleeps}]}"),
            Some((
                "spec.warmup.targets[0]",
                "sleeps is a target of each rule that waits for its models, and models to spill to are asked only while no target answers",
            )),
        ),
        (
            over(
                "model: a\n  rules: [{when: {tools: true}, targets: [{model: free}]}, {targets: [{model: sleeps}, {model: own}]}]\n  warmup: {mode: Spill, targets: [{model: priced}, {model: own}]}",
            ),
            Some(("spec.warmup.targets[1]", "own is a target of each rule that waits")),
        ),
        (
            over(
                "model: a\n  rules: [{when: {tools: true}, targets: [{model: own}]}, {targets: [{model: sleeps}]}]\n  warmup: {mode: Spill, targets: [{model: own}]}",
            ),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}]}]\n  warmup: {mode: Spill, targets: [{model: nightly}]}"),
            Some((
                "spec.warmup.targets",
                "each of them may have no replica when the targets of spec.rules[0] have none, and requests are refused until one of these is awake",
            )),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: sleeps}]}]\n  warmup: {mode: Spill, targets: [{model: nightly}, {model: free}]}"),
            None,
        ),
        (
            over(
                "model: a\n  rules: [{targets: [{model: sleeps}], fallback: [{model: own}]}]\n  warmup: {mode: Spill, targets: [{model: nightly}]}",
            ),
            None,
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}, {model: own, weight: 3}]}]"),
            Some(("spec.rules[0].targets[1]", "own is a target of this rule already")),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}], fallback: [{model: own}]}]"),
            Some((
                "spec.rules[0].fallback[0]",
                "own is a target of this rule, and is not asked again when it has failed",
            )),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}], fallback: [{model: free}, {model: free}]}]"),
            Some(("spec.rules[0].fallback[1]", "free is a fallback of this rule already")),
        ),
        (
            over("model: a\n  rules: [{targets: [{model: own}, {model: free}], fallback: [{model: own}]}]"),
            None,
        ),
        (
            over("model: a\n  rules: [{name: x, targets: [{model: own}]}, {name: z, when: {tools: true}, targets: [{model: free}]}]"),
            Some((
                "spec.rules[1]",
                "no request comes to it, because spec.rules[0] before it is for all of them",
            )),
        ),
        (
            over("model: a\n  rules: [{name: x, when: {tools: true}, targets: [{model: own}]}, {name: z, targets: [{model: free}]}]"),
            None,
        ),
        (
            keyed("m", "http://h.example.com/v1"),
            Some((
                "spec.api.endpoint",
                "the key is sent there in the clear, and whoever is on the way can read it and the requests",
            )),
        ),
        (
            keyed("m", "http://10.0.0.7:8000/v1"),
            Some(("spec.api.endpoint", "the key is sent there in the clear")),
        ),
        (keyed("m", "http://127.0.0.1:8000/v1"), None),
        (keyed("m", "http://[::1]:8000/v1"), None),
        (keyed("m", "http://localhost:8000/v1"), None),
        (keyed("m", "http://llm.ns/v1"), None),
        (keyed("m", "http://llm.other.svc:8000/v1"), None),
        (
            model(&format!("{MODEL}\n  capabilities: {{contextTokens: 100, maxOutputTokens: 200}}")),
            Some(("spec.capabilities.maxOutputTokens", "200 is more than contextTokens, 100")),
        ),
        (
            model(&format!("{MODEL}\n  capabilities: {{contextTokens: 100, maxOutputTokens: 100}}")),
            None,
        ),
    ] {
        let mut portfolio = Portfolio::from_text("x", &text);
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        let said: Vec<(&str, &str)> = portfolio.findings.iter().map(|f| (f.field.as_str(), f.problem.as_str())).collect();
        assert_eq!(portfolio.errors(), 0, "{said:?} in {text}");
        match doubt {
            None => assert!(said.is_empty(), "{said:?} in {text}"),
            Some((field, problem)) => assert!(
                said.len() == 1 && said[0].0 == field && said[0].1.starts_with(problem),
                "{said:?} in {text}"
            ),
        }
    }
}

#[test]
fn metrics_that_the_api_server_would_refuse_are_found_where_they_are_written() {
    let metrics = "[{type: External}, {type: Pods, pods: {metric: {name: q}, target: {type: AverageValue, averageValue: four}}}]";
    let text = model(&format!(
        "selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{min: 1, max: 2, engine: HPA, metrics: {metrics}}}}}"
    ));
    let mut portfolio = Portfolio::from_text("x", &text);
    portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
    let found: Vec<&str> = portfolio.findings.iter().map(|f| f.field.as_str()).collect();
    let at = |rest: &str| format!("spec.selfHosted.scaling.metrics{rest}");
    assert_eq!(found, [at("[0].external"), at("[1].pods.target.averageValue")]);
    assert_eq!(portfolio.errors(), 2);
}

/// The warnings about policies under these settings, as `field: problem`.
fn doubts(text: &str, settings: Option<&str>) -> Vec<String> {
    let settings: Option<crate::api::Settings> = settings.map(|yaml| serde_saphyr::from_str(yaml).unwrap());
    let mut portfolio = Portfolio::from_text("x", text);
    portfolio.check_feasible(settings.as_ref(), &Book::default(), Timestamp::UNIX_EPOCH);
    assert_eq!(portfolio.errors(), 0, "{:?} in {text}", portfolio.findings);
    portfolio.findings.iter().map(|f| format!("{}: {}", f.field, f.problem)).collect()
}

#[test]
fn what_no_model_can_fulfil_is_doubted_in_the_words_of_the_status() {
    let good = model(&MODEL.replace("model: x,", "model: x, region: eu,"));
    let good = good
        .replace("spec:\n", "spec:\n  jurisdiction: US\n")
        .replace("name: m,", "name: good,");
    let own = model("selfHosted: {engine: {kind: LlamaCpp}}").replace("name: m,", "name: own,");
    let over = |spec: &str| together(&[good.as_str(), own.as_str(), policy("p", &format!("model: a\n  {spec}")).as_str()]);
    let of_eu =
        Some("{region: eu, jurisdiction: EU, dataClasses: {Public: {}, Special: {classes: [Open, Custom]}}, defaultDataClass: Public}");
    let to_good = "rules: [{targets: [{model: good}]}]";
    let mars = "rule 1 has no model that may answer: good runs in eu, and the policy requires mars";
    for (spec, settings, doubt) in [
        (format!("{to_good}\n  require: {{regions: [mars]}}"), None, Some(("spec.require.regions", mars))),
        (format!("{to_good}\n  require: {{regions: [EU]}}"), None, None),
        (
            format!("{to_good}\n  require: {{tiers: [MissionCritical]}}"),
            None,
            Some((
                "spec.require.tiers",
                "rule 1 has no model that may answer: good has tier General, and the policy requires MissionCritical",
            )),
        ),
        (
            "rules: [{name: x, targets: [{model: good}], fallback: [{model: own}], require: {classes: [Open, Custom], jurisdictions: [US]}}]".to_owned(),
            of_eu,
            Some((
                "spec.rules[0].require",
                "rule x has no model that may answer: good is of class API, and rule x requires Open or Custom; own has an operator under the \
                 law of EU, and rule x requires US",
            )),
        ),
        (
            "rules: [{when: {expression: \"request.headers['x-team'] == 'a'\"}, targets: [{model: good}]}, {targets: [{model: own}]}]".to_owned(),
            None,
            Some((
                "spec.rules[0].when.expression",
                "it reads \"x-team\" of every request, and one that does not have it is refused with 400, also where a later rule is for it",
            )),
        ),
        (
            "rules: [{when: {expression: \"'x-team' in request.headers && request.headers['x-team'] == 'a'\"}, targets: [{model: good}]}]".to_owned(),
            None,
            None,
        ),
        // Without the settings nobody knows whose law it is under.
        (
            "rules: [{name: x, targets: [{model: good}], fallback: [{model: own}], require: {classes: [Open, Custom], jurisdictions: [US]}}]".to_owned(),
            None,
            None,
        ),
        (
            "require: {regions: [eu]}\n  rules: [{targets: [{model: own}], require: {regions: [us]}}]".to_owned(),
            None,
            Some((
                "spec.rules[0].require.regions",
                "no model can fulfil it: the rule requires us, and the policy requires eu",
            )),
        ),
        ("require: {regions: [eu, us]}\n  rules: [{targets: [{model: own}], require: {regions: [us]}}]".to_owned(), None, None),
        (
            "rules: [{when: {dataClasses: [Public, Special]}, targets: [{model: good}]}]".to_owned(),
            of_eu,
            Some((
                "spec.rules[0].when.dataClasses",
                "rule 1 has no model that may see data of class Special: good is of class API, and data of class Special requires Open or Custom",
            )),
        ),
        ("rules: [{when: {dataClasses: [Public, Special]}, targets: [{model: good}]}]".to_owned(), None, None),
        ("rules: [{when: {dataClasses: [Special]}, targets: [{model: own}]}]".to_owned(), of_eu, None),
        (
            "require: {classes: [Open]}\n  rules: [{targets: [{model: own}]}]\n  shadow: [{model: good, percent: 5, budget: {tokens: 9, window: Day}}]".to_owned(),
            None,
            Some((
                "spec.shadow[0]",
                "good is of class API, and the policy requires Open, so it gets no copy of any request",
            )),
        ),
        (
            "require: {classes: [Open]}\n  rules: [{targets: [{model: own}]}]\n  warmup: {mode: Spill, targets: [{model: good}]}".to_owned(),
            None,
            Some((
                "spec.warmup.targets[0]",
                "good is of class API, and the policy requires Open, so it answers nothing while another wakes",
            )),
        ),
        (
            "require: {classes: [Open]}\n  rules: [{targets: [{model: own}]}]\n  budgets: [{per: Policy, tokens: 9, window: Day, onExhausted: \
             {action: Downgrade, targets: [{model: good}]}}]"
                .to_owned(),
            None,
            Some((
                "spec.budgets[0].onExhausted.targets[0]",
                "good is of class API, and the policy requires Open, so it answers nothing once the budget is used up",
            )),
        ),
    ] {
        let wanted: Vec<String> = doubt.iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
        assert_eq!(doubts(&over(&spec), settings), wanted, "{spec}");
    }
    // What is not among the files may be applied too, and has a warning of its own; an evaluation may pass.
    let missing = over("require: {regions: [mars]}\n  rules: [{targets: [{model: good}, {model: other}]}]");
    let found = doubts(&missing, of_eu);
    assert!(found.len() == 1 && found[0].contains("no ModelDeployment ns/other"), "{found:?}");
    let evaluated = over("require: {evaluated: [{evalJob: e}]}\n  rules: [{targets: [{model: good}]}]");
    let found = doubts(&evaluated, of_eu);
    assert!(found.len() == 1 && found[0].contains("no EvalJob ns/e"), "{found:?}");
}

#[test]
fn what_is_shared_has_a_resource_and_says_where_it_is() {
    let shares =
        model("selfHosted: {engine: {kind: VLLM}, accelerator: {profile: l4}, scaling: {max: 2, target: {inFlight: 8}, sharing: {}}}");
    let found = |profile: Option<&str>| {
        let settings = profile.map(|profile| serde_saphyr::from_str(&format!("{{acceleratorProfiles: {{l4: {profile}}}}}")).unwrap());
        let mut portfolio = Portfolio::from_text("x", &shares);
        portfolio.check_feasible(settings.as_ref(), &Book::default(), Timestamp::UNIX_EPOCH);
        let findings = portfolio.findings.iter();
        let told: Vec<String> = findings
            .map(|f| format!("{} {}: {}", f.is_error(), f.field, f.problem.chars().take(40).collect::<String>()))
            .collect();
        told.join("\n")
    };
    let sharing = "spec.selfHosted.scaling.sharing: the profile \"l4\" has no";
    assert_eq!(found(Some("{resource: nvidia.com/gpu, nodeSelector: {gpu: l4}}")), "");
    assert_eq!(found(None), "", "nothing is known of the profile");
    assert_eq!(
        found(Some("{resource: nvidia.com/gpu}")),
        format!("false {sharing} nodeSelector: no")
    );
    assert_eq!(found(Some("{nodeSelector: {gpu: l4}}")), format!("true {sharing} resource that co"));
}
