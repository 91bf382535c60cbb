//! Which moves wake which controller.
//!
//! ```text
//! ModelDeployment ◄─ itself, its children, its pods and endpoints, what its engine says of itself and its adapters, its credentials Secret,
//!                    its certificates ConfigMap, its backend Secret, the objects of its cache, what the autoscaler decides about it, what moves its
//!                    replicas for us (a HorizontalPodAutoscaler, a ScaledObject), others that scale it, and whether there is KEDA
//! EvalJob         ◄─ itself, its Jobs, their pods, the ModelDeployments that it evaluates, and with which versions of their models providers answer them
//! RoutingPolicy   ◄─ itself, what gateways say of its traffic, and every ModelDeployment, EvalJob, EndpointSlice and ReferenceGrant (all policies: they are few, and an unchanged one is silent)
//! All of these    ◄─ another price book
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::stream::{SelectAll, select_all};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::Resource;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::ObjectRef;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::settings::ImageVolumes;
use crate::api::{EvalJob, ModelDeployment, RoutingPolicy, Settings};
use crate::cluster::followed::Followed;
use crate::cluster::watch::{Feed, vital};
use crate::cluster::{self, Cluster, Connection, Grants, Stores};
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::{BACKEND_LABEL, CACHE_LABEL, DATA_CLASS_LABEL, EVAL_JOB_LABEL, Key, MANAGED_BY, MODEL_LABEL, TERMS_LABEL};
use crate::plan::price::Book;
use crate::plan::scaled_object::ScaledObject;
use crate::plan::scaling::driver::{Driver, Keda};
use crate::plan::{backend, cache, routing};

use super::adapters::Adapters;
use super::asker::Asker;
use super::autoscaler::Autoscaler;
use super::context::{Context, on_error};
use super::decided::Decided;
use super::gateways::{self, Gateways};
use super::metrics::Metrics;
use super::moves::{
    Reference, cache_of, changes, evaluations_of, gathered, how_it_scales, how_keda_scales, labelled, models_naming, models_reading,
    of_part, reference, scaled_by, whom_it_scales,
};
use super::probe::Prober;
use super::progress::Progresses;
use super::{eval_job, external_scaler, model_deployment, orphans, routing_policy};

/// Reconciles that run at once, per kind.
const CONCURRENCY: u16 = 16;
/// Moves of one object within this time are handled together.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// How long until an API server that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What the operator was started with.
pub struct Setup {
    /// What the installer decided.
    pub settings: Settings,
    /// What models cost that do not say so themselves, as it is from time to time.
    pub book: watch::Receiver<Arc<Book>>,
    /// The namespace of the gateway and the operator, where backend Secrets are kept.
    pub gateway_namespace: String,
    /// Where evaluations ask their questions.
    pub gateway_url: String,
    /// The image that evaluations run.
    pub image: String,
    /// Where KEDA's questions are answered.
    pub scaler_listen: SocketAddr,
    /// Where KEDA reaches that, as `host:port`; without it, KEDA scales nothing for us.
    pub scaler_address: Option<String>,
    /// Set once the watches are complete.
    pub ready: Arc<AtomicBool>,
    /// Says what there is to say from then on.
    pub metrics: Metrics,
}

type Triggers<K> = SelectAll<futures::stream::BoxStream<'static, ObjectRef<K>>>;

