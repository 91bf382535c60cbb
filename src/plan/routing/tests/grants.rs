//! Models of other namespaces: named with a grant, and not without.

use std::time::Duration;

use super::*;
use crate::plan::reference_grant::v1::ReferenceGrantSpec;
use crate::plan::traffic::{BudgetFigures, Figures, ModelFigures};

/// For policies of `claims`, to this model, or with an empty name to all.
const TO_ALL: &str =
    "{from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], to: [{group: llmportfolio.dev, kind: ModelDeployment}]}";

impl World {
    /// A cluster of the Gateway API without any grant.
    fn with_gateway_api(mut self) -> Self {
        self.grants = Grants::none(Some("v1"));
        self
    }

    fn grant(mut self, namespace: &str, spec: &str) -> Self {
        let spec: ReferenceGrantSpec = serde_saphyr::from_str(spec).unwrap();
        self.grants.add(namespace, &spec.from, &spec.to);
        self
    }

    /// A pod's model of another namespace, of this tier.
    fn elsewhere(mut self, namespace: &str, name: &str, tier: &str) -> Self {
        let yaml =
            format!("metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{tier: {tier}, selfHosted: {{engine: {{kind: VLLM}}}}}}");
        self.models.push(Arc::new(serde_saphyr::from_str(&yaml).unwrap()));
        self.endpoints
            .insert(Key::new(namespace, name), vec![format!("http://{name}.{namespace}:8080")]);
        self
    }

    /// The models of policy `assistant` that may get requests, wherever it names them.
    fn open(&self) -> Vec<String> {
        let table = self.build().table;
        let route = table.find("assistant").unwrap();
        let of_rule = |rule: &'_ Rule| {
            rule.instead
                .iter()
                .flatten()
                .chain(&rule.spill)
                .chain(&rule.shadow)
                .cloned()
                .collect::<Vec<_>>()
        };
        let in_rules: Vec<Candidate> = route.rules.iter().flat_map(of_rule).collect();
        let open = route
            .candidates()
            .chain(&in_rules)
            .filter_map(|candidate| candidate.backend.as_ref().ok());
        let mut open: Vec<String> = open.map(|model| model.model.to_string()).collect();
        open.sort();
        open.dedup();
        open
    }
}

const SHARED: &str = "rules: [{targets: [{model: llama, namespace: models, weight: 80}, {model: gpt, weight: 20}]}]";

#[test]
fn a_model_of_another_namespace_needs_a_grant_and_nobody_without_one_hears_whether_it_exists() {
    let world = World::new().with_gateway_api().assistant(SHARED);
    let there = World::new()
        .with_gateway_api()
        .elsewhere("models", "llama", "General")
        .assistant(SHARED);
    let status = world.status("assistant");
    assert_eq!(status, there.status("assistant"), "whether it exists is not told");
    assert_eq!(there.open(), ["claims/gpt"]);
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False RefNotPermitted");
    assert_eq!(
        message(&status, Kind::ResolvedRefs),
        "spec.rules[0].targets[0].namespace: no ReferenceGrant of namespace models permits RoutingPolicies of namespace claims to name \
         models/llama; make it, as in {apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: claims.llama, namespace: \
         models}, spec: {from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], to: [{group: llmportfolio.dev, kind: \
         ModelDeployment, name: llama}]}}"
    );
    assert_eq!(
        message(&status, Kind::Ready),
        "gpt answers; left out: models/llama is of another namespace, which has no ReferenceGrant for it: the policy's condition ResolvedRefs \
         says which"
    );
    assert_eq!(status.rules[0].targets[0].reason, "RefNotPermitted");

    let status = there.grant("models", TO_ALL).status("assistant");
    assert_eq!(condition(&status, Kind::ResolvedRefs), "True ResolvedRefs");
    assert_eq!(message(&status, Kind::Ready), "models/llama 80, gpt 20 answers");
    let status = world.grant("models", TO_ALL).status("assistant");
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(
        message(&status, Kind::ResolvedRefs),
        "models/llama does not exist: create ModelDeployment models/llama, or take it out of the policy"
    );
}

