//! From a run, and the reports of those before it, to what its page shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::jiff::Timestamp;

use super::page::{self, Answer, Bound, Change, Comparison, Counts, Drift, Estimate, Metric, Outcome as Ending, Stratum, Trend, View};
use super::progress::{End, Entry};
use super::reports::{self, Outcome, Past};
use super::suite::Suite;
use crate::api::eval_job::{self as api, Criterion, Verdict};
use crate::plan::evaluation::criteria::text;
use crate::plan::evaluation::judge::worst;
use crate::plan::evaluation::measure::{Measured, Scored, SuiteNumbers, of_scores};
use crate::plan::evaluation::metric::Metric as Measure;
use crate::plan::evaluation::report::Report;
use crate::plan::evaluation::run::Target;
use crate::plan::names;
use crate::plan::statistics::Confidence;

/// Earlier runs that are shown.
const MOST_RUNS: usize = 12;

/// The page of a run whose report is kept in `folder`.
pub(super) fn page(folder: &Path, outcome: &Outcome<'_>) -> String {
    let run = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let job = job(run);
    let slot = |run: &str| names::evaluation_slot(job, run).map_or_else(|| run.to_owned(), |slot| slot.to_string());
    let namespace = outcome.run.namespace.as_str();
    let names = earlier(folder, run);
    let previous = names
        .iter()
        .find_map(|name| Some((slot(name), Past::read(folder, name, namespace).ok()?)));
    let earlier: Vec<(String, Report)> = names
        .into_iter()
        .filter_map(|name| Some((slot(&name), reports::head(&folder.with_file_name(&name), namespace).ok()?)))
        .collect();
    let confidence = Confidence::new(outcome.run.confidence).unwrap_or(Confidence::P95);
    let this = Shown {
        outcome,
        confidence,
        earlier: &earlier,
        previous: previous.as_ref(),
        slot: slot(run),
        texts: texts(outcome.entries),
    };
    let report = outcome.report;
    page::page(&View {
        namespace: outcome.run.namespace.clone(),
        name: job.to_owned(),
        slot: this.slot.clone(),
        begun: time(outcome.begun),
        ended: time(outcome.ended),
        verdict: said(worst(report.targets.iter().map(|target| target.verdict))),
        invalid: report.invalid.clone(),
        stopped: report.stopped.map(|limit| limit.field().to_owned()),
        confidence: Some(outcome.run.confidence),
        tokens: Some(report.tokens()),
        cost_usd: report.cost.map(|nanos| nanos as f64 / 1e9),
        targets: outcome
            .run
            .targets
            .iter()
            .enumerate()
            .map(|(place, target)| this.target(place, target))
            .collect(),
        baselines: this.baseline().into_iter().collect(),
        drift: report.targets.iter().filter_map(drift).collect(),
    })
}

/// The runs of the same EvalJob before this one whose reports are kept beside its own, the latest first.
fn earlier(folder: &Path, run: &str) -> Vec<String> {
    let beside = folder.parent().and_then(|beside| std::fs::read_dir(beside).ok());
    let names = beside
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    before(names.iter().map(String::as_str), run)
}

/// The names among these that are of runs of the same EvalJob before `run` and that its page shows, the latest first.
pub(super) fn before<'a>(names: impl Iterator<Item = &'a str>, run: &str) -> Vec<String> {
    let job = job(run);
    let this = names::evaluation_slot(job, run);
    let before: BTreeMap<Timestamp, &str> = names
        .filter_map(|name| Some((names::evaluation_slot(job, name)?, name)))
        .filter(|(slot, _)| this.is_some_and(|this| *slot < this))
        .collect();
    before.into_values().rev().take(MOST_RUNS).map(str::to_owned).collect()
}

fn job(run: &str) -> &str {
    run.rsplit_once('-').map_or(run, |(job, _)| job)
}

fn texts(entries: &[Entry]) -> BTreeMap<(usize, usize, usize), &Entry> {
    let first = entries.iter().filter(|entry| entry.asked.repeat == 0);
    first
        .map(|entry| ((entry.asked.target, entry.asked.suite, entry.asked.question), entry))
        .collect()
}

struct Shown<'a> {
    outcome: &'a Outcome<'a>,
    confidence: Confidence,
    /// Earlier runs by their slots, the latest first.
    earlier: &'a [(String, Report)],
    /// The latest of them with its answers, and its slot.
    previous: Option<&'a (String, Past)>,
    slot: String,
    /// What was said to each question of each suite by each model, when it was asked first.
    texts: BTreeMap<(usize, usize, usize), &'a Entry>,
}

