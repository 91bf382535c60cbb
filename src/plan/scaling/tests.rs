//! What holds of every decision, and what comes of many of them.

mod replay;

use proptest::prelude::*;

use super::*;

/// Between two samples.
const TICK: Duration = Duration::from_secs(2);

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millisecond((seconds * 1_000.0) as i64).unwrap()
}

fn bounds(min: u32, max: u32) -> Bounds {
    Bounds {
        min,
        max,
        source: Source::Own,
        targets: Targets {
            in_flight: Some(16.0),
            ..Targets::default()
        },
        up: Pace::default(),
        down: Pace {
            per_minute: None,
            stabilisation: Duration::from_secs(300),
        },
        to_zero_after: Some(Duration::from_secs(900)),
    }
}

fn sample(seconds: f64, replicas: u32, in_flight: Option<f64>) -> Sample {
    Sample {
        at: at(seconds),
        replicas,
        is_starting: false,
        is_partial: false,
        is_wanted: in_flight.map(|in_flight| in_flight != 0.0),
        in_flight,
        waiting: None,
        running: None,
        cache: None,
    }
}

/// A model that is decided about every two seconds.
struct World {
    bounds: Bounds,
    replicas: u32,
    history: History,
    seconds: f64,
    /// When each change was made, and what to.
    changes: Vec<(f64, u32)>,
    latest: Option<Decision>,
}

impl World {
    fn new(bounds: Bounds, replicas: u32) -> Self {
        Self {
            bounds,
            replicas,
            history: History::default(),
            seconds: 0.0,
            changes: Vec::new(),
            latest: None,
        }
    }

    fn tick(&mut self, in_flight: Option<f64>) -> Decision {
        self.told(|sample| Sample { ..sample }, in_flight)
    }

    fn told(&mut self, also: impl Fn(Sample) -> Sample, in_flight: Option<f64>) -> Decision {
        self.seconds += TICK.as_secs_f64();
        self.history
            .note(also(sample(self.seconds, self.replicas, in_flight)), &self.bounds);
        self.decide()
    }

    fn decide(&mut self) -> Decision {
        let decision = desired(&self.history, &self.bounds, self.replicas, at(self.seconds));
        if decision.replicas != self.replicas {
            self.replicas = decision.replicas;
            self.changes.push((self.seconds, decision.replicas));
        }
        self.latest = Some(decision);
        decision
    }

    fn run(&mut self, minutes: f64, mut in_flight: impl FnMut(f64) -> Option<f64>) -> &mut Self {
        let end = self.seconds + minutes * 60.0;
        while self.seconds < end {
            let demand = in_flight(self.seconds);
            self.tick(demand);
        }
        self
    }

    fn why(&self) -> Why {
        self.latest.unwrap().why
    }
}

/// Numbers that look drawn, the same ones each time.
struct Noise(u64);

impl Noise {
    /// From -1 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f64 / f64::from(u32::MAX >> 1)).mul_add(2.0, -1.0)
    }
}

fn seen(samples: &[Sample], bounds: &Bounds) -> History {
    let mut history = History::default();
    samples.iter().for_each(|sample| history.note(*sample, bounds));
    history
}

fn reading() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(Some(-3.0)),
        1 => Just(Some(1e12)),
        3 => Just(Some(0.0)),
        12 => (0.0..400.0f64).prop_map(Some),
    ]
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let pace = || (proptest::option::of(0..9u32), 0..400u64);
    (0..5u32, 0..12u32, pace(), pace(), proptest::option::of(1..1200u64)).prop_map(|(min, more, up, down, zero)| Bounds {
        up: Pace {
            per_minute: up.0,
            stabilisation: Duration::from_secs(up.1),
        },
        down: Pace {
            per_minute: down.0,
            stabilisation: Duration::from_secs(down.1),
        },
        to_zero_after: zero.map(Duration::from_secs),
        ..bounds(min, min + more)
    })
}

