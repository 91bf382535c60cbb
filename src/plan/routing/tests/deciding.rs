//! Which models may have a request, in which order, and what keeps the others from it.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// A request for `assistant` by `claims/web`; each test changes one thing.
pub(super) struct Ask {
    model: &'static str,
    client: Client,
    headers: HeaderMap,
    content: Result<Content, String>,
    roll: u64,
    stays_with: Option<Key>,
    now: Timestamp,
}

/// Models that have given no answer yet.
pub(super) struct Quiet;

impl Live for Quiet {
    fn latency(&self, _: &Backend, _: bool) -> Option<std::time::Duration> {
        None
    }
    fn load(&self, _: &Backend) -> usize {
        0
    }
}

/// Models that took so many milliseconds of late, and have so many requests.
struct Known(&'static [(&'static str, u64, usize)]);

impl Live for Known {
    fn latency(&self, model: &Backend, _: bool) -> Option<std::time::Duration> {
        let known = self.0.iter().find(|(name, ..)| *name == model.model.name)?;
        Some(std::time::Duration::from_millis(known.1))
    }
    fn load(&self, model: &Backend) -> usize {
        self.0
            .iter()
            .find(|(name, ..)| *name == model.model.name)
            .map_or(0, |known| known.2)
    }
}

impl Ask {
    pub(super) fn new() -> Self {
        Self {
            model: "assistant",
            client: Client::ServiceAccount {
                namespace: "claims".to_owned(),
                name: "web".to_owned(),
            },
            headers: HeaderMap::new(),
            content: Ok(Content::default()),
            roll: 0,
            stays_with: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    pub(super) fn of(self, model: &'static str) -> Self {
        Self { model, ..self }
    }

    pub(super) fn drawing(self, roll: u64) -> Self {
        Self { roll, ..self }
    }

    pub(super) fn header(mut self, name: &str, value: &'static str) -> Self {
        self.headers
            .append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static(value));
        self
    }

    pub(super) fn by(self, client: Client) -> Self {
        Self { client, ..self }
    }

    fn holding(self, content: Content) -> Self {
        Self {
            content: Ok(content),
            ..self
        }
    }

    pub(super) fn draw(&self) -> Draw<'_> {
        Draw {
            roll: self.roll,
            stays_with: self.stays_with.as_ref(),
            mirror: self.roll,
        }
    }

    pub(super) fn facts<T>(&self, routing: &Routing, then: impl FnOnce(&Route, &Facts<'_>) -> T) -> T {
        let table = &routing.table;
        let route = table.find(self.model).unwrap();
        let data_class = table.class_of_request(route, &self.client, &self.headers).unwrap();
        let facts = Facts {
            client: &self.client,
            headers: &self.headers,
            model: self.model,
            operation: "chat",
            is_streamed: false,
            data_class,
            raised: None,
            content: &|| self.content.clone(),
            now: self.now,
        };
        then(route, &facts)
    }

    fn decided(&self, routing: &Routing, live: &dyn Live) -> Result<(String, Vec<String>), String> {
        self.facts(routing, |route, facts| {
            let decision = decide(route, &routing.table.classes, facts, live, self.draw());
            let decision = decision.map_err(|refused| refused.message)?;
            let models = decision.models.iter().map(|model| model.model.name.clone());
            Ok((decision.rule.name.clone(), models.collect()))
        })
    }

    /// The models that are asked.
    pub(super) fn order(&self, routing: &Routing) -> Vec<String> {
        self.decided(routing, &Quiet).unwrap().1
    }

    fn order_with(&self, routing: &Routing, live: &dyn Live) -> Vec<String> {
        self.decided(routing, live).unwrap().1
    }

    fn rule(&self, routing: &Routing) -> Result<String, String> {
        self.decided(routing, &Quiet).map(|(rule, _)| rule)
    }

    /// What keeps models from it.
    pub(super) fn why_not(&self, routing: &Routing) -> Vec<String> {
        self.facts(routing, |route, facts| {
            let rule = match decide(route, &routing.table.classes, facts, &Quiet, self.draw()) {
                Ok(decision) => decision.rule,
                Err(refused) => refused.rule.unwrap(),
            };
            let out = eliminated(rule, &routing.table.classes, facts);
            out.into_iter().map(|exclusion| exclusion.message).collect()
        })
    }
}

pub(super) fn settings(yaml: &str) -> Settings {
    serde_saphyr::from_str(yaml).unwrap()
}

/// The matrix of the contract: personal data stays on our own machines in the EU.
pub(super) const MATRIX: &str = "{region: eu, jurisdiction: EU, defaultDataClass: Internal, dataClasses: {
    Public: {}, Internal: {classes: [API, Open, Custom]}, Personal: {classes: [Open, Custom], regions: [eu]},
    Special: {classes: [Open, Custom], tiers: [Regulated, MissionCritical], regions: [eu]}}}";

