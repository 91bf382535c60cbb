//! One row for each thing that can be wrong in a file: what was written, and what is said about it.

mod doubts;
mod standalone;

use k8s_openapi::jiff::Timestamp;

use super::Portfolio;
use super::finding::Severity;
use crate::plan::price::Book;

/// The findings about one text, without the file's name.
fn findings(text: &str) -> Vec<String> {
    let found = Portfolio::from_text("x", text).findings;
    found.iter().map(|f| f.to_string().strip_prefix("x:").unwrap().to_owned()).collect()
}

fn model(spec: &str) -> String {
    format!("apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m, namespace: ns}}\nspec:\n  {spec}\n")
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n  {spec}\n")
}

fn evaluation(spec: &str) -> String {
    let suites = "suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}]";
    let rest = format!("targets: {{models: [m]}}\n  {suites}\n  criteria: [{{suite: s, metric: accuracy, lowerBoundAtLeast: \"0.5\"}}]");
    format!("apiVersion: llmportfolio.dev/v1alpha1\nkind: EvalJob\nmetadata: {{name: e, namespace: ns}}\nspec:\n  {spec}\n  {rest}\n")
}

const MODEL: &str = "api: {provider: OpenAI, model: x, credentials: {secretRef: {name: s, key: k}}}";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ns}\ndata: {k: x}\n";
const GOOD: &str = "schedule: {cron: \"0 2 * * *\"}";

fn together(texts: &[&str]) -> String {
    texts.join("---\n")
}

#[test]
fn a_shadow_is_missed_like_a_target_and_has_bounds() {
    let of = |shadow: &str| {
        let spec = format!("model: a\n  rules: [{{targets: [{{model: m}}]}}]\n  shadow: [{shadow}]");
        let portfolio = Portfolio::from_text("x", &together(&[model(MODEL).as_str(), policy("p", &spec).as_str()]));
        let told = |f: &crate::manifest::Finding| format!("{}: {}", f.field, f.problem);
        portfolio.findings.iter().map(told).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        of("{model: mm, percent: 5}"),
        "spec.shadow[0].model: no ModelDeployment ns/mm is in these files"
    );
    assert!(of("{model: m, percent: 0}").starts_with("spec.shadow[0].percent: "));
    assert!(of("{model: m, percent: 2.5}").starts_with("spec.shadow[0].percent"));
    let many = ["m1", "m2", "m3", "m4", "m5"]
        .map(|model| format!("{{model: {model}, percent: 5}}"))
        .join(", ");
    assert!(of(&many).contains("spec.shadow: "), "four at most: {}", of(&many));
}

