//! What routing decides, in sentences.

mod deciding;
mod grants;
mod seen;
mod shadow;
mod warmup;

use super::*;
use crate::api::condition::{Kind, find};
use crate::api::model_deployment::Provider;
use crate::api::policy_status::RoutingPolicyStatus;
use crate::plan::ledger::{Foreseen, Unit};
use crate::plan::price::{Book, Cost, Unpriced};
use crate::plan::{backend, fingerprint};
use crate::protocol::usage::{self, Tokens};
use deciding::Ask;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

/// The objects of one cluster; each test changes one thing.
#[derive(Default)]
struct World {
    models: Vec<Arc<ModelDeployment>>,
    policies: Vec<Arc<RoutingPolicy>>,
    evaluations: Vec<Arc<EvalJob>>,
    endpoints: BTreeMap<Key, Vec<String>>,
    prices: Book,
    namespaces: BTreeMap<String, String>,
    settings: Settings,
    terms: Terms,
    grants: Grants,
    open_models: bool,
}

impl World {
    /// A pod's model `llama`, a ready API model `gpt`.
    fn new() -> Self {
        Self::default().pod("llama").api("gpt", "True")
    }

    fn model(mut self, name: &str, spec: &str, status: &str) -> Self {
        let yaml = format!("metadata: {{name: {name}, namespace: claims}}\nspec: {spec}\nstatus: {status}");
        let mut md: ModelDeployment = serde_saphyr::from_str(&yaml).unwrap();
        if let (Some(api), Some(status)) = (&md.spec.api, &mut md.status) {
            status.confirmed_for = Some(backend::destination(api));
        }
        self.models.push(Arc::new(md));
        self
    }

    fn pod(mut self, name: &str) -> Self {
        self.endpoints
            .insert(Key::new("claims", name), vec!["http://10.0.0.1:8080".to_owned()]);
        self.model(name, "{tier: Regulated, selfHosted: {engine: {kind: VLLM}}}", "{}")
    }

    fn api(self, name: &str, ready: &str) -> Self {
        let condition = format!(
            "{{type: Ready, status: '{ready}', reason: CredentialsRejected, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}"
        );
        let spec = "{api: {provider: OpenAI, model: gpt-5-mini, credentials: {secretRef: {name: openai, key: api-key}}}}";
        self.model(name, spec, &format!("{{conditions: [{condition}]}}"))
    }

    fn policy(mut self, name: &str, created: &str, spec: &str) -> Self {
        let meta = format!("{{name: {name}, namespace: claims, generation: 3, creationTimestamp: '{created}'}}");
        let policy: RoutingPolicy = serde_saphyr::from_str(&format!("metadata: {meta}\nspec: {spec}")).unwrap();
        self.policies.push(Arc::new(policy));
        self
    }

    fn assistant(self, rest: &str) -> Self {
        self.policy("assistant", "2026-01-01T00:00:00Z", &format!("{{model: assistant, {rest}}}"))
    }

    /// An EvalJob `quality` of llama whose latest run said `verdict` about what `fingerprint` stands for.
    fn evaluated(mut self, verdict: &str, fingerprint: Option<&str>) -> Self {
        let spec = "{targets: {models: [llama]}, schedule: {cron: '0 2 * * *'}, criteria: [{suite: s, metric: accuracy, lowerBoundAtLeast: '0.9'}],
            suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}]}";
        let yaml = format!("metadata: {{name: quality, namespace: claims}}\nspec: {spec}");
        let mut job: EvalJob = serde_saphyr::from_str(&yaml).unwrap();
        let current = fingerprint::of(&self.models[0], &job, &self.models);
        let fingerprint = fingerprint.unwrap_or(&current);
        let result = format!("{{model: llama, verdict: {verdict}, message: 0.5 is below 0.9, fingerprint: '{fingerprint}'}}");
        let status = format!("{{nextScheduleTime: '2026-02-01T02:00:00Z', targets: [{result}]}}");
        job.status = Some(serde_saphyr::from_str(&status).unwrap());
        self.evaluations.push(Arc::new(job));
        self
    }

    fn build(&self) -> Routing {
        build(&Inputs {
            models: &self.models,
            policies: &self.policies,
            evaluations: &self.evaluations,
            endpoints: &self.endpoints,
            prices: &self.prices,
            namespaces: &self.namespaces,
            grants: &self.grants,
            terms: &self.terms,
            settings: &self.settings,
            open_models: self.open_models,
            now: Timestamp::UNIX_EPOCH,
        })
    }

    fn status(&self, policy: &str) -> RoutingPolicyStatus {
        let policy = self.policies.iter().find(|p| p.metadata.name.as_deref() == Some(policy)).unwrap();
        status(
            policy,
            &self.build().verdicts[&Key::of(policy.as_ref())],
            None,
            Timestamp::UNIX_EPOCH,
        )
    }

    /// Why a model is out of policy `assistant`.
    fn why_not(&self, model: &str) -> String {
        let status = self.status("assistant");
        status
            .targets
            .iter()
            .find(|t| t.model == model)
            .unwrap()
            .message
            .clone()
            .unwrap_or_default()
    }
}