#[test]
fn a_cluster_without_the_gateway_api_permits_nothing_and_says_what_it_lacks() {
    let world = World::new().elsewhere("models", "llama", "General").assistant(SHARED);
    let said = message(&world.status("assistant"), Kind::ResolvedRefs);
    assert!(
        said.contains("this cluster has no ReferenceGrants: install the CRDs of the Gateway API (https://gateway-api.sigs.k8s.io)"),
        "{said}"
    );
    assert!(
        said.contains("{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant,"),
        "{said}"
    );
    assert_eq!(world.open(), ["claims/gpt"]);
}

#[test]
fn the_same_namespace_may_be_said_and_needs_nothing() {
    let rules = "rules: [{targets: [{model: llama, namespace: claims}], fallback: [{model: gpt, namespace: claims}]}]";
    let said = World::new().assistant(rules);
    let unsaid = World::new().assistant("rules: [{targets: [{model: llama}], fallback: [{model: gpt}]}]");
    let without_spec = |world: &World| RoutingPolicyStatus {
        accepted: None,
        ..world.status("assistant")
    };
    assert_eq!(without_spec(&said), without_spec(&unsaid));
}

#[test]
fn it_is_so_wherever_a_policy_names_a_model() {
    let home = "targets: [{model: gpt}]";
    let foreign = "[{model: llama, namespace: models}]";
    for (spec, field) in [
        (
            format!("rules: [{{targets: {foreign}, fallback: [{{model: gpt}}]}}]"),
            "spec.rules[0].targets[0]",
        ),
        (format!("rules: [{{{home}, fallback: {foreign}}}]"), "spec.rules[0].fallback[0]"),
        (
            format!("rules: [{{{home}}}], warmup: {{mode: Spill, targets: {foreign}}}"),
            "spec.warmup.targets[0]",
        ),
        (
            format!(
                "rules: [{{{home}}}], budgets: [{{per: Policy, tokens: 5, window: Day, onExhausted: {{action: Downgrade, targets: {foreign}}}}}]"
            ),
            "spec.budgets[0].onExhausted.targets[0]",
        ),
        (
            format!("rules: [{{{home}}}], shadow: [{{model: llama, namespace: models, percent: 5}}]"),
            "spec.shadow[0]",
        ),
    ] {
        let world = World::new()
            .with_gateway_api()
            .elsewhere("models", "llama", "General")
            .assistant(&spec);
        assert_eq!(world.open(), ["claims/gpt"], "{field}");
        let status = world.status("assistant");
        assert_eq!(condition(&status, Kind::ResolvedRefs), "False RefNotPermitted", "{field}");
        let said = message(&status, Kind::ResolvedRefs);
        assert!(said.starts_with(&format!("{field}.namespace: no ReferenceGrant of")), "{said}");

        let world = world.grant("models", TO_ALL);
        assert_eq!(world.open(), ["claims/gpt", "models/llama"], "{field}");
        assert_eq!(
            condition(&world.status("assistant"), Kind::ResolvedRefs),
            "True ResolvedRefs",
            "{field}"
        );
    }
}

#[test]
fn one_sentence_tells_all_places_of_a_model() {
    let rules =
        "rules: [{targets: [{model: llama, namespace: models}, {model: nope}], fallback: [{model: llama, namespace: models, adapter: x}]}]";
    let said = message(
        &World::new().with_gateway_api().assistant(rules).status("assistant"),
        Kind::ResolvedRefs,
    );
    assert!(
        said.starts_with("spec.rules[0].targets[0].namespace, spec.rules[0].fallback[0].namespace: no ReferenceGrant"),
        "{said}"
    );
    assert_eq!(said.matches("kind: ReferenceGrant").count(), 1, "{said}");
    assert!(said.contains("; nope does not exist"), "{said}");
}

