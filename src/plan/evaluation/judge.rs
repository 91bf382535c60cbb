//! The verdict over numbers. `Pass` and `Fail` are proofs at the job's confidence; what is not proved is `Inconclusive`, and what was not measured
//! as agreed is `Invalid`. An absent number is never skipped: a gate that opens because something is missing is no gate.
//!
//! Every criterion must be proved for a `Pass`, so several of them need no correction: a model that misses one passes no more often than that one
//! lets it. For a `Fail` one is enough, so there they are corrected by Holm's method: a model that meets all fails no more often than one would let it.

use super::measure::{Comparison, Measured, Numbers, times, written};
use super::metric::Metric;
use super::report::{Counts, Limit};
use crate::api::eval_job::{Bound, Criterion, Verdict};
use crate::plan::statistics::{Bounds, Confidence, Design, Estimate, NonInferiority, Sides, holm, non_inferiority};

/// By what a model is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules<'a> {
    /// What must hold.
    pub criteria: &'a [Criterion],
    /// How sure the verdict is to be.
    pub confidence: Confidence,
    /// How often it is judged: each time is held to a part of what the confidence leaves.
    pub looks: u8,
    /// The share of requests that may fail.
    pub errors: f64,
    /// The share of answers in which none may be found.
    pub unparsed: f64,
}

impl Rules<'_> {
    /// The confidence of one look.
    #[must_use]
    pub fn look(&self) -> Confidence {
        self.confidence.of_looks(self.looks)
    }
}

/// What a run says about one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, with the numbers.
    pub message: String,
    /// The suites of which more questions may decide.
    pub undecided: Vec<String>,
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

/// What `numbers` say by `rules`. `stopped` is the limit at which the run ended early, `error` the first failure's words.
#[must_use]
pub fn judge(rules: &Rules<'_>, numbers: &Numbers, stopped: Option<Limit>, error: Option<&str>) -> Judgement {
    let invalid = |message: String| Judgement {
        verdict: Verdict::Invalid,
        message,
        undecided: Vec::new(),
    };
    for suite in &numbers.suites {
        if let Some(flaw) = flaw(rules, &format!("suite {}", suite.name), suite.wanted, &suite.counts, stopped, error) {
            return invalid(flaw);
        }
        if let Some(why) = &suite.flaw {
            return invalid(format!("suite {}: {why}", suite.name));
        }
        // A baseline that does not answer is no worse model: nothing can be compared with it.
        let is_compared = |c: &Criterion| c.not_worse_than_baseline_by.is_some() && c.suite.as_ref() == Some(&suite.name);
        let compared = suite.baseline.filter(|_| rules.criteria.iter().any(is_compared));
        if let Some((wanted, counts)) = compared
            && let Some(flaw) = flaw(
                rules,
                &format!("the baseline in suite {}", suite.name),
                wanted,
                &counts,
                stopped,
                error,
            )
        {
            return invalid(flaw);
        }
        if let Some(why) = suite.baseline_flaw.as_ref().filter(|_| compared.is_some()) {
            return invalid(format!("the baseline in suite {}: {why}", suite.name));
        }
    }
    if rules.criteria.is_empty() {
        return invalid("there is no criterion; set spec.criteria".to_owned());
    }
    let weighed: Result<Vec<Weighed>, String> = rules.criteria.iter().map(|criterion| weigh(criterion, numbers, rules)).collect();
    let weighed = match weighed {
        Ok(weighed) => weighed,
        Err(missing) => return invalid(missing),
    };
    let ps: Vec<f64> = weighed.iter().map(|w| w.p_met).collect();
    let left = 1.0 - rules.look().share();
    let findings: Vec<(Verdict, &Weighed)> = weighed
        .iter()
        .zip(holm(&ps))
        .map(|(weighed, p)| match (weighed.is_met, p < left) {
            (true, _) => (Verdict::Pass, weighed),
            (false, true) => (Verdict::Fail, weighed),
            (false, false) => (Verdict::Inconclusive, weighed),
        })
        .collect();
    let verdict = worst(findings.iter().map(|(verdict, _)| *verdict));
    let decisive = findings.iter().filter(|(found, _)| *found == verdict).map(|(_, weighed)| *weighed);
    let reasons: Vec<String> = decisive.clone().map(|weighed| weighed.says(verdict)).collect();
    let undecided = decisive
        .filter(|_| verdict == Verdict::Inconclusive)
        .filter_map(|weighed| weighed.suite.clone());
    Judgement {
        verdict,
        message: reasons.join("; "),
        undecided: undecided.collect(),
    }
}

