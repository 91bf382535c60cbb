//! A Redis: the machine's own or its Valkey, else Debian's packages unpacked, because installing them would start a server.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::packages;
use crate::command::find;

/// The server, and what it loads that Debian does not always have.
const PACKAGES: [&str; 5] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];

/// The server's program, and where its libraries are (`LD_LIBRARY_PATH`) where that is no usual place.
pub(crate) async fn binary() -> Result<(PathBuf, Option<OsString>)> {
    if let Some(program) = find("valkey-server").or_else(|| find("redis-server")) {
        return Ok((program, None));
    }
    let made = packages::unpacked("redis", &PACKAGES).await?;
    let program = made.join("usr/bin/redis-server");
    ensure!(program.is_file(), "{} is missing: install redis-server", program.display());
    let mut libraries = vec![];
    for entry in std::fs::read_dir(made.join("usr/lib"))? {
        libraries.push(entry?.path());
    }
    Ok((program, Some(std::env::join_paths(libraries)?)))
}
