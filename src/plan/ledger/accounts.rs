//! What has been taken of each account, as stores keep it that keep a text.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::budget::Account;
use super::slice::{Ask, Grant, grant};

/// How long the accounts of a window are kept after its end: clocks differ, and requests that began in it may still be charged. Windows of an hour
/// must not pile up.
pub const KEPT_SECONDS: i64 = 60 * 60;
/// How they are written; another reader must not take them for what they are not.
const VERSION: u32 = 1;

/// What has been taken of each account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<Account, u64>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    accounts: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    account: Account,
    taken: u64,
}

impl Accounts {
    /// Reads what [`Self::written`] wrote.
    ///
    /// # Errors
    /// Says why it is something else: what was spent must not be taken for nothing.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let Written { version, accounts } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it is of version {version}, and this program knows {VERSION}"));
        }
        let count = accounts.len();
        let all: BTreeMap<Account, u64> = accounts.into_iter().map(|Line { account, taken }| (account, taken)).collect();
        match all.len() == count {
            true => Ok(Self(all)),
            false => Err("an account is in it twice".to_owned()),
        }
    }

    /// All of them, in JSON.
    #[must_use]
    pub fn written(&self) -> String {
        let line = |(account, taken): (&Account, &u64)| Line {
            account: account.clone(),
            taken: *taken,
        };
        let written = Written {
            version: VERSION,
            accounts: self.0.iter().map(line).collect(),
        };
        serde_json::to_string(&written).expect("it is plain data")
    }

    /// Whether something was taken of it.
    #[must_use]
    pub fn knows(&self, account: &Account) -> bool {
        self.0.contains_key(account)
    }

    /// How many have an account of the same budget and window.
    #[must_use]
    pub fn beside(&self, account: &Account) -> usize {
        let is_beside =
            |other: &&Account| (&other.policy, &other.budget, other.window) == (&account.policy, &account.budget, account.window);
        self.0.keys().filter(is_beside).count()
    }

    /// Forgets those that ended long ago.
    pub fn forget(&mut self, now: Timestamp) {
        self.0
            .retain(|account, _| account.window.1.as_second().saturating_add(KEPT_SECONDS) > now.as_second());
    }

    /// Takes some of an account, and forgets those that ended long before it began.
    pub fn take(&mut self, account: &Account, limit: u64, ask: Ask) -> Grant {
        self.forget(account.window.0);
        let taken = self.0.entry(account.clone()).or_default();
        let granted = grant(limit, *taken, ask);
        *taken = granted.taken;
        granted
    }

    /// Gives some of an account back.
    pub fn give_back(&mut self, account: &Account, amount: u64) {
        if let Some(taken) = self.0.get_mut(account) {
            *taken = taken.saturating_sub(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(start: i64) -> Account {
        let at = |second| k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
        Account {
            policy: "claims/assistant".to_owned(),
            budget: "1/usd/Hour".to_owned(),
            window: (at(start), at(start + 3_600)),
            subject: "sa:claims/web".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let mut all = Accounts::default();
        let ask = Ask {
            at_least: 7,
            ..Ask::default()
        };
        assert_eq!(all.take(&account(0), 10, ask), Grant { amount: 7, taken: 7 });
        assert_eq!(Accounts::read(all.written().as_bytes()), Ok(all.clone()));
        let line = all.written().split_once('[').unwrap().1.trim_end_matches("]}").to_owned();
        for text in [
            String::new(),
            "{}".to_owned(),
            r#"{"version":2,"accounts":[]}"#.to_owned(),
            r#"{"version":1,"accounts":[],"more":1}"#.to_owned(),
            format!(r#"{{"version":1,"accounts":[{line},{line}]}}"#),
        ] {
            assert!(Accounts::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_that_ended_long_ago_are_forgotten() {
        let mut all = Accounts::default();
        let ask = Ask {
            at_least: 1,
            ..Ask::default()
        };
        all.take(&account(0), 10, ask);
        assert_eq!(all.take(&account(3_600), 10, ask).taken, 1);
        assert_eq!(
            all.take(&account(0), 10, ask).taken,
            2,
            "requests of the one before may still be charged"
        );
        all.take(&account(100_000), 10, ask);
        assert_eq!(all.take(&account(0), 10, ask).taken, 1);
    }
}
