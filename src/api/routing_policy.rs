//! `RoutingPolicy`: one name that clients call, and which models may answer it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::answer_cache::AnswerCache;
use super::budget::{Budget, Limit};
use super::client::JwtClients;
use super::guardrails::Guardrails;
use super::logging::Logging;
use super::model_deployment::{Class, Tier};
use super::money::Usd;
use super::placement::{LABEL, NAME};
use super::policy_status::RoutingPolicyStatus;
use super::shadow::Shadow;
use super::warmup::Warmup;

/// `90s`, `1h30m`; so few digits that no sum overflows.
pub(crate) const DURATION: &str = r"^([0-9]{1,5}(\.[0-9]{1,9})?h|[0-9]{1,6}(\.[0-9]{1,9})?(ms|s|m))+$";
/// The same in words.
pub(crate) const DURATION_FORM: &str =
    "write a number and its unit, such as 90s, 1h30m or 500ms: up to five digits of hours, and up to six of m, s or ms";

/// The name of a namespace.
pub(crate) const NAMESPACE: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// The name of a service account, without its namespace.
pub(crate) const SERVICE_ACCOUNT: &str = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";
/// What clients call a policy by; a slash is for models that are called directly.
pub(crate) const MODEL_NAME: &str = r"^[a-zA-Z0-9]([-a-zA-Z0-9._:]*[a-zA-Z0-9])?$";

/// So many bytes, in units that have no fractions.
pub(crate) const BODY_BYTES: &str = r"^[0-9]{1,12}([KMG]i?)?$";

/// One model name that clients call, who may call it, and which models may answer. Models are of the same namespace unless `namespace` says
/// otherwise, and need not exist, be ready or be evaluated yet: the status says what is missing.
/// Example: `{model: assistant, rules: [{targets: [{model: llama, weight: 80}, {model: gpt, weight: 20}], fallback: [{model: gpt}]}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "llmportfolio.dev",
    version = "v1alpha1",
    kind = "RoutingPolicy",
    plural = "routingpolicies",
    shortname = "rpol",
    category = "portfolio",
    namespaced,
    status = "RoutingPolicyStatus",
    derive = "PartialEq",
    doc = "One model name that clients call, and which models of the portfolio may answer it.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Targets", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "$ 1h", type_ = "string", json_path = ".status.lastHour.costUSD"),
    printcolumn(name = "P95", type_ = "string", json_path = ".status.lastHour.p95"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    selectable = ".spec.model"
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.warmup) || !has(self.warmup.__for__) || \
    duration(self.warmup.__for__) < duration(has(self.timeouts) && has(self.timeouts.total) ? self.timeouts.total : '10m')")
    .message("warmup.for must be below timeouts.total (default 10m), which ends the request: raise total or lower for").field_path(".warmup.for"))]
#[x_kube(validation = Rule::new("!has(self.logging) || self.logging.content != 'Always' || !has(self.guardrails) || !has(self.guardrails.redact)")
    .message("logging.content cannot be Always where guardrails.redact keeps identifiers from others: they would be in the logs; set Never, or redact nothing").field_path(".logging.content"))]
