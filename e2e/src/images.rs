//! The images the cluster runs: the pause program, the engine with its model, and the program under test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::assets::{engine, ensure, key, packages};
use crate::command;
use crate::image::{Image, Recipe, sha256_of};

/// Part of every image's key: raise it when [`Recipe`] writes something else for the same files.
const FORMAT: &str = "1";

/// Holds a pod's namespaces; what the kubelet calls the sandbox.
const PAUSE: &str = r"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }
";

/// Which build of the program under test an image holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Quick to build; what the tests use.
    #[default]
    Debug,
    /// What users run; for measurements.
    Release,
}

/// `localhost/pause:1`.
pub async fn pause() -> Result<Image> {
    let made = ensure(
        "image-pause",
        &key([PAUSE.as_bytes(), FORMAT.as_bytes()]),
        "compiling the pause program; a second",
        async |out| {
            packages::ensure(&packages::COMPILERS[..1]).await?;
            let (source, program) = (out.join("pause.c"), out.join("pause"));
            std::fs::write(&source, PAUSE)?;
            command::output(
                Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source),
                Duration::from_secs(60),
            )
            .await?;
            write(&Recipe::new("/pause").file(&program, "/pause"), "localhost/pause:1", out)
        },
    )
    .await?;
    image("localhost/pause:1", &made)
}

/// `localhost/llama:1`: entrypoint `llama-server`, weights at `/models/model.gguf`.
pub async fn engine() -> Result<Image> {
    let (server, model) = tokio::try_join!(engine::server(), engine::model())?;
    let inputs = [server.to_string_lossy(), model.to_string_lossy()];
    let key = key(inputs.iter().map(|i| i.as_bytes()).chain([FORMAT.as_bytes()]));
    let made = ensure(
        "image-llama",
        &key,
        "packing the engine and its model into an image; some seconds",
        async |out| {
            let recipe = Recipe::new("/app/llama-server")
                .program(&server.join("llama-server"), "/app/llama-server")
                .await?;
            write(&recipe.file(&model, "/models/model.gguf"), "localhost/llama:1", out)
        },
    )
    .await?;
    image("localhost/llama:1", &made)
}

/// `localhost/weights:1`: the model at `/models/model.gguf`, and a `cp` that copies it out.
pub async fn weights() -> Result<Image> {
    let model = engine::model().await?;
    let key = key([model.to_string_lossy().as_bytes(), FORMAT.as_bytes()]);
    let made = ensure(
        "image-weights",
        &key,
        "packing the model into an image; some seconds",
        async |out| {
            let recipe = Recipe::new("/bin/cp").program(Path::new("/bin/cp"), "/bin/cp").await?;
            write(&recipe.file(&model, "/models/model.gguf"), "localhost/weights:1", out)
        },
    )
    .await?;
    image("localhost/weights:1", &made)
}

/// `localhost/portfolio:dev`: this workspace's `portfolio`, built when its sources are newer; entrypoint `/portfolio`.
pub async fn portfolio(profile: Profile) -> Result<Image> {
    of_binary("portfolio", &["--bin", "portfolio"], profile).await
}

/// `localhost/e2e:dev`: this crate's own program, for a fake provider inside a cluster; entrypoint `/e2e`.
pub async fn e2e(profile: Profile) -> Result<Image> {
    of_binary("e2e", &["--bin", "e2e"], profile).await
}

async fn of_binary(name: &str, target: &[&str], profile: Profile) -> Result<Image> {
    let binary = cargo_build(target, profile).await?;
    let image_name = format!("localhost/{name}:dev");
    let key = key([sha256_of(&binary)?.as_bytes(), FORMAT.as_bytes()]);
    let made = ensure(
        &format!("image-{name}"),
        &key,
        "packing it into an image; some seconds",
        async |out| {
            // Symbols are for debuggers; without them a node imports a fifth of the bytes.
            let stripped = out.join(name);
            packages::ensure(&packages::COMPILERS[2..]).await?;
            command::output(Command::new("strip").arg("-o").arg(&stripped).arg(&binary), Duration::from_secs(60)).await?;
            let destination = format!("/{name}");
            let mut recipe = Recipe::new(&destination).program(&stripped, &destination).await?;
            let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
            if certificates.exists() {
                recipe = recipe.file(certificates, "/etc/ssl/certs/ca-certificates.crt");
            }
            write(&recipe, &image_name, out)
        },
    )
    .await?;
    image(&image_name, &made)
}

/// Builds a program of this workspace and returns where it is; quick when it is fresh.
pub async fn cargo_build(target: &[&str], profile: Profile) -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        // The whole workspace, as `make test` builds it: with other packages chosen, cargo would build every crate anew.
        .args(["build", "--workspace", "--message-format=json-render-diagnostics"])
        .args(target)
        .stderr(Stdio::inherit());
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let messages = cargo.output().await.context("cargo does not start")?;
    anyhow::ensure!(messages.status.success(), "cargo build {} failed", target.join(" "));
    String::from_utf8_lossy(&messages.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back()
        .context("cargo named no executable")
}

fn write(recipe: &Recipe, name: &str, out: &Path) -> Result<()> {
    let digest = recipe.write(name, &out.join("image.tar"))?;
    Ok(std::fs::write(out.join("digest"), digest)?)
}

fn image(name: &str, made: &Path) -> Result<Image> {
    Ok(Image {
        name: name.to_owned(),
        archive: made.join("image.tar"),
        digest: std::fs::read_to_string(made.join("digest"))?,
    })
}
