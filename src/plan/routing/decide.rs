//! One request → the models that may answer it, in the order in which they are asked. Every demand is weighed before any choice, for
//! fallbacks as for targets: what a model may not have, no failure of another gives it.
//!
//! ```text
//!  first rule that matches ─► its models ─► may have this request? ─► strategy ─► Decision
//!                                                 └─ none of its targets yet, but one that wakes may ─► warm-up ─► Decision
//! ```

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use k8s_openapi::jiff::Timestamp;

use super::access::Client;
use super::data_class::{DataClassId, DataClasses, Raised};
use super::eligible::{Exclusion, Reason};
use super::out::{UNPRICED, is_priced};
use super::refused::Refused;
use super::shadow::Mirror;
use super::table::{Backend, Candidate, Route, Rule, Target, drawn};
use super::warmup::{Hold, Warmup};
use crate::api::money;
use crate::api::routing_policy::Strategy;
use crate::plan::ledger::Foreseen;
use crate::plan::names::Key;
use crate::plan::price::{Cost, Unpriced};
use crate::protocol::usage::{Terms, Tokens};

/// What is known of a request.
pub struct Facts<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The name it calls.
    pub model: &'a str,
    /// What it asks for, such as `chat`.
    pub operation: &'a str,
    /// Whether the answer is to come as it is made.
    pub is_streamed: bool,
    /// The class of its data, where the installer has classes.
    pub data_class: Option<DataClassId>,
    /// What raised it above what labels and headers say, if its texts did.
    pub raised: Option<Raised>,
    /// What is in its body: read only where something depends on it. An error says, for a person, what cannot be read.
    pub content: &'a dyn Fn() -> Result<Content, String>,
    /// Now.
    pub now: Timestamp,
}

/// What is in the body of a request, as far as routing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Tokens of the input, estimated.
    pub input_tokens: u64,
    /// The most tokens of one answer, if it says so.
    pub max_tokens: Option<u64>,
    /// How many answers it wants; 0 means one.
    pub answers: u64,
    /// Whether it has tools, or calls of tools.
    pub tools: bool,
    /// Whether it has images.
    pub images: bool,
    /// Whether the answer must keep to a JSON schema.
    pub json_schema: bool,
    /// Whether it is answered without words, as by embeddings.
    pub is_wordless: bool,
    /// The terms that it asks a provider for.
    pub terms: Terms,
}

impl Content {
    /// What it may take of a model at most, where one answer has so many tokens at most.
    pub(super) fn foreseen<'a>(&self, model: &'a Backend, answer: u64, now: Timestamp) -> Foreseen<'a> {
        let answers = match self.is_wordless {
            true => 0,
            false => answer.max(1).saturating_mul(self.answers.max(1)),
        };
        Foreseen::of(model, self.input_tokens, answers, self.terms, now)
    }
}

/// How models do now, as whoever asks them sees it.
pub trait Live {
    /// How long its answers, streams or plain ones, took to begin of late; `None`: it has given none, and should be seen.
    fn latency(&self, model: &Backend, is_streamed: bool) -> Option<Duration>;
    /// How many requests it has under way, in thousandths for each of its endpoints.
    fn load(&self, model: &Backend) -> usize;
}

/// Which models may answer a request.
pub struct Decision<'a> {
    /// The rule that decides.
    pub rule: &'a Rule,
    /// The models to ask, in order; at least one, unless the request waits.
    pub models: Vec<&'a Arc<Backend>>,
    /// For each budget of the policy, those to ask instead once it is used up: under every requirement that holds for the others.
    pub instead: Vec<Vec<&'a Arc<Backend>>>,
    /// The targets that the request is for and that do not answer yet, the one that is wanted most first; none where a target answers.
    pub wakes: Vec<&'a Key>,
    /// Whether it waits for one of them before any model is asked.
    pub hold: Option<Hold>,
    /// The copies of it that are due, once it is answered.
    pub mirrors: Vec<Mirror<'a>>,
}

/// What decides between models that may have a request, beside the rule's strategy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draw<'a> {
    /// What is drawn, for shares.
    pub roll: u64,
    /// The model that the request's conversation is with: it comes first, where it may have the request.
    pub stays_with: Option<&'a Key>,
    /// What is drawn for copies: another number for each request, also of one conversation.
    pub mirror: u64,
}

