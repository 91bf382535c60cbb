//! What pods start with, what they are told, what the status says.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use crate::api::condition::{Kind, find};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::{ModelDeployment, Settings};
use crate::plan::serving::{Installation, plan_over};

use super::*;

fn md(engine: &str, adapters: &str) -> ModelDeployment {
    let custom = format!("custom: {{baseModel: b, adapters: [{adapters}]}}");
    let spec = format!("{{selfHosted: {{source: {{uri: 'pvc://weights/llama'}}, engine: {{kind: {engine}}}, {custom}}}}}");
    let head = "metadata: {name: triage, namespace: claims, uid: u-1, generation: 2}";
    serde_saphyr::from_str(&format!("{head}\nspec: {spec}")).unwrap()
}

fn own(md: &ModelDeployment) -> &SelfHosted {
    md.spec.self_hosted.as_ref().unwrap()
}

fn adapter(name: &str, uri: &str) -> String {
    format!("{{name: {name}, source: {{uri: '{uri}'}}}}")
}

fn adapters(list: &[(&str, &str)]) -> String {
    list.iter().map(|(name, uri)| adapter(name, uri)).collect::<Vec<_>>().join(", ")
}

fn planned(md: &ModelDeployment, live: Option<&Deployment>) -> Deployment {
    let settings = Settings::default();
    let installation = Installation {
        settings: &settings,
        gateway_namespace: "llm-portfolio",
        image: "localhost/portfolio:dev",
        mounts_images: true,
    };
    plan_over(md, own(md), installation, None, live).unwrap().deployment()
}

const FRAUD: (&str, &str) = ("fraud", "pvc://adapters/fraud-7");
const HUB: (&str, &str) = ("tone", "hf://bank/tone");
const PINNED: (&str, &str) = ("pinned", "hf://bank/pinned@v1");
const BUCKET: (&str, &str) = ("bucket", "s3://models/bucket/");

#[test]
fn each_source_has_its_place_in_the_pod() {
    let all = [
        FRAUD,
        HUB,
        PINNED,
        BUCKET,
        ("beside", "pvc://weights/beside"),
        ("second", "pvc://adapters/second"),
    ];
    insta::assert_yaml_snapshot!(planned(&md("VLLM", &adapters(&all)), None).spec.unwrap().template.spec);
    // What an engine cannot be told is fetched for it.
    let tgi = planned(&md("TGI", &adapters(&[HUB])), None).spec.unwrap().template.spec.unwrap();
    assert_eq!(tgi.init_containers.unwrap()[0].name, "fetch-tone");
    let list = tgi.containers[0]
        .env
        .as_ref()
        .unwrap()
        .iter()
        .find(|v| v.name == "LORA_ADAPTERS")
        .unwrap();
    assert_eq!(list.value.as_deref(), Some("tone=/adapters/tone"));
}

#[test]
fn an_adapter_is_fetched_with_credentials_of_its_own() {
    let secret = "{name: a, source: {uri: 'hf://bank/a@v1', secretRef: {name: hf, key: token}}}, {name: b, source: {uri: 's3://m/b/', secretRef: {name: minio}}}";
    let pod = planned(&md("VLLM", secret), None).spec.unwrap().template.spec.unwrap();
    let init = pod.init_containers.unwrap();
    let token = init[0].env.as_ref().unwrap().iter().find(|v| v.name == "HF_TOKEN").unwrap();
    assert_eq!(token.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap().name, "hf");
    assert_eq!(init[1].env_from.as_ref().unwrap()[0].secret_ref.as_ref().unwrap().name, "minio");
    assert!(pod.containers[0].env.as_ref().unwrap().iter().all(|v| v.name != "HF_TOKEN"));
}