/// `True NoEligibleTarget`, or nothing.
fn condition(status: &RoutingPolicyStatus, kind: Kind) -> String {
    find(&status.conditions, kind)
        .map(|c| format!("{} {}", c.status, c.reason))
        .unwrap_or_default()
}

fn message(status: &RoutingPolicyStatus, kind: Kind) -> String {
    find(&status.conditions, kind).map(|c| c.message.clone()).unwrap_or_default()
}

const BOTH: &str = "rules: [{targets: [{model: llama, weight: 80}, {model: gpt, weight: 20}], fallback: [{model: gpt}]}]";

#[test]
fn a_backend_costs_what_the_spec_or_the_book_says_that_day() {
    let mut world = World::new().policy(
        "assistant",
        "2026-01-01T00:00:00Z",
        "{model: assistant, rules: [{targets: [{model: gpt}], fallback: [{model: llama}]}]}",
    );
    let entries = "prices: [{provider: OpenAI, model: gpt-5-mini, from: 2026-08-01, inputPer1M: '2'}]";
    world.prices = Book::of(&serde_saphyr::from_str(entries).unwrap()).unwrap();
    let table = world.build().table;
    let cost = |model: &str, now: &str| {
        let backend = table.backends().find(|backend| backend.model.name == model).unwrap();
        let count = Tokens {
            input: 3,
            ..Tokens::default()
        };
        backend.pricing.cost(Some(&count), now.parse().unwrap())
    };
    assert_eq!(cost("gpt", "2026-07-31T23:59:59Z"), Cost::Unknown(Unpriced::NoPrice));
    assert_eq!(
        cost("gpt", "2026-08-01T00:00:00Z"),
        Cost::Known(6000),
        "the same table, a day later"
    );
    assert_eq!(cost("llama", "2026-08-01T00:00:00Z"), Cost::Unknown(Unpriced::NoPrice));
}

#[test]
fn what_a_request_may_take_is_told_in_every_unit_and_on_other_terms_only_of_providers() {
    let mut world = World::new().assistant(BOTH);
    let entries = "prices: [{provider: OpenAI, model: gpt-5-mini, inputPer1M: '2', outputPer1M: '8'}]";
    world.prices = Book::of(&serde_saphyr::from_str(entries).unwrap()).unwrap();
    let table = world.build().table;
    let amounts = |model: &str, asked| {
        let backend = table.backends().find(|backend| backend.model.name == model).unwrap();
        let foreseen = Foreseen::of(backend, 3, 2, asked, Timestamp::UNIX_EPOCH);
        [Unit::Tokens, Unit::Usd].map(|unit| foreseen.amount(unit))
    };
    assert_eq!(amounts("gpt", usage::Terms::Unsaid), [Ok(5), Ok(3 * 2_000 + 2 * 8_000)]);
    assert_eq!(amounts("gpt", usage::Terms::Special), [Ok(5), Err(Unpriced::SpecialTerms)]);
    assert_eq!(
        amounts("llama", usage::Terms::Special),
        [Ok(5), Ok(0)],
        "our own pods cost by the hour"
    );
}

