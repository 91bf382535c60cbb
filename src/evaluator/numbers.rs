//! From how single questions ended to the numbers of a model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::judge::{Agreement, Judged};
use super::progress::{Asked, End};
use super::reports::Past;
use super::suite::Suite;
use super::tally::Tally;
use crate::plan::evaluation::measure::{self, Comparison, Measured, Numbers, Scored, SuiteNumbers, compare, cost};
use crate::plan::evaluation::metric::Metric;
use crate::plan::evaluation::report::Counts;
use crate::plan::statistics::{Confidence, Estimate};

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

/// With whom a model is compared.
#[derive(Clone, Copy)]
pub(super) enum Against<'a> {
    /// With nobody.
    Nobody,
    /// With itself: it is the baseline.
    Itself,
    /// With the model at that place among those that are asked.
    Asked(usize),
    /// With that model in an earlier run.
    Past(&'a Past, &'a str),
}

/// The numbers of a model, over the samples that it was asked. `look` is how sure it must be that a judge agrees with itself.
pub(super) fn numbers(
    suites: &[Suite],
    tally: &Tally,
    target: usize,
    against: Against<'_>,
    sampled: &Sampled,
    look: Confidence,
) -> Numbers {
    let of_suite = |(place, suite): (usize, &Suite)| {
        let is_extended = sampled.is_extended(target, place);
        let ended = |target: usize, question: usize, repeat: u32| {
            let asked = Asked {
                target,
                suite: place,
                question,
                repeat,
            };
            tally.ended(&asked)
        };
        let asked =
            |target: usize| move |question: usize, repeat: u32| ended(target, question, repeat).map(|ended| (ended.end, ended.score));
        let agreement = |target: usize| {
            let least = suite.judge()?.least;
            let agreement = agreement(suite, is_extended, |question, repeat| ended(target, question, repeat)?.judged);
            let flaw = agreement.flaw(least, look);
            Some((agreement, flaw))
        };
        let (agrees, flaw) = agreement(target).unzip();
        let own = scores(suite, is_extended, asked(target));
        let theirs = match against {
            Against::Nobody | Against::Itself => None,
            Against::Asked(other) => Some(scores(suite, is_extended, asked(other))),
            Against::Past(past, model) => Some(scores(suite, is_extended, |question, repeat| {
                past.ended(model, &suite.name, suite.id(question), repeat)
            })),
        };
        let comparison = match (&theirs, against) {
            (Some(theirs), _) => compare(&own.comparable(), &theirs.comparable()),
            (None, Against::Itself) => Some(Comparison::Itself),
            (None, _) => None,
        };
        let quality = (suite.quality, &own.quality);
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
                .filter_map(|(metric, scores)| Some((metric, measure::of_scores(metric, scores)?)))
                .chain(agrees.iter().flat_map(told))
                .collect(),
            comparison,
            baseline: theirs.map(|theirs| (theirs.wanted, theirs.counts)),
            flaw: flaw.flatten(),
            baseline_flaw: match against {
                Against::Asked(other) => agreement(other).and_then(|(_, flaw)| flaw),
                // What a judge said in an earlier run was held to its agreement there.
                Against::Nobody | Against::Itself | Against::Past(..) => None,
            },
        }
    };
    // What another program asked is counted as the relay saw it, and not by its questions.
    let is_own = |asked: &Asked| suites.get(asked.suite).is_none_or(|suite| !suite.is_external());
    // What was asked beyond a sample that stands is not part of it: a run that is killed in between comes to the same.
    let standing = suites.iter().enumerate().filter(|(place, _)| !sampled.is_extended(target, *place));
    let beyond: HashSet<(usize, usize)> = standing
        .flat_map(|(place, suite)| suite.asked(true).iter().map(move |question| (place, *question)))
        .collect();
    let is_sampled = |asked: &Asked| !beyond.contains(&(asked.suite, asked.question));
    let answered = tally
        .of(target)
        .filter(|(asked, ended)| ended.end != End::Error && is_sampled(asked) && is_own(asked));
    let spent: Option<Vec<(f64, u64)>> = answered.map(|(_, ended)| ended.spent).chain(tally.relayed(target)).collect();
    let cost = spent.and_then(|spent| cost(&spent));
    Numbers {
        suites: suites.iter().enumerate().map(of_suite).collect(),
        metrics: cost.map(|measured| (Metric::CostPerThousandTokens, measured)).into_iter().collect(),
    }
}

