//! The words of each trouble.

use super::*;

const WORDS: Words = Words {
    container: "e",
    subject: "the engine",
    room: "Make room",
    image: "image",
    memory: "raise the limit",
    volumes: "source.uri",
    source: "source.uri",
    others: "podTemplate",
    is_remade: false,
};

fn pod(status: &str) -> Pod {
    let spec = "{initContainers: [{name: fetch}], containers: [{name: e, resources: {requests: {nvidia.com/gpu: '2', cpu: '1'}, limits: {memory: 64Mi}}}]}";
    serde_saphyr::from_str(&format!("{{metadata: {{name: p, namespace: ns}}, spec: {spec}, status: {status}}}")).unwrap()
}

fn told(statuses: &[&str]) -> String {
    let pods: Vec<Pod> = statuses.iter().map(|status| pod(status)).collect();
    trouble(pods.iter(), &WORDS).map_or_else(String::new, |t| format!("{}: {}", t.reason, t.message))
}

#[test]
fn what_is_wrong_is_told_with_its_numbers() {
    let waits = "{conditions: [{type: PodScheduled, status: 'False', message: '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.'}]}";
    let ended =
        |state: &str| format!("{{containerStatuses: [{{name: e, image: i, imageID: '', ready: false, restartCount: 1, {state}}}]}}");
    let crashed = ended(
        "state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, message: \"loading\\nerror: no such file\\n\\n\"}}",
    );
    let nowhere =
        ended("state: {waiting: {reason: ImagePullBackOff, message: 'Back-off: dial tcp 127.0.0.1:80: connect: connection refused'}}");
    let killed = ended("state: {terminated: {exitCode: 137, reason: OOMKilled}}");
    let device = ended(
        "state: {running: {}}, allocatedResourcesStatus: [{name: nvidia.com/gpu, resources: [{resourceID: gpu-1, health: Unhealthy}]}]",
    );
    for (statuses, wanted) in [
        (
            vec![waits],
            "Unschedulable: no node can take the pod: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu. 1 pod waits for nvidia.com/gpu: 2. Make room",
        ),
        (
            vec![waits, waits],
            "Unschedulable: no node can take the pod: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu. 2 pods wait, each for nvidia.com/gpu: 2. Make room",
        ),
        (
            vec![
                "{conditions: [{type: PodScheduled, status: 'False', message: '0/1 nodes are available: persistentvolumeclaim \"w\" not found. not found'}]}",
            ],
            "VolumeClaimNotFound: PersistentVolumeClaim ns/w does not exist; create it, or name another in source.uri",
        ),
        (
            vec![nowhere.as_str()],
            "ImageNotAvailable: the image \"i\" cannot be pulled: the registry cannot be reached; check image and the node's access to its registry",
        ),
        (
            vec![crashed.as_str()],
            "CrashLooping: the engine keeps ending with exit code 1, last saying \"error: no such file\"; see `kubectl -n ns logs p --previous`",
        ),
        (
            vec![killed.as_str()],
            "OutOfMemory: the engine needs more memory than its limit of 64Mi and was killed; raise the limit",
        ),
        (
            vec![device.as_str()],
            "DeviceUnhealthy: the device gpu-1 (nvidia.com/gpu) is unhealthy: delete the pod to get another one, and look at the node's device",
        ),
        (
            vec!["{phase: Failed, reason: UnexpectedAdmissionError, message: no healthy devices present}"],
            "DeviceUnavailable: the node could not give the pod what it asks for: no healthy devices present",
        ),
    ] {
        assert_eq!(told(&statuses), wanted);
    }
}

#[test]
fn a_fetch_that_failed_speaks_for_itself() {
    let last = r#"{"reason":"GatedModel","message":"bank/triage is gated; set HF_TOKEN to a token","timeMayHeal":false}"#;
    let status = format!(
        "{{initContainerStatuses: [{{name: fetch, image: i, imageID: '', ready: false, restartCount: 2, state: {{waiting: {{reason: CrashLoopBackOff}}}}, lastState: {{terminated: {{exitCode: 1, message: '{last}'}}}}}}]}}"
    );
    assert_eq!(
        told(&[&status]),
        "GatedModel: source.uri: bank/triage is gated; set spec.selfHosted.source.secretRef to a token"
    );
}

#[test]
fn an_init_container_that_has_done_its_work_is_no_trouble() {
    let init = |code: i32| {
        format!(
            "{{initContainerStatuses: [{{name: fetch, image: i, imageID: '', ready: false, restartCount: 0, state: {{terminated: {{exitCode: {code}}}}}}}]}}"
        )
    };
    assert_eq!(told(&[&init(0)]), "");
    assert!(told(&[&init(3)]).contains("exit code 3"));
}

