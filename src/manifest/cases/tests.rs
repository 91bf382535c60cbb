//! Cases pass and fail for the right reasons.

use super::*;

const OBJECTS: &str = r#"
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt, namespace: claims}
spec:
  jurisdiction: US
  api: {provider: OpenAI, model: gpt-5, region: eu, credentials: {secretRef: {name: openai, key: api-key}}}
  price: {inputPer1M: "1.25", outputPer1M: "10"}
  capabilities: {maxOutputTokens: 16000}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: llama, namespace: claims}
spec: {tier: Regulated, selfHosted: {engine: {kind: VLLM}, accelerator: {profile: cpu}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistant, namespace: claims}
spec:
  model: assistant
  clients: [{serviceAccounts: {names: [web]}}, {apiKeys: {matchLabels: {team: claims}}}]
  require: {regions: [eu], jurisdictions: [EU, US], maxCostPerRequestUSD: "0.50"}
  rules:
  - name: personal-data
    when: {dataClasses: [Personal, Special]}
    require: {classes: [Open, Custom], tiers: [Regulated, MissionCritical], evaluated: [{evalJob: assistant-quality, maxAge: 720h}]}
    strategy: Ordered
    targets: [{model: llama}]
  - name: long
    when: {expression: "request.inputTokens > 30000 || request.images"}
    targets: [{model: gpt}]
  - name: everything-else
    targets: [{model: llama, weight: 80}, {model: gpt, weight: 20}]
    fallback: [{model: gpt}]
"#;

const SETTINGS: &str = "{region: eu, jurisdiction: EU, acceleratorProfiles: {cpu: {}}, dataClasses: {
    Public: {}, Internal: {}, Personal: {classes: [Open, Custom], regions: [eu]}, Special: {classes: [Open, Custom]}}, defaultDataClass: Internal}";

fn outcomes(cases: &str) -> Vec<Outcome> {
    let portfolio = Portfolio::from_text("policy.yaml", OBJECTS);
    assert_eq!(portfolio.errors(), 0, "{:?}", portfolio.findings);
    let cases: Vec<Case> = serde_saphyr::from_str(cases).unwrap();
    let settings: Settings = serde_saphyr::from_str(SETTINGS).unwrap();
    let outcome = |case| portfolio.outcome(case, &settings, &Book::default(), Timestamp::UNIX_EPOCH);
    cases.iter().map(outcome).collect()
}

const WEB: &str = "model: assistant, client: {serviceAccount: claims/web}";

#[test]
fn a_model_of_another_namespace_answers_where_the_files_grant_it() {
    let foreign = "
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: llama, namespace: models}
spec: {selfHosted: {engine: {kind: VLLM}, accelerator: {profile: cpu}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: shared, namespace: claims}
spec: {model: shared, warmup: {mode: Hold}, rules: [{strategy: LeastBusy, targets: [{model: llama, namespace: models}, {model: llama}]}]}
";
    let grant = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: models}
spec: {from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], to: [{group: llmportfolio.dev, kind: ModelDeployment}]}
";
    let settings: Settings = serde_saphyr::from_str(SETTINGS).unwrap();
    let ask = "request: {model: shared, client: {serviceAccount: claims/web}}";
    for (is_granted, case) in [
        (false, "{expect: {target: llama}}"),
        (true, "{given: {busy: {llama: 2, models/llama: 1}}, expect: {target: models/llama}}"),
        (true, "{given: {busy: {llama: 1, models/llama: 2}}, expect: {target: llama}}"),
        (true, "{given: {down: [models/llama]}, expect: {target: llama}}"),
        (true, "{given: {down: [claims/llama]}, expect: {target: models/llama}}"),
        (
            true,
            "{given: {asleep: [models/llama], down: [claims/llama]}, expect: {held: true}}",
        ),
        (true, "{given: {asleep: [models/llama], down: [llama]}, expect: {held: true}}"),
    ] {
        let case: Case = serde_saphyr::from_str(&case.replacen('{', &format!("{{name: n, {ask}, "), 1)).unwrap();
        let text = format!("{OBJECTS}{foreign}{}", if is_granted { grant } else { "" });
        let portfolio = Portfolio::from_text("x", &text);
        let outcome = portfolio.outcome(&case, &settings, &Book::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{outcome:?}");
    }
}

