//! From how single questions ended to the numbers of a model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::progress::{Asked, End};
use super::suite::Suite;
use super::tally::{Ended, Tally};
use crate::plan::evaluation::measure::{self, Comparison, Numbers, Scored, SuiteNumbers, compare, cost};
use crate::plan::evaluation::metric::Metric;
use crate::plan::evaluation::report::Counts;

/// Which samples were extended: of each model, the places of suites.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sampled {
    pub(super) extended: BTreeMap<usize, BTreeSet<usize>>,
}

impl Sampled {
    fn is_extended(&self, target: usize, suite: usize) -> bool {
        self.extended.get(&target).is_some_and(|suites| suites.contains(&suite))
    }
}

/// The numbers of a model, over the samples that it was asked. `baseline` is the place of who it is compared with.
pub(super) fn numbers(suites: &[Suite], tally: &Tally, target: usize, baseline: Option<usize>, sampled: &Sampled) -> Numbers {
    let of_suite = |(place, suite): (usize, &Suite)| {
        let is_extended = sampled.is_extended(target, place);
        let own = scores(suite, tally, target, place, is_extended);
        let theirs = baseline.filter(|baseline| *baseline != target);
        let theirs = theirs.map(|baseline| scores(suite, tally, baseline, place, is_extended));
        let comparison = match &theirs {
            Some(theirs) => compare(&own.quality, &theirs.quality),
            None => baseline.map(|_| Comparison::Itself),
        };
        let quality = (if suite.is_graded() { Metric::Score } else { Metric::Accuracy }, &own.quality);
        let measured = [quality]
            .into_iter()
            .chain(own.rates.iter().map(|(metric, scores)| (*metric, scores)));
        SuiteNumbers {
            name: suite.name.clone(),
            protocol: suite.protocol.clone(),
            digest: suite.digest.clone(),
            wanted: own.wanted,
            counts: own.counts,
            metrics: measured
                .filter_map(|(metric, scores)| Some((metric, measure::quality(scores)?)))
                .collect(),
            comparison,
            baseline: theirs.map(|theirs| (theirs.wanted, theirs.counts)),
        }
    };
    // What was asked beyond a sample that stands is not part of it: a run that is killed in between comes to the same.
    let standing = suites.iter().enumerate().filter(|(place, _)| !sampled.is_extended(target, *place));
    let beyond: HashSet<(usize, usize)> = standing
        .flat_map(|(place, suite)| suite.asked(true).iter().map(move |question| (place, *question)))
        .collect();
    let is_sampled = |asked: &Asked| !beyond.contains(&(asked.suite, asked.question));
    let answered = tally
        .of(target)
        .filter(|(asked, ended)| ended.end != End::Error && is_sampled(asked));
    let spent: Option<Vec<(f64, u64)>> = answered.map(|(_, ended)| ended.spent).collect();
    let cost = spent.and_then(|spent| cost(&spent));
    Numbers {
        suites: suites.iter().enumerate().map(of_suite).collect(),
        metrics: cost.map(|measured| (Metric::CostPerThousandTokens, measured)).into_iter().collect(),
    }
}

/// Each question counts once, however often it was asked.
struct Scores {
    quality: Vec<Scored>,
    /// The part of a question's answers that ended so.
    rates: Vec<(Metric, Vec<Scored>)>,
    counts: Counts,
    /// How many answers there were to be.
    wanted: u32,
}

const RATES: [(Metric, End); 4] = [
    (Metric::ErrorRate, End::Error),
    (Metric::UnparsedRate, End::Unparsed),
    (Metric::RefusalRate, End::Refused),
    (Metric::TruncationRate, End::Truncated),
];

/// The scores of the questions of a sample of which every repetition has ended, and how their answers ended.
fn scores(suite: &Suite, tally: &Tally, target: usize, place: usize, is_extended: bool) -> Scores {
    let beyond: &[usize] = if is_extended { suite.asked(true) } else { &[] };
    let mut scores = Scores {
        quality: Vec::new(),
        rates: RATES.map(|(metric, _)| (metric, Vec::new())).into(),
        counts: Counts::default(),
        wanted: 0,
    };
    for question in suite.asked(false).iter().chain(beyond) {
        scores.wanted += suite.repeats;
        let each = (0..suite.repeats).map(|repeat| {
            tally.ended(&Asked {
                target,
                suite: place,
                question: *question,
                repeat,
            })
        });
        let ended: Vec<&Ended> = each.flatten().collect();
        ended.iter().for_each(|ended| count(&mut scores.counts, ended.end));
        if ended.len() < suite.repeats as usize {
            continue;
        }
        let scored = |sum: f64| Scored {
            question: *question,
            cluster: suite.cluster(*question),
            stratum: suite.drawn_from(*question),
            score: sum / f64::from(suite.repeats),
        };
        scores.quality.push(scored(ended.iter().map(|ended| ended.score).sum()));
        for ((_, rate), (_, end)) in scores.rates.iter_mut().zip(RATES) {
            rate.push(scored(ended.iter().filter(|ended| ended.end == end).count() as f64));
        }
    }
    scores
}

fn count(counts: &mut Counts, end: End) {
    counts.questions += 1;
    match end {
        End::Right => counts.correct += 1,
        End::Wrong | End::Graded => {}
        End::Refused => counts.refused += 1,
        End::Truncated => counts.truncated += 1,
        End::Unparsed => counts.unparsed += 1,
        End::Error => counts.errors += 1,
    }
}
