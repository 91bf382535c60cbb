//! On what terms a policy's requests are made: how long each step may take, how often a model is asked again, and what keeps a conversation
//! with one. The CRD refuses what is out of bounds; where its rules are bypassed the defaults hold.

use std::time::Duration;

use http::HeaderName;

use sha2::{Digest, Sha256};

use crate::api::logging::ContentLogging;
use crate::api::routing_policy::{self, RoutingPolicySpec};
use crate::plan::names::Key;

/// Whether what is asked and answered is logged: never where identifiers are kept from others.
pub(super) fn logs_content(spec: &RoutingPolicySpec) -> bool {
    let redacts = spec.guardrails.as_ref().is_some_and(|guardrails| !guardrails.redact.is_empty());
    let wanted = spec.logging.as_ref().map(|logging| logging.content);
    wanted == Some(ContentLogging::Always) && !redacts
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
    pub(super) fn of(spec: &RoutingPolicySpec) -> Self {
        let default = Self::default();
        let Some(given) = &spec.timeouts else {
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
    pub(super) fn of(spec: &RoutingPolicySpec) -> Self {
        let default = Self::default();
        let Some(given) = &spec.retries else {
            return default;
        };
        Self {
            attempts: given.attempts.unwrap_or(default.attempts),
            budget_percent: given.budget_percent.unwrap_or(default.budget_percent),
        }
    }
}

/// Which answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// For how long.
    pub lasts: Duration,
    /// A digest of all that the policy says: what was kept under another word of it is not found any more.
    pub policy: [u8; 32],
}

impl Caching {
    /// The CRD refuses a time that is none; where its rules are bypassed nothing is kept.
    pub(super) fn of(key: &Key, spec: &RoutingPolicySpec) -> Option<Self> {
        let lasts = spec.cache.as_ref()?.lasts;
        let said = serde_json::to_vec(spec).ok()?;
        let digest = Sha256::new().chain_update(format!("{key} ")).chain_update(said);
        (!lasts.is_negative()).then(|| Self {
            lasts: lasts.into(),
            policy: digest.finalize().into(),
        })
    }
}

/// What keeps a conversation with one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// What is one conversation.
    pub by: StickyBy,
    /// How long it stays.
    pub lasts: Duration,
}

/// What is one conversation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StickyBy {
    /// Requests that begin alike.
    Conversation,
    /// Requests with the same value of this header.
    Header(HeaderName),
}

/// As long as providers keep what they have cached, and some.
const STAYS: Duration = Duration::from_secs(30 * 60);

impl Sticky {
    /// The CRD refuses a header that is none, or none where one is needed; where its rules are bypassed nothing is sticky.
    pub(super) fn of(given: &routing_policy::Sticky) -> Option<Self> {
        let by = match given.by {
            routing_policy::StickyBy::Conversation => StickyBy::Conversation,
            routing_policy::StickyBy::Header => StickyBy::Header(given.header.as_ref()?.parse().ok()?),
        };
        let lasts = given.lasts.filter(|lasts| !lasts.is_negative()).map_or(STAYS, Duration::from);
        Some(Self { by, lasts })
    }
}
