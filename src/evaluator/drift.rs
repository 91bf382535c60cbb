//! A run against the baseline of those before it: one step of the detector that looks for models that become worse.

use std::collections::{BTreeMap, HashSet};

use super::files::Places;
use super::progress::End;
use super::reports::{Past, Unread};
use super::suite::Suite;
use super::tally::Tally;
use crate::plan::evaluation::drift::{Drift, Left, Step, Track};
use crate::plan::evaluation::run::Evaluation;
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

/// The reports of earlier runs, each read once for all targets.
#[derive(Default)]
pub(super) struct Earlier(BTreeMap<String, Result<Past, Unread>>);

impl Earlier {
    fn read(&mut self, run: &str, namespace: &str, places: &Places) -> &Result<Past, Unread> {
        self.0.entry(run.to_owned()).or_insert_with(|| match &places.report {
            Some(folder) => Past::read(folder, run, namespace),
            None => Err(Unread::Broken("there is no folder of reports".to_owned())),
        })
    }
}

/// What the run leaves behind about a target with these scores, by what `track` knows of those before it. Nothing where an earlier run cannot be read
/// just now: a later one may.
#[expect(
    clippy::too_many_arguments,
    reason = "what was asked, what came of it, and what is known of before"
)]
pub(super) fn left(
    run: &Evaluation,
    drift: &Drift,
    track: &Track,
    model: &str,
    suites: &[Suite],
    scores: &Scores,
    places: &Places,
    earlier: &mut Earlier,
) -> Option<Left> {
    let about = about(run, track, suites);
    let left = Left {
        was: Some(track.about.clone()).filter(|was| *was != about),
        about,
        step: None,
        lost: None,
    };
    if left.about != track.about || track.baseline.len() < BASELINE_RUNS {
        return Some(left);
    }
    let asked = asked(suites);
    let mut runs = Vec::new();
    for name in &track.baseline {
        match earlier.read(name, &run.namespace, places) {
            Ok(past) => runs.push(means(past.all(model).filter(|(suite, id, ..)| asked.contains(&(*suite, *id))))),
            Err(Unread::Gone(why)) => {
                let lost = Some(why.clone());
                return Some(Left { lost, ..left });
            }
            Err(Unread::Broken(why)) => {
                tracing::warn!(model, "no step of drift: {why}");
                return None;
            }
        }
    }
    let baseline = match Baseline::freeze(&runs) {
        Ok(baseline) => baseline,
        Err(why) => {
            let lost = Some(why.to_string());
            return Some(Left { lost, ..left });
        }
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

/// A digest over what the target is, what it is asked, and how its answers are read.
fn about(run: &Evaluation, track: &Track, suites: &[Suite]) -> String {
    let each = suites.iter().map(|suite| {
        let spec = run.suites.iter().find(|spec| spec.name == suite.name);
        let read = spec.map(|spec| (&spec.scorer, spec.max_output_tokens));
        (&suite.name, &suite.protocol, &suite.digest, suite.repeats, read, suite.asked(false))
    });
    let judges: Vec<_> = run.judges.iter().map(|judge| (&judge.model, &judge.fingerprint)).collect();
    fingerprint::digest(&(&track.fingerprint, each.collect::<Vec<_>>(), judges))
}

/// The questions that every run asks, by suite and id.
fn asked(suites: &[Suite]) -> HashSet<(&str, &str)> {
    let of_each = |suite| {
        let suite: &Suite = suite;
        suite
            .asked(false)
            .iter()
            .map(move |question| (suite.name.as_str(), suite.id(*question)))
    };
    suites.iter().flat_map(of_each).collect()
}

/// As many digits as anybody reads: a report has little room. An alarm is 1 and nothing that is rounded to it.
fn short(number: f64) -> f64 {
    (number * 1e4).floor() / 1e4
}
