//! How an answer is scored.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How an answer is scored; exactly one member is set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.exact), has(self.regex), has(self.multipleChoice), has(self.numeric), has(self.contains), has(self.f1), has(self.rougeL), has(self.bleu), has(self.jsonSchema)].filter(x, x).size() == 1",
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
