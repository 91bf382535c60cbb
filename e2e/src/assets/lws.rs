//! The controller of LeaderWorkerSets, built from its Go module by the test that needs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::{copy_crds, ensure, key, packages};
use crate::command::step;

const MODULE: &str = "sigs.k8s.io/lws";

/// What its users install.
pub struct Lws {
    /// The controller, which also answers the webhooks.
    pub controller: PathBuf,
    /// The folder of the CRDs.
    pub crds: PathBuf,
}

/// The controller and the CRDs of the release that `lws/go.mod` names.
pub async fn release() -> Result<Lws> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("lws");
    let (wanted, sums) = (std::fs::read(module.join("go.mod"))?, std::fs::read(module.join("go.sum"))?);
    let note = "building the controller of LeaderWorkerSets from its Go module, once; about 2.5 minutes on two idle cores";
    let made = ensure("lws", &key([wanted.as_slice(), sums.as_slice()]), note, async |out| {
        packages::needs("go", "Go 1.26 or later (https://go.dev/dl)")?;
        let mut go = Command::new("go");
        go.current_dir(&module)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(out.join("controller"))
            .arg(format!("{MODULE}/cmd"));
        step(
            &mut go,
            "building the controller",
            &out.join("build.log"),
            Duration::from_secs(30 * 60),
        )
        .await?;
        copy_crds(&module, MODULE, out).await
    })
    .await?;
    Ok(Lws {
        controller: made.join("controller"),
        crds: made.join("crds"),
    })
}
