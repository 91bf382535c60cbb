//! What is read from the objects that specs name, what is asked where, and what the status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::*;
use crate::plan::names::Key;

fn md(yaml: &str) -> ModelDeployment {
    serde_saphyr::from_str(yaml).unwrap()
}

fn gpt() -> ModelDeployment {
    md("
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt, namespace: claims, generation: 3}
spec: {api: {provider: OpenAI, model: gpt-5, credentials: {secretRef: {name: openai, key: api-key}}}}
")
}

fn api(spec: &str) -> ApiSource {
    serde_saphyr::from_str(spec).unwrap()
}

fn with_key(key: &str) -> Materials {
    Materials {
        credential: Material::Found(key.as_bytes().to_vec()),
        authorities: Material::NotNeeded,
    }
}

fn copy(md: &ModelDeployment, materials: &Materials) -> Option<Secret> {
    secret(md, md.spec.api.as_ref().unwrap(), materials, "llm")
}

fn holding(key: &str, value: &str) -> Secret {
    Secret {
        data: Some(BTreeMap::from([(key.to_owned(), ByteString(value.into()))])),
        ..Secret::default()
    }
}

fn why(secret: Option<&Secret>) -> String {
    match credential(gpt().spec.api.as_ref().unwrap(), "claims", secret) {
        Material::Unusable(invalid) => invalid.to_string(),
        _ => String::new(),
    }
}

#[test]
fn an_unusable_secret_is_named_with_what_to_do() {
    assert_eq!(
        why(None),
        "spec.api.credentials.secretRef.name: Secret claims/openai does not exist; create it, or name another"
    );
    let other = holding("token", "x");
    let expected = "spec.api.credentials.secretRef.key: Secret claims/openai has no key \"api-key\"; add it or change the reference; the Secret has only token";
    assert_eq!(why(Some(&other)), expected);
    assert!(why(Some(&holding("api-key", " \n"))).contains("is not a credential"));
    assert!(why(Some(&holding("api-key", "a\nb"))).contains("is not a credential"));
}

#[test]
fn the_newline_that_editors_add_is_not_part_of_the_key() {
    let found = credential(gpt().spec.api.as_ref().unwrap(), "claims", Some(&holding("api-key", "sk-1\n")));
    assert!(found == Material::Found(b"sk-1".to_vec()));
}

