//! What a run found out, in the few bytes that outlive its pod: the termination message. Numbers only; answers stay in the pod.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use super::drift::Left;
use super::metric::Metric;
use crate::api::eval_job::{MetricResult, SuiteResult, Verdict};

/// Kubernetes keeps this much of a container's termination message.
pub const MESSAGE_LIMIT: usize = 4096;

/// The most of a sentence that goes into a report, where it would not fit as it is.
const SENTENCE_LIMITS: [usize; 4] = [1000, 600, 200, 60];

/// What is no longer plain JSON begins with this.
const PACKED: &str = "deflate:";

/// More than any report is when it is unpacked.
const MOST_BYTES: u64 = 1 << 20;

/// The result of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Why nothing in this run can be judged, such as a line of a dataset that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// The limit at which the run stopped before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Limit>,
    /// What is said about each model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Tokens of prompts and answers, the baseline's included.
    #[serde(default)]
    pub tokens: [u64; 2],
    /// Nano-dollars spent, or none when a price or a count of tokens is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u64>,
}

/// A limit of `spec.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// `spec.limits.maxCostUSD`.
    #[serde(rename = "maxCostUSD")]
    Cost,
    /// `spec.limits.maxTokens`.
    #[serde(rename = "maxTokens")]
    Tokens,
    /// `spec.limits.maxDuration`.
    #[serde(rename = "maxDuration")]
    Duration,
}

impl Limit {
    /// The field that sets it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Cost => "spec.limits.maxCostUSD",
            Self::Tokens => "spec.limits.maxTokens",
            Self::Duration => "spec.limits.maxDuration",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Cost | Self::Tokens => "raise it, or ask fewer questions or for shorter answers",
            Self::Duration => "raise it, or ask fewer questions",
        }
    }
}

/// What is said about one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The ModelDeployment's name.
    pub model: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, with the numbers.
    pub message: String,
    /// What it leaves behind for the question whether the model becomes worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Left>,
    /// The numbers of each suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<SuiteResult>,
}

/// How the answers of one suite ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that ended, whichever way.
    pub questions: u32,
    /// Right answers.
    pub correct: u32,
    /// Answers that were withheld.
    pub refused: u32,
    /// Answers that were cut off before an answer could be found.
    pub truncated: u32,
    /// Other answers in which no answer could be found.
    pub unparsed: u32,
    /// Answers of which the judge's verdict could not be read.
    pub unjudged: u32,
    /// Requests that failed.
    pub errors: u32,
}

impl Report {
    /// A run of which nothing can be judged.
    #[must_use]
    pub fn invalid(why: impl Into<String>) -> Self {
        Self {
            invalid: Some(why.into()),
            ..Self::default()
        }
    }

    /// The termination message, of at most [`MESSAGE_LIMIT`] bytes: JSON, packed where it would be too long. Sentences are shortened where that is
    /// not enough, and then numbers are left out, those that say least first; the verdicts stay.
    #[must_use]
    pub fn encode(&self) -> String {
        let fits = |text: &String| text.len() <= MESSAGE_LIMIT;
        let whole = json(&self.shortened(SENTENCE_LIMITS[0]));
        if fits(&whole) {
            return whole;
        }
        let packed = |report: &Self, limit: usize| format!("{PACKED}{}", packed(&json(&report.shortened(limit))));
        let whole = SENTENCE_LIMITS.into_iter().map(|limit| packed(self, limit));
        let thinner = [
            Self::without_judges,
            Self::without_methods,
            Self::without_most_numbers,
            Self::without_numbers,
        ];
        let thinned = thinner.into_iter().map(|thin| packed(&thin(self), SENTENCE_LIMITS[3]));
        whole
            .chain(thinned)
            .find(fits)
            .unwrap_or_else(|| Self::invalid("the report does not fit into the termination message; use fewer targets or suites").encode())
    }

    fn without_judges(&self) -> Self {
        let mut report = self.clone();
        for suite in report.targets.iter_mut().flat_map(|target| &mut target.suites) {
            let is_of_a_judge = |told: &MetricResult| Metric::named(&told.name).is_some_and(Metric::is_of_a_judge);
            suite.metrics.retain(|told| !is_of_a_judge(told));
        }
        report
    }

