//! Helm, built from its Go module.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::{ensure, key, packages};
use crate::command::step;

const MODULE: &str = "helm.sh/helm/v4/cmd/helm@v4.3.1";

/// The `helm` binary.
pub async fn binary() -> Result<PathBuf> {
    let made = ensure(
        "helm",
        &key([MODULE.as_bytes()]),
        "building helm from its Go module, once; about 2 minutes on two idle cores",
        async |out| {
            packages::needs("go", "Go 1.26 or later (https://go.dev/dl)")?;
            let mut go = Command::new("go");
            go.env("CGO_ENABLED", "0")
                .env("GOBIN", out)
                .args(["install", "-trimpath", "-ldflags", "-s -w", MODULE]);
            step(&mut go, "building helm", &out.join("build.log"), Duration::from_secs(30 * 60)).await
        },
    )
    .await?;
    Ok(made.join("helm"))
}
