//! Budgets of three gateways in one real Redis: under load, while gateways and the Redis are killed and frozen, nothing is spent beyond what is
//! stated. A fake provider counts what is spent, as a real one would bill it. Needs no cluster.

mod script;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::local::Server;
use e2e::redis::Redis;
use e2e::until;
use serde_json::json;

use world::{BY_ANSWER, BY_PROMPT, Seeded, World, ask};

/// Each answer costs a dollar, and is reckoned with at a dollar: the budget is exact.
#[tokio::test]
async fn a_budget_is_exact_under_load_on_three_gateways() -> Result<()> {
    const BUDGET: u64 = 3_000;
    let world = World::start(Redis::start().await?, BUDGET, BY_ANSWER, "Closed").await?;
    let tally = world.load(8, &ask(1), None).await?;
    let billed = world.billed(1);
    assert!((BUDGET * 3 / 4..=BUDGET).contains(&billed), "{billed} {tally:?}");
    assert_eq!(tally.answered.load(Ordering::Relaxed), billed, "{tally:?}");
    assert_eq!(world.stop().await?, billed, "what was not used was given back");
    Ok(())
}

/// What is known of a prompt before it is sent is half of what it costs: the budget is exceeded by the other half of the requests in flight at most.
#[tokio::test]
async fn underestimates_exceed_a_budget_by_those_of_the_requests_in_flight_at_most() -> Result<()> {
    const BUDGET: u64 = 100_000;
    const WORDS: u64 = 300;
    const CLIENTS: u64 = 8;
    let world = World::start(Redis::start().await?, BUDGET, BY_PROMPT, "Closed").await?;
    let body = json!({"model": "assistant", "max_tokens": 1, "messages": [{"role": "user", "content": "a ".repeat(WORDS as usize)}]});
    world.load(CLIENTS as usize, &body, None).await?;
    let last = world.ask(0, &body).await.context("an answer")?;
    let message = last.body["error"]["message"].as_str().unwrap_or_default();
    let words = message.split_once("may cost ").and_then(|(_, rest)| rest.split(' ').next());
    let reserved: u64 = words.with_context(|| message.to_owned())?.parse()?;
    let bound = 3 * CLIENTS * (WORDS - reserved);
    let billed = world.billed(WORDS);
    assert!(reserved < WORDS, "{reserved}");
    assert!(
        (BUDGET * 3 / 4..=BUDGET + bound).contains(&billed),
        "{billed}, and {bound} more are allowed"
    );
    assert_eq!(world.stop().await?, billed);
    Ok(())
}

/// Kills gateways and the Redis, and freezes it, in random order, and starts all again.
async fn havoc(world: &World, seed: u64, steps: usize) -> Result<BTreeMap<&'static str, usize>> {
    let (mut random, mut done) = (Seeded(seed), BTreeMap::new());
    for _ in 0..steps {
        tokio::time::sleep(Duration::from_millis(200 + random.below(600))).await;
        let what = match random.below(10) {
            0..5 => {
                let at = usize::try_from(random.below(3))?;
                let gateway = world.gateways[at].write().await.take().context("a gateway")?;
                gateway.kill().await?;
                let gateway = world.gateway().await?;
                *world.gateways[at].write().await = Some(gateway);
                "gateway killed"
            }
            5..8 => {
                let mut redis = world.redis.write().await;
                redis.kill().await?;
                tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
                redis.start_again().await?;
                "Redis killed"
            }
            _ => {
                let redis = world.redis.read().await;
                redis.freeze()?;
                tokio::time::sleep(Duration::from_millis(300 + random.below(3_500))).await;
                redis.thaw()?;
                "Redis frozen"
            }
        };
        *done.entry(what).or_default() += 1;
    }
    Ok(done)
}

