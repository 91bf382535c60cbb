mod drivers;
mod pods;
mod sharing;

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::routing::get;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::*;
use crate::api::condition::{self, Kind};
use crate::controller::tests::{DEPLOYMENT, MODELS, model, server, started};
use crate::plan::scaling::demand::Wanted;
use crate::plan::scaling::{Bounds, History, Sample, desired};
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

/// An entry of a schedule that comes each day, next or last in so many minutes from now.
fn entry(minutes: i64, bounds: &Value, cx: &Context) -> Value {
    let time = (cx.now() + k8s_openapi::jiff::SignedDuration::from_mins(minutes)).to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC);
    let mut entry = bounds.clone();
    entry["cron"] = json!(format!("{} {} * * *", time.minute(), time.hour()));
    entry
}

/// `triage`, of whose schedule the first entry came an hour ago and the second comes in an hour.
fn schedule_of(server: &Server, scaling: Value, entries: [Value; 2]) {
    let cx = started(server);
    let [came, comes] = entries;
    let mut scaling = scaling;
    scaling["schedule"] = json!([entry(-60, &came, &cx), entry(60, &comes, &cx)]);
    let own = json!({ "replicas": 1, "scaling": scaling });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
}

fn bounds_told(server: &Server) -> crate::api::scaling::BoundsStatus {
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    md.status.unwrap().scaling.unwrap().bounds.unwrap()
}

#[tokio::test]
async fn a_schedule_brings_replicas_before_anybody_asks_and_its_entry_is_told() {
    let server = server();
    let scaling = json!({ "max": 4, "target": { "inFlight": 16 } });
    schedule_of(&server, scaling, [json!({ "min": 3 }), json!({ "min": 0, "max": 2 })]);
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let (moved, mut hears_of) = futures::channel::mpsc::unbounded();
    let cx = Context {
        autoscaler: Arc::new(Autoscaler::new(moved)),
        ..Arc::into_inner(started(&server)).unwrap()
    };
    let cx = Arc::new(cx);
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(replicas(&server), Some(3));
    let (active, number) = told(&server, &cx).await;
    assert_eq!(
        (active.as_str(), number.as_str()),
        ("True Following", "3 Bounds: from 1 to 3: scaling allows 3 to 4 now, by schedule[0]")
    );
    let bounds = bounds_told(&server);
    let (now, since, next) = (cx.now(), bounds.since.unwrap().0, bounds.next.unwrap());
    assert_eq!((bounds.min, bounds.max, bounds.from.as_str()), (3, 4, "schedule[0]"));
    assert_eq!((next.min, next.max, next.from.as_str()), (0, 2, "schedule[1]"));
    assert!(since < now && now < next.at.0, "{since} {now} {:?}", next.at);
    server.requests();
    model(server.clone(), "triage", cx.clone()).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new(), "a settled object is silent");

    // Nobody is told again until an entry comes: as if this one just did.
    let mut heard = || std::iter::from_fn(|| hears_of.try_recv().ok()).count();
    let cx = Arc::new(Context {
        autoscaler: cx.autoscaler.clone(),
        ..Arc::into_inner(started(&server)).unwrap()
    });
    heard();
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(heard(), 0);
    let md = cx.cluster.stores.models.get(&Key::new("claims", "triage")).unwrap();
    let scaling = md.spec.self_hosted.as_ref().unwrap().scaling.as_ref().unwrap();
    let before = now - k8s_openapi::jiff::SignedDuration::from_hours(2);
    if let Some(known) = cx.autoscaler.models().get_mut(&Key::of(&*md)) {
        assert_eq!(known.schedule.now(scaling, before).0.min, 0);
    }
    cx.autoscaler.hears(busy(3), &cx).await;
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(heard(), 1);
}

