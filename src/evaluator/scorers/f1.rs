//! How many words an answer shares with what was expected: the F1 of SQuAD, for short answers in free wording.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::words;

/// What `\b` of Python lies around. The `\w` of `regex` has accents that stand by themselves too, which would save the article in "a\u{301}".
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a fixed pattern"));

/// The F1 over words, 0 to 1, with the expected text that gives the most: words count as often as they occur, in any order, without case,
/// ASCII punctuation and the English articles. Where either side has no words left, 0, even if neither has.
///
/// After the evaluation script of SQuAD v1.1 (Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016,
/// <https://aclanthology.org/D16-1264>; the script is `evaluate-v1.1.py` of <https://rajpurkar.github.io/SQuAD-explorer>). It is in percent
/// there. The script of v2.0 gives 1 where both sides are empty, which is how it marks questions without an answer.
pub(in crate::evaluator) fn f1(answer: &str, expected: &[String]) -> f64 {
    let answer = normalised(answer);
    let (said, length) = bag(&answer);
    words::best(expected, |text| {
        let text = normalised(text);
        let (wanted, wanted_length) = bag(&text);
        let shared = wanted.iter().map(|(word, count)| *count.min(said.get(word).unwrap_or(&0))).sum();
        words::f_measure(shared, length, wanted_length)
    })
}

/// The steps and their order are the script's: "a.m." is "am", and no article.
fn normalised(text: &str) -> String {
    let plain = text.to_lowercase().replace(|c: char| c.is_ascii_punctuation(), "");
    let without_articles = WORD.replace_all(&plain, |word: &regex::Captures| match &word[0] {
        "a" | "an" | "the" => " ".to_owned(),
        other => other.to_owned(),
    });
    without_articles.into_owned()
}

/// How often each word occurs, and how many there are.
fn bag(text: &str) -> (HashMap<&str, usize>, usize) {
    let mut counts = HashMap::new();
    for word in words::split(text) {
        *counts.entry(word).or_insert(0) += 1;
    }
    let length = counts.values().sum();
    (counts, length)
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_are_those_of_the_published_script() {
        goldens::check("f1", f1);
    }

    #[test]
    fn case_punctuation_and_articles_do_not_count() {
        assert_eq!(f1("The Eiffel-Tower!", &["an eiffeltower".to_owned()]), 1.0);
    }

    #[test]
    fn the_best_of_the_expected_texts_counts() {
        let expected = ["Lyon".to_owned(), "in Paris".to_owned()];
        assert!((f1("Paris", &expected) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(f1("Paris", &[]), 0.0);
    }

    proptest! {
        #[test]
        fn a_text_shares_all_with_itself(text in "(\\PC|\\s){0,40}") {
            let empty = words::split(&normalised(&text)).next().is_none();
            prop_assert_eq!(f1(&text, std::slice::from_ref(&text)), if empty { 0.0 } else { 1.0 });
        }

        #[test]
        fn the_score_is_a_share_and_the_same_both_ways(one in "([ab]b?|the|[ .é]){0,12}", other in "([ab]b?|the|[ .é]){0,12}") {
            let score = f1(&one, std::slice::from_ref(&other));
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert_eq!(score, f1(&other, &[one]));
        }
    }
}