fn governed(rest: &str) -> World {
    World {
        settings: settings(MATRIX),
        ..World::new().assistant(rest)
    }
}

const ANY: &str = "rules: [{strategy: Ordered, targets: [{model: gpt}], fallback: [{model: llama}]}]";

#[test]
fn a_fallback_is_held_to_the_class_of_the_data_as_a_target_is() {
    let routing = governed(ANY).build();
    assert_eq!(Ask::new().order(&routing), ["gpt", "llama"]);
    assert_eq!(Ask::new().header("x-data-class", "Personal").order(&routing), ["llama"]);
    assert_eq!(
        Ask::new().header("x-data-class", "Personal").why_not(&routing),
        ["gpt is of class API, and data of class Personal requires Open or Custom"]
    );
    let mut world = governed("rules: [{targets: [{model: llama}], fallback: [{model: gpt}]}]");
    world.endpoints.clear();
    let refused = Ask::new()
        .header("x-data-class", "Personal")
        .decided(&world.build(), &Quiet)
        .unwrap_err();
    assert_eq!(
        refused,
        "no model of RoutingPolicy claims/assistant, rule 1, may answer now: llama has no ready pod; gpt is of class API, and data of class Personal requires Open or Custom"
    );
}

#[test]
fn no_header_lowers_a_class_and_the_highest_of_several_counts() {
    let mut world = governed(ANY);
    let account = |namespace: &str| Client::ServiceAccount {
        namespace: namespace.to_owned(),
        name: "web".to_owned(),
    };
    let key = |class: &str| Client::ApiKey {
        name: "k".to_owned(),
        labels: BTreeMap::from([("llmportfolio.dev/data-class".to_owned(), class.to_owned())]),
    };
    world.namespaces.insert("patients".to_owned(), "Special".to_owned());
    let routing = world.build();
    let own = ["llama"];
    assert_eq!(Ask::new().by(account("patients")).order(&routing), own, "the client's namespace");
    assert_eq!(
        Ask::new().by(account("patients")).header("x-data-class", "Public").order(&routing),
        own
    );
    assert_eq!(
        Ask::new().by(key("Personal")).header("x-data-class", "Public").order(&routing),
        own,
        "the key's Secret"
    );
    let twice = Ask::new().header("x-data-class", "Public").header("x-data-class", "Special");
    assert_eq!(twice.order(&routing), own);
    assert_eq!(
        Ask::new().by(key("Misspelled")).order(&routing),
        own,
        "a misspelled label is the highest class"
    );
    world.namespaces.insert("claims".to_owned(), "Personal".to_owned());
    let routing = world.build();
    assert_eq!(Ask::new().by(key("Public")).order(&routing), own, "the policy's namespace");
    assert_eq!(Ask::new().by(account("other")).of("claims/llama").order(&routing), own);
    let direct = Ask::new().of("claims/gpt").decided(&routing, &Quiet).unwrap_err();
    assert!(direct.contains("data of class Personal requires Open or Custom"), "{direct}");
}

