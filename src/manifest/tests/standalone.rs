//! What files need where no cluster has the rest.

use super::*;
use crate::manifest::GivenSecrets;

#[test]
fn without_a_cluster_a_model_needs_its_endpoint_or_its_key() {
    use crate::api::condition::{self, Kind};
    use crate::plan::names::Key;
    use k8s_openapi::jiff::Timestamp;

    let served = model("selfHosted: {engine: {kind: VLLM}}").replace("name: m,", "name: s,");
    let annotated = served.replace(
        "namespace: ns",
        "namespace: ns, annotations: {llmportfolio.dev/endpoint: \"http://h:1\"}",
    );
    let ready = |text: &str, given: &GivenSecrets| {
        let seen = Portfolio::from_text("x", text).standalone(given, Timestamp::UNIX_EPOCH);
        let conditions = seen.models[0].status.as_ref().unwrap().conditions.clone();
        let ready = condition::find(&conditions, Kind::Ready).unwrap();
        (ready.status.clone(), ready.message.clone(), seen.endpoints.len(), seen.held.len())
    };
    let none = GivenSecrets::new();
    let key = GivenSecrets::from([((Key::new("ns", "s"), "k".to_owned()), "sk-1".to_owned())]);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData: {k: sk-2}\n";

    let (status, message, ..) = ready(&model(MODEL), &none);
    assert_eq!(status, "False");
    assert!(message.contains("--secret-from-env ns/s:k=VARIABLE"), "{message}");
    assert_eq!(ready(&model(MODEL), &key).0, "True");
    assert_eq!(
        ready(&together(&[&model(MODEL), secret]), &none),
        ("True".to_owned(), "what it needs was given".to_owned(), 0, 1)
    );
    let (status, message, ..) = ready(&served, &none);
    assert_eq!(status, "False");
    assert!(message.contains("annotations: {llmportfolio.dev/endpoint:"), "{message}");
    assert_eq!(
        ready(&annotated, &none),
        ("True".to_owned(), "what it needs was given".to_owned(), 1, 0)
    );
}

#[test]
fn without_a_cluster_an_adapter_answers_where_its_engine_does() {
    use crate::plan::routing;
    use k8s_openapi::jiff::Timestamp;

    let annotated = "namespace: ns, annotations: {llmportfolio.dev/endpoint: \"http://127.0.0.1:8081\"}";
    let custom = "custom: {baseModel: b, adapters: [{name: fraud, source: {uri: 'hf://b/fraud'}}]}";
    let text = model(&format!("selfHosted: {{engine: {{kind: VLLM}}, {custom}}}")).replace("namespace: ns", annotated);
    let seen = Portfolio::from_text("x", &text).standalone(&GivenSecrets::new(), Timestamp::UNIX_EPOCH);
    let routing = routing::build(&routing::Inputs {
        models: &seen.models,
        policies: &[],
        evaluations: &[],
        endpoints: &seen.endpoints,
        prices: &crate::plan::price::Book::default(),
        namespaces: &std::collections::BTreeMap::new(),
        grants: &routing::Grants::default(),
        terms: &routing::Terms::default(),
        settings: &crate::api::Settings::default(),
        open_models: true,
        now: Timestamp::UNIX_EPOCH,
    });
    let backend = routing.table.find("ns/m:fraud").unwrap().rules[0].targets[0]
        .candidate
        .backend
        .clone();
    assert_eq!(backend.unwrap().upstream_model, "fraud");
}

const BEHIND_OUR_OWN: &str =
    "api: {provider: OpenAICompatible, model: x, endpoint: \"https://h/v1\", caBundle: {configMapRef: {name: ca, key: ca.crt}}}";

fn bundle(text: &str) -> String {
    let text = text.replace('\n', "\n    ");
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: ns}}\ndata:\n  ca.crt: |\n    {text}\n")
}

#[test]
fn what_is_no_credential_or_no_certificate_is_found_where_its_object_is_in_the_files() {
    let vertex = "api: {provider: VertexAI, model: x, region: eu, project: p, credentials: {secretRef: {name: s, key: k}}}";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData: {k: sk-1}\n";
    let good = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem();
    for (text, expected) in [
        (
            together(&[&model(vertex), secret]),
            "is no service-account key: it is no JSON object of texts",
        ),
        (model(vertex), ""),
        (
            together(&[&model(BEHIND_OUR_OWN), &bundle("soon")]),
            "holds no certificates of authorities: it holds no certificate",
        ),
        (together(&[&model(BEHIND_OUR_OWN), &bundle(&good)]), ""),
        (model(BEHIND_OUR_OWN), "no ConfigMap ns/ca is in these files"),
        (
            together(&[&model(BEHIND_OUR_OWN), &bundle(&good).replace("ca.crt: |", "other: |")]),
            "ConfigMap ns/ca has no key ca.crt",
        ),
    ] {
        let mut portfolio = Portfolio::from_text("x", &text);
        portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
        let problems: Vec<&str> = portfolio.findings.iter().map(|finding| finding.problem.as_str()).collect();
        match expected {
            "" => assert_eq!(problems, Vec::<&str>::new()),
            _ => assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}"),
        }
        let is_warning = expected.starts_with("no ConfigMap");
        assert_eq!(portfolio.errors(), usize::from(!expected.is_empty() && !is_warning), "{problems:?}");
    }
}

#[test]
fn without_a_cluster_certificates_come_from_the_files() {
    use crate::api::condition::{self, Kind};
    use k8s_openapi::jiff::Timestamp;

    let good = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem();
    let seen = |text: &str| Portfolio::from_text("x", text).standalone(&GivenSecrets::new(), Timestamp::UNIX_EPOCH);
    let standalone = seen(&together(&[&model(BEHIND_OUR_OWN), &bundle(&good)]));
    let [held] = &standalone.held[..] else {
        panic!("one model needs something")
    };
    assert!(held.credential.is_none());
    assert_eq!(
        held.authorities.as_deref().map(|pem| pem.trim_ascii()),
        Some(good.trim().as_bytes())
    );

    let standalone = seen(&model(BEHIND_OUR_OWN));
    let conditions = &standalone.models[0].status.as_ref().unwrap().conditions;
    let ready = condition::find(conditions, Kind::Ready).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "CertificatesNotGiven"));
    assert!(
        ready.message.ends_with("without a cluster the ConfigMap is one of the files"),
        "{}",
        ready.message
    );
}
