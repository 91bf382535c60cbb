//! Which headers pass. A list of those that do, not of those that do not: credentials, cookies, fingerprints of SDKs, organisations and
//! internal addresses need not be known by name to be kept back.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::plan::names::Key;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The model that answered, as `namespace/name`.
pub(super) const MODEL: HeaderName = HeaderName::from_static("x-portfolio-model");
/// How many attempts it took.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-portfolio-attempts");

const TO_MODELS: [HeaderName; 4] = [
    header::ACCEPT,
    REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

const TO_CLIENTS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
];

/// The longest id taken from a client.
const REQUEST_ID_LIMIT: usize = 128;

/// The client's own id if it is short and printable, else one of ours.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fit = |id: &&HeaderValue| !id.is_empty() && id.len() <= REQUEST_ID_LIMIT && id.as_bytes().iter().all(u8::is_ascii_graphic);
    match headers.get(REQUEST_ID).filter(fit) {
        Some(id) => id.clone(),
        None => HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).expect("hexadecimal digits are printable"),
    }
}

/// The headers of a request to a model. Its length and host are the HTTP client's to set.
pub(super) fn to_model(client: &HeaderMap, credential: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = passed(client, &TO_MODELS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("llm-portfolio/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(credential) = credential {
        headers.insert(header::AUTHORIZATION, credential.clone());
    }
    headers
}

/// The headers of an answer to a client.
pub(super) fn to_client(model: &HeaderMap, answered_by: &Key, attempts: usize) -> HeaderMap {
    let mut headers = passed(model, &TO_CLIENTS);
    if let Ok(name) = HeaderValue::try_from(answered_by.to_string()) {
        headers.insert(MODEL, name);
    }
    headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    headers
}

fn passed(headers: &HeaderMap, allowed: &[HeaderName]) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(allowed.len() + 3);
    for name in allowed {
        for value in headers.get_all(name) {
            passed.append(name, value.clone());
        }
    }
    passed
}
