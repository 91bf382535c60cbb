//! What gateways hold: for each name that clients call, who may call it and which models answer. Immutable; a change is another table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use k8s_openapi::jiff::Timestamp;

use super::access::{Admission, Client};
use super::allowance::Allowance;
use super::data_class::{DATA_CLASS_HEADER, DataClassId, DataClasses, Raised};
use super::demand::Nature;
use super::eligible::Exclusion;
use super::guard::{self, Guard, Texts};
use super::issuers::Issuers;
use super::refused::Refused;
use super::shadow::Shadow;
use super::terms::{Caching, Retries, Sticky, Timeouts};
use super::warmup::Warmup;
use super::when::When;
use crate::api::budget::Limit;
use crate::api::model_deployment::{self, Capabilities, EngineKind, Provider};
use crate::api::routing_policy::Strategy;
use crate::plan::Invalid;
use crate::plan::ledger::Rates;
use crate::plan::names::{self, Key};
use crate::plan::price::{Cost, Pricing};
use crate::protocol::usage::Tokens;

/// Requests with images or a million tokens of context are this large.
pub(super) const MAX_BODY_BYTES: usize = 32 << 20;

/// Every name that clients may call.
#[derive(Clone, Debug)]
pub struct RouteTable {
    routes: HashMap<String, Arc<Route>>,
    /// The installer's classes of data.
    pub classes: DataClasses,
    /// The classes of namespaces that have a label.
    namespaces: BTreeMap<String, DataClassId>,
    /// Whose tokens some route admits.
    pub issuers: Issuers,
    largest_body: usize,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(HashMap::new(), DataClasses::default(), BTreeMap::new())
    }
}

impl RouteTable {
    pub(super) fn new(routes: HashMap<String, Arc<Route>>, classes: DataClasses, namespaces: BTreeMap<String, DataClassId>) -> Self {
        let largest = routes.values().map(|route| route.max_body_bytes).max();
        Self {
            issuers: Issuers::of(routes.values().flat_map(|route| {
                // A rule may look at other claims than those that let a client in.
                route.clients.iter().chain(route.rules.iter().flat_map(|rule| &rule.when.clients))
            })),
            routes,
            classes,
            namespaces,
            largest_body: largest.unwrap_or(MAX_BODY_BYTES),
        }
    }

    /// What a name stands for: a policy's `spec.model`, or `namespace/name` of a ModelDeployment, or `namespace/name:adapter`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(name)
    }

    /// What a client means by a name.
    ///
    /// # Errors
    /// When nothing is called so, or the client may not call it.
    pub fn open_to(&self, client: &Client, name: &str) -> Result<&Arc<Route>, Refused<'static>> {
        match self.find(name) {
            Some(route) if route.admits(client) => Ok(route),
            // Which models a namespace has is the business of those in it.
            Some(route) if route.is_direct_elsewhere(client) => Err(Refused::unknown_model(name, &self.callable(client))),
            Some(route) => Err(Refused::not_admitted(client, route)),
            None => Err(Refused::unknown_model(name, &self.callable(client))),
        }
    }

    /// The class of the data of a request to `route`: the highest of what the labels of client and policy and its headers say.
    ///
    /// # Errors
    /// When a header names no class that there is.
    pub fn class_of_request(&self, route: &Route, client: &Client, headers: &HeaderMap) -> Result<Option<DataClassId>, Refused<'static>> {
        let given = headers
            .get_all(DATA_CLASS_HEADER)
            .iter()
            .map(|value| value.to_str().unwrap_or("(no text)"));
        let class = self.classes.of_request(given, [route.class, self.class_of(client)]);
        class.map_err(|unknown| Refused::unknown_data_class(&unknown))
    }

    /// What raises the class of a request's data above `class`, which its labels and headers say: what the installer has looked for, where
    /// that is in its texts.
    #[must_use]
    pub fn raised(&self, route: &Route, class: Option<DataClassId>, texts: Texts<'_>) -> Option<Raised> {
        let detection = self.classes.detection().filter(|detection| class < Some(detection.class))?;
        let sight = guard::seen(texts, detection.kinds)?;
        Some(Raised {
            to: detection.class,
            from: class,
            sight,
            is_redacted: sight != guard::Sight::Tokens && route.guard.redact.cover(detection.kinds),
        })
    }

    /// What the label of the client's namespace or of its key's Secret says of its data.
    fn class_of(&self, client: &Client) -> Option<DataClassId> {
        match client {
            Client::ServiceAccount { namespace, .. } => self.namespaces.get(namespace).copied(),
            Client::ApiKey { labels, .. } => labels.get(names::DATA_CLASS_LABEL).and_then(|value| self.classes.labelled(value)),
            Client::Jwt { .. } | Client::Anonymous => None,
        }
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
    /// The class of data that the label of its namespace says.
    pub class: Option<DataClassId>,
    /// Who may call it; one match is enough.
    pub clients: Vec<Admission>,
    /// The first that matches a request decides.
    pub rules: Vec<Rule>,
    /// What keeps a conversation with one model.
    pub sticky: Option<Sticky>,
    /// What happens to requests while the model that should answer wakes; `None`: what happens where it fails.
    pub warmup: Option<Warmup>,
    /// Which answers are kept, if any.
    pub cache: Option<Caching>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How often a model is asked again.
    pub retries: Retries,
    /// The largest request.
    pub max_body_bytes: usize,
    /// What its models cost that have a price of their own, each once.
    pub priced: Vec<Pricing>,
    /// How fast it may be used.
    pub limits: Vec<Limit>,
    /// How much may be spent; or what cannot be understood of it, and then it answers nothing.
    pub allowances: Result<Vec<Allowance>, Invalid>,
    /// What is done about the texts of requests.
    pub guard: Guard,
    /// The models that get copies of some requests, under what the policy requires of all; each rule has them under its own requirements too, as
    /// [`Rule::shadow`].
    pub shadows: Vec<Shadow>,
    /// Whether what is asked and answered is logged.
    pub logs_content: bool,
}

