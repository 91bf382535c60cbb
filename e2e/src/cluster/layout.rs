//! Where everything of the local cluster is: addresses and files. Nothing here touches the machine.
//!
//! All addresses are of the benchmark range 198.18.0.0/15, which no real network uses:
//! services 198.18.0.0/16, pods of node N 198.19.(N-1).0/24, node N 198.19.128.N, this host 198.19.128.254.

use std::path::{Path, PathBuf};

/// Node 1, where the API server, the DNS and host-network listeners are.
pub const CONTROL_PLANE: &str = "198.19.128.1";
/// This host as nodes see it. Pods may not open connections to it.
pub const HOST: &str = "198.19.128.254";
/// Everything of ours.
pub(crate) const RANGE: &str = "198.18.0.0/15";
pub(crate) const SERVICES: &str = "198.18.0.0/16";
pub(crate) const PODS: &str = "198.19.0.0/17";
/// The first service address: `kubernetes.default`.
pub(crate) const KUBERNETES_SERVICE: &str = "198.18.0.1";
/// The host's end of the link into the cluster; also how a cluster of another folder is noticed.
pub(crate) const LINK: &str = "portfolio0";
/// The cgroup of all nodes.
pub(crate) const CGROUP: &str = "portfolio-e2e";
/// Nodes that fit the addresses above and the fixed names of links.
pub(crate) const MAX_NODES: usize = 9;

pub(crate) fn node_name(node: usize) -> String {
    format!("n{node}")
}

pub(crate) fn node_address(node: usize) -> String {
    format!("198.19.128.{node}")
}

pub(crate) fn pod_subnet(node: usize) -> String {
    format!("198.19.{}.0/24", node - 1)
}

/// The folder of a running cluster. It is gone when the cluster is.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(cache: &Path) -> Self {
        Self { root: cache.join("run") }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.root.join("log").join(format!("{part}.log"))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.root.join("log/audit.json")
    }

    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.root.join("pki").join(file)
    }

    pub(crate) fn config(&self, file: &str) -> PathBuf {
        self.root.join("config").join(file)
    }

    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.config(&format!("{user}.kubeconfig"))
    }

    pub(crate) fn node(&self, node: usize) -> PathBuf {
        self.root.join(node_name(node))
    }

    pub(crate) fn containerd_socket(&self, node: usize) -> PathBuf {
        self.node(node).join("containerd.sock")
    }

    /// A file here makes a fake GPU sick.
    pub(crate) fn gpus(&self, node: usize) -> PathBuf {
        self.node(node).join("gpu")
    }

    pub(crate) fn gpu_count(&self, node: usize) -> PathBuf {
        self.node(node).join("gpu-count")
    }
}
