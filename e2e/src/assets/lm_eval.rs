//! lm-evaluation-harness, from its registry, with all that it needs to ask a server: neither torch nor transformers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{ensure, key, packages, sdks};
use crate::command::step;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lm_eval/requirements.txt");
const DEADLINE: Duration = Duration::from_secs(900);

/// A folder for `PYTHONPATH`.
pub async fn packages() -> Result<PathBuf> {
    let requirements = std::fs::read(REQUIREMENTS)?;
    ensure(
        "lm-eval",
        &key([requirements.as_slice()]),
        "fetching lm-evaluation-harness, once; 800 MB on the disk",
        async |out| {
            packages::ensure_python().await?;
            let mut pip = sdks::pip(out);
            pip.args(["--requirement", REQUIREMENTS]);
            step(&mut pip, "fetching lm-evaluation-harness", &out.join("build.log"), DEADLINE).await
        },
    )
    .await
}
