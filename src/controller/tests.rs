//! Reconciles against an API server that fails: the same end state from a crash at any write, and silence once it is reached.

mod grants;
mod groups;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::channel::mpsc::unbounded;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::api::eval_job::Verdict;
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy, Settings};
use crate::plan::evaluation::report::Report;
use crate::plan::price::Book;
use crate::testing::{Fault, Server};

use super::adapters::Adapters;
use super::asker::Asker;
use super::autoscaler::Autoscaler;
use super::context::{Context, Error};
use super::decided::Decided;
use super::gateways::Gateways;
use super::probe::Prober;
use super::progress::Progresses;
use super::{eval_job, model_deployment, routing_policy};

pub(super) const MODELS: &str = "/apis/llmportfolio.dev/v1alpha1/namespaces/claims/modeldeployments";
const POLICY: &str = "/apis/llmportfolio.dev/v1alpha1/namespaces/claims/routingpolicies/assistant";
const EVALUATION: &str = "/apis/llmportfolio.dev/v1alpha1/namespaces/claims/evaljobs/quality";
const CONFIG_MAP: &str = "/api/v1/namespaces/claims/configmaps/exemplars";
pub(super) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/claims/deployments/triage-engine";
const SERVICE: &str = "/api/v1/namespaces/claims/services/triage-engine";

pub(super) fn server() -> Server {
    let server = Server::default();
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: triage, namespace: claims}
spec: {selfHosted: {engine: {kind: LlamaCpp}, resources: {requests: {cpu: '0.5'}}, replicas: 2}}
",
    );
    // A port where nothing listens: the provider's answer is the same in every run.
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: gpt, namespace: claims}
spec: {api: {provider: OpenAI, model: gpt-5, endpoint: 'http://127.0.0.1:1', credentials: {secretRef: {name: openai, key: api-key}}}}
",
    );
    server.put(
        "
apiVersion: v1
kind: Secret
metadata: {name: openai, namespace: claims}
data: {api-key: c2stMQ==}
",
    );
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {name: assistant, namespace: claims}
spec: {model: assistant, rules: [{targets: [{model: triage}], fallback: [{model: gpt}]}]}
",
    );
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: ready, namespace: claims}
spec: {selfHosted: {engine: {kind: LlamaCpp}}}
status:
  observedGeneration: 1
  conditions: [{type: Ready, status: 'True', reason: Serving, message: '', lastTransitionTime: '2025-06-01T00:00:00Z'}]
",
    );
    server.put(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: exemplars, namespace: claims}
data: {cases.jsonl: ''}
",
    );
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: EvalJob
metadata: {name: quality, namespace: claims, creationTimestamp: '2025-06-01T00:00:00Z'}
spec:
  targets: {models: [ready]}
  schedule: {cron: '0 0 1 1 *'}
  suites: [{name: claims, exemplars: {dataset: {configMapRef: {name: exemplars, key: cases.jsonl}}}, scorer: {exact: {}}}]
  criteria: [{suite: claims, metric: accuracy, lowerBoundAtLeast: '0.8'}]
",
    );
    server
}

/// A process that has just started.
pub(super) fn started(server: &Server) -> Arc<Context> {
    let cluster = server.cluster();
    cluster.groups.assume();
    Arc::new(Context {
        cluster,
        grants: Arc::new(server.grants()),
        settings: Settings::default(),
        book: tokio::sync::watch::channel(Arc::default()).1,
        gateway_namespace: "llm".to_owned(),
        serves_claims: true,
        mounts_images: true,
        gateway_url: "http://gateway.llm".to_owned(),
        image: "localhost/portfolio:dev".to_owned(),
        scaler_address: None,
        prober: Prober::new().unwrap(),
        progress: Progresses::new(),
        asker: Asker::new(unbounded().0),
        decided: Decided::default(),
        autoscaler: Arc::new(Autoscaler::new(unbounded().0)),
        gateways: Arc::new(Gateways::new(crate::cluster::now())),
        adapters: Adapters::new(futures::channel::mpsc::unbounded().0),
    })
}

