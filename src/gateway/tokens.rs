//! Service-account tokens and who they prove to be. Asking the API server takes milliseconds, so answers are kept for a short while, by the
//! token's hash. While the API server cannot be asked, clients that were known shortly before stay known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::plan::routing::Client;

/// How long a client stays known without asking again: as long as a revoked token still works.
const KNOWN_TIME: Duration = Duration::from_secs(60);
/// How long a refused token stays refused without asking again.
const REFUSED_TIME: Duration = Duration::from_secs(5);
/// How long a client stays known while the API server cannot be asked.
const OUTAGE_TIME: Duration = Duration::from_secs(600);
/// The longest wait for an answer.
const REVIEW_TIME: Duration = Duration::from_secs(5);
/// Questions to the API server at one time; others wait for their turn.
const REVIEWS: usize = 16;
/// Tokens remembered at most.
const CAPACITY: usize = 10_000;

/// Asks Kubernetes who a token belongs to.
pub trait TokenReview: Send + Sync + 'static {
    /// The service account that `token` proves, for the audience of this gateway; `None` when it proves none. Needs the right to create
    /// `tokenreviews`.
    fn review(&self, token: String) -> BoxFuture<'static, Result<Option<Client>, ReviewUnavailable>>;
}

/// The API server could not say who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tokens cannot be checked now: {0}")]
pub struct ReviewUnavailable(pub String);

impl From<ReviewUnavailable> for Refusal {
    fn from(unavailable: ReviewUnavailable) -> Self {
        tracing::warn!(error = %unavailable, "a client's token could not be checked");
        let message = "the token cannot be checked now, since Kubernetes does not answer: try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "authentication_unavailable", message)
    }
}

type Answer = Result<Option<Client>, ReviewUnavailable>;
type Asking = Shared<BoxFuture<'static, Answer>>;
type MaybeAsking = WeakShared<BoxFuture<'static, Answer>>;
type Hash = [u8; 32];

pub(super) struct Tokens {
    reviewer: Arc<dyn TokenReview>,
    entries: Mutex<HashMap<Hash, Entry>>,
    turns: Arc<Semaphore>,
    now: fn() -> Timestamp,
}

#[derive(Default)]
struct Entry {
    known: Option<Known>,
    /// One question for all requests that came meanwhile. They alone keep it: when the last of them is gone, so is the question, and its
    /// turn is free.
    asking: Option<MaybeAsking>,
}

impl Entry {
    fn asking(&self) -> Option<Asking> {
        self.asking.as_ref()?.upgrade()
    }
}

struct Known {
    client: Option<Client>,
    fresh_until: Instant,
    usable_until: Instant,
}

impl Tokens {
    pub(super) fn new(reviewer: Arc<dyn TokenReview>, now: fn() -> Timestamp) -> Self {
        Self {
            reviewer,
            entries: Mutex::default(),
            turns: Arc::new(Semaphore::new(REVIEWS)),
            now,
        }
    }

    /// Who the token belongs to, or `None` if it proves nothing.
    pub(super) async fn client(&self, token: &str) -> Answer {
        let left = match time_left(token, (self.now)()) {
            Some(left) if left.is_zero() => return Ok(None),
            left => left.unwrap_or(OUTAGE_TIME),
        };
        let hash: Hash = Sha256::digest(token).into();
        let asking = match self.known_or_asking(hash, token) {
            Ok(client) => return Ok(client),
            Err(asking) => asking,
        };
        let answer = asking.clone().await;
        self.remember(hash, &asking, answer, left)
    }

    fn known_or_asking(&self, hash: Hash, token: &str) -> Result<Option<Client>, Asking> {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY && !entries.contains_key(&hash) {
            make_room(&mut entries, now);
        }
        let entry = entries.entry(hash).or_default();
        if let Some(known) = entry.known.as_ref().filter(|known| known.fresh_until > now) {
            return Ok(known.client.clone());
        }
        Err(entry.asking().unwrap_or_else(|| {
            let asking = self.ask(token);
            entry.asking = asking.downgrade();
            asking
        }))
    }

    fn ask(&self, token: &str) -> Asking {
        let (reviewer, turns, token) = (self.reviewer.clone(), self.turns.clone(), token.to_owned());
        let review = async move {
            let _turn = turns.acquire().await;
            reviewer.review(token).await
        };
        let bounded = async {
            timeout(REVIEW_TIME, review)
                .await
                .unwrap_or_else(|_| Err(ReviewUnavailable("no answer in time".to_owned())))
        };
        bounded.boxed().shared()
    }

    /// Keeps what was answered; without an answer, falls back on what was known.
    fn remember(&self, hash: Hash, asked: &Asking, answer: Answer, left: Duration) -> Answer {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(hash).or_default();
        if entry.asking().is_some_and(|current| current.ptr_eq(asked)) {
            entry.asking = None;
        }
        match answer {
            Ok(client) => {
                let (fresh, usable) = if client.is_some() {
                    (KNOWN_TIME, OUTAGE_TIME)
                } else {
                    (REFUSED_TIME, REFUSED_TIME)
                };
                entry.known = Some(Known {
                    client: client.clone(),
                    fresh_until: now + fresh.min(left),
                    usable_until: now + usable.min(left),
                });
                Ok(client)
            }
            Err(unavailable) => match entry.known.as_ref().filter(|known| known.usable_until > now) {
                Some(known) => Ok(known.client.clone()),
                None => {
                    if entry.asking().is_none() {
                        entries.remove(&hash);
                    }
                    Err(unavailable)
                }
            },
        }
    }
}

/// Drops what is of no more use, or else any one entry.
fn make_room(entries: &mut HashMap<Hash, Entry>, now: Instant) {
    entries.retain(|_, entry| entry.asking().is_some() || entry.known.as_ref().is_some_and(|known| known.usable_until > now));
    if entries.len() >= CAPACITY
        && let Some(any) = entries.keys().next().copied()
    {
        entries.remove(&any);
    }
}

/// How long the token says it is valid; `None` when it does not say.
fn time_left(token: &str, now: Timestamp) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: Option<i64>,
    }
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let expires = serde_json::from_slice::<Claims>(&payload).ok()?.exp?;
    Some(Duration::from_secs(
        u64::try_from(expires.saturating_sub(now.as_second())).unwrap_or(0),
    ))
}
