use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const WORKDAYS: &str = "{min: 1, max: 4, schedule: [
    {cron: 0 8 * * 1-5, timeZone: Europe/Berlin, min: 2}, {cron: 0 20 * * 1-5, timeZone: Europe/Berlin, min: 0, max: 3}]}";

fn scaling(yaml: &str) -> Scaling {
    serde_saphyr::from_str(yaml).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// `min-max by source since …, then min-max by source at …`
fn said(yaml: &str, now: &str) -> String {
    let InForce { range, since, next, .. } = in_force(&scaling(yaml), at(now));
    let words = |range: Range| format!("{}-{} by {}", range.min, range.max, range.source);
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    let next = next.map_or_else(String::new, |(at, next)| format!(", then {} at {at}", words(next)));
    words(range) + &since + &next
}

#[test]
fn the_entry_whose_time_came_last_holds_until_a_time_of_any_comes() {
    // Wednesday, the first of July; in Berlin two hours later than in UTC.
    for (now, expected) in [
        (
            "2026-07-01T05:59:59.999Z",
            "0-3 by schedule[1] since 2026-06-30T18:00:00Z, then 2-4 by schedule[0] at 2026-07-01T06:00:00Z",
        ),
        (
            "2026-07-01T06:00:00Z",
            "2-4 by schedule[0] since 2026-07-01T06:00:00Z, then 0-3 by schedule[1] at 2026-07-01T18:00:00Z",
        ),
        (
            "2026-07-01T18:00:00.5Z",
            "0-3 by schedule[1] since 2026-07-01T18:00:00Z, then 2-4 by schedule[0] at 2026-07-02T06:00:00Z",
        ),
        (
            "2026-07-04T12:00:00Z",
            "0-3 by schedule[1] since 2026-07-03T18:00:00Z, then 2-4 by schedule[0] at 2026-07-06T06:00:00Z",
        ),
    ] {
        assert_eq!(said(WORKDAYS, now), expected, "{now}");
    }
    assert_eq!(said("{max: 4}", "2026-07-01T06:00:00Z"), "1-4 by scaling");
}

#[test]
fn without_a_zone_it_is_utc_and_what_an_entry_leaves_out_is_that_of_scaling() {
    let yaml = "{min: 1, max: 4, schedule: [{cron: 0 8 * * *, max: 9}, {cron: 0 20 * * *, min: 3}]}";
    assert_eq!(
        said(yaml, "2026-07-01T08:00:00Z"),
        "1-9 by schedule[0] since 2026-07-01T08:00:00Z, then 3-4 by schedule[1] at 2026-07-01T20:00:00Z"
    );
}

#[test]
fn on_the_days_of_a_clock_change_each_entry_comes_once() {
    let yaml =
        "{max: 4, schedule: [{cron: 30 2 * * *, timeZone: Europe/Berlin, min: 2}, {cron: 0 12 * * *, timeZone: Europe/Berlin, min: 0}]}";
    for (day, changes) in [
        // The hour from 2 to 3 is not there: right after it.
        ("2026-03-29", ["2026-03-29T01:00:00Z 2", "2026-03-29T10:00:00Z 0"]),
        // It is there twice: the first one.
        ("2026-10-25", ["2026-10-25T00:30:00Z 2", "2026-10-25T11:00:00Z 0"]),
    ] {
        let (scaling, midnight) = (scaling(yaml), at(&format!("{day}T00:00:00Z")));
        let minutes = (0..24 * 60).map(|minute| midnight + SignedDuration::from_mins(minute));
        let held: Vec<_> = minutes.map(|now| (now, in_force(&scaling, now).range.min)).collect();
        let others = held.windows(2).filter(|pair| pair[0].1 != pair[1].1);
        let others: Vec<_> = others.map(|pair| format!("{} {}", pair[1].0, pair[1].1)).collect();
        assert_eq!(others, changes, "{day}");
    }
}

#[test]
fn an_entry_may_hold_some_time_ahead() {
    let yaml = "{max: 4, schedule: [{cron: 0 8 * * *, ahead: 10m, min: 2}, {cron: 0 20 * * *, min: 0}]}";
    assert_eq!(
        said(yaml, "2026-07-01T07:49:59Z"),
        "0-4 by schedule[1] since 2026-06-30T20:00:00Z, then 2-4 by schedule[0] at 2026-07-01T07:50:00Z"
    );
    assert_eq!(
        said(yaml, "2026-07-01T07:50:00Z"),
        "2-4 by schedule[0] since 2026-07-01T07:50:00Z, then 0-4 by schedule[1] at 2026-07-01T20:00:00Z"
    );
}

#[test]
fn what_was_more_than_366_days_ago_does_not_count_any_more() {
    let yaml = "{max: 4, schedule: [{cron: 0 0 29 2 *, min: 2}]}";
    assert_eq!(
        said(yaml, "2024-03-01T00:00:00Z"),
        "2-4 by schedule[0] since 2024-02-29T00:00:00Z, then 1-4 by scaling at 2025-03-01T00:00:00Z"
    );
    assert_eq!(
        said(yaml, "2025-03-01T00:00:00Z"),
        "1-4 by scaling, then 2-4 by schedule[0] at 2028-02-29T00:00:00Z"
    );
    let yearly = "{max: 4, schedule: [{cron: 0 0 1 1 *, min: 2}]}";
    assert_eq!(
        said(yearly, "2024-12-31T23:59:59Z"),
        "2-4 by schedule[0] since 2024-01-01T00:00:00Z, then 2-4 by schedule[0] at 2025-01-01T00:00:00Z"
    );
}

#[test]
fn two_that_come_at_once_and_differ_are_told_and_the_larger_numbers_hold() {
    let yaml = "{max: 4, schedule: [{cron: 0 8 * * *, min: 2, max: 3}, {cron: 0 20 * * *, min: 0}, {cron: 0 8 * * 1, min: 0, max: 6}]}";
    // A Monday.
    let held = in_force(&scaling(yaml), at("2026-07-06T09:00:00Z"));
    assert_eq!((held.range.min, held.range.max), (2, 6));
    let claim = held.claim().unwrap();
    assert_eq!(
        format!("{:?} {}: {}", claim.status, claim.reason, claim.message),
        "False ScheduleAmbiguous: spec.selfHosted.scaling.schedule[0] and [2] both came at 2026-07-06T08:00:00Z and say different things: 2 to 6 \
         replicas, the larger of each, hold until 2026-07-06T20:00:00Z; give one of them another time, or both the same min and max"
    );
    assert_eq!(held.told().from, "schedule[0] and schedule[2]");
    assert_eq!(
        in_force(&scaling(yaml), at("2026-07-07T09:00:00Z")).claim(),
        None,
        "on Tuesday only one came"
    );
    let same = "{max: 4, schedule: [{cron: 0 8 * * *, min: 2}, {cron: 0 8 * * 1, min: 2, max: 4}]}";
    assert_eq!(
        in_force(&scaling(same), at("2026-07-06T09:00:00Z")).claim(),
        None,
        "both say the same"
    );
}

#[test]
fn two_that_will_come_at_once_are_found_before_they_do() {
    let now = at("2026-07-01T00:00:00Z");
    let doubt = |yaml: &str| ambiguous(&scaling(yaml), now).map(|invalid| format!("{}: {}", invalid.field, invalid.problem));
    assert_eq!(doubt(WORKDAYS), None);
    assert_eq!(
        doubt("{max: 4, schedule: [{cron: 0 8 * * *, min: 2}, {cron: 0 8 * * 1, min: 0}]}").unwrap(),
        "spec.selfHosted.scaling.schedule[1]: comes at 2026-07-06T08:00:00Z as spec.selfHosted.scaling.schedule[0] does, and says 0 to 4 where \
         that says 2 to 4: 2 to 4 would hold from then on"
    );
    for (yaml, when) in [
        // One that comes often, and one that hardly ever does.
        (
            "{max: 4, schedule: [{cron: '*/5 * * * *', min: 2}, {cron: 0 0 1 1 *, min: 0}]}",
            "2027-01-01T00:00:00Z",
        ),
        // One that comes ahead, into the time of another.
        (
            "{max: 4, schedule: [{cron: 0 8 * * *, ahead: 2h, min: 2}, {cron: 0 6 * * *, min: 0}]}",
            "2026-07-01T06:00:00Z",
        ),
        // Only on the day that has no hour from 2 to 3.
        (
            "{max: 4, schedule: [{cron: 30 2 * * *, timeZone: Europe/Berlin, min: 2}, {cron: 0 3 * * *, timeZone: Europe/Berlin, min: 0}]}",
            "2027-03-28T01:00:00Z",
        ),
        // The same time in two zones.
        (
            "{max: 4, schedule: [{cron: 0 8 * * *, timeZone: Europe/Berlin, min: 2}, {cron: 0 7 * * *, min: 0}]}",
            "2026-10-25T07:00:00Z",
        ),
    ] {
        assert!(doubt(yaml).unwrap().contains(&format!("comes at {when} as")), "{:?}", doubt(yaml));
    }
    assert_eq!(
        doubt("{max: 4, schedule: [{cron: 0 8 * * *, min: 2}, {cron: 0 8 * * 1, max: 4, min: 2}]}"),
        None
    );
}

#[test]
fn a_time_in_common_that_is_more_than_366_days_away_is_not_told_yet() {
    let yaml = scaling("{max: 4, schedule: [{cron: 0 0 29 2 *, min: 2}, {cron: 0 0 * 2 *, min: 0}]}");
    let told = |now: &str| ambiguous(&yaml, at(now)).map(|invalid| invalid.problem);
    assert_eq!(told("2026-07-01T00:00:00Z"), None);
    assert!(told("2027-03-01T00:00:00Z").unwrap().contains("comes at 2028-02-29T00:00:00Z as"));
}

#[test]
fn an_entry_that_cannot_be_understood_is_as_if_it_were_not_there_and_told() {
    let with = |entry: &str| format!("{{max: 4, schedule: [{entry}, {{cron: 0 20 * * *, min: 3}}]}}");
    for (entry, problem) in [
        (
            "{cron: 0 2 30 2 *, min: 2}",
            "schedule[0].cron: \"0 2 30 2 *\" never occurs; write five fields",
        ),
        (
            "{cron: 99 2 * * *, min: 2}",
            "schedule[0].cron: \"99 2 * * *\" is not a schedule (number out of bounds)",
        ),
        (
            "{cron: 0 8 * * *, timeZone: Europe/Atlantis, min: 2}",
            "schedule[0].timeZone: \"Europe/Atlantis\" is not an IANA time zone; use a name such as",
        ),
        (
            "{cron: 0 8 * * *, min: 5}",
            "schedule[0]: min is 5 and max is 4, where what it leaves out is that of scaling; lower its min, or raise its max",
        ),
    ] {
        let yaml = with(entry);
        assert_eq!(
            said(&yaml, "2026-07-01T12:00:00Z"),
            "3-4 by schedule[1] since 2026-06-30T20:00:00Z, then 3-4 by schedule[1] at 2026-07-01T20:00:00Z"
        );
        let claim = in_force(&scaling(&yaml), at("2026-07-01T12:00:00Z")).claim().unwrap();
        assert_eq!(claim.reason, "ScheduleInvalid");
        assert!(claim.message.contains(problem), "{}", claim.message);
        assert_eq!(invalid(&scaling(&yaml)).len(), 1);
        let alone = format!("{{max: 4, schedule: [{entry}]}}");
        assert_eq!(said(&alone, "2026-07-01T12:00:00Z"), "1-4 by scaling");
    }
}

#[test]
fn what_is_kept_is_looked_up_again_when_an_entry_comes_or_the_specification_changes() {
    let (mut kept, scaling) = (Kept::default(), scaling(WORKDAYS));
    let mut now = |text: &str, scaling: &Scaling| {
        let (range, has_turned) = kept.now(scaling, at(text));
        (range.min, has_turned)
    };
    assert_eq!(
        now("2026-07-01T05:00:00Z", &scaling),
        (0, false),
        "at first nobody was told anything else"
    );
    assert_eq!(now("2026-07-01T05:59:59Z", &scaling), (0, false));
    assert_eq!(now("2026-07-01T06:00:00Z", &scaling), (2, true));
    assert_eq!(now("2026-07-01T06:00:02Z", &scaling), (2, false));
    let other = Scaling {
        schedule: None,
        ..scaling.clone()
    };
    assert_eq!(now("2026-07-01T06:00:04Z", &other), (1, false));
    assert_eq!(now("2026-07-01T06:00:06Z", &scaling), (2, false));
    assert_eq!(now("2026-07-01T05:00:00Z", &scaling), (0, true), "a clock that was put back");
}

#[test]
fn a_thousand_models_keep_what_holds_at_no_cost() {
    let entries: Vec<String> = (0..16)
        .map(|hour| format!("{{cron: 0 {hour} * * *, timeZone: Europe/Berlin, min: {hour}}}"))
        .collect();
    let scaling = scaling(&format!("{{max: 20, schedule: [{}]}}", entries.join(", ")));
    let mut models: Vec<Kept> = (0..1_000).map(|_| Kept::default()).collect();
    let now = at("2026-07-01T05:00:00Z");
    let mut round = |now| {
        let began = std::time::Instant::now();
        let held = models.iter_mut().map(|kept| kept.now(&scaling, now).0.min).max();
        (held, began.elapsed())
    };
    let (_, first) = round(now);
    let began = std::time::Instant::now();
    for second in 1..=10 {
        assert_eq!(round(now + SignedDuration::from_secs(second)).0, Some(7));
    }
    let later = began.elapsed() / 10;
    println!("a first round over 16 entries each of a thousand models: {first:?}, and a later one: {later:?}");
    assert!(later < first / 10, "{later:?} after {first:?}");
}

fn any_entry() -> impl Strategy<Value = ScheduledBounds> {
    let cron = "(0|30|\\*/20) (2|3|8|\\*/6) (\\*|29|1) (\\*|2|3) (\\*|1-5|0)";
    let zones = vec![None, Some("Europe/Berlin"), Some("Australia/Lord_Howe"), Some("America/New_York")];
    let ahead = prop_oneof![3 => Just(None), 1 => (0u32..100).prop_map(Some)];
    (cron, prop::sample::select(zones), ahead, 0u32..3, proptest::option::of(3u32..6)).prop_map(|(cron, zone, ahead, min, max)| {
        ScheduledBounds {
            cron,
            time_zone: zone.map(str::to_owned),
            ahead: ahead.map(|minutes| format!("{minutes}m").parse().unwrap()),
            min: Some(min),
            max,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_holds_changes_only_when_it_was_said_to_and_to_what_was_said(
        entries in prop::collection::vec(any_entry(), 1..5),
        start in 1_770_000_000i64..1_800_000_000,
    ) {
        let scaling = Scaling { schedule: Some(entries), ..scaling("{min: 1, max: 4}") };
        let mut kept = Kept::default();
        let mut now = Timestamp::from_second(start).unwrap();
        for _ in 0..12 {
            let held = in_force(&scaling, now);
            prop_assert!(held.range.min <= held.range.max);
            prop_assert!(held.since.is_none_or(|since| since <= now));
            prop_assert_eq!(kept.now(&scaling, now).0, held.range);
            let Some((next, range)) = held.next else { break };
            prop_assert!(next > now);
            // Nothing changes in between, to the last second.
            for between in [now + next.duration_since(now) / 2, next - SignedDuration::from_secs(1)] {
                let between = between.max(now);
                let later = in_force(&scaling, between);
                prop_assert_eq!((later.range, later.since, later.next), (held.range, held.since, held.next));
                prop_assert_eq!(kept.now(&scaling, between).0, held.range);
            }
            let then = in_force(&scaling, next);
            prop_assert_eq!(then.range, range);
            // What holds is said by those who came last, and of each number the largest that they say.
            let said: BTreeSet<u32> = entries_at(&scaling, then.since).map(|range| range.min).collect();
            prop_assert_eq!(said.last().copied().unwrap_or(1), then.range.min);
            now = next;
        }
    }

    #[test]
    fn a_time_that_two_have_in_common_is_found_as_it_is_met(entries in prop::collection::vec(any_entry(), 2..4), start in 1_770_000_000i64..1_800_000_000) {
        let scaling = Scaling { schedule: Some(entries), ..scaling("{min: 1, max: 4}") };
        let start = Timestamp::from_second(start).unwrap();
        let found = ambiguous(&scaling, start).is_some();
        let mut now = start;
        let mut met = false;
        for _ in 0..100 {
            let Some((next, range)) = in_force(&scaling, now).next else { break };
            if next.duration_since(start) > LOOK_AHEAD {
                break;
            }
            met |= range.is_ambiguous();
            now = next;
        }
        prop_assert!(found || !met, "it was met by {now}");
    }
}

fn entries_at(scaling: &Scaling, since: Option<Timestamp>) -> impl Iterator<Item = Range> {
    let (entries, _) = entries(scaling);
    entries
        .into_iter()
        .filter(move |entry| since.is_some_and(|since| entry.latest(since) == Some(since)))
        .map(|entry| entry.range)
}
