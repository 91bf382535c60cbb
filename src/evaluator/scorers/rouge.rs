//! How much of what was expected an answer says in the same order: ROUGE-L, for summaries.

use std::collections::HashMap;

use super::words;

/// What comes later in a text is not compared: two texts of this length take some milliseconds, and summaries are far shorter.
const MOST_WORDS: usize = 10_000;

/// ROUGE-L as an F-measure (beta 1), 0 to 1, with the expected text that gives the most: how long a sequence of words both texts have, gaps
/// allowed. Words are runs of the letters a to z and digits, without case and stemming: in "naïve" those are "na" and "ve", and texts in
/// other scripts have none and score 0. Of each text, the first 10,000 words count.
///
/// Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1 (<https://aclanthology.org/W04-1013>); for texts within
/// that bound equal to `rougeL` of Google's `rouge_score`
/// (<https://github.com/google-research/google-research/tree/master/rouge>).
pub(in crate::evaluator) fn rouge_l(answer: &str, expected: &[String]) -> f64 {
    let answer = answer.to_lowercase();
    let answer = tokens(&answer);
    words::best(expected, |text| {
        let text = text.to_lowercase();
        let text = tokens(&text);
        words::f_measure(common(&answer, &text), answer.len(), text.len())
    })
}

fn tokens(lowercase: &str) -> Vec<&str> {
    let words = lowercase.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).take(MOST_WORDS).collect()
}

/// The length of the longest common subsequence. Going one word further in `other`, it grows by 0 or 1 at each word of `one`, so a bit for each
/// is enough: 0 where it grows. 64 words of `one` go through the whole of `other` before the next 64 do, so memory grows with the sum of the
/// lengths; time grows with their product over 64. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
fn common(one: &[&str], other: &[&str]) -> usize {
    let mut numbers = HashMap::new();
    for word in one {
        let next = numbers.len();
        numbers.entry(*word).or_insert(next);
    }
    // Words that `one` does not have match nowhere, and change nothing.
    let other: Vec<usize> = other.iter().filter_map(|word| numbers.get(word).copied()).collect();

    let mut carries = vec![false; other.len()];
    let mut places = vec![0u64; numbers.len()];
    let mut length = 0;
    for block in one.chunks(u64::BITS as usize) {
        places.fill(0);
        for (place, word) in block.iter().enumerate() {
            places[numbers[word]] |= 1 << place;
        }
        let mut row = u64::MAX;
        for (word, carry) in other.iter().zip(&mut carries) {
            let matches = row & places[*word];
            let (sum, over) = row.overflowing_add(matches);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(*carry));
            *carry = over || over_by_carry;
            row = sum | (row - matches);
        }
        length += row.count_zeros() as usize;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::super::goldens;
    use super::*;
    use proptest::prelude::*;

    /// The textbook's table.
    fn common_by_table(one: &[&str], other: &[&str]) -> usize {
        let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
        for (i, left) in one.iter().enumerate() {
            for (j, right) in other.iter().enumerate() {
                table[i + 1][j + 1] = if left == right {
                    table[i][j] + 1
                } else {
                    table[i][j + 1].max(table[i + 1][j])
                };
            }
        }
        table[one.len()][other.len()]
    }

    #[test]
    fn scores_are_those_of_the_published_package() {
        goldens::check("rougeL", rouge_l);
    }

    #[test]
    fn letters_beyond_ascii_separate_words() {
        assert_eq!(tokens("na\u{ef}ve 3.5\u{2009}km"), ["na", "ve", "3", "5", "km"]);
        assert_eq!(rouge_l("Москва", &["Москва".to_owned()]), 0.0);
    }

    #[test]
    fn what_comes_after_the_bound_is_not_compared() {
        let long = "a b ".repeat(MOST_WORDS);
        assert_eq!(
            rouge_l(&long, &["b a ".repeat(3 * MOST_WORDS)]),
            (MOST_WORDS - 1) as f64 / MOST_WORDS as f64
        );
        assert_eq!(rouge_l(&"c ".repeat(MOST_WORDS), &["c ".repeat(MOST_WORDS) + "d"]), 1.0);
    }

    proptest! {
        #[test]
        fn bits_find_what_the_table_finds(
            one in prop::collection::vec("[a-d]", 0..150),
            other in prop::collection::vec("[a-e]", 0..150),
        ) {
            let one: Vec<_> = one.iter().map(String::as_str).collect();
            let other: Vec<_> = other.iter().map(String::as_str).collect();
            prop_assert_eq!(common(&one, &other), common_by_table(&one, &other));
        }

        #[test]
        fn a_text_has_all_in_common_with_itself(text in "(\\PC|\\s){0,40}") {
            let empty = tokens(&text.to_lowercase()).is_empty();
            prop_assert_eq!(rouge_l(&text, std::slice::from_ref(&text)), if empty { 0.0 } else { 1.0 });
        }

        #[test]
        fn the_score_is_a_share(one in "([ab]b?|[ .é]){0,20}", other in "([ab]b?|[ .é]){0,20}") {
            prop_assert!((0.0..=1.0).contains(&rouge_l(&one, &[other])));
        }
    }
}
