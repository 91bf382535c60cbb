//! The children as whole objects, and the words their failures get.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{Pod, VolumeMount};
use k8s_openapi::jiff::Timestamp;

use crate::api::model_deployment::{Answered, ModelDeploymentStatus, Operation};
use crate::api::{ModelDeployment, Settings};
use crate::plan::cache::{self, Listed};

use super::{Devices, Installation, Observed, Pods, Reply, Rollout, Serving, Takes, adapter_name, model_name, plan, status};

const SETTINGS: &str = "
acceleratorProfiles:
  nvidia-l4:
    resource: nvidia.com/gpu
    nodeSelector: {nvidia.com/gpu.product: NVIDIA-L4}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    runtimeClassName: nvidia
    resources: {cpu: \"2\", memory: 8Gi}
  cpu: {resources: {cpu: \"1\"}}
engines:
  LlamaCpp: {image: \"registry.example.com/llama:1\", args: [--no-ui]}
scrapers: [{namespace: monitoring, podLabels: {app.kubernetes.io/name: prometheus}}]
";

pub(in crate::plan) fn md(spec: &str) -> ModelDeployment {
    let head = "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: triage, namespace: claims, uid: u-1, generation: 2}\n";
    serde_saphyr::from_str(&format!("{head}spec: {spec}")).unwrap()
}

pub(super) fn planned(spec: &str) -> Result<Serving, String> {
    let settings: Settings = serde_saphyr::from_str(SETTINGS).unwrap();
    let md = md(spec);
    let installation = Installation {
        settings: &settings,
        gateway_namespace: "llm-portfolio",
        image: "localhost/portfolio:dev",
        mounts_images: settings.image_volumes.are_used(None),
    };
    let mut serving = plan(&md, md.spec.self_hosted.as_ref().unwrap(), installation, None).map_err(|invalid| invalid.to_string())?;
    // The release is among its marks, and moves.
    match &mut serving.pods {
        Pods::Single(deployment) => deployment.metadata.annotations = None,
        Pods::Grouped(set) => set.metadata.annotations = None,
    }
    Ok(serving)
}

impl Serving {
    pub(in crate::plan) fn deployment(&self) -> Deployment {
        match &self.pods {
            Pods::Single(deployment) => (**deployment).clone(),
            Pods::Grouped(set) => panic!("{set:?}"),
        }
    }
}

#[test]
fn a_model_of_the_hub_on_two_accelerators() {
    let Serving {
        pods,
        takes,
        service,
        claim,
        network,
        budget,
    } = planned(
        "{selfHosted: {source: {uri: 'hf://meta-llama/Llama-3.1-8B@0e9e39f', secretRef: {name: hf, key: token}},
          engine: {kind: VLLM, args: [--max-model-len=32768], env: [{name: HOME, value: /work}]},
          accelerator: {profile: nvidia-l4, count: 2}, resources: {requests: {memory: 16Gi}}, replicas: 2}}",
    )
    .unwrap();
    let Pods::Single(deployment) = pods else { panic!("{pods:?}") };
    insta::assert_yaml_snapshot!("vllm_deployment", deployment);
    assert!(matches!(takes, Takes::Devices(Devices { count: 2, .. })), "{takes:?}");
    insta::assert_yaml_snapshot!("vllm_service", service);
    insta::assert_yaml_snapshot!("vllm_network", network);
    insta::assert_yaml_snapshot!("vllm_budget", budget);
    assert_eq!(claim, None);
}

#[test]
fn a_model_in_its_image_on_the_cpu() {
    let serving = planned("{selfHosted: {engine: {kind: LlamaCpp}, accelerator: {profile: cpu}}}").unwrap();
    insta::assert_yaml_snapshot!("llama_deployment", serving.deployment());
    assert_eq!(serving.budget, None, "a budget over one pod would block every node drain");
}

#[test]
fn a_custom_model_from_a_volume_with_an_adapter() {
    let serving = planned(
        "{selfHosted: {source: {uri: 'pvc://weights/llama/'}, engine: {kind: VLLM},
          custom: {baseModel: llama, adapters: [{name: fraud, source: {uri: 'pvc://adapters/fraud-7'}}]}}}",
    )
    .unwrap();
    let pod = serving.deployment().spec.unwrap().template.spec.unwrap();
    let args = pod.containers[0].args.clone().unwrap().join(" ");
    assert!(args.starts_with("/models/llama --served-model-name triage "), "{args}");
    assert!(
        args.contains("--enable-lora --lora-modules fraud=/claims/adapters/fraud-7 --max-loras 4"),
        "{args}"
    );
    let claims: Vec<_> = pod
        .volumes
        .unwrap()
        .into_iter()
        .filter_map(|v| v.persistent_volume_claim)
        .map(|c| c.claim_name)
        .collect();
    assert_eq!(claims, ["weights", "adapters"]);
}