/// How far the suite's judge agrees with itself about a sample. What belongs together, such as the repetitions of a question, is judged alike.
fn agreement(suite: &Suite, is_extended: bool, judged: impl Fn(usize, u32) -> Option<Judged>) -> Agreement {
    let group = |question: usize| suite.cluster(question).unwrap_or_else(|| suite.id(question).to_owned());
    let mut pairs = Vec::new();
    for question in sampled_of(suite, is_extended) {
        let judged = (0..suite.repeats).filter_map(|repeat| judged(*question, repeat));
        pairs.extend(judged.map(|judged| (group(*question), judged)));
    }
    Agreement::of(pairs)
}

/// What is told of a judge. No criterion is on it: where it agrees too little with itself, the suite does not count.
fn told(agreement: &Agreement) -> impl Iterator<Item = (Metric, Measured)> + use<> {
    let pairs = agreement.pairs();
    let plain = |value| Estimate {
        value,
        standard_error: 0.0,
        degrees: f64::INFINITY,
    };
    let share = agreement
        .share()
        .map(|share| (Metric::JudgeAgreement, Measured::Share(share, "wilson")));
    let kappa = agreement
        .kappa()
        .map(|kappa| (Metric::JudgeKappa, Measured::Mean(kappa, pairs, "fleiss")));
    let first = agreement
        .first()
        .map(|first| (Metric::JudgeFirstRate, Measured::Mean(plain(first), pairs, "none")));
    share.into_iter().chain(kappa).chain(first)
}

/// The questions of a sample, in its order.
fn sampled_of(suite: &Suite, is_extended: bool) -> impl Iterator<Item = &usize> {
    let beyond: &[usize] = if is_extended { suite.asked(true) } else { &[] };
    suite.asked(false).iter().chain(beyond)
}

/// Each question counts once, however often it was asked.
struct Scores {
    quality: Vec<Scored>,
    /// The part of a question's answers that ended so.
    rates: Vec<(Metric, Vec<Scored>)>,
    counts: Counts,
    /// How many answers there were to be.
    wanted: u32,
    /// Questions of which a judge's verdict could not be read.
    unjudged: HashSet<usize>,
}

impl Scores {
    /// Those that say how good a model is: a verdict that could not be read says nothing, and counts for nobody.
    fn comparable(&self) -> Vec<Scored> {
        let is_told = |scored: &&Scored| !self.unjudged.contains(&scored.question);
        self.quality.iter().filter(is_told).cloned().collect()
    }
}

const RATES: [(Metric, End); 4] = [
    (Metric::ErrorRate, End::Error),
    (Metric::UnparsedRate, End::Unparsed),
    (Metric::RefusalRate, End::Refused),
    (Metric::TruncationRate, End::Truncated),
];

/// The scores of the questions of a sample of which every repetition has ended, and how their answers ended.
fn scores(suite: &Suite, is_extended: bool, ended: impl Fn(usize, u32) -> Option<(End, f64)>) -> Scores {
    let mut scores = Scores {
        quality: Vec::new(),
        rates: RATES.map(|(metric, _)| (metric, Vec::new())).into(),
        counts: Counts::default(),
        wanted: 0,
        unjudged: HashSet::new(),
    };
    for question in sampled_of(suite, is_extended) {
        scores.wanted += suite.repeats;
        let ended: Vec<(End, f64)> = (0..suite.repeats).filter_map(|repeat| ended(*question, repeat)).collect();
        ended.iter().for_each(|(end, _)| count(&mut scores.counts, *end));
        if ended.len() < suite.repeats as usize {
            continue;
        }
        let scored = |score: f64| Scored {
            question: *question,
            cluster: suite.cluster(*question),
            stratum: suite.drawn_from(*question),
            score,
        };
        if ended.iter().any(|(end, _)| *end == End::Unjudged) {
            scores.unjudged.insert(*question);
        }
        scores.quality.extend(suite.together(&ended).map(scored));
        for ((_, rate), (_, end)) in scores.rates.iter_mut().zip(RATES) {
            let count = ended.iter().filter(|(other, _)| *other == end).count() as f64;
            rate.push(scored(count / f64::from(suite.repeats)));
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
        End::Unjudged => counts.unjudged += 1,
        End::Error => counts.errors += 1,
    }
}
