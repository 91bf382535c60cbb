//! One model: what was seen of it, what is decided from that, and what of it is to be done.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::jiff::Timestamp;

use super::Round;
use super::carry::{How, Step};
use super::engines::Heard;
use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind};
use crate::cluster::Stores;
use crate::controller::model_deployment::child;
use crate::plan::names::Key;
use crate::plan::routing;
use crate::plan::scaling::demand::{FRESH, Now};
use crate::plan::scaling::driver::{self, Driver};
use crate::plan::scaling::others::{self, Other};
use crate::plan::scaling::schedule;
use crate::plan::scaling::share::{Cap, OBEYS};
use crate::plan::scaling::{Bounds, Bulletin, Decision, Engines, History, Sample, Why, desired, is_within};
use crate::plan::serving::{self, Workload};

/// How long a number that the server refused is not written again.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How long KEDA may take to bring the first replica, to whoever waits for it, before we do.
const WAKES_WITHIN: Duration = Duration::from_secs(5);
/// How long KEDA may take to bring the number to what it is told: it asks every 10 seconds, and its HorizontalPodAutoscaler every 15.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);
/// So long after it was told, and KEDA has not done it, a difference is one that its HorizontalPodAutoscaler takes for none: a tenth and less.
const OVERLOOKED_AFTER: Duration = Duration::from_secs(40);
const OVERLOOKED: u32 = 10;

/// The reason of `ScalingActive` where the API server does not take a number.
const SCALE_REFUSED: &str = "ScaleRefused";

/// What is known of one model.
#[derive(Default)]
pub(super) struct Model {
    pub(super) history: History,
    pub(super) bulletin: Bulletin,
    pub(super) heard: Option<Heard>,
    /// The number that the server refused last, when, and why.
    pub(super) refused: Option<(u32, Timestamp, String)>,
    /// Whether whoever wanted it, and was told of once, is still to be brought a replica.
    is_called: bool,
    /// Since when it is to have its first replica, until that answers.
    starting: Option<Timestamp>,
    /// How often the number was changed since the process began.
    pub(super) changes: u64,
    /// The number that KEDA is told.
    pub(super) told: Option<Told>,
    /// What its schedule has come to.
    pub(super) schedule: schedule::Kept,
}

/// A number that KEDA is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) replicas: u32,
    /// Since when there are as many of another number.
    pub(super) lags_since: Option<Timestamp>,
}

/// What was seen of a model, and decided from that.
pub(super) struct Looked {
    pub(super) md: Arc<ModelDeployment>,
    pub(super) decision: Decision,
    pub(super) bounds: Bounds,
    /// How many there are to be, as far as was decided before.
    current: u32,
    /// How many its workload has.
    live: u32,
    engines: Engines,
    is_grouped: bool,
    /// Replicas that are about to go.
    pub(super) going: u32,
    /// Whether what was seen of the demand is all there is of it.
    pub(super) is_known: bool,
    /// Whether it is the first replica for somebody else's autoscaler, which is all that we bring.
    pub(super) is_for_others: bool,
}

impl Looked {
    fn step(self, how: How) -> Step {
        Step {
            md: self.md,
            decision: self.decision,
            current: if how == How::Told { self.current } else { self.live },
            bounds: self.bounds,
            is_grouped: self.is_grouped,
            how,
        }
    }
}

