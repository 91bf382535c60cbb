//! Scores that the published implementations give, which ours are held to; `goldens.json` says by what they were computed.

use std::collections::HashMap;

use serde::Deserialize;

/// The last digits differ with the order of operations.
const ROUNDING: f64 = 1e-9;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    answer: String,
    expected: Vec<String>,
    #[serde(flatten)]
    scores: HashMap<String, f64>,
}

/// Does a scorer give what the one of this name gave?
pub(super) fn check(name: &str, scorer: impl Fn(&str, &[String]) -> f64) {
    let goldens: Goldens = serde_json::from_str(include_str!("goldens.json")).unwrap();
    for Case { answer, expected, scores } in &goldens.cases {
        let (seen, wanted) = (scorer(answer, expected), scores[name]);
        assert!(
            (seen - wanted).abs() <= ROUNDING,
            "{name} of {answer:?} for {expected:?}: {seen}, not {wanted}"
        );
    }
}
