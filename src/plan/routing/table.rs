//! What gateways hold: for each name that clients call, who may call it and which models answer. Immutable; a change is another table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::access::{Admission, Client, admissions};
use super::allowance::{Allowance, allowances};
use super::eligible::{Exclusion, Known};
use crate::api::RoutingPolicy;
use crate::api::budget::Limit;
use crate::api::model_deployment::{Capabilities, EngineKind, Provider};
use crate::api::routing_policy::{Fallback, RouteRule, Strategy};
use crate::plan::Invalid;
use crate::plan::names::{self, Key};
use crate::plan::price::Pricing;
use crate::plan::quantity;

/// Every name that clients may call.
#[derive(Clone, Debug)]
pub struct RouteTable {
    routes: HashMap<String, Arc<Route>>,
    largest_body: usize,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(HashMap::new())
    }
}

impl RouteTable {
    pub(super) fn new(routes: HashMap<String, Arc<Route>>) -> Self {
        let largest = routes.values().map(|route| route.max_body_bytes).max();
        Self {
            routes,
            largest_body: largest.unwrap_or(MAX_BODY_BYTES),
        }
    }

    /// What a name stands for: a policy's `spec.model`, or `namespace/name` of a ModelDeployment, or `namespace/name:adapter`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(name)
    }

    /// Every route, in no particular order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// The names that the client may call, sorted.
    #[must_use]
    pub fn callable(&self, client: &Client) -> Vec<&str> {
        let open = self.routes.values().filter(|route| route.admits(client));
        let mut names: Vec<&str> = open.map(|route| route.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The largest request that any route takes.
    #[must_use]
    pub fn largest_body(&self) -> usize {
        self.largest_body
    }

    /// Every model that may get requests from some route.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let candidates = self.routes.values().flat_map(|route| route.candidates());
        candidates.filter_map(|c| c.backend.as_deref().ok())
    }
}

/// What one name stands for.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name that clients call.
    pub name: String,
    /// The policy; absent when the name is a ModelDeployment's `namespace/name` or `namespace/name:adapter`.
    pub policy: Option<Key>,
    /// Who may call it; one match is enough.
    pub clients: Vec<Admission>,
    /// The first that matches a request decides.
    pub rules: Vec<Rule>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How often a model is asked again.
    pub retries: Retries,
    /// The largest request.
    pub max_body_bytes: usize,
    /// How fast it may be used.
    pub limits: Vec<Limit>,
    /// How much may be spent; or what cannot be understood of it, and then it answers nothing.
    pub allowances: Result<Vec<Allowance>, Invalid>,
}

/// Requests with images or a million tokens of context are this large.
const MAX_BODY_BYTES: usize = 32 << 20;

/// How often a model is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// For one request at most.
    pub attempts: u32,
    /// For 100 requests at most, beside a small reserve.
    pub budget_percent: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 1,
            budget_percent: 20,
        }
    }
}

impl Retries {
    fn of(policy: &RoutingPolicy) -> Self {
        let default = Self::default();
        let Some(given) = &policy.spec.retries else {
            return default;
        };
        Self {
            attempts: given.attempts.unwrap_or(default.attempts),
            budget_percent: given.budget_percent.unwrap_or(default.budget_percent),
        }
    }
}

impl Route {
    /// Whether the client may call it.
    #[must_use]
    pub fn admits(&self, client: &Client) -> bool {
        self.clients.iter().any(|admission| admission.admits(client))
    }

    /// Every model it names: of its rules, then of its budgets.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let instead = self.allowances.iter().flatten().filter_map(|allowance| allowance.instead.as_ref());
        self.rules.iter().flat_map(Rule::candidates).chain(instead.flatten())
    }
}

/// Which models answer the requests that match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, or its position from 1.
    pub name: String,
    /// Headers a request must have, names in lower case; none: every request matches.
    pub headers: Vec<(String, String)>,
    /// How a target is chosen.
    pub strategy: Strategy,
    /// The models that answer.
    pub targets: Vec<Target>,
    /// The models tried after them, in order.
    pub fallback: Vec<Candidate>,
}

