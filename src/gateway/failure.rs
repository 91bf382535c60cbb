//! Why an attempt brought no answer, and what follows from it.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;

use super::balance::{LONGEST_ADVICE, Place};
use super::bill::Took;
use super::queue::NoTurn;
use crate::plan::ledger::Over;

/// Why an attempt brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, or not in time; and why.
    Unreachable(String),
    /// Nothing came in time.
    Silent(Duration),
    /// The connection closed instead of an answer. An idle one may have been closed by the other side just when the request was sent.
    Dropped,
    /// It ended before it was whole, or before its first content; and why.
    Cut(String),
    /// The rest of it did not come in time.
    Stalled(Duration),
    /// What came is not HTTP; and why.
    NotHttp(String),
    /// An error where content was expected, and what kind of one.
    Failed(Option<String>),
    /// What came is no answer in its protocol.
    Garbled,
    /// It is larger than may be written in another protocol.
    TooLarge,
    /// It is compressed, which was not asked for, and is not unpacked.
    Compressed,
    /// A status that another model may not have, the advice when to come back, and what kind of error it is.
    Status(StatusCode, Option<HeaderValue>, String),
    /// The request has more tokens than the model holds, and a later one holds more.
    TooLong,
    /// This endpoint does not have the adapter that is asked for.
    Lacking,
    /// The gateway has no credentials for it yet.
    NoCredentials,
    /// There is no token for it now, and why.
    NoToken(String),
    /// It got no turn at the model.
    NoTurn(NoTurn),
    /// It would be above what the model's provider lets us have.
    OverLimits(Over),
    /// The gateway has no room for the answer.
    NoRoom,
    /// The time for the whole request is over; and whether this attempt had as long as a stream has for its first content.
    OutOfTime { was_long: bool },
}

