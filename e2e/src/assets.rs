//! What is built or fetched once and kept outside the checkout: the Kubernetes binary, helm, the engine, image archives.
//! Each lies under a key of its inputs, is made under a temporary name and renamed, and is made by one process at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use tokio::process::Command;

use crate::command::output;

pub mod engine;
pub mod gateway_api;
pub mod helm;
pub mod keda;
pub mod kubernetes;
pub mod lm_eval;
pub mod lws;
pub mod nginx;
pub mod packages;
pub(crate) mod redis;
pub mod sdks;

/// How many versions of one asset are kept: the current one and those of another branch or two.
const KEPT: usize = 3;

/// The folder of everything that outlives a checkout: `$LLM_PORTFOLIO_CACHE`, else `llm-portfolio` in the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("LLM_PORTFOLIO_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("llm-portfolio")))
        .or_else(|| Some(set("HOME")?.join(".cache/llm-portfolio")))
        .context("no folder for the cache: set LLM_PORTFOLIO_CACHE")?;
    std::fs::create_dir_all(&cache).with_context(|| format!("{} cannot be made; set LLM_PORTFOLIO_CACHE", cache.display()))?;
    Ok(std::fs::canonicalize(cache)?)
}

/// A short name for exactly these inputs.
pub(crate) fn key<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    // Hashing the hashes keeps ("ab", "c") apart from ("a", "bc").
    let hashes: Vec<u8> = inputs
        .into_iter()
        .flat_map(|input| digest(&SHA256, input).as_ref().to_vec())
        .collect();
    hex(digest(&SHA256, &hashes).as_ref())[..16].to_owned()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of the asset `name` under `key`, made by `build` in an empty folder when it is not there.
///
/// `note` says what it is and about how long it takes; it is shown only when it has to be made.
pub(crate) async fn ensure(name: &str, key: &str, note: &str, build: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let made = folder.join(key);
    if made.is_dir() {
        return Ok(made);
    }
    std::fs::create_dir_all(&folder)?;
    let _one_at_a_time = lock(folder.join(".lock"), Lock::Alone).await?;
    if made.is_dir() {
        return Ok(made);
    }
    eprintln!("{name}: {note}");
    let start = Instant::now();
    let temporary = folder.join(format!(".{key}.new"));
    if temporary.exists() {
        std::fs::remove_dir_all(&temporary)?;
    }
    std::fs::create_dir(&temporary)?;
    build(&temporary).await.with_context(|| format!("{name} was not made"))?;
    std::fs::rename(&temporary, &made)?;
    prune(&folder)?;
    eprintln!("{name}: done in {:.1} s", start.elapsed().as_secs_f32());
    Ok(made)
}

fn prune(folder: &Path) -> Result<()> {
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            versions.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    versions.sort();
    for (_, path) in versions.iter().rev().skip(KEPT) {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// Copies the CRDs of the module `name`, which the Go module in a folder of ours requires, to `out/crds`.
async fn copy_crds(ours: &Path, name: &str, out: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(ours).args(["list", "-m", "-f", "{{.Dir}}", name]);
    let source = output(&mut go, Duration::from_secs(60)).await?;
    let crds = Path::new(source.trim()).join("config/crd/bases");
    std::fs::create_dir(out.join("crds"))?;
    for entry in std::fs::read_dir(&crds).with_context(|| format!("{}", crds.display()))? {
        let file = entry?;
        // Files of the module cache are read-only; a copy must be removable.
        std::fs::write(out.join("crds").join(file.file_name()), std::fs::read(file.path())?)?;
    }
    Ok(())
}

/// How a file is locked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// With others.
    Shared,
    /// By nobody else.
    Alone,
}

/// Waits for a lock on a file, made when missing; it is held until the returned file is dropped, or its process ends.
pub(crate) async fn lock(path: PathBuf, how: Lock) -> Result<File> {
    let locked = tokio::task::spawn_blocking(move || -> Result<File> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match how {
            Lock::Shared => file.lock_shared()?,
            Lock::Alone => file.lock()?,
        }
        Ok(file)
    });
    locked.await?
}
