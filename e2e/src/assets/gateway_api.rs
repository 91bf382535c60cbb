//! The CRD of ReferenceGrants, out of the Go module of the Gateway API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;

use super::{ensure, key, packages};
use crate::command::output;

const MODULE: &str = "sigs.k8s.io/gateway-api";
const FILE: &str = "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml";

/// The file with the CRD of the release that `gateway-api/go.mod` names.
pub async fn reference_grants() -> Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway-api");
    let (wanted, sums) = (std::fs::read(module.join("go.mod"))?, std::fs::read(module.join("go.sum"))?);
    let note = "the CRD of ReferenceGrants, from the Go module of the Gateway API, once; some seconds";
    let made = ensure("gateway-api", &key([wanted.as_slice(), sums.as_slice()]), note, async |out| {
        packages::needs("go", "Go 1.26 or later (https://go.dev/dl)")?;
        let mut go = Command::new("go");
        go.current_dir(&module).args(["mod", "download", "-json", MODULE]);
        let told: Value = serde_json::from_str(&output(&mut go, Duration::from_secs(5 * 60)).await?)?;
        let source = told["Dir"].as_str().with_context(|| told.to_string())?;
        let file = Path::new(source).join(FILE);
        // Files of the module cache are read-only; a copy must be removable.
        let crd = std::fs::read(&file).with_context(|| format!("{}", file.display()))?;
        Ok(std::fs::write(out.join("referencegrants.yaml"), crd)?)
    })
    .await?;
    Ok(made.join("referencegrants.yaml"))
}
