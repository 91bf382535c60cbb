//! The script that the Redis runs does what the pure rule says, for whatever numbers.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::redis::{PASSWORD, Redis};
use futures::future::try_join_all;
use k8s_openapi::jiff::Timestamp;
use llm_portfolio::api::Settings;
use llm_portfolio::cluster;
use llm_portfolio::gateway::{InRedis, Store};
use llm_portfolio::plan::ledger::{self, Account, Ask, Grant, Latest, Turn, grant};

use super::world::Seeded;

/// An amount that may be anything, and often is where arithmetic goes wrong.
fn amount(random: &mut Seeded) -> u64 {
    let near = match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 53,
        3 => i64::MAX as u64,
        4 => 10_000_000_000,
        5 => return random.below(1_000),
        6 => return random.below(1 << 40),
        _ => return random.below(u64::MAX),
    };
    match random.below(2) {
        0 => near.saturating_add(random.below(20)),
        _ => near.saturating_sub(random.below(20)),
    }
}

fn account(subject: &str) -> Account {
    let now = cluster::now().as_second();
    let at = |second| Timestamp::from_second(second).expect("it is a time");
    Account {
        policy: "claims/assistant".to_owned(),
        budget: "1/usd/Day".to_owned(),
        window: (at(now), at(now + 86_400)),
        subject: subject.to_owned(),
    }
}

fn store(redis: &Redis) -> Result<InRedis> {
    store_as(redis, "")
}

fn store_as(redis: &Redis, username: &str) -> Result<InRedis> {
    let settings = format!(
        "ledger: {{redis: {{url: '{}', username: '{username}', keyPrefix: 'eu:1'}}}}",
        redis.url()
    );
    let settings: Settings = serde_saphyr::from_str(&settings)?;
    Ok(InRedis::open(
        &settings.ledger.redis.context("a Redis")?,
        Some(PASSWORD),
        None,
        cluster::now,
    )?)
}

/// Two hundred accounts at once, each with a hundred takes one after the other, whose answers are lost now and then.
#[tokio::test]
async fn the_script_does_what_the_rule_says() -> Result<()> {
    let redis = Redis::with(&["--appendfsync", "no"]).await?;
    let store = Arc::new(store(&redis)?);
    let accounts = (0..200_u64).map(|number| {
        let store = store.clone();
        async move {
            // Subjects are what clients are called, which may be anything.
            let account = account(&format!("sub:{number} }}{{ \"ü\"\r\n"));
            let mut random = Seeded(number);
            let (mut taken, mut latest): (u64, Option<Latest>) = (0, None);
            for step in 1..=100 {
                let limit = amount(&mut random);
                let ask = Ask {
                    owed: amount(&mut random) / [1, u64::MAX][usize::try_from(random.below(2))?],
                    returned: amount(&mut random) / [1, u64::MAX][usize::try_from(random.below(2))?],
                    at_least: amount(&mut random),
                    wish: amount(&mut random),
                };
                // Sometimes one that comes too late.
                let number = if random.below(10) == 0 { random.below(step) } else { step };
                let turn = Turn {
                    number,
                    unanswered_from: number.saturating_sub(random.below(4)),
                };
                let expected = ledger::take(limit, taken, latest, turn, ask);
                let granted = store.turn(&account, limit, turn, ask).await?;
                let said = format!("{limit} {taken} {latest:?} {turn:?} {ask:?}");
                ensure!(
                    granted == expected.map(|(granted, _)| granted),
                    "{said}: {granted:?}, not {expected:?}"
                );
                if let Some((granted, now)) = expected {
                    (taken, latest) = (granted.taken, Some(now));
                }
            }
            Ok(())
        }
    });
    try_join_all(accounts).await?;

    // And as gateways call it: plain grants, and what is given back.
    let account = account("plain");
    let mut taken = 0;
    let mut random = Seeded(0);
    for _ in 0..500 {
        let (limit, ask) = (
            amount(&mut random),
            Ask {
                owed: random.below(1_000),
                returned: 0,
                at_least: random.below(1 << 50),
                wish: amount(&mut random),
            },
        );
        let granted = store.take(account.clone(), limit, ask).await?;
        assert_eq!(granted, grant(limit, taken, ask));
        let back = random.below(granted.amount.saturating_add(1).max(1));
        store.give_back(account.clone(), back).await?;
        taken = granted.taken - back;
    }
    let Grant { taken: last, .. } = store.take(account, u64::MAX, Ask::default()).await?;
    assert_eq!(last, taken);

    let mut keys = redis::cmd("KEYS");
    keys.arg("*");
    let keys: Vec<Vec<u8>> = redis.ask(keys).await?;
    assert_eq!(keys.len(), 2 * 201);
    for key in keys {
        let mut left = redis::cmd("TTL");
        left.arg(&key);
        let left: i64 = redis.ask(left).await?;
        assert!((3_500..=2 * 86_400).contains(&left), "{left} s: every key ends by itself");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_damaged_in_the_redis_is_not_taken_for_nothing() -> Result<()> {
    let redis = Redis::start().await?;
    let store = store(&redis)?;
    let account = account("");
    let ask = Ask {
        at_least: 1,
        ..Ask::default()
    };
    store.take(account.clone(), 10, ask).await?;
    let mut keys = redis::cmd("KEYS");
    keys.arg("*}");
    let [key]: [String; 1] = redis.ask::<Vec<String>>(keys).await?.try_into().ok().context("one key")?;
    for damage in ["-5", "much", "1e3", "", "184467440737095516150"] {
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(damage);
        redis.ask::<()>(set).await?;
        let error = store.take(account.clone(), 10, ask).await.err().context("an error")?.to_string();
        assert!(
            error.contains("is damaged: remove it to begin this budget anew"),
            "{damage}: {error}"
        );
    }
    Ok(())
}

/// The rights that the settings' documentation names.
#[tokio::test]
async fn a_user_with_few_rights_is_enough() -> Result<()> {
    let redis = Redis::start().await?;
    let password = format!(">{PASSWORD}");
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "portfolio", "on", &password, "~eu:1:*"]);
    user.arg(&["+ping", "+script|load", "+eval", "+evalsha", "+get", "+mset", "+expire"]);
    redis.ask::<()>(user).await?;
    let ask = Ask {
        at_least: 3,
        ..Ask::default()
    };
    let (account, store) = (account(""), store_as(&redis, "portfolio")?);
    store.take(account.clone(), 10, ask).await?;
    // A server that was told to forget its scripts gets it again.
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    redis.ask::<()>(flush).await?;
    assert_eq!(store.take(account, 10, ask).await?.taken, 6);
    Ok(())
}
