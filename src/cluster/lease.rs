//! The lease that decides which replica writes. Whether a holder is gone is judged by our own clock since we last saw it renew, never by
//! comparing its time with ours, so that skewed clocks cannot make two holders. Losing the lease ends the process.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// A holder that has not renewed for this long is gone.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(5);
/// How long the holder tries to renew before it stops writing; well before others take over.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the others look.
const RETRY: Duration = Duration::from_secs(2);

/// One replica's claim to a lease.
pub struct Claim {
    api: Api<Lease>,
    name: &'static str,
    identity: String,
    /// What was last seen of the lease, and when it last changed.
    seen: Option<(String, Instant)>,
}

impl Claim {
    /// A claim by `identity`, which must be unique among the replicas and may outlive a restart.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &'static str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name,
            identity,
            seen: None,
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return tracing::info!(identity = %self.identity, "holding the lease"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the lease cannot be read or written"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews the lease until that fails for too long, or somebody else holds it.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < DEADLINE {
            tokio::time::sleep(if renewed.elapsed() < RENEW { RENEW } else { RETRY }).await;
            match tokio::time::timeout(RETRY, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                // A renewal of ours that landed late makes the next one conflict: only a second look tells.
                Ok(Ok(false)) => match tokio::time::timeout(RETRY, self.attempt()).await {
                    Ok(Ok(true)) => renewed = Instant::now(),
                    Ok(Ok(false)) => return tracing::error!("somebody else holds the lease"),
                    Ok(Err(_)) | Err(_) => tracing::warn!("the lease was not renewed"),
                },
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => tracing::warn!("the lease was not renewed in time"),
            }
        }
        tracing::error!("the lease could not be renewed and counts as lost");
    }

    /// Gives the lease up, so that another replica need not wait.
    pub async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.api.get_opt(self.name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            self.api.replace(self.name, &PostParams::default(), &lease).await.ok();
        }
    }

    /// Takes or renews the lease if it is ours, free or lapsed. The resource version makes sure that of two only one succeeds.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(super::now());
        let fresh = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        };
        let Some(mut lease) = self.api.get_opt(self.name).await? else {
            let metadata = ObjectMeta {
                name: Some(self.name.to_owned()),
                ..ObjectMeta::default()
            };
            return accepted(
                self.api
                    .create(
                        &PostParams::default(),
                        &Lease {
                            metadata,
                            spec: Some(fresh),
                        },
                    )
                    .await,
            );
        };
        let version = lease.resource_version().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(last, _)| *last != version) {
            self.seen = Some((version, Instant::now()));
        }
        let lapsed = self.seen.as_ref().is_some_and(|(_, at)| at.elapsed() > DURATION);
        let spec = lease.spec.get_or_insert_default();
        let is_ours = spec.holder_identity.as_deref() == Some(&self.identity);
        if !is_ours && !lapsed && spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty()) {
            return Ok(false);
        }
        let acquire_time = if is_ours {
            spec.acquire_time.clone()
        } else {
            fresh.acquire_time.clone()
        };
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!is_ours);
        *spec = LeaseSpec {
            acquire_time,
            lease_transitions: Some(transitions),
            ..fresh
        };
        accepted(self.api.replace(self.name, &PostParams::default(), &lease).await)
    }
}

/// A conflict means that another replica was quicker.
fn accepted(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