/// Decides about a request of `route`.
///
/// # Errors
/// When no model may answer.
pub fn decide<'a>(
    route: &'a Route,
    classes: &DataClasses,
    facts: &Facts<'_>,
    live: &dyn Live,
    draw: Draw<'_>,
) -> Result<Decision<'a>, Refused<'a>> {
    let weighed = Weighed::new(classes, facts);
    let rule = weighed.rule(route)?;
    if let Some(limit) = rule.max_cost
        && let Err(problem) = weighed.content()
    {
        let limit = money::written(limit.into());
        let problem = format!("a request may cost {limit} USD at most, and {problem}");
        return Err(Refused::undecidable(route, rule, &problem));
    }
    let open = |candidates: &'a Vec<Candidate>| -> Vec<&'a Arc<Backend>> {
        let open = candidates.iter().filter(|candidate| weighed.may_have(rule, candidate));
        open.filter_map(|candidate| candidate.backend.as_ref().ok()).collect()
    };
    let mut models = weighed.in_order(rule, live, draw);
    let waking = weighed.waking(rule, draw.roll);
    let wakes: Vec<&Key> = waking.iter().map(|candidate| &candidate.model).collect();
    let mut hold = None;
    match route.warmup.as_ref().filter(|_| !waking.is_empty()) {
        None => {}
        Some(Warmup::Hold(how)) => hold = Some(*how),
        Some(Warmup::Spill(_)) => {
            let fallback = std::mem::replace(&mut models, open(&rule.spill));
            for model in fallback {
                if models.iter().all(|earlier| earlier.model != model.model) {
                    models.push(model);
                }
            }
        }
        Some(Warmup::Refuse) => return Err(Refused::starting(route, rule, &waking, "")),
    }
    if models.is_empty() && hold.is_none() {
        return Err(match route.warmup {
            Some(_) if !waking.is_empty() => Refused::starting(route, rule, &waking, ""),
            _ => {
                let nobody = Refused::nobody(route, rule, &weighed.out(rule));
                Refused { wakes, ..nobody }
            }
        });
    }
    Ok(Decision {
        rule,
        models,
        instead: rule.instead.iter().map(open).collect(),
        wakes,
        hold,
        mirrors: weighed.drawn_mirrors(route, rule, draw.mirror),
    })
}

impl<'a> Decision<'a> {
    /// The refusal of a request that waited in vain, or found no place to wait; `why` says which, and begins with `, and`.
    #[must_use]
    pub fn starting(&self, route: &Route, why: &str) -> Refused<'a> {
        let targets = self.rule.targets.iter().map(|target| &target.candidate);
        let waking: Vec<&Candidate> = targets.filter(|candidate| self.wakes.contains(&&candidate.model)).collect();
        Refused::starting(route, self.rule, &waking, why)
    }
}

/// What keeps each model of the rule from a request, those left out of which nothing does.
pub fn eliminated(rule: &Rule, classes: &DataClasses, facts: &Facts<'_>) -> Vec<Exclusion> {
    Weighed::new(classes, facts).out(rule)
}

/// A request, and what was found out about it so far.
pub(super) struct Weighed<'a> {
    classes: &'a DataClasses,
    facts: &'a Facts<'a>,
    content: OnceCell<Result<Content, String>>,
}

impl<'a> Weighed<'a> {
    pub(super) fn new(classes: &'a DataClasses, facts: &'a Facts<'a>) -> Self {
        Self {
            classes,
            facts,
            content: OnceCell::new(),
        }
    }
}