#[test]
fn a_class_that_nobody_knows_is_no_class() {
    let classes = DataClasses::of(&settings(MATRIX));
    let unknown = classes.of_request(["Persnal"], []).unwrap_err();
    assert_eq!((unknown.given.as_str(), unknown.known.len()), ("Persnal", 4));
    assert!(DataClasses::default().of_request(["Personal"], []).is_err());
    assert_eq!(DataClasses::default().of_request([], []), Ok(None));
    let misspelled = DataClasses::of(&settings("{defaultDataClass: Intenal, dataClasses: {Internal: {}, Special: {}}}"));
    assert_eq!(misspelled.of_request([], []).unwrap(), misspelled.named("Special"));
}

#[test]
fn a_region_or_law_that_is_not_known_fulfils_no_requirement() {
    let require = |what: &str| format!("require: {{{what}}}, {ANY}");
    let world = governed(&require("regions: [EU]"));
    assert_eq!(Ask::new().order(&world.build()), ["llama"], "in any case");
    assert_eq!(
        world.why_not("gpt"),
        "gpt runs in a region that is not known (declare it in spec.api.region), and the policy requires EU"
    );
    let world = governed(&require("jurisdictions: [US]"));
    assert_eq!(
        world.why_not("gpt"),
        "gpt has an operator under a law that is not known (declare it in spec.jurisdiction), and the policy requires US"
    );
    assert_eq!(
        world.why_not("llama"),
        "llama has an operator under the law of EU, and the policy requires US"
    );
    let unset = World::new().assistant(&require("regions: [eu]"));
    assert_eq!(
        unset.why_not("llama"),
        "llama runs in a region that is not known (the installer sets region), and the policy requires eu"
    );
    let prefix = governed(&require("regions: [e]"));
    assert_eq!(prefix.why_not("llama"), "llama runs in eu, and the policy requires e");
}

#[test]
fn a_rule_may_require_more_than_its_policy_and_never_less() {
    let rules = "require: {classes: [Open]}, rules: [
        {name: strict, when: {headers: [{name: x-strict, value: 'yes'}]}, require: {tiers: [MissionCritical], classes: [Open, API]},
         targets: [{model: llama}, {model: gpt}]}, {targets: [{model: llama}, {model: gpt}]}]";
    let routing = governed(rules).build();
    assert_eq!(Ask::new().order(&routing), ["llama"]);
    let why = Ask::new().header("x-strict", "yes").decided(&routing, &Quiet).unwrap_err();
    assert!(
        why.contains("llama has tier Regulated, and rule strict requires MissionCritical"),
        "{why}"
    );
    assert!(why.contains("gpt is of class API, and the policy requires Open"), "{why}");
}

#[test]
fn a_request_that_may_cost_too_much_goes_to_a_model_that_is_cheap_enough() {
    let priced = |name: &str, price: &str, more: &str| {
        let ready = "{conditions: [{type: Ready, status: 'True', reason: Ok, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
        let spec = format!("{{api: {{provider: OpenAI, model: {name}, credentials: {{secretRef: {{name: o, key: k}}}}}}, {price} {more}}}");
        (name.to_owned(), spec, ready)
    };
    let dear = priced(
        "dear",
        "price: {inputPer1M: '10', outputPer1M: '100'},",
        "capabilities: {maxOutputTokens: 8000}",
    );
    let cheap = priced(
        "cheap",
        "price: {inputPer1M: '1', outputPer1M: '1'},",
        "capabilities: {maxOutputTokens: 8000}",
    );
    let endless = priced("endless", "price: {inputPer1M: '1', outputPer1M: '1'}", "");
    let rules = "require: {maxCostPerRequestUSD: '0.10'}, rules: [{strategy: Ordered,
        targets: [{model: dear}, {model: cheap}, {model: endless}, {model: gpt}, {model: llama}]}]";
    let mut world = World::new().assistant(rules);
    for (name, spec, ready) in [dear, cheap, endless] {
        world = world.model(&name, &spec, ready);
    }
    let routing = world.build();
    let content = |max_tokens, answers| Content {
        input_tokens: 1000,
        max_tokens,
        answers,
        ..Content::default()
    };
    // 1000 tokens at 10 are 0.01; 900 at 100 are 0.09.
    assert_eq!(
        Ask::new().holding(content(Some(900), 1)).order(&routing),
        ["dear", "cheap", "endless", "llama"]
    );
    assert_eq!(
        Ask::new().holding(content(Some(901), 1)).order(&routing),
        ["cheap", "endless", "llama"]
    );
    assert_eq!(
        Ask::new().holding(content(Some(900), 2)).order(&routing),
        ["cheap", "endless", "llama"],
        "two answers cost twice"
    );
    assert_eq!(Ask::new().holding(content(None, 1)).order(&routing), ["cheap", "llama"]);
    let why = Ask::new().holding(content(None, 1)).why_not(&routing);
    assert_eq!(
        why[0],
        "dear may cost 0.81 USD for this request, above the 0.1 that one may cost: ask for fewer max_tokens"
    );
    assert!(why[1].starts_with("endless has no known limit of an answer"), "{why:?}");
    assert!(why[2].starts_with("gpt has no known"), "{why:?}");
    let unreadable = Ask {
        content: Err("messages[0] is a sound".to_owned()),
        ..Ask::new()
    };
    assert_eq!(
        unreadable.decided(&routing, &Quiet).unwrap_err(),
        "whether rule 1 of RoutingPolicy claims/assistant is for this request cannot be told: a request may cost 0.1 USD at most, and messages[0] is a \
         sound"
    );
}

