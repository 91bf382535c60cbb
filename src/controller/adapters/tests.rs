//! Reconciles with an engine behind each pod that takes adapters while it runs, and counts what it is asked.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use http_body_util::BodyExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::api::ModelDeployment;
use crate::api::condition::{Kind, find};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::controller::context::Context;
use crate::controller::tests::{DEPLOYMENT, MODELS, model, started};
use crate::testing::Server;

/// vLLM, as far as adapters go.
#[derive(Clone, Default)]
struct Engine(Arc<Mutex<(Has, Vec<String>)>>);

impl Engine {
    /// Listens, and returns the port.
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        port
    }

    /// What it was asked since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }

    /// Begins anew, as after a crash.
    fn restart(&self, has: &[(&str, &str)]) {
        self.0.lock().unwrap().0 = has.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    }
}

async fn answer(State(engine): State<Engine>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (has, asked) = &mut *engine.0.lock().unwrap();
    let name = body["lora_name"].as_str().unwrap_or_default().to_owned();
    asked.push(format!("{path} {name}").trim().to_owned());
    let refused = |status: u16, message: &str| {
        let error = axum::Json(json!({ "error": { "message": message, "code": status } }));
        (StatusCode::from_u16(status).unwrap(), error).into_response()
    };
    match path.as_str() {
        vllm::MODELS => {
            let adapters = has
                .iter()
                .map(|(name, path)| json!({ "id": name, "root": path, "parent": "triage" }));
            let base = std::iter::once(json!({ "id": "triage", "root": "base", "parent": null }));
            axum::Json(json!({ "data": base.chain(adapters).collect::<Vec<_>>() })).into_response()
        }
        vllm::LOAD => match body["lora_path"].as_str().unwrap() {
            "bank/missing" => refused(404, "No adapter found for bank/missing"),
            _ if has.contains_key(&name) && body["load_inplace"] != true => refused(400, "has already been loaded"),
            path => {
                has.insert(name, path.to_owned());
                "Success".into_response()
            }
        },
        vllm::UNLOAD if has.remove(&name).is_none() => refused(404, "cannot be found"),
        _ => "Success".into_response(),
    }
}

/// One model with one pod.
struct World {
    server: Server,
    engine: Engine,
    cx: Arc<Context>,
    moves: UnboundedReceiver<Key>,
}

const POD: &str = "/api/v1/namespaces/claims/pods/triage-x";

fn adapters(list: &[(&str, &str)]) -> Value {
    let adapter = |(name, uri): &(&str, &str)| json!({ "name": name, "source": { "uri": format!("hf://bank/{uri}") } });
    json!({ "spec": { "selfHosted": { "custom": { "adapters": list.iter().map(adapter).collect::<Vec<_>>() } } } })
}

