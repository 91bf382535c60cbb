//! What the pods of a model took of the cluster: accelerators by the hour, and what they cost. Counted when the number of pods changes, and once an hour
//! between, from what the status said before: so it is right whoever counts, and a model that stays as it is writes nothing in between.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::cost;
use super::{pod, split};
use crate::api::Settings;
use crate::api::condition;
use crate::api::model_deployment::{ModelDeploymentStatus, SelfHosted, Usage};
use crate::api::money::{nanos, written};

/// How long a number of pods may stay uncounted.
const EVERY: Duration = Duration::from_secs(3600);
const HOUR: u128 = 3600;
/// Amounts are kept in billionths.
const NANO: u128 = 1_000_000_000;

/// What a pod takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Accelerators.
    pub accelerators: u128,
    /// What it costs by the hour, in nano-dollars, where settings say so.
    pub price: Option<u128>,
}

impl Rates {
    /// Of each pod of a model.
    #[must_use]
    pub fn of(own: &SelfHosted, settings: &Settings) -> Self {
        let nodes = u128::try_from(split::nodes(own)).unwrap_or(1).max(1);
        Self {
            accelerators: accelerators(own, settings),
            price: cost::price_of_replica(own, settings).map(|price| price / nodes),
        }
    }
}

fn accelerators(own: &SelfHosted, settings: &Settings) -> u128 {
    let Some(accelerator) = &own.accelerator else { return 0 };
    let is_device = accelerator.claim.is_some() || pod::profile(own, settings).is_ok_and(|profile| profile.resource.is_some());
    if is_device {
        u128::try_from(accelerator.count).unwrap_or(0)
    } else {
        0
    }
}

/// `status` with what was taken until `now`.
#[must_use]
pub fn with_usage(
    status: ModelDeploymentStatus,
    before: Option<&Usage>,
    own: &SelfHosted,
    pods: &[Arc<Pod>],
    settings: &Settings,
    now: Timestamp,
) -> ModelDeploymentStatus {
    let held = i32::try_from(pods.iter().filter(|pod| is_held(pod)).count()).unwrap_or(i32::MAX);
    let usage = counted(before, held, Rates::of(own, settings), now);
    ModelDeploymentStatus {
        // Where nothing was ever taken there is nothing to say.
        usage: Some(usage).filter(|usage| before.is_some() || usage.pods > 0),
        ..status
    }
}

/// What was taken, where there are `held` pods now. The same as before while that says all.
fn counted(before: Option<&Usage>, held: i32, rates: Rates, now: Timestamp) -> Usage {
    let now = condition::seconds(now);
    let Some(before) = before else {
        return Usage {
            pods: held,
            since: Time(now),
            accelerator_hours: (rates.accelerators > 0).then(|| "0".to_owned()),
            cost_usd: rates.price.map(|_| "0".to_owned()),
        };
    };
    let is_due = before.pods > 0 && now.duration_since(before.since.0).unsigned_abs() >= EVERY;
    if before.pods == held && !is_due {
        return before.clone();
    }
    let (hours, cost) = until(before, rates, now);
    Usage {
        pods: held,
        since: Time(now),
        accelerator_hours: hours.map(written),
        cost_usd: cost.map(written),
    }
}

/// The hours of accelerators until `now`, and what they cost, in billionths of hours and of dollars. A clock that was put back takes nothing away.
#[must_use]
pub fn until(usage: &Usage, rates: Rates, now: Timestamp) -> (Option<u128>, Option<u128>) {
    let seconds = u128::try_from(now.as_second() - usage.since.0.as_second()).unwrap_or(0);
    let held = u128::try_from(usage.pods).unwrap_or(0) * seconds;
    let known = |amount: &Option<String>| amount.as_deref().and_then(nanos);
    let hours = match (known(&usage.accelerator_hours), rates.accelerators) {
        (None, 0) => None,
        (before, count) => Some(before.unwrap_or(0) + held * count * NANO / HOUR),
    };
    let cost = match (known(&usage.cost_usd), rates.price) {
        (None, None) => None,
        (before, price) => Some(before.unwrap_or(0) + held * price.unwrap_or(0) / HOUR),
    };
    (hours, cost)
}