#[tokio::test]
async fn whoever_else_moves_the_number_has_the_bounds_that_hold_now() {
    const OURS: &str = "/apis/autoscaling/v2/namespaces/claims/horizontalpodautoscalers/triage-engine";
    const SCALED: &str = "/apis/keda.sh/v1alpha1/namespaces/claims/scaledobjects/triage-engine";
    let reconciled = async |server: &Server| {
        let mut cx = Arc::into_inner(started(server)).unwrap();
        cx.cluster.keda.assume();
        cx.scaler_address = Some("operator:6000".to_owned());
        let cx = Arc::new(cx);
        model(server.clone(), "triage", cx.clone()).await.unwrap();
        cx
    };
    let server = server();
    let target = json!({ "max": 4, "target": { "inFlight": 16 } });
    for (entries, wanted) in [
        ([json!({ "min": 2 }), json!({ "min": 0, "max": 3 })], (2, 4)),
        ([json!({ "min": 0, "max": 3 }), json!({ "min": 2 })], (0, 3)),
    ] {
        schedule_of(&server, target.clone(), entries);
        reconciled(&server).await;
        let scaled: Value = server.get(SCALED).unwrap();
        let spec = &scaled["spec"];
        assert_eq!(
            (spec["minReplicaCount"].as_i64(), spec["maxReplicaCount"].as_i64()),
            (Some(wanted.0), Some(wanted.1))
        );
    }
    let metrics =
        json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }]);
    let own = json!({ "max": 4, "engine": "HPA", "metrics": metrics, "target": null });
    for (entries, wanted) in [
        ([json!({ "min": 2 }), json!({ "max": 1 })], (2, 4)),
        ([json!({ "max": 1 }), json!({ "min": 2 })], (1, 1)),
    ] {
        schedule_of(&server, own.clone(), entries);
        let cx = reconciled(&server).await;
        let scaler: Value = server.get(OURS).unwrap();
        let spec = &scaler["spec"];
        assert_eq!(
            (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64()),
            (Some(wanted.0), Some(wanted.1))
        );
        // Nothing is decided about it, and its schedule is looked at none the less, and kept.
        cx.autoscaler.hears(busy(3), &cx).await;
        let md = cx.cluster.stores.models.get(&Key::new("claims", "triage")).unwrap();
        let scaling = md.spec.self_hosted.as_ref().unwrap().scaling.as_ref().unwrap();
        let mut models = cx.autoscaler.models();
        let known = models.get_mut(&Key::of(&*md)).unwrap();
        let until = known
            .schedule
            .now(scaling, cx.now() + k8s_openapi::jiff::SignedDuration::from_mins(61));
        assert!(until.1, "an entry comes in an hour");
    }
}

#[tokio::test]
async fn a_schedule_that_says_two_things_at_once_is_told_and_the_larger_numbers_hold() {
    let server = server();
    let cx = started(&server);
    let entries = [json!({ "min": 3 }), json!({ "min": 0, "max": 9 })];
    let entries = entries.map(|bounds| entry(-60, &bounds, &cx));
    let scaling = json!({ "max": 4, "target": { "inFlight": 16 }, "schedule": entries });
    let own = json!({ "replicas": 1, "scaling": scaling });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let cx = started(&server);
    cx.autoscaler.hears(busy(100), &cx).await;
    assert_eq!(replicas(&server), Some(7));
    assert_eq!(told(&server, &cx).await.0, "False ScheduleAmbiguous");
    let bounds = bounds_told(&server);
    assert_eq!(
        (bounds.min, bounds.max, bounds.from.as_str()),
        (3, 9, "schedule[0] and schedule[1]")
    );
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
    Bounds::own(md.spec.self_hosted.as_ref().unwrap().scaling.as_ref().unwrap())
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
spec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{min: 0, max: 4, target: {{inFlight: 16}},
  schedule: [{{cron: 0 8 * * 1-5, timeZone: Europe/Berlin, max: 5}}, {{cron: 0 20 * * 1-5, timeZone: Europe/Berlin, max: 4}}]}}}}}}
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
    let bounds = Bounds::own(&serde_saphyr::from_str("{min: 0, max: 4, target: {inFlight: 16}}").unwrap());
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
