//! Several gateways, one store, and everything that may happen between them, in random order.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::{Account, Ask, Budget, Grant, Purse, Unit, grant, subject};
use crate::api::budget::BudgetPer;
use crate::plan::names::Key;
use crate::plan::routing::Client;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A gateway wants to attempt something that is reckoned with at the one amount and costs the other.
    Begin(usize, u64, u64),
    /// An attempt ends, and is charged.
    End(usize),
    /// An attempt comes to nothing before it is sent.
    Cancel(usize),
    /// A gateway asks the store for more, unprompted; the answer is under way.
    Ask(usize),
    /// The answer arrives.
    Fill(usize),
    /// A gateway dies and begins anew, knowing nothing.
    Crash(usize),
    /// A gateway gives back what is free.
    GiveBack(usize),
    /// So many seconds pass.
    Wait(i64),
    /// The next window begins.
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    let (gateway, attempt) = (0..3usize, 0..8usize);
    prop_oneof![
        6 => (gateway.clone(), 1..60u64, 0..120u64).prop_map(|(at, reserve, cost)| Step::Begin(at, reserve, cost)),
        4 => attempt.clone().prop_map(Step::End),
        1 => attempt.prop_map(Step::Cancel),
        2 => gateway.clone().prop_map(Step::Ask),
        2 => gateway.clone().prop_map(Step::Fill),
        1 => gateway.clone().prop_map(Step::Crash),
        1 => gateway.prop_map(Step::GiveBack),
        1 => (1..30i64).prop_map(Step::Wait),
        1 => Just(Step::Turn),
    ]
}

/// An attempt in flight.
struct Attempt {
    gateway: usize,
    window: usize,
    reserved: u64,
    cost: u64,
}

impl Attempt {
    fn underestimate(&self) -> u64 {
        self.cost.saturating_sub(self.reserved)
    }
}

#[derive(Default)]
struct World {
    limit: u64,
    window: usize,
    now: i64,
    /// By window.
    store: BTreeMap<usize, u64>,
    /// By gateway and window.
    purses: BTreeMap<(usize, usize), Purse>,
    underway: BTreeMap<usize, (usize, Ask, Grant)>,
    attempts: Vec<Attempt>,
    /// By window: what attempts cost, known to a gateway or not.
    cost: BTreeMap<usize, u64>,
    /// By gateway and window: what the attempts in flight cost beyond their reservations, when it last began one.
    allowed: BTreeMap<(usize, usize), u64>,
    /// By window: the same of gateways that have died, and what they had taken.
    allowed_of_dead: BTreeMap<usize, u64>,
    lost: BTreeMap<usize, u64>,
    /// By gateway and window: what it was charged.
    charged: BTreeMap<(usize, usize), u64>,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    fn purse(&mut self, gateway: usize) -> &mut Purse {
        self.purses.entry((gateway, self.window)).or_default()
    }