#[test]
fn what_an_engine_cannot_download_is_fetched_into_the_pod() {
    let serving = planned(
        "{selfHosted: {source: {uri: 'hf://org/smol@v1/smol-Q4.gguf', secretRef: {name: hf, key: token}}, engine: {kind: LlamaCpp, env: [{name: HF_ENDPOINT, value: 'http://hub'}]}}}",
    )
    .unwrap();
    insta::assert_yaml_snapshot!("fetched_deployment", serving.deployment());
    for (uri, engine, path) in [
        ("s3://models/claims-llama/", "VLLM", "/models"),
        ("gs://models/smol.gguf", "LlamaCpp", "/models/smol.gguf"),
        (
            "https://models.example/a/smol.gguf#sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            "LlamaCpp",
            "/models/smol.gguf",
        ),
        ("hf://org/name@main/fp16", "VLLM", "/models/fp16"),
    ] {
        let deployment = planned(&format!("{{selfHosted: {{source: {{uri: '{uri}'}}, engine: {{kind: {engine}}}}}}}"))
            .unwrap()
            .deployment();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.init_containers.unwrap()[0].args.as_ref().unwrap()[1], uri);
        assert!(pod.containers[0].args.as_ref().unwrap().contains(&path.to_owned()), "{uri}");
    }
}

#[test]
fn what_a_cache_holds_is_mounted_and_neither_downloaded_nor_fetched() {
    let spec = "{selfHosted: {source: {uri: 'hf://org/llama@main', secretRef: {name: hf, key: token}}, engine: {kind: VLLM}, cache: {}}}";
    let md = md(spec);
    let own = md.spec.self_hosted.as_ref().unwrap();
    let held = cache::wanted(&md, own).unwrap().held(&Listed {
        revision: "0e9e39f249a16976918f6564b8830bc894c89659".to_owned(),
        bytes: 1,
    });
    let installation = Installation {
        settings: &Settings::default(),
        gateway_namespace: "llm-portfolio",
        image: "localhost/portfolio:dev",
        mounts_images: false,
    };
    let planned = |held| plan(&md, own, installation, held).unwrap().deployment();
    let deployment = planned(Some(&held));
    assert_eq!(
        deployment.metadata.annotations.as_ref().unwrap()["llmportfolio.dev/cache"],
        held.cache
    );
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.init_containers, None);
    let engine = &pod.containers[0];
    assert_eq!(engine.args.as_ref().unwrap()[..1], ["/models"]);
    assert!(engine.env.iter().flatten().all(|variable| variable.name != "HF_TOKEN"));
    let weights = |mounts: &[VolumeMount]| mounts.iter().find(|mount| mount.name == "weights").cloned().unwrap();
    let mount = weights(engine.volume_mounts.as_ref().unwrap());
    assert_eq!(
        (mount.mount_path.as_str(), mount.read_only, mount.sub_path),
        ("/models", Some(true), Some(held.folder.clone()))
    );
    let volume = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "weights").unwrap();
    assert_eq!(volume.persistent_volume_claim.unwrap().claim_name, held.claim);
}

