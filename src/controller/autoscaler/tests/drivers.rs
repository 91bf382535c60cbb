//! The number moved by others: KEDA, or a HorizontalPodAutoscaler of ours.

use super::*;

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