proptest! {
    #[test]
    fn never_outside_the_bounds_whatever_is_told(
        readings in proptest::collection::vec((reading(), reading(), 0..30u64), 0..200),
        bounds in any_bounds(),
        current in 0..40u32,
    ) {
        let mut seconds = 0.0;
        let samples: Vec<Sample> = readings.iter().map(|(in_flight, waiting, gap)| {
            seconds += *gap as f64;
            Sample { waiting: *waiting, ..sample(seconds, current, *in_flight) }
        }).collect();
        let decision = desired(&seen(&samples, &bounds), &bounds, current, at(seconds + 1.0));
        prop_assert!((bounds.min..=bounds.max).contains(&decision.replicas), "{decision:?}");
        let is_bad = |reading: &Option<f64>| reading.is_none_or(|reading| !is_sane(reading));
        // Nothing good is known: nothing is done, beyond what the bounds say.
        if samples.iter().all(|sample| is_bad(&sample.in_flight)) {
            prop_assert_eq!(decision.replicas, current.clamp(bounds.min, bounds.max));
        }
    }

    #[test]
    fn more_demand_never_gives_fewer(
        readings in proptest::collection::vec((0.0..200.0f64, 0.0..60.0f64), 1..700),
        bounds in any_bounds(),
        current in 0..16u32,
    ) {
        let history = |more: bool| -> Vec<Sample> {
            let each = readings.iter().enumerate();
            each.map(|(tick, (demand, added))| {
                let demand = if more { demand + added } else { *demand };
                sample(tick as f64 * 2.0, current, Some(demand.floor()))
            }).collect()
        };
        let now = at(readings.len() as f64 * 2.0 - 2.0);
        let of = |more| desired(&seen(&history(more), &bounds), &bounds, current, now).replicas;
        prop_assert!(of(true) >= of(false));
    }
}

/// How often the replicas of a constant load change once they have settled.
fn settled(load: f64, noise: f64, minutes: f64) -> usize {
    let mut drawn = Noise(load.to_bits());
    let mut world = World::new(bounds(1, 20), 1);
    let mut demand = |_: f64| Some(load * drawn.next().mul_add(noise, 1.0));
    world.run(20.0, &mut demand);
    world.changes.clear();
    world.run(minutes, &mut demand);
    let bears = f64::from(world.replicas) * 16.0;
    assert!(bears >= load * 0.999 && bears * ROOM <= load + 16.0, "{load}: {}", world.replicas);
    world.changes.len()
}

#[test]
fn a_constant_load_settles_and_stays() {
    for load in [0.4, 3.0, 8.0, 15.9, 16.1, 28.7, 32.0, 47.0, 61.0, 100.0] {
        for noise in [0.0, 0.1, 0.2] {
            let changes = settled(load, noise, 20.0);
            assert!(changes <= 1, "{load} with {noise}: {changes}");
        }
    }
}

#[test]
fn the_hardest_load_stays_over_a_day() {
    // What one replica bears with no room to spare, and what it takes to be brought back to one.
    for load in [16.0, 28.8] {
        assert!(settled(load, 0.2, 24.0 * 60.0) <= 1, "{load}");
    }
}

#[test]
fn a_step_is_there_within_one_panic_window() {
    let mut world = World::new(bounds(1, 50), 1);
    world.run(20.0, |_| Some(10.0));
    let step = world.seconds;
    world.run(1.0, |_| Some(400.0));
    let (when, replicas) = *world.changes.last().unwrap();
    assert_eq!((replicas, world.replicas), (25, 25), "{:?}", world.changes);
    assert!(when - step <= PANIC.as_secs_f64(), "{when}");
}

#[test]
fn it_goes_down_once_there_was_less_for_long_enough_and_then_at_once() {
    let mut world = World::new(bounds(1, 50), 1);
    world.run(20.0, |_| Some(160.0));
    assert_eq!(world.replicas, 10);
    let end = world.seconds;
    world.changes.clear();
    world.run(4.0, |_| Some(30.0));
    assert_eq!((world.replicas, world.why()), (10, Why::WaitsToGoDown));
    world.run(10.0, |_| Some(30.0));
    assert_eq!(world.replicas, 3, "with room: two are to bear 32");
    let (when, _) = world.changes[0];
    assert!((300.0..=370.0).contains(&(when - end)), "{}", when - end);
    assert!(world.changes.windows(2).all(|pair| pair[1].1 < pair[0].1), "{:?}", world.changes);
}

