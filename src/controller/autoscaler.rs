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

mod carry;
mod engines;
mod listen;
mod model;
mod numbers;
mod sharing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::context::Context;
use super::gateways::Whereabouts;
use crate::api::ModelDeployment;
use crate::api::model_deployment::SelfHosted;
use crate::plan::names::Key;
use crate::plan::scaling::Standing;
use crate::plan::scaling::demand::{Demand, Now};
use crate::plan::scaling::others;
use listen::Listeners;
use model::Model;
pub(super) use numbers::Numbers;
use sharing::{Contenders, Pools, tell_in_vain};

/// Between two decisions about a model.
const EVERY: Duration = Duration::from_secs(2);
/// How many numbers are written at once, beside those of models that are woken.
const AT_ONCE: usize = 16;

/// What is known of the demand, and what was decided.
pub struct Autoscaler {
    demand: Mutex<Demand>,
    /// Somebody wants a model that is asleep.
    called: Notify,
    models: Mutex<HashMap<Key, Model>>,
    /// Accelerators that some of them share.
    pools: Mutex<Pools>,
    /// Whose numbers are being written, or are to be when there is room.
    in_hand: Mutex<HashSet<Key>>,
    room: Semaphore,
    /// What KEDA is told.
    numbers: Numbers,
    /// Told of models whose statuses are to say something else.
    moved: UnboundedSender<Key>,
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
            pools: Mutex::default(),
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

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the number of replicas of a model was changed since the process began; `None` of one that is not scaled.
    pub(super) fn changes(&self, model: &Key) -> Option<u64> {
        self.models().get(model).map(|model| model.changes)
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
                self.pools().clear();
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
        let (steps, in_vain) = {
            let mut models = self.models();
            let there: HashSet<Key> = scaled.iter().map(|md| Key::of(&**md)).collect();
            models.retain(|key, _| there.contains(key));
            let mut pools = self.pools();
            let mut contenders = Contenders::default();
            let decided = scaled.into_iter().filter_map(|md| {
                let model = models.entry(Key::of(&*md)).or_default();
                let cap = pools.cap(&md);
                let looked = model.look(md, cap, &round, &self.moved)?;
                contenders.note(&looked, cx);
                model.conclude(looked, &round, &self.moved)
            });
            let decided = decided.collect::<Vec<_>>();
            let in_vain = pools.settle(contenders, &round);
            for (key, model) in models.iter() {
                if let Some(told) = &model.told {
                    self.numbers.tell(key, told.replicas);
                }
            }
            self.numbers.retain(|key| models.get(key).is_some_and(|model| model.told.is_some()));
            (decided, in_vain)
        };
        writes.extend(in_vain.into_iter().map(|(model, profile)| tell_in_vain(model, profile, cx).boxed()));
        let (changes, took_ms) = (steps.len(), began.elapsed().as_millis() as u64);
        tracing::debug!(models, changes, took_ms, "decided");
        let round = Arc::new(round);
        for step in steps {
            let (key, round) = (Key::of(&*step.md), round.clone());
            // What is being written is found as it was until it is.
            let is_other = !step.is_written() || self.in_hand().insert(key.clone());
            if is_other {
                let done = async move {
                    let told = self.change(&step, &round).await;
                    if step.is_written() {
                        self.in_hand().remove(&key);
                    }
                    self.tell(&step, told, cx).await;
                };
                writes.push(done.boxed());
            }
        }
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

#[cfg(test)]
mod tests;