/// Runs the controllers until `stop`, after which reconciles under way are finished.
///
/// # Errors
/// When the certificate authorities of the machine cannot be read, or the address for KEDA's questions is taken.
pub async fn run(client: Connection, setup: Setup, stop: CancellationToken) -> anyhow::Result<()> {
    let ours = format!("app.kubernetes.io/managed-by={MANAGED_BY}");
    let mut models = Feed::<ModelDeployment>::everywhere(&client, "");
    let mut policies = Feed::<RoutingPolicy>::everywhere(&client, "");
    let mut evaluations = Feed::<EvalJob>::everywhere(&client, "");
    let mut deployments = Feed::<Deployment>::everywhere(&client, &ours);
    let mut services = Feed::<Service>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut networks = Feed::<NetworkPolicy>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut budgets = Feed::<PodDisruptionBudget>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut claims = Feed::<ResourceClaimTemplate>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut volumes = Feed::<PersistentVolumeClaim>::everywhere(&client, &format!("{ours},{CACHE_LABEL}"));
    let mut jobs = Feed::<Job>::everywhere(&client, &ours);
    let mut groups = Feed::<LeaderWorkerSet>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut autoscalers = Feed::<HorizontalPodAutoscaler>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut scaled_objects = Feed::<ScaledObject>::everywhere(&client, &format!("{ours},{MODEL_LABEL}"));
    let mut pods = Feed::<Pod>::everywhere(&client, &ours);
    let mut slices = Feed::<EndpointSlice>::everywhere(&client, MODEL_LABEL);
    let mut namespaces = Feed::<Namespace>::everywhere(&client, DATA_CLASS_LABEL);
    let gateway_service = gateways::service(&setup.gateway_url);
    let gateway_slices = gateway_service.map(|service| {
        let of_it = format!("kubernetes.io/service-name={}", service.name);
        Feed::<EndpointSlice>::within(&client, &service.namespace, &of_it)
    });
    let mut terms = Feed::<ConfigMap>::everywhere(&client, &format!("{TERMS_LABEL}=true"));
    let mut scalers = Feed::<HorizontalPodAutoscaler>::everywhere(&client, "");
    let mut backends = Feed::<Secret>::within(&client, &setup.gateway_namespace, BACKEND_LABEL);

    let stores = Stores {
        models: models.known(),
        policies: policies.known(),
        evaluations: evaluations.known(),
        deployments: deployments.known(),
        services: services.known(),
        networks: networks.known(),
        budgets: budgets.known(),
        claims: claims.known(),
        volumes: volumes.known(),
        groups: groups.known(),
        autoscalers: autoscalers.known(),
        scaled_objects: scaled_objects.known(),
        jobs: jobs.known(),
        pods: pods.known(),
        slices: slices.known(),
        namespaces: namespaces.known(),
        terms: terms.known(),
        scalers: scalers.known(),
        backends: backends.known(),
    };
    // Older clusters do not have them, and a watch of what is not there would never be complete.
    let serves_claims = tokio::select! {
        answer = serves::<ResourceClaimTemplate>(&client) => answer,
        () = stop.cancelled() => return Ok(()),
    };
    let mounts_images = tokio::select! {
        answer = mounts_images(&client, setup.settings.image_volumes) => answer,
        () = stop.cancelled() => return Ok(()),
    };
    let (grants, grants_moves) = Grants::follow(&client);
    let (heard, engines_heard) = unbounded::<Key>();
    let (adapters_moved, adapters_moves) = unbounded::<Key>();
    let (scaled, scaled_moves) = unbounded::<Key>();
    let cx = Arc::new(Context {
        cluster: Cluster::new(client.clone(), stores),
        grants: Arc::new(grants),
        settings: setup.settings,
        book: setup.book.clone(),
        gateway_namespace: setup.gateway_namespace,
        serves_claims,
        mounts_images,
        gateway_url: setup.gateway_url.clone(),
        image: setup.image,
        scaler_address: setup.scaler_address,
        prober: Prober::new()?,
        progress: Progresses::new(),
        asker: Asker::new(heard),
        decided: Decided::default(),
        autoscaler: Arc::new(Autoscaler::new(scaled)),
        gateways: Arc::new(Gateways::new(cluster::now())),
        adapters: Adapters::new(adapters_moved),
    });

    let (secret_moved, secrets_moved) = unbounded::<Key>();
    let (map_moved, maps_moved) = unbounded::<Key>();
    let naming = |moved: UnboundedReceiver<Key>, part: Reference| {
        let known = models.known();
        moved.flat_map(move |named| futures::stream::iter(models_naming(&known.all(), &named, part)))
    };
    let by_secret = naming(secrets_moved, orphans::credentials);
    let by_map = naming(maps_moved, orphans::certificates);
    let by_cache = {
        let known = models.known();
        let moved = select_all([
            cache_of(volumes.subscribe()).boxed(),
            cache_of(jobs.subscribe()).boxed(),
            cache_of(pods.subscribe()).boxed(),
        ]);
        moved.flat_map(move |cache| futures::stream::iter(models_reading(&known.all(), &cache)))
    };
    let model_triggers: Triggers<ModelDeployment> = select_all([
        labelled(deployments.subscribe(), MODEL_LABEL).boxed(),
        labelled(services.subscribe(), MODEL_LABEL).boxed(),
        labelled(networks.subscribe(), MODEL_LABEL).boxed(),
        labelled(budgets.subscribe(), MODEL_LABEL).boxed(),
        labelled(claims.subscribe(), MODEL_LABEL).boxed(),
        labelled(groups.subscribe(), MODEL_LABEL).boxed(),
        labelled(of_part(autoscalers.subscribe(), autoscalers.known(), how_it_scales), MODEL_LABEL).boxed(),
        labelled(
            of_part(scaled_objects.subscribe(), scaled_objects.known(), how_keda_scales),
            MODEL_LABEL,
        )
        .boxed(),
        labelled(pods.subscribe(), MODEL_LABEL).boxed(),
        labelled(slices.subscribe(), MODEL_LABEL).boxed(),
        scaled_by(of_part(scalers.subscribe(), scalers.known(), whom_it_scales), scalers.known()).boxed(),
        engines_heard.map(|model| reference(&model)).boxed(),
        backends
            .subscribe()
            .filter_map(async |secret| backend::model_of(&secret).map(|model| reference(&model)))
            .boxed(),
        by_secret.boxed(),
        by_map.boxed(),
        by_cache.boxed(),
        adapters_moves.map(|model| reference(&model)).boxed(),
        scaled_moves.map(|model| reference(&model)).boxed(),
    ]);
    let by_model = {
        let known = evaluations.known();
        models
            .subscribe()
            .flat_map(move |model| futures::stream::iter(evaluations_of(&known.all(), &Key::of(&*model))))
    };
    let (other_version, other_versions) = unbounded::<Key>();
    let by_version = {
        let known = evaluations.known();
        other_versions.flat_map(move |model| futures::stream::iter(evaluations_of(&known.all(), &model)))
    };
    let evaluation_triggers: Triggers<EvalJob> = select_all([
        labelled(jobs.subscribe(), EVAL_JOB_LABEL).boxed(),
        labelled(pods.subscribe(), EVAL_JOB_LABEL).boxed(),
        by_model.boxed(),
        by_version.boxed(),
    ]);
    let policy_moves = gathered(select_all([
        models.subscribe().map(drop).boxed(),
        evaluations.subscribe().map(drop).boxed(),
        slices.subscribe().map(drop).boxed(),
        namespaces.subscribe().map(drop).boxed(),
        terms.subscribe().map(drop).boxed(),
        policies.subscribe().map(drop).boxed(),
        grants_moves,
    ]));
    let chores = gathered(select_all([
        models.subscribe().map(drop).boxed(),
        backends.subscribe().map(drop).boxed(),
        volumes.subscribe().map(drop).boxed(),
        cache_of(jobs.subscribe()).map(drop).boxed(),
        // The last to read one may be gone.
        deployments.subscribe().map(drop).boxed(),
        groups.subscribe().map(drop).boxed(),
        pods.subscribe().filter_map(async |pod| cache::mounted_by(&pod)).map(drop).boxed(),
    ]));

    let config = || controller::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let (model_store, policy_store, evaluation_store) = (models.store(), policies.store(), evaluations.store());
    let models_control = Controller::for_shared_stream(models.subscribe(), model_store)
        .reconcile_on(model_triggers)
        .reconcile_all_on(changes(setup.book.clone()))
        .reconcile_all_on(changes(cx.cluster.keda.changes()))
        .with_config(config());
    let evaluations_control = Controller::for_shared_stream(evaluations.subscribe(), evaluation_store)
        .reconcile_on(evaluation_triggers)
        .reconcile_all_on(changes(setup.book.clone()))
        .with_config(config());
    let policies_known = policies.known();
    let (told, tellings) = unbounded::<gateways::Moved>();
    let by_traffic = {
        let known = policies.known();
        tellings.flat_map(move |moved| {
            let of = match moved {
                gateways::Moved::One(policy) => vec![policy],
                gateways::Moved::All => known.all().iter().map(|policy| Key::of(&**policy)).collect(),
                gateways::Moved::Version(model) => {
                    // Nobody listens when the process ends.
                    other_version.unbounded_send(model).ok();
                    Vec::new()
                }
            };
            futures::stream::iter(of.into_iter().map(|policy| reference(&policy)))
        })
    };
    let policies_control = Controller::for_shared_stream(policies.subscribe(), policy_store)
        .reconcile_all_on(policy_moves)
        .reconcile_all_on(changes(setup.book))
        .reconcile_on(by_traffic)
        .with_config(config());

    tokio::join!(
        models.start(),
        policies.start(),
        evaluations.start(),
        deployments.start(),
        services.start()
    );
    tokio::join!(
        networks.start(),
        budgets.start(),
        volumes.start(),
        jobs.start(),
        pods.start(),
        slices.start(),
        namespaces.start(),
        terms.start(),
        scalers.start(),
        autoscalers.start(),
        backends.start()
    );
    if serves_claims {
        claims.start().await;
    }
    let whereabouts = match gateway_slices {
        Some(slices) => {
            let known = slices.known();
            slices.start().await;
            gateways::Whereabouts::Service(known)
        }
        None => gateways::Whereabouts::Url(setup.gateway_url.clone()),
    };
    cx.cluster.groups.follow(groups);
    cx.cluster.keda.follow(scaled_objects);
    // Where they are, what there is must be known before anything is decided; where they are not, models that ask for them look again.
    tokio::select! {
        _ = until_known(async || cx.cluster.serves_groups().await) => {}
        () = stop.cancelled() => return Ok(()),
    }
    // Who moves replicas is not to change because the server was slow to say so. What it does not let us list is not there for us.
    tokio::select! {
        served = until_known(async || cluster::serves::<ScaledObject>(&client).await) => if served
            && let Err(error) = cx.cluster.keda.is_served::<ScaledObject>().await
        {
            tracing::warn!(%error, "KEDA is there, and its ScaledObjects cannot be listed: the operator scales models itself");
        },
        () = stop.cancelled() => return Ok(()),
    }
    tokio::select! {
        served = cx.grants.are_served() => drop(served.inspect_err(|error| tracing::warn!(%error, "ReferenceGrants are not known yet"))),
        () = stop.cancelled() => return Ok(()),
    }
    let (grants, known) = (Arc::clone(&cx.grants), policies_known);
    vital("the search for ReferenceGrants", async move {
        grants.seek(|| known.all().iter().any(|policy| routing::may_cross(policy))).await;
    });
    let keda = Arc::clone(&cx);
    vital("the search for KEDA", async move {
        keda.cluster.keda.seek::<ScaledObject>(|| wants_keda(&keda)).await;
    });
    setup.metrics.are_of(&cx);
    tracing::info!("the watches are complete");
    setup.ready.store(true, Ordering::Relaxed);

    let stopped = || stop.clone().cancelled_owned();
    let models_control = models_control.graceful_shutdown_on(stopped()).run(
        model_deployment::reconcile,
        |md, error, cx| on_error(md.status.as_ref().map_or(&[], |s| &s.conditions), error, &cx),
        Arc::clone(&cx),
    );
    let evaluations_control = evaluations_control.graceful_shutdown_on(stopped()).run(
        eval_job::reconcile,
        |job, error, cx| on_error(job.status.as_ref().map_or(&[], |s| &s.conditions), error, &cx),
        Arc::clone(&cx),
    );
    let policies_control = policies_control.graceful_shutdown_on(stopped()).run(
        routing_policy::reconcile,
        |policy, error, cx| on_error(policy.status.as_ref().map_or(&[], |s| &s.conditions), error, &cx),
        Arc::clone(&cx),
    );
    let named = orphans::Named {
        secrets: Followed::new(client.clone(), secret_moved),
        maps: Followed::new(client, map_moved),
    };
    let scaling = cx.autoscaler.clone().follow(&whereabouts, &cx);
    let scaling = async {
        tokio::select! { () = scaling => {}, () = stop.cancelled() => {} }
    };
    let scaler = TcpListener::bind(setup.scaler_listen).await;
    let scaler = scaler.with_context(|| format!("--scaler-listen {}", setup.scaler_listen))?;
    let answers = external_scaler::serve(scaler, Arc::clone(&cx), stop.clone());
    let reports = cx.gateways.clone().follow(&whereabouts, told);
    let reports = async {
        tokio::select! { () = reports => {}, () = stop.cancelled() => {} }
    };
    let chores = orphans::run(Arc::clone(&cx), named, chores);
    let chores = async {
        tokio::select! { () = chores => {}, () = stop.cancelled() => {} }
    };
    // Together to the end, unless one ends before it was told to: then none goes on, and the process is started anew.
    let until_stopped = async |ended: &mut (dyn Future<Output = ()> + Unpin + Send), what: &str| {
        ended.await;
        anyhow::ensure!(stop.is_cancelled(), "{what} ended by itself");
        Ok(())
    };
    let (mut models_control, mut evaluations_control) = (finished(models_control).boxed(), finished(evaluations_control).boxed());
    let (mut policies_control, mut chores, mut reports) = (finished(policies_control).boxed(), chores.boxed(), reports.boxed());
    let (mut scaling, mut answers) = (scaling.boxed(), answers.boxed());
    tokio::try_join!(
        until_stopped(&mut models_control, "the ModelDeployment controller"),
        until_stopped(&mut evaluations_control, "the EvalJob controller"),
        until_stopped(&mut policies_control, "the RoutingPolicy controller"),
        until_stopped(&mut chores, "the care for Secrets"),
        until_stopped(&mut reports, "asking the gateways"),
        until_stopped(&mut scaling, "the autoscaler"),
        until_stopped(&mut answers, "answering KEDA"),
    )?;
    Ok(())
}

