//! Processes of the cluster and of the product, and what /proc says they need. For our own cluster only: another's are out of sight.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Local};
use crate::portfolio::NAMESPACE;
use crate::until;

/// A process, as /proc shows it.
pub(crate) struct Process {
    folder: PathBuf,
}

/// What it needs.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// KiB.
    pub(crate) resident: u64,
    /// KiB.
    pub(crate) peak: u64,
    /// Seconds, of user and system.
    pub(crate) cpu: f64,
}

impl Process {
    /// A fresh operator: what an earlier one had to remember would be measured with it.
    pub(crate) async fn fresh_operator(cluster: &Cluster, local: &Local) -> Result<Self> {
        let kubectl = async |arguments: &[&str]| cluster.kubectl().run(&[&["-n", NAMESPACE], arguments].concat()).await;
        kubectl(&["rollout", "restart", "deployment/llm-portfolio-operator"]).await?;
        kubectl(&["rollout", "status", "deployment/llm-portfolio-operator", "--timeout=120s"]).await?;
        until("one operator is left", Duration::from_secs(60), async || {
            let mut found = Self::of_component(cluster, local, "operator").await?;
            ensure!(found.len() == 1, "{} operators", found.len());
            Ok(found.pop())
        })
        .await
    }

    async fn of_component(cluster: &Cluster, local: &Local, component: &str) -> Result<Vec<Self>> {
        let path = "jsonpath={.items[*].status.containerStatuses[0].containerID}";
        let label = format!("app.kubernetes.io/component={component}");
        let ids = cluster
            .kubectl()
            .run(&["-n", NAMESPACE, "get", "pods", "-l", &label, "-o", path])
            .await?;
        let mut found = vec![];
        for id in ids.split_whitespace() {
            found.push(Self {
                folder: local.process(id).await?,
            });
        }
        Ok(found)
    }

    /// Everything that works while ModelDeployments become Ready, by name.
    pub(crate) async fn all(cluster: &Cluster, local: &Local) -> Result<Vec<(String, Self)>> {
        let mut all = vec![(
            "this program".to_owned(),
            Self {
                folder: "/proc/self".into(),
            },
        )];
        for name in local.parts().names()? {
            // One that ended uses nothing.
            let Ok(pid) = local.parts().pid(&name) else { continue };
            let folder = format!("/proc/{pid}").into();
            all.push((name, Self { folder }));
        }
        for component in ["operator", "gateway"] {
            let pods = Self::of_component(cluster, local, component).await?;
            all.extend(pods.into_iter().map(|process| (component.to_owned(), process)));
        }
        Ok(all)
    }

    /// What it needs now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let read = |file: &str| std::fs::read_to_string(self.folder.join(file)).with_context(|| format!("{} ended", self.folder.display()));
        let (status, stat) = (read("status")?, read("stat")?);
        let kib = |field: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
        };
        // After the name in parentheses; user and system time in hundredths of a second.
        let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = numbers.filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Usage {
            resident: kib("VmRSS:").context("no VmRSS")?,
            peak: kib("VmHWM:").context("no VmHWM")?,
            cpu: ticks as f64 / 100.0,
        })
    }
}
