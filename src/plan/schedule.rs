//! Times that come again: five cron fields in a time zone. A slot is a whole minute; on the day clocks go forward a slot in the missing hour comes right
//! after it, and on the day they go back a fixed time comes once.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;

use crate::plan::Invalid;

/// A schedule that was understood and has at least one slot.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Understands what a person wrote in the fields `cron` and `timeZone` of `field`.
    ///
    /// # Errors
    /// Names the one that cannot be understood.
    pub fn parse(cron: &str, time_zone: Option<&str>, field: &str) -> Result<Self, Invalid> {
        let invalid = |problem: String| {
            let remedy = r#"write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5""#;
            Invalid::new(format!("{field}.cron"), problem, remedy)
        };
        if cron.split_whitespace().count() != 5 {
            return Err(invalid(format!("{cron:?} does not have five fields")));
        }
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(cron)
            .map_err(|e| invalid(format!("{cron:?} is not a schedule ({})", why(e))))?;
        let name = time_zone.unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| {
            let remedy = r#"use a name such as "Europe/Berlin", or leave it out for UTC"#;
            Invalid::new(format!("{field}.timeZone"), format!("{name:?} is not an IANA time zone"), remedy)
        })?;
        let schedule = Self { cron: parsed, zone };
        if schedule.next(Timestamp::UNIX_EPOCH).is_none() {
            return Err(invalid(format!("{cron:?} never occurs")));
        }
        Ok(schedule)
    }

    /// The first slot later than `after`.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&after.to_zoned(self.zone.clone()), false);
        // The search counts whole seconds, so a fraction of one may bring back a slot that is not later.
        found.ok().map(|slot| whole(slot.timestamp())).filter(|slot| *slot > after)
    }

    /// The latest slot that is later than `after` and not later than `now`.
    #[must_use]
    pub fn latest_due(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&whole(now).to_zoned(self.zone.clone()), true);
        found.ok().map(|slot| whole(slot.timestamp())).filter(|slot| *slot > after)
    }
}

fn why(error: CronError) -> String {
    let text = match error {
        CronError::ComponentError(text) | CronError::InvalidPattern(text) | CronError::IllegalCharacters(text) => text,
        CronError::EmptyPattern | CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => error.to_string(),
    };
    text.trim_end_matches('.').to_lowercase()
}

fn whole(time: Timestamp) -> Timestamp {
    crate::api::condition::seconds(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule::parse(cron, Some(zone), "spec.schedule").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn slots(schedule: &Schedule, after: &str, until: &str) -> Vec<String> {
        let until = at(until);
        std::iter::successors(schedule.next(at(after)), |slot| schedule.next(*slot))
            .take_while(|slot| *slot <= until)
            .map(|slot| slot.to_string())
            .collect()
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_field_and_remedy() {
        for (cron, zone, expected) in [
            (
                "99 2 * * *",
                None,
                r#"spec.schedule.cron: "99 2 * * *" is not a schedule (number out of bounds); write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5""#,
            ),
            (
                "0 0 2 * * *",
                None,
                r#"spec.schedule.cron: "0 0 2 * * *" does not have five fields; write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5""#,
            ),
            (
                "0 2 30 2 *",
                None,
                r#"spec.schedule.cron: "0 2 30 2 *" never occurs; write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5""#,
            ),
            (
                "@daily",
                None,
                r#"spec.schedule.cron: "@daily" does not have five fields; write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * 1-5""#,
            ),
            (
                "0 2 * * *",
                Some("Europe/Atlantis"),
                r#"spec.schedule.timeZone: "Europe/Atlantis" is not an IANA time zone; use a name such as "Europe/Berlin", or leave it out for UTC"#,
            ),
        ] {
            assert_eq!(Schedule::parse(cron, zone, "spec.schedule").unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn without_a_zone_it_is_utc() {
        let schedule = Schedule::parse("0 2 * * *", None, "spec.schedule").unwrap();
        assert_eq!(schedule.next(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T02:00:00Z")));
    }

    #[test]
    fn a_slot_in_the_hour_that_is_skipped_in_spring_runs_right_after_it() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(slots(&berlin, "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z"), expected);
    }

    #[test]
    fn a_slot_in_the_hour_that_is_repeated_in_autumn_runs_once() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        let expected = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(slots(&berlin, "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z"), expected);
    }

    #[test]
    fn looking_back_on_the_days_of_a_clock_change_finds_what_looking_forward_found() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        for day in ["2026-03-29", "2026-10-25"] {
            let after = at(&format!("{day}T00:00:00Z"));
            for minute in 0..300 {
                let now = at(&format!("{day}T00:00:00Z")) + k8s_openapi::jiff::SignedDuration::from_mins(minute);
                let forward = berlin.next(after).filter(|slot| *slot <= now);
                assert_eq!(berlin.latest_due(after, now), forward, "{now}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_latest_due_slot_is_the_last_of_those_that_looking_forward_finds(
            cron in "([0-5]?[0-9]|\\*/7|\\*) ([01]?[0-9]|2[0-3]|\\*/5|\\*) \\* \\* (\\*|[0-6])",
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
            start in 1_770_000_000i64..1_800_000_000,
            minutes in 0i64..4000,
        ) {
            let schedule = schedule(&cron, zone);
            let after = Timestamp::from_second(start).unwrap();
            let now = Timestamp::from_second(start + minutes * 60).unwrap();
            let forward = std::iter::successors(schedule.next(after), |slot| schedule.next(*slot)).take_while(|slot| *slot <= now).last();
            prop_assert_eq!(schedule.latest_due(after, now), forward);
        }
    }
}