#[test]
fn the_cheapest_for_this_request_comes_first_and_those_without_a_price_last() {
    let ready = "{conditions: [{type: Ready, status: 'True', reason: Ok, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
    let spec = |price: &str| {
        format!("{{api: {{provider: OpenAI, model: m, credentials: {{secretRef: {{name: o, key: k}}}}}}, price: {{{price}}}}}")
    };
    let rules = "rules: [{strategy: LeastCost, targets: [{model: gpt}, {model: reader}, {model: writer}], fallback: [{model: llama}]}]";
    let world = World::new()
        .model("reader", &spec("inputPer1M: '1', outputPer1M: '50'"), ready)
        .model("writer", &spec("inputPer1M: '10', outputPer1M: '10'"), ready)
        .assistant(rules);
    let routing = world.build();
    let content = |input_tokens, max_tokens| Content {
        input_tokens,
        max_tokens: Some(max_tokens),
        ..Content::default()
    };
    assert_eq!(
        Ask::new().holding(content(10_000, 10)).order(&routing),
        ["reader", "writer", "gpt", "llama"]
    );
    assert_eq!(
        Ask::new().holding(content(10, 10_000)).order(&routing),
        ["writer", "reader", "gpt", "llama"]
    );
    assert_eq!(
        world.status("assistant").summary.as_deref(),
        Some("LeastCost of gpt, reader, writer")
    );
}

#[test]
fn the_quickest_or_the_least_busy_comes_first_and_whom_nobody_has_seen_before_all() {
    let rules =
        |strategy: &str| format!("rules: [{{strategy: {strategy}, targets: [{{model: gpt}}, {{model: llama}}, {{model: spare}}]}}]");
    let live = Known(&[("gpt", 300, 2000), ("llama", 100, 9000)]);
    let quickest = World::new().pod("spare").assistant(&rules("LeastLatency")).build();
    assert_eq!(Ask::new().order_with(&quickest, &live), ["spare", "llama", "gpt"]);
    let idle = World::new().pod("spare").assistant(&rules("LeastBusy")).build();
    assert_eq!(Ask::new().order_with(&idle, &live), ["spare", "gpt", "llama"]);
}