pub(super) async fn model(server: Server, name: &'static str, cx: Arc<Context>) -> Result<Action, Error> {
    let md: ModelDeployment = server.get(&format!("{MODELS}/{name}")).unwrap();
    model_deployment::reconcile(Arc::new(md), cx).await
}

async fn policy(server: Server, cx: Arc<Context>) -> Result<Action, Error> {
    let policy: RoutingPolicy = server.get(POLICY).unwrap();
    routing_policy::reconcile(Arc::new(policy), cx).await
}

async fn evaluation(server: Server, cx: Arc<Context>) -> Result<Action, Error> {
    let job: EvalJob = server.get(EVALUATION).unwrap();
    eval_job::reconcile(Arc::new(job), cx).await
}

/// Runs a first reconcile with a fault at each of its writes in turn, then the process anew until nothing moves, and compares.
async fn converges<F: Future<Output = Result<Action, Error>>>(reconcile: impl Fn(Server, Arc<Context>) -> F) {
    let settled = async |server: &Server| -> BTreeMap<String, Value> {
        for _ in 0..3 {
            reconcile(server.clone(), started(server)).await.unwrap();
        }
        server.requests();
        reconcile(server.clone(), started(server)).await.unwrap();
        let requests = server.requests();
        assert!(
            requests.iter().all(|request| request.contains("/secrets/openai")),
            "a settled object is silent: {requests:?}"
        );
        server.contents()
    };
    let reference = server();
    reconcile(reference.clone(), started(&reference)).await.unwrap();
    let writes = reference.requests().iter().filter(|request| !request.starts_with("GET")).count();
    assert!(writes > 0);
    let expected = settled(&reference).await;
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for number in 0..writes {
            let server = server();
            server.fail(number, fault);
            reconcile(server.clone(), started(&server)).await.unwrap_err();
            assert_eq!(settled(&server).await, expected, "{fault:?} at write {number}");
        }
    }
}

#[tokio::test]
async fn a_self_hosted_model_converges_from_a_crash_at_any_write() {
    converges(|server, cx| model(server, "triage", cx)).await;
}

const CACHED: &str = "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: cached, namespace: claims}
spec: {selfHosted: {source: {uri: 'hf://org/smol@main/smol.gguf'}, engine: {kind: LlamaCpp}, cache: {}}}
";
const JOBS: &str = "/apis/batch/v1/namespaces/claims/jobs/";
const VOLUMES: &str = "/api/v1/namespaces/claims/persistentvolumeclaims/";

/// What the cluster does: the Jobs of caches end well, the one that lists with what it found.
fn jobs_end(server: &Server) {
    let done =
        json!({ "status": { "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:10:00Z" }] } });
    for path in server
        .contents()
        .into_keys()
        .filter(|path| path.starts_with(&format!("{JOBS}cache-")))
    {
        server.change(&path, done.clone());
        let job = path.rsplit('/').next().unwrap();
        let Some(cache) = job.strip_suffix("-list") else { continue };
        server.put(&format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {job}-x, namespace: claims, labels: {{llmportfolio.dev/cache: {cache}, batch.kubernetes.io/job-name: {job}}}}}
status: {{containerStatuses: [{{name: fetch, image: '', imageID: '', ready: false, restartCount: 0,
  state: {{terminated: {{exitCode: 0, message: '{{\"revision\": \"{}\", \"bytes\": 100}}'}}}}}}]}}
",
            "0e9e39f249a16976918f6564b8830bc894c89659"
        ));
    }
}

