//! Who is asked, what an answer means, and what the status makes of it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;

use crate::api::condition::{Kind, find};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::plan::serving::tests::{deployment, md, words};
use crate::plan::serving::{Observed, status};

use super::*;

const ROUTED: &str = "http://198.19.0.7:8080";
const SETTLED: &str = "{observedGeneration: 4, replicas: 2, updatedReplicas: 2, availableReplicas: 2}";

fn model() -> ModelDeployment {
    md("{selfHosted: {engine: {kind: LlamaCpp}, replicas: 2}}")
}

fn own(md: &ModelDeployment) -> &SelfHosted {
    md.spec.self_hosted.as_ref().unwrap()
}

/// A ready pod of the template at an address.
fn pod(live: &Deployment, address: &str) -> Pod {
    let template = live.spec.clone().unwrap().template;
    let status = format!("{{podIP: {address}, conditions: [{{type: Ready, status: 'True'}}]}}");
    Pod {
        metadata: template.metadata.unwrap_or_default(),
        spec: template.spec,
        status: Some(serde_saphyr::from_str(&status).unwrap()),
    }
}

fn asked(live: &Deployment, pods: &[Pod], routed: &[&str]) -> Vec<String> {
    let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
    let routed: Vec<String> = routed.iter().map(|url| (*url).to_owned()).collect();
    let md = model();
    match inquire(&md, own(&md), live, &pods, &routed) {
        Inquiry::Ask(question) => question.urls,
        Inquiry::Known(Reply::NotYet) => vec![],
        Inquiry::Known(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_is_asked_once_it_is_of_the_present_template_and_gets_requests() {
    let live = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 1, availableReplicas: 2}");
    let present = pod(&live, "198.19.0.7");
    assert_eq!(asked(&live, std::slice::from_ref(&present), &[ROUTED]), [ROUTED]);
    assert!(
        asked(&live, std::slice::from_ref(&present), &["http://198.19.0.70:8080"]).is_empty(),
        "no endpoint lists it"
    );
    let ipv6 = pod(&live, "'fd00::1'");
    assert_eq!(asked(&live, &[ipv6], &["http://[fd00::1]:8080"]), ["http://[fd00::1]:8080"]);

    for (what, change) in [
        (
            "is not ready",
            (|pod| pod.status.as_mut().unwrap().conditions = None) as fn(&mut Pod),
        ),
        ("is about to go", |pod| {
            pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        }),
        ("has other arguments", |pod| pod.spec.as_mut().unwrap().containers[0].args = None),
        ("has another volume", |pod| pod.spec.as_mut().unwrap().volumes = None),
        ("has other labels", |pod| pod.metadata.labels = None),
    ] {
        let mut other = present.clone();
        change(&mut other);
        assert!(asked(&live, &[other], &[ROUTED]).is_empty(), "{what}");
    }
}

#[test]
fn a_pod_that_was_changed_on_its_way_in_is_asked_once_none_of_another_template_is_left() {
    let mirrored = |live: &Deployment| {
        let mut pod = pod(live, "198.19.0.7");
        pod.spec.as_mut().unwrap().containers[0].image = Some("mirror.example.com/llama:1".to_owned());
        pod
    };
    let rolling = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 1, availableReplicas: 2}");
    assert!(asked(&rolling, &[mirrored(&rolling)], &[ROUTED]).is_empty());
    let unseen = deployment("{observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2}");
    assert!(asked(&unseen, &[mirrored(&unseen)], &[ROUTED]).is_empty());
    let settled = deployment(SETTLED);
    assert_eq!(asked(&settled, &[mirrored(&settled)], &[ROUTED]), [ROUTED]);
}

#[test]
fn a_template_that_has_answered_is_not_asked_again_and_another_is() {
    let live = deployment(SETTLED);
    let pods = [Arc::new(pod(&live, "198.19.0.7"))];
    let routed = [ROUTED.to_owned()];
    let mut md = model();
    let Inquiry::Ask(question) = inquire(&md, own(&md), &live, &pods, &routed) else {
        panic!("it has not answered yet");
    };
    assert_eq!(question.model, "triage");
    let answered = Answered {
        template: question.template,
        operation: Operation::ChatCompletions,
    };
    md.status = Some(ModelDeploymentStatus {
        answered: Some(answered.clone()),
        ..ModelDeploymentStatus::default()
    });
    let known = Inquiry::Known(Reply::Answered(answered));
    assert_eq!(inquire(&md, own(&md), &live, &pods, &routed), known);

    let mut scaled = live.clone();
    scaled.spec.as_mut().unwrap().replicas = Some(7);
    scaled.metadata.annotations = Some([("llmportfolio.dev/release".to_owned(), "9".to_owned())].into());
    assert_eq!(
        inquire(&md, own(&md), &scaled, &[], &[]),
        known,
        "neither replicas nor the operator's release make another"
    );

    let mut changed = live.clone();
    changed.metadata.generation = Some(5);
    changed.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].args = None;
    assert_eq!(
        inquire(&md, own(&md), &changed, &pods, &routed),
        Inquiry::Known(Reply::NotYet),
        "and its pods are not there yet"
    );
    assert_eq!(
        inquire(&md, own(&md), &live, &pods, &routed),
        known,
        "who goes back finds the answer remembered"
    );
}