impl World {
    /// With the adapter `fraud`, which the engine has from its start.
    async fn new() -> Self {
        let (server, engine) = (Server::default(), Engine::default());
        let port = engine.start().await;
        server.put(&format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: triage, namespace: claims}}
spec: {{selfHosted: {{source: {{uri: 'hf://bank/base'}}, engine: {{kind: VLLM, port: {port}}}, custom: {{baseModel: base}}}}}}
"
        ));
        server.change(&format!("{MODELS}/triage"), adapters(&[("fraud", "fraud")]));
        engine.restart(&[("fraud", "bank/fraud")]);
        let (cx, moves) = process(&server);
        let mut world = Self { server, engine, cx, moves };
        world.reconcile().await;
        let deployment: Deployment = world.server.get(DEPLOYMENT).unwrap();
        let spec = serde_json::to_value(deployment.spec.unwrap().template.spec).unwrap();
        world.server.put(
            "
apiVersion: v1
kind: Pod
metadata: {name: triage-x, namespace: claims, labels: {llmportfolio.dev/model: triage, app.kubernetes.io/component: engine}}
status: {podIP: 127.0.0.1, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: engine, image: i, imageID: '', ready: true, restartCount: 0}]}
",
        );
        world.server.change(POD, json!({ "metadata": { "uid": "pod-1" }, "spec": spec }));
        world.started_anew();
        world
    }

    /// The operator begins anew.
    fn started_anew(&mut self) {
        (self.cx, self.moves) = process(&self.server);
    }

    /// The same process with what its watches show now.
    fn watched(&mut self) {
        let cx = started(&self.server);
        let cx = Arc::into_inner(cx).unwrap();
        let adapters = self.cx.adapters.clone();
        self.cx = Arc::new(Context { adapters, ..cx });
    }

    async fn reconcile(&mut self) -> Action {
        model(self.server.clone(), "triage", Arc::clone(&self.cx)).await.unwrap()
    }

    /// Reconciles, waits for the engine's word, and reconciles for it.
    async fn told(&mut self) -> Action {
        self.watched();
        self.reconcile().await;
        let woken = tokio::time::timeout(Duration::from_secs(20), self.moves.next());
        assert_eq!(woken.await.unwrap(), Some(Key::new("claims", "triage")));
        self.watched();
        self.reconcile().await
    }

    fn status(&self) -> ModelDeploymentStatus {
        let md: ModelDeployment = self.server.get(&format!("{MODELS}/triage")).unwrap();
        md.status.unwrap()
    }

    fn loaded(&self) -> String {
        let status = self.status();
        let loaded = find(&status.conditions, Kind::AdaptersLoaded).unwrap();
        format!("{} {} {}", loaded.status, loaded.reason, loaded.message)
    }

    fn wants(&mut self, list: &[(&str, &str)]) {
        self.server.change(&format!("{MODELS}/triage"), adapters(list));
    }

    /// Nothing is asked of the API server and of the engine.
    async fn is_silent(&mut self) {
        self.watched();
        self.server.requests();
        self.engine.asked();
        self.reconcile().await;
        assert_eq!(self.server.requests(), Vec::<String>::new());
        assert_eq!(self.engine.asked(), Vec::<String>::new());
    }
}

fn process(server: &Server) -> (Arc<Context>, UnboundedReceiver<Key>) {
    let (moved, moves) = unbounded();
    let cx = Arc::into_inner(started(server)).unwrap();
    let adapters = Adapters::new(moved);
    (Arc::new(Context { adapters, ..cx }), moves)
}

#[tokio::test]
async fn a_pod_is_asked_once_and_then_it_is_silent() {
    let mut world = World::new().await;
    world.told().await;
    assert_eq!(world.engine.asked(), ["/v1/models"]);
    assert_eq!(world.loaded(), "True Loaded each of 1 pods has all of 1 adapters");
    world.is_silent().await;

    // After a restart of the operator once more, which writes nothing.
    world.started_anew();
    world.told().await;
    assert_eq!(world.engine.asked(), ["/v1/models"]);
    world.is_silent().await;
}

#[tokio::test]
async fn adapters_come_and_go_and_the_deployment_stays() {
    let mut world = World::new().await;
    world.told().await;
    world.engine.asked();
    world.server.requests();
    for (list, asked) in [
        (&[("fraud", "fraud"), ("tone", "tone")][..], &["/v1/load_lora_adapter tone"][..]),
        (&[("fraud", "fraud-8"), ("tone", "tone")], &["/v1/load_lora_adapter fraud"]),
        (
            &[("renamed", "tone")],
            &[
                "/v1/unload_lora_adapter fraud",
                "/v1/unload_lora_adapter tone",
                "/v1/load_lora_adapter renamed",
            ],
        ),
        (&[], &["/v1/unload_lora_adapter renamed"]),
    ] {
        world.wants(list);
        world.told().await;
        let expected = [&["/v1/models"], asked, &["/v1/models"]].concat();
        assert_eq!(world.engine.asked(), expected, "{list:?}");
        let requests = world.server.requests();
        assert!(
            requests.iter().all(|request| request.ends_with("/modeldeployments/triage/status")),
            "{requests:?}"
        );
        let names: Vec<(String, String)> = world.status().adapters.into_iter().map(|a| (a.name, a.ready)).collect();
        let wanted: Vec<(String, String)> = list.iter().map(|(name, _)| ((*name).to_owned(), "1/1".to_owned())).collect();
        assert_eq!(names, wanted);
        world.is_silent().await;
    }
}

