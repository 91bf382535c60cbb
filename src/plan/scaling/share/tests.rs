use proptest::prelude::*;

use super::*;
use Tier::{General, MissionCritical, Regulated};

const STEP: i64 = 2;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(name: &str) -> Key {
    Key::new("claims", name)
}

/// All its replicas are busy, each has one accelerator, and it wants what it lacks and no more.
fn contender(tier: Tier, placed: u32, lacks: u64) -> Contender {
    Contender {
        tier,
        weight: 1,
        min: 0,
        wanted: placed + u32::try_from(lacks).unwrap(),
        busy: placed,
        placed,
        going: 0,
        size: 1,
        lacks,
    }
}

fn all<const N: usize>(named: [(&str, Contender); N]) -> BTreeMap<Key, Contender> {
    named.into_iter().map(|(name, one)| (key(name), one)).collect()
}

/// From whom how many are taken.
fn taken(news: &[News]) -> Vec<(&str, u32)> {
    let told = news.iter().map(|one| match one {
        News::Taken { from, replicas, .. } => (from.name.as_str(), *replicas),
        News::InVain(_) => ("nobody", 0),
    });
    told.collect()
}

#[test]
fn who_is_idle_gives_first_then_the_lowest_tier_and_nobody_below_its_least() {
    let critical = contender(MissionCritical, 1, 3);
    let idle = Contender {
        busy: 0,
        ..contender(Regulated, 2, 0)
    };
    let general = Contender {
        min: 1,
        ..contender(General, 2, 0)
    };
    let regulated = contender(Regulated, 4, 0);
    let gives = |contenders| {
        taken(&Pool::default().settle(&contenders, 0, at(0)))
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect::<Vec<_>>()
    };
    let given = gives(all([
        ("critical", critical),
        ("draft", general),
        ("idle", idle),
        ("triage", regulated),
    ]));
    assert_eq!(given, [("draft".to_owned(), 1), ("idle".to_owned(), 2)]);
    let given = gives(all([("critical", critical), ("draft", general), ("triage", regulated)]));
    assert_eq!(given, [("draft".to_owned(), 1), ("triage".to_owned(), 2)]);
    // Nothing is taken from a higher tier, nor from its own where it is too little for one replica.
    assert_eq!(
        gives(all([
            ("critical", contender(MissionCritical, 3, 0)),
            ("triage", contender(Regulated, 0, 2))
        ])),
        []
    );
    let large = Contender {
        size: 4,
        lacks: 4,
        ..critical
    };
    assert_eq!(
        gives(all([("critical", large), ("draft", contender(General, 3, 0))])),
        [("draft".to_owned(), 3)],
        "a node may have the rest"
    );
    let own = contender(MissionCritical, 3, 0);
    assert_eq!(gives(all([("critical", large), ("own", own)])), []);
    let two = all([
        ("critical", contender(Regulated, 1, 1)),
        ("draft", contender(General, 1, 0)),
        (
            "own",
            Contender {
                busy: 0,
                ..contender(Regulated, 3, 0)
            },
        ),
    ]);
    assert_eq!(gives(two), [("draft".to_owned(), 1)], "its own tier gives last");
    assert_eq!(
        gives(all([("critical", large), ("draft", contender(General, 5, 0))])),
        [("draft".to_owned(), 4)]
    );
    let wide = Contender {
        size: 4,
        ..contender(General, 2, 0)
    };
    assert_eq!(
        gives(all([("critical", critical), ("wide", wide)])),
        [("wide".to_owned(), 1)],
        "what is left of it serves the next"
    );
}

#[test]
fn within_a_tier_whoever_has_more_for_its_weight_gives_until_they_are_even() {
    let (one, three) = (
        contender(General, 0, 9),
        Contender {
            weight: 3,
            ..contender(General, 8, 0)
        },
    );
    assert_eq!(
        taken(&Pool::default().settle(&all([("one", one), ("three", three)]), 0, at(0))),
        [("three", 2)]
    );
    let (one, three) = (
        contender(General, 2, 9),
        Contender {
            weight: 3,
            ..contender(General, 6, 9)
        },
    );
    assert_eq!(taken(&Pool::default().settle(&all([("one", one), ("three", three)]), 0, at(0))), []);
}