#[test]
fn a_rejected_key_stalls_and_an_unreachable_provider_is_asked_again() {
    let gpt = gpt();
    let api = gpt.spec.api.as_ref().unwrap();
    let status = |answer: Option<Answer>| super::status(&gpt, api, &with_key("sk"), answer.as_ref(), Timestamp::UNIX_EPOCH);
    let words = |s: &ModelDeploymentStatus| {
        s.conditions
            .iter()
            .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(
        words(&status(Some(Answer::Rejected(401)))),
        "Accepted=True Valid, CredentialsResolved=False CredentialsRejected, Ready=False CredentialsRejected, Stalled=True CredentialsRejected"
    );
    assert_eq!(
        words(&status(Some(Answer::Unreachable("connection refused".into())))),
        "Accepted=True Valid, CredentialsResolved=False ProviderUnreachable, Ready=False ProviderUnreachable, Reconciling=True ProviderUnreachable"
    );
    assert_eq!(
        words(&status(Some(Answer::Accepted))),
        "Accepted=True Valid, CredentialsResolved=True ProviderAnswers, Ready=True ProviderAnswers"
    );
    assert!(words(&status(None)).contains("Ready=Unknown AskingProvider"));
}

#[test]
fn a_confirmed_model_keeps_its_traffic_unless_it_points_elsewhere_or_is_refused() {
    let mut confirmed = gpt();
    let ready = |md: &ModelDeployment, answer: Option<Answer>| {
        let status = super::status(
            md,
            md.spec.api.as_ref().unwrap(),
            &with_key("sk"),
            answer.as_ref(),
            Timestamp::UNIX_EPOCH,
        );
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap().status.clone();
        (status, ready)
    };
    let silent = || Some(Answer::Unreachable("timed out".to_owned()));
    assert_eq!(ready(&confirmed, silent()).1, "False", "never confirmed");
    confirmed.status = Some(ready(&confirmed, Some(Answer::Accepted)).0);
    confirmed.spec.tier = crate::api::model_deployment::Tier::Regulated;
    assert_eq!(
        (ready(&confirmed, None).1, ready(&confirmed, silent()).1),
        ("True".to_owned(), "True".to_owned())
    );
    assert_eq!(ready(&confirmed, Some(Answer::Rejected(401))).1, "False");
    let mut elsewhere = confirmed.clone();
    elsewhere.spec.api.as_mut().unwrap().endpoint = Some("https://elsewhere.example.com/v1".to_owned());
    assert_eq!(ready(&elsewhere, None).1, "Unknown");
    let held = held(&copy(&confirmed, &with_key("sk")).unwrap()).unwrap();
    assert_eq!(held.destination, destination(confirmed.spec.api.as_ref().unwrap()));
    let new = destination(elsewhere.spec.api.as_ref().unwrap());
    assert_ne!(held.destination, new, "the new endpoint must not see the old key");
}

#[test]
fn a_backend_secret_goes_with_its_model_or_with_its_need() {
    let gpt = Arc::new(gpt());
    let held = Arc::new(copy(&gpt, &with_key("sk")).unwrap());
    assert!(orphans(std::slice::from_ref(&held), std::slice::from_ref(&gpt)).is_empty());
    assert_eq!(orphans(std::slice::from_ref(&held), &[]), [Key::new("llm", "backend.claims.gpt")]);
    let mut own = (*gpt).clone();
    own.spec.api = None;
    assert_eq!(orphans(&[held], &[Arc::new(own)]).len(), 1);
}

#[test]
fn each_provider_is_where_it_says() {
    for (spec, expected) in [
        ("{provider: OpenAI, model: m}", "https://api.openai.com/v1"),
        ("{provider: Anthropic, model: m}", "https://api.anthropic.com/v1"),
        ("{provider: Mistral, model: m}", "https://api.mistral.ai/v1"),
        ("{provider: Gemini, model: m}", "https://generativelanguage.googleapis.com/v1beta"),
        (
            "{provider: Bedrock, model: m, region: eu-central-1}",
            "https://bedrock-runtime.eu-central-1.amazonaws.com",
        ),
        (
            "{provider: Bedrock, model: m, region: r, endpoint: 'https://vpce-1.example.com/'}",
            "https://vpce-1.example.com",
        ),
        (
            "{provider: AzureOpenAI, model: m, endpoint: 'https://n.openai.azure.com'}",
            "https://n.openai.azure.com/openai/v1",
        ),
        (
            "{provider: AzureOpenAI, model: m, endpoint: 'https://n.openai.azure.com/openai/v1/'}",
            "https://n.openai.azure.com/openai/v1",
        ),
        (
            "{provider: VertexAI, model: m, region: europe-west4, project: p-1}",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4/publishers/google",
        ),
        (
            "{provider: VertexAI, model: m, region: global, project: p-1}",
            "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/publishers/google",
        ),
        (
            "{provider: VertexAI, model: m, region: eu, project: p-1}",
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu/publishers/google",
        ),
        (
            "{provider: VertexAI, model: m, region: r, project: p-1, endpoint: 'https://v.example.com'}",
            "https://v.example.com/v1/projects/p-1/locations/r/publishers/google",
        ),
        (
            "{provider: VertexAI, model: m, region: r, project: p-1, endpoint: 'https://v.example.com/x/publishers/google/'}",
            "https://v.example.com/x/publishers/google",
        ),
        (
            "{provider: OpenAICompatible, model: m, endpoint: 'http://h:1/v1/'}",
            "http://h:1/v1",
        ),
        // What the rules refuse leads nowhere.
        ("{provider: OpenAICompatible, model: m}", ""),
        ("{provider: AzureOpenAI, model: m}", ""),
    ] {
        assert_eq!(base_url(&api(spec)), expected, "{spec}");
    }
}

#[test]
fn what_a_destination_is_made_of_makes_another() {
    let vertex = "{provider: VertexAI, model: m, region: r, project: p, credentials: {secretRef: {name: s, key: k}}";
    let first = destination(&api(&format!("{vertex}}}")));
    let bundle = "caBundle: {configMapRef: {name: ca, key: ca.crt}}";
    for other in [
        vertex.replace("project: p", "project: q") + "}",
        vertex.replace("region: r", "region: q") + "}",
        vertex.replace("name: s", "name: t") + "}",
        format!("{vertex}, {bundle}}}"),
    ] {
        assert_ne!(destination(&api(&other)), first, "{other}");
    }
    assert_eq!(destination(&api(&(vertex.replace("model: m", "model: n") + "}"))), first);
}

#[test]
fn each_provider_is_shown_what_it_wants_to_see() {
    let header = |name, value: &str| Authorization::Header(name, value.to_owned());
    for (provider, credential, expected) in [
        (Provider::OpenAI, "sk-1", header("authorization", "Bearer sk-1")),
        (Provider::OpenAICompatible, " sk-1\n", header("authorization", "Bearer sk-1")),
        (Provider::Mistral, "0a1b2c", header("authorization", "Bearer 0a1b2c")),
        (Provider::AzureOpenAI, "0a1b2c", header("api-key", "0a1b2c")),
        (Provider::Anthropic, "0a1b2c", header("x-api-key", "0a1b2c")),
        (Provider::Gemini, "0a1b2c", header("x-goog-api-key", "0a1b2c")),
        (
            Provider::VertexAI,
            "{\"z\": 9}",
            Authorization::ServiceAccount("{\"z\": 9}".to_owned()),
        ),
        (
            Provider::Bedrock,
            "ABSKQmVkcm9jaw==",
            header("authorization", "Bearer ABSKQmVkcm9jaw=="),
        ),
        (Provider::Bedrock, "AKIA:secret", Authorization::SigV4("AKIA:secret".to_owned())),
        (Provider::Bedrock, "{\"a\": 1}", Authorization::SigV4("{\"a\": 1}".to_owned())),
    ] {
        let shown = authorization(provider, credential);
        assert!(shown == expected, "{provider}: {shown:?}");
        assert!(!format!("{shown:?}").contains(credential.trim()), "{shown:?}");
    }
}

#[test]
fn each_provider_is_asked_the_cheapest_question() {
    for (spec, expected) in [
        ("{provider: OpenAI, model: m}", "GET https://api.openai.com/v1/models"),
        ("{provider: Mistral, model: m}", "GET https://api.mistral.ai/v1/models"),
        (
            "{provider: Anthropic, model: m}",
            "GET https://api.anthropic.com/v1/models anthropic-version: 2023-06-01",
        ),
        (
            "{provider: AzureOpenAI, model: m, endpoint: 'https://n.openai.azure.com'}",
            "GET https://n.openai.azure.com/openai/v1/models",
        ),
        (
            "{provider: Gemini, model: m}",
            "GET https://generativelanguage.googleapis.com/v1beta/models?pageSize=1",
        ),
        (
            "{provider: VertexAI, model: gemini-2.5-flash, region: global, project: p}",
            "POST https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:countTokens content-type: application/json",
        ),
        (
            "{provider: Bedrock, model: 'eu.anthropic.claude-v1:0', region: eu-central-1}",
            "POST https://bedrock-runtime.eu-central-1.amazonaws.com/model/eu.anthropic.claude-v1%3A0/converse content-type: application/json",
        ),
        (
            "{provider: Bedrock, model: 'arn:aws:bedrock:eu-central-1:1:inference-profile/x', region: r}",
            "POST https://bedrock-runtime.r.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Fx/converse content-type: application/json",
        ),
        (
            "{provider: OpenAICompatible, model: m, endpoint: 'http://h/v1'}",
            "GET http://h/v1/models",
        ),
    ] {
        let Probe {
            method,
            url,
            headers,
            body,
        } = probe(&api(spec));
        let headers: String = headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
        assert_eq!(format!("{method} {url}{headers}"), expected);
        assert_eq!(body.is_empty(), method == "GET");
        assert!(url.parse::<http::Uri>().is_ok() && (body.is_empty() || serde_json::from_str::<serde_json::Value>(body).is_ok()));
    }
}

#[test]
fn what_an_answer_means_depends_on_who_gives_it() {
    let accepted = |status| (status, Answer::Accepted);
    let rejected = |status| (status, Answer::Rejected(status));
    let odd = |status| (status, Answer::Unreachable(format!("it answers HTTP {status}")));
    use Provider::{Anthropic, AzureOpenAI, Bedrock, Gemini, Mistral, OpenAI, OpenAICompatible, VertexAI};
    for provider in [OpenAI, AzureOpenAI, Anthropic, Gemini, VertexAI, Bedrock, Mistral, OpenAICompatible] {
        for (status, expected) in [accepted(200), rejected(401), rejected(403), accepted(429), odd(500), odd(302)] {
            assert_eq!(judge(provider, status), expected, "{provider} {status}");
        }
    }
    for (provider, (status, expected)) in [
        (OpenAICompatible, accepted(404)),
        (OpenAICompatible, accepted(405)),
        (OpenAICompatible, odd(400)),
        (AzureOpenAI, odd(404)),
        (Gemini, rejected(400)),
        (Gemini, odd(404)),
        (Bedrock, accepted(400)),
        (VertexAI, accepted(400)),
        (VertexAI, accepted(404)),
    ] {
        assert_eq!(judge(provider, status), expected, "{provider} {status}");
    }
}

#[test]
fn a_credential_is_what_its_provider_takes_or_it_is_said_why_not() {
    const ACCOUNT: &str = r#"{
        "type": "service_account", "project_id": "p", "client_email": "a@p.iam.gserviceaccount.com",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n", "token_uri": "https://oauth2.googleapis.com/token"
    }"#;
    let without = |field: &str| ACCOUNT.replace(field, "other");
    let vertex = "{provider: VertexAI, model: m, region: r, project: p, CREDENTIALS}";
    let bedrock = "{provider: Bedrock, model: m, region: r, CREDENTIALS}";
    let azure = "{provider: AzureOpenAI, model: m, endpoint: 'https://n', CREDENTIALS}";
    for (spec, value, problem) in [
        (vertex, ACCOUNT, ""),
        (vertex, "sk-1", "is no service-account key: it is no JSON object of texts"),
        (vertex, "[1]", "is no service-account key: it is no JSON object of texts"),
        (
            vertex,
            &without("service_account"),
            "is no service-account key: its type is not service_account",
        ),
        (
            vertex,
            &without("client_email"),
            "is no service-account key: it has no client_email",
        ),
        (vertex, &without("token_uri"), "is no service-account key: it has no token_uri"),
        (
            vertex,
            &without("BEGIN PRIVATE KEY"),
            "is no service-account key: its private_key is not in PEM",
        ),
        (bedrock, "AKIA:s/e+c", ""),
        (bedrock, "AKIA:s/e+c:t==\n", ""),
        (bedrock, "ABSKQmVkcm9jaw==", ""),
        (
            bedrock,
            "{\"Version\": 1,\n \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"SessionToken\": \"t\"}",
            "",
        ),
        (bedrock, "{\"accessKeyId\": \"A\", \"secretAccessKey\": \"s\"}", ""),
        (
            bedrock,
            "{\"accessKeyId\": \"A\"}",
            "is no key of AWS: it has no accessKeyId or no secretAccessKey",
        ),
        (bedrock, "{\"accessKeyId\": 1}", "is no key of AWS: it is no JSON object of texts"),
        (bedrock, "AKIA:", "is no key of AWS: one of the two keys is missing"),
        (bedrock, "a b:c", "is no key of AWS: it is not one line of printable characters"),
        (azure, "0a1b\n", ""),
        (azure, "0a\n1b", "is not a credential"),
    ] {
        let api = api(&spec.replace("CREDENTIALS", "credentials: {secretRef: {name: s, key: k}}"));
        match credential(&api, "claims", Some(&holding("k", value))) {
            Material::Found(found) => assert!(problem.is_empty() && found == value.trim().as_bytes(), "{value}"),
            Material::NotNeeded => panic!("{spec}"),
            Material::Unusable(why) => {
                assert_eq!(why.problem, format!("the value of \"k\" in Secret claims/s {problem}"), "{value}");
                assert_eq!(why.field, "spec.api.credentials.secretRef.key");
            }
        }
    }
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem()
}

