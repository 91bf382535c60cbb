//! What a policy's status says: derived from the very route that gateways use.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::InForce;
use super::data_class::{DataClassId, DataClasses};
use super::eligible::{Known, Reason};
use super::out::Out;
use super::shadow;
use super::table::{Backend, Candidate, Route, Rule, Target};
use super::traffic::{self, Used, Watched};
use super::warmup::Warmup;
use crate::api::RoutingPolicy;
use crate::api::condition::{self, Claim, Kind};
use crate::api::policy_status::{Accepted, RoutingPolicyStatus, RuleStatus, RuleTargetStatus, ShadowStatus, TargetStatus};
use crate::api::routing_policy::{RoutingPolicySpec, Strategy};
use crate::plan::Invalid;
use crate::plan::names::Key;
use crate::plan::traffic::Figures;

/// The longest summary; it is a column of a table.
const SUMMARY_LIMIT: usize = 120;

/// What a policy said when it last could be carried out, where it cannot now.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// Its generation.
    pub generation: i64,
    /// It.
    pub spec: RoutingPolicySpec,
}

/// A rule that no model can answer now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Its position.
    pub rule: usize,
    /// Whether models could answer, and none may see the data that it is for.
    pub is_unseen: bool,
    /// Which rule it is, and why each of its models is out.
    pub sentence: String,
}

/// What is decided about one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyVerdict {
    /// What is wrong with the specification itself.
    pub problems: Vec<Invalid>,
    /// What is in force instead, if there is something.
    pub earlier: Option<Earlier>,
    /// The policy that has the name, if it is another one.
    pub taken_by: Option<Key>,
    /// Whether every client it admits is one that the installer does not allow.
    pub admits_nobody: bool,
    /// Each model the policy names, whether it gets requests, and if not, why.
    pub targets: Vec<TargetStatus>,
    /// What the policy names and does not exist, as sentences.
    pub missing: Vec<String>,
    /// The models of other namespaces that it names and may not, with the grants that are missing, as sentences.
    pub unpermitted: Vec<String>,
    /// Why its guardrails cannot work, so that it answers nothing.
    pub unguarded: Option<String>,
    /// The rules that no model can answer now.
    pub unanswered: Vec<Unanswered>,
    /// Whether a rule is unanswered only because all its models are missing.
    pub all_missing: bool,
    /// The models that get requests now, such as `llama 80, gpt 20`.
    pub summary: String,
    /// Each rule, with what each of its models gets.
    pub rules: Vec<RuleStatus>,
    /// Each model that gets copies of requests, and whether it may.
    pub shadow: Vec<ShadowStatus>,
    /// The budgets in force, in their order.
    pub budgets: Vec<Watched>,
    /// The models that cost no dollars, as the policy calls them.
    pub free: BTreeSet<String>,
    /// When the next of the verdicts that models have passed becomes too old.
    pub next: Option<Timestamp>,
}

impl PolicyVerdict {
    /// The models that get no request though the policy names them, at the end of a sentence; empty where there are none.
    #[must_use]
    pub fn left_out(&self) -> String {
        let out: Vec<&str> = self.targets.iter().filter_map(|target| target.message.as_deref()).collect();
        let aside: Vec<&str> = self.shadow.iter().filter_map(|shadow| shadow.message.as_deref()).collect();
        let told = |what: &str, all: &[&str]| match all {
            [] => String::new(),
            all => format!("; {what}: {}", all.join("; ")),
        };
        told("left out", &out) + &told("not copied", &aside)
    }

    /// Whether the policy answers every request it matches.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.taken_by.is_none()
            && !self.admits_nobody
            && self.unguarded.is_none()
            && self.unanswered.is_empty()
            && (self.problems.is_empty() || self.earlier.is_some())
    }

    /// The policy with the specification that is in force.
    fn held<'a>(&self, policy: &'a RoutingPolicy) -> Cow<'a, RoutingPolicy> {
        match &self.earlier {
            None => Cow::Borrowed(policy),
            Some(earlier) => Cow::Owned(RoutingPolicy {
                metadata: policy.metadata.clone(),
                spec: earlier.spec.clone(),
                status: None,
            }),
        }
    }
}

