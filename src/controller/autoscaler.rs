//! The autoscaler: what gateways say of the demand becomes numbers of replicas.
//!
//! ```text
//! gateway ─┐                        every two seconds, or when somebody wants a model that is asleep
//! gateway ─┼─► Demand ──► sample of each scaled model ──► plan::scaling::desired ──► replicas of its workload, an event, its status
//! engine ──┘ where a target is about its own metrics                                                  └► or what KEDA is told
//! ```
//! A round asks the API server nothing; only a change is a request. Where nothing is scaled, no gateway is asked.
//!
//! Needs: deployments, leaderworkersets, pods patch; events create, patch.

mod engines;
mod listen;
mod numbers;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::context::Context;
use super::gateways::Whereabouts;
use super::model_deployment::{child, pods};
use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind};
use crate::api::model_deployment::SelfHosted;
use crate::cluster::{self, Owned};
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::Key;
use crate::plan::scaling::demand::{Demand, FRESH, Now};
use crate::plan::scaling::driver::Driver;
use crate::plan::scaling::others::{self, Other};
use crate::plan::scaling::{Bounds, Bulletin, Change, Decision, Engines, History, Sample, Standing, desired, is_within};
use crate::plan::serving::{self, Workload};
use engines::Heard;
use listen::Listeners;
pub(super) use numbers::Numbers;

/// Between two decisions about a model.
const EVERY: Duration = Duration::from_secs(2);
/// How many numbers are written at once, beside those of models that are woken.
const AT_ONCE: usize = 16;
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a number that the server refused is not written again.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How long KEDA may take to bring the first replica, to whoever waits for it, before we do.
const WAKES_WITHIN: Duration = Duration::from_secs(5);
/// How long KEDA may take to bring the number to what it is told: it asks every 10 seconds, and its HorizontalPodAutoscaler every 15.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// The reason of `ScalingActive` where the API server does not take a number.
const SCALE_REFUSED: &str = "ScaleRefused";

/// What is known of the demand, and what was decided.
pub struct Autoscaler {
    demand: Mutex<Demand>,
    /// Somebody wants a model that is asleep.
    called: Notify,
    models: Mutex<HashMap<Key, Model>>,
    /// Whose numbers are being written, or are to be when there is room.
    in_hand: Mutex<HashSet<Key>>,
    room: Semaphore,
    /// What KEDA is told.
    numbers: Numbers,
    /// Told of models whose statuses are to say something else.
    moved: UnboundedSender<Key>,
}

/// What is known of one model.
#[derive(Default)]
struct Model {
    history: History,
    bulletin: Bulletin,
    heard: Option<Heard>,
    /// The number that the server refused last, when, and why.
    refused: Option<(u32, Timestamp, String)>,
    /// Whether whoever wanted it, and was told of once, is still to be brought a replica.
    is_called: bool,
    /// The number that KEDA is told, and since when it is another than there are.
    told: Option<(u32, Option<Timestamp>)>,
}

/// A number of replicas that is to be another.
struct Step {
    md: Arc<ModelDeployment>,
    decision: Decision,
    current: u32,
    bounds: Bounds,
    is_grouped: bool,
    /// Whether KEDA carries it out, and is told.
    is_told: bool,
}

/// What is being carried out.
type Writes<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

/// What a round is made of.
struct Round<'a> {
    demand: Now,
    /// All HorizontalPodAutoscalers, by the model that each scales.
    scalers: HashMap<Key, Vec<Arc<HorizontalPodAutoscaler>>>,
    cx: &'a Context,
    now: Timestamp,
}

impl Autoscaler {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(moved: UnboundedSender<Key>) -> Self {
        Self {
            demand: Mutex::default(),
            called: Notify::new(),
            models: Mutex::default(),
            in_hand: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            numbers: Numbers::default(),
            moved,
        }
    }

