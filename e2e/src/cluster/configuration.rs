//! The files and command lines of the parts: what each is told, and why where it is not obvious.

use std::path::Path;

use anyhow::Result;

use super::layout::{CGROUP, CONTROL_PLANE, Layout, PODS, SERVICES, node_address, node_name, pod_subnet};

/// Files that all nodes share.
pub(crate) fn write_shared(layout: &Layout) -> Result<()> {
    std::fs::write(
        layout.config("audit.yaml"),
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n",
    )?;
    let proxy = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {PODS}
clientConnection: {{kubeconfig: \"{}\"}}
# The limits of conntrack are the machine's, not ours to set.
conntrack: {{maxPerCore: 0, min: 0}}
",
        layout.kubeconfig("kube-proxy").display()
    );
    Ok(std::fs::write(layout.config("proxy.yaml"), proxy)?)
}

/// Files of one node.
pub(crate) fn write_node(layout: &Layout, node: usize, cgroup_driver_v1: bool) -> Result<()> {
    let folder = layout.node(node);
    let d = folder.display();
    // Root without CAP_SYS_RESOURCE may not lower an OOM score: without `restrict_oom_score_adj` every sandbox dies.
    let containerd = format!(
        r#"version = 2
root = "{d}/containerd"
state = "/run/containerd-e2e"
[grpc]
  address = "{d}/containerd.sock"
[ttrpc]
  address = "{d}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{d}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{d}/cni/net.d"
"#
    );
    std::fs::write(folder.join("containerd.toml"), containerd)?;
    let network = serde_json::json!({
        "cniVersion": "1.0.0", "name": "e2e",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": pod_subnet(node)}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }],
    });
    std::fs::write(folder.join("cni/net.d/e2e.conflist"), network.to_string())?;
    let (address, name) = (node_address(node), node_name(node));
    let pki = |file: &str| layout.pki(file).display().to_string();
    let kubelet = format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: {fail_v1}
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}/{name}
containerRuntimeEndpoint: \"unix://{d}/containerd.sock\"
address: {address}
tlsCertFile: \"{certificate}\"
tlsPrivateKeyFile: \"{key}\"
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: \"{ca}\"}}}}
authorization: {{mode: Webhook}}
clusterDNS: [{CONTROL_PLANE}]
clusterDomain: cluster.local
resolvConf: \"\"
podLogsDir: /var/log/pods
# The disk is the machine's: never evict or collect images because of it.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {{memory.available: 100Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}}
nodeStatusUpdateFrequency: 1s
",
        fail_v1 = !cgroup_driver_v1,
        certificate = pki(&format!("kubelet-{node}.crt")),
        key = pki(&format!("kubelet-{node}.key")),
        ca = pki("ca.crt"),
    );
    Ok(std::fs::write(folder.join("kubelet.yaml"), kubelet)?)
}

/// One part's command line.
pub(crate) type CommandLine = Vec<String>;

pub(crate) fn etcd(layout: &Layout) -> CommandLine {
    // A crash of the machine may lose the cluster; a crash of etcd may not, and does not.
    command(
        &layout.bin().join("etcd"),
        [
            "--name",
            "e2e",
            "--data-dir",
            &layout.root().join("etcd").to_string_lossy(),
            "--unsafe-no-fsync",
            "--log-level",
            "warn",
        ],
    )
}

