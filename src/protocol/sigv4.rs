//! AWS's signatures of requests, version 4, in headers: what <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//! says for every service but S3. Pure: the time is an argument, and what comes out are headers to add.

mod credentials;
mod date;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use ring::{digest, hmac};

pub use credentials::{BadCredentials, Credentials};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request that is to be signed, just as it will be sent: whoever sends it changes none of this.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The value of its `Host` header: with the port if it is not the scheme's own.
    pub host: &'a str,
    /// The path of its URL, as it stands in the request line, percent-encoded.
    pub path: &'a str,
    /// What follows the `?` of its URL, as it stands there. Empty: nothing.
    pub query: &'a str,
    /// Further headers that the signature is to cover, such as `content-type`. Not `host`, nor those that [`sign`] returns.
    pub headers: &'a [(&'a str, &'a str)],
    /// All of its body.
    pub body: &'a [u8],
}

/// Where a signature counts.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// The service's name for signing: `bedrock`, also where the host is `bedrock-runtime`.
    pub service: &'a str,
}

/// The headers that make `request` a signed one: `x-amz-date`, `authorization`, and `x-amz-security-token` where there is one. AWS takes them
/// for five minutes before and after `now`, which is in seconds since 1970 (up to the year 9999; a later time is taken for its last second).
#[must_use]
pub fn sign(request: &Request<'_>, scope: &Scope<'_>, credentials: &Credentials, now: u64) -> Vec<(&'static str, String)> {
    let time = date::basic(now);
    let day = &time[..8];
    let mut added = vec![("x-amz-date", time.clone())];
    added.extend(credentials.session_token.clone().map(|token| ("x-amz-security-token", token)));

    let (canonical, signed_headers) = canonical_request(request, &added);
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{place}\n{}", sha256(canonical.as_bytes()));
    let key = [day, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", credentials.secret_access_key).into_bytes(), |key, part| {
            mac(&key, part)
        });
    let signature = hex(&mac(&key, &to_sign));

    let id = &credentials.access_key_id;
    added.push((
        "authorization",
        format!("{ALGORITHM} Credential={id}/{place}, SignedHeaders={signed_headers}, Signature={signature}"),
    ));
    added
}

/// The text whose hash is signed, and the names of the headers in it.
fn canonical_request(request: &Request<'_>, added: &[(&'static str, String)]) -> (String, String) {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let own = added.iter().map(|(name, value)| (*name, value.as_str()));
    let all = request.headers.iter().copied().chain([("host", request.host)]).chain(own);
    for (name, value) in all {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        headers.entry(name.to_ascii_lowercase()).or_default().push(words.join(" "));
    }
    let lines: String = headers
        .iter()
        .map(|(name, values)| format!("{name}:{}\n", values.join(",")))
        .collect();
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    let names = names.join(";");
    let (method, path, query) = (request.method, canonical_path(request.path), canonical_query(request.query));
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", sha256(request.body));
    (text, names)
}

/// Without `.`, `..` and empty segments, and with every byte that is not unreserved encoded, also the `%` of what is encoded already: the
/// rule for services other than S3. Bedrock's model names hold `:` and `/`, which are encoded twice so.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let encoded: String = segments.iter().map(|segment| format!("/{}", encode(segment.as_bytes()))).collect();
    match path.ends_with('/') || encoded.is_empty() {
        true => encoded + "/",
        false => encoded,
    }
}

/// Sorted by name, then by value, each decoded and encoded again, so that both come out encoded in AWS's way.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent-encodes every byte but the unreserved ones of RFC 3986, in upper case: how a value becomes a segment of a path, or a part of a
/// query.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(*byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    Cow::Owned(decoded)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
