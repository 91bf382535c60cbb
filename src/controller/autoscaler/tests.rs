use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::routing::get;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::*;
use crate::controller::tests::{DEPLOYMENT, MODELS, model, server, started};
use crate::plan::scaling::demand::Wanted;
use crate::testing::{Fault, Server};

const GATEWAY: &str = "http://10.0.0.1:8080";

/// `triage`, scaled from 1 to 4 replicas that bear 16 requests each, applied and started anew.
async fn world(min: u32) -> (Server, Arc<Context>) {
    let server = server();
    let own = json!({ "replicas": 1, "scaling": { "min": min, "max": 4, "target": { "inFlight": 16 } } });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let cx = started(&server);
    server.requests();
    (server, cx)
}

impl Autoscaler {
    /// The gateway says so, and a round is made of it.
    async fn hears(&self, wanted: Option<Wanted>, cx: &Context) {
        self.demand().are_at(&[GATEWAY.to_owned()].into(), at(0));
        if let Some(wanted) = wanted {
            let told = crate::plan::scaling::demand::Told {
                models: BTreeMap::from([("claims/triage".to_owned(), wanted)]),
                ..Default::default()
            };
            self.demand().note(GATEWAY, told, cx.now());
        }
        let mut writes = Writes::new();
        self.round(scaled(&cx.cluster.stores.models.all()), cx, &mut writes);
        while writes.next().await.is_some() {}
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn busy(in_flight: u64) -> Option<Wanted> {
    Some(Wanted {
        in_flight,
        ..Wanted::default()
    })
}

fn replicas(server: &Server) -> Option<i32> {
    server.get::<Deployment>(DEPLOYMENT).unwrap().spec.unwrap().replicas
}

/// The condition `ScalingActive`, and what is said of the number.
async fn told(server: &Server, cx: &Arc<Context>) -> (String, String) {
    model(server.clone(), "triage", cx.clone()).await.unwrap();
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let status = md.status.unwrap();
    let active = condition::find(&status.conditions, Kind::ScalingActive).unwrap();
    let scaling = status.scaling.unwrap();
    (
        format!("{} {}", active.status, active.reason),
        format!("{} {}: {}", scaling.desired_replicas, scaling.reason, scaling.message),
    )
}

#[tokio::test]
async fn demand_becomes_replicas_and_what_stays_as_it_is_costs_no_request() {
    let (server, cx) = world(1).await;
    let autoscaler = cx.autoscaler.clone();
    assert_eq!(replicas(&server), None, "it is applied without a number");
    autoscaler.hears(None, &cx).await;
    assert_eq!(server.requests(), Vec::<String>::new(), "nobody says anything, and nothing is done");
    let (active, number) = told(&server, &cx).await;
    assert_eq!(
        (active.as_str(), number.as_str()),
        ("Unknown Starting", "1 New: the number of replicas has not been changed yet")
    );
    server.requests();

    autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(4));
    let requests = server.requests();
    assert_eq!(requests, [format!("PATCH {DEPLOYMENT}")], "beside the event");
    for _ in 0..5 {
        autoscaler.hears(busy(60), &cx).await;
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    let (_, number) = told(&server, &cx).await;
    assert_eq!(
        number,
        "4 Panic: from 1 to 4: inFlight of the latest 6s is what 3.8 replicas bear at 16 each"
    );

    // Somebody else sets another number: it is as good as any until the demand says otherwise.
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 9 } }));
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(4), "there are never more than scaling.max");
}

#[tokio::test]
async fn a_call_wakes_a_model_that_is_asleep_and_its_status_says_what_it_waits_for() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    let cx = started(&server);
    cx.autoscaler.hears(busy(0), &cx).await;
    assert_eq!(replicas(&server), Some(0));
    let md: ModelDeployment = {
        model(server.clone(), "triage", cx.clone()).await.unwrap();
        server.get(&format!("{MODELS}/triage")).unwrap()
    };
    let conditions = md.status.unwrap().conditions;
    let ready = condition::find(&conditions, Kind::Ready).unwrap();
    assert_eq!(
        (ready.reason.as_str(), ready.message.as_str()),
        ("ScaledToZero", "nobody wants it: the next request wakes it")
    );
    let held = Wanted {
        held: 1,
        ..Wanted::default()
    };
    cx.autoscaler.hears(Some(held), &cx).await;
    assert_eq!(replicas(&server), Some(1));
    let (_, number) = told(&server, &cx).await;
    assert_eq!(number, "1 Wake: from 0 to 1: somebody wants it");
}

