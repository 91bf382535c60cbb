//! What every reconcile has at hand, and what they share: the clock, the refusal of an invalid spec, the pace of retries and resyncs.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::sync::watch;

use crate::api::condition::{self, Kind};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::{ModelDeployment, Settings};
use crate::cluster::{self, Cluster, Grants};
use crate::plan::names::Key;
use crate::plan::price::{self, Book};
use crate::plan::scaling::driver::Keda;
use crate::plan::serving::Installation;
use crate::plan::serving::usage::{self, Held};
use crate::plan::{Invalid, model};

use super::adapters::Adapters;
use super::asker::Asker;
use super::autoscaler::Autoscaler;
use super::decided::Decided;
use super::gateways::Gateways;
use super::model_deployment::pods;
use super::probe::Prober;
use super::progress::Progresses;

/// The shortest and the longest wait before something that only time can heal is looked at again.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// A settled object is looked at again after an hour, spread over a quarter of one.
const RESYNC: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(900));

/// What every reconcile has at hand.
pub struct Context {
    /// The door to the API server.
    pub cluster: Cluster,
    /// Which models of other namespaces policies may name.
    pub grants: Arc<Grants>,
    /// What the installer decided.
    pub settings: Settings,
    /// What models cost that do not say so themselves.
    pub book: watch::Receiver<Arc<Book>>,
    /// The namespace of the gateway and the operator, where backend Secrets are kept.
    pub gateway_namespace: String,
    /// Whether the API server has claims for devices.
    pub serves_claims: bool,
    /// Whether pods mount images.
    pub mounts_images: bool,
    /// Where evaluations ask their questions.
    pub gateway_url: String,
    /// The image that evaluations and fetches run: this one.
    pub image: String,
    /// Asks providers.
    pub prober: Prober,
    /// Where KEDA reaches this process.
    pub scaler_address: Option<String>,
    /// Tells engines which adapters to have.
    pub adapters: Adapters,
    /// Asks fetches.
    pub progress: Progresses,
    /// Asks engines.
    pub asker: Asker,
    /// What is decided about policies.
    pub decided: Decided,
    /// Decides how many replicas models have.
    pub autoscaler: Arc<Autoscaler>,
    /// Asks gateways.
    pub gateways: Arc<Gateways>,
}

/// What can go wrong in a reconcile: only the infrastructure. A wrong spec is a status.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub(super) cluster::Error);

impl Context {
    /// The clock.
    pub fn now(&self) -> Timestamp {
        cluster::now()
    }

    /// What there is of KEDA.
    pub fn keda(&self) -> Keda<'_> {
        Keda {
            is_served: self.cluster.keda.is_watched(),
            address: self.scaler_address.as_deref(),
        }
    }

    /// What models cost now that do not say so themselves.
    pub fn prices(&self) -> Arc<Book> {
        self.book.borrow().clone()
    }

    /// Writes the status of a ModelDeployment, with what its tokens cost, and what its pods took, whatever else is said of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn report(&self, md: &ModelDeployment, status: ModelDeploymentStatus) -> Result<(), Error> {
        let price = price::summary(md, &self.prices(), self.now());
        let before = md.status.as_ref().and_then(|status| status.usage.as_ref());
        let held = Held::of(md.spec.self_hosted.as_ref(), &pods(md, self), &self.settings);
        let usage = usage::counted(before, held, self.now());
        let status = ModelDeploymentStatus { price, usage, ..status };
        Ok(self.cluster.set_status(md, status).await?)
    }

    /// What plans need to know of it.
    pub fn installation(&self) -> Installation<'_> {
        Installation {
            settings: &self.settings,
            gateway_namespace: &self.gateway_namespace,
            image: &self.image,
            mounts_images: self.mounts_images,
        }
    }

    /// Says on a ModelDeployment why it cannot be carried out, and waits for a change.
    ///
    /// # Errors
    /// When the status cannot be written.
    pub async fn refuse(&self, md: &ModelDeployment, invalid: &Invalid, now: Timestamp) -> Result<Action, Error> {
        self.report(md, model::invalid(md, invalid, now)).await?;
        Ok(Action::await_change())
    }
}

