//! What a policy does while the model that should answer a request wakes: whether that may come about at all, and what holds meanwhile.

use std::time::Duration;

use super::table::Candidate;
use super::terms::Timeouts;
use crate::api::ModelDeployment;
use crate::api::condition::{self, Kind, Status};
use crate::api::routing_policy::{Fallback, RoutingPolicySpec};
use crate::api::warmup::WarmupMode;
use crate::plan::scaling::NO_SHARE;
use crate::plan::serving::ASLEEP;

/// As many as wait where nothing is said.
const MAX: usize = 100;
/// As long as each of them waits where nothing is said.
const LASTS: Duration = Duration::from_secs(120);

/// What happens to a request while none of its rule's targets answers yet, and one may.
#[derive(Clone, Debug)]
pub enum Warmup {
    /// It waits.
    Hold(Hold),
    /// These models answer, under what the policy requires of all; each rule has them under its own requirements too, as
    /// [`Rule::spill`](super::Rule::spill).
    Spill(Vec<Candidate>),
    /// It is refused.
    Refuse,
}

/// How requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// So many at one gateway.
    pub max: usize,
    /// Each so long.
    pub lasts: Duration,
}

impl Warmup {
    /// The CRD refuses what is out of bounds; where its rules are bypassed the defaults hold.
    pub(super) fn of(spec: &RoutingPolicySpec, candidate: impl Fn(&Fallback) -> Candidate) -> Option<Self> {
        let given = spec.warmup.as_ref()?;
        Some(match given.mode {
            WarmupMode::Hold => {
                let lasts = given.lasts.filter(|lasts| !lasts.is_negative()).map(Duration::from);
                let total = Timeouts::of(spec).total;
                Self::Hold(Hold {
                    max: given.max.map_or(MAX, |max| max as usize),
                    lasts: lasts.unwrap_or(LASTS.min(total / 2)).min(total),
                })
            }
            WarmupMode::Spill => Self::Spill(given.targets.iter().map(candidate).collect()),
            WarmupMode::Refuse => Self::Refuse,
        })
    }
}

/// Whether a model in our own pods, of which none answers, may answer without a person doing anything about it: it is asleep, or it starts. Where
/// the operator sees trouble with the present specification, nobody is to wait for it.
#[must_use]
pub fn may_wake(md: &ModelDeployment) -> bool {
    if md.spec.self_hosted.is_none() || md.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let conditions = md.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let present = |kind| condition::find(conditions, kind).filter(|known| known.observed_generation == md.metadata.generation);
    let is_stalled = present(Kind::Stalled).is_some_and(|stalled| stalled.status == Status::True.to_string());
    let has_trouble = present(Kind::Ready).is_some_and(|ready| ready.status == Status::False.to_string() && ready.reason != ASLEEP);
    let has_no_share = present(Kind::ScalingActive).is_some_and(|active| active.reason == NO_SHARE);
    !is_stalled && !has_trouble && !has_no_share
}