#[tokio::test]
async fn a_number_that_is_not_written_is_written_at_the_next_round() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let (server, cx) = world(1).await;
        server.fail(0, fault);
        cx.autoscaler.hears(busy(60), &cx).await;
        cx.autoscaler.hears(busy(60), &cx).await;
        assert_eq!(replicas(&server), Some(4), "{fault:?}");
    }
}

#[tokio::test]
async fn whoever_wakes_waits_for_no_number_that_the_server_does_not_answer() {
    let (server, _) = world(0).await;
    let mut other: Value = server.get(&format!("{MODELS}/triage")).unwrap();
    other["metadata"] = json!({ "name": "other", "namespace": "claims", "uid": "other", "generation": 1 });
    server.change(&format!("{MODELS}/other"), other);
    model(server.clone(), "other", started(&server)).await.unwrap();
    let of_other = DEPLOYMENT.replace("triage", "other");
    server.change(&of_other, json!({ "spec": { "replicas": 0 } }));
    let cx = started(&server);
    let models = || scaled(&cx.cluster.stores.models.all());
    let hears = |wanted: &[(&str, Wanted)]| {
        let told = crate::plan::scaling::demand::Told {
            models: wanted.iter().map(|(name, wanted)| (format!("claims/{name}"), *wanted)).collect(),
            ..Default::default()
        };
        cx.autoscaler.demand().note(GATEWAY, told, cx.now());
    };
    cx.autoscaler.demand().are_at(&[GATEWAY.to_owned()].into(), at(0));
    hears(&[]);
    server.requests();

    let mut writes = Writes::new();
    server.fail(0, Fault::Unanswered);
    let busy = busy(60).unwrap();
    hears(&[("triage", busy)]);
    cx.autoscaler.round(models(), &cx, &mut writes);
    assert!(writes.next().now_or_never().is_none(), "it waits");
    let held = Wanted {
        held: 1,
        ..Wanted::default()
    };
    hears(&[("triage", busy), ("other", held)]);
    cx.autoscaler.round(models(), &cx, &mut writes);
    writes.next().await.unwrap();
    assert_eq!(server.get::<Deployment>(&of_other).unwrap().spec.unwrap().replicas, Some(1));
    assert_eq!(
        server.requests(),
        [format!("PATCH {DEPLOYMENT}"), format!("PATCH {of_other}")],
        "none is written twice at once"
    );
}

#[tokio::test]
async fn a_process_that_has_just_started_says_nothing_of_demand_before_it_has_heard_of_it() {
    let (server, cx) = world(1).await;
    cx.autoscaler.demand().are_at(&[GATEWAY.to_owned()].into(), cx.now());
    cx.autoscaler.hears(None, &cx).await;
    assert_eq!(told(&server, &cx).await.0, "Unknown Starting");
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(told(&server, &cx).await.0, "True Following");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_a_call_is_not_lost_meanwhile() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    let cx = started(&server);
    let model = Key::new("claims", "triage");
    cx.autoscaler.hears(busy(0), &cx).await;
    cx.autoscaler.models().get_mut(&model).unwrap().refused = Some((1, cx.now(), "no more than none".to_owned()));
    let held = Wanted {
        held: 1,
        ..Wanted::default()
    };
    cx.autoscaler.hears(Some(held), &cx).await;
    assert_eq!(replicas(&server), Some(0), "it is not asked again at once");
    // Whoever called has gone; the call stands.
    cx.autoscaler.models().get_mut(&model).unwrap().refused = Some((1, at(0), String::new()));
    cx.autoscaler.hears(busy(0), &cx).await;
    assert_eq!(replicas(&server), Some(1));
}

#[tokio::test]
async fn a_model_that_comes_to_be_scaled_keeps_the_replicas_it_has() {
    let server = server();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(replicas(&server), Some(2));
    let own = json!({ "replicas": 1, "scaling": { "max": 4, "target": { "inFlight": 16 } } });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
    server.requests();
    let cx = started(&server);
    // Until it is applied without a number there is nothing to scale.
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(server.requests(), Vec::<String>::new());
    model(server.clone(), "triage", cx.clone()).await.unwrap();
    let patches: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|request| request.contains(DEPLOYMENT))
        .collect();
    assert_eq!(patches.len(), 2, "it is taken over before it is left out: {patches:?}");
    assert_eq!(replicas(&server), Some(2));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new(), "a settled object is silent");

    // And back: the number is the specification's again.
    let mut md: Value = server.get(&format!("{MODELS}/triage")).unwrap();
    md["spec"]["selfHosted"]["scaling"] = Value::Null;
    server.change(&format!("{MODELS}/triage"), md);
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(replicas(&server), Some(1));
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let status = md.status.unwrap();
    assert_eq!(
        (status.scaling, condition::find(&status.conditions, Kind::ScalingActive)),
        (None, None)
    );
}

