//! Asks every gateway what it has seen of policies, for their statuses. One that does not answer in time is asked again at the next turn; what it
//! counted meanwhile is told then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::UnboundedSender;
use futures::stream::{self, StreamExt};
use http::{Method, StatusCode, Uri};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ask::Ask;
use crate::cluster::{self, Known};
use crate::plan::evaluation::versions::Versions;
use crate::plan::names::Key;
use crate::plan::routing;
use crate::plan::traffic::{Figures, Report, Seen};

/// How often they are asked.
const EVERY: Duration = Duration::from_secs(15);
/// Figures that only move on are told at every so many-th turn: a status is written for each policy that has requests.
const TOLD_EVERY: u32 = 4;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many are asked at once.
const AT_ONCE: usize = 16;
/// The largest report that is read: some thousand policies.
const BODY_LIMIT: usize = 16 << 20;

/// What gateways have said.
pub struct Gateways {
    client: Ask,
    state: Mutex<State>,
}

struct State {
    seen: Seen,
    /// What statuses may say now, by policy.
    told: BTreeMap<String, Figures>,
    /// Of a policy that none of them has seen.
    idle: Figures,
}

/// Whose status is to say something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    One(Key),
    /// As when the first gateway answers.
    All,
    /// A model, whose provider answers with another version.
    Version(Key),
}

/// Where the gateways are.
pub(super) enum Whereabouts {
    /// Behind a Service, whose slices these are.
    Service(Arc<Known<EndpointSlice>>),
    /// There is one, at this base URL.
    Url(String),
}