#[test]
fn what_is_lacking_is_taken_once_and_nobody_tries_for_it_again_until_nobody_lacked_any_for_a_while() {
    let mut pool = Pool::default();
    let world = |placed, lacks, draft| {
        all([
            ("critical", contender(MissionCritical, placed, lacks)),
            ("draft", contender(General, draft, 0)),
        ])
    };
    assert_eq!(taken(&pool.settle(&world(1, 2, 4), 0, at(0))), [("draft", 2)]);
    let range = Range {
        min: 0,
        max: 4,
        source: Source::Own,
    };
    let cap = |pool: &Pool| pool.cap(&key("draft")).map(|cap| (cap.bound(range).max, cap.until.as_second()));
    assert_eq!(cap(&pool), Some((2, 300)));
    // Its pods have not begun to go, then go, then are gone, and the scheduler takes its time.
    for (draft, leaving, second) in [(4, 0, 2), (3, 1, 4), (2, 2, 6), (2, 2, 100), (2, 0, 102), (2, 0, 118)] {
        assert_eq!(pool.settle(&world(1, 2, draft), leaving, at(second)), [], "after {second}s");
    }
    assert_eq!(pool.settle(&world(3, 0, 2), 0, at(120)), []);
    assert_eq!(cap(&pool), Some((2, 418)));
    assert_eq!(pool.settle(&world(3, 0, 2), 0, at(419)), []);
    assert_eq!(cap(&pool), None);
    // A model that has fewer anyway is not bounded by more than its own most.
    let none = Cap {
        max: 9,
        until: at(0),
        tier: Regulated,
        at: at(0),
    };
    assert_eq!((none.bound(range), none.bound(Range { min: 9, max: 9, ..range }).max), (range, 9));
}

#[test]
fn what_was_taken_in_vain_is_the_last_that_is_taken_for_an_hour() {
    let mut pool = Pool::default();
    // Four accelerators on four nodes serve nobody who needs them on one; or somebody else was faster.
    let lacks = |draft| {
        all([
            (
                "critical",
                Contender {
                    size: 4,
                    ..contender(MissionCritical, 0, 4)
                },
            ),
            ("draft", contender(General, draft, 0)),
        ])
    };
    assert_eq!(taken(&pool.settle(&lacks(8), 0, at(0))), [("draft", 4)]);
    assert_eq!(pool.settle(&lacks(4), 4, at(10)), []);
    assert_eq!(pool.settle(&lacks(4), 0, at(31)), [News::InVain(key("critical"))]);
    assert_eq!(pool.settle(&lacks(4), 0, at(1000)), []);
    // What was given is given back, and after an hour it is tried again.
    assert_eq!(pool.cap(&key("draft")), None);
    assert_eq!(pool.settle(&lacks(8), 0, at(3600)), []);
    assert_eq!(taken(&pool.settle(&lacks(8), 0, at(3700))), [("draft", 4)]);
    assert_eq!(pool.settle(&lacks(4), 0, at(3800)), [News::InVain(key("critical"))]);
    // Or once one of its pods has found a node.
    let one = Contender {
        size: 4,
        wanted: 2,
        ..contender(MissionCritical, 1, 4)
    };
    assert_eq!(
        taken(&pool.settle(&all([("critical", one), ("draft", contender(General, 4, 0))]), 0, at(3802))),
        [("draft", 4)]
    );
}

#[test]
fn what_is_lacking_beyond_what_others_can_give_is_asked_for_when_they_can() {
    let mut pool = Pool::default();
    let world = |placed, lacks, draft| {
        all([
            ("critical", contender(MissionCritical, placed, lacks)),
            ("draft", contender(General, draft, 0)),
        ])
    };
    assert_eq!(taken(&pool.settle(&world(0, 4, 2), 0, at(0))), [("draft", 2)]);
    assert_eq!(pool.settle(&world(0, 4, 2), 0, at(2)), [], "they have not begun to go");
    // One more of its pods has waited for long enough by now.
    assert_eq!(pool.settle(&world(0, 5, 0), 2, at(6)), []);
    assert_eq!(pool.settle(&world(2, 3, 0), 0, at(40)), []);
    let later = all([("critical", contender(MissionCritical, 2, 3)), ("other", contender(General, 4, 0))]);
    assert_eq!(taken(&pool.settle(&later, 0, at(90))), [("other", 3)]);
}

#[test]
fn whoever_does_not_go_is_passed_over_and_what_a_change_brings_for_its_time_is_nobodys_to_give() {
    let mut pool = Pool::default();
    let world = |paused| {
        all([
            ("critical", contender(MissionCritical, 0, 1)),
            ("other", contender(Regulated, 1, 0)),
            ("paused", paused),
        ])
    };
    let paused = contender(General, 1, 0);
    assert_eq!(taken(&pool.settle(&world(paused), 0, at(0))), [("paused", 1)]);
    assert_eq!(pool.settle(&world(paused), 0, at(60)), []);
    assert_eq!(taken(&pool.settle(&world(paused), 0, at(81))), [("other", 1)]);
    let surges = Contender {
        placed: 3,
        wanted: 2,
        ..contender(General, 2, 0)
    };
    let world = all([("critical", contender(MissionCritical, 0, 1)), ("draft", surges)]);
    let mut pool = Pool::default();
    assert_eq!(taken(&pool.settle(&world, 0, at(0))), [("draft", 1)]);
    assert_eq!(pool.cap(&key("draft")).unwrap().max, 1);
}

