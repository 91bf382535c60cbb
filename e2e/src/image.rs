//! Container images without a registry or a daemon: an OCI archive with one layer of files of this machine.
//! The same files give the same bytes, so a digest tells whether a node has the image already.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ring::digest::{Context as Sha256, SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tokio::process::Command;

use crate::assets::hex;

/// An archive that a node can import.
#[derive(Clone, Debug)]
pub struct Image {
    /// As pods name it, with its tag: `localhost/llama:1`. Use it with `imagePullPolicy: Never`.
    pub name: String,
    /// The OCI archive.
    pub archive: PathBuf,
    /// Of its manifest, `sha256:…`.
    pub digest: String,
}

/// What an image is made of. It runs as user 65532 and works with a read-only root.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    files: BTreeMap<String, Source>,
    entrypoint: Vec<String>,
    environment: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Text(&'static str),
}

impl Recipe {
    /// An image that runs `entrypoint`, with the few files that programs expect in /etc and a /tmp.
    pub fn new(entrypoint: &str) -> Self {
        let text = |path: &str, text| (path.to_owned(), Source::Text(text));
        Self {
            files: BTreeMap::from([
                text("etc/passwd", "root:x:0:0::/:/\nnonroot:x:65532:65532::/tmp:/\n"),
                text("etc/group", "root:x:0:\nnonroot:x:65532:\n"),
                text("etc/nsswitch.conf", "hosts: files dns\n"),
            ]),
            entrypoint: vec![entrypoint.to_owned()],
            environment: vec!["PATH=/usr/bin:/bin".to_owned()],
        }
    }

    /// Adds a file of this machine.
    pub fn file(mut self, source: &Path, destination: &str) -> Self {
        self.files
            .insert(destination.trim_start_matches('/').to_owned(), Source::File(source.to_owned()));
        self
    }

    /// Adds a program and every shared library it needs: those that lie beside it stay beside it, the others keep their place.
    pub async fn program(mut self, source: &Path, destination: &str) -> Result<Self> {
        let beside = source.parent().context("a program lies in a folder")?;
        let destination_folder = Path::new(destination).parent().context("a program lies in a folder")?;
        let listed = Command::new("ldd").arg(source).output().await.context("ldd does not start")?;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            if line.contains("not found") {
                bail!("{}: {}", source.display(), line.trim());
            }
            let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from) else {
                continue;
            };
            let place = match library.strip_prefix(beside) {
                Ok(name) => destination_folder.join(name),
                Err(_) => library.clone(),
            };
            self = self.file(&library, &place.to_string_lossy());
        }
        Ok(self.file(source, destination))
    }

    /// Writes the archive `out` under `name` and returns the digest of its manifest.
    pub fn write(&self, name: &str, out: &Path) -> Result<String> {
        let layer_path = out.with_extension("layer");
        let layer = self.write_layer(&layer_path)?;
        let layer_size = layer_path.metadata()?.len();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"User": "65532:65532", "Env": self.environment, "Entrypoint": self.entrypoint, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        });
        let (config, config_bytes) = blob(&config, "application/vnd.oci.image.config.v1+json");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{layer}"), "size": layer_size}],
        });
        let (mut manifest, manifest_bytes) = blob(&manifest, "application/vnd.oci.image.manifest.v1+json");
        let digest = manifest["digest"].as_str().context("a digest")?.to_owned();
        manifest["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();

        let mut archive = Builder::new(BufWriter::new(File::create(out)?));
        append(
            &mut archive,
            "oci-layout",
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#.len() as u64,
            &br#"{"imageLayoutVersion":"1.0.0"}"#[..],
        )?;
        append(&mut archive, "index.json", 0o644, index.len() as u64, index.as_bytes())?;
        for bytes in [&config_bytes, &manifest_bytes] {
            append(
                &mut archive,
                &format!("blobs/sha256/{}", sha256(bytes)),
                0o644,
                bytes.len() as u64,
                bytes.as_slice(),
            )?;
        }
        append(
            &mut archive,
            &format!("blobs/sha256/{layer}"),
            0o644,
            layer_size,
            File::open(&layer_path)?,
        )?;
        archive.into_inner()?.flush()?;
        std::fs::remove_file(layer_path)?;
        Ok(digest)
    }

    fn write_layer(&self, path: &Path) -> Result<String> {
        let mut layer = Builder::new(Hashing {
            file: BufWriter::new(File::create(path)?),
            hash: Sha256::new(&SHA256),
        });
        let mut folders = BTreeMap::from([("tmp/".to_owned(), 0o1777)]);
        for file in self.files.keys() {
            for folder in Path::new(file).ancestors().skip(1).filter(|f| !f.as_os_str().is_empty()) {
                folders.entry(format!("{}/", folder.display())).or_insert(0o755);
            }
        }
        for (folder, mode) in folders {
            let mut header = header(mode, 0);
            header.set_entry_type(EntryType::Directory);
            layer.append_data(&mut header, folder, io::empty())?;
        }
        for (place, source) in &self.files {
            match source {
                Source::Text(text) => append(&mut layer, place, 0o644, text.len() as u64, text.as_bytes())?,
                Source::File(source) => {
                    let file = File::open(source).with_context(|| format!("{} for the image", source.display()))?;
                    let meta = file.metadata()?;
                    append(
                        &mut layer,
                        place,
                        if is_executable(&meta) { 0o755 } else { 0o644 },
                        meta.len(),
                        file,
                    )?;
                }
            }
        }
        let mut written = layer.into_inner()?;
        written.flush()?;
        Ok(hex(written.hash.finish().as_ref()))
    }
}

fn is_executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o111 != 0
}

/// A header with nothing of this machine or moment in it.
fn header(mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append(archive: &mut Builder<impl Write>, place: &str, mode: u32, size: u64, bytes: impl Read) -> Result<()> {
    archive
        .append_data(&mut header(mode, size), place, bytes)
        .with_context(|| format!("{place} in the image"))
}

fn blob(value: &Value, media_type: &str) -> (Value, Vec<u8>) {
    let bytes = value.to_string().into_bytes();
    (
        json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(&bytes)), "size": bytes.len()}),
        bytes,
    )
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The digest of a file's content.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let mut hash = Hashing {
        file: io::sink(),
        hash: Sha256::new(&SHA256),
    };
    io::copy(&mut File::open(path).with_context(|| path.display().to_string())?, &mut hash)?;
    Ok(hex(hash.hash.finish().as_ref()))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Hashing<W> {
    file: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_files_give_the_same_bytes() {
        let folder = std::env::temp_dir().join(format!("e2e-image-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let recipe = Recipe::new("/bin/sh").program(Path::new("/bin/sh"), "/bin/sh").await.unwrap();

        let first = recipe.write("localhost/sh:1", &folder.join("a.tar")).unwrap();
        let second = recipe.write("localhost/sh:1", &folder.join("b.tar")).unwrap();

        assert_eq!(first, second);
        assert_eq!(
            std::fs::read(folder.join("a.tar")).unwrap(),
            std::fs::read(folder.join("b.tar")).unwrap()
        );
        assert!(
            recipe.files.keys().any(|file| file.contains("libc")),
            "the libraries come along: {:?}",
            recipe.files.keys()
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
