//! Models that share accelerators of which there are too few.

use super::*;
use crate::api::model_deployment::Tier;
use crate::plan::routing::may_wake;
use crate::plan::scaling::schedule::Source;
use crate::plan::scaling::{Decision, Engines};

/// A model that shares the accelerators of one profile, and that nobody has to want.
fn put(server: &Server, name: &str, tier: &str) {
    server.put(&format!(
        "{{apiVersion: llmportfolio.dev/v1alpha1, kind: ModelDeployment, metadata: {{name: {name}, namespace: claims, uid: {name}, generation: 1}},
          spec: {{tier: {tier}, selfHosted: {{replicas: 1, engine: {{kind: VLLM}}, accelerator: {{profile: nvidia-gpu, count: 1}},
          scaling: {{min: 0, max: 4, target: {{inFlight: 16}}, sharing: {{}}}}}}}}}}"
    ));
}

/// It has so many replicas.
fn has(server: &Server, name: &str, replicas: u32) {
    server.put(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}-engine, namespace: claims, uid: d-{name}, annotations: {{llmportfolio.dev/scaled: 'true'}}}},
          spec: {{replicas: {replicas}, selector: {{}}, template: {{}}}}, status: {{availableReplicas: 1, replicas: {replicas}}}}}"
    ));
}

/// One of its pods: on a node, or waiting for one since long ago, for what the scheduler says is missing.
fn pod(server: &Server, model: &str, at: u32, missing: Option<&str>) {
    let (node, condition) = match missing {
        None => ("nodeName: a,", String::new()),
        Some(missing) => (
            "",
            format!(
                "{{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/2 nodes are available: 2 Insufficient {missing}.', lastTransitionTime: '2026-01-01T00:00:00Z'}}"
            ),
        ),
    };
    server.put(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {model}-{at}, namespace: claims, uid: {model}-{at}, labels: {{llmportfolio.dev/model: {model}, app.kubernetes.io/component: engine}}}},
          spec: {{{node} containers: [{{name: engine, resources: {{requests: {{cpu: '4', nvidia.com/gpu: '1'}}}}}}]}}, status: {{conditions: [{condition}]}}}}"
    ));
}

fn deployment(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/claims/deployments/{name}-engine")
}

fn number(server: &Server, name: &str) -> Option<i32> {
    server.get::<Deployment>(&deployment(name)).unwrap().spec.unwrap().replicas
}

/// A round in which both are as busy as this.
async fn hears(critical: u64, draft: u64, cx: &Arc<Context>) {
    let wanted = |in_flight| busy(in_flight).unwrap();
    let told = crate::plan::scaling::demand::Told {
        models: BTreeMap::from([
            ("claims/critical".to_owned(), wanted(critical)),
            ("claims/draft".to_owned(), wanted(draft)),
        ]),
        ..Default::default()
    };
    cx.autoscaler.demand().are_at(&[GATEWAY.to_owned()].into(), at(0));
    cx.autoscaler.demand().note(GATEWAY, told, cx.now());
    cx.autoscaler.hears(None, cx).await;
}

/// `critical` has one of the three replicas that it wants, and `draft` has three.
fn world(missing: &str) -> (Server, Arc<Context>) {
    let server = server();
    put(&server, "critical", "MissionCritical");
    put(&server, "draft", "General");
    has(&server, "critical", 3);
    has(&server, "draft", 3);
    (0..3).for_each(|at| pod(&server, "draft", at, None));
    pod(&server, "critical", 0, None);
    (1..3).for_each(|at| pod(&server, "critical", at, Some(missing)));
    let cx = shared(&server);
    (server, cx)
}

/// A process whose settings say what an accelerator is.
fn shared(server: &Server) -> Arc<Context> {
    let mut cx = Arc::into_inner(started(server)).unwrap();
    cx.settings = serde_saphyr::from_str("acceleratorProfiles: {nvidia-gpu: {resource: nvidia.com/gpu}}").unwrap();
    Arc::new(cx)
}

#[tokio::test]
async fn a_lower_tier_gives_its_accelerators_to_a_higher_one_whose_pods_find_none() {
    let (server, cx) = world("nvidia.com/gpu");
    hears(40, 40, &cx).await;
    assert_eq!(number(&server, "draft"), Some(3), "it is seen in this round, and done in the next");
    for _ in 0..3 {
        hears(40, 40, &cx).await;
        assert_eq!((number(&server, "critical"), number(&server, "draft")), (Some(3), Some(1)));
    }
    let change = cx.autoscaler.standing(&Key::new("claims", "draft")).changes[0].clone();
    assert_eq!(
        (change.reason, change.message.as_str()),
        (
            "Bounds",
            "from 3 to 1: scaling allows 0 to 1 now, by sharing with models of tier MissionCritical that find no accelerator"
        )
    );
}

#[tokio::test]
async fn what_is_missing_is_no_accelerator_then_nobody_makes_room() {
    let (server, cx) = world("cpu");
    for _ in 0..3 {
        hears(40, 40, &cx).await;
    }
    assert_eq!(number(&server, "draft"), Some(3));
}

#[tokio::test]
async fn a_model_of_which_none_is_left_says_so_first_and_nobody_waits_for_it() {
    let server = server();
    put(&server, "draft", "General");
    model(server.clone(), "draft", shared(&server)).await.unwrap();
    server.change(&deployment("draft"), json!({ "spec": { "replicas": 0 } }));
    let cx = shared(&server);
    hears(0, 0, &cx).await;
    let draft = Key::new("claims", "draft");
    {
        let bounds = Bounds {
            max: 0,
            source: Source::Sharing(Tier::Regulated),
            ..Bounds::own(&serde_saphyr::from_str("{min: 0, max: 4, target: {inFlight: 16}}").unwrap())
        };
        let claim = Decision::WAKE.claim(&Now::default(), Engines::default(), &bounds);
        let mut models = cx.autoscaler.models();
        let bulletin = &mut models.get_mut(&draft).unwrap().bulletin;
        let told = [0, 60].map(|second| bulletin.note(claim.clone(), at(second)));
        assert_eq!(told, [false, true], "what stays so is told");
    }
    model(server.clone(), "draft", cx.clone()).await.unwrap();
    let md: ModelDeployment = server.get(&format!("{MODELS}/draft")).unwrap();
    let status = md.status.as_ref().unwrap();
    let said = |kind| {
        let known = condition::find(&status.conditions, kind).unwrap();
        (known.status.as_str(), known.reason.as_str(), known.message.as_str())
    };
    let (status, reason, message) = said(Kind::ScalingActive);
    assert_eq!((status, reason), ("False", "NoShare"));
    assert_eq!(said(Kind::Ready), ("False", "ScaledToZero", message), "it is what is read first");
    assert!(!may_wake(&md));

    // Whoever else decides from now on, that is over.
    let own = json!({ "scaling": { "min": 1, "engine": "HPA", "target": null, "sharing": null, "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } }] } });
    server.change(&format!("{MODELS}/draft"), json!({ "spec": { "selfHosted": own } }));
    let mut again = Arc::into_inner(shared(&server)).unwrap();
    again.autoscaler = cx.autoscaler.clone();
    let cx = Arc::new(again);
    hears(0, 0, &cx).await;
    assert_eq!(cx.autoscaler.standing(&draft).claim, None);
}