#[test]
fn a_bad_field_is_named_with_its_line_its_problem_and_its_remedy() {
    let m = "ModelDeployment ns/m";
    for (text, wanted) in [
        (model(&format!("{MODEL}\n  teir: General")), format!("6: {m}: spec.teir: unknown field; did you mean tier?")),
        (model(&format!("{MODEL}\n  color: red")), format!("6: {m}: spec.color: unknown field; remove it, or use api, capabilities, jurisdiction, price, selfHosted or tier")),
        (
            model(&format!("tier: General \n  {MODEL}")).replace("General", "regulated"),
            format!("5: {m}: spec.tier: \"regulated\" is not one of its values; did you mean Regulated? its values are General, Regulated and MissionCritical"),
        ),
        (model(&MODEL.replace("OpenAI", "Bard")), format!("5: {m}: spec.api.provider: \"Bard\" is not one of its values; use OpenAI, AzureOpenAI, Anthropic, Gemini, VertexAI, Bedrock, Mistral or OpenAICompatible")),
        (model("tier: General"), format!("4: {m}: spec: spec.api and spec.selfHosted are both absent: add api for a provider's model, or selfHosted for our own pods")),
        (
            model(&format!("{MODEL}\n  selfHosted: {{engine: {{kind: VLLM}}}}")),
            format!("4: {m}: spec: spec.api and spec.selfHosted are both set: a model comes from one of them; remove the other"),
        ),
        (model("selfHosted: {}"), format!("5: {m}: spec.selfHosted.engine: is required; add it: What serves the model")),
        (model("selfHosted:\n    engine:"), format!("6: {m}: spec.selfHosted.engine: is required; add it: What serves the model")),
        (model("selfHosted: [x]"), format!("5: {m}: spec.selfHosted: must be a map, is a list; write a map of these fields: accelerator, cache, custom, engine, parallelism, podTemplate, priorityClassName, queue, queueName, replicas, resources, rollout, scaling, schedulerName, source, startupDeadline and topologySpreadConstraints")),
        (model("selfHosted: {engine: {kind: VLLM, args: --x}}"), format!("5: {m}: spec.selfHosted.engine.args: must be a list, is \"--x\"; write a list: each item on a line of its own that begins with `- `")),
        (model("selfHosted: {engine: {kind: VLLM, args: [1]}}"), format!("5: {m}: spec.selfHosted.engine.args[0]: must be a text, is 1; put it in quotes: \"1\"")),
        (model("selfHosted: {replicas: \"2\", engine: {kind: VLLM}}"), format!("5: {m}: spec.selfHosted.replicas: must be a whole number, is \"2\"; write it without quotes, or correct it")),
        (model("selfHosted: {replicas: 1001, engine: {kind: VLLM}}"), format!("5: {m}: spec.selfHosted.replicas: must be at most 1000, is 1001; use a number from 0 to 1000")),
        (model("selfHosted: {replicas: -1, engine: {kind: VLLM}}"), format!("5: {m}: spec.selfHosted.replicas: must be at least 0, is -1; use a number from 0 to 1000")),
        (model("selfHosted: {engine: {kind: VLLM}, resources: {limits: {cpu: 0.5}}}"), format!("5: {m}: spec.selfHosted.resources.limits.cpu: must be a whole number or a text, is 0.5; put it in quotes: \"0.5\"")),
        (model("selfHosted: {engine: {kind: VLLM, env: [{name: A}, {name: A}]}}"), format!("5: {m}: spec.selfHosted.engine.env[1].name: \"A\" is in the list twice; name it differently or remove one")),
        (model(&format!("{MODEL}\n  price: {{inputPer1M: \"1,25\", outputPer1M: \"1\"}}")), format!("6: {m}: spec.price.inputPer1M: \"1,25\" does not have the right form; write US dollars as a decimal number of 0 or more, without a sign or unit and with up to nine decimals, such as \"1.25\"")),
        (model(&format!("{MODEL}\n  price: {{inputPer1M: \"-1\", outputPer1M: \"1\"}}")), format!("6: {m}: spec.price.inputPer1M: \"-1\" does not have the right form; write US dollars as a decimal number of 0 or more, without a sign or unit and with up to nine decimals, such as \"1.25\"")),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  clients: [{anonymous: true}]"),
            "7: RoutingPolicy ns/p: spec.clients[0].anonymous: must be a map, is true; write anonymous: {}, for nothing is set in it".to_owned(),
        ),
        (model(&MODEL.replace('x', "\"\"")), format!("5: {m}: spec.api.model: is empty; write it")),
        (model(MODEL).replace("name: m", "name: 0m"), "3: ModelDeployment ns/0m: metadata.name: must be at most 52 characters, begin with a letter and hold only a-z, 0-9 and '-', so that its Service can be named after it".to_owned()),
        (model(MODEL).replace("name: m", "label: m"), "3: ModelDeployment ns/(no name): metadata.label: unknown field; did you mean labels?".to_owned()),
        (model(MODEL).replace("name: s", "name: n"), format!("5: {m}: spec.api.credentials.secretRef.name: must be a text, is false; put it in quotes: y, n, yes, no, on, off, true and false are no texts without them")),
        (model(MODEL).replace("v1alpha1", "v1"), format!("1: {m}: apiVersion: there is no version v1; write llmportfolio.dev/v1alpha1")),
        (model(MODEL).replace("kind: Model", "kind: Modal"), "2: ModalDeployment ns/m: kind: there is no kind ModalDeployment; did you mean ModelDeployment? llmportfolio.dev has ModelDeployment, RoutingPolicy and EvalJob".to_owned()),
        (model(MODEL).replace("kind:", "# kind:"), "1: object ns/m: kind: is required: this is not a Kubernetes object; write apiVersion: llmportfolio.dev/v1alpha1 and kind: ModelDeployment, RoutingPolicy or EvalJob".to_owned()),
        (
            policy("p", "model: a\n  rules:\n  - targets:\n    - {model: m, weight: 0}\n    - {model: m, weight: 0}"),
            "7: RoutingPolicy ns/p: spec.rules[0].targets: at least one target needs a weight above 0, or the rule can never answer".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  timeouts: {total: 99999999h}"),
            "7: RoutingPolicy ns/p: spec.timeouts.total: \"99999999h\" does not have the right form; write a number and its unit, such as 90s, 1h30m or 500ms: up to five digits of hours, and up to six of m, s or ms".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  clients: [{serviceAccounts: {namespaces: ['*']}}]"),
            "7: RoutingPolicy ns/p: spec.clients[0].serviceAccounts.namespaces[0]: \"*\" does not have the right form; write the name of one namespace, such as claims: a pattern such as * matches none".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  clients: [{serviceAccounts: {names: [claims/web]}}]"),
            "7: RoutingPolicy ns/p: spec.clients[0].serviceAccounts.names[0]: \"claims/web\" does not have the right form; write the name of a service account alone, such as web: its namespace stands in namespaces".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  timeouts: {total: 90}"),
            "7: RoutingPolicy ns/p: spec.timeouts.total: must be a text, is 90; write a number and its unit, such as 90s, 1h30m or 500ms: up to five digits of hours, and up to six of m, s or ms".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  timeouts: {firstToken: 11m}"),
            "7: RoutingPolicy ns/p: spec.timeouts: firstToken must not be above total (default 10m), which ends the request: raise total or lower firstToken".to_owned(),
        ),
        (
            model("api: {provider: OpenAI, model: x, credentials: {secretRef: sk-live-1}}"),
            format!("5: {m}: spec.api.credentials.secretRef: must be a map, is a text; write a map of these fields: key and name"),
        ),
        (
            model(&MODEL.replace("name: s", "name: sk-Live-1")),
            format!("5: {m}: spec.api.credentials.secretRef.name: what is written does not have the right form; The object's name, never the value itself. Example: `openai`."),
        ),
        (
            policy("p", "model: a/b\n  rules: [{targets: [{model: m}]}]"),
            "5: RoutingPolicy ns/p: spec.model: \"a/b\" does not have the right form; write letters and digits, and between them '-', '.', '_' or ':' too, such as assistant: '/' is for a model called directly, as namespace/name".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: m}]}]\n  maxBodyBytes: 10Zi"),
            "7: RoutingPolicy ns/p: spec.maxBodyBytes: \"10Zi\" does not have the right form; write a whole number of bytes, or of K, M, G, Ki, Mi or Gi, such as 32Mi".to_owned(),
        ),
        (
            evaluation(GOOD).replace("\"0.5\"", "\"2\""),
            "8: EvalJob ns/e: spec.criteria[0].lowerBoundAtLeast: \"2\" does not have the right form; write a decimal from 0 to 1 in quotes, with up to six decimals, such as \"0.784\"".to_owned(),
        ),
        (
            ["a: &a [x, x, x, x, x, x, x, x, x]", "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]", "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]", "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]", "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]", "f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]", "g: [*f, *f, *f, *f, *f, *f, *f, *f, *f]"].join("\n"),
            "6: stands for more values than are read, as by aliases (*name) of aliases: write them out, or split it; correct the YAML".to_owned(),
        ),
        (
            policy("p", "model: a\n  rules: [{targets: [{model: demo/llama}]}]"),
            "6: RoutingPolicy ns/p: spec.rules[0].targets[0].model: \"demo/llama\" does not have the right form; A ModelDeployment's name; its namespace is a field of its own. Example: `triage-llama`.".to_owned(),
        ),
        (
            evaluation("schedule: {cron: \"0 2 * *\"}"),
            "5: EvalJob ns/e: spec.schedule.cron: \"0 2 * *\" does not have the right form; Five fields: minute, hour, day of month, month, day of week. Example: `0 2 * * 1-5`. A slot missed while the operator was down runs once, late, unless `startingDeadline` is over; one that falls into a running evaluation is as `concurrencyPolicy` says.".to_owned(),
        ),
    ] {
        assert!(findings(&text).contains(&wanted), "wanted: {wanted}\nfound: {:#?}\nin:\n{text}", findings(&text));
    }
}