    /// How numbers were made, and of what, is in the report that is kept; a verdict is worth more here.
    fn without_methods(&self) -> Self {
        let mut report = self.without_judges();
        for suite in report.targets.iter_mut().flat_map(|target| &mut target.suites) {
            suite.digest.clear();
            suite.protocol.clear();
            suite.metrics.iter_mut().for_each(|metric| metric.method = None);
        }
        report
    }

    fn without_most_numbers(&self) -> Self {
        let mut report = self.without_methods();
        let suites = report.targets.iter_mut().flat_map(|target| &mut target.suites);
        suites.for_each(|suite| suite.metrics.truncate(1));
        report
    }

    fn without_numbers(&self) -> Self {
        let mut report = self.clone();
        report.targets.iter_mut().for_each(|target| target.suites.clear());
        report
    }

    fn shortened(&self, limit: usize) -> Self {
        let mut report = self.clone();
        report.invalid = report.invalid.map(|text| shorten(&text, limit));
        for target in &mut report.targets {
            target.message = shorten(&target.message, limit);
        }
        report
    }

    /// Reads a termination message.
    ///
    /// # Errors
    /// Why it is not a report.
    pub fn decode(message: &str) -> Result<Self, String> {
        let text = match message.strip_prefix(PACKED) {
            Some(packed) => unpacked(packed).ok_or("it was cut off")?,
            None => message.to_owned(),
        };
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// Tokens used, prompts and answers together.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.iter().sum()
    }
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("plain data with string keys is always JSON")
}

fn packed(text: &str) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    STANDARD_NO_PAD.encode(written.expect("writing to memory does not fail"))
}

