//! Filling the cache that a ModelDeployment asks for. Whoever of those that share it comes first makes its objects; the others find them.
//!
//! Needs: persistentvolumeclaims get, list, watch, create, patch, delete; jobs get, list, watch, create, delete; pods list, watch.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::runtime::controller::Action;

use crate::api::ModelDeployment;
use crate::api::condition::Claim;
use crate::api::model_deployment::SelfHosted;
use crate::plan::cache::{self, EVICT, FILL, Held, LIST, Listed, Seen, Share, Stage, Unused, Waiting, Wanted};
use crate::plan::names::{CACHE_LABEL, Key};
use crate::plan::{Invalid, serving};

use super::context::{Context, Error};

/// How often a fetch is asked how far it is.
const LOOK: Duration = Duration::from_secs(10);

/// Whether a ModelDeployment has its weights.
pub(super) enum Standing {
    /// It asks for no cache.
    NotWanted,
    /// They are there, and what is said of it.
    Held(Held, Claim),
    /// They are not, and when to look again.
    Waiting(Waiting, Action),
    /// They cannot be got so.
    Refused(Invalid),
}

/// Brings the cache of `md` one step further.
pub(super) async fn hold(md: &ModelDeployment, own: &SelfHosted, cx: &Context) -> Result<Standing, Error> {
    let Some(wanted) = cache::wanted(md, own) else {
        return Ok(Standing::NotWanted);
    };
    // Nothing is fetched for what cannot be served.
    if let Err(invalid) = serving::plan(md, own, cx.installation(), None) {
        return Ok(Standing::Refused(invalid));
    }
    let share = match wanted.share(md, &cx.cluster.stores.models.all()) {
        Ok(share) => share,
        Err(invalid) => return Ok(Standing::Refused(invalid)),
    };
    let seen = seen(&wanted, cx);
    let stage = cache::stage(&wanted, &seen, cx.now());
    match &stage {
        Stage::List => drop(cx.cluster.make_once(&wanted.list(cx.installation())).await?),
        Stage::Fill(listed) => {
            if let Err(invalid) = claim(&wanted, listed, &share, &seen, cx).await? {
                return Ok(Standing::Refused(invalid));
            }
            let place = serving::place(own, &cx.settings);
            cx.cluster.make_once(&wanted.fill(listed, &place, cx.installation())).await?;
        }
        Stage::Filling(listed, ..) | Stage::Held(Held { listed, .. }) => {
            if let Err(invalid) = claim(&wanted, listed, &share, &seen, cx).await? {
                return Ok(Standing::Refused(invalid));
            }
            // What it knew is in the other Job now.
            cx.cluster.prune::<Job>(&wanted.job(LIST)).await?;
        }
        Stage::Anew(steps) => {
            for step in steps {
                cx.cluster.prune::<Job>(&wanted.job(step)).await?;
            }
        }
        Stage::Listing(_) | Stage::Failed(..) | Stage::Evicting | Stage::Losing => {}
    }
    if let Stage::Held(held) = stage {
        let said = cache::held(&held, &wanted);
        return Ok(Standing::Held(held, said));
    }
    let progress = match &stage {
        Stage::Filling(_, Some(address), _) => cx.progress.of(address).await,
        _ => None,
    };
    let again = match &stage {
        // The last words of a Job's pod may come later than the word that it is over.
        Stage::Filling(_, Some(_), _) | Stage::Listing(_) => Action::requeue(LOOK),
        Stage::Failed(_, left) => Action::requeue(*left + Duration::from_secs(1)),
        // The Jobs are not gone before the watch says so.
        _ => Action::await_change(),
    };
    Ok(Standing::Waiting(Waiting::of(&stage, &wanted, progress.as_ref(), cx.now()), again))
}

/// Makes the claim, or lets it grow.
async fn claim(wanted: &Wanted<'_>, listed: &Listed, share: &Share, seen: &Seen, cx: &Context) -> Result<Result<(), Invalid>, Error> {
    match wanted.claim(listed, share, seen.claim.as_deref()) {
        Ok(Some(claim)) => drop(cx.cluster.apply(&claim).await?),
        Ok(None) => {}
        Err(invalid) => return Ok(Err(invalid)),
    }
    Ok(Ok(()))
}

/// What is there of it.
fn seen(wanted: &Wanted<'_>, cx: &Context) -> Seen {
    let stores = &cx.cluster.stores;
    let job = |step| stores.jobs.get(&wanted.job(step));
    let pods = stores.pods.all().into_iter();
    let is_its =
        |pod: &Arc<Pod>| pod.labels().get(CACHE_LABEL) == Some(&wanted.key.name) && pod.namespace().as_ref() == Some(&wanted.key.namespace);
    Seen {
        list: job(LIST),
        fill: job(FILL),
        evict: job(EVICT),
        claim: stores.volumes.get(&wanted.key),
        pods: pods.filter(is_its).collect(),
    }
}

/// Removes the caches that nobody uses, and says whether it could.
pub(super) async fn sweep(cx: &Context) -> bool {
    let stores = &cx.cluster.stores;
    let (deployments, groups) = (stores.deployments.all(), stores.groups.all());
    let made: Vec<Key> = (deployments.iter().filter_map(|workload| cache::read_by(&**workload)))
        .chain(groups.iter().filter_map(|workload| cache::read_by(&**workload)))
        .collect();
    let unused = cache::unused(
        &stores.jobs.all(),
        &stores.volumes.all(),
        &stores.models.all(),
        &stores.pods.all(),
        &made,
        &cx.image,
    );
    let mut is_done = true;
    for unused in unused {
        // One that cannot go holds up no other.
        if let Err(error) = remove(unused, cx).await {
            is_done = false;
            tracing::warn!(%error, "a cache that nobody uses could not be removed; it is tried again");
        }
    }
    is_done
}

async fn remove(unused: Unused, cx: &Context) -> Result<(), Error> {
    match unused {
        Unused::Evict { evict, fill } => {
            cx.cluster.make_once(&*evict).await?;
            // It waits for a fetch at work to end, and none may begin after it.
            cx.cluster.prune::<Job>(&fill).await?;
        }
        Unused::Remove { jobs, claim } => {
            for job in jobs {
                cx.cluster.prune::<Job>(&job).await?;
            }
            cx.cluster.prune::<PersistentVolumeClaim>(&claim).await?;
        }
    }
    Ok(())
}
