//! Reconciles of a model whose pods run, against an engine that does as it is told.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use http::StatusCode;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api::ModelDeployment;
use crate::controller::Context;
use crate::controller::tests::{DEPLOYMENT, MODELS, model, server, started};
use crate::testing::{Fault, Server};

use super::*;

const CHAT: &str = "/v1/chat/completions";
const TRIAGE: &str = "/apis/llmportfolio.dev/v1alpha1/namespaces/claims/modeldeployments/triage";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/claims/endpointslices/triage-engine-x";

/// An engine at a port of two addresses of this machine.
#[derive(Clone, Default)]
struct Engine(Arc<EngineState>);

#[derive(Default)]
struct EngineState {
    port: OnceLock<u16>,
    /// What the next requests get; afterwards they are answered.
    next: Mutex<VecDeque<(u16, &'static str)>>,
    asked: Mutex<Vec<(String, Value)>>,
    hangs: AtomicBool,
    goes_on: Notify,
}

impl Engine {
    async fn start(next: &[(u16, &'static str)]) -> Self {
        let engine = Self::default();
        engine.0.next.lock().unwrap().extend(next);
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        engine.0.port.set(port).unwrap();
        let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let state = engine.clone();
        let app = Router::new().fallback(move |request: Request| async move { state.answer(request).await });
        for listener in [first, second] {
            let app = app.clone();
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        engine
    }

    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
        self.0
            .asked
            .lock()
            .unwrap()
            .push((path.clone(), serde_json::from_slice(&body).unwrap()));
        if self.0.hangs.load(Ordering::Relaxed) {
            self.0.goes_on.notified().await;
        }
        let next = self.0.next.lock().unwrap().pop_front();
        let (status, body) = next.unwrap_or((
            200,
            match path.as_str() {
                CHAT => r#"{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"length"}]}"#,
                "/v1/completions" => r#"{"choices":[{"text":"Hi"}]}"#,
                _ => r#"{"data":[{"embedding":[1.0]}]}"#,
            },
        ));
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    }

    /// The paths asked since the last call.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.0.asked.lock().unwrap());
        asked.into_iter().map(|(path, _)| path).collect()
    }

    /// A server with a model whose two pods are available, at these addresses of this machine.
    async fn behind(&self, addresses: &[&str]) -> Server {
        let server = server();
        model(server.clone(), "triage", started(&server)).await.unwrap();
        let live: Value = server.get(DEPLOYMENT).unwrap();
        let status =
            json!({ "observedGeneration": live["metadata"]["generation"], "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        server.change(DEPLOYMENT, json!({ "status": status }));
        self.list(&server, addresses);
        server
    }

    /// Makes these the pods of the model.
    fn list(&self, server: &Server, addresses: &[&str]) {
        let live: Value = server.get(DEPLOYMENT).unwrap();
        for address in addresses {
            let template = &live["spec"]["template"];
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": format!("triage-{address}"), "namespace": "claims", "labels": template["metadata"]["labels"] },
                "spec": template["spec"],
                "status": { "podIP": address, "conditions": [{ "type": "Ready", "status": "True" }] },
            });
            server.put(&pod.to_string());
        }
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": "triage-engine-x", "namespace": "claims", "labels": { "llmportfolio.dev/model": "triage" } },
            "ports": [{ "name": "http", "port": self.0.port.get().unwrap() }],
            "endpoints": [{ "addresses": addresses }],
        });
        server.put(&slice.to_string());
    }
}

/// The status and reason of `Ready`, and its message.
fn ready(server: &Server) -> (String, String) {
    let md: ModelDeployment = server.get(TRIAGE).unwrap();
    let status = md.status.unwrap();
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (format!("{} {}", ready.status, ready.reason), ready.message.clone())
}

async fn reconciled(server: &Server, cx: &Arc<Context>) -> Action {
    model(server.clone(), "triage", Arc::clone(cx)).await.unwrap()
}

/// A process that has just started, and what its asker tells.
fn listening(server: &Server) -> (Arc<Context>, UnboundedReceiver<Key>) {
    let (heard, told) = unbounded();
    let mut cx = Arc::into_inner(started(server)).unwrap();
    cx.asker = Asker::new(heard);
    (Arc::new(cx), told)
}

