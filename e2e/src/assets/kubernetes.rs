//! Every part of a Kubernetes cluster as one binary, built from the Go module in `kube/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{ensure, key, packages};
use crate::command::step;

const TAGS: &str = "grpcnotrace,selinux,notest";

/// The multi-call binary: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl,
/// and the small `fakegpu` and `dns` of ours.
pub async fn binary() -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("kube");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&module)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "go" || e == "mod" || e == "sum") {
            sources.push(path);
        }
    }
    sources.sort();
    let contents = sources.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let version = version(&std::fs::read_to_string(module.join("go.mod"))?)?;
    let (major, minor) = version
        .trim_start_matches('v')
        .split_once('.')
        .and_then(|(a, b)| Some((a, b.split_once('.')?.0)))
        .context("a version")?;
    let set = |package: &str, name: &str, value: &str| format!("-X k8s.io/{package}/version.git{name}={value}");
    let flags = [
        "-s -w".to_owned(),
        set("component-base", "Version", &version),
        set("component-base", "Major", major),
        set("component-base", "Minor", minor),
        set("client-go/pkg", "Version", &version),
    ]
    .join(" ");
    let key = key(contents.iter().map(Vec::as_slice).chain([flags.as_bytes(), TAGS.as_bytes()]));
    let note = format!("building Kubernetes {version} from its Go modules, once; about 4 minutes on two idle cores, 3 GB of memory");
    let made = ensure("kubernetes", &key, &note, async |out| {
        packages::needs("go", "Go 1.26 or later (https://go.dev/dl)")?;
        let log = out.join("build.log");
        let mut go = Command::new("go");
        go.current_dir(&module)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-tags", TAGS, "-ldflags", &flags, "-o"])
            .arg(out.join("kube"))
            .arg(".");
        step(&mut go, "building Kubernetes", &log, Duration::from_secs(45 * 60)).await
    })
    .await?;
    Ok(made.join("kube"))
}

fn version(go_mod: &str) -> Result<String> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .map(|version| version.trim().to_owned())
        .context("kube/go.mod requires no k8s.io/kubernetes")
}
