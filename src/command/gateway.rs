//! `portfolio gateway`: the data plane of a cluster. Watches feed it; it writes nothing but what was spent of budgets.
//!
//! Needs: modeldeployments, routingpolicies, evaljobs, endpointslices, namespaces, configmaps, referencegrants list, watch; tokenreviews create; in its own namespace secrets list, watch,
//! and the ConfigMaps of what was spent get, update.

mod ledger;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};
use futures::future::BoxFuture;
use futures::stream::{self, select_all};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;

use crate::api::{EvalJob, ModelDeployment, RoutingPolicy, Settings};
use crate::cluster::watch::{Feed, vital};
use crate::cluster::{self, Connection, Grants, Known, tokens};
use crate::gateway::{self, ApiKeys, Credentials, Drain, Gateway, Options, ReviewUnavailable, Source, TokenReview};
use crate::plan::names::{API_KEY_LABEL, BACKEND_LABEL, DATA_CLASS_LABEL, MODEL_LABEL, TERMS_LABEL};
use crate::plan::price::Book;
use crate::plan::routing::{self, Client, Inputs, Terms};
use crate::plan::{api_key, backend};

use ledger::InCluster;

use super::limits::Limits;
use super::lines::Lines;
use super::prices::{self, Followed};
use super::start;

/// Moves that come together make one route table.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How soon it is told that the watches broke.
const LOOK: Duration = Duration::from_secs(2);

/// Flags of `portfolio gateway`.
#[derive(Args)]
pub struct Flags {
    /// The installer's settings, a YAML file.
    #[arg(long, env = "PORTFOLIO_SETTINGS")]
    settings: Option<PathBuf>,
    /// A price book, YAML or CSV, which is followed; may be given more than once: what an earlier one says wins.
    #[arg(long, value_name = "FILE")]
    prices: Vec<PathBuf>,
    /// The gateway's namespace, where credentials and API keys are.
    #[arg(long, env = "POD_NAMESPACE", default_value = "llm-portfolio")]
    namespace: String,
    /// Where clients reach it.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// What was spent of budgets is kept in the ConfigMaps PREFIX-0 to PREFIX-7 of that namespace, which all gateways share, unless the
    /// settings name a Redis (ledger.redis), whose password is in the environment variable PORTFOLIO_LEDGER_PASSWORD.
    #[arg(long, value_name = "PREFIX", default_value = "llm-portfolio-ledger")]
    ledger: String,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    #[arg(long, env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    /// Whether each request is told in the log, by a line without content whose target is `access`.
    #[arg(long, env = "PORTFOLIO_ACCESS_LOG", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_value_t = true, default_missing_value = "true")]
    access_log: bool,
    /// On SIGTERM: seconds from not being ready to accepting no more, for load balancers to notice.
    #[arg(long, default_value_t = 0)]
    announce_seconds: u64,
    /// From then on, seconds that answers may go on; those still open get an error event.
    #[arg(long, default_value_t = 600)]
    finish_seconds: u64,
}

pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let lines = start::logs_of_requests()?;
    start::runtime_beside_lanes()?.block_on(serve(flags, &lines))
}

