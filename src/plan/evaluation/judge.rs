//! The verdict over a report. `Pass` and `Fail` are proofs at 95 %; what is not proved is `Inconclusive`, and what was not measured as
//! agreed is `Invalid`. An absent number is never skipped: a gate that opens because something is missing is no gate.

use super::report::{Counts, Report};
use crate::api::EvalJob;
use crate::api::eval_job::{Criterion, Metric, SuiteResult, Verdict};
use crate::plan::statistics::{Interval, questions_to_decide};

/// What a run says about one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, with the numbers.
    pub message: String,
    /// The numbers of each suite, as far as there are any.
    pub suites: Vec<SuiteResult>,
}

/// The rank of a verdict: of several, the highest counts.
#[must_use]
pub fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
        Verdict::Invalid => 3,
    }
}

/// The worst of several verdicts; of none, `Invalid`.
#[must_use]
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts
        .into_iter()
        .max_by_key(|verdict| rank(*verdict))
        .unwrap_or(Verdict::Invalid)
}

/// What a run's report, or the reason why there is none, says about `model` by the criteria of `job`.
#[must_use]
pub fn judge(job: &EvalJob, model: &str, report: Result<&Report, &str>) -> Judgement {
    let invalid = |message: String, suites| Judgement {
        verdict: Verdict::Invalid,
        message,
        suites,
    };
    let report = match report {
        Ok(report) => report,
        Err(why) => return invalid(why.to_owned(), Vec::new()),
    };
    let suites = numbers(job, model, report);
    if let Some(flaw) = flaw(job, model, report) {
        return invalid(flaw, suites);
    }
    let findings: Vec<(Verdict, String)> = job.spec.criteria.iter().map(|criterion| weigh(criterion, model, report)).collect();
    let verdict = worst(findings.iter().map(|(verdict, _)| *verdict));
    let reasons: Vec<String> = findings
        .into_iter()
        .filter(|(v, _)| *v == verdict)
        .map(|(_, reason)| reason)
        .collect();
    Judgement {
        verdict,
        message: reasons.join("; "),
        suites,
    }
}

/// Why the run does not count for `model`, if so.
fn flaw(job: &EvalJob, model: &str, report: &Report) -> Option<String> {
    if let Some(why) = &report.invalid {
        return Some(why.clone());
    }
    for suite in &job.spec.suites {
        let name = &suite.name;
        let Some(counts) = report.counts(model, name) else {
            return Some(format!("the run has no numbers for suite {name}; wait for the next run"));
        };
        let size = report.suites.iter().find(|s| s.name == *name).map_or(0, |s| s.size);
        if counts.errors > 0 {
            let first = report.error.as_deref().unwrap_or("the pod's log has the reasons");
            return Some(format!("suite {name}: {} of {size} requests failed: {first}", counts.errors));
        }
        if let Some(limit) = report.stopped {
            let field = limit.field();
            return Some(format!(
                "the run stopped at {field} after {} of {size} questions of suite {name}; raise it or use fewer questions",
                counts.questions
            ));
        }
        if size == 0 {
            return Some(format!("suite {name} has no questions; add lines to its dataset"));
        }
        if counts.questions != size {
            return Some(format!("suite {name}: only {} of {size} questions ended", counts.questions));
        }
    }
    None
}

fn weigh(criterion: &Criterion, model: &str, report: &Report) -> (Verdict, String) {
    let Criterion {
        suite,
        metric: metric @ Metric::Accuracy,
        lower_bound_at_least: text,
    } = criterion;
    let Some(counts) = report.counts(model, suite) else {
        return (Verdict::Invalid, format!("suite {suite} has no {metric}; name one of spec.suites"));
    };
    let Some(interval) = Interval::wilson(counts.correct, counts.questions) else {
        return (
            Verdict::Invalid,
            format!("suite {suite} has no questions; add lines to its dataset"),
        );
    };
    let Ok(bound) = text.parse::<f64>() else {
        return (
            Verdict::Invalid,
            format!("{text:?} is not a bound; write a decimal from 0 to 1, such as \"0.784\""),
        );
    };
    let seen = format!("{suite}: {metric} {interval}");
    if interval.lower >= bound {
        (Verdict::Pass, format!("{seen}, at least {text}"))
    } else if interval.upper < bound {
        (Verdict::Fail, format!("{seen}, below {text}"))
    } else {
        let asked = counts.questions;
        let advice = match questions_to_decide(counts.correct, asked, bound) {
            Some(enough) => format!("{enough} questions would decide at this share, {asked} were asked"),
            None => format!("no number of questions would decide at this share, {asked} were asked"),
        };
        (Verdict::Inconclusive, format!("{seen}, on either side of {text}; {advice}"))
    }
}

