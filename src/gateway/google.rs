//! Tokens of Google's service accounts, one source for each key file. A token lasts an hour; the next is fetched some minutes before, while
//! requests go on with the one there is, and for as long as it is valid should the next be refused.
//!
//! ```text
//! none ──ask──► asking ──► fresh ──(minutes before the end)──► due: serves, and asks in the background
//!  ▲               │                                                │
//!  └── failed: asked again after a pause that grows ◄───────────────┘ (the old one serves until its end)
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::upstream::Upstream;
use crate::protocol::google::{NotGiven, ServiceAccount, Token, is_of, read_token};
use crate::protocol::root_cause;

/// The longest wait for a token.
const EXCHANGE_TIME: Duration = Duration::from_secs(10);
/// Of that, the longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The largest answer; a token has one or two KiB.
const ANSWER_LIMIT: usize = 64 << 10;
/// So long before its end the next token is fetched, or in the last quarter of a shorter life.
const EARLY: Duration = Duration::from_secs(300);
/// So long before its end a token is not used any more, or the last tenth of a shorter life: the request must arrive before.
const MARGIN: Duration = Duration::from_secs(30);
/// The pause after the first failure; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// Key files remembered at most.
const CAPACITY: usize = 1024;

/// Sends a form to an address, and gives the status and body of the answer or what went wrong.
pub(super) type Exchange = Arc<dyn Fn(Uri, String) -> BoxFuture<'static, Result<(u16, Bytes), String>> + Send + Sync>;

/// Exchanges over the gateway's own connections to providers.
pub(super) fn over(upstream: Arc<Upstream>) -> Exchange {
    Arc::new(move |address, form| {
        let upstream = upstream.clone();
        async move { post(&upstream, address, form).await }.boxed()
    })
}