#[test]
fn what_policies_say_passes() {
    let personal = format!("request: {{{WEB}, headers: {{x-data-class: Personal}}, inputTokens: 1200}}");
    let cases = format!(
        "
- {{name: personal data never leaves, {personal}, given: {{verdicts: {{assistant-quality: Pass}}}}, expect: {{target: llama, rule: personal-data}}}}
- {{name: and is refused rather than sent abroad, {personal}, given: {{verdicts: {{assistant-quality: Pass}}, down: [llama]}},
    expect: {{refused: 503, because: personal-data}}}}
- {{name: and waits for its evaluation, {personal}, given: {{verdicts: {{assistant-quality: Fail}}}}, expect: {{refused: 503, because: assistant-quality}}}}
- {{name: a stranger is turned away, request: {{model: assistant, client: {{serviceAccount: other/app}}, inputTokens: 10}}, expect: {{refused: 403}}}}
- {{name: a key is let in by its labels, request: {{model: assistant, client: {{apiKey: {{name: ci, labels: {{team: claims}}}}}}}},
    expect: {{targets: [llama, gpt], fallback: [gpt], rule: everything-else}}, given: {{}}}}
- {{name: a long text goes where it fits, request: {{{WEB}, inputTokens: 30001, maxTokens: 100}}, expect: {{target: gpt, rule: long}}}}
- {{name: and not for more than a request may cost, request: {{{WEB}, inputTokens: 30001, maxTokens: 50000}}, expect: {{refused: 400, because: may cost}}}}
- {{name: a namespace of patients, request: {{{WEB}}}, given: {{namespaces: {{claims: Special}}, verdicts: {{assistant-quality: {{llama: Pass}}}}}},
    expect: {{target: llama, rule: personal-data}}}}
- {{name: no such name, request: {{model: asistant, client: {{serviceAccount: claims/web}}}}, expect: {{refused: 404, because: assistant}}}}
- {{name: no such class, request: {{{WEB}, headers: {{x-data-class: Persnal}}}}, expect: {{refused: 400, because: x-data-class}}}}
"
    );
    let cases = cases.replace("fallback: [gpt], rule: everything-else", "rule: everything-else");
    for outcome in outcomes(&cases) {
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{outcome:?}");
    }
}

#[test]
fn what_policies_do_not_say_fails_and_is_explained() {
    let cases = format!(
        "
- {{name: a, request: {{{WEB}}}, expect: {{target: gpt}}}}
- {{name: b, request: {{{WEB}}}, expect: {{refused: 503}}}}
- {{name: c, request: {{{WEB}, images: true, maxTokens: 5}}, expect: {{rule: everything-else, fallback: [llama]}}}}
- {{name: d, request: {{{WEB}, headers: {{x-data-class: Personal}}}}, expect: {{target: llama}}}}
- {{name: e, request: {{model: assistant, client: {{anonymous: {{}}}}}}, expect: {{refused: 401, because: token}}}}
"
    );
    let outcomes = outcomes(&cases);
    let wrong: Vec<Vec<&str>> = outcomes.iter().map(|o| o.wrong.iter().map(String::as_str).collect()).collect();
    assert_eq!(
        wrong,
        [
            vec!["goes to gpt, llama, not to gpt"],
            vec!["is answered by gpt, llama, and should be refused with 503"],
            vec!["rule long decides, not rule everything-else", "falls back to [], not to [llama]"],
            vec!["is refused with 503, and should be answered"],
            vec![
                "is refused with 403, not with 401",
                "is refused for another reason than \"token\": a client without known credentials may not call assistant: RoutingPolicy \
                 claims/assistant must admit it in spec.clients"
            ],
        ]
    );
    assert_eq!(outcomes[0].decision, "rule everything-else: gpt | llama, then gpt");
    assert_eq!(
        outcomes[3].decision,
        "rule personal-data: 503 no model of RoutingPolicy claims/assistant, rule personal-data, may answer now: llama must pass EvalJob \
         assistant-quality, which does not exist: create it"
    );
}

