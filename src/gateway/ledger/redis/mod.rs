//! The store of many gateways, in a Redis or Valkey: what was taken of an account is the text of one key, and a script takes some of it.
//!
//! **What is lost on the way.** A take whose answer does not come in time stays taken until this gateway's next one of that account takes it back
//! (a frozen server carries out what it was sent once it goes on). Where there is no next one it stays taken: that is the safe side.
//!
//! **What the server must not lose.** It is asked to keep each key for an hour after its window. Without `appendonly yes` and `appendfsync
//! always`, at a failover to a replica that was behind, and where keys are evicted, what is forgotten can be spent again: as much as was taken
//! since what it remembers.
//!
//! `link` keeps the connection; `take.lua` is the script.

mod link;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::Cmd;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;

use super::store::{Store, Unavailable};
use crate::api::ledger;
use crate::gateway::connect::Connector;
use crate::plan::ledger::{Account, Ask, Grant, KEPT_SECONDS, Turn};
use crate::tls::BadCertificates;
use link::{Link, Server};

/// Carries out a take.
const SCRIPT: &str = include_str!("take.lua");

/// What has been taken, in a Redis. Clones are the same store.
#[derive(Clone)]
pub struct InRedis(Arc<Inner>);

struct Inner {
    link: Link,
    address: String,
    /// What each key begins with.
    prefix: String,
    /// This process among the gateways.
    gateway: u128,
    now: fn() -> Timestamp,
    /// The latest take.
    number: AtomicU64,
    /// Of accounts whose latest take was not answered, the first such take.
    unanswered: Mutex<HashMap<Account, u64>>,
}

impl std::fmt::Debug for InRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InRedis({})", self.0.address)
    }
}

impl InRedis {
    /// The store at that address, which is connected to from now on, for as long as the store lives: it may be away now. Trusts the authorities
    /// in `ca_file`, or else the system's.
    ///
    /// # Errors
    /// When `ca_file` cannot be read.
    pub fn open(
        redis: &ledger::Redis,
        password: Option<&str>,
        ca_file: Option<&Path>,
        now: fn() -> Timestamp,
    ) -> Result<Self, BadCertificates> {
        let server = Server::new(&redis.url, redis.username.as_deref(), password, Connector::new(ca_file)?);
        Ok(Self(Arc::new(Inner {
            link: Link::keep(server),
            address: redis.url.to_string(),
            prefix: redis.key_prefix.clone(),
            gateway: fastrand::u128(..),
            now,
            number: AtomicU64::new(0),
            unanswered: Mutex::default(),
        })))
    }

    /// Takes some of an account, this take being one of several, as [`take`](crate::plan::ledger::take) says.
    ///
    /// # Errors
    /// When the server does not answer, or says that it cannot.
    pub async fn turn(&self, account: &Account, limit: u64, turn: Turn, ask: Ask) -> Result<Option<Grant>, Unavailable> {
        let Inner { link, now, .. } = &*self.0;
        let mut connection = link.connection().await?;
        let command = |name: &str, script: &str| self.command(name, script, account, limit, turn, ask, now());
        let mut answer = command("EVALSHA", link::digest()).query_async(&mut connection).await;
        if matches!(&answer, Err(error) if error.kind() == ::redis::ServerErrorKind::NoScript.into()) {
            answer = command("EVAL", SCRIPT).query_async(&mut connection).await;
        }
        let answer: Option<(u64, u64)> = answer.map_err(|error| Unavailable::Away(error.to_string()))?;
        Ok(answer.map(|(amount, taken)| Grant { amount, taken }))
    }

    #[expect(clippy::too_many_arguments, reason = "they are the script's")]
    fn command(&self, name: &str, script: &str, account: &Account, limit: u64, turn: Turn, ask: Ask, now: Timestamp) -> Cmd {
        let Inner { prefix, gateway, .. } = &*self.0;
        let Ask {
            owed,
            returned,
            at_least,
            wish,
        } = ask;
        let key = key(prefix, account);
        // By this clock, which says what the window is: the server's may be ahead.
        let left = account.window.1.as_second().saturating_sub(now.as_second()).max(0);
        let mut command = ::redis::cmd(name);
        command.arg(script).arg(2).arg(&key).arg(format!("{key}:{gateway:032x}"));
        for amount in [limit, owed, returned, at_least, wish, turn.number, turn.unanswered_from] {
            command.arg(amount);
        }
        command.arg(left.saturating_add(KEPT_SECONDS)).arg(KEPT_SECONDS);
        command
    }

    fn unanswered(&self) -> MutexGuard<'_, HashMap<Account, u64>> {
        self.0.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next take of an account. Until [`Self::answered`] it counts as one that was not.
    fn next(&self, account: &Account) -> Turn {
        let number = self.0.number.fetch_add(1, Ordering::Relaxed) + 1;
        let now = (self.0.now)().as_second();
        let mut unanswered = self.unanswered();
        if !unanswered.contains_key(account) {
            // Nobody asks for those again; what is left here is little else.
            unanswered.retain(|account, _| account.window.1.as_second().saturating_add(KEPT_SECONDS) > now);
        }
        let unanswered_from = *unanswered.entry(account.clone()).or_insert(number);
        Turn { number, unanswered_from }
    }

    fn answered(&self, account: &Account) {
        self.unanswered().remove(account);
    }

    async fn in_turn(self, account: Account, limit: u64, ask: Ask) -> Result<Grant, Unavailable> {
        let turn = self.next(&account);
        let granted = self.turn(&account, limit, turn, ask).await?;
        let granted = granted.ok_or_else(|| Unavailable::Away("another process takes part as this one".to_owned()))?;
        self.answered(&account);
        Ok(granted)
    }
}

impl Store for InRedis {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        self.clone().in_turn(account, limit, ask).boxed()
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        let ask = Ask {
            returned: amount,
            ..Ask::default()
        };
        self.clone().in_turn(account, u64::MAX, ask).map(|given| given.map(drop)).boxed()
    }

    /// What is carried out later than that is taken back by the next call: see `turn`.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn answers(&self) -> Option<bool> {
        Some(self.0.link.is_up())
    }
}

/// The key of an account. In braces, so that whatever divides keys by them keeps the two of a gateway together.
fn key(prefix: &str, account: &Account) -> String {
    let Account {
        policy,
        budget,
        window: (start, end),
        subject,
    } = account;
    format!("{prefix}:{{{policy}|{budget}|{}-{}|{subject}}}", start.as_second(), end.as_second())
}

#[cfg(test)]
mod tests;
