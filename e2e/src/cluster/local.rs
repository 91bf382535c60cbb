//! The local cluster while it runs: its images, parts, GPUs, audit log, and sockets inside its network.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::Command;

use super::layout::{CONTROL_PLANE, Layout};
use super::network;
use super::parts::Parts;
use crate::assets::{self, Lock, lock};
use crate::audit::Audit;
use crate::command::output;
use crate::image::Image;

/// Importing 250 MB takes seconds, and longer while the machine compiles.
const IMPORT: Duration = Duration::from_secs(180);

/// Our own cluster on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    layout: Layout,
}

impl Local {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// The cluster that an earlier `up` of any process left running, healthy or not.
    pub fn running() -> Result<Option<Self>> {
        let layout = Layout::new(&assets::cache()?);
        Ok(layout.root().exists().then_some(Self { layout }))
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig("admin")
    }

    /// The folder with `kubectl` and the other programs of this cluster.
    pub fn bin(&self) -> PathBuf {
        self.layout.bin()
    }

    /// The processes it is made of.
    pub fn parts(&self) -> Parts {
        Parts::new(self.layout.clone())
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> Result<usize> {
        Ok(self.parts().names()?.iter().filter(|name| name.starts_with("node@")).count())
    }

    /// Where a part writes its log.
    pub fn log(&self, part: &str) -> PathBuf {
        self.layout.log(part)
    }

    /// What was asked of the API server, from now on.
    pub fn audit(&self) -> Result<Audit> {
        Audit::from_now(&self.layout.audit_log())
    }

    /// Makes an image available on every node; nothing happens where the same bytes are there already.
    pub async fn load_image(&self, image: &Image) -> Result<()> {
        for node in 1..=self.nodes()? {
            self.load_on(node, image).await?;
        }
        Ok(())
    }

    pub(crate) async fn load_on(&self, node: usize, image: &Image) -> Result<()> {
        let _one_at_a_time = lock(self.layout.node(node).join("images.lock"), Lock::Alone).await?;
        let listed = output(self.ctr(node).args(["images", "ls", &format!("name=={}", image.name)]), IMPORT).await?;
        if listed.contains(&image.digest) {
            return Ok(());
        }
        // The snapshots are mounts: only the node's own namespace may make them.
        output(self.ctr(node).args(["images", "import"]).arg(&image.archive), IMPORT)
            .await
            .with_context(|| format!("importing {}", image.name))?;
        Ok(())
    }

    /// Gives a node every image another one has.
    pub(crate) async fn copy_images(&self, from: usize, to: usize) -> Result<()> {
        let names = output(self.ctr(from).args(["images", "ls", "-q", "name~=^localhost/"]), IMPORT).await?;
        for name in names.lines() {
            let archive = self.layout.node(to).join("copied.tar");
            output(self.ctr(from).args(["images", "export"]).arg(&archive).arg(name), IMPORT).await?;
            output(self.ctr(to).args(["images", "import"]).arg(&archive), IMPORT).await?;
            std::fs::remove_file(archive)?;
        }
        Ok(())
    }

    /// Makes a fake GPU sick or well; the node's allocatable count follows within seconds.
    pub fn set_gpu_health(&self, node: usize, gpu: usize, healthy: bool) -> Result<()> {
        let mark = self.layout.gpus(node).join(format!("GPU-fake-{gpu}.bad"));
        match healthy {
            false => std::fs::write(mark, "")?,
            true if mark.exists() => std::fs::remove_file(mark)?,
            true => {}
        }
        Ok(())
    }

    /// Starts and thaws every part and makes every GPU well, as a test that broke some must leave it.
    pub fn restore(&self) -> Result<()> {
        for node in 1..=self.nodes()? {
            for mark in std::fs::read_dir(self.layout.gpus(node))? {
                std::fs::remove_file(mark?.path())?;
            }
        }
        self.parts().restore()
    }

    /// Kills (SIGKILL) the process of a container on node 1, named by its id as in a pod's status: `containerd://…`.
    pub async fn kill_container(&self, id: &str) -> Result<()> {
        let id = id.trim_start_matches("containerd://");
        output(self.ctr(1).args(["tasks", "kill", "--signal", "SIGKILL", id]), IMPORT)
            .await
            .map(drop)
    }

    /// The folder in `/proc` of a container's process on node 1, named by its id as in a pod's status.
    pub async fn process(&self, id: &str) -> Result<PathBuf> {
        let id = id.trim_start_matches("containerd://");
        let tasks = output(self.ctr(1).args(["tasks", "ls"]), IMPORT).await?;
        let pid = tasks
            .lines()
            .filter(|line| line.starts_with(id))
            .find_map(|line| line.split_whitespace().nth(1));
        let pid = pid.with_context(|| format!("container {id} does not run on node 1"))?;
        // The node counts its processes by itself: the number holds in its own /proc.
        Ok(PathBuf::from(format!("/proc/{}/root/proc/{pid}", self.parts().pid("node@1")?)))
    }

    /// Cuts a node other than the first off from everything, or joins it again.
    pub async fn set_link(&self, node: usize, up: bool) -> Result<()> {
        ensure!(node > 1, "node 1 holds the control plane and has no link to cut");
        network::set_link(&self.parts(), node, up).await
    }

    /// Starts a program of this machine inside node 1's network, as a part of the cluster: it outlives this process and ends
    /// with the cluster. One of the same name is replaced.
    pub fn run(&self, name: &str, command: Vec<String>) -> Result<()> {
        let (parts, name) = (self.parts(), format!("{name}@1"));
        if parts.pid(&name).is_ok() {
            parts.kill(&name)?;
        }
        parts.launch(&name, command)
    }

    /// As [`run`](Self::run), but names resolve as in a pod of this namespace: `NAME`, `NAME.NAMESPACE.svc` and
    /// `NAME.NAMESPACE.svc.cluster.local` are Services, and nothing else exists.
    pub fn run_as_in(&self, namespace: &str, name: &str, command: Vec<String>) -> Result<()> {
        let resolver = self.folder().join(format!("{name}.resolv.conf"));
        let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local");
        std::fs::write(&resolver, format!("nameserver {CONTROL_PLANE}\n{search}\noptions ndots:5\n"))?;
        // Only this program sees the mount. Where the machine's file is a link into its /run, the node's own /run has nothing there yet.
        let script = r#"file=$(readlink -m /etc/resolv.conf)
            [ -e "$file" ] || install -D /dev/null "$file"
            mount --bind "$0" "$file" && exec "$@""#;
        let mut line = ["unshare", "--mount", "sh", "-c", script].map(str::to_owned).to_vec();
        line.push(resolver.display().to_string());
        line.extend(command);
        self.run(name, line)
    }

    /// Ends a program that [`run`](Self::run) started, if it still runs.
    pub fn end(&self, name: &str) -> Result<()> {
        self.parts().forget(&format!("{name}@1"))
    }

    /// A socket inside node 1's network, where pods and this host can reach it; pods may not reach the host itself.
    ///
    /// `port` 0 takes a free one.
    pub fn listen(&self, port: u16) -> Result<TcpListener> {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.parts().pid("node@1")?))?;
        let address: SocketAddr = format!("{CONTROL_PLANE}:{port}").parse()?;
        // A thread of its own, because it cannot leave the namespace again. The socket stays in it.
        let bound = std::thread::spawn(move || -> Result<TcpListener> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        bound.join().map_err(|_| anyhow!("the binding thread ended early"))?
    }

    fn ctr(&self, node: usize) -> Command {
        let holder = self.parts().pid(&format!("node@{node}")).unwrap_or_default().to_string();
        let mut ctr = Command::new("nsenter");
        ctr.args(["-t", &holder, "-m", "-n", "--", "ctr", "-a"])
            .arg(self.layout.containerd_socket(node))
            .args(["-n", "k8s.io"]);
        ctr
    }

    /// The folder of everything it has on disk.
    pub fn folder(&self) -> &Path {
        self.layout.root()
    }
}