#[test]
fn the_keys_of_a_buckets_secret_are_the_fetchs_environment() {
    let serving = planned("{selfHosted: {source: {uri: 's3://models/x/', secretRef: {name: minio}}, engine: {kind: VLLM}}}").unwrap();
    let pod = serving.deployment().spec.unwrap().template.spec.unwrap();
    let fetcher = &pod.init_containers.unwrap()[0];
    assert_eq!(fetcher.env_from.as_ref().unwrap()[0].secret_ref.as_ref().unwrap().name, "minio");
    assert_eq!(pod.containers[0].env_from, None, "the engine gets no credentials of buckets");
}

#[test]
fn sglang_on_two_accelerators_with_an_adapter() {
    let spec = "{selfHosted: {source: {uri: 'hf://meta-llama/Llama-3.1-8B@0e9e39f', secretRef: {name: hf, key: token}}, engine: {kind: SGLang},
          accelerator: {profile: nvidia-l4, count: 2}, custom: {baseModel: llama, adapters: [{name: fraud, source: {uri: 'hf://bank/fraud'}}]}}}";
    insta::assert_yaml_snapshot!("sglang_deployment", planned(spec).unwrap().deployment());
    let md = md(spec);
    let own = md.spec.self_hosted.as_ref().unwrap();
    assert_eq!(model_name(&md, own), "triage");
    assert_eq!(adapter_name(&md, own, "fraud"), "triage:fraud");
}

#[test]
fn tgi_on_two_accelerators_with_an_adapter() {
    let spec = "{selfHosted: {source: {uri: 'hf://meta-llama/Llama-3.1-8B@0e9e39f'}, engine: {kind: TGI},
          accelerator: {profile: nvidia-l4, count: 2}, custom: {baseModel: llama, adapters: [{name: fraud, source: {uri: 'pvc://adapters/fraud-7'}}]}}}";
    insta::assert_yaml_snapshot!("tgi_deployment", planned(spec).unwrap().deployment());
    let md = md(spec);
    let own = md.spec.self_hosted.as_ref().unwrap();
    assert_eq!(
        (model_name(&md, own).as_str(), adapter_name(&md, own, "fraud").as_str()),
        ("tgi", "fraud")
    );
}

#[test]
fn an_engine_of_ones_own() {
    let spec = "{selfHosted: {engine: {kind: Custom, image: 'registry.example.com/server:1', port: 9000, args: [--serve]}}}";
    insta::assert_yaml_snapshot!("custom_deployment", planned(spec).unwrap().deployment());
}

#[test]
fn what_cannot_be_served_is_refused_with_its_field_and_remedy() {
    for (spec, words) in [
        (
            "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: nvidia-h200}}}",
            "spec.selfHosted.accelerator.profile: there is no profile \"nvidia-h200\"; use one of cpu, nvidia-l4, or ask",
        ),
        (
            "{selfHosted: {source: {uri: 'ftp://b/x'}, engine: {kind: VLLM}}}",
            "spec.selfHosted.source.uri: \"ftp://b/x\" is a kind of source that is not served; use hf://",
        ),
        (
            "{selfHosted: {source: {uri: 'hf://llama'}, engine: {kind: VLLM}}}",
            "spec.selfHosted.source.uri: \"hf://llama\" is not a model of the hub; write it as",
        ),
        (
            "{selfHosted: {source: {uri: 'oci://r.example.com/llama:1'}, engine: {kind: LlamaCpp}}}",
            "spec.selfHosted.source.uri: \"oci://r.example.com/llama:1\" names no .gguf file, and the engine LlamaCpp serves one; name the \
             file in the image, such as oci://r.example.com/llama:1#models/model.gguf",
        ),
        (
            "{selfHosted: {source: {uri: 'pvc://c/../x'}, engine: {kind: VLLM}}}",
            "is not a path in a volume claim",
        ),
        (
            "{selfHosted: {source: {uri: 'hf://a/b@c'}, engine: {kind: LlamaCpp}}}",
            "spec.selfHosted.source.uri: \"hf://a/b@c\" names no .gguf file, and the engine LlamaCpp serves one; name the file, such as hf://",
        ),
        (
            "{selfHosted: {source: {uri: 'hf://a/b'}, engine: {kind: Custom, image: i, port: 9000}}}",
            "cannot tell a Custom engine where its model is",
        ),
        (
            "{selfHosted: {engine: {kind: Custom, port: 9000}}}",
            "spec.selfHosted.engine.image: ",
        ),
        ("{selfHosted: {engine: {kind: Custom, image: i}}}", "spec.selfHosted.engine.port: "),
        (
            "{selfHosted: {engine: {kind: LlamaCpp}, custom: {baseModel: b, adapters: [{name: a, source: {uri: 'hf://a/b'}}]}}}",
            "spec.selfHosted.custom.adapters[0]: the engine LlamaCpp loads no adapters by name; use the engine VLLM",
        ),
    ] {
        let refused = planned(spec).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn where_and_when_its_pods_run() {
    let spec = "{selfHosted: {engine: {kind: LlamaCpp}, priorityClassName: production, schedulerName: volcano, queueName: team-a,
          topologySpreadConstraints: [{topologyKey: topology.kubernetes.io/zone},
            {topologyKey: kubernetes.io/hostname, maxSkew: 2, whenUnsatisfiable: DoNotSchedule}]}}";
    let deployment = planned(spec).unwrap().deployment();
    let template = deployment.spec.unwrap().template;
    let labels = [deployment.metadata.labels, template.metadata.unwrap().labels];
    for labels in labels {
        assert_eq!(labels.unwrap().get("kueue.x-k8s.io/queue-name").map(String::as_str), Some("team-a"));
    }
    let pod = template.spec.unwrap();
    assert_eq!(
        (pod.priority_class_name.as_deref(), pod.scheduler_name.as_deref()),
        (Some("production"), Some("volcano"))
    );
    insta::assert_yaml_snapshot!("spread", pod.topology_spread_constraints);
}

