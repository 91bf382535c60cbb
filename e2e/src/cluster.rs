//! A Kubernetes for tests: that of `KUBECONFIG`, or our own on this machine.
//!
//! - `layout`: addresses and files
//! - `pki`, `configuration`: keys, and what each part is told
//! - `network`: links, routes, cgroups
//! - `parts`: the processes, and what tests do to them
//! - `lifecycle`: up and down
//! - `local`: our cluster while it runs

// Tests look at the API server from outside; the operator's one door is not theirs.
#![allow(clippy::disallowed_types)]

mod configuration;
mod layout;
mod lifecycle;
mod local;
mod network;
mod parts;
mod pki;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub use layout::{CONTROL_PLANE, HOST};
pub use lifecycle::{Shape, down, up};
pub use local::Local;
pub use parts::{Parts, State};
pub(crate) use pki::self_signed;

use crate::assets::{self, Lock};
use crate::image::Image;
use crate::kubectl::Kubectl;
use crate::namespace::Namespace;

/// A cluster in use by a test. While it is held, no test that breaks parts runs, or this is the one.
pub struct Cluster {
    client: Client,
    kubectl: Kubectl,
    local: Option<Local>,
    is_alone: bool,
    _in_use: File,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.is_alone
            && let Some(local) = &self.local
            && let Err(error) = local.restore()
        {
            eprintln!("the cluster stays broken, the next test replaces it: {error:#}");
        }
    }
}

impl Cluster {
    /// The cluster of `KUBECONFIG`, else ours, started when none runs. Shared with other tests.
    pub async fn connect() -> Result<Self> {
        Self::acquire(Lock::Shared, 1).await
    }

    /// As [`Cluster::connect`], for a test that breaks parts: it waits for the others and they wait for it. What it broke is
    /// started, thawed and healed when the value is dropped.
    pub async fn alone() -> Result<Self> {
        Self::acquire(Lock::Alone, 1).await
    }

    /// As [`Cluster::alone`], with at least so many nodes when the cluster is ours.
    pub async fn alone_with_nodes(nodes: usize) -> Result<Self> {
        Self::acquire(Lock::Alone, nodes).await
    }

    async fn acquire(how: Lock, nodes: usize) -> Result<Self> {
        let in_use = assets::lock(assets::cache()?.join("use.lock"), how).await?;
        let given = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        // The KUBECONFIG that `e2e env` prints means our cluster, parts and all.
        let given = given.filter(|path| !path.starts_with(assets::cache().unwrap_or_default().join("run")));
        let (kubeconfig, local) = match given {
            Some(path) => (path, None),
            None => {
                let local = up(Shape { nodes, ..Shape::default() }).await?;
                (local.kubeconfig(), Some(local))
            }
        };
        let client = client_of(&kubeconfig).await?;
        let kubectl = Kubectl::new(&kubeconfig).await?;
        Ok(Self {
            client,
            kubectl,
            local,
            is_alone: matches!(how, Lock::Alone),
            _in_use: in_use,
        })
    }

    /// Whether no other test uses it meanwhile.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `kubectl` for this cluster.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Our own cluster's parts, images and audit log; none when `KUBECONFIG` names another cluster, where such tests
    /// [`skip`](crate::skip) themselves.
    pub fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    /// Makes an image available to pods. With another cluster's `KUBECONFIG` it must be there already.
    pub async fn load_image(&self, image: &Image) -> Result<()> {
        match &self.local {
            Some(local) => local.load_image(image).await,
            None => Ok(()),
        }
    }

    /// A fresh namespace whose name begins with `hint`; it goes when the value is dropped.
    pub async fn namespace(&self, hint: &str) -> Result<Namespace> {
        Namespace::create(self.client(), self.kubectl.clone(), hint).await
    }
}

/// A client for a kubeconfig, whatever the environment says.
pub(crate) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("kubeconfig {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