#[test]
fn objects_that_contradict_each_other_are_errors() {
    let two_policies = together(&[
        &model(MODEL),
        &policy("a", "model: assistant\n  rules: [{targets: [{model: m}]}]"),
        &policy("b", "model: assistant\n  rules: [{targets: [{model: m}]}]"),
    ]);
    assert_eq!(
        findings(&two_policies),
        [
            "18: RoutingPolicy ns/b: spec.model: assistant is already the model of RoutingPolicy ns/a (x:7); give one of the two policies another model name"
        ]
    );
    assert_eq!(
        findings(&together(&[&model(MODEL), &model(MODEL)])),
        ["9: ModelDeployment ns/m: metadata.name: is defined twice, first at x:1; remove one of them or name it differently"]
    );
    let no_key = together(&[
        &model(MODEL),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData: {token: x}\n",
    ]);
    assert_eq!(
        findings(&no_key),
        ["5: ModelDeployment ns/m: spec.api.credentials.secretRef.key: Secret ns/s has no key k; add the key, or use token"]
    );
}

fn granted(spec: &str) -> String {
    format!("apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: ns}}\nspec: {spec}\n")
}

#[test]
fn a_model_of_another_namespace_needs_a_grant_in_the_files() {
    const TO_M: &str = "{from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: other}], to: [{group: llmportfolio.dev, kind: ModelDeployment, name: m}]}";
    let crossing = |target: &str| {
        policy("p", &format!("model: a\n  rules: [{{targets: [{target}]}}]")).replacen("namespace: ns", "namespace: other", 1)
    };
    let m = crossing("{model: m, namespace: ns}");
    let missing = "12: warning: RoutingPolicy other/p: spec.rules[0].targets[0].namespace: no ReferenceGrant in these files permits RoutingPolicies \
         of namespace other to name ns/m; make it, as in {apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: \
         other.m, namespace: ns}, spec: {from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: other}], to: [{group: llmportfolio.dev, \
         kind: ModelDeployment, name: m}]}}, or name a model of other";
    assert_eq!(findings(&together(&[&model(MODEL), &m])), [missing]);
    assert_eq!(findings(&together(&[&model(MODEL), &m, &granted(TO_M)])), Vec::<String>::new());
    let other = granted(&TO_M.replace("name: m", "name: mm"));
    assert_eq!(findings(&together(&[&model(MODEL), &m, &other])), [missing]);
    // One of another group's kind that is called the same.
    let others = granted(TO_M).replace("gateway.networking.k8s.io", "example.com");
    assert_eq!(findings(&together(&[&model(MODEL), &m, &others])), [missing]);

    let absent = crossing("{model: mm, namespace: ns}");
    let found = findings(&together(&[&model(MODEL), &absent, &other]));
    assert_eq!(
        found,
        [
            "12: warning: RoutingPolicy other/p: spec.rules[0].targets[0].model: no ModelDeployment ns/mm is in these files; apply it too, or correct the name; did you mean m?"
        ]
    );
    let found = findings(&together(&[&model(MODEL), &crossing("{model: m}")]));
    assert_eq!(
        found,
        [
            "12: warning: RoutingPolicy other/p: spec.rules[0].targets[0].model: no ModelDeployment other/m is in these files; apply it too, or correct the name; there is ns/m, which namespace: ns would name"
        ]
    );
}

