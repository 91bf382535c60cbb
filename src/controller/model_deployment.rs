//! The ModelDeployment controller.
//!
//! Needs: modeldeployments get, list, watch; modeldeployments/status patch; deployments, leaderworkersets, services, networkpolicies,
//! poddisruptionbudgets, resourceclaimtemplates get, list, watch, create, patch, delete; pods, endpointslices, horizontalpodautoscalers list, watch; nodes list; secrets,
//! configmaps get (named) and, in the gateway's namespace, secrets create, patch, delete; events create, patch.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind};
use crate::api::model_deployment::{ApiSource, ModelDeploymentStatus, SelfHosted};
use crate::cluster::{self, Owned};
use crate::plan::backend::{self, Answer, Materials};
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::{self, Key};
use crate::plan::scaling::others::Other;
use crate::plan::serving::{self, Decision, Devices, Inquiry, Moved, Observed, Pods, Rollout, Serving, Takes, Workload, adapters};
use crate::plan::{self, Invalid};

use super::adapters::Look;
use super::cache::{self, Standing};
use super::context::{Context, Error, pace, resync, retry, taken};
use super::drivers;

/// How often a provider that answered is asked again, so that a revoked key is noticed without traffic.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// How long to wait for a turn to ask a provider.
const BUSY: Duration = Duration::from_secs(1);

/// Makes the cluster match one ModelDeployment.
pub(super) async fn reconcile(md: Arc<ModelDeployment>, cx: Arc<Context>) -> Result<Action, Error> {
    let md = cx.cluster.stores.models.latest(&md);
    if md.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let done = match (&md.spec.self_hosted, &md.spec.api) {
        (Some(own), None) => {
            let other = Other::of(&md, &cx.cluster.stores.scalers.all(), serving::nodes(own) > 1);
            let is_scaled = own.scaling.is_some() || other.as_ref().is_some_and(|other| other.scales_workload);
            let own = serving::as_it_is(own, is_scaled, replicas(&md, own, &cx));
            serve(&md, &own, other.as_ref(), &cx).await
        }
        (None, Some(api)) => back(&md, api, &cx).await,
        // The CRD's rule refuses both and neither; an object stored before the rule existed says so here.
        _ => {
            let invalid = Invalid::new("spec", "exactly one of api and selfHosted must be set", "remove one, or add one");
            cx.refuse(&md, &invalid, cx.now()).await
        }
    };
    let invalid = match done {
        Err(Error(cluster::Error::NameTaken { kind, key })) => taken(&kind, &key),
        Err(Error(refused @ cluster::Error::Refused { .. })) => Invalid::new("spec", refused.to_string(), "correct what it names"),
        // Nothing can be made any more, and the object goes too.
        Err(Error(cluster::Error::Terminating { .. })) => return Ok(Action::await_change()),
        done => return done,
    };
    // Others may remove what is in the way, or raise a quota.
    cx.refuse(&md, &invalid, cx.now()).await?;
    let md = cx.cluster.stores.models.latest(&md);
    Ok(retry(md.status.as_ref().map_or(&[], |status| &status.conditions), cx.now()))
}

/// A model on our own machines: its children, and what they say.
async fn serve(md: &ModelDeployment, own: &SelfHosted, other: Option<&Other>, cx: &Context) -> Result<Action, Error> {
    let now = cx.now();
    // Before anything is fetched for it.
    if let Some(invalid) = missing(own, cx).await? {
        return refuse_for_now(md, &invalid, cx).await;
    }
    let before = cx.cluster.stores.deployments.get(&child(md));
    let (held, waiting) = match cache::hold(md, own, cx).await? {
        Standing::NotWanted => (None, None),
        Standing::Held(held, said) => (Some((held, said)), None),
        Standing::Waiting(waiting, again) => (None, Some((waiting, again))),
        // It may be another model that must change.
        Standing::Refused(invalid) => return refuse_for_now(md, &invalid, cx).await,
    };
    let pods = pods(md, cx);
    let serves = before.as_deref().filter(|_| adapters::can_start(&pods));
    let Serving {
        pods: workload,
        takes,
        service,
        claim,
        network,
        budget,
    } = match serving::plan_over(md, own, cx.installation(), held.as_ref().map(|(held, _)| held), serves) {
        Ok(serving) => serving,
        Err(invalid) => return cx.refuse(md, &invalid, now).await,
    };
    if let Some(claim) = &claim {
        cx.cluster.apply(claim).await?;
    }
    // Before the pods are there to be reached.
    cx.cluster.apply(&network).await?;
    cx.cluster.apply(&service).await?;
    cx.cluster
        .apply_or_prune::<PodDisruptionBudget>(budget.as_ref(), &child(md))
        .await?;
    let scene = Scene {
        md,
        own,
        other,
        pods: &pods,
        cached: held.as_ref().map(|(_, said)| said),
        waits: waiting.is_some(),
    };
    let (status, again) = match workload {
        Pods::Single(wanted) => bring::<_, LeaderWorkerSet>(scene, *wanted, takes, cx).await?,
        Pods::Grouped(wanted) => bring::<_, Deployment>(scene, *wanted, takes, cx).await?,
    };
    prune_claims(md, claim.as_ref(), &pods, cx).await?;
    let Some((waiting, later)) = waiting else {
        cx.report(md, status).await?;
        return Ok(again.map_or_else(resync, Action::requeue));
    };
    cx.report(md, plan::cache::status(md, own, &waiting, status, now)).await?;
    Ok(later)
}