impl Route {
    /// How it is called towards a person.
    #[must_use]
    pub fn called(&self) -> String {
        match &self.policy {
            Some(policy) => format!("RoutingPolicy {policy}"),
            None => self.name.clone(),
        }
    }

    /// Whether the client may call it.
    #[must_use]
    pub fn admits(&self, client: &Client) -> bool {
        self.clients.iter().any(|admission| admission.admits(client))
    }

    /// What so many tokens cost with the dearest of its models that have a price, in nano-dollars; `None` where fewer than two have one.
    #[must_use]
    pub fn dearest(&self, tokens: &Tokens, now: Timestamp) -> Option<u64> {
        let cost = |pricing: &Pricing| match pricing.cost(Some(tokens), now) {
            Cost::Known(nanos) => Some(nanos),
            Cost::Unknown(_) => None,
        };
        (self.priced.len() > 1).then(|| self.priced.iter().filter_map(cost).max()).flatten()
    }

    /// Whether it is the way to a model past all policies, in a namespace that is not the client's.
    fn is_direct_elsewhere(&self, client: &Client) -> bool {
        let own = match client {
            Client::ServiceAccount { namespace, .. } => Some(namespace.as_str()),
            Client::ApiKey { .. } | Client::Jwt { .. } | Client::Anonymous => None,
        };
        self.policy.is_none() && self.name.split_once('/').map(|(namespace, _)| namespace) != own
    }

    /// Every model it names: of its rules, then of its budgets, then those that answer while others wake.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let instead = self.allowances.iter().flatten().filter_map(|allowance| allowance.instead.as_ref());
        let spill = self.warmup.iter().flat_map(|warmup| match warmup {
            Warmup::Spill(targets) => targets.as_slice(),
            Warmup::Hold(_) | Warmup::Refuse => &[],
        });
        self.rules.iter().flat_map(Rule::candidates).chain(instead.flatten()).chain(spill)
    }
}

/// Which models answer the requests that match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, or its position from 1.
    pub name: String,
    /// Which requests it is for.
    pub when: When,
    /// What a request may cost at most, in nano-dollars.
    pub max_cost: Option<u64>,
    /// Whether it must be known what its models cost: that, or a budget, limits US dollars.
    pub is_reckoned: bool,
    /// How a target is chosen.
    pub strategy: Strategy,
    /// The models that answer.
    pub targets: Vec<Target>,
    /// The models tried after them, in order.
    pub fallback: Vec<Candidate>,
    /// For each budget of the policy, in its order, the models that are tried instead of all these once it is used up.
    pub instead: Vec<Vec<Candidate>>,
    /// The models that answer while a target wakes, where the policy has some for that.
    pub spill: Vec<Candidate>,
    /// The models that get copies of its requests, in the order of [`Route::shadows`].
    pub shadow: Vec<Candidate>,
}

