//! What the *restricted* Pod Security profile asks of every pod of ours, and a read-only root beside it.
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

pub(super) mod check;

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// Nobody's user: our images need none of their own.
const USER: i64 = 65532;

/// For the pod.
pub(super) fn pod() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// For each of its containers.
pub(super) fn container() -> SecurityContext {
    SecurityContext {
        read_only_root_filesystem: Some(true),
        ..sidecar()
    }
}

/// For a container whose image somebody else chose: what the profile asks, and no more.
pub(super) fn sidecar() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}
