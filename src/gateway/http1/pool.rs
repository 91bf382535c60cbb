//! Idle connections, kept for the next request to the same place: the one used last first, so that the others can be let go. Those of
//! one thread are not used on another: their wake-ups would cross.

use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::time::{Instant, sleep};

use super::Connection;
use crate::gateway::lanes;

/// Idle connections kept for one place on one lane.
const IDLE_LIMIT: usize = 256;

/// Where connections lead to. Written differently it counts as another place: comparing byte by byte in any case costs more than that.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Origin {
    is_https: bool,
    authority: Authority,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.is_https == other.is_https && self.authority.as_str() == other.authority.as_str()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.as_str().hash(state);
    }
}

impl Origin {
    pub(in crate::gateway) fn is_https(&self) -> bool {
        self.is_https
    }

    /// Of an absolute URL.
    pub(in crate::gateway) fn of(uri: &Uri) -> Option<Self> {
        Some(Self {
            is_https: uri.scheme() == Some(&Scheme::HTTPS),
            authority: uri.authority()?.clone(),
        })
    }
}

type Idle = HashMap<Origin, Vec<(Instant, Connection)>>;

/// The idle connections of one kind of place.
pub(in crate::gateway) struct Pool {
    lanes: Vec<Arc<Lane>>,
    /// How long one is kept.
    keep: Duration,
}

/// Those of one thread.
struct Lane {
    idle: Mutex<Idle>,
    keep: Duration,
}

/// Where a connection goes when it is idle.
#[derive(Clone)]
pub(in crate::gateway) struct Home {
    /// Not more: a connection must not keep a pool that nobody has any more.
    lane: Weak<Lane>,
    origin: Origin,
}

impl Pool {
    pub(in crate::gateway) fn new(keep: Duration) -> Self {
        let lane = || {
            Arc::new(Lane {
                idle: Mutex::default(),
                keep,
            })
        };
        Self {
            lanes: (0..lanes::most()).map(|_| lane()).collect(),
            keep,
        }
    }

    fn lane(&self) -> &Arc<Lane> {
        &self.lanes[lanes::current() % self.lanes.len()]
    }

    /// The home of a new connection to `origin`.
    pub(in crate::gateway) fn home(&self, origin: Origin) -> Home {
        Home {
            lane: Arc::downgrade(self.lane()),
            origin,
        }
    }

    /// An idle connection to `origin`, if there is one that still works.
    pub(in crate::gateway) async fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let (since, mut connection) = self.lane().lock().get_mut(origin)?.pop()?;
            if since.elapsed() < self.keep && poll_fn(|cx| Poll::Ready(connection.is_silent(cx))).await {
                return Some(connection);
            }
        }
    }

    /// Closes the idle connections to `origin`: one of them was found dead.
    pub(in crate::gateway) fn clear(&self, origin: &Origin) {
        if let Some(connections) = self.lane().lock().get_mut(origin) {
            connections.clear();
        }
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of those that were idle for too long, or that the other side closed; whether any are left.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        let mut cx = Context::from_waker(Waker::noop());
        idle.retain(|_, connections| {
            connections.retain_mut(|(since, connection)| since.elapsed() < self.keep && connection.is_silent(&mut cx));
            !connections.is_empty()
        });
        !idle.is_empty()
    }
}

impl Home {
    pub(super) fn put(self, connection: Connection) {
        let Some(lane) = self.lane.upgrade() else { return };
        let mut idle = lane.lock();
        let is_first = idle.is_empty();
        match idle.get_mut(&self.origin) {
            Some(connections) if connections.len() < IDLE_LIMIT => connections.push((Instant::now(), connection)),
            Some(_) => return,
            None => {
                idle.insert(self.origin, vec![(Instant::now(), connection)]);
            }
        }
        drop(idle);
        // While none is idle nobody needs to look.
        if is_first {
            tokio::spawn(keep_sweeping(self.lane, lane.keep));
        }
    }
}

async fn keep_sweeping(lane: Weak<Lane>, keep: Duration) {
    loop {
        sleep(keep / 2).await;
        if !lane.upgrade().is_some_and(|lane| lane.sweep()) {
            return;
        }
    }
}