#[test]
fn what_no_engine_can_be_given_is_refused_with_its_field_and_remedy() {
    let long = "{name: a, source: {uri: 'hf://bank/a', secretRef: {name: hf, key: token}}}".to_owned();
    for (engine, list, words) in [
        (
            "VLLM",
            adapters(&[FRAUD, FRAUD]),
            "adapters[1].name: \"fraud\" is the name of an earlier one; give each",
        ),
        (
            "VLLM",
            adapter("triage", HUB.1),
            "adapters[0].name: \"triage\" is what the model answers to without an adapter; choose",
        ),
        (
            "TGI",
            adapter("tgi", FRAUD.1),
            "adapters[0].name: \"tgi\" is what the model answers to without",
        ),
        (
            "VLLM",
            long,
            "adapters[0].source.secretRef: the engine VLLM downloads this adapter itself, and has one token for the hub; put it",
        ),
        (
            "VLLM",
            adapter("a", "https://m.example/a.safetensors"),
            "names one file, and an adapter is a folder; put the folder",
        ),
        (
            "VLLM",
            adapter("a", "oci://r.example.com/a"),
            "adapters[0].source.uri: adapters are not taken out of images",
        ),
        (
            "LlamaCpp",
            adapters(&[FRAUD]),
            "adapters[0]: the engine LlamaCpp loads no adapters by name; use the engine VLLM",
        ),
        (
            "'VLLM', args: [-v, --lora-modules, a=b]",
            adapters(&[FRAUD]),
            "engine.args[1]: would replace spec.selfHosted.custom.adapters; list",
        ),
    ] {
        let md = md(engine, &list);
        let refused = read("triage", own(&md)).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn pods_stay_while_what_is_wanted_can_be_loaded_where_they_run() {
    let first = planned(&md("VLLM", &adapters(&[FRAUD, BUCKET])), None);
    let template = |deployment: &Deployment| deployment.spec.as_ref().unwrap().template.clone();
    for (list, stays) in [
        (vec![FRAUD, BUCKET, HUB], true),
        (vec![HUB, BUCKET, FRAUD], true),
        (vec![FRAUD], true),
        (vec![], true),
        (vec![("fraud", "pvc://adapters/fraud-8")], true),
        (vec![("renamed", "pvc://adapters/fraud-7")], true),
        (vec![("beside", "pvc://weights/beside")], true),
        (vec![("bucket", "hf://bank/bucket")], true),
        (vec![FRAUD, ("other", "pvc://others/a")], false),
        (vec![FRAUD, PINNED], false),
        (vec![("bucket", "s3://models/bucket-2/")], false),
        (vec![("again", BUCKET.1)], false),
    ] {
        let wanted = md("VLLM", &adapters(&list));
        let next = planned(&wanted, Some(&first));
        assert_eq!(template(&next) == template(&first), stays, "{list:?}");
        assert_eq!(next.annotations() == first.annotations(), stays, "{list:?}");
        if !stays {
            assert_eq!(next, planned(&wanted, None), "{list:?}");
        }
    }
    // Where anything else makes new pods, those start with all that is wanted.
    let mut changed = md("VLLM", &adapters(&[FRAUD, HUB]));
    changed.spec.self_hosted.as_mut().unwrap().engine.args.push("--no-ui".to_owned());
    assert_eq!(planned(&changed, Some(&first)), planned(&changed, None));
    // More pods are no other pods, and neither is what they cost.
    let mut more = md("VLLM", &adapters(&[FRAUD, HUB]));
    more.spec.self_hosted.as_mut().unwrap().replicas = 3;
    more.spec.self_hosted.as_mut().unwrap().custom.as_mut().unwrap().trained_on = Some("claims".to_owned());
    assert_eq!(template(&planned(&more, Some(&first))), template(&first));
    // The first adapter, and every one of an engine that takes them at its start.
    let none = planned(&md("VLLM", ""), None);
    assert_ne!(template(&planned(&md("VLLM", &adapters(&[HUB])), Some(&none))), template(&none));
    let forbidden = "{kind: VLLM, env: [{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: 'False'}]}";
    let fixed = |list: &[(&str, &str)]| {
        let mut md = md("VLLM", &adapters(list));
        md.spec.self_hosted.as_mut().unwrap().engine = serde_saphyr::from_str(forbidden).unwrap();
        md
    };
    let first = planned(&fixed(&[HUB]), None);
    assert_ne!(template(&planned(&fixed(&[HUB, FRAUD]), Some(&first))), template(&first));
    assert_eq!(asks("triage", own(&fixed(&[HUB])), &[Arc::new(pod("a", &first))]), vec![]);
    let sglang = planned(&md("SGLang", &adapters(&[FRAUD])), None);
    assert_ne!(
        template(&planned(&md("SGLang", &adapters(&[FRAUD, HUB])), Some(&sglang))),
        template(&sglang)
    );
}

/// A pod of `deployment` whose engine answers.
fn pod(name: &str, deployment: &Deployment) -> Pod {
    let status = "{podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: engine, image: i, imageID: '', ready: true, restartCount: 1}]}";
    let mut pod: Pod = serde_saphyr::from_str(&format!("metadata: {{name: {name}, uid: uid-{name}}}\nstatus: {status}")).unwrap();
    pod.spec = deployment.spec.clone().unwrap().template.spec;
    pod
}

#[test]
fn a_pod_is_asked_for_what_it_can_have() {
    let first = planned(&md("VLLM", &adapters(&[FRAUD, BUCKET])), None);
    let wanted = md(
        "VLLM",
        &adapters(&[FRAUD, HUB, ("bucket", "s3://models/bucket-2/"), ("other", "pvc://others/a")]),
    );
    let mut starting = pod("b", &first);
    starting.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    let without = pod("c", &planned(&md("VLLM", ""), None));
    let asks = asks(
        "triage",
        own(&wanted),
        &[Arc::new(pod("a", &first)), Arc::new(starting), Arc::new(without)],
    );
    assert_eq!(asks.len(), 1, "{asks:?}");
    assert_eq!((asks[0].url.as_str(), asks[0].restarts), ("http://10.0.0.1:8000", 1));
    let wanted: Vec<_> = asks[0].wanted.iter().map(|m| (m.name.as_str(), m.path.as_str())).collect();
    assert_eq!(wanted, [("fraud", "/claims/adapters/fraud-7"), ("tone", "bank/tone")]);
    assert_eq!(asks[0].left, ["bucket", "other"]);
    // Those of a bucket that it was given stay until its successor has the others.
    let has = Has::from([
        ("bucket".to_owned(), "/adapters/bucket".to_owned()),
        ("old".to_owned(), "x".to_owned()),
    ]);
    let names: Vec<_> = verbs(&asks[0], &has).iter().map(|verb| verb.name().to_owned()).collect();
    assert_eq!(names, ["old", "fraud", "tone"]);
}

/// As an engine carries it out.
fn carried_out(mut has: Has, verbs: &[Verb]) -> Has {
    for verb in verbs {
        match verb {
            Verb::Load { module, in_place } => {
                let before = has.insert(module.name.clone(), module.path.clone());
                assert_eq!(before.is_some(), *in_place, "an engine refuses a name that it has, unless told");
            }
            Verb::Unload(name) => assert!(has.remove(name).is_some(), "an engine refuses to unload what it does not have"),
        }
    }
    has
}

proptest! {
    #[test]
    fn whatever_an_engine_has_the_verbs_bring_it_to_what_is_wanted(
        has in prop::collection::btree_map("[a-e]", "[x-z]", 0..5),
        wanted in prop::collection::btree_map("[a-e]", "[x-z]", 0..5),
        left in prop::collection::btree_set("[a-e]", 0..3),
        turn in 0usize..5,
    ) {
        let left: Vec<String> = left.into_iter().filter(|name| !wanted.contains_key(name)).collect();
        let mut modules: Vec<Module> = wanted.iter().map(|(name, path)| Module { name: name.clone(), path: path.clone(), needs: Needs::Nothing }).collect();
        // The order in which they are written does not matter.
        let turn = turn.min(modules.len());
        modules.rotate_left(turn);
        let ask = Ask { uid: String::new(), restarts: 0, url: String::new(), wanted: modules, left: left.clone() };
        let after = carried_out(has.clone(), &verbs(&ask, &has));
        let mut expected = wanted;
        expected.extend(has.into_iter().filter(|(name, _)| left.contains(name)));
        prop_assert_eq!(&after, &expected);
        prop_assert_eq!(verbs(&ask, &after), vec![]);
    }
}

fn told(ask: Ask, has: &[(&str, &str)], refused: &[(&str, &str)]) -> Told {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Told {
        ask,
        has: pairs(has),
        refused: pairs(refused),
        unanswered: None,
    }
}

fn seen(md: &ModelDeployment, pods: &[Arc<Pod>], told: Vec<Told>) -> ModelDeploymentStatus {
    let told: BTreeMap<String, Told> = told.into_iter().map(|told| (told.ask.uid.clone(), told)).collect();
    with_adapters(ModelDeploymentStatus::default(), md, own(md), (pods, &told), Timestamp::UNIX_EPOCH)
}

fn words(status: &ModelDeploymentStatus) -> String {
    let loaded = find(&status.conditions, Kind::AdaptersLoaded);
    loaded
        .map(|c| format!("{} {} {}", c.status, c.reason, c.message))
        .unwrap_or_default()
}

#[test]
fn the_status_says_of_each_adapter_which_pods_have_it_and_why_others_do_not() {
    let md = md("VLLM", &adapters(&[HUB, ("bad", "hf://bank/missing")]));
    let deployment = planned(&md, None);
    let pods = [Arc::new(pod("a", &deployment)), Arc::new(pod("b", &deployment))];
    let asks = asks("triage", own(&md), &pods);
    let refuses = told(
        asks[0].clone(),
        &[("tone", "bank/tone")],
        &[("bad", "Loading lora bad failed: No adapter found (404)")],
    );
    let status = seen(&md, &pods, vec![refuses]);
    insta::assert_yaml_snapshot!(status.adapters);
    assert_eq!(
        words(&status),
        "False LoadFailed spec.selfHosted.custom.adapters[1]: pod a has no adapter \"bad\": the engine refuses it: Loading lora bad failed: \
         No adapter found (404); correct it, or remove it. The others go on serving, and it is tried again"
    );

    let all = [("tone", "bank/tone"), ("bad", "bank/missing")];
    let done = asks.iter().map(|ask| told(ask.clone(), &all, &[])).collect();
    let status = seen(&md, &pods, done);
    assert_eq!(words(&status), "True Loaded each of 2 pods has all of 2 adapters");
    assert_eq!((status.adapters[0].ready.as_str(), status.adapters[0].answers), ("2/2", true));
}

#[test]
fn a_model_that_serves_without_one_of_its_adapters_does_not_look_as_if_all_were_well() {
    let md = md("VLLM", &adapters(&[HUB]));
    let pods = [Arc::new(pod("a", &planned(&md, None)))];
    let ask = asks("triage", own(&md), &pods).remove(0);
    let refuses = told(ask, &[], &[("tone", "its rank is 256 (400)")]);
    let ready = "{type: Ready, status: 'True', reason: Serving, message: 1 of 1 pods answer, lastTransitionTime: '2026-01-01T00:00:00Z'}";
    let before = ModelDeploymentStatus {
        conditions: vec![serde_saphyr::from_str(ready).unwrap()],
        ..ModelDeploymentStatus::default()
    };
    let told = BTreeMap::from([(refuses.ask.uid.clone(), refuses)]);
    let status = with_adapters(before, &md, own(&md), (&pods, &told), Timestamp::UNIX_EPOCH);
    let ready = find(&status.conditions, Kind::Ready).unwrap();
    assert!(
        ready
            .message
            .starts_with("1 of 1 pods answer; spec.selfHosted.custom.adapters[0]: pod a has no adapter"),
        "{}",
        ready.message
    );
}

#[test]
fn an_engine_that_is_to_lose_its_last_adapter_and_does_not_answer_is_named() {
    let first = planned(&md("VLLM", &adapters(&[HUB])), None);
    let none = md("VLLM", "");
    let pods = [Arc::new(pod("a", &first))];
    let ask = asks("triage", own(&none), &pods).remove(0);
    let silent = Told {
        unanswered: Some("no answer within 10 s".to_owned()),
        ..told(ask.clone(), &[], &[])
    };
    let status = seen(&none, &pods, vec![silent]);
    assert_eq!(
        words(&status),
        "False NoAnswer pod a does not say which adapters it has: no answer within 10 s; it is asked again"
    );
    let keeps = seen(
        &none,
        &pods,
        vec![told(ask.clone(), &[("tone", "bank/tone")], &[("tone", "busy (500)")])],
    );
    assert!(
        words(&keeps).starts_with("False UnloadFailed pod a keeps the adapter \"tone\""),
        "{}",
        words(&keeps)
    );
    assert_eq!(words(&seen(&none, &pods, vec![told(ask, &[], &[])])), "");
}

#[test]
fn a_pod_that_fails_to_start_is_told_from_one_that_is_starting() {
    let deployment = planned(&md("VLLM", &adapters(&[HUB])), None);
    for (restarts, state, can) in [
        (0, "state: {waiting: {reason: ContainerCreating}}", true),
        // Once may have any cause.
        (1, "state: {running: {}}, lastState: {terminated: {exitCode: 1}}", true),
        (2, "state: {running: {}}, lastState: {terminated: {exitCode: 1}}", false),
        (
            2,
            "state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1}}",
            false,
        ),
        (2, "state: {terminated: {exitCode: 0}}", true),
    ] {
        let mut pod = pod("a", &deployment);
        let status =
            format!("{{containerStatuses: [{{name: engine, image: i, imageID: '', ready: false, restartCount: {restarts}, {state}}}]}}");
        pod.status = Some(serde_saphyr::from_str(&status).unwrap());
        assert_eq!(can_start(&[Arc::new(pod)]), can, "{restarts} {state}");
    }
    assert!(can_start(&[Arc::new(pod("a", &deployment))]));
}

#[test]
fn an_adapter_that_moves_answers_meanwhile_and_counts_only_afterwards() {
    let first = planned(&md("VLLM", &adapters(&[HUB])), None);
    let moved = md("VLLM", &adapters(&[("tone", "hf://bank/tone-2")]));
    let pods = [Arc::new(pod("a", &first))];
    let ask = asks("triage", own(&moved), &pods).remove(0);
    let status = seen(&moved, &pods, vec![told(ask, &[("tone", "bank/tone")], &[])]);
    assert_eq!((status.adapters[0].ready.as_str(), status.adapters[0].answers), ("0/1", true));
    assert!(
        words(&status).starts_with("False Loading pod a has no adapter \"tone\" yet"),
        "{}",
        words(&status)
    );
}

#[test]
fn an_engine_that_takes_them_at_its_start_answers_once_each_pod_has_them() {
    let (first, both) = (md("SGLang", &adapters(&[FRAUD])), md("SGLang", &adapters(&[FRAUD, HUB])));
    let (old, new) = (pod("old", &planned(&first, None)), pod("new", &planned(&both, None)));
    let rolling = seen(&both, &[Arc::new(old), Arc::new(new.clone())], vec![]);
    assert_eq!((rolling.adapters[0].ready.as_str(), rolling.adapters[0].answers), ("2/2", true));
    assert_eq!((rolling.adapters[1].ready.as_str(), rolling.adapters[1].answers), ("1/2", false));
    assert!(
        words(&rolling).starts_with("False RollingOut pod old has no adapter \"tone\" yet"),
        "{}",
        words(&rolling)
    );
    let rolled = seen(&both, &[Arc::new(new)], vec![]);
    assert_eq!(words(&rolled), "True Loaded each of 1 pods has all of 2 adapters");
}

#[test]
fn a_thousand_pods_with_all_adapters_stay_far_below_what_an_object_may_hold() {
    let list: Vec<(String, String)> = (0..32)
        .map(|i| (format!("{}{i:02}", "a".repeat(55)), format!("hf://bank/a{i}")))
        .collect();
    let list: Vec<(&str, &str)> = list.iter().map(|(name, uri)| (name.as_str(), uri.as_str())).collect();
    let md = md("VLLM", &adapters(&list));
    let deployment = planned(&md, None);
    let pods: Vec<Arc<Pod>> = (0..1000)
        .map(|i| Arc::new(pod(&format!("{}-{i:04}", "p".repeat(58)), &deployment)))
        .collect();
    let asks = asks("triage", own(&md), &pods);
    let (good, bad) = asks.split_at(500);
    let has: Vec<(&str, String)> = list.iter().map(|(name, uri)| (*name, uri.replace("hf://", ""))).collect();
    let has: Vec<(&str, &str)> = has.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let words = "x".repeat(4000);
    let refused: Vec<(&str, &str)> = list.iter().map(|(name, _)| (*name, words.as_str())).collect();
    let said = good.iter().map(|ask| told(ask.clone(), &has, &[]));
    let said = said.chain(bad.iter().map(|ask| told(ask.clone(), &[], &refused)));
    let status = seen(&md, &pods, said.collect());
    let size = serde_json::to_vec(&status).unwrap().len();
    assert!(size < 300_000, "{size}");
    assert_eq!(status.adapters[0].ready, "500/1000");
}
