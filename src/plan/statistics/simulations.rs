//! Do intervals hold the truth as often as they promise, and do tests keep quiet where nothing is? Runs over worlds whose truth is known, from fixed
//! seeds.

use fastrand::Rng;

use super::non_inferiority::NonInferiority;
use super::{
    Bounds, Confidence, Interval, Pairs, Share, clustered_mean, cost_per_thousand_tokens, mean, paired_difference, quantile,
    stratified_mean,
};

const RUNS: u32 = 4_000;

/// The share of runs of which it is so.
fn share(seed: u64, mut is_so: impl FnMut(&mut Rng) -> bool) -> f64 {
    let mut rng = Rng::with_seed(seed);
    let so = (0..RUNS).filter(|_| is_so(&mut rng)).count();
    so as f64 / f64::from(RUNS)
}

#[track_caller]
fn is_promised(share: f64) {
    assert!((0.93..=0.97).contains(&share), "{share}");
}

fn right(rng: &mut Rng, asked: u32, truth: f64) -> u32 {
    (0..asked).filter(|_| rng.f64() < truth).count() as u32
}

fn score(rng: &mut Rng, truth: f64) -> f64 {
    f64::from(right(rng, 1, truth))
}

fn hold(Bounds { lower, upper }: Bounds, truth: f64) -> bool {
    (lower..=upper).contains(&truth)
}

#[test]
fn wilsons_interval_holds_the_true_share_as_promised() {
    for (asked, truth) in [(100, 0.5), (300, 0.784), (500, 0.9), (400, 0.3)] {
        is_promised(share(1, |rng| {
            let seen = Interval::wilson(right(rng, asked, truth), asked).unwrap();
            (seen.lower..=seen.upper).contains(&truth)
        }));
    }
}

#[test]
fn the_exact_interval_holds_rare_failures_at_least_as_promised() {
    for truth in [0.001, 0.01, 0.05] {
        let held = share(2, |rng| {
            hold(
                Share::of(right(rng, 300, truth), 300).unwrap().exact_interval(Confidence::P95),
                truth,
            )
        });
        assert!(held >= 0.945, "{truth}: {held}");
    }
}

#[test]
fn means_hold_the_truth_of_questions_alone_in_clusters_and_in_strata() {
    is_promised(share(3, |rng| {
        let scores: Vec<f64> = (0..200).map(|_| score(rng, 0.7)).collect();
        hold(mean(&scores).unwrap().interval(Confidence::P95), 0.7)
    }));
    // Passages that are easy or hard, with five questions each.
    let mut plain_held = 0;
    is_promised(share(4, |rng| {
        let mut scores = Vec::new();
        for passage in 0..40 {
            let truth = if rng.bool() { 0.95 } else { 0.45 };
            scores.extend((0..5).map(|_| (passage, score(rng, truth))));
        }
        let plain: Vec<f64> = scores.iter().map(|(_, score)| *score).collect();
        plain_held += u32::from(hold(mean(&plain).unwrap().interval(Confidence::P95), 0.7));
        hold(clustered_mean(scores).unwrap().interval(Confidence::P95), 0.7)
    }));
    assert!(
        f64::from(plain_held) / f64::from(RUNS) < 0.93,
        "clusters are to matter: {plain_held}"
    );
    // An easy and a hard subject, of which as many are asked each time.
    is_promised(share(5, |rng| {
        let easy: Vec<(u8, f64)> = (0..120).map(|_| (0, score(rng, 0.95))).collect();
        let hard = (0..80).map(|_| (1, score(rng, 0.25)));
        let scores = easy.into_iter().chain(hard);
        hold(stratified_mean(scores).unwrap().interval(Confidence::P95), 0.67)
    }));
}

/// Answers of two models to one question, of which a part tells them apart.
fn pair(rng: &mut Rng, better: f64, worse: f64) -> (bool, bool) {
    let at = rng.f64();
    if at < better {
        (true, false)
    } else if at < better + worse {
        (false, true)
    } else {
        let both = rng.f64() < 0.8;
        (both, both)
    }
}