#[test]
fn a_grant_that_cannot_be_read_and_a_namespace_that_is_none_are_errors() {
    let found = findings(&together(&[
        &model(MODEL),
        &granted("{from: [{group: llmportfolio.dev, namespace: other}], to: []}"),
    ]));
    assert!(
        found.len() == 1 && found[0].starts_with("10: ReferenceGrant ns/g: spec: missing field `kind`; write it like {from:"),
        "{found:#?}"
    );
    let found = findings(&together(&[
        &model(MODEL),
        &policy("p", "model: a\n  rules: [{targets: [{model: m, namespace: My.Models}]}]"),
    ]));
    assert!(
        found.len() == 1 && found[0].contains("spec.rules[0].targets[0].namespace: \"My.Models\" does not have the right form"),
        "{found:#?}"
    );
}

#[test]
fn models_of_one_name_are_no_repetition() {
    let rule = "model: a\n  rules: [{targets: [{model: m}, {model: m, namespace: other}, {model: m, namespace: ns}]}]";
    let found = feasible(&together(&[&model(MODEL), &policy("p", rule)]));
    let again: Vec<&String> = found
        .iter()
        .filter(|found| found.contains("is a target of this rule already"))
        .collect();
    assert!(again.len() == 1 && again[0].contains("targets[2]: m is a target"), "{found:#?}");
}

#[test]
fn an_object_with_an_error_is_not_missing_too() {
    let text = together(&[
        &model(&format!("{MODEL}\n  color: red")),
        &policy("p", "model: a\n  rules: [{targets: [{model: m}]}]"),
    ]);
    let found = findings(&text);
    assert!(found.len() == 1 && found[0].contains("spec.color"), "{found:#?}");
}

#[test]
fn more_data_than_the_server_keeps_is_an_error() {
    let large = CONFIG.replace("k: x", &format!("k: {}", "x".repeat((1 << 20) + 1)));
    assert_eq!(
        findings(&large),
        ["4: ConfigMap ns/c: data: holds 1048577 bytes, and the API server takes 1048576 at most; shorten it or spread it over several"]
    );
}

#[test]
fn an_endpoint_is_a_url_without_a_path() {
    for (url, problem) in [
        ("http://127.0.0.1:8081", None),
        ("https://engine.example/", None),
        ("http://127.0.0.1:8081, http://127.0.0.1:8082", None),
        ("http://127.0.0.1:8081,", Some("an address between two commas is missing")),
        (
            "127.0.0.1:8081",
            Some("\"127.0.0.1:8081\" does not begin with http:// or https:// and a host"),
        ),
        (
            "http://h:1/v1",
            Some("\"http://h:1/v1\" has a path, and the gateway adds /v1/chat/completions itself"),
        ),
        ("http://a b", Some("\"http://a b\" is not a URL")),
        (
            "http://h:99999",
            Some("\"http://h:99999\" has the port \"99999\": ports are from 1 to 65535"),
        ),
    ] {
        let annotated = format!("namespace: ns, annotations: {{llmportfolio.dev/endpoint: \"{url}\"}}");
        let text = model("selfHosted: {engine: {kind: VLLM}}").replace("namespace: ns", &annotated);
        let mut portfolio = Portfolio::from_text("x", &text);
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        let problems: Vec<&str> = portfolio.findings.iter().map(|f| f.problem.as_str()).collect();
        assert_eq!(problems, Vec::from_iter(problem), "{url}");
        assert_eq!(portfolio.good(&portfolio.models), usize::from(problem.is_none()), "{url}");
    }
}