impl Rule {
    /// Every model it names, targets first.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.targets.iter().map(|target| &target.candidate).chain(&self.fallback)
    }

    /// The targets that get requests now.
    pub fn open_targets(&self) -> impl Iterator<Item = &Target> {
        self.targets
            .iter()
            .filter(|target| target.weight > 0 && target.candidate.backend.is_ok())
    }

    /// The models to try, in order, for a request that drew `roll`: one of the targets by its share (or all in order), then the
    /// fallbacks. None twice.
    #[must_use]
    pub fn attempts(&self, roll: u64) -> Vec<&Arc<Backend>> {
        let open: Vec<&Target> = self.open_targets().collect();
        let chosen = match self.strategy {
            Strategy::Ordered => open,
            Strategy::Weighted => drawn(&open, roll).into_iter().collect(),
        };
        let chosen = chosen.into_iter().map(|target| &target.candidate);
        let mut attempts: Vec<&Arc<Backend>> = Vec::new();
        for backend in chosen.chain(&self.fallback).filter_map(|c| c.backend.as_ref().ok()) {
            if attempts.iter().all(|earlier| earlier.model != backend.model) {
                attempts.push(backend);
            }
        }
        attempts
    }

    /// Why its models that get no requests are out, as sentences for a person.
    #[must_use]
    pub fn exclusions(&self) -> Vec<String> {
        let mut sentences: Vec<String> = Vec::new();
        let unused = self.targets.iter().filter(|t| t.weight == 0 && t.candidate.backend.is_ok());
        let unused = unused.map(|t| format!("{} has weight 0", t.candidate.model.name));
        let out = self
            .candidates()
            .filter_map(|c| c.backend.as_ref().err())
            .map(|e| e.message.clone());
        for sentence in out.chain(unused) {
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        sentences
    }

    /// Whether any model can answer now.
    #[must_use]
    pub fn can_answer(&self) -> bool {
        self.open_targets().next().is_some() || self.fallback.iter().any(|c| c.backend.is_ok())
    }
}

/// The target whose stretch of the shares, laid end to end, holds the roll.
fn drawn<'a>(open: &[&'a Target], roll: u64) -> Option<&'a Target> {
    let total: u64 = open.iter().map(|target| u64::from(target.weight)).sum();
    let mut left = roll.checked_rem(total)?;
    open.iter().copied().find(|target| {
        let share = u64::from(target.weight);
        let here = left < share;
        left = left.saturating_sub(share);
        here
    })
}

/// A model and its share of the requests.
#[derive(Clone, Debug)]
pub struct Target {
    /// The model.
    pub candidate: Candidate,
    /// Its share, relative to the others; 0: no requests.
    pub weight: u32,
}

/// A model that a rule names.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The ModelDeployment, or `name:adapter` of it.
    pub model: Key,
    /// Where it answers, or why it may not.
    pub backend: Result<Arc<Backend>, Exclusion>,
}

/// A model that may answer now.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The ModelDeployment, or `name:adapter` of it.
    pub model: Key,
    /// Whose API it is behind; `None`: our own pods, which speak OpenAI's protocol.
    pub provider: Option<Provider>,
    /// What serves it in our own pods; `None` behind a provider's API.
    pub engine: Option<EngineKind>,
    /// Where the provider processes the data, as the spec says; Bedrock's signatures name it.
    pub region: Option<String>,
    /// The base URLs, without a slash at the end, at least one; each is another pod, or the one provider. [`operation`] adds to them.
    pub bases: Vec<Uri>,
    /// What the other side calls the model.
    pub upstream_model: String,
    /// What it can do, as far as that is known.
    pub capabilities: Capabilities,
    /// Whether one of the endpoints may not know the model though others do, as an adapter that is being loaded: it answers 404 then.
    pub may_be_lacking: bool,
    /// Where the credential of the model may be sent, if it needs one: a credential for elsewhere is none. See `backend::destination`.
    pub destination: Option<String>,
    /// Set where only the authorities that the user named may vouch for the other side: the [`backend::destination`](crate::plan::backend)
    /// that they are held for. Without them nothing is sent: those of the system are none for it.
    pub authorities: Option<String>,
    /// What its tokens cost, at any moment.
    pub pricing: Pricing,
}

/// The URL of an operation, whose path begins with a slash, such as `/chat/completions`, and may have a query; `None` if it is none. (A base
/// without a path is written with a slash by `Uri`: this knows.)
#[must_use]
pub fn operation(base: &Uri, path: &str) -> Option<Uri> {
    let before = base.path_and_query().map_or("", |before| before.as_str()).trim_end_matches('/');
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(format!("{before}{path}").try_into().ok()?);
    Uri::from_parts(parts).ok()
}