pub(crate) fn apiserver(layout: &Layout) -> CommandLine {
    let pki = |file: &str| layout.pki(file).display().to_string();
    command(
        &layout.bin().join("kube-apiserver"),
        [
            "--etcd-servers=http://127.0.0.1:2379",
            "--secure-port=6443",
            "--bind-address=0.0.0.0",
            &format!("--advertise-address={CONTROL_PLANE}"),
            &format!("--tls-cert-file={}", pki("apiserver.crt")),
            &format!("--tls-private-key-file={}", pki("apiserver.key")),
            &format!("--client-ca-file={}", pki("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            &format!("--service-account-key-file={}", pki("tokens.pub")),
            &format!("--service-account-signing-key-file={}", pki("tokens.key")),
            &format!("--service-cluster-ip-range={SERVICES}"),
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            &format!("--kubelet-client-certificate={}", pki("api-to-kubelet.crt")),
            &format!("--kubelet-client-key={}", pki("api-to-kubelet.key")),
            &format!("--kubelet-certificate-authority={}", pki("ca.crt")),
            "--kubelet-preferred-address-types=InternalIP",
            // Others may answer for API groups of theirs; they believe whoever shows this certificate about who is asking.
            &format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
            &format!("--proxy-client-key-file={}", pki("front-proxy.key")),
            &format!("--requestheader-client-ca-file={}", pki("front-proxy.crt")),
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            &format!("--audit-policy-file={}", layout.config("audit.yaml").display()),
            &format!("--audit-log-path={}", layout.audit_log().display()),
            // One file, so that an offset into it stays true; at 25 requests a second it lasts for days.
            "--audit-log-maxsize=4000",
        ],
    )
}

pub(crate) fn controller_manager(layout: &Layout) -> CommandLine {
    let pki = |file: &str| layout.pki(file).display().to_string();
    let mut line = with_kubeconfig(layout, "kube-controller-manager");
    line.extend([
        format!("--service-account-private-key-file={}", pki("tokens.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        "--use-service-account-credentials".to_owned(),
        // A dead kubelet shows within seconds instead of most of a minute.
        "--node-monitor-grace-period=8s".to_owned(),
        // A third of the default: tests wait for autoscalers.
        "--horizontal-pod-autoscaler-sync-period=5s".to_owned(),
    ]);
    line
}

pub(crate) fn scheduler(layout: &Layout) -> CommandLine {
    with_kubeconfig(layout, "kube-scheduler")
}

fn with_kubeconfig(layout: &Layout, part: &str) -> CommandLine {
    let kubeconfig = layout.kubeconfig(part).display().to_string();
    command(
        &layout.bin().join(part),
        [
            &format!("--kubeconfig={kubeconfig}"),
            &format!("--authentication-kubeconfig={kubeconfig}"),
            &format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false",
            // The default of 20 requests a second would be what a test of hundreds of objects measures.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--bind-address=127.0.0.1",
        ],
    )
}

pub(crate) fn dns(layout: &Layout) -> CommandLine {
    command(
        &layout.bin().join("dns"),
        [&format!("{CONTROL_PLANE}:53"), &*layout.kubeconfig("dns").to_string_lossy()],
    )
}

pub(crate) fn policies(layout: &Layout, node: usize) -> CommandLine {
    command(
        &layout.bin().join("e2e"),
        ["policies", &*layout.kubeconfig("policies").to_string_lossy(), &node_name(node)],
    )
}

pub(crate) fn containerd(layout: &Layout, program: &Path, node: usize) -> CommandLine {
    command(program, ["--config", &*layout.node(node).join("containerd.toml").to_string_lossy()])
}

pub(crate) fn kubelet(layout: &Layout, node: usize) -> CommandLine {
    command(
        &layout.bin().join("kubelet"),
        [
            &format!("--config={}", layout.node(node).join("kubelet.yaml").display()),
            &format!("--kubeconfig={}", layout.kubeconfig(&format!("kubelet-{node}")).display()),
            &format!("--hostname-override={}", node_name(node)),
            &format!("--node-ip={}", node_address(node)),
        ],
    )
}

pub(crate) fn proxy(layout: &Layout, node: usize) -> CommandLine {
    command(
        &layout.bin().join("kube-proxy"),
        [
            &format!("--config={}", layout.config("proxy.yaml").display()),
            &format!("--hostname-override={}", node_name(node)),
        ],
    )
}

pub(crate) fn fake_gpus(layout: &Layout, node: usize, gpus: usize) -> CommandLine {
    command(
        &layout.bin().join("fakegpu"),
        [&gpus.to_string(), &*layout.gpus(node).to_string_lossy()],
    )
}

fn command<S: AsRef<str>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> CommandLine {
    std::iter::once(program.display().to_string())
        .chain(arguments.into_iter().map(|a| a.as_ref().to_owned()))
        .collect()
}