    /// The store's side of asking.
    fn ask(&mut self, gateway: usize, amount: u64) -> (Ask, Grant) {
        let now = self.now();
        let ask = self.purse(gateway).ask(amount, now);
        let taken = self.store.entry(self.window).or_default();
        let granted = grant(self.limit, *taken, ask);
        *taken = granted.taken;
        (ask, granted)
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Begin(gateway, amount, cost) => {
                if self.purse(gateway).reserve(amount, now).is_err() {
                    // Only one may ask at a time.
                    if self.underway.contains_key(&gateway) {
                        return;
                    }
                    let (ask, granted) = self.ask(gateway, amount);
                    let limit = self.limit;
                    self.purse(gateway).fill(ask, granted, limit);
                    if self.purse(gateway).reserve(amount, now).is_err() {
                        assert_eq!(granted.amount, 0, "what was granted is enough");
                        return;
                    }
                }
                let window = self.window;
                self.attempts.push(Attempt {
                    gateway,
                    window,
                    reserved: amount,
                    cost,
                });
                let here = self.attempts.iter().filter(|a| (a.gateway, a.window) == (gateway, window));
                let allowed = here.map(Attempt::underestimate).sum();
                self.allowed.insert((gateway, window), allowed);
            }
            Step::End(at) if at < self.attempts.len() => {
                let Attempt {
                    gateway,
                    window,
                    reserved,
                    cost,
                } = self.attempts.swap_remove(at);
                self.purses.get_mut(&(gateway, window)).unwrap().settle(reserved, cost);
                *self.cost.entry(window).or_default() += cost;
                *self.charged.entry((gateway, window)).or_default() += cost;
            }
            Step::Cancel(at) if at < self.attempts.len() => {
                let Attempt {
                    gateway, window, reserved, ..
                } = self.attempts.swap_remove(at);
                self.purses.get_mut(&(gateway, window)).unwrap().release(reserved);
            }
            Step::Ask(gateway) if !self.underway.contains_key(&gateway) => {
                let (ask, granted) = self.ask(gateway, 0);
                self.underway.insert(gateway, (self.window, ask, granted));
            }
            Step::Fill(gateway) => {
                if let Some((window, ask, granted)) = self.underway.remove(&gateway) {
                    self.purses.get_mut(&(gateway, window)).unwrap().fill(ask, granted, self.limit);
                }
            }
            Step::Crash(gateway) => {
                self.underway.remove(&gateway);
                let (dead, alive): (Vec<_>, Vec<_>) = self.attempts.drain(..).partition(|a| a.gateway == gateway);
                self.attempts = alive;
                // Nobody will know, and their providers bill them.
                for attempt in dead {
                    *self.cost.entry(attempt.window).or_default() += attempt.cost;
                }
                for ((_, window), allowed) in self.allowed.extract_if(.., |(at, _), _| *at == gateway) {
                    *self.allowed_of_dead.entry(window).or_default() += allowed;
                }
                for ((_, window), purse) in self.purses.extract_if(.., |(at, _), _| *at == gateway) {
                    *self.lost.entry(window).or_default() += purse.taken();
                }
                self.charged.retain(|(at, _), _| *at != gateway);
            }
            Step::GiveBack(gateway) if !self.underway.contains_key(&gateway) => {
                let back = self.purse(gateway).empty();
                *self.store.entry(self.window).or_default() -= back;
            }
            Step::Wait(seconds) => self.now += seconds,
            Step::Turn => self.window += 1,
            Step::End(_) | Step::Cancel(_) | Step::Ask(_) | Step::GiveBack(_) => {}
        }
    }

    /// What holds at any time.
    fn check(&self) {
        for (window, cost) in &self.cost {
            let alive: u64 = self
                .allowed
                .iter()
                .filter(|((_, w), _)| w == window)
                .map(|(_, allowed)| allowed)
                .sum();
            let allowed = alive + self.allowed_of_dead.get(window).unwrap_or(&0);
            assert!(*cost <= self.limit + allowed, "{cost} of {} and {allowed}", self.limit);
        }
        for ((gateway, window), purse) in &self.purses {
            let of = |a: &&Attempt| (a.gateway, a.window) == (*gateway, *window);
            let reserved: u64 = self.attempts.iter().filter(of).map(|a| a.reserved).sum();
            assert_eq!(purse.reserved(), reserved, "reservations are those of attempts in flight");
            assert_eq!(purse.spent(), self.charged.get(&(*gateway, *window)).copied().unwrap_or(0));
        }
        for (window, taken) in &self.store {
            let here = self.purses.iter().filter(|((_, w), _)| w == window);
            let held: u64 = here.map(|(_, p)| p.taken()).sum();
            let underway = self.underway.values().filter(|(w, ..)| w == window);
            let underway: u64 = underway.map(|(_, ask, grant)| ask.owed + grant.amount).sum();
            let lost = self.lost.get(window).unwrap_or(&0);
            // What was under way to one that died is lost too.
            assert!(held + underway + lost <= *taken, "nobody holds what the store does not know of");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Not one attempt more begins than the budget and the stated bound allow, whatever dies and begins anew, and no charge is lost.
    #[test]
    fn no_order_of_events_spends_more_than_the_budget_and_the_stated_bound(limit in 0..2_000u64, steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World { limit, ..World::default() };
        for step in steps {
            world.step(step);
            world.check();
        }
    }

    /// Where nothing costs more than was reserved, a budget is exact.
    #[test]
    fn with_reservations_that_suffice_a_budget_is_never_exceeded(limit in 0..2_000u64, steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World { limit, ..World::default() };
        for step in steps {
            world.step(match step {
                Step::Begin(at, reserve, cost) => Step::Begin(at, reserve, cost.min(reserve)),
                other => other,
            });
            prop_assert!(world.cost.values().all(|cost| *cost <= limit));
            prop_assert!(world.store.values().all(|taken| *taken <= limit));
        }
    }
}

/// One thing that happens to gateways that go on while the store is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// A gateway attempts something that costs what was reserved.
    Spend(usize, u64),
    /// It dies and begins anew.
    Crash(usize),
    /// The store goes away, or comes back.
    Turn,
}