pub(super) fn verdict(
    held: &InForce<'_>,
    route: &Route,
    known: &Known<'_>,
    classes: &DataClasses,
    taken_by: Option<&Key>,
    now: Timestamp,
) -> PolicyVerdict {
    let mut targets: Vec<TargetStatus> = Vec::new();
    let is_reckoned = route.rules.iter().all(|rule| rule.is_reckoned);
    for candidate in route.candidates() {
        if targets.iter().any(|known| known.model == candidate.called) {
            continue;
        }
        let out = Out::of(candidate, is_reckoned, now);
        let nature = candidate.backend.as_ref().ok().map(|backend| &backend.nature);
        targets.push(TargetStatus {
            model: candidate.called.clone(),
            eligible: out.is_none(),
            barred_from: nature
                .into_iter()
                .flat_map(|nature| classes.barred(nature))
                .map(str::to_owned)
                .collect(),
            message: out.map(|out| out.message),
        });
    }
    // A model may lack nothing under one rule, and an evaluation under another.
    let mut missing = Vec::new();
    for exclusion in route.candidates().chain(copied(route)).filter_map(|c| c.backend.as_ref().err()) {
        if exclusion.reason.is_missing() && !missing.contains(&exclusion.message) {
            missing.push(exclusion.message.clone());
        }
    }
    let unguarded = route.guard.problem().map(str::to_owned);
    missing.extend(unguarded.clone());
    let closed: Vec<Closed<'_>> = route
        .rules
        .iter()
        .enumerate()
        .filter_map(|(at, rule)| Closed::of(at, rule, route, classes, now))
        .collect();
    let spill = route.rules.iter().flat_map(|rule| &rule.spill);
    let instead = route.rules.iter().flat_map(|rule| rule.instead.iter().flatten());
    let all = route.candidates().chain(spill).chain(instead).chain(copied(route));
    let expiries = all.filter_map(|c| c.passed_until.as_ref());
    PolicyVerdict {
        problems: held.problems.clone(),
        earlier: held.earlier.map(|generation| Earlier {
            generation,
            spec: held.spec.clone().into_owned(),
        }),
        taken_by: taken_by.cloned(),
        admits_nobody: !held.spec.clients.is_empty() && route.clients.is_empty(),
        targets,
        missing,
        unpermitted: known.unpermitted(&held.key.namespace, &held.spec),
        unguarded,
        unanswered: closed.iter().map(|closed| closed.how.clone()).collect(),
        all_missing: closed.iter().any(|closed| {
            let is_missing = |reason| matches!(reason, Reason::TargetNotFound | Reason::AdapterNotFound);
            closed
                .rule
                .candidates()
                .all(|c| matches!(&c.backend, Err(e) if is_missing(e.reason)))
        }),
        rules: route.rules.iter().map(|rule| shares(rule, route, now)).collect(),
        shadow: shadow::statuses(route, classes, now),
        budgets: traffic::watched(route, now),
        free: traffic::free(route, now),
        summary: summary(route, now),
        next: expiries.map(|expiry| expiry.at).filter(|at| *at > now).min(),
    }
}

/// The models that get copies, as each rule has them.
fn copied(route: &Route) -> impl Iterator<Item = &Candidate> {
    route.rules.iter().flat_map(|rule| &rule.shadow)
}

/// A rule that no model can answer, at all or for a class of data that it is for.
struct Closed<'a> {
    rule: &'a Rule,
    how: Unanswered,
}