#[test]
fn a_case_says_which_models_get_a_copy_and_why_others_do_not() {
    let shadows = "shadow: [{model: llama, percent: 5}, {model: gpt, percent: 10, budget: {usd: '1', window: Day}}]";
    let objects = OBJECTS.replace("  rules:\n", &format!("  {shadows}\n  rules:\n"));
    let portfolio = Portfolio::from_text("policy.yaml", &objects);
    assert_eq!(portfolio.errors(), 0, "{:?}", portfolio.findings);
    let cases = format!(
        "
- {{name: a, request: {{{WEB}}}, expect: {{shadow: [llama, gpt]}}}}
- {{name: b, request: {{{WEB}, images: true, maxTokens: 5}}, given: {{asleep: [llama]}}, expect: {{shadow: [llama]}}}}
- {{name: c, request: {{{WEB}, operation: count_tokens}}, expect: {{shadow: []}}}}
"
    );
    let cases: Vec<Case> = serde_saphyr::from_str(&cases).unwrap();
    let settings: Settings = serde_saphyr::from_str(SETTINGS).unwrap();
    let outcome = |case| portfolio.outcome(case, &settings, &Book::default(), Timestamp::UNIX_EPOCH);
    let outcomes: Vec<Outcome> = cases.iter().map(outcome).collect();
    let end = "; 10 of 100 are copied to gpt; 5 of 100 are copied to llama";
    assert!(
        outcomes[0].wrong.is_empty() && outcomes[0].decision.ends_with(end),
        "{:?}",
        outcomes[0]
    );
    let asleep = "llama has no ready pod (ScaledToZero)";
    assert_eq!(outcomes[1].wrong, [format!("is copied to [gpt], not to [llama] ({asleep})")]);
    assert_eq!(
        outcomes[1].decision,
        format!("rule long: gpt; 10 of 100 are copied to gpt; not copied: {asleep}")
    );
    assert!(outcomes[2].wrong.is_empty(), "{:?}", outcomes[2]);
}

#[test]
fn a_case_that_cannot_be_read_or_cannot_fail_is_refused_with_its_place() {
    let file = std::env::temp_dir().join(format!("llm-portfolio-cases-{}.yaml", std::process::id()));
    let told = |text: &str| {
        std::fs::write(&file, text).unwrap();
        read(&file).unwrap_err().to_string()
    };
    let request = "request: {model: m, client: {serviceAccount: a/b}}";
    for (text, problem) in [
        ("[]".to_owned(), "holds no cases"),
        (
            format!("- {{name: n, {request}, expect: {{}}}}"),
            "\"n\": expects nothing: say target",
        ),
        (format!("- {{name: n, {request}, expect: {{because: x}}}}"), "expects nothing"),
        (
            format!("- {{name: n, {request}, expect: {{rule: r, because: x}}}}"),
            "says because without refused",
        ),
        (
            format!("- {{name: n, {request}, expect: {{target: t, refused: 503}}}}"),
            "expects an answer and a refusal",
        ),
        (
            format!("- {{name: n, {request}, expect: {{target: t, targets: [t]}}}}"),
            "says target and targets",
        ),
        (
            format!("- {{name: n, {request}, expect: {{target: t, held: true}}}}"),
            "says held and a target",
        ),
        (
            "- {name: n, request: {model: m, client: {anonymous: {}}, headers: {'x team': a}}, expect: {refused: 403}}".to_owned(),
            "\"n\": \"x team\" is not the name of a header",
        ),
        (
            format!("- name: n\n  {request}\n  expect: {{taget: t}}"),
            ":3: unknown field `taget`",
        ),
        (
            "- name: n\n  request: {model: m, client: {account: a}}\n  expect: {target: t}".to_owned(),
            ":2: unknown variant `account`",
        ),
    ] {
        let told = told(&text);
        assert!(told.contains(problem), "{text}: {told}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(read(&file).unwrap_err().to_string().contains("name the file of cases"));
}

const WARM: &str = r#"
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt, namespace: claims}
spec:
  api: {provider: OpenAI, model: gpt-5, credentials: {secretRef: {name: openai, key: api-key}}}
  price: {inputPer1M: "1", outputPer1M: "10"}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: llama, namespace: claims}