/// The problem of an object whose child's name is taken; the child is left alone.
pub(super) fn taken(kind: &str, key: &Key) -> Invalid {
    Invalid::new(
        "metadata.name",
        format!("{kind} {key} exists and belongs to somebody else"),
        "rename this object or delete that one",
    )
}

/// When to look again at an object that is settled.
pub(super) fn resync() -> Action {
    Action::requeue(settled())
}

fn settled() -> Duration {
    RESYNC.0 + RESYNC.1.mul_f64(fastrand::f64())
}

/// When to look again at an object that is settled until a moment, or for good.
pub(super) fn resync_by(moment: Option<Timestamp>, now: Timestamp) -> Action {
    Action::requeue(by(moment, now))
}

fn by(moment: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = moment.map(|moment| Duration::try_from(moment.duration_since(now)).unwrap_or_default());
    // A second later, or it might be looked at just before.
    left.map_or_else(settled, |left| settled().min(left + Duration::from_secs(1)))
}

/// When to look again at an object that only time can heal: the longer it has been so, the later.
pub(super) fn retry(conditions: &[Condition], now: Timestamp) -> Action {
    Action::requeue(pace(conditions, Kind::Ready, now))
}

/// How long to wait: the longer the condition of that kind has not been true, the longer.
pub(super) fn pace(conditions: &[Condition], kind: Kind, now: Timestamp) -> Duration {
    let unready = condition::find(conditions, kind).filter(|ready| ready.status != "True");
    let since = unready.map_or(0, |ready| now.as_second() - ready.last_transition_time.0.as_second());
    wait_after(Duration::from_secs(u64::try_from(since).unwrap_or(0)))
}

/// How long to wait before something is looked at again that has been so for `since`.
pub(super) fn wait_after(since: Duration) -> Duration {
    (since / 2).clamp(RETRY.0, RETRY.1)
}

/// What a controller does about an error: it waits, as long as the object has been waiting.
pub(super) fn on_error(conditions: &[Condition], error: &Error, cx: &Arc<Context>) -> Action {
    let chain = std::iter::successors(std::error::Error::source(&error.0), |e| e.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    tracing::warn!(error = %error, because = %chain, "a reconcile failed and is tried again");
    retry(conditions, cx.now())
}

#[cfg(test)]
mod tests {
    use crate::api::condition::{Claim, merge};

    use super::*;

    #[test]
    fn a_moment_is_not_missed_however_late_a_settled_object_would_be_looked_at() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for left in [0, 1, 3_599, 3_601, 4_000, 90_000] {
            for _ in 0..50 {
                let wait = by(Some(at(1_000 + left)), at(1_000));
                assert!(wait <= Duration::from_secs(left.unsigned_abs() + 1), "{wait:?} for {left}");
                assert!(wait <= RESYNC.0 + RESYNC.1);
            }
        }
        assert!(by(None, at(0)) >= RESYNC.0);
    }

    #[test]
    fn the_pace_of_retries_follows_how_long_it_has_not_been_ready() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let unready = merge(&[], &[Claim::new(Kind::Ready, false, "No", "")], None, at(1000));
        assert_eq!(pace(&unready, Kind::Ready, at(1000)), RETRY.0);
        assert_eq!(pace(&unready, Kind::Ready, at(1100)), Duration::from_secs(50));
        assert_eq!(pace(&unready, Kind::Ready, at(9999)), RETRY.1);
        assert_eq!(pace(&[], Kind::Ready, at(9999)), RETRY.0);
        assert_eq!(
            pace(&unready, Kind::Ready, at(0)),
            RETRY.0,
            "a clock that went back makes no hot loop"
        );
    }
}
