//! Asking an engine for its first token. In the background, so that one that hangs holds up nobody: a reconcile waits for a moment, which is
//! enough for most, and is woken when an answer comes later. An engine that fails is asked again, the longer it fails the later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::channel::mpsc::UnboundedSender;
use http::Method;
use tokio::sync::{Semaphore, oneshot};

use crate::api::model_deployment::{Answered, Operation};
use crate::plan::names::Key;
use crate::plan::serving::{self, Meaning, OPERATIONS, Question, Reply, Said, What};

use super::ask::Ask;
use super::context::wait_after;

/// How long a reconcile waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an engine may take for one token: at first, and at most. Twice as long at each attempt, because a slow one must not fail for
/// ever, and one that hangs is to be told of within seconds.
const DEADLINE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));
/// How many are asked at once.
const AT_ONCE: usize = 32;
/// The largest answer that is read: an embedding has some thousand numbers.
const BODY_LIMIT: usize = 1 << 20;
/// How long a failure is remembered after the time to ask again: later its model is gone.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Asks engines.
pub struct Asker(Arc<Shared>);

struct Shared {
    client: Ask,
    permits: Semaphore,
    /// The latest of each model.
    attempts: Mutex<HashMap<Key, Attempt>>,
    /// Told of each model whose engine said something when no reconcile waited for it any more.
    heard: UnboundedSender<Key>,
}

/// An attempt to get a token.
struct Attempt {
    template: String,
    /// Which pod is asked.
    url: String,
    /// How many there were before it for this template, and when the first of them began.
    number: u32,
    since: Instant,
    state: State,
}

enum State {
    UnderWay,
    Answered(Operation),
    Failed { said: Vec<Said>, again: Instant },
}

impl Asker {
    /// `heard` is told of the models whose engines said something that no reconcile waited for.
    #[must_use]
    pub fn new(heard: UnboundedSender<Key>) -> Self {
        Self(Arc::new(Shared {
            client: Ask::new(None),
            permits: Semaphore::new(AT_ONCE),
            attempts: Mutex::default(),
            heard,
        }))
    }

    /// What the engine of `model` says, and how long until it is time to ask again. Asks once at most, and not before that time.
    pub async fn ask(&self, model: &Key, question: &Question) -> (Reply, Option<Duration>) {
        if let Some(turn) = Turn::take(&self.0, model, question) {
            let (done, waiting) = oneshot::channel();
            tokio::spawn(turn.run(question.model.clone(), done));
            // Whether it came in time is read from the attempt.
            tokio::time::timeout(PATIENCE, waiting).await.ok();
        }
        self.0.known(model, &question.template)
    }
}

impl Shared {
    fn attempts(&self) -> MutexGuard<'_, HashMap<Key, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, model: &Key, template: &str) -> (Reply, Option<Duration>) {
        let mut attempts = self.attempts();
        match attempts
            .get(model)
            .filter(|attempt| attempt.template == template)
            .map(|attempt| &attempt.state)
        {
            Some(State::Answered(operation)) => {
                let answered = Answered {
                    template: template.to_owned(),
                    operation: *operation,
                };
                // The status remembers it from here on.
                attempts.remove(model);
                (Reply::Answered(answered), None)
            }
            Some(State::Failed { said, again }) => (Reply::Failed(said.clone()), Some(again.saturating_duration_since(Instant::now()))),
            Some(State::UnderWay) | None => (Reply::Asked, None),
        }
    }

    /// Asks for one token of one operation after the other, until one is answered or it is clear that none will be.
    async fn converse(&self, url: &str, model: &str, deadline: Duration) -> Result<Operation, Vec<Said>> {
        let mut said = vec![];
        for operation in OPERATIONS {
            let answer = tokio::time::timeout(deadline, self.request(url, operation, model)).await;
            let meaning = match answer {
                Err(_) => Meaning::NotNow(What::Silent(deadline)),
                Ok(Err(why)) => Meaning::NotNow(What::Unreachable(why)),
                Ok(Ok((status, body))) => serving::meaning(operation, status, &body),
            };
            match meaning {
                Meaning::Answer => return Ok(operation),
                Meaning::NotThis(what) => said.push(Said { operation, what }),
                Meaning::NotNow(what) => {
                    said.push(Said { operation, what });
                    break;
                }
            }
        }
        Err(said)
    }

    async fn request(&self, url: &str, operation: Operation, model: &str) -> Result<(u16, Bytes), String> {
        let (path, body) = serving::request(operation, model);
        let (url, body) = (format!("{url}{path}"), body.to_string().into());
        let (status, body) = self.client.ask(Method::POST, &url, body, BODY_LIMIT).await?;
        Ok((status.as_u16(), body))
    }
}

