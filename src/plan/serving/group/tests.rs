//! Groups as whole objects, and what is said of them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::model_deployment::{Answered, ModelDeploymentStatus, Operation};
use crate::plan::leader_worker_set::{LeaderWorkerSet, LeaderWorkerSetStatus};
use crate::plan::serving::tests::{md, planned};
use crate::plan::serving::{Devices, Observed, Pods, Reply, Serving, Takes, Workload, is_stuck, keep, status};

const TWO_BY_TWO: &str = "{selfHosted: {source: {uri: 'hf://meta-llama/Llama-3.1-405B@0e9e39f', secretRef: {name: hf, key: token}},
    engine: {kind: VLLM, args: [--max-model-len=32768]}, accelerator: {profile: nvidia-l4, count: 8}, parallelism: {nodes: 2}, replicas: 2}}";

fn set(serving: &Serving) -> LeaderWorkerSet {
    match &serving.pods {
        Pods::Grouped(set) => (**set).clone(),
        Pods::Single(deployment) => panic!("{deployment:?}"),
    }
}

fn templates(spec: &str) -> (PodTemplateSpec, PodTemplateSpec) {
    let group = set(&planned(spec).unwrap()).spec.leader_worker_template;
    (group.leader_template.unwrap(), group.worker_template)
}

#[test]
fn a_model_over_two_nodes() {
    let serving = planned(TWO_BY_TWO).unwrap();
    let mut group = set(&serving);
    insta::assert_yaml_snapshot!("vllm_group", group);
    assert!(matches!(serving.takes, Takes::Devices(Devices { count: 8, pods: 2, .. })));
    insta::assert_yaml_snapshot!("group_network", serving.network);
    insta::assert_yaml_snapshot!("group_budget", serving.budget);
    let leader = group.spec.leader_worker_template.leader_template.take().unwrap().metadata.unwrap();
    let worker = group.spec.leader_worker_template.worker_template.metadata.unwrap();
    let selected = |labels: Option<std::collections::BTreeMap<String, String>>| {
        let selector = serving.service.spec.clone().unwrap().selector.unwrap();
        let labels = labels.unwrap();
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    assert_eq!(
        (selected(leader.labels), selected(worker.labels)),
        (true, false),
        "only a leader is asked"
    );
}

#[test]
fn sglang_over_two_nodes_in_its_own_split() {
    let serving = planned(
        "{selfHosted: {source: {uri: 's3://models/llama/'}, engine: {kind: SGLang}, accelerator: {profile: nvidia-l4, count: 4},
          parallelism: {nodes: 2, tensor: 2}, queueName: team-a, priorityClassName: high,
          topologySpreadConstraints: [{topologyKey: topology.kubernetes.io/zone}]}}",
    )
    .unwrap();
    insta::assert_yaml_snapshot!("sglang_group", set(&serving));
    assert_eq!(serving.budget, None, "a budget over one group would block every node drain");
}

#[test]
fn one_node_stays_a_deployment_and_is_told_its_split() {
    let serving =
        planned("{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: nvidia-l4, count: 4}, parallelism: {tensor: 2}}}").unwrap();
    let pod = serving.deployment().spec.unwrap().template.spec.unwrap();
    let args = pod.containers[0].args.clone().unwrap().join(" ");
    assert!(args.ends_with("--tensor-parallel-size 2 --pipeline-parallel-size 2"), "{args}");
}

#[test]
fn what_a_person_adds_is_in_both_and_probes_and_the_port_only_in_the_leader() {
    let (leader, worker) = templates(
        "{selfHosted: {engine: {kind: Custom, image: i, port: 9000, args: [--serve]}, accelerator: {claim: {deviceClassName: gpu.example.com}, count: 1}, parallelism: {nodes: 3},
          podTemplate: {metadata: {labels: {team: claims}}, spec: {containers: [
            {name: engine, ports: [{name: peer, containerPort: 9001}], readinessProbe: {exec: {command: ['true']}}, lifecycle: {preStop: {sleep: {seconds: 1}}}},
            {name: shipper, image: s, livenessProbe: {exec: {command: ['true']}}}]}}}}",
    );
    for template in [&leader, &worker] {
        assert_eq!(template.metadata.as_ref().unwrap().labels.as_ref().unwrap()["team"], "claims");
        let pod = template.spec.as_ref().unwrap();
        assert_eq!(
            pod.containers[0].args,
            Some(vec!["--serve".to_owned()]),
            "its own program tells the pods apart"
        );
        assert_eq!(pod.resource_claims.as_ref().map(Vec::len), Some(1));
        assert!(pod.containers[0].security_context.is_some() && pod.containers[1].security_context.is_some());
        assert!(pod.containers[1].liveness_probe.is_some(), "a sidecar is the same in both");
        let hook = pod.containers[0]
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        assert_eq!(hook.and_then(|hook| hook.sleep.as_ref()).map(|sleep| sleep.seconds), Some(1));
    }
    let of = |template: &PodTemplateSpec| {
        let engine = &template.spec.as_ref().unwrap().containers[0];
        let ports: Vec<_> = engine.ports.iter().flatten().filter_map(|port| port.name.clone()).collect();
        let has_probes = engine.startup_probe.is_some() || engine.readiness_probe.is_some() || engine.liveness_probe.is_some();
        (ports.join(" "), has_probes)
    };
    assert_eq!(of(&leader), ("http peer".to_owned(), true));
    assert_eq!(of(&worker), ("peer".to_owned(), false));
}

