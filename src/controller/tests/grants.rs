//! A policy that names a model of another namespace, as grants come and go.

use super::*;
use crate::cluster::Grants;

const LLAMA: &str = "/apis/llmportfolio.dev/v1alpha1/namespaces/models/modeldeployments/llama";
const GRANT: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/models/referencegrants/policies";

/// Lets the policy name a model of another namespace.
fn cross(server: &Server) {
    server.put(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {name: llama, namespace: models}
spec: {selfHosted: {engine: {kind: LlamaCpp}}}
",
    );
    let rules = json!([{ "targets": [{ "model": "llama", "namespace": "models" }] }]);
    server.change(POLICY, json!({ "spec": { "rules": rules } }));
}

fn grant(server: &Server) {
    server.put(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: policies, namespace: models}
spec: {from: [{group: llmportfolio.dev, kind: RoutingPolicy, namespace: claims}], to: [{group: llmportfolio.dev, kind: ModelDeployment}]}
",
    );
}

async fn said(server: &Server, cx: Arc<Context>) -> String {
    policy(server.clone(), cx).await.unwrap();
    let policy: RoutingPolicy = server.get(POLICY).unwrap();
    let conditions = policy.status.unwrap().conditions;
    let condition = conditions.iter().find(|c| c.type_ == "ResolvedRefs").unwrap();
    format!("{} {}: {}", condition.status, condition.reason, condition.message)
}

#[tokio::test]
async fn a_policy_that_crosses_namespaces_converges_from_a_crash_at_any_write() {
    converges(async |server, cx| {
        if server.get::<Value>(LLAMA).is_none() {
            cross(&server);
        }
        policy(server, cx).await
    })
    .await;
}

#[tokio::test]
async fn a_reference_to_another_namespace_is_resolved_while_a_grant_says_so() {
    let server = server();
    cross(&server);
    for _ in 0..2 {
        let before = said(&server, started(&server)).await;
        let words = "False RefNotPermitted: spec.rules[0].targets[0].namespace: no ReferenceGrant of namespace models permits";
        assert!(before.starts_with(words), "{before}");
        assert!(!before.contains("this cluster has no ReferenceGrants"), "{before}");
        grant(&server);
        let after = said(&server, started(&server)).await;
        assert_eq!(after, "True ResolvedRefs: everything the policy names exists");

        // One that waits for its finalizers is on its way out.
        let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        server.change(GRANT, going);
        assert!(said(&server, started(&server)).await.starts_with("False RefNotPermitted"));
        server.remove(GRANT);
    }
    server.requests();
    said(&server, started(&server)).await;
    assert_eq!(server.requests(), Vec::<String>::new(), "a settled object is silent");
}

#[tokio::test]
async fn where_the_kind_is_not_served_the_policy_says_so_and_asks_nothing() {
    let server = server();
    cross(&server);
    let mut cx = Arc::into_inner(started(&server)).unwrap();
    cx.grants = Arc::new(Grants::follow(&server.connection()).0);
    let cx = Arc::new(cx);
    let said = said(&server, Arc::clone(&cx)).await;
    assert!(
        said.contains("this cluster has no ReferenceGrants: install the CRDs of the Gateway API"),
        "{said}"
    );
    server.requests();
    policy(server.clone(), cx).await.unwrap();
    assert_eq!(server.requests(), Vec::<String>::new());
}