pub struct RoutingPolicySpec {
    /// What clients put into the `model` field of a request, such as `assistant`: letters and digits, and between them `-`, `.`, `_` and `:`.
    /// One policy of the cluster has it: the oldest wins, the others say so in their status.
    #[schemars(length(min = 1, max = 128), regex(pattern = MODEL_NAME))]
    pub model: String,
    /// Who may call it; one match is enough. Default: every service account of the policy's own namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub clients: Vec<ClientMatch>,
    /// What every target and fallback must fulfil; one that does not gets no request under this name, even when nothing else is left. Calls of
    /// a model as `namespace/name` or `namespace/name:adapter`, for service accounts of its own namespace, are not subject to it: evaluations use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Requirements>,
    /// Which models answer; the first rule that matches a request decides.
    #[schemars(length(min = 1, max = 16))]
    pub rules: Vec<RouteRule>,
    /// What keeps the requests of one conversation with one model, so that what is cached of it there is used. Default: nothing, each request
    /// draws for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// What happens to requests while the targets of their rule are in our own pods and none of those answers yet. Default: as when they fail,
    /// the fallbacks answer, or the request is refused with 503.
    /// Example: `{mode: Hold, max: 50, for: 90s}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How long each step of a request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// How often a model is asked again before the next one is. Default: once, in up to 20 percent of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// The largest request, as a Kubernetes quantity; a larger one is refused with 413. Default: 32Mi. Limit: from 1Ki to 256Mi.
    /// Example: `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "body_bytes")]
    #[x_kube(validation = ("quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self)).compareTo(quantity('256Mi')) <= 0",
        "must be from 1Ki to 256Mi, such as 32Mi"))]
    pub max_body_bytes: Option<Quantity>,
    /// How fast it may be used. All of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub limits: Vec<Limit>,
    /// How much may be spent in a calendar window. All of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = ("self.all(b, !has(b.name) || self.exists_one(o, has(o.name) && o.name == b.name))", "each budget needs a name of its own"))]
    pub budgets: Vec<Budget>,
    /// Answers that are kept, and given again to the same client for the very same request. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<AnswerCache>,
    /// Models that some of the requests are sent to once more, and whose answers nobody sees. Default: none.
    /// Example: `[{model: claims-llama-ft, percent: 5}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = ("self.all(s, self.exists_one(o, o.model == s.model && has(o.adapter) == has(s.adapter) && \
        (!has(o.adapter) || o.adapter == s.adapter) && has(o.__namespace__) == has(s.__namespace__) && \
        (!has(o.__namespace__) || o.__namespace__ == s.__namespace__)))", "a model has one shadow: remove the other, or add their percents"))]
    pub shadow: Vec<Shadow>,
    /// What is done about the texts of requests before a model has them. Default: nothing.
    /// Example: `{redact: [Email, Phone], blockedTerms: {configMapRef: {name: blocked, key: terms.txt}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<Guardrails>,
    /// What is logged of requests and answers. Default: no word of them. Example: `{content: Always}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
}

/// A quantity of bytes, as a string or an integer.
fn body_bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "pattern": BODY_BYTES, "maxLength": 16})
}

/// What keeps a conversation with one model: with the target that is drawn for it, the same in every replica of the gateway, or, where another
/// model had to answer, with that one. No requirement is weaker for it: where the model may not have a request, another gets it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.header) == (self.by == 'Header')")
    .message("header belongs to by: Header, which needs it: name the header, such as x-session-id, or use by: Conversation").field_path(".header"))]
pub struct Sticky {
    /// What is one conversation.
    pub by: StickyBy,
    /// The header whose value is the same in all requests of a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: Option<String>,
    /// How long it stays, from its first answer on; then it draws again. Default: 30m. Limit: 24h.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s') && duration(self) <= duration('24h')", "must be above 0s and at most 24h, such as 30m"))]
    pub lasts: Option<Duration>,
}

/// What is one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StickyBy {
    /// The requests of one client that begin with the same instructions and the same first message of the user.
    Conversation,
    /// The requests of one client whose `header` has the same value.
    Header,
}

/// How often a model is asked again. Only what failed before the first content of an answer is repeated; and a move to the next model is no
/// repetition.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How often at most for one request, at another endpoint of the model if it has one. An endpoint that cannot be reached is passed over
    /// without counting. Default: 1. Limit: 5. 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub attempts: Option<u32>,
    /// How many repetitions there may be for 100 requests, so that they cannot multiply a failure; some ten more are always in reserve, of which
    /// one comes back each second. Default: 20. Limit: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub budget_percent: Option<u32>,
}

/// A kind of client; exactly one member is set.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.serviceAccounts) ? 1 : 0) + (has(self.apiKeys) ? 1 : 0) + (has(self.jwt) ? 1 : 0) + (has(self.anonymous) ? 1 : 0) == 1",
    "exactly one of serviceAccounts, apiKeys, jwt and anonymous must be set"))]
pub struct ClientMatch {
    /// Kubernetes service accounts, by a token with the audience `llmportfolio.dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccounts>,
    /// API keys: Secrets in the gateway's namespace, labelled `llmportfolio.dev/api-key: "true"`, whose `sha256` holds the key's hash.
    /// `portfolio key create` makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// People and workloads with an account at an identity provider, by a signed JSON web token (JWT) that it issued. The gateway reads the
    /// issuer's public keys by OpenID Connect discovery, and trusts no issuer that no policy names.
    /// Example: `{issuer: "https://id.example.com", audiences: [llm], claims: {group: claims}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtClients>,
    /// Anyone. Works only where the installer allows it (`allowAnonymous`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
}