    /// What those models are to have that KEDA scales.
    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn models(&self) -> MutexGuard<'_, HashMap<Key, Model>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of a model.
    pub(super) fn standing(&self, model: &Key) -> Standing {
        let models = self.models();
        models.get(model).map(|model| model.bulletin.standing().clone()).unwrap_or_default()
    }

    /// Scales for as long as the process lives.
    pub(super) async fn follow(self: Arc<Self>, whereabouts: &Whereabouts, cx: &Context) {
        let engines = self.clone();
        tokio::join!(self.decide_again_and_again(whereabouts, cx), engines.ask_engines(cx));
    }

    async fn decide_again_and_again(self: Arc<Self>, whereabouts: &Whereabouts, cx: &Context) {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut listeners, mut writes) = (Listeners::default(), Writes::new());
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                () = self.called.notified() => {}
                // Nobody who is to be woken waits for what the server takes its time for.
                Some(()) = writes.next() => continue,
            }
            let scaled = scaled(&cx.cluster.stores.models.all());
            if scaled.is_empty() {
                listeners.stop();
                self.models().clear();
                self.numbers.retain(|_| false);
                continue;
            }
            let urls = whereabouts.urls();
            self.demand().are_at(&urls, cx.now());
            listeners.are_at(&urls, &self);
            self.round(scaled, cx, &mut writes);
        }
    }

    /// Decides about every model, and begins to carry out what is to be another.
    fn round<'a>(&'a self, scaled: Vec<Arc<ModelDeployment>>, cx: &'a Context, writes: &mut Writes<'a>) {
        let (now, began, models) = (cx.now(), Instant::now(), scaled.len());
        let round = Round {
            demand: self.demand().take(now),
            scalers: others::by_model(cx.cluster.stores.scalers.all()),
            cx,
            now,
        };
        let steps = {
            let mut models = self.models();
            let there: HashSet<Key> = scaled.iter().map(|md| Key::of(&**md)).collect();
            models.retain(|key, _| there.contains(key));
            let decided = scaled.into_iter().filter_map(|md| {
                let model = models.entry(Key::of(&*md)).or_default();
                model.decide(md, &round, &self.moved)
            });
            let decided = decided.collect::<Vec<_>>();
            for (key, model) in models.iter() {
                if let Some((replicas, _)) = model.told {
                    self.numbers.tell(key, replicas);
                }
            }
            self.numbers.retain(|key| models.get(key).is_some_and(|model| model.told.is_some()));
            decided
        };
        let (changes, took_ms) = (steps.len(), began.elapsed().as_millis() as u64);
        tracing::debug!(models, changes, took_ms, "decided");
        let round = Arc::new(round);
        for step in steps {
            let (key, round) = (Key::of(&*step.md), round.clone());
            // What is being written is found as it was until it is.
            let is_other = step.is_told || self.in_hand().insert(key.clone());
            if is_other {
                let done = async move {
                    let is_written = !step.is_told;
                    self.carry_out(step, &round).await;
                    if is_written {
                        self.in_hand().remove(&key);
                    }
                };
                writes.push(done.boxed());
            }
        }
    }

    /// Writes one number. Where that fails, the next round finds it as it was.
    async fn carry_out(&self, step: Step, round: &Round<'_>) {
        let Round { cx, now, .. } = *round;
        let key = child(&step.md);
        let is_urgent = step.current == 0;
        let _room = if is_urgent { None } else { self.room.acquire().await.ok() };
        let write = async {
            price(&step, round).await;
            match step.is_grouped {
                _ if step.is_told => Ok(()),
                true => scale::<LeaderWorkerSet>(&key, &step, cx).await,
                false => scale::<Deployment>(&key, &step, cx).await,
            }
        };
        let model = Key::of(&*step.md);
        match timeout(PATIENCE, write).await {
            Ok(Ok(())) => {}
            Ok(Err(cluster::Error::Refused { message, .. })) => {
                tracing::warn!(%key, message, "the server refuses the number of replicas");
                if let Some(known) = self.models().get_mut(&model) {
                    known.refused = Some((step.decision.replicas, now, message));
                }
                return;
            }
            Ok(Err(error)) => return tracing::warn!(%key, %error, "the number of replicas is not written, and is tried again"),
            Err(_) => return tracing::warn!(%key, "the server does not answer in time whether the number of replicas is written"),
        }
        let message = step.decision.message(step.current, &step.bounds);
        let change = Change {
            reason: step.decision.why.word(),
            message: message.clone(),
            at: now,
        };
        if let Some(known) = self.models().get_mut(&model) {
            known.bulletin.changed(change);
            known.bulletin.wants(known.told.map(|(replicas, _)| replicas));
        }
        cx.cluster.note(&*step.md, true, "Scaled", &message).await;
        // Nobody listens when the process ends.
        self.moved.unbounded_send(model).ok();
    }
}