/// How long each step of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// To the first content of a streamed answer.
    pub first_token: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

impl Timeouts {
    fn of(policy: &RoutingPolicy) -> Self {
        let default = Self::default();
        let Some(given) = &policy.spec.timeouts else {
            return default;
        };
        // The CRD refuses what is not positive; where its rules are bypassed the default holds.
        let or = |value: &Option<kube::core::Duration>, default| match value {
            Some(value) if !value.is_negative() => Some(Duration::from(*value)).filter(|d| !d.is_zero()).unwrap_or(default),
            _ => default,
        };
        let total = or(&given.total, default.total);
        Self {
            connect: or(&given.connect, default.connect),
            // Or a model that says nothing would use up the time of those to fall back to.
            first_token: or(&given.first_token, default.first_token.min(total / 2)),
            idle: or(&given.idle, default.idle),
            total,
        }
    }
}

/// What a policy's name stands for.
pub(super) fn route(policy: &RoutingPolicy, known: &Known<'_>, allow_anonymous: bool) -> Route {
    let key = Key::of(policy);
    let rules = policy.spec.rules.iter().enumerate();
    let instead = |to: &Fallback| {
        known.candidate(
            &Key::new(&key.namespace, &to.model),
            to.adapter.as_deref(),
            policy.spec.require.as_ref(),
        )
    };
    Route {
        name: policy.spec.model.clone(),
        clients: admissions(&policy.spec.clients, &key.namespace, allow_anonymous),
        rules: rules.map(|(at, rule)| checked(at, rule, policy, &key.namespace, known)).collect(),
        timeouts: Timeouts::of(policy),
        retries: Retries::of(policy),
        // The CRD refuses what is no quantity; where its rules are bypassed the default holds.
        max_body_bytes: policy.spec.max_body_bytes.as_ref().and_then(bytes).unwrap_or(MAX_BODY_BYTES),
        limits: policy.spec.limits.clone(),
        allowances: allowances(policy, instead),
        policy: Some(key),
    }
}

/// What `namespace/name` or `namespace/name:adapter` stands for: that model alone, whatever policies require, for the service accounts of its own namespace. This is
/// how evaluations reach a model that no policy admits yet. With `is_open` it is for anyone.
pub(super) fn direct(key: &Key, adapter: Option<&str>, known: &Known<'_>, is_open: bool) -> Route {
    let own = Admission::ServiceAccounts {
        namespaces: vec![key.namespace.clone()],
        names: Vec::new(),
    };
    let timeouts = Timeouts::default();
    Route {
        name: names::asked(&key.to_string(), adapter),
        policy: None,
        clients: vec![if is_open { Admission::Anyone } else { own }],
        rules: vec![Rule {
            name: "1".to_owned(),
            headers: Vec::new(),
            strategy: Strategy::Ordered,
            targets: vec![Target {
                candidate: known.candidate(key, adapter, None),
                weight: 1,
            }],
            fallback: Vec::new(),
        }],
        // Nothing to fall back to, so nothing is gained by giving up early.
        timeouts: Timeouts {
            first_token: timeouts.total,
            ..timeouts
        },
        retries: Retries::default(),
        max_body_bytes: MAX_BODY_BYTES,
        limits: Vec::new(),
        allowances: Ok(Vec::new()),
    }
}

fn bytes(quantity: &Quantity) -> Option<usize> {
    quantity::bytes(&quantity.0).and_then(|bytes| usize::try_from(bytes).ok())
}

fn checked(at: usize, rule: &RouteRule, policy: &RoutingPolicy, namespace: &str, known: &Known<'_>) -> Rule {
    let candidate = |model: &str, adapter: &Option<String>| {
        known.candidate(&Key::new(namespace, model), adapter.as_deref(), policy.spec.require.as_ref())
    };
    let headers = rule.when.iter().flat_map(|when| &when.headers);
    Rule {
        name: rule.name.clone().unwrap_or_else(|| (at + 1).to_string()),
        headers: headers.map(|h| (h.name.to_ascii_lowercase(), h.value.clone())).collect(),
        strategy: rule.strategy,
        targets: rule
            .targets
            .iter()
            .map(|t| Target {
                candidate: candidate(&t.model, &t.adapter),
                weight: t.weight,
            })
            .collect(),
        fallback: rule.fallback.iter().map(|f| candidate(&f.model, &f.adapter)).collect(),
    }
}