async fn serve(flags: Flags, lines: &Lines) -> anyhow::Result<ExitCode> {
    let settings = start::settings(flags.settings.as_deref())?;
    let client = cluster::connect()
        .await
        .context("connecting to the cluster: set KUBECONFIG, or run in a pod")?;
    let stop = start::stop_on_signals()?;
    let (source, feed) = gateway::feed();
    let traces = start::traces(flags.ca_file.as_deref())?;
    let mut options = Options {
        access_log: flags.access_log,
        traces: traces.clone(),
        allow_anonymous: settings.allow_anonymous,
        ca_file: flags.ca_file,
        ledger: Arc::new(InCluster::new(client.clone(), flags.namespace.clone(), flags.ledger)),
        ..Options::new(cluster::now)
    };
    flags.limits.set(&mut options);
    start::ledger(&settings, &mut options)?;
    let gateway = Gateway::new(feed, Some(Arc::new(Reviewer(client.clone()))), &options)?;
    let listener = tokio::net::TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("listening on {}", flags.listen))?;
    let followed = prices::follow(flags.prices);
    tokio::spawn(tell_prices(Arc::clone(&gateway), followed.clone()));
    vital(
        "the feed of the gateway",
        watch(client, flags.namespace, source, settings, followed.book),
    );
    gateway::run(
        listener,
        gateway.clone(),
        stop,
        Drain {
            announce: Duration::from_secs(flags.announce_seconds),
            finish: Duration::from_secs(flags.finish_seconds),
        },
    )
    .await;
    gateway.give_back().await;
    start::finish(traces, lines).await;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the metrics of a gateway saying what its prices are.
