//! One file behind a plain URL, such as a release, a mirror, or a presigned link. Its version is its checksum, or else its `ETag`.

use std::ops::Range;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response, Url};

use super::failure::{Failure, Reason};
use super::listing::{Check, Found, RemoteFile};
use super::wire::{Content, busy, content, content_range, host, range_header, send, text};

/// One file.
#[derive(Clone)]
pub(super) struct Web {
    client: Client,
    url: Url,
    sha256: Option<String>,
}

impl Web {
    pub(super) fn new(client: Client, url: Url, sha256: Option<String>) -> Self {
        Self { client, url, sha256 }
    }

    /// The version of the file, and the file.
    pub(super) async fn list(&self) -> Result<(Option<String>, Vec<Found>), Failure> {
        let mut response = send(self.client.head(self.url.clone()), host(&self.url)).await?;
        // Presigned links are for GET alone, and some servers know no HEAD.
        if [403, 405, 501].contains(&response.status().as_u16()) {
            let request = self.client.get(self.url.clone()).header(RANGE, range_header(&(0..1)));
            response = send(request, host(&self.url)).await?;
        }
        if !response.status().is_success() {
            return Err(self.refusal(&response));
        }
        let headers = response.headers();
        let size = size(response.status(), headers).ok_or_else(|| {
            Failure::new(
                Reason::InvalidSource,
                format!("{} does not say how large the file is", host(&self.url)),
                "use a server that does, or a bucket",
            )
        })?;
        let etag = [ETAG, LAST_MODIFIED]
            .iter()
            .find_map(|name| text(headers, name.as_str()))
            .map(str::to_owned);
        let check = self.sha256.clone().map_or(Check::Size, Check::Sha256);
        let name = name(&self.url)?;
        let found = Found { name, size, check, etag };
        Ok((self.sha256.clone(), vec![found]))
    }

    /// A part of the file.
    pub(super) async fn open(&self, file: &RemoteFile, range: &Range<u64>) -> Result<Content, Failure> {
        let mut request = self.client.get(self.url.clone()).header(RANGE, range_header(range));
        if let Some(etag) = &file.etag
            && !etag.starts_with("W/")
        {
            // A weak tag may not be asked with; it is compared below all the same.
            request = request.header(IF_RANGE, etag);
        }
        let response = send(request, host(&self.url)).await?;
        let now = [ETAG, LAST_MODIFIED]
            .iter()
            .find_map(|name| text(response.headers(), name.as_str()));
        let is_other = response.status().is_success() && file.etag.is_some() && now.is_some() && now != file.etag.as_deref();
        if is_other || [StatusCode::PRECONDITION_FAILED, StatusCode::RANGE_NOT_SATISFIABLE].contains(&response.status()) {
            let problem = format!("{} changed while it was fetched", file.path);
            return Err(Failure::new(Reason::SourceChanged, problem, "fetch it again"));
        }
        if !response.status().is_success() {
            return Err(self.refusal(&response));
        }
        content(response, range, file.size)
    }

    fn refusal(&self, response: &Response) -> Failure {
        let (status, host) = (response.status(), host(&self.url));
        let fatal = |reason, remedy: &str| Failure::new(reason, format!("{host} answered {status}"), remedy);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => fatal(
                Reason::Unauthorized,
                "use a URL that needs no credentials, or a presigned one that has not expired",
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => fatal(Reason::SourceNotFound, "correct the URL"),
            _ => busy(status, response.headers(), host).unwrap_or_else(|| Failure::unreachable(format!("{host} answered {status}"))),
        }
    }
}

/// The size of the whole file.
fn size(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    match status {
        StatusCode::PARTIAL_CONTENT => content_range(text(headers, CONTENT_RANGE.as_str())?)?.1,
        _ => text(headers, CONTENT_LENGTH.as_str())?.parse().ok(),
    }
}

/// The name that the file gets: the last part of the path.
pub(super) fn name(url: &Url) -> Result<String, Failure> {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let name = unescaped(last).filter(|name| !name.is_empty());
    name.ok_or_else(|| {
        Failure::new(
            Reason::InvalidSource,
            format!("the path of the URL at {} does not end in a file's name", host(url)),
            "name one file; for many use hf:// or a bucket",
        )
    })
}

/// `a%20b` as `a b`.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match hex {
            Some(hex) => {
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_as_the_end_of_the_path() {
        let of = |url: &str| name(&Url::parse(url).unwrap());
        assert_eq!(of("https://host/a/b%20c.gguf?download=1").unwrap(), "b c.gguf");
        assert_eq!(of("https://host/%2e%2e%2fx").unwrap(), "../x");
        for url in ["https://host/", "https://host/folder/", "https://host/%ff", "https://host/%zz"] {
            assert_eq!(of(url).unwrap_err().reason, Reason::InvalidSource, "{url}");
        }
    }
}
