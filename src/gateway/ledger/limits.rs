//! How fast: what each client, or all of a policy, has done in the latest minute at this gateway, and how it is told.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::jiff::Timestamp;

use super::meters::{Entered, Meters};
use crate::api::budget::Limit;
use crate::plan::ledger::{Level, Over, Standing, subject};
use crate::plan::names::Key;
use crate::plan::routing::Client;

/// Whose: a policy, the position of its limit, and who shares it.
pub(super) type Whose = (Key, usize, String);

/// A request that a limit does not let in.
pub(super) struct Refused {
    pub(super) limit: Limit,
    pub(super) over: Over,
    pub(super) standing: Standing,
}

/// Lets a request in that may take so many tokens, if every limit does.
pub(super) fn enter(
    meters: &Meters<Whose>,
    policy: &Key,
    limits: &[Limit],
    client: &Client,
    tokens: u64,
    now: Timestamp,
) -> Result<(Vec<Entered>, Standing), Refused> {
    let mut entered: Vec<Entered> = Vec::with_capacity(limits.len());
    let mut standing = Standing::default();
    for (at, limit) in limits.iter().enumerate() {
        let whose = (policy.clone(), at, subject(limit.per.into(), client));
        let (result, left) = meters.enter(whose, limit.into(), tokens, now);
        standing = standing.and(left);
        match result {
            Ok(one) => entered.push(one),
            Err(over) => {
                entered.into_iter().for_each(Entered::undo);
                let limit = limit.clone();
                return Err(Refused { limit, over, standing });
            }
        }
    }
    Ok((entered, standing))
}

const OPENAI: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];
const ANTHROPIC: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
];

/// What is left, as the client's SDK reads it: OpenAI's say how long until all is there again, Anthropic's when.
pub(super) fn headers(standing: Standing, is_anthropic: bool, now: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let names = if is_anthropic { &ANTHROPIC } else { &OPENAI };
    for (names, level) in names.iter().zip([standing.requests, standing.tokens]) {
        let Some(Level { limit, remaining, reset }) = level else {
            continue;
        };
        let reset = match is_anthropic {
            true => now
                .checked_add(reset)
                .unwrap_or(now)
                .round(k8s_openapi::jiff::Unit::Second)
                .unwrap_or(now)
                .to_string(),
            false => written(reset),
        };
        let values = [HeaderValue::from(limit), HeaderValue::from(remaining)];
        for (name, value) in names.iter().zip(values.into_iter().chain(HeaderValue::try_from(reset))) {
            headers.insert(name.clone(), value);
        }
    }
    headers
}

/// As OpenAI writes it: `120ms`, `7.5s`, `6m0s`.
fn written(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        millis @ 1_000..60_000 => format!("{}s", millis as f64 / 1_000.0),
        millis => format!("{}m{}s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_sdks_read_them() {
        for (millis, text) in [(0, "0ms"), (120, "120ms"), (7_500, "7.5s"), (60_000, "1m0s"), (365_000, "6m5s")] {
            assert_eq!(written(Duration::from_millis(millis)), text);
        }
    }
}
