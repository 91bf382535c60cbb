//! Does the detector keep quiet as promised, and find drops as soon as it should? Runs over worlds whose truth is known, from fixed seeds.

use fastrand::Rng;

use super::baseline::badness;
use super::{BASELINE_RUNS, Baseline, Detector, Scores, State, paired_bound, stream_bound, threshold};

const RUNS_PER_YEAR: u32 = 365;
const QUESTIONS: usize = 400;
const TOLERANCE: f64 = 0.01;

/// Quiet years: 29 million answers.
const YEARS: u32 = 200;

/// A model, by how likely it answers each question right: the first tenth are tosses of a coin, of the others four fifths are always right.
struct Model(Vec<f64>);

impl Model {
    fn new() -> Self {
        let always = |at: usize| f64::from(u8::from(!at.is_multiple_of(5)));
        Self(
            (0..QUESTIONS)
                .map(|at| if at < QUESTIONS / 10 { 0.5 } else { always(at) })
                .collect(),
        )
    }

    /// The same that now fails at the last `drop` of all questions that it was always right at.
    fn worse(mut self, drop: f64) -> Self {
        let sure = self.0.iter_mut().rev().filter(|right| **right == 1.0);
        sure.take((drop * QUESTIONS as f64).round() as usize).for_each(|right| *right = 0.0);
        self
    }

    fn answers<'a>(&'a self, rng: &'a mut Rng) -> impl Iterator<Item = f64> + 'a {
        self.0
            .iter()
            .map(|right| if *right == 0.5 { f64::from(u8::from(rng.bool())) } else { *right })
    }

    /// What each question scored in the baseline.
    fn baseline(&self, rng: &mut Rng) -> Vec<f64> {
        let run = |rng: &mut Rng| -> Scores {
            self.answers(rng)
                .enumerate()
                .map(|(at, score)| (format!("{at:03}"), score))
                .collect()
        };
        let runs: Vec<Scores> = (0..BASELINE_RUNS).map(|_| run(rng)).collect();
        Baseline::freeze(&runs).unwrap().scores.into_values().collect()
    }

    fn run(&self, baseline: &[f64], rng: &mut Rng) -> Vec<f64> {
        let pairs = self.answers(rng).zip(baseline);
        pairs.map(|(score, baseline)| badness(*baseline, score)).collect()
    }
}

/// Of daily runs, with one false alarm a year.
fn paired() -> Detector {
    Detector::new(paired_bound(TOLERANCE), threshold(f64::from(RUNS_PER_YEAR), 1.0), State::default())
}

fn median(mut delays: Vec<u32>) -> u32 {
    delays.sort_unstable();
    delays[delays.len() / 2]
}

#[test]
fn quiet_years_of_daily_runs_have_no_more_alarms_than_promised() {
    let mut rng = Rng::with_seed(1);
    let model = Model::new();
    let mut alarms = 0;
    for _ in 0..YEARS {
        let baseline = model.baseline(&mut rng);
        let mut detector = paired();
        for _ in 0..RUNS_PER_YEAR {
            detector.observe_run(&model.run(&baseline, &mut rng));
            if detector.is_alarm() {
                alarms += 1;
                detector = paired();
            }
        }
    }
    // One a year is promised; of baselines of five runs, next to none comes.
    assert!(alarms <= YEARS / 10, "{alarms} alarms in {YEARS} years");
}

#[test]
fn drops_of_two_three_and_five_points_take_about_fourteen_five_and_two_runs() {
    let mut rng = Rng::with_seed(2);
    for (drop, at_least, at_most) in [(0.02, 10, 18), (0.03, 4, 7), (0.05, 2, 3)] {
        let (before, now) = (Model::new(), Model::new().worse(drop));
        let delays = (0..100).map(|_| {
            let baseline = before.baseline(&mut rng);
            let mut detector = paired();
            (1..=RUNS_PER_YEAR).find(|_| {
                detector.observe_run(&now.run(&baseline, &mut rng));
                detector.is_alarm()
            })
        });
        let seen = median(delays.map(|delay| delay.unwrap_or(u32::MAX)).collect());
        assert!((at_least..=at_most).contains(&seen), "{drop}: {seen} runs");
    }
}

/// Answers to an alarm of a stream that passes so often, where 85 % passed, a point is tolerated and A is 5,000.
fn answers_to_an_alarm(pass_share: f64, rng: &mut Rng) -> u32 {
    let mut detector = Detector::new(stream_bound(0.85, TOLERANCE), threshold(5_000.0, 1.0), State::default());
    let mut answers = 0;
    while !detector.is_alarm() {
        detector.observe(f64::from(u8::from(rng.f64() >= pass_share)));
        answers += 1;
    }
    answers
}

/// By another simulation, of the plain recursion.
#[test]
fn drops_of_a_stream_take_as_many_answers_as_another_simulation_has() {
    let mut rng = Rng::with_seed(3);
    for (drop, expected) in [(0.03, 1_060.0), (0.05, 507.0), (0.1, 161.0)] {
        let seen = f64::from(median((0..300).map(|_| answers_to_an_alarm(0.85 - drop, &mut rng)).collect()));
        assert!((seen / expected - 1.0).abs() < 0.15, "{drop}: {seen} is not {expected}");
    }
}

#[test]
fn a_stream_at_its_bound_has_an_alarm_no_more_often_than_promised() {
    let mut rng = Rng::with_seed(4);
    let alarms = 200;
    let mean = (0..alarms).map(|_| f64::from(answers_to_an_alarm(0.84, &mut rng))).sum::<f64>() / f64::from(alarms);
    assert!(mean >= 5_000.0, "an alarm every {mean} answers");
}
