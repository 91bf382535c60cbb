//! The connection to a Redis: made again when it breaks, with longer and longer pauses in between, and looked after while nobody asks.
//!
//! ```text
//!            opened                 broken, or no answer to a PING
//!  waiting ──────────► up ──────────────────────────────────────────┐
//!   ▲  └── for a second ──► down ──┐                                │
//!   │                              └── opened ──► up                │
//!   └───────────────────────────────────────────────────────────────┘
//! ```

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use http::Uri;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::SCRIPT;
use crate::api::ledger::RedisUrl;
use crate::gateway::connect::Connector;
use crate::gateway::ledger::store::Unavailable;

/// How long opening a connection may take, to the answer to its first command.
const OPEN: Duration = Duration::from_secs(1);
/// Between two looks at whether the server answers, and how long it may take to.
const LOOK: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(1);
/// How long those who ask wait for another connection before they are told at once that there is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts at opening one, at first and at most; jittered, so that gateways do not come all at once.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// What is known of the connection.
#[derive(Clone)]
enum State {
    Waiting,
    Up(MultiplexedConnection),
    Down(Unavailable),
}

/// The connection, kept for as long as this lives.
pub(super) struct Link {
    state: watch::Receiver<State>,
    keeper: JoinHandle<()>,
}

/// How the server is reached.
pub(super) struct Server {
    uri: Uri,
    address: String,
    login: RedisConnectionInfo,
    connector: Connector,
}

/// A connection, and what moves its bytes. It ends with this.
struct Open {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// By which the server knows the script (SHA-1, in hexadecimal digits).
pub(super) fn digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
        digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            // Writing into a string cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
    });
    &DIGEST
}

impl Link {
    /// Opens a connection, and another whenever it breaks.
    pub(super) fn keep(server: Server) -> Self {
        let (told, state) = watch::channel(State::Waiting);
        let keeper = tokio::spawn(keep(server, told));
        Self { state, keeper }
    }

    /// The connection. Where it broke a moment ago it is waited for; the caller's time limit holds.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, Unavailable> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Waiting)).await;
        match known.as_deref() {
            Ok(State::Up(connection)) => Ok(connection.clone()),
            Ok(State::Down(why)) => Err(why.clone()),
            Ok(State::Waiting) | Err(_) => Err(Unavailable::Away("there is no connection".to_owned())),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }
}

async fn keep(server: Server, state: watch::Sender<State>) {
    let address = &server.address;
    let (mut pause, mut lost) = (FIRST, Instant::now());
    let (mut is_told, mut evicts) = (false, None);
    loop {
        let opened = timeout(OPEN, server.open()).await;
        match opened.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(mut open) => {
                tracing::info!(%address, "the store of what was spent answers");
                is_told = false;
                let policy = open.evicts().await;
                if policy != evicts
                    && let Some(policy) = &policy
                {
                    tracing::warn!(%address, %policy, "the store of what was spent evicts keys, and a budget whose key is evicted begins anew: set its maxmemory-policy to noeviction");
                }
                evicts = policy;
                let since = Instant::now();
                state.send_replace(State::Up(open.connection.clone()));
                let why = open.broken().await;
                tracing::warn!(%address, error = why, "the connection to the store of what was spent is lost");
                state.send_replace(State::Waiting);
                lost = Instant::now();
                if since.elapsed() >= GOOD {
                    pause = FIRST;
                }
            }
            Err(why) => {
                if lost.elapsed() >= PATIENCE {
                    if !is_told {
                        is_told = true;
                        tracing::warn!(%address, error = why, "the store of what was spent does not answer");
                    }
                    state.send_replace(State::Down(Unavailable::Away(format!("{address}: {why}"))));
                }
            }
        }
        tokio::time::sleep(pause.mul_f64(fastrand::f64().mul_add(0.5, 0.75))).await;
        pause = (pause * 2).min(LONGEST);
    }
}

impl Server {
    pub(super) fn new(url: &RedisUrl, username: Option<&str>, password: Option<&str>, connector: Connector) -> Self {
        let scheme = if url.tls { "https" } else { "http" };
        let uri = Uri::try_from(format!("{scheme}://{}:{}", url.host, url.port));
        let mut login = RedisConnectionInfo::default().set_db(url.database.into());
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        Self {
            uri: uri.expect("the host was read as a name or an address"),
            address: url.to_string(),
            login,
            connector,
        }
    }

    async fn open(&self) -> Result<Open, String> {
        let stream = self.connector.connect(&self.uri, OPEN).await.map_err(|error| told(&*error))?;
        // Callers have time limits of their own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let opening = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opening.map_err(|error| self.refused(&error))?;
        let driver = tokio::spawn(driver);
        let mut open = Open { connection, driver };
        let loaded: Result<String, RedisError> = ::redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(SCRIPT)
            .query_async(&mut open.connection)
            .await;
        match loaded {
            Ok(_) => Ok(open),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn refused(&self, error: &RedisError) -> String {
        let words = told(error);
        let is_login = error.kind() == ::redis::ErrorKind::AuthenticationFailed || words.contains("NOAUTH") || words.contains("WRONGPASS");
        match (is_login, self.login.password()) {
            (true, None) => format!("{words}: give its password in the environment variable PORTFOLIO_LEDGER_PASSWORD"),
            (true, Some(_)) => format!("{words}: correct PORTFOLIO_LEDGER_PASSWORD, or settings.ledger.redis.username"),
            (false, _) => words,
        }
    }
}

impl Open {
    /// By which policy it evicts keys, where it may at all and says so. Managed ones often do not.
    async fn evicts(&mut self) -> Option<String> {
        let mut asking = ::redis::cmd("CONFIG");
        asking.arg("GET").arg("maxmemory*");
        let asked = timeout(
            ANSWER,
            asking.query_async::<std::collections::HashMap<String, String>>(&mut self.connection),
        )
        .await;
        let Ok(Ok(mut values)) = asked else {
            tracing::debug!("whether the store evicts keys is not known");
            return None;
        };
        let is_bounded = values.get("maxmemory").is_some_and(|bytes| bytes != "0");
        values
            .remove("maxmemory-policy")
            .filter(|policy| is_bounded && policy != "noeviction")
    }

    /// Waits until it breaks, or the server does not answer any more; says which.
    async fn broken(&mut self) -> String {
        loop {
            tokio::select! {
                _ = &mut self.driver => return "it was closed".to_owned(),
                () = tokio::time::sleep(LOOK) => {}
            }
            let ping = ::redis::cmd("PING");
            match timeout(ANSWER, ping.query_async::<String>(&mut self.connection)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "no answer in time".to_owned(),
            }
        }
    }
}

/// An error with what is behind it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        let more = cause.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        behind = cause.source();
    }
    words
}