#[test]
fn a_policy_whose_models_serve_is_ready_and_says_who_answers() {
    let world = World::new().assistant(BOTH);
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "True Routing");
    assert_eq!(condition(&status, Kind::Accepted), "True Accepted");
    assert_eq!(condition(&status, Kind::ResolvedRefs), "True ResolvedRefs");
    assert_eq!(
        (condition(&status, Kind::Reconciling), condition(&status, Kind::Stalled)),
        Default::default()
    );
    assert_eq!(status.summary.as_deref(), Some("llama 80, gpt 20"));
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn backends_know_where_and_under_what_name_to_call() {
    let routing = World::new().assistant(BOTH).build();
    let rule = &routing.table.find("assistant").unwrap().rules[0];
    let backends: Vec<_> = rule.candidates().map(|c| c.backend.clone().unwrap()).collect();
    assert_eq!(backends[0].bases, ["http://10.0.0.1:8080/v1"]);
    assert_eq!(
        (backends[0].upstream_model.as_str(), backends[0].destination.is_some()),
        ("llama", false)
    );
    assert_eq!(backends[1].bases, ["https://api.openai.com/v1"]);
    assert_eq!(
        (backends[1].upstream_model.as_str(), backends[1].destination.is_some()),
        ("gpt-5-mini", true)
    );
}

#[test]
fn a_model_that_does_not_exist_is_named_with_what_to_do_and_the_others_still_answer() {
    let world = World::new().assistant("rules: [{targets: [{model: llama}, {model: nope}]}]");
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "True Routing");
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(
        message(&status, Kind::ResolvedRefs),
        "nope does not exist: create ModelDeployment claims/nope, or take it out of the policy"
    );
    assert_eq!(status.summary.as_deref(), Some("llama"));
}

#[test]
fn what_one_rule_lacks_is_told_though_another_names_the_model_without_it() {
    let rules = "rules: [{when: {tools: true}, targets: [{model: llama}]},
        {require: {evaluated: [{evalJob: gone}]}, targets: [{model: llama}], fallback: [{model: gpt}, {model: llama}]}]";
    let status = World::new().assistant(rules).status("assistant");
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(
        message(&status, Kind::ResolvedRefs),
        "llama must pass EvalJob gone, which does not exist: create it; gpt must pass EvalJob gone, which does not exist: create it",
        "each once"
    );
}

#[test]
fn what_would_be_counted_together_by_chance_is_refused_and_so_is_a_downgrade_that_changes_nothing() {
    let rules = "rules: [{targets: [{model: gpt}, {model: llama, weight: 0}]}, {targets: [{model: gpt}], fallback: [{model: llama}]}]";
    let day = "per: Policy, usd: '5', window: Day";
    let to = |model: &str| format!("onExhausted: {{action: Downgrade, targets: [{model}]}}");
    for (rest, told) in [
        (
            format!("{rules}, budgets: [{{name: '2', {day}}}, {{{day}}}]"),
            "spec.budgets[1].name: \"2\" is what spec.budgets[0] is called too, so that both would be spent together; one without a name is called \
             by its position, from 1; give each a name of its own; until then no request is answered",
        ),
        (
            format!("{rules}, shadow: [{{model: llama, percent: 1}}, {{model: llama, namespace: claims, percent: 2}}]"),
            "spec.shadow[1].model: llama is the model of spec.shadow[0] too; remove the other, or add their percents; until then no request is answered",
        ),
        (
            format!(
                "{rules}, budgets: [{{{day}, {}}}]",
                to("{model: gpt}, {model: gpt, namespace: claims}")
            ),
            "spec.budgets[0].onExhausted.targets: names only the model that every rule asks already; name a cheaper model that no rule's targets \
             name, or set action to Reject; until then no request is answered",
        ),
    ] {
        let status = World::new().assistant(&rest).status("assistant");
        assert_eq!(condition(&status, Kind::Accepted), "False Invalid", "{rest}");
        assert_eq!(message(&status, Kind::Accepted), told);
    }
    let two = "rules: [{strategy: Ordered, targets: [{model: gpt}, {model: llama}]}]";
    for rest in [
        format!("{rules}, budgets: [{{name: '1', {day}}}, {{{day}}}, {{name: '2', per: Policy, tokens: 5, window: Day}}]"),
        format!("{rules}, shadow: [{{model: llama, percent: 1}}, {{model: llama, namespace: models, percent: 2}}]"),
        format!("{rules}, budgets: [{{{day}, {}}}]", to("{model: llama}")),
        format!("{rules}, budgets: [{{{day}, {}}}]", to("{model: gpt, namespace: models}")),
        // It keeps requests from the first.
        format!("{two}, budgets: [{{{day}, {}}}]", to("{model: llama}")),
    ] {
        let status = World::new().assistant(&rest).status("assistant");
        assert_eq!(condition(&status, Kind::Accepted), "True Accepted", "{rest}");
    }
}

