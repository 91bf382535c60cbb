//! What is seen and said of pods: which go first, how long they take to start, and those that never will.

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::controller::autoscaler::carry::{How, Step, price};
use crate::plan::scaling::Decision;

const PODS: &str = "/api/v1/namespaces/claims/pods";

fn pod(server: &Server, name: &str, address: &str) {
    server.put(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: claims, uid: {name}, labels: {{llmportfolio.dev/model: triage, app.kubernetes.io/component: engine}}}},
          spec: {{containers: []}}, status: {{podIP: {address}}}}}"
    ));
}

fn cost(server: &Server, name: &str) -> Option<String> {
    let pod: Value = server.get(&format!("{PODS}/{name}")).unwrap();
    Some(
        pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"]
            .as_str()?
            .to_owned(),
    )
}

#[tokio::test]
async fn when_there_are_to_be_fewer_the_pod_that_answers_least_goes_first() {
    let (server, _) = world(1).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 3 } }));
    for (name, address) in [("busy", "10.0.0.1"), ("idle", "10.0.0.2"), ("less", "10.0.0.3")] {
        pod(&server, name, address);
    }
    let cx = started(&server);
    let told = crate::plan::scaling::demand::Told {
        pods: [("10.0.0.1:8000".to_owned(), 7), ("10.0.0.3:8000".to_owned(), 2)].into(),
        ..Default::default()
    };
    cx.autoscaler.demand().are_at(&[GATEWAY.to_owned()].into(), at(0));
    cx.autoscaler.demand().note(GATEWAY, told, cx.now());
    let round = Round {
        demand: cx.autoscaler.demand().take(cx.now()),
        scalers: HashMap::new(),
        cx: &cx,
        now: cx.now(),
    };
    let step = |replicas| Step {
        md: cx.cluster.stores.models.get(&Key::new("claims", "triage")).unwrap(),
        decision: Decision {
            replicas,
            ..Decision::WAKE
        },
        current: 3,
        bounds: Bounds::own(&serde_saphyr::from_str("{max: 4, target: {inFlight: 16}}").unwrap()),
        is_grouped: false,
        how: How::Written,
    };
    for all_or_more in [0, 4] {
        price(&step(all_or_more), &round).await;
        assert_eq!(cost(&server, "busy"), None, "where all go, or more come, nobody chooses");
    }
    cx.autoscaler.change(&step(2), &round).await;
    let costs = ["busy", "idle", "less"].map(|name| cost(&server, name));
    assert_eq!(
        costs,
        [Some("7".to_owned()), None, Some("2".to_owned())],
        "a pod that says nothing costs nothing"
    );
    assert_eq!(replicas(&server), Some(2));
    let requests = server.requests();
    let last = requests.last().unwrap();
    assert_eq!(
        last,
        &format!("PATCH {DEPLOYMENT}"),
        "the cluster knows before it has to choose: {requests:?}"
    );
    price(&step(1), &round).await;
    assert_eq!(server.requests(), Vec::<String>::new(), "what is said already is not said again");
}

#[tokio::test]
async fn how_long_a_model_takes_from_none_to_its_first_answer_is_seen_and_told() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    let cx = started(&server);
    cx.autoscaler.hears(busy(0), &cx).await;
    let triage = cx.cluster.stores.models.get(&Key::new("claims", "triage")).unwrap();
    let round = |seconds: i64| Round {
        demand: Now::default(),
        scalers: HashMap::new(),
        cx: &cx,
        now: cx.now().checked_add(SignedDuration::from_secs(seconds)).unwrap(),
    };
    let moved = unbounded_sender();
    let took = {
        let mut models = cx.autoscaler.models();
        let known = models.get_mut(&Key::new("claims", "triage")).unwrap();
        known.time_start(&triage, (1, 0), &round(0), &moved);
        known.time_start(&triage, (1, 0), &round(40), &moved);
        known.time_start(&triage, (1, 1), &round(95), &moved);
        known.bulletin.standing().cold_start.unwrap()
    };
    assert!((94..=95).contains(&took.as_secs()), "{took:?}");
    told(&server, &cx).await;
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let start = md.status.unwrap().scaling.unwrap().cold_start.unwrap();
    assert!(["1m34s", "1m35s"].contains(&start.as_str()), "{start}");
    // A process that finds it starting does not know since when.
    let cx = started(&server);
    let mut known = Model::default();
    known.time_start(&triage, (1, 0), &round(0), &moved);
    known.time_start(&triage, (1, 1), &round(10), &moved);
    assert_eq!(known.bulletin.standing().cold_start, None);
    told(&server, &cx).await;
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    assert_eq!(md.status.unwrap().scaling.unwrap().cold_start, Some(start), "what was told stays");
}

fn unbounded_sender() -> UnboundedSender<Key> {
    futures::channel::mpsc::unbounded().0
}

#[tokio::test]
async fn a_replica_that_cannot_start_is_no_start_that_is_waited_for() {
    let (server, _) = world(0).await;
    let sample = async |reason: &str, status: &str| {
        let ready = json!({ "type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 });
        server.change(
            &format!("{MODELS}/triage"),
            json!({ "metadata": { "generation": 1 }, "status": { "conditions": [ready] } }),
        );
        let cx = started(&server);
        cx.autoscaler.hears(busy(0), &cx).await;
        cx.autoscaler.models()[&Key::new("claims", "triage")]
            .history
            .latest()
            .unwrap()
            .is_starting
    };
    assert!(sample("Starting", "Unknown").await);
    assert!(
        !sample("Unschedulable", "False").await,
        "so it goes when nobody has wanted it for long enough"
    );
}

#[tokio::test]
async fn pods_that_are_wanted_and_have_no_room_are_told_with_what_they_lack() {
    let (server, _) = world(1).await;
    pod(&server, "first", "10.0.0.1");
    for name in ["second", "third"] {
        pod(&server, name, "''");
        let unscheduled = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." });
        let asks = json!([{ "name": "engine", "resources": { "requests": { "nvidia.com/gpu": "1" } } }]);
        server.change(
            &format!("{PODS}/{name}"),
            json!({ "spec": { "containers": asks }, "status": { "conditions": [unscheduled] } }),
        );
    }
    let cx = started(&server);
    assert_eq!(told(&server, &cx).await.0, "False NoRoom");
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let conditions = md.status.unwrap().conditions;
    let message = &condition::find(&conditions, Kind::ScalingActive).unwrap().message;
    for part in ["no room for 2 of the pods", "2 pods wait, each for nvidia.com/gpu: 1"] {
        assert!(message.contains(part), "{message}");
    }
}
