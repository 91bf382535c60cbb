//! What a pod template adds and overrides, and what it may not.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use crate::plan::restricted::check;

use super::super::tests::planned;

fn templated(template: &str) -> Result<PodTemplateSpec, String> {
    let template: Value = serde_saphyr::from_str(template).unwrap();
    let spec = format!("{{selfHosted: {{engine: {{kind: LlamaCpp}}, accelerator: {{profile: nvidia-l4}}, podTemplate: {template}}}}}");
    planned(&spec).map(|serving| serving.deployment().spec.unwrap().template)
}

#[test]
fn it_adds_and_overrides_and_removes_nothing() {
    let template = templated(
        "
metadata: {labels: {team: claims}, annotations: {example.com/note: hello}}
spec:
  priorityClassName: high
  nodeSelector: {zone: a}
  tolerations: [{key: spot, operator: Exists}]
  imagePullSecrets: [{name: registry}]
  volumes:
  - {name: cache, persistentVolumeClaim: {claimName: downloads}}
  - {name: shm, emptyDir: {sizeLimit: 4Gi}}
  - {name: logs, emptyDir: {}}
  initContainers:
  - {name: hello, image: 'registry.example.com/hello:1'}
  containers:
  - name: engine
    image: registry.example.com/other:2
    env: [{name: HOME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: MORE, value: more}]
    resources: {limits: {memory: 16Gi, cpu: 4}}
    securityContext: {readOnlyRootFilesystem: false}
    readinessProbe: {exec: {command: ['true']}}
    lifecycle: {preStop: {exec: {command: [sleep, '9']}}}
    volumeMounts: [{name: logs, mountPath: /logs}]
  - name: shipper
    image: registry.example.com/shipper:1
    securityContext: {capabilities: {add: [NET_BIND_SERVICE]}}
    volumeMounts: [{name: logs, mountPath: /logs, readOnly: true}]
",
    )
    .unwrap();
    assert_eq!(check::of_pod(template.spec.as_ref().unwrap()), None);
    insta::assert_yaml_snapshot!("merged", template);
}

#[test]
fn an_empty_one_changes_nothing() {
    assert_eq!(templated("{}"), templated("null"));
    assert_eq!(templated("{spec: {}, metadata: {}}"), templated("null"));
}

#[test]
fn what_kubernetes_does_not_know_is_refused_with_its_place() {
    for (template, words) in [
        (
            "{spec: {contaners: []}}",
            "spec.selfHosted.podTemplate.spec.contaners: Kubernetes knows no such field; correct its name, or remove it",
        ),
        (
            "{spec: {containers: [{name: a}, {name: engine, env: [{name: A, valueFrom: {secretRef: {name: s}}}]}]}}",
            "spec.selfHosted.podTemplate.spec.containers[1].env[0].valueFrom.secretRef: Kubernetes knows no such field",
        ),
        (
            "{spec: {containers: [{name: engine, $patch: delete}]}}",
            "spec.selfHosted.podTemplate.spec.containers[0].$patch: Kubernetes knows no such field",
        ),
        (
            "{spec: {containers: [{name: a}, {name: engine, ports: [{containerPort: '80'}]}]}}",
            "spec.selfHosted.podTemplate.spec.containers[1].ports[0].containerPort: invalid type: string \"80\", expected i32; correct it",
        ),
        (
            "{spec: {nodeSelector: {gpu: true}}}",
            "spec.selfHosted.podTemplate.spec.nodeSelector.gpu: invalid type: boolean `true`, expected a string; put it in quotes",
        ),
        (
            "{metadata: {annotations: {example.com/a: 1}}}",
            "spec.selfHosted.podTemplate.metadata.annotations[example.com/a]: invalid type: integer `1`, expected a string; put it in quotes",
        ),
        (
            "{spec: {tolerations: null}}",
            "spec.selfHosted.podTemplate.spec.tolerations: is null, which removes nothing here; remove the line",
        ),
        (
            "{containers: []}",
            "spec.selfHosted.podTemplate.containers: is not part of a pod template; write metadata or spec",
        ),
        (
            "{metadata: {name: x}}",
            "spec.selfHosted.podTemplate.metadata.name: is not the template's to say",
        ),
    ] {
        let refused = templated(template).unwrap_err();
        assert!(refused.starts_with(words), "{refused}");
    }
}