impl Model {
    fn decide(&mut self, md: Arc<ModelDeployment>, round: &Round, moved: &UnboundedSender<Key>) -> Option<Step> {
        let Round { demand, cx, now, .. } = round;
        let now = *now;
        let own = md.spec.self_hosted.as_ref()?;
        let scaling = own.scaling.as_ref()?;
        let bounds = Bounds::of(scaling);
        let (key, is_grouped) = (child(&md), serving::nodes(own) > 1);
        let stores = &cx.cluster.stores;
        // Before it is made, and until it is applied without a number, there is nothing to scale.
        let (live, answering) = match is_grouped {
            true => seen(&*stores.groups.get(&key)?)?,
            false => seen(&*stores.deployments.get(&key)?)?,
        };
        let model = Key::of(&*md);
        let name = model.to_string();
        let step = |md, decision, current, is_told| Step {
            md,
            decision,
            current,
            bounds,
            is_grouped,
            is_told,
        };
        let scalers = round.scalers.get(&model).map_or(&[][..], Vec::as_slice);
        if let Some(other) = Other::of(&md, scalers, is_grouped).filter(|other| other.scales_workload) {
            // It decides. What was seen before it is gone says nothing of afterwards.
            *self = Self::default();
            let is_left_asleep = live == 0 && other.rests_at_zero && demand.is_wanted(&name) == Some(true);
            return is_left_asleep.then(|| step(md, Decision::WAKE, live, false));
        }
        let driver = Driver::of(scaling, cx.keda());
        match driver {
            Driver::Hpa => {
                *self = Self::default();
                return None;
            }
            Driver::Builtin => {
                self.told = None;
                self.bulletin.wants(None);
                // The one of another engine is about to go, and sets the number until then.
                if scalers.iter().any(|scaler| others::is_ours(scaler)) {
                    return None;
                }
            }
            Driver::Keda => {
                let (wanted, since) = self.told.unwrap_or((live, None));
                self.told = Some((wanted, since.filter(|_| wanted != live)));
            }
        }
        // What was decided counts, not how far KEDA has come.
        let current = self.told.map_or(live, |(wanted, _)| wanted);
        let (sample, engines) = self.sample(&md, &bounds, (current, answering), demand, now);
        self.history.note(sample, &bounds);
        let decision = desired(&self.history, &bounds, current, now);
        let claim = self
            .claim(&decision, live, now)
            .unwrap_or_else(|| decision.claim(demand, engines, &bounds));
        let is_refused = claim.reason == SCALE_REFUSED;
        // Until enough has been heard since the start, what was told before stays.
        let is_heard = demand.is_heard() && (!asks_engines(&bounds) || self.heard.is_some());
        if is_heard && self.bulletin.note(claim, now) {
            moved.unbounded_send(model).ok();
        }
        if let Some((wanted, since)) = &mut self.told {
            *wanted = decision.replicas;
            let lags = decision.replicas != live;
            *since = since.or(Some(now)).filter(|_| lags);
            let waits_too_long = live == 0 && since.is_some_and(|since| !is_within(since, now, WAKES_WITHIN));
            if waits_too_long && decision.replicas == current {
                return Some(step(md, Decision::WAKE, live, false));
            }
        }
        (decision.replicas != current && !is_refused).then(|| step(md, decision, current, self.told.is_some()))
    }