/// The right to make one attempt. Whatever becomes of it, the next one may follow.
struct Turn {
    shared: Arc<Shared>,
    model: Key,
    template: String,
    url: String,
    number: u32,
}

impl Turn {
    /// Begins the next attempt, if it is time for one.
    fn take(shared: &Arc<Shared>, model: &Key, question: &Question) -> Option<Self> {
        let now = Instant::now();
        let mut attempts = shared.attempts();
        attempts.retain(|_, attempt| !matches!(attempt.state, State::Failed { again, .. } if now > again + REMEMBERED));
        let (number, since) = match attempts.get(model).filter(|attempt| attempt.template == question.template) {
            None => (0, now),
            Some(before) => match before.state {
                State::UnderWay | State::Answered(_) => return None,
                // Where the pod that was asked is gone, its successor may be better.
                State::Failed { again, .. } if now < again && question.urls.contains(&before.url) => return None,
                State::Failed { .. } => (before.number.saturating_add(1), before.since),
            },
        };
        // Another pod at each attempt: one that is broken must not hide that others answer.
        let url = question.urls.get(number as usize % question.urls.len().max(1))?;
        let attempt = Attempt {
            template: question.template.clone(),
            url: url.clone(),
            number,
            since,
            state: State::UnderWay,
        };
        attempts.insert(model.clone(), attempt);
        drop(attempts);
        Some(Self {
            shared: Arc::clone(shared),
            model: model.clone(),
            template: question.template.clone(),
            url: url.clone(),
            number,
        })
    }

    async fn run(self, name: String, done: oneshot::Sender<()>) {
        let deadline = DEADLINE.0.saturating_mul(2u32.saturating_pow(self.number)).min(DEADLINE.1);
        // Never closed.
        let permit = self.shared.permits.acquire().await.ok();
        let heard = self.shared.converse(&self.url, &name, deadline).await;
        drop(permit);
        tracing::debug!(model = %self.model, url = %self.url, number = self.number, ?heard, "an engine was asked for a token");
        self.end(|attempt| {
            attempt.state = match heard {
                Ok(operation) => State::Answered(operation),
                Err(said) => State::Failed {
                    said,
                    again: Instant::now() + wait_after(attempt.since.elapsed()),
                },
            };
        });
        if done.send(()).is_err() {
            // The reconcile that asked went on: another one is to read this. Nobody listens when the process ends.
            self.shared.heard.unbounded_send(self.model.clone()).ok();
        }
    }

    /// Changes the attempt, unless there is a later one.
    fn end(&self, change: impl FnOnce(&mut Attempt)) {
        let mut attempts = self.shared.attempts();
        let is_this = |attempt: &&mut Attempt| attempt.template == self.template && attempt.number == self.number;
        if let Some(attempt) = attempts.get_mut(&self.model).filter(is_this) {
            change(attempt);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut attempts = self.shared.attempts();
        let is_left = |attempt: &Attempt| {
            attempt.template == self.template && attempt.number == self.number && matches!(attempt.state, State::UnderWay)
        };
        if attempts.get(&self.model).is_some_and(is_left) {
            attempts.remove(&self.model);
        }
    }
}

#[cfg(test)]
mod tests;