#[tokio::test]
async fn no_schedule_of_crashes_and_freezes_spends_more_than_the_budget() -> Result<()> {
    const BUDGET: u64 = 6_000;
    for seed in 1..=3 {
        let world = World::start(Redis::start().await?, BUDGET, BY_ANSWER, "Closed").await?;
        // Else all is spent before anything happens.
        world.provider.set(|script| script.behaviour.delay_millis = 60);
        let (stop, body) = (AtomicBool::new(false), ask(1));
        let (during, done) = tokio::join!(world.load(6, &body, Some(&stop)), async {
            let done = havoc(&world, seed, 14).await;
            stop.store(true, Ordering::Relaxed);
            done
        });
        let before = world.billed(1);
        world.provider.set(|script| script.behaviour.delay_millis = 0);
        let after = world.load(8, &ask(1), None).await?;
        let billed = world.billed(1);
        let (during, done) = (during?, done?);
        println!("seed {seed}: {done:?}, {before} and {billed} billed; {during:?}, then {after:?}");
        assert!(billed <= BUDGET, "{billed} of {BUDGET} (seed {seed})");
        assert!(
            before > BUDGET / 20 && before < BUDGET,
            "{before} were spent meanwhile (seed {seed})"
        );
        let taken = world.stop().await?;
        assert!(
            (billed..=BUDGET).contains(&taken),
            "{taken} and {billed}: gateways that were killed lost their slices"
        );
    }
    Ok(())
}

#[tokio::test]
async fn while_the_redis_is_frozen_no_more_is_spent_than_was_taken_and_afterwards_nothing_is_lost() -> Result<()> {
    let world = World::start(Redis::start().await?, 1_000_000, BY_ANSWER, "Closed").await?;
    world.load_for(4, &ask(1), Duration::from_secs(2)).await?;
    let taken = world.taken().await?;
    world.redis.read().await.freeze()?;
    let frozen = world.load_for(4, &ask(1), Duration::from_secs(20)).await?;
    let billed = world.billed(1);
    assert!(billed <= taken, "{billed} are spent and {taken} were taken: {frozen:?}");
    assert!(frozen.unavailable.load(Ordering::Relaxed) > 0, "{frozen:?}");
    let slowest = frozen.slowest_unavailable.load(Ordering::Relaxed);
    assert!(slowest < 2_000, "refused after {slowest} ms");

    world.redis.read().await.thaw()?;
    for at in 0..3 {
        until("requests are answered again", Duration::from_secs(5), async || {
            let answer = world.ask(at, &ask(1)).await.context("no answer")?;
            ensure!(answer.status == 200, "{}", answer.body);
            Ok(Some(()))
        })
        .await?;
    }
    world.load_for(4, &ask(1), Duration::from_secs(1)).await?;
    assert_eq!(
        world.stop().await?,
        world.billed(1),
        "takes whose answers nobody got were taken back"
    );
    Ok(())
}

#[tokio::test]
async fn gateways_that_go_on_without_the_redis_tell_it_afterwards_what_was_spent() -> Result<()> {
    let world = World::start(Redis::start().await?, 1_000_000, BY_ANSWER, "Open").await?;
    world.load_for(4, &ask(1), Duration::from_secs(1)).await?;
    world.redis.read().await.freeze()?;
    let frozen = world.load_for(4, &ask(1), Duration::from_secs(6)).await?;
    assert_eq!(
        [&frozen.unavailable, &frozen.exhausted].map(|count| count.load(Ordering::Relaxed)),
        [0, 0],
        "{frozen:?}"
    );
    assert!(
        frozen.answered.load(Ordering::Relaxed) > 100 && frozen.slowest.load(Ordering::Relaxed) < 2_000,
        "{frozen:?}"
    );
    world.redis.read().await.thaw()?;
    let billed = world.billed(1);
    until("the debts are told", Duration::from_secs(8), async || {
        let taken = world.taken().await?;
        ensure!(taken >= billed, "{taken} of {billed}");
        Ok(Some(()))
    })
    .await?;
    // The same with one that is gone.
    world.redis.write().await.kill().await?;
    let gone = world.load_for(4, &ask(1), Duration::from_secs(3)).await?;
    assert_eq!(gone.unavailable.load(Ordering::Relaxed), 0, "{gone:?}");
    world.redis.write().await.start_again().await?;
    let billed = world.billed(1);
    until("the debts are told", Duration::from_secs(8), async || {
        let taken = world.taken().await?;
        ensure!(taken >= billed, "{taken} of {billed}");
        Ok(Some(()))
    })
    .await?;
    // One that is not connected yet could not give back what it has not used.
    for at in 0..3 {
        world.until_told(at, "1").await?;
    }
    assert_eq!(world.stop().await?, world.billed(1), "and nothing was told twice");
    Ok(())
}