#[tokio::test]
async fn a_model_with_a_cache_converges_from_a_crash_at_any_write_and_makes_no_pods_before_it_is_filled() {
    const ENGINE: &str = "/apis/apps/v1/namespaces/claims/deployments/cached-engine";
    let server = || {
        let server = Server::default();
        server.put(CACHED);
        server
    };
    // To the end, with a process started anew for each reconcile, one of whose writes may fail.
    let lives = async |fault: Option<(usize, Fault)>| -> (BTreeMap<String, Value>, usize) {
        let server = server();
        if let Some((number, fault)) = fault {
            server.fail(number, fault);
        }
        let mut writes = 0;
        for _ in 0..8 {
            let is_held = server.contents().keys().any(|path| path.ends_with("-fill"));
            model(server.clone(), "cached", started(&server)).await.ok();
            writes += server.requests().iter().filter(|request| !request.starts_with("GET")).count();
            assert!(
                is_held || server.get::<Value>(ENGINE).is_none(),
                "no pods before the weights are there"
            );
            jobs_end(&server);
        }
        server.requests();
        model(server.clone(), "cached", started(&server)).await.unwrap();
        assert_eq!(server.requests(), Vec::<String>::new(), "a settled object is silent");
        (server.contents(), writes)
    };
    let (expected, writes) = lives(None).await;
    let kinds = |part: &str| expected.keys().filter(|path| path.contains(part)).count();
    assert_eq!(
        (kinds(JOBS), kinds(VOLUMES), kinds(ENGINE)),
        (1, 1, 1),
        "the Job that listed is gone: {:?}",
        expected.keys()
    );
    let cached = &expected[&format!("{MODELS}/cached")]["status"]["conditions"];
    let said = cached.as_array().unwrap().iter().find(|c| c["type"] == "ModelCached").unwrap();
    assert_eq!((&said["status"], &said["reason"]), (&json!("True"), &json!("Cached")));
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for number in 0..writes {
            assert_eq!(lives(Some((number, fault))).await.0, expected, "{fault:?} at write {number}");
        }
    }
}

#[tokio::test]
async fn two_models_of_one_source_fetch_once_and_the_last_one_to_go_takes_the_cache_along() {
    let server = Server::default();
    server.put(CACHED);
    server.put(&CACHED.replace("name: cached", "name: second"));
    for _ in 0..3 {
        for name in ["cached", "second"] {
            model(server.clone(), name, started(&server)).await.unwrap();
        }
        jobs_end(&server);
    }
    let contents = server.contents();
    let count = |part: &str| contents.keys().filter(|path| path.contains(part)).count();
    assert_eq!((count(JOBS), count(VOLUMES), count("-engine")), (1, 1, 6), "{:?}", contents.keys());

    let sweep = async |server: &Server| {
        assert!(super::cache::sweep(&started(server)).await);
        server.requests()
    };
    server.requests();
    server.remove(&format!("{MODELS}/cached"));
    assert_eq!(sweep(&server).await, Vec::<String>::new());
    server.remove(&format!("{MODELS}/second"));
    assert_eq!(sweep(&server).await, Vec::<String>::new(), "their pods are there still");
    for name in ["cached", "second"] {
        server.remove(&format!("/apis/apps/v1/namespaces/claims/deployments/{name}-engine"));
    }
    let removed = sweep(&server).await;
    assert!(
        removed.len() == 2 && removed.iter().all(|request| request.starts_with("DELETE")),
        "{removed:?}"
    );
    assert_eq!(sweep(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn pods_stay_and_scale_while_the_weights_of_another_source_are_waited_for_and_a_revert_ends_where_it_was() {
    const ENGINE: &str = "/apis/apps/v1/namespaces/claims/deployments/cached-engine";
    let path = format!("{MODELS}/cached");
    let server = Server::default();
    server.put(CACHED);
    let reconcile = async || {
        model(server.clone(), "cached", started(&server)).await.unwrap();
        server.requests();
    };
    for _ in 0..3 {
        reconcile().await;
        jobs_end(&server);
    }
    reconcile().await;
    let template = || server.get::<Value>(ENGINE).unwrap()["spec"]["template"].clone();
    let before = (template(), server.contents());

    let from = |revision: &str| json!({ "spec": { "selfHosted": { "source": { "uri": format!("hf://org/smol@{revision}/smol.gguf") } } } });
    server.change(&path, from("next"));
    server.change(&path, json!({ "spec": { "selfHosted": { "replicas": 5 } } }));
    reconcile().await;
    let live: Deployment = server.get(ENGINE).unwrap();
    assert_eq!(live.spec.unwrap().replicas, Some(5));
    assert_eq!(template(), before.0, "the earlier pods go on");
    let status = server.get::<ModelDeployment>(&path).unwrap().status.unwrap();
    let cached = status.conditions.iter().find(|c| c.type_ == "ModelCached").unwrap();
    assert_eq!((cached.status.as_str(), cached.reason.as_str()), ("Unknown", "Listing"));
    reconcile().await;
    model(server.clone(), "cached", started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new(), "waiting is silent");

    server.change(&path, from("main"));
    server.change(&path, json!({ "spec": { "selfHosted": { "replicas": 1 } } }));
    for _ in 0..3 {
        reconcile().await;
        assert!(super::cache::sweep(&started(&server)).await);
    }
    assert_eq!(template(), before.0);
    let names = |contents: &BTreeMap<String, Value>| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&server.contents()),
        names(&before.1),
        "what was begun for the other source is gone"
    );
}

#[tokio::test]
async fn an_api_model_converges_from_a_crash_at_any_write() {
    converges(|server, cx| model(server, "gpt", cx)).await;
}

/// A model behind authorities of its own, which needs no key. Nothing listens where it is.
fn put_behind_our_own(server: &Server, bundle: &str) {
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: own, namespace: claims}
spec: {api: {provider: OpenAICompatible, model: m, endpoint: 'https://127.0.0.1:1/v1', caBundle: {configMapRef: {name: corporate, key: ca.crt}}}}
",
    );
    let pem = bundle.replace('\n', "\n    ");
    server.put(&format!(
        "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: corporate, namespace: claims}}\ndata:\n  ca.crt: |\n    {pem}\n"
    ));
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap().cert.pem()
}

