//! Running programs: with a deadline, and with an error that says what they said.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How often a long step says that it is still at work.
const PROGRESS: Duration = Duration::from_secs(20);

/// Runs a program to its end and returns what it wrote to stdout; a failure carries the end of its stderr.
pub async fn output(command: &mut Command, deadline: Duration) -> Result<String> {
    output_with_input(command, b"", deadline).await
}

/// As [`output`], with `input` on its stdin.
pub async fn output_with_input(command: &mut Command, input: &[u8], deadline: Duration) -> Result<String> {
    let name = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    let mut stdin = child.stdin.take().context("a piped stdin")?;
    let feed = async move {
        // A program that ends without reading its input says why by its status; the broken pipe adds nothing.
        stdin.write_all(input).await.ok();
    };
    let (_, done) = tokio::time::timeout(deadline, async { tokio::join!(feed, child.wait_with_output()) })
        .await
        .map_err(|_| anyhow!("{name} did not end within {deadline:?}"))?;
    let done = done?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let said = if said.trim().is_empty() {
            String::from_utf8_lossy(&done.stdout)
        } else {
            said
        };
        bail!("{name}: {}: {}", done.status, tail(&said, 15));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a long step with its output in `log`, saying every now and then that it is still at work and what it last wrote.
pub(crate) async fn step(command: &mut Command, what: &str, log: &Path, deadline: Duration) -> Result<()> {
    let name = describe(command);
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("{} cannot be written", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    let start = Instant::now();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(PROGRESS.min(left), child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(|s| s.success()) => return Ok(()),
            Ok(status) => bail!("{what}: {name}: {}:\n{}", status?, tail_of(log, 25)),
            Err(_) if left.is_zero() => bail!("{what}: {name} did not end within {deadline:?}:\n{}", tail_of(log, 25)),
            Err(_) => eprintln!("  still {what} ({} s): {}", start.elapsed().as_secs(), tail_of(log, 1)),
        }
    }
}

/// Where a program is, looking also where Debian keeps those of the administrator.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The last lines of a file, or why it cannot be read.
pub(crate) fn tail_of(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes), lines),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