#[test]
fn rules_look_at_the_data_the_client_and_the_content() {
    let rules = "clients: [{serviceAccounts: {namespaces: [claims, batch]}}], rules: [
        {name: personal, when: {dataClasses: [Personal, Special]}, targets: [{model: llama}]},
        {name: batch, when: {clients: [{serviceAccounts: {namespaces: [batch]}}]}, targets: [{model: llama}]},
        {name: long, when: {inputTokens: {atLeast: 1000}, images: false}, targets: [{model: llama}]},
        {name: tools, when: {tools: true}, targets: [{model: llama}]},
        {name: written, when: {expression: \"request.images && request.headers['x-team'] == 'a'\"}, targets: [{model: llama}]},
        {name: rest, targets: [{model: llama}]}]";
    let routing = governed(rules).build();
    let batch = Client::ServiceAccount {
        namespace: "batch".to_owned(),
        name: "x".to_owned(),
    };
    let content = |input_tokens, tools, images| Content {
        input_tokens,
        tools,
        images,
        ..Content::default()
    };
    let rule = |ask: Ask| ask.rule(&routing);
    assert_eq!(rule(Ask::new().header("x-data-class", "Personal")), Ok("personal".to_owned()));
    assert_eq!(rule(Ask::new().by(batch)), Ok("batch".to_owned()));
    assert_eq!(rule(Ask::new().holding(content(1000, false, false))), Ok("long".to_owned()));
    assert_eq!(rule(Ask::new().holding(content(999, true, false))), Ok("tools".to_owned()));
    assert_eq!(rule(Ask::new()), Ok("rest".to_owned()));
    let with_images = || Ask::new().holding(content(1000, false, true));
    assert_eq!(rule(with_images().header("x-team", "a")), Ok("written".to_owned()));
    assert_eq!(rule(with_images().header("x-team", "b")), Ok("rest".to_owned()));
    assert_eq!(
        rule(with_images()),
        Err("whether rule written of RoutingPolicy claims/assistant is for this request cannot be told: its expression reads \"x-team\", which this request does not have: send it, or ask `in` first".to_owned()),
        "a rule that cannot be told is not passed over"
    );
}

#[test]
fn a_rule_for_clients_that_the_installer_does_not_allow_is_for_nobody() {
    let rules = "clients: [{anonymous: {}}, {serviceAccounts: {}}], rules: [
        {name: strangers, when: {clients: [{anonymous: {}}]}, targets: [{model: gpt}]},
        {name: either, when: {clients: [{anonymous: {}}, {serviceAccounts: {names: [web]}}]}, targets: [{model: llama}]}]";
    let mut world = governed(rules);
    assert_eq!(Ask::new().rule(&world.build()), Ok("either".to_owned()));
    world.settings.allow_anonymous = true;
    assert_eq!(Ask::new().rule(&world.build()), Ok("strangers".to_owned()));
}

#[test]
fn an_expression_sees_the_request_and_its_client_and_no_credentials() {
    let holds = |expression: &str, ask: Ask| {
        let rules = format!(
            "rules: [{{name: a, when: {{expression: \"{expression}\"}}, targets: [{{model: llama}}]}}, {{name: b, targets: [{{model: gpt}}]}}]"
        );
        ask.rule(&governed(&rules).build()).map(|rule| rule == "a")
    };
    let key = || {
        Ask::new().by(Client::ApiKey {
            name: "ci".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "claims".to_owned())]),
        })
    };
    assert_eq!(
        holds("client.kind == 'APIKey' && client.labels['team'] == 'claims'", key()),
        Ok(true)
    );
    assert_eq!(
        holds("client.namespace == 'claims' && client.name.startsWith('we')", Ask::new()),
        Ok(true)
    );
    assert_eq!(
        holds(
            "request.dataClass == 'Internal' && request.model == 'assistant' && !request.stream",
            Ask::new()
        ),
        Ok(true)
    );
    assert_eq!(
        holds(
            "request.operation == 'chat' && request.inputTokens + request.maxTokens == 0",
            Ask::new()
        ),
        Ok(true)
    );
    assert_eq!(
        holds("request['model'] == 'assistant' && request [ 'stream' ] == false", Ask::new()),
        Ok(true)
    );
    assert_eq!(
        holds("request.exists(k, k == 'tools') && client.exists(k, k == 'labels')", Ask::new()),
        Ok(true)
    );
    assert_eq!(
        holds("size(request) == 10 && size(client) == 5", Ask::new()),
        Ok(true),
        "all of them"
    );
    assert_eq!(
        holds("'authorization' in request.headers", Ask::new().header("authorization", "Bearer x")),
        Ok(false)
    );
    assert_eq!(
        holds(
            "request.headers.exists(h, h.startsWith('x-team'))",
            Ask::new().header("X-Team-Id", "7")
        ),
        Ok(true)
    );
}