#[test]
fn the_pace_holds_both_ways() {
    let slow = Bounds {
        up: Pace {
            per_minute: Some(3),
            ..Pace::default()
        },
        down: Pace {
            per_minute: Some(1),
            stabilisation: Duration::from_secs(60),
        },
        ..bounds(1, 50)
    };
    let mut world = World::new(slow, 1);
    world.run(3.0, |_| Some(16.0));
    let began = world.seconds;
    world.run(1.0, |_| Some(320.0));
    assert_eq!((world.replicas, world.why()), (4, Why::Pace));
    world.run(10.0, |_| Some(320.0));
    assert_eq!(world.replicas, 20);
    world.run(10.0, |_| Some(16.0));
    assert!((10..=13).contains(&world.replicas), "one in each minute: {}", world.replicas);
    for (which, most) in [(0, 3), (1, 1)] {
        let mut steps = vec![(began, 1)];
        steps.extend(world.changes.iter().copied());
        for end in &world.changes {
            let recent = steps.windows(2).filter(|pair| pair[1].0 > end.0 - 60.0 && pair[1].0 <= end.0);
            let moved = recent.map(|pair| match which {
                0 => pair[1].1.saturating_sub(pair[0].1),
                _ => pair[0].1.saturating_sub(pair[1].1),
            });
            assert!(moved.sum::<u32>() <= most, "{:?}", world.changes);
        }
    }
}

/// What is told at a second instead of what is so.
type Lie = fn(f64, f64) -> Option<f64>;

#[test]
fn what_is_lied_about_moves_nothing() {
    let lies: [(&str, Lie); 7] = [
        ("gap", |_, _| None),
        ("NaN", |_, _| Some(f64::NAN)),
        ("negative, as of a counter that began anew", |_, good| Some(-good)),
        ("beyond all measure", |_, _| Some(1e15)),
        ("all other readings", |tick, good| (tick as u64).is_multiple_of(4).then_some(good)),
        ("a leap for some seconds", |tick, good| {
            Some(if (200.0..224.0).contains(&tick) { good * 1_000.0 } else { good })
        }),
        ("a spike", |tick, good| Some(if tick == 200.0 { good * 1_000.0 } else { good })),
    ];
    for (name, lie) in lies {
        let mut world = World::new(bounds(0, 50), 3);
        world.run(20.0, |_| Some(44.0));
        world.changes.clear();
        let began = world.seconds;
        world.run(10.0, |seconds| lie(seconds - began, 44.0));
        assert!(world.changes.is_empty(), "{name}: {:?}", world.changes);
        world.run(10.0, |_| Some(44.0));
        assert!(world.changes.is_empty(), "{name}, afterwards: {:?}", world.changes);
    }
    // Nobody samples any more.
    let mut world = World::new(bounds(0, 50), 3);
    world.run(20.0, |_| Some(44.0));
    world.changes.clear();
    for _ in 0..300 {
        world.seconds += 2.0;
        world.decide();
    }
    assert!(world.changes.is_empty());
    assert_eq!(world.why(), Why::Stale);
    world.run(0.1, |_| Some(f64::NAN));
    assert_eq!(world.why(), Why::Absurd);
    // What goes on being so much is so.
    let mut world = World::new(bounds(0, 50), 3);
    world.run(20.0, |_| Some(44.0));
    world.run(0.4, |_| Some(44_000.0));
    assert_eq!((world.replicas, world.why()), (3, Why::Absurd));
    world.run(0.4, |_| Some(44_000.0));
    assert_eq!(world.replicas, 50);
    // Whoever has just started knows nothing of before, but what three replicas bear.
    let mut world = World::new(bounds(0, 50), 3);
    world.run(0.4, |_| Some(44_000.0));
    assert_eq!((world.replicas, world.why()), (3, Why::Absurd));
}