#[tokio::test]
async fn a_model_is_ready_once_its_engine_has_answered_and_then_nobody_is_asked() {
    let engine = Engine::start(&[]).await;
    let server = engine.behind(&["127.0.0.1"]).await;
    server.requests();
    reconciled(&server, &started(&server)).await;
    assert_eq!(server.requests(), [format!("PATCH {MODELS}/triage/status")]);
    let asked = engine.0.asked.lock().unwrap().clone();
    let question = json!({ "model": "triage", "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 1 });
    assert_eq!(asked, [(CHAT.to_owned(), question)]);
    assert_eq!(ready(&server), ("True Serving".to_owned(), "2 of 2 pods answer".to_owned()));

    engine.asked();
    for _ in 0..3 {
        reconciled(&server, &started(&server)).await;
    }
    assert_eq!((engine.asked(), server.requests()), (vec![], vec![]));
}

#[tokio::test]
async fn pods_that_no_endpoint_lists_are_not_asked_and_their_model_is_not_ready() {
    let engine = Engine::start(&[]).await;
    let server = engine.behind(&["127.0.0.1"]).await;
    server.change(SLICE, json!({ "endpoints": [] }));
    reconciled(&server, &started(&server)).await;
    assert!(engine.asked().is_empty());
    assert_eq!(ready(&server).0, "Unknown Warming");
    server.change(SLICE, json!({ "endpoints": [{ "addresses": ["127.0.0.1"] }] }));
    reconciled(&server, &started(&server)).await;
    assert_eq!(ready(&server).0, "True Serving");
}

#[tokio::test]
async fn an_answer_whose_write_fails_is_asked_for_again_and_ends_in_the_same_state() {
    let reference = {
        let server = Engine::start(&[]).await.behind(&["127.0.0.1"]).await;
        reconciled(&server, &started(&server)).await;
        server.get::<ModelDeployment>(TRIAGE).unwrap().status.unwrap()
    };
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let engine = Engine::start(&[]).await;
        let server = engine.behind(&["127.0.0.1"]).await;
        server.fail(0, fault);
        let cx = started(&server);
        model(server.clone(), "triage", Arc::clone(&cx)).await.unwrap_err();
        // The process lives on, or another one takes over.
        for cx in [cx, started(&server)] {
            reconciled(&server, &cx).await;
        }
        let status = server.get::<ModelDeployment>(TRIAGE).unwrap().status.unwrap();
        assert_eq!(
            (status.answered, ready(&server).0),
            (reference.answered.clone(), "True Serving".to_owned()),
            "{fault:?}"
        );
        engine.asked();
        server.requests();
        reconciled(&server, &started(&server)).await;
        assert_eq!((engine.asked(), server.requests()), (vec![], vec![]), "{fault:?}");
    }
}

#[tokio::test]
async fn an_engine_that_fails_is_left_alone_for_a_while_and_then_asked_again() {
    let engine = Engine::start(&[(500, r#"{"error": {"message": "out of memory"}}"#)]).await;
    let server = engine.behind(&["127.0.0.1"]).await;
    let cx = started(&server);
    let again = reconciled(&server, &cx).await;
    assert_eq!(ready(&server).0, "False EngineDoesNotAnswer");
    assert!(
        ready(&server)
            .1
            .contains("it says HTTP 500 \"out of memory\" to /v1/chat/completions"),
        "{}",
        ready(&server).1
    );
    assert_eq!(engine.asked(), [CHAT], "an engine that is broken is broken for every operation");
    let waits = format!("{again:?}");
    assert!(waits.contains("4.9") || waits.contains("5s"), "{waits}");

    server.requests();
    let cx = Arc::new(Context {
        cluster: server.cluster(),
        ..Arc::into_inner(cx).unwrap()
    });
    for _ in 0..3 {
        reconciled(&server, &cx).await;
    }
    assert_eq!(
        (engine.asked(), server.requests()),
        (vec![], vec![]),
        "whatever else wakes the reconcile"
    );

    // The pod that failed is replaced by another one, which need not wait.
    engine.list(&server, &["127.0.0.2"]);
    let cx = Arc::new(Context {
        cluster: server.cluster(),
        ..Arc::into_inner(cx).unwrap()
    });
    reconciled(&server, &cx).await;
    assert_eq!(
        (engine.asked(), ready(&server).0),
        (vec![CHAT.to_owned()], "True Serving".to_owned())
    );
}

#[tokio::test]
async fn what_does_not_chat_may_complete_or_embed() {
    let none = (404, r#"{"detail": "Not Found"}"#);
    for (refusals, operation, told) in [
        (
            &[none][..],
            Operation::Completions,
            "2 of 2 pods answer, to completions only: they have no chat template",
        ),
        (&[none, none], Operation::Embeddings, "2 of 2 pods answer, to embeddings only"),
    ] {
        let engine = Engine::start(refusals).await;
        let server = engine.behind(&["127.0.0.1"]).await;
        reconciled(&server, &started(&server)).await;
        let status = server.get::<ModelDeployment>(TRIAGE).unwrap().status.unwrap();
        assert_eq!(status.answered.unwrap().operation, operation);
        assert_eq!(ready(&server), ("True Serving".to_owned(), told.to_owned()));
    }
    let engine = Engine::start(&[(401, r#"{"error": "Unauthorized"}"#)]).await;
    let server = engine.behind(&["127.0.0.1"]).await;
    reconciled(&server, &started(&server)).await;
    assert_eq!(engine.asked(), [CHAT]);
    assert!(
        ready(&server).1.contains("so that every request would be refused"),
        "{}",
        ready(&server).1
    );
}

#[tokio::test]
async fn an_engine_that_hangs_holds_up_no_reconcile_and_its_late_answer_wakes_one() {
    let engine = Engine::start(&[]).await;
    engine.0.hangs.store(true, Ordering::Relaxed);
    let server = engine.behind(&["127.0.0.1"]).await;
    let (cx, mut told) = listening(&server);
    let begin = Instant::now();
    for _ in 0..2 {
        reconciled(&server, &cx).await;
    }
    assert!(begin.elapsed() < 2 * PATIENCE, "only the first waits: {:?}", begin.elapsed());
    assert_eq!(engine.asked(), [CHAT]);
    assert_eq!(ready(&server).0, "Unknown Warming");
    assert!(
        ready(&server)
            .1
            .ends_with("the engine has been asked for a first token, and has not said anything yet")
    );

    engine.0.goes_on.notify_one();
    assert_eq!(told.next().await, Some(Key::new("claims", "triage")));
    let cx = Arc::new(Context {
        cluster: server.cluster(),
        ..Arc::into_inner(cx).unwrap()
    });
    reconciled(&server, &cx).await;
    assert_eq!((engine.asked(), ready(&server).0), (vec![], "True Serving".to_owned()));
}

#[tokio::test]
async fn each_attempt_asks_another_pod_and_a_changed_template_begins_anew() {
    let (heard, _told) = unbounded();
    let asker = Asker::new(heard);
    let model = Key::new("claims", "triage");
    let question = |template: &str| Question {
        template: template.to_owned(),
        urls: vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.2:1".to_owned()],
        model: "triage".to_owned(),
    };
    let asked = |asker: &Asker| {
        let attempts = asker.0.attempts();
        (attempts[&model].url.clone(), attempts[&model].number)
    };
    for (template, expected) in [
        ("a", ("http://127.0.0.1:1", 0)),
        ("a", ("http://127.0.0.2:1", 1)),
        ("a", ("http://127.0.0.1:1", 2)),
        ("b", ("http://127.0.0.1:1", 0)),
    ] {
        let (reply, wait) = asker.ask(&model, &question(template)).await;
        assert!(
            matches!(&reply, Reply::Failed(said) if matches!(said[0].what, What::Unreachable(_))),
            "{reply:?}"
        );
        assert!(wait.is_some_and(|wait| wait > Duration::from_secs(4)), "{wait:?}");
        assert_eq!(asked(&asker), (expected.0.to_owned(), expected.1));
        // Its time has come.
        if let Some(Attempt {
            state: State::Failed { again, .. },
            ..
        }) = asker.0.attempts().get_mut(&model)
        {
            *again = Instant::now();
        }
    }
}
