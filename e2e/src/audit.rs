//! What was asked of the API server, read from its audit log: the tests' proof of silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A place in the audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
    offset: u64,
}

/// One request to the API server. A watch counts when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked: `system:serviceaccount:NAMESPACE:NAME`, `admin`, …
    pub user: String,
    /// The client program.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The plural, with its subresource after a slash; the path for what is not a resource.
    pub resource: String,
    /// Empty for cluster-wide ones.
    pub namespace: String,
    /// Empty for lists and creations.
    pub name: String,
    /// The answer's HTTP status.
    pub code: u16,
}

impl Audit {
    pub(crate) fn from_now(path: &Path) -> Result<Self> {
        let offset = path.metadata().context("the API server's audit log")?.len();
        Ok(Self {
            path: path.to_owned(),
            offset,
        })
    }

    /// The requests answered since this place, which moves on to now. The log is written before an answer is sent, so
    /// whatever the caller has seen is in it.
    pub fn take(&mut self) -> Result<Vec<Request>> {
        let mut file = File::open(&self.path)?;
        ensure!(
            file.metadata()?.len() >= self.offset,
            "the audit log was replaced: the cluster was restarted"
        );
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut seen, mut requests, mut lines) = (BTreeSet::new(), Vec::new(), BufReader::new(file));
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                break; // being written; the next call reads it whole
            }
            self.offset += line.len() as u64;
            let event: Event = serde_json::from_str(&line).context("a line of the audit log")?;
            // A watch has two events, begun and ended: the first counts.
            if seen.insert(event.audit_id.clone()) && !(event.verb == "watch" && event.stage == "ResponseComplete" && event.began_earlier())
            {
                requests.push(event.into());
            }
            line.clear();
        }
        Ok(requests)
    }
}

/// Counts requests by `verb resource code`, the form tests print and compare.
pub fn count<'a>(requests: impl IntoIterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts
            .entry(format!("{} {} {}", request.verb, request.resource, request.code))
            .or_default() += 1;
    }
    counts
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: String,
    stage_timestamp: String,
}

impl Event {
    /// Whether a `ResponseStarted` of this request must have been logged before.
    fn began_earlier(&self) -> bool {
        self.response_status.code == 200 && self.request_received_timestamp != self.stage_timestamp
    }
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Event> for Request {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        let resource = match (object.resource, object.subresource) {
            (resource, _) if resource.is_empty() => event.request_uri.split('?').next().unwrap_or_default().to_owned(),
            (resource, sub) if sub.is_empty() => resource,
            (resource, sub) => format!("{resource}/{sub}"),
        };
        Self {
            user: event.user.username,
            user_agent: event.user_agent,
            verb: event.verb,
            group: object.api_group,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.code,
        }
    }
}