async fn post(upstream: &Upstream, address: Uri, form: String) -> Result<(u16, Bytes), String> {
    let mut request = Request::new(Full::new(Bytes::from(form).into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    let answer = upstream
        .send(request, CONNECT_TIME, || ())
        .await
        .map_err(|error| root_cause(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| root_cause(error.as_ref()))?;
    Ok((status, body.to_bytes()))
}

/// There is no token, and why: for the log and the model's status, not for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoToken(String);

impl NoToken {
    fn because(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

type Hash = [u8; 32];
type Asking = Shared<BoxFuture<'static, Result<HeaderValue, NoToken>>>;
/// The source of a key file, or what is wrong with the file.
type Found = Result<Arc<Source>, NoToken>;

/// The tokens of all key files.
pub(super) struct Tokens {
    exchange: Exchange,
    now: fn() -> Timestamp,
    sources: Mutex<HashMap<Hash, Found>>,
}

impl Tokens {
    pub(super) fn new(exchange: Exchange, now: fn() -> Timestamp) -> Self {
        let sources = Mutex::default();
        Self { exchange, now, sources }
    }

    /// What to send as `authorization` for the account of this key file. `endpoint` is the model's address, be it Google's own or another,
    /// and `own` the way to it where only some authorities may vouch for it. Waits for the network only when there is no valid token, and at
    /// most ten seconds.
    pub(super) async fn bearer(&self, key_file: &str, endpoint: Option<&Uri>, own: Option<&Arc<Upstream>>) -> Result<HeaderValue, NoToken> {
        let source = self.source(key_file, endpoint, own)?;
        source.bearer().await
    }

    fn source(&self, key_file: &str, endpoint: Option<&Uri>, own: Option<&Arc<Upstream>>) -> Found {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(key_file));
        hash.update(endpoint.map(ToString::to_string).unwrap_or_default());
        // A source keeps its way, so no other has the same place.
        hash.update(own.map_or(0, |own| Arc::as_ptr(own).addr()).to_le_bytes());
        let hash: Hash = hash.finalize().into();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = sources.get(&hash) {
            return found.clone();
        }
        // A file that is replaced is not asked for again; which of those that are there are such cannot be seen.
        if sources.len() >= CAPACITY
            && let Some(any) = sources.keys().next().copied()
        {
            sources.remove(&any);
        }
        let found = Source::new(key_file, endpoint, own, self.exchange.clone(), self.now).map(Arc::new);
        if let Err(error) = &found {
            tracing::warn!(%error, "the credentials of a model of Google's cannot be used");
        }
        sources.insert(hash, found.clone());
        found
    }
}

/// The tokens of one key file.
struct Source {
    account: ServiceAccount,
    address: Uri,
    exchange: Exchange,
    now: fn() -> Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// One exchange for all requests that come meanwhile.
    asking: Option<Asking>,
    /// Since the last token.
    failures: u32,
    /// Not to be asked again before, and why.
    pause: Option<(Instant, NoToken)>,
}

struct Held {
    bearer: HeaderValue,
    due: Instant,
    end: Instant,
}

impl Source {
    fn new(
        key_file: &str,
        endpoint: Option<&Uri>,
        own: Option<&Arc<Upstream>>,
        exchange: Exchange,
        now: fn() -> Timestamp,
    ) -> Result<Self, NoToken> {
        let wrong = |error: &dyn fmt::Display| NoToken(format!("the credentials are not the key file of a service account: {error}"));
        let account = ServiceAccount::read(key_file.trim().as_bytes()).map_err(|error| wrong(&error))?;
        let address = account.token_address(endpoint).map_err(|error| wrong(&error))?;
        let exchange = match (own, endpoint) {
            (Some(own), Some(endpoint)) if is_of(&address, endpoint) => over(own.clone()),
            _ => exchange,
        };
        Ok(Self {
            account,
            address,
            exchange,
            now,
            state: Mutex::default(),
        })
    }

    async fn bearer(self: &Arc<Self>) -> Result<HeaderValue, NoToken> {
        let asking = {
            let mut state = self.state();
            let now = Instant::now();
            match state.held.as_ref().filter(|held| held.end > now) {
                Some(held) => {
                    let bearer = held.bearer.clone();
                    if held.due <= now {
                        let _in_the_background = self.ask(&mut state, now);
                    }
                    return Ok(bearer);
                }
                None => self.ask(&mut state, now)?,
            }
        };
        asking.await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The exchange that is going on, or one that begins now. It goes on when whoever asked is gone: the next will want it.
    fn ask(self: &Arc<Self>, state: &mut State, now: Instant) -> Result<Asking, NoToken> {
        if let Some(asking) = &state.asking {
            return Ok(asking.clone());
        }
        if let Some((until, why)) = &state.pause
            && *until > now
        {
            return Err(why.clone());
        }
        let asking = self.clone().exchange().boxed().shared();
        state.asking = Some(asking.clone());
        tokio::spawn(asking.clone());
        Ok(asking)
    }

    async fn exchange(self: Arc<Self>) -> Result<HeaderValue, NoToken> {
        let began = Instant::now();
        let answer = timeout(EXCHANGE_TIME, self.token())
            .await
            .unwrap_or_else(|_| Err(NoToken::because("no answer to the request for a token in time")));
        let mut state = self.state();
        state.asking = None;
        match answer.and_then(|token| held(&token, began)) {
            Ok(held) => {
                tracing::debug!(account = ?self.account, "got a token");
                let bearer = held.bearer.clone();
                *state = State {
                    held: Some(held),
                    ..State::default()
                };
                Ok(bearer)
            }
            Err(error) => {
                tracing::warn!(account = ?self.account, %error, "got no token");
                let pause = PAUSE
                    .saturating_mul(1_u32.checked_shl(state.failures).unwrap_or(u32::MAX))
                    .min(LONG_PAUSE);
                state.failures = state.failures.saturating_add(1);
                state.pause = Some((Instant::now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    async fn token(&self) -> Result<Token, NoToken> {
        let form = self.account.form((self.now)().as_second()).map_err(NoToken::because)?;
        // What refuses it may repeat the statement, which is good for a token.
        let statement = form.rsplit('=').next().unwrap_or_default().to_owned();
        let (status, body) = (self.exchange)(self.address.clone(), form).await.map_err(NoToken::because)?;
        let discreet = |why: NotGiven| NoToken(why.to_string().replace(&statement, "[credential]"));
        read_token(status, &body).map_err(discreet)
    }
}

fn held(token: &Token, began: Instant) -> Result<Held, NoToken> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.secret)).map_err(NoToken::because)?;
    bearer.set_sensitive(true);
    let life = token.life;
    Ok(Held {
        bearer,
        due: began + (life - EARLY.min(life / 4)),
        end: began + (life - MARGIN.min(life / 10)),
    })
}

#[cfg(test)]
mod tests;
