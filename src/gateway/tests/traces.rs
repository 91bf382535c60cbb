//! Traces: what a collector gets, and which context goes to models.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

use super::engine::{self, Engine, answers, paris, streams};
use super::world::World;
use super::{A_THEN_B, ASK, ONLY_A, STREAM};
use crate::gateway::Traces;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// An OpenTelemetry collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let seen = self.0.clone();
        let take = move |headers: HeaderMap, body: Bytes| async move { seen.lock().unwrap().push((headers, body)) };
        let app = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let seen = self.0.lock().unwrap();
        let read = seen.iter().map(|(headers, body)| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            ExportTraceServiceRequest::decode(body.clone()).unwrap()
        });
        read.collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }
}

/// A gateway that is traced, over the models `a`, `b`, … at these engines.
async fn traced(collector: &Collector, engines: &[&Engine], spec: &str) -> (World, Traces) {
    let traces = Traces::to(&collector.start().await, None).unwrap();
    let world = World::with(|options| options.traces = Some(traces.clone()));
    for (name, engine) in ["a", "b"].iter().zip(engines) {
        world.pod(name, &[&engine.url]);
    }
    world.route(spec);
    (world, traces)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn told(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn sent(engine: &Engine, header: &str) -> String {
    let head = engine.last().head;
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{header}: ")));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_request_is_a_span_below_the_clients_and_its_attempts_are_spans_below_it() {
    let word = "xyzzyplugh";
    let collector = Collector::default();
    let a = Engine::start(answers(500, "", &format!(r#"{{"error":{{"message":"{word}"}}}}"#))).await;
    let b = Engine::start(answers(200, "", &engine::CONTENT.replace("Paris", word))).await;
    let (world, traces) = traced(&collector, &[&a, &b], &format!("retries: {{attempts: 0}}, {A_THEN_B}")).await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [
        ("authorization", "Bearer claims.x.web"),
        ("traceparent", &parent),
        ("tracestate", "rojo=1"),
        ("x-other", word),
    ];
    let answer = world.ask_with(&headers, &ASK.replace("France", word)).await;
    assert!(answer.text.contains(word));
    traces.finish().await;

    let spans = collector.spans();
    assert!(
        spans
            .iter()
            .all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "rojo=1")
    );
    let request = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!(request.name, "chat assistant");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    let attempts: Vec<&Span> = spans.iter().filter(|span| span.kind == CLIENT).collect();
    assert_eq!((attempts.len(), spans.len()), (2, 3));
    for (attempt, engine) in attempts.iter().zip([&a, &b]) {
        assert_eq!(attempt.parent_span_id, request.span_id);
        let context = format!("00-{TRACE}-{}-01", hex(&attempt.span_id));
        assert_eq!(sent(engine, "traceparent"), context, "the engine's spans are below the attempt's");
        assert_eq!(sent(engine, "tracestate"), "rojo=1");
        assert!(attempt.name.starts_with("chat "), "{}", attempt.name);
        assert_eq!(told(&attempt.attributes, "server.address"), "", "it is inside the cluster");
    }
    assert_eq!(told(&attempts[0].attributes, "error.type"), "refused");
    assert_eq!(told(&attempts[0].attributes, "portfolio.model"), "claims/a");
    assert_eq!(attempts[0].status.as_ref().unwrap().code, 2);
    assert_eq!(told(&attempts[1].attributes, "error.type"), "");
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "vllm"),
        ("gen_ai.request.model", "assistant"),
        ("gen_ai.response.model", "claims/b"),
        ("gen_ai.request.stream", "false"),
        ("gen_ai.usage.input_tokens", "3"),
        ("gen_ai.usage.output_tokens", "1"),
        ("http.response.status_code", "200"),
        ("portfolio.policy", "claims/assistant"),
        ("portfolio.attempts", "2"),
        ("error.type", ""),
    ] {
        assert_eq!(told(&request.attributes, name), value, "{name}");
    }
    let resource = collector.requests()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(told(&resource.attributes, "service.name"), "llm-portfolio-gateway");
    for (_, body) in collector.0.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(body).into_owned();
        assert!(!text.contains(word) && !text.contains("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_stream_is_one_span_until_its_end_and_one_that_breaks_is_an_error() {
    let collector = Collector::default();
    let engine = Engine::start(streams(&[engine::OPENING, engine::WORD, engine::DONE])).await;
    let (world, traces) = traced(&collector, &[&engine], ONLY_A).await;
    world.ask(STREAM).await;
    engine.now_does(streams(&[engine::OPENING, engine::WORD]));
    world.ask(STREAM).await;
    traces.finish().await;
    let spans = collector.spans();
    let ended: Vec<(String, i32)> = spans
        .iter()
        .filter(|span| span.kind == SERVER)
        .map(|span| {
            (
                told(&span.attributes, "error.type"),
                span.status.as_ref().map_or(0, |status| status.code),
            )
        })
        .collect();
    assert_eq!(ended, [(String::new(), 0), ("cut".to_owned(), 2)]);
    assert!(told(&spans[1].attributes, "gen_ai.response.time_to_first_chunk").starts_with("DoubleValue"));
}

#[tokio::test]
async fn a_context_that_is_none_begins_a_trace_and_one_that_is_not_sampled_goes_on_as_it_is() {
    let collector = Collector::default();
    let engine = Engine::start(paris()).await;
    let (world, traces) = traced(&collector, &[&engine], ONLY_A).await;
    let ask = async |parent: &str| {
        let headers = [
            ("authorization", "Bearer claims.x.web"),
            ("traceparent", parent),
            ("tracestate", "rojo=1"),
        ];
        assert_eq!(world.ask_with(&headers, ASK).await.status, 200);
        (sent(&engine, "traceparent"), sent(&engine, "tracestate"))
    };
    let unsampled = format!("00-{TRACE}-b7ad6b7169203331-00");
    assert_eq!(ask(&unsampled).await, (unsampled.clone(), "rojo=1".to_owned()));
    let (fresh, state) = ask("00-1-2-01").await;
    assert_eq!((fresh.len(), &fresh[53..], state.as_str()), (55, "01", ""), "{fresh}");
    traces.finish().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "of the second request only");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == fresh[3..35]));
}

#[tokio::test]
async fn a_copy_is_a_trace_of_its_own_that_is_linked_to_the_request() {
    let collector = Collector::default();
    let (a, b) = (Engine::start(paris()).await, Engine::start(paris()).await);
    let (world, traces) = traced(&collector, &[&a, &b], &format!("{ONLY_A}, shadow: [{{model: b, percent: 100}}]")).await;
    assert_eq!(world.ask(ASK).await.status, 200);
    let line = r#"portfolio_gateway_shadow_requests_total{policy="claims/assistant",model="claims/b",outcome="answered"}"#;
    while world.metric(line).await < 1.0 {
        tokio::task::yield_now().await;
    }
    traces.finish().await;
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.kind == SERVER).unwrap();
    let copy = spans.iter().find(|span| !span.links.is_empty()).unwrap();
    assert_eq!(copy.name, "chat assistant (shadow b)");
    assert_eq!(told(&copy.attributes, "portfolio.shadow"), "true");
    assert_eq!((copy.kind, copy.parent_span_id.is_empty()), (1, true));
    assert_ne!(copy.trace_id, request.trace_id);
    assert_eq!(
        (&copy.links[0].trace_id, &copy.links[0].span_id),
        (&request.trace_id, &request.span_id)
    );
    let attempt = spans.iter().find(|span| span.parent_span_id == copy.span_id).unwrap();
    assert_eq!(told(&attempt.attributes, "portfolio.model"), "claims/b");
    assert_eq!(
        sent(&b, "traceparent"),
        format!("00-{}-{}-01", hex(&copy.trace_id), hex(&attempt.span_id))
    );
    assert_eq!(
        spans.iter().filter(|span| span.trace_id == request.trace_id).count(),
        2,
        "the client's trace has none of it"
    );
}

#[tokio::test]
async fn a_collector_that_is_gone_costs_requests_nothing() {
    let engine = Engine::start(paris()).await;
    let traces = Traces::to(&format!("{}/v1/traces", Engine::nowhere().await), None).unwrap();
    let world = World::with(|options| options.traces = Some(traces.clone()));
    world.pod("a", &[&engine.url]);
    world.route(ONLY_A);
    // More than the queue holds.
    for _ in 0..1100 {
        assert_eq!(world.ask(ASK).await.status, 200);
    }
    traces.finish().await;
}