fn numbers(job: &EvalJob, model: &str, report: &Report) -> Vec<SuiteResult> {
    let of = |name: &String, counts: Counts| SuiteResult {
        name: name.clone(),
        questions: counts.questions,
        correct: counts.correct,
        unparsed: counts.unparsed,
        errors: counts.errors,
        accuracy: Interval::wilson(counts.correct, counts.questions).map_or_else(|| "-".to_owned(), |i| i.to_string()),
    };
    let suites = job.spec.suites.iter();
    suites
        .filter_map(|suite| Some(of(&suite.name, report.counts(model, &suite.name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;
    use crate::plan::evaluation::report::{Limit, Suite, Target};
    use proptest::prelude::*;

    fn report(size: u32, counts: [u32; 4]) -> Report {
        Report {
            suites: vec![Suite {
                name: "claims".to_owned(),
                size,
                digest: "d".to_owned(),
            }],
            targets: vec![Target {
                model: "llama".to_owned(),
                tokens: [10, 5],
                counts: vec![counts.into()],
            }],
            ..Report::default()
        }
    }

    fn judged(report: &Report) -> (Verdict, String) {
        let Judgement { verdict, message, .. } = judge(&fixtures::job(), "llama", Ok(report));
        (verdict, message)
    }

    #[test]
    fn each_verdict_tells_its_numbers() {
        for (counts, verdict, message) in [
            (
                [500, 460, 0, 0],
                Verdict::Pass,
                "claims: accuracy 0.920 (0.893 to 0.941), at least 0.8",
            ),
            (
                [500, 300, 7, 0],
                Verdict::Fail,
                "claims: accuracy 0.600 (0.556 to 0.642), below 0.8",
            ),
            (
                [500, 405, 0, 0],
                Verdict::Inconclusive,
                "claims: accuracy 0.810 (0.773 to 0.842), on either side of 0.8; 6147 questions would decide at this share, 500 were asked",
            ),
            (
                [500, 400, 0, 0],
                Verdict::Inconclusive,
                "claims: accuracy 0.800 (0.763 to 0.833), on either side of 0.8; no number of questions would decide at this share, 500 were asked",
            ),
        ] {
            assert_eq!(judged(&report(500, counts)), (verdict, message.to_owned()));
        }
    }

    #[test]
    fn what_was_not_measured_as_agreed_is_invalid_and_says_why() {
        let stopped = Report {
            stopped: Some(Limit::Cost),
            ..report(500, [120, 120, 0, 0])
        };
        let failing = Report {
            error: Some("503 model is not ready".to_owned()),
            ..report(500, [500, 499, 0, 1])
        };
        for (report, message) in [
            (
                stopped,
                "the run stopped at spec.limits.maxCostUSD after 120 of 500 questions of suite claims; raise it or use fewer questions",
            ),
            (failing, "suite claims: 1 of 500 requests failed: 503 model is not ready"),
            (report(0, [0; 4]), "suite claims has no questions; add lines to its dataset"),
            (report(500, [499, 499, 0, 0]), "suite claims: only 499 of 500 questions ended"),
            (Report::default(), "the run has no numbers for suite claims; wait for the next run"),
            (
                Report::invalid("cases.jsonl line 3: expected is missing; add it or remove the line"),
                "cases.jsonl line 3: expected is missing; add it or remove the line",
            ),
        ] {
            assert_eq!(judged(&report), (Verdict::Invalid, message.to_owned()));
        }
    }

    #[test]
    fn a_lost_report_is_invalid_for_its_reason() {
        let judgement = judge(&fixtures::job(), "llama", Err("the pod is gone"));
        assert_eq!(
            (judgement.verdict, judgement.message.as_str()),
            (Verdict::Invalid, "the pod is gone")
        );
    }

    #[test]
    fn a_model_that_was_not_asked_is_invalid() {
        assert_eq!(
            judge(&fixtures::job(), "other", Ok(&report(500, [500, 500, 0, 0]))).verdict,
            Verdict::Invalid
        );
    }

    #[test]
    fn the_worst_verdict_counts() {
        use Verdict::{Fail, Inconclusive, Invalid, Pass};
        assert_eq!(worst([Pass, Inconclusive, Pass]), Inconclusive);
        assert_eq!(worst([Fail, Inconclusive]), Fail);
        assert_eq!(worst([Pass, Invalid, Fail]), Invalid);
        assert_eq!(worst([]), Invalid);
    }

    proptest! {
        #[test]
        fn more_right_answers_never_worsen_a_verdict(size in 1u32..2000, right in 0u32..2000) {
            prop_assume!(right < size);
            let (fewer, _) = judged(&report(size, [size, right, 0, 0]));
            let (more, _) = judged(&report(size, [size, right + 1, 0, 0]));
            prop_assert!(rank(more) <= rank(fewer));
        }

        #[test]
        fn nothing_passes_with_an_error_or_an_unasked_question(size in 1u32..500, errors in 0u32..500, asked in 0u32..500) {
            prop_assume!(errors > 0 || asked != size);
            let (verdict, _) = judged(&report(size, [asked, asked, 0, errors]));
            prop_assert_eq!(verdict, Verdict::Invalid);
        }
    }
}