/// The Service that the gateways' URL names, by namespace and name: `http://NAME.NAMESPACE`, with or without `.svc` and a domain.
pub(super) fn service(url: &str) -> Option<Key> {
    let url: Uri = url.parse().ok()?;
    let host = url.host()?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[');
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    let is_service = labels.next().is_none_or(|label| label == "svc");
    (!is_address && is_service).then(|| Key::new(namespace, name))
}

impl Whereabouts {
    /// Their base URLs, as far as they take requests.
    pub(super) fn urls(&self) -> BTreeSet<String> {
        match self {
            Self::Service(slices) => routing::addresses(&slices.all()),
            Self::Url(url) => [url.clone()].into(),
        }
    }
}

impl Gateways {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            client: Ask::new(Some(PATIENCE)),
            state: Mutex::new(State {
                seen: Seen::new(now),
                told: BTreeMap::new(),
                idle: Figures::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the status of a policy may say now; `None` where no gateway has said anything.
    pub(super) fn figures(&self, policy: &Key) -> Option<Figures> {
        let state = self.state();
        let figures = state.told.get(&policy.to_string()).unwrap_or(&state.idle);
        (figures.gateways > 0).then(|| figures.clone())
    }

    /// Which versions of their models providers answer with, by the model as `namespace/name`.
    pub(super) fn versions(&self) -> Versions {
        self.state().seen.versions()
    }

    /// Asks them for as long as the process lives; `moved` is told of policies whose figures are others, and of models that answer with another version.
    pub(super) async fn follow(self: Arc<Self>, whereabouts: &Whereabouts, moved: UnboundedSender<Moved>) {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in (0..TOLD_EVERY).cycle() {
            turns.tick().await;
            for other in self.ask(&whereabouts.urls(), turn == 0, cluster::now()).await {
                // Nobody listens when the process ends.
                moved.unbounded_send(other).ok();
            }
        }
    }

    /// Asks those at `urls`. The policies whose statuses are to say something else: where something is amiss or well again, at once.
    async fn ask(&self, urls: &BTreeSet<String>, is_time: bool, now: Timestamp) -> Vec<Moved> {
        let asked: Vec<_> = urls.iter().cloned().map(|url| self.report(url)).collect();
        let answers: Vec<Option<(String, Report)>> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let reports: BTreeMap<String, Report> = answers.into_iter().flatten().collect();
        let mut state = self.state();
        let known = state.seen.versions();
        state.seen.note(reports, urls, now);
        let other = state
            .seen
            .versions()
            .into_iter()
            .filter(|(model, versions)| known.get(model) != Some(versions));
        let other = other.filter_map(|(model, _)| key(&model)).map(Moved::Version);
        let mut moved: Vec<Moved> = other.collect();
        let figures = state.seen.figures(now);
        let idle = state.seen.idle(now);
        let is_other = |policy: &String| {
            let of = |figures: &BTreeMap<String, Figures>, idle: &Figures| figures.get(policy).unwrap_or(idle).clone();
            let (known, fresh) = (of(&state.told, &state.idle), of(&figures, &idle));
            known != fresh && (is_time || fresh.alarms_beside(&known))
        };
        let others: BTreeSet<String> = figures
            .keys()
            .chain(state.told.keys())
            .filter(|policy| is_other(policy))
            .cloned()
            .collect();
        for policy in &others {
            match figures.get(policy) {
                Some(figures) => state.told.insert(policy.clone(), figures.clone()),
                None => state.told.remove(policy),
            };
        }
        if std::mem::replace(&mut state.idle, idle.clone()) != idle {
            moved.push(Moved::All);
            return moved;
        }
        moved.extend(others.iter().filter_map(|policy| key(policy)).map(Moved::One));
        moved
    }

    async fn report(&self, url: String) -> Option<(String, Report)> {
        let of = format!("{url}/report");
        let asked = self.client.ask(Method::GET, &of, Bytes::new(), BODY_LIMIT);
        let answer = timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err("it does not answer in time".to_owned()));
        let report = answer.and_then(|(status, body)| match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            other => Err(format!("it answers HTTP {other}")),
        });
        match report {
            Ok(report) => Some((url, report)),
            Err(why) => {
                tracing::debug!(url, why, "a gateway does not say what it has seen");
                None
            }
        }
    }
}

/// From `namespace/name`.
fn key(name: &str) -> Option<Key> {
    name.split_once('/').map(|(namespace, name)| Key::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::routing::get;
    use axum::{Json, Router};

    use super::*;
    use crate::plan::traffic::{Counts, OfPolicy};

    /// A gateway that has answered so many requests.
    async fn gateway(requests: Arc<AtomicU64>) -> String {
        let report = async move || {
            let counts = Counts {
                requests: requests.load(Ordering::Relaxed),
                ..Counts::default()
            };
            let told = OfPolicy {
                counts,
                ..OfPolicy::default()
            };
            Json(Report {
                instance: 7,
                up_seconds: 100,
                policies: [("claims/assistant".to_owned(), told)].into(),
                versions: [("claims/gpt".to_owned(), format!("gpt-{}", requests.load(Ordering::Relaxed)))].into(),
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().route("/report", get(report))).await });
        url
    }

    #[tokio::test]
    async fn a_policy_is_moved_when_it_is_time_and_one_that_has_no_traffic_is_not() {
        let counted = Arc::new(AtomicU64::new(5));
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let urls: BTreeSet<String> = [gateway(counted.clone()).await, format!("http://{nobody}")].into();
        let (gateways, policy) = (Gateways::new(Timestamp::UNIX_EPOCH), Key::new("claims", "assistant"));
        let requests = |gateways: &Gateways| gateways.figures(&policy).map(|figures| figures.requests);
        let ask = async |is_time| gateways.ask(&urls, is_time, Timestamp::UNIX_EPOCH).await;
        assert_eq!(requests(&gateways), None);
        assert_eq!(
            ask(true).await,
            [Moved::Version(Key::new("claims", "gpt")), Moved::All],
            "the first gateway answers, and the other does not matter"
        );
        assert_eq!(requests(&gateways), Some(0), "what was before is of no known hour");
        counted.store(8, Ordering::Relaxed);
        assert_eq!(ask(false).await, [Moved::Version(Key::new("claims", "gpt"))], "at once");
        assert_eq!(gateways.versions()["claims/gpt"], ["gpt-8".to_owned()].into());
        assert_eq!(requests(&gateways), Some(0), "a status says what it was told");
        assert_eq!(ask(true).await, [Moved::One(policy.clone())]);
        assert_eq!(requests(&gateways), Some(3));
        assert_eq!(ask(true).await, [], "settled is silent");
    }

    #[test]
    fn the_service_is_known_by_its_name_in_a_cluster() {
        let key = |url| service(url).map(|key| key.to_string());
        assert_eq!(key("http://llm-gateway.llm").as_deref(), Some("llm/llm-gateway"));
        assert_eq!(key("http://g.llm.svc.cluster.local:8080").as_deref(), Some("llm/g"));
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "https://models.example.com",
            "http://[::1]:80",
            "x",
        ] {
            assert_eq!(key(url), None, "{url}");
        }
    }
}
