//! The keys of one issuer: asked for when its first token comes, kept for as long as it says within bounds, and asked for again in the
//! background.
//!
//! ```text
//! none ──ask──► fresh ──(its time is over)──► due: serves, and asks in the background ──(an hour)──► none
//!  ▲             │ a signature that no key made                  │
//!  │             └──► asks again, at most once in 30 s ◄─────────┘ (also while the issuer is away)
//!  └── failed: asked again after 5 s
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::keys::Keys;
use crate::gateway::upstream::Upstream;
use crate::protocol::root_cause;

/// The longest wait for keys, both documents together.
const ASK_TIME: Duration = Duration::from_secs(5);
/// Of that, the longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// The largest document.
const DOCUMENT_LIMIT: usize = 256 << 10;
/// How long keys are fresh where the issuer does not say.
const FRESH: Duration = Duration::from_secs(600);
/// And the least and the most that it can say.
const FRESH_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// How long keys are used beyond that, while the issuer is away.
const OUTAGE_TIME: Duration = Duration::from_secs(3600);
/// Keys that have been due for so long were not asked for: nobody came meanwhile. Whoever comes now waits for what the issuer says.
const IDLE: Duration = Duration::from_secs(60);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(30);
/// The same while there are no keys.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

type Answer = Result<Arc<Keys>, String>;
type Asking = Shared<BoxFuture<'static, Answer>>;

/// There are no keys now.
pub(super) struct NoKeys;

pub(super) struct Issuer {
    name: String,
    upstream: Arc<Upstream>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// One question for all requests that come meanwhile.
    asking: Option<Asking>,
    /// When the last question began.
    asked: Option<Instant>,
}

struct Held {
    keys: Arc<Keys>,
    due: Instant,
    end: Instant,
}

impl Issuer {
    pub(super) fn new(name: String, upstream: Arc<Upstream>) -> Self {
        let state = Mutex::default();
        Self { name, upstream, state }
    }

    /// Its keys. Waits for the network only when there are none, or none that were looked after.
    pub(super) async fn keys(self: &Arc<Self>) -> Result<Arc<Keys>, NoKeys> {
        let (asking, known) = {
            let mut state = self.state();
            let now = Instant::now();
            let held = state.held.as_ref().filter(|held| held.end > now);
            match held.map(|held| (held.keys.clone(), held.due)) {
                Some((keys, due)) if due > now => return Ok(keys),
                Some((keys, due)) => {
                    let was_idle = due + IDLE <= now && state.asked.is_none_or(|asked| asked < due);
                    match self.ask(&mut state, now) {
                        Some(asking) if was_idle => (asking, Some(keys)),
                        _ => return Ok(keys),
                    }
                }
                None => (self.ask(&mut state, now).ok_or(NoKeys)?, None),
            }
        };
        asking.await.ok().or(known).ok_or(NoKeys)
    }