impl<'a> Closed<'a> {
    fn of(at: usize, rule: &'a Rule, route: &Route, classes: &DataClasses, now: Timestamp) -> Option<Self> {
        let name = &rule.name;
        let closed = |is_unseen, sentence| Self {
            rule,
            how: Unanswered {
                rule: at,
                is_unseen,
                sentence,
            },
        };
        let out = |candidate: &Candidate| rule.out(candidate, now);
        let open = || answering(rule, route, now).into_iter();
        if open().next().is_none() {
            let mut why = rule.exclusions();
            let others = rule.candidates().filter_map(out).map(|out| out.message);
            for other in others {
                if !why.contains(&other) {
                    why.push(other);
                }
            }
            let sentence = format!("rule {name} has no model that may answer: {}", why.join("; "));
            return Some(closed(false, sentence));
        }
        // The least that it gets, unless it says what it is for.
        let least = classes.of_request([], [route.class]).ok().flatten();
        let seen: Vec<DataClassId> = match rule.when.data_classes.as_slice() {
            [] => least.into_iter().collect(),
            named => named.to_vec(),
        };
        seen.into_iter().find_map(|class| {
            let barred: Vec<String> = open()
                .map(|(candidate, backend)| Some(format!("{} {}", candidate.called, classes.bars(class, &backend.nature)?.1)))
                .collect::<Option<_>>()?;
            let class = classes.name(class);
            let sentence = format!("rule {name} has no model that may see data of class {class}: {}", barred.join("; "));
            Some(closed(true, sentence))
        })
    }
}

/// The models that answer requests of the rule, of those that they may have: those that can, and while a target wakes, what the policy has for
/// that. A request that waits is answered too.
fn answering<'a>(rule: &'a Rule, route: &'a Route, now: Timestamp) -> Vec<(&'a Candidate, &'a Arc<Backend>)> {
    let is_asleep = rule.asleep(now).next().is_some();
    let meanwhile: Vec<(&Candidate, &Arc<Backend>)> = match &route.warmup {
        Some(Warmup::Hold(_)) => (rule.asleep(now))
            .filter_map(|candidate| Some((candidate, candidate.waking.as_ref()?)))
            .collect(),
        Some(Warmup::Spill(_)) if is_asleep => (rule.spill.iter())
            .filter(|candidate| rule.out(candidate, now).is_none())
            .filter_map(|candidate| Some((candidate, candidate.backend.as_ref().ok()?)))
            .collect(),
        // Nor do the fallbacks answer then.
        Some(Warmup::Refuse) if is_asleep => return Vec::new(),
        Some(Warmup::Spill(_) | Warmup::Refuse) | None => Vec::new(),
    };
    let usable = rule.usable().filter(|(candidate, _)| rule.out(candidate, now).is_none());
    usable.chain(meanwhile).collect()
}