fn behind_our_own() -> ModelDeployment {
    md("
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: own, namespace: claims, generation: 1}
spec: {api: {provider: OpenAICompatible, model: m, endpoint: 'https://h/v1', caBundle: {configMapRef: {name: ca, key: ca.crt}}}}
")
}

#[test]
fn a_bundle_holds_certificates_or_it_is_said_why_not() {
    let own = behind_our_own();
    let api = own.spec.api.as_ref().unwrap();
    let map = |key: &str, value: &str| ConfigMap {
        data: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    };
    let good = certificate();
    let two = format!("corporate root\n{good}\n{}", certificate());
    for bundle in [&good, &two] {
        assert!(authorities(api, "claims", Some(&map("ca.crt", bundle))) == Material::Found(bundle.clone().into_bytes()));
    }
    let cut = good.replace("-----END CERTIFICATE-----", "");
    let unparsable = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n";
    let none = "the value of \"ca.crt\" in ConfigMap claims/ca holds no certificates of authorities: it holds no certificate";
    let no_pem = "the value of \"ca.crt\" in ConfigMap claims/ca holds no certificates of authorities: it is no PEM";
    for (found, problem) in [
        (None, "ConfigMap claims/ca does not exist"),
        (Some(map("other", &good)), "ConfigMap claims/ca has no key \"ca.crt\""),
        (Some(map("ca.crt", "")), none),
        (Some(map("ca.crt", unparsable)), none),
        (Some(map("ca.crt", &cut)), no_pem),
    ] {
        let Material::Unusable(why) = authorities(api, "claims", found.as_ref()) else {
            panic!("{problem}")
        };
        assert_eq!(why.problem, problem);
        let materials = Materials::of(api, "claims", None, found.as_ref());
        assert!(copy(&own, &materials).is_none());
        let status = status(&own, api, &materials, None, Timestamp::UNIX_EPOCH);
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "CertificatesNotFound"));
        assert_eq!(ready.message, why.to_string());
    }
}