spec: {tier: Regulated, selfHosted: {engine: {kind: VLLM}, accelerator: {profile: cpu}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistant, namespace: claims}
spec:
  model: assistant
  rules: [{name: all, strategy: Ordered, targets: [{model: gpt}, {model: llama}]}]
  budgets:
  - {per: Policy, usd: "500", window: Month, onExhausted: {action: Downgrade, targets: [{model: llama}]}}
  - {name: each, per: Client, tokens: 5000, window: Day}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: spilling, namespace: claims}
spec:
  model: spilling
  rules: [{name: all, targets: [{model: llama}]}]
  warmup: {mode: Spill, targets: [{model: gpt}]}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: holding, namespace: claims}
spec:
  model: holding
  rules: [{name: all, targets: [{model: llama}], fallback: [{model: gpt}]}]
  warmup: {mode: Hold}
"#;

fn warm(cases: &str) -> Vec<Outcome> {
    let portfolio = Portfolio::from_text("policy.yaml", WARM);
    assert_eq!(portfolio.errors(), 0, "{:?}", portfolio.findings);
    let cases: Vec<Case> = serde_saphyr::from_str(cases).unwrap();
    let outcome = |case| portfolio.outcome(case, &Settings::default(), &Book::default(), Timestamp::UNIX_EPOCH);
    cases.iter().map(outcome).collect()
}

#[test]
fn what_happens_while_a_model_sleeps_and_when_a_budget_is_used_up_is_decided_without_a_cluster() {
    let ask = |model: &str| format!("request: {{model: {model}, client: {{serviceAccount: claims/web}}, inputTokens: 10, maxTokens: 100}}");
    let (assistant, spilling, holding) = (ask("assistant"), ask("spilling"), ask("holding"));
    let cases = format!(
        "
- {{name: the pod answers, {spilling}, expect: {{target: llama}}}}
- {{name: another while it wakes, {spilling}, given: {{asleep: [llama]}}, expect: {{target: gpt, rule: all}}}}
- {{name: nobody when it fails, {spilling}, given: {{down: [llama]}}, expect: {{refused: 503, because: Down}}}}
- {{name: waits, {holding}, given: {{asleep: [llama]}}, expect: {{held: true, fallback: [gpt], rule: all}}}}
- {{name: does not wait for what fails, {holding}, given: {{down: [llama]}}, expect: {{target: gpt}}}}
- {{name: within the budget, {assistant}, given: {{spent: {{Policy: '499'}}}}, expect: {{target: gpt}}}}
- {{name: over budget the cheap model answers, {assistant}, given: {{spent: {{Policy: '500'}}}}, expect: {{target: llama}}}}
- {{name: and nobody where that is asleep, {assistant}, given: {{spent: {{Policy: '500'}}, asleep: [llama]}}, expect: {{refused: 429, because: budget 1}}}}
- {{name: no tokens left, {assistant}, given: {{spent: {{Client: 4900}}}}, expect: {{refused: 429, because: 100 tokens left}}}}
"
    );
    for outcome in warm(&cases) {
        assert_eq!(outcome.wrong, Vec::<String>::new(), "{outcome:?}");
    }
    let cases = format!(
        "
- {{name: a, {holding}, given: {{asleep: [llama]}}, expect: {{target: gpt}}}}
- {{name: b, {holding}, expect: {{held: true}}}}
- {{name: c, {holding}, given: {{asleep: [gpt]}}, expect: {{target: llama}}}}
- {{name: d, {holding}, given: {{spent: {{Policy: '1'}}}}, expect: {{target: llama}}}}
- {{name: e, {assistant}, given: {{spent: {{Client: many}}}}, expect: {{target: gpt}}}}
"
    );
    let outcomes = warm(&cases);
    let wrong: Vec<String> = outcomes.iter().map(|outcome| outcome.wrong.join("; ")).collect();
    assert_eq!(
        wrong,
        [
            "waits for llama, and should not; goes to , not to gpt",
            "goes to llama at once, and should wait",
            "says that gpt is asleep, which is no selfHosted model here",
            "says spent for Policy, and RoutingPolicy claims/holding has no budget per Policy",
            "says spent Text(\"many\"), which is no amount of the budget each: 5000 tokens",
        ]
    );
    assert_eq!(outcomes[0].decision, "rule all: waits for llama, then gpt");
}

