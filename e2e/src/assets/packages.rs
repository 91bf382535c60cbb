//! Programs of the machine: installed by apt when we may, else named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::process::Command;

use super::{Lock, cache, key, lock};
use crate::command::{find, step};

/// A program, or a file where it has a fixed place, and the Debian package that has it.
type Needed = (&'static str, &'static str);

/// What a node is made of.
pub(crate) const NODE: [Needed; 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("ldd", "libc-bin"),
];
/// What compiles the engine and the pause program.
pub(crate) const COMPILERS: [Needed; 3] = [("cc", "gcc"), ("c++", "g++"), ("strip", "binutils")];

/// Installs the packages of those programs that are missing, or names them when that is not ours to do.
pub(crate) async fn ensure(needed: &[Needed]) -> Result<()> {
    let present = |program: &str| {
        if program.starts_with('/') {
            Path::new(program).exists()
        } else {
            find(program).is_some()
        }
    };
    let missing = || {
        let mut packages: Vec<&str> = needed
            .iter()
            .filter(|(program, _)| !present(program))
            .map(|(_, package)| *package)
            .collect();
        packages.dedup();
        packages
    };
    if missing().is_empty() {
        return Ok(());
    }
    let _one_at_a_time = lock(cache()?.join("packages.lock"), Lock::Alone).await?;
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !is_root() || find("apt-get").is_none() {
        bail!("missing packages: install them and run this again: apt-get install {list}");
    }
    eprintln!("packages: installing {list}; about a minute");
    let log = cache()?.join("packages.log");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]).args(arguments);
        apt
    };
    step(&mut apt(&["update"]), "reading the package lists", &log, Duration::from_secs(300)).await?;
    let install = [&["install", "--no-install-recommends"], packages.as_slice()].concat();
    step(&mut apt(&install), "installing packages", &log, Duration::from_secs(900)).await?;
    match missing().join(" ") {
        still if still.is_empty() => Ok(()),
        still => bail!("still missing after installing them: {still}"),
    }
}

/// Packages of Debian, fetched and unpacked into a folder of ours: where installing them would start a server.
pub(crate) async fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    const DEADLINE: Duration = Duration::from_secs(300);
    needs("apt-get", &format!("{name}, or run this on Debian or Ubuntu"))?;
    let key = key(packages.iter().map(|package| package.as_bytes()));
    let note = format!("fetching {name} from Debian, once; some seconds");
    super::ensure(name, &key, &note, async |out| {
        let log = out.join("build.log");
        let apt = |arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.current_dir(out).arg("-q").args(arguments);
            apt
        };
        if is_root() {
            step(&mut apt(&["update"]), "reading the package lists", &log, DEADLINE).await?;
        }
        let fetch = [&["download"], packages].concat();
        step(&mut apt(&fetch), &format!("fetching {name}"), &log, DEADLINE).await?;
        for entry in std::fs::read_dir(out)? {
            let archive = entry?.path();
            if archive.extension().is_some_and(|e| e == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                unpack.arg("-x").arg(&archive).arg(out);
                step(&mut unpack, &format!("unpacking {name}"), &log, DEADLINE).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Python with pip; virtual environments and pyenv count.
pub(crate) async fn ensure_python() -> Result<()> {
    ensure(&[("python3", "python3")]).await?;
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output().await?;
    if pip.status.success() {
        Ok(())
    } else {
        ensure(&[("pip3", "python3-pip")]).await
    }
}

/// Names a program that people install themselves.
pub(crate) fn needs(program: &str, what: &str) -> Result<()> {
    if find(program).is_none() {
        bail!("{program} is missing: install {what}");
    }
    Ok(())
}

/// Whether this process may make namespaces, mounts and routes.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