impl Shown<'_> {
    fn target(&self, place: usize, target: &Target) -> page::Target {
        let (numbers, judged) = &self.outcome.judged[place];
        page::Target {
            model: target.model.clone(),
            verdict: said(judged.verdict),
            message: judged.message.clone(),
            criteria: target.criteria.iter().map(text).collect(),
            suites: numbers.suites.iter().map(|suite| self.suite(place, target, suite)).collect(),
            trends: numbers
                .suites
                .iter()
                .filter_map(|suite| self.trend(target, suite, said(judged.verdict)))
                .collect(),
            comparisons: self.comparisons(place, target),
        }
    }

    /// The model that others are compared with, where it is none of the targets.
    fn baseline(&self) -> Option<page::Baseline> {
        let (place, numbers) = self.outcome.baseline?;
        let target = self.outcome.asked.get(*place)?;
        Some(page::Baseline {
            name: target.model.clone(),
            suites: numbers.suites.iter().map(|suite| self.suite(*place, target, suite)).collect(),
        })
    }

    fn suite(&self, place: usize, target: &Target, suite: &SuiteNumbers) -> page::Suite {
        let shown = suite.metrics.iter().filter(|(metric, _)| metric.is_shown());
        page::Suite {
            name: suite.name.clone(),
            protocol: suite.protocol.clone(),
            digest: suite.digest.clone(),
            counts: Some(Counts {
                questions: suite.counts.questions,
                right: suite.counts.correct,
                refused: suite.counts.refused,
                truncated: suite.counts.truncated,
                unparsed: suite.counts.unparsed,
                unjudged: suite.counts.unjudged,
                errors: suite.counts.errors,
            }),
            metrics: shown
                .map(|(metric, measured)| Metric {
                    name: metric.name().to_owned(),
                    estimate: self.estimate(measured),
                    bounds: bounds(target, &suite.name, *metric),
                })
                .collect(),
            strata: self.strata(place, &suite.name),
        }
    }

    fn estimate(&self, measured: &Measured) -> Estimate {
        let interval = measured.interval(self.confidence);
        Estimate {
            value: Some(measured.value()),
            lower: interval.map(|interval| interval.lower),
            upper: interval.map(|interval| interval.upper),
            n: Some(measured.n()),
            method: Some(measured.method().to_owned()),
        }
    }

    /// How good the answers to the questions of each category are.
    fn strata(&self, target: usize, name: &str) -> Vec<Stratum> {
        let Some((place, suite)) = self.suite_of(name) else {
            return Vec::new();
        };
        let mut strata: BTreeMap<String, Vec<Scored>> = BTreeMap::new();
        let mut ended: BTreeMap<usize, Vec<(End, f64)>> = BTreeMap::new();
        let own = self
            .outcome
            .entries
            .iter()
            .filter(|entry| (entry.asked.target, entry.asked.suite) == (target, place));
        own.for_each(|entry| ended.entry(entry.asked.question).or_default().push((entry.end, entry.score)));
        for (question, ended) in ended {
            let (Some(stratum), Some(score)) = (suite.drawn_from(question), suite.together(&ended)) else {
                continue;
            };
            strata.entry(stratum).or_default().push(Scored {
                question,
                cluster: suite.cluster(question),
                stratum: None,
                score,
            });
        }
        let measured = strata.into_iter().filter_map(|(category, scores)| {
            let estimate = self.estimate(&of_scores(suite.quality, &scores)?);
            Some(Stratum { category, estimate })
        });
        measured.collect()
    }

    fn suite_of(&self, name: &str) -> Option<(usize, &Suite)> {
        let mut suites = self.outcome.suites.iter().enumerate();
        suites.find(|(_, suite)| suite.name == name)
    }

    /// The first number of a suite over the runs.
    fn trend(&self, target: &Target, suite: &SuiteNumbers, verdict: page::Verdict) -> Option<Trend> {
        let (metric, measured) = suite.metrics.iter().find(|(metric, _)| metric.is_shown())?;
        let now = page::Run {
            slot: self.slot.clone(),
            verdict,
            estimate: self.estimate(measured),
        };
        let then = self.earlier.iter().filter_map(|(slot, report)| {
            let of_target = report.targets.iter().find(|then| then.model == target.model)?;
            let of_suite = of_target
                .suites
                .iter()
                .find(|then| then.name == suite.name && then.protocol == suite.protocol);
            let found = of_suite.and_then(|suite| suite.metrics.iter().find(|then| then.name == metric.name()));
            Some(page::Run {
                slot: slot.clone(),
                verdict: said(of_target.verdict),
                estimate: found.map(kept).unwrap_or_default(),
            })
        });
        Some(Trend {
            suite: suite.name.clone(),
            metric: metric.name().to_owned(),
            bounds: bounds(target, &suite.name, *metric),
            runs: [now].into_iter().chain(then).collect(),
        })
    }

    /// The questions that ended otherwise than the baseline's, or without one than in the run before.
    fn comparisons(&self, place: usize, target: &Target) -> Vec<Comparison> {
        let asked = |model: &str| self.outcome.asked.iter().position(|asked| asked.model == model);
        let run = self.outcome.run;
        let past = self.outcome.past.zip(run.past.as_ref());
        let baseline = run.baseline.as_ref().filter(|baseline| baseline.model != target.model);
        let suites = self.outcome.suites.iter().enumerate();
        suites
            .filter_map(|(at, suite)| match (past, baseline) {
                (Some((past, named)), _) => {
                    let model = named.model.as_ref().unwrap_or(&target.model);
                    let with = format!("{model} in the run {}", named.run);
                    let then = |question: usize| then(past, model, suite, question);
                    Some(self.comparison(place, at, suite, with, &then))
                }
                (None, Some(baseline)) => {
                    let other = asked(&baseline.model)?;
                    let then = |question: usize| self.texts.get(&(other, at, question)).map(|entry| answer(entry));
                    Some(self.comparison(place, at, suite, format!("the baseline {}", baseline.model), &then))
                }
                (None, None) => {
                    let (slot, past) = self.previous?;
                    let spec = run.suites.iter().find(|spec| spec.name == suite.name)?;
                    let asks_the_same = past.is_like(suite, spec, &run.judges).is_ok();
                    let then = |question: usize| then(past, &target.model, suite, question);
                    asks_the_same.then(|| self.comparison(place, at, suite, format!("the run of {slot}"), &then))
                }
            })
            .collect()
    }

    fn comparison(&self, place: usize, at: usize, suite: &Suite, with: String, then: &dyn Fn(usize) -> Option<Answer>) -> Comparison {
        let mut questions = 0;
        let mut changes = Vec::new();
        let both: BTreeSet<usize> = suite.asked(false).iter().chain(suite.asked(true)).copied().collect();
        for question in both {
            let now = self.texts.get(&(place, at, question)).map(|entry| answer(entry));
            let (Some(before), Some(now)) = (then(question), now) else {
                continue;
            };
            questions += 1;
            if before.outcome != now.outcome {
                changes.push(Change {
                    id: suite.id(question).to_owned(),
                    category: suite.drawn_from(question),
                    before,
                    now,
                });
            }
        }
        Comparison {
            suite: suite.name.clone(),
            with,
            questions,
            changes,
        }
    }
}