#[test]
fn weights_in_an_image_are_told_with_where_the_image_is_named() {
    let pod = |status: &str| -> Pod {
        let volumes = "[{name: weights, image: {reference: 'r.example.com/w:1'}}]";
        serde_saphyr::from_str(&format!(
            "{{metadata: {{name: p, namespace: ns}}, spec: {{containers: [], volumes: {volumes}}}, status: {status}}}"
        ))
        .unwrap()
    };
    let told = |pod: Pod| trouble([&pod].into_iter(), &WORDS).map_or_else(String::new, |t| format!("{}: {}", t.reason, t.message));
    let waits = |name: &str, reason: &str, message: &str| {
        format!(
            "{{containerStatuses: [{{name: {name}, image: i, imageID: '', ready: false, restartCount: 0, state: {{waiting: {{reason: {reason}, message: '{message}'}}}}}}]}}"
        )
    };
    let of_volume = told(pod(&waits(
        "e",
        "ImagePullBackOff",
        r#"Back-off pulling image "r.example.com/w:1": not found"#,
    )));
    assert_eq!(
        of_volume,
        "ImageNotAvailable: the image \"r.example.com/w:1\" cannot be pulled: the registry does not have it; check source.uri and the node's access to its registry"
    );
    let of_engine = told(pod(&waits("e", "ImagePullBackOff", r#"Back-off pulling image "i": not found"#)));
    assert!(
        of_engine.contains("the image \"i\" cannot be pulled") && of_engine.contains("check image and"),
        "{of_engine}"
    );
    let of_copy = told(pod(&waits("copy", "ErrImagePull", "")));
    assert!(of_copy.contains("check source.uri and"), "{of_copy}");

    let unknown = told(pod(&waits(
        "e",
        "CreateContainerError",
        r#"failed to generate spec: failed to mkdir "": no such file"#,
    )));
    assert!(
        unknown.starts_with("ImageNotMounted: source.uri: the node's container runtime cannot mount the image \"r.example.com/w:1\""),
        "{unknown}"
    );
    let other = told(pod(&waits("e", "CreateContainerConfigError", "secret not found")));
    assert!(other.starts_with("ContainerConfigInvalid"), "{other}");

    let copied = |code: i32, said: &str| {
        format!(
            "{{initContainerStatuses: [{{name: copy, image: 'r.example.com/w:1', imageID: '', ready: false, restartCount: 2, state: {{waiting: {{reason: CrashLoopBackOff}}}}, lastState: {{terminated: {{exitCode: {code}, message: '{said}'}}}}}}]}}"
        )
    };
    assert_eq!(
        told(pod(&copied(1, "cp: cannot stat x"))),
        "WeightsNotCopied: source.uri: copying the weights out of the image \"r.example.com/w:1\" ended with exit code 1: cp: cannot stat x; name what is in the image after #"
    );
    let without = told(pod(&copied(128, r#"exec: "cp": executable file not found in $PATH"#)));
    assert!(
        without.contains("has no program cp, which copies the weights where images are not mounted"),
        "{without}"
    );
}

#[test]
fn a_fetch_that_fails_is_told_at_the_field_of_what_it_fetches() {
    let said = r#"{"reason": "Unauthorized", "message": "set HF_TOKEN", "timeMayHeal": false}"#;
    for (container, wanted) in [
        ("fetch", "Unauthorized: source.uri: set spec.selfHosted.source.secretRef"),
        (
            "fetch-fraud",
            "Unauthorized: spec.selfHosted.custom.adapters[fraud].source.uri: set spec.selfHosted.custom.adapters[fraud].source.secretRef",
        ),
    ] {
        let ended = format!("terminated: {{exitCode: 1, message: '{said}'}}");
        let status = format!(
            "{{initContainerStatuses: [{{name: {container}, image: i, imageID: '', ready: false, restartCount: 1, state: {{{ended}}}}}]}}"
        );
        assert_eq!(told(&[&status]), wanted);
    }
}

#[test]
fn a_claim_that_is_missing_is_told_at_the_field_that_names_it() {
    let waits = "{conditions: [{type: PodScheduled, status: 'False', message: '0/1 nodes are available: persistentvolumeclaim \"w\" not found. not found'}]}";
    let mut pod = pod(waits);
    let volume = "{name: claim-1a2b, persistentVolumeClaim: {claimName: w}}";
    pod.spec.as_mut().unwrap().volumes = Some(vec![serde_saphyr::from_str(volume).unwrap()]);
    let told = trouble([&pod].into_iter(), &WORDS).unwrap().message;
    assert!(told.ends_with("name another in spec.selfHosted.custom.adapters"), "{told}");
}