/// Why a suite does not count, if so.
fn flaw(rules: &Rules<'_>, place: &str, wanted: u32, counts: &Counts, stopped: Option<Limit>, error: Option<&str>) -> Option<String> {
    let Counts {
        questions,
        errors,
        unparsed,
        unjudged,
        truncated,
        ..
    } = *counts;
    let share = |part: u32| f64::from(part) / f64::from(questions.max(1));
    if wanted == 0 {
        return Some(format!("{place} has no questions; add rows to its dataset"));
    }
    if share(errors) > rules.errors {
        let first = error.unwrap_or("the pod's log has the reasons");
        let allowed = format!("{} of them may (spec.limits.maxErrorRate)", percent(rules.errors));
        return Some(format!("{place}: {errors} of {questions} requests failed, {allowed}: {first}"));
    }
    if let Some(limit) = stopped
        && questions < wanted
    {
        let (field, remedy) = (limit.field(), limit.remedy());
        return Some(format!(
            "the run stopped at {field} after {questions} of {wanted} questions of {place}; {remedy}"
        ));
    }
    if questions != wanted {
        return Some(format!("{place}: only {questions} of {wanted} questions ended"));
    }
    if share(unjudged) > rules.unparsed {
        let allowed = format!("{} may be so (spec.limits.maxUnparsedRate)", percent(rules.unparsed));
        return Some(format!(
            "{place}: the judge's verdict on {unjudged} of {questions} answers could not be read, {allowed}; name another judge"
        ));
    }
    if share(unparsed + truncated) > rules.unparsed {
        let allowed = format!("{} may be so (spec.limits.maxUnparsedRate)", percent(rules.unparsed));
        let remedy = if truncated > unparsed {
            "raise maxOutputTokens of the suite: most of them were cut off"
        } else {
            "ask for the form of the answer in the question, or use another scorer"
        };
        let unparsed = unparsed + truncated;
        return Some(format!(
            "{place}: no answer was found in {unparsed} of {questions} answers, {allowed}; {remedy}"
        ));
    }
    None
}

fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What one criterion comes to.
struct Weighed {
    suite: Option<String>,
    is_met: bool,
    /// How likely what was seen would be were the criterion met; of a comparison, were the model no worse at all.
    p_met: f64,
    /// What was seen.
    seen: String,
    /// Where it lies: met, missed, or neither.
    said: [String; 3],
}

impl Weighed {
    fn says(&self, verdict: Verdict) -> String {
        let [met, missed, open] = &self.said;
        let said = match verdict {
            Verdict::Pass => met,
            Verdict::Fail => missed,
            Verdict::Inconclusive | Verdict::Invalid => open,
        };
        format!("{}, {said}", self.seen)
    }
}

fn weigh(criterion: &Criterion, numbers: &Numbers, rules: &Rules<'_>) -> Result<Weighed, String> {
    let Criterion { suite, metric: name, .. } = criterion;
    let place = suite.as_ref().map_or(String::new(), |suite| format!("{suite}: "));
    let metric = Metric::named(name).ok_or_else(|| format!("{place}there is no metric {name:?}; correct spec.criteria"))?;
    let missing = || format!("{place}{metric} was not measured, so it cannot be judged");
    let of_suite = suite.as_ref().map(|name| numbers.suite(name).ok_or_else(missing)).transpose()?;
    let (_, text) = criterion.written().ok_or_else(missing)?;
    let bound = criterion
        .bound()
        .ok_or_else(|| format!("{place}{text:?} is not a bound; write a decimal"))?;
    if let Bound::NotWorseBy(margin) = bound {
        let comparison = of_suite.and_then(|suite| suite.comparison.as_ref());
        let comparison = comparison.ok_or_else(|| format!("{place}there are no answers of the baseline to compare {metric} with"))?;
        return Ok(compare(criterion, metric, comparison, margin, rules));
    }
    let metrics = of_suite.map_or(&numbers.metrics, |suite| &suite.metrics);
    let measured = metrics.get(&metric).ok_or_else(missing)?;
    let confidence = rules.look();
    let seen = format!("{place}{metric} {}", measured.text(metric, rules.confidence));
    let left = 1.0 - confidence.share();
    let advice = |bound: f64| match measured.questions_to_decide(bound, confidence) {
        Some(enough) => format!("{enough} questions would decide at this value, {} were asked", measured.n()),
        None => format!("no number of questions would decide at this value, {} were asked", measured.n()),
    };
    let between = |bound: f64| format!("on either side of {text}; {}", advice(bound));
    Ok(match bound {
        Bound::LowerAtLeast(bound) => Weighed {
            suite: suite.clone(),
            is_met: is_at_least(measured, bound, left),
            p_met: measured.p_if_at_least(bound),
            seen,
            said: [format!("at least {text}"), format!("below {text}"), between(bound)],
        },
        Bound::UpperAtMost(bound) => Weighed {
            suite: suite.clone(),
            is_met: is_at_most(measured, bound, left),
            p_met: measured.p_if_at_most(bound),
            seen,
            said: [format!("at most {text}"), format!("above {text}"), between(bound)],
        },
        Bound::AtMost(bound) | Bound::NotWorseBy(bound) => Weighed {
            suite: suite.clone(),
            is_met: measured.value() <= bound,
            // What was counted is so for certain.
            p_met: 0.0,
            seen,
            said: [format!("at most {text}"), format!("above {text}"), String::new()],
        },
    })
}

