use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

fn counts(requests: u64, cost: u64) -> Counts {
    let model = OfModel {
        requests,
        cost,
        ..OfModel::default()
    };
    Counts {
        requests,
        models: [("llama".to_owned(), model)].into(),
        ..Counts::default()
    }
}

fn report(instance: u64, up_seconds: u64, counts: Counts) -> Report {
    let told = OfPolicy {
        counts,
        ..OfPolicy::default()
    };
    Report {
        instance,
        up_seconds,
        policies: [("claims/assistant".to_owned(), told)].into(),
        versions: BTreeMap::new(),
    }
}

fn note(seen: &mut Seen, second: i64, reports: &[(&str, Report)]) {
    let known: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
    let reports = reports.iter().map(|(address, report)| ((*address).to_owned(), report.clone()));
    seen.note(reports.collect(), &known, at(second));
}

fn figures(seen: &Seen, second: i64) -> Figures {
    seen.figures(at(second)).remove("claims/assistant").unwrap_or_default()
}

#[test]
fn what_gateways_counted_before_anybody_looked_is_of_no_known_hour() {
    let mut seen = Seen::new(at(0));
    note(&mut seen, 15, &[("a", report(1, 90_000, counts(1_000, 5_000)))]);
    assert_eq!(figures(&seen, 15).requests, 0);
    note(&mut seen, 30, &[("a", report(1, 90_015, counts(1_007, 5_021)))]);
    assert_eq!(figures(&seen, 30).requests, 7);
    assert_eq!(figures(&seen, 30).models["llama"].cost, 21);
    assert_eq!(figures(&seen, 30).since, Some(at(0)));
}

#[test]
fn copies_are_counted_by_themselves_and_only_what_is_new_of_them() {
    let copies = |requests, asleep| {
        let mut of = OfShadow {
            requests,
            errors: 1,
            cost: 10 * requests,
            ..OfShadow::default()
        };
        of.durations.note(Duration::from_millis(requests));
        (0..asleep).for_each(|_| of.skip("asleep"));
        Counts {
            shadows: [("gpt".to_owned(), of)].into(),
            ..Counts::default()
        }
    };
    let mut seen = Seen::new(at(0));
    note(&mut seen, 15, &[("a", report(1, 90_000, copies(100, 4)))]);
    assert!(figures(&seen, 15).shadows.is_empty());
    let later = [("a", report(1, 90_300, copies(107, 6))), ("b", report(2, 10, copies(3, 1)))];
    note(&mut seen, 315, &later);
    let all = figures(&seen, 315);
    let gpt = &all.shadows["gpt"];
    assert_eq!((gpt.requests, gpt.errors, gpt.cost), (10, 1, 100));
    assert_eq!(gpt.skipped["asleep"], 3);
    assert!(gpt.p50.is_some_and(|p50| p50 < Duration::from_millis(4)), "{gpt:?}");
    assert_eq!((all.requests, all.errors, all.models.len()), (0, 0, 0));
}

#[test]
fn a_gateway_that_begins_anew_counts_from_nothing_and_none_of_it_is_lost() {
    let mut seen = Seen::new(at(0));
    note(&mut seen, 15, &[("a", report(1, 90_000, counts(1_000, 0)))]);
    note(
        &mut seen,
        30,
        &[("a", report(2, 10, counts(3, 0))), ("b", report(3, 5, counts(4, 0)))],
    );
    assert_eq!(figures(&seen, 30).requests, 7);
    note(&mut seen, 45, &[("b", report(3, 20, counts(6, 0)))]);
    note(&mut seen, 60, &[("a", report(2, 40, counts(5, 0)))]);
    assert_eq!(figures(&seen, 60).requests, 11, "what one did not say in time is said later");
}

#[test]
fn what_is_older_than_an_hour_is_forgotten() {
    let mut seen = Seen::new(at(0));
    for minute in 0..180_u64 {
        note(
            &mut seen,
            minute as i64 * 60,
            &[("a", report(1, minute * 60, counts(minute * 2, 0)))],
        );
    }
    let told = figures(&seen, 180 * 60);
    assert!((110..=130).contains(&told.requests), "{told:?}");
    assert_eq!(told.since, None);
}

#[test]
fn what_others_have_taken_and_not_spent_is_not_spent() {
    let budget = |taken, unspent| OfBudget {
        until: at(3_600),
        taken,
        unspent,
        accounts: 1,
        exhausted: 0,
    };
    let with = |instance, budget| {
        let mut report = report(instance, 1, Counts::default());
        for told in report.policies.values_mut() {
            told.budgets = [("1/usd/Day".to_owned(), budget)].into();
        }
        report
    };
    let mut seen = Seen::new(at(0));
    note(&mut seen, 15, &[("a", with(1, budget(100, 30))), ("b", with(2, budget(80, 20)))]);
    assert_eq!(figures(&seen, 15).budgets["1/usd/Day"].spent, 50);
    assert!(figures(&seen, 3_600).budgets.is_empty(), "its window is over");
}

#[test]
fn a_gateway_that_is_gone_rests_no_more() {
    let mut resting = report(1, 1, Counts::default());
    for told in resting.policies.values_mut() {
        told.resting = ["gpt".to_owned()].into();
    }
    let mut seen = Seen::new(at(0));
    note(&mut seen, 15, &[("a", resting)]);
    assert_eq!((figures(&seen, 15).models["gpt"].resting, figures(&seen, 15).gateways), (1, 1));
    seen.note(BTreeMap::new(), &BTreeSet::new(), at(30));
    assert_eq!(figures(&seen, 30), Figures::default());
}

proptest! {
    #[test]
    fn a_percentile_is_at_most_a_fifth_too_long(mut millis in proptest::collection::vec(1_u64..600_000, 1..200), percent in 1_u32..=100) {
        let mut all = [0; BUCKETS];
        for millis in &millis {
            all[bucket(Duration::from_millis(*millis))] += 1;
        }
        millis.sort_unstable();
        let exact = millis[(millis.len() * percent as usize).div_ceil(100) - 1] as f64;
        let told = all.into_iter().collect::<Durations>().percentile(percent).unwrap().as_secs_f64() * 1_000.0;
        prop_assert!(exact <= told * 1.000_001 && told <= exact * 1.2, "{exact} {told}");
    }
}