#[test]
fn a_rule_whose_models_are_all_missing_makes_the_policy_not_ready_yet() {
    let status = World::new().assistant("rules: [{targets: [{model: nope}]}]").status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "False TargetNotFound");
    assert_eq!(condition(&status, Kind::Reconciling), "True TargetNotFound");
    assert!(condition(&status, Kind::Stalled).is_empty());
}

#[test]
fn one_rule_without_a_model_makes_the_policy_not_ready_but_the_other_keeps_answering() {
    let rules =
        "rules: [{name: team, when: {headers: [{name: X-Team, value: claims}]}, targets: [{model: nope}]}, {targets: [{model: gpt}]}]";
    let world = World::new().assistant(rules);
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "False TargetNotFound");
    assert!(message(&status, Kind::Ready).starts_with("rule team has no model that may answer: nope does not exist"));
    assert_eq!(status.summary.as_deref(), Some("team: none; 2: gpt"));
    let routing = world.build();
    let route = routing.table.find("assistant").unwrap();
    assert_eq!(Ask::new().order(&routing), ["gpt"]);
    assert!(Ask::new().header("X-Team", "claims").why_not(&routing)[0].starts_with("nope does not exist"));
    assert_eq!(route.rules[0].when.headers, [("x-team".to_owned(), "claims".to_owned())]);
}

#[test]
fn a_pod_model_without_a_ready_pod_is_out() {
    let mut world = World::new().assistant(BOTH);
    world.endpoints.clear();
    assert_eq!(world.why_not("llama"), "llama has no ready pod");
    assert_eq!(world.status("assistant").summary.as_deref(), Some("gpt"));
    world.endpoints.insert(Key::new("claims", "llama"), Vec::new());
    assert_eq!(world.why_not("llama"), "llama has no ready pod");
}

#[test]
fn an_api_model_that_was_pointed_elsewhere_is_out_until_it_is_confirmed_there() {
    let mut world = World::new().policy(
        "assistant",
        "2026-01-01T00:00:00Z",
        "{model: assistant, rules: [{targets: [{model: gpt}]}]}",
    );
    let mut elsewhere = (*world.models[1]).clone();
    elsewhere.spec.api.as_mut().unwrap().endpoint = Some("https://elsewhere.example.com/v1".to_owned());
    world.models[1] = Arc::new(elsewhere);
    assert!(condition(&world.status("assistant"), Kind::Ready).starts_with("False NoEligibleTarget"));
}

#[test]
fn an_api_model_is_out_until_its_provider_confirmed_it() {
    let rules = "rules: [{targets: [{model: gpt}]}]";
    for (ready, sentence) in [
        ("False", "gpt is not ready (CredentialsRejected)"),
        ("Unknown", "gpt is not ready (CredentialsRejected)"),
    ] {
        let world = World::default().api("gpt", ready).assistant(rules);
        assert_eq!(world.why_not("gpt"), sentence);
        assert_eq!(condition(&world.status("assistant"), Kind::Ready), "False NoEligibleTarget");
    }
    let unseen = World::default()
        .model("gpt", "{api: {provider: OpenAI, model: m}}", "{}")
        .assistant(rules);
    assert_eq!(unseen.why_not("gpt"), "gpt has not been checked with its provider yet");
}