impl Model {
    /// Sees how it is with the model, and decides how many there are to be.
    pub(super) fn look(
        &mut self,
        md: Arc<ModelDeployment>,
        cap: Option<Cap>,
        round: &Round,
        moved: &UnboundedSender<Key>,
    ) -> Option<Looked> {
        let Round { demand, cx, now, .. } = round;
        let now = *now;
        let own = md.spec.self_hosted.as_ref()?;
        let scaling = own.scaling.as_ref()?;
        let is_grouped = serving::nodes(own) > 1;
        let stores = &cx.cluster.stores;
        // Before it is made, and until it is applied without a number, there is nothing to scale.
        let Count { told: live, answering, .. } = Count::of(&md, stores).filter(|count| count.is_scaled)?;
        let model = Key::of(&*md);
        let (range, has_turned) = self.schedule.now(scaling, now);
        if has_turned {
            // Its status says so, and whoever else moves the number is to have other bounds.
            moved.unbounded_send(model.clone()).ok();
        }
        let bounds = Bounds::of(scaling, cap.map_or(range, |cap| cap.bound(range)));
        let for_others = |md, decision| Looked {
            md,
            decision,
            bounds,
            current: live,
            live,
            engines: Engines::default(),
            is_grouped,
            going: 0,
            is_known: false,
            is_for_others: true,
        };
        let is_wanted = demand.is_wanted(&model.to_string()) == Some(true);
        let scalers = round.scalers.get(&model).map_or(&[][..], Vec::as_slice);
        if let Some(other) = Other::of(&md, scalers, is_grouped).filter(|other| other.scales_workload) {
            // It decides. What was seen before it is gone says nothing of afterwards.
            self.forget();
            let is_left_asleep = live == 0 && other.rests_at_zero && is_wanted;
            return is_left_asleep.then(|| for_others(md, Decision::WAKE));
        }
        match Driver::of(scaling, cx.keda()) {
            Driver::Hpa => {
                self.forget();
                // It does nothing while there is none.
                let least = Decision {
                    replicas: bounds.min.max(1),
                    why: Why::Bounds,
                    load: None,
                };
                return (live == 0).then(|| for_others(md, least));
            }
            Driver::Builtin => {
                self.told = None;
                self.bulletin.wants(None);
                // That of another engine is about to go, and sets the number until then, unless that is none.
                if let Some(former) = scalers.iter().find(|scaler| others::is_ours(scaler)) {
                    if self.bulletin.note(others::is_still_there(former), now) {
                        moved.unbounded_send(model).ok();
                    }
                    return (live == 0 && is_wanted).then(|| for_others(md, Decision::WAKE));
                }
            }
            Driver::Keda => {
                let told = self.told.unwrap_or(Told {
                    replicas: live,
                    lags_since: None,
                });
                let lags_since = told.lags_since.filter(|_| told.replicas != live);
                self.told = Some(Told { lags_since, ..told });
            }
        }
        // What was decided counts, not how far KEDA has come.
        let current = self.told.map_or(live, |told| told.replicas);
        self.time_start(&md, (current, answering), round, moved);
        let (sample, engines) = self.sample(&md, &bounds, (current, answering), demand, now);
        let is_known = !sample.is_partial && !sample.is_starting;
        self.history.note(sample, &bounds);
        let decision = desired(&self.history, &bounds, current, now);
        let lags_since = self.told.and_then(|told| told.lags_since);
        // KEDA takes its time, and whoever does not heed us for so long will not.
        let is_heeded = lags_since.is_none_or(|since| is_within(since, now, OBEYS)) && !self.is_refused(&decision, live, now);
        let going = if is_heeded { live.saturating_sub(decision.replicas) } else { 0 };
        Some(Looked {
            md,
            decision,
            bounds,
            current,
            live,
            engines,
            is_grouped,
            going,
            is_known,
            is_for_others: false,
        })
    }

    /// What is to be done about it, and what is told.
    pub(super) fn conclude(&mut self, looked: Looked, round: &Round, moved: &UnboundedSender<Key>) -> Option<Step> {
        let Round { demand, now, .. } = round;
        let (now, live, decision) = (*now, looked.live, looked.decision);
        let is_refused = self.is_refused(&decision, live, now);
        if looked.is_for_others {
            return (!is_refused && decision.replicas != live).then(|| looked.step(How::Written));
        }
        let claim = match self.trouble(&decision, live, now) {
            Some(trouble) => trouble,
            None => decision.claim(demand, looked.engines, &looked.bounds),
        };
        // Until enough has been heard since the start, what was told before stays.
        let is_heard = demand.is_heard() && (!asks_engines(&looked.bounds) || self.heard.is_some());
        if is_heard && self.bulletin.note(claim, now) {
            moved.unbounded_send(Key::of(&*looked.md)).ok();
        }
        let Some(told) = &mut self.told else {
            let is_other = decision.replicas != looked.current && !is_refused;
            return is_other.then(|| looked.step(How::Written));
        };
        told.replicas = decision.replicas;
        told.lags_since = told.lags_since.or(Some(now)).filter(|_| decision.replicas != live);
        if decision.replicas != looked.current {
            return Some(looked.step(How::Told));
        }
        let object = round.cx.cluster.stores.scaled_objects.get(&child(&looked.md));
        // What it would take back again is not brought.
        let lets_us = object.is_none_or(|object| !driver::is_paused(&object) && driver::may_be(&object, told.replicas));
        let catches_up = !is_refused && lets_us && told.is_left_to_us(live, now);
        catches_up.then(|| looked.step(How::CaughtUp))
    }

    /// Sees how long the model takes from none to its first answer.
    pub(super) fn time_start(
        &mut self,
        md: &ModelDeployment,
        (current, answering): (u32, u32),
        round: &Round,
        moved: &UnboundedSender<Key>,
    ) {
        match (current, answering) {
            (0, _) => self.starting = None,
            (_, 0) => {
                // One that was there before this process was has begun to start at no known time.
                let was_none = self.history.latest().is_some_and(|sample| sample.replicas == 0);
                self.starting = self.starting.or(was_none.then_some(round.now));
            }
            (..) => {
                let Some(since) = self.starting.take() else { return };
                let took = Duration::try_from(round.now.duration_since(since)).unwrap_or_default();
                let told = md.status.as_ref().and_then(|status| status.scaling.as_ref()?.cold_start.clone());
                let before = told.and_then(|told| told.parse::<kube::core::Duration>().ok()).map(Duration::from);
                if self.bulletin.started_in(Duration::from_secs(took.as_secs()), before) {
                    moved.unbounded_send(Key::of(md)).ok();
                }
            }
        }
    }