fn pairs(rng: &mut Rng, asked: u32, better: f64, worse: f64) -> Pairs {
    Pairs::count((0..asked).map(|_| pair(rng, better, worse)))
}

#[test]
fn paired_differences_hold_the_truth() {
    is_promised(share(6, |rng| {
        let scores: Vec<(f64, f64)> = (0..300)
            .map(|_| {
                let (candidate, baseline) = pair(rng, 0.12, 0.08);
                (f64::from(u8::from(candidate)), f64::from(u8::from(baseline)))
            })
            .collect();
        hold(paired_difference(&scores).unwrap().interval(Confidence::P95), 0.04)
    }));
    is_promised(share(7, |rng| {
        hold(pairs(rng, 300, 0.12, 0.08).difference().unwrap().interval(Confidence::P95), 0.04)
    }));
    // Few questions that hardly tell the models apart: the plain one promises too much.
    let few = |rng: &mut Rng| pairs(rng, 40, 0.01, 0.03);
    let plain = share(8, |rng| hold(few(rng).difference().unwrap().interval(Confidence::P95), -0.02));
    let adjusted = share(8, |rng| {
        hold(few(rng).adjusted_difference().unwrap().interval(Confidence::P95), -0.02)
    });
    assert!(plain < 0.9 && adjusted >= 0.94, "{plain} {adjusted}");
}

#[test]
fn a_ratio_holds_the_truth_of_requests_of_very_different_length() {
    is_promised(share(9, |rng| {
        let requests: Vec<(f64, u64)> = (0..200)
            .map(|_| {
                let (prompt, answer) = (rng.u64(50..2_000), rng.u64(1..500));
                (prompt as f64 * 1e-6 + answer as f64 * 5e-6, prompt + answer)
            })
            .collect();
        // The mean prompt has 1,024.5 tokens, the mean answer 250.
        let truth = (1_024.5 * 1e-6 + 250.0 * 5e-6) / 1_274.5 * 1_000.0;
        hold(cost_per_thousand_tokens(&requests).unwrap().interval(Confidence::P95), truth)
    }));
}

#[test]
fn a_quantile_holds_the_truth_of_a_long_tail() {
    let truth = -(0.05_f64.ln());
    is_promised(share(10, |rng| {
        let times: Vec<f64> = (0..500).map(|_| -(1.0 - rng.f64()).ln()).collect();
        let seen = quantile(&times, 0.95, Confidence::P95).unwrap();
        (seen.lower..=seen.upper).contains(&truth)
    }));
}

#[test]
fn a_model_against_itself_raises_no_more_alarms_than_promised() {
    for (asked, flips) in [(300, 0.025), (500, 0.09)] {
        let mut seen = Vec::new();
        for seed in 11..13 {
            seen.push(share(seed, |rng| pairs(rng, asked, flips, flips).p_differs() < 0.05));
            seen.push(share(seed, |rng| pairs(rng, asked, flips, flips).p_worse() < 0.05));
            seen.push(share(seed, |rng| {
                pairs(rng, asked, flips, flips).non_inferiority(0.03, Confidence::P95) == NonInferiority::Worse
            }));
        }
        assert!(seen.iter().all(|alarms| *alarms <= 0.05), "{seen:?}");
    }
}

/// The published chances of an unchanged model to pass: 500 questions of variance 0.05 at margins of 2, 3 and 5 points, and of variance 0.18.
#[test]
fn an_unchanged_model_passes_as_often_as_published_and_one_worse_by_the_margin_does_not() {
    for (flips, margin, published) in [(0.025, 0.02, 0.63), (0.025, 0.03, 0.91), (0.09, 0.03, 0.48), (0.09, 0.05, 0.84)] {
        let passes = |seed, better, worse| {
            share(seed, |rng| {
                pairs(rng, 500, better, worse).non_inferiority(margin, Confidence::P95) == NonInferiority::Shown
            })
        };
        let unchanged = passes(13, flips, flips);
        assert!((unchanged - published).abs() < 0.06, "{margin}: {unchanged} is not {published}");
        let worse = passes(14, flips, flips + margin);
        assert!(worse <= 0.06, "{margin}: {worse}");
    }
}
