//! How an answer is scored.

use kube::KubeSchema;
use kube::core::Duration;
use serde::{Deserialize, Serialize};

use super::routing_policy::DURATION;
use super::suite::SecretName;

/// A decimal from 0 to less than 1: what is proved to be above 1 cannot be.
const BELOW_ONE: &str = r"^0(\.[0-9]{1,6})?$";

/// How an answer is scored; exactly one member is set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.exact), has(self.regex), has(self.multipleChoice), has(self.numeric), has(self.contains), has(self.f1), has(self.rougeL), has(self.bleu), has(self.jsonSchema), has(self.judge), has(self.webhook)].filter(x, x).size() == 1",
    "exactly one scorer must be set, such as exact: {}"))]
pub struct Scorer {
    /// Right when the answer equals `expected`, white space at both ends and case aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Exact>,
    /// Right when what the pattern finds equals `expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<Regex>,
    /// Right when the letter the answer settles on is `expected`. `choices` are shown to the model as `A. …`, `B. …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<MultipleChoice>,
    /// Right when the last number in the answer is `expected`, give or take the tolerance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numeric: Option<Numeric>,
    /// Right when `expected` occurs in the answer, case and lengths of white space aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Contains>,
    /// The F1 of the words that answer and `expected` share, from 0 to 1, articles and punctuation aside, as SQuAD counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<F1>,
    /// The ROUGE-L of answer and `expected`, from 0 to 1: the F1 of their longest common run of words, gaps allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<RougeL>,
    /// The BLEU of the answer, from 0 to 1, with `expected` as its references, as sacreBLEU counts it for one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bleu: Option<Bleu>,
    /// Right when the JSON in the answer, alone or in a fence, is of a schema. `expected` is not needed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<JsonSchema>,
    /// A model compares the answer with `expected`, one text: 1 where it is better, 0 where it is worse, 0.5 where it is as good. Each pair is judged
    /// twice, with the answers the other way round; where the order decides, the score is 0.5. Costs two requests more for each answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judge>,
    /// A program of one's own says how good the answer is, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// Equality, white space at both ends and case aside.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {}

/// Extraction by a regular expression.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regex {
    /// A regular expression in RE2 syntax. Its first group, or its whole match without one, is the answer; the first match counts.
    #[schemars(length(min = 1, max = 512))]
    pub pattern: String,
}

/// The letter of one of the choices.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultipleChoice {}

/// A number.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numeric {
    /// How far the answer may be from `expected`, either way. Default: `"0"`. Example: `"0.01"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"))]
    pub tolerance: Option<String>,
}

/// Occurrence.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contains {}

/// Words in common.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct F1 {}

/// The longest common subsequence.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RougeL {}

/// Runs of one to four words in common.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bleu {}

/// A schema.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonSchema {
    /// The JSON Schema, as text; references to other documents are not followed. Example: `'{"type": "object", "required": ["total"]}'`.
    #[schemars(length(min = 2, max = 8192))]
    pub schema: String,
}

/// A model that judges. It is asked at temperature 0, where it takes one, with one fixed form of question, of which the protocol of the suite names the
/// version. What it is told of the answers is fenced, so that an answer which gives it instructions is only that.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judge {
    /// A ModelDeployment in this namespace, or `name:adapter`. Not of the family of a target or the baseline, as far as their names tell: models
    /// favour their own. What it uses counts towards `spec.limits`, which need its price where they cap the cost. Example: `claude`.
    #[schemars(length(min = 1, max = 253))]
    pub model: String,
    /// By what answers are judged, as a person would be told. Another rubric makes results incomparable. Default: the better answer is more correct,
    /// does more of what the task asks for, and claims nothing that is wrong or made up. Limit: 4096 characters.
    /// Example: `The better answer names the clause that decides the claim, and is polite.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub rubric: Option<String>,
    /// The share of pairs on which the judge must be shown to say the same in both orders; otherwise the verdict is `Invalid`. A decimal from 0 to
    /// less than 1. Default: `"0.6"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = BELOW_ONE))]
    pub min_agreement: Option<String>,
}

/// A program that scores. It is sent `{"id", "input": [{"role", "content"}], "expected": [texts], "answer", "finish": "stop", "length" or "withheld"}` with
/// a POST, and answers `{"score": 0 to 1, "parsed": true or false?, "reason": "…"?}`. A request is repeated after 429, 408, 425, 5xx or a broken
/// connection, as `Retry-After` says, for up to five minutes, each time with the same header `Idempotency-Key`; no redirect is followed. An answer
/// without a score ends in an error, which `limits.maxErrorRate` allows so many of.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where it is, also inside the cluster. It is called from the pod of the evaluation, without a proxy. Questions and answers are sent there: by
    /// `http://` they, and the token, can be read on the way. Example: `https://scorer.claims.svc/v1/score`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = ("isURL(self) && self.matches('(?i)^https?://') && url(self).getHostname() != ''", "url must start with http:// or https:// and a host: such as https://scorer.claims.svc/v1/score"))]
    #[x_kube(validation = ("!self.contains('@') && !self.contains('#')", "url must have neither @ nor #: put a token into a Secret and name that in secretRef"))]
    pub url: String,
    /// A Secret in this namespace whose key `token` is sent as a bearer token. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// How long one attempt may take. Default: 30s. Limit: from 1s to 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) >= duration('1s') && duration(self) <= duration('5m')", "must be from 1s to 5m, such as 30s"))]
    pub timeout: Option<Duration>,
}