#[test]
fn what_is_known_brings_more_and_what_is_not_keeps_the_rest() {
    let both = Bounds {
        targets: Targets {
            in_flight: Some(16.0),
            waiting: Some(4.0),
            cache: Some(0.8),
        },
        ..bounds(1, 50)
    };
    let told = |in_flight: Option<f64>, waiting: Option<f64>, cache: Option<f64>| {
        let samples: Vec<Sample> = (0..400)
            .map(|tick| Sample {
                waiting,
                cache,
                ..sample(f64::from(tick) * 2.0, 4, in_flight)
            })
            .collect();
        let decision = desired(&seen(&samples, &both), &both, 4, at(798.0));
        (decision.replicas, decision.why, decision.load.map(|(_, signal)| signal))
    };
    assert_eq!(told(Some(60.0), Some(0.0), Some(2.0)), (4, Why::Steady, Some(Signal::InFlight)));
    assert_eq!(told(Some(60.0), Some(29.0), Some(2.0)), (8, Why::Up, Some(Signal::Waiting)));
    assert_eq!(told(None, Some(32.0), None), (8, Why::Panic, Some(Signal::Waiting)));
    assert_eq!(told(Some(1.0), Some(0.0), Some(3.92)), (5, Why::Up, Some(Signal::Cache)));
    assert_eq!(told(Some(1.0), Some(0.0), Some(0.4)).0, 1);
    assert_eq!(told(Some(1.0), None, Some(0.4)), (4, Why::Incomplete, Some(Signal::Cache)));
}

#[test]
fn the_last_one_goes_when_nobody_wanted_it_and_the_first_request_wakes_it() {
    let mut world = World::new(bounds(0, 4), 1);
    world.run(20.0, |_| Some(1.0));
    assert_eq!(world.replicas, 1);
    let end = world.seconds;
    world.run(14.9, |_| Some(0.0));
    assert_eq!((world.replicas, world.why()), (1, Why::WaitsToGoDown));
    world.run(2.0, |_| Some(0.0));
    assert_eq!((world.replicas, world.changes.len()), (0, 1));
    assert!(world.changes[0].0 - end >= 900.0);
    world.run(10.0, |_| Some(0.0));
    assert_eq!(world.replicas, 0);
    // One that no gateway held: it went elsewhere meanwhile.
    let elsewhere = |sample: Sample| Sample {
        is_wanted: Some(true),
        ..sample
    };
    let woken = world.told(elsewhere, Some(0.0));
    assert_eq!((woken.replicas, woken.why), (1, Why::Wake));
    // However long it takes to start, nobody could have wanted it.
    let starts = |sample: Sample| Sample {
        is_starting: true,
        ..sample
    };
    for _ in 0..900 {
        assert_eq!(world.told(starts, Some(0.0)).replicas, 1);
    }
    world.run(14.9, |_| Some(0.0));
    assert_eq!(world.replicas, 1);
    world.run(0.3, |_| Some(0.0));
    assert_eq!(world.replicas, 0);
    // One that is wanted once every ten minutes stays.
    let mut world = World::new(bounds(0, 4), 1);
    world.run(60.0, |seconds| Some(if seconds % 600.0 < 2.0 { 1.0 } else { 0.0 }));
    assert_eq!((world.replicas, world.changes.len()), (1, 0));
    // Nobody knows whether it was.
    let mut world = World::new(bounds(0, 4), 1);
    world.run(60.0, |seconds| Some(0.0).filter(|_| seconds % 600.0 >= 30.0));
    assert_eq!(world.replicas, 1);
    // Nor what one of several gateways does not say.
    let mut world = World::new(bounds(0, 4), 1);
    let partial = |sample: Sample| Sample {
        is_partial: true,
        ..sample
    };
    for _ in 0..1_800 {
        assert_eq!(world.told(partial, Some(0.0)).replicas, 1);
    }
    for _ in 0..60 {
        world.told(partial, Some(40.0));
    }
    assert_eq!(world.replicas, 3, "what is known is enough for more");
    for _ in 0..600 {
        world.told(partial, Some(0.0));
    }
    assert_eq!((world.replicas, world.why()), (3, Why::Incomplete));
}

#[test]
fn where_the_bounds_ask_for_more_than_the_demand_they_are_why() {
    let mut world = World::new(bounds(5, 9), 1);
    let decision = world.tick(Some(40.0));
    assert_eq!((decision.replicas, decision.why), (5, Why::Bounds));
    let mut by_entry = Bounds {
        source: Source::Entry(1),
        ..bounds(5, 9)
    };
    assert_eq!(
        decision.message(1, &by_entry),
        "from 1 to 5: scaling allows 5 to 9 now, by schedule[1]"
    );
    by_entry.source = Source::Both(0, 2);
    let most = Decision {
        why: Why::AtMax,
        replicas: 9,
        load: Some((10.0, Signal::InFlight)),
    };
    let said = "from 5 to 9: inFlight of the latest 60s is what 10.0 replicas bear at 16 each, and scaling allows 9 now, by schedule[0] and schedule[2]";
    assert_eq!(most.message(5, &by_entry), said);
}

