//! Telling engines which adapters to have. A reconcile never waits for an engine: what a pod lacks is told to it in a task, whose end wakes
//! the model. What each pod acknowledged is remembered here, so that a settled model costs no request; after a restart of the operator each
//! pod is asked for its list once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::UnboundedSender;
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::plan::names::Key;
use crate::plan::serving::adapters::{Ask, Has, Told, Verb, verbs};
use crate::protocol::vllm;

use super::ask;

/// To connect, and for answers that need no work.
const QUICK: Duration = Duration::from_secs(10);
/// For an adapter to be downloaded and loaded.
const LOAD: Duration = Duration::from_secs(600);
/// Engines that are told something at once.
const AT_ONCE: usize = 16;
/// More than any list of a model's adapters.
const LIST_LIMIT: usize = 1 << 20;

/// Tells engines, and remembers what they said.
#[derive(Clone)]
pub struct Adapters(Arc<Inner>);

struct Inner {
    client: ask::Ask,
    permits: Semaphore,
    moved: UnboundedSender<Key>,
    /// By the uid of the pod.
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    model: Key,
    /// What is being asked in a task.
    asking: Option<Ask>,
    told: Option<(Told, Instant)>,
}

/// What is known of the pods of one model.
pub struct Look {
    /// What each said, by its uid.
    pub told: BTreeMap<String, Told>,
    /// When one that refused something is to be asked again.
    pub again: Option<Duration>,
}

impl Adapters {
    /// Tells the name of each model whose pods have said something to `moved`.
    pub fn new(moved: UnboundedSender<Key>) -> Self {
        Self(Arc::new(Inner {
            client: ask::Ask::new(Some(QUICK)),
            permits: Semaphore::new(AT_ONCE),
            moved,
            known: Mutex::default(),
        }))
    }

    /// What the pods of `model` said to `asks`, all of them; those that were not asked, or refused something `pace` ago, are asked now.
    pub fn look(&self, model: &Key, asks: Vec<Ask>, pace: Duration) -> Look {
        let mut known = self.0.known();
        let present: HashSet<&str> = asks.iter().map(|ask| ask.uid.as_str()).collect();
        known.retain(|uid, entry| entry.model != *model || entry.asking.is_some() || present.contains(uid.as_str()));
        let mut look = Look {
            told: BTreeMap::new(),
            again: None,
        };
        for ask in asks {
            let entry = known.entry(ask.uid.clone()).or_insert_with(|| Known {
                model: model.clone(),
                asking: None,
                told: None,
            });
            // After a restart the engine has what it starts with.
            entry.told.take_if(|(told, _)| told.ask.restarts != ask.restarts);
            let due = match &entry.told {
                Some((told, at)) if told.ask == ask => (!told.is_done()).then(|| pace.saturating_sub(at.elapsed())),
                _ => Some(Duration::ZERO),
            };
            look.told
                .extend(entry.told.as_ref().map(|(told, _)| (ask.uid.clone(), told.clone())));
            match due.filter(|_| entry.asking.is_none()) {
                Some(Duration::ZERO) => {
                    entry.asking = Some(ask.clone());
                    let (adapters, model) = (self.clone(), model.clone());
                    tokio::spawn(async move { adapters.tell(model, ask).await });
                }
                Some(later) => look.again = Some(look.again.map_or(later, |soonest| soonest.min(later))),
                None => {}
            }
        }
        look
    }

    /// Forgets the pods of models that are gone.
    pub fn retain(&self, is_there: impl Fn(&Key) -> bool) {
        self.0.known().retain(|_, known| known.asking.is_some() || is_there(&known.model));
    }

    async fn tell(&self, model: Key, ask: Ask) {
        let told = {
            // Never closed.
            let _permit = self.0.permits.acquire().await;
            self.0.tell(ask).await
        };
        for (name, words) in &told.refused {
            tracing::warn!(%model, pod = %told.ask.url, adapter = name, words, "an engine refused an adapter");
        }
        tracing::info!(%model, pod = %told.ask.url, has = ?told.has.keys(), "asked an engine for its adapters");
        if let Some(known) = self.0.known().get_mut(&told.ask.uid) {
            known.asking = None;
            known.told = Some((told, Instant::now()));
        }
        // Without a receiver the process is ending.
        self.0.moved.unbounded_send(model).ok();
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the list, tells what differs, and reads the list again: only what it shows is acknowledged.
    async fn tell(&self, ask: Ask) -> Told {
        let mut told = Told {
            ask,
            has: Has::new(),
            refused: BTreeMap::new(),
            unanswered: None,
        };
        match self.list(&told.ask.url).await {
            Ok(has) => told.has = has,
            Err(why) => {
                told.unanswered = Some(why);
                return told;
            }
        }
        let differs = verbs(&told.ask, &told.has);
        for verb in &differs {
            if let Err(words) = self.verb(&told.ask.url, verb).await {
                told.refused.insert(verb.name().to_owned(), words);
            }
        }
        if !differs.is_empty() {
            match self.list(&told.ask.url).await {
                Ok(has) => told.has = has,
                Err(why) => told.unanswered = Some(why),
            }
        }
        // What was there already, or gone already, is as it should be, whatever was said.
        let left = verbs(&told.ask, &told.has);
        told.refused.retain(|name, _| left.iter().any(|verb| verb.name() == name));
        for verb in left {
            let unsaid = || "it said that it did, and its list does not show it".to_owned();
            told.refused.entry(verb.name().to_owned()).or_insert_with(unsaid);
        }
        told
    }

    async fn list(&self, url: &str) -> Result<Has, String> {
        let (status, body) = self
            .ask(Method::GET, &format!("{url}{}", vllm::MODELS), Bytes::new(), QUICK)
            .await?;
        if !status.is_success() {
            return Err(format!("its list of models answers {}: {}", status.as_u16(), vllm::words(&body)));
        }
        vllm::adapters(&body).map_err(|error| format!("its list of models cannot be read: {error}"))
    }

    async fn verb(&self, url: &str, verb: &Verb) -> Result<(), String> {
        let (path, body, limit) = match verb {
            Verb::Load { module, in_place } => (vllm::LOAD, vllm::load(&module.name, &module.path, *in_place), LOAD),
            Verb::Unload(name) => (vllm::UNLOAD, vllm::unload(name), QUICK),
        };
        let (status, said) = self
            .ask(Method::POST, &format!("{url}{path}"), body.to_string().into(), limit)
            .await?;
        match status {
            status if status.is_success() => Ok(()),
            status => Err(format!("{} ({})", vllm::words(&said), status.as_u16())),
        }
    }

    async fn ask(&self, method: Method, url: &str, body: Bytes, limit: Duration) -> Result<(StatusCode, Bytes), String> {
        let answer = self.client.ask(method, url, body, LIST_LIMIT);
        let late = |_| Err(format!("no answer within {} s", limit.as_secs()));
        tokio::time::timeout(limit, answer).await.unwrap_or_else(late)
    }
}

#[cfg(test)]
mod tests;