/// A bound at the very end of what is possible is met by what is there: nothing is less than 0, and nothing more than 1.
fn is_at_least(measured: &Measured, bound: f64, left: f64) -> bool {
    bound <= 0.0 || measured.p_if_at_most(bound) < left
}

fn is_at_most(measured: &Measured, bound: f64, left: f64) -> bool {
    matches!(measured, Measured::Share(..) | Measured::Rare(..)) && bound >= 1.0 || measured.p_if_at_least(bound) < left
}

fn compare(criterion: &Criterion, metric: Metric, comparison: &Comparison, margin: f64, rules: &Rules<'_>) -> Weighed {
    let confidence = rules.look();
    let place = criterion.suite.as_deref().unwrap_or_default();
    let (found, p_met, difference, detail) = match comparison {
        Comparison::Itself => {
            return Weighed {
                suite: None,
                is_met: true,
                p_met: 1.0,
                seen: format!("{place}: {metric}"),
                said: ["it is the baseline itself", "", ""].map(str::to_owned),
            };
        }
        Comparison::Pairs(pairs) => {
            let found = pairs.non_inferiority(margin, confidence);
            let detail = format!(
                "{} better and {} worse of {} questions",
                pairs.only_candidate,
                pairs.only_baseline,
                pairs.asked()
            );
            (
                found,
                pairs.p_worse(),
                pairs.adjusted_difference().map(|d| (d, pairs.asked())),
                detail,
            )
        }
        Comparison::Difference(difference, n) => {
            let found = non_inferiority(difference, margin, confidence);
            (
                found,
                difference.p_if_at_least(0.0),
                Some((*difference, *n)),
                format!("{n} questions"),
            )
        }
    };
    let text = criterion.written().map_or("", |(_, text)| text);
    let seen = match &difference {
        Some((difference, _)) => {
            let Bounds { lower, upper } = difference.interval(rules.confidence);
            let [value, lower, upper] = [difference.value, lower, upper].map(|x| signed(x, metric));
            format!("{place}: {metric} {value} ({lower} to {upper}) against the baseline, {detail}")
        }
        None => format!("{place}: {metric} against the baseline, {detail}"),
    };
    let open = difference.map_or_else(String::new, |(difference, n)| undecided(&difference, n, margin, confidence));
    Weighed {
        suite: criterion.suite.clone(),
        is_met: found == NonInferiority::Shown,
        p_met,
        seen,
        said: [
            format!("not worse by {text}"),
            format!("worse, and not shown to be so by less than {text}"),
            format!("not shown to be worse by less than {text}{open}"),
        ],
    }
}

/// How many questions would tell, and what so many could have told.
fn undecided(difference: &Estimate, n: u32, margin: f64, confidence: Confidence) -> String {
    let bound = if difference.value > -margin { -margin } else { 0.0 };
    let enough = times(n, difference.times_to_decide(bound, confidence));
    let advice = enough.map_or_else(
        || "; no number of questions would decide at this difference".to_owned(),
        |enough| format!("; {enough} questions would decide at this difference"),
    );
    let variance = difference.standard_error.powi(2) * f64::from(n);
    let detectable = Design::new(confidence, Sides::One, 0.8).and_then(|design| design.smallest_effect(variance, n));
    let detectable = detectable.map_or_else(String::new, |effect| format!(", {n} find a loss of {effect:.3} in 80 of 100 runs"));
    format!("{advice}{detectable}")
}