    /// Keys that may be others than those that made no signature; `None` where there are none, and while they cannot be asked for again.
    pub(super) async fn other_than(self: &Arc<Self>, keys: &Arc<Keys>) -> Option<Arc<Keys>> {
        let asking = {
            let mut state = self.state();
            let now = Instant::now();
            let others = state.held.as_ref().filter(|held| held.end > now && !Arc::ptr_eq(&held.keys, keys));
            if let Some(others) = others {
                return Some(others.keys.clone());
            }
            self.ask(&mut state, now)?
        };
        asking.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question that is going on, or one that begins now unless it is too early. It goes on when whoever asked is gone.
    fn ask(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Asking> {
        if let Some(asking) = &state.asking {
            return Some(asking.clone());
        }
        let pause = if state.held.is_some() { PAUSE } else { SHORT_PAUSE };
        if state.asked.is_some_and(|asked| asked + pause > now) {
            return None;
        }
        let asking = self.clone().answer().boxed().shared();
        state.asking = Some(asking.clone());
        state.asked = Some(now);
        tokio::spawn(asking.clone());
        Some(asking)
    }

    async fn answer(self: Arc<Self>) -> Answer {
        let answer = timeout(ASK_TIME, self.fetch())
            .await
            .unwrap_or_else(|_| Err("it does not answer in time".to_owned()));
        let now = Instant::now();
        let mut state = self.state();
        state.asking = None;
        match answer {
            Ok((keys, fresh)) => {
                tracing::debug!(issuer = self.name, "got the keys of an issuer");
                let keys = Arc::new(keys);
                state.held = Some(Held {
                    keys: keys.clone(),
                    due: now + fresh,
                    end: now + fresh + OUTAGE_TIME,
                });
                Ok(keys)
            }
            Err(error) => {
                let is_served = state.held.as_ref().is_some_and(|held| held.end > now);
                tracing::warn!(issuer = self.name, error, is_served, "the keys of an issuer cannot be had");
                Err(error)
            }
        }
    }

    /// The keys where its discovery document says that they are, and for how long they are fresh.
    async fn fetch(&self) -> Result<(Keys, Duration), String> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let is_plain = self.name.starts_with("http://");
        let discovery = format!("{}/.well-known/openid-configuration", self.name.trim_end_matches('/'));
        let (_, document) = self.get(address(&discovery, is_plain)?).await?;
        let found: Discovery = serde_json::from_slice(&document).map_err(|error| format!("its discovery document is none: {error}"))?;
        if found.issuer != self.name {
            return Err("its discovery document is of another issuer".to_owned());
        }
        let (headers, document) = self.get(address(&found.jwks_uri, is_plain)?).await?;
        Ok((Keys::read(&document)?, fresh(&headers)))
    }

    async fn get(&self, address: Uri) -> Result<(HeaderMap, Bytes), String> {
        let mut request = Request::new(Full::new(Bytes::new().into()));
        *request.uri_mut() = address;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, json);
        let answer = self.upstream.send(request, CONNECT_TIME, || ()).await;
        let (head, body) = answer.map_err(|error| root_cause(&error))?.into_parts();
        // Nothing is followed: who answers for an issuer is who has its address.
        if head.status != StatusCode::OK {
            return Err(format!("it answers with {}", head.status.as_u16()));
        }
        let body = Limited::new(body, DOCUMENT_LIMIT).collect().await;
        let body = body.map_err(|error| root_cause(error.as_ref()))?;
        Ok((head.headers, body.to_bytes()))
    }
}

/// An address that keys may come from: behind https, or this machine's own where the issuer is such.
fn address(text: &str, may_be_plain: bool) -> Result<Uri, String> {
    let address: Uri = text.parse().map_err(|_| "its keys are at what is no URL".to_owned())?;
    let has_user = address.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let is_own = matches!(address.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = address.scheme() == Some(&uri::Scheme::HTTPS) || (may_be_plain && is_own);
    match is_safe && !has_user {
        true => Ok(address),
        false => Err("its address, or that of its keys, is not behind https".to_owned()),
    }
}

/// How long an answer says that it is fresh, within bounds.
fn fresh(headers: &HeaderMap) -> Duration {
    let said = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let seconds = said.flat_map(|value| value.split(',')).find_map(|directive| {
        directive
            .trim()
            .to_ascii_lowercase()
            .strip_prefix("max-age=")?
            .trim_matches('"')
            .parse()
            .ok()
    });
    let (least, most) = FRESH_BOUNDS;
    seconds.map_or(FRESH, Duration::from_secs).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_behind_https_or_from_this_machine_to_an_issuer_of_this_machine() {
        for (text, is_plain, is_fit) in [
            ("https://id.example.com/keys", false, true),
            ("http://id.example.com/keys", false, false),
            ("http://id.example.com/keys", true, false),
            ("http://127.0.0.1:9000/keys", true, true),
            ("http://localhost/keys", true, true),
            ("http://127.0.0.1:9000/keys", false, false),
            ("http://127.0.0.1@evil.example.com/keys", true, false),
            ("https://a@id.example.com/keys", false, false),
            ("file:///etc/passwd", false, false),
            ("/keys", false, false),
        ] {
            assert_eq!(address(text, is_plain).is_ok(), is_fit, "{text} {is_plain}");
        }
    }

    #[test]
    fn an_issuer_says_within_bounds_how_long_its_keys_are_fresh() {
        for (said, seconds) in [
            ("", 600),
            ("no-store", 600),
            ("public, max-age=900", 900),
            ("max-age=0", 60),
            ("Max-Age=999999", 3600),
            ("max-age=x", 600),
        ] {
            let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(said))]);
            assert_eq!(fresh(&headers).as_secs(), seconds, "{said}");
        }
    }
}