const SCALER: &str = "/apis/autoscaling/v2/namespaces/claims/horizontalpodautoscalers/theirs";

/// Somebody else's autoscaler of this.
fn theirs(server: &Server, version: &str, kind: &str, name: &str) {
    server.put(&format!(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: theirs, namespace: claims}}
spec: {{maxReplicas: 9, scaleTargetRef: {{apiVersion: {version}, kind: {kind}, name: {name}}}}}
"
    ));
}

fn active(server: &Server) -> Option<String> {
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let conditions = md.status.unwrap().conditions;
    let active = condition::find(&conditions, Kind::ScalingActive)?;
    Some(format!("{} {}", active.status, active.reason))
}

#[tokio::test]
async fn while_another_autoscaler_scales_the_workload_we_do_not_and_nothing_of_it_is_touched() {
    let (server, cx) = world(1).await;
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(4));
    theirs(&server, "apps/v1", "Deployment", "triage-engine");
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 7 } }));
    let before: Value = server.get(SCALER).unwrap();
    let cx = started(&server);
    server.requests();
    for _ in 0..3 {
        cx.autoscaler.hears(busy(60), &cx).await;
    }
    assert_eq!(server.requests(), Vec::<String>::new(), "no fight, beyond scaling.max either");
    model(server.clone(), "triage", cx.clone()).await.unwrap();
    assert_eq!(
        (replicas(&server), active(&server)),
        (Some(7), Some("False ScalingConflict".to_owned()))
    );
    assert_eq!(server.get::<Value>(SCALER), Some(before));

    // One that scales the ModelDeployment is refused by its rules, and told.
    theirs(&server, "llmportfolio.dev/v1alpha1", "ModelDeployment", "triage");
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    model(server.clone(), "triage", cx).await.unwrap();
    assert_eq!(
        (replicas(&server), active(&server)),
        (Some(4), Some("False ScalingConflict".to_owned()))
    );

    // It is gone.
    theirs(&server, "apps/v1", "Deployment", "another");
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    model(server.clone(), "triage", cx).await.unwrap();
    assert_eq!((replicas(&server), active(&server)), (Some(4), Some("True Following".to_owned())));
}

#[tokio::test]
async fn a_model_without_scaling_leaves_its_number_to_whoever_scales_its_workload() {
    let server = server();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    theirs(&server, "apps/v1", "Deployment", "triage-engine");
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(
        (replicas(&server), active(&server)),
        (Some(2), Some("True HorizontalPodAutoscaler".to_owned())),
        "it begins with what there is"
    );
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 5 } }));
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(replicas(&server), Some(5));
    let patches: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|request| request.ends_with(DEPLOYMENT))
        .collect();
    assert_eq!(patches, Vec::<String>::new());
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    assert_eq!(md.status.unwrap().readiness.as_deref(), Some("0/5"));
    // It is gone: the specification's number again.
    theirs(&server, "apps/v1", "Deployment", "another");
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!((replicas(&server), active(&server)), (Some(2), None));
}

/// An engine that says this of itself, as a slice of the model's.
async fn engine(server: &Server, number: usize, says: Arc<Mutex<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/metrics", get(async move || says.lock().unwrap().clone()));
    tokio::spawn(async { axum::serve(listener, app).await });
    server.put(&format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: triage-{number}, namespace: claims, labels: {{llmportfolio.dev/model: triage}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"
    ));
}

