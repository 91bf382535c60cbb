//! From how single questions ended to the numbers of a model.

use std::collections::{BTreeMap, BTreeSet};

use super::progress::{Asked, End};
use super::suite::Suite;
use super::tally::{Ended, Tally};
use crate::plan::evaluation::measure::{Comparison, Numbers, Scored, SuiteNumbers, compare, cost, quality};
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
        let (scores, counts, wanted) = scores(suite, tally, target, place, is_extended);
        let metric = if suite.is_graded() { Metric::Score } else { Metric::Accuracy };
        let comparison = baseline.and_then(|baseline| {
            if baseline == target {
                return Some(Comparison::Itself);
            }
            let (theirs, ..) = self::scores(suite, tally, baseline, place, is_extended);
            compare(&scores, &theirs, suite.is_graded())
        });
        let mut numbers = SuiteNumbers {
            name: suite.name.clone(),
            protocol: suite.protocol.clone(),
            digest: suite.digest.clone(),
            wanted,
            counts,
            metrics: quality(&scores, suite.is_graded())
                .map(|measured| (metric, measured))
                .into_iter()
                .collect(),
            comparison,
        };
        numbers.add_rates();
        numbers
    };
    let spent: Option<Vec<(f64, f64)>> = tally
        .of(target)
        .filter(|(_, ended)| ended.end != End::Error)
        .map(|(_, ended)| ended.spent)
        .collect();
    let cost = spent.and_then(|spent| cost(&spent));
    Numbers {
        suites: suites.iter().enumerate().map(of_suite).collect(),
        metrics: cost.map(|measured| (Metric::CostPerThousandTokens, measured)).into_iter().collect(),
    }
}

/// The scores of the questions of a sample of which every repetition has ended, how their answers ended, and how many answers there were to be.
fn scores(suite: &Suite, tally: &Tally, target: usize, place: usize, is_extended: bool) -> (Vec<Scored>, Counts, u32) {
    let beyond: &[usize] = if is_extended { suite.asked(true) } else { &[] };
    let mut counts = Counts::default();
    let mut scores = Vec::new();
    let mut wanted = 0;
    for question in suite.asked(false).iter().chain(beyond) {
        wanted += suite.repeats;
        let each = (0..suite.repeats).map(|repeat| {
            tally.ended(&Asked {
                target,
                suite: place,
                question: *question,
                repeat,
            })
        });
        let ended: Vec<&Ended> = each.flatten().collect();
        ended.iter().for_each(|ended| count(&mut counts, ended.end));
        if ended.len() == suite.repeats as usize {
            scores.push(Scored {
                question: *question,
                cluster: suite.cluster(*question),
                stratum: suite.drawn_from(*question),
                score: ended.iter().map(|ended| ended.score).sum::<f64>() / f64::from(suite.repeats),
            });
        }
    }
    (scores, counts, wanted)
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
