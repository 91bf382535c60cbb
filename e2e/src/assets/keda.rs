//! The operator and the metrics adapter of KEDA, built from their Go module by the test that needs them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::{copy_crds, ensure, key, packages};
use crate::command::step;

const MODULE: &str = "github.com/kedacore/keda/v2";

/// What its users install, without the webhooks.
pub struct Release {
    /// Asks the scalers, makes the autoscalers, and scales from and to zero.
    pub operator: PathBuf,
    /// Tells Kubernetes' autoscalers what the operator hears from the scalers.
    pub adapter: PathBuf,
    /// The folder of the CRDs.
    pub crds: PathBuf,
}

/// Both programs and the CRDs of the release that `keda/go.mod` names.
pub async fn release() -> Result<Release> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("keda");
    let (wanted, sums) = (std::fs::read(module.join("go.mod"))?, std::fs::read(module.join("go.sum"))?);
    let note = "building the operator and the metrics adapter of KEDA from their Go module, once; about 7 minutes on two idle cores";
    let made = ensure("keda", &key([wanted.as_slice(), sums.as_slice()]), note, async |out| {
        packages::needs("go", "Go 1.26 or later (https://go.dev/dl)")?;
        let mut go = Command::new("go");
        go.current_dir(&module)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(out)
            .args(["operator", "adapter"].map(|program| format!("{MODULE}/cmd/{program}")));
        step(
            &mut go,
            "building the operator and the adapter",
            &out.join("build.log"),
            Duration::from_secs(60 * 60),
        )
        .await?;
        copy_crds(&module, MODULE, out).await
    })
    .await?;
    Ok(Release {
        operator: made.join("operator"),
        adapter: made.join("adapter"),
        crds: made.join("crds"),
    })
}