/// Service accounts by namespace and name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccounts {
    /// The namespaces they are in. Default: the policy's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = NAMESPACE)))]
    pub namespaces: Vec<String>,
    /// Their names. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = SERVICE_ACCOUNT)))]
    pub names: Vec<String>,
}

/// API keys by the labels of their Secrets.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Labels that the key's Secret must carry, such as `{team: claims}`. At least one.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// Clients without credentials.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anonymous {}

/// What a model must fulfil to get requests. Fails closed: unknown counts as unfulfilled.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// The tiers the model may have, such as `[Regulated, MissionCritical]`. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tiers: Vec<Tier>,
    /// The classes the model may have, such as `[Open, Custom]`. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub classes: Vec<Class>,
    /// The regions the model may run in, in any case, such as `[eu, eu-central-1]`: for an API its `api.region`, for our own pods the
    /// installer's `region`. Compared as a whole, because a beginning says nothing: `eu-west-2` is London. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub regions: Vec<String>,
    /// The jurisdictions the model's operator may be under, in any case, such as `[EU, US]`: the model's `jurisdiction`, for our own pods by
    /// default the installer's. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub jurisdictions: Vec<String>,
    /// What one request may cost at most, in US dollars, such as `"0.50"`. Reckoned before it is sent: its input, estimated, and the longest
    /// answer that it allows (its `max_tokens`, else the model's `maxOutputTokens`), at the model's prices. A model behind
    /// an API whose price or longest answer is not known gets no such request. Where every model would cost more, the client is answered
    /// 400 (`request_too_expensive`). Our own pods cost by the hour, whatever they are asked, unless
    /// their `spec.price` says otherwise. Default: any amount.
    #[serde(rename = "maxCostPerRequestUSD", default, skip_serializing_if = "Option::is_none")]
    pub max_cost_per_request_usd: Option<Usd>,
    /// Evaluations whose latest verdict on the model must be `Pass`, for the model as it is now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["evalJob".into()]))]
    pub evaluated: Vec<EvaluatedBy>,
}

/// An evaluation that the model must have passed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluatedBy {
    /// The EvalJob's name, in the policy's namespace. It evaluates models of its own namespace, so that one of another never has its `Pass`.
    #[schemars(length(min = 1, max = 253))]
    pub eval_job: String,
    /// How old the verdict may be, from the slot of its run, such as `720h`. Default: any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s')", "must be above 0s, such as 720h"))]
    pub max_age: Option<Duration>,
}

/// Which models answer the requests that match.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.targets.exists(t, t.weight > 0)")
    .message("at least one target needs a weight above 0, or the rule can never answer").field_path(".targets"))]
pub struct RouteRule {
    /// A name for messages and metrics. Default: its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// Which requests it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// What every target and fallback of this rule must fulfil, beside what the policy requires of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Requirements>,
    /// How one of the targets is chosen. Default: Weighted.
    #[serde(default)]
    pub strategy: Strategy,
    /// The models that answer.
    #[schemars(length(min = 1, max = 16))]
    pub targets: Vec<Target>,
    /// The models tried, in order, when the chosen one fails before the first byte of its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub fallback: Vec<Fallback>,
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// By chance, in proportion to the weights of the targets that may be used; then the fallbacks.
    #[default]
    Weighted,
    /// In the order given, then the fallbacks.
    Ordered,
    /// The one that costs least for this request first: its input, estimated, and the answer that it allows, at each model's prices. Those
    /// whose price is not known come last; then the fallbacks.
    LeastCost,
    /// The one that has begun its answers soonest of late first, as this gateway saw it; one that it has not seen yet comes before all others,
    /// so that it is seen. Then the fallbacks.
    LeastLatency,
    /// The one with the fewest requests under way for each of its endpoints first, as this gateway sees it; then the fallbacks.
    LeastBusy,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a request must have for a rule to match; all of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// Classes of data, by the names that the installer gave them; a request of one of them matches. A request's class is the highest of the
    /// one its header `x-data-class` names, and the labels `llmportfolio.dev/data-class` of its client's namespace (of an API key's Secret),
    /// of the policy's namespace, and of what the installer's `detection` finds in its text; nothing lowers it. Example: `[Personal, Special]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub data_classes: Vec<String>,
    /// Who asks; one match is enough. They must be among `spec.clients` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub clients: Vec<ClientMatch>,
    /// How long the input is, in tokens, as estimated from the request. Example: `{atLeast: 30000}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<TokenRange>,
    /// Whether the request has tools, or calls and results of tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether the request has images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// A CEL expression that is true for the requests. It sees `request.model`, `.operation` (`chat`, `text_completion`, `embeddings` or
    /// `count_tokens`), `.stream`, `.headers` (names in lower case,
    /// without credentials), `.dataClass`, `.inputTokens`, `.maxTokens`, `.tools`, `.images`, `.jsonSchema`; and `client.kind` (`ServiceAccount`,
    /// `APIKey`, `JWT` or `Anonymous`), `.namespace`, `.name` (of a JWT its subject), `.team`, `.labels` (of an API key's Secret). One that fails, as when it reads a header that is not there, refuses the
    /// request: ask `'x-team' in request.headers` first. Example: `request.inputTokens > 30000 || request.images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// Request headers with these exact values; names in any case. Example: `[{name: x-team, value: claims}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderMatch>,
}