fn away() -> impl Strategy<Value = Away> {
    prop_oneof![
        8 => (0..3usize, 1..80u64).prop_map(|(at, amount)| Away::Spend(at, amount)),
        1 => (0..3usize).prop_map(Away::Crash),
        1 => Just(Away::Turn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However often the store goes away: at most as many budgets are spent as gateways were there or began anew, and what is owed is told.
    #[test]
    fn gateways_that_go_on_without_the_store_spend_a_budget_each_at_most(limit in 0..2_000u64, steps in prop::collection::vec(away(), 1..200)) {
        let now = Timestamp::UNIX_EPOCH;
        let (mut store, mut is_away, mut spent, mut lost, mut gateways) = (0, false, 0, 0, 3);
        // What each holds, and what all had taken at the latest answer that it got.
        let mut purses: [(Purse, u64); 3] = std::array::from_fn(|_| (Purse::default(), 0));
        for step in steps {
            match step {
                Away::Spend(at, amount) => {
                    let (purse, known) = &mut purses[at];
                    if purse.reserve(amount, now).is_err() {
                        if is_away {
                            let within = purse.reserve_owing(amount, limit.saturating_sub(*known), now).is_ok();
                            prop_assert!(purse.owed() <= limit.saturating_sub(*known));
                            if !within { continue }
                        } else {
                            let ask = purse.ask(amount, now);
                            let granted = grant(limit, store, ask);
                            (store, *known) = (granted.taken, granted.taken);
                            purse.fill(ask, granted, limit);
                            if purse.reserve(amount, now).is_err() { continue }
                        }
                    }
                    purse.settle(amount, amount);
                    spent += amount;
                }
                Away::Crash(at) => {
                    let (dead, _) = std::mem::take(&mut purses[at]);
                    lost += dead.owed();
                    gateways += 1;
                }
                Away::Turn => is_away = !is_away,
            }
            prop_assert!(spent <= limit * gateways, "{spent} of {limit} by {gateways}");
        }
        for (purse, _) in &mut purses {
            let ask = Ask { wish: 0, ..purse.ask(0, now) };
            let granted = grant(limit, store, ask);
            store = granted.taken;
            purse.fill(ask, granted, limit);
        }
        prop_assert!(spent <= store + lost, "{spent} are spent, and {store} told");
    }
}

#[test]
fn little_is_stranded_near_the_end() {
    let ask = Ask {
        owed: 0,
        returned: 0,
        at_least: 5,
        wish: 1_000,
    };
    for (taken, amount) in [(0, 625), (9_000, 62), (9_900, 6), (9_990, 5), (9_996, 0)] {
        assert_eq!(
            grant(10_000, taken, ask),
            Grant {
                amount,
                taken: taken + amount
            }
        );
    }
    let owing = Ask { owed: 20, ..ask };
    assert_eq!(
        grant(10_000, 9_990, owing),
        Grant { amount: 0, taken: 10_010 },
        "what is owed counts all the same"
    );
}

#[test]
fn what_comes_free_while_a_budget_is_exceeded_is_not_spent() {
    let (mut purse, now) = (Purse::default(), Timestamp::UNIX_EPOCH);
    let ask = purse.ask(100, now);
    purse.fill(ask, grant(100, 0, ask), 100);
    purse.reserve(50, now).unwrap();
    purse.reserve(50, now).unwrap();
    purse.settle(50, 90);
    let ask = purse.ask(0, now);
    purse.fill(ask, grant(100, 100, ask), 100);
    purse.release(50);
    assert!(purse.reserve(11, now).is_err(), "90 of 100 are spent");
    let ask = purse.ask(10, now);
    let granted = grant(100, 140, ask);
    assert_eq!((ask.returned, granted), (50, Grant { amount: 10, taken: 100 }));
    purse.fill(ask, granted, 100);
    assert_eq!(purse.reserve(10, now), Ok(()));
}

#[test]
fn one_gateway_alone_can_spend_all_of_a_budget() {
    let mut world = World {
        limit: 1_000,
        ..World::default()
    };
    for _ in 0..150 {
        world.step(Step::Begin(0, 10, 10));
        world.step(Step::End(0));
    }
    assert_eq!(world.cost[&0], 1_000);
}

#[test]
fn a_purse_that_is_used_fast_asks_before_it_is_empty() {
    let (mut purse, now) = (Purse::default(), Timestamp::UNIX_EPOCH);
    assert!(!purse.is_low(now));
    let ask = purse.ask(100, now);
    assert_eq!(
        ask,
        Ask {
            owed: 0,
            returned: 0,
            at_least: 100,
            wish: 0
        }
    );
    purse.fill(ask, Grant { amount: 100, taken: 100 }, 1_000);
    purse.reserve(100, now).unwrap();
    assert!(purse.is_low(now));
    assert_eq!(
        purse.ask(0, now),
        Ask {
            owed: 0,
            returned: 0,
            at_least: 0,
            wish: 100
        }
    );
    purse.settle(100, 130);
    assert_eq!(purse.ask(0, now).owed, 30);
    let later = Timestamp::from_second(60).unwrap();
    assert_eq!(purse.ask(0, later).wish, 0);
}

fn clients() -> [Client; 4] {
    let labels = BTreeMap::from([("team".to_owned(), "fraud".to_owned())]);
    let (namespace, name) = ("claims".to_owned(), "web".to_owned());
    [
        Client::ServiceAccount { namespace, name },
        Client::ApiKey {
            name: "k".to_owned(),
            labels,
        },
        Client::ApiKey {
            name: "l".to_owned(),
            labels: BTreeMap::new(),
        },
        Client::Anonymous,
    ]
}

#[test]
fn clients_share_what_is_theirs_together() {
    for (per, expected) in [
        (BudgetPer::Policy, ["", "", "", ""]),
        (BudgetPer::Client, ["sa:claims/web", "key:k", "key:l", "anonymous"]),
        (BudgetPer::Team, ["team:claims", "team:fraud", "other", "other"]),
        (BudgetPer::Namespace, ["namespace:claims", "other", "other", "other"]),
    ] {
        assert_eq!(clients().map(|client| subject(per, &client)), expected, "{per}");
    }
}

fn budget(yaml: &str) -> Result<Budget, String> {
    Budget::of(0, &serde_saphyr::from_str(yaml).unwrap()).map_err(|invalid| invalid.to_string())
}

#[test]
fn a_budget_is_understood_or_its_field_is_named() {
    let good = budget("{per: Policy, usd: '500', window: Month, timeZone: Europe/Berlin, warnAtPercent: 80}").unwrap();
    assert_eq!((good.name.as_str(), good.unit, good.limit), ("1", Unit::Usd, 500_000_000_000));
    assert_eq!(
        (good.warn_at, good.written(1_500_000_000)),
        (Some(400_000_000_000), "1.5 US dollars".to_owned())
    );
    assert_eq!(
        budget("{per: Policy, usd: '500', window: Month, timeZone: Europe/Atlantis}"),
        Err(r#"spec.budgets[0].timeZone: "Europe/Atlantis" is not an IANA time zone; use a name such as "Europe/Berlin", or leave it out for UTC"#.to_owned())
    );
    assert!(
        budget("{per: Policy, usd: 'x', window: Month}")
            .unwrap_err()
            .starts_with("spec.budgets[0].usd")
    );
    assert!(budget("{per: Policy, window: Month}").unwrap_err().starts_with("spec.budgets[0]: "));
}

#[test]
fn another_window_or_unit_is_another_account() {
    let account = |yaml: &str, now: &str| -> Account {
        let budget = budget(yaml).unwrap();
        budget.account(&Key::new("claims", "assistant"), &clients()[0], now.parse().unwrap())
    };
    let first = account("{name: a, per: Client, usd: '5', window: Day}", "2026-06-01T12:00:00Z");
    assert_eq!(first.to_string(), "claims/assistant|a/usd/Day|1780272000|sa:claims/web");
    for (yaml, now) in [
        ("{name: a, per: Client, usd: '5', window: Day}", "2026-06-02T00:00:00Z"),
        ("{name: a, per: Client, tokens: 5, window: Day}", "2026-06-01T12:00:00Z"),
        ("{name: a, per: Client, usd: '5', window: Month}", "2026-06-01T12:00:00Z"),
        ("{name: b, per: Client, usd: '5', window: Day}", "2026-06-01T12:00:00Z"),
        ("{name: a, per: Policy, usd: '5', window: Day}", "2026-06-01T12:00:00Z"),
    ] {
        assert_ne!(account(yaml, now), first, "{yaml} {now}");
    }
    assert_eq!(
        account("{name: a, per: Client, usd: '900', window: Day}", "2026-06-01T23:59:59Z"),
        first,
        "the amount may change"
    );
}