#[test]
fn a_gateway_holds_what_the_backend_secret_says_and_whose_it_is() {
    let own = behind_our_own();
    let pem = certificate().into_bytes();
    let materials = Materials {
        credential: Material::NotNeeded,
        authorities: Material::Found(pem.clone()),
    };
    let held_by = |md: &ModelDeployment, materials: &Materials| held(&copy(md, materials).unwrap()).unwrap();
    let found = held_by(&own, &materials);
    assert!(found.authorities == Some(pem) && found.credential.is_none() && found.provider == Provider::OpenAICompatible);
    assert_eq!(
        (found.model, found.destination),
        (Key::new("claims", "own"), destination(own.spec.api.as_ref().unwrap()))
    );

    let mut gpt = gpt();
    gpt.spec.api.as_mut().unwrap().provider = Provider::AzureOpenAI;
    let found = held_by(&gpt, &with_key("sk"));
    assert!(found.provider == Provider::AzureOpenAI && found.credential.as_deref() == Some("sk") && found.authorities.is_none());

    let mut earlier = copy(&gpt, &with_key("sk")).unwrap();
    earlier.metadata.annotations.as_mut().unwrap().remove("llmportfolio.dev/provider");
    assert!(held(&earlier).is_some_and(|held| held.provider == Provider::OpenAICompatible));
    assert!(held(&Secret::default()).is_none());
    let nothing = Materials {
        credential: Material::NotNeeded,
        authorities: Material::NotNeeded,
    };
    assert!(copy(&own, &nothing).is_none());
}

#[test]
fn a_refusal_by_a_cloud_may_be_of_the_right_rather_than_of_the_key() {
    let bedrock = "spec: {api: {provider: Bedrock, model: m, region: r, credentials: {secretRef: {name: openai, key: api-key}}}}";
    let bedrock = md(&format!(
        "{{apiVersion: llmportfolio.dev/v1alpha1, kind: ModelDeployment, metadata: {{name: b}}, {bedrock}}}"
    ));
    let message = |answer: Answer| {
        let api = bedrock.spec.api.as_ref().unwrap();
        let status = status(&bedrock, api, &with_key("k"), Some(&answer), Timestamp::UNIX_EPOCH);
        status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap().message.clone()
    };
    let correct = "correct the key \"api-key\" of Secret \"openai\" (spec.api.credentials.secretRef)";
    assert_eq!(
        message(Answer::Rejected(403)),
        format!("Bedrock refuses the credentials with HTTP 403; {correct}, or give it the right to call \"m\"")
    );
    assert_eq!(
        message(Answer::Unusable("it has no private_key".to_owned())),
        format!("the credentials cannot be shown to Bedrock: it has no private_key; {correct}")
    );
}
