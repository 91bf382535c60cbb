//! What a run found out, in the few bytes that outlive its pod: the termination message. Counts only; answers stay in the pod.

use serde::{Deserialize, Serialize};

/// Kubernetes keeps this much of a container's termination message.
pub const MESSAGE_LIMIT: usize = 4096;

/// The most of a sentence that goes into a report.
const SENTENCE_LIMIT: usize = 600;

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
    /// The first request that failed, without its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the questions were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<Suite>,
    /// What was counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
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
}

impl Limit {
    /// The field that sets it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Cost => "spec.limits.maxCostUSD",
            Self::Tokens => "spec.limits.maxTokens",
        }
    }
}

/// One set of questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// How many questions it has.
    pub size: u32,
    /// The first 16 hex digits of the SHA-256 of the file.
    pub digest: String,
}

/// What was counted for one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The ModelDeployment's name.
    pub model: String,
    /// Tokens of prompts and answers.
    pub tokens: [u64; 2],
    /// For each of `Report::suites`, in its order.
    pub counts: Vec<Counts>,
}

/// How the questions of one suite ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u32; 4]", into = "[u32; 4]")]
pub struct Counts {
    /// All that ended, whichever way.
    pub questions: u32,
    /// Right answers.
    pub correct: u32,
    /// Answers in which no answer could be found.
    pub unparsed: u32,
    /// Requests that failed.
    pub errors: u32,
}

impl From<[u32; 4]> for Counts {
    fn from([questions, correct, unparsed, errors]: [u32; 4]) -> Self {
        Self {
            questions,
            correct,
            unparsed,
            errors,
        }
    }
}

impl From<Counts> for [u32; 4] {
    fn from(counts: Counts) -> Self {
        [counts.questions, counts.correct, counts.unparsed, counts.errors]
    }
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

    /// The termination message: JSON of at most [`MESSAGE_LIMIT`] bytes. Sentences are shortened to fit; counts never are.
    #[must_use]
    pub fn encode(&self) -> String {
        let shortened = |limit: usize| {
            let report = Self {
                invalid: self.invalid.as_deref().map(|text| shorten(text, limit)),
                error: self.error.as_deref().map(|text| shorten(text, limit)),
                ..self.clone()
            };
            serde_json::to_string(&report).expect("plain data with string keys is always JSON")
        };
        let fits = |text: &String| text.len() <= MESSAGE_LIMIT;
        [SENTENCE_LIMIT, 100, 0]
            .into_iter()
            .map(shortened)
            .find(fits)
            .unwrap_or_else(|| Self::invalid("the report does not fit into the termination message; use fewer targets or suites").encode())
    }

    /// Reads a termination message.
    ///
    /// # Errors
    /// Why it is not a report.
    pub fn decode(message: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(message)
    }

    /// Tokens used by all targets, prompts and answers together.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.targets.iter().flat_map(|target| target.tokens).sum()
    }

    /// The counts of one model in one suite; `None` when the report has none.
    #[must_use]
    pub fn counts(&self, model: &str, suite: &str) -> Option<Counts> {
        let at = self.suites.iter().position(|s| s.name == suite)?;
        let target = self.targets.iter().find(|t| t.model == model)?;
        target.counts.get(at).copied()
    }
}

/// At most `limit` characters, none of which JSON writes in more bytes than it has.
fn shorten(text: &str, limit: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limit).map(plain).collect();
    if short.len() < text.len() && limit > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn largest(sentence: &str) -> Report {
        let name = |prefix: char, i: usize, length: usize| format!("{}{i}", prefix.to_string().repeat(length - 1));
        Report {
            error: Some(sentence.to_owned()),
            stopped: Some(Limit::Cost),
            suites: (0..8)
                .map(|i| Suite {
                    name: name('s', i, 63),
                    size: 100_000,
                    digest: "0123456789abcdef".to_owned(),
                })
                .collect(),
            targets: (0..8)
                .map(|i| Target {
                    model: name('m', i, 52),
                    tokens: [999_999_999_999; 2],
                    counts: vec![Counts::from([100_000; 4]); 8],
                })
                .collect(),
            cost: Some(999_999_999_999_999_999),
            ..Report::default()
        }
    }

    #[test]
    fn eight_targets_by_eight_suites_fit_into_a_termination_message() {
        let report = largest("");
        let message = report.encode();
        assert!(message.len() <= MESSAGE_LIMIT, "{}", message.len());
        assert_eq!(Report::decode(&message).unwrap(), report);
    }

    #[test]
    fn a_report_that_cannot_fit_says_so() {
        let mut report = largest("");
        report.targets.extend(largest("").targets);
        let decoded = Report::decode(&report.encode()).unwrap();
        assert!(decoded.invalid.unwrap().starts_with("the report does not fit"));
    }

    #[test]
    fn an_absent_suite_or_target_has_no_counts() {
        let report = largest("");
        let (suite, model) = (&report.suites[7].name, &report.targets[7].model);
        assert_eq!(report.counts(model, suite), Some(Counts::from([100_000; 4])));
        assert_eq!(report.counts(model, "other"), None);
        assert_eq!(report.counts("other", suite), None);
    }

    proptest! {
        #[test]
        fn any_sentence_fits_and_leaves_the_counts_whole(sentence in "\\PC{0,2000}|[\\x00-\\x7f\"]{0,2000}|[𝒳€]{0,2000}") {
            let message = largest(&sentence).encode();
            prop_assert!(message.len() <= MESSAGE_LIMIT);
            prop_assert_eq!(Report::decode(&message).unwrap().targets, largest("").targets);
        }

        #[test]
        fn a_message_that_is_no_report_is_an_error_and_never_a_panic(message in ".{0,200}") {
            let _ = Report::decode(&message);
        }
    }
}