fn feasible(text: &str) -> Vec<String> {
    let mut portfolio = Portfolio::from_text("x", text);
    portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
    portfolio.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_endpoint_of_an_api_is_a_base_url() {
    let api = |endpoint: &str| model(&format!("api: {{provider: OpenAICompatible, model: x, endpoint: \"{endpoint}\"}}"));
    for (endpoint, said) in [
        ("https://h/v1", None),
        (
            "https://h/v1/chat/completions",
            Some("x:5: ModelDeployment ns/m: spec.api.endpoint: \"/chat/completions\" is a part of the address of one operation"),
        ),
        (
            "https://h:99999/v1",
            Some(
                "x:5: ModelDeployment ns/m: spec.api.endpoint: endpoint must be a URL that starts with http:// or https:// and a host, and has no port or one from 1 to 65535",
            ),
        ),
        (
            "https://h",
            Some("x:5: warning: ModelDeployment ns/m: spec.api.endpoint: has no path, so requests go to https://h/chat/completions"),
        ),
    ] {
        let found = feasible(&api(endpoint));
        assert_eq!(found.len(), usize::from(said.is_some()), "{found:?}");
        assert!(found.iter().all(|found| found.starts_with(said.unwrap_or_default())), "{found:?}");
    }
}

#[test]
fn an_annotation_that_nobody_reads_is_named_with_the_one_that_was_meant() {
    let annotated = |spec: &str, annotation: &str| {
        let with = format!("namespace: ns, annotations: {{{annotation}}}");
        feasible(&model(spec).replace("namespace: ns", &with))
    };
    let own = "selfHosted: {engine: {kind: VLLM}}";
    let m = "x:3: warning: ModelDeployment ns/m: metadata.annotations";
    assert_eq!(
        annotated(own, "llmportfolio.dev/endpont: \"http://h:1\""),
        [format!(
            "{m}[llmportfolio.dev/endpont]: nobody reads it; did you mean llmportfolio.dev/endpoint?"
        )]
    );
    assert_eq!(
        annotated(own, "llmportfolio.dev/colour: red, example.com/endpont: x"),
        [format!(
            "{m}[llmportfolio.dev/colour]: nobody reads it; remove it: a ModelDeployment may have llmportfolio.dev/endpoint"
        )]
    );
    assert_eq!(
        annotated(MODEL, "llmportfolio.dev/endpoint: \"http://h:1\""),
        [format!(
            "{m}[llmportfolio.dev/endpoint]: is for self-hosted models, and not read here; write the address in spec.api.endpoint"
        )]
    );
    assert_eq!(
        annotated(own, "llmportfolio.dev/endpoint: \"http://h:1,http://g:1,http://h:1/\""),
        [format!(
            "{m}[llmportfolio.dev/endpoint]: \"http://h:1/\" is there twice, and would get the requests of two; remove one of them"
        )]
    );
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: ns, labels: {llmportfolio.dev/api-keys: \"true\", team: x}}\n";
    assert_eq!(
        feasible(&together(&[&model(MODEL), secret])),
        [
            "x:9: warning: Secret ns/web: metadata.labels[llmportfolio.dev/api-keys]: nobody reads it; did you mean llmportfolio.dev/api-key?"
        ]
    );
}

#[test]
fn keys_that_no_client_can_use_are_warnings() {
    let secret = |annotations: &str, hash: &str| {
        let metadata = format!("{{name: ci, namespace: ns, labels: {{llmportfolio.dev/api-key: \"true\"}}, annotations: {annotations}}}");
        findings(&together(&[
            &model(MODEL),
            &format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\nstringData: {hash}\n"),
        ]))
    };
    let good = format!("{{sha256: \"{}\"}}", "0a".repeat(32));
    assert_eq!(
        secret("{llmportfolio.dev/expires: \"2027-01-31T00:00:00Z\"}", &good),
        Vec::<String>::new()
    );
    for (annotations, hash, says) in [
        (
            "{}",
            "{sha256: sk-the-key-itself}",
            "stringData.sha256: is not the SHA-256 of a key",
        ),
        ("{}", "{}", "stringData.sha256: is not the SHA-256 of a key"),
        (
            "{llmportfolio.dev/expires: tomorrow}",
            &good,
            "metadata.annotations[llmportfolio.dev/expires]: is no time, so the key is refused",
        ),
    ] {
        let [finding] = &secret(annotations, hash)[..] else {
            panic!("{says}")
        };
        assert!(finding.contains(&format!("warning: Secret ns/ci: {says}")), "{finding}");
    }
}

#[test]
fn names_that_nothing_carries_are_warnings() {
    assert_eq!(
        findings(&together(&[&model(MODEL), CONFIG, &evaluation(GOOD)])),
        Vec::<String>::new()
    );
    assert_eq!(
        findings(&together(&[&model(MODEL), &evaluation(GOOD)])),
        [
            "13: warning: EvalJob ns/e: spec.suites[0].exemplars.dataset.configMapRef.name: no ConfigMap ns/c is in these files; apply it too, or correct the name"
        ]
    );
    assert_eq!(
        findings(&together(&[
            &model(MODEL),
            &policy(
                "p",
                "model: a\n  require: {evaluated: [{evalJob: e}]}\n  rules: [{targets: [{model: m}], fallback: [{model: mm}]}]"
            )
        ])),
        [
            "12: warning: RoutingPolicy ns/p: spec.require.evaluated[0].evalJob: no EvalJob ns/e is in these files; apply it too, or correct the name",
            "13: warning: RoutingPolicy ns/p: spec.rules[0].fallback[0].model: no ModelDeployment ns/mm is in these files; apply it too, or correct the name; did you mean m?",
        ]
    );
    let elsewhere = together(&[
        &model(MODEL).replace("namespace: ns", "namespace: other"),
        &policy("p", "model: a\n  rules: [{targets: [{model: m}]}]"),
    ]);
    assert!(findings(&elsewhere)[0].ends_with("there is other/m, which namespace: other would name"));
}

#[test]
fn a_policy_in_place_of_a_model_is_told_as_what_it_is() {
    let q = policy("q", "model: q\n  rules: [{targets: [{model: m}]}]");
    let p = policy("p", "model: a\n  rules: [{targets: [{model: q}]}]");
    let found = findings(&together(&[&model(MODEL), &q, &p]));
    assert_eq!(
        found,
        [
            "19: warning: RoutingPolicy ns/p: spec.rules[0].targets[0].model: ns/q is a RoutingPolicy, and only a ModelDeployment can answer; name the models of q instead"
        ]
    );
}

#[test]
fn an_adapter_that_its_model_does_not_list_is_a_warning() {
    let custom = "custom: {baseModel: b, adapters: [{name: fraud, source: {uri: 'hf://b/fraud'}}]}";
    let tuned = model(&format!("selfHosted: {{engine: {{kind: VLLM}}, {custom}}}"));
    let rules = "rules: [{targets: [{model: m, adapter: fraud}], fallback: [{model: m, adapter: frau}]}]";
    let evaluated = evaluation(GOOD).replace("models: [m]", "models: [m, 'm:fraud', 'm:tone']");
    let found = findings(&together(&[
        &tuned,
        &policy("p", &format!("model: a\n  {rules}")),
        &evaluated,
        CONFIG,
    ]));
    let found: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split_once("warning: "))
        .map(|(_, line)| line)
        .collect();
    assert_eq!(
        found,
        [
            "RoutingPolicy ns/p: spec.rules[0].fallback[0].adapter: ModelDeployment ns/m has no adapter frau; add it to spec.selfHosted.custom.adapters, or correct the name; did you mean fraud?",
            "EvalJob ns/e: spec.targets.models[2]: ModelDeployment ns/m has no adapter tone; add it to spec.selfHosted.custom.adapters, or correct the name",
        ]
    );
}

#[test]
fn one_bad_document_leaves_the_others_alone() {
    let text = together(&["kind: [\n", &model(MODEL), &model("selfHosted: {}").replace("name: m", "name: b")]);
    let portfolio = Portfolio::from_text("x", &text);
    assert_eq!((portfolio.models.len(), portfolio.errors()), (1, 2), "{:#?}", portfolio.findings);
}

#[test]
fn defaults_are_the_servers_and_an_exported_object_is_accepted() {
    let text = model(&format!("tier: null\n  {MODEL}")) + "status: {replicas: \"no\"}\n";
    let exported = text.replace(
        "namespace: ns",
        "namespace: ns, uid: u, generation: 3, creationTimestamp: null, managedFields: [{}]",
    );
    let portfolio = Portfolio::from_text("x", &exported);
    assert_eq!(portfolio.findings, []);
    let model = &portfolio.models[0].object;
    assert_eq!(
        (model.spec.tier, model.status.as_ref()),
        (crate::api::model_deployment::Tier::General, None)
    );
}

#[test]
fn a_list_of_objects_is_taken_apart() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: llmportfolio.dev/v1alpha1\n  kind: ModelDeployment\n  metadata: {name: m}\n  spec:\n    selfHosted:\n      engine: {kind: Vllm}\n";
    assert_eq!(
        findings(text),
        [
            "9: ModelDeployment default/m: spec.selfHosted.engine.kind: \"Vllm\" is not one of its values; did you mean VLLM? its values are VLLM, SGLang, LlamaCpp, TGI and Custom"
        ]
    );
}