#[test]
fn the_grant_that_is_missing_is_told_whole_however_many_are() {
    let of = |namespace: &str, name: &str| format!("{{model: {name}, namespace: {namespace}}}");
    let rest: Vec<String> = (0..15).map(|at| of("others", &format!("model-{at:02}"))).collect();
    let several = |first: &str| format!("rules: [{{targets: [{first}, {}], fallback: [{first}, {first}]}}]", rest.join(", "));
    let spec = several(&of("models", "llama"));
    for world in [World::new(), World::new().with_gateway_api()] {
        let said = message(&world.assistant(&spec).status("assistant"), Kind::ResolvedRefs);
        assert!(
            said.starts_with("spec.rules[0].targets[0].namespace, spec.rules[0].fallback[0].namespace and 1 more: no ReferenceGrant"),
            "{said}"
        );
        assert!(
            said.contains(
                "kind: ModelDeployment, name: llama}]}}; spec.rules[0].targets[1].namespace: nor is there one to name others/model-00"
            ),
            "{said}"
        );
    }
}

#[test]
fn models_of_one_name_are_told_apart() {
    let rules = "rules: [{targets: [{model: llama}, {model: llama, namespace: models}]}]";
    let world = World::new()
        .with_gateway_api()
        .elsewhere("models", "llama", "General")
        .grant("models", TO_ALL)
        .assistant(rules);
    let model = |requests, resting| ModelFigures {
        requests,
        resting,
        ..ModelFigures::default()
    };
    let seen = Figures {
        requests: 3,
        gateways: 1,
        models: [("llama".to_owned(), model(1, 0)), ("models/llama".to_owned(), model(2, 1))].into(),
        ..Figures::default()
    };
    let policy = &world.policies[0];
    let verdict = &world.build().verdicts[&Key::of(policy.as_ref())];
    let status = super::status(policy, verdict, Some(&seen), Timestamp::UNIX_EPOCH);
    assert_eq!(status.summary.as_deref(), Some("llama 1, models/llama 1"));
    let targets: Vec<&str> = status.targets.iter().map(|target| target.model.as_str()).collect();
    assert_eq!(targets, ["llama", "models/llama"]);
    let reasons: Vec<&str> = status.rules[0].targets.iter().map(|target| target.reason.as_str()).collect();
    assert_eq!(reasons, ["Eligible", "Resting"]);
    assert_eq!(status.last_hour.unwrap().models.len(), 2);
}

#[test]
fn a_budget_names_the_model_elsewhere_that_it_goes_to() {
    let budget = "{per: Policy, tokens: 5, window: Day, onExhausted: {action: Downgrade, targets: [{model: llama, namespace: models}, {model: gpt}]}}";
    let mut world = World::new()
        .with_gateway_api()
        .elsewhere("models", "llama", "General")
        .grant("models", TO_ALL)
        .assistant(&format!("rules: [{{targets: [{{model: gpt}}]}}], budgets: [{budget}]"));
    let policy = &world.policies[0].clone();
    let budget = crate::plan::ledger::Budget::of(0, &policy.spec.budgets[0]).unwrap();
    let figures = BudgetFigures {
        spent: 5,
        until: "2026-01-02T00:00:00Z".parse().unwrap(),
        accounts: 1,
        exhausted: 1,
    };
    let seen = Figures {
        budgets: [(budget.id, figures)].into(),
        p50: Some(Duration::from_secs(1)),
        ..Figures::default()
    };
    let said = |world: &World| {
        let verdict = &world.build().verdicts[&Key::of(policy.as_ref())];
        let status = super::status(policy, verdict, Some(&seen), Timestamp::UNIX_EPOCH);
        message(&status, Kind::WithinBudget)
    };
    let permitted = said(&world);
    assert!(permitted.ends_with("requests go to models/llama, gpt"), "{permitted}");
    world.grants = Grants::none(Some("v1"));
    let forbidden = said(&world);
    assert!(forbidden.ends_with("requests go to gpt"), "{forbidden}");
}

#[test]
fn grants_are_looked_for_while_what_was_said_before_and_holds_needs_them() {
    let mut world = World::new().assistant("rules: [{targets: [{model: gpt}, {model: llama, namespace: models}]}]");
    let good = world.status("assistant");
    let mut policy = world.policies.remove(0).as_ref().clone();
    assert!(may_cross(&policy));
    policy.spec = serde_saphyr::from_str("{model: assistant, rules: [{when: {expression: '1'}, targets: [{model: gpt}]}]}").unwrap();
    assert!(!may_cross(&policy), "nothing held before");
    policy.status = Some(good);
    assert!(may_cross(&policy));
}