#[test]
fn texts_are_looked_into_for_identifiers_and_blocked_terms() {
    let guardrails = "  guardrails: {redact: [Email], blockedTerms: {configMapRef: {name: blocked, key: t}}}\n";
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: blocked, namespace: claims, labels: {llmportfolio.dev/terms: 'true'}}\ndata: {t: falcon}\n";
    let settings = SETTINGS.replace(
        "defaultDataClass",
        "detection: {identifiers: [Email, Iban], dataClass: Personal}, defaultDataClass",
    );
    let settings: Settings = serde_saphyr::from_str(&settings).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&format!(
        "
- {{name: personal, request: {{{WEB}, text: 'ask a@example.com'}}, given: {{verdicts: {{assistant-quality: Pass}}}}, expect: {{target: llama, rule: personal-data}}}}
- {{name: nobody, request: {{{WEB}, text: 'ask a@example.com'}}, given: {{down: [llama]}}, expect: {{refused: 503, because: llama}}}}
- {{name: other, request: {{{WEB}, text: 'ask anna'}}, expect: {{rule: everything-else}}}}
- {{name: blocked, request: {{{WEB}, text: 'the FALCON'}}, expect: {{refused: 400, because: a term that RoutingPolicy claims/assistant does not allow}}}}
"
    ))
    .unwrap();
    let told = |objects: &str| -> Vec<Vec<String>> {
        let portfolio = Portfolio::from_text("policy.yaml", objects);
        assert_eq!(portfolio.errors(), 0, "{:?}", portfolio.findings);
        let outcome = |case| portfolio.outcome(case, &settings, &Book::default(), Timestamp::UNIX_EPOCH).wrong;
        cases.iter().map(outcome).collect()
    };
    assert_eq!(told(&format!("{OBJECTS}{guardrails}{map}")), vec![Vec::<String>::new(); 4]);
    let unlabelled = map.replace("terms: 'true'", "terms: 'no'");
    let portfolio = Portfolio::from_text("policy.yaml", &format!("{OBJECTS}{guardrails}{unlabelled}"));
    let found: Vec<String> = portfolio.findings.iter().map(ToString::to_string).collect();
    assert!(
        found
            .iter()
            .any(|one| one.contains("there is no ConfigMap claims/blocked with the label llmportfolio.dev/terms")),
        "{found:?}"
    );
}

const FIT: &str = r#"
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: small, namespace: claims}
spec:
  api: {provider: OpenAI, model: s, credentials: {secretRef: {name: openai, key: api-key}}}
  capabilities: {contextTokens: 1000, maxOutputTokens: 100, tools: false, images: false, jsonSchema: false, embeddings: false}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: large, namespace: claims}
spec:
  api: {provider: OpenAI, model: l, credentials: {secretRef: {name: openai, key: api-key}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: both, namespace: claims}
spec:
  model: both
  rules: [{name: all, strategy: Ordered, targets: [{model: small}, {model: large}]}]
  shadow: [{model: small, percent: 5, budget: {tokens: 100000, window: Day}}]
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: one, namespace: claims}
spec: {model: one, rules: [{name: all, targets: [{model: small}]}]}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: downgrading, namespace: claims}
spec:
  model: downgrading
  rules: [{name: all, targets: [{model: large}]}]
  budgets: [{per: Policy, tokens: 500, window: Day, onExhausted: {action: Downgrade, targets: [{model: small}]}}]
"#;

