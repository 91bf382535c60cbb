//! What a cache says in the status of a ModelDeployment that asks for it.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind, Status};
use crate::api::model_deployment::{ModelDeploymentStatus, SelfHosted};
use crate::plan::pods::{FETCH_REASONS, Trouble};
use crate::plan::{model, quantity};

use super::{Held, Stage, Wanted};

/// The reason of a cache whose source is being asked.
const LISTING: &str = "Listing";

/// How far a fetch is, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    bytes_total: u64,
    bytes_done: u64,
    bytes_fetched: u64,
    started_at: Timestamp,
}

/// Why the weights are not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    reason: &'static str,
    message: String,
    is_trouble: bool,
    is_stalled: bool,
}

impl Waiting {
    /// In words, of any stage but the last.
    #[must_use]
    pub fn of(stage: &Stage, wanted: &Wanted<'_>, progress: Option<&Progress>, now: Timestamp) -> Self {
        let source = &wanted.source;
        let going_on = |reason, message| Self {
            reason,
            message,
            is_trouble: false,
            is_stalled: false,
        };
        match stage {
            Stage::Listing(Some(trouble)) | Stage::Filling(_, _, Some(trouble)) | Stage::Failed(trouble, _) => Self::from(trouble),
            Stage::List | Stage::Listing(None) | Stage::Anew(_) => going_on(LISTING, format!("{source} is asked what it has")),
            Stage::Fill(listed) | Stage::Filling(listed, _, None) => {
                let far = progress.map_or_else(|| quantity::readable(listed.bytes), |progress| progress.in_words(now));
                going_on(
                    "Fetching",
                    format!("{far}; {source} is fetched into PersistentVolumeClaim {}", wanted.claim_name()),
                )
            }
            Stage::Evicting => going_on("Evicting", "what was there is removed first".to_owned()),
            Stage::Losing => going_on(
                "ClaimTerminating",
                format!(
                    "PersistentVolumeClaim {} is being deleted; it is made again once no pod uses it",
                    wanted.claim_name()
                ),
            ),
            Stage::Held(held) => going_on("Cached", in_words(held, wanted)),
        }
    }
}

impl From<&Trouble> for Waiting {
    fn from(trouble: &Trouble) -> Self {
        Self {
            reason: trouble.reason,
            message: trouble.message.clone(),
            is_trouble: true,
            is_stalled: trouble.stalled,
        }
    }
}

impl Progress {
    /// `12.4 of 16.1 GiB, about 3 min left`.
    fn in_words(&self, now: Timestamp) -> String {
        let part = quantity::readable_part(self.bytes_done, self.bytes_total);
        let passed = now.duration_since(self.started_at).as_secs_f64();
        let left = self.bytes_total.saturating_sub(self.bytes_done) as f64;
        // Before the first bytes nothing can be said of the rest.
        if self.bytes_fetched == 0 || passed < 1.0 {
            return part;
        }
        let seconds = left * passed / self.bytes_fetched as f64;
        let about = match seconds {
            s if s < 60.0 => "less than a minute".to_owned(),
            s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
            s => format!("about {:.0} h", s / 3600.0),
        };
        format!("{part}, {about} left")
    }
}

/// The claim of a ModelDeployment whose weights are there.
#[must_use]
pub fn held(held: &Held, wanted: &Wanted<'_>) -> Claim {
    Claim::new(Kind::ModelCached, true, "Cached", in_words(held, wanted))
}

fn in_words(held: &Held, wanted: &Wanted<'_>) -> String {
    let revision = held.listed.revision.get(..12).unwrap_or(&held.listed.revision);
    format!(
        "{} of {} ({revision}) are in PersistentVolumeClaim {}, folder {}",
        quantity::readable(held.listed.bytes),
        wanted.source,
        held.claim,
        held.folder
    )
}

/// Why the source could not be asked the last time: it is told until it answers, and not at every other moment.
fn remembered(md: &ModelDeployment) -> Option<Waiting> {
    let conditions = &md.status.as_ref()?.conditions;
    let told = condition::find(conditions, Kind::ModelCached).filter(|told| told.status == "False")?;
    let reason = FETCH_REASONS.into_iter().find(|reason| *reason == told.reason)?;
    (told.observed_generation == md.metadata.generation).then(|| Waiting {
        reason,
        message: told.message.clone(),
        is_trouble: true,
        is_stalled: condition::is_true(conditions, Kind::Stalled),
    })
}

/// The status of `md` while its weights are not there. `pods` is what those of an earlier specification say, which go on until they are.
#[must_use]
pub fn status(
    md: &ModelDeployment,
    own: &SelfHosted,
    waiting: &Waiting,
    pods: ModelDeploymentStatus,
    now: Timestamp,
) -> ModelDeploymentStatus {
    let available = pods.ready_replicas.unwrap_or(0);
    let remembered = remembered(md).filter(|_| waiting.reason == LISTING);
    let waiting = remembered.as_ref().unwrap_or(waiting);
    let Waiting { reason, message, .. } = waiting;
    let earlier = if available > 0 {
        format!("{available} replicas of the earlier specification answer; ")
    } else {
        String::new()
    };
    let ready = if waiting.is_trouble && available == 0 {
        Status::False
    } else {
        Status::Unknown
    };
    let cached = if waiting.is_trouble { Status::False } else { Status::Unknown };
    let claim = |kind, status, message| Claim {
        kind,
        status,
        reason,
        message,
    };
    let before = format!("no pods are made before the weights are there: {message}");
    let on = if waiting.is_stalled { Kind::Stalled } else { Kind::Reconciling };
    let claims = [
        Claim::new(Kind::Accepted, true, "Valid", "the specification can be carried out"),
        claim(Kind::ModelCached, cached, message.clone()),
        claim(Kind::Ready, ready, format!("{earlier}{message}")),
        claim(Kind::WorkloadReady, Status::False, before),
        claim(on, Status::True, message.clone()),
    ];
    let mut described = model::described(md, &claims, now);
    described
        .conditions
        .extend(condition::find(&pods.conditions, Kind::AdaptersLoaded).cloned());
    model::keep_scaling(&mut described, &pods.conditions);
    ModelDeploymentStatus {
        replicas: pods.replicas,
        ready_replicas: pods.ready_replicas,
        readiness: Some(format!("{available}/{}", own.replicas)),
        adapters: pods.adapters,
        cost: pods.cost,
        scaling: pods.scaling,
        // Its earlier pods have answered, and may be those wanted again.
        answered: pods.answered.or_else(|| described.answered.clone()),
        ..described
    }
}
