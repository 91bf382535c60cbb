//! A folder as a commit of git: the checksums that the hub tells of its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ring::digest;

/// What is served.
#[derive(Clone, Debug)]
pub struct Repository {
    /// `org/name`.
    pub name: String,
    /// Its files.
    pub folder: PathBuf,
    /// Files larger than this are in storage (git LFS).
    pub large_from: u64,
    /// Files on one page of the tree.
    pub page: usize,
}

impl Repository {
    /// A folder, with the sizes of the real hub.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            large_from: 1 << 20,
            page: 1000,
        }
    }
}

/// The folder as a commit.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, Blob>,
}

#[derive(Clone)]
pub(super) struct Blob {
    pub(super) size: u64,
    /// git's.
    pub(super) oid: String,
    pub(super) sha256: Option<String>,
}

impl Snapshot {
    pub(super) fn of(repository: &Repository) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&repository.folder, &repository.folder, repository.large_from, &mut files)?;
        let mut digest = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        for (path, blob) in &files {
            digest.update(format!("{path}\0{}\n", blob.oid).as_bytes());
        }
        Ok(Self {
            commit: hex(digest.finish().as_ref()),
            files,
        })
    }
}

fn collect(root: &Path, folder: &Path, large_from: u64, files: &mut BTreeMap<String, Blob>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, large_from, files)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        files.insert(name, blob(&path, large_from)?);
    }
    Ok(())
}

fn blob(path: &Path, large_from: u64) -> Result<Blob> {
    let mut file = fs::File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let size = file.metadata()?.len();
    let mut git = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    git.update(format!("blob {size}\0").as_bytes());
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        git.update(&block[..read]);
        sha256.update(&block[..read]);
    }
    Ok(Blob {
        size,
        oid: hex(git.finish().as_ref()),
        sha256: (size > large_from).then(|| hex(sha256.finish().as_ref())),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
