//! Asks engines how busy they are, where a target is about that. In the background: one that answers late, as engines do under load, keeps no decision
//! waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{Method, StatusCode};
use k8s_openapi::jiff::Timestamp;
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
/// How many are asked at once.
const AT_ONCE: usize = 64;
/// The largest answer that is read: vLLM's are some 100 KiB.
const BODY_LIMIT: usize = 4 << 20;

/// What the engines of one model said at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) at: Timestamp,
    pub(super) engines: Engines,
    /// Requests that wait in all of them that said so.
    pub(super) waiting: Option<f64>,
    /// The mean of the used part of their caches.
    pub(super) cache: Option<f64>,
}

impl Heard {
    fn of(said: &[Option<Gauges>], bounds: &Bounds, at: Timestamp) -> Self {
        let targets = &bounds.targets;
        // Where there is no engine, none is busy.
        let all = |gauge: fn(&Gauges) -> Option<f64>| -> Option<Vec<f64>> {
            let known: Vec<f64> = said.iter().flatten().filter_map(gauge).collect();
            (said.is_empty() || !known.is_empty()).then_some(known)
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
            waiting: all(|gauges| gauges.waiting).map(|known| known.iter().sum()),
            cache: all(|gauges| gauges.cache).map(|known| known.iter().sum::<f64>() / known.len().max(1) as f64),
        }
    }
}

impl Autoscaler {
    /// Asks for as long as the process lives.
    pub(super) async fn ask_engines(&self, cx: &Context) {
        let client = Ask::new(Some(PATIENCE));
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.hear_engines(&client, cx).await;
        }
    }

    /// Asks the engines of all models with a target about them.
    pub(super) async fn hear_engines(&self, client: &Ask, cx: &Context) {
        let models: Vec<(Key, EngineKind, Bounds)> = scaled(&cx.cluster.stores.models.all()).iter().filter_map(asked).collect();
        if models.is_empty() {
            return;
        }
        let mut addresses = routing::endpoints(&cx.cluster.stores.slices.all());
        let mut said: HashMap<Key, Vec<Option<Gauges>>> = models.iter().map(|(key, _, _)| (key.clone(), Vec::new())).collect();
        let questions: Vec<(Key, EngineKind, String)> = models
            .iter()
            .flat_map(|(key, kind, _)| {
                let urls = addresses.remove(key).unwrap_or_default();
                urls.into_iter().map(|url| (key.clone(), *kind, url))
            })
            .collect();
        let mut answers = stream::iter(questions)
            .map(|(key, kind, url)| async move { (key, ask(client, kind, &url).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((key, gauges)) = answers.next().await {
            said.entry(key).or_default().push(gauges);
        }
        let at = cx.now();
        let mut known = self.models();
        for (key, _, bounds) in &models {
            let said = said.get(key).map(Vec::as_slice).unwrap_or_default();
            known.entry(key.clone()).or_default().heard = Some(Heard::of(said, bounds, at));
        }
    }
}

/// What is to be asked of the engines of a model.
fn asked(md: &Arc<ModelDeployment>) -> Option<(Key, EngineKind, Bounds)> {
    let own = md.spec.self_hosted.as_ref()?;
    let bounds = Bounds::of(own.scaling.as_ref()?);
    let is_asked = bounds.targets.waiting.is_some() || bounds.targets.cache.is_some();
    is_asked.then(|| (Key::of(&**md), own.engine.kind, bounds))
}

async fn ask(client: &Ask, kind: EngineKind, url: &str) -> Option<Gauges> {
    let of = format!("{url}/metrics");
    let asked = client.ask(Method::GET, &of, Bytes::new(), BODY_LIMIT);
    match timeout(PATIENCE, asked).await {
        Ok(Ok((StatusCode::OK, body))) => Some(Gauges::read(kind, &String::from_utf8_lossy(&body))),
        _ => None,
    }
}
