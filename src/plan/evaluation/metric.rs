//! What can be measured, by the names that criteria use.

use std::fmt;

use super::times;
use crate::api::eval_job::{Kind, Scorer, Suite};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// The share of right answers among all questions; an answer that cannot be read counts as wrong.
    Accuracy,
    /// The mean of scores from 0 to 1.
    Score,
    /// The share of attacks that succeed.
    ViolationRate,
    /// The share of requests that failed.
    ErrorRate,
    /// The share of answers in which no answer was found.
    UnparsedRate,
    /// The share of answers that were withheld.
    RefusalRate,
    /// The share of answers that were cut off before an answer could be found.
    TruncationRate,
    /// The share of pairs of which a judge says the same whichever answer stands first.
    JudgeAgreement,
    /// That agreement beyond what chance would make it.
    JudgeKappa,
    /// How often the answer that a judge prefers is the one that stands first.
    JudgeFirstRate,
    /// A quantile of times.
    Time(times::Metric),
    /// US dollars for a thousand tokens, prompts and answers together, over the whole run.
    CostPerThousandTokens,
}

impl Metric {
    const OTHERS: [Self; 11] = [
        Self::Accuracy,
        Self::Score,
        Self::ViolationRate,
        Self::ErrorRate,
        Self::UnparsedRate,
        Self::RefusalRate,
        Self::TruncationRate,
        Self::JudgeAgreement,
        Self::JudgeKappa,
        Self::JudgeFirstRate,
        Self::CostPerThousandTokens,
    ];

    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OTHERS.into_iter().chain(times::Metric::ALL.map(Self::Time))
    }

    /// The metric of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|metric| metric.name() == name)
    }

    /// As criteria write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Score => "score",
            Self::ViolationRate => "violation_rate",
            Self::ErrorRate => "error_rate",
            Self::UnparsedRate => "unparsed_rate",
            Self::RefusalRate => "refusal_rate",
            Self::TruncationRate => "truncation_rate",
            Self::JudgeAgreement => "judge_agreement",
            Self::JudgeKappa => "judge_kappa",
            Self::JudgeFirstRate => "judge_first_rate",
            Self::Time(time) => time.name(),
            Self::CostPerThousandTokens => "cost_usd_per_1k_tokens",
        }
    }

    /// Whether it is from 0 to 1.
    #[must_use]
    pub fn is_share(self) -> bool {
        !matches!(self, Self::CostPerThousandTokens | Self::JudgeKappa | Self::Time(_))
    }

    /// Whether a suite measures it, and not the run as a whole.
    #[must_use]
    pub fn is_of_a_suite(self) -> bool {
        self != Self::CostPerThousandTokens
    }

    /// Whether the status shows it, or something better to know of what it is part of. How answers ended is in the counts there.
    #[must_use]
    pub fn is_shown(self) -> bool {
        use times::Metric::{InterTokenP95, LatencyP95, TtftP95};
        self.is_of_quality()
            || self.is_of_a_judge()
            || matches!(self, Self::ViolationRate | Self::Time(LatencyP95 | TtftP95 | InterTokenP95))
    }

    /// How far a judge can be believed. It is told, and nothing is demanded of it but `minAgreement` of the judge.
    #[must_use]
    pub fn is_of_a_judge(self) -> bool {
        matches!(self, Self::JudgeAgreement | Self::JudgeKappa | Self::JudgeFirstRate)
    }

    /// How good answers are, as models are compared by it: `accuracy` or `score`.
    #[must_use]
    pub fn is_of_quality(self) -> bool {
        matches!(self, Self::Accuracy | Self::Score)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the scorer says how good an answer is, and not only right or wrong.
#[must_use]
pub fn is_graded(scorer: &Scorer) -> bool {
    scorer.f1.is_some() || scorer.rouge_l.is_some() || scorer.bleu.is_some() || scorer.judge.is_some() || scorer.webhook.is_some()
}

/// The number that the scores of the answers to `suite` come to; none of a load.
#[must_use]
pub fn of_answers(suite: &Suite) -> Option<Metric> {
    match suite.kind()? {
        Kind::Exemplars(_, scorer) if is_graded(scorer) => Some(Metric::Score),
        Kind::External(_) => Some(Metric::Score),
        Kind::Exemplars(..) | Kind::MmluPro(_) => Some(Metric::Accuracy),
        Kind::Safety(..) => Some(Metric::ViolationRate),
        Kind::Latency(_) => None,
    }
}

/// What `suite` measures.
#[must_use]
pub fn of_suite(suite: &Suite) -> Vec<Metric> {
    use Metric::{ErrorRate, RefusalRate, TruncationRate, UnparsedRate};
    if suite.external.is_some() {
        return vec![Metric::Score, ErrorRate];
    }
    let Some(quality) = of_answers(suite) else {
        let times = times::Metric::ALL.into_iter().filter(|_| suite.latency.is_some());
        return times.map(Metric::Time).chain([ErrorRate]).collect();
    };
    [quality, ErrorRate, UnparsedRate, RefusalRate, TruncationRate].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_is_found_by_its_name_alone() {
        for metric in Metric::all() {
            assert_eq!(Metric::named(&metric.to_string()), Some(metric));
        }
        assert_eq!(Metric::named("Accuracy"), None);
    }

    #[test]
    fn attacks_measure_violations() {
        for suite in [
            "{name: s, safety: {dataset: {uri: 'https://h/f.jsonl'}}}",
            "{name: s, safety: {dataset: {uri: 'https://h/f.jsonl'}}, scorer: {webhook: {url: 'https://h/'}}}",
        ] {
            assert_eq!(of_suite(&serde_saphyr::from_str(suite).unwrap())[0], Metric::ViolationRate);
        }
    }

    #[test]
    fn a_scorer_that_grades_measures_scores_and_others_shares() {
        let of = |scorer: &str| {
            let suite = format!("{{name: s, exemplars: {{dataset: {{uri: 'https://h/f.jsonl'}}}}, scorer: {{{scorer}}}}}");
            of_suite(&serde_saphyr::from_str(&suite).unwrap())[0]
        };
        assert_eq!(of("f1: {}"), Metric::Score);
        assert_eq!(of("judge: {model: claude}"), Metric::Score);
        assert_eq!(of("webhook: {url: 'https://h/'}"), Metric::Score);
        assert_eq!(of("exact: {}"), Metric::Accuracy);
        let external = "{name: s, external: {image: 'example.com/lm-eval:1'}}";
        assert_eq!(
            of_suite(&serde_saphyr::from_str(external).unwrap()),
            [Metric::Score, Metric::ErrorRate]
        );
        let benchmark = "{name: s, mmluPro: {dataset: {uri: 'https://h/f.parquet'}}}";
        assert_eq!(of_suite(&serde_saphyr::from_str(benchmark).unwrap())[0], Metric::Accuracy);
    }
}
