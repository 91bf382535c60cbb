//! The URI of a source.
//!
//! | URI | what it names |
//! |---|---|
//! | `hf://org/name` | a repository of the hub, at its branch `main` |
//! | `hf://org/name@revision` | the same at a branch, tag or commit; a slash in it is written `%2F`, but for `refs/pr/N` and `refs/convert/NAME` |
//! | `hf://datasets/org/name@revision/path` | the same of a dataset |
//! | `hf://org/name@revision/path` | one file of it, or the files of one folder; with `…-00001-of-00003.gguf` all parts come along |
//! | `s3://bucket/prefix/`, `gs://…`, `az://container/prefix/` | the objects below a prefix, or one object |
//! | `https://host/path/file#sha256=HEX` | one file, and what it must be (optional) |
//!
//! Files keep their paths in the repository, or below the prefix. `http://` is for this machine, or with `#sha256=` for any: nothing else
//! could tell what came.

use std::fmt;

use reqwest::Url;

use super::failure::{Failure, Reason};
use super::listing::FilePath;

/// Where weights come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A repository of the hub.
    Hub {
        /// `org/name`, or `datasets/org/name`.
        repository: String,
        /// A branch, tag or commit.
        revision: String,
        /// One file, or one folder.
        path: Option<FilePath>,
    },
    /// Objects in a bucket.
    Bucket {
        /// Whose protocol.
        store: Store,
        /// The bucket, or container.
        name: String,
        /// The prefix or key, without a slash at its ends.
        prefix: String,
    },
    /// One file.
    Web {
        /// Its URL, without the fragment.
        url: Url,
        /// The SHA-256 of its content.
        sha256: Option<String>,
    },
}

/// The protocols of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// S3 and what is compatible with it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Store {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

impl Location {
    /// Reads a URI.
    ///
    /// # Errors
    /// `InvalidSource`, with how it is written.
    pub fn parse(uri: &str) -> Result<Self, Failure> {
        match uri.split_once("://") {
            Some(("hf", rest)) => hub(uri, rest),
            Some(("s3", rest)) => bucket(uri, Store::S3, rest),
            Some(("gs", rest)) => bucket(uri, Store::Gcs, rest),
            Some(("az", rest)) => bucket(uri, Store::Azure, rest),
            Some(("https" | "http", _)) => web(uri),
            Some(("oci", _)) => Err(invalid(
                uri,
                "is an image, which nodes pull themselves",
                "let the pod mount it as an image volume; there is nothing to fetch",
            )),
            Some(("pvc", _)) => Err(invalid(
                uri,
                "is a volume claim, which pods mount",
                "let the pod mount it; there is nothing to fetch",
            )),
            _ => Err(invalid(uri, "is not a source", "use hf://, s3://, gs://, az:// or https://")),
        }
    }

    /// The revision, when it says by itself what every byte must be.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        match self {
            Self::Hub { revision, .. } if is_commit(revision) => Some(revision),
            Self::Web { sha256, .. } => sha256.as_deref(),
            Self::Hub { .. } | Self::Bucket { .. } => None,
        }
    }

    /// Where below the folder the named thing lands: the path in a repository, the last part of a URL or of an object's key. Whether it is a
    /// file or a folder only the source knows.
    #[must_use]
    pub fn lands(&self) -> Option<String> {
        let last = |path: &str| path.rsplit('/').next().filter(|last| !last.is_empty()).map(str::to_owned);
        match self {
            Self::Hub { path, .. } => path.as_ref().map(|path| path.as_str().to_owned()),
            Self::Bucket { prefix, .. } => last(prefix),
            Self::Web { url, .. } => super::web::name(url).ok(),
        }
    }

    /// What it names, whatever its revision.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Hub {
                repository,
                path: Some(path),
                ..
            } => format!("hf://{repository}/{path}"),
            Self::Hub { repository, .. } => format!("hf://{repository}"),
            Self::Web { url, .. } => Self::Web {
                url: url.clone(),
                sha256: None,
            }
            .to_string(),
            Self::Bucket { .. } => self.to_string(),
        }
    }
}