/// Whether a pod takes anything: it is on a node, until its containers have ended.
fn is_held(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    is_placed && !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const L4: Rates = Rates {
        accelerators: 2,
        price: Some(1_600_000_000),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(usage: &Usage) -> (i32, i64, Option<&str>, Option<&str>) {
        (
            usage.pods,
            usage.since.0.as_second(),
            usage.accelerator_hours.as_deref(),
            usage.cost_usd.as_deref(),
        )
    }

    #[test]
    fn hours_are_those_of_the_pods_that_there_were() {
        let first = counted(None, 1, L4, at(0));
        assert_eq!(said(&first), (1, 0, Some("0"), Some("0")));
        // Nothing is written while nothing changes.
        assert_eq!(counted(Some(&first), 1, L4, at(3599)), first);
        let three = counted(Some(&first), 3, L4, at(1800));
        assert_eq!(said(&three), (3, 1800, Some("1"), Some("0.8")));
        let none = counted(Some(&three), 0, L4, at(3600));
        assert_eq!(said(&none), (0, 3600, Some("4"), Some("3.2")));
        assert_eq!(
            counted(Some(&none), 0, L4, at(900_000)),
            none,
            "what sleeps takes nothing, and is not looked at"
        );
        // An hour later at the latest.
        let again = counted(Some(&none), 1, L4, at(7200));
        let due = counted(Some(&again), 1, L4, at(10_800));
        assert_eq!(said(&due), (1, 10_800, Some("6"), Some("4.8")));
        assert_eq!(until(&due, L4, at(14_400)), (Some(8_000_000_000), Some(6_400_000_000)));
        // A clock that was put back.
        assert_eq!(said(&counted(Some(&due), 2, L4, at(0))), (2, 0, Some("6"), Some("4.8")));
    }

    #[test]
    fn what_has_no_accelerator_or_price_says_none_and_what_was_counted_stays() {
        let bare = counted(None, 1, Rates::default(), at(0));
        assert_eq!(said(&counted(Some(&bare), 2, Rates::default(), at(3600))), (2, 3600, None, None));
        let priced = counted(Some(&counted(None, 1, L4, at(0))), 1, Rates::default(), at(3600));
        assert_eq!(said(&priced), (1, 3600, Some("0"), Some("0")));
    }

    #[test]
    fn a_pod_takes_something_while_it_is_on_a_node() {
        let pod = |yaml: &str| is_held(&serde_saphyr::from_str(yaml).unwrap());
        assert!(pod("{spec: {containers: [], nodeName: a}, status: {phase: Pending}}"));
        assert!(pod(
            "{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {containers: [], nodeName: a}, status: {phase: Running}}"
        ));
        assert!(!pod("{spec: {containers: []}, status: {phase: Pending}}"));
        assert!(!pod("{spec: {containers: [], nodeName: a}, status: {phase: Failed}}"));
    }

    #[test]
    fn each_pod_of_a_group_has_its_share() {
        let settings = "acceleratorProfiles: {l4: {resource: nvidia.com/gpu, pricePerHourUSD: '0.80'}, cpu: {pricePerHourUSD: '0.10'}}";
        let settings: Settings = serde_saphyr::from_str(settings).unwrap();
        let rates = |own: &str| {
            Rates::of(
                &serde_saphyr::from_str(&format!("{{engine: {{kind: VLLM}}, {own}}}")).unwrap(),
                &settings,
            )
        };
        let of = |accelerators, price| Rates { accelerators, price };
        assert_eq!(
            rates("accelerator: {profile: l4, count: 2}, parallelism: {nodes: 2}"),
            of(2, Some(1_600_000_000))
        );
        assert_eq!(rates("accelerator: {profile: cpu}"), of(0, Some(100_000_000)));
        assert_eq!(rates("replicas: 1"), of(0, None));
    }
}
