//! What was seen so far: from counts that each gateway keeps, to what happened in the latest hour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::figures::{BudgetFigures, Figures, ModelFigures, ShadowFigures};
use super::report::{Counts, OfBudget, Report};

/// What is counted together.
const SLOT: SignedDuration = SignedDuration::from_mins(5);
/// As many as make an hour.
const SLOTS: usize = 12;

/// What was seen of all gateways.
#[derive(Debug)]
pub struct Seen {
    began: Timestamp,
    /// The latest report of each gateway that answers, by its address.
    reports: BTreeMap<String, Report>,
    /// The oldest first.
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    began: Timestamp,
    policies: BTreeMap<String, Counts>,
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            began: now,
            reports: BTreeMap::new(),
            slots: VecDeque::new(),
        }
    }

    /// All gateways that answered now, by address. What those that did not answer had counted counts once they do.
    pub fn note(&mut self, reports: BTreeMap<String, Report>, known: &BTreeSet<String>, now: Timestamp) {
        if self.slots.back().is_none_or(|slot| slot.began + SLOT <= now) {
            self.slots.push_back(Slot {
                began: now,
                policies: BTreeMap::new(),
            });
        }
        while self.slots.front().is_some_and(|slot| slot.began + SLOT * (SLOTS as i32) <= now) {
            self.slots.pop_front();
        }
        let watched = now.duration_since(self.began).as_secs();
        let nothing = Counts::default();
        for (address, report) in reports {
            let earlier = self.reports.get(&address).filter(|earlier| earlier.instance == report.instance);
            // One that is older than our look at it has counted what is not of this hour.
            let is_new = i64::try_from(report.up_seconds).is_ok_and(|up| up <= watched);
            if let Some(slot) = self.slots.back_mut().filter(|_| earlier.is_some() || is_new) {
                for (policy, told) in &report.policies {
                    let before = earlier.and_then(|earlier| earlier.policies.get(policy));
                    let more = told.counts.since(before.map_or(&nothing, |before| &before.counts));
                    if more != nothing {
                        slot.policies.entry(policy.clone()).or_default().add(&more);
                    }
                }
            }
            self.reports.insert(address, report);
        }
        // Or the next at its address would be taken for it.
        self.reports.retain(|address, _| known.contains(address));
    }

    /// The versions that providers answer with, by the model as `namespace/name`: each gateway knows one.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (model, version) in self.reports.values().flat_map(|report| &report.versions) {
            versions.entry(model.clone()).or_default().insert(version.clone());
        }
        versions
    }

    /// What is known of each policy now.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> BTreeMap<String, Figures> {
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        for (policy, more) in self.slots.iter().flat_map(|slot| &slot.policies) {
            counts.entry(policy).or_default().add(more);
        }
        for policy in self.reports.values().flat_map(|report| report.policies.keys()) {
            counts.entry(policy).or_default();
        }
        counts
            .into_iter()
            .map(|(policy, counts)| (policy.to_owned(), self.of(policy, counts, now)))
            .collect()
    }

    /// What is known of a policy that no gateway has seen.
    #[must_use]
    pub fn idle(&self, now: Timestamp) -> Figures {
        self.of("", Counts::default(), now)
    }

    fn of(&self, policy: &str, counts: Counts, now: Timestamp) -> Figures {
        let mut models: BTreeMap<String, ModelFigures> = (counts.models.into_iter())
            .map(|(name, of)| {
                let figures = ModelFigures {
                    requests: of.requests,
                    cost: of.cost,
                    saved: of.saved,
                    unpriced: of.unpriced,
                    resting: 0,
                };
                (name, figures)
            })
            .collect();
        let told = || self.reports.values().filter_map(|report| report.policies.get(policy));
        for name in told().flat_map(|told| &told.resting) {
            models.entry(name.clone()).or_default().resting += 1;
        }
        let mut budgets: BTreeMap<&str, Vec<OfBudget>> = BTreeMap::new();
        for (name, budget) in told().flat_map(|told| &told.budgets).filter(|(_, budget)| now < budget.until) {
            budgets.entry(name).or_default().push(*budget);
        }
        let shadows = counts.shadows.into_iter().map(|(name, of)| (name, ShadowFigures::from(of)));
        Figures {
            shadows: shadows.collect(),
            since: (now < self.began + SLOT * (SLOTS as i32)).then_some(self.began),
            requests: counts.requests,
            errors: counts.errors,
            p50: counts.durations.percentile(50),
            p95: counts.durations.percentile(95),
            models,
            gateways: self.reports.len(),
            budgets: budgets
                .into_iter()
                .filter_map(|(name, known)| Some((name.to_owned(), together(&known)?)))
                .collect(),
        }
    }
}

/// What several gateways know of one budget. What one has taken and not spent counts as taken for all others.
fn together(known: &[OfBudget]) -> Option<BudgetFigures> {
    let until = known.iter().map(|budget| budget.until).max()?;
    let present = || known.iter().filter(|budget| budget.until == until);
    let accounts = present().map(|budget| budget.accounts).max()?;
    let most = present().map(|budget| budget.taken).max()?;
    let unspent = match accounts {
        // One account of all.
        1 => present().map(|budget| budget.unspent).fold(0, u64::saturating_add),
        _ => present().find(|budget| budget.taken == most)?.unspent,
    };
    Some(BudgetFigures {
        until,
        spent: most.saturating_sub(unspent),
        accounts,
        exhausted: present().map(|budget| budget.exhausted).max()?,
    })
}
