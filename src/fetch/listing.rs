//! What a source consists of: a revision, its files, and what each must be. Names that servers give become file names only here.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Reason};

/// More files than any model has; a listing that goes on beyond it is a mistake.
pub(super) const MOST_FILES: usize = 20_000;
/// Names of our own files begin with it.
pub(super) const OURS: &str = ".portfolio-";
/// What is added to the name of a file while it is not whole.
pub(super) const PART: &str = ".part";

/// Longer than any name of a model's file, and short enough for a file system with `.part` added.
const LONGEST_PATH: usize = 1024;
const LONGEST_NAME: usize = 240;

/// The path of a file below the folder: relative, without `.` and `..`, and nothing of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

impl FilePath {
    /// Checks a name that a source gave.
    ///
    /// # Errors
    /// `UnsafeName` when it could lead out of the folder or cannot be a file's name.
    pub fn new(name: &str) -> Result<Self, Failure> {
        let flaw = if name.is_empty() {
            Some("is empty")
        } else if name.len() > LONGEST_PATH {
            Some("is too long")
        } else if name.contains('\\') || name.chars().any(char::is_control) {
            Some("has a backslash or a control character")
        } else {
            name.split('/').find_map(|part| match part {
                "" => Some("is absolute or has an empty part"),
                "." | ".." => Some("has a part . or .."),
                _ if part.len() > LONGEST_NAME => Some("has a part that is too long"),
                _ if part.starts_with(OURS) => Some("has a part that is reserved"),
                _ => None,
            })
        };
        match flaw {
            None => Ok(Self(name.to_owned())),
            Some(flaw) => Err(Failure::new(
                Reason::UnsafeName,
                format!("the source names a file {name:?}, which {flaw}"),
                "leave it out with --exclude, or tell the owner of the source",
            )),
        }
    }

    /// The path as the source writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the file is when it is whole.
    pub(super) fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// Where it is until then.
    pub(super) fn part_within(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}{PART}", self.0))
    }
}

impl TryFrom<String> for FilePath {
    type Error = Failure;

    fn try_from(name: String) -> Result<Self, Failure> {
        Self::new(&name)
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the bytes of a file are told to be the right ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// By their number alone: the source has no checksum.
    Size,
    /// SHA-256 of the content, in hexadecimal.
    Sha256(String),
    /// SHA-1 of git's blob, in hexadecimal: `blob <size>\0` before the content.
    GitBlob(String),
}

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Where it goes.
    pub path: FilePath,
    /// Bytes.
    pub size: u64,
    /// What it must be.
    pub check: Check,
    /// Its version, where the source pins each file by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// A file as a source names it. Becomes a [`RemoteFile`] if it is wanted and its name is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) check: Check,
    pub(super) etag: Option<String>,
}

/// Everything that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The source without credentials.
    pub source: String,
    /// What is pinned: a commit of the hub, else a digest or tag of the content.
    pub revision: String,
    /// The files, in the order of their paths.
    pub files: Vec<RemoteFile>,
}

impl Listing {
    /// Checks that the files can be in one folder. Without a `revision` of the whole, it is made of the versions of the files.
    pub(super) fn new(source: String, revision: Option<String>, found: Vec<Found>) -> Result<Self, Failure> {
        let of = |found: Found| {
            let Found { name, size, check, etag } = found;
            let path = FilePath::new(&name)?;
            Ok(RemoteFile { path, size, check, etag })
        };
        let mut files = found.into_iter().map(of).collect::<Result<Vec<RemoteFile>, Failure>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(flaw) = clash(&files) {
            return Err(Failure::new(Reason::UnsafeName, flaw, "leave one of them out with --exclude"));
        }
        let revision = revision.unwrap_or_else(|| versions(&files));
        Ok(Self { source, revision, files })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // Saturating: the sizes are what a server says.
        self.files.iter().fold(0, |sum, file| file.size.saturating_add(sum))
    }
}

/// What keeps sorted files from being in one folder.
fn clash(files: &[RemoteFile]) -> Option<String> {
    if let Some(pair) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Some(format!("the source has two files {}", pair[0].path));
    }
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.iter().find_map(|path| {
        let whole = path.strip_suffix(PART).filter(|whole| paths.contains(whole));
        let of_part = whole.map(|whole| format!("the source has {whole} and {path}, which is the name of the first while it is fetched"));
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        let folder = folders.find(|folder| paths.contains(folder));
        of_part.or(folder.map(|folder| format!("the source has a file {folder} and a folder of that name")))
    })
}

/// One digest for the versions of all files.
fn versions(files: &[RemoteFile]) -> String {
    let mut digest = digest::Context::new(&digest::SHA256);
    for RemoteFile {
        path,
        size,
        etag,
        check: _,
    } in files
    {
        digest.update(format!("{path}\0{size}\0{}\n", etag.as_deref().unwrap_or_default()).as_bytes());
    }
    format!("versions-{}", &hex(digest.finish().as_ref())[..40])
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn listing(paths: &[&str], etag: &str) -> Result<Listing, Failure> {
        let found = |path: &&str| Found {
            name: (*path).to_owned(),
            size: 1,
            check: Check::Size,
            etag: Some(etag.to_owned()),
        };
        Listing::new("s3://bucket/".into(), None, paths.iter().map(found).collect())
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in [
            "config.json",
            "original/tokenizer.model",
            ".gitattributes",
            "a b/ü.gguf",
            "x..y",
            "...",
            "x.part",
        ] {
            assert_eq!(FilePath::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            ".portfolio-complete.json",
            "a/.portfolio-x",
        ] {
            assert_eq!(FilePath::new(name).unwrap_err().reason, Reason::UnsafeName, "{name:?}");
        }
        assert!(FilePath::new(&"x".repeat(300)).is_err());
        assert!(serde_json::from_str::<FilePath>("\"../x\"").is_err());
    }

    #[test]
    fn files_that_cannot_be_in_one_folder_are_refused() {
        assert!(listing(&["a", "b/c", "b/d"], "1").is_ok());
        for wrong in [["a", "a"], ["a", "a/b"], ["a", "a.part"], ["a", "../b"]] {
            assert_eq!(listing(&wrong, "1").unwrap_err().reason, Reason::UnsafeName, "{wrong:?}");
        }
    }

    #[test]
    fn without_a_revision_the_versions_of_the_files_are_one() {
        let revision = |paths: &[&str], etag| listing(paths, etag).unwrap().revision;
        assert_eq!(revision(&["a", "b"], "1"), revision(&["b", "a"], "1"));
        assert_ne!(revision(&["a", "b"], "1"), revision(&["a", "b"], "2"));
        assert_ne!(revision(&["a", "b"], "1"), revision(&["a"], "1"));
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_the_file_stays_in_the_folder(name in "([./a\\\\\u{0}~-]|\\.\\.|/){0,12}") {
            if let Ok(path) = FilePath::new(&name) {
                let folder = Path::new("/cache/model");
                for place in [path.within(folder), path.part_within(folder)] {
                    let below = place.strip_prefix(folder).unwrap();
                    prop_assert!(below.components().count() > 0);
                    prop_assert!(below.components().all(|part| matches!(part, Component::Normal(_))));
                }
            }
        }
    }
}
