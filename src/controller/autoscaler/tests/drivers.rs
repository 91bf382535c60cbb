//! The number moved by others: KEDA, or a HorizontalPodAutoscaler of ours.

use super::*;
use crate::controller::autoscaler::model::Told;
use crate::plan::scaling::Decision;

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
    let lags = |replicas, seconds| {
        let told = Told {
            replicas,
            lags_since: Some(ago(seconds)),
        };
        cx.autoscaler.models().get_mut(&key).unwrap().told = Some(told);
    };
    lags(1, 6);
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(replicas(&server), Some(1));
    // More of them are KEDA's to bring.
    let cx = with_keda(&server).await;
    cx.autoscaler.hears(busy(60), &cx).await;
    cx.autoscaler.models().get_mut(&key).unwrap().told = Some(Told {
        replicas: 4,
        lags_since: Some(ago(70)),
    });
    let claim = cx.autoscaler.models()[&key].trouble(&Decision::WAKE, 1, cx.now()).unwrap();
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

const HPAS: &str = "/apis/autoscaling/v2/namespaces/claims/horizontalpodautoscalers";

/// The HorizontalPodAutoscaler that KEDA made for us.
fn made_by_keda(server: &Server) {
    server.put(
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: keda-hpa-triage-engine, namespace: claims, uid: k,
          labels: {llmportfolio.dev/model: triage, app.kubernetes.io/managed-by: llm-portfolio},
          ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: triage-engine, uid: s, controller: true}]},
          spec: {maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: triage-engine}}}",
    );
}

#[tokio::test]
async fn a_difference_that_a_horizontal_pod_autoscaler_overlooks_is_written_and_no_other() {
    let ago = |seconds: i64| crate::cluster::now().checked_sub(k8s_openapi::jiff::SignedDuration::from_secs(seconds));
    for (live, wanted, seconds, is_ours) in [
        (20, 21, 41, true),
        (20, 19, 41, true),
        (20, 21, 30, false),
        (20, 23, 50, false),
        (4, 5, 50, false),
        (5, 0, 50, false),
    ] {
        let told = Told {
            replicas: wanted,
            lags_since: Some(ago(seconds).unwrap()),
        };
        assert_eq!(
            told.is_left_to_us(live, crate::cluster::now()),
            is_ours,
            "{live} to {wanted} after {seconds}s"
        );
    }
}

#[tokio::test]
async fn what_a_person_has_keda_leave_as_it_is_nobody_changes() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    with_keda(&server).await;
    server.change(
        SCALED_OBJECT,
        json!({ "metadata": { "annotations": { "autoscaling.keda.sh/paused-replicas": "0" } } }),
    );
    let cx = with_keda(&server).await;
    cx.autoscaler.hears(busy(3), &cx).await;
    let ago = cx.now().checked_sub(k8s_openapi::jiff::SignedDuration::from_secs(60)).unwrap();
    cx.autoscaler.models().get_mut(&Key::new("claims", "triage")).unwrap().told = Some(Told {
        replicas: 1,
        lags_since: Some(ago),
    });
    cx.autoscaler.hears(busy(3), &cx).await;
    assert_eq!(replicas(&server), Some(0));
    assert_eq!(told(&server, &cx).await.0, "False Paused");
}

#[tokio::test]
async fn what_keda_made_goes_with_its_engine_and_whoever_waits_is_woken_meanwhile() {
    let (server, _) = world(0).await;
    with_keda(&server).await;
    made_by_keda(&server);
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": { "engine": "Builtin" } } } }),
    );
    // Not gone yet: it sets the number, unless there is none.
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(1));
    let claim = crate::plan::scaling::others::is_still_there(&cx.cluster.stores.scalers.all()[0]);
    assert!(claim.message.contains("keda-hpa-triage-engine"), "{}", claim.message);
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(1), "one owner at a time");
    model(server.clone(), "triage", cx).await.unwrap();
    let made = || server.get::<Value>(&format!("{HPAS}/keda-hpa-triage-engine"));
    assert!(made().is_some(), "where ScaledObjects are not known, KEDA would make it again");
    with_keda(&server).await;
    let left = [SCALED_OBJECT.to_owned(), format!("{HPAS}/keda-hpa-triage-engine")].map(|path| server.get::<Value>(&path));
    assert_eq!(left, [None, None]);
    let cx = started(&server);
    cx.autoscaler.hears(busy(60), &cx).await;
    assert_eq!(replicas(&server), Some(4));
}

#[tokio::test]
async fn a_horizontal_pod_autoscaler_gets_the_first_replica_and_metrics_that_are_none_are_told() {
    let (server, _) = world(0).await;
    server.change(DEPLOYMENT, json!({ "spec": { "replicas": 0 } }));
    let metrics = |average: Value| json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": average } } }]);
    let scaling = json!({ "min": 2, "engine": "HPA", "target": null, "metrics": metrics(json!(50)) });
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": scaling } } }),
    );
    let cx = started(&server);
    cx.autoscaler.hears(None, &cx).await;
    assert_eq!(replicas(&server), Some(2), "it does nothing where there is none");
    model(server.clone(), "triage", started(&server)).await.unwrap();
    // The schema lets it through, and the one that there is goes on by what it was told.
    let scaling = json!({ "metrics": metrics(json!("50")) });
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "scaling": scaling } } }),
    );
    let cx = started(&server);
    assert_eq!(told(&server, &cx).await.0, "False MetricsInvalid");
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let conditions = md.status.unwrap().conditions;
    let message = &condition::find(&conditions, Kind::ScalingActive).unwrap().message;
    assert!(message.starts_with("spec.selfHosted.scaling.metrics[0]: is no metric"), "{message}");
    assert!(server.get::<Value>(&format!("{HPAS}/triage-engine")).is_some());
}