#[test]
fn where_room_is_made_no_lower_tier_waits_for_it_too() {
    let mut pool = Pool::default();
    let waits = contender(General, 1, 2);
    let world = all([
        ("critical", contender(MissionCritical, 0, 1)),
        ("draft", contender(General, 3, 0)),
        ("waits", waits),
    ]);
    assert_eq!(taken(&pool.settle(&world, 0, at(0))), [("draft", 1)]);
    assert_eq!(pool.cap(&key("waits")).unwrap().max, 1);
}

#[test]
fn a_least_that_grows_counts_more_than_what_was_given() {
    let cap = Cap {
        max: 0,
        until: at(300),
        tier: Regulated,
        at: at(0),
    };
    let range = Range {
        min: 2,
        max: 4,
        source: Source::Entry(0),
    };
    assert_eq!(cap.bound(range), Range { max: 2, ..range });
}

/// A cluster with a scheduler that gives places in the order of names, on one node.
struct Cluster {
    pool: Pool,
    accelerators: u64,
    wanted: BTreeMap<Key, (Contender, u32)>,
    /// Since when each pod that waits does.
    waiting: BTreeMap<Key, Vec<i64>>,
    placed: BTreeMap<Key, u32>,
    /// Until when pods on their way out hold how many accelerators.
    going: Vec<(i64, u64)>,
    second: i64,
}

/// How many there are to be.
fn told(pool: &Pool, key: &Key, (one, wants): (&Contender, u32)) -> u32 {
    let range = Range {
        min: one.min.min(wants),
        max: wants,
        source: Source::Own,
    };
    pool.cap(key).map_or(range, |cap| cap.bound(range)).max
}

impl Cluster {
    fn new(contenders: &[(Contender, u32)], accelerators: u64) -> Self {
        let named = contenders.iter().enumerate();
        Self {
            pool: Pool::default(),
            accelerators,
            wanted: named.map(|(at, one)| (key(&format!("m{at}")), *one)).collect(),
            waiting: BTreeMap::new(),
            placed: BTreeMap::new(),
            going: Vec::new(),
            second: 0,
        }
    }

    fn step(&mut self) -> Vec<News> {
        self.second += STEP;
        let second = self.second;
        self.going.retain(|(until, _)| *until > second);
        let mut contenders = BTreeMap::new();
        for (key, (one, wants)) in &self.wanted {
            let told = told(&self.pool, key, (one, *wants));
            let placed = self.placed.entry(key.clone()).or_default();
            if *placed > told {
                self.going.push((second + 30, u64::from(*placed - told) * one.size));
                *placed = told;
            }
            let waiting = self.waiting.entry(key.clone()).or_default();
            waiting.resize((told - *placed) as usize, second);
            let is_patient = |since: &&i64| second - **since >= PATIENCE.as_secs() as i64;
            let lacks = waiting.iter().filter(is_patient).count() as u64 * one.size;
            let (placed, busy, wanted) = (*placed, *placed, told);
            contenders.insert(
                key.clone(),
                Contender {
                    placed,
                    busy,
                    wanted,
                    lacks,
                    ..*one
                },
            );
        }
        let leaving: u64 = self.going.iter().map(|(_, held)| held).sum();
        let news = self.pool.settle(&contenders, leaving, at(second));
        for (key, (one, wants)) in &self.wanted {
            let told = told(&self.pool, key, (one, *wants));
            let held: u64 = self
                .placed
                .iter()
                .map(|(key, placed)| u64::from(*placed) * self.wanted[key].0.size)
                .sum();
            let room = self.accelerators.saturating_sub(held + leaving) / one.size;
            let placed = self.placed.get_mut(key).unwrap();
            let gets = u32::try_from(room).unwrap().min(told.saturating_sub(*placed));
            // The oldest pods first.
            let waiting = self.waiting.get_mut(key).unwrap();
            waiting.drain(..waiting.len().min(gets as usize));
            *placed += gets;
        }
        news
    }

    /// All that came of the next half hour.
    fn half_an_hour(&mut self) -> Vec<News> {
        (0..1800 / STEP).flat_map(|_| self.step()).collect()
    }

