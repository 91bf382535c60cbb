//! nginx, to measure beside: the machine's own, else Debian's package unpacked, because installing it would start a server on port 80.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::{key, packages};
use crate::command::{find, step};

const PACKAGE: &str = "nginx";
const DEADLINE: Duration = Duration::from_secs(300);

/// The program.
pub async fn binary() -> Result<PathBuf> {
    if let Some(program) = find("nginx") {
        return Ok(program);
    }
    packages::needs("apt-get", "nginx, or run this on Debian or Ubuntu")?;
    let note = "fetching nginx from Debian, once; some seconds";
    let made = super::ensure("nginx", &key([PACKAGE.as_bytes()]), note, async |out| {
        let log = out.join("build.log");
        let apt = |argument: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.current_dir(out).arg("-q").args(argument);
            apt
        };
        if packages::is_root() {
            step(&mut apt(&["update"]), "reading the package lists", &log, DEADLINE).await?;
        }
        step(&mut apt(&["download", PACKAGE]), "fetching nginx", &log, DEADLINE).await?;
        for entry in std::fs::read_dir(out)? {
            let archive = entry?.path();
            if archive.extension().is_some_and(|e| e == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                unpack.arg("-x").arg(&archive).arg(out);
                step(&mut unpack, "unpacking nginx", &log, DEADLINE).await?;
            }
        }
        Ok(())
    })
    .await?;
    let program = made.join("usr/sbin/nginx");
    ensure!(program.is_file(), "{} is missing: install nginx", program.display());
    Ok(program)
}