/// Without what may be secret: the query of a URL, which presigned ones carry their signature in.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub {
                repository,
                revision,
                path,
            } => {
                write!(f, "hf://{repository}@{}", escaped(revision))?;
                path.iter().try_for_each(|path| write!(f, "/{path}"))
            }
            Self::Bucket { store, name, prefix } => write!(f, "{}://{name}/{prefix}", store.scheme()),
            Self::Web { url, sha256 } => {
                let mut url = url.clone();
                url.set_query(url.query().map(|_| "..."));
                url.set_fragment(sha256.as_ref().map(|hex| format!("sha256={hex}")).as_deref());
                write!(f, "{url}")
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether a revision is a whole commit, which never means anything else.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

fn invalid(uri: &str, problem: &str, remedy: &str) -> Failure {
    // A query may hold a signature.
    let uri = uri.split('?').next().unwrap_or_default();
    Failure::new(Reason::InvalidSource, format!("{uri:?} {problem}"), remedy)
}

/// What the names of the hub's datasets begin with.
pub(super) const DATASETS: &str = "datasets/";

const HUB_FORMS: &str = "write it as hf://organization/name, hf://organization/name@revision or hf://organization/name@revision/path";

fn hub(uri: &str, rest: &str) -> Result<Location, Failure> {
    let wrong = || invalid(uri, "is not a model of the hub", HUB_FORMS);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && ![".", ".."].contains(&name)
    };
    let (kind, rest) = rest.strip_prefix(DATASETS).map_or(("", rest), |rest| (DATASETS, rest));
    let (organization, rest) = rest.split_once('/').ok_or_else(wrong)?;
    let end = rest.find(['@', '/']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if !is_name(organization) || !is_name(name) {
        return Err(wrong());
    }
    let (revision, path) = match rest.strip_prefix('@') {
        Some(rest) => revision_and_path(rest),
        None => ("main", rest.strip_prefix('/').unwrap_or_default()),
    };
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    let is_wrong_in_a_revision = |c: char| c.is_whitespace() || c.is_control() || "?#%\\".contains(c);
    if revision.is_empty() || revision.split('/').any(|part| part.is_empty() || part == "..") || revision.contains(is_wrong_in_a_revision) {
        return Err(wrong());
    }
    let path = Some(path.trim_end_matches('/')).filter(|path| !path.is_empty());
    Ok(Location::Hub {
        repository: format!("{kind}{organization}/{name}"),
        revision,
        path: path.map(FilePath::new).transpose().map_err(|_| wrong())?,
    })
}

/// Splits `revision/path`. As the hub's own file system does: the hub's special references keep their slashes.
fn revision_and_path(rest: &str) -> (&str, &str) {
    let parts = if ["refs/pr/", "refs/convert/"].iter().any(|refs| rest.starts_with(refs)) {
        3
    } else {
        1
    };
    match rest.match_indices('/').nth(parts - 1) {
        Some((at, _)) => (&rest[..at], &rest[at + 1..]),
        None => (rest, ""),
    }
}

fn escaped(revision: &str) -> String {
    if ["refs/pr/", "refs/convert/"].iter().any(|refs| revision.starts_with(refs)) {
        revision.to_owned()
    } else {
        revision.replace('/', "%2F")
    }
}

fn bucket(uri: &str, store: Store, rest: &str) -> Result<Location, Failure> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_bucket = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_bucket(name) || prefix.contains(['?', '#']) {
        return Err(invalid(
            uri,
            "is not a place in a bucket",
            &format!(
                "write it as {0}://bucket/prefix/ or {0}://bucket/key; endpoint and credentials come from the environment",
                store.scheme()
            ),
        ));
    }
    Ok(Location::Bucket {
        store,
        name: name.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
    })
}

fn web(uri: &str) -> Result<Location, Failure> {
    let mut url =
        Url::parse(uri).map_err(|error| invalid(uri, &format!("is not a URL ({error})"), "write it as https://host/path/file"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::new(
            Reason::InvalidSource,
            format!("the URL to {} holds credentials", url.host_str().unwrap_or_default()),
            "leave them out: URIs are shown to everybody who may see the resource",
        ));
    }
    let sha256 = match url.fragment() {
        None | Some("") => None,
        Some(fragment) => {
            let hex = fragment.strip_prefix("sha256=").map(str::to_ascii_lowercase);
            let hex = hex.filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
            Some(hex.ok_or_else(|| {
                invalid(
                    uri,
                    "has a fragment that is no checksum",
                    "write it as #sha256= and 64 hexadecimal digits",
                )
            })?)
        }
    };
    url.set_fragment(None);
    if url.scheme() == "http" && sha256.is_none() && !is_loopback(&url) {
        return Err(invalid(
            uri,
            "would be fetched without anything to tell what came",
            "use https://, or add #sha256= and the checksum of the file",
        ));
    }
    Ok(Location::Web { url, sha256 })
}

/// Whether it is this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests;
