//! The URI of a source.
//!
//! | URI | what it names |
//! |---|---|
//! | `hf://org/name` | a repository of the hub, at its branch `main` |
//! | `hf://org/name@revision` | the same at a branch, tag or commit; a slash in it is written `%2F`, but for `refs/pr/N` and `refs/convert/NAME` |
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
        /// `org/name`.
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
}

impl Location {
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

const HUB_FORMS: &str = "write it as hf://organization/name, hf://organization/name@revision or hf://organization/name@revision/path";

fn hub(uri: &str, rest: &str) -> Result<Location, Failure> {
    let wrong = || invalid(uri, "is not a model of the hub", HUB_FORMS);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && ![".", ".."].contains(&name)
    };
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
        repository: format!("{organization}/{name}"),
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(uri: &str) -> (String, String, Option<String>) {
        match Location::parse(uri).unwrap() {
            Location::Hub {
                repository,
                revision,
                path,
            } => (repository, revision, path.map(String::from)),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_repository_may_have_a_revision_and_a_path() {
        let case = |uri: &str, revision: &str, path: Option<&str>| {
            assert_eq!(
                parts(uri),
                ("org/name-1.5".into(), revision.into(), path.map(str::to_owned)),
                "{uri}"
            );
        };
        case("hf://org/name-1.5", "main", None);
        case("hf://org/name-1.5@v1", "v1", None);
        case("hf://org/name-1.5/q4/model.gguf", "main", Some("q4/model.gguf"));
        case("hf://org/name-1.5@v1/q4/model.gguf", "v1", Some("q4/model.gguf"));
        case("hf://org/name-1.5@v1/q4/", "v1", Some("q4"));
        case("hf://org/name-1.5@refs/pr/7", "refs/pr/7", None);
        case("hf://org/name-1.5@refs/pr/7/a/b", "refs/pr/7", Some("a/b"));
        case("hf://org/name-1.5@feature%2Fx/a", "feature/x", Some("a"));
        case("hf://org/name-1.5/a@b.bin", "main", Some("a@b.bin"));
    }

    #[test]
    fn what_cannot_be_a_repository_is_refused_with_the_forms() {
        for uri in [
            "hf://",
            "hf://name",
            "hf:///name",
            "hf://org/",
            "hf://org/name@",
            "hf://org/name@../x",
            "hf://org/na me",
            "hf://org/name/../x",
            "hf://../x",
        ] {
            let failure = Location::parse(uri).unwrap_err();
            assert_eq!(failure.reason, Reason::InvalidSource, "{uri}");
            assert!(failure.message.contains("hf://organization/name@revision"), "{failure}");
        }
    }

    #[test]
    fn only_a_whole_commit_or_a_checksum_pins_a_source() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let pinned = |uri: &str| Location::parse(uri).unwrap().pinned().map(str::to_owned);
        assert_eq!(pinned(&format!("hf://a/b@{commit}")).as_deref(), Some(commit));
        assert_eq!(pinned("hf://a/b@main"), None);
        assert_eq!(pinned("hf://a/b@01234567"), None);
        assert_eq!(pinned("s3://bucket/x/"), None);
        assert_eq!(pinned("https://host/x"), None);
        assert!(
            pinned(&format!("https://host/x#sha256={}", "AB".repeat(32)))
                .unwrap()
                .starts_with("abab")
        );
    }

    #[test]
    fn buckets_have_a_prefix_or_a_key() {
        let bucket = |store, prefix: &str| Location::Bucket {
            store,
            name: "weights".into(),
            prefix: prefix.into(),
        };
        assert_eq!(Location::parse("s3://weights/llama/8b/").unwrap(), bucket(Store::S3, "llama/8b"));
        assert_eq!(Location::parse("gs://weights").unwrap(), bucket(Store::Gcs, ""));
        assert_eq!(Location::parse("az://weights/a b.gguf").unwrap(), bucket(Store::Azure, "a b.gguf"));
        assert!(Location::parse("s3:///x").is_err());
        assert!(Location::parse("s3://key:secret@weights/x").is_err());
    }

    #[test]
    fn plain_http_is_for_this_machine_or_with_a_checksum() {
        assert!(Location::parse("http://127.0.0.1:8000/x.gguf").is_ok());
        assert!(Location::parse("http://[::1]/x.gguf").is_ok());
        assert!(Location::parse(&format!("http://mirror/x.gguf#sha256={}", "0".repeat(64))).is_ok());
        assert!(Location::parse("http://mirror/x.gguf").unwrap_err().message.contains("#sha256="));
        assert!(Location::parse("https://host/x.gguf#sha256=12").is_err());
    }

    #[test]
    fn secrets_in_a_url_are_refused_or_not_shown() {
        let credentials = Location::parse("https://me:hunter2@host/x").unwrap_err().to_string();
        assert!(!credentials.contains("hunter2"), "{credentials}");
        let presigned = Location::parse("https://host/x?signature=hunter2").unwrap();
        assert!(!format!("{presigned} {presigned:?}").contains("hunter2"), "{presigned}");
        let refused = Location::parse("http://host/x?signature=hunter2").unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn what_pods_mount_is_not_fetched() {
        for uri in ["oci://registry/model:1", "pvc://claim/path"] {
            assert!(Location::parse(uri).unwrap_err().message.contains("mount it"), "{uri}");
        }
        assert!(Location::parse("model.gguf").unwrap_err().message.contains("hf://"));
    }

    proptest! {
        #[test]
        fn what_is_shown_of_a_repository_means_the_same(uri in "hf://[a-z]{1,3}/[a-z.]{1,3}(@([a-z]{1,3}|refs/pr/[0-9]|[a-z]%2F[a-z]))?(/[a-z./@]{0,6})?") {
            if let Ok(location) = Location::parse(&uri) {
                prop_assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
            }
        }
    }
}