impl Failure {
    /// Whether the same model may be asked again, at another endpoint if it has one. A request whose repetition could do something twice
    /// (`is_repeatable`) is repeated only where it was surely not begun.
    pub(super) fn may_repeat(&self, is_repeatable: bool) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lacking => true,
            Self::Dropped | Self::Cut(_) | Self::Stalled(_) | Self::NotHttp(_) | Self::Failed(_) | Self::Garbled => is_repeatable,
            Self::Status(status, ..) => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::SERVICE_UNAVAILABLE
                    || (is_repeatable && status.is_server_error())
            }
            Self::Silent(_)
            | Self::TooLarge
            | Self::Compressed
            | Self::NoCredentials
            | Self::NoToken(_)
            | Self::NoTurn(_)
            | Self::OverLimits(_)
            | Self::NoRoom
            | Self::OutOfTime { .. }
            | Self::TooLong => false,
        }
    }

    /// Whether the model may have begun to do what was asked, so that whoever else is asked may do it once more.
    pub(super) fn may_have_begun(&self) -> bool {
        match self {
            Self::Silent(_)
            | Self::Dropped
            | Self::Cut(_)
            | Self::Stalled(_)
            | Self::NotHttp(_)
            | Self::Failed(_)
            | Self::Garbled
            | Self::TooLarge
            | Self::Compressed
            | Self::NoRoom
            | Self::OutOfTime { .. } => true,
            Self::Status(status, ..) => status.is_server_error() && *status != StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable(_)
            | Self::Lacking
            | Self::NoCredentials
            | Self::NoToken(_)
            | Self::NoTurn(_)
            | Self::OverLimits(_)
            | Self::TooLong => false,
        }
    }

    /// What the model made of it, once it was sent: it will be paid for what nobody got.
    pub(super) fn took(&self) -> Took {
        match self {
            Self::Silent(_)
            | Self::Cut(_)
            | Self::Stalled(_)
            | Self::Garbled
            | Self::TooLarge
            | Self::Compressed
            | Self::NoRoom
            | Self::OutOfTime { .. } => Took::Unseen,
            Self::Failed(_) => Took::Prompt,
            Self::Unreachable(_)
            | Self::Dropped
            | Self::Status(..)
            | Self::TooLong
            | Self::Lacking
            | Self::NoCredentials
            | Self::NoToken(_)
            | Self::NotHttp(_)
            | Self::NoTurn(_)
            | Self::OverLimits(_) => Took::Nothing,
        }
    }

    /// Whether the endpoint had no work with it, so that another one may be asked without counting: a request that breaks the engine must not
    /// visit every pod.
    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Lacking)
    }

    /// Tells the endpoint's health. `now` is for advice that is a date.
    pub(super) fn tell(&self, place: &Place, now: Timestamp) {
        match self {
            Self::Status(StatusCode::TOO_MANY_REQUESTS, advice, _) => place.throttled(advised(advice.as_ref(), now)),
            Self::Status(StatusCode::SERVICE_UNAVAILABLE, Some(advice), _) => place.throttled(advised(Some(advice), now)),
            Self::Unreachable(_)
            | Self::Silent(_)
            | Self::Dropped
            | Self::Cut(_)
            | Self::Stalled(_)
            | Self::NotHttp(_)
            | Self::Failed(_)
            | Self::Garbled
            | Self::Compressed
            | Self::OutOfTime { was_long: true }
            | Self::Status(..) => {
                place.failed();
            }
            // How large an answer is says nothing of who gave it.
            Self::TooLarge
            | Self::TooLong
            | Self::Lacking
            | Self::NoCredentials
            | Self::NoToken(_)
            | Self::NoTurn(_)
            | Self::OverLimits(_)
            | Self::NoRoom
            | Self::OutOfTime { was_long: false } => {}
        }
    }

    /// Whether the model has no capacity now, which time heals: too many requests, or too much to do (529 is Anthropic's).
    pub(super) fn is_no_capacity(&self) -> bool {
        matches!(self, Self::NoTurn(_) | Self::OverLimits(_))
            || matches!(self, Self::Status(status, ..) if matches!(status.as_u16(), 429 | 503 | 529))
    }

    /// When the model says to come back, rounded up to seconds: no later than when it is asked again here.
    pub(super) fn advice_seconds(&self, now: Timestamp) -> Option<u64> {
        let advice = match self {
            // Turns come back all the time.
            Self::NoTurn(_) | Self::OverLimits(Over::AtOnce) => return Some(1),
            Self::OverLimits(Over::Requests(wait) | Over::Tokens(wait)) => Some(*wait),
            Self::Status(_, advice, _) => advised(advice.as_ref(), now),
            _ => None,
        };
        let wait = advice?.min(LONGEST_ADVICE);
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Whether it is no fault but a limit.
    pub(super) fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::Status(StatusCode::TOO_MANY_REQUESTS, ..) | Self::TooLong | Self::NoTurn(_) | Self::OverLimits(_)
        )
    }

    /// The same without these secrets, where the other side repeats what it was shown.
    pub(super) fn without(mut self, secrets: &[&str]) -> Self {
        if let Self::Unreachable(cause)
        | Self::Cut(cause)
        | Self::NotHttp(cause)
        | Self::Failed(Some(cause))
        | Self::NoToken(cause)
        | Self::Status(.., cause) = &mut self
        {
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                if cause.contains(secret) {
                    *cause = cause.replace(secret, "[credential]");
                }
            }
        }
        self
    }

    /// What is behind it: for our logs only, as it may name addresses. Nothing that a model says, who may repeat what it was asked.
    pub(super) fn cause(&self) -> Option<&str> {
        match self {
            Self::Unreachable(cause)
            | Self::Cut(cause)
            | Self::NotHttp(cause)
            | Self::Failed(Some(cause))
            | Self::NoToken(cause)
            | Self::Status(.., cause) => Some(cause),
            Self::Silent(_)
            | Self::Dropped
            | Self::Stalled(_)
            | Self::Failed(None)
            | Self::Garbled
            | Self::TooLarge
            | Self::Compressed
            | Self::TooLong
            | Self::Lacking
            | Self::NoCredentials
            | Self::NoTurn(_)
            | Self::OverLimits(_)
            | Self::NoRoom
            | Self::OutOfTime { .. } => None,
        }
    }

    /// What to look at, for whoever keeps the model, which is behind an API or not.
    pub(super) fn hint(&self, is_api: bool) -> Option<&'static str> {
        match self {
            Self::Status(StatusCode::NOT_FOUND, ..) if is_api => {
                Some("spec.api.model, or the path of spec.api.endpoint, may name what is not there")
            }
            Self::Status(StatusCode::NOT_FOUND, ..) => Some("the engine may have another model, or another path"),
            _ => None,
        }
    }

    /// A word for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Silent(_) => "silent",
            Self::Dropped => "dropped",
            Self::Cut(_) => "cut",
            Self::Stalled(_) => "stalled",
            Self::NotHttp(_) => "not_http",
            Self::Failed(_) => "failed",
            Self::Garbled => "garbled",
            Self::TooLarge => "too_large",
            Self::Compressed => "compressed",
            Self::Status(StatusCode::TOO_MANY_REQUESTS, ..) => "throttled",
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, ..) | Self::NoCredentials | Self::NoToken(_) => "credentials",
            Self::Status(..) => "refused",
            Self::TooLong => "too_long",
            Self::Lacking => "lacking",
            Self::NoTurn(_) => "no_turn",
            Self::OverLimits(_) => "over_limits",
            Self::NoRoom => "no_room",
            Self::OutOfTime { .. } => "out_of_time",
        }
    }
}