    /// What is in the way of the number that was decided, if anything is.
    fn claim(&self, decision: &Decision, live: u32, now: Timestamp) -> Option<Claim> {
        if let Some((wanted, Some(since))) = self.told
            && !is_within(since, now, FOLLOWS_WITHIN)
        {
            let message = format!(
                "{wanted} replicas are wanted, and KEDA has left it at {live} for a minute: see the events of the ScaledObject and the \
                 HorizontalPodAutoscaler that it made, and whether KEDA's operator and metrics server run"
            );
            return Some(Claim::new(Kind::ScalingActive, false, "NotFollowed", message));
        }
        let (number, at, why) = self.refused.as_ref()?;
        let is_refused = *number == decision.replicas && *number != live && is_within(*at, now, REFUSED_FOR);
        let message = format!("the API server refuses {number} replicas, and is asked again: {why}");
        is_refused.then(|| Claim::new(Kind::ScalingActive, false, SCALE_REFUSED, message))
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
        let is_starting = current > 0 && answering == 0 && !is_stalled(md);
        let are_unheard = asks_engines(bounds) && engines.asked < answering as usize;
        let heard = heard.filter(|heard| heard.engines.asked > 0 || current == 0 || is_stalled(md));
        let name = Key::of(md).to_string();
        // A call is told once: it counts until there is a replica for it.
        self.is_called = current == 0 && (self.is_called || demand.is_wanted(&name) == Some(true));
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

fn asks_engines(bounds: &Bounds) -> bool {
    bounds.targets.waiting.or(bounds.targets.cache).is_some()
}

/// How many replicas a workload is told to have, and how many answer; `None` until it is applied without the first.
fn seen<W: Workload>(live: &W) -> Option<(u32, u32)> {
    let counted = |count: i32| u32::try_from(count).unwrap_or(0);
    serving::is_scaled(live).then(|| (counted(live.replicas()), counted(live.seen().available)))
}

/// Has those pods go first that answer least. Where that cannot be said, the cluster decides which go.
async fn price(step: &Step, round: &Round<'_>) {
    let goes_down = (1..step.current).contains(&step.decision.replicas);
    if !goes_down || step.is_grouped {
        return;
    }
    for pod in pods(&step.md, round.cx) {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let busy = address.map_or(0, |address| round.demand.at_pod(address));
        let priced = round.cx.cluster.price(&pod, i32::try_from(busy).unwrap_or(i32::MAX)).await;
        if let Err(error) = priced {
            tracing::debug!(pod = %Key::of(&*pod), %error, "it is not said how busy a pod is");
        }
    }
}

async fn scale<W: Workload + Owned>(key: &Key, step: &Step, cx: &Context) -> Result<(), cluster::Error> {
    match W::known(&cx.cluster.stores).get(key) {
        Some(live) => cx.cluster.scale(&*live, step.decision.replicas).await.map(drop),
        None => Ok(()),
    }
}

fn scaled(models: &[Arc<ModelDeployment>]) -> Vec<Arc<ModelDeployment>> {
    let is_scaled = |own: &SelfHosted| own.scaling.is_some();
    let is_there = |md: &&Arc<ModelDeployment>| md.metadata.deletion_timestamp.is_none();
    let models = models.iter().filter(is_there);
    models
        .filter(|md| md.spec.self_hosted.as_ref().is_some_and(is_scaled))
        .cloned()
        .collect()
}

/// Whether only a person can make it answer: then it does not start any more.
fn is_stalled(md: &ModelDeployment) -> bool {
    let conditions = md.status.as_ref().map_or(&[][..], |status| &status.conditions);
    condition::is_true(conditions, Kind::Stalled)
}

#[cfg(test)]
mod tests;