#[test]
fn an_expression_that_cannot_be_used_is_told_with_its_field_and_the_last_good_policy_holds() {
    for (expression, problem) in [
        ("request.inputTokens >", "is no CEL expression: "),
        (
            "request.inputTokns > 3",
            "reads \"inputTokns\", which neither request nor client has",
        ),
        ("size(request.model)", "is neither true nor false: compare something"),
        (
            "request.headers['X-Team'] == 'a'",
            "reads the header \"X-Team\", and the names of headers are in lower case here: write \"x-team\"",
        ),
        (
            "has(request.headers.Team)",
            "reads the header \"Team\", and the names of headers are in lower case here: write \"team\"",
        ),
        (
            "'X-Team' in request['headers']",
            "reads the header \"X-Team\", and the names of headers are in lower case here: write \"x-team\"",
        ),
        (
            "'X-Team' in request.headers",
            "reads the header \"X-Team\", and the names of headers are in lower case here: write \"x-team\"",
        ),
        ("req.inputTokens > 3", "reads \"req\", and there are only request and client"),
        (
            "request.inputTokens > 3 || other.x",
            "reads \"other\", and there are only request and client",
        ),
        ("request.inputTokens > 'a'", "cannot be evaluated: "),
        (
            "request.headers.exists(a, request.headers.exists(b, request.headers.exists(c, a == b && b == c)))",
            "goes through lists more than 2 times, which may take too long",
        ),
    ] {
        let rules =
            format!("rules: [{{targets: [{{model: llama}}]}}, {{when: {{expression: \"{expression}\"}}, targets: [{{model: gpt}}]}}]");
        let world = governed(&rules);
        let status = world.status("assistant");
        let told = message(&status, Kind::Accepted);
        assert!(
            told.starts_with(&format!("spec.rules[1].when.expression: {problem}")),
            "{expression}: {told}"
        );
        assert!(told.ends_with("; until then no request is answered"), "{told}");
        assert_eq!(condition(&status, Kind::Ready), "False Invalid");
        let refused = Ask::new().rule(&world.build()).unwrap_err();
        assert!(
            refused.contains("is not in force, because it is not valid"),
            "half a policy might be wider: {refused}"
        );
    }
    let mut world = governed(BOTH);
    let good = world.status("assistant");
    assert_eq!(good.accepted.as_ref().map(|accepted| accepted.generation), Some(3));
    let bad = "{model: assistant, rules: [{when: {dataClasses: [Persnal], expression: '1'}, targets: [{model: gpt}]}]}";
    let mut policy = world.policies[0].as_ref().clone();
    policy.spec = serde_saphyr::from_str(bad).unwrap();
    policy.metadata.generation = Some(4);
    policy.status = Some(good.clone());
    world.policies = vec![Arc::new(policy)];
    let status = world.status("assistant");
    assert_eq!(condition(&status, Kind::Accepted), "False Invalid");
    assert_eq!(
        message(&status, Kind::Accepted),
        "spec.rules[0].when.dataClasses[0]: \"Persnal\" is no class of data that the installer has set; name one of Public, Internal, \
         Personal, Special, or have the installer add it to dataClasses; spec.rules[0].when.expression: is neither true nor false: compare \
         something; correct it, as in request.inputTokens > 30000 || 'x-team' in request.headers; until then generation 3 is in force"
    );
    assert_eq!(
        condition(&status, Kind::Ready),
        "True Routing",
        "and it answers by what it said before"
    );
    assert_eq!(status.accepted, good.accepted, "which is kept");
    assert_eq!(Ask::new().drawing(85).order(&world.build()), ["gpt"]);
}