fn unpacked(packed: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(packed).ok()?;
    let mut text = String::new();
    DeflateDecoder::new(bytes.as_slice())
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// At most `limit` characters, none of which JSON writes in more bytes than it has.
fn shorten(text: &str, limit: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limit).map(plain).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::super::drift::Step;
    use super::*;
    use crate::plan::statistics::drift::State;
    use proptest::prelude::*;

    fn largest(sentence: &str, targets: usize) -> Report {
        let name = |prefix: char, i: usize, length: usize| format!("{}{i}", prefix.to_string().repeat(length - 1));
        let suite = |i: usize| SuiteResult {
            name: name('s', i, 63),
            protocol: "mmlu_pro LmEval, 5-shot".to_owned(),
            digest: format!("sha256:{}", format!("{:08x}", i * 77_377_731 % 4_294_967_291).repeat(8)),
            questions: 100_000 - i as u32,
            correct: 77_777 + i as u32,
            metrics: vec![MetricResult {
                name: "accuracy".to_owned(),
                value: format!("0.{:03}", i * 131 % 1000),
                lower: Some(format!("0.{:03}", i * 137 % 1000)),
                upper: Some(format!("0.{:03}", i * 139 % 1000)),
                n: 100_000 - i as u32,
                method: Some("stratified".to_owned()),
            }],
            ..SuiteResult::default()
        };
        Report {
            stopped: Some(Limit::Cost),
            targets: (0..targets)
                .map(|t| Target {
                    model: name('m', t, 52),
                    verdict: Verdict::Inconclusive,
                    message: sentence.to_owned(),
                    drift: Some(Left {
                        was: None,
                        about: format!("{:016x}", (t as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                        step: Some(Step {
                            state: State([1, 2, 3, 4, 5].map(|i| ((i * 7919 + t * 104_729) * 7 % 60_000) as f64 / 1e4)),
                            progress: 0.25,
                            drop: -0.012_3,
                            standard_error: 0.004_5,
                        }),
                        lost: None,
                    }),
                    suites: (0..8).map(|i| suite(t * 8 + i)).collect(),
                })
                .collect(),
            tokens: [999_999_999_999; 2],
            cost: Some(999_999_999_999_999_999),
            ..Report::default()
        }
    }

    #[test]
    fn eight_targets_by_eight_suites_fit_into_a_termination_message() {
        let report = largest("claims: accuracy 0.812 (0.776 to 0.843), at least 0.784", 8);
        let message = report.encode();
        assert!(message.len() <= MESSAGE_LIMIT, "{}", message.len());
        assert_eq!(Report::decode(&message).unwrap(), report);
    }

    #[test]
    fn a_report_that_is_too_large_loses_numbers_and_no_verdict() {
        let mut report = largest("claims: accuracy 0.812 (0.776 to 0.843), at least 0.784", 8);
        for (at, suite) in report.targets.iter_mut().flat_map(|target| &mut target.suites).enumerate() {
            let more = (1..6).map(|i| MetricResult {
                name: format!("metric_{at}_{i}"),
                value: format!("{}", at * 7919 % 1000 + i),
                ..suite.metrics[0].clone()
            });
            let more: Vec<MetricResult> = more.collect();
            suite.metrics.extend(more);
        }
        let message = report.encode();
        assert!(message.len() <= MESSAGE_LIMIT, "{}", message.len());
        let read = Report::decode(&message).unwrap();
        let verdicts = |report: &Report| {
            report
                .targets
                .iter()
                .map(|target| (target.model.clone(), target.verdict))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (verdicts(&read), read.tokens, read.cost),
            (verdicts(&report), report.tokens, report.cost)
        );
        assert!(read.targets.iter().all(|target| target.drift.is_some() && target.suites.len() == 8));
    }

    #[test]
    fn what_is_told_of_judges_is_left_out_where_it_would_not_fit() {
        let plain = largest("claims: score 0.812 (0.776 to 0.843), at least 0.784", 8);
        let mut judged = plain.clone();
        let suites = judged.targets.iter_mut().flat_map(|target| &mut target.suites);
        for (i, suite) in suites.enumerate() {
            let told = ["judge_agreement", "judge_kappa", "judge_first_rate"].map(|name| MetricResult {
                name: name.to_owned(),
                value: format!("0.{:03}", i * 149 % 1000),
                lower: Some(format!("0.{:03}", i * 151 % 1000)),
                upper: Some(format!("0.{:03}", i * 157 % 1000)),
                n: 777 + i as u32,
                method: Some("wilson".to_owned()),
            });
            suite.metrics.extend(told);
        }
        let message = judged.encode();
        assert!(message.len() <= MESSAGE_LIMIT, "{}", message.len());
        let numbers = |report: &Report| report.targets.iter().map(|target| target.suites.clone()).collect::<Vec<_>>();
        assert_eq!(numbers(&Report::decode(&message).unwrap()), numbers(&plain));
        judged.targets.truncate(1);
        assert_eq!(Report::decode(&judged.encode()).unwrap(), judged, "it is told where there is room");
    }

    #[test]
    fn a_report_that_cannot_fit_says_so() {
        let decoded = Report::decode(&largest("", 200).encode()).unwrap();
        assert!(decoded.invalid.unwrap().starts_with("the report does not fit"));
    }

    #[test]
    fn a_message_that_was_cut_off_is_no_report() {
        let message = largest("x", 8).encode();
        assert!(Report::decode(&message[..message.len() - 9]).is_err());
    }

    proptest! {
        #[test]
        fn any_sentence_fits_and_leaves_the_numbers_whole(sentence in "\\PC{0,2000}|[\\x00-\\x7f\"]{0,2000}|[𝒳€]{0,2000}") {
            let message = largest(&sentence, 4).encode();
            prop_assert!(message.len() <= MESSAGE_LIMIT);
            let suites = |report: Report| report.targets.into_iter().map(|t| t.suites).collect::<Vec<_>>();
            prop_assert_eq!(suites(Report::decode(&message).unwrap()), suites(largest("", 4)));
        }

        #[test]
        fn a_message_that_is_no_report_is_an_error_and_never_a_panic(message in "(deflate:)?.{0,200}") {
            let _ = Report::decode(&message);
        }
    }
}
