//! A run against the baseline of those before it: one step of the detector that looks for models that become worse.

use std::collections::{BTreeMap, HashSet};

use super::files::Places;
use super::progress::End;
use super::reports::Past;
use super::suite::Suite;
use super::tally::Tally;
use crate::plan::evaluation::drift::{Drift, Left, Step, Track};
use crate::plan::fingerprint;
use crate::plan::statistics::drift::{BASELINE_RUNS, Baseline, Detector, Scores, paired_bound};

/// What a target scored in the questions that every run asks: those of the first samples. One that was not answered has no score, so that a server
/// that was ill makes no model worse, and neither has one that the judge gave no verdict on.
pub(super) fn scores(suites: &[Suite], tally: &Tally, target: usize) -> Scores {
    let is_first: Vec<HashSet<usize>> = suites.iter().map(|suite| suite.asked(false).iter().copied().collect()).collect();
    let of_first = tally
        .of(target)
        .filter(|(asked, _)| is_first.get(asked.suite).is_some_and(|first| first.contains(&asked.question)));
    let each = of_first.map(|(asked, ended)| {
        let suite = &suites[asked.suite];
        (suite.name.as_str(), suite.id(asked.question), ended.end, ended.score)
    });
    means(each)
}

/// The mean score of each question, by its suite and id.
fn means<'a>(each: impl Iterator<Item = (&'a str, &'a str, End, f64)>) -> Scores {
    let mut sums: BTreeMap<String, (f64, u32)> = BTreeMap::new();
    for (suite, id, _, score) in each.filter(|(_, _, end, _)| !matches!(end, End::Error | End::Unjudged)) {
        let (sum, count) = sums.entry(format!("{suite}/{id}")).or_default();
        *sum += score;
        *count += 1;
    }
    sums.into_iter().map(|(id, (sum, count))| (id, sum / f64::from(count))).collect()
}

/// What the run leaves behind about a target with these scores, by what `track` knows of those before it.
pub(super) fn left(drift: &Drift, track: &Track, model: &str, suites: &[Suite], scores: &Scores, places: &Places) -> Option<Left> {
    let asked: Vec<_> = suites
        .iter()
        .map(|suite| (&suite.name, &suite.protocol, &suite.digest, suite.repeats, suite.asked(false)))
        .collect();
    let about = fingerprint::digest(&(&track.fingerprint, asked));
    let left = Left {
        was: Some(track.about.clone()).filter(|was| *was != about),
        about,
        step: None,
        lost: None,
    };
    if left.about != track.about || track.baseline.len() < BASELINE_RUNS {
        return Some(left);
    }
    let read = |run: &String| {
        let past = Past::read(places.report.as_ref()?, run)
            .map_err(|why| tracing::warn!("{why}; drift begins anew"))
            .ok()?;
        Some(means(past.all(model)))
    };
    let runs: Option<Vec<Scores>> = track.baseline.iter().map(read).collect();
    let Some(baseline) = runs.and_then(|runs| Baseline::freeze(&runs).ok()) else {
        let lost = Some("the reports of its first runs are gone".to_owned());
        return Some(Left { lost, ..left });
    };
    let paired = baseline.pair(scores);
    let mut detector = Detector::new(paired_bound(drift.tolerance), drift.threshold, track.state);
    detector.observe_run(&paired.badness);
    let step = Step {
        state: detector.state(),
        progress: short(detector.progress()),
        drop: short(paired.drop()?),
        standard_error: short(baseline.standard_error()),
    };
    Some(Left { step: Some(step), ..left })
}

/// As many digits as anybody reads: a report has little room. An alarm is 1 and nothing that is rounded to it.
fn short(number: f64) -> f64 {
    (number * 1e4).floor() / 1e4
}