#[tokio::test]
async fn engines_say_how_many_wait_and_one_that_lies_or_says_nothing_moves_nothing() {
    let server = server();
    let own = json!({ "replicas": 1, "engine": { "kind": "VLLM" }, "scaling": { "min": 1, "max": 9, "target": { "waiting": 4 } } });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let says = |waiting: &str| format!("vllm:num_requests_waiting{{engine=\"0\"}} {waiting}\n");
    let (first, second) = (Arc::new(Mutex::new(says("7"))), Arc::new(Mutex::new(says("5"))));
    engine(&server, 1, first.clone()).await;
    engine(&server, 2, second.clone()).await;
    let cx = started(&server);
    let asker = engines::Asker::new();
    let hears = async || {
        cx.autoscaler.hear_engines(&asker, &cx).await;
        cx.autoscaler.hears(busy(0), &cx).await;
    };
    hears().await;
    assert_eq!(replicas(&server), Some(3), "12 wait, and each is to have 4");
    server.requests();
    for (lie, reason) in [
        (says("NaN"), "False DemandAbsurd"),
        (says("-5"), "False DemandAbsurd"),
        (says("1e300"), "False DemandAbsurd"),
        (says("7000000"), "False DemandAbsurd"),
        (String::new(), "False EngineMetricsMissing"),
        ("<html>".to_owned(), "False EngineMetricsMissing"),
    ] {
        *first.lock().unwrap() = lie.clone();
        for _ in 0..5 {
            hears().await;
        }
        assert_eq!(server.requests(), Vec::<String>::new(), "{lie:?}");
        assert_eq!(replicas(&server), Some(3), "{lie:?}");
        let known = cx.autoscaler.models();
        let known = &known[&Key::new("claims", "triage")];
        let decision = desired(&known.history, &bounds_of(&cx), 3, cx.now());
        let demand = Demand::default().take(cx.now());
        let claim = decision.claim(&demand, known.heard.unwrap().engines, &bounds_of(&cx));
        assert_eq!(format!("{:?} {}", claim.status, claim.reason), reason, "{lie:?}");
    }
}

fn bounds_of(cx: &Context) -> Bounds {
    let md = cx.cluster.stores.models.get(&Key::new("claims", "triage")).unwrap();
    Bounds::of(md.spec.self_hosted.as_ref().unwrap().scaling.as_ref().unwrap())
}

#[tokio::test]
async fn a_round_over_a_thousand_models_takes_no_time_and_no_request() {
    let server = Server::default();
    for number in 0..1_000 {
        server.put(&format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: m{number}, namespace: claims}}
spec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{min: 0, max: 4, target: {{inFlight: 16}}}}}}}}
"
        ));
        server.put(&format!(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: m{number}-engine, namespace: claims, labels: {{llmportfolio.dev/model: m{number}, app.kubernetes.io/managed-by: llm-portfolio}},
  annotations: {{llmportfolio.dev/scaled: 'true'}}}}
spec: {{replicas: 2, selector: {{}}, template: {{}}}}
status: {{availableReplicas: 2}}
"
        ));
    }
    let bounds = Bounds::of(&serde_saphyr::from_str("{min: 0, max: 4, target: {inFlight: 16}}").unwrap());
    let cx = started(&server);
    let all = scaled(&cx.cluster.stores.models.all());
    assert_eq!(all.len(), 1_000);
    cx.autoscaler.hears(busy(0), &cx).await;
    // Each with minutes behind it, in which there was more: all of them wait to go down.
    for model in cx.autoscaler.models().values_mut() {
        let now = cx.now().as_second();
        for second in (now - 360..now - 2).step_by(2) {
            let seen = Sample {
                at: at(second),
                replicas: 2,
                in_flight: Some(if second < now - 90 { 30.0 } else { 2.0 }),
                ..*model.history.latest().unwrap()
            };
            let mut earlier = History::default();
            std::mem::swap(&mut earlier, &mut model.history);
            if second == now - 360 {
                earlier = History::default();
            }
            earlier.note(seen, &bounds);
            model.history = earlier;
        }
    }
    server.requests();
    let began = std::time::Instant::now();
    for _ in 0..5 {
        cx.autoscaler.hears(busy(0), &cx).await;
    }
    println!("five rounds over a thousand models: {:?}", began.elapsed());
    // Without optimisation, on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(cx.autoscaler.models().len(), 1_000);
    let models = cx.autoscaler.models();
    let history = &models[&Key::new("claims", "m7")].history;
    assert!(history.len() >= 179, "none was thrown away: {}", history.len());
    let decision = desired(history, &bounds, 2, cx.now());
    assert_eq!(decision.why.word(), "WaitsToGoDown", "the dearest way to decide");
    drop(models);
    assert_eq!(server.requests(), Vec::<String>::new());
}

/// The same, scaled by KEDA, which is there.
async fn with_keda(server: &Server) -> Arc<Context> {
    let mut cx = Arc::into_inner(started(server)).unwrap();
    cx.cluster.keda.assume();
    cx.scaler_address = Some("operator.llm.svc:6000".to_owned());
    let cx = Arc::new(cx);
    model(server.clone(), "triage", cx.clone()).await.unwrap();
    server.requests();
    cx
}

const SCALED_OBJECT: &str = "/apis/keda.sh/v1alpha1/namespaces/claims/scaledobjects/triage-engine";