/// A model whose pods are brought to what is wanted.
#[derive(Clone, Copy)]
struct Scene<'a> {
    md: &'a ModelDeployment,
    own: &'a SelfHosted,
    /// Whoever else scales it.
    other: Option<&'a Other>,
    /// Those there are.
    pods: &'a [Arc<Pod>],
    /// What is said of the cache that its weights are in.
    cached: Option<&'a Claim>,
    /// Whether its weights are waited for: pods of an earlier specification go on as they are.
    waits: bool,
}

/// Brings the pods to what is `wanted`, and says what they say and when to look again.
async fn bring<W: Workload + Owned, Former: Workload + Owned>(
    scene: Scene<'_>,
    mut wanted: W,
    takes: Takes,
    cx: &Context,
) -> Result<(ModelDeploymentStatus, Option<Duration>), Error> {
    let (md, own) = (scene.md, scene.own);
    if scene.waits {
        let stores = &cx.cluster.stores;
        let Some(live) = W::known(stores).get(&child(md)) else {
            let former = Former::known(stores).get(&child(md)).map(|live| live.seen()).unwrap_or_default();
            return Ok((serving::counted(&former, own, &cx.settings), None));
        };
        serving::stay(&mut wanted, &*live);
    }
    let live = roll_out::<W, Former>(scene, wanted, takes, cx).await?;
    let is_others = scene.other.is_some_and(|other| other.scales_workload);
    let moved = drivers::move_by::<W>(md, is_others, cx).await?;
    Ok(report(scene, &*live, moved, cx).await)
}

/// Makes the pods as `wanted`. Those that are still made by the other kind of workload stay until a replica of these answers where there is
/// room for both, and else go first.
async fn roll_out<W: Workload + Owned, Former: Owned>(
    scene: Scene<'_>,
    mut wanted: W,
    takes: Takes,
    cx: &Context,
) -> Result<Arc<W>, Error> {
    let Scene { md, own, other, pods, .. } = scene;
    let key = child(md);
    let before = W::known(&cx.cluster.stores).get(&key);
    serving::keep(&mut wanted, before.as_deref());
    let is_stuck = before.as_deref().is_some_and(|live| serving::is_stuck(live, pods));
    if other.is_some_and(|other| other.scales_workload) {
        serving::leave_to_others(&mut wanted);
    }
    if let Some(live) = before
        .as_deref()
        .filter(|live| serving::is_scaled(&wanted) && !serving::is_scaled(*live))
    {
        // Left out by whoever set it, the number would be that of a new workload.
        cx.cluster.scale(live, live.replicas().unsigned_abs()).await?;
    }
    let decision = match Former::known(&cx.cluster.stores).get(&key) {
        Some(_) if before.is_none() => serving::switch(own, takes),
        _ => serving::decide(own, takes, &wanted, before.as_deref(), is_stuck),
    };
    let rollout = match decision {
        Decision::Made(rollout) => rollout,
        Decision::NeedsRoom(devices) => room(md, &devices, cx).await?,
    };
    rollout.put_on(&mut wanted);
    if !rollout.surges {
        cx.cluster.prune::<Former>(&key).await?;
    }
    let mut live = cx.cluster.apply(&wanted).await?;
    // What is made anew of another kind begins with as many as that has.
    if before.is_none() && serving::is_scaled(&wanted) && live.replicas() != own.replicas {
        live = cx.cluster.scale(&*live, own.replicas.unsigned_abs()).await?;
    }
    // Where none is wanted, none will answer.
    if serving::answers(&*live) || own.replicas == 0 {
        cx.cluster.prune::<Former>(&key).await?;
    }
    Ok(live)
}