#[tokio::test]
async fn what_an_engine_refuses_is_told_in_its_words_and_asked_again_at_leisure() {
    let mut world = World::new().await;
    world.wants(&[("fraud", "fraud"), ("bad", "missing"), ("tone", "tone")]);
    let again = world.told().await;
    let loaded = world.loaded();
    let words =
        "False LoadFailed spec.selfHosted.custom.adapters[1]: pod triage-x has no adapter \"bad\": the engine refuses it: No adapter found";
    assert!(loaded.starts_with(words), "{loaded}");
    let status = world.status();
    let ready: Vec<&str> = status.adapters.iter().map(|a| a.ready.as_str()).collect();
    assert_eq!(ready, ["1/1", "0/1", "1/1"], "the others are there");
    let soon = format!("{again:?}");
    assert!(
        soon.contains("requeue_after: Some(4.") || soon.contains("requeue_after: Some(5"),
        "{soon}"
    );
    // Whatever wakes it meanwhile.
    world.is_silent().await;

    world.wants(&[("fraud", "fraud"), ("tone", "tone")]);
    world.told().await;
    assert_eq!(world.loaded(), "True Loaded each of 1 pods has all of 2 adapters");
}

#[tokio::test]
async fn an_engine_that_began_anew_is_told_what_it_lacks() {
    let mut world = World::new().await;
    world.wants(&[("fraud", "fraud"), ("tone", "tone")]);
    world.told().await;
    world.engine.restart(&[("fraud", "bank/fraud")]);
    let restarted =
        json!({ "status": { "containerStatuses": [{ "name": "engine", "image": "i", "imageID": "", "ready": true, "restartCount": 1 }] } });
    world.server.change(POD, restarted);
    world.engine.asked();
    world.told().await;
    assert_eq!(world.engine.asked(), ["/v1/models", "/v1/load_lora_adapter tone", "/v1/models"]);
    assert_eq!(world.loaded(), "True Loaded each of 1 pods has all of 2 adapters");
}

#[tokio::test]
async fn an_engine_that_cannot_be_asked_is_named_and_the_reconcile_does_not_wait_for_it() {
    let mut world = World::new().await;
    world.server.change(POD, json!({ "status": { "podIP": "127.0.0.2" } }));
    world.told().await;
    let loaded = world.loaded();
    assert!(
        loaded.starts_with("False NoAnswer pod triage-x does not say which adapters it has: "),
        "{loaded}"
    );
    assert!(!world.status().adapters[0].answers);
    world.is_silent().await;
}

#[tokio::test]
async fn the_pods_of_a_model_that_is_gone_are_forgotten() {
    let mut world = World::new().await;
    world.told().await;
    let remembered = |world: &World| world.cx.adapters.0.known().len();
    assert_eq!(remembered(&world), 1);
    world.cx.adapters.retain(|_| false);
    assert_eq!(remembered(&world), 0);
}

#[tokio::test]
async fn pods_that_cannot_start_with_what_is_wanted_no_more_are_made_anew() {
    let mut world = World::new().await;
    world.told().await;
    let modules = |world: &World| -> String {
        let deployment: Deployment = world.server.get(DEPLOYMENT).unwrap();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        pod.containers[0].args.clone().unwrap().join(" ")
    };
    world.wants(&[("fraud", "fraud-8")]);
    world.told().await;
    assert!(modules(&world).contains("fraud=bank/fraud "), "the pod stays");
    let status = json!({ "name": "engine", "image": "i", "imageID": "", "ready": false, "restartCount": 2, "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "lastState": { "terminated": { "exitCode": 1 } } });
    let fails = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [status] } });
    world.server.change(POD, fails);
    world.watched();
    world.reconcile().await;
    assert!(
        modules(&world).contains("fraud=bank/fraud-8 "),
        "its successor starts with what is wanted"
    );
    world.is_silent().await;
}