#[test]
fn folders_are_read_whole_and_may_hold_other_files() {
    let folder = std::env::temp_dir().join(format!("llm-portfolio-manifest-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("sub/.git")).unwrap();
    for (name, text) in [
        ("values.yaml", "replicas: 2\n".to_owned()),
        ("notes.txt", "[".to_owned()),
        ("sub/m.yml", model(MODEL)),
        ("sub/.git/config.yaml", "[".to_owned()),
        (
            "m.json",
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}"#.to_owned(),
        ),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let portfolio = Portfolio::read(std::slice::from_ref(&folder));
    let named = Portfolio::read(&[folder.join("values.yaml"), folder.join("absent.yaml")]);
    let nothing = Portfolio::read(&[folder.join("m.json")]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((portfolio.findings, portfolio.models.len(), portfolio.others.len()), (vec![], 1, 1));
    assert_eq!(named.errors(), 2, "{:#?}", named.findings);
    assert_eq!((nothing.errors(), nothing.findings.len()), (1, 1), "{:#?}", nothing.findings);
}

#[test]
fn what_the_operator_could_not_carry_out_is_an_error() {
    let settings = serde_saphyr::from_str("acceleratorProfiles: {nvidia-l4: {resource: nvidia.com/gpu}}").unwrap();
    let said = |spec: &str, settings| {
        let mut portfolio = Portfolio::from_text("x", &model(spec));
        portfolio.check_feasible(settings, &Book::default(), Timestamp::UNIX_EPOCH);
        portfolio.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let on_h100 = "selfHosted: {engine: {kind: VLLM}, accelerator: {profile: nvidia-h100}}";
    assert_eq!(
        said(on_h100, Some(&settings)),
        [
            "x:5: ModelDeployment ns/m: spec.selfHosted.accelerator.profile: there is no profile \"nvidia-h100\"; use one of nvidia-l4, or ask the installer to add it to acceleratorProfiles of the settings"
        ]
    );
    assert_eq!(said(on_h100, None), Vec::<String>::new());
    let split = "selfHosted: {engine: {kind: VLLM}, accelerator: {profile: nvidia-h100, count: 2}, parallelism: {tensor: 2}}";
    assert_eq!(said(split, None), Vec::<String>::new());
    let grouped = "selfHosted: {engine: {kind: LlamaCpp}, parallelism: {nodes: 2}}";
    assert_eq!(
        said(grouped, None),
        [
            "x:5: ModelDeployment ns/m: spec.selfHosted.parallelism.nodes: is 2, and the engine LlamaCpp serves from one node; remove it, or use the engine VLLM or SGLang"
        ]
    );
    let pinned = "selfHosted: {engine: {kind: LlamaCpp}, source: {uri: \"hf://a/b@c\"}}";
    assert_eq!(
        said(pinned, None),
        [
            "x:5: ModelDeployment ns/m: spec.selfHosted.source.uri: \"hf://a/b@c\" names no .gguf file, and the engine LlamaCpp serves one; name the file, such as hf://organization/name@revision/model.gguf"
        ]
    );
}

#[test]
fn a_misspelled_setting_is_refused_with_its_line() {
    let file = std::env::temp_dir().join(format!("llm-portfolio-settings-{}.yaml", std::process::id()));
    std::fs::write(
        &file,
        "allowAnonymous: true\nacceleratorProfiles:\n  a:\n    resorce: nvidia.com/gpu\n",
    )
    .unwrap();
    let finding = super::settings(&file).unwrap_err().to_string();
    std::fs::write(&file, "loadBytesPerSecond: fast\n").unwrap();
    let fast = super::settings(&file).unwrap_err().to_string();
    assert!(
        fast.contains("loadBytesPerSecond: \"fast\" is no number of bytes; write it like 64Mi"),
        "{fast}"
    );
    for (text, problem) in [
        (
            "defaultDataClass: Intenal\ndataClasses: {Internal: {}}\n",
            "defaultDataClass: \"Intenal\" is none of the dataClasses; write one of Internal, or add it to dataClasses",
        ),
        (
            "dataClasses: {Personal: {}}\ndetection: {identifiers: [Email], dataClass: Persnal}\n",
            "detection.dataClass: \"Persnal\" is none of the dataClasses; name one of the dataClasses, or add it to them",
        ),
        (
            "dataClasses: {Personal: {}}\ndetection: {identifiers: [], dataClass: Personal}\n",
            "detection.identifiers: is empty, so that nothing is looked for",
        ),
        ("dataClasses: {Secret: {}}\n", "the data class \"Secret\" needs a level"),
        (
            "dataClasses: {Secret: {level: 20}, Personal: {}}\n",
            "the data classes \"Personal\" and \"Secret\" have the same level 20: give one of them another",
        ),
        (
            "dataClasses: {'top secret': {level: 40}}\n",
            "the data class \"top secret\" needs another name",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let told = super::settings(&file).unwrap_err().to_string();
        assert!(told.contains(problem), "{told}");
    }
    std::fs::write(&file, "# nothing decided\n").unwrap();
    let empty = super::settings(&file);
    std::fs::remove_file(&file).unwrap();
    assert!(
        finding.contains(".yaml:4: unknown field `resorce`, expected one of resource, "),
        "{finding}"
    );
    assert_eq!(empty, Ok(crate::api::Settings::default()));
}

#[test]
fn what_an_evaluation_could_never_do_is_an_error() {
    let e = "EvalJob ns/e";
    for (spec, wanted) in [
        (
            "schedule: {cron: \"61 2 * * *\"}",
            format!("{e}: spec.schedule.cron: \"61 2 * * *\" is not a schedule"),
        ),
        (
            "schedule: {cron: \"0 2 * * *\", timeZone: Europe/Atlantis}",
            format!("{e}: spec.schedule.timeZone: \"Europe/Atlantis\" is not an IANA time zone; use a name such as"),
        ),
        (
            "schedule: {cron: \"0 2 * * *\"}\n  limits: {maxCostUSD: \"1\"}",
            format!("{e}: spec.limits.maxCostUSD: the price of ModelDeployment ns/m is unknown, so its cost cannot be capped; set"),
        ),
    ] {
        let mut portfolio = Portfolio::from_text("x", &together(&[&model(MODEL), CONFIG, &evaluation(spec)]));
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        let found = portfolio.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(
            found.len() == 1 && found[0].contains(&wanted),
            "wanted: {wanted}\nfound: {found:#?}"
        );
    }
}

#[test]
fn a_schedule_of_replicas_that_cannot_do_what_it_says_is_found() {
    let m = "ModelDeployment ns/m: spec.selfHosted.scaling.schedule";
    for (schedule, severity, wanted) in [
        (
            "{cron: 0 8 * * *, timeZone: Europe/Atlantis, min: 2}",
            Severity::Error,
            "[0].timeZone: \"Europe/Atlantis\" is not an IANA time zone",
        ),
        (
            "{cron: 0 8 * * *, min: 1}, {cron: 0 2 30 2 *, min: 2}",
            Severity::Error,
            "[1].cron: \"0 2 30 2 *\" never occurs",
        ),
        ("{cron: 0 8 * * *, min: 5}", Severity::Error, ": an entry has min above max"),
        (
            "{cron: 0 8 * * *, min: 2}, {cron: 0 8 * * 1, min: 1}",
            Severity::Warning,
            "[1]: comes at 1970-01-05T08:00:00Z as",
        ),
    ] {
        let spec =
            format!("selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{max: 4, target: {{inFlight: 8}}, schedule: [{schedule}]}}}}");
        let mut portfolio = Portfolio::from_text("x", &model(&spec));
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        let found = portfolio.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(
            found.len() == 1 && found[0].contains(&format!("{m}{wanted}")) && portfolio.findings[0].severity == severity,
            "wanted: {wanted}\nfound: {found:#?}"
        );
    }
}

#[test]
fn a_judge_that_is_not_here_is_a_warning_and_one_of_the_family_an_error() {
    let judged = evaluation(GOOD)
        .replace("exact: {}", "judge: {model: j}")
        .replace("metric: accuracy", "metric: score");
    let judge = |provider: &str| model(MODEL).replace("name: m,", "name: j,").replace("provider: OpenAI", provider);
    let all = |files: &[&str]| {
        let mut portfolio = Portfolio::from_text("x", &together(files));
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        portfolio.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let missing = all(&[&model(MODEL), CONFIG, &judged]);
    let says = "warning: EvalJob ns/e: spec.suites[0].scorer.judge.model: no ModelDeployment ns/j is in these files; apply it too, or correct the name";
    assert!(missing.len() == 1 && missing[0].contains(says), "{missing:#?}");
    let kin = all(&[&model(MODEL), &judge("provider: OpenAI"), CONFIG, &judged]);
    let says = "EvalJob ns/e: spec.suites[s].scorer.judge.model: j and m, which it would judge, are of one family (OpenAI)";
    assert!(kin.len() == 1 && kin[0].contains(says) && !kin[0].contains("warning"), "{kin:#?}");
    assert_eq!(
        all(&[
            &model(MODEL),
            &judge("provider: Anthropic").replace("model: x", "model: zyzzyva"),
            CONFIG,
            &judged
        ]),
        Vec::<String>::new()
    );
}

#[test]
fn a_token_that_a_webhook_is_not_given_is_found() {
    let scored = evaluation(GOOD)
        .replace("exact: {}", "webhook: {url: 'https://h/', secretRef: {name: t}}")
        .replace("metric: accuracy", "metric: score");
    assert_eq!(findings(&together(&[&model(MODEL), CONFIG, &scored])), Vec::<String>::new());
    let secret = |key: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: t, namespace: ns}}\nstringData: {{{key}: x}}\n");
    assert_eq!(
        findings(&together(&[&model(MODEL), CONFIG, &secret("token"), &scored])),
        Vec::<String>::new()
    );
    let found = findings(&together(&[&model(MODEL), CONFIG, &secret("key"), &scored]));
    let says = "EvalJob ns/e: spec.suites[0].scorer.webhook.secretRef.key: Secret ns/t has no key token";
    assert!(found.len() == 1 && found[0].contains(says), "{found:#?}");
}

#[test]
fn a_broken_line_of_a_dataset_is_found_where_it_is_named() {
    let mut portfolio = Portfolio::from_text("x", &together(&[&model(MODEL), CONFIG, &evaluation(GOOD)]));
    portfolio.check_datasets(|_, _, name, _, bytes| Err(format!("{name} line 1: {:?} is no object", String::from_utf8_lossy(bytes))));
    assert_eq!(
        portfolio.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["x:18: EvalJob ns/e: spec.suites[0].exemplars.dataset: ConfigMap ns/c, key k, line 1: \"x\" is no object"]
    );
}

#[test]
fn anonymous_clients_need_the_settings() {
    let text = together(&[
        &model(MODEL),
        &policy("p", "model: a\n  clients: [{anonymous: {}}]\n  rules: [{targets: [{model: m}]}]"),
    ]);
    for (settings, findings) in [(None, 0), (Some(crate::api::Settings::default()), 1)] {
        let mut portfolio = Portfolio::from_text("x", &text);
        portfolio.check_feasible(settings.as_ref(), &Book::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(portfolio.errors(), findings, "{:#?}", portfolio.findings);
    }
}

#[test]
fn what_a_server_took_is_accepted_and_what_it_refused_is_not() {
    let recorded: Vec<serde_json::Value> = serde_saphyr::from_multiple(include_str!("recorded.yaml")).unwrap();
    assert!(recorded.len() > 70);
    for case in recorded {
        let text = case["object"].as_str().unwrap();
        let portfolio = Portfolio::from_text("x", text);
        let accepted = portfolio.errors() == 0;
        assert_eq!(accepted, case["accepted"].as_bool().unwrap(), "{text}{:#?}", portfolio.findings);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_told_with_its_line_and_the_remedy() {
    let folder = std::env::temp_dir().join(format!("llm-portfolio-encoding-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.yaml"), [model(MODEL).as_bytes(), b"# caf\xe9\n"].concat()).unwrap();
    std::fs::write(folder.join("b.yaml"), b"\xff\xfek\0").unwrap();
    std::fs::write(folder.join("c.yaml"), format!("\u{feff}{}", model(MODEL))).unwrap();
    let read = Portfolio::read(std::slice::from_ref(&folder));
    std::fs::remove_dir_all(&folder).unwrap();
    let said: Vec<String> = read.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].ends_with("a.yaml:6: has the byte 0xE9, which is not UTF-8; save it as UTF-8"),
        "{said:?}"
    );
    assert!(said[1].ends_with("b.yaml: is in UTF-16; save it as UTF-8"), "{said:?}");
    assert_eq!(read.models.len(), 1);
}

#[test]
fn a_rule_that_cannot_be_used_is_found_offline_at_its_field() {
    let text = "apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: p, namespace: ns}
spec:
  model: assistant
  rules:
  - when: {dataClasses: [Persnal], expression: request.inputTokens >}
    targets: [{model: m}]
";
    let found = |settings: Option<&str>| {
        let settings: Option<crate::api::Settings> = settings.map(|yaml| serde_saphyr::from_str(yaml).unwrap());
        let mut portfolio = Portfolio::from_text("p.yaml", text);
        portfolio.check_feasible(settings.as_ref(), &Book::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(portfolio.data_classes_named(), 1);
        let errors = portfolio.findings.iter().filter(|f| f.is_error()).map(ToString::to_string);
        errors.collect::<Vec<_>>()
    };
    let of_settings = found(Some("dataClasses: {Personal: {}}"));
    assert_eq!(
        of_settings[0],
        "p.yaml:7: RoutingPolicy ns/p: spec.rules[0].when.dataClasses[0]: \"Persnal\" is no class of data that the installer has set; name \
         one of Personal, or have the installer add it to dataClasses"
    );
    assert!(
        of_settings[1].contains("spec.rules[0].when.expression: is no CEL expression: "),
        "{of_settings:?}"
    );
    assert_eq!(found(None).len(), 1, "without the settings any class may exist");
}
