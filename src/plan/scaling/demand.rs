//! The demand for models, as gateways tell it: each says what it has now and has counted since its start, and whoever asks them all from time to time
//! knows what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::is_within;

/// What a gateway said longer ago is nothing that is known now.
pub const FRESH: Duration = Duration::from_secs(8);

/// What one gateway says of the demand for one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wanted {
    /// Requests that its pods answer now.
    pub in_flight: u64,
    /// Requests that wait for it now until it is awake.
    pub held: u64,
    /// Requests that wait for their turn at it now.
    pub queued: u64,
    /// Requests that other models got because it did not answer yet, from the gateway's start on.
    pub elsewhere: u64,
    /// Requests that were refused because it did not answer yet, from the gateway's start on.
    pub refused: u64,
}

/// What one gateway says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Another one at each start of a gateway.
    pub instance: u64,
    /// How many requests found their model asleep: another number, and somebody is to be woken.
    pub calls: u64,
    /// By ModelDeployment, as `namespace/name`. What is not among them has no request, and never had.
    pub models: BTreeMap<String, Wanted>,
    /// Requests that its pods answer now, by `address:port`. What is not among them answers none of this gateway's.
    pub pods: BTreeMap<String, u64>,
}

/// What all gateways say.
#[derive(Debug, Default)]
pub struct Demand(BTreeMap<String, Gateway>);

#[derive(Debug)]
struct Gateway {
    /// Since when it is known that it is there.
    since: Timestamp,
    /// What it said last, and when.
    told: Option<(Timestamp, Told)>,
    /// Models whose requests went elsewhere or were refused since this was asked for.
    missed: BTreeSet<String>,
}

/// The demand for all models at one moment.
#[derive(Debug, Default)]
pub struct Now {
    /// Requests in flight or waiting, by model; and whether any came, also such as went elsewhere or were refused.
    models: BTreeMap<String, (u64, bool)>,
    /// Requests that pods answer, by their addresses.
    pods: BTreeMap<String, u64>,
    gateways: usize,
    silent: usize,
    new: usize,
}

impl Demand {
    /// There are gateways at these URLs, and nowhere else.
    pub fn are_at(&mut self, urls: &BTreeSet<String>, now: Timestamp) {
        self.0.retain(|url, _| urls.contains(url));
        for url in urls {
            self.0.entry(url.clone()).or_insert_with(|| Gateway {
                since: now,
                told: None,
                missed: BTreeSet::new(),
            });
        }
    }

    /// The gateway at `url` has said this. Whether somebody is to be woken that was not before.
    pub fn note(&mut self, url: &str, told: Told, now: Timestamp) -> bool {
        let Some(gateway) = self.0.get_mut(url) else { return false };
        let before = gateway
            .told
            .as_ref()
            .map(|(_, told)| told)
            .filter(|before| before.instance == told.instance);
        // What it counted before it was first asked is of no known time.
        let is_first = gateway.told.is_none();
        let calls = before.map_or(0, |before| before.calls);
        let is_called = told.calls != calls && !(is_first && told.models.values().all(|wanted| wanted.held == 0));
        let missed = |(name, wanted): (&String, &Wanted)| {
            let before = before.and_then(|before| before.models.get(name)).copied().unwrap_or_default();
            let is_missed = wanted.elsewhere > before.elsewhere || wanted.refused > before.refused;
            (is_missed && !is_first).then(|| name.clone())
        };
        gateway.missed.extend(told.models.iter().filter_map(missed));
        gateway.told = Some((now, told));
        is_called
    }

    /// What is known now. A request that went elsewhere or was refused is told once.
    pub fn take(&mut self, now: Timestamp) -> Now {
        let mut all = Now {
            gateways: self.0.len(),
            ..Now::default()
        };
        for gateway in self.0.values_mut() {
            for name in std::mem::take(&mut gateway.missed) {
                all.models.entry(name).or_default().1 = true;
            }
            let fresh = gateway.told.as_ref().filter(|(at, _)| is_within(*at, now, FRESH));
            let Some((_, told)) = fresh else {
                // One that has just come has nothing to say yet, and will be heard in a moment.
                let is_new = gateway.told.is_none() && is_within(gateway.since, now, FRESH);
                all.new += usize::from(is_new);
                all.silent += usize::from(!is_new);
                continue;
            };
            for (name, wanted) in &told.models {
                let (load, is_wanted) = all.models.entry(name.clone()).or_default();
                let here = wanted.in_flight.saturating_add(wanted.held).saturating_add(wanted.queued);
                *load = load.saturating_add(here);
                *is_wanted |= here > 0;
            }
            for (pod, busy) in &told.pods {
                let all = all.pods.entry(pod.clone()).or_default();
                *all = all.saturating_add(*busy);
            }
        }
        all
    }
}

impl Now {
    /// Requests for a model that are in flight or wait; `None` where no gateway says anything.
    #[must_use]
    pub fn in_flight(&self, model: &str) -> Option<f64> {
        let known = self.models.get(model).map_or(0, |(load, _)| *load);
        self.is_known().then_some(known as f64)
    }

    /// Whether anybody wanted a model since the moment before; `None` where a gateway that says nothing may know.
    #[must_use]
    pub fn is_wanted(&self, model: &str) -> Option<bool> {
        match self.models.get(model) {
            Some((_, true)) => Some(true),
            _ => (self.is_known() && !self.is_partial()).then_some(false),
        }
    }