#[test]
fn a_backend_says_whose_it_is_what_it_can_do_and_whose_certificates_it_takes() {
    let ready = "{conditions: [{type: Ready, status: 'True', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
    let backend = |spec: &str| {
        let routing = World::default().model("m", spec, ready).build();
        routing.table.backends().next().unwrap().clone()
    };
    let bedrock = backend(
        "{api: {provider: Bedrock, model: 'x:0', region: eu-central-1, credentials: {secretRef: {name: s, key: k}}}, capabilities: {contextTokens: 200000, tools: true}}",
    );
    assert_eq!(
        (bedrock.provider, bedrock.engine, bedrock.region.as_deref()),
        (Some(Provider::Bedrock), None, Some("eu-central-1"))
    );
    assert_eq!(
        (
            bedrock.capabilities.context_tokens,
            bedrock.capabilities.tools,
            bedrock.capabilities.images
        ),
        (Some(200_000), Some(true), None)
    );
    assert!(bedrock.destination.is_some() && bedrock.authorities.is_none());

    let own = backend("{api: {provider: OpenAICompatible, model: x, endpoint: 'https://h', caBundle: {configMapRef: {name: c, key: k}}}}");
    assert!(own.destination.is_none() && own.authorities.is_some());
    let url = super::operation(&own.bases[0], "/chat/completions").unwrap();
    assert_eq!(url, "https://h/chat/completions");
    let url = super::operation(&bedrock.bases[0], "/model/x%3A0/converse-stream").unwrap();
    assert_eq!(
        url,
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/x%3A0/converse-stream"
    );
}

#[test]
fn anthropic_is_asked_for_openais_chat_completions() {
    let ready = "{conditions: [{type: Ready, status: 'True', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
    let spec = "{api: {provider: Anthropic, model: claude-sonnet-4-5, credentials: {secretRef: {name: anthropic, key: api-key}}}}";
    let routing = World::default().model("claude", spec, ready).build();
    let backend = routing.table.backends().next().unwrap();
    assert_eq!(backend.bases, ["https://api.anthropic.com/v1"]);
    assert_eq!(
        (backend.upstream_model.as_str(), backend.destination.is_some()),
        ("claude-sonnet-4-5", true)
    );
}

#[test]
fn a_model_of_another_tier_is_out() {
    let world = World::new().assistant(&format!("require: {{tiers: [Regulated, MissionCritical]}}, {BOTH}"));
    assert_eq!(world.why_not("llama"), "");
    assert_eq!(
        world.why_not("gpt"),
        "gpt has tier General, and the policy requires Regulated or MissionCritical"
    );
}

#[test]
fn only_a_current_pass_lets_a_model_in() {
    let rules = "require: {evaluated: [{evalJob: quality}]}, rules: [{targets: [{model: llama}]}]";
    let why = |world: World| world.assistant(rules).why_not("llama");
    assert_eq!(why(World::new().evaluated("Pass", None)), "");
    assert_eq!(
        why(World::new()),
        "llama must pass EvalJob quality, which does not exist: create it"
    );
    assert_eq!(
        why(World::new().evaluated("Fail", None)),
        "llama must pass EvalJob quality, which says Fail (0.5 is below 0.9); the next run is at 2026-02-01T02:00:00Z"
    );
    assert!(why(World::new().evaluated("Inconclusive", None)).contains("says Inconclusive"));
    assert!(why(World::new().evaluated("Invalid", None)).contains("says Invalid"));
    assert_eq!(
        why(World::new().evaluated("Pass", Some("earlier"))),
        "llama or EvalJob quality was changed since the latest evaluation, which said Pass; the next run is at 2026-02-01T02:00:00Z"
    );
}

#[test]
fn a_model_that_was_never_evaluated_is_out() {
    let rules = "require: {evaluated: [{evalJob: quality}]}, rules: [{targets: [{model: llama}, {model: gpt}]}]";
    let mut world = World::new().evaluated("Pass", None).assistant(rules);
    assert_eq!(
        world.why_not("gpt"),
        "gpt is not among the models that EvalJob quality evaluates: add it to the EvalJob's spec.targets.models"
    );
    let mut job = world.evaluations[0].as_ref().clone();
    job.status = None;
    world.evaluations = vec![Arc::new(job)];
    assert_eq!(
        world.why_not("llama"),
        "llama has not been evaluated by EvalJob quality yet; its next run is not planned yet"
    );
}

