//! The host's side of the network and the cgroups: the link into the cluster, routes, and how to cut a node off.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::layout::{CGROUP, CONTROL_PLANE, HOST, LINK, RANGE, SERVICES, node_address, node_name, pod_subnet};
use super::parts::Parts;
use crate::command::{find, output};

const DEADLINE: Duration = Duration::from_secs(10);
/// While the cluster is down, nothing for its addresses may leave by the default route. Any real route wins over this metric.
const FENCE: [&str; 4] = ["unreachable", RANGE, "metric", "4000000000"];
/// The words that list exactly such routes.
const FENCE_FILTER: [&str; 4] = ["type", "unreachable", "exact", RANGE];

/// Links the host to node 1, whose process is `first`.
pub(crate) async fn link_host(parts: &Parts) -> Result<()> {
    let first = parts.pid("node@1")?.to_string();
    ip(&[&["route", "replace"], FENCE.as_slice()].concat()).await?;
    ip(&["link", "add", LINK, "type", "veth", "peer", "name", "host0", "netns", &first]).await?;
    ip(&["addr", "add", &format!("{HOST}/24"), "dev", LINK]).await?;
    ip(&["link", "set", LINK, "up"]).await?;
    inside(parts, 1, &["ip", "link", "set", "host0", "master", "br0", "up"]).await?;
    ip(&["route", "replace", SERVICES, "via", CONTROL_PLANE, "dev", LINK]).await?;
    route_pods(1).await
}

/// Links a further node to node 1's bridge, and teaches all nodes and the host where its pods are.
pub(crate) async fn link_node(parts: &Parts, node: usize) -> Result<()> {
    let (first, this) = (parts.pid("node@1")?.to_string(), parts.pid(&format!("node@{node}"))?.to_string());
    let wire = wire(node);
    ip(&["link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &this]).await?;
    ip(&["link", "set", &wire, "netns", &first]).await?;
    inside(parts, 1, &["ip", "link", "set", &wire, "master", "br0", "up"]).await?;
    inside(parts, node, &["ip", "link", "set", "eth0", "master", "br0", "up"]).await?;
    for other in 1..node {
        inside(
            parts,
            node,
            &["ip", "route", "replace", &pod_subnet(other), "via", &node_address(other)],
        )
        .await?;
        inside(
            parts,
            other,
            &["ip", "route", "replace", &pod_subnet(node), "via", &node_address(node)],
        )
        .await?;
    }
    route_pods(node).await
}

/// Sets a further node's link up or down.
pub(crate) async fn set_link(parts: &Parts, node: usize, up: bool) -> Result<()> {
    inside(parts, 1, &["ip", "link", "set", &wire(node), if up { "up" } else { "down" }]).await
}

/// Removes what is left in the host's network; the namespaces take the rest with them.
pub(crate) async fn unlink_host() -> Result<()> {
    if Path::new("/sys/class/net").join(LINK).exists() {
        // The kernel may remove it with its peer between the look and the command.
        ip(&["link", "del", LINK]).await.ok();
    }
    if output(Command::new("ip").args(["route", "show"]).args(FENCE_FILTER), DEADLINE)
        .await?
        .contains("unreachable")
    {
        ip(&[&["route", "del"], FENCE.as_slice()].concat()).await?;
    }
    Ok(())
}

/// Loads what Debian's kernel has as a module. Where it is built in, or we may not, the parts will say what they miss.
pub(crate) async fn load_modules() {
    if !Path::new("/proc/sys/net/bridge").exists()
        && let Some(modprobe) = find("modprobe")
    {
        Command::new(modprobe)
            .args(["-a", "-q", "br_netfilter", "overlay"])
            .status()
            .await
            .ok();
    }
}

/// Makes the cgroup of a node, in every hierarchy of version 1 or in the one of version 2.
pub(crate) fn make_cgroups(node: usize) -> Result<()> {
    let ours = Path::new(CGROUP);
    for hierarchy in hierarchies()? {
        let mut parent = hierarchy.clone();
        for part in [ours, Path::new(&node_name(node))] {
            if is_cgroup_v2() {
                delegate(&parent)?;
            }
            let group = parent.join(part);
            std::fs::create_dir_all(&group).with_context(|| format!("{} cannot be made", group.display()))?;
            // In version 1 a cpuset without processors takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if !is_cgroup_v2() && group.join(file).exists() {
                    std::fs::write(group.join(file), std::fs::read(parent.join(file))?)?;
                }
            }
            parent = group;
        }
        if is_cgroup_v2() {
            delegate(&parent)?;
        }
    }
    Ok(())
}

/// Removes the cgroups of all nodes, which are empty by now.
pub(crate) fn remove_cgroups() -> Result<()> {
    for hierarchy in hierarchies()? {
        let ours = hierarchy.join(CGROUP);
        if ours.is_dir() {
            remove_tree(&ours)?;
        }
    }
    Ok(())
}

pub(crate) fn is_cgroup_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn hierarchies() -> Result<Vec<std::path::PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if is_cgroup_v2() {
        return Ok(vec![root.to_owned()]);
    }
    let names = [
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "systemd",
    ];
    Ok(names
        .iter()
        .map(|name| root.join(name))
        .filter(|hierarchy| hierarchy.is_dir())
        .collect())
}

/// Lets the children of a version 2 group use every controller it has.
fn delegate(group: &Path) -> Result<()> {
    for controller in std::fs::read_to_string(group.join("cgroup.controllers"))?.split_whitespace() {
        std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))
            .with_context(|| format!("controller {controller} of {}", group.display()))?;
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<()> {
    for entry in std::fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group).with_context(|| format!("cgroup {} is in use", group.display()))
}

async fn route_pods(node: usize) -> Result<()> {
    ip(&["route", "replace", &pod_subnet(node), "via", &node_address(node), "dev", LINK]).await
}

fn wire(node: usize) -> String {
    format!("wire{node}")
}

/// Runs a command in the mount and network namespaces of a node.
pub(crate) async fn inside(parts: &Parts, node: usize, command: &[&str]) -> Result<()> {
    let holder = parts.pid(&format!("node@{node}"))?.to_string();
    output(
        Command::new("nsenter").args(["-t", &holder, "-m", "-n", "--"]).args(command),
        DEADLINE,
    )
    .await?;
    Ok(())
}

async fn ip(arguments: &[&str]) -> Result<()> {
    output(Command::new("ip").args(arguments), DEADLINE).await?;
    Ok(())
}
