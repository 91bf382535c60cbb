//! Windows by the calendar of a time zone: a month is a month, a day with a clock change has 23 or 25 hours, weeks begin on Monday.

use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Span as Time, Timestamp};

use crate::api::budget::Window;

/// Which windows there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    window: Window,
    zone: TimeZone,
}

/// One window: from its start on, up to but without its end, at which the next one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment of the next one.
    pub end: Timestamp,
}

const HOUR: i64 = 3_600;

impl Calendar {
    /// Windows by the clock of a time zone, by its IANA name; `None` where there is no such zone.
    #[must_use]
    pub fn new(window: Window, zone: &str) -> Option<Self> {
        let zone = TimeZone::get(zone).ok()?;
        Some(Self { window, zone })
    }

    /// How long windows are.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// The window that holds `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Span {
        let today = now.to_zoned(self.zone.clone()).date();
        let (first, next) = match self.window {
            Window::Hour => return self.hour(now),
            Window::Day => (today, after(today, Time::new().days(1))),
            Window::Week => {
                let since_monday = today.weekday().to_monday_zero_offset();
                let monday = after(today, Time::new().days(-i64::from(since_monday)));
                (monday, after(monday, Time::new().days(7)))
            }
            Window::Month => (today.first_of_month(), after(today.first_of_month(), Time::new().months(1))),
        };
        Span {
            start: self.beginning(first).unwrap_or(Timestamp::MIN),
            end: self.beginning(next).unwrap_or(Timestamp::MAX),
        }
    }

    /// The first moment of a day: where clocks go forward at midnight it is not midnight.
    fn beginning(&self, day: Date) -> Option<Timestamp> {
        day.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp())
    }

    /// Full hours by the clock, which some zones have at half past; where a clock change is within one, there it ends.
    fn hour(&self, now: Timestamp) -> Span {
        let local = now.as_second() + i64::from(self.zone.to_offset(now).seconds());
        let start = second(now.as_second() - local.rem_euclid(HOUR), Timestamp::MIN);
        let end = second(start.as_second() + HOUR, Timestamp::MAX);
        // A change at `now` itself is the one before it.
        let just_after = now.checked_add(Time::new().nanoseconds(1)).unwrap_or(now);
        let before = self.zone.preceding(just_after).next().map(|change| change.timestamp());
        let next = self.zone.following(now).next().map(|change| change.timestamp());
        Span {
            start: before.map_or(start, |change| start.max(change)),
            end: next.map_or(end, |change| end.min(change)),
        }
    }
}

fn second(second: i64, beyond: Timestamp) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(beyond)
}

/// The day so much later, or the last there is.
fn after(day: Date, time: Time) -> Date {
    day.checked_add(time).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(window: Window, zone: &str, now: &str) -> (String, String) {
        let Span { start, end } = Calendar::new(window, zone).unwrap().at(now.parse().unwrap());
        (start.to_string(), end.to_string())
    }

    #[test]
    fn windows_are_those_of_the_calendar_there() {
        for (window, zone, now, start, end) in [
            (
                Window::Hour,
                "UTC",
                "2026-03-29T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T02:00:00Z",
            ),
            (
                Window::Hour,
                "Asia/Kolkata",
                "2026-03-29T01:40:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-29T02:30:00Z",
            ),
            (
                Window::Day,
                "UTC",
                "2026-03-29T23:59:59Z",
                "2026-03-29T00:00:00Z",
                "2026-03-30T00:00:00Z",
            ),
            // 23 hours and 25 hours.
            (
                Window::Day,
                "Europe/Berlin",
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Window::Day,
                "Europe/Berlin",
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // Clocks go forward at midnight.
            (
                Window::Day,
                "America/Asuncion",
                "2023-10-01T12:00:00Z",
                "2023-10-01T04:00:00Z",
                "2023-10-02T03:00:00Z",
            ),
            // There was no 30 December.
            (
                Window::Day,
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                "2011-12-29T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
            (
                Window::Week,
                "Europe/Berlin",
                "2026-03-29T21:59:59Z",
                "2026-03-22T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Window::Week,
                "Europe/Berlin",
                "2026-03-29T22:00:00Z",
                "2026-03-29T22:00:00Z",
                "2026-04-05T22:00:00Z",
            ),
            (
                Window::Month,
                "Europe/Berlin",
                "2026-02-28T23:00:00Z",
                "2026-02-28T23:00:00Z",
                "2026-03-31T22:00:00Z",
            ),
            (
                Window::Month,
                "America/New_York",
                "2027-01-01T00:00:00Z",
                "2026-12-01T05:00:00Z",
                "2027-01-01T05:00:00Z",
            ),
        ] {
            assert_eq!(span(window, zone, now), (start.to_owned(), end.to_owned()), "{window} {zone} {now}");
        }
    }

    #[test]
    fn a_zone_that_is_none_has_no_windows() {
        assert_eq!(Calendar::new(Window::Day, "Europe/Atlantis"), None);
    }

    proptest! {
        #[test]
        fn each_moment_is_in_one_window_and_the_next_begins_where_it_ends(
            second in 0i64..4_102_444_800,
            window in prop::sample::select(vec![Window::Hour, Window::Day, Window::Week, Window::Month]),
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Asuncion", "Pacific/Apia", "Africa/Casablanca",
            ]),
        ) {
            let calendar = Calendar::new(window, zone).unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let span = calendar.at(now);
            prop_assert!(span.start <= now && now < span.end);
            prop_assert_eq!(calendar.at(span.start), span);
            prop_assert_eq!(calendar.at(span.end).start, span.end);
            let last = Timestamp::from_nanosecond(span.end.as_nanosecond() - 1).unwrap();
            prop_assert_eq!(calendar.at(last), span);
        }
    }
}