#[test]
fn the_oldest_policy_keeps_a_name_and_the_others_say_who_has_it() {
    let spec = "{model: assistant, rules: [{targets: [{model: gpt}]}]}";
    let mut world = World::new()
        .policy("later", "2026-01-02T00:00:00Z", spec)
        .policy("first", "2026-01-01T00:00:00Z", spec)
        .policy("also-later", "2026-01-02T00:00:00Z", spec);
    for _ in 0..2 {
        assert_eq!(condition(&world.status("first"), Kind::Ready), "True Routing");
        let later = world.status("later");
        assert_eq!(condition(&later, Kind::Accepted), "False NameConflict");
        assert_eq!(condition(&later, Kind::Ready), "False NameConflict");
        assert_eq!(condition(&later, Kind::Stalled), "True NameConflict");
        assert!(message(&later, Kind::Ready).contains("older RoutingPolicy claims/first: choose another spec.model"));
        assert_eq!(later.summary, None);
        assert_eq!(
            world.build().table.find("assistant").unwrap().policy,
            Some(Key::new("claims", "first"))
        );
        world.policies.reverse();
    }
}

#[test]
fn without_clients_the_service_accounts_of_the_policys_namespace_may_call() {
    let routing = World::new().assistant(BOTH).build();
    let route = routing.table.find("assistant").unwrap();
    let account = |namespace: &str| Client::ServiceAccount {
        namespace: namespace.to_owned(),
        name: "web".to_owned(),
    };
    assert!(route.admits(&account("claims")));
    assert!(!route.admits(&account("other")));
    assert!(!route.admits(&Client::Anonymous));
}

#[test]
fn clients_are_admitted_by_name_and_by_the_labels_of_their_key() {
    let clients = "clients: [{serviceAccounts: {namespaces: [batch], names: [nightly]}}, {apiKeys: {matchLabels: {team: claims}}}]";
    let routing = World::new().assistant(&format!("{clients}, {BOTH}")).build();
    let route = routing.table.find("assistant").unwrap();
    let account = |name: &str| Client::ServiceAccount {
        namespace: "batch".to_owned(),
        name: name.to_owned(),
    };
    let key = |labels: &[(&str, &str)]| Client::ApiKey {
        name: "k".to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    assert!(route.admits(&account("nightly")));
    assert!(!route.admits(&account("daily")));
    assert!(route.admits(&key(&[("team", "claims"), ("env", "prod")])));
    assert!(!route.admits(&key(&[("team", "sales")])));
    assert!(!route.admits(&key(&[])));
}

#[test]
fn anonymous_clients_need_the_installers_leave() {
    let mut world = World::new().assistant(&format!("clients: [{{anonymous: {{}}}}], {BOTH}"));
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "False AnonymousNotAllowed");
    assert_eq!(condition(&status, Kind::Stalled), "True AnonymousNotAllowed");
    assert!(!world.build().table.find("assistant").unwrap().admits(&Client::Anonymous));
    world.settings.allow_anonymous = true;
    assert_eq!(condition(&world.status("assistant"), Kind::Ready), "True Routing");
    assert!(world.build().table.find("assistant").unwrap().admits(&Client::Anonymous));
}

#[test]
fn a_model_is_called_by_its_own_name_only_from_its_own_namespace() {
    let mut world = World::new().assistant(&format!("require: {{tiers: [MissionCritical]}}, {BOTH}"));
    world.settings.allow_anonymous = true;
    let routing = world.build();
    let route = routing.table.find("claims/llama").unwrap();
    let account = |namespace: &str| Client::ServiceAccount {
        namespace: namespace.to_owned(),
        name: "evaluator".to_owned(),
    };
    assert!(route.admits(&account("claims")) && !route.admits(&account("other")) && !route.admits(&Client::Anonymous));
    assert_eq!(Ask::new().of("claims/llama").order(&routing), ["llama"]);
    assert!(routing.table.find("claims/nope").is_none());
}

#[test]
fn open_models_are_called_by_their_own_names_by_anyone() {
    let mut world = World::new();
    world.open_models = true;
    assert!(world.build().table.find("claims/llama").unwrap().admits(&Client::Anonymous));
}

#[test]
fn ordered_targets_come_in_order_then_the_fallbacks_and_none_twice() {
    let rules = "rules: [{strategy: Ordered, targets: [{model: gpt, weight: 1}, {model: idle, weight: 0}, {model: llama}],
        fallback: [{model: gpt}, {model: spare}]}]";
    let routing = World::new().pod("idle").pod("spare").assistant(rules).build();
    assert_eq!(Ask::new().order(&routing), ["gpt", "llama", "spare"]);
}

