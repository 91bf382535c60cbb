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
use crate::api::model_deployment::{SelfHosted, Usage};
use crate::api::money::{nanos, written};

/// How long a number of pods may stay uncounted.
const EVERY: Duration = Duration::from_secs(3600);
const HOUR: u128 = 3600;
/// Amounts are kept in billionths.
const NANO: u128 = 1_000_000_000;

/// What pods hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pods: i32,
    accelerators: Option<i32>,
    /// By the hour, in nano-dollars.
    price: Option<u128>,
}

impl Held {
    /// By the pods of a model. Without `own` they are those that a provider has taken the place of: they go, and nobody knows what they cost.
    #[must_use]
    pub fn of(own: Option<&SelfHosted>, pods: &[Arc<Pod>], settings: &Settings) -> Self {
        let count = pods.iter().filter(|pod| is_held(pod)).count();
        let (pods, many) = (i32::try_from(count).unwrap_or(i32::MAX), count as u128);
        let Some(own) = own else {
            return Self { pods, ..Self::default() };
        };
        let nodes = u128::try_from(split::nodes(own)).unwrap_or(1).max(1);
        Self {
            pods,
            accelerators: accelerators(own, settings).map(|each| each.saturating_mul(pods)),
            price: cost::price_of_replica(own, settings).map(|price| price * many / nodes),
        }
    }

    fn before(usage: &Usage) -> Self {
        Self {
            pods: usage.pods,
            accelerators: usage.accelerators,
            price: usage.per_hour_usd.as_deref().and_then(nanos),
        }
    }
}

/// Of each pod; `None` where it asks for no device.
fn accelerators(own: &SelfHosted, settings: &Settings) -> Option<i32> {
    let accelerator = own.accelerator.as_ref()?;
    let is_device = accelerator.claim.is_some() || pod::profile(own, settings).is_ok_and(|profile| profile.resource.is_some());
    is_device.then_some(accelerator.count)
}

/// What was taken until `now`, from when on pods hold this. The same as before while that says all; `None` where nothing was ever taken.
#[must_use]
pub fn counted(before: Option<&Usage>, held: Held, now: Timestamp) -> Option<Usage> {
    let now = condition::seconds(now);
    if before.is_none() && held.pods == 0 {
        return None;
    }
    let is_due = |before: &Usage| before.pods > 0 && now.duration_since(before.since.0).unsigned_abs() >= EVERY;
    if let Some(before) = before.filter(|before| Held::before(before) == held && !is_due(before)) {
        return Some(before.clone());
    }
    let (hours, cost) = before.map_or((None, None), |before| until(before, now));
    Some(Usage {
        since: Time(now),
        pods: held.pods,
        accelerators: held.accelerators,
        per_hour_usd: held.price.map(written),
        accelerator_hours: hours.or(held.accelerators.map(|_| 0)).map(written),
        cost_usd: cost.or(held.price.map(|_| 0)).map(written),
    })
}

/// The hours of accelerators until `now`, and what they cost, in billionths of hours and of dollars. A clock that was put back takes nothing away.
#[must_use]
pub fn until(usage: &Usage, now: Timestamp) -> (Option<u128>, Option<u128>) {
    let seconds = u128::try_from(now.as_second() - usage.since.0.as_second()).unwrap_or(0);
    let Held { accelerators, price, .. } = Held::before(usage);
    let with = |known: &Option<String>, rate: Option<u128>| match (known.as_deref().and_then(nanos), rate) {
        (None, None) => None,
        (before, rate) => Some(before.unwrap_or(0) + rate.unwrap_or(0) * seconds / HOUR),
    };
    let held = accelerators.map(|count| u128::try_from(count).unwrap_or(0) * NANO);
    (with(&usage.accelerator_hours, held), with(&usage.cost_usd, price))
}

/// Whether a pod takes anything: it is on a node, until its containers have ended.
#[must_use]
pub fn is_held(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    is_placed && !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of pods with two accelerators each, which cost 0.80 an hour.
    fn held(pods: i32) -> Held {
        Held {
            pods,
            accelerators: Some(2 * pods),
            price: Some(1_600_000_000 * u128::try_from(pods).unwrap()),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(usage: &Usage) -> (i32, i64, Option<&str>, Option<&str>) {
        let (hours, cost) = (usage.accelerator_hours.as_deref(), usage.cost_usd.as_deref());
        (usage.pods, usage.since.0.as_second(), hours, cost)
    }

    #[test]
    fn hours_are_those_of_the_pods_that_there_were() {
        assert_eq!(
            counted(None, held(0), at(0)),
            None,
            "where nothing was ever taken there is nothing to say"
        );
        let after = |before: Option<&Usage>, pods, second| counted(before, held(pods), at(second)).unwrap();
        let first = after(None, 1, 0);
        assert_eq!(said(&first), (1, 0, Some("0"), Some("0")));
        // Nothing is written while nothing changes.
        assert_eq!(after(Some(&first), 1, 3599), first);
        let three = after(Some(&first), 3, 1800);
        assert_eq!(said(&three), (3, 1800, Some("1"), Some("0.8")));
        let none = after(Some(&three), 0, 3600);
        assert_eq!(said(&none), (0, 3600, Some("4"), Some("3.2")));
        assert_eq!(
            after(Some(&none), 0, 900_000),
            none,
            "what sleeps takes nothing, and is not looked at"
        );
        // An hour later at the latest.
        let again = after(Some(&none), 1, 7200);
        let due = after(Some(&again), 1, 10_800);
        assert_eq!(said(&due), (1, 10_800, Some("6"), Some("4.8")));
        assert_eq!(until(&due, at(14_400)), (Some(8_000_000_000), Some(6_400_000_000)));
        // A clock that was put back.
        assert_eq!(said(&after(Some(&due), 2, 0)), (2, 0, Some("6"), Some("4.8")));
    }

    #[test]
    fn what_pods_held_counts_as_it_was_then_whatever_is_written_now() {
        let two = counted(None, held(1), at(0)).unwrap();
        // The specification has eight of them now, at another price.
        let eight = Held {
            pods: 1,
            accelerators: Some(8),
            price: None,
        };
        let eight = counted(Some(&two), eight, at(1800)).unwrap();
        assert_eq!(said(&eight), (1, 1800, Some("1"), Some("0.8")));
        // A provider answers for a week, and nothing is held.
        let api = counted(Some(&eight), Held::of(None, &[], &Settings::default()), at(3600)).unwrap();
        assert_eq!(said(&api), (0, 3600, Some("5"), Some("0.8")));
        assert_eq!(
            said(&counted(Some(&api), held(1), at(608_400)).unwrap()),
            (1, 608_400, Some("5"), Some("0.8"))
        );
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
        let pod: Pod = serde_saphyr::from_str("{spec: {containers: [], nodeName: a}}").unwrap();
        let pods = [Arc::new(pod.clone()), Arc::new(pod)];
        let held = |own: &str| {
            Held::of(
                Some(&serde_saphyr::from_str(&format!("{{engine: {{kind: VLLM}}, {own}}}")).unwrap()),
                &pods,
                &settings,
            )
        };
        let of = |accelerators, price| Held {
            pods: 2,
            accelerators,
            price,
        };
        assert_eq!(
            held("accelerator: {profile: l4, count: 2}, parallelism: {nodes: 2}"),
            of(Some(4), Some(3_200_000_000))
        );
        assert_eq!(held("accelerator: {profile: cpu}"), of(None, Some(200_000_000)));
        assert_eq!(held("replicas: 1"), of(None, None));
    }
}
