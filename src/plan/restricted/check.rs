//! Whether a pod that a person had a hand in still fits the *restricted* profile, with the field that does not.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, Lifecycle, LifecycleHandler, PodSpec, Probe, SELinuxOptions, SeccompProfile, Volume,
    WindowsSecurityContextOptions,
};

/// What a pod may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) struct Breach {
    /// The field, below what was checked, such as `securityContext.runAsUser`.
    pub(in crate::plan) field: String,
    /// What is wrong with it.
    pub(in crate::plan) problem: String,
    /// What to do about it.
    pub(in crate::plan) remedy: &'static str,
}

/// The one sentence that most remedies are.
const REMOVE: &str = "remove it: pods of models run under the restricted Pod Security profile";

fn breach(field: impl Into<String>, problem: impl Into<String>, remedy: &'static str) -> Option<Breach> {
    Some(Breach {
        field: field.into(),
        problem: problem.into(),
        remedy,
    })
}

/// What of the pod itself, its containers aside, does not fit.
pub(in crate::plan) fn of_pod(pod: &PodSpec) -> Option<Breach> {
    let shared = [
        ("hostNetwork", pod.host_network),
        ("hostPID", pod.host_pid),
        ("hostIPC", pod.host_ipc),
    ];
    if let Some((field, _)) = shared.into_iter().find(|(_, value)| *value == Some(true)) {
        return breach(field, "shares a namespace of the node", REMOVE);
    }
    if pod.ephemeral_containers.is_some() {
        return breach(
            "ephemeralContainers",
            "is not part of a template",
            "remove it, and use `kubectl debug`",
        );
    }
    let context = pod.security_context.clone().unwrap_or_default();
    if context.run_as_non_root != Some(true) {
        return breach("securityContext.runAsNonRoot", "lets containers run as root", REMOVE);
    }
    of_identity(context.run_as_user, None)
        .or_else(|| of_seccomp(context.seccomp_profile.as_ref()))
        .or_else(|| of_kernel(context.se_linux_options.as_ref(), context.app_armor_profile.as_ref()))
        .or_else(|| of_windows(context.windows_options.as_ref()))
        .or_else(|| {
            let unsafe_one = context
                .sysctls
                .iter()
                .flatten()
                .find(|sysctl| !SYSCTLS.contains(&sysctl.name.as_str()))?;
            breach("securityContext.sysctls", format!("{} is not a safe one", unsafe_one.name), REMOVE)
        })
}

/// What of a volume does not fit.
pub(in crate::plan) fn of_volume(volume: &Volume) -> Option<Breach> {
    let fits = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    if fits {
        return None;
    }
    breach(
        "",
        "is not of a kind that the restricted Pod Security profile has",
        "use configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or secret",
    )
}

/// What of a container does not fit.
pub(in crate::plan) fn of_container(container: &Container) -> Option<Breach> {
    let context = container.security_context.clone().unwrap_or_default();
    if context.privileged == Some(true) {
        return breach("securityContext.privileged", "gives the container the whole node", REMOVE);
    }
    if context.allow_privilege_escalation != Some(false) {
        return breach(
            "securityContext.allowPrivilegeEscalation",
            "lets processes gain more rights than they began with",
            "set it to false",
        );
    }
    if context.proc_mount.as_deref().is_some_and(|mount| mount != "Default") {
        return breach("securityContext.procMount", "shows more of the node than the default", REMOVE);
    }
    of_capabilities(context.capabilities.as_ref())
        .or_else(|| of_identity(context.run_as_user, context.run_as_non_root))
        .or_else(|| context.seccomp_profile.as_ref().and_then(|profile| of_seccomp(Some(profile))))
        .or_else(|| of_kernel(context.se_linux_options.as_ref(), context.app_armor_profile.as_ref()))
        .or_else(|| of_windows(context.windows_options.as_ref()))
        .or_else(|| of_network(container))
}