fn then(past: &Past, model: &str, suite: &Suite, question: usize) -> Option<Answer> {
    let (end, score) = past.ended(model, &suite.name, suite.id(question), 0)?;
    Some(Answer {
        outcome: ending(end, score),
        text: None,
    })
}

fn answer(entry: &Entry) -> Answer {
    Answer {
        outcome: ending(entry.end, entry.score),
        text: entry.text.clone(),
    }
}

fn ending(end: End, score: f64) -> Ending {
    match end {
        End::Right => Ending::Right,
        End::Wrong => Ending::Wrong,
        End::Graded => Ending::Graded(score),
        End::Refused => Ending::Refused,
        End::Truncated => Ending::Truncated,
        End::Unparsed => Ending::Unparsed,
        End::Unjudged => Ending::Unjudged,
        End::Error => Ending::Error,
    }
}

/// A number as an earlier report has it.
fn kept(metric: &api::MetricResult) -> Estimate {
    let number = |text: &String| text.parse().ok();
    Estimate {
        value: number(&metric.value),
        lower: metric.lower.as_ref().and_then(number),
        upper: metric.upper.as_ref().and_then(number),
        n: Some(metric.n),
        method: metric.method.clone(),
    }
}

/// What the criteria ask of a metric by itself.
fn bounds(target: &Target, suite: &str, metric: Measure) -> Vec<Bound> {
    let of_it = |criterion: &&Criterion| criterion.suite.as_deref() == Some(suite) && criterion.metric == metric.name();
    let bound = |criterion: &Criterion| match criterion.bound()? {
        api::Bound::LowerAtLeast(bound) => Some(Bound::AtLeast(bound)),
        api::Bound::UpperAtMost(bound) | api::Bound::AtMost(bound) => Some(Bound::AtMost(bound)),
        api::Bound::NotWorseBy(_) => None,
    };
    target.criteria.iter().filter(of_it).filter_map(bound).collect()
}

fn drift(target: &crate::plan::evaluation::report::Target) -> Option<Drift> {
    let left = target.drift.as_ref()?;
    let state = match (&left.step, &left.lost) {
        (Some(step), _) => format!("{:+.1} points against its first runs", -step.drop * 100.0),
        (None, Some(lost)) => format!("it begins anew: {lost}"),
        (None, None) => "one of the first runs, which later ones are compared with".to_owned(),
    };
    Some(Drift {
        about: target.model.clone(),
        state,
        evidence: left.step.map(|step| step.progress),
    })
}

fn said(verdict: Verdict) -> page::Verdict {
    match verdict {
        Verdict::Pass => page::Verdict::Pass,
        Verdict::Fail => page::Verdict::Fail,
        Verdict::Inconclusive => page::Verdict::Inconclusive,
        Verdict::Invalid => page::Verdict::Invalid,
    }
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}