    /// Requests that the pod with this address answers, on whichever port, as far as gateways say.
    #[must_use]
    pub fn at_pod(&self, address: &str) -> u64 {
        let is_its = |pod: &str| {
            pod.rsplit_once(':')
                .is_some_and(|(host, _)| host.trim_matches(['[', ']']) == address)
        };
        // Those of one address are side by side, but an IPv6 one is in brackets.
        let its = self.pods.iter().filter(|(pod, _)| is_its(pod));
        its.map(|(_, busy)| *busy).fold(0, u64::saturating_add)
    }

    /// Whether a gateway says nothing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.silent > 0
    }

    /// Whether every gateway has said something, or has had the time to.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.new == 0
    }

    fn is_known(&self) -> bool {
        self.gateways > self.silent + self.new
    }

    /// How many gateways there are, and how many of them say nothing.
    #[must_use]
    pub fn gateways(&self) -> (usize, usize) {
        (self.gateways, self.silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn told(instance: u64, calls: u64, wanted: Wanted) -> Told {
        Told {
            instance,
            calls,
            models: [("claims/llama".to_owned(), wanted)].into(),
            pods: [("10.0.0.7:8000".to_owned(), wanted.in_flight), ("[fd00::7]:8000".to_owned(), 1)].into(),
        }
    }

    fn at_urls(urls: &[&str]) -> Demand {
        let mut demand = Demand::default();
        demand.are_at(&urls.iter().map(|url| (*url).to_owned()).collect(), at(-60));
        demand
    }

    const BUSY: Wanted = Wanted {
        in_flight: 2,
        held: 2,
        queued: 1,
        elsewhere: 7,
        refused: 1,
    };

    #[test]
    fn all_gateways_together_are_the_demand_and_a_silent_one_leaves_it_open_how_much_there_is() {
        let mut demand = at_urls(&["http://a", "http://b"]);
        let none = demand.take(at(0));
        assert_eq!(
            (none.in_flight("claims/llama"), none.is_wanted("claims/llama"), none.gateways()),
            (None, None, (2, 2))
        );
        demand.note("http://a", told(1, 0, BUSY), at(0));
        let partial = demand.take(at(1));
        assert_eq!((partial.in_flight("claims/llama"), partial.is_partial()), (Some(5.0), true));
        assert_eq!(
            (partial.is_wanted("claims/llama"), partial.is_wanted("claims/other")),
            (Some(true), None)
        );
        demand.note("http://b", told(2, 0, BUSY), at(2));
        let whole = demand.take(at(3));
        assert_eq!((whole.in_flight("claims/llama"), whole.is_partial()), (Some(10.0), false));
        assert_eq!(
            (whole.in_flight("claims/other"), whole.is_wanted("claims/other")),
            (Some(0.0), Some(false))
        );
        let pods = ["10.0.0.7", "fd00::7", "10.0.0.70"].map(|address| whole.at_pod(address));
        assert_eq!(pods, [4, 2, 0]);
        // One that said something long ago says nothing.
        assert_eq!(demand.take(at(10)).gateways(), (2, 1));
        // One that is gone is no gateway.
        demand.are_at(&["http://b".to_owned()].into(), at(10));
        assert_eq!(demand.take(at(10)).gateways(), (1, 0));
        assert!(!demand.note("http://a", told(1, 9, BUSY), at(10)));
        // Where there is none at all nothing is known either.
        assert_eq!(at_urls(&[]).take(at(0)).in_flight("claims/llama"), None);
    }

    #[test]
    fn a_gateway_that_has_just_come_is_waited_for_and_one_that_stays_silent_is_told() {
        let mut demand = at_urls(&["http://a"]);
        demand.note("http://a", told(1, 0, Wanted::default()), at(0));
        demand.are_at(&["http://a".to_owned(), "http://b".to_owned()].into(), at(2));
        let first = demand.take(at(2));
        assert_eq!(
            (first.is_partial(), first.is_wanted("claims/llama"), first.is_heard()),
            (false, Some(false), false)
        );
        demand.note("http://a", told(1, 0, Wanted::default()), at(11));
        let later = demand.take(at(11));
        assert_eq!(
            (later.is_partial(), later.is_wanted("claims/llama"), later.is_heard()),
            (true, None, true)
        );
        let mut nobody = Demand::default();
        nobody.are_at(&["http://a".to_owned()].into(), at(0));
        let nothing = nobody.take(at(1));
        assert_eq!((nothing.in_flight("claims/llama"), nothing.is_wanted("claims/llama")), (None, None));
    }

    #[test]
    fn what_went_elsewhere_or_was_refused_is_demand_once() {
        let quiet = Wanted {
            elsewhere: 7,
            refused: 1,
            ..Wanted::default()
        };
        let mut demand = at_urls(&["http://a"]);
        demand.note("http://a", told(1, 8, quiet), at(0));
        assert_eq!(
            demand.take(at(0)).is_wanted("claims/llama"),
            Some(false),
            "nobody knows when that was"
        );
        assert!(demand.note("http://a", told(1, 9, Wanted { elsewhere: 8, ..quiet }), at(2)));
        assert_eq!(demand.take(at(2)).is_wanted("claims/llama"), Some(true));
        assert_eq!(demand.take(at(4)).is_wanted("claims/llama"), Some(false));
        assert!(!demand.note("http://a", told(1, 9, Wanted { elsewhere: 8, ..quiet }), at(4)));
        assert_eq!(demand.take(at(4)).is_wanted("claims/llama"), Some(false));
        // Another gateway at the same address counts from nothing.
        assert!(demand.note(
            "http://a",
            told(
                2,
                1,
                Wanted {
                    refused: 1,
                    ..Wanted::default()
                }
            ),
            at(6)
        ));
        assert_eq!(demand.take(at(6)).is_wanted("claims/llama"), Some(true));
    }
}
