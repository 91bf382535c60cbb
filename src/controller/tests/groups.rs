//! Models whose replicas are groups of pods, against an API server that fails, lacks the kind, or still has pods of the other kind.

use super::*;

const SET: &str = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/claims/leaderworkersets/triage-engine";
const KIND: &str = "/apis/leaderworkerset.x-k8s.io/v1";

/// `triage` over so many nodes.
fn over(server: &Server, nodes: i32, more: &Value) {
    let mut own = json!({ "parallelism": { "nodes": nodes }, "engine": { "kind": "VLLM" } });
    for (name, value) in more.as_object().unwrap() {
        own[name] = value.clone();
    }
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
}

fn ready(server: &Server) -> String {
    let md: ModelDeployment = server.get(&format!("{MODELS}/triage")).unwrap();
    let conditions = md.status.unwrap().conditions;
    let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    format!("{} {}: {}", ready.status, ready.reason, ready.message)
}

fn there(server: &Server) -> (bool, bool) {
    (server.get::<Value>(DEPLOYMENT).is_some(), server.get::<Value>(SET).is_some())
}

#[tokio::test]
async fn a_model_over_several_nodes_converges_from_a_crash_at_any_write() {
    converges(async |server, cx| {
        if server.get::<Value>(SET).is_none() {
            over(&server, 2, &json!({}));
        }
        model(server, "triage", cx).await
    })
    .await;
}

#[tokio::test]
async fn a_cluster_without_groups_is_named_and_looked_at_again_until_it_has_them() {
    let server = server();
    over(&server, 2, &json!({}));
    let mut cx = Arc::into_inner(started(&server)).unwrap();
    cx.cluster = server.cluster();
    let cx = Arc::new(cx);
    let again = model(server.clone(), "triage", Arc::clone(&cx)).await.unwrap();
    assert_ne!(again, Action::await_change());
    assert_eq!(
        ready(&server),
        "False Invalid: spec.selfHosted.parallelism.nodes: this cluster has no LeaderWorkerSets (leaderworkerset.x-k8s.io/v1); install their \
         controller (https://lws.sigs.k8s.io), which is noticed within some minutes, or set it to 1"
    );
    assert_eq!(there(&server), (false, false));
    server.requests();
    model(server.clone(), "triage", Arc::clone(&cx)).await.unwrap();
    assert_eq!(server.requests(), [format!("GET {KIND}")], "one look, and nothing written");

    // Its watch, which nobody serves here, is taken for complete.
    cx.cluster.groups.assume();
    model(server.clone(), "triage", Arc::clone(&cx)).await.unwrap();
    assert_eq!(there(&server), (false, true));
    assert!(ready(&server).starts_with("Unknown Starting"), "{}", ready(&server));
}

#[tokio::test]
async fn pods_of_one_node_stay_until_a_group_answers_where_there_is_room_for_both() {
    let server = server();
    let surge = json!({ "rollout": { "strategy": "Surge" } });
    over(&server, 1, &surge);
    model(server.clone(), "triage", started(&server)).await.unwrap();
    over(&server, 2, &surge);
    for _ in 0..2 {
        model(server.clone(), "triage", started(&server)).await.unwrap();
        assert_eq!(there(&server), (true, true));
    }
    let generation = server.get::<Value>(SET).unwrap()["metadata"]["generation"].clone();
    let status = json!({ "observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1 });
    server.change(SET, json!({ "status": status }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(there(&server), (false, true));
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn groups_go_before_pods_of_one_node_come_where_their_devices_are_needed() {
    let server = server();
    let on_gpu = json!({ "accelerator": { "profile": "l4", "count": 1 } });
    let started = |server: &Server| {
        let settings = serde_saphyr::from_str("acceleratorProfiles: {l4: {resource: nvidia.com/gpu}}").unwrap();
        let cx = Arc::into_inner(started(server)).unwrap();
        Arc::new(Context { settings, ..cx })
    };
    over(&server, 2, &on_gpu);
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(there(&server), (false, true));
    over(&server, 1, &on_gpu);
    server.requests();
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(there(&server), (true, false));
    let requests = server.requests();
    let at = |request: String| requests.iter().position(|sent| *sent == request).unwrap();
    assert!(at(format!("DELETE {SET}")) < at(format!("PATCH {DEPLOYMENT}")), "{requests:?}");
}

#[tokio::test]
async fn a_grouped_model_that_moves_to_an_api_leaves_no_group_behind() {
    let server = server();
    over(&server, 2, &json!({}));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(there(&server), (false, true));
    let api = json!({ "provider": "OpenAICompatible", "model": "m", "endpoint": "http://127.0.0.1:1" });
    server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": null, "api": api } }));
    model(server.clone(), "triage", started(&server)).await.unwrap();
    assert_eq!(there(&server), (false, false));
}
