//! Times and durations on the command line: in the forms that objects have them, and refused with an example of one that is taken.

use std::time::Duration;

use k8s_openapi::jiff::fmt::temporal::Pieces;
use k8s_openapi::jiff::tz::{Offset, TimeZone};
use k8s_openapi::jiff::{Timestamp, Zoned};
use regex::Regex;

use crate::api::routing_policy::{DURATION, DURATION_FORM};

const MOMENT_FORM: &str = "write a time and its offset, such as 2026-07-01T08:00:00+02:00 or 2026-07-01T06:00:00Z, or a day, such as 2026-07-01, for its midnight in UTC";

/// How long, as in objects.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    // What has not this form may be more than can be counted, of which its parser panics.
    let has_form = Regex::new(DURATION).expect("a constant that tests use").is_match(text);
    let duration = has_form.then(|| text.parse::<kube::core::Duration>().ok()).flatten();
    duration.map(Duration::from).ok_or_else(|| DURATION_FORM.to_owned())
}

/// When, with the offset that it was written with.
pub(super) fn moment(text: &str) -> Result<Zoned, String> {
    let pieces = Pieces::parse(text).map_err(|_| MOMENT_FORM)?;
    let offset = match (pieces.time(), pieces.to_numeric_offset()) {
        (_, Some(offset)) => offset,
        (None, None) => Offset::UTC,
        (Some(_), None) => return Err(MOMENT_FORM.to_owned()),
    };
    let written = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    Ok(written.to_zoned(TimeZone::fixed(offset)).map_err(|_| MOMENT_FORM)?)
}

/// When.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    moment(text).map(|moment| moment.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_has_the_form_that_it_has_in_objects_and_another_is_refused_with_it() {
        for (text, seconds) in [("30s", 30.0), ("2m", 120.0), ("1h30m", 5_400.0), ("500ms", 0.5), ("0s", 0.0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "0", "90", "-5s", "2 m", "1d", "99999999999999999999h", "1e3s"] {
            assert_eq!(duration(text).unwrap_err(), DURATION_FORM, "{text}");
        }
    }

    #[test]
    fn a_time_keeps_its_offset_a_day_is_its_midnight_in_utc_and_others_are_refused_with_an_example() {
        for (text, expected) in [
            ("2026-07-01T08:00:00+02:00", "2026-07-01T08:00:00+02:00[+02:00]"),
            ("2026-07-01T06:00Z", "2026-07-01T06:00:00+00:00[UTC]"),
            ("2026-07-01", "2026-07-01T00:00:00+00:00[UTC]"),
        ] {
            assert_eq!(moment(text).map(|moment| moment.to_string()), Ok(expected.to_owned()));
        }
        for text in [
            "",
            "2026-07-01T08:00",
            "yesterday",
            "2026-02-30",
            "01.07.2026",
            "1782878400",
            "08:00:00Z",
        ] {
            assert!(moment(text).unwrap_err().contains("such as 2026-07-01T08:00:00+02:00"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_timestamp_is_the_same_one(seconds in -60_000_000_000i64..240_000_000_000) {
            let at = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(timestamp(&at.to_string()), Ok(at));
        }

        #[test]
        fn no_text_is_too_strange(text in "([0-9.:TZ+hms-]|.){0,30}") {
            let _ = (duration(&text), moment(&text));
        }
    }
}