#[test]
fn a_verdict_counts_for_as_long_as_the_policy_says() {
    let require = "require: {evaluated: [{evalJob: quality, maxAge: 2h}]}, rules: [{targets: [{model: llama}]}]";
    let mut world = World::new().assistant(require).evaluated("Pass", None);
    assert_eq!(
        world.why_not("llama"),
        "llama has passed EvalJob quality, and nobody knows when: a verdict may be 2h old; the next run is at 2026-02-01T02:00:00Z"
    );
    let mut job = world.evaluations[0].as_ref().clone();
    let slot = Timestamp::from_second(-3600).unwrap();
    job.status.as_mut().unwrap().targets[0].slot = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(slot));
    world.evaluations = vec![Arc::new(job)];
    let routing = world.build();
    assert_eq!(Ask::new().order(&routing), ["llama"]);
    let verdict = routing.verdicts.values().next().unwrap();
    assert_eq!(verdict.next, Timestamp::from_second(3600).ok(), "the status must be looked at then");
    let later = Ask {
        now: Timestamp::from_second(3600).unwrap(),
        ..Ask::new()
    };
    assert_eq!(
        later.decided(&routing, &Quiet).unwrap_err(),
        "no model of RoutingPolicy claims/assistant, rule 1, may answer now: llama passed EvalJob quality more than 2h ago, as long as a verdict may count; the next run is at 2026-02-01T02:00:00Z",
        "without another table"
    );
}

#[test]
fn a_rule_that_no_model_may_answer_for_its_data_says_which_requirement_empties_it() {
    let rules =
        "rules: [{name: personal, when: {dataClasses: [Personal]}, targets: [{model: gpt}]}, {targets: [{model: gpt}, {model: llama}]}]";
    let status = governed(rules).status("assistant");
    assert_eq!(condition(&status, Kind::Ready), "False NoEligibleTarget");
    assert_eq!(
        message(&status, Kind::Ready),
        "rule personal has no model that may see data of class Personal: gpt is of class API, and data of class Personal requires Open or Custom"
    );
    let barred: Vec<_> = status
        .targets
        .iter()
        .map(|target| (target.model.as_str(), target.barred_from.join(",")))
        .collect();
    assert_eq!(barred, [("gpt", "Personal,Special".to_owned()), ("llama", String::new())]);
}

pub(super) const MODELS: [&str; 4] = ["api-general", "api-regulated", "own-general", "own-regulated"];
pub(super) const CLASSES: [&str; 4] = ["Public", "Internal", "Personal", "Special"];

/// The models of the property below, all of them ready; made once.
pub(super) static GOVERNED: std::sync::LazyLock<World> = std::sync::LazyLock::new(|| {
    let mut world = World {
        settings: settings(MATRIX),
        ..World::default()
    };
    for model in MODELS {
        let tier = if model.ends_with("regulated") { "Regulated" } else { "General" };
        world = if model.starts_with("own") {
            world
                .endpoints
                .insert(Key::new("claims", model), vec!["http://10.0.0.1:8080".to_owned()]);
            world.model(model, &format!("{{tier: {tier}, selfHosted: {{engine: {{kind: VLLM}}}}}}"), "{}")
        } else {
            let ready =
                "{conditions: [{type: Ready, status: 'True', reason: Ok, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
            let api = "{provider: OpenAI, model: m, region: eu, credentials: {secretRef: {name: o, key: k}}}";
            world.model(model, &format!("{{tier: {tier}, api: {api}}}"), ready)
        };
    }
    world
});

#[test]
fn a_rule_may_look_at_a_claim_that_lets_nobody_in() {
    let jwt = |claims: &str| format!("{{jwt: {{issuer: 'https://id.example.com', audiences: [llm], claims: {{{claims}}}}}}}");
    let rules = format!(
        "clients: [{}], rules: [{{name: staff, when: {{clients: [{}]}}, targets: [{{model: llama}}]}}, {{name: rest, targets: [{{model: gpt}}]}}]",
        jwt("group: claims"),
        jwt("role: staff")
    );
    let routing = World::new().assistant(&rules).build();
    let token = serde_json::json!({"aud": "llm", "group": "claims", "role": ["staff", "user"]});
    let claims = token.as_object().unwrap();
    let looks = routing.table.issuers.get("https://id.example.com").unwrap();
    let client = looks.client("https://id.example.com", "jo", looks.audiences(claims), claims);
    assert_eq!(Ask::new().by(client).rule(&routing), Ok("staff".to_owned()));
}