impl Weighed<'_> {
    fn content(&self) -> Result<&Content, String> {
        self.content.get_or_init(|| (self.facts.content)()).as_ref().map_err(Clone::clone)
    }

    /// The first rule that matches.
    fn rule<'a>(&self, route: &'a Route) -> Result<&'a Rule, Refused<'a>> {
        for rule in &route.rules {
            match self.matches(rule) {
                Ok(true) => return Ok(rule),
                Ok(false) => {}
                // A rule after it may be wider: whether this one is passed over must be certain.
                Err(problem) => return Err(Refused::undecidable(route, rule, &problem)),
            }
        }
        Err(Refused::no_rule(route))
    }

    fn matches(&self, rule: &Rule) -> Result<bool, String> {
        let when = &rule.when;
        let has = |(name, value): &(String, String)| {
            self.facts
                .headers
                .get_all(name.as_str())
                .iter()
                .any(|given| given == value.as_str())
        };
        let is_for = when.headers.iter().all(has)
            && (when.data_classes.is_empty() || self.facts.data_class.is_some_and(|class| when.data_classes.contains(&class)))
            && (when.clients.is_empty() || when.clients.iter().any(|admission| admission.admits(self.facts.client)));
        if !is_for {
            return Ok(false);
        }
        if when.reads_content() {
            let content = self.content()?;
            let is_for = when.input_tokens.contains(&content.input_tokens)
                && when.tools.is_none_or(|wanted| wanted == content.tools)
                && when.images.is_none_or(|wanted| wanted == content.images);
            if !is_for {
                return Ok(false);
            }
        }
        let Some(expression) = &when.expression else {
            return Ok(true);
        };
        let content = match expression.reads_content() {
            true => *self.content()?,
            false => Content::default(),
        };
        let class = self.facts.data_class.map_or("", |class| self.classes.name(class));
        expression
            .holds(self.facts, class, &content)
            .map_err(|problem| format!("its expression {problem}"))
    }

    /// The models that may have the request, each once: the chosen target or all targets in their order, then the fallbacks.
    fn in_order<'a>(&self, rule: &'a Rule, live: &dyn Live, draw: Draw<'_>) -> Vec<&'a Arc<Backend>> {
        let mut open: Vec<&Target> = rule
            .targets
            .iter()
            .filter(|t| t.weight > 0 && self.may_have(rule, &t.candidate))
            .collect();
        let stays = draw.stays_with.and_then(|home| {
            let open = open.iter().map(|target| &target.candidate);
            let mut all = open.chain(rule.fallback.iter().filter(|candidate| self.may_have(rule, candidate)));
            all.find(|candidate| candidate.model == *home)
        });
        match rule.strategy {
            Strategy::Ordered => {}
            Strategy::Weighted => open = drawn(&open, draw.roll).into_iter().collect(),
            Strategy::LeastCost => open.sort_by_cached_key(|target| self.cost(target).unwrap_or(u64::MAX)),
            Strategy::LeastLatency => {
                let latency = |model: &Arc<Backend>| live.latency(model, self.facts.is_streamed);
                open.sort_by_cached_key(|target| target.candidate.backend.as_ref().ok().and_then(latency));
            }
            Strategy::LeastBusy => {
                open.sort_by_cached_key(|target| target.candidate.backend.as_ref().map_or(usize::MAX, |model| live.load(model)));
            }
        }
        let chosen = open.into_iter().map(|target| &target.candidate);
        let fallback = rule.fallback.iter().filter(|candidate| self.may_have(rule, candidate));
        let mut models: Vec<&Arc<Backend>> = Vec::new();
        for model in stays
            .into_iter()
            .chain(chosen)
            .chain(fallback)
            .filter_map(|candidate| candidate.backend.as_ref().ok())
        {
            if models.iter().all(|earlier| earlier.model != model.model) {
                models.push(model);
            }
        }
        models
    }

    /// The targets that would be asked if they were awake, where none can be asked now: the one that would be first comes first.
    fn waking<'a>(&self, rule: &'a Rule, roll: u64) -> Vec<&'a Candidate> {
        let used = || rule.targets.iter().filter(|target| target.weight > 0);
        if used().all(|target| target.candidate.waking.is_none()) || used().any(|target| self.may_have(rule, &target.candidate)) {
            return Vec::new();
        }
        let may_wake = |target: &&Target| {
            let model = target.candidate.waking.as_ref();
            model.is_some_and(|model| self.barrier(rule, &target.candidate, model).is_none())
        };
        let waking: Vec<&Target> = used().filter(may_wake).collect();
        let first = match rule.strategy {
            Strategy::Weighted => drawn(&waking, roll),
            Strategy::Ordered | Strategy::LeastCost | Strategy::LeastLatency | Strategy::LeastBusy => None,
        };
        let mut all: Vec<&Candidate> = Vec::with_capacity(waking.len());
        for target in first.into_iter().chain(waking) {
            if all.iter().all(|earlier| earlier.model != target.candidate.model) {
                all.push(&target.candidate);
            }
        }
        all
    }

    fn may_have(&self, rule: &Rule, candidate: &Candidate) -> bool {
        candidate
            .backend
            .as_ref()
            .is_ok_and(|model| self.barrier(rule, candidate, model).is_none())
    }

    /// What keeps a model that could answer from this request.
    pub(super) fn barrier(&self, rule: &Rule, candidate: &Candidate, model: &Backend) -> Option<(Reason, String)> {
        if let Some(expiry) = candidate.passed_until.as_ref().filter(|expiry| expiry.at <= self.facts.now) {
            return Some((Reason::NotEvaluated, expiry.message.clone()));
        }
        if let Some((reason, why)) = self.class_for(model).and_then(|class| self.classes.bars(class, &model.nature)) {
            let because = self
                .facts
                .raised
                .map(|raised| format!(", and the request is of it because {}", raised.sight.called()));
            return Some((reason, why + &because.unwrap_or_default()));
        }
        let Some(limit) = rule.max_cost else {
            let is_unpriced = rule.is_reckoned && !is_priced(model, self.facts.now);
            return is_unpriced.then(|| (Reason::CostNotKnown, UNPRICED.to_owned()));
        };
        match self.bound(model) {
            Ok(bound) if bound <= limit => None,
            Ok(bound) => {
                let (bound, limit) = (money::written(bound.into()), money::written(limit.into()));
                let why = format!("may cost {bound} USD for this request, above the {limit} that one may cost: ask for fewer max_tokens");
                Some((Reason::TooExpensive, why))
            }
            Err(unknown) => Some(unknown),
        }
    }

    /// The class of what the model would see. Our own pods see everything.
    fn class_for(&self, model: &Backend) -> Option<DataClassId> {
        match self.facts.raised {
            Some(raised) if raised.is_redacted && model.provider.is_some() => raised.from,
            _ => self.facts.data_class,
        }
    }

    /// What the request costs at most, in nano-dollars, or why nobody knows.
    fn bound(&self, model: &Backend) -> Result<u64, (Reason, String)> {
        // Our own pods cost by the hour, whatever they are asked.
        if model.provider.is_none() && model.pricing.at(self.facts.now).is_none() {
            return Ok(0);
        }
        let content = self.content().map_err(|why| (Reason::CostNotKnown, why))?;
        let longest = content.max_tokens.or(model.capabilities.max_output_tokens.map(u64::from));
        let Some(longest) = longest.or(content.is_wordless.then_some(0)) else {
            let remedy = "send max_tokens, or declare spec.capabilities.maxOutputTokens";
            let why = format!("has no known limit of an answer, so that nobody knows what one costs: {remedy}");
            return Err((Reason::TooExpensive, why));
        };
        match content.foreseen(model, longest, self.facts.now).cost {
            Cost::Known(nanos) => Ok(nanos),
            Cost::Unknown(Unpriced::SpecialTerms) => {
                let why = "has no known price on the terms that are asked for (service_tier, tools of the provider), and the policy limits what a request may cost: ask for the standard ones, without such tools";
                Err((Reason::CostNotKnown, why.to_owned()))
            }
            Cost::Unknown(_) => {
                let why = "has no known price, and the policy limits what a request may cost: set spec.price";
                Err((Reason::CostNotKnown, why.to_owned()))
            }
        }
    }

    fn cost(&self, target: &Target) -> Option<u64> {
        let model = target.candidate.backend.as_ref().ok()?;
        // Where neither says how long an answer may be, all are compared by the same length.
        let content = self.content().ok()?;
        let count = Tokens {
            input: content.input_tokens,
            output: if content.is_wordless {
                0
            } else {
                content.max_tokens.unwrap_or(content.input_tokens.max(1))
            },
            ..Tokens::default()
        };
        match model.pricing.cost(Some(&count), self.facts.now) {
            Cost::Known(nanos) => Some(nanos),
            Cost::Unknown(_) => None,
        }
    }

    /// Why its models do not get the request, those left out that do.
    fn out(&self, rule: &Rule) -> Vec<Exclusion> {
        let mut out: Vec<Exclusion> = Vec::new();
        let targets = rule.targets.iter().map(|target| (&target.candidate, target.weight));
        for (candidate, weight) in targets.chain(rule.fallback.iter().map(|candidate| (candidate, 1))) {
            let name = &candidate.called;
            let exclusion = match &candidate.backend {
                Err(exclusion) => Some(exclusion.clone()),
                Ok(model) => {
                    let unused = (weight == 0).then(|| (Reason::Unused, "has weight 0".to_owned()));
                    let why = self.barrier(rule, candidate, model).or(unused);
                    why.map(|(reason, why)| Exclusion {
                        reason,
                        model: candidate.model.clone(),
                        message: format!("{name} {why}"),
                    })
                }
            };
            out.extend(exclusion.filter(|one| out.iter().all(|known| known.message != one.message)));
        }
        out
    }
}
