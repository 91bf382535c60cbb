//! The EvalJob controller.
//!
//! Needs: evaljobs, modeldeployments get, list, watch; evaljobs/status patch; jobs get, list, watch, create, patch, delete; pods list, watch;
//! configmaps get (named); events create, patch.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::sync::Mutex;

use crate::api::EvalJob;
use crate::api::condition::{self, Kind};
use crate::api::eval_job::{EvalJobStatus, Verdict};
use crate::api::model_deployment::KeyRef;
use crate::cluster;
use crate::plan::Invalid;
use crate::plan::evaluation::check::{self, Datasets, Problem};
use crate::plan::evaluation::job::Runner;
use crate::plan::evaluation::{self, Plan, Seen, observe};
use crate::plan::names::{EVAL_JOB_LABEL, Key};

use super::context::{Context, Error, resync, retry, taken};

/// A slot may be a moment away; two looks within less are one.
const SOONEST: Duration = Duration::from_millis(100);
/// The clock may be set while a timer runs, so no slot is awaited longer than this.
const LONGEST: Duration = Duration::from_secs(3600);

/// The reason of the event of an alarm.
const DRIFT_ALARM: &str = "DriftAlarm";

/// Held while it is decided whether a run may start beside those of others, until it is there.
static STARTING: Mutex<()> = Mutex::const_new(());

/// Runs one EvalJob on its schedule and writes down what its runs say.
pub(super) async fn reconcile(job: Arc<EvalJob>, cx: Arc<Context>) -> Result<Action, Error> {
    let job = cx.cluster.stores.evaluations.latest(&job);
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = cx.now();
    let models = cx.cluster.stores.models.all();
    let (all_jobs, all_pods) = (cx.cluster.stores.jobs.all(), cx.cluster.stores.pods.all());
    let runs = observe::runs(&job, &jobs(&job, &all_jobs, &cx), &pods(&job, &all_pods), now);
    let elsewhere = observe::asked_elsewhere(&job, &all_jobs, now);
    let (prices, versions) = (cx.prices(), cx.gateways.versions());
    let seen = Seen {
        models: &models,
        datasets: None,
        runs: &runs,
        elsewhere: &elsewhere,
        pods: &all_pods,
        prices: &prices,
        versions: &versions,
    };
    let datasets = if evaluation::wants_datasets(&job, seen, now) {
        Some(datasets(&job, &cx).await?)
    } else {
        None
    };
    let seen = Seen {
        datasets: datasets.as_ref(),
        ..seen
    };
    let mut plan = evaluation::plan(&job, seen, &runner(&cx), now);
    // Of two that are due at once the second sees what the first has started.
    let turn = if plan.start.is_some() { Some(STARTING.lock().await) } else { None };
    if turn.is_some() {
        let elsewhere = observe::asked_elsewhere(&job, &cx.cluster.stores.jobs.all_and_written(), now);
        let elsewhere = &elsewhere;
        plan = evaluation::plan(&job, Seen { elsewhere, ..seen }, &runner(&cx), now);
    }
    if let Some(start) = &plan.start {
        match cx.cluster.apply(start).await {
            Ok(_) => {}
            Err(cluster::Error::NameTaken { kind, key }) => plan = evaluation::refused(&job, seen, &name_taken(&kind, &key), now),
            Err(refused @ cluster::Error::Refused { .. }) => plan = evaluation::refused(&job, seen, &job_refused(&refused), now),
            Err(cluster::Error::Terminating { .. }) => return Ok(Action::await_change()),
            Err(error) => return Err(error.into()),
        }
    }
    drop(turn);
    let Plan {
        start: _,
        status,
        prune,
        wake,
        ask_again,
    } = plan;
    let again = if ask_again { retry(&status.conditions, now) } else { at(wake, now) };
    let (news, alarms) = (news(&job, &status), alarms(&job, &status));
    cx.cluster.set_status(&*job, status).await?;
    if let Some((verdict, message)) = news {
        cx.cluster
            .note(&*job, verdict == Verdict::Pass, &verdict.to_string(), &message)
            .await;
    }
    if let Some(message) = alarms {
        cx.cluster.note(&*job, false, DRIFT_ALARM, &message).await;
    }
    for name in prune {
        cx.cluster.prune::<Job>(&Key::new(Key::of(&*job).namespace, name)).await?;
    }
    Ok(again)
}