#[test]
fn a_worker_outlives_the_answers_of_its_leader() {
    let (leader, worker) = templates(TWO_BY_TWO);
    let times = |template: &PodTemplateSpec| {
        let pod = template.spec.as_ref().unwrap();
        let hook = pod.containers[0].lifecycle.clone().unwrap().pre_stop.unwrap();
        (hook.sleep.unwrap().seconds, pod.termination_grace_period_seconds.unwrap())
    };
    assert_eq!(times(&leader), (5, 70));
    assert_eq!(times(&worker), (70, 75));
}

#[test]
fn a_name_too_long_for_the_pods_of_groups_is_refused() {
    let mut long = md(TWO_BY_TWO);
    long.metadata.name = Some("a".repeat(41));
    let refused = super::set(
        &long,
        long.spec.self_hosted.as_ref().unwrap(),
        Default::default(),
        Default::default(),
        &Default::default(),
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with("metadata.name: has more than 40 characters")
    );
}

#[test]
fn an_upgrade_of_the_operator_restarts_no_group() {
    let release = |set: &mut LeaderWorkerSet, release: &str| {
        let marks = [("llmportfolio.dev/inputs", "same"), ("llmportfolio.dev/release", release)];
        set.metadata.annotations = Some(marks.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    };
    let (mut live, mut wanted) = (set(&planned(TWO_BY_TWO).unwrap()), set(&planned(TWO_BY_TWO).unwrap()));
    release(&mut live, "0.0.1");
    release(&mut wanted, "0.0.2");
    for template in [
        live.spec.leader_worker_template.leader_template.as_mut().unwrap(),
        &mut live.spec.leader_worker_template.worker_template,
    ] {
        template.spec.as_mut().unwrap().containers[0].image = Some("the-default-of-0.0.1".to_owned());
    }
    assert_ne!(live.digest(), wanted.digest());
    keep(&mut wanted, Some(&live));
    assert_eq!(live.spec.leader_worker_template, wanted.spec.leader_worker_template);
}

/// The set of `TWO_BY_TWO` with this status, and a pod of one of its templates with that one.
fn live(status: &str) -> LeaderWorkerSet {
    let mut live = set(&planned(TWO_BY_TWO).unwrap());
    live.metadata.generation = Some(4);
    live.status = Some(serde_saphyr::from_str::<LeaderWorkerSetStatus>(status).unwrap());
    live
}

fn pod(live: &LeaderWorkerSet, is_leader: bool, more: &str) -> Arc<Pod> {
    let group = live.spec.leader_worker_template.clone();
    let template = if is_leader {
        group.leader_template.unwrap()
    } else {
        group.worker_template
    };
    let mut pod: Pod = serde_saphyr::from_str(more).unwrap();
    pod.spec = template.spec;
    // As its controller does.
    let address = serde_saphyr::from_str("{name: LWS_LEADER_ADDRESS, value: triage-engine-0.triage-engine-0.claims}").unwrap();
    pod.spec.as_mut().unwrap().containers[0]
        .env
        .get_or_insert_default()
        .insert(0, address);
    Arc::new(pod)
}

fn seen(md: &ModelDeployment, live: &LeaderWorkerSet, pods: &[Arc<Pod>]) -> ModelDeploymentStatus {
    let own = md.spec.self_hosted.as_ref().unwrap();
    let reply = Reply::Answered(Answered {
        template: "t".to_owned(),
        operation: Operation::ChatCompletions,
    });
    let observed = Observed {
        workload: live,
        pods,
        cached: None,
        is_routed: true,
        reply: &reply,
        other: None,
    };
    status(md, own, &observed, Timestamp::UNIX_EPOCH)
}

fn said(status: &ModelDeploymentStatus, kind: &str) -> String {
    let found = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
    format!("{} {}: {}", found.status, found.reason, found.message)
}

#[test]
fn groups_are_counted_and_believed_only_when_they_are_of_the_present_spec() {
    let md = md(TWO_BY_TWO);
    let of = |text: &str| {
        let status = seen(&md, &live(text), &[]);
        (said(&status, "WorkloadReady"), status.readiness.unwrap())
    };
    assert_eq!(
        of("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: 2}"),
        ("True Settled: 2 of 2 groups answer".to_owned(), "2/2".to_owned())
    );
    assert_eq!(
        of("{observedGeneration: 3, replicas: 2, updatedReplicas: 2, readyReplicas: 2}"),
        (
            "False Starting: 0 of 2 groups of the present specification answer".to_owned(),
            "2/2".to_owned()
        )
    );
    assert_eq!(
        of("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: 1}"),
        (
            "False Starting: 1 of 2 groups of the present specification answer".to_owned(),
            "1/2".to_owned()
        )
    );
}

#[test]
fn a_worker_without_a_node_says_how_many_devices_are_short() {
    let starting = live("{observedGeneration: 4, replicas: 2, updatedReplicas: 2}");
    let leader = pod(&starting, true, "{metadata: {name: triage-engine-0}, status: {phase: Running}}");
    let worker = pod(
        &starting,
        false,
        "{metadata: {name: triage-engine-0-1}, status: {conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable,
          message: '0/2 nodes are available: 2 Insufficient nvidia.com/gpu.'}]}}",
    );
    let mut worker = (*worker).clone();
    let resources = worker.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
    resources.requests = resources
        .limits
        .clone()
        .map(|limits| limits.into_iter().chain(resources.requests.clone().unwrap()).collect());
    let pods = [leader, Arc::new(worker)];
    let ready = said(&seen(&md(TWO_BY_TWO), &starting, &pods), "Ready");
    assert!(
        ready.starts_with("False Unschedulable: no node can take the pod: 0/2 nodes"),
        "{ready}"
    );
    assert!(ready.contains("1 pod waits for nvidia.com/gpu: 8"), "{ready}");
    assert!(is_stuck(&starting, &pods));
}