/// Sysctls that are safe: each touches only the pod's own namespaces.
/// Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline>
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn of_capabilities(capabilities: Option<&Capabilities>) -> Option<Breach> {
    let Capabilities { add, drop } = capabilities.cloned().unwrap_or_default();
    if !drop.into_iter().flatten().any(|name| name == "ALL") {
        return breach("securityContext.capabilities.drop", "keeps capabilities", "drop ALL");
    }
    let added = add.into_iter().flatten().find(|name| name != "NET_BIND_SERVICE")?;
    breach(
        "securityContext.capabilities.add",
        format!("adds {added}"),
        "remove it: only NET_BIND_SERVICE may be added",
    )
}

fn of_identity(user: Option<i64>, non_root: Option<bool>) -> Option<Breach> {
    if non_root == Some(false) {
        return breach("securityContext.runAsNonRoot", "lets the container run as root", REMOVE);
    }
    (user == Some(0)).then(|| breach("securityContext.runAsUser", "is root", "use another number, or remove it"))?
}

fn of_seccomp(profile: Option<&SeccompProfile>) -> Option<Breach> {
    let fits = profile.is_some_and(|profile| ["RuntimeDefault", "Localhost"].contains(&profile.type_.as_str()));
    if fits {
        return None;
    }
    breach(
        "securityContext.seccompProfile.type",
        "does not filter system calls",
        "use RuntimeDefault or Localhost",
    )
}

fn of_kernel(se_linux: Option<&SELinuxOptions>, app_armor: Option<&AppArmorProfile>) -> Option<Breach> {
    const TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    if let Some(options) = se_linux {
        let fits = TYPES.contains(&options.type_.as_deref().unwrap_or_default()) && options.user.is_none() && options.role.is_none();
        if !fits {
            return breach("securityContext.seLinuxOptions", "leaves the confinement of containers", REMOVE);
        }
    }
    let profile = app_armor.filter(|profile| !["RuntimeDefault", "Localhost"].contains(&profile.type_.as_str()))?;
    breach(
        "securityContext.appArmorProfile.type",
        format!("{:?} does not confine", profile.type_),
        "use RuntimeDefault or Localhost",
    )
}

fn of_windows(options: Option<&WindowsSecurityContextOptions>) -> Option<Breach> {
    let on_host = options.is_some_and(|options| options.host_process == Some(true));
    on_host.then(|| breach("securityContext.windowsOptions.hostProcess", "runs on the node itself", REMOVE))?
}

/// Ports of the node, and probes and hooks that the kubelet would send elsewhere.
fn of_network(container: &Container) -> Option<Breach> {
    let on_node = |port: &i32| *port != 0;
    let mut ports = container.ports.iter().flatten();
    if let Some(index) = ports.position(|port| port.host_port.as_ref().is_some_and(on_node)) {
        return breach(format!("ports[{index}].hostPort"), "takes a port of the node", REMOVE);
    }
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
    ];
    let of_probe = |(name, probe): (&str, &Option<Probe>)| {
        let probe = probe.as_ref()?;
        let http = probe.http_get.as_ref().and_then(|get| get.host.as_ref());
        let tcp = probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
        elsewhere(name, http.is_some(), tcp.is_some())
    };
    let Lifecycle { post_start, pre_stop, .. } = container.lifecycle.clone().unwrap_or_default();
    let of_hook = |(name, hook): (&str, Option<LifecycleHandler>)| {
        let hook = hook?;
        let http = hook.http_get.and_then(|get| get.host);
        let tcp = hook.tcp_socket.and_then(|socket| socket.host);
        elsewhere(name, http.is_some(), tcp.is_some())
    };
    let hooks = [("lifecycle.postStart", post_start), ("lifecycle.preStop", pre_stop)];
    probes
        .into_iter()
        .find_map(of_probe)
        .or_else(|| hooks.into_iter().find_map(of_hook))
}

fn elsewhere(name: &str, http: bool, tcp: bool) -> Option<Breach> {
    let field = match (http, tcp) {
        (true, _) => "httpGet",
        (_, true) => "tcpSocket",
        _ => return None,
    };
    breach(
        format!("{name}.{field}.host"),
        "sends the kubelet to another host than the pod",
        REMOVE,
    )
}