/// What the pods say, their engines included, and when to look again.
async fn report<W: Workload>(scene: Scene<'_>, live: &W, moved: Moved, cx: &Context) -> (ModelDeploymentStatus, Option<Duration>) {
    let Scene { md, own, pods, cached, .. } = scene;
    let routed = serving::routed(md, &cx.cluster.stores.slices.all());
    let (reply, ask_again) = match serving::inquire(md, own, live, pods, &routed) {
        Inquiry::Known(reply) => (reply, None),
        Inquiry::Ask(question) => cx.asker.ask(&Key::of(md), &question).await,
    };
    let observed = Observed {
        workload: live,
        pods,
        cached,
        is_routed: !routed.is_empty(),
        reply: &reply,
        other: scene.other,
    };
    let now = cx.now();
    let status = serving::status(md, own, &observed, now);
    let conditions = md.status.as_ref().map_or(&[][..], |status| &status.conditions);
    // Workers load what their leader is told.
    let answering: Vec<Arc<Pod>> = pods.iter().filter(|pod| !names::is_worker(pod.labels())).cloned().collect();
    let asks = adapters::asks(&md.name_any(), own, &answering);
    let Look { told, again } = cx.adapters.look(&Key::of(md), asks, pace(conditions, Kind::AdaptersLoaded, now));
    let status = adapters::with_adapters(status, md, own, (&answering, &told), now);
    let standing = cx.autoscaler.standing(&Key::of(md));
    let again_for_driver = moved.is_refused.then(|| pace(conditions, Kind::ScalingActive, now));
    let moved = moved.with_room(own, pods);
    let status = serving::with_scaling(status, md, own, (&standing, &moved, scene.other), now);
    let soonest = [ask_again, again, again_for_driver].into_iter().flatten().min();
    (serving::with_cost(status, own, &cx.settings), soonest)
}

/// What the model needs of the cluster that it does not have.
async fn missing(own: &SelfHosted, cx: &Context) -> Result<Option<Invalid>, Error> {
    if own.accelerator.as_ref().is_some_and(|accelerator| accelerator.claim.is_some()) && !cx.serves_claims {
        let problem = "this cluster has no claims for devices (resource.k8s.io/v1)";
        let remedy = "use a profile, or Kubernetes 1.34 or later; the operator looks for them when it starts";
        return Ok(Some(Invalid::new("spec.selfHosted.accelerator.claim", problem, remedy)));
    }
    if serving::nodes(own) > 1 && !cx.cluster.serves_groups().await? {
        return Ok(Some(Invalid::new(
            "spec.selfHosted.parallelism.nodes",
            "this cluster has no LeaderWorkerSets (leaderworkerset.x-k8s.io/v1)",
            "install their controller (https://lws.sigs.k8s.io), which is noticed within some minutes, or set it to 1",
        )));
    }
    Ok(None)
}

/// Says why a model cannot be carried out now, and looks at it again: what is in the way may go without a change of it.
async fn refuse_for_now(md: &ModelDeployment, invalid: &Invalid, cx: &Context) -> Result<Action, Error> {
    cx.refuse(md, invalid, cx.now()).await?;
    let md = cx.cluster.stores.models.latest(&Arc::new(md.clone()));
    Ok(retry(md.status.as_ref().map_or(&[], |status| &status.conditions), cx.now()))
}

/// The rollout that the nodes have room for: a look at all of them.
async fn room(md: &ModelDeployment, devices: &Devices, cx: &Context) -> Result<Rollout, Error> {
    let look = cx.cluster.look().await?;
    Ok(serving::room(devices, &look.nodes, &look.pods, is_of(md)))
}