/// What `Retry-After` says: seconds, or a date (RFC 9110, section 10.2.3). What is neither is no advice.
fn advised(advice: Option<&HeaderValue>, now: Timestamp) -> Option<Duration> {
    let text = advice?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        // Whole seconds by the standard; some send parts of them.
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(_) => f.write_str("could not be reached"),
            Self::Silent(limit) => write!(f, "sent nothing within {limit:?}"),
            Self::Dropped => f.write_str("closed the connection without an answer"),
            Self::Cut(_) => f.write_str("broke off before its answer was there"),
            Self::Stalled(limit) => write!(f, "stopped before its answer was there, and sent nothing more within {limit:?}"),
            Self::NotHttp(_) => f.write_str("does not speak HTTP/1.1 at its address"),
            Self::Failed(_) => f.write_str("reported an error before its answer began"),
            Self::Garbled => f.write_str("answered with something that is no answer of its protocol"),
            Self::TooLarge => f.write_str("gave an answer that is larger than may be translated for this client"),
            Self::Compressed => f.write_str("answered compressed, which was not asked for"),
            Self::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), ..) => {
                write!(f, "refused the gateway's credentials ({})", status.as_u16())
            }
            Self::Status(StatusCode::TOO_MANY_REQUESTS, ..) => f.write_str("has no capacity or quota left (429)"),
            Self::Status(status, ..) => write!(f, "answered {}", status.as_u16()),
            Self::TooLong => f.write_str("holds fewer tokens than the request has"),
            Self::Lacking => f.write_str("has not loaded the adapter (404)"),
            Self::NoCredentials => f.write_str("has no credentials at this gateway yet"),
            Self::NoToken(_) => f.write_str("has credentials that its provider gave no token for"),
            Self::NoTurn(NoTurn::Full(waiting)) => write!(f, "has as many requests waiting as may ({waiting})"),
            Self::NoTurn(NoTurn::TooLong(limit)) => write!(f, "had no turn for it within {limit:?}"),
            Self::OverLimits(Over::Requests(_)) => {
                f.write_str("has as many requests in a minute as its provider lets us have (spec.api.limits)")
            }
            Self::OverLimits(Over::Tokens(_)) => {
                f.write_str("has as many tokens in a minute as its provider lets us have (spec.api.limits)")
            }
            Self::OverLimits(Over::AtOnce) => {
                f.write_str("has as many requests at one time as its provider lets us have (spec.api.limits)")
            }
            Self::NoRoom => f.write_str("gave an answer that the gateway has no room for"),
            Self::OutOfTime { .. } => f.write_str("had not answered when the time for the request was over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_seconds_or_a_date() {
        let now = "1994-11-06T08:49:30Z".parse().unwrap();
        let advised = |text: &'static str| advised(Some(&HeaderValue::from_static(text)), now).map(|rest| rest.as_secs_f64());
        for (text, seconds) in [
            ("7", Some(7.0)),
            (" 0.5 ", Some(0.5)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7.0)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0.0)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(advised(text), seconds, "{text:?}");
        }
    }

    #[test]
    fn clients_are_told_to_come_back_no_later_than_the_model_is_asked_again() {
        let now = "1994-11-06T08:49:30Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("0.5", Some(1)),
            ("86400", Some(60)),
            ("1e300", None),
            ("Wed, 21 Oct 2099 07:28:00 GMT", Some(60)),
            ("soon", None),
        ] {
            let failure = Failure::Status(StatusCode::TOO_MANY_REQUESTS, Some(HeaderValue::from_static(text)), String::new());
            assert_eq!(failure.advice_seconds(now), seconds, "{text}");
        }
    }
}