impl Rule {
    /// For every request, and with one model alone.
    pub(super) fn only(candidate: Candidate) -> Self {
        Self {
            name: "1".to_owned(),
            when: When::default(),
            max_cost: None,
            is_reckoned: false,
            strategy: Strategy::Ordered,
            targets: vec![Target { candidate, weight: 1 }],
            fallback: Vec::new(),
            instead: Vec::new(),
            spill: Vec::new(),
            shadow: Vec::new(),
        }
    }

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

    /// The models that can answer, of the requests that they may have.
    pub fn usable(&self) -> impl Iterator<Item = (&Candidate, &Arc<Backend>)> {
        let open = self.open_targets().map(|target| &target.candidate);
        open.chain(&self.fallback)
            .filter_map(|candidate| Some((candidate, candidate.backend.as_ref().ok()?)))
    }

    /// Why its models that get no requests are out, as sentences for a person.
    #[must_use]
    pub fn exclusions(&self) -> Vec<String> {
        let mut sentences: Vec<String> = Vec::new();
        let unused = self.targets.iter().filter(|t| t.weight == 0 && t.candidate.backend.is_ok());
        let unused = unused.map(|t| format!("{} has weight 0", t.candidate.called));
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
}

/// The target whose stretch of the shares, laid end to end, holds the roll.
pub(super) fn drawn<'a>(open: &[&'a Target], roll: u64) -> Option<&'a Target> {
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
    /// What the policy calls it: by its name, with the namespace where that is not the policy's.
    pub called: String,
    /// Where it answers, or why it may not.
    pub backend: Result<Arc<Backend>, Exclusion>,
    /// What it will be, where it is only not awake: without a base, as nobody knows yet where it will answer.
    pub waking: Option<Arc<Backend>>,
    /// When an evaluation that it must have passed becomes too old.
    pub passed_until: Option<Expiry>,
}

/// When a model may not answer any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// From then on.
    pub at: Timestamp,
    /// Why, in words that go on after the model's name.
    pub message: String,
}

/// A model that may answer now.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The ModelDeployment, or `name:adapter` of it.
    pub model: Key,
    /// What the policy calls it: by its name, with the namespace where that is not the policy's.
    pub called: String,
    /// Whose API it is behind; `None`: our own pods, which speak OpenAI's protocol.
    pub provider: Option<Provider>,
    /// What serves it in our own pods; `None` behind a provider's API.
    pub engine: Option<EngineKind>,
    /// Where the provider processes the data, as the spec says; Bedrock's signatures name it.
    pub region: Option<String>,
    /// The base URLs, without a slash at the end, at least one; each is another pod, or the one provider. [`operation`] adds to them.
    pub bases: Vec<Uri>,
    /// Which ModelDeployment it is, and of which generation.
    pub version: (Option<String>, Option<i64>),
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
    /// How requests wait for it; `None`: they do not.
    pub queue: Option<Queue>,
    /// What its provider lets us have, at one gateway.
    pub limits: Option<Rates>,
    /// What its tokens cost, at any moment.
    pub pricing: Pricing,
    /// What it is, as far as demands go.
    pub nature: Nature,
}

/// How requests wait for the pods of a model, at one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many are under way at each pod.
    pub at_once_per_pod: usize,
    /// How many wait.
    pub waiting: usize,
    /// How long one waits.
    pub lasts: Duration,
}

impl Queue {
    /// The CRD refuses what is out of bounds; where its rules are bypassed the defaults hold.
    pub(super) fn of(given: &model_deployment::Queue) -> Self {
        Self {
            at_once_per_pod: given.at_once_per_pod.max(1) as usize,
            waiting: given.waiting.unwrap_or(256) as usize,
            lasts: given
                .lasts
                .filter(|lasts| !lasts.is_negative())
                .map_or(Duration::from_secs(30), Duration::from),
        }
    }
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