#[test]
fn the_trouble_of_a_pod_counts_although_a_queue_chose_its_nodes() {
    const BROKEN: &str = "{containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ErrImagePull}}}]}";
    let starting = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 2}");
    let mut pod = (*pod_of(&starting, BROKEN)).clone();
    pod.spec.as_mut().unwrap().node_selector = Some([("flavor".to_owned(), "spot".to_owned())].into());
    let status = seen_with(&starting, &[Arc::new(pod)]);
    assert!(words(&status).contains("Ready=False ImageNotAvailable"), "{}", words(&status));
}

#[test]
fn devices_by_claim() {
    let serving = planned(
        "{selfHosted: {engine: {kind: VLLM, args: [--model=x]}, accelerator: {count: 1, claim: {deviceClassName: gpu.example.com, count: 2,
          selectors: ['device.attributes[\"gpu.example.com\"].family == \"hopper\"']}}}}",
    )
    .unwrap();
    let deployment = serving.deployment().spec.unwrap();
    let pod = deployment.template.spec.unwrap();
    assert!(
        pod.containers[0]
            .args
            .clone()
            .unwrap()
            .join(" ")
            .contains("--tensor-parallel-size 2")
    );
    assert_eq!(serving.takes, Takes::Claim);
    insta::assert_yaml_snapshot!("claim_template", serving.claim);
    insta::assert_yaml_snapshot!("claim_of_the_pod", (&pod.resource_claims, &pod.containers[0].resources));
}

#[test]
fn one_deadline_holds_for_a_pod_and_for_the_rollout() {
    for (given, seconds, probes) in [
        ("", 1800, 900),
        (", startupDeadline: 2h", 7200, 3600),
        (", startupDeadline: 10500ms", 11, 6),
    ] {
        let deployment = planned(&format!("{{selfHosted: {{engine: {{kind: VLLM}}{given}}}}}"))
            .unwrap()
            .deployment()
            .spec
            .unwrap();
        let probe = deployment.template.spec.unwrap().containers[0].startup_probe.clone().unwrap();
        assert_eq!(deployment.progress_deadline_seconds, Some(seconds), "{given}");
        assert_eq!((probe.period_seconds, probe.failure_threshold), (Some(2), Some(probes)), "{given}");
    }
}