#[tokio::test]
async fn without_the_redis_each_gateway_spends_one_budget_at_most() -> Result<()> {
    const BUDGET: u64 = 200;
    let mut redis = Redis::start().await?;
    redis.kill().await?;
    // They start, and are ready.
    let world = World::start(redis, BUDGET, BY_ANSWER, "Open").await?;
    world.load(4, &ask(1), None).await?;
    assert_eq!(world.billed(1), 3 * BUDGET);
    world.redis.write().await.start_again().await?;
    until("the debts are told", Duration::from_secs(8), async || {
        let taken = world.taken().await?;
        ensure!(taken == 3 * BUDGET, "{taken}");
        Ok(Some(()))
    })
    .await?;
    let refused = world.ask(0, &ask(1)).await.context("an answer")?;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert_eq!(world.stop().await?, 3 * BUDGET);
    Ok(())
}

#[tokio::test]
async fn no_request_waits_for_the_redis_while_something_is_left_of_a_slice() -> Result<()> {
    const REQUESTS: usize = 200;
    let world = World::start(Redis::start().await?, 1_000_000, BY_ANSWER, "Closed").await?;
    // Five hundred dollars are kept for it, and one is spent.
    let first = world.ask(0, &ask(500)).await.context("an answer")?;
    assert_eq!(first.status, 200, "{}", first.body);
    let times = async || -> Result<(Duration, Duration)> {
        let mut times = vec![];
        for _ in 0..REQUESTS {
            let began = Instant::now();
            let answer = world.ask(0, &ask(1)).await.context("an answer")?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            times.push(began.elapsed());
        }
        times.sort();
        Ok((times[REQUESTS / 2], times[REQUESTS - 1]))
    };
    let (before, _) = times().await?;
    world.redis.read().await.freeze()?;
    let (frozen, slowest) = times().await?;
    println!("median {before:?} before, {frozen:?} frozen; slowest {slowest:?}");
    assert!(frozen <= before * 3 + Duration::from_millis(2), "{frozen:?} instead of {before:?}");
    assert!(slowest < Duration::from_millis(900), "{slowest:?}: nobody waits a second");
    // Refilling it in the background failed meanwhile, and is told.
    world.until_told(0, "0").await?;
    world.redis.read().await.thaw()?;
    Ok(())
}

#[tokio::test]
async fn a_redis_behind_tls_is_trusted_by_its_authority() -> Result<()> {
    let world = World::start(Redis::over_tls().await?, 5, BY_ANSWER, "Closed").await?;
    let tally = world.load(1, &ask(1), None).await?;
    // A part of a dollar may be left with a gateway.
    assert!((3..=5).contains(&world.billed(1)), "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_and_the_gateway_is_ready() -> Result<()> {
    let mut world = World::start(Redis::start().await?, 5, BY_ANSWER, "Closed").await?;
    world.variables[0].1 = "another".to_owned();
    let gateway = world.gateway().await?;
    until("the log says so", Duration::from_secs(8), async || {
        let said = gateway.said();
        ensure!(said.contains("correct PORTFOLIO_LEDGER_PASSWORD"), "{said}");
        ensure!(!said.contains("another"), "{said}");
        Ok(Some(()))
    })
    .await?;
    let ready = world.client.get(&format!("{}/readyz", gateway.url), &[]).await?;
    assert_eq!(ready.status, 200);
    let refused = world
        .client
        .post(&format!("{}/v1/chat/completions", gateway.url), &[], &ask(1))
        .await?;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["error"]["code"]),
        (503, &json!("ledger_unavailable"))
    );
    Ok(())
}

#[tokio::test]
async fn a_redis_that_evicts_keys_is_warned_of() -> Result<()> {
    let redis = Redis::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]).await?;
    let world = World::start(redis, 5, BY_ANSWER, "Closed").await?;
    let gateway = world.gateways[0].read().await;
    until("the log says so", Duration::from_secs(8), async || {
        let said = gateway.as_ref().map(Server::said).unwrap_or_default();
        ensure!(
            said.contains("set its maxmemory-policy to noeviction") && said.contains("allkeys-lru"),
            "{said}"
        );
        Ok(Some(()))
    })
    .await?;
    Ok(())
}