/// From how many tokens to how many; one of the two may be absent.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.atLeast) || has(self.below)", "atLeast or below must be set, or every request matches"))]
#[x_kube(validation = ("!has(self.atLeast) || !has(self.below) || self.atLeast < self.below", "atLeast must be less than below, or no request matches"))]
pub struct TokenRange {
    /// As many or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub at_least: Option<u32>,
    /// Fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub below: Option<u32>,
}

/// One header and its value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub name: String,
    /// Its exact value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A model and its share of the requests.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A ModelDeployment's name; its namespace is a field of its own. Example: `triage-llama`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub model: String,
    /// The model's namespace. One that is not the policy's own must let it: by a ReferenceGrant there (`gateway.networking.k8s.io`) from
    /// RoutingPolicies of the policy's namespace to the ModelDeployment. Without one the model gets no request, and the condition
    /// `ResolvedRefs` says which grant is missing. Default: the policy's own. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// One of its `selfHosted.custom.adapters`, by name. Default: none, the model itself. Example: `fraud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 57), regex(pattern = LABEL))]
    pub adapter: Option<String>,
    /// Its share, relative to the other targets. Default: 1. 0: no requests.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// A model to fall back to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// A ModelDeployment's name; its namespace is a field of its own. Example: `triage-llama`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub model: String,
    /// The model's namespace. One that is not the policy's own must let it: by a ReferenceGrant there (`gateway.networking.k8s.io`) from
    /// RoutingPolicies of the policy's namespace to the ModelDeployment. Without one the model gets no request, and the condition
    /// `ResolvedRefs` says which grant is missing. Default: the policy's own. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// One of its `selfHosted.custom.adapters`, by name. Default: none, the model itself. Example: `fraud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 57), regex(pattern = LABEL))]
    pub adapter: Option<String>,
}

/// How long each step of a request may take.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.firstToken) || duration(self.firstToken) <= duration(has(self.total) ? self.total : '10m')",
    "firstToken must not be above total (default 10m), which ends the request: raise total or lower firstToken"))]
pub struct Timeouts {
    /// To connect to the model. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s')", "must be above 0s, such as 2s"))]
    pub connect: Option<Duration>,
    /// To the first content of a streamed answer (`stream: true`), which pings are not; after it the next model is tried. An answer in
    /// one piece begins only when it is finished: until then only `connect` and `total` count. Default: 60s, or half of `total` where that
    /// is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s')", "must be above 0s, such as 20s"))]
    pub first_token: Option<Duration>,
    /// Between two pieces of an answer, pings included, while the model is waited for: a client that reads slowly does not count. After
    /// it a stream that has begun ends with an error. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s')", "must be above 0s, such as 15s"))]
    pub idle: Option<Duration>,
    /// For the whole request, all attempts together, also while its client reads slowly. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(validation = ("duration(self) > duration('0s')", "must be above 0s, such as 10m"))]
    pub total: Option<Duration>,
}
