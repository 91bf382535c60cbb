//! Asks engines how busy they are, where a target is about that. In the background: one that answers late, as engines do under load, keeps no decision
//! waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{Method, StatusCode};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Autoscaler, EVERY, scaled};
use crate::api::ModelDeployment;
use crate::api::model_deployment::EngineKind;
use crate::controller::ask::Ask;
use crate::controller::context::Context;
use crate::plan::names::Key;
use crate::plan::routing;
use crate::plan::scaling::{Bounds, Engines, Gauges};

/// How long one may take.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long those of one model may take: one whose engines hang keeps others waiting no longer.
const OF_A_MODEL: Duration = Duration::from_secs(4);
/// How many models are asked at once, and how many engines of each.
const AT_ONCE: (usize, usize) = (16, 16);
/// How many answers are read at once: what they take at most is that many times [`BODY_LIMIT`].
const READ_AT_ONCE: usize = 32;
/// The largest answer that is read: vLLM's are some 100 KiB for each part that it runs in.
const BODY_LIMIT: usize = 2 << 20;

/// What the engines of one model said at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) at: Timestamp,
    pub(super) engines: Engines,
    /// Requests that wait in all of them that said so.
    pub(super) waiting: Option<f64>,
    /// Requests that they work on.
    pub(super) running: Option<f64>,
    /// The used parts of their caches, added.
    pub(super) cache: Option<f64>,
}

impl Heard {
    fn of(said: &[Option<Gauges>], bounds: &Bounds, at: Timestamp) -> Self {
        let targets = &bounds.targets;
        // Where there is no engine, none is busy.
        let sum = |gauge: fn(&Gauges) -> Option<f64>| -> Option<f64> {
            let known: Vec<f64> = said.iter().flatten().filter_map(gauge).collect();
            (said.is_empty() || !known.is_empty()).then(|| known.iter().sum())
        };
        let says_all = |gauges: &Gauges| {
            (targets.waiting.is_none() || gauges.waiting.is_some()) && (targets.cache.is_none() || gauges.cache.is_some())
        };
        let telling = said.iter().flatten().filter(|gauges| says_all(gauges)).count();
        Self {
            at,
            engines: Engines {
                asked: said.len(),
                silent: said.len() - telling,
            },
            waiting: sum(|gauges| gauges.waiting),
            running: sum(|gauges| gauges.running),
            cache: sum(|gauges| gauges.cache),
        }
    }
}

/// Asks, so many at once.
pub(super) struct Asker {
    client: Ask,
    room: Semaphore,
}

impl Asker {
    pub(super) fn new() -> Self {
        Self {
            client: Ask::new(Some(PATIENCE)),
            room: Semaphore::new(READ_AT_ONCE),
        }
    }

    async fn ask(&self, kind: EngineKind, url: String) -> Option<Gauges> {
        let _room = self.room.acquire().await.ok()?;
        let of = format!("{url}/metrics");
        let asked = self.client.ask(Method::GET, &of, Bytes::new(), BODY_LIMIT);
        match timeout(PATIENCE, asked).await {
            Ok(Ok((StatusCode::OK, body))) => str::from_utf8(&body).ok().map(|text| Gauges::read(kind, text)),
            _ => None,
        }
    }
}

impl Autoscaler {
    /// Asks for as long as the process lives.
    pub(super) async fn ask_engines(&self, cx: &Context) {
        let asker = Asker::new();
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.hear_engines(&asker, cx).await;
        }
    }

    /// Asks the engines of all models with a target about them.
    pub(super) async fn hear_engines(&self, asker: &Asker, cx: &Context) {
        let models: Vec<Asked> = scaled(&cx.cluster.stores.models.all()).iter().filter_map(asked).collect();
        if models.is_empty() {
            return;
        }
        let mut addresses = routing::endpoints(&cx.cluster.stores.slices.all());
        let questions: Vec<(Asked, Vec<String>)> = models
            .into_iter()
            .map(|asked| {
                let urls = addresses.remove(&asked.0).unwrap_or_default();
                (asked, urls)
            })
            .collect();
        stream::iter(questions)
            .for_each_concurrent(AT_ONCE.0, |(asked, urls)| self.hear(asker, asked, urls, cx.now()))
            .await;
    }

    /// Asks the engines of one model. Those that are not heard in time said nothing.
    async fn hear(&self, asker: &Asker, (key, kind, bounds): Asked, urls: Vec<String>, at: Timestamp) {
        let count = urls.len();
        let mut said: Vec<Option<Gauges>> = Vec::new();
        let mut answers = stream::iter(urls.into_iter().map(|url| asker.ask(kind, url))).buffer_unordered(AT_ONCE.1);
        let hears = async {
            while let Some(gauges) = answers.next().await {
                said.push(gauges);
            }
        };
        timeout(OF_A_MODEL, hears).await.ok();
        said.resize(count, None);
        self.models().entry(key).or_default().heard = Some(Heard::of(&said, &bounds, at));
    }
}

/// A model whose engines are asked.
type Asked = (Key, EngineKind, Bounds);

/// What is to be asked of the engines of a model.
fn asked(md: &Arc<ModelDeployment>) -> Option<Asked> {
    let own = md.spec.self_hosted.as_ref()?;
    // Only the targets count here, which are the same at all times.
    let bounds = Bounds::own(own.scaling.as_ref()?);
    let is_asked = bounds.targets.waiting.is_some() || bounds.targets.cache.is_some();
    is_asked.then(|| (Key::of(&**md), own.engine.kind, bounds))
}