/// A model behind an API: its credentials, the gateway's copy of them, and what the provider says.
async fn back(md: &ModelDeployment, api: &ApiSource, cx: &Context) -> Result<Action, Error> {
    let own = child(md);
    cx.cluster.prune::<PodDisruptionBudget>(&own).await?;
    cx.cluster.prune::<Service>(&own).await?;
    cx.cluster.prune::<Deployment>(&own).await?;
    cx.cluster.prune::<LeaderWorkerSet>(&own).await?;
    drivers::stop(md, cx).await?;
    // Not before those that still finish their answers are gone.
    if pods(md, cx).is_empty() {
        cx.cluster.prune::<NetworkPolicy>(&own).await?;
    }
    prune_claims(md, None, &pods(md, cx), cx).await?;
    if let Some(invalid) = backend::misplaced(api) {
        return cx.refuse(md, &invalid, cx.now()).await;
    }

    let key = Key::of(md);
    let secret = match &api.credentials {
        Some(credentials) => cx.cluster.secret(&Key::new(&key.namespace, &credentials.secret_ref.name)).await?,
        None => None,
    };
    let map = match &api.ca_bundle {
        Some(bundle) => {
            cx.cluster
                .config_map(&Key::new(&key.namespace, &bundle.config_map_ref.name))
                .await?
        }
        None => None,
    };
    let materials = Materials::of(api, &key.namespace, secret.as_ref(), map.as_ref());
    if md.status.as_ref().and_then(|s| s.observed_generation) != md.metadata.generation {
        // Asking takes time: say at once that this generation has been seen.
        cx.report(md, backend::status(md, api, &materials, None, cx.now())).await?;
    }
    let md = &*cx.cluster.stores.models.latest(&Arc::new(md.clone()));

    let copy = backend::secret(md, api, &materials, &cx.gateway_namespace);
    let copy_key = Key::new(&cx.gateway_namespace, names::backend_secret(&key));
    cx.cluster.apply_or_prune::<Secret>(copy.as_ref(), &copy_key).await?;
    if materials.are_unusable() {
        let status = backend::status(md, api, &materials, None, cx.now());
        cx.report(md, status).await?;
        return Ok(Action::requeue(ASK_AGAIN));
    }
    // Too many are being asked: others must not wait for that.
    let Some(answer) = cx.prober.ask(api, &materials, cx.now()).await else {
        return Ok(Action::requeue(BUSY.mul_f64(1.0 + fastrand::f64())));
    };
    let now = cx.now();
    let status = backend::status(md, api, &materials, Some(&answer), now);
    let again = match &answer {
        // A rejected key heals when its Secret changes, which is watched, or when the provider reconsiders.
        Answer::Accepted | Answer::Rejected(_) | Answer::Unusable(_) => Action::requeue(ASK_AGAIN),
        Answer::Unreachable(_) => retry(&status.conditions, now),
    };
    cx.report(md, status).await?;
    Ok(again)
}

/// How many replicas its workload is told to have.
pub(super) fn replicas(md: &ModelDeployment, own: &SelfHosted, cx: &Context) -> Option<i32> {
    let (stores, key) = (&cx.cluster.stores, child(md));
    let groups = || stores.groups.get(&key).map(|live| live.replicas());
    let single = || stores.deployments.get(&key).map(|live| live.replicas());
    // What comes to be made of the other kind begins with as many.
    match serving::nodes(own) > 1 {
        true => groups().or_else(single),
        false => single().or_else(groups),
    }
    .or_else(|| Some(md.status.as_ref()?.scaling.as_ref()?.desired_replicas))
}

/// The name of all that is made for its pods.
pub(super) fn child(md: &ModelDeployment) -> Key {
    Key::new(md.namespace().unwrap_or_default(), names::engine(&md.name_any()))
}

/// Removes what earlier claims were made from, once no pod needs it to be made again.
async fn prune_claims(md: &ModelDeployment, wanted: Option<&ResourceClaimTemplate>, pods: &[Arc<Pod>], cx: &Context) -> Result<(), Error> {
    let (namespace, name) = (md.namespace(), md.name_any());
    let is_its =
        |claim: &Arc<ResourceClaimTemplate>| claim.namespace() == namespace && claim.labels().get(names::MODEL_LABEL) == Some(&name);
    let claims: Vec<_> = cx.cluster.stores.claims.all().into_iter().filter(is_its).collect();
    for claim in serving::outdated(&claims, pods, wanted) {
        cx.cluster.prune::<ResourceClaimTemplate>(&Key::of(&**claim)).await?;
    }
    Ok(())
}

pub(super) fn pods(md: &ModelDeployment, cx: &Context) -> Vec<Arc<Pod>> {
    let is_own = is_of(md);
    cx.cluster.stores.pods.all().into_iter().filter(|pod| is_own(pod)).collect()
}

/// Tells the pods of the model from others.
fn is_of(md: &ModelDeployment) -> impl Fn(&Pod) -> bool {
    let (namespace, name) = (md.namespace(), md.name_any());
    move |pod| pod.metadata.namespace == namespace && names::is_pod_of(pod.labels(), &name)
}