#[tokio::test]
async fn where_keda_scales_it_is_told_the_number_and_none_is_written() {
    let (server, _) = world(0).await;
    let cx = with_keda(&server).await;
    let triage = Key::new("claims", "triage");
    let told_number = || cx.autoscaler.numbers().now(&triage);
    let object: Value = server.get(SCALED_OBJECT).unwrap();
    assert_eq!(object["spec"]["triggers"][0]["metadata"]["scalerAddress"], "operator.llm.svc:6000");
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 1 } }));
    let cx_live = with_keda(&server).await;
    drop(cx_live);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(told_number(), Some(4));
    assert_eq!(server.requests(), Vec::<String>::new(), "beside the event");
    // KEDA takes its time, and the number stays as it was decided.
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(told_number(), Some(4));
    let (_, number) = told(&server, &cx).await;
    assert_eq!(
        number,
        "4 Panic: from 1 to 4: inFlight of the latest 6s is what 3.8 replicas bear at 16 each"
    );
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    assert_eq!(md.status.unwrap().scaling.unwrap().engine.as_deref(), Some("KEDA"));
    // Told otherwise, the operator moves it, and KEDA's object goes.
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": { "engine": "Builtin" } } } }),
    );
    let cx = with_keda(&server).await;
    assert_eq!(server.get::<Value>(SCALED_OBJECT), None);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!((cx.autoscaler.numbers().now(&triage), replicas(&server)), (None, Some(4)));
}

#[tokio::test]
async fn what_keda_does_not_carry_out_is_told_and_whoever_waits_is_not_left_waiting() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    let cx = with_keda(&server).await;
    cx.autoscaler.hears(busy(0), &cx).await;
    assert_eq!(replicas(&server), Some(0));
    cx.autoscaler.hears(busy(3), &cx).await;
    let key = Key::new("claims", "triage");
    assert_eq!(
        (cx.autoscaler.numbers().now(&key), replicas(&server)),
        (Some(1), Some(0)),
        "KEDA is given some time"
    );
    let ago = |seconds: i64| cx.now().checked_sub(k8s_openapi::jiff::SignedDuration::from_secs(seconds)).unwrap();
    cx.autoscaler.models().get_mut(&key).unwrap().told = Some((1, Some(ago(6))));
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(replicas(&server), Some(1));
    // More of them are KEDA's to bring.
    let cx = with_keda(&server).await;
    cx.autoscaler.hears(busy(60), &cx).await;
    cx.autoscaler.models().get_mut(&key).unwrap().told = Some((4, Some(ago(70))));
    let claim = cx.autoscaler.models()[&key].claim(&Decision::WAKE, 1, cx.now()).unwrap();
    assert_eq!((claim.reason, replicas(&server)), ("NotFollowed", Some(1)));
    assert!(
        claim.message.starts_with("4 replicas are wanted, and KEDA has left it at 1"),
        "{}",
        claim.message
    );
}

#[tokio::test]
async fn metrics_of_a_persons_own_are_a_horizontal_pod_autoscaler_that_decides_alone() {
    let (server, _) = world(1).await;
    let metrics = json!([{ "type": "External", "external": { "metric": { "name": "queue_depth" }, "target": { "type": "AverageValue", "averageValue": "4" } } }]);
    let scaling = json!({ "engine": "HPA", "target": null, "metrics": metrics });
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": scaling } } }),
    );
    let cx = started(&server);
    let path = "/apis/autoscaling/v2/namespaces/claims/horizontalpodautoscalers/triage-engine";
    assert_eq!(told(&server, &cx).await.0, "Unknown Starting");
    let made: Value = server.get(path).unwrap();
    assert_eq!(made["spec"]["scaleTargetRef"]["name"], "triage-engine");
    let says = |active: &str| json!({ "status": { "desiredReplicas": 1, "lastScaleTime": "2026-01-01T00:00:00Z", "conditions": [{ "type": "ScalingActive", "status": active, "reason": "FailedGetExternalMetric", "message": "no such metric" }] } });
    for (active, reason) in [("False", "False MetricsMissing"), ("True", "True Following")] {
        server.change(path, says(active));
        let cx = started(&server);
        let (condition, number) = told(&server, &cx).await;
        assert_eq!(condition, reason);
        assert!(number.starts_with("1 Metrics:"), "{number}");
        cx.autoscaler.hears(busy(60), &cx).await;
        assert_eq!(replicas(&server), None, "its metrics decide, and no demand of ours");
    }
}

#[tokio::test]
async fn keda_that_is_named_and_not_there_is_told_and_the_operator_scales_meanwhile() {
    let (server, _) = world(1).await;
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": { "engine": "KEDA" } } } }),
    );
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(
        (told(&server, &cx).await.0.as_str(), replicas(&server)),
        ("False KedaMissing", Some(4))
    );
}