pub(super) fn deployment(status: &str) -> Deployment {
    let mut deployment = planned("{selfHosted: {engine: {kind: LlamaCpp}, replicas: 2}}")
        .unwrap()
        .deployment();
    deployment.metadata.generation = Some(4);
    deployment.status = Some(serde_saphyr::from_str::<DeploymentStatus>(status).unwrap());
    deployment
}

fn pod_of(deployment: &Deployment, status: &str) -> Arc<Pod> {
    let mut pod: Pod = serde_saphyr::from_str(&format!("metadata: {{name: p}}\nstatus: {status}")).unwrap();
    pod.spec = deployment.spec.clone().unwrap().template.spec;
    Arc::new(pod)
}

fn seen(deployment: &Deployment, pods: &[&str]) -> ModelDeploymentStatus {
    let pods: Vec<Arc<Pod>> = pods.iter().map(|status| pod_of(deployment, status)).collect();
    seen_with(deployment, &pods)
}

/// Of an engine that has answered, in pods that get requests.
fn seen_with(deployment: &Deployment, pods: &[Arc<Pod>]) -> ModelDeploymentStatus {
    let reply = Reply::Answered(Answered {
        template: "t".to_owned(),
        operation: Operation::ChatCompletions,
    });
    let observed = Observed {
        workload: deployment,
        pods,
        cached: None,
        is_routed: true,
        reply: &reply,
        other: None,
    };
    let md = md("{selfHosted: {engine: {kind: LlamaCpp}, replicas: 2}}");
    status(&md, md.spec.self_hosted.as_ref().unwrap(), &observed, Timestamp::UNIX_EPOCH)
}

#[test]
fn the_trouble_of_an_earlier_spec_is_not_that_of_its_correction() {
    const BROKEN: &str = "{containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: InvalidImageName}}}]}";
    let late = "conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]";
    let stale = deployment(&format!("{{observedGeneration: 3, replicas: 2, updatedReplicas: 2, {late}}}"));
    assert_eq!(
        words(&seen(&stale, &[BROKEN])),
        "Accepted=True Valid, Ready=Unknown Starting, Reconciling=True Starting, WorkloadReady=False Starting"
    );

    let corrected = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 1}");
    let mut earlier = (*pod_of(&corrected, BROKEN)).clone();
    earlier.spec.as_mut().unwrap().containers[0].image = Some("not an image".to_owned());
    assert_eq!(
        words(&seen_with(&corrected, &[Arc::new(earlier)])),
        "Accepted=True Valid, Ready=Unknown Starting, Reconciling=True Starting, WorkloadReady=False Starting"
    );
}

#[test]
fn a_rollout_says_which_pods_wait_for_which_and_why() {
    let mut rolling = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 1, availableReplicas: 1}");
    let why = "no node has 1 nvidia.com/gpu free; 0 at most".to_owned();
    Rollout { surges: false, why }.put_on(&mut rolling);
    let status = seen(&rolling, &[]);
    let workload = status.conditions.iter().find(|c| c.type_ == "WorkloadReady").unwrap();
    assert_eq!(
        workload.message,
        "1 of 2 pods of the present specification answer; earlier ones make room for new ones: no node has 1 nvidia.com/gpu free; 0 at most"
    );
}

pub(super) fn words(status: &ModelDeploymentStatus) -> String {
    status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn a_pod_that_failed_says_nothing_once_its_successor_is_there() {
    let settled = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, availableReplicas: 2}");
    let failed = "{phase: Failed, reason: UnexpectedAdmissionError, message: no healthy devices present}";
    let status = seen(&settled, &[failed, "{phase: Running}"]);
    assert_eq!(
        words(&status),
        "Accepted=True Valid, Ready=True Serving, WorkloadReady=True Settled"
    );
    let starting = deployment("{observedGeneration: 4, replicas: 1, updatedReplicas: 1}");
    assert!(words(&seen(&starting, &[failed])).contains("Ready=False DeviceUnavailable"));
}