#[test]
fn timeouts_default_and_are_taken_as_given() {
    let routing = World::new()
        .assistant(&format!("timeouts: {{firstToken: 2s, total: 1h30m}}, {BOTH}"))
        .build();
    let timeouts = routing.table.find("assistant").unwrap().timeouts;
    assert_eq!(timeouts.first_token.as_secs(), 2);
    assert_eq!(timeouts.total.as_secs(), 5400);
    assert_eq!(
        (timeouts.connect, timeouts.idle),
        (Timeouts::default().connect, Timeouts::default().idle)
    );
}

#[test]
fn the_status_of_an_unchanged_policy_does_not_depend_on_the_time() {
    let mut world = World::new().assistant("rules: [{targets: [{model: nope}, {model: llama}]}]");
    let first = world.status("assistant");
    let mut policy = world.policies[0].as_ref().clone();
    policy.status = Some(first.clone());
    world.policies = vec![Arc::new(policy)];
    let verdict = world.build().verdicts.into_values().next().unwrap();
    assert_eq!(
        status(&world.policies[0], &verdict, None, Timestamp::from_second(99).unwrap()),
        first
    );
}

proptest! {
    #[test]
    fn targets_are_drawn_exactly_in_proportion_to_their_weights(a in 0u32..50, b in 0u32..50, c in 0u32..50) {
        let rules = format!("rules: [{{targets: [{{model: gpt, weight: {a}}}, {{model: llama, weight: {b}}}, {{model: out, weight: {c}}}]}}]");
        let routing = World::new().api("out", "False").assistant(&rules).build();
        let drawn: Vec<_> = (0..u64::from(a + b)).flat_map(|roll| Ask::new().drawing(roll).order(&routing)).collect();
        let count = |name: &str| drawn.iter().filter(|n| *n == name).count();
        prop_assert_eq!((count("gpt"), count("llama"), count("out")), (a as usize, b as usize, 0));
    }
}

/// A model `ft` with the adapters `fraud`, which is loaded, and `late`, which is not yet.
fn tuned() -> World {
    let adapters = "adapters: [{name: fraud, source: {uri: 'hf://b/f'}}, {name: late, source: {uri: 'hf://b/l'}}]";
    let status = "{adapters: [{name: fraud, ready: 1/2, answers: true}, {name: late, ready: 0/2, answers: false}]}";
    let mut world = World::new().model(
        "ft",
        &format!("{{selfHosted: {{engine: {{kind: VLLM}}, custom: {{baseModel: b, {adapters}}}}}}}"),
        status,
    );
    world
        .endpoints
        .insert(Key::new("claims", "ft"), vec!["http://10.0.0.2:8000".to_owned()]);
    world
}

