//! What a policy's status says: derived from the very route that gateways use.

use k8s_openapi::jiff::Timestamp;

use super::eligible::Reason;
use super::table::{Route, Rule};
use crate::api::RoutingPolicy;
use crate::api::condition::{self, Claim, Kind};
use crate::api::routing_policy::{RoutingPolicyStatus, Strategy, TargetStatus};
use crate::plan::Invalid;
use crate::plan::names::Key;

/// The longest summary; it is a column of a table.
const SUMMARY_LIMIT: usize = 120;

/// What is decided about one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyVerdict {
    /// The policy that has the name, if it is another one.
    pub taken_by: Option<Key>,
    /// Whether every client it admits is one that the installer does not allow.
    pub admits_nobody: bool,
    /// What cannot be understood of its budgets.
    pub invalid: Option<Invalid>,
    /// Each model the policy names, whether it gets requests, and if not, why.
    pub targets: Vec<TargetStatus>,
    /// What the policy names and does not exist, as sentences.
    pub missing: Vec<String>,
    /// The rules that no model can answer now, as sentences.
    pub unanswered: Vec<String>,
    /// Whether a rule is unanswered only because all its models are missing.
    pub all_missing: bool,
    /// The models that get requests now, such as `llama 80, gpt 20`.
    pub summary: String,
}

impl PolicyVerdict {
    /// Whether the policy answers every request it matches.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.taken_by.is_none() && !self.admits_nobody && self.invalid.is_none() && self.unanswered.is_empty()
    }
}

pub(super) fn verdict(policy: &RoutingPolicy, route: &Route, taken_by: Option<&Key>) -> PolicyVerdict {
    let mut targets: Vec<TargetStatus> = Vec::new();
    let mut missing = Vec::new();
    for candidate in route.candidates() {
        if targets.iter().any(|known| known.model == candidate.model.name) {
            continue;
        }
        let exclusion = candidate.backend.as_ref().err();
        if let Some(exclusion) = exclusion.filter(|e| e.reason.is_missing()) {
            missing.push(exclusion.message.clone());
        }
        targets.push(TargetStatus {
            model: candidate.model.name.clone(),
            eligible: exclusion.is_none(),
            message: exclusion.map(|e| e.message.clone()),
        });
    }
    let closed: Vec<&Rule> = route.rules.iter().filter(|rule| !rule.can_answer()).collect();
    PolicyVerdict {
        taken_by: taken_by.cloned(),
        admits_nobody: !policy.spec.clients.is_empty() && route.clients.is_empty(),
        invalid: route.allowances.as_ref().err().cloned(),
        targets,
        missing,
        unanswered: closed.iter().map(|rule| unanswered(rule)).collect(),
        all_missing: closed.iter().any(|rule| {
            rule.candidates()
                .all(|c| matches!(&c.backend, Err(e) if matches!(e.reason, Reason::TargetNotFound | Reason::AdapterNotFound)))
        }),
        summary: summary(&route.rules),
    }
}

/// Which rule has no model to answer, and why each of its models is out.
fn unanswered(rule: &Rule) -> String {
    format!("rule {} has no model that may answer: {}", rule.name, rule.exclusions().join("; "))
}

/// Who answers now: with shares where they are drawn, else the first in order.
fn summary(rules: &[Rule]) -> String {
    let line = |rule: &Rule| {
        let open: Vec<_> = rule.open_targets().collect();
        match (rule.strategy, open.as_slice()) {
            (_, []) => match rule.fallback.iter().find(|c| c.backend.is_ok()) {
                Some(fallback) => format!("{} (fallback)", fallback.model.name),
                None => "none".to_owned(),
            },
            (Strategy::Ordered, [first, ..]) | (Strategy::Weighted, [first]) => first.candidate.model.name.clone(),
            (Strategy::Weighted, several) => {
                let shares: Vec<String> = several.iter().map(|t| format!("{} {}", t.candidate.model.name, t.weight)).collect();
                shares.join(", ")
            }
        }
    };
    let text = match rules {
        [only] => line(only),
        several => several
            .iter()
            .map(|rule| format!("{}: {}", rule.name, line(rule)))
            .collect::<Vec<_>>()
            .join("; "),
    };
    match text.char_indices().nth(SUMMARY_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The status of a policy. Depends on `now` only where a condition's status moves.
#[must_use]
pub fn status(policy: &RoutingPolicy, verdict: &PolicyVerdict, now: Timestamp) -> RoutingPolicyStatus {
    let claims = [accepted(policy, verdict), references(verdict)]
        .into_iter()
        .chain(ready(policy, verdict));
    let previous = policy.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let generation = policy.metadata.generation;
    RoutingPolicyStatus {
        observed_generation: generation,
        conditions: condition::merge(previous, &claims.collect::<Vec<_>>(), generation, now),
        summary: verdict.taken_by.is_none().then(|| verdict.summary.clone()),
        targets: verdict.targets.clone(),
    }
}

fn accepted(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Claim {
    match refusal(policy, verdict) {
        Some((reason, message)) => Claim::new(Kind::Accepted, false, reason, message),
        None => Claim::new(Kind::Accepted, true, "Accepted", "the specification is valid and its name is free"),
    }
}

/// What only a person can put right.
fn refusal(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Option<(&'static str, String)> {
    if let Some(winner) = &verdict.taken_by {
        let name = &policy.spec.model;
        return Some((
            "NameConflict",
            format!(
                "the model name {name:?} belongs to the older RoutingPolicy {winner}: choose another spec.model, or delete one of the two"
            ),
        ));
    }
    if let Some(invalid) = &verdict.invalid {
        return Some(("InvalidBudget", invalid.to_string()));
    }
    verdict.admits_nobody.then(|| {
        let message = "every entry of spec.clients is anonymous, which this installation does not allow: admit serviceAccounts or apiKeys, or \
                       have the installer set allowAnonymous";
        ("AnonymousNotAllowed", message.to_owned())
    })
}

fn references(verdict: &PolicyVerdict) -> Claim {
    if verdict.missing.is_empty() {
        Claim::new(Kind::ResolvedRefs, true, "ResolvedRefs", "everything the policy names exists")
    } else {
        Claim::new(Kind::ResolvedRefs, false, "NotFound", verdict.missing.join("; "))
    }
}

/// `Ready`, and beside it either `Stalled` (a person must act), `Reconciling` (time may heal it) or neither.
fn ready(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Vec<Claim> {
    if let Some((reason, message)) = refusal(policy, verdict) {
        return vec![
            Claim::new(Kind::Ready, false, reason, &*message),
            Claim::new(Kind::Stalled, true, reason, message),
        ];
    }
    if !verdict.unanswered.is_empty() {
        let reason = if verdict.all_missing {
            "TargetNotFound"
        } else {
            "NoEligibleTarget"
        };
        let message = verdict.unanswered.join("; ");
        return vec![
            Claim::new(Kind::Ready, false, reason, &*message),
            Claim::new(Kind::Reconciling, true, reason, message),
        ];
    }
    let out: Vec<&str> = verdict.targets.iter().filter_map(|t| t.message.as_deref()).collect();
    let message = match out.as_slice() {
        [] => format!("{} answers", verdict.summary),
        out => format!("{} answers; left out: {}", verdict.summary, out.join("; ")),
    };
    vec![Claim::new(Kind::Ready, true, "Routing", message)]
}