#[test]
fn what_is_required_of_models_is_required_of_those_of_other_namespaces_too() {
    let shared = |require: &str| {
        World::new()
            .with_gateway_api()
            .elsewhere("models", "llama", "General")
            .grant("models", TO_ALL)
            .evaluated("Pass", None)
            .assistant(&format!(
                "require: {require}, rules: [{{targets: [{{model: llama}}, {{model: llama, namespace: models}}]}}]"
            ))
    };
    let tiers = shared("{tiers: [Regulated]}");
    assert_eq!(tiers.open(), ["claims/llama"]);
    assert_eq!(
        tiers.why_not("models/llama"),
        "models/llama has tier General, and the policy requires Regulated"
    );
    let evaluated = shared("{evaluated: [{evalJob: quality}]}");
    assert_eq!(
        evaluated.open(),
        ["claims/llama"],
        "a pass of the model that is called the same is none of it"
    );
    assert_eq!(
        evaluated.why_not("models/llama"),
        "models/llama must pass EvalJob quality, which evaluates models of its own namespace only: name a model of claims"
    );

    let mut classes = shared("{}");
    classes.settings = serde_saphyr::from_str("{dataClasses: {Special: {tiers: [Regulated]}}, defaultDataClass: Special}").unwrap();
    let status = classes.status("assistant");
    assert_eq!(status.targets[1].model, "models/llama");
    assert_eq!(status.targets[1].barred_from, ["Special"]);
}

proptest! {
    /// Whatever policies name and grants say: a model of another namespace has requests where some grant says so, and nowhere else.
    #[test]
    fn no_policy_reaches_beyond_what_grants_say(
        grants in prop::collection::vec((0..3_usize, 0..3_usize, prop::option::of(0..2_usize)), 0..5),
        named in prop::collection::vec((prop::option::of(0..3_usize), 0..2_usize), 1..6),
    ) {
        const NAMESPACES: [&str; 3] = ["claims", "models", "other"];
        const MODELS: [&str; 2] = ["a", "b"];
        let mut world = World::default().with_gateway_api();
        for namespace in NAMESPACES {
            for model in MODELS {
                world = world.elsewhere(namespace, model, "General");
            }
        }
        for (from, to, name) in &grants {
            let name = name.map(|name| format!(", name: {}", MODELS[name])).unwrap_or_default();
            let from = NAMESPACES[*from];
            world = world.grant(NAMESPACES[*to], &format!("{{from: [{{group: llmportfolio.dev, kind: RoutingPolicy, namespace: {from}}}], \
                to: [{{group: llmportfolio.dev, kind: ModelDeployment{name}}}]}}"));
        }
        let target = |(namespace, model): &(Option<usize>, usize)| {
            let namespace = namespace.map(|namespace| format!(", namespace: {}", NAMESPACES[namespace])).unwrap_or_default();
            format!("{{model: {}{namespace}}}", MODELS[*model])
        };
        let targets: Vec<String> = named.iter().map(target).collect();
        let world = world.assistant(&format!("rules: [{{targets: [{}]}}]", targets.join(", ")));
        let may = |(namespace, model): &(Option<usize>, usize)| {
            let namespace = namespace.unwrap_or(0);
            let says = |(from, to, name): &(usize, usize, Option<usize>)| *from == 0 && *to == namespace && name.is_none_or(|name| name == *model);
            (namespace == 0 || grants.iter().any(says)).then(|| format!("{}/{}", NAMESPACES[namespace], MODELS[*model]))
        };
        let mut expected: Vec<String> = named.iter().filter_map(may).collect();
        expected.sort();
        expected.dedup();
        let all = named.iter().filter(|one| may(one).is_some()).count() == named.len();
        prop_assert_eq!(world.open(), expected);
        let resolved = condition(&world.status("assistant"), Kind::ResolvedRefs);
        prop_assert_eq!(resolved, if all { "True ResolvedRefs" } else { "False RefNotPermitted" });
    }
}