#[test]
fn a_model_that_cannot_do_it_is_left_out_as_the_gateway_leaves_it_out() {
    let portfolio = Portfolio::from_text("policy.yaml", FIT);
    assert_eq!(portfolio.errors(), 0, "{:?}", portfolio.findings);
    let outcome = |model: &str, asks: &str, rest: &str| {
        let request = format!("{{model: {model}, client: {{serviceAccount: claims/web}}, {asks}}}");
        let case: Case = serde_saphyr::from_str(&format!("{{name: n, request: {request}, {rest}}}")).unwrap();
        portfolio.outcome(&case, &Settings::default(), &Book::default(), Timestamp::UNIX_EPOCH)
    };
    for (asks, why) in [
        (
            "inputTokens: 9000",
            "messages have some 4500 tokens at least, and the model holds 1000",
        ),
        ("tools: true", "tools are given, and the model calls none"),
        ("images: true", "messages hold images, and the model sees none"),
        ("jsonSchema: true", "response_format is a JSON schema, and the model keeps to none"),
        ("maxTokens: 101", "max_tokens is 101, and the model gives 100 at most"),
        ("operation: embeddings", "model makes no embeddings"),
    ] {
        let large = outcome("both", asks, "expect: {target: large, fallback: [], shadow: []}");
        assert_eq!(large.wrong, Vec::<String>::new(), "{asks}");
        assert_eq!(
            (large.decision, large.eliminated),
            (format!("rule all: large; not copied: small: {why}"), vec![format!("small: {why}")])
        );
        let nobody = outcome("one", asks, "expect: {refused: 400, because: can do this}");
        assert_eq!(nobody.wrong, Vec::<String>::new(), "{asks}");
        let decision = format!("rule all: 400 no model of RoutingPolicy claims/one can do this: small: {why}");
        assert_eq!(nobody.decision, decision);
    }
    for asks in ["inputTokens: 2001", "maxTokens: 100", "operation: count_tokens"] {
        let both = outcome("both", asks, "expect: {target: small, fallback: [large]}");
        assert_eq!(both.wrong, Vec::<String>::new(), "{asks}");
    }
    let spent = "given: {spent: {Policy: 500}}, expect: {refused: 400, because: calls none}";
    let downgraded = outcome("downgrading", "tools: true", spent);
    assert_eq!(downgraded.wrong, Vec::<String>::new(), "{}", downgraded.decision);
}

#[test]
fn what_is_given_of_things_that_are_not_there_fails_the_case() {
    for (given, problem) in [
        ("down: [gpt5]", "says given.down: gpt5, which is no model here; did you mean gpt?"),
        (
            "asleep: [lama]",
            "says given.asleep: lama, which is no model here; did you mean llama?",
        ),
        ("asleep: [gpt]", "says that gpt is asleep, which is no selfHosted model here"),
        (
            "busy: {gpt5: 1}",
            "says given.busy: gpt5, which is no model here; did you mean gpt?",
        ),
        (
            "latency: {claims/gtp: 1s}",
            "says given.latency: claims/gtp, which is no model here; did you mean claims/gpt?",
        ),
        (
            "verdicts: {asistant-quality: Fail}",
            "says given.verdicts: asistant-quality, which is no EvalJob here; did you mean assistant-quality?",
        ),
        ("verdicts: {nope: Fail}", "says given.verdicts: nope, which is no EvalJob here"),
        (
            "verdicts: {assistant-quality: {lama: Fail}}",
            "says given.verdicts.assistant-quality: lama, which is no model here; did you mean llama?",
        ),
        (
            "namespaces: {clams: Personal}",
            "says given.namespaces: clams, which is no namespace here; did you mean claims?",
        ),
    ] {
        let cases = format!("- {{name: n, request: {{{WEB}}}, given: {{{given}}}, expect: {{rule: everything-else}}}}");
        let outcome = outcomes(&cases).remove(0);
        assert_eq!(outcome.wrong, [problem], "{outcome:?}");
    }
    let good =
        "down: [gpt, claims/llama], busy: {claims/gpt: 1}, namespaces: {claims: Internal}, verdicts: {assistant-quality: {llama: Pass}}";
    let cases = format!("- {{name: n, request: {{{WEB}}}, given: {{{good}}}, expect: {{refused: 503}}}}");
    assert_eq!(outcomes(&cases)[0].wrong, Vec::<String>::new());
}