/// Whether a model would be scaled by KEDA.
fn wants_keda(cx: &Context) -> bool {
    let there = Keda {
        is_served: true,
        ..cx.keda()
    };
    let wants = |md: &Arc<ModelDeployment>| {
        let scaling = md.spec.self_hosted.as_ref().and_then(|own| own.scaling.as_ref());
        scaling.is_some_and(|scaling| Driver::of(scaling, there) == Driver::Keda)
    };
    cx.cluster.stores.models.all().iter().any(wants)
}

/// Whether the API server has the kind.
async fn serves<K: Resource<DynamicType = ()>>(client: &Connection) -> bool {
    until_known(async || cluster::serves::<K>(client).await).await
}

/// What the API server says it has, asked until it answers: one that is just starting is no reason to give up.
async fn until_known<E: std::fmt::Display>(ask: impl AsyncFn() -> Result<bool, E>) -> bool {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "the API server does not say what it has, and is asked again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Whether pods mount images, asked until the API server answers if it depends on that.
async fn mounts_images(client: &Connection, setting: ImageVolumes) -> bool {
    loop {
        if setting != ImageVolumes::Auto {
            return setting.are_used(None);
        }
        match cluster::version(client).await {
            Ok(version) => return setting.are_used(Some(version)),
            Err(error) => tracing::warn!(%error, "the API server does not say its version, and is asked again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Results are reported where they happen; a deleted object that is still queued is no news.
async fn finished<T, E: std::fmt::Debug>(results: impl Stream<Item = Result<T, E>>) {
    results
        .for_each(async |result| drop(result.inspect_err(|error| tracing::debug!(?error, "not reconciled"))))
        .await;
}
