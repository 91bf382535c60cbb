//! nginx, to measure beside: the machine's own, else Debian's package unpacked, because installing it would start a server on port 80.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::packages;
use crate::command::find;

/// The program.
pub async fn binary() -> Result<PathBuf> {
    if let Some(program) = find("nginx") {
        return Ok(program);
    }
    let program = packages::unpacked("nginx", &["nginx"]).await?.join("usr/sbin/nginx");
    ensure!(program.is_file(), "{} is missing: install nginx", program.display());
    Ok(program)
}