#[test]
fn what_a_namespace_adds_to_a_pod_does_not_hide_its_trouble() {
    let starting = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 2}");
    let mut pod = (*pod_of(
        &starting,
        "{containerStatuses: [{name: engine, image: nope:1, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff}}}]}",
    ))
    .clone();
    let engine = &mut pod.spec.as_mut().unwrap().containers[0];
    engine
        .env
        .get_or_insert_default()
        .push(serde_saphyr::from_str("{name: INJECTED, value: x}").unwrap());
    engine.resources = Some(serde_saphyr::from_str("{limits: {cpu: '4', memory: 1Gi}}").unwrap());
    assert!(words(&seen_with(&starting, &[Arc::new(pod)])).contains("Ready=False ImageNotAvailable"));
}

#[test]
fn a_child_is_believed_only_when_it_has_seen_its_own_spec() {
    let stale = deployment("{observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2}");
    assert_eq!(
        words(&seen(&stale, &[])),
        "Accepted=True Valid, Ready=True Serving, Reconciling=True Starting, WorkloadReady=False Starting"
    );
    let current = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 2, availableReplicas: 2}");
    let settled = seen(&current, &[]);
    assert_eq!(
        words(&settled),
        "Accepted=True Valid, Ready=True Serving, WorkloadReady=True Settled"
    );
    assert_eq!((settled.readiness.as_deref(), settled.observed_generation), (Some("2/2"), Some(2)));
}

#[test]
fn the_pods_own_reason_is_shown_with_what_to_do() {
    let starting = deployment("{observedGeneration: 4, replicas: 2, updatedReplicas: 2}");
    for (pod, reason, message) in [
        (
            "{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/1 nodes are available}]}",
            "Unschedulable",
            "0/1 nodes are available",
        ),
        (
            "{containerStatuses: [{name: engine, image: nope:1, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: Back-off 40s}}}]}",
            "ImageNotAvailable",
            "\"nope:1\" cannot be pulled",
        ),
        (
            "{containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 7}}}]}",
            "CrashLooping",
            "exit code 7",
        ),
        (
            "{containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}",
            "OutOfMemory",
            "limits.memory",
        ),
        (
            "{containerStatuses: [{name: engine, image: i, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"x\" not found'}}}]}",
            "ContainerConfigInvalid",
            "secret \"x\" not found",
        ),
        (
            "{conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated, message: Scheduling is blocked due to non-empty scheduling gates}]}",
            "SchedulingGated",
            "held back until something admits it",
        ),
        (
            "{initContainerStatuses: [{name: first, image: i, imageID: '', ready: true, restartCount: 0, state: {terminated: {exitCode: 0}}},
                {name: second, image: i, imageID: '', ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 7}}}]}",
            "CrashLooping",
            "the container \"second\" keeps ending with exit code 7; see `kubectl",
        ),
        (
            "{containerStatuses: [{name: shipper, image: nope:1, imageID: '', ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff}}}]}",
            "ImageNotAvailable",
            "check spec.selfHosted.podTemplate and",
        ),
    ] {
        let status = seen(&starting, &[pod]);
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", reason));
        assert!(ready.message.contains(message), "{}", ready.message);
    }
}

#[test]
fn a_pod_that_never_answers_stalls_after_the_deadline() {
    let late = deployment(
        "{observedGeneration: 4, replicas: 2, updatedReplicas: 2, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}",
    );
    let said = seen(&late, &[])
        .conditions
        .into_iter()
        .find(|c| c.type_ == "Stalled")
        .unwrap()
        .message;
    assert!(
        said.contains("within 1800 s, which spec.selfHosted.startupDeadline allows"),
        "{said}"
    );
    assert_eq!(
        words(&seen(&late, &[])),
        "Accepted=True Valid, Ready=False StartDeadlineExceeded, Stalled=True StartDeadlineExceeded, WorkloadReady=False StartDeadlineExceeded"
    );
}

#[test]
fn pods_the_cluster_refuses_are_told_in_its_words() {
    let refused = deployment(
        "{observedGeneration: 4, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'exceeded quota: gpus'}]}",
    );
    let status = seen(&refused, &[]);
    assert!(
        status
            .conditions
            .iter()
            .any(|c| c.reason == "PodsRefused" && c.message.contains("exceeded quota: gpus"))
    );
}
