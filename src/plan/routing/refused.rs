//! Why a request is answered by no model, before any is asked: as a kind for machines, and in words that say what to do. They are shown to
//! clients.

use super::access::{Admission, Client};
use super::data_class::{DATA_CLASS_HEADER, UnknownDataClass};
use super::eligible::{Exclusion, Reason};
use super::table::{Candidate, Route, Rule};
use crate::plan::names::Key;

/// As many names as a person reads.
const NAMED: usize = 20;
/// As much of what a client sent as is sent back to it.
const SHOWN: usize = 128;

/// A request that no model may answer.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The kind of reason.
    pub reason: RefusedFor,
    /// The rule that decided, if one did.
    pub rule: Option<&'a Rule>,
    /// What to do about it.
    pub message: String,
    /// The models that it was for and that do not answer yet, the one that is wanted most first.
    pub wakes: Vec<&'a Key>,
}

/// The kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// Nothing is called so.
    UnknownModel,
    /// The client may not call it.
    NotAdmitted,
    /// The request names a class of data that nobody knows.
    UnknownDataClass,
    /// The policy is not valid, and never was.
    NotInForce,
    /// No rule is for such a request.
    NoRule,
    /// The request has a term that the policy does not allow.
    Blocked,
    /// The policy's guardrails cannot work.
    Unguarded,
    /// What the rule looks at cannot be told of this request.
    Undecidable,
    /// None of the rule's models may have it.
    Nobody,
    /// The rule's models do not answer yet, and the policy lets it wait no longer.
    Starting,
    /// It may cost more than one may with each of them, and less if it asked for less.
    TooExpensive,
}

impl RefusedFor {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::UnknownModel => 404,
            Self::NotAdmitted => 403,
            Self::UnknownDataClass | Self::NoRule | Self::Undecidable | Self::Blocked | Self::TooExpensive => 400,
            Self::NotInForce | Self::Nobody | Self::Unguarded | Self::Starting => 503,
        }
    }

    /// The code of the error.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownModel => "model_not_found",
            Self::NotAdmitted => "not_admitted",
            Self::UnknownDataClass => "unknown_data_class",
            Self::Blocked => "content_blocked",
            Self::Unguarded => "guardrails_not_ready",
            Self::NoRule => "no_rule_matches",
            Self::Undecidable => "rule_undecidable",
            Self::NotInForce | Self::Nobody => "no_eligible_model",
            Self::Starting => "model_starting",
            Self::TooExpensive => "request_too_expensive",
        }
    }
}

impl<'a> Refused<'a> {
    pub(super) fn new(reason: RefusedFor, rule: Option<&'a Rule>, message: String) -> Self {
        Self {
            reason,
            rule,
            message,
            wakes: Vec::new(),
        }
    }

    /// Nothing is called `model`; the client may call `callable`.
    pub(super) fn unknown_model(model: &str, callable: &[&str]) -> Self {
        let more = callable.len().saturating_sub(NAMED);
        let mut names = match callable {
            [] => "no model is open to you: a RoutingPolicy must admit you in spec.clients".to_owned(),
            some => format!("you may call {}", some[..some.len().min(NAMED)].join(", ")),
        };
        if more > 0 {
            names = format!("{names} and {more} more (GET /v1/models)");
        }
        let message = format!("there is no model {:?} here: {names}", shown(model));
        Self::new(RefusedFor::UnknownModel, None, message)
    }

    /// The client may not call the route.
    pub(super) fn not_admitted(client: &Client, route: &Route) -> Self {
        let who = match client {
            Client::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
            Client::ApiKey { name, .. } => format!("API key {name}"),
            Client::Jwt { issuer, subject, .. } => format!("{subject} of {issuer}"),
            Client::Anonymous => "a client without known credentials".to_owned(),
        };
        let why = match &route.policy {
            Some(policy) => format!("RoutingPolicy {policy} must admit it in spec.clients"),
            None => match route.clients.first() {
                Some(Admission::ServiceAccounts { names, .. }) if !names.is_empty() => format!(
                    "of its own namespace only the service account {} may call a model directly (directCallers of the settings)",
                    names.join(" or ")
                ),
                _ => "only service accounts of its own namespace may call a model directly".to_owned(),
            },
        };
        Self::new(RefusedFor::NotAdmitted, None, format!("{who} may not call {}: {why}", route.name))
    }

    /// The header names no class that there is.
    pub(super) fn unknown_data_class(unknown: &UnknownDataClass) -> Self {
        let says = format!("the header {DATA_CLASS_HEADER} says {:?}", shown(&unknown.given));
        let message = match unknown.known.as_slice() {
            [] => format!("{says}, and there are no classes of data here: do not send it, or have the installer set dataClasses"),
            known => format!("{says}, which is no class of data here: send one of {}", known.join(", ")),
        };
        Self::new(RefusedFor::UnknownDataClass, None, message)
    }

    pub(super) fn no_rule(route: &Route) -> Self {
        let called = route.called();
        if route.rules.is_empty() {
            let message = format!("{called} is not in force, because it is not valid: its condition Accepted says what to correct");
            return Self::new(RefusedFor::NotInForce, None, message);
        }
        let message = format!("no rule of {called} is for such a request: see spec.rules[].when");
        Self::new(RefusedFor::NoRule, None, message)
    }

    pub(super) fn undecidable(route: &Route, rule: &'a Rule, problem: &str) -> Self {
        let message = format!(
            "whether rule {} of {} is for this request cannot be told: {problem}",
            rule.name,
            route.called()
        );
        Self::new(RefusedFor::Undecidable, Some(rule), message)
    }

    /// What is out for its weight says nothing of the request.
    pub(super) fn nobody(route: &Route, rule: &'a Rule, out: &[Exclusion]) -> Self {
        let mut reasons = out
            .iter()
            .map(|exclusion| exclusion.reason)
            .filter(|reason| *reason != Reason::Unused)
            .peekable();
        let is_too_expensive = reasons.peek().is_some() && reasons.all(|reason| reason == Reason::TooExpensive);
        let (reason, when) = if is_too_expensive {
            (RefusedFor::TooExpensive, "may answer this")
        } else {
            (RefusedFor::Nobody, "may answer now")
        };
        let sentences: Vec<&str> = out.iter().map(|exclusion| exclusion.message.as_str()).collect();
        let message = format!(
            "no model of {}, rule {}, {when}: {}",
            route.called(),
            rule.name,
            sentences.join("; ")
        );
        Self::new(reason, Some(rule), message)
    }

    pub(super) fn starting(route: &Route, rule: &'a Rule, waking: &[&'a Candidate], why: &str) -> Self {
        let sentences: Vec<&str> = waking
            .iter()
            .filter_map(|candidate| Some(candidate.backend.as_ref().err()?.message.as_str()))
            .collect();
        let message = format!(
            "no target of {}, rule {}, answers yet{why}: {}; try again in a moment",
            route.called(),
            rule.name,
            sentences.join("; ")
        );
        Self {
            wakes: waking.iter().map(|candidate| &candidate.model).collect(),
            ..Self::new(RefusedFor::Starting, Some(rule), message)
        }
    }
}

/// What a client sent, short enough to be sent back.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
