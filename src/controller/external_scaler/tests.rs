use http_body_util::BodyExt;
use prost::Message;
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::controller::tests::{MODELS, server, started};

/// A process that KEDA asks, about `triage`, which KEDA scales, and which has so many replicas.
fn world(engine: &str, there: Option<u32>) -> Scaler {
    let server = server();
    if let Some(replicas) = there {
        let spec = format!("{{replicas: {replicas}, selector: {{}}, template: {{}}}}");
        server.put(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: triage-engine, namespace: claims}}, spec: {spec}}}"
        ));
    }
    let own = json!({ "replicas": 1, "scaling": { "min": 0, "max": 4, "engine": engine, "target": { "inFlight": 16 } } });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
    let mut cx = Arc::into_inner(started(&server)).unwrap();
    cx.cluster.keda.assume();
    cx.scaler_address = Some("operator:6000".to_owned());
    Scaler {
        cx: Arc::new(cx),
        stop: CancellationToken::new(),
    }
}

impl Scaler {
    fn told(&self, replicas: u32) {
        self.cx.autoscaler.numbers().tell(&Key::new("claims", "triage"), replicas);
    }

    async fn call(&self, method: &str, message: &impl Message) -> Response {
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        frame.extend(message.encode_to_vec());
        let request = Request::post(format!("/{SERVICE}/{method}"))
            .header("content-type", "application/grpc")
            .body(Body::from(frame))
            .unwrap();
        router(self.cx.clone(), self.stop.clone()).oneshot(request).await.unwrap()
    }

    /// The one answer of a call, or the code of its error.
    async fn ask<A: Message + Default>(&self, method: &str, message: &impl Message) -> Result<A, i32> {
        let (parts, body) = self.call(method, message).await.into_parts();
        let status = |headers: &http::HeaderMap| {
            headers
                .get("grpc-status")
                .map(|code| code.to_str().unwrap().parse::<i32>().unwrap())
        };
        let body = body.collect().await.unwrap();
        match status(&parts.headers).or_else(|| status(body.trailers()?)) {
            Some(0) => Ok(A::decode(body.to_bytes().slice(5..)).unwrap()),
            code => Err(code.unwrap()),
        }
    }
}

fn of(name: &str) -> ScaledObjectRef {
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "claims".to_owned(),
        ..ScaledObjectRef::default()
    }
}

fn value(of_: ScaledObjectRef) -> GetMetricsRequest {
    GetMetricsRequest {
        scaled_object_ref: Some(of_),
        metric_name: METRIC.to_owned(),
    }
}

#[tokio::test]
async fn keda_is_told_the_number_and_before_one_is_decided_that_there_is() {
    let (not_found, unimplemented, unavailable) = (5, 12, 14);
    let triage = of("triage-engine");
    let asked = value(triage.clone());
    let none = world("Auto", None);
    assert_eq!(none.ask::<IsActiveResponse>("IsActive", &triage).await, Err(unavailable));
    assert_eq!(none.ask::<GetMetricsResponse>("GetMetrics", &asked).await, Err(unavailable));
    let scaler = world("Auto", Some(2));
    let there: GetMetricsResponse = scaler.ask("GetMetrics", &asked).await.unwrap();
    assert_eq!(there.metric_values[0].metric_value, 2);
    let spec: GetMetricSpecResponse = scaler.ask("GetMetricSpec", &triage).await.unwrap();
    assert_eq!(
        (spec.metric_specs[0].metric_name.as_str(), spec.metric_specs[0].target_size),
        ("replicas", 1)
    );
    for (replicas, is_active) in [(3, true), (0, false)] {
        scaler.told(replicas);
        let active: IsActiveResponse = scaler.ask("IsActive", &triage).await.unwrap();
        let metrics: GetMetricsResponse = scaler.ask("GetMetrics", &asked).await.unwrap();
        assert_eq!(
            (active.result, metrics.metric_values[0].metric_value),
            (is_active, i64::from(replicas))
        );
        assert_eq!(metrics.metric_values[0].metric_value_float, f64::from(replicas));
    }
    for other in ["ready-engine", "triage", "nobody-engine"] {
        assert_eq!(
            scaler.ask::<IsActiveResponse>("IsActive", &of(other)).await,
            Err(not_found),
            "{other}"
        );
    }
    // KEDA then asks as before.
    assert_eq!(
        scaler.ask::<IsActiveResponse>("StreamMetricSpec", &triage).await,
        Err(unimplemented)
    );
    let builtin = world("Builtin", None);
    assert_eq!(builtin.ask::<IsActiveResponse>("IsActive", &triage).await, Err(not_found));
}

#[tokio::test]
async fn keda_hears_at_once_when_a_model_is_to_have_its_first_replica_or_none() {
    let scaler = world("KEDA", None);
    let mut stream = scaler.call("StreamIsActive", &of("triage-engine")).await.into_body();
    let mut next = async || {
        let frame = stream.frame().await?.unwrap();
        let data = frame.into_data().ok()?;
        Some(IsActiveResponse::decode(data.slice(5..)).unwrap().result)
    };
    scaler.told(0);
    assert_eq!(next().await, Some(false));
    scaler.told(1);
    assert_eq!(next().await, Some(true));
    // More of them are no news.
    scaler.told(4);
    scaler.told(0);
    assert_eq!(next().await, Some(false));
    // It ends well, so that KEDA comes again soon.
    scaler.stop.cancel();
    assert_eq!(next().await, None);
}