    /// Nothing that was seen of the demand counts any more.
    fn forget(&mut self) {
        self.bulletin.wants(None);
        self.bulletin.retract();
        *self = Self {
            schedule: std::mem::take(&mut self.schedule),
            bulletin: std::mem::take(&mut self.bulletin),
            refused: self.refused.take(),
            changes: self.changes,
            ..Self::default()
        };
    }

    /// What is in the way of the number that was decided, if anything is.
    pub(super) fn trouble(&self, decision: &Decision, live: u32, now: Timestamp) -> Option<Claim> {
        if let Some(Told {
            replicas,
            lags_since: Some(since),
        }) = self.told
            && !is_within(since, now, FOLLOWS_WITHIN)
        {
            let message = format!(
                "{replicas} replicas are wanted, and KEDA has left it at {live} for a minute: see the events of the ScaledObject and the \
                 HorizontalPodAutoscaler that it made, and whether KEDA's operator and metrics server run"
            );
            return Some(Claim::new(Kind::ScalingActive, false, "NotFollowed", message));
        }
        let (number, _, why) = self.refused.as_ref().filter(|_| self.is_refused(decision, live, now))?;
        let message = format!("the API server refuses {number} replicas, and is asked again: {why}");
        Some(Claim::new(Kind::ScalingActive, false, SCALE_REFUSED, message))
    }

    /// Whether the server has refused this number of late.
    fn is_refused(&self, decision: &Decision, live: u32, now: Timestamp) -> bool {
        let is_it = |(number, at, _): &(u32, Timestamp, String)| {
            *number == decision.replicas && *number != live && is_within(*at, now, REFUSED_FOR)
        };
        self.refused.as_ref().is_some_and(is_it)
    }

    /// What is seen now.
    fn sample(
        &mut self,
        md: &ModelDeployment,
        bounds: &Bounds,
        (current, answering): (u32, u32),
        demand: &Now,
        now: Timestamp,
    ) -> (Sample, Engines) {
        let heard = self.heard.as_ref().filter(|heard| is_within(heard.at, now, FRESH));
        let engines = heard.map_or_else(Engines::default, |heard| heard.engines);
        // Where none answers, demand goes elsewhere, and what is seen of it is not what there is. But for whoever will never answer.
        let may_wake = routing::may_wake(md);
        let is_starting = current > 0 && answering == 0 && may_wake;
        let are_unheard = asks_engines(bounds) && engines.asked < answering as usize;
        let heard = heard.filter(|heard| heard.engines.asked > 0 || current == 0 || !may_wake);
        let name = Key::of(md).to_string();
        // A call is told once: it counts until there is a replica for it, or is to be none for now, and then whoever called has gone elsewhere.
        self.is_called = current == 0 && bounds.max > 0 && (self.is_called || demand.is_wanted(&name) == Some(true));
        let is_wanted = if self.is_called { Some(true) } else { demand.is_wanted(&name) };
        let sample = Sample {
            at: now,
            replicas: current,
            is_starting,
            is_partial: demand.is_partial() || engines.silent > 0 || is_starting || are_unheard,
            is_wanted,
            in_flight: demand.in_flight(&name),
            waiting: heard.and_then(|heard| heard.waiting),
            running: heard.and_then(|heard| heard.running),
            cache: heard.and_then(|heard| heard.cache),
        };
        (sample, engines)
    }
}

impl Told {
    /// Whether KEDA has had the time and left it: to whoever waits for the first replica, or a difference so small that its HorizontalPodAutoscaler takes
    /// it for none. That one finds the number as it would have it, and so nobody takes it back.
    pub(super) fn is_left_to_us(&self, live: u32, now: Timestamp) -> bool {
        let has_lagged = |wait: Duration| self.lags_since.is_some_and(|since| !is_within(since, now, wait));
        match (live, self.replicas) {
            (_, 0) => false,
            (0, _) => has_lagged(WAKES_WITHIN),
            (live, wanted) => wanted.abs_diff(live).saturating_mul(OVERLOOKED) <= live && has_lagged(OVERLOOKED_AFTER),
        }
    }
}

pub(super) fn asks_engines(bounds: &Bounds) -> bool {
    bounds.targets.waiting.or(bounds.targets.cache).is_some()
}

/// The replicas of a workload.
#[derive(Clone, Copy)]
struct Count {
    /// How many it is told to have.
    told: u32,
    /// How many answer.
    answering: u32,
    /// Whether it is applied without a number.
    is_scaled: bool,
}

impl Count {
    /// `None` before it is made.
    fn of(md: &ModelDeployment, stores: &Stores) -> Option<Self> {
        let key = child(md);
        match serving::nodes(md.spec.self_hosted.as_ref()?) > 1 {
            true => stores.groups.get(&key).map(|live| Self::seen(&*live)),
            false => stores.deployments.get(&key).map(|live| Self::seen(&*live)),
        }
    }

    fn seen<W: Workload>(live: &W) -> Self {
        let counted = |count: i32| u32::try_from(count).unwrap_or(0);
        Self {
            told: counted(live.replicas()),
            answering: counted(live.seen().available),
            is_scaled: serving::is_scaled(live),
        }
    }
}