#[test]
fn a_bound_holds_at_once_and_what_is_wanted_beyond_it_is_told() {
    let mut world = World::new(bounds(2, 4), 1);
    assert_eq!((world.tick(Some(0.0)).replicas, world.why()), (2, Why::Bounds));
    world.run(2.0, |_| Some(640.0));
    let latest = world.latest.unwrap();
    assert_eq!((latest.replicas, latest.why), (4, Why::AtMax));
    assert_eq!(
        desired(&History::default(), &bounds(0, 4), 9, at(0.0)).replicas,
        4,
        "also where nothing is known"
    );
}

#[test]
fn whoever_waits_before_going_up_is_not_moved_by_less() {
    let patient = Bounds {
        up: Pace {
            per_minute: None,
            stabilisation: Duration::from_secs(120),
        },
        ..bounds(1, 50)
    };
    let mut world = World::new(patient, 1);
    world.run(10.0, |_| Some(10.0));
    world.run(1.5, |_| Some(400.0));
    assert_eq!(world.replicas, 1);
    world.run(3.0, |_| Some(400.0));
    assert_eq!(world.replicas, 25);
}

#[test]
fn caches_that_are_full_ask_for_no_more_while_what_was_asked_for_starts() {
    let bounds = Bounds {
        targets: Targets {
            cache: Some(0.8),
            ..Targets::default()
        },
        ..bounds(1, 20)
    };
    // One engine, all but full, and the second takes ten minutes.
    let mut world = World::new(bounds, 1);
    let full = |sample: Sample| Sample {
        in_flight: None,
        cache: Some(0.98),
        ..sample
    };
    for _ in 0..300 {
        world.told(full, None);
    }
    assert_eq!((world.replicas, world.changes.len()), (2, 1));
}

#[test]
fn who_is_called_often_sees_no_more_than_others_and_forgets_nobody() {
    let bounds = bounds(0, 4);
    let mut history = History::default();
    for tick in 0..1_000 {
        let called = Sample {
            is_wanted: Some(tick == 0),
            ..sample(f64::from(tick) * 0.2, 1, Some(0.0))
        };
        history.note(called, &bounds);
    }
    assert!(history.samples().len() <= 201, "{}", history.samples().len());
    assert_eq!(history.samples()[0].is_wanted, Some(true));
}

#[test]
fn a_short_silence_neither_wakes_nor_keeps_awake() {
    let mut world = World::new(bounds(0, 4), 1);
    world.run(40.0, |seconds| Some(0.0).filter(|_| seconds as u64 % 60 >= 6));
    assert_eq!(world.replicas, 0);
    let mut world = World::new(bounds(1, 4), 4);
    world.run(20.0, |seconds| Some(10.0).filter(|_| seconds as u64 % 60 >= 6));
    assert_eq!(world.replicas, 1);
}

#[test]
fn what_is_not_known_keeps_nobody_from_being_woken() {
    for (reading, pace) in [(None, None), (Some(f64::NAN), None), (Some(0.0), Some(1))] {
        let bounds = Bounds {
            up: Pace {
                per_minute: pace,
                ..Pace::default()
            },
            ..bounds(0, 4)
        };
        let mut world = World::new(bounds, 1);
        for replicas in [0, 1, 0] {
            world.tick(Some(0.0));
            world.replicas = replicas;
        }
        let wanted = |sample: Sample| Sample {
            is_wanted: Some(true),
            ..sample
        };
        assert_eq!(world.told(wanted, reading).replicas, 1, "{reading:?} {pace:?}");
    }
}

#[test]
fn a_thousand_models_are_decided_about_within_a_moment() {
    let samples: Vec<Sample> = (0..600).map(|tick| sample(f64::from(tick) * 2.0, 3, Some(20.0))).collect();
    let history = seen(&samples, &bounds(1, 50));
    assert_eq!(history.samples().len(), 188, "no more than decisions look at");
    let began = std::time::Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(desired(&history, &bounds(1, 50), 3, at(1_198.0)));
    }
    // Without optimisation, on a busy machine; a round may take a second.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