    /// Comes to rest, where no lower tier has what a higher one wants, and those of one tier are even.
    fn comes_to_rest(&mut self) -> Result<(), TestCaseError> {
        let before = self.half_an_hour();
        prop_assert!(
            !before.iter().any(|news| matches!(news, News::InVain(_))),
            "on one node all is where it is needed: {before:?}"
        );
        let rest = self.half_an_hour();
        prop_assert!(rest.is_empty(), "it goes on: {:?} {rest:?}", self.placed);
        for (lacking, (one, wants)) in &self.wanted {
            let has = self.placed[lacking];
            // Who made room does not lack what it gave.
            if has >= told(&self.pool, lacking, (one, *wants)) {
                continue;
            }
            for (key, (other, _)) in &self.wanted {
                let others = self.placed[key];
                if other.tier < one.tier {
                    prop_assert!(others <= other.min, "{lacking} has {has}, and {key} {others}");
                } else if other.tier == one.tier && others > other.min {
                    let (fewer, more) = (
                        u64::from(others - 1) * u64::from(one.weight),
                        u64::from(has + 1) * u64::from(other.weight),
                    );
                    prop_assert!(fewer < more, "{lacking} has {has}, and {key} {others}");
                }
            }
        }
        Ok(())
    }
}

fn contenders() -> impl Strategy<Value = Vec<(Contender, u32)>> {
    let one = (0..3_usize, 1..5_u32, 0..3_u32, 0..12_u32).prop_map(|(tier, weight, min, wants)| {
        let tier = [General, Regulated, MissionCritical][tier];
        let one = Contender {
            weight,
            min,
            ..contender(tier, 0, 0)
        };
        (one, wants)
    });
    proptest::collection::vec(one, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn replicas_of_any_size_come_to_rest_but_for_one_try_an_hour(
        contenders in contenders(), sizes in proptest::collection::vec(0..4_u32, 6), accelerators in 0..60_u64
    ) {
        let sized: Vec<_> = contenders.iter().zip(sizes).map(|((one, wants), size)| (Contender { size: 1 << size, ..*one }, *wants)).collect();
        let mut cluster = Cluster::new(&sized, accelerators);
        (0..4).for_each(|_| drop(cluster.half_an_hour()));
        let hour: Vec<News> = (0..2).flat_map(|_| cluster.half_an_hour()).collect();
        for key in cluster.wanted.keys() {
            let tries = hour.iter().filter(|news| matches!(news, News::InVain(model) if model == key)).count();
            prop_assert!(tries <= 2, "{key}: {hour:?}");
        }
        let moved = hour.iter().filter(|news| matches!(news, News::Taken { .. })).count();
        prop_assert!(moved <= 2 * sized.len() * sized.len(), "{hour:?}");
    }
}

proptest! {
    #[test]
    fn it_comes_to_rest_where_nobody_has_what_another_should_whatever_changes(
        contenders in contenders(), accelerators in 0..40_u64, wants in proptest::collection::vec(0..12_u32, 6), more in 0..20_u64
    ) {
        let mut cluster = Cluster::new(&contenders, accelerators);
        cluster.comes_to_rest()?;
        for ((_, wanted), wants) in cluster.wanted.values_mut().zip(&wants) {
            *wanted = *wants;
        }
        cluster.comes_to_rest()?;
        cluster.accelerators += more;
        cluster.comes_to_rest()?;
        // Not all at once.
        let keys: Vec<Key> = cluster.wanted.keys().cloned().collect();
        for (key, wants) in keys.into_iter().zip(wants.into_iter().rev()) {
            cluster.wanted.get_mut(&key).unwrap().1 += wants;
            (0..7).for_each(|_| drop(cluster.step()));
        }
        cluster.comes_to_rest()?;
    }

    #[test]
    fn no_more_is_taken_than_is_lacking_and_the_rest_of_a_replica(
        contenders in contenders(), sizes in proptest::collection::vec(1..9_u64, 6), lacks in proptest::collection::vec(0..20_u64, 6), leaving in 0..8_u64
    ) {
        let sized = contenders.into_iter().zip(sizes.into_iter().zip(lacks)).enumerate();
        let contenders: BTreeMap<Key, Contender> = sized.map(|(at, ((one, placed), (size, lacks)))| {
            (key(&format!("m{at}")), Contender { size, lacks, placed, wanted: placed + 20, ..one })
        }).collect();
        let news = Pool::default().settle(&contenders, leaving, at(0));
        let mut got: BTreeMap<&Key, u64> = BTreeMap::new();
        let mut gave: BTreeMap<&Key, u32> = BTreeMap::new();
        for one in &news {
            let News::Taken { from, replicas, to } = one else { panic!("{one:?}") };
            *got.entry(to).or_default() += u64::from(*replicas) * contenders[from].size;
            *gave.entry(from).or_default() += replicas;
            prop_assert!(contenders[from].tier <= contenders[to].tier);
        }
        let lacking: u64 = contenders.values().map(|one| one.lacks).sum();
        let rests = got.len() as u64 * 7;
        prop_assert!(got.values().sum::<u64>() <= lacking.saturating_sub(leaving) + rests, "what leaves already is not taken too");
        for (to, got) in got {
            prop_assert!(got < contenders[to].lacks + 9, "{to} got {got}");
        }
        for (from, gave) in gave {
            prop_assert!(contenders[from].placed >= contenders[from].min + gave);
        }
    }
}