#[tokio::test]
async fn certificates_are_copied_for_the_gateway_and_a_bundle_without_any_takes_the_copy_away() {
    const COPY: &str = "/api/v1/namespaces/llm/secrets/backend.claims.own";
    const MAP: &str = "/api/v1/namespaces/claims/configmaps/corporate";
    let server = Server::default();
    let first = certificate();
    put_behind_our_own(&server, &first);
    let reconcile = async || {
        model(server.clone(), "own", started(&server)).await.unwrap();
        server.get::<Secret>(COPY).map(|copy| copy.data.unwrap())
    };
    let ready = || {
        let md: ModelDeployment = server.get(&format!("{MODELS}/own")).unwrap();
        let ready = md.status.unwrap().conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
        (ready.reason, ready.message)
    };
    let copied = reconcile().await.unwrap();
    assert_eq!(copied.keys().collect::<Vec<_>>(), ["ca.crt"]);
    assert_eq!(copied["ca.crt"].0, first.as_bytes());
    assert_eq!(ready().0, "ProviderUnreachable");

    let second = certificate();
    server.change(MAP, json!({ "data": { "ca.crt": second } }));
    assert_eq!(reconcile().await.unwrap()["ca.crt"].0, second.as_bytes());
    server.requests();
    reconcile().await;
    assert_eq!(
        server.requests(),
        [format!("GET {MAP}")],
        "settled but for the look at what is copied"
    );

    server.change(MAP, json!({ "data": { "ca.crt": "soon" } }));
    assert!(reconcile().await.is_none());
    let (reason, message) = ready();
    assert_eq!(reason, "CertificatesNotFound");
    assert!(message.contains("holds no certificate; store them in PEM"), "{message}");
}