#[test]
fn what_must_hold_is_said_with_its_place() {
    for (template, words) in [
        (
            "{metadata: {labels: {llmportfolio.dev/model: other}}}",
            "metadata.labels[llmportfolio.dev/model]: is the operator's, which needs it to be \"triage\"; remove it",
        ),
        (
            "{metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/engine: unconfined}}}",
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/engine]: does not confine",
        ),
        (
            "{spec: {containers: [{image: i}]}}",
            "spec.containers[0].name: is required; name it; engine is the operator's own",
        ),
        (
            "{spec: {containers: [{name: engine, ports: [{containerPort: 8080, name: web}]}]}}",
            "spec.containers[0].ports: the engine's port must stay the only one named \"http\"; give other ports",
        ),
        (
            "{spec: {containers: [{name: a}, {name: b, ports: [{containerPort: 80, name: http}]}]}}",
            "spec.containers[1].ports: the engine's port must stay",
        ),
        (
            "{spec: {automountServiceAccountToken: true}}",
            "spec.automountServiceAccountToken: would give the engine the token of the namespace's default account; remove it",
        ),
        (
            "{spec: {volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}}",
            "spec.volumes[0].projected: would give the engine a token of the namespace's default account; remove serviceAccountToken",
        ),
        (
            "{spec: {terminationGracePeriodSeconds: 1}}",
            "spec.terminationGracePeriodSeconds: is 1, and open answers get ",
        ),
        (
            "{spec: {hostNetwork: true}}",
            "spec.hostNetwork: shares a namespace of the node; remove it",
        ),
        ("{spec: {hostPID: true}}", "spec.hostPID: "),
        ("{spec: {hostIPC: true}}", "spec.hostIPC: "),
        ("{spec: {ephemeralContainers: [{name: x}]}}", "spec.ephemeralContainers: "),
        (
            "{spec: {securityContext: {runAsNonRoot: false}}}",
            "spec.securityContext.runAsNonRoot: lets containers run as root",
        ),
        (
            "{spec: {securityContext: {runAsUser: 0}}}",
            "spec.securityContext.runAsUser: is root",
        ),
        (
            "{spec: {securityContext: {seccompProfile: {type: Unconfined}}}}",
            "spec.securityContext.seccompProfile.type: does not filter system calls; use RuntimeDefault or Localhost",
        ),
        (
            "{spec: {securityContext: {seLinuxOptions: {type: spc_t}}}}",
            "spec.securityContext.seLinuxOptions: ",
        ),
        (
            "{spec: {securityContext: {appArmorProfile: {type: Unconfined}}}}",
            "spec.securityContext.appArmorProfile.type: ",
        ),
        (
            "{spec: {securityContext: {windowsOptions: {hostProcess: true}}}}",
            "spec.securityContext.windowsOptions.hostProcess: ",
        ),
        (
            "{spec: {securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}}",
            "spec.securityContext.sysctls: kernel.msgmax is not a safe one",
        ),
        (
            "{spec: {volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}]}}",
            "spec.volumes[1]: is not of a kind that the restricted Pod Security profile has; use configMap",
        ),
        (
            "{spec: {volumes: [{name: cache, hostPath: {path: /}}]}}",
            "spec.volumes[0]: is not of a kind",
        ),
        (
            "{spec: {containers: [{name: a}, {name: engine, securityContext: {privileged: true}}]}}",
            "spec.containers[1].securityContext.privileged: gives the container the whole node",
        ),
        (
            "{spec: {initContainers: [{name: a, securityContext: {allowPrivilegeEscalation: true}}]}}",
            "spec.initContainers[0].securityContext.allowPrivilegeEscalation: ",
        ),
        (
            "{spec: {containers: [{name: a, securityContext: {capabilities: {drop: [CHOWN]}}}]}}",
            "spec.containers[0].securityContext.capabilities.drop: keeps capabilities; drop ALL",
        ),
        (
            "{spec: {containers: [{name: engine, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}}",
            "spec.containers[0].securityContext.capabilities.add: adds SYS_ADMIN; remove it: only NET_BIND_SERVICE",
        ),
        (
            "{spec: {containers: [{name: a, securityContext: {runAsNonRoot: false}}]}}",
            "spec.containers[0].securityContext.runAsNonRoot: ",
        ),
        (
            "{spec: {containers: [{name: a, securityContext: {runAsUser: 0}}]}}",
            "spec.containers[0].securityContext.runAsUser: ",
        ),
        (
            "{spec: {containers: [{name: a, securityContext: {seccompProfile: {type: Unconfined}}}]}}",
            "spec.containers[0].securityContext.seccompProfile.type: ",
        ),
        (
            "{spec: {containers: [{name: a, securityContext: {procMount: Unmasked}}]}}",
            "spec.containers[0].securityContext.procMount: ",
        ),
        (
            "{spec: {containers: [{name: engine, ports: [{containerPort: 8080, hostPort: 80}]}]}}",
            "spec.containers[0].ports[0].hostPort: takes a port of the node",
        ),
        (
            "{spec: {containers: [{name: engine, livenessProbe: {httpGet: {host: example.com}}}]}}",
            "spec.containers[0].livenessProbe.httpGet.host: sends the kubelet to another host",
        ),
        (
            "{spec: {containers: [{name: a, lifecycle: {postStart: {tcpSocket: {host: example.com, port: 1}}}}]}}",
            "spec.containers[0].lifecycle.postStart.tcpSocket.host: ",
        ),
    ] {
        let refused = templated(template).unwrap_err();
        let words = format!("spec.selfHosted.podTemplate.{words}");
        assert!(refused.starts_with(&words), "{refused}\nis not\n{words}");
    }
}

#[test]
fn what_the_restricted_profile_has_may_be_added() {
    for template in [
        "{spec: {volumes: [{name: v, image: {reference: models/smol}}]}}",
        "{spec: {volumes: [{name: v, csi: {driver: d}}, {name: w, secret: {secretName: s}}]}}",
        "{spec: {terminationGracePeriodSeconds: 900}}",
    ] {
        assert!(templated(template).is_ok(), "{template}: {:?}", templated(template));
    }
}

#[test]
fn a_token_is_given_to_who_names_the_account() {
    let template = templated("{spec: {automountServiceAccountToken: true, serviceAccountName: reader}}").unwrap();
    assert_eq!(template.spec.unwrap().automount_service_account_token, Some(true));
}