/// A quota, an admission policy or a field that the server does not take.
fn job_refused(refused: &cluster::Error) -> Problem {
    Problem {
        claim: Kind::Accepted,
        reason: check::JOB_REFUSED,
        invalid: Invalid::new("spec", refused.to_string(), "correct what it names"),
    }
}

/// A name is not freed by waiting alone, so that it is taken is a condition and no error.
fn name_taken(kind: &str, key: &Key) -> Problem {
    Problem {
        claim: Kind::Accepted,
        reason: check::NAME_TAKEN,
        invalid: taken(kind, key),
    }
}

fn runner(cx: &Context) -> Runner {
    Runner::new(cx.image.clone(), cx.gateway_url.clone(), &cx.settings)
}

/// The Jobs of ours with the EvalJob's label, the active one also when the watch has not shown it yet.
fn jobs(job: &EvalJob, all: &[Arc<Job>], cx: &Context) -> Vec<Arc<Job>> {
    let Key { namespace, name } = Key::of(job);
    let stores = &cx.cluster.stores;
    let is_of = |child: &Arc<Job>| child.namespace().as_ref() == Some(&namespace) && child.labels().get(EVAL_JOB_LABEL) == Some(&name);
    let mut jobs: Vec<Arc<Job>> = all.iter().filter(|child| is_of(child)).cloned().collect();
    if let Some(active) = job.status.as_ref().and_then(|status| status.active.as_ref())
        && !jobs.iter().any(|job| job.name_any() == *active)
    {
        jobs.extend(stores.jobs.get(&Key::new(namespace, active)));
    }
    jobs
}

fn pods(job: &EvalJob, all: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    let Key { namespace, name } = Key::of(job);
    let is_of = |pod: &Arc<Pod>| pod.namespace().as_ref() == Some(&namespace) && pod.labels().get(EVAL_JOB_LABEL) == Some(&name);
    all.iter().filter(|pod| is_of(pod)).cloned().collect()
}

async fn datasets(job: &EvalJob, cx: &Context) -> Result<Datasets, Error> {
    let namespace = Key::of(job).namespace;
    let mut datasets = Datasets::new();
    let references = job
        .spec
        .suites
        .iter()
        .flat_map(|suite| suite.datasets())
        .filter_map(|(_, dataset)| dataset.config_map_ref.as_ref());
    for KeyRef { name, .. } in references {
        if !datasets.contains_key(name)
            && let Some(found) = cx.cluster.config_map(&Key::new(&namespace, name)).await?
        {
            datasets.insert(name.clone(), found);
        }
    }
    Ok(datasets)
}

/// The verdict of a run that the status did not have before, and why.
fn news(job: &EvalJob, status: &EvalJobStatus) -> Option<(Verdict, String)> {
    let latest = status.history.first()?;
    let known = job.status.as_ref().and_then(|before| before.history.first());
    if known.is_some_and(|known| known.slot == latest.slot) {
        return None;
    }
    let reasons: Vec<String> = status
        .targets
        .iter()
        .map(|t| format!("{}: {} ({})", t.model, t.verdict, t.message))
        .collect();
    Some((latest.verdict, reasons.join("; ")))
}

/// The alarms that the status did not have before.
fn alarms(job: &EvalJob, status: &EvalJobStatus) -> Option<String> {
    let known = |model: &str| {
        let before = job.status.iter().flat_map(|before| &before.drift);
        before.into_iter().any(|known| known.model == model && known.alarm.is_some())
    };
    let is_new = status.drift.iter().any(|drift| drift.alarm.is_some() && !known(&drift.model));
    let drifted = condition::find(&status.conditions, Kind::Drifted).filter(|_| is_new)?;
    Some(drifted.message.clone())
}

fn at(wake: Option<Timestamp>, now: Timestamp) -> Action {
    let Some(wake) = wake else { return resync() };
    let wait = Duration::try_from(wake.duration_since(now)).unwrap_or(SOONEST);
    Action::requeue(wait.clamp(SOONEST, LONGEST))
}