#[tokio::test]
async fn what_a_model_costs_is_written_once_when_the_book_changes() {
    let server = server();
    let with = |entries: &str| {
        let entries = serde_saphyr::from_str(&format!("prices: {entries}")).unwrap();
        let book = tokio::sync::watch::channel(Arc::new(Book::of(&entries).unwrap())).1;
        let cx = Arc::into_inner(started(&server)).unwrap();
        Arc::new(Context { book, ..cx })
    };
    let price = |name: &str| {
        let md: ModelDeployment = server.get(&format!("{MODELS}/{name}")).unwrap();
        md.status.unwrap().price
    };
    let writes = || {
        server
            .requests()
            .into_iter()
            .filter(|line| !line.starts_with("GET "))
            .collect::<Vec<_>>()
    };
    for name in ["gpt", "triage"] {
        model(server.clone(), name, with("[]")).await.unwrap();
    }
    assert_eq!(
        price("gpt").as_deref(),
        Some("unknown: set spec.price, or add OpenAI gpt-5 to the price book")
    );
    assert_eq!(price("triage"), None, "it costs by the hour");

    let entries = "[{provider: openai, model: 'gpt*', from: 2025-01-01, inputPer1M: '1.25', outputPer1M: '10'}]";
    writes();
    model(server.clone(), "gpt", with(entries)).await.unwrap();
    assert_eq!(price("gpt").as_deref(), Some("1.25/10 per 1M (price book, from 2025-01-01)"));
    assert_eq!(writes(), [format!("PATCH {MODELS}/gpt/status")]);
    model(server.clone(), "gpt", with(entries)).await.unwrap();
    assert_eq!(writes(), [""; 0]);
}

#[tokio::test]
async fn a_policy_converges_from_a_crash_at_any_write() {
    converges(policy).await;
}

#[tokio::test]
async fn an_evaluation_converges_from_a_crash_at_any_write() {
    converges(evaluation).await;
}

/// The path of the Job of the slot at the turn of this year, as `quality` is written.
fn run_of_quality(server: &Server) -> String {
    let job: EvalJob = server.get(EVALUATION).unwrap();
    format!("/apis/batch/v1/namespaces/claims/jobs/{}", job.status.unwrap().active.unwrap())
}

#[tokio::test]
async fn an_evaluation_that_runs_before_its_own_writes_come_back_repeats_none() {
    let server = server();
    let cx = started(&server);
    let stale: EvalJob = server.get(EVALUATION).unwrap();
    eval_job::reconcile(Arc::new(stale.clone()), Arc::clone(&cx)).await.unwrap();
    let path = run_of_quality(&server);
    let reads = [format!("GET {CONFIG_MAP}"), format!("GET {path}")];
    let writes = [format!("PATCH {path}"), format!("PATCH {EVALUATION}/status")];
    assert_eq!(server.requests(), [reads, writes].concat());
    eval_job::reconcile(Arc::new(stale), cx).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn the_report_of_a_run_is_recorded_with_one_write_and_then_it_is_silent() {
    let server = server();
    evaluation(server.clone(), started(&server)).await.unwrap();
    let path = run_of_quality(&server);
    let name = path.rsplit('/').next().unwrap();
    server.change(
        &path,
        json!({ "status": { "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:10:00Z" }] } }),
    );
    let message = Report::invalid("ConfigMap exemplars, cases.jsonl has no questions; add at least one line").encode();
    server.put(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}-x, namespace: claims, labels: {{llmportfolio.dev/eval-job: quality, batch.kubernetes.io/job-name: {name}}}}}
status: {{containerStatuses: [{{name: evaluate, image: '', imageID: '', ready: false, restartCount: 0,
  state: {{terminated: {{exitCode: 0, message: '{message}'}}}}}}]}}
