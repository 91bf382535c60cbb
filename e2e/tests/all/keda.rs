//! KEDA as its users have it: a workload that follows a number goes from none to two and back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::assets::keda;
use e2e::keda::Keda;
use e2e::{Cluster, skip, until};

/// A step is a poll, two rounds of an autoscaler, and a pod.
const STEP: Duration = Duration::from_secs(60);

/// There are as many of `follower` as there are pods of `leader`.
const FOLLOWS: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: follower}
spec:
  scaleTargetRef: {name: follower}
  pollingInterval: 1
  cooldownPeriod: 1
  minReplicaCount: 0
  maxReplicaCount: 2
  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 0}}}}
  triggers:
  - {type: kubernetes-workload, metadata: {podSelector: app=leader, value: "1"}}
"#;

fn idle(name: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: idle
        image: localhost/pause:1
        imagePullPolicy: Never
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_scaled_by_keda() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it installs kinds in the whole cluster and removes them");
        return Ok(());
    };
    let release = keda::release().await?;
    let keda = Keda::start(&cluster, local, &release).await?;
    let ns = cluster.namespace("keda").await?;
    ns.apply(&(idle("leader") + &idle("follower") + "---" + FOLLOWS)).await?;
    ns.told("scaledobject/follower", "Ready", "ScaledObjectReady", STEP).await?;

    let begin = Instant::now();
    for pods in ["1", "2", "0"] {
        ns.kubectl(&["scale", "deployment/leader", &format!("--replicas={pods}")]).await?;
        until(&format!("{pods} follow"), STEP, async || {
            let path = "jsonpath={.status.readyReplicas}";
            let ready = ns.kubectl(&["get", "deployment/follower", "-o", path]).await?;
            ensure!(ready == pods || pods == "0" && ready.is_empty(), "{ready}");
            Ok(Some(()))
        })
        .await?;
        println!("{:5.1} s  {pods} follow", begin.elapsed().as_secs_f32());
    }

    drop(keda);
    let left = ["get", "crd,apiservice,hpa", "-A", "-o", "name"];
    let left = cluster.kubectl().run(&left).await?;
    assert!(!left.contains("keda") && !left.contains("external.metrics"), "{left}");
    Ok(())
}