#[test]
fn an_answer_is_what_has_its_shape_and_the_rest_says_whether_to_try_another_operation() {
    let status = |status, words: &str| What::Status(status, (!words.is_empty()).then(|| words.to_owned()));
    for (operation, code, body, expected) in [
        (
            Operation::ChatCompletions,
            200,
            r#"{"choices":[{"message":{"role":"assistant","content":null}}]}"#,
            Meaning::Answer,
        ),
        (Operation::Completions, 200, r#"{"choices":[{"text":""}]}"#, Meaning::Answer),
        (Operation::Embeddings, 200, r#"{"data":[{"embedding":[0.1]}]}"#, Meaning::Answer),
        // It stopped by itself.
        (
            Operation::ChatCompletions,
            200,
            r#"{"choices":[{"message":{},"finish_reason":"abort"}]}"#,
            Meaning::NotThis(status(200, "")),
        ),
        // A server of pages.
        (
            Operation::ChatCompletions,
            200,
            "<html><body>Hello</body></html>",
            Meaning::NotThis(status(200, "")),
        ),
        // vLLM, of another name; llama.cpp, started for embeddings; vLLM 0.7, of an embedding model; TGI; a web framework.
        (
            Operation::ChatCompletions,
            404,
            r#"{"error":{"message":"The model `m` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
            Meaning::NotThis(status(404, "The model `m` does not exist.")),
        ),
        (
            Operation::ChatCompletions,
            501,
            r#"{"error":{"code":501,"message":"This server does not support completions.","type":"not_supported_error"}}"#,
            Meaning::NotThis(status(501, "This server does not support completions.")),
        ),
        (
            Operation::ChatCompletions,
            400,
            r#"{"object":"error","message":"The model does not support Chat Completions API","code":400}"#,
            Meaning::NotThis(status(400, "The model does not support Chat Completions API")),
        ),
        (
            Operation::ChatCompletions,
            422,
            r#"{"error":"Template error: template not found","error_type":"template_error"}"#,
            Meaning::NotThis(status(422, "Template error: template not found")),
        ),
        (
            Operation::Completions,
            404,
            r#"{"detail":"Not Found"}"#,
            Meaning::NotThis(status(404, "Not Found")),
        ),
        (
            Operation::ChatCompletions,
            401,
            r#"{"error":"Unauthorized"}"#,
            Meaning::NotNow(status(401, "Unauthorized")),
        ),
        (
            Operation::ChatCompletions,
            503,
            r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
            Meaning::NotNow(status(503, "Loading model")),
        ),
        (
            Operation::ChatCompletions,
            500,
            "out of\nmemory\n",
            Meaning::NotNow(status(500, "out of memory")),
        ),
        (Operation::ChatCompletions, 500, "", Meaning::NotNow(status(500, ""))),
    ] {
        assert_eq!(meaning(operation, code, body.as_bytes()), expected, "{body}");
    }
    let Meaning::NotNow(What::Status(_, Some(words))) = meaning(Operation::Completions, 500, "word ".repeat(500).as_bytes()) else {
        panic!("it says something");
    };
    assert_eq!(words.len(), 200);
}

fn said(whats: &[What]) -> Reply {
    let all = OPERATIONS.into_iter().zip(whats.iter().cloned());
    Reply::Failed(all.map(|(operation, what)| Said { operation, what }).collect())
}

fn seen(md: &ModelDeployment, live: &Deployment, reply: &Reply, second: i64) -> ModelDeploymentStatus {
    let observed = Observed {
        workload: live,
        pods: &[],
        cached: None,
        is_routed: true,
        reply,
        other: None,
    };
    status(md, own(md), &observed, Timestamp::from_second(second).unwrap())
}

fn ready(status: &ModelDeploymentStatus) -> &str {
    &find(&status.conditions, Kind::Ready).unwrap().message
}

#[test]
fn what_an_engine_says_instead_of_a_token_is_told_with_what_to_do() {
    let refused = |status, words: &str| What::Status(status, Some(words.to_owned()));
    for (spec, whats, told) in [
        (
            "{kind: VLLM, args: [--model=x]}",
            vec![
                refused(404, "no model `triage`"),
                refused(404, "no model `triage`"),
                refused(404, "no model `triage`"),
            ],
            "as the model \"triage\": it says HTTP 404 \"no model `triage`\" to /v1/chat/completions, /v1/completions, /v1/embeddings; let it answer \
             OpenAI's chat completions, completions or embeddings: check that its arguments serve it as \"triage\" (--served-model-name)",
        ),
        (
            "{kind: Custom, image: i, port: 9000}",
            vec![refused(400, "no template"), What::Status(404, None), What::Status(404, None)],
            "it says HTTP 400 \"no template\" to /v1/chat/completions; it says HTTP 404 to /v1/completions, /v1/embeddings; let it answer",
        ),
        (
            "{kind: VLLM, args: ['--api-key=k1']}",
            vec![refused(401, "Unauthorized")],
            "so that every request would be refused: remove --api-key from spec.selfHosted.engine.args",
        ),
        (
            "{kind: VLLM, env: [{name: VLLM_API_KEY, value: k1}]}",
            vec![refused(401, "Unauthorized")],
            "which neither the operator nor the gateway has, so that every request would be refused: remove VLLM_API_KEY from spec.selfHosted.engine.env",
        ),
        (
            "{kind: VLLM}",
            vec![refused(503, "Loading model")],
            "it may still be loading, or have too much to do; see `kubectl -n claims logs -l llmportfolio.dev/model=triage,app.kubernetes.io/component=engine`",
        ),
        (
            "{kind: VLLM}",
            vec![What::Status(500, None)],
            "it says HTTP 500 to /v1/chat/completions; see `kubectl -n claims logs -l llmportfolio.dev/model=triage,app.kubernetes.io/component=engine`. It is asked again",
        ),
        (
            "{kind: VLLM}",
            vec![What::Silent(Duration::from_secs(10))],
            "it says nothing within 10 s to /v1/chat/completions; it may still be loading, or hang",
        ),
        (
            "{kind: VLLM}",
            vec![What::Unreachable("Connection refused".to_owned())],
            "it cannot be reached (Connection refused); let the operator reach the pods",
        ),
        (
            "{kind: VLLM}",
            vec![What::Status(200, None); 3],
            "it says HTTP 200 and nothing that is an answer to /v1/chat/completions, /v1/completions, /v1/embeddings; let spec.selfHosted.engine.port be",
        ),
    ] {
        let md = md(&format!("{{selfHosted: {{engine: {spec}, replicas: 2}}}}"));
        let status = seen(&md, &deployment(SETTLED), &said(&whats), 100);
        assert_eq!(
            words(&status),
            "Accepted=True Valid, Ready=False EngineDoesNotAnswer, Reconciling=True EngineDoesNotAnswer, WorkloadReady=False EngineDoesNotAnswer"
        );
        assert!(ready(&status).contains(told), "{}", ready(&status));
    }
}

#[test]
fn an_engine_that_does_not_answer_for_as_long_as_a_start_may_take_is_stuck() {
    let reply = said(&[What::Status(500, None)]);
    let mut md = md("{selfHosted: {engine: {kind: VLLM}, replicas: 2}}");
    let mut live = deployment(SETTLED);
    live.spec.as_mut().unwrap().progress_deadline_seconds = Some(60);
    md.status = Some(seen(&md, &live, &reply, 100));
    assert!(words(&seen(&md, &live, &reply, 159)).contains("Reconciling=True EngineDoesNotAnswer"));
    assert!(words(&seen(&md, &live, &reply, 160)).contains("Stalled=True EngineDoesNotAnswer"));
}

#[test]
fn a_new_template_is_not_ready_before_it_answers_and_says_who_does_meanwhile() {
    let rolling = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 1, availableReplicas: 1}");
    let mut earlier = pod(&rolling, "198.19.0.7");
    earlier.spec.as_mut().unwrap().containers[0].args = None;
    let pods = [Arc::new(earlier)];
    let md = model();
    let observed = Observed {
        workload: &rolling,
        pods: &pods,
        cached: None,
        is_routed: true,
        reply: &Reply::NotYet,
        other: None,
    };
    let status = status(&md, own(&md), &observed, Timestamp::UNIX_EPOCH);
    assert_eq!(
        words(&status),
        "Accepted=True Valid, Ready=Unknown Starting, Reconciling=True Starting, WorkloadReady=False Starting"
    );
    assert!(
        ready(&status).ends_with("; 1 pod of an earlier specification goes on answering"),
        "{}",
        ready(&status)
    );
}

#[test]
fn pods_that_run_are_ready_once_their_engine_has_answered_and_they_get_requests() {
    let live = deployment(SETTLED);
    let mut md = model();
    for (reply, waits_for) in [
        (Reply::NotYet, "2 of 2 pods run; the model's endpoints do not list them yet"),
        (
            Reply::Asked,
            "2 of 2 pods run; the engine has been asked for a first token, and has not said anything yet",
        ),
    ] {
        let status = seen(&md, &live, &reply, 1);
        assert_eq!(
            words(&status),
            "Accepted=True Valid, Ready=Unknown Warming, Reconciling=True Warming, WorkloadReady=False Warming"
        );
        assert_eq!(ready(&status), waits_for);
    }
    for (operation, told) in [
        (Operation::ChatCompletions, "2 of 2 pods answer"),
        (
            Operation::Completions,
            "2 of 2 pods answer, to completions only: they have no chat template",
        ),
        (Operation::Embeddings, "2 of 2 pods answer, to embeddings only"),
    ] {
        let answered = Answered {
            template: "t".to_owned(),
            operation,
        };
        let status = seen(&md, &live, &Reply::Answered(answered.clone()), 1);
        assert_eq!(
            words(&status),
            "Accepted=True Valid, Ready=True Serving, WorkloadReady=True Settled"
        );
        assert_eq!((ready(&status), &status.answered), (told, &Some(answered)));
        md.status = Some(status);
    }

    let kept = seen(&md, &live, &Reply::NotYet, 1);
    assert!(kept.answered.is_some(), "a user may go back to the template that answered");
    md.spec.self_hosted.as_mut().unwrap().replicas = 0;
    let down = seen(&md, &deployment("{observedGeneration: 4}"), &Reply::NotYet, 1);
    assert_eq!(
        words(&down),
        "Accepted=True Valid, Ready=False ScaledToZero, WorkloadReady=True Settled"
    );
    assert_eq!(down.answered, None, "and one that was away is asked anew");
}