"
    ));
    server.requests();
    evaluation(server.clone(), started(&server)).await.unwrap();
    assert_eq!(server.requests(), [format!("PATCH {EVALUATION}/status")]);
    let status = server.get::<EvalJob>(EVALUATION).unwrap().status.unwrap();
    assert_eq!((status.verdict, status.active), (Some(Verdict::Invalid), None));
    assert_eq!(
        status.targets[0].message,
        "ConfigMap exemplars, cases.jsonl has no questions; add at least one line"
    );
    evaluation(server.clone(), started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn drift_is_repaired_with_one_apply() {
    let server = server();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    server.change(SERVICE, json!({ "spec": { "ports": [{ "name": "http", "port": 81 }] } }));
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(server.requests(), [format!("PATCH {SERVICE}")]);
}

#[tokio::test]
async fn a_change_looks_once_at_what_the_nodes_have_free() {
    let server = server();
    let path = format!("{MODELS}/triage");
    let on_gpu = |context: &str| json!({ "spec": { "selfHosted": { "accelerator": { "profile": "l4", "count": 1 }, "engine": { "args": ["--ctx-size", context] } } } });
    let started = |server: &Server| {
        let settings = serde_saphyr::from_str("acceleratorProfiles: {l4: {resource: nvidia.com/gpu}}").unwrap();
        let cx = Arc::into_inner(started(server)).unwrap();
        Arc::new(Context { settings, ..cx })
    };
    let rollout = |server: &Server| -> String {
        let deployment: Deployment = server.get(DEPLOYMENT).unwrap();
        deployment.metadata.annotations.unwrap()["llmportfolio.dev/rollout"].clone()
    };
    server.change(&path, on_gpu("1024"));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(rollout(&server), "Replace: there is nothing to replace");

    let node = json!({ "metadata": { "name": "n" }, "status": { "allocatable": { "nvidia.com/gpu": "2" } } });
    server.change("/api/v1/nodes/n", node);
    server.change(&path, on_gpu("2048"));
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let looks = ["GET /api/v1/nodes".to_owned(), "GET /api/v1/pods".to_owned()];
    assert_eq!(server.requests()[..3], [&looks[..], &[format!("PATCH {DEPLOYMENT}")]].concat());
    assert_eq!(rollout(&server), "Surge: a node has 2 nvidia.com/gpu free");

    // Not again for the same change, whatever becomes of the nodes.
    server.change("/api/v1/nodes/n", json!({ "status": { "allocatable": { "nvidia.com/gpu": "0" } } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
    assert_eq!(rollout(&server), "Surge: a node has 2 nvidia.com/gpu free");
}

#[tokio::test]
async fn an_upgrade_of_the_operator_restarts_no_pod_and_ends_in_silence() {
    let server = server();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let mut live: Value = server.get(DEPLOYMENT).unwrap();
    live["metadata"]["annotations"]["llmportfolio.dev/release"] = json!("0.0.1");
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("the-default-of-0.0.1");
    server.change(DEPLOYMENT, live);
    let image = |server: &Server| {
        let live: Value = server.get(DEPLOYMENT).unwrap();
        live["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    for _ in 0..2 {
        server.requests();
        model(server.clone(), "triage", started(&server)).await.unwrap();
        assert_eq!(image(&server), "the-default-of-0.0.1");
    }
    assert_eq!(server.requests(), Vec::<String>::new());

    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "engine": { "args": ["--no-ui"] } } } }),
    );
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_ne!(image(&server), "the-default-of-0.0.1");
}

#[tokio::test]
async fn a_reconcile_that_runs_before_its_own_writes_come_back_repeats_none() {
    let server = server();
    let cx = started(&server);
    let stale: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    model_deployment::reconcile(Arc::new(stale.clone()), Arc::clone(&cx)).await.unwrap();
    server.requests();
    model_deployment::reconcile(Arc::new(stale), cx).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_child_of_somebody_else_is_left_alone_and_named() {
    let server = server();
    server.put(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: triage-engine, namespace: claims, labels: {app: theirs}}
spec: {replicas: 7}
",
    );
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let theirs: Deployment = server.get(DEPLOYMENT).unwrap();
    assert_eq!(theirs.spec.and_then(|spec| spec.replicas), Some(7));
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let status = md.status.unwrap();
    let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
    assert!(
        stalled
            .message
            .contains("Deployment claims/triage-engine exists and belongs to somebody else"),
        "{}",
        stalled.message
    );
}

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone_and_named() {
    let first = server();
    evaluation(first.clone(), started(&first)).await.unwrap();
    let path = run_of_quality(&first);
    let name = path.rsplit('/').next().unwrap();
    let server = server();
    server.put(&format!(
        "
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: claims}}
spec: {{parallelism: 7, template: {{spec: {{containers: []}}}}}}
"
    ));
    evaluation(server.clone(), started(&server)).await.unwrap();
    let theirs: Job = server.get(&path).unwrap();
    assert_eq!(theirs.spec.and_then(|spec| spec.parallelism), Some(7));
    let status = server.get::<EvalJob>(EVALUATION).unwrap().status.unwrap();
    assert_eq!(status.active, None);
    for kind in ["Accepted", "Ready", "Stalled"] {
        let said = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
        assert_eq!(said.reason, "NameTaken");
        let taken = format!("Job claims/{name} exists and belongs to somebody else; rename this object or delete that one");
        assert!(said.message.contains(&taken), "{}", said.message);
    }
    server.requests();
    evaluation(server.clone(), started(&server)).await.unwrap();
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.starts_with("GET")), "{requests:?}");
}

