//! The hub of Hugging Face and its mirrors: three requests of its HTTP API.
//!
//! ```text
//! GET /api/models/{repo}/revision/{revision}             → the commit, which everything after it is pinned to
//! GET /api/models/{repo}/tree/{commit}?recursive=true    → files, sizes, checksums; a page at a time
//! GET /{repo}/resolve/{commit}/{path}                    → content, often by a redirect to storage elsewhere
//! ```
//!
//! `HF_ENDPOINT` names another hub; plain `http://` is taken there, because whoever sets it runs it. `HF_TOKEN` goes to that host only.

use std::ops::Range;

use http::header::{AUTHORIZATION, LINK, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::Environment;
use super::failure::{Failure, Reason};
use super::listing::{Check, Found, MOST_FILES, RemoteFile};
use super::location::{DATASETS, is_commit};
use super::wire::{Content, busy, content, host, quote, range_header, send, text, whole};

const ENDPOINT: &str = "https://huggingface.co";
/// A page of the hub has a thousand files.
const LARGEST_PAGE: usize = 16 << 20;
const MOST_PAGES: usize = 200;

/// A repository of the hub.
#[derive(Clone)]
pub(super) struct Hub {
    client: Client,
    endpoint: Url,
    token: Option<HeaderValue>,
    repository: String,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

/// One line of a tree.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

impl Hub {
    pub(super) fn new(client: Client, environment: &Environment, repository: &str) -> Result<Self, Failure> {
        let text = environment.get("HF_ENDPOINT").unwrap_or(ENDPOINT);
        let is_of_hub = |url: &Url| {
            ["https", "http"].contains(&url.scheme()) && url.has_host() && url.username().is_empty() && url.password().is_none()
        };
        let endpoint = Url::parse(text).ok().filter(is_of_hub).ok_or_else(|| {
            Failure::new(
                Reason::InvalidSource,
                "HF_ENDPOINT is not the URL of a hub",
                format!("write it like {ENDPOINT}, and put credentials into HF_TOKEN"),
            )
        })?;
        let bearer = |token: &str| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Failure::new(
                    Reason::Unauthorized,
                    "HF_TOKEN has characters that no token has",
                    "set it to the token alone",
                )
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self {
            client,
            endpoint,
            token: environment.get("HF_TOKEN").map(bearer).transpose()?,
            repository: repository.to_owned(),
        })
    }

    /// The commit that a revision is now.
    pub(super) async fn commit(&self, revision: &str) -> Result<String, Failure> {
        if is_commit(revision) {
            return Ok(revision.to_ascii_lowercase());
        }
        let url = self.url(self.api(), &["revision", revision]);
        let Commit { sha } = self.json(&self.ask(url, revision).await?.1)?;
        match is_commit(&sha) {
            true => Ok(sha),
            false => Err(Failure::unreachable(format!(
                "{} names a commit that is none",
                host(&self.endpoint)
            ))),
        }
    }

    /// The files of a commit.
    pub(super) async fn tree(&self, commit: &str) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        let mut next = Some(self.url(self.api(), &["tree", commit]));
        if let Some(first) = &mut next {
            first.set_query(Some("recursive=true"));
        }
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { return Ok(found) };
            let (headers, page) = self.ask(url, commit).await?;
            let entries: Vec<Entry> = self.json(&page)?;
            found.extend(entries.into_iter().filter(|entry| entry.kind == "file").map(file));
            next = text(&headers, LINK.as_str())
                .and_then(next_page)
                .and_then(|url| self.at_endpoint(url));
            if found.len() > MOST_FILES {
                break;
            }
        }
        Err(Failure::new(
            Reason::InvalidSource,
            format!("{} has more than {MOST_FILES} files", self.repository),
            "fetch a repository that holds one model",
        ))
    }

    /// A part of a file, at a commit.
    pub(super) async fn open(&self, commit: &str, file: &RemoteFile, range: &Range<u64>) -> Result<Content, Failure> {
        let mut segments = vec!["resolve", commit];
        segments.extend(file.path.as_str().split('/'));
        let request = self.request(self.url(&[], &segments)).header(RANGE, range_header(range));
        let response = send(request, host(&self.endpoint)).await?;
        if response.status().is_success() {
            return content(response, range, file.size);
        }
        if host(response.url()) != host(&self.endpoint) || response.url().port_or_known_default() != self.endpoint.port_or_known_default() {
            // The hub signs links to its storage for some minutes; the next attempt gets a fresh one.
            let storage = host(response.url());
            let failure = busy(response.status(), response.headers(), storage);
            return Err(
                failure.unwrap_or_else(|| Failure::unreachable(format!("{storage} answered {} to a link of the hub", response.status())))
            );
        }
        Err(self.refusal(response.status(), response.headers(), commit))
    }

    /// Names of datasets say what they are, those of models do not.
    fn api(&self) -> &'static [&'static str] {
        if self.repository.starts_with(DATASETS) {
            &["api"]
        } else {
            &["api", "models"]
        }
    }

    fn url(&self, before: &[&str], after: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(before)
                .extend(self.repository.split('/'))
                .extend(after);
        }
        url
    }

    fn request(&self, url: Url) -> RequestBuilder {
        let request = self.client.get(url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    /// The headers and the body of an answer of the API.
    async fn ask(&self, url: Url, revision: &str) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let response: Response = send(self.request(url), host(&self.endpoint)).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response.status(), response.headers(), revision));
        }
        let headers = response.headers().clone();
        Ok((headers, whole(response, LARGEST_PAGE).await?))
    }

    fn json<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| {
            Failure::unreachable(format!(
                "{} does not answer as a hub does ({error}); check HF_ENDPOINT",
                host(&self.endpoint)
            ))
        })
    }

    /// The same page at our endpoint: a mirror may pass on links to what it mirrors, and the token is for the endpoint.
    fn at_endpoint(&self, link: &str) -> Option<Url> {
        let link = self.endpoint.join(link).ok()?;
        if link.origin() == self.endpoint.origin() {
            return Some(link);
        }
        let mut url = self.endpoint.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{}", link.path()));
        url.set_query(link.query());
        Some(url)
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, revision: &str) -> Failure {
        let code = text(headers, "x-error-code").unwrap_or_default();
        let said = quote(text(headers, "x-error-message").unwrap_or_default());
        let (name, hub) = (&self.repository, host(&self.endpoint));
        let failure = |reason, problem: String, remedy: String| Failure::new(reason, problem, remedy);
        if let Some(busy) = busy(status, headers, hub) {
            return busy;
        }
        let has_token = self.token.is_some();
        match (status.as_u16(), code) {
            (_, "GatedRepo") => {
                let who = if has_token {
                    "has not granted it to the account of HF_TOKEN"
                } else {
                    "must know who asks"
                };
                let remedy = format!(
                    "ask for access at {}, and set HF_TOKEN to a token of that account",
                    self.url(&[], &[])
                );
                failure(
                    Reason::GatedModel,
                    format!("the owner of {name} grants access one by one, and {who}"),
                    remedy,
                )
            }
            (_, "RevisionNotFound") => {
                let remedy = "name a branch, a tag or a whole commit that it has".to_owned();
                failure(Reason::RevisionNotFound, format!("{name} has no revision {revision}"), remedy)
            }
            (_, "EntryNotFound") => {
                let remedy = "fetch it again; if that does not help, tell the owner of the repository".to_owned();
                failure(
                    Reason::SourceNotFound,
                    format!("{hub} has lost a file of {name} that it lists"),
                    remedy,
                )
            }
            (401, _) if has_token && code != "RepoNotFound" => {
                let remedy = "set it to a valid token that may read".to_owned();
                failure(
                    Reason::Unauthorized,
                    format!("{hub} does not take the token in HF_TOKEN ({said})"),
                    remedy,
                )
            }
            (401 | 404, _) => {
                let remedy = match has_token {
                    true => "check the name, and whether the account of HF_TOKEN may read it".to_owned(),
                    false => "check the name; if it is private, set HF_TOKEN to a token that may read it".to_owned(),
                };
                failure(Reason::SourceNotFound, format!("{hub} shows no model {name}"), remedy)
            }
            (403, _) => {
                let remedy = "set HF_TOKEN to a token with the right to read it".to_owned();
                failure(Reason::Unauthorized, format!("{hub} refuses {name} ({said})"), remedy)
            }
            _ => Failure::unreachable(format!("{hub} answered {status} ({said})")),
        }
    }
}

fn file(entry: Entry) -> Found {
    let (size, check) = match entry.lfs {
        // Some mirrors write the algorithm before the digest.
        Some(Large { oid, size }) => (size, Check::Sha256(oid.trim_start_matches("sha256:").to_ascii_lowercase())),
        None => (entry.size, Check::GitBlob(entry.oid.to_ascii_lowercase())),
    };
    Found {
        name: entry.path,
        size,
        check,
        etag: None,
    }
}

/// The URL of the next page, of `<https://…>; rel="next", <https://…>; rel="first"`.
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (url, attributes) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = attributes
            .split(';')
            .any(|attribute| ["rel=\"next\"", "rel=next"].contains(&attribute.trim()));
        is_next.then_some(url)
    })
}

#[cfg(test)]
mod tests;