fn signed(value: f64, metric: Metric) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", written(value.abs(), metric))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;
    use crate::plan::evaluation::measure::{Scored, SuiteNumbers, compare as compared, quality};
    use crate::plan::statistics::Share;
    use fastrand::Rng;
    use proptest::prelude::*;

    fn counts(questions: u32, correct: u32, unparsed: u32, errors: u32) -> Counts {
        Counts {
            questions,
            correct,
            unparsed,
            errors,
            ..Counts::default()
        }
    }

    fn numbers(wanted: u32, counts: Counts) -> Numbers {
        let mut suite = SuiteNumbers {
            flaw: None,
            baseline_flaw: None,
            name: "claims".to_owned(),
            protocol: String::new(),
            digest: String::new(),
            wanted,
            counts,
            metrics: [].into(),
            comparison: None,
            baseline: None,
        };
        let share = |count: u32| Share::of(count, counts.questions).map(|share| Measured::Share(share, "wilson"));
        suite
            .metrics
            .extend(share(counts.unparsed).map(|measured| (Metric::UnparsedRate, measured)));
        let scores: Vec<Scored> = (0..counts.questions).map(|i| scored(i as usize, i < counts.correct)).collect();
        suite.metrics.extend(quality(&scores).map(|measured| (Metric::Accuracy, measured)));
        Numbers {
            suites: vec![suite],
            metrics: [].into(),
        }
    }

    fn scored(question: usize, is_right: bool) -> Scored {
        Scored {
            question,
            cluster: None,
            stratum: None,
            score: f64::from(is_right),
        }
    }

    fn rules(criteria: &[Criterion]) -> Rules<'_> {
        Rules {
            criteria,
            confidence: Confidence::P95,
            looks: 1,
            errors: 0.01,
            unparsed: 0.05,
        }
    }

    fn judged(criteria: &str, numbers: &Numbers) -> (Verdict, String) {
        let criteria: Vec<Criterion> = fixtures::read(criteria);
        let Judgement { verdict, message, .. } = judge(&rules(&criteria), numbers, None, None);
        (verdict, message)
    }

    const AT_LEAST: &str = "[{suite: claims, metric: accuracy, lowerBoundAtLeast: '0.8'}]";

    #[test]
    fn each_verdict_tells_its_numbers() {
        for (counts, verdict, message) in [
            (
                counts(500, 460, 0, 0),
                Verdict::Pass,
                "claims: accuracy 0.920 (0.893 to 0.941), at least 0.8",
            ),
            (
                counts(500, 300, 7, 0),
                Verdict::Fail,
                "claims: accuracy 0.600 (0.556 to 0.642), below 0.8",
            ),
            (
                counts(500, 410, 0, 0),
                Verdict::Inconclusive,
                "claims: accuracy 0.820 (0.784 to 0.851), on either side of 0.8; 1083 questions would decide at this value, 500 were asked",
            ),
            (
                counts(500, 400, 0, 0),
                Verdict::Inconclusive,
                "claims: accuracy 0.800 (0.763 to 0.833), on either side of 0.8; no number of questions would decide at this value, 500 were asked",
            ),
        ] {
            assert_eq!(judged(AT_LEAST, &numbers(500, counts)), (verdict, message.to_owned()));
        }
    }

    #[test]
    fn what_was_not_measured_as_agreed_is_invalid() {
        for (counts, message) in [
            (
                counts(500, 460, 0, 6),
                "suite claims: 6 of 500 requests failed, 1 % of them may (spec.limits.maxErrorRate): the pod's log has the reasons",
            ),
            (counts(499, 460, 0, 0), "suite claims: only 499 of 500 questions ended"),
            (
                counts(500, 460, 26, 0),
                "suite claims: no answer was found in 26 of 500 answers, 5 % may be so (spec.limits.maxUnparsedRate); ask for the form of the answer in the question, or use another scorer",
            ),
        ] {
            assert_eq!(judged(AT_LEAST, &numbers(500, counts)), (Verdict::Invalid, message.to_owned()));
        }
        let none = numbers(0, Counts::default());
        assert_eq!(judged(AT_LEAST, &none).1, "suite claims has no questions; add rows to its dataset");
        let criteria: Vec<Criterion> = fixtures::read(AT_LEAST);
        let stopped = judge(&rules(&criteria), &numbers(500, counts(120, 100, 0, 0)), Some(Limit::Cost), None);
        assert_eq!(
            (stopped.verdict, stopped.message.as_str()),
            (
                Verdict::Invalid,
                "the run stopped at spec.limits.maxCostUSD after 120 of 500 questions of suite claims; raise it, or ask fewer questions or for shorter answers"
            )
        );
    }

    #[test]
    fn an_absent_number_is_never_skipped() {
        let all = numbers(500, counts(500, 500, 0, 0));
        for (criteria, message) in [
            (
                "[{suite: other, metric: accuracy, lowerBoundAtLeast: '0.1'}]",
                "other: accuracy was not measured, so it cannot be judged",
            ),
            (
                "[{metric: cost_usd_per_1k_tokens, atMost: '1'}]",
                "cost_usd_per_1k_tokens was not measured, so it cannot be judged",
            ),
            (
                "[{suite: claims, metric: accuracy, notWorseThanBaselineBy: '0.1'}]",
                "claims: there are no answers of the baseline to compare accuracy with",
            ),
            ("[]", "there is no criterion; set spec.criteria"),
        ] {
            assert_eq!(judged(criteria, &all), (Verdict::Invalid, message.to_owned()));
        }
    }

    #[test]
    fn the_worst_criterion_counts_and_says_why() {
        let both = "[{suite: claims, metric: accuracy, lowerBoundAtLeast: '0.8'}, {suite: claims, metric: unparsed_rate, upperBoundAtMost: '0.001'}]";
        let (verdict, message) = judged(both, &numbers(500, counts(500, 480, 20, 0)));
        assert_eq!(verdict, Verdict::Fail);
        assert!(
            message.starts_with("claims: unparsed_rate 0.040") && !message.contains("accuracy"),
            "{message}"
        );
    }

    fn against(worse: u32, better: u32, n: usize) -> Numbers {
        let mut numbers = numbers(n as u32, counts(n as u32, 0, 0, 0));
        let baseline: Vec<Scored> = (0..n).map(|i| scored(i, i >= better as usize)).collect();
        let candidate: Vec<Scored> = (0..n).map(|i| scored(i, i < n - worse as usize)).collect();
        numbers.suites[0].comparison = compared(&candidate, &baseline);
        numbers
    }

    #[test]
    fn a_model_is_compared_with_the_baseline_question_by_question() {
        let criterion = "[{suite: claims, metric: accuracy, notWorseThanBaselineBy: '0.05'}]";
        for (numbers, verdict, message) in [
            (
                against(5, 4, 500),
                Verdict::Pass,
                "claims: accuracy -0.002 (-0.015 to +0.011) against the baseline, 4 better and 5 worse of 500 questions, not worse by 0.05",
            ),
            (
                against(40, 5, 500),
                Verdict::Fail,
                "claims: accuracy -0.070 (-0.096 to -0.044) against the baseline, 5 better and 40 worse of 500 questions, worse, and not shown to be so by less than 0.05",
            ),
            (
                against(30, 20, 200),
                Verdict::Inconclusive,
                "claims: accuracy -0.050 (-0.119 to +0.020) against the baseline, 20 better and 30 worse of 200 questions, not shown to be worse by less than 0.05; ",
            ),
        ] {
            let (seen, said) = judged(criterion, &numbers);
            assert_eq!(seen, verdict, "{said}");
            assert!(said.starts_with(message), "{said}");
        }
        let mut itself = against(0, 0, 10);
        itself.suites[0].comparison = Some(Comparison::Itself);
        assert_eq!(
            judged(criterion, &itself),
            (Verdict::Pass, "claims: accuracy, it is the baseline itself".to_owned())
        );
    }

    /// The same model against itself: of its questions, 5 % come out differently by chance. And one that lost five points.
    #[test]
    fn an_unchanged_model_rarely_fails_and_one_that_lost_much_mostly_does() {
        let criteria: Vec<Criterion> = fixtures::read("[{suite: claims, metric: accuracy, notWorseThanBaselineBy: '0.01'}]");
        let mut rng = Rng::with_seed(7);
        // What it knows it answers wrong now and then, and the other way round; what it has lost it answers wrong.
        let answer = |known: bool, loss: f64, rng: &mut Rng| (known != (rng.f64() < 0.025)) && rng.f64() >= loss;
        let mut runs = |loss: f64| {
            let fails = |_: &u32| {
                let (mut better, mut worse) = (0, 0);
                for _ in 0..500 {
                    let known = rng.f64() < 0.784;
                    let (before, now) = (answer(known, 0.0, &mut rng), answer(known, loss, &mut rng));
                    better += u32::from(now && !before);
                    worse += u32::from(before && !now);
                }
                judge(&rules(&criteria), &against(worse, better, 500), None, None).verdict == Verdict::Fail
            };
            (0..300).filter(fails).count()
        };
        let (unchanged, lost) = (runs(0.0), runs(0.065));
        assert!(unchanged <= 15, "{unchanged} of 300");
        assert!(lost >= 240, "{lost} of 300");
    }

    #[test]
    fn a_baseline_that_did_not_answer_makes_nobody_pass() {
        let criterion = "[{suite: claims, metric: accuracy, notWorseThanBaselineBy: '0.05'}]";
        let mut numbers = against(0, 0, 500);
        for (wanted, baseline, message) in [
            (
                500,
                counts(500, 0, 0, 500),
                "the baseline in suite claims: 500 of 500 requests failed, ",
            ),
            (
                500,
                counts(300, 300, 0, 0),
                "the baseline in suite claims: only 300 of 500 questions ended",
            ),
            (
                500,
                counts(500, 0, 400, 0),
                "the baseline in suite claims: no answer was found in 400 of 500 answers, ",
            ),
        ] {
            numbers.suites[0].baseline = Some((wanted, baseline));
            let (verdict, said) = judged(criterion, &numbers);
            assert_eq!(verdict, Verdict::Invalid);
            assert!(said.starts_with(message), "{said}");
            assert_eq!(
                judged(AT_LEAST, &numbers).0,
                Verdict::Fail,
                "who is not compared is judged all the same"
            );
        }
    }

    #[test]
    fn answers_that_were_cut_off_prove_nothing() {
        let cut = Counts {
            truncated: 400,
            ..counts(500, 100, 0, 0)
        };
        let (verdict, message) = judged(AT_LEAST, &numbers(500, cut));
        assert_eq!(verdict, Verdict::Invalid);
        assert!(
            message.ends_with("raise maxOutputTokens of the suite: most of them were cut off"),
            "{message}"
        );
    }

    #[test]
    fn judged_twice_each_time_is_held_to_half() {
        let criteria: Vec<Criterion> = fixtures::read(AT_LEAST);
        let just = numbers(500, counts(500, 415, 0, 0));
        assert_eq!(judge(&rules(&criteria), &just, None, None).verdict, Verdict::Pass);
        let twice = Rules {
            looks: 2,
            ..rules(&criteria)
        };
        let seen = judge(&twice, &just, None, None);
        assert_eq!((seen.verdict, seen.undecided), (Verdict::Inconclusive, vec!["claims".to_owned()]));
    }

    #[test]
    fn no_verdict_at_all_is_no_pass() {
        assert_eq!(worst([]), Verdict::Invalid);
        assert_eq!(worst([Verdict::Pass, Verdict::Inconclusive]), Verdict::Inconclusive);
        assert_eq!(worst([Verdict::Fail, Verdict::Inconclusive]), Verdict::Fail);
        assert_eq!(worst([Verdict::Fail, Verdict::Invalid]), Verdict::Invalid);
    }

    proptest! {
        #[test]
        fn more_right_answers_are_never_worse(asked in 1u32..400, right in 0u32..400, bound in 0u32..=10) {
            let right = right.min(asked);
            let criteria = format!("[{{suite: claims, metric: accuracy, lowerBoundAtLeast: '{}'}}]", f64::from(bound) / 10.0);
            let order = |verdict| match verdict { Verdict::Fail => 0, Verdict::Inconclusive => 1, _ => 2 };
            let of = |right| order(judged(&criteria, &numbers(asked, counts(asked, right, 0, 0))).0);
            prop_assert!(right == asked || of(right) <= of(right + 1));
        }
    }
}