#[test]
fn what_a_group_died_of_is_told_until_all_answer() {
    let starting = live("{observedGeneration: 4, replicas: 2, updatedReplicas: 2}");
    let mut md = md(TWO_BY_TWO);
    let died = pod(
        &starting,
        false,
        "{metadata: {name: triage-engine-0-1, namespace: claims, deletionTimestamp: '2026-01-01T00:00:00Z'},
          status: {containerStatuses: [{name: engine, image: i, imageID: '', ready: true, restartCount: 1, state: {running: {}},
            lastState: {terminated: {exitCode: 7, message: 'NCCL error'}}}]}}",
    );
    let status = seen(&md, &starting, &[died]);
    let ready = said(&status, "Ready");
    assert!(
        ready.contains("False CrashLooping: the engine keeps ending with exit code 7, last saying \"NCCL error\"; its pods are made anew each time; follow `kubectl -n claims logs triage-engine-0-1 -f`"),
        "{ready}"
    );

    md.status = Some(status);
    let remade = seen(&md, &starting, &[pod(&starting, false, "{metadata: {name: triage-engine-0-1}}")]);
    assert_eq!(
        said(&remade, "Ready"),
        ready,
        "nothing is left of the pod that died, and the status does not move"
    );
    assert_eq!(Some(&remade), md.status.as_ref());

    let answering = live("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: 2}");
    assert_eq!(
        said(&seen(&md, &answering, &[]), "WorkloadReady"),
        "True Settled: 2 of 2 groups answer"
    );
    md.metadata.generation = Some(3);
    let corrected = said(&seen(&md, &starting, &[]), "WorkloadReady");
    assert!(
        corrected.starts_with("False Starting"),
        "another specification may not die of it: {corrected}"
    );
}

#[test]
fn a_pod_that_goes_as_it_should_is_no_trouble() {
    let rolling = live("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: 1}");
    let going = pod(
        &rolling,
        true,
        "{metadata: {name: triage-engine-1, deletionTimestamp: '2026-01-01T00:00:00Z'},
          status: {containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 0, state: {terminated: {exitCode: 143}}}]}}",
    );
    assert!(said(&seen(&md(TWO_BY_TWO), &rolling, &[going]), "WorkloadReady").starts_with("False Starting"));
}