#[test]
fn a_conversation_stays_with_its_model_where_that_may_have_the_request() {
    let rules =
        "rules: [{targets: [{model: llama, weight: 1}, {model: gpt, weight: 1}, {model: idle, weight: 0}], fallback: [{model: spare}]}]";
    let world = World {
        settings: settings(MATRIX),
        ..World::new().pod("spare").pod("idle").assistant(rules)
    };
    let routing = world.build();
    let staying = |home: &str| Ask {
        stays_with: Some(Key::new("claims", home)),
        ..Ask::new()
    };
    assert_eq!(staying("gpt").order(&routing), ["gpt", "llama", "spare"]);
    assert_eq!(staying("llama").drawing(1).order(&routing), ["llama", "gpt", "spare"]);
    assert_eq!(staying("spare").order(&routing), ["spare", "llama"], "also where it had to go");
    assert_eq!(
        staying("idle").order(&routing),
        ["llama", "spare"],
        "not where nothing goes any more"
    );
    assert_eq!(
        staying("gpt").header("x-data-class", "Personal").order(&routing),
        ["llama", "spare"]
    );
}

/// What each class of the matrix and each rule's requirement allow, told without the code under test.
pub(super) fn may(model: &str, class: usize, needs_open: bool) -> bool {
    let is_own = model.starts_with("own");
    let tier_fits = model.ends_with("regulated");
    match class {
        0 | 1 => !needs_open || is_own,
        2 => is_own,
        _ => is_own && tier_fits,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn no_request_ever_reaches_a_model_outside_its_requirement(
        targets in proptest::collection::vec((0usize..4, 0u32..3), 1..5),
        fallback in proptest::collection::vec(0usize..4, 0..4),
        strategy in 0usize..5, needs_open: bool, in_rule: bool,
        header in 0usize..5, namespace in 0usize..5, own in 0usize..5, roll: u64,
    ) {
        let strategy = ["Weighted", "Ordered", "LeastCost", "LeastLatency", "LeastBusy"][strategy];
        let targets: Vec<String> = targets.iter().map(|(model, weight)| format!("{{model: {}, weight: {weight}}}", MODELS[*model])).collect();
        let fallback: Vec<String> = fallback.iter().map(|model| format!("{{model: {}}}", MODELS[*model])).collect();
        let require = if needs_open { "require: {classes: [Open]}," } else { "" };
        let (of_all, of_rule) = if in_rule { ("", require) } else { (require, "") };
        let mut world = World {
            settings: GOVERNED.settings.clone(),
            models: GOVERNED.models.clone(),
            endpoints: GOVERNED.endpoints.clone(),
            ..World::default()
        };
        world = world.assistant(&format!("{of_all} rules: [{{{of_rule} strategy: {strategy}, targets: [{}], fallback: [{}]}}]", targets.join(", "), fallback.join(", ")));
        for (at, name) in [(namespace, "other"), (own, "claims")] {
            if let Some(class) = CLASSES.get(at) {
                world.namespaces.insert(name.to_owned(), (*class).to_owned());
            }
        }
        let mut ask = Ask::new().drawing(roll).by(Client::ServiceAccount { namespace: "other".to_owned(), name: "x".to_owned() });
        if let Some(class) = CLASSES.get(header) {
            ask = ask.header("x-data-class", class);
        }
        let labelled = [namespace, own].into_iter().filter(|at| *at < 4).max().unwrap_or(1);
        let class = labelled.max(if header < 4 { header } else { 0 });
        if let Ok((_, models)) = ask.decided(&world.build(), &Quiet) {
            prop_assert!(!models.is_empty());
            for model in models {
                prop_assert!(may(&model, class, needs_open), "{model} got data of class {}", CLASSES[class]);
            }
        }
    }
}