#[test]
fn an_adapter_is_a_target_of_its_own() {
    let world = tuned().assistant(
        "rules: [{targets: [{model: ft, adapter: fraud, weight: 3}, {model: ft}, {model: ft, adapter: late}, {model: ft, adapter: none}]}]",
    );
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "True Routing");
    assert_eq!(status.summary.as_deref(), Some("ft:fraud 3, ft 1"));
    assert_eq!(world.why_not("ft:late"), "ft:late is not loaded yet");
    let nowhere = "ft:none does not exist: ModelDeployment claims/ft has no adapter \"none\"; \
                   add it to spec.selfHosted.custom.adapters, or take it out of the policy";
    assert_eq!(world.why_not("ft:none"), nowhere);
    assert_eq!(condition(&status, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(message(&status, Kind::ResolvedRefs), nowhere);
}

#[test]
fn an_adapter_is_called_by_its_own_name_and_the_models_name_means_the_model() {
    let routing = tuned().build();
    for (name, upstream, may_be_lacking) in [("claims/ft:fraud", "fraud", true), ("claims/ft", "ft", false)] {
        let route = routing.table.find(name).unwrap();
        let backend = route.rules[0].targets[0].candidate.backend.clone().unwrap();
        assert_eq!(
            (backend.upstream_model.as_str(), backend.may_be_lacking),
            (upstream, may_be_lacking)
        );
        assert_eq!(backend.model.to_string(), name);
    }
    assert!(routing.table.find("claims/ft:none").is_none());
}

#[test]
fn a_verdict_on_the_model_says_nothing_of_its_adapters() {
    let world = || {
        let mut world = tuned();
        // `evaluated` is about the first model.
        world.models.rotate_right(1);
        world.assistant("require: {evaluated: [{evalJob: quality}]}, rules: [{targets: [{model: ft, adapter: fraud}]}]")
    };
    let job = |target: &str, fingerprint: &str| {
        let mut world = world().evaluated("Pass", Some(fingerprint));
        let mut job = (*world.evaluations[0]).clone();
        job.spec.targets.models = vec![target.to_owned()];
        job.status.as_mut().unwrap().targets[0].model = target.to_owned();
        world.evaluations = vec![Arc::new(job)];
        world
    };
    let of_adapter = |world: &World, adapter| {
        let asked = crate::plan::model::asked(&world.models[0], adapter).unwrap();
        fingerprint::of(&asked, &world.evaluations[0], &world.models)
    };
    let any = job("ft", "x");
    assert!(
        any.why_not("ft:fraud")
            .contains("is not among the models that EvalJob quality evaluates")
    );
    let (fraud, alone) = (of_adapter(&any, Some("fraud")), of_adapter(&any, None));
    assert_ne!(fraud, alone);
    assert_eq!(job("ft:fraud", &fraud).status("assistant").summary.as_deref(), Some("ft:fraud"));
    assert!(
        job("ft:fraud", &alone)
            .why_not("ft:fraud")
            .contains("was changed since the latest evaluation")
    );
}

#[test]
fn a_verdict_no_longer_counts_once_its_judge_is_another() {
    let require = "require: {evaluated: [{evalJob: quality}]}, rules: [{targets: [{model: llama}]}]";
    let mut world = World::new().assistant(require).evaluated("Pass", None);
    let mut job = (*world.evaluations[0]).clone();
    let judge = serde_saphyr::from_str("judge: {model: gpt}").unwrap();
    job.spec.suites[0].scorer = Some(judge);
    job.status.as_mut().unwrap().targets[0].fingerprint = fingerprint::of(&world.models[0], &job, &world.models);
    world.evaluations = vec![Arc::new(job)];
    assert_eq!(world.status("assistant").summary.as_deref(), Some("llama"));
    let mut other = (*world.models[1]).clone();
    other.spec.api.as_mut().unwrap().model = "another".to_owned();
    world.models[1] = Arc::new(other);
    assert!(world.why_not("llama").contains("was changed since the latest evaluation"));
}

#[test]
fn a_policy_whose_terms_are_missing_says_so_and_is_not_ready() {
    let guarded = "guardrails: {blockedTerms: {configMapRef: {name: blocked, key: t}}}, rules: [{targets: [{model: llama}]}]";
    let mut world = World::new().assistant(guarded);
    let said = |world: &World| -> Vec<(String, String, String)> {
        let conditions = world.status("assistant").conditions;
        conditions.into_iter().map(|c| (c.type_, c.status, c.reason)).collect()
    };
    let is = |kind: &str, status: &str, reason: &str| (kind.to_owned(), status.to_owned(), reason.to_owned());
    let missing = said(&world);
    assert!(missing.contains(&is("ResolvedRefs", "False", "NotFound")), "{missing:?}");
    assert!(missing.contains(&is("Ready", "False", "GuardrailsNotReady")), "{missing:?}");
    let map = serde_json::json!({"metadata": {"name": "blocked", "namespace": "claims", "labels": {"llmportfolio.dev/terms": "true"}}, "data": {"t": "a"}});
    world.terms = Terms::of([&serde_json::from_value(map).unwrap()], &Terms::default());
    let there = said(&world);
    assert!(
        there.contains(&is("ResolvedRefs", "True", "ResolvedRefs")) && there.contains(&is("Ready", "True", "Routing")),
        "{there:?}"
    );
}

#[test]
fn a_class_of_detection_that_nobody_knows_is_the_highest() {
    let mut settings: Settings = serde_saphyr::from_str("{dataClasses: {Internal: {}, Special: {}}}").unwrap();
    settings.detection = serde_saphyr::from_str("{identifiers: [Email], dataClass: Specal}").unwrap();
    let classes = DataClasses::of(&settings);
    assert_eq!(classes.detection().map(|detection| detection.class), classes.named("Special"));
    settings.data_classes.clear();
    assert_eq!(DataClasses::of(&settings).detection(), None);
}