/// Who answers now: with shares where they are drawn, else the first in order.
fn summary(route: &Route, now: Timestamp) -> String {
    let waits = |rule: &Rule| {
        let name = &rule.asleep(now).next()?.called;
        match &route.warmup {
            Some(Warmup::Hold(_)) => Some(format!("{name} (waited for)")),
            Some(Warmup::Spill(_)) => {
                let open = rule.spill.iter().find(|candidate| rule.out(candidate, now).is_none())?;
                Some(format!("{} (until {name} answers)", open.called))
            }
            Some(Warmup::Refuse) => Some("none".to_owned()),
            None => None,
        }
    };
    let line = |rule: &Rule| {
        if let Some(waits) = waits(rule) {
            return waits;
        }
        let open: Vec<_> = rule
            .open_targets()
            .filter(|target| rule.out(&target.candidate, now).is_none())
            .collect();
        match (rule.strategy, open.as_slice()) {
            (_, []) => match rule.fallback.iter().find(|candidate| rule.out(candidate, now).is_none()) {
                Some(fallback) => format!("{} (fallback)", fallback.called),
                None => "none".to_owned(),
            },
            (Strategy::Ordered, [first, ..]) | (_, [first]) => first.candidate.called.clone(),
            (Strategy::Weighted, several) => {
                let shares: Vec<String> = several.iter().map(|t| format!("{} {}", t.candidate.called, t.weight)).collect();
                shares.join(", ")
            }
            (strategy @ (Strategy::LeastCost | Strategy::LeastLatency | Strategy::LeastBusy), several) => {
                let names: Vec<&str> = several.iter().map(|t| t.candidate.called.as_str()).collect();
                format!("{strategy} of {}", names.join(", "))
            }
        }
    };
    let text = match route.rules.as_slice() {
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

/// What part of a rule's requests each of its models gets, by what is known of the models: its targets, then its fallbacks, then those that answer
/// only while others wake, or once a budget is used up.
fn shares(rule: &Rule, route: &Route, now: Timestamp) -> RuleStatus {
    let out = |candidate: &Candidate| rule.out(candidate, now);
    let is_open = |target: &&Target| target.weight > 0 && out(&target.candidate).is_none();
    let total: u64 = rule.targets.iter().filter(is_open).map(|target| u64::from(target.weight)).sum();
    let first = rule.targets.iter().position(|target| is_open(&target));
    let percent = |at: usize, target: &Target| match rule.strategy {
        _ if !is_open(&target) => Some(0),
        Strategy::Ordered => Some(if first == Some(at) { 100 } else { 0 }),
        Strategy::Weighted => u32::try_from((u64::from(target.weight) * 100 + total / 2) / total.max(1)).ok(),
        Strategy::LeastCost | Strategy::LeastLatency | Strategy::LeastBusy => None,
    };
    let row = |candidate: &Candidate, percent: Option<u32>, otherwise: &str| {
        let out = out(candidate);
        RuleTargetStatus {
            model: candidate.called.clone(),
            percent: if out.is_some() { Some(0) } else { percent },
            reason: out.as_ref().map_or_else(|| otherwise.to_owned(), |out| out.reason.clone()),
            message: out.map(|out| out.message),
        }
    };
    // The first of these that can answers what no target can.
    let all_of = |candidates: &[Candidate], is_asked: bool, reason: &str| -> Vec<RuleTargetStatus> {
        let first = candidates.iter().position(|candidate| out(candidate).is_none());
        let percent = |at| Some(if is_asked && first == Some(at) { 100 } else { 0 });
        let rows = candidates.iter().enumerate();
        rows.map(|(at, candidate)| row(candidate, percent(at), reason)).collect()
    };
    let targets = rule.targets.iter().enumerate().map(|(at, target)| {
        let otherwise = match rule.strategy {
            _ if target.weight == 0 => "Unused",
            Strategy::Ordered if first != Some(at) => "Standby",
            _ => "Eligible",
        };
        row(&target.candidate, percent(at, target), otherwise)
    });
    let wakes = rule.asleep(now).next().is_some();
    let spills = wakes && matches!(route.warmup, Some(Warmup::Spill(_))) && rule.spill.iter().any(|candidate| out(candidate).is_none());
    let waits = wakes && matches!(route.warmup, Some(Warmup::Hold(_) | Warmup::Refuse));
    let mut rows: Vec<RuleTargetStatus> = targets.collect();
    rows.extend(all_of(&rule.fallback, first.is_none() && !spills && !waits, "Fallback"));
    rows.extend(all_of(&rule.spill, spills, "Warmup"));
    let mut downgrades: Vec<&Candidate> = Vec::new();
    for candidate in rule.instead.iter().flatten() {
        if downgrades.iter().all(|known| known.called != candidate.called) {
            downgrades.push(candidate);
        }
    }
    rows.extend(downgrades.into_iter().map(|candidate| row(candidate, Some(0), traffic::DOWNGRADE)));
    RuleStatus {
        name: rule.name.clone(),
        targets: rows,
    }
}

/// The status of a policy. Depends on `now` only where a condition's status moves.
#[must_use]
pub fn status(policy: &RoutingPolicy, verdict: &PolicyVerdict, seen: Option<&Figures>, now: Timestamp) -> RoutingPolicyStatus {
    let held = verdict.held(policy);
    let budgets = seen.map(|seen| traffic::used(&verdict.budgets, seen)).unwrap_or_default();
    let claims = [accepted(&held, verdict), references(verdict)]
        .into_iter()
        .chain(ready(&held, verdict))
        .chain(traffic::within(&verdict.budgets, seen.map(|_| budgets.as_slice())));
    let previous = policy.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let generation = policy.metadata.generation;
    RoutingPolicyStatus {
        observed_generation: generation,
        accepted: in_force(policy, verdict),
        conditions: condition::merge(previous, &claims.collect::<Vec<_>>(), generation, now),
        summary: verdict.taken_by.is_none().then(|| verdict.summary.clone()),
        targets: verdict.targets.clone(),
        rules: match seen {
            Some(seen) => traffic::as_seen(verdict, seen, &budgets),
            None => verdict.rules.clone(),
        },
        last_hour: seen.filter(|seen| seen.requests > 0).map(traffic::last_hour),
        budgets: budgets.iter().map(Used::told).collect(),
        shadow: match seen {
            Some(seen) => shadow::seen(&verdict.shadow, &held, seen),
            None => verdict.shadow.clone(),
        },
    }
}

/// What to go back to when the specification is changed to one that cannot be carried out.
fn in_force(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Option<Accepted> {
    if !verdict.problems.is_empty() {
        return policy.status.as_ref().and_then(|status| status.accepted.clone());
    }
    let spec = serde_json::to_value(&policy.spec).ok()?;
    let generation = policy.metadata.generation?;
    Some(Accepted { generation, spec })
}

fn accepted(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Claim {
    match refusal(policy, verdict).or_else(|| invalid(verdict)) {
        Some((reason, message)) => Claim::new(Kind::Accepted, false, reason, message),
        None => Claim::new(Kind::Accepted, true, "Accepted", "the specification is valid and its name is free"),
    }
}

/// What is wrong with the specification, and what holds meanwhile.
fn invalid(verdict: &PolicyVerdict) -> Option<(&'static str, String)> {
    if verdict.problems.is_empty() {
        return None;
    }
    let problems: Vec<String> = verdict.problems.iter().map(ToString::to_string).collect();
    let meanwhile = match &verdict.earlier {
        Some(Earlier { generation, .. }) => format!("until then generation {generation} is in force"),
        None => "until then no request is answered".to_owned(),
    };
    Some(("Invalid", format!("{}; {meanwhile}", problems.join("; "))))
}

/// What only a person can put right, and keeps every request from being answered.
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
    if verdict.earlier.is_none()
        && let Some(invalid) = invalid(verdict)
    {
        return Some(invalid);
    }
    verdict.admits_nobody.then(|| {
        let message = "every entry of spec.clients is anonymous, which this installation does not allow: admit serviceAccounts or apiKeys, or \
                       have the installer set allowAnonymous";
        ("AnonymousNotAllowed", message.to_owned())
    })
}

fn references(verdict: &PolicyVerdict) -> Claim {
    let sentences: Vec<&str> = verdict.unpermitted.iter().chain(&verdict.missing).map(String::as_str).collect();
    let reason = match (verdict.unpermitted.is_empty(), verdict.missing.is_empty()) {
        (true, true) => return Claim::new(Kind::ResolvedRefs, true, "ResolvedRefs", "everything the policy names exists"),
        (true, false) => "NotFound",
        (false, _) => "RefNotPermitted",
    };
    Claim::new(Kind::ResolvedRefs, false, reason, sentences.join("; "))
}

/// `Ready`, and beside it either `Stalled` (a person must act), `Reconciling` (time may heal it) or neither.
fn ready(policy: &RoutingPolicy, verdict: &PolicyVerdict) -> Vec<Claim> {
    if let Some((reason, message)) = refusal(policy, verdict) {
        return vec![
            Claim::new(Kind::Ready, false, reason, &*message),
            Claim::new(Kind::Stalled, true, reason, message),
        ];
    }
    if let Some(problem) = &verdict.unguarded {
        let message = format!("no request is answered until the guardrails can work: {problem}");
        return vec![
            Claim::new(Kind::Ready, false, "GuardrailsNotReady", &*message),
            Claim::new(Kind::Reconciling, true, "GuardrailsNotReady", message),
        ];
    }
    if !verdict.unanswered.is_empty() {
        let reason = if verdict.all_missing {
            "TargetNotFound"
        } else {
            "NoEligibleTarget"
        };
        let sentences: Vec<&str> = verdict.unanswered.iter().map(|unanswered| unanswered.sentence.as_str()).collect();
        let message = sentences.join("; ");
        return vec![
            Claim::new(Kind::Ready, false, reason, &*message),
            Claim::new(Kind::Reconciling, true, reason, message),
        ];
    }
    let message = format!("{} answers{}", verdict.summary, verdict.left_out());
    vec![Claim::new(Kind::Ready, true, "Routing", message)]
}
