//! Which headers pass. A list of those that do, not of those that do not: credentials, cookies, fingerprints of SDKs, organisations and
//! internal addresses need not be known by name to be kept back.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::bill::Charge;
use crate::plan::names::Key;
use crate::protocol::Dialect;
use crate::protocol::exchange::Exchange;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same to clients of Anthropic, whose SDKs know it by this name.
pub(super) const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The model that answered, as `namespace/name`.
pub(super) const MODEL: HeaderName = HeaderName::from_static("x-portfolio-model");
/// How many attempts it took.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-portfolio-attempts");

/// What was left out of the request because the model's protocol has no place for it, by the client's names.
pub(super) const LOST: HeaderName = HeaderName::from_static("x-portfolio-lost");
/// How many personal identifiers the model did not see.
pub(super) const REDACTED: HeaderName = HeaderName::from_static("x-portfolio-redacted");
/// What an answer cost, in US dollars; `unknown` where that is not known. Of a stream that is known at its end only, so that it is a trailer.
pub(super) const COST: HeaderName = HeaderName::from_static("x-portfolio-cost-usd");
/// `true` where the answer, or what it cost, is an estimate.
pub(super) const ESTIMATED: HeaderName = HeaderName::from_static("x-portfolio-estimated");

/// Whether an answer was kept: `hit`, `miss`, or `bypass` where the request wants none. Only where the policy keeps answers.
pub(super) const CACHE: HeaderName = HeaderName::from_static("x-portfolio-cache");
/// By which SDKs know that it is of no use to ask again.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const TO_MODELS: [HeaderName; 4] = [
    header::ACCEPT,
    REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// What belongs to Anthropic's protocol, and passes where both sides speak it.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// The version of Anthropic's protocol that is spoken where the client names none.
const ANTHROPIC: HeaderValue = HeaderValue::from_static("2023-06-01");

/// No encoding: a compressed answer is refused, and what is written here is plain.
const TO_CLIENTS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
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

/// Whether a client speaks Anthropic's protocol: its SDKs always name the version of it, and by some paths there is no other.
pub(super) fn is_anthropic(path: &str, headers: &HeaderMap) -> bool {
    path.starts_with("/v1/messages") || headers.contains_key(VERSION)
}

/// The headers of a request to a model. Its length and host are the HTTP client's to set.
pub(super) fn to_model(client: &HeaderMap, exchange: &Exchange) -> HeaderMap {
    let mut headers = passed(client, &TO_MODELS);
    if exchange.back.dialect() == Dialect::Anthropic {
        let is_same = exchange.back.is_unchanged();
        let version = client.get(VERSION).filter(|_| is_same).cloned();
        headers.insert(VERSION, version.unwrap_or(ANTHROPIC));
        for beta in client.get_all(BETA).iter().filter(|_| is_same) {
            headers.append(BETA, beta.clone());
        }
    }
    if !exchange.back.is_unchanged() {
        headers.remove(header::ACCEPT);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers are read. Without this any encoding would do.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("llm-portfolio/", env!("CARGO_PKG_VERSION"))),
    );
    headers
}

/// What of a client's headers goes on with a copy of its request: what [`to_model`] looks at, without the trace that it does not belong to.
pub(super) fn of_copy(client: &HeaderMap) -> HeaderMap {
    passed(client, &[header::ACCEPT, REQUEST_ID, VERSION, BETA])
}

/// The type of a body that is written here, in one piece.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The type of a stream that is written here.
pub(super) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The headers of an answer to a client, whose body is of type `written` if it is not the model's own.
pub(super) fn to_client(
    model: &HeaderMap,
    exchange: &Exchange,
    written: Option<HeaderValue>,
    answered_by: &Key,
    attempts: usize,
) -> HeaderMap {
    let mut headers = passed(model, &TO_CLIENTS);
    if let Some(kind) = written {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(lost) = HeaderValue::try_from(exchange.lost.fields().join(", "))
        && !lost.is_empty()
    {
        headers.insert(LOST, lost);
    }
    if exchange.back.redacted() > 0 {
        headers.insert(REDACTED, HeaderValue::from(exchange.back.redacted()));
    }
    if let Ok(name) = HeaderValue::try_from(answered_by.to_string()) {
        headers.insert(MODEL, name);
    }
    headers.insert(ATTEMPTS, HeaderValue::from(attempts));
    headers
}

/// Whether a client takes fields after the body (RFC 9110, section 6.5.1).
pub(super) fn takes_trailers(client: &HeaderMap) -> bool {
    let accepted = client.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    let mut accepted = accepted.flat_map(|value| value.split(','));
    accepted.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Announces what follows the body.
pub(super) fn announce_cost(headers: &mut HeaderMap) {
    headers.append(header::TRAILER, HeaderValue::from_name(COST));
    headers.append(header::TRAILER, HeaderValue::from_name(ESTIMATED));
}

/// What the answer cost: in US dollars, or that this is unknown, which is not zero.
pub(super) fn add_cost(headers: &mut HeaderMap, charge: &Charge) {
    let cost = charge
        .cost
        .usd()
        .map_or(Ok(HeaderValue::from_static("unknown")), HeaderValue::try_from);
    headers.insert(COST, cost.expect("an amount is digits and a point"));
    if charge.is_estimated {
        headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    }
}

/// The request's id as text, for protocols that name each answer.
pub(super) fn printable_id(headers: &HeaderMap) -> Cow<'_, str> {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.chars().filter(char::is_ascii_alphanumeric).collect())
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