#[tokio::test]
async fn a_changed_claim_is_another_template_and_the_first_goes_once_no_pod_names_it() {
    const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/claims/resourceclaimtemplates/";
    let names = |server: &Server| -> Vec<String> {
        let contents = server.contents();
        contents
            .into_keys()
            .filter_map(|path| path.strip_prefix(CLAIMS).map(str::to_owned))
            .collect()
    };
    let claim = |class: &str| json!({ "spec": { "selfHosted": { "accelerator": { "count": 1, "claim": { "deviceClassName": class } } } } });
    let path = format!("{MODELS}/triage");
    let server = server();
    server.change(&path, claim("gpu.example.com"));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let first = names(&server);
    assert_eq!(first.len(), 1);
    server.put(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: triage-x, namespace: claims, labels: {{llmportfolio.dev/model: triage, app.kubernetes.io/component: engine}}}}
spec: {{containers: [], resourceClaims: [{{name: accelerator, resourceClaimTemplateName: {}}}]}}
",
        first[0]
    ));
    server.change(&path, claim("tpu.example.com"));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(names(&server).len(), 2, "a pod that is lost now must be made again");
    server.change(
        "/api/v1/namespaces/claims/pods/triage-x",
        json!({ "spec": { "resourceClaims": [] } }),
    );
    model(server.clone(), "triage", started(&server)).await.unwrap();
    let left = names(&server);
    assert!(left.len() == 1 && left != first, "{left:?}");
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_in_a_cluster_without_claims_is_refused_with_its_remedy() {
    let server = server();
    let claim = json!({ "count": 1, "claim": { "deviceClassName": "gpu.example.com" } });
    server.change(
        &format!("{MODELS}/triage"),
        json!({ "spec": { "selfHosted": { "accelerator": claim } } }),
    );
    let mut cx = Arc::into_inner(started(&server)).unwrap();
    cx.serves_claims = false;
    model(server.clone(), "triage", Arc::new(cx)).await.unwrap();
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let status = md.status.unwrap();
    let said = &status.conditions.iter().find(|c| c.type_ == "Stalled").unwrap().message;
    assert!(
        said.starts_with("spec.selfHosted.accelerator.claim: this cluster has no claims for devices"),
        "{said}"
    );
    assert!(server.get::<Value>(DEPLOYMENT).is_none());
}

#[tokio::test]
async fn an_endpoint_that_cannot_work_is_a_condition_before_anybody_is_asked() {
    let server = Server::default();
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: own, namespace: claims}
spec: {api: {provider: OpenAICompatible, model: m, endpoint: 'https://127.0.0.1:1/v1/chat/completions'}}
",
    );
    model(server.clone(), "own", started(&server)).await.unwrap();
    let md: ModelDeployment = server.get(&format!("{MODELS}/own")).unwrap();
    for kind in ["Accepted", "Ready"] {
        let conditions = &md.status.as_ref().unwrap().conditions;
        let said = conditions.iter().find(|c| c.type_ == kind).unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "Invalid"), "{kind}");
        assert!(
            said.message.starts_with("spec.api.endpoint: \"/chat/completions\"") && said.message.ends_with("write https://127.0.0.1:1/v1"),
            "{}",
            said.message
        );
    }
}

#[tokio::test]
async fn a_model_that_moves_to_an_api_leaves_no_pods_behind() {
    let server = server();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert!(server.get::<Value>(DEPLOYMENT).is_some());
    let api = json!({ "provider": "OpenAICompatible", "model": "m", "endpoint": "http://127.0.0.1:1" });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": null, "api": api } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert!(server.get::<Value>(DEPLOYMENT).is_none() && server.get::<Value>(SERVICE).is_none());
}
