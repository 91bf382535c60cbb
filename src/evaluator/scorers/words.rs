//! What the scorers of texts share: where words end, how overlap becomes a score, and that the best of several expected texts counts.

/// The words of a text: what stands between white space, as `str.split` of Python has it, which the published scorers are written in.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Is this white space to Python? The four separators of ASCII (U+001C to U+001F) are, beside what Unicode says.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The harmonic mean of precision and recall, 0 to 1, where two texts of so many words each share some; 0 where they share none. Equal to
/// 2PR / (P + R), but exactly 1 for texts that share all.
pub(super) fn f_measure(shared: usize, one: usize, other: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    2.0 * shared as f64 / (one + other) as f64
}

/// The best score that any of the expected texts gives; 0 where nothing is expected.
pub(super) fn best(expected: &[String], score: impl Fn(&str) -> f64) -> f64 {
    expected.iter().map(|text| score(text)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_white_space_of_every_kind() {
        let words: Vec<_> = split(" a\u{a0}b\u{1f}\u{3000}c\r\n\u{200b}d\t").collect();
        assert_eq!(words, ["a", "b", "c", "\u{200b}d"]);
        assert_eq!(split(" \n").count(), 0);
    }

    #[test]
    fn the_f_measure_is_the_harmonic_mean_of_precision_and_recall() {
        let (precision, recall) = (2.0 / 3.0, 2.0 / 5.0);
        let mean = 2.0 * precision * recall / (precision + recall);
        assert!((f_measure(2, 3, 5) - mean).abs() < 1e-12);
        assert_eq!((f_measure(7, 7, 7), f_measure(0, 0, 0)), (1.0, 0.0));
    }

    #[test]
    fn nothing_expected_is_nothing_reached() {
        assert_eq!(best(&[], |_| 1.0), 0.0);
        let lengths = ["ab".to_owned(), "c".to_owned()];
        assert_eq!(best(&lengths, |text| text.len() as f64), 2.0);
    }
}
