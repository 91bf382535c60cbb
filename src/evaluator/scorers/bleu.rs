//! How many runs of words an answer shares with what was expected: BLEU of one sentence, for translations.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::words;

/// Runs of one to four words are compared.
const LONGEST_RUN: usize = 4;

/// BLEU of a single text, 0 to 1, against all expected texts together: the geometric mean of the shares of its runs of one to four words that
/// some expected text has too, less where it is shorter than the expected text nearest in length. Case counts. Runs longer than the answer
/// are left out of the mean; a share of 0 is replaced by a half, a quarter and so on of one run. 0 where not a single word is shared.
///
/// Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002 (<https://aclanthology.org/P02-1040>); equal to
/// `sentence_bleu` of sacrebleu 2 with its defaults, over 100 (tokenisation 13a, smoothing `exp`, effective order; Post, "A Call for Clarity
/// in Reporting BLEU Scores", WMT 2018, <https://aclanthology.org/W18-6319>). The mean over a set is not the BLEU of a corpus.
pub(in crate::evaluator) fn bleu(answer: &str, expected: &[String]) -> f64 {
    let answer = tokenised(answer);
    let answer: Vec<_> = words::split(&answer).collect();
    let expected: Vec<_> = expected.iter().map(|text| tokenised(text)).collect();
    let expected: Vec<Vec<_>> = expected.iter().map(|text| words::split(text).collect()).collect();
    let lengths = expected.iter().map(Vec::len);
    let Some(nearest) = lengths.min_by_key(|length| (length.abs_diff(answer.len()), *length)) else {
        return 0.0;
    };

    let orders = LONGEST_RUN.min(answer.len());
    let mut logarithms = 0.0;
    let mut smoothing = 1.0;
    for length in 1..=orders {
        let total = (answer.len() + 1 - length) as f64;
        let shared = match shared_runs(&answer, &expected, length) {
            0 if length == 1 => return 0.0,
            0 => {
                smoothing /= 2.0;
                smoothing
            }
            shared => shared as f64,
        };
        logarithms += (shared / total).ln();
    }
    if orders == 0 {
        return 0.0;
    }
    let brevity = (1.0 - nearest as f64 / answer.len() as f64).min(0.0).exp();
    brevity * (logarithms / orders as f64).exp()
}

/// How many of the answer's runs of `length` words the expected texts have, each counted at most as often as the one that has it most.
fn shared_runs(answer: &[&str], expected: &[Vec<&str>], length: usize) -> usize {
    let mut most = HashMap::new();
    for text in expected {
        for (run, count) in runs(text, length) {
            let so_far = most.entry(run).or_insert(0);
            *so_far = count.max(*so_far);
        }
    }
    let said = runs(answer, length);
    said.iter().map(|(run, count)| *count.min(most.get(run).unwrap_or(&0))).sum()
}

fn runs<'a>(words: &'a [&'a str], length: usize) -> HashMap<&'a [&'a str], usize> {
    let mut counts = HashMap::new();
    for run in words.windows(length) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}

/// The text with its tokens apart, as `mteval-v13a.pl` of NIST and sacrebleu after it have them. What a step has matched, it does not look at
/// again: of "a,,5" the second comma stays with the 5, and published values depend on it.
fn tokenised(text: &str) -> String {
    static STEPS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let step = |pattern: &str, apart| (Regex::new(pattern).expect("a fixed pattern"), apart);
        [
            // ASCII punctuation but the apostrophe, comma, hyphen and full stop.
            step(r"([ -&(-+/:-@\[-`{-\~])", " $1 "),
            // Commas and full stops, except within numbers.
            step("([^0-9])([.,])", "$1 $2 "),
            step("([.,])([^0-9])", " $1 $2"),
            // Hyphens after digits.
            step("([0-9])-", "$1 - "),
        ]
    });
    let text = text.trim_end_matches(words::is_space);
    // Words hyphenated at the end of a line are joined, and the entities of the format that these texts came in are resolved.
    let joined = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let plain = joined
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let mut text = format!(" {plain} ");
    for (pattern, apart) in STEPS.iter() {
        text = pattern.replace_all(&text, *apart).into_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> String {
        words::split(&tokenised(text)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scores_are_those_of_the_published_package() {
        goldens::check("bleu", bleu);
    }

    #[test]
    fn punctuation_is_apart_except_within_numbers_and_words() {
        for (text, wanted) in [
            ("Hello, world.", "Hello , world ."),
            ("It's 1,234.5 (or so)", "It's 1,234.5 ( or so )"),
            ("3-4 well-known", "3 - 4 well-known"),
            ("hyphen-\nated\nline", "hyphenated line"),
            ("&quot;a&quot; &amp;lt; b", "\" a \" < b"),
            ("$5.", "$ 5 ."),
            ("a,,5", "a , ,5"),
            ("3. and .5", "3 . and . 5"),
            ("«Où?»", "«Où ? »"),
        ] {
            assert_eq!(tokens(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_nearest_length_counts_and_of_two_the_shorter() {
        let expected = ["a b c d e f".to_owned(), "a b".to_owned()];
        assert_eq!(bleu("a b c d", &expected), 1.0);
    }

    #[test]
    fn nothing_expected_is_nothing_reached() {
        assert_eq!((bleu("a", &[]), bleu("", &[String::new()])), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn a_text_shares_all_with_itself(text in "(\\PC|\\s){0,40}") {
            let wanted = if tokens(&text).is_empty() { 0.0 } else { 1.0 };
            prop_assert_eq!(bleu(&text, std::slice::from_ref(&text)), wanted);
        }

        #[test]
        fn the_score_is_a_share(one in "([ab]b?|[ .,-é1]){0,20}", others in prop::collection::vec("([ab]b?|[ .,é1]){0,20}", 0..3)) {
            prop_assert!((0.0..=1.0).contains(&bleu(&one, &others)));
        }
    }
}