async fn tell_prices(gateway: Arc<Gateway>, mut followed: Followed) {
    loop {
        let entries = followed.book.borrow_and_update().entries();
        let is_current = *followed.is_current.borrow_and_update();
        gateway.tell_prices(entries, is_current);
        let changed = async {
            tokio::select! { one = followed.book.changed() => one, other = followed.is_current.changed() => other }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

/// The API server's word on tokens.
struct Reviewer(Connection);

impl TokenReview for Reviewer {
    fn review(&self, token: String) -> BoxFuture<'static, Result<Option<Client>, ReviewUnavailable>> {
        let connection = self.0.clone();
        async move {
            let account = tokens::review(&connection, &token)
                .await
                .map_err(|error| ReviewUnavailable(error.to_string()))?;
            Ok(account.map(|account| Client::ServiceAccount {
                namespace: account.namespace,
                name: account.name,
            }))
        }
        .boxed()
    }
}

/// What the watches of a gateway show.
struct View {
    models: Arc<Known<ModelDeployment>>,
    policies: Arc<Known<RoutingPolicy>>,
    evaluations: Arc<Known<EvalJob>>,
    slices: Arc<Known<EndpointSlice>>,
    namespaces: Arc<Known<Namespace>>,
    backends: Arc<Known<Secret>>,
    keys: Arc<Known<Secret>>,
    maps: Arc<Known<ConfigMap>>,
    grants: Arc<Grants>,
    /// The terms that those hold, as they were last read.
    terms: Terms,
    book: watch::Receiver<Arc<Book>>,
}

/// Feeds the gateway from the cluster for as long as the process lives.
async fn watch(client: Connection, namespace: String, source: Source, settings: Settings, book: watch::Receiver<Arc<Book>>) {
    let mut models = Feed::<ModelDeployment>::everywhere(&client, "");
    let mut policies = Feed::<RoutingPolicy>::everywhere(&client, "");
    let mut evaluations = Feed::<EvalJob>::everywhere(&client, "");
    let mut slices = Feed::<EndpointSlice>::everywhere(&client, MODEL_LABEL);
    let mut namespaces = Feed::<Namespace>::everywhere(&client, DATA_CLASS_LABEL);
    let mut backends = Feed::<Secret>::within(&client, &namespace, BACKEND_LABEL);
    let mut keys = Feed::<Secret>::within(&client, &namespace, &format!("{API_KEY_LABEL}=true"));
    let mut maps = Feed::<ConfigMap>::everywhere(&client, &format!("{TERMS_LABEL}=true"));
    let (grants, grants_moves) = Grants::follow(&client);
    let mut view = View {
        models: models.known(),
        policies: policies.known(),
        evaluations: evaluations.known(),
        slices: slices.known(),
        namespaces: namespaces.known(),
        backends: backends.known(),
        keys: keys.known(),
        maps: maps.known(),
        grants: Arc::new(grants),
        terms: Terms::default(),
        book: book.clone(),
    };
    let mut moves = select_all([
        models.subscribe().map(drop).boxed(),
        policies.subscribe().map(drop).boxed(),
        evaluations.subscribe().map(drop).boxed(),
        slices.subscribe().map(drop).boxed(),
        namespaces.subscribe().map(drop).boxed(),
        backends.subscribe().map(drop).boxed(),
        keys.subscribe().map(drop).boxed(),
        maps.subscribe().map(drop).boxed(),
        grants_moves,
        changes(book).boxed(),
    ]);
    tokio::join!(
        models.start(),
        policies.start(),
        evaluations.start(),
        slices.start(),
        namespaces.start(),
        backends.start(),
        keys.start(),
        maps.start()
    );
    // Where there are grants, none of them is to be missed by the first table.
    if let Err(error) = view.grants.are_served().await {
        tracing::warn!(%error, "ReferenceGrants are not known yet");
    }
    let (grants, policies) = (Arc::clone(&view.grants), Arc::clone(&view.policies));
    vital("the search for ReferenceGrants", async move {
        grants.seek(|| policies.all().iter().any(|policy| routing::may_cross(policy))).await;
    });
    tracing::info!("the watches are complete");
    loop {
        view.publish(&source, &settings);
        let mut looks = tokio::time::interval(LOOK);
        // One future for all looks: a move that it has noticed must not be forgotten.
        let mut settled = std::pin::pin!(settle(&mut moves));
        loop {
            tokio::select! {
                () = &mut settled => break,
                _ = looks.tick() => view.tell_whether_current(&source),
            }
        }
    }
}

/// When another price book is there.
fn changes(book: watch::Receiver<Arc<Book>>) -> impl Stream<Item = ()> + Send {
    stream::unfold(book, async |mut book| {
        book.changed().await.ok()?;
        Some(((), book))
    })
}

/// Waits for a move, and for those that come with it.
async fn settle(moves: &mut (impl Stream<Item = ()> + Unpin)) {
    moves.next().await;
    tokio::time::sleep(DEBOUNCE).await;
    while moves.next().now_or_never().flatten().is_some() {}
}

impl View {
    /// A gateway whose API server is gone goes on with what it knows, and says so.
    fn tell_whether_current(&self, source: &Source) {
        let is_current = self.models.is_current()
            && self.policies.is_current()
            && self.evaluations.is_current()
            && self.slices.is_current()
            && self.namespaces.is_current()
            && self.backends.is_current()
            && self.keys.is_current()
            && self.maps.is_current()
            && self.grants.are_current();
        let was_current = source.is_current.send_replace(is_current);
        match (was_current, is_current) {
            (true, false) => tracing::warn!("the API server does not answer: routes and credentials stay as they were"),
            (false, true) => tracing::info!("the API server answers again: routes and credentials follow it"),
            (true, true) | (false, false) => {}
        }
    }

    /// Credentials first: a route must not be open before its credentials are there.
    fn publish(&mut self, source: &Source, settings: &Settings) {
        let models = self.models.all();
        let held = self.backends.all().into_iter().filter_map(|secret| backend::held(&secret));
        let credentials = Credentials::new(held, &source.credentials.borrow());
        source.credentials.send_replace(Arc::new(credentials));
        let keys = self.keys.all().into_iter().filter_map(|secret| api_key::read(&secret));
        source.api_keys.send_replace(Arc::new(ApiKeys::new(keys)));
        let maps = self.maps.all();
        self.terms = Terms::of(maps.iter().map(AsRef::as_ref), &self.terms);
        let decided = routing::build(&Inputs {
            models: &models,
            policies: &self.policies.all(),
            evaluations: &self.evaluations.all(),
            endpoints: &routing::endpoints(&self.slices.all()),
            prices: &self.book.borrow().clone(),
            namespaces: &routing::labels(&self.namespaces.all()),
            grants: &self.grants.all(),
            terms: &self.terms,
            settings,
            open_models: false,
            now: cluster::now(),
        });
        source.routes.send_replace(Some(Arc::new(decided.table)));
    }
}

#[cfg(test)]
mod tests;
