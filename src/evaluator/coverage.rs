//! Do samples of a real benchmark, answered as real models answered it, give intervals that hold what all of its questions say?

use std::collections::BTreeMap;
use std::path::Path;

use super::extract::Extractor;
use super::mmlu_pro::{self, Question};
use super::recorded;
use super::sample;
use super::score::Score;
use crate::plan::evaluation::measure::{Comparison, Measured, Scored, compare, quality};
use crate::plan::statistics::{Bounds, Confidence};

const SEEDS: u64 = 200;
const SIZE: usize = 500;

struct World {
    questions: Vec<Question>,
    clusters: Vec<usize>,
    /// Whether each was answered right.
    right: Vec<bool>,
}

/// The questions that the model's outputs are recorded of; none where the data is not there.
fn world(model: &str) -> Option<World> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mmlu-pro");
    let read = |name: &str| std::fs::read(folder.join(name)).ok();
    let (Some(questions), Some(outputs)) = (read("questions.jsonl.gz"), read(&format!("recorded-{model}.jsonl.gz"))) else {
        println!("skipped: no data");
        return None;
    };
    let rows = super::rows::read("questions", "questions.jsonl.gz", &questions).unwrap();
    let recorded = recorded::read("outputs", outputs.as_slice(), recorded::Suite::MmluPro, Extractor::ThreeStep).unwrap();
    let mut questions = mmlu_pro::read("questions", &rows).unwrap();
    questions.retain(|question| recorded.rows.contains_key(&question.id));
    let right = questions.iter().map(|question| recorded.rows[&question.id].score == Score::Right);
    Some(World {
        right: right.collect(),
        clusters: mmlu_pro::clusters(&questions),
        questions,
    })
}

impl World {
    fn sample(&self, seed: u64) -> Vec<Scored> {
        let categories: Vec<&str> = self.questions.iter().map(|question| question.category.as_str()).collect();
        let drawn = sample::draw(&categories, SIZE, seed);
        let scored = |question: usize| Scored {
            question,
            cluster: Some(self.clusters[question].to_string()),
            stratum: Some(categories[question].to_owned()),
            score: f64::from(self.right[question]),
        };
        drawn.into_iter().map(scored).collect()
    }

    fn truth(&self) -> f64 {
        self.right.iter().filter(|right| **right).count() as f64 / self.right.len() as f64
    }
}

fn held(interval: Bounds, truth: f64) -> bool {
    (interval.lower..=interval.upper).contains(&truth)
}

#[test]
fn intervals_of_samples_hold_the_truth_of_all_questions_as_often_as_they_promise() {
    for model in ["gemini-1.5-pro-002", "gemini-1.5-flash-002"] {
        let Some(world) = world(model) else { return };
        let truth = world.truth();
        let holds = |seed: &u64| held(quality(&world.sample(*seed)).unwrap().interval(Confidence::P95).unwrap(), truth);
        let held = (0..SEEDS).filter(holds).count();
        println!("{model}: {truth:.4} in {held} of {SEEDS} intervals");
        assert!((186..=194).contains(&held), "{model}: {held} of {SEEDS}");
    }
}

#[test]
fn differences_of_samples_hold_the_truth_too_and_are_surer_than_two_samples_of_their_own() {
    let (Some(pro), Some(flash)) = (world("gemini-1.5-pro-002"), world("gemini-1.5-flash-002")) else {
        return;
    };
    let other: BTreeMap<&str, bool> = flash
        .questions
        .iter()
        .map(|q| q.id.as_str())
        .zip(flash.right.iter().copied())
        .collect();
    let both: Vec<usize> = (0..pro.questions.len())
        .filter(|i| other.contains_key(pro.questions[*i].id.as_str()))
        .collect();
    let flash_right = |i: usize| other.get(pro.questions[i].id.as_str()).copied();
    let count = |is_right: &dyn Fn(usize) -> bool| both.iter().filter(|i| is_right(**i)).count() as f64 / both.len() as f64;
    let truth = count(&|i| pro.right[i]) - count(&|i| flash_right(i) == Some(true));
    let mut held_by = 0;
    for seed in 0..SEEDS {
        let candidate: Vec<Scored> = pro.sample(seed).into_iter().filter(|s| flash_right(s.question).is_some()).collect();
        let baseline: Vec<Scored> = candidate
            .iter()
            .map(|s| Scored {
                score: f64::from(flash_right(s.question) == Some(true)),
                ..s.clone()
            })
            .collect();
        let difference = match compare(&candidate, &baseline).unwrap() {
            Comparison::Pairs(pairs) => pairs.adjusted_difference().unwrap(),
            Comparison::Difference(difference, _) => difference,
            Comparison::Itself => panic!("they are two"),
        };
        held_by += usize::from(held(difference.interval(Confidence::P95), truth));
        let alone = |scores: &[Scored]| match quality(scores).unwrap() {
            Measured::Share(share, _) => share.share * (1.0 - share.share) / share.questions,
            other @ (Measured::Rare(..) | Measured::Mean(..) | Measured::Time(..)) => panic!("{other:?}"),
        };
        assert!(difference.standard_error < (alone(&candidate) + alone(&baseline)).sqrt());
    }
    println!("{truth:.4} in {held_by} of {SEEDS} intervals of differences");
    assert!((186..=198).contains(&held_by), "{held_by} of {SEEDS}");
}
