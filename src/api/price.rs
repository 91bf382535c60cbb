//! What tokens cost: a ModelDeployment's own price, and the entries of a price book, which is a file for all models. US dollars per million
//! tokens, each kind with a rate of its own. A rate that is not written is unknown, never zero.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::money::Usd;

/// A day, as price books write it.
pub const DAY: &str = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";

/// Whether each tier begins above the one before it. Sorted alone would let two begin alike.
const ASCENDING: &str = "!has(self.tiers) || (self.tiers.map(t, t.aboveInputTokens).isSorted() && \
    self.tiers.all(t, self.tiers.exists_one(o, o.aboveInputTokens == t.aboveInputTokens)))";

/// What tokens cost, in US dollars per million. A rate that is not written is unknown, never zero: a request with tokens that it is needed
/// for has no known cost. Example: `{inputPer1M: "1.25", outputPer1M: "10", cacheReadPer1M: "0.125"}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(ASCENDING)
    .message("each tier must begin above the one before it: sort them by aboveInputTokens, and let no two begin alike").field_path(".tiers"))]
pub struct Price {
    /// What a million prompt tokens cost that are neither read from a cache nor written to one, such as `"1.25"`.
    #[serde(rename = "inputPer1M")]
    pub input_per_1m: Usd,
    /// What a million answer tokens cost, such as `"10"`.
    #[serde(rename = "outputPer1M")]
    pub output_per_1m: Usd,
    /// The other kinds of tokens.
    #[serde(flatten)]
    pub others: OtherRates,
    /// Other prices for requests with long prompts, in ascending order. Limit: 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<Tier>,
}

/// The price of requests with a long prompt. It holds for all tokens of such a request, not only for those above the bound, and takes
/// nothing from the price below it: what it does not say is unknown. Example: `{aboveInputTokens: 200000, inputPer1M: "2.5", outputPer1M: "15"}`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// It holds for requests whose prompt has more tokens than this, cached ones included. Example: `200000`. Limit: from 1 to 1000000000.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub above_input_tokens: u32,
    /// What a million prompt tokens cost then that are neither read from a cache nor written to one, such as `"2.5"`.
    #[serde(rename = "inputPer1M")]
    pub input_per_1m: Usd,
    /// What a million answer tokens cost then, such as `"15"`.
    #[serde(rename = "outputPer1M")]
    pub output_per_1m: Usd,
    /// The other kinds of tokens.
    #[serde(flatten)]
    pub others: OtherRates,
}

/// What the kinds of tokens cost that not every model has.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherRates {
    /// What a million prompt tokens cost that are read from a cache, such as `"0.125"`. Default: unknown. Where a provider has no discount,
    /// write the rate of `inputPer1M`, which is an upper bound too.
    #[serde(rename = "cacheReadPer1M", default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_1m: Option<Usd>,
    /// What a million prompt tokens cost that are written to a cache for minutes, such as `"3.75"`. Default: unknown.
    #[serde(rename = "cacheWritePer1M", default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_1m: Option<Usd>,
    /// What a million prompt tokens cost that are written to a cache for an hour, such as `"6"`. Default: unknown.
    #[serde(rename = "cacheWrite1hPer1M", default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_1m: Option<Usd>,
    /// What a million tokens of reasoning cost, such as `"10"`. Default: the rate of `outputPer1M`, which is how providers bill them.
    #[serde(rename = "reasoningPer1M", default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_1m: Option<Usd>,
    /// What a million prompt tokens of sound cost, such as `"32"`. Default: unknown.
    #[serde(rename = "audioInputPer1M", default, skip_serializing_if = "Option::is_none")]
    pub audio_input_per_1m: Option<Usd>,
    /// What a million answer tokens of sound cost, such as `"64"`. Default: unknown.
    #[serde(rename = "audioOutputPer1M", default, skip_serializing_if = "Option::is_none")]
    pub audio_output_per_1m: Option<Usd>,
}

/// A price book: a file with the prices of models behind providers' APIs, for ModelDeployments that have none of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceBook {
    /// Its entries, in any order.
    #[serde(default)]
    pub prices: Vec<Entry>,
}

/// What a model of a provider costs, for a time. Example: `{provider: OpenAI, model: gpt-5, from: 2026-08-01, inputPer1M: "1.25", outputPer1M: "10"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Whose API it is, as `spec.api.provider` of a ModelDeployment says it; case and hyphens do not matter. Example: `OpenAI`.
    #[schemars(length(min = 1, max = 63))]
    pub provider: String,
    /// What the provider calls the model, such as `gpt-5-mini`; with a `*` at its end, every model whose name begins so.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,
    /// The first day on which it holds, in UTC, such as `2026-08-01`. Default: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DAY))]
    pub from: Option<String>,
    /// The first day on which it does not hold any more, in UTC, such as `2027-01-01`. Default: until another entry of the model begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DAY))]
    pub until: Option<String>,
    /// What a million prompt tokens cost that are neither read from a cache nor written to one, such as `"1.25"`. Default: unknown.
    #[serde(rename = "inputPer1M", default, skip_serializing_if = "Option::is_none")]
    pub input_per_1m: Option<Usd>,
    /// What a million answer tokens cost, such as `"10"`. Default: unknown, which is enough for a model that makes vectors.
    #[serde(rename = "outputPer1M", default, skip_serializing_if = "Option::is_none")]
    pub output_per_1m: Option<Usd>,
    /// The other kinds of tokens.
    #[serde(flatten)]
    pub others: OtherRates,
    /// Other prices for requests with long prompts, in ascending order. Limit: 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<Tier>,
}
